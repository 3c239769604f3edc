"""Padding, and diagonals of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dims import Dim, DimLike, max_dim
from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor, at_least, emit, normalize_axis
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor, plain_dims
from ..trace import require_trace
from . import building as b
from .creation import diagonal_mask
from .reduction import summable


def _pad_pairs(pad_width: Any, rank: int) -> list[tuple[DimLike, DimLike]]:
    """``pad_width`` as NumPy reads it: a number, (before, after), or one such pair for each axis."""

    def entry(p: Any) -> DimLike:
        return plain_dims(p) if isinstance(p, Dim) else b.int_arg(p, "pad", "pad_width")

    if not isinstance(pad_width, tuple | list | np.ndarray):
        return [(entry(pad_width),) * 2] * rank
    if not any(isinstance(row, tuple | list | np.ndarray) for row in pad_width):
        pad_width = (pad_width,)
    rows = [tuple(map(entry, row if isinstance(row, tuple | list | np.ndarray) else (row,))) for row in pad_width]
    pairs = [(row[0], row[-1]) for row in rows if 1 <= len(row) <= 2]
    pairs = pairs * rank if len(rows) == 1 else pairs
    if len(pairs) != rank:
        raise ArgumentError(f"pad: expected a (before, after) for each of {rank} axes, received {pad_width}")
    return pairs


@public_op
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Tensor:
    """``x`` with edges of ``pad_width`` elements: (before, after) for each axis.

    Args:
        mode: ``"constant"``, ``"edge"``, ``"reflect"``, ``"symmetric"`` or ``"wrap"``.
        constant_values: what the edges hold, 0 by default.
    """
    x = as_tensor(x)
    if constant_values is not None and mode != "constant":
        raise ArgumentError(f"pad: constant_values goes with mode 'constant' only, received mode {mode!r}")
    pairs = _pad_pairs(pad_width, x.ndim)
    if any(isinstance(p, int) and p < 0 for pair in pairs for p in pair):
        raise ArgumentError(f"pad: expected pad_width >= 0, received {pad_width}")
    if mode == "constant":
        value = as_tensor(0 if constant_values is None else constant_values, x.dtype)
        if value.ndim:
            raise ShapeError(f"pad: expected one number for constant_values, received {value!r}")
        return b.pad_with(x, value, [low for low, _ in pairs], [high for _, high in pairs])
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ArgumentError(
            f"pad: expected mode 'constant', 'edge', 'reflect', 'symmetric' or 'wrap', received {mode!r}"
        )
    for axis, (low, high) in enumerate(pairs):
        x = _pad_axis(x, axis, low, high, mode)
    return x


def _pad_axis(x: Tensor, axis: int, low: DimLike, high: DimLike, mode: str) -> Tensor:
    if low == 0 and high == 0:
        return x
    size = b.shape_of(x)[axis]
    if mode == "edge":
        parts = [_edge(x, axis, 0, low), x, _edge(x, axis, size - 1, high)]
        return b.concatenate([p for p in parts if p is not None], axis)
    turn = 1 if mode == "reflect" else 0
    while True:  # a pad wider than the tensor takes several turns
        room = size if mode == "wrap" else size - turn
        if isinstance(room, int) and room < 1:
            raise ShapeError(f"pad: mode {mode!r} needs more elements along axis {axis} of {x!r}")
        left, right = _at_most(low, room), _at_most(high, room)
        if mode == "wrap":
            before, after = b.cut(x, axis, size - left, size), b.cut(x, axis, 0, right)
        else:
            before = emit("reverse", b.cut(x, axis, turn, turn + left), axes=(axis,))
            after = emit("reverse", b.cut(x, axis, size - turn - right, size - turn), axes=(axis,))
        x = b.concatenate([before, x, after], axis)
        low, high, size = low - left, high - right, size + left + right
        if low == 0 and high == 0:
            return x


def _at_most(wanted: DimLike, room: DimLike) -> DimLike:
    if isinstance(wanted, int) and isinstance(room, int):
        return min(wanted, room)
    return wanted if at_least(room, wanted) else room


def _edge(x: Tensor, axis: int, place: DimLike, count: DimLike) -> Tensor | None:
    if count == 0:
        return None
    shape = [count if i == axis else d for i, d in enumerate(b.shape_of(x))]
    return stretch(b.cut(x, axis, place, place + 1), shape)


# Diagonals.


def _diagonal_size(rows: DimLike, columns: DimLike, offset: int) -> tuple[DimLike, int, int]:
    """Its length, and the row and column it starts at."""
    row, column = max(-offset, 0), max(offset, 0)
    if isinstance(rows, int) and isinstance(columns, int):
        return max(min(rows - row, columns - column), 0), row, column
    if offset == 0 and rows == columns:
        return rows, 0, 0
    length = columns - column if at_least(rows - row, columns - column) else rows - row
    return max_dim(length, 0), row, column


@public_op(weak=False)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonal of two axes, as last axis."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"diagonal: expected a tensor of rank 2 or more, received {x!r}")
    first, second = normalize_axis(axis1, x.ndim, "axis1"), normalize_axis(axis2, x.ndim, "axis2")
    if first == second:
        raise ShapeError(f"diagonal: expected two different axes, received {axis1} and {axis2}")
    order = [i for i in range(x.ndim) if i not in (first, second)] + [first, second]
    return diagonal_of_last(b.transpose(x, order), b.int_arg(offset, "diagonal", "offset"))


def diagonal_of_last(x: Tensor, offset: int) -> Tensor:
    """The diagonal of the last two axes: a gather of (row, column) pairs."""
    *batch, rows, columns = b.shape_of(x)
    length, row, column = _diagonal_size(rows, columns, offset)
    places = b.iota((length, 2), 0)
    if offset:
        start = require_trace().constant(np.array([row, column], np.int32))
        places = b.add(places, b.spread(start, (length, 2), (1,)))
    rank = len(batch)
    return emit(
        "gather",
        x,
        places,
        offset_dims=range(rank),
        collapsed_slice_dims=(rank, rank + 1),
        operand_batching_dims=(),
        start_indices_batching_dims=(),
        start_index_map=(rank, rank + 1),
        index_vector_dim=1,
        slice_sizes=(*batch, 1, 1),
    )


@public_op(weak=False)
def diag(x: Any, k: int = 0) -> Tensor:
    """Of a vector the matrix with it as ``k``-th diagonal; of a matrix its ``k``-th diagonal."""
    x = as_tensor(x)
    if x.ndim == 2:
        return diagonal_of_last(x, b.int_arg(k, "diag", "k"))
    if x.ndim != 1:
        raise ShapeError(f"diag: expected a vector or a matrix, received {x!r}")
    return _from_diagonal(x, b.int_arg(k, "diag", "k"))


@public_op(weak=False)
def diagflat(x: Any, k: int = 0) -> Tensor:
    """The matrix with all elements of ``x`` as ``k``-th diagonal."""
    x = as_tensor(x)
    return _from_diagonal(b.reshape(x, (x.value.type.size,)), b.int_arg(k, "diagflat", "k"))


def _from_diagonal(x: Tensor, k: int) -> Tensor:
    x = b.pad_with(x, 0, [max(k, 0)], [max(-k, 0)])
    size = b.shape_of(x)[0]
    return b.select(diagonal_mask(size, size, k, "EQ"), b.spread(x, (size, size), (1,)), 0)


@public_op(weak=False)
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of a diagonal."""
    x = diagonal.traced(summable(x), offset, axis1, axis2)
    return b.reduce("reduce_sum", x, (x.ndim - 1,))
