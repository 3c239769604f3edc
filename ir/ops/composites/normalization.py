"""Normalizations, computed in f32 for narrow floats as Keras 3 does, in Keras's order of operations."""

from __future__ import annotations

from collections.abc import Sequence

from ...batching import normalization as batching
from ...builder import Builder
from ...derivatives import normalization as derivatives
from ...errors import ShapeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import TensorType
from ..checks import allowed_types
from .rules import all_axes, expect_operands, expect_shape, one_axis, wide


def _names(c: Call, fixed: Sequence[str], **optional: str) -> list[str]:
    """The operands' names: those that are always there, then those whose flag attribute is set."""
    return [*fixed, *(name for flag, name in optional.items() if c[flag])]


def _check(c: Call, types: Sequence[TensorType], names: Sequence[str], axes: Sequence[int]) -> TensorType:
    """Check that all operands are floats and that those after the first have the shape of the normalized axes."""
    expect_operands(c, types, *names)
    x = types[0]
    shape = [x.shape[axis] for axis in axes]
    allowed_types(c, x, "f")
    for name, type_ in zip(names[1:], types[1:], strict=True):
        allowed_types(c, type_, "f", name)
        expect_shape(c, name, type_, shape, f"axes {tuple(axes)} of {x}")
    return x


def _rank(c: Call, types: Sequence[TensorType], names: Sequence[str]) -> int:
    expect_operands(c, types, *names)
    return types[0].rank


def _spread(b: Builder, value: Value, like: Value, axes: Sequence[int]) -> Value:
    """``value``, whose dimensions are ``axes`` of ``like``, in the shape and type of ``like``."""
    return b.broadcast_in_dim(b.astype(value, like.dtype), shape=like.shape, dims=tuple(axes))


def _scale_and_shift(b: Builder, x: Value, mean: Value, scale: Value, shift: Value | None) -> Value:
    """``x * scale + (shift - mean * scale)``."""
    offset = b.multiply(b.negate(mean), scale)
    return b.add(b.multiply(x, scale), offset if shift is None else b.add(offset, shift))


def _infer_layer_norm(c: Call, *types: TensorType) -> TensorType:
    names = _names(c, ["x"], scale="gamma", center="beta")
    axes = all_axes(c, _rank(c, types, names))
    if not axes:
        raise ShapeError(f"layer_norm: expected at least one axis to normalize over, received none for {types[0]}")
    return _check(c, types, names, axes)


@composite(
    "layer_norm",
    "(x - mean) * rsqrt(variance + epsilon) * gamma + beta over axes; gamma and beta have the "
    "shape of the axes in rising order (keras.ops.layer_normalization; Ba et al. 2016, arXiv:1607.06450)",
    _infer_layer_norm,
    attributes={
        "axes": Attribute("ints"),
        "epsilon": Attribute("float", 1e-3),
        "scale": Attribute("bool", True),
        "center": Attribute("bool", True),
    },
    vjp=derivatives.layer_norm_vjp,
    batch=batching.over_axes,
)
def _layer_norm(b: Builder, c: Call, x: Value, *weights: Value) -> Value:
    axes = all_axes(c, x.rank)
    inner = b.astype(x, wide(x.dtype))
    mean = b.expand(b.reduce_mean(inner, axes=axes), x.shape, axes)
    variance = b.reduce_variance(inner, axes=axes)
    inverse = b.expand(b.rsqrt(b.add(variance, b.full_like(variance, c["epsilon"]))), x.shape, axes)
    spread = [_spread(b, w, inner, axes) for w in weights]
    if c["scale"]:
        inverse = b.multiply(inverse, spread.pop(0))
    return b.astype(_scale_and_shift(b, inner, mean, inverse, spread[0] if spread else None), x.dtype)


def _infer_rms_norm(c: Call, *types: TensorType) -> TensorType:
    names = _names(c, ["x"], scale="scale")
    axes = all_axes(c, _rank(c, types, names))
    if not axes:
        raise ShapeError(f"rms_norm: expected at least one axis to normalize over, received none for {types[0]}")
    return _check(c, types, names, axes)


@composite(
    "rms_norm",
    "x * rsqrt(mean(x * x) + epsilon) * scale over axes; scale has the shape of the axes in rising "
    "order (keras.ops.rms_normalization; Zhang and Sennrich 2019, arXiv:1910.07467)",
    _infer_rms_norm,
    attributes={"axes": Attribute("ints"), "epsilon": Attribute("float", 1e-6), "scale": Attribute("bool", True)},
    vjp=derivatives.rms_norm_vjp,
    batch=batching.over_axes,
)
def _rms_norm(b: Builder, c: Call, x: Value, *weights: Value) -> Value:
    axes = all_axes(c, x.rank)
    inner = b.astype(x, wide(x.dtype))
    square = b.reduce_mean(b.multiply(inner, inner), axes=axes)
    inverse = b.rsqrt(b.add(square, b.full_like(square, c["epsilon"])))
    result = b.multiply(inner, b.expand(inverse, x.shape, axes))
    for weight in weights:
        result = b.multiply(result, _spread(b, weight, inner, axes))
    return b.astype(result, x.dtype)


def _infer_batch_norm(c: Call, *types: TensorType) -> TensorType:
    names = _names(c, ["x", "mean", "variance"], scale="gamma", center="beta")
    return _check(c, types, names, (one_axis(c, _rank(c, types, names)),))


@composite(
    "batch_norm",
    "(x - mean) * rsqrt(variance + epsilon) * gamma + beta with given statistics, one for each "
    "index of axis (keras.layers.BatchNormalization in inference; Ioffe and Szegedy 2015, arXiv:1502.03167)",
    _infer_batch_norm,
    attributes={
        "axis": Attribute("int", -1),
        "epsilon": Attribute("float", 1e-3),
        "scale": Attribute("bool", True),
        "center": Attribute("bool", True),
    },
    vjp=derivatives.batch_norm_vjp,
    batch=batching.batch_norm,
)
def _batch_norm(b: Builder, c: Call, x: Value, mean: Value, variance: Value, *weights: Value) -> Value:
    axis = one_axis(c, x.rank)
    inner = b.astype(x, wide(x.dtype))
    # What depends on the statistics alone stays one value for each index of the axis, cheap and easy to fold.
    mean, variance, *rest = (b.astype(v, inner.dtype) for v in (mean, variance, *weights))
    inverse = b.rsqrt(b.add(variance, b.full_like(variance, c["epsilon"])))
    if c["scale"]:
        inverse = b.multiply(inverse, rest.pop(0))
    offset = b.multiply(b.negate(mean), inverse)
    if rest:
        offset = b.add(offset, rest[0])
    scaled = b.multiply(inner, _spread(b, inverse, inner, (axis,)))
    return b.astype(b.add(scaled, _spread(b, offset, inner, (axis,))), x.dtype)
