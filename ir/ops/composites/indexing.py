"""Composites that read an array by indices, or write indices out."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from ...builder import Builder
from ...dims import DimLike, same
from ...errors import ArgumentError, ShapeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import BOOL, I32, TensorType, bit_width, is_integer, is_unsigned
from ..checks import allowed_types
from .rules import dim_scalar, expect_operands, one_axis


def _wide_indices(b: Builder, indices: Value) -> Value:
    """Indices in 32 bits at least, which hold the size of any axis."""
    return b.astype(indices, I32) if bit_width(indices.dtype) < 32 else indices


def _fill(dtype: np.dtype) -> Any:
    """What stands where an index is out of range: NaN, the least integer, the greatest unsigned one, True."""
    if dtype == BOOL:
        return True
    if is_integer(dtype):
        return ml_dtypes.iinfo(dtype).max if is_unsigned(dtype) else ml_dtypes.iinfo(dtype).min
    return np.nan


def _infer_take(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "x", "indices")
    x, indices = types
    allowed_types(c, indices, "i", "indices")
    axis = one_axis(c, x.rank)
    if x.shape[axis] == 0 and same(indices.size, 0) is False:
        raise ShapeError(f"take: axis {axis} of {x} has no elements to take, received indices {indices}")
    return x.with_shape(_taken(x.shape, indices.shape, axis))


def _taken(shape: tuple[DimLike, ...], indices: tuple[DimLike, ...], axis: int) -> tuple[DimLike, ...]:
    return (*shape[:axis], *indices, *shape[axis + 1 :])


@composite(
    "take",
    "slices of x at indices along axis; negative ones count from the end, out of range gives NaN (least "
    "signed, greatest unsigned integer, True) (jax.numpy.take in mode fill, as keras.ops.take)",
    _infer_take,
    attributes={"axis": Attribute("int")},
)
def _take(b: Builder, c: Call, x: Value, indices: Value) -> Value:
    axis = one_axis(c, x.rank)
    shape = _taken(x.shape, indices.shape, axis)
    if x.shape[axis] == 0:
        return b.full(shape, _fill(x.dtype), x.dtype)
    places = _wide_indices(b, indices)
    size = b.broadcast_to(dim_scalar(b, x.shape[axis], places.dtype), places.shape)
    inside = b.compare(places, size, direction="LT")
    if not is_unsigned(places.dtype):
        zero = b.full_like(places, 0)
        places = b.select(b.compare(places, zero, direction="LT"), b.add(places, size), places)
        inside = b.and_(inside, b.compare(places, zero, direction="GE"))
    rank = places.rank
    taken = b.gather(
        x,
        places,
        index_vector_dim=rank,
        start_index_map=(axis,),
        collapsed_slice_dims=(axis,),
        offset_dims=(*range(axis), *range(axis + rank, x.rank - 1 + rank)),
        slice_sizes=[1 if i == axis else d for i, d in enumerate(x.shape)],
    )
    everywhere = b.broadcast_in_dim(inside, shape=shape, dims=tuple(range(axis, axis + rank)))
    return b.select(everywhere, taken, b.full(shape, _fill(x.dtype), x.dtype))


def _one_hot_axis(c: Call, rank: int) -> int:
    """Where the new axis goes in the result, which has one dimension more than the indices."""
    return one_axis(c, rank + 1)


def _infer_one_hot(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "indices")
    allowed_types(c, types[0], "i", "indices")
    if c["depth"] < 0:
        raise ArgumentError(f"one_hot: expected depth >= 0, received {c['depth']}")
    axis, shape = _one_hot_axis(c, types[0].rank), types[0].shape
    return TensorType(c["dtype"], (*shape[:axis], c["depth"], *shape[axis:]))


@composite(
    "one_hot",
    "1 at each index along a new axis of size depth, else 0; out of range: all 0 (jax.nn.one_hot)",
    _infer_one_hot,
    attributes={"depth": Attribute("int"), "axis": Attribute("int", -1), "dtype": Attribute("dtype")},
)
def _one_hot(b: Builder, c: Call, indices: Value) -> Value:
    axis = _one_hot_axis(c, indices.rank)
    places = _wide_indices(b, indices)
    shape = (*indices.shape[:axis], c["depth"], *indices.shape[axis:])
    numbers = b.iota(dtype=places.dtype, shape=shape, axis=axis)
    return b.astype(b.compare(b.expand(places, shape, (axis,)), numbers, direction="EQ"), c["dtype"])
