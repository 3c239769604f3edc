"""A dict that a function or model returns gives its keys as the names of the outputs, in every form that has names."""

import importlib.util
import warnings

import numpy as np
import pytest

import lamina
from lamina import Spec, keras
from lamina.frontend.tracing import key_names


def flat(x):
    return {"b": x + 1, "a": x * 2, "my-key": x}


def nested(x):
    return {"b": x + 1, "a": (x * 2, {"c": x})}


def functional():
    inputs = keras.Input((3,), name="x")
    dense = keras.layers.Dense
    return keras.Model(inputs, {"z": dense(2, name="first")(inputs), "y": dense(2, name="second")(inputs)})


CASES = {
    "flat": (flat, Spec((None, 3)), ["a", "b", "my-key"]),
    "nested": (nested, Spec((None, 3)), ["a_0", "a_1_c", "b"]),
    "functional": (functional(), None, ["y", "z"]),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_of_a_graph_and_what_runs_it(case, tmp_path):
    f, specs, names = case
    module = lamina.trace(f, *([] if specs is None else [specs]))
    assert module.main.output_names == names
    assert lamina.parse(str(module)).main.output_names == names
    lamina.export(module, tmp_path / "m.mlir")
    loaded = lamina.load(tmp_path / "m.mlir").main.output_names
    assert loaded == [name.replace("-", "_") for name in names]
    report = lamina.verify(module, targets="xla")
    assert [row.output for row in report.targets[0].outputs] == names


def test_of_what_tensorflow_reads(case, tmp_path):
    tf = pytest.importorskip("tensorflow")
    f, specs, names = case
    lamina.export(f, tmp_path / "saved", specs=specs)
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    assert sorted(serve.structured_outputs) == names
    lamina.export(f, tmp_path / "m.tflite", specs=specs)
    from lamina.frontend.export.tflite import make_interpreter

    interpreter = make_interpreter((tmp_path / "m.tflite").read_bytes())
    assert sorted(interpreter.get_signature_list()["serving_default"]["outputs"]) == names
    x = np.float32([[1, 2, 3]])
    found = serve(tf.constant(x))
    for name, expected in zip(names, lamina.evaluate(lamina.trace(f, Spec((None, 3))), x)[0] if specs else ()):
        np.testing.assert_array_equal(found[name].numpy(), expected)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_of_torch_s_dicts(case):
    f, specs, names = case
    scripted = lamina.export(f, target="torchscript", specs=specs)
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = scripted(torch.ones(2, 3))
    if f is nested:  # TorchScript's dicts have values of one type
        assert isinstance(found, tuple) and isinstance(found[0], tuple)
    else:
        assert sorted(found) == names


@pytest.mark.parametrize(
    "structure, names",
    [
        (0, [""]),
        ((0, 1), ["", ""]),
        (({"a": 0}, 1), ["", ""]),
        ({"a": 0}, ["a"]),
        ({"a": None, "b": [0, 1]}, ["b_0", "b_1"]),
        ({"a": {"b": 0}, "a_b": 1}, ["", ""]),  # which would be equal
        ({3: 0, "x": 1}, ["3", "x"]),
    ],
)
def test_names_by_keys(structure, names):
    assert key_names(structure, len(names)) == names


def test_inputs_have_the_keys_of_a_dict_and_the_names_of_a_model_s_inputs(tmp_path):
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs["p"] + inputs["a key"]

    spec = Spec((None, 3))
    module = lamina.trace(Own(), {"p": spec, "a key": spec})
    assert module.main.input_names == ["a key", "p"]
    assert lamina.verify(module, targets=["xla", "stablehlo", "lamina"]).ok
    assert lamina.parse(str(module)).main.input_names == ["a key", "p"]
    assert lamina.trace(lambda x, y: x["p"] + y, {"p": spec}, spec).main.input_names == ["x_p", "y"]
    assert lamina.trace(lambda x: x[0] + x[1], [spec, spec]).main.input_names == ["x_0", "x_1"]
    model = functional()
    assert lamina.trace(model, Spec((5, 3))).main.input_names == ["x"]
    assert lamina.trace(model, Spec((5, 3), name="y")).main.input_names == ["y"]
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    two = keras.Model({"b": left, "a": right}, left + right)
    assert lamina.trace(two, {"a": spec, "b": spec}).main.input_names == ["right", "left"]
    fresh = keras.Sequential([keras.layers.Dense(2)])
    assert lamina.trace(fresh, spec).main.input_names == ["inputs"]
