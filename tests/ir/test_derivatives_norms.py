"""Derivatives and batching of norms, pooling, resizing, attention and recurrent steps are JAX's of their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transform_checks import assert_batching, assert_derivatives, graph_of, run

from lamina.ir.dims import symbol
from lamina.passes.differentiate import vjp
from lamina.passes.vectorize import vectorize


def draw(*shape, seed=0, low=None):
    x = np.random.default_rng(seed).normal(size=shape)
    return np.abs(x) + low if low is not None else x


def ops_of(graph):
    return [node.op.name for node in graph.nodes]


# Norms.


def expanded(v, axes, rank):
    return jnp.expand_dims(v, [i for i in range(rank) if i not in axes])


def layer_norm(axes, scale, center):
    def oracle(x, *weights):
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        y = (x - mean) / jnp.sqrt(variance + 1e-2)
        weights = [expanded(w, axes, x.ndim) for w in weights]
        y = y * weights.pop(0) if scale else y
        return y + weights[0] if center else y

    return (
        lambda b, *v: b.layer_norm(*v, axes=axes, epsilon=1e-2, scale=scale, center=center),
        oracle,
    )


def rms_norm(axes, scale, center=None):
    def oracle(x, *weights):
        y = x / jnp.sqrt((x * x).mean(axes, keepdims=True) + 1e-2)
        return y * expanded(weights[0], axes, x.ndim) if scale else y

    return lambda b, *v: b.rms_norm(*v, axes=axes, epsilon=1e-2, scale=scale), oracle


def batch_norm(axes, scale, center):
    def oracle(x, mean, variance, *weights):
        mean, variance, *weights = (expanded(w, axes, x.ndim) for w in (mean, variance, *weights))
        y = (x - mean) / jnp.sqrt(variance + 1e-2)
        y = y * weights.pop(0) if scale else y
        return y + weights[0] if center else y

    return (
        lambda b, *v: b.batch_norm(*v, axis=axes[0], epsilon=1e-2, scale=scale, center=center),
        oracle,
    )


def norm_arrays(shape, axes, fixed, count):
    size = [shape[a] for a in axes]
    return [draw(*shape), *(draw(*size, seed=1 + i, low=0.5) for i in range(fixed + count))]


NORMS = {
    f"{name} {axes} {scale} {center}": (make(axes, scale, center), norm_arrays(shape, axes, fixed, scale + center))
    for name, make, shape, axes, fixed in (
        ("layer_norm", layer_norm, (3, 4, 5), (2,), 0),
        ("layer_norm", layer_norm, (3, 4, 5), (1, 2), 0),
        ("layer_norm", layer_norm, (3, 4, 5), (0, 2), 0),
        ("rms_norm", rms_norm, (3, 4, 5), (2,), 0),
        ("rms_norm", rms_norm, (3, 4, 5), (0, 1), 0),
        ("batch_norm", batch_norm, (3, 4, 5), (2,), 2),
        ("batch_norm", batch_norm, (3, 4, 5), (1,), 2),
    )
    for scale in (True, False)
    for center in ((False,) if name == "rms_norm" else (True, False))
}


@pytest.mark.parametrize("name", NORMS)
def test_norm_derivatives(name):
    (build, oracle), arrays = NORMS[name]
    assert_derivatives(build, oracle, arrays)


@pytest.mark.parametrize("name", NORMS)
def test_norm_batching(name):
    (build, _), arrays = NORMS[name]
    assert_batching(build, arrays, size=2)


def test_norms_of_batched_inputs_stay_norms():
    for name in ("layer_norm", "rms_norm", "batch_norm"):
        (build, _), arrays = NORMS[next(n for n in NORMS if n.startswith(name))]
        batched = [True] + [False] * (len(arrays) - 1)
        assert ops_of(vectorize(graph_of(build, arrays), batched, 2)) == [name]


@pytest.mark.parametrize("name", ["layer_norm (2,) True True", "batch_norm (2,) True True"])
def test_norms_of_open_sizes(name):
    (build, oracle), arrays = NORMS[name]
    shapes = [(symbol("N"), 4, 5), *(a.shape for a in arrays[1:])]
    assert_derivatives(build, oracle, arrays, shapes=shapes)


def test_batch_norm_in_training():
    """Statistics of the batch itself: the gradient goes through them too."""

    def build(b, x, gamma, beta):
        mean, variance = b.reduce_mean(x, axes=(0, 1)), b.reduce_variance(x, axes=(0, 1))
        return b.batch_norm(x, mean, variance, gamma, beta, axis=2, epsilon=1e-2), mean, variance

    def oracle(x, gamma, beta):
        mean, variance = x.mean((0, 1)), x.var((0, 1))
        return (x - mean) / jnp.sqrt(variance + 1e-2) * gamma + beta, mean, variance

    assert_derivatives(build, oracle, [draw(3, 4, 5), draw(5, seed=1), draw(5, seed=2)])


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_narrow_norms_have_gradients_of_f32(name):
    """bfloat16 has 8 bits: the gradient is that of f32, rounded once. Statistics in bfloat16 would be off by more."""
    (build, oracle), arrays = NORMS[f"{name} (2,) True False"]
    x, gamma = (a.astype(jnp.bfloat16) for a in arrays)
    g = draw(3, 4, 5, seed=9).astype(jnp.bfloat16)
    graph = vjp(graph_of(build, [x, gamma]), (True, True), (True,))
    _, dx, dgamma = run(graph, x, gamma, g)
    wide = [jnp.asarray(a, jnp.float32) for a in (x, gamma)]
    want = jax.vjp(oracle, *wide)[1](jnp.asarray(g, jnp.float32))
    for got, exact in zip((dx, dgamma), want):
        np.testing.assert_allclose(got.astype(np.float32), exact, rtol=2.0**-8, atol=1e-5)


# Pooling.


def pool(name, window, strides, padding, count_padding=None):
    extra = {} if count_padding is None else {"count_padding": count_padding}

    def build(b, x):
        return b.emit(name, [x], {"window": window, "strides": strides, "padding": padding, **extra})[0]

    def oracle(x):
        if name == "max_pool":
            return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)
        total = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, padding)
        if count_padding:
            return total / np.prod(window)
        return total / jax.lax.reduce_window(jnp.ones_like(x), 0.0, jax.lax.add, window, strides, padding)

    return build, oracle


POOLS = {
    "tiles": ((2, 4, 6, 3), (1, 2, 3, 1), (1, 2, 3, 1), ((0, 0),) * 4),
    "tiles with a rest": ((2, 5, 7, 3), (1, 2, 3, 1), (1, 2, 3, 1), ((0, 0),) * 4),
    "overlapping": ((2, 5, 7, 2), (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0),) * 4),
    "padded": ((2, 5, 6, 2), (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0))),
    "padded tiles": ((2, 5, 2), (1, 2, 1), (1, 2, 1), ((0, 0), (0, 1), (0, 0))),
    "gaps": ((2, 9, 2), (1, 2, 1), (1, 3, 1), ((0, 0),) * 3),
    "whole": ((2, 4, 5, 2), (1, 4, 5, 1), (1, 4, 5, 1), ((0, 0),) * 4),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("op", [("max_pool",), ("avg_pool", True), ("avg_pool", False)])
def test_pool_derivatives(name, op):
    shape, *rest = POOLS[name]
    build, oracle = pool(op[0], *rest, *op[1:])
    assert_derivatives(build, oracle, [draw(*shape)])
    assert_batching(build, [draw(*shape)])


def test_first_of_equal_maxima_gets_the_gradient():
    build, oracle = pool("max_pool", *POOLS["overlapping"][1:])
    x = np.round(draw(2, 5, 7, 2))
    assert_derivatives(build, oracle, [x])


def test_average_over_tiles_spreads_without_windows():
    shape, *rest = POOLS["tiles with a rest"]
    graph = vjp(graph_of(pool("avg_pool", *rest, False)[0], [draw(*shape)]), (True,), (True,))
    assert "reduce_window" not in ops_of(graph)


@pytest.mark.parametrize("op", [("max_pool",), ("avg_pool", False)])
def test_pools_of_open_sizes(op):
    for name in ("tiles with a rest", "padded"):
        shape, *rest = POOLS[name]
        build, oracle = pool(op[0], *rest, *op[1:])
        assert_derivatives(build, oracle, [draw(*shape)], shapes=[(shape[0], symbol("H"), *shape[2:])])


# Resizing.


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos3"])
@pytest.mark.parametrize("target", [(2, 8, 10, 3), (2, 3, 4, 3), (2, 2, 5, 3)])
def test_resize_derivatives(method, target):
    if method == "nearest" and target != (2, 8, 10, 3):
        pytest.skip("between two elements JAX leaves the choice to a rounding")
    names = {"bilinear": "linear", "bicubic": "cubic"}
    build, oracle = (
        lambda b, x: b.resize(x, shape=target, method=method, antialias=True),
        lambda x: jax.image.resize(x, target, names.get(method, method), antialias=True),
    )
    assert_derivatives(build, oracle, [draw(2, 4, 5, 3)])
    assert_batching(build, [draw(2, 4, 5, 3)])


def test_resize_stays_itself():
    graph = graph_of(lambda b, x: b.resize(x, shape=(2, 8), method="bilinear"), [draw(2, 4)])
    assert ops_of(vectorize(graph, (True,), 3)) == ["resize"]
    assert ops_of(vjp(graph, (True,), (True,)))[0] == "resize"


# Attention.


def attention(bias=False, mask=False, causal=False, scale=None):
    def build(b, *v):
        return b.attention(*v, bias=bias, mask=mask, causal=causal, scale=scale)

    def oracle(q, k, v, *rest):
        rest = list(rest)
        heads, groups = q.shape[2], k.shape[2]
        k, v = (jnp.repeat(x, heads // groups, 2) for x in (k, v))
        logits = jnp.einsum("bthd,bshd->bhts", q, k) * (scale or 1 / np.sqrt(q.shape[3]))
        logits = logits + rest.pop(0) if bias else logits
        allowed = jnp.ones(logits.shape, bool)
        if mask:
            allowed &= rest.pop(0)
        if causal:
            allowed &= np.tri(*logits.shape[2:], dtype=bool)
        logits = jnp.where(allowed, logits, -0.7 * float(np.finfo(np.float32).max))
        return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), v)

    return build, oracle


ATTENTIONS = {
    "plain": (2, {}, None, None),
    "one head": (1, {"scale": 0.3}, None, None),
    "shared keys": (2, {"heads": 4}, None, None),
    "causal": (2, {"causal": True}, None, None),
    "bias": (2, {}, (2, 2, 3, 4), None),
    "bias for all": (2, {"heads": 4}, (3, 4), None),
    "bias of heads": (2, {}, (1, 2, 1, 1), None),
    "mask": (2, {}, None, (2, 1, 3, 4)),
    "everything": (2, {"causal": True, "heads": 4}, (4, 1, 4), (2, 1, 1, 4)),
}


def attention_case(name):
    groups, flags, bias, mask = ATTENTIONS[name]
    heads = flags.get("heads", groups)
    arrays = [draw(2, 3, heads, 4), draw(2, 4, groups, 4, seed=1), draw(2, 4, groups, 5, seed=2)]
    if bias:
        arrays.append(draw(*bias, seed=3))
    if mask:
        # One row may attend to nothing: its weights are equal, and nothing of query and key reaches it.
        allowed = np.random.default_rng(4).random(mask) < 0.6
        allowed[0, 0, 0] = False
        arrays.append(allowed)
    flags = {k: v for k, v in flags.items() if k != "heads"}
    return *attention(bias=bool(bias), mask=bool(mask), **flags), arrays


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_derivatives(name):
    build, oracle, arrays = attention_case(name)
    assert_derivatives(build, oracle, arrays)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_batching(name):
    build, _, arrays = attention_case(name)
    assert_batching(build, arrays, size=2, every=False)


def test_attention_goes_back_in_four_products():
    build, _, arrays = attention_case("plain")
    back = vjp(graph_of(build, arrays), (True,) * 3, (True,))
    assert ops_of(back).count("attention") == 1
    # One more to compute the weights again, which becomes one with that of the way forward.
    assert ops_of(back).count("dot_general") == 5


def test_attention_of_open_sizes():
    build, oracle, arrays = attention_case("causal")
    b, t, s = (symbol(n) for n in "BTS")
    assert_derivatives(build, oracle, arrays, shapes=[(b, t, 2, 4), (b, s, 2, 4), (b, s, 2, 5)])


# Recurrent steps.


def lstm(x, h, c, kernel, recurrent, bias=0.0):
    i, f, g, o = jnp.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru(x, h, kernel, recurrent, bias=(0.0, 0.0)):
    (xz, xr, xg), (hz, hr, hg) = (jnp.split(v, 3, axis=1) for v in (x @ kernel + bias[0], h @ recurrent + bias[1]))
    z, r = jax.nn.sigmoid(xz + hz), jax.nn.sigmoid(xr + hr)
    return z * h + (1 - z) * jnp.tanh(xg + r * hg)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["lstm_step", "gru_step"])
def test_recurrent_step_derivatives(name, bias):
    gates, states = (4, 2) if name == "lstm_step" else (3, 1)
    shapes = [(2, 3), *[(2, 2)] * states, (3, gates * 2), (2, gates * 2)]
    shapes += [(gates * 2,) if name == "lstm_step" else (2, gates * 2)] * bias
    arrays = [draw(*shape, seed=i) for i, shape in enumerate(shapes)]

    def build(b, *v):
        results = b.emit(name, v, {"bias": bias})
        return results if len(results) > 1 else results[0]

    assert_derivatives(build, lstm if name == "lstm_step" else gru, arrays)
    assert_batching(build, arrays, every=False)
