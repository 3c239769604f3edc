"""keras.random inside a trace: jax.random's bits, states that move on, and dropout's own generator."""

import jax
import keras
import ml_dtypes
import numpy as np
import pytest

from lamina.compiler import Program
from lamina.frontend import random, random_eager, random_traced
from lamina.frontend.dtypes import INTS
from lamina.frontend.keras_tensor import KerasTensor
from lamina.frontend.names import clear_session
from lamina.frontend.tracing import trace_flat
from lamina.ir import TensorType, evaluate
from lamina.ir.dims import symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError, TracingError

KEY = np.array([7, 9], "uint32")
UNITS = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def traced(function, *arrays):
    """The module of ``function`` on tensors like ``arrays``."""
    module, _ = trace_flat(lambda ts: function(*ts), [TensorType(a.dtype, a.shape) for a in arrays])
    return module


def run_all(function, *arrays):
    """What XLA makes of the graph's outputs, and what NumPy does."""
    module = traced(function, *arrays)
    return [np.asarray(y) for y in Program(module, pipeline="O1")(*arrays)], evaluate(module, *arrays)[0]


def run(function, *arrays):
    """The same for one output."""
    (by_xla,), (by_numpy,) = run_all(function, *arrays)
    return by_xla, by_numpy


def assert_same_bits(got, wanted):
    wanted = np.asarray(wanted)
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    assert got.tobytes() == wanted.tobytes()


FLOAT_DRAWS = [
    ("uniform", (0.0, 1.0)),
    ("uniform", (-2.5, 3.7)),
    ("normal", (0.0, 1.0)),
    ("normal", (0.0, 0.3)),
    ("normal", (2.0, 3.7)),
    ("truncated_normal", (0.0, 1.0)),
    ("truncated_normal", (2.0, 3.7)),
]


@pytest.mark.parametrize("dtype", UNITS)
def test_floats_have_the_bits_of_jax(dtype):
    def draw(module):
        return lambda key: [getattr(module, name)(key, (4, 300), *arguments, dtype) for name, arguments in FLOAT_DRAWS]

    # Under jit, for XLA may round `* stddev + mean` once; in random_eager the two are separate programs.
    wanted = jax.jit(draw(random_eager))(KEY)
    for drawn, meaning, bits in zip(*run_all(draw(random_traced), KEY), wanted, strict=True):
        assert_same_bits(drawn, bits)
        # NumPy has another erf_inv, within a few units in the last place of the greatest values.
        drawn, meaning = drawn.astype("float64"), meaning.astype("float64")
        assert np.max(np.abs(meaning - drawn)) <= 16 * UNITS[dtype] * max(1.0, np.max(np.abs(drawn)))


def test_uniform_64_bits():
    drawn, meaning = run(lambda key: random_traced.uniform(key, (50,), dtype="float64"), KEY)
    wanted = random_eager.uniform(KEY, (50,), dtype="float64")
    assert_same_bits(drawn, wanted)
    assert_same_bits(meaning, wanted)


@pytest.mark.parametrize("dtype", INTS)
def test_integers_have_the_bits_of_jax(dtype):
    bounds = [(0, 100), (-3, 120), (5, 5), (7, 2), (0, 255), (0, 256), (-(2**31), 2**31 - 1)]
    if dtype.startswith("u"):
        bounds = [(max(low, 0), high) for low, high in bounds]
    results = run_all(lambda key: [random_traced.randint(key, (4, 50), *b, dtype) for b in bounds], KEY)
    for outputs in results:
        for drawn, b in zip(outputs, bounds, strict=True):
            assert_same_bits(drawn, random_eager.randint(KEY, (4, 50), *b, dtype))


def test_bounds_may_be_tensors():
    low, high = np.array([[0], [10], [-5]], "int32"), np.array([[5], [11], [700]], "int32")
    for drawn in run(lambda key, a, b: random_traced.randint(key, (3, 20), a, b), KEY, low, high):
        assert_same_bits(drawn, random_eager.randint(KEY, (3, 20), low, high))
    low, high = low.astype("float32"), high.astype("float32")
    for drawn in run(lambda key, a, b: random_traced.uniform(key, (3, 20), a, b), KEY, low, high):
        wanted = np.asarray(random_eager.uniform(KEY, (3, 20), low, high))
        np.testing.assert_allclose(drawn, wanted, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape, dtype", [((100, 40), "float32"), ((5, 3), "int8"), ((4, 0), "bool")])
def test_shuffle_is_that_of_jax(shape, dtype, axis):
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for drawn in run(lambda key, x: random_traced.shuffle(key, x, axis), KEY, x):
        assert_same_bits(drawn, random_eager.shuffle(KEY, x, axis))


def test_categorical_is_that_of_jax():
    logits = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    for dtype in ("int32", "uint8"):
        drawn, _ = run(lambda key, x, dtype=dtype: random_traced.categorical(key, x, 9, dtype), KEY, logits)
        assert_same_bits(drawn, random_eager.categorical(KEY, logits, 9, dtype))
    logits[:, 0] = 200.0  # certain, whatever the noise
    assert (run(lambda key, x: random_traced.categorical(key, x, 9), KEY, logits)[1] == 0).all()


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("normal", ((2, 3), 1.0, 2.0)),
        ("uniform", ((2, 3), -1.0, 2.0)),
        ("truncated_normal", ((2, 3),)),
        ("randint", ((2, 3), 0, 9)),
        ("gamma", ((2, 3), 0.7)),
        ("beta", ((2, 3), 0.5, 2.0)),
        ("binomial", ((2, 3), 9.0, 0.4)),
        ("shuffle", (np.arange(7.0, dtype="float32"),)),
        ("categorical", (np.zeros((2, 3), "float32"), 5)),
    ],
)
def test_eager_values_are_those_of_keras(name, arguments):
    for seed in (3, lambda module: module.SeedGenerator(4)):
        ours, theirs = (seed(m.random) if callable(seed) else seed for m in (_Ours, keras))
        for _ in range(2):
            assert_same_bits(
                np.asarray(getattr(random, name)(*arguments, seed=ours)),
                getattr(keras.random, name)(*arguments, seed=theirs),
            )


class _Ours:
    random = random


def test_a_traced_call_moves_the_generator_on():
    generator, eager = random.SeedGenerator(11), random.SeedGenerator(11)
    module = traced(
        lambda x: x + random.uniform((3,), seed=generator) + 0 * random.uniform((3,), seed=generator),
        np.zeros(3, "float32"),
    )
    assert [u.parameter.key for u in module.main.updates] == [generator.state]
    program = Program(module)
    for _ in range(3):
        (drawn,) = program(np.zeros(3, "float32"))
        wanted = random.uniform((3,), seed=eager)
        random.uniform((3,), seed=eager)
        np.testing.assert_array_equal(drawn, wanted)
    np.testing.assert_array_equal(generator.state.numpy(), eager.state.numpy())


def test_the_global_generator_moves_on_too():
    clear_session()
    module = traced(lambda x: x + random.normal((3,)), np.zeros(3, "float32"))
    program = Program(module)
    first, second = (np.asarray(program(np.zeros(3, "float32"))[0]) for _ in range(2))
    assert (first != second).all()


def test_shapes_may_be_symbolic():
    module, _ = trace_flat(lambda ts: random.uniform(ts[0].shape, seed=5), [TensorType("float32", (symbol("N"), 3))])
    for batch in (0, 2, 7):
        (got,), _ = evaluate(module, np.zeros((batch, 3), "float32"))
        assert_same_bits(got, random.uniform((batch, 3), seed=5))


@pytest.mark.parametrize("dtype", UNITS)
@pytest.mark.parametrize("noise_shape", [None, (None, 1, None), (1, 5, 6)])
def test_dropout_is_one_function_everywhere(noise_shape, dtype):
    """Eager, XLA and NumPy agree bit for bit; the decisions are the hash's, by the given shape."""
    x = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x[0, 0, 0] = np.inf
    eager = np.asarray(random.dropout(x, 0.4, noise_shape, seed=8))
    by_xla, by_numpy = run(lambda x: random.dropout(x, 0.4, noise_shape, seed=8), x)
    assert_same_bits(by_xla, eager)
    assert_same_bits(by_numpy, eager)
    kept = eager != 0
    scale = np.asarray(1 / 0.6, x.dtype)
    np.testing.assert_array_equal(eager[kept], (x * scale)[kept])
    assert not np.isnan(eager.astype("float32")).any(), "a dropped infinity is 0"
    if noise_shape is not None:
        axis = noise_shape.index(1)
        assert (kept == np.take(kept, [0], axis)).all()
        assert 0 < kept.mean() < 1


def test_dropout_at_its_ends():
    x = np.ones((3, 4), "float32")
    assert random.dropout(x, 0.0) is x
    for noise_shape in (None, (3, 1)):
        np.testing.assert_array_equal(random.dropout(x, 1.0, noise_shape), np.zeros_like(x))


def test_dropout_keeps_a_share_that_fits_its_rate():
    x = np.ones(100_000, "float32")
    for rate in (0.1, 0.5, 0.9):
        dropped = (np.asarray(random.dropout(x, rate, seed=1)) == 0).mean()
        assert abs(dropped - rate) < 4 * np.sqrt(rate * (1 - rate) / x.size)


# Errors


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("gamma", ((3,), 1.0)),
        ("beta", ((3,), 1.0, 1.0)),
        ("binomial", ((3,), 5, 0.5)),
    ],
)
def test_rejection_samplers_stay_outside(name, arguments):
    with pytest.raises(TracingError, match=f"{name}.*outside"):
        traced(lambda x: getattr(random, name)(*arguments, seed=1), np.zeros(3, "float32"))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: random.dropout(np.ones(3), 1.5), ArgumentError, "rate from 0 to 1.*1.5"),
        (lambda: random.normal((3,), dtype="int32", seed=1), DTypeError, "int32"),
        (lambda: random.randint((3,), 0, 5, dtype="float32", seed=1), DTypeError, "float32"),
        (lambda: random.uniform((3,), seed="one"), ArgumentError, "seed"),
        (lambda: random.dropout(KerasTensor((None, 3)), 0.5), TracingError, "call\\(\\) of a Layer"),
        (lambda: random.shuffle(KerasTensor((None, 3))), TracingError, "call\\(\\) of a Layer"),
        (lambda: random.dropout(np.ones((3, 4), "float32"), 0.5, (3,)), ShapeError, "noise_shape"),
    ],
)
def test_errors_when_eager(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: random_traced.normal(KEY, (3,), dtype="int32"), DTypeError, "int32"),
        (lambda x: random_traced.randint(KEY, (3,), 0, 5, "float32"), DTypeError, "float32"),
        (lambda x: random_traced.categorical(KEY, x, 3), ShapeError, "batch, classes"),
        (lambda x: random_traced.shuffle(KEY, x[0]), ShapeError, "rank 1"),
        (lambda x: random_traced.shuffle(KEY, x, 2), ShapeError, "axis=2"),
        (lambda x: random_traced.uniform(KEY, x), TracingError, "shape"),
    ],
)
def test_errors_when_traced(call, error, message):
    with pytest.raises(error, match=message):
        traced(call, np.zeros(3, "float32"))
