"""Derivatives of ops that move elements. All are linear; what is here is the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Builder
from ..dims import DimLike, ge
from ..graph import Value
from ..opdef import Call, Linear
from ..ops.checks import dilated
from .rules import Tangent, is_linear, known, linear, linear_in_first, of_shape, zeros

__all__ = ["linear", "linear_in_first"]

Operand = Value | Linear


def reshape_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.reshape(ct, shape=x.shape)


def match_shape_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.match_shape(ct, shape=x.shape)


def transpose_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    permutation = call["permutation"]
    return b.transpose(ct, permutation=tuple(permutation.index(i) for i in range(x.rank)))


def broadcast_in_dim_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    """The sum over the dimensions that are new or stretched."""
    dims = call["dims"]
    kept = [axis for axis, size in zip(dims, x.shape, strict=True) if size == ct.shape[axis]]
    summed = tuple(i for i in range(ct.rank) if i not in kept)
    if summed:
        ct = b.reduce_sum(ct, axes=summed)
    order = sorted(kept)
    if order != kept:
        ct = b.transpose(ct, permutation=tuple(order.index(axis) for axis in kept))
    return ct if ct.shape == x.shape else b.reshape(ct, shape=x.shape)


def reverse_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.reverse(ct, axes=call["axes"])


def slice_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    """The cotangent put back in its place among zeros."""
    low, strides = call["start"], call["strides"]
    taken = [dilated(n, step) for n, step in zip(ct.shape, strides, strict=True)]
    high = [size - start - n for size, start, n in zip(x.shape, low, taken, strict=True)]
    return b.pad(ct, b.constant(0, ct.dtype), low=low, high=high, interior=[step - 1 for step in strides])


def pad_transpose(b: Builder, call: Call, ct: Value, x: Operand, value: Operand) -> tuple[Tangent, Tangent]:
    """What lies at the operand's elements is its cotangent; the sum of the rest is that of the padding value."""
    inner = _without_padding(b, call, ct, x.shape)
    if not is_linear(value):
        return inner, None
    axes = tuple(range(ct.rank))
    rest = b.subtract(b.reduce_sum(ct, axes=axes), b.reduce_sum(inner, axes=axes)) if axes else zeros(b, ct.type)
    return inner if is_linear(x) else None, rest


def _without_padding(b: Builder, call: Call, ct: Value, shape: Sequence[DimLike]) -> Value:
    low, high, interior = call["low"], call["high"], call["interior"]
    origin, strides = (0,) * len(shape), tuple(gap + 1 for gap in interior)
    limit = [lo + dilated(n, step) for lo, n, step in zip(low, shape, strides, strict=True)]
    if any(ge(edge, 0) is not True for edge in (*low, *high)):  # an edge that was cut off comes back as zeros
        ct = b.pad(ct, b.constant(0, ct.dtype), low=[-d for d in low], high=[-d for d in high], interior=origin)
        low, limit = origin, list(ct.shape)
    if any(low) or any(interior) or tuple(limit) != ct.shape:
        ct = b.slice(ct, start=low, limit=limit, strides=strides)
    return of_shape(b, ct, shape)  # the algebra of dimensions does not see that ((N - 1) * 2 + 1 + 1) // 2 is N


def concatenate_transpose(b: Builder, call: Call, ct: Value, *xs: Operand) -> tuple[Tangent, ...]:
    """To each operand its part."""
    axis = call["axis"]
    start: list[DimLike] = [0] * ct.rank
    limit = list(ct.shape)
    parts: list[Tangent] = []
    end: DimLike = 0
    for x in xs:
        start[axis], limit[axis] = end, end + x.shape[axis]
        end = limit[axis]
        parts.append(b.slice(ct, start=start, limit=limit, strides=(1,) * ct.rank) if is_linear(x) else None)
    return tuple(parts)


def dynamic_slice_transpose(b: Builder, call: Call, ct: Value, x: Linear, *starts: Value) -> tuple[Tangent, ...]:
    """The cotangent put back in its place among zeros."""
    return b.dynamic_update_slice(zeros(b, x.type), ct, *starts), *[None] * len(starts)


def dynamic_update_slice(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any
) -> Tangent:
    """The update's tangent in the window, the operand's around it."""
    (x, update, *starts), (dx, du, *_) = primals, tangents
    if dx is None and du is None:
        return None
    return b.dynamic_update_slice(known(b, dx, x.type), known(b, du, update.type), *starts)


def dynamic_update_slice_transpose(
    b: Builder, call: Call, ct: Value, x: Operand, update: Operand, *starts: Value
) -> tuple[Tangent, ...]:
    """The window goes to the update, what is around it to the operand."""
    outer = b.dynamic_update_slice(ct, b.full(update.shape, 0, ct.dtype), *starts) if is_linear(x) else None
    inner = b.dynamic_slice(ct, *starts, sizes=update.shape) if is_linear(update) else None
    return outer, inner, *[None] * len(starts)
