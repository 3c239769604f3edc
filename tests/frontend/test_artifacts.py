"""`.lamina` files: programs come back without their Python and give the same bits; what XLA made of them is used where
the same user on an equal machine made it."""

import json
import subprocess
import sys
import zipfile

import jax
import ml_dtypes
import numpy as np
import pytest
from disk_caching import cache, compilations, forget, programs_on

import lamina
from lamina import Spec, keras, ops
from lamina.compiled import Compiled
from lamina.ir.errors import ArgumentError, GuardError, ShapeError, UnsupportedError
from lamina.runtime import artifact
from lamina.runtime.disk_cache import disk_cache

__all__ = ["cache", "compilations"]  # fixtures


def draw(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def weighted(net):
    rng = np.random.default_rng(1)
    net.set_weights([rng.uniform(0.5, 1.5, w.shape).astype(w.dtype) for w in net.get_weights()])
    return net


def mlp():
    layers = keras.layers
    return weighted(
        keras.Sequential(
            [
                keras.Input((6,), name="features"),
                layers.Dense(8, activation="gelu", name="dense"),
                layers.BatchNormalization(name="norm"),
                layers.Dropout(0.5, seed=7, name="dropout"),
                layers.Dense(3, activation="softmax", name="probabilities"),
            ],
            name="mlp",
        )
    )


def convolutions():
    layers = keras.layers
    net = [keras.Input((8, 8, 2)), layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    return weighted(keras.Sequential([*net, layers.MaxPooling2D(), layers.Flatten(), layers.Dense(2)]))


def tokens():
    layers = keras.layers
    x = inputs = keras.Input((12,), dtype="int32")
    x = layers.Embedding(20, 8)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4, dropout=0.2, seed=1)(x, x)])
    return weighted(keras.Model(inputs, layers.LSTM(5)(layers.LayerNormalization()(x))))


def named():
    a, b = keras.Input((3,), name="left"), keras.Input((4,), name="right")
    both = keras.layers.Concatenate()([a, b])
    outputs = {"sum": keras.layers.Dense(2)(both), "all": both}
    return weighted(keras.Model({"left": a, "right": b}, outputs))


CASES = {
    "mlp": (lambda: lamina.compile(mlp()), [(draw(5, 6),), (draw(2, 6),)]),
    "mlp in training": (lambda: lamina.compile(mlp(), training=True), [(draw(5, 6),)] * 3),
    "convolutions": (lambda: lamina.compile(convolutions()), [(draw(3, 8, 8, 2),)]),
    "tokens": (lambda: lamina.compile(tokens()), [(np.arange(24, dtype=np.int32).reshape(2, 12) % 20,)]),
    "tokens in training": (
        lambda: lamina.compile(tokens(), training=True),
        [(np.arange(24, dtype=np.int32).reshape(2, 12) % 20,)] * 2,
    ),
    "names": (lambda: lamina.compile(named()), [({"left": draw(2, 3), "right": draw(2, 4)},)]),
    "nests": (
        lambda: lamina.compile(
            lambda a, b: {7: [a["x"] + b[0], None], -3: (a["y"], {"c": b[1] * 2, "a b": a["y"]})},
            {"x": Spec((None, 2)), "y": Spec(("T",))},
            (Spec((None, 2)), Spec(())),
        ),
        [({"x": draw(4, 2), "y": draw(7)}, (draw(4, 2), np.float32(3)))],
    ),
    "64 bits": (
        lambda: lamina.compile(lambda x, i: (ops.sum(x * 3), i + 2**40), Spec((None,), "float64"), Spec((), "int64")),
        [(np.arange(5) / 3, np.int64(5))],
    ),
    "narrow types": (
        lambda: lamina.compile(lambda x, b: (ops.exp(x), ~b), Spec((3,), "bfloat16"), Spec((2,), "bool")),
        [(np.arange(3).astype(ml_dtypes.bfloat16), np.array([True, False]))],
    ),
    "constants": (
        lambda: lamina.compile(lambda x: x + np.linspace(0, 1, 500, dtype=np.float32), Spec((None, 500))),
        [(draw(2, 500),)],
    ),
    "loops": (
        lambda: lamina.compile(
            lambda x: ops.while_loop(lambda i, y: ops.sum(y) < 50.0, lambda i, y: (i + 1, y * 2), (0, x)), Spec((None,))
        ),
        [(np.float32([1, 2]),), (np.float32([1, 2, 3]),)],
    ),
    "without inputs": (lambda: lamina.compile(lambda: ops.arange(5)), [()]),
    "pipeline": (lambda: lamina.compile(mlp(), pipeline="O3,-fold_batch_norm"), [(draw(5, 6),)]),
}


def leaves(nest):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nest)]


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(leaves(a), leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", CASES)
def test_a_program_comes_back(name, tmp_path):
    make, calls = CASES[name]
    compiled = make()
    path = tmp_path / "program.lamina"
    compiled.save(path)  # before the calls, which may change its state
    loaded = lamina.load(path)
    assert isinstance(loaded, Compiled)
    assert str(loaded.graph) == str(compiled.graph)
    assert str(loaded.optimized) == str(compiled.optimized)
    for arguments in calls:
        assert_same(loaded(*arguments), compiled(*arguments))


def test_it_needs_no_python_of_the_model(tmp_path):
    class Ours(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

        def call(self, x, training=False):
            return ops.sin(x) * self.scale + float(training)

    path = tmp_path / "ours.lamina"
    compiled = lamina.compile(Ours(name="mine"), Spec((None, 4), name="x"), training=True)
    compiled.save(path)
    script = (
        "import sys, numpy as np, lamina\n"
        "y = lamina.load(sys.argv[1])(np.arange(8, dtype=np.float32).reshape(2, 4))\n"
        "print(np.asarray(y).tobytes().hex())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    expected = compiled(np.arange(8, dtype=np.float32).reshape(2, 4))
    assert done.stdout.strip() == np.asarray(expected).tobytes().hex()


def test_state_is_what_it_was_and_goes_on_alone(tmp_path):
    count = keras.Variable(3.0, name="count")

    def step(x):
        count.assign(count + 1.0)
        return x * count

    compiled = lamina.compile(step, Spec(()))
    compiled(1.0)
    compiled.save(tmp_path / "a.lamina")
    loaded = lamina.load(tmp_path / "a.lamina")
    assert [float(compiled(1.0)), float(compiled(1.0))] == [5.0, 6.0]
    assert [float(loaded(1.0)), float(loaded(1.0))] == [5.0, 6.0]
    (variable,) = [p.key for p in loaded.graph.main.parameters]
    assert float(variable) == 6.0 and float(count) == 6.0
    loaded.save(tmp_path / "b.lamina")
    assert float(lamina.load(tmp_path / "b.lamina")(1.0)) == 7.0


def test_weights_have_names_and_say_what_is_trained(tmp_path):
    lamina.compile(mlp()).save(tmp_path / "a.lamina")
    found = {p.name: p.key.trainable for p in lamina.load(tmp_path / "a.lamina").graph.main.parameters}
    assert found["mlp/dense/kernel"] is True
    assert found["mlp/norm/moving_mean"] is False


def test_a_loaded_program_can_leave_again(tmp_path):
    compiled = lamina.compile(mlp())
    compiled.save(tmp_path / "a.lamina")
    loaded = lamina.load(tmp_path / "a.lamina")
    from lamina.frontend.export.stablehlo import runner

    x = draw(4, 6)
    np.testing.assert_allclose(runner(loaded.graph)([x])[0], compiled(x), rtol=1e-5, atol=1e-6)


def test_assumptions_are_kept(tmp_path):
    compiled = lamina.compile(lambda x, y: x + y, Spec(("A",)), Spec(("B",)))
    compiled.save(tmp_path / "a.lamina")
    loaded = lamina.load(tmp_path / "a.lamina")
    np.testing.assert_array_equal(loaded(draw(3), draw(3)), compiled(draw(3), draw(3)))
    with pytest.raises((GuardError, ShapeError)):
        loaded(draw(3), draw(4))


def test_traces_for_some_sizes_are_kept_and_no_others_made(tmp_path):
    scale = keras.Variable([2.0, 3.0], name="scale")

    def f(x):
        return ops.stack([x[:, i] * scale[i % 2] for i in range(x.shape[1])]).sum()

    compiled = lamina.compile(f, Spec((None, "T")))
    with pytest.raises(GuardError, match="no trace for all sizes"):
        compiled.save(tmp_path / "a.lamina")
    first = [compiled(draw(2, t)) for t in (3, 4)]
    compiled.save(tmp_path / "a.lamina")
    loaded = lamina.load(tmp_path / "a.lamina")
    for t, expected in zip((3, 4, 3), (*first, first[0])):
        assert_same(loaded(draw(2, t)), expected)
    assert_same(loaded(draw(5, 3)), compiled(draw(5, 3)))
    with pytest.raises(GuardError):
        loaded(draw(2, 5))
    names = [[p.key.path for p in program.graph.main.parameters] for program in loaded._programs]
    assert names == [["scale"], ["scale"]] and len({id(p.graph.main.parameters[0].key) for p in loaded._programs}) == 1


def test_wrong_arguments_are_said_as_ever(tmp_path):
    lamina.compile(named()).save(tmp_path / "a.lamina")
    loaded = lamina.load(tmp_path / "a.lamina")
    with pytest.raises(ArgumentError, match="structure"):
        loaded(draw(2, 3), draw(2, 4))
    with pytest.raises(ShapeError, match="left"):
        loaded({"left": draw(2, 4), "right": draw(2, 4)})


def test_lists_and_tuples_are_taken_for_each_other(tmp_path):
    lamina.compile(lambda p: p[0] - p[1], [Spec((2,)), Spec((2,))]).save(tmp_path / "a.lamina")
    loaded = lamina.load(tmp_path / "a.lamina")
    for pair in ([draw(2), draw(2)], (draw(2), draw(2))):
        np.testing.assert_array_equal(loaded(pair), [0, 0])


def test_what_a_file_cannot_name_is_refused(tmp_path):
    @jax.tree_util.register_pytree_node_class
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

        def tree_flatten(self):
            return (self.a, self.b), None

        @classmethod
        def tree_unflatten(cls, _, children):
            return cls(*children)

    compiled = lamina.compile(lambda x: Pair(x, x + 1), Spec(()))
    with pytest.raises(UnsupportedError, match=r"results .* hold a Pair"):
        compiled.save(tmp_path / "a.lamina")
    assert list(tmp_path.iterdir()) == []


def test_donated_inputs_stay_donated(tmp_path):
    lamina.compile(lambda x: x + 1, Spec((64,)), donate=(0,)).save(tmp_path / "a.lamina")
    loaded = lamina.load(tmp_path / "a.lamina")
    x = jax.device_put(draw(64), may_alias=False)
    loaded(x)
    assert x.is_deleted()


# The file


def test_the_file_is_a_plain_zip_that_says_what_it_is(tmp_path):
    path = tmp_path / "a.lamina"
    lamina.compile(mlp()).save(path)
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert archive.testzip() is None
        assert archive.read("graph.0.txt").decode() == str(lamina.trace(mlp()))
        assert b"StableHLO_v" in archive.read("program.0.mlirbc")[:32]
    assert (manifest["format"], manifest["model"], manifest["pipeline"]) == (1, "mlp", "O2")
    assert "weights.safetensors" in manifest["members"]


def test_equal_programs_are_equal_files(tmp_path):
    for name in ("a", "b"):
        compiled = lamina.compile(mlp())
        compiled.save(tmp_path / f"{name}.lamina", executables=False)
    assert (tmp_path / "a.lamina").read_bytes() == (tmp_path / "b.lamina").read_bytes()


def test_a_path_that_cannot_be_written(tmp_path):
    compiled = lamina.compile(mlp())
    with pytest.raises(ArgumentError, match="cannot write"):
        compiled.save(tmp_path / "none" / "a.lamina")
    (tmp_path / "a.lamina").write_bytes(b"before")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifact.hashlib, "sha256", None)
        with pytest.raises(TypeError):
            compiled.save(tmp_path / "a.lamina")
    assert (tmp_path / "a.lamina").read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FileNotFoundError, match=r"none\.lamina"):
        lamina.load(tmp_path / "none.lamina")


def test_a_program_without_a_stablehlo_form_says_why(tmp_path):
    key = keras.random.SeedGenerator(1)
    compiled = lamina.compile(lambda x: x + keras.random.normal((x.shape[0],), seed=key), Spec((None,)))
    compiled.save(tmp_path / "a.lamina")
    with zipfile.ZipFile(tmp_path / "a.lamina") as archive:
        (graph,) = json.loads(archive.read("manifest.json"))["graphs"]
        assert "program.0.mlirbc" not in archive.namelist()
    assert "N" in graph["no_program"] and "program" not in graph
    assert_same(lamina.load(tmp_path / "a.lamina")(draw(3)), compiled(draw(3)))


# What XLA made


def saved(path, **options):
    compiled = lamina.compile(mlp())
    results = [np.asarray(compiled(draw(n, 6))) for n in (2, 5)]
    compiled.save(path, **options)
    return results


def test_executables_are_used_by_who_wrote_them(cache, compilations, tmp_path):
    expected = saved(tmp_path / "a.lamina")
    for entry in programs_on(cache):
        entry.unlink()  # the file alone has them now
    forget()
    compilations.clear()
    loaded = lamina.load(tmp_path / "a.lamina")
    for n, result in zip((2, 5), expected):
        np.testing.assert_array_equal(loaded(draw(n, 6)), result)
    assert compilations == []
    loaded(draw(3, 6))
    assert len(compilations) == 1


def in_another_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "another"))
    return tmp_path / "another"


def test_executables_of_others_are_left_alone(cache, compilations, tmp_path, monkeypatch):
    expected = saved(tmp_path / "a.lamina")
    forget()
    compilations.clear()
    another = in_another_cache(monkeypatch, tmp_path)
    _, members = artifact.read(tmp_path / "a.lamina")
    assert artifact.accept(members) == 0 and programs_on(another) == []
    np.testing.assert_array_equal(lamina.load(tmp_path / "a.lamina")(draw(2, 6)), expected[0])
    assert len(compilations) >= 1


def test_a_signature_is_of_key_and_code(cache, compilations, tmp_path):
    saved(tmp_path / "a.lamina")
    _, members = artifact.read(tmp_path / "a.lamina")
    signed = {name: data for name, data in members.items() if name.startswith("executables/")}
    assert artifact.accept(signed) == len(signed) >= 2
    (one, first), (two, second), *_ = signed.items()
    assert artifact.accept({one: second, two: first}) == 0
    for at in (0, 31, 32, len(first) - 1):
        changed = bytearray(first)
        changed[at] ^= 1
        assert artifact.accept({one: bytes(changed)}) == 0
    assert artifact.accept({one: b""}) == artifact.accept({one: first[:40]}) == 0


@pytest.mark.parametrize("how", ["option", "no cache"])
def test_executables_can_be_left_out(how, cache, compilations, tmp_path, monkeypatch):
    if how == "no cache":
        monkeypatch.setenv("LAMINA_CACHE", "0")
    expected = saved(tmp_path / "a.lamina", **({"executables": False} if how == "option" else {}))
    _, members = artifact.read(tmp_path / "a.lamina")
    assert not [name for name in members if name.startswith("executables/")]
    monkeypatch.setenv("LAMINA_CACHE", "0")
    np.testing.assert_array_equal(lamina.load(tmp_path / "a.lamina")(draw(2, 6)), expected[0])


def test_what_the_cache_has_is_not_written_again(cache, compilations, tmp_path):
    saved(tmp_path / "a.lamina")
    before = {path: path.stat().st_mtime_ns for path in programs_on(cache)}
    lamina.load(tmp_path / "a.lamina")
    assert {path: path.stat().st_mtime_ns for path in programs_on(cache)} == before
    assert disk_cache().secret() not in (tmp_path / "a.lamina").read_bytes()
