"""Derivatives of activations and of their reductions along an axis are JAX's, kinks and far ends included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import nn
from transform_checks import assert_derivatives, graph_of, run

from lamina.ir.dims import symbol
from lamina.passes.differentiate import jvp, vjp

ACTIVATIONS = {
    "relu": (nn.relu, {}),
    "relu6": (nn.relu6, {}),
    "leaky_relu": (lambda x: nn.leaky_relu(x, 0.2), {}),
    "elu": (lambda x: nn.elu(x, 0.7), {"alpha": 0.7}),
    "selu": (nn.selu, {}),
    "celu": (lambda x: nn.celu(x, 0.7), {"alpha": 0.7}),
    "silu": (nn.silu, {}),
    "gelu": (lambda x: nn.gelu(x, approximate=False), {"approximate": False}),
    "gelu by tanh": (lambda x: nn.gelu(x, approximate=True), {"approximate": True}),
    "softplus": (nn.softplus, {}),
    "softsign": (nn.soft_sign, {}),
    "log_sigmoid": (nn.log_sigmoid, {}),
    "hard_sigmoid": (nn.hard_sigmoid, {}),
    "hard_silu": (nn.hard_silu, {}),
    "hard_tanh": (nn.hard_tanh, {}),
    "mish": (nn.mish, {}),
    "tanh_shrink": (lambda x: x - jnp.tanh(x), {}),
    "soft_shrink": (lambda x: jnp.where(x > 0.5, x - 0.5, jnp.where(x < -0.5, x + 0.5, 0.0)), {}),
    "hard_shrink": (lambda x: jnp.where(jnp.abs(x) > 0.5, x, 0.0), {}),
    "threshold": (lambda x: jnp.where(x > 0.3, x, 7.0), {"threshold": 0.3, "value": 7.0}),
    "squareplus": (lambda x: nn.squareplus(x, 3.0), {"b": 3.0}),
    "sparse_plus": (nn.sparse_plus, {}),
    "sparse_sigmoid": (nn.sparse_sigmoid, {}),
}


def draw(shape, seed=0, low=-4, high=8):
    return np.random.default_rng(seed).uniform(low, high, shape)


def op(name, **attributes):
    return lambda b, *xs: b.emit(name.split()[0], xs, attributes)[0]


def pulled(build, *arrays):
    """What comes back of ones."""
    graph = graph_of(build, arrays)
    ones = np.ones(graph.outputs[0].shape)
    return run(vjp(graph, [True] * len(arrays), [True]), *arrays, ones)[1:]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    oracle, attributes = ACTIVATIONS[name]
    assert_derivatives(op(name, **attributes), jax.jit(oracle), [draw((3, 4))])


#: Where an activation bends, JAX's answer; and far out, where a formula could overflow.
FAR = np.array([0.0, -0.0, 1, -1, 3, -3, 6, 30, -30, 700, -700, 1e4, -1e4])
#: In JAX x * x / 2 of these, or e^x, is infinite times zero at the far ends; or a bend is between two of its formulas.
BENDS_ELSEWHERE = {"soft_shrink", "hard_shrink", "threshold"}


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - BENDS_ELSEWHERE))
def test_bends_and_far_ends(name):
    oracle, attributes = ACTIVATIONS[name]
    with jax.enable_x64(True):
        expected = np.asarray(jax.jit(jax.vmap(jax.grad(oracle)))(FAR))
    (ours,) = pulled(op(name, **attributes), FAR)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def third(build, x):
    graph, moving = graph_of(build, [x]), [True]
    for _ in range(3):
        graph, moving = jvp(graph, moving), [*moving, False]
    return run(graph, x, *[np.ones_like(x)] * 3)[-1]


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu by tanh", "softplus", "log_sigmoid", "mish"])
def test_third_derivatives(name):
    oracle, attributes = ACTIVATIONS[name]
    x = draw((6,), low=-3, high=3)
    with jax.enable_x64(True):
        expected = jax.jit(jax.vmap(jax.grad(jax.grad(jax.grad(oracle)))))(x)
    np.testing.assert_allclose(third(op(name, **attributes), x), expected, rtol=1e-8, atol=1e-10)


def test_logaddexp():
    assert_derivatives(op("logaddexp"), jnp.logaddexp, [draw((3, 4)), draw((3, 4), 1)])
    x, y = np.array([1e3, -1e3, 0, np.inf, -np.inf]), np.array([0, 0, 0, 1.0, 1])
    np.testing.assert_allclose(pulled(op("logaddexp"), x, y), [[1, 0, 0.5, 1, 0], [0, 1, 0.5, 0, 1]], rtol=1e-15)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_along_an_axis(name, axis):
    oracle = {"softmax": nn.softmax, "log_softmax": nn.log_softmax}[name]
    assert_derivatives(op(name, axis=axis), jax.jit(lambda x: oracle(x, axis)), [draw((3, 4))])


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [(0,), (0, 2), (-1,), (0, 1, 2), ()])
def test_logsumexp(axes, keepdims):
    assert_derivatives(
        op("logsumexp", axes=axes, keepdims=keepdims),
        jax.jit(lambda x: nn.logsumexp(x, axes, keepdims=keepdims)),
        [draw((2, 3, 4))],
    )


def test_softmax_of_large_and_masked_numbers():
    """Their differences count alone, and what is masked out by -inf gets nothing."""
    x = np.array([[1e4, 1e4 - 1, -1e4], [-np.inf, 0, 1]])
    for name, oracle in (("softmax", nn.softmax), ("log_softmax", nn.log_softmax), ("logsumexp", nn.logsumexp)):
        attributes = {"axes": (1,)} if name == "logsumexp" else {"axis": 1}

        def first(b, x, name=name, attributes=attributes):
            y = b.emit(name, [x], attributes)[0]
            return y if name == "logsumexp" else b.slice(y, start=(0, 1), limit=(2, 2), strides=(1, 1))

        def jax_first(x, name=name, oracle=oracle):
            return oracle(x, 1).sum() if name == "logsumexp" else oracle(x, 1)[:, 1].sum()

        with jax.enable_x64(True):
            expected = jax.grad(jax_first)(x)
        np.testing.assert_allclose(pulled(first, x)[0], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axis", [0, -1])
def test_sparsemax_and_glu(axis):
    x = draw((4, 6), low=-1, high=1)
    assert_derivatives(op("glu", axis=axis), lambda x: nn.glu(x, axis), [x])
    assert_derivatives(op("sparsemax", axis=axis), jax.jit(lambda x: _sparsemax(x, axis)), [x], second=False)


def _sparsemax(x, axis):
    """Keras's formula, whose threshold adds up the cumulative sums of the support."""
    z = jnp.flip(jnp.sort(x, axis), axis)
    sums = jnp.cumsum(z, axis)
    count = jnp.arange(1, x.shape[axis] + 1).reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    support = z - (sums - 1) / count > 0
    size = support.sum(axis, keepdims=True)
    tau = (jnp.where(support, sums, 0).sum(axis, keepdims=True) - 1) / size
    return jnp.maximum(x - tau, 0)


def test_symbolic_sizes():
    n = symbol("N")

    def build(b, x):
        y = b.log_softmax(b.gelu(x, approximate=True), axis=-1)
        return b.multiply(b.logsumexp(y, axes=(0,)), b.logsumexp(b.softmax(x, axis=0), axes=(0,)))

    def oracle(x):
        y = nn.log_softmax(nn.gelu(x, approximate=True), -1)
        return nn.logsumexp(y, 0) * nn.logsumexp(nn.softmax(x, 0), 0)

    assert_derivatives(build, jax.jit(oracle), [draw((3, 4))], shapes=[(n, 4)])


def test_what_is_kept_for_the_way_back():
    """The derivative of softmax and relu needs their result and not their operand; softmax stays whole."""
    x = draw((3, 4))
    back = vjp(graph_of(op("softmax"), [x]), (True,), (True,))
    names = [n.op.name for n in back.nodes]
    assert names.count("softmax") == 1 and not {"exponential", "reduce_max", "divide"} & set(names)
    back = vjp(graph_of(op("relu"), [x]), (True,), (True,))
    uses = [n.op.name for n in back.nodes if back.inputs[0] in n.operands]
    assert uses == ["relu"]
