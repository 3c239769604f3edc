"""Reverse derivatives of normalizations: two sums over the data and one pass that writes the input's cotangent.

``x^`` is the input with mean 0 and variance 1, ``g`` the cotangent times the scale, all in f32 for narrow floats. Over
the normalized axes ``dx = (g - mean(g) - x^ mean(g x^)) / deviation`` (Ioffe and Szegedy 2015, arXiv:1502.03167,
section 3). Statistics are computed as in the op itself, and so become one with those.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..graph import Value
from ..opdef import Call
from ..ops.composites.rules import all_axes, one_axis, wide
from .rules import Tangent


def _along(b: Builder, value: Value, like: Value, axes: Sequence[int]) -> Value:
    """``value``, whose dimensions are ``axes`` of ``like``, in the shape and type of ``like``."""
    return b.broadcast_in_dim(b.astype(value, like.dtype), shape=like.shape, dims=tuple(axes))


def _mean(b: Builder, x: Value, axes: Sequence[int]) -> Value:
    """The mean over ``axes``, in the shape of ``x``."""
    return b.expand(b.reduce_mean(x, axes=axes), x.shape, axes)


def _others(x: Value, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(i for i in range(x.rank) if i not in axes)


def layer_norm_vjp(
    b: Builder, call: Call, operands: Sequence[Value], results: Sequence[Value], cotangent: Value
) -> tuple[Tangent, ...]:
    """The cotangents of x, and of gamma and beta where they are there."""
    x, *weights = operands
    axes = all_axes(call, x.rank)
    inner, g = b.astype(x, wide(x.dtype)), b.astype(cotangent, wide(x.dtype))
    variance = b.reduce_variance(inner, axes=axes)
    inverse = b.expand(b.rsqrt(b.add(variance, b.full_like(variance, call["epsilon"]))), x.shape, axes)
    normal = b.multiply(b.subtract(inner, _mean(b, inner, axes)), inverse)
    found = _weight_cotangents(b, call, normal, g, weights, axes)
    if call["scale"]:
        g = b.multiply(g, _along(b, weights[0], g, axes))
    along = b.multiply(normal, _mean(b, b.multiply(g, normal), axes))
    dx = b.multiply(b.subtract(b.subtract(g, _mean(b, g, axes)), along), inverse)
    return (b.astype(dx, x.dtype), *found)


def _weight_cotangents(
    b: Builder, call: Call, normal: Value, g: Value, weights: Sequence[Value], axes: Sequence[int]
) -> list[Tangent]:
    """The cotangents of scale (first) and shift, whose dimensions are ``axes``."""
    others = _others(normal, axes)
    values = [b.multiply(g, normal)] if call["scale"] else []
    values += [g] * (len(weights) - len(values))
    return [b.astype(b.reduce_sum(v, axes=others), w.dtype) for v, w in zip(values, weights, strict=True)]


def rms_norm_vjp(
    b: Builder, call: Call, operands: Sequence[Value], results: Sequence[Value], cotangent: Value
) -> tuple[Tangent, ...]:
    """The cotangents of x, and of scale where it is there."""
    x, *weights = operands
    axes = all_axes(call, x.rank)
    inner, g = b.astype(x, wide(x.dtype)), b.astype(cotangent, wide(x.dtype))
    square = b.reduce_mean(b.multiply(inner, inner), axes=axes)
    inverse = b.expand(b.rsqrt(b.add(square, b.full_like(square, call["epsilon"]))), x.shape, axes)
    normal = b.multiply(inner, inverse)
    found = _weight_cotangents(b, call, normal, g, weights, axes)
    if weights:
        g = b.multiply(g, _along(b, weights[0], g, axes))
    along = b.multiply(normal, _mean(b, b.multiply(g, normal), axes))
    return (b.astype(b.multiply(b.subtract(g, along), inverse), x.dtype), *found)


def batch_norm_vjp(
    b: Builder, call: Call, operands: Sequence[Value], results: Sequence[Value], cotangent: Value
) -> tuple[Tangent, ...]:
    """The cotangents of x, mean, variance, gamma and beta.

    Statistics are operands here: where they were computed from x, x gets cotangents through them as well.
    """
    x, mean, variance, *weights = operands
    axis = one_axis(call, x.rank)
    inner, g = b.astype(x, wide(x.dtype)), b.astype(cotangent, wide(x.dtype))
    others = _others(x, (axis,))
    spread = b.astype(variance, inner.dtype)
    inverse = b.rsqrt(b.add(spread, b.full_like(spread, call["epsilon"])))
    distance = b.subtract(inner, _along(b, mean, inner, (axis,)))
    total = b.reduce_sum(g, axes=others)
    moment = b.reduce_sum(b.multiply(g, distance), axes=others)
    scale = b.multiply(inverse, b.astype(weights[0], inner.dtype)) if call["scale"] else inverse
    dx = b.multiply(g, _along(b, scale, g, (axis,)))
    half = b.multiply(b.full_like(scale, -0.5), b.multiply(scale, b.multiply(inverse, inverse)))
    found = [dx, b.negate(b.multiply(total, scale)), b.multiply(moment, half)]
    if call["scale"]:
        found.append(b.multiply(moment, inverse))
    if call["center"]:
        found.append(total)
    return tuple(b.astype(v, o.dtype) for v, o in zip(found, operands, strict=True))
