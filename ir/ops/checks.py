"""What the inference rules of many ops check, with one wording for each complaint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..dims import DimLike, ge, max_dim, same
from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Call
from ..types import TensorType, is_complex, is_float, is_integer, short_name

_FAMILIES = {"b": "bool", "i": "integer", "f": "float", "c": "complex"}


def family(dtype: np.dtype) -> str:
    """The kind of an element type in one letter: ``b`` bool, ``i`` integer, ``f`` float, ``c`` complex."""
    if is_float(dtype):
        return "f"
    if is_integer(dtype):
        return "i"
    return "c" if is_complex(dtype) else "b"


def listing(types: Sequence[TensorType]) -> str:
    """Types for a message: ``f32[2], f32[3]``."""
    return ", ".join(map(str, types)) or "none"


def operand_count(call: Call, types: Sequence[TensorType], expected: int) -> None:
    """Raise where the number of operands is not ``expected``."""
    if len(types) != expected:
        operands = "operand" if expected == 1 else "operands"
        raise ArgumentError(f"{call.op.name} takes {expected} {operands}, received {len(types)}: {listing(types)}")


def allowed_types(call: Call, type_: TensorType, families: str, what: str = "operand") -> None:
    """Raise where the element type is of none of ``families`` (letters of :func:`family`)."""
    if family(type_.dtype) not in families:
        expected = ", ".join(_FAMILIES[letter] for letter in families)
        raise DTypeError(
            f"{call.op.name}: expected an element type that is {expected}; received {what} {type_}; convert it first"
        )


def same_dtype(call: Call, *types: TensorType) -> None:
    """Raise where element types differ."""
    if any(t.dtype != types[0].dtype for t in types):
        raise DTypeError(
            f"{call.op.name}: expected operands of one element type, received {listing(types)}; convert first"
        )


def same_shape(call: Call, *types: TensorType) -> None:
    """Raise where shapes are not algebraically equal."""
    if any(t.shape != types[0].shape for t in types):
        raise ShapeError(f"{call.op.name}: expected operands of equal shape, received {listing(types)}; {_mend(types)}")


def _mend(types: Sequence[TensorType]) -> str:
    if len({t.rank for t in types}) == 1 and all(
        same(a, b) is not False for t in types for a, b in zip(t.shape, types[0].shape)
    ):
        return "whether they agree depends on symbolic dimensions; assert it with match_shape"
    return "broadcast first (broadcast_in_dim)"


def axis_in_range(call: Call, axis: int, rank: int, what: str = "axis") -> None:
    """Raise where ``axis`` is not in ``0 <= axis < rank``."""
    if not 0 <= axis < rank:
        expected = f"{what} in 0..{rank - 1} for rank {rank}" if rank else f"no {what}, a scalar has none"
        raise ArgumentError(f"{call.op.name}: expected {expected}, received {axis}")


def axes_in_range(call: Call, axes: Sequence[int], rank: int, what: str = "axes") -> None:
    """Raise where an axis is out of range or named twice."""
    for axis in axes:
        axis_in_range(call, axis, rank, what)
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{call.op.name}: expected {what} that differ from each other, received {tuple(axes)}")


def one_per(call: Call, name: str, expected: int, per: str) -> None:
    """Raise where the attribute ``name`` has not ``expected`` elements, one for each ``per``."""
    if len(call[name]) != expected:
        raise ArgumentError(
            f"{call.op.name}: expected {expected} values in {name!r}, one for each {per}; received {call[name]}"
        )


def at_least(call: Call, name: str, least: int) -> None:
    """Raise where an element of the attribute ``name`` is definitely below ``least``."""
    if any(ge(value, least) is False for value in call[name]):
        raise ArgumentError(f"{call.op.name}: expected {name!r} of at least {least}, received {call[name]}")


def scalar_integers(call: Call, types: Sequence[TensorType], what: str) -> None:
    """Raise where a type is not an integer scalar, or the element types differ."""
    for type_ in types:
        if type_.rank or not is_integer(type_.dtype):
            raise ArgumentError(f"{call.op.name}: expected {what} that are integer scalars, received {listing(types)}")
    if any(t.dtype != types[0].dtype for t in types):
        names = ", ".join(short_name(t.dtype) for t in types)
        raise DTypeError(f"{call.op.name}: expected {what} of one element type, received {names}")


def dilated(size: DimLike, dilation: DimLike) -> DimLike:
    """Extent of ``size`` elements that lie ``dilation`` apart: 0 for none."""
    return size if dilation == 1 else max_dim(0, (size - 1) * dilation + 1)


def dilated_size(size: int, dilation: int) -> int:
    """:func:`dilated` of concrete sizes."""
    return max(0, (size - 1) * dilation + 1)
