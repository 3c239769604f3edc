"""StableHLO files: each form, read back and run by XLA, gives what the model means; names, open dimensions and weights
are where they should be."""

import re

import jax
import numpy as np
import pytest
from closeness import assert_close
from hypothesis import HealthCheck, given, settings
from op_cases import CASES

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export.parameters import parameter_arrays
from lamina.frontend.export.stablehlo import WEIGHTS, runner, save
from lamina.ir import Module
from lamina.ir.errors import ArgumentError, FileFormatError, UnsupportedError
from lamina.lowering import portable
from lamina.lowering.portable import FORMATS
from lamina.runtime import safetensors


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def mlp():
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((6,), name="features"),
            layers.Dense(8, activation="gelu", name="dense"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, seed=7, name="dropout"),
            layers.Dense(3, activation="softmax", name="probabilities"),
        ],
        name="mlp",
    )
    rng = np.random.default_rng(1)
    net.set_weights([rng.uniform(0.5, 1.5, w.shape).astype(w.dtype) for w in net.get_weights()])
    return net


MODULES = {
    "mlp": lambda: (lamina.trace(mlp()), [draw(5, 6)]),
    "mlp in training": (lambda: (lamina.trace(mlp(), training=True), [draw(5, 6)])),
    "several": lambda: (
        lamina.trace(lambda a, b: {"s": a @ b, "t": ops.max(a, axis=1)}, Spec((None, 4)), Spec((4, "M"))),
        [draw(3, 4), draw(4, 2)],
    ),
    "sizes": lambda: (
        lamina.trace(lambda x: ops.reshape(x, (-1, 2)) / x.shape[0], Spec((None, 4))),
        [draw(3, 4)],
    ),
    "concrete": lambda: (lamina.trace(lambda x: ops.top_k(ops.erf(x), 2), Spec((3, 5))), [draw(3, 5)]),
    "64 bits": lambda: (lamina.trace(lambda x: ops.exp(x) / 3, Spec((None,), "float64")), [np.arange(4) / 3]),
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", MODULES)
def test_what_is_written_gives_what_the_module_means(name, format, weights):
    module, inputs = MODULES[name]()
    expected, _ = lamina.evaluate(module, *inputs, parameters=parameter_arrays(module))
    results = runner(module, format=format, weights=weights)(inputs)
    assert len(results) == len(expected)
    for result, meant in zip(results, expected):
        assert result.dtype == meant.dtype
        # Sums of at most 8 terms and a softmax: a few dozen roundings of float32.
        np.testing.assert_allclose(result, meant, rtol=1e-5, atol=1e-6)


def test_one_program_serves_all_sizes():
    module = lamina.trace(mlp())
    run = runner(module)
    for n in (1, 7, 2, 7):
        expected, _ = lamina.evaluate(module, draw(n, 6), parameters=parameter_arrays(module))
        np.testing.assert_allclose(run([draw(n, 6)])[0], expected[0], rtol=1e-5, atol=1e-6)


def written(tmp_path, module, name="model.mlir", **options):
    path = tmp_path / name
    save(module, path, **options)
    return path.read_bytes()


def test_names_and_open_dimensions_are_kept(tmp_path):
    text = written(tmp_path, lamina.trace(mlp()), weights="arguments").decode()
    signature = next(line for line in text.splitlines() if "func.func public @main" in line)
    assert re.findall(r'jax\.arg_info = "([^"]*)"', signature) == [
        *("mlp/dense/kernel", "mlp/dense/bias", "mlp/norm/gamma", "mlp/norm/beta"),
        *("mlp/norm/moving_mean", "mlp/norm/moving_variance"),
        *("mlp/probabilities/kernel", "mlp/probabilities/bias", "features"),
    ]
    assert re.findall(r'jax\.result_info = "([^"]*)"', signature) == ["probabilities"]
    assert "tensor<?x6xf32>" in signature and "tensor<?x3xf32>" in signature
    assert 'loc("dense/' in text and "module @mlp" in text
    assert "chlo." not in text and ".py" not in text  # StableHLO alone, and nothing of where it was made


def test_weights_inside_are_constants(tmp_path):
    module = lamina.trace(mlp())
    text = written(tmp_path, module).decode()
    signature = next(line for line in text.splitlines() if "func.func public @main" in line)
    assert signature.count("%arg") == 1 and "features" in signature
    assert len(module.main.parameters) == 8  # and the module is as it was


def test_weights_beside_are_a_safetensors_file(tmp_path):
    net = mlp()
    module = lamina.trace(net)
    text = written(tmp_path, module, weights="beside").decode()
    stored = safetensors.decode((tmp_path / "model.safetensors").read_bytes(), "file")
    assert list(stored) == [p.name for p in module.main.parameters]
    np.testing.assert_array_equal(stored["mlp/dense/kernel"], net.layers[0].get_weights()[0])
    for name in stored:
        assert f'jax.arg_info = "{name}"' in text


@pytest.mark.parametrize("form", FORMATS)
def test_weights_beside_are_loaded_and_state_goes_on(tmp_path, form):
    net, x = mlp(), draw(5, 6)
    module = lamina.trace(net, training=True)
    lamina.export(module, tmp_path / "m.mlir", weights="beside", format=form)
    loaded = lamina.load(tmp_path / "m.mlir")
    assert loaded.main.input_names == ["features"] and loaded.main.output_names == ["probabilities"]
    assert [p.name for p in loaded.main.parameters] == [p.name for p in module.main.parameters]
    assert [u.parameter.name for u in loaded.main.updates] == [u.parameter.name for u in module.main.updates]
    assert {p.name: p.key.trainable for p in loaded.main.parameters} == {
        p.name: p.key.trainable for p in module.main.parameters
    }
    assert "unrealized" not in str(portable.program(module))
    run, net_run = lamina.compile(loaded), lamina.compile(net, training=True)
    for _ in range(2):  # the second call has the statistics and the seed that the first left
        np.testing.assert_allclose(run(x), net_run(x), rtol=1e-5)  # sums in another order
    held, own = parameter_arrays(loaded), parameter_arrays(module)
    for name, array in own.items():
        np.testing.assert_allclose(held[name], array, rtol=1e-5)


def test_weights_beside_that_are_gone_or_of_another_model(tmp_path):
    path, weights = tmp_path / "m.mlir", tmp_path / "m.safetensors"
    lamina.export(mlp(), path, weights="beside")
    stored = safetensors.decode(weights.read_bytes(), "weights")
    with pytest.raises(FileFormatError, match=r"m\.safetensors is no safetensors file"):
        weights.write_bytes(b"x")
        lamina.load(path)
    with pytest.raises(FileFormatError, match=r"m\.safetensors has no mlp/dense/kernel, which .*m\.mlir takes"):
        weights.write_bytes(safetensors.encode({k: v for k, v in stored.items() if k != "mlp/dense/kernel"}))
        lamina.load(path)
    with pytest.raises(FileFormatError, match=r"mlp/dense/bias is float32\[3\], and .*m\.mlir takes f32\[8\]"):
        weights.write_bytes(safetensors.encode({**stored, "mlp/dense/bias": np.zeros(3, np.float32)}))
        lamina.load(path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*m\.safetensors.*keep the two together"):
        lamina.load(path)
    assert "mlp_dense_kernel" in lamina.from_stablehlo(path).main.input_names


def test_state_is_an_argument_and_a_result_wherever_weights_are(tmp_path):
    text = written(tmp_path, lamina.trace(mlp(), training=True), weights="inside").decode()
    signature = next(line for line in text.splitlines() if "func.func public @main" in line)
    state = ["mlp/norm/moving_mean", "mlp/norm/moving_variance"]
    arguments = re.findall(r'jax\.arg_info = "([^"]*)"', signature)
    results = re.findall(r'jax\.result_info = "([^"]*)"', signature)
    assert [a for a in arguments if a in state] == state and arguments[-1] == "features"
    assert results[0] == "probabilities" and [r for r in results if r in state] == state
    assert "mlp/dense/kernel" not in signature


@pytest.mark.parametrize(
    ("name", "options", "start"),
    [
        ("m.mlir", {}, b"module @mlp"),
        ("m.mlirbc", {}, b"ML\xefR\rMLIR"),
        ("m.txt", {}, b"module @mlp"),
        ("m.mlir", {"format": "artifact"}, b"ML\xefR\rStableHLO_v1.0.0"),
        ("m.mlirbc", {"format": "artifact", "version": "1.5.0"}, b"ML\xefR\rStableHLO_v1.5.0"),
        ("m.mlirbc", {"format": "text"}, b"module @mlp"),
    ],
)
def test_the_ending_or_the_option_says_the_form(tmp_path, name, options, start):
    data = written(tmp_path, lamina.trace(mlp()), name, **options)
    assert (
        start in data[:4000] if start.startswith(b"module") else data.startswith(start[:4]) and start[5:] in data[:40]
    )
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "json"}, "text, bytecode, artifact"),
        ({"weights": "outside"}, "inside, beside, arguments"),
        ({"format": "artifact", "version": "9.0.0"}, "from 0.9.0 to 1"),
        ({"format": "artifact", "version": "0.1.0"}, "from 0.9.0 to 1"),
        ({"format": "artifact", "version": "1.0"}, "from 0.9.0 to 1"),
        ({"format": "artifact", "version": "1.0.x"}, "from 0.9.0 to 1"),
    ],
)
def test_wrong_options_are_said_and_nothing_is_written(tmp_path, options, said):
    with pytest.raises(ArgumentError, match=said):
        written(tmp_path, lamina.trace(mlp()), **options)
    assert list(tmp_path.iterdir()) == []


def test_an_older_version_is_read_as_well(tmp_path):
    module, x = lamina.trace(lambda x: ops.tan(x), Spec((4,))), draw(4)
    for version in ("0.9.0", "1.0.0", "1.4.0", portable.newest_version()):
        (result,) = runner(module, format="artifact", version=version)([x])
        np.testing.assert_allclose(result, np.tan(x), rtol=1e-5)


def test_a_version_without_a_form_for_an_op_is_said(tmp_path, capfd):
    module = lamina.parse("""
        func @main(%x: f32[3]) -> (f32[3]) {
          %0 = convert(%x) {dtype=f8e4m3b11fnuz} : f8e4m3b11fnuz[3] @narrow
          %1 = convert(%0) {dtype=f32} : f32[3] @wide
          return %1
        }""")
    assert written(tmp_path, module, "a.mlirbc", format="artifact", version="1.0.0")
    with pytest.raises(
        UnsupportedError, match=r"StableHLO 0\.10\.0 has no form for convert \(at .*narrow/convert.*version='1\."
    ):
        written(tmp_path, module, "b.mlirbc", format="artifact", version="0.10.0")
    assert [p.name for p in tmp_path.iterdir()] == ["a.mlirbc"]
    assert capfd.readouterr().err == ""


def test_what_has_no_form_with_open_dimensions_says_the_way_out(tmp_path):
    key = keras.random.SeedGenerator(1)
    module = lamina.trace(lambda x: x + keras.random.normal((x.shape[0],), seed=key), Spec((None,)))
    with pytest.raises(UnsupportedError, match=r"N.*32"):
        written(tmp_path, module)
    assert list(tmp_path.iterdir()) == []


def test_lamina_export_writes_it(tmp_path):
    lamina.export(mlp(), tmp_path / "a.mlir", weights="arguments")
    assert b"tensor<?x6xf32>" in (tmp_path / "a.mlir").read_bytes()
    lamina.export(mlp(), tmp_path / "b.mlir", dims={"N": 4}, format="text")
    assert b"tensor<4x6xf32>" in (tmp_path / "b.mlir").read_bytes()
    assert b"tensor<?x" not in (tmp_path / "b.mlir").read_bytes()


def test_jax_runs_an_artifact(tmp_path):
    """By jax's own reader, as a program of another process would."""
    from jax.extend.mlir import deserialize_portable_artifact

    from lamina.lowering.mlir import context
    from lamina.runtime.pjrt import compile_and_load

    module = lamina.trace(mlp())
    data = written(tmp_path, lamina.passes.specialize(module, {"N": 5}), format="artifact")
    with context() as ctx:
        made = deserialize_portable_artifact(data, ctx)
        (result,) = compile_and_load(made).run(draw(5, 6))
    np.testing.assert_allclose(result, jax.device_get(lamina.compile(module)(draw(5, 6))), rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(CASES))
def test_every_op_survives_the_way_through_an_artifact(name):
    @settings(max_examples=8, suppress_health_check=list(HealthCheck))
    @given(CASES[name])
    def check(case):
        graph, inputs = case
        module = Module({"main": graph})
        assert_close(graph, inputs, runner(module, format="artifact", version=portable.newest_version())(inputs))

    check()
