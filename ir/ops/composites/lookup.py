"""What ``take`` is made of: indices counted from either end, and a gather that says where they are out of range."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from ...builder import Builder
from ...dims import DimLike
from ...graph import Value
from ...types import BOOL, I32, bit_width, is_integer, is_unsigned
from .rules import dim_scalar


def wide_indices(b: Builder, indices: Value) -> Value:
    """Indices in 32 bits at least, which hold the size of any axis."""
    return b.astype(indices, I32) if bit_width(indices.dtype) < 32 else indices


def from_start(b: Builder, indices: Value, length: DimLike) -> Value:
    """Indices in 32 bits at least, negative ones counted from the end of an axis; those out of range stay so."""
    places = wide_indices(b, indices)
    if is_unsigned(places.dtype):
        return places
    size = b.broadcast_to(dim_scalar(b, length, places.dtype), places.shape)
    return b.select(b.compare(places, b.full_like(places, 0), direction="LT"), b.add(places, size), places)


def fill(dtype: np.dtype) -> Any:
    """What stands where an index is out of range: NaN, the least integer, the greatest unsigned one, True."""
    if dtype == BOOL:
        return True
    if is_integer(dtype):
        return ml_dtypes.iinfo(dtype).max if is_unsigned(dtype) else ml_dtypes.iinfo(dtype).min
    return np.nan


def taken(b: Builder, x: Value, indices: Value, axis: int, batch: bool = False) -> Value:
    """Slices of ``x`` at indices along ``axis``; with ``batch``, each row of the first dimension at its own indices."""
    kept = int(batch)
    shape = (*x.shape[:axis], *indices.shape[kept:], *x.shape[axis + 1 :])
    if x.shape[axis] == 0:
        return b.full(shape, fill(x.dtype), x.dtype)
    places = from_start(b, indices, x.shape[axis])
    inside = b.compare(places, b.broadcast_to(dim_scalar(b, x.shape[axis], places.dtype), places.shape), direction="LT")
    if not is_unsigned(places.dtype):
        inside = b.and_(inside, b.compare(places, b.full_like(places, 0), direction="GE"))
    rank = places.rank - kept
    rows = (0,) * kept
    found = b.gather(
        x,
        places,
        index_vector_dim=places.rank,
        start_index_map=(axis,),
        collapsed_slice_dims=(axis,),
        operand_batching_dims=rows,
        start_indices_batching_dims=rows,
        offset_dims=(*range(kept, axis), *range(axis + rank, x.rank - 1 + rank)),
        slice_sizes=[1 if i == axis or i < kept else d for i, d in enumerate(x.shape)],
    )
    everywhere = b.broadcast_in_dim(inside, shape=shape, dims=(*range(kept), *range(axis, axis + rank)))
    return b.select(everywhere, found, b.full(shape, fill(x.dtype), x.dtype))
