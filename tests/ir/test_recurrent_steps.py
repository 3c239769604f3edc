"""``lstm_step`` and ``gru_step`` are their formulas."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from lamina.ir import Builder, evaluate
from lamina.ir.types import TensorType, element_type

BATCH, INPUTS, UNITS = 3, 4, 5


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h, c, kernel, recurrent, bias=0.0):
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def gru(x, h, kernel, recurrent, bias=(0.0, 0.0)):
    (xz, xr, xg), (hz, hr, hg) = (np.split(v, 3, axis=1) for v in (x @ kernel + bias[0], h @ recurrent + bias[1]))
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return [z * h + (1 - z) * np.tanh(xg + r * hg)]


def operands(name, bias):
    gates, states = (4, 2) if name == "lstm_step" else (3, 1)
    wide = gates * UNITS
    shapes = [(BATCH, INPUTS), *[(BATCH, UNITS)] * states, (INPUTS, wide), (UNITS, wide)]
    biases = [(wide,) if name == "lstm_step" else (2, wide)] * bias
    return [draw(*shape, seed=i) for i, shape in enumerate([*shapes, *biases])]


def run(name, arrays, bias):
    b = Builder()
    values = [b.graph.add_input(TensorType(a.dtype, a.shape)) for a in arrays]
    b.graph.outputs = list(b.emit(name, values, {"bias": bias}))
    return evaluate(b.graph, *arrays)[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name, formula", [("lstm_step", lstm), ("gru_step", gru)])
def test_formula(name, formula, bias):
    arrays = operands(name, bias)
    for got, wanted in zip(run(name, arrays, bias), formula(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)  # float64: some tens of roundings


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("name", ["lstm_step", "gru_step"])
def test_narrow_floats_round_after_each_operation(name, dtype):
    """As Keras computes: no wider type in between, except inside a product."""
    arrays = [a.astype(element_type(dtype)) for a in operands(name, True)]

    def formula(x, h, *rest):
        *carry, kernel, recurrent, bias = rest
        if carry:
            i, f, g, o = jnp.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
            c = jax.nn.sigmoid(f) * carry[0] + jax.nn.sigmoid(i) * jnp.tanh(g)
            return [jax.nn.sigmoid(o) * jnp.tanh(c), c]
        (xz, xr, xg), (hz, hr, hg) = (jnp.split(v, 3, axis=1) for v in (x @ kernel + bias[0], h @ recurrent + bias[1]))
        z, r = jax.nn.sigmoid(xz + hz), jax.nn.sigmoid(xr + hr)
        return [z * h + (1 - z) * jnp.tanh(xg + r * hg)]

    wanted = formula(*map(jnp.asarray, arrays))
    eps = float(ml_dtypes.finfo(element_type(dtype)).eps)
    for got, want in zip(run(name, arrays, True), wanted, strict=True):
        assert got.dtype == want.dtype == element_type(dtype)
        # The same roundings but for tanh and sigmoid, which differ by a unit; products of at most 4 make it a few.
        assert np.abs(got.astype("f8") - np.asarray(want).astype("f8")).max() <= 4 * eps


def test_gates_at_their_ends():
    """A forget gate of 1 and an input gate of 0 keep the carry, whatever the rest; infinities saturate, NaN stays."""
    inf = np.inf
    kernel = np.zeros((1, 4))
    bias = np.array([-inf, inf, 7.0, inf])
    h, c = run("lstm_step", [np.ones((2, 1)), np.ones((2, 1)), np.array([[3.0], [np.nan]]), kernel, kernel, bias], True)
    np.testing.assert_array_equal(c, [[3.0], [np.nan]])
    np.testing.assert_allclose(h, [[np.tanh(3.0)], [np.nan]], rtol=1e-15)
