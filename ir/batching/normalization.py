"""Batching of normalizations: the axes move by one. Weights and statistics of their own for each element of the batch
are applied apart."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from ..ops.composites.rules import all_axes, one_axis, wide
from .rules import stretched, with_attributes


def over_axes(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """A norm with statistics of its own over ``axes``: layer_norm, rms_norm."""
    x, *weights = operands
    axes = tuple(axis + 1 for axis in all_axes(call, x.rank - batched[0]))
    if not batched[0]:
        x = stretched(b, x, size)
    if not any(batched[1:]):
        return with_attributes(b, call, (x, *weights), axes=axes)
    inner = b.astype(x, wide(x.dtype))
    plain = {name: False for name in ("scale", "center") if name in call.attributes}
    y = with_attributes(b, call, (inner,), axes=axes, **plain)
    apply = [b.multiply] if call["scale"] else []
    apply += [b.add] * (len(weights) - len(apply))
    for op, weight, has in zip(apply, weights, batched[1:], strict=True):
        y = op(y, _along(b, weight, y, axes, has))
    return b.astype(y, x.dtype)


def batch_norm(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """Normalization by given statistics."""
    x, *given = operands
    axis = one_axis(call, x.rank - batched[0]) + 1
    if not batched[0]:
        x = stretched(b, x, size)
    if not any(batched[1:]):
        return with_attributes(b, call, (x, *given), axis=axis)
    inner = b.astype(x, wide(x.dtype))
    mean, variance, *weights = ((b.astype(v, inner.dtype), has) for v, has in zip(given, batched[1:], strict=True))
    inverse = b.rsqrt(b.add(variance[0], b.full_like(variance[0], call["epsilon"])))
    y = b.subtract(inner, _along(b, mean[0], inner, (axis,), mean[1]))
    y = b.multiply(y, _along(b, inverse, inner, (axis,), variance[1]))
    if call["scale"]:
        gamma = weights.pop(0)
        y = b.multiply(y, _along(b, gamma[0], inner, (axis,), gamma[1]))
    for beta in weights:
        y = b.add(y, _along(b, beta[0], inner, (axis,), beta[1]))
    return b.astype(y, x.dtype)


def _along(b: Builder, value: Value, like: Value, axes: Sequence[int], batched: bool) -> Value:
    dims = (0, *axes) if batched else tuple(axes)
    return b.broadcast_in_dim(b.astype(value, like.dtype), shape=like.shape, dims=dims)
