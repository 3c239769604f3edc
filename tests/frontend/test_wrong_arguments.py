"""What compile, export, import and verify say to arguments of a wrong kind: an error of lamina's that names them."""

import jax
import numpy as np
import pytest

import lamina
from lamina import Spec, keras, ops
from lamina.ir.errors import ArgumentError, DeviceError, DTypeError, LaminaError, ParseError, PassError


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="small")


# Specs


class Own(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = keras.layers.Dense(2)

    def call(self, x, training=None):
        return self.dense(x)


def functional():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs), name="functional")


OF_ONE_INPUT = {
    "sequential": lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="sequential"),
    "functional": functional,
    "own": Own,
    "dense": lambda: keras.layers.Dense(2, name="dense"),
    "dropout": lambda: keras.layers.Dropout(0.5, name="dropout"),
}


@pytest.mark.parametrize("name", OF_ONE_INPUT)
def test_a_spec_too_many_is_said(name, tmp_path):
    subject = OF_ONE_INPUT[name]()
    specs = (Spec((None, 4)), Spec((None, 4)))
    said = rf"{name} takes (x|inputs), received specs for 2 arguments.*training is a keyword"
    for attempt in (
        lambda: lamina.trace(subject, *specs),
        lambda: lamina.compile(subject, *specs),
        lambda: lamina.export(subject, tmp_path / "m.mlir", specs=specs),
        lambda: lamina.verify(subject, targets="numpy", specs=specs),
    ):
        with pytest.raises(ArgumentError, match=said):
            attempt()
    assert not list(tmp_path.iterdir())
    assert lamina.trace(subject, specs[0], training=True).main.inputs[0].type == specs[0].type(0)


def test_too_few_and_too_many_for_a_function():
    with pytest.raises(ArgumentError, match=r"received specs for 3 inputs: too many positional arguments"):
        lamina.trace(lambda a, b: a + b, *[Spec((2,))] * 3)
    with pytest.raises(ArgumentError, match=r"received specs for 1 inputs: missing a required argument: 'b'"):
        lamina.trace(lambda a, b: a + b, Spec((2,)))


def test_a_layer_with_two_tensors_takes_two_specs():
    layer = keras.layers.MultiHeadAttention(2, 3, name="attention")
    module = lamina.trace(layer, Spec((None, 5, 6)), Spec((None, 7, 6)))
    assert [v.shape[1:] for v in module.main.inputs] == [(5, 6), (7, 6)]


@pytest.mark.parametrize("function", [lamina.trace, lamina.compile, lamina.from_jax, lamina.from_tf])
def test_a_spec_among_the_static_keywords(function):
    with pytest.raises(ArgumentError, match=r"k=\[Spec\(\(3,\), 'float32'\)\]: keywords are passed on as they are"):
        function(lambda x, k: x, Spec((3,)), k=[Spec((3,))])


# Options


WRONG = {
    "dims, text": (
        lambda m: lamina.export(m, "m.mlir", dims={"N": "x"}),
        ArgumentError,
        "N='x': a dimension is an int",
    ),
    "dims, negative": (
        lambda m: lamina.export(m, "m.mlir", dims={"N": -3}),
        ArgumentError,
        "N=-3: a dimension is >= 0",
    ),
    "dims, a list": (
        lambda m: lamina.export(m, "m.mlir", dims=[3]),
        ArgumentError,
        r"such as {'N': 32}, received \[3\]",
    ),
    "target": (lambda m: lamina.export(m, "m.mlir", target=3), ArgumentError, "there is no target 3"),
    "path": (lambda m: lamina.export(m, 3), ArgumentError, "expected a path, received 3"),
    "load": (lambda m: lamina.load(None), ArgumentError, "expected a path, received None"),
    "bounds, text": (lambda m: lamina.verify(m, bounds="a"), ArgumentError, "expected a number >= 0.*received 'a'"),
    "bounds, a list": (lambda m: lamina.verify(m, bounds=[1]), ArgumentError, r"expected a number >= 0.*\[1\]"),
    "bounds, negative": (lambda m: lamina.verify(m, bounds={"xla": -1}), ArgumentError, "received {'xla': -1}"),
    "verify's dims": (lambda m: lamina.verify(m, dims={"N": 1.5}), ArgumentError, "N=1.5: a dimension is an integer"),
    "verify's seed": (lambda m: lamina.verify(m, seed=-1), ArgumentError, "seed: expected an integer >= 0"),
    "verify's targets": (lambda m: lamina.verify(m, targets=3), ArgumentError, "targets: expected names"),
    "pipeline": (lambda m: lamina.compile(m, pipeline=3), PassError, "a pipeline is text"),
    "device": (lambda m: lamina.compile(m, device=3), DeviceError, "there is no device 3"),
    "donate": (lambda m: lamina.compile(m, donate="a"), ArgumentError, "positions of inputs from 0 to 0.*'a'"),
    "donate, too high": (lambda m: lamina.compile(m, donate=(1,)), ArgumentError, "positions of inputs from 0 to 0"),
    "shape": (lambda m: Spec(3.5), ArgumentError, "shape is a tuple"),
    "StableHLO, None": (
        lambda m: lamina.from_stablehlo(None),
        ArgumentError,
        "text, bytes or a path, received NoneType",
    ),
    "StableHLO, empty": (lambda m: lamina.from_stablehlo(""), ParseError, "the program is empty; expected StableHLO"),
    "StableHLO, no bytes": (lambda m: lamina.from_stablehlo(b""), ParseError, "the program is empty"),
    "IR, empty": (lambda m: lamina.parse(" \n"), ParseError, "found the end of the text, which is empty"),
    "IR, None": (lambda m: lamina.parse(None), ParseError, "reads a string, received NoneType"),
    "from_jax": (lambda m: lamina.from_jax(3), DTypeError, "from_jax takes a function, received 3"),
    "from_tf": (lambda m: lamina.from_tf(3), DTypeError, "from_tf takes a function, received 3"),
    "call_module": (lambda m: lamina.call_module(3, 1), DTypeError, "a module or a compiled program, received 3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_named(model, tmp_path, monkeypatch, name):
    attempt, error, said = WRONG[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        attempt(model)
    assert not list(tmp_path.iterdir())


def test_sizes_may_be_numpy_s_integers(model, tmp_path):
    lamina.export(model, tmp_path / "m.mlir", dims={"N": np.int64(3)})
    assert "tensor<3x4xf32>" in (tmp_path / "m.mlir").read_text()


def test_an_empty_file_is_said(tmp_path):
    (tmp_path / "m.mlir").write_text("\n")
    with pytest.raises(ParseError, match=r"the file '.*m\.mlir' is empty; expected StableHLO"):
        lamina.load(tmp_path / "m.mlir")


# JAX's own


KEYS = {
    "trace": lambda key: lamina.trace(lambda k: k, key),
    "compile": lambda key: lamina.compile(lambda k: k, Spec((2,), "uint32"))(key),
    "jit": lambda key: lamina.jit(lambda k: k)(key),
    "from_jax": lambda key: lamina.from_jax(jax.random.normal, key),
    "from_jax, struct": lambda key: lamina.from_jax(jax.random.normal, jax.ShapeDtypeStruct((), key.dtype)),
    "op": lambda key: ops.add(key, 1),
    "model": lambda key: keras.layers.ReLU()(key),
    "verify": lambda key: lamina.verify(lambda k: k, (key,), "numpy"),
    "vmap": lambda key: lamina.vmap(lambda k: k)(key),
    "grad": lambda key: lamina.grad(ops.sum)(key),
    "Spec": lambda key: Spec((), key.dtype),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_random_key_of_jax_is_no_tensor(name):
    with pytest.raises(DTypeError, match=r"key<fry> is the type of jax's random keys.*jax\.random\.key_data\(key\)"):
        KEYS[name](jax.random.key(0))


def test_a_random_key_enters_by_its_data():
    def draw(data):
        return jax.random.uniform(jax.random.wrap_key_data(data), (3,))

    key = jax.random.key(7)
    module = lamina.from_jax(draw, jax.random.key_data(key))
    (found,), _ = lamina.evaluate(module, np.asarray(jax.random.key_data(key)))
    np.testing.assert_array_equal(found, jax.random.uniform(key, (3,)))


def test_static_arguments_of_jax_s_jit_go_by_keyword():
    f = jax.jit(lambda x, n: x * n, static_argnums=1)
    for given in (3, Spec(())):
        with pytest.raises(ArgumentError, match=r"is jitted with static arguments.*pass what is static by keyword"):
            lamina.from_jax(f, Spec((3,)), given)
    module = lamina.from_jax(f, Spec((3,)), n=3)
    (found,), _ = lamina.evaluate(module, np.float32([1, 2, 3]))
    np.testing.assert_array_equal(found, np.float32([3, 6, 9]))


def test_every_error_is_lamina_s():
    assert all(issubclass(error, LaminaError) for _, error, _ in WRONG.values())
