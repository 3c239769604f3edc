"""Activations and softmaxes, each one composite of the IR."""

from __future__ import annotations

from typing import Any

from ...ir.errors import DTypeError, ShapeError
from ..convert import as_tensor, broadcast, emit, normalize_axes, normalize_axis, promote_float
from ..dispatch import public_op
from ..tensor import Tensor
from . import building as b
from .elementwise import function

sigmoid = function("sigmoid", "logistic", "1 / (1 + exp(-x))")
relu6 = function("relu6", "relu6", "``x`` limited to 0 and 6")
selu = function("selu", "selu", "Scaled exponential linear unit, with its self-normalizing constants")
silu = function("silu", "silu", "x * sigmoid(x)")
softplus = function("softplus", "softplus", "log(exp(x) + 1)")
softsign = function("softsign", "softsign", "x / (|x| + 1)")
log_sigmoid = function("log_sigmoid", "log_sigmoid", "log(sigmoid(x))")
hard_sigmoid = function("hard_sigmoid", "hard_sigmoid", "relu6(x + 3) / 6")
hard_silu = function("hard_silu", "hard_silu", "x * hard_sigmoid(x)")
hard_tanh = function("hard_tanh", "hard_tanh", "``x`` limited to -1 and 1")
tanh_shrink = function("tanh_shrink", "tanh_shrink", "x - tanh(x)")
sparse_plus = function("sparse_plus", "sparse_plus", "0 below -1, x above 1, a parabola between")
sparse_sigmoid = function("sparse_sigmoid", "sparse_sigmoid", "(x + 1) / 2 limited to 0 and 1")
mish = function("mish", "mish", "x * tanh(softplus(x))")
swish = silu
hard_swish = hard_silu


@public_op(weak=False)
def relu(x: Any) -> Tensor:
    """``max(x, 0)``."""
    x = b.no_bool(x)
    return emit("relu", x) if b.is_float(x) else emit("maximum", x, b.like(x, 0))


@public_op(weak=False)
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """``x``, below 0 times ``negative_slope``."""
    return emit("leaky_relu", b.as_float(x), negative_slope=negative_slope)


@public_op(weak=False)
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """``x``, below 0 ``alpha * (exp(x) - 1)``."""
    return emit("elu", b.as_float(x), alpha=alpha)


@public_op(weak=False)
def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``."""
    return emit("celu", b.as_float(x), alpha=alpha)


@public_op(weak=False)
def gelu(x: Any, approximate: bool = True) -> Tensor:
    """``x`` times the probability that a normal variable is less; through tanh where ``approximate``."""
    return emit("gelu", b.as_float(x), approximate=bool(approximate))


@public_op(weak=False)
def squareplus(x: Any, b: float = 4) -> Tensor:
    """``(x + sqrt(x * x + b)) / 2``."""
    return emit("squareplus", promote_float(x)[0], b=b)


@public_op(weak=False)
def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """``x`` moved towards 0 by ``threshold``, 0 within it."""
    return emit("soft_shrink", b.as_float(x), threshold=threshold)


@public_op(weak=False)
def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """``x``, and 0 where ``|x| <= threshold``."""
    return emit("hard_shrink", b.as_float(x), threshold=threshold)


@public_op(weak=False)
def threshold(x: Any, threshold: float, default_value: float) -> Tensor:
    """``x`` where it is above ``threshold``, else ``default_value``."""
    return emit("threshold", b.as_float(x), threshold=threshold, value=default_value)


@public_op(weak=False)
def glu(x: Any, axis: int = -1) -> Tensor:
    """The first half of ``x`` along ``axis`` times the sigmoid of the second."""
    x = b.as_float(x)
    return emit("glu", x, axis=normalize_axis(axis, x.ndim))


# Softmaxes: over one axis, or over several as if they were one.


def _over_axes(op: str, x: Any, axis: Any) -> Tensor:
    x = as_tensor(x)
    if x.dtype == "bool":
        raise DTypeError(f"{op}: expected numbers, received bools; cast to a float type")
    x = b.as_float(x)
    if not x.ndim:
        raise ShapeError(f"{op}: expected a tensor of rank 1 or more, received {x!r}")
    axes = normalize_axes(axis, x.ndim)
    if not axes:
        raise ShapeError(f"{op}: expected at least one axis, received axis={axis}")
    if len(axes) == 1:
        return emit(op, x, axis=axes[0])
    shape = b.shape_of(x)
    order = [i for i in range(x.ndim) if i not in axes] + list(axes)
    moved = b.transpose(x, order)
    flat = b.reshape(moved, [shape[i] for i in order[: x.ndim - len(axes)]] + [b.size_of(shape, axes)])
    result = b.reshape(emit(op, flat, axis=flat.ndim - 1), b.shape_of(moved))
    return b.transpose(result, sorted(range(x.ndim), key=order.__getitem__))


@public_op(weak=False)
def softmax(x: Any, axis: Any = -1) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``axis`` (one, several together, or None: all)."""
    return _over_axes("softmax", x, axis)


@public_op(weak=False)
def log_softmax(x: Any, axis: Any = -1) -> Tensor:
    """The logarithm of :func:`softmax`."""
    return _over_axes("log_softmax", x, axis)


@public_op(weak=False)
def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """The point of the probability simplex nearest to ``x``, along ``axis``."""
    x = b.as_float(x)
    return emit("sparsemax", x, axis=normalize_axis(axis, x.ndim))


@public_op
def polar(abs_: Any, angle: Any) -> Tensor:
    """The complex number of a length and an angle."""
    length, direction = broadcast(*promote_float(abs_, angle), what="polar")
    if length.dtype not in ("float32", "float64"):
        length, direction = as_tensor(length, "float32"), as_tensor(direction, "float32")
    return emit("complex", b.multiply(length, emit("cosine", direction)), b.multiply(length, emit("sine", direction)))
