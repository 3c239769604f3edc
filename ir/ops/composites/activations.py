"""Activations, computed by the formulas of ``jax.nn`` in the operand's own element type, as Keras 3 on JAX does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...batching import rules as batching
from ...batching.axes import moved
from ...builder import Builder
from ...derivatives import activations as derivatives
from ...dims import DimLike
from ...errors import ShapeError
from ...graph import Graph, Value
from ...opdef import Attribute, ByDecomposition, Call, DecomposeRule, OpDef, composite
from ...types import I32, TensorType
from ..checks import allowed_types
from .rules import all_axes, expect_operands, like_operand, one_axis, without


def _activation(
    name: str, meaning: str, families: str = "f", *, jvp: Any = ByDecomposition, **attributes: Attribute
) -> Callable[[DecomposeRule], OpDef]:
    """Declare an elementwise activation: one operand, a result of its type."""
    return composite(
        name,
        meaning,
        like_operand(families),
        attributes=attributes,
        elementwise=True,
        jvp=jvp,
        batch=batching.elementwise,
    )


def _greater(b: Builder, x: Value, bound: float) -> Value:
    return b.compare(x, b.full_like(x, bound), direction="GT")


def _less(b: Builder, x: Value, bound: float) -> Value:
    return b.compare(x, b.full_like(x, bound), direction="LT")


@_activation("relu", "max(x, 0); NaN stays (jax.nn.relu)", "fi", jvp=derivatives.relu)
def _relu(b: Builder, c: Call, x: Value) -> Value:
    return b.maximum(x, b.full_like(x, 0))


@_activation("relu6", "min(max(x, 0), 6) (jax.nn.relu6; Krizhevsky 2010)", "fi", jvp=derivatives.relu6)
def _relu6(b: Builder, c: Call, x: Value) -> Value:
    return b.minimum(b.maximum(x, b.full_like(x, 0)), b.full_like(x, 6))


@_activation(
    "leaky_relu", "x where x >= 0, else negative_slope * x (jax.nn.leaky_relu)", negative_slope=Attribute("float", 0.2)
)
def _leaky_relu(b: Builder, c: Call, x: Value) -> Value:
    positive = b.compare(x, b.full_like(x, 0), direction="GE")
    return b.select(positive, x, b.multiply(b.full_like(x, c["negative_slope"]), x))


@_activation(
    "elu",
    "x where x > 0, else alpha * (exp(x) - 1) (jax.nn.elu; Clevert et al. 2015, arXiv:1511.07289)",
    alpha=Attribute("float", 1.0),
    jvp=derivatives.elu,
)
def _elu(b: Builder, c: Call, x: Value) -> Value:
    positive = _greater(b, x, 0)
    # The positive part is zeroed before exp, so that a derivative of the unused branch never overflows.
    negative_part = b.select(positive, b.full_like(x, 0), x)
    return b.select(positive, x, b.multiply(b.full_like(x, c["alpha"]), b.exponential_minus_one(negative_part)))


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@_activation(
    "selu",
    "scale * elu(x, alpha) with the self-normalizing constants (jax.nn.selu; Klambauer et al. 2017, arXiv:1706.02515)",
)
def _selu(b: Builder, c: Call, x: Value) -> Value:
    return b.multiply(b.full_like(x, _SELU_SCALE), b.elu(x, alpha=_SELU_ALPHA))


@_activation(
    "celu",
    "max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1) (jax.nn.celu; Barron 2017, arXiv:1704.07483)",
    alpha=Attribute("float", 1.0),
)
def _celu(b: Builder, c: Call, x: Value) -> Value:
    zero, alpha = b.full_like(x, 0), b.full_like(x, c["alpha"])
    negative = b.exponential_minus_one(b.divide(b.minimum(x, zero), alpha))
    return b.add(b.maximum(x, zero), b.multiply(alpha, negative))


@_activation(
    "gelu",
    "x * P(normal <= x), exact through erfc or approximate through tanh (jax.nn.gelu; Hendrycks and "
    "Gimpel 2016, arXiv:1606.08415)",
    approximate=Attribute("bool"),
    jvp=derivatives.gelu,
)
def _gelu(b: Builder, c: Call, x: Value) -> Value:
    k = partial(b.full_like, x)
    if not c["approximate"]:
        half_x = b.multiply(k(0.5), x)
        return b.multiply(half_x, b.erfc(b.multiply(b.negate(x), k(np.sqrt(0.5)))))
    cube = b.multiply(x, b.multiply(x, x))
    inner = b.multiply(k(np.sqrt(2 / np.pi)), b.add(x, b.multiply(k(0.044715), cube)))
    return b.multiply(x, b.multiply(k(0.5), b.add(k(1), b.tanh(inner))))


@_activation("silu", "x * logistic(x) (jax.nn.silu; Elfwing et al. 2017, arXiv:1702.03118)", jvp=derivatives.silu)
def _silu(b: Builder, c: Call, x: Value) -> Value:
    return b.multiply(x, b.logistic(x))


@composite(
    "logaddexp",
    "log(exp(x) + exp(y)) without overflow (jax.numpy.logaddexp)",
    like_operand("f", "x", "y"),
    elementwise=True,
    commutative=True,
    jvp=derivatives.logaddexp,
    batch=batching.elementwise,
)
def _logaddexp(b: Builder, c: Call, x: Value, y: Value) -> Value:
    delta = b.subtract(x, y)
    finite = b.add(b.maximum(x, y), b.log_plus_one(b.exponential(b.negate(b.abs(delta)))))
    # x - y is NaN for NaN operands and for two infinities of one sign: their sum is the answer.
    return b.select(b.compare(delta, delta, direction="NE"), b.add(x, y), finite)


@_activation("softplus", "log(exp(x) + 1) = logaddexp(x, 0) (jax.nn.softplus)", jvp=derivatives.softplus)
def _softplus(b: Builder, c: Call, x: Value) -> Value:
    return b.logaddexp(x, b.full_like(x, 0))


@_activation("softsign", "x / (|x| + 1) (jax.nn.soft_sign)")
def _softsign(b: Builder, c: Call, x: Value) -> Value:
    return b.divide(x, b.add(b.abs(x), b.full_like(x, 1)))


@_activation("log_sigmoid", "log(logistic(x)) = -softplus(-x) (jax.nn.log_sigmoid)", jvp=derivatives.log_sigmoid)
def _log_sigmoid(b: Builder, c: Call, x: Value) -> Value:
    return b.negate(b.softplus(b.negate(x)))


@_activation("hard_sigmoid", "relu6(x + 3) / 6 (jax.nn.hard_sigmoid)")
def _hard_sigmoid(b: Builder, c: Call, x: Value) -> Value:
    return b.divide(b.relu6(b.add(x, b.full_like(x, 3))), b.full_like(x, 6))


@_activation("hard_silu", "x * hard_sigmoid(x) (jax.nn.hard_silu; Howard et al. 2019, arXiv:1905.02244)")
def _hard_silu(b: Builder, c: Call, x: Value) -> Value:
    return b.multiply(x, b.hard_sigmoid(x))


@_activation("hard_tanh", "x limited to [-1, 1]; NaN stays (jax.nn.hard_tanh)")
def _hard_tanh(b: Builder, c: Call, x: Value) -> Value:
    below = b.select(_less(b, x, -1), b.full_like(x, -1), x)
    return b.select(_greater(b, x, 1), b.full_like(x, 1), below)


@_activation("mish", "x * tanh(softplus(x)) (jax.nn.mish; Misra 2019, arXiv:1908.08681)")
def _mish(b: Builder, c: Call, x: Value) -> Value:
    return b.multiply(x, b.tanh(b.softplus(x)))


@_activation("tanh_shrink", "x - tanh(x) (keras.ops.tanh_shrink)")
def _tanh_shrink(b: Builder, c: Call, x: Value) -> Value:
    return b.subtract(x, b.tanh(x))


@_activation(
    "soft_shrink",
    "x moved towards 0 by threshold, 0 where |x| <= threshold (keras.ops.soft_shrink)",
    threshold=Attribute("float", 0.5),
)
def _soft_shrink(b: Builder, c: Call, x: Value) -> Value:
    bound = c["threshold"]
    step = b.full_like(x, bound)
    below = b.select(_less(b, x, -bound), b.add(x, step), b.full_like(x, 0))
    return b.select(_greater(b, x, bound), b.subtract(x, step), below)


@_activation(
    "hard_shrink", "x where |x| > threshold, else 0 (keras.ops.hard_shrink)", threshold=Attribute("float", 0.5)
)
def _hard_shrink(b: Builder, c: Call, x: Value) -> Value:
    return b.select(_greater(b, b.abs(x), c["threshold"]), x, b.full_like(x, 0))


@_activation(
    "threshold",
    "x where x > threshold, else value (keras.ops.threshold)",
    threshold=Attribute("float"),
    value=Attribute("float"),
)
def _threshold(b: Builder, c: Call, x: Value) -> Value:
    return b.select(_greater(b, x, c["threshold"]), x, b.full_like(x, c["value"]))


@_activation(
    "squareplus",
    "(x + sqrt(x*x + b)) / 2 (jax.nn.squareplus; Barron 2021, arXiv:2112.11687)",
    b=Attribute("float", 4.0),
)
def _squareplus(b: Builder, c: Call, x: Value) -> Value:
    root = b.sqrt(b.add(b.multiply(x, x), b.full_like(x, c["b"])))
    return b.divide(b.add(x, root), b.full_like(x, 2))


@_activation("sparse_plus", "0 below -1, x above 1, (x + 1)^2 / 4 between (jax.nn.sparse_plus)")
def _sparse_plus(b: Builder, c: Call, x: Value) -> Value:
    shifted = b.add(x, b.full_like(x, 1))
    middle = b.divide(b.multiply(shifted, shifted), b.full_like(x, 4))
    above = b.select(b.compare(x, b.full_like(x, 1), direction="GE"), x, middle)
    return b.select(b.compare(x, b.full_like(x, -1), direction="LE"), b.full_like(x, 0), above)


@_activation(
    "sparse_sigmoid",
    "(x + 1) / 2 limited to [0, 1] (jax.nn.sparse_sigmoid; Martins and Astudillo 2016, arXiv:1602.02068)",
)
def _sparse_sigmoid(b: Builder, c: Call, x: Value) -> Value:
    shifted = b.add(x, b.full_like(x, 1))
    limited = b.minimum(b.maximum(shifted, b.full_like(x, 0)), b.full_like(x, 2))
    return b.multiply(b.full_like(x, 0.5), limited)


def _along_axis(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "x")
    allowed_types(c, types[0], "f")
    one_axis(c, types[0].rank)
    return types[0]


def _less_its_maximum(b: Builder, x: Value, axis: int) -> Value:
    """``x - max(x)``, the maximum taken for a constant by derivatives: it cancels."""
    top = b.stop_gradient(b.reduce_max(x, axes=(axis,)))
    return b.subtract(x, b.expand(top, x.shape, (axis,)))


@composite(
    "softmax",
    "exp(x - max) / sum(exp(x - max)) along axis (jax.nn.softmax)",
    _along_axis,
    attributes={"axis": Attribute("int", -1)},
    jvp=derivatives.softmax,
    batch=moved("axis"),
)
def _softmax(b: Builder, c: Call, x: Value) -> Value:
    axis = one_axis(c, x.rank)
    weights = b.exponential(_less_its_maximum(b, x, axis))
    return b.divide(weights, b.expand(b.reduce_sum(weights, axes=(axis,)), x.shape, (axis,)))


@composite(
    "log_softmax",
    "x - max - log(sum(exp(x - max))) along axis (jax.nn.log_softmax)",
    _along_axis,
    attributes={"axis": Attribute("int", -1)},
    jvp=derivatives.log_softmax,
    batch=moved("axis"),
)
def _log_softmax(b: Builder, c: Call, x: Value) -> Value:
    axis = one_axis(c, x.rank)
    shifted = _less_its_maximum(b, x, axis)
    total = b.log(b.reduce_sum(b.exponential(shifted), axes=(axis,)))
    return b.subtract(shifted, b.expand(total, x.shape, (axis,)))


def _infer_logsumexp(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "x")
    allowed_types(c, types[0], "f")
    return types[0].with_shape(without(types[0].shape, all_axes(c, types[0].rank), c["keepdims"]))


@composite(
    "logsumexp",
    "log(sum(exp(x))) over axes without overflow; an empty sum is -inf (jax.nn.logsumexp)",
    _infer_logsumexp,
    attributes={"axes": Attribute("ints"), "keepdims": Attribute("bool", False)},
    jvp=derivatives.logsumexp,
    batch=moved("axes"),
)
def _logsumexp(b: Builder, c: Call, x: Value) -> Value:
    axes = all_axes(c, x.rank)
    top = b.reduce_max(x, axes=axes)
    # An infinite maximum would make inf - inf: it is left out, exp and log carry the infinity.
    top = b.stop_gradient(b.select(b.is_finite(top), top, b.full_like(top, 0)))
    total = b.reduce_sum(b.exponential(b.subtract(x, b.expand(top, x.shape, axes))), axes=axes)
    result = b.add(b.log(total), top)
    return b.reshape(result, shape=without(x.shape, axes, True)) if c["keepdims"] else result


def _ascending(dtype: np.dtype) -> Graph:
    """The comparator ``(a, b) -> a < b`` in total order, which puts a positive NaN last."""
    region = Graph()
    left, right = (region.add_input(TensorType(dtype)) for _ in range(2))
    region.outputs = [Builder(region).compare(left, right, direction="LT", total_order=True)]
    return region


@composite(
    "sparsemax",
    "max(x - tau, 0) along axis, tau from sorted cumulative sums (keras.ops.sparsemax, whose tau "
    "adds up the cumulative sums of the support; after Martins and Astudillo 2016, arXiv:1602.02068)",
    _along_axis,
    attributes={"axis": Attribute("int", -1)},
    batch=moved("axis"),
)
def _sparsemax(b: Builder, c: Call, x: Value) -> Value:
    axis = one_axis(c, x.rank)
    one, zero = b.full_like(x, 1), b.full_like(x, 0)
    # Ascending order of -x, every NaN made positive so that it comes last.
    keys = b.select(b.compare(x, x, direction="NE"), b.full_like(x, np.nan), b.negate(x))
    descending = b.negate(b.sort(keys, axis=axis, regions=[_ascending(x.dtype)]))
    sums = b.cumsum(descending, axis=axis)
    count = b.add(b.astype(b.iota(dtype=I32, shape=x.shape, axis=axis), x.dtype), one)
    support = b.compare(b.subtract(descending, b.divide(b.subtract(sums, one), count)), zero, direction="GT")
    size = b.astype(b.reduce_sum(b.astype(support, I32), axes=(axis,)), x.dtype)
    total = b.reduce_sum(b.select(support, sums, zero), axes=(axis,))
    tau = b.divide(b.subtract(total, b.full_like(total, 1)), size)
    return b.maximum(b.subtract(x, b.expand(tau, x.shape, (axis,))), zero)


def _infer_glu(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "x")
    allowed_types(c, types[0], "f")
    axis = one_axis(c, types[0].rank)
    return types[0].with_shape(_halved(c, types[0].shape, axis))


def _halved(c: Call, shape: tuple[DimLike, ...], axis: int) -> tuple[DimLike, ...]:
    half = shape[axis] // 2
    if 2 * half != shape[axis]:
        raise ShapeError(
            f"{c.op.name} halves axis {axis}, which should be even for sure, such as 64 or 2*N; "
            f"received {shape[axis]} of [{','.join(map(str, shape))}]"
        )
    return (*shape[:axis], half, *shape[axis + 1 :])


@composite(
    "glu",
    "a * logistic(b), a and b the halves of x along axis (jax.nn.glu; Dauphin et al. 2016, arXiv:1612.08083)",
    _infer_glu,
    attributes={"axis": Attribute("int", -1)},
    batch=moved("axis"),
)
def _glu(b: Builder, c: Call, x: Value) -> Value:
    axis = one_axis(c, x.rank)
    half = _halved(c, x.shape, axis)[axis]
    start, middle = [0] * x.rank, list(x.shape)
    middle[axis] = half
    strides = (1,) * x.rank
    first = b.slice(x, start=start, limit=middle, strides=strides)
    second = b.slice(x, start=[half if i == axis else 0 for i in range(x.rank)], limit=x.shape, strides=strides)
    return b.multiply(first, b.logistic(second))
