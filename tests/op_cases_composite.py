"""Uses of the composites."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_draw import FLOATS, INTEGERS, Case, Draw, case, use

from lamina.ir import evaluate
from lamina.ir.types import BOOL, UI32, is_integer

# Composites.

ACTIVATIONS: dict[str, dict[str, Any]] = {
    **{
        name: {}
        for name in (
            "relu",
            "relu6",
            "selu",
            "silu",
            "softplus",
            "softsign",
            "log_sigmoid",
            "hard_sigmoid",
            "hard_silu",
            "hard_tanh",
            "mish",
            "tanh_shrink",
            "sparse_plus",
            "sparse_sigmoid",
        )
    },
    "leaky_relu": {"negative_slope": 0.3},
    "elu": {"alpha": 0.7},
    "celu": {"alpha": 0.7},
    "soft_shrink": {"threshold": 0.4},
    "hard_shrink": {"threshold": 0.4},
    "threshold": {"threshold": 0.5, "value": -3.0},
    "squareplus": {"b": 3.0},
}


@case(*ACTIVATIONS)
def _activation(d: Draw, name: str) -> Case:
    return use(name, d.tame(d.dtype(FLOATS), d.shape(), -8, 8), **ACTIVATIONS[name])


@case("gelu")
def _gelu(d: Draw, name: str) -> Case:
    return use(name, d.tame(d.dtype(FLOATS), d.shape(), -6, 6), approximate=d.bool())


@case("polygamma")
def _polygamma(d: Draw, name: str) -> Case:
    x = d.tame(d.dtype(FLOATS), d.shape(), -4, 8)
    near = np.abs(x - np.rint(x)) < 0.1  # poles at 0, -1, -2 ...
    return use(name, np.where(near & (x < 1), x.dtype.type(0.5), x), order=d.int(1, 3))


@case("logaddexp")
def _logaddexp(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(FLOATS), d.shape()
    return use(name, d.tame(dtype, shape, -8, 8), d.tame(dtype, shape, -8, 8))


@case("softmax", "log_softmax", "sparsemax")
def _softmax(d: Draw, name: str) -> Case:
    x = d.tame(d.dtype(FLOATS), d.shape(1, least=1), -8, 8)
    return use(name, x, axis=d.int(-x.ndim, x.ndim - 1))


@case("glu")
def _glu(d: Draw, name: str) -> Case:
    shape = d.shape(1)
    axis = d.int(0, len(shape) - 1)
    return use(name, d.tame(d.dtype(FLOATS), (*shape[:axis], 2 * d.int(1, 3), *shape[axis + 1 :])), axis=axis)


@case("logsumexp", "reduce_sum", "reduce_prod", "reduce_mean", "reduce_variance")
def _float_reduction(d: Draw, name: str) -> Case:
    exact = INTEGERS if name in ("reduce_sum", "reduce_prod") else ()
    dtype, shape = d.dtype(FLOATS, exact), d.shape(1, least=0 if name in ("reduce_sum", "reduce_prod") else 1)
    x = d.wild(dtype, shape) if is_integer(dtype) else d.tame(dtype, shape)
    return use(name, x, axes=[i for i in range(x.ndim) if d.bool()], keepdims=d.bool())


@case("reduce_max", "reduce_min")
def _extreme(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(FLOATS, INTEGERS, ("i1",)), d.shape())
    return use(name, x, axes=[i for i in range(x.ndim) if d.bool()], keepdims=d.bool())


@case("reduce_any", "reduce_all")
def _logical(d: Draw, name: str) -> Case:
    x = d.wild(BOOL, d.shape())
    return use(name, x, axes=[i for i in range(x.ndim) if d.bool()], keepdims=d.bool())


@case("argmax", "argmin")
def _arg(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(FLOATS, INTEGERS), d.shape(1, least=1)
    x = np.where(d.rng.random(shape) < 0.3, dtype.type(1), d.wild(dtype, shape))
    return use(name, x, axis=d.int(0, len(shape) - 1), dtype=d.dtype(("i32", "i64")))


@case("layer_norm", "rms_norm", "batch_norm")
def _norm(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(FLOATS), d.shape(2, least=2)
    flags = {k: d.bool() for k in (("scale",) if name == "rms_norm" else ("scale", "center"))}
    x, size = d.tame(dtype, shape), shape[-1:]
    given = [d.tame(dtype, size), d.tame(dtype, size, 0.5, 2)] if name == "batch_norm" else []
    where = {"axis": -1} if name == "batch_norm" else {"axes": (-1,)}
    return use(name, x, *given, *(d.tame(dtype, size) for on in flags.values() if on), epsilon=1e-2, **where, **flags)


@case("max_pool", "avg_pool")
def _pool(d: Draw, name: str) -> Case:
    shape = [d.int(1, 2), d.int(2, 6), d.int(2, 6), d.int(1, 3)]
    window = [1, d.int(1, min(3, shape[1])), d.int(1, min(3, shape[2])), 1]
    padding = [(0, 0), *((d.int(0, w - 1), d.int(0, w - 1)) for w in window[1:3]), (0, 0)]
    extra = {"count_padding": d.bool()} if name == "avg_pool" else {}
    return use(
        name,
        d.tame(d.dtype(FLOATS), shape),
        window=window,
        strides=[1, d.int(1, 2), d.int(1, 3), 1],
        padding=padding,
        **extra,
    )


@case("resize")
def _resize(d: Draw, name: str) -> Case:
    x = d.tame(d.dtype(FLOATS), d.shape(1, 3, least=1, most=7))
    shape = [d.pick(size, 2 * size, d.int(1, 9)) for size in x.shape]
    method = d.pick("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
    if method == "nearest":
        x = d.wild(d.dtype(FLOATS, INTEGERS, ("i1",)), x.shape)
    return use(name, x, shape=shape, method=method, antialias=d.bool())


@case("cumsum", "cumprod", "cummax", "cummin")
def _cumulative(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(FLOATS, INTEGERS), d.shape(1)
    exact = is_integer(dtype) or name in ("cummax", "cummin")
    x = d.wild(dtype, shape) if exact else d.tame(dtype, shape)
    return use(name, x, axis=d.int(0, len(shape) - 1), reverse=d.bool())


@case("take")
def _take(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(FLOATS, INTEGERS, ("i1",)), d.shape(1, least=1))
    indices = d.rng.integers(-8, 8, d.shape(high=2)).astype(d.dtype(("i32", "i64", "i8")))
    return use(name, x, indices, axis=d.int(0, x.ndim - 1))


@case("one_hot")
def _one_hot(d: Draw, name: str) -> Case:
    shape = d.shape(high=2)
    return use(
        name,
        d.rng.integers(-2, 7, shape).astype(np.int32),
        depth=d.int(0, 5),
        axis=d.int(-1, len(shape)),
        dtype=d.dtype(("f32", "i32", "i1", "bf16")),
    )


@case("dropout")
def _dropout(d: Draw, name: str) -> Case:
    return use(name, d.tame(d.dtype(FLOATS), d.shape()), d.wild(UI32, (2,)), rate=d.pick(0.0, 0.1, 0.5, 0.9, 1.0))


@case("stop_gradient")
def _stop_gradient(d: Draw, name: str) -> Case:
    return use(name, d.wild(d.dtype(FLOATS, INTEGERS), d.shape()))


@case("attention")
def _attention(d: Draw, name: str) -> Case:
    dtype, batch, time, source, depth = d.dtype(FLOATS), d.int(1, 2), d.int(1, 4), d.int(1, 4), d.int(1, 4)
    groups = d.int(1, 2)
    heads = groups * d.int(1, 2)
    bias, mask = d.bool(), d.bool()
    extra = [d.tame(dtype, (batch, heads, time, source))] * bias + [d.wild(BOOL, (batch, 1, time, source))] * mask
    return use(
        name,
        d.tame(dtype, (batch, time, heads, depth)),
        d.tame(dtype, (batch, source, groups, depth)),
        d.tame(dtype, (batch, source, groups, depth)),
        *extra,
        bias=bias,
        mask=mask,
        causal=d.bool(),
        scale=d.pick(None, 0.5),
    )


def _pivoting(d: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Matrices whose pivots no rounding changes: a large one in each column, rows in any order."""
    dtype, (*batch, m, n) = d.dtype(("f32", "f64", "f16", "bf16", "c64", "c128")), shape
    a = d.tame(dtype, shape, -0.5, 0.5) + 4 * np.eye(m, n, dtype=dtype)
    orders = d.rng.random((*batch, m)).argsort(-1)[..., np.newaxis]
    return np.take_along_axis(a, orders, -2).astype(dtype)


@case("lu", "det", "slogdet")
def _elimination(d: Draw, name: str) -> Case:
    m, n = d.int(0, 4), d.int(0, 4)
    return use(name, _pivoting(d, (*d.shape(high=2, most=3), m, n if name == "lu" else m)))


@case("lu_solve")
def _lu_solve(d: Draw, name: str) -> Case:
    n = d.int(1, 4)
    a = _pivoting(d, (*d.shape(high=1), n, n))
    factors, _, order = evaluate(use("lu", a)[0], a)[0]
    right = d.tame(a.dtype, (*a.shape[:-1], d.int(0, 3)))
    return use(name, a, factors, order, right, transpose=d.bool())
