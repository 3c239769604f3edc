"""Batching of gather, scatter, sort and top_k.

Where the indices have the new dimension, it is a batching dimension of both; where they do not, one more dimension of
each slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from .reduction import along_axis
from .rules import all_batched, elementwise, with_attributes

__all__ = ["along_axis", "elementwise", "gather", "scatter"]


def _later(dims: Sequence[int]) -> tuple[int, ...]:
    return tuple(d + 1 for d in dims)


def gather(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """One gather: of slices that have the new dimension, or at indices that do."""
    of_x, of_indices = batched
    attributes: dict[str, Any] = {"offset_dims": _later(call["offset_dims"])}
    if of_indices:
        attributes["index_vector_dim"] = call["index_vector_dim"] + 1
        attributes["start_indices_batching_dims"] = _later(call["start_indices_batching_dims"])
    if of_x:
        for name in ("collapsed_slice_dims", "start_index_map", "operand_batching_dims"):
            attributes[name] = _later(call[name])
        attributes["slice_sizes"] = (1 if of_indices else size, *call["slice_sizes"])
    if of_x and of_indices:
        attributes["operand_batching_dims"] = (0, *attributes["operand_batching_dims"])
        attributes["start_indices_batching_dims"] = (0, *attributes["start_indices_batching_dims"])
    elif of_x:
        attributes["offset_dims"] = (0, *attributes["offset_dims"])
    if of_indices:
        attributes["indices_are_sorted"] = False
    return with_attributes(b, call, operands, **attributes)


def scatter(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
    """One scatter: of windows that have the new dimension, or at indices that do."""
    count = len(operands) // 2
    of_indices = batched[count]
    arrays = all_batched(b, size, operands, [True if i == count else has for i, has in enumerate(batched)])
    attributes: dict[str, Any] = {
        name: _later(call[name])
        for name in (
            "update_window_dims",
            "inserted_window_dims",
            "input_batching_dims",
            "scatter_dims_to_operand_dims",
        )
    }
    if of_indices:
        attributes["index_vector_dim"] = call["index_vector_dim"] + 1
        attributes["input_batching_dims"] = (0, *attributes["input_batching_dims"])
        attributes["scatter_indices_batching_dims"] = (0, *_later(call["scatter_indices_batching_dims"]))
        attributes["indices_are_sorted"] = False
    else:
        attributes["update_window_dims"] = (0, *attributes["update_window_dims"])
    return with_attributes(b, call, arrays, **attributes)


def take(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """A take of slices that have the new dimension, or at indices that do; at each row's own indices: a gather."""
    from ..ops.composites.lookup import taken

    (x, indices), (of_x, of_indices) = operands, batched
    axis = call["axis"]
    if axis < 0:
        axis += x.rank - of_x
    if of_x and of_indices:
        return taken(b, x, indices, axis + 1, batch=True)
    if of_x:
        return b.take(x, indices, axis=axis + 1)
    result = b.take(x, indices, axis=axis)
    order = [axis, *(i for i in range(result.rank) if i != axis)]
    return b.transpose(result, permutation=order) if axis else result


def one_hot(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """The new axis stays where it is among the others."""
    axis = call["axis"]
    return with_attributes(b, call, operands, axis=axis if axis < 0 else axis + 1)
