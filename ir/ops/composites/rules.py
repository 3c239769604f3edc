"""What the rules of composites share: operands counted by name, axes from the front, dimensions as values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...builder import Builder
from ...dims import DimLike
from ...errors import ArgumentError, ShapeError
from ...graph import Value
from ...opdef import Call, InferRule
from ...types import F32, I32, TensorType, bit_width, is_float
from ...types import highest as highest
from ...types import lowest as lowest
from ..checks import allowed_types, listing, same_dtype, same_shape


def expect_operands(c: Call, types: Sequence[TensorType], *names: str) -> None:
    """Raise :class:`ArgumentError` unless there is one operand for each name."""
    if len(types) != len(names):
        raise ArgumentError(
            f"{c.op.name} takes {len(names)} operand{'s' * (len(names) != 1)} ({', '.join(names)}), "
            f"received {len(types)}: {listing(types)}"
        )


def expect_shape(c: Call, name: str, type_: TensorType, shape: Sequence[DimLike], why: str) -> None:
    """Raise :class:`ShapeError` unless ``type_`` has ``shape``, algebraically."""
    if type_.shape != tuple(shape):
        wanted = ",".join(map(str, shape))
        raise ShapeError(f"{c.op.name}: expected {name} of shape [{wanted}] ({why}), received {type_}")


def like_operand(families: str, *names: str) -> InferRule:
    """The type rule of an op whose operands and result have one type, its element type of ``families``."""
    expected = names or ("x",)

    def infer(c: Call, *types: TensorType) -> TensorType:
        expect_operands(c, types, *expected)
        allowed_types(c, types[0], families)
        same_dtype(c, *types)
        same_shape(c, *types)
        return types[0]

    return infer


def one_axis(c: Call, rank: int) -> int:
    """The attribute ``axis`` counted from the front; a negative one counts from the back."""
    axis = c["axis"]
    if not -rank <= axis < rank:
        raise ArgumentError(f"{c.op.name}: expected axis in {-rank}..{rank - 1} for rank {rank}, received {axis}")
    return axis % rank


def all_axes(c: Call, rank: int) -> tuple[int, ...]:
    """The attribute ``axes`` counted from the front, in rising order; each named once."""
    axes = c["axes"]
    front = sorted({axis % rank for axis in axes if -rank <= axis < rank})
    if len(front) != len(axes):
        raise ArgumentError(
            f"{c.op.name}: expected axes in {-rank}..{rank - 1} for rank {rank}, none named twice; received {axes}"
        )
    return tuple(front)


def without(shape: Sequence[DimLike], axes: Sequence[int], keepdims: bool = False) -> tuple[DimLike, ...]:
    """``shape`` with ``axes`` reduced away, or reduced to 1."""
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def wide(dtype: np.dtype) -> np.dtype:
    """The type that sums and statistics of ``dtype`` are computed in: f32 for narrower floats, else ``dtype``."""
    return F32 if is_float(dtype) and bit_width(dtype) < 32 else dtype


def dim_scalar(b: Builder, dim: DimLike, dtype: np.dtype) -> Value:
    """A dimension as a scalar of ``dtype``: a constant where it is known, else its value when the graph runs."""
    if isinstance(dim, int):
        return b.constant(dim, dtype)
    return b.astype(b.dim_value(dim=dim, dtype=I32), dtype)
