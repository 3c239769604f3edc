"""Composites that read an array by indices, or write indices out."""

from __future__ import annotations

from ...batching import indexing as batching
from ...builder import Builder
from ...derivatives import rules
from ...derivatives.lookup import take_vjp
from ...dims import DimLike, same
from ...errors import ArgumentError, ShapeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import TensorType
from ..checks import allowed_types
from .lookup import taken, wide_indices
from .rules import expect_operands, one_axis


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
    vjp=take_vjp,
    batch=batching.take,
)
def _take(b: Builder, c: Call, x: Value, indices: Value) -> Value:
    return taken(b, x, indices, one_axis(c, x.rank))


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
    jvp=rules.constant,
    batch=batching.one_hot,
)
def _one_hot(b: Builder, c: Call, indices: Value) -> Value:
    axis = _one_hot_axis(c, indices.rank)
    places = wide_indices(b, indices)
    shape = (*indices.shape[:axis], c["depth"], *indices.shape[axis:])
    numbers = b.iota(dtype=places.dtype, shape=shape, axis=axis)
    return b.astype(b.compare(b.expand(places, shape, (axis,)), numbers, direction="EQ"), c["dtype"])
