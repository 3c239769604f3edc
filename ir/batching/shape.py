"""Batching of ops that move elements: attributes get an entry for the batch, axes are counted past it.

A window whose start differs within the batch is gathered, or scattered, one for each element.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import DimLike
from ..graph import Graph, Value
from ..opdef import Call
from ..types import BOOL, I32, I64, TensorType
from .rules import all_batched, elementwise, stretched, with_attributes

__all__ = ["elementwise"]


def _axes(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def reshape(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """``reshape`` and ``match_shape``."""
    return with_attributes(b, call, operands, shape=(size, *call["shape"]))


def transpose(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    return with_attributes(b, call, operands, permutation=(0, *_axes(call["permutation"])))


def broadcast_in_dim(
    b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]
) -> Value:
    return with_attributes(b, call, operands, shape=(size, *call["shape"]), dims=(0, *_axes(call["dims"])))


def reverse(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    return with_attributes(b, call, operands, axes=_axes(call["axes"]))


def slice_(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    return with_attributes(
        b, call, operands, start=(0, *call["start"]), limit=(size, *call["limit"]), strides=(1, *call["strides"])
    )


def concatenate(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    return with_attributes(b, call, all_batched(b, size, operands, batched), axis=call["axis"] + 1)


def pad(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """A padding value for each element is put where a padded mask says that there is no element."""
    x, value = operands
    edges = {name: (0, *call[name]) for name in ("low", "high", "interior")}
    if not batched[1]:
        return with_attributes(b, call, [x, value], **edges)
    whole = x if batched[0] else stretched(b, x, size)
    padded = with_attributes(b, call, [whole, b.constant(0, x.dtype)], **edges)
    inside = with_attributes(b, call, [b.full(whole.shape, True, BOOL), b.constant(False, BOOL)], **edges)
    return b.select(inside, padded, b.broadcast_in_dim(value, shape=padded.shape, dims=(0,)))


def dynamic_slice(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    (x, *starts), (x_batched, *moving) = operands, batched
    sizes = call["sizes"]
    if not any(moving):
        return b.dynamic_slice(x, b.constant(0, starts[0].dtype if starts else I32), *starts, sizes=(size, *sizes))
    axes = tuple(range(len(sizes)))
    where = {"operand_batching_dims": (0,), "start_indices_batching_dims": (0,)} if x_batched else {}
    return b.gather(
        x,
        _vectors(b, size, starts, moving),
        offset_dims=_axes(axes),
        collapsed_slice_dims=(),
        start_index_map=_axes(axes) if x_batched else axes,
        index_vector_dim=1,
        slice_sizes=(1, *sizes) if x_batched else sizes,
        **where,
    )


def dynamic_update_slice(
    b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]
) -> Value:
    (*arrays, moving), starts = [*batched[:2], batched[2:]], operands[2:]
    x, update = all_batched(b, size, operands[:2], arrays)
    if not any(moving):
        return b.dynamic_update_slice(x, update, b.constant(0, starts[0].dtype if starts else I32), *starts)
    axes = tuple(range(1, x.rank))
    # A scatter leaves out a window that sticks out, where this op moves it inside.
    room = [whole - part for whole, part in zip(x.shape[1:], update.shape[1:], strict=True)]
    places = [_clamped(b, start, last) for start, last in zip(starts, room, strict=True)]
    return b.scatter(
        x,
        _vectors(b, size, places, moving),
        update,
        update_window_dims=axes,
        inserted_window_dims=(),
        input_batching_dims=(0,),
        scatter_indices_batching_dims=(0,),
        scatter_dims_to_operand_dims=axes,
        index_vector_dim=1,
        unique_indices=True,
        regions=[_second(x.dtype)],
    )


def _clamped(b: Builder, start: Value, last: DimLike) -> Value:
    wide = b.astype(start, I32 if start.dtype == I32 else I64)
    return b.clamp(b.constant(0, wide.dtype), wide, b.dim_value(dim=last, dtype=wide.dtype))


def _vectors(b: Builder, size: DimLike, starts: Sequence[Value], batched: Sequence[bool]) -> Value:
    """The starts of each element as a row."""
    columns = [b.reshape(s, shape=(size, 1)) for s in all_batched(b, size, starts, batched)]
    return columns[0] if len(columns) == 1 else b.concatenate(*columns, axis=1)


def _second(dtype: object) -> Graph:
    """The region ``(old, new) -> new``."""
    region = Graph()
    for _ in range(2):
        region.add_input(TensorType(dtype))
    region.outputs = region.inputs[1:]
    return region
