"""Batching of reductions: over axes, over windows, and along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from .rules import all_batched, by_loop, with_attributes


def later(axes: Sequence[int]) -> tuple[int, ...]:
    """Axes of an array behind the new first dimension; those counted from the back stay."""
    return tuple(axis if axis < 0 else axis + 1 for axis in axes)


def over_axes(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
    """A composite that reduces ``axes`` of its operand."""
    return with_attributes(b, call, operands, axes=later(call["axes"]))


def along_axis(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
    """An op on one axis of all its operands."""
    return with_attributes(b, call, all_batched(b, size, operands, batched), axis=later((call["axis"],))[0])


def reduce(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
    """The axes behind the new one. Where initial values differ: a loop."""
    arrays = _arrays_batched(b, size, operands, batched, len(operands) // 2)
    if arrays is None:
        return by_loop(b, call, size, operands, batched)
    return with_attributes(b, call, arrays, axes=later(call["axes"]))


def _arrays_batched(
    b: Builder, size: DimLike, operands: Sequence[Value], batched: Sequence[bool], arrays: int
) -> list[Value] | None:
    """The operands, the first ``arrays`` of them with the new dimension; None where another one has it too."""
    if any(batched[arrays:]):
        return None
    return [*all_batched(b, size, operands[:arrays], batched[:arrays]), *operands[arrays:]]


def reduce_window(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
    """Windows of one element along the new dimension."""
    arrays = _arrays_batched(b, size, operands, batched, len(operands) // 2)
    if arrays is None:
        return by_loop(b, call, size, operands, batched)
    more = ("window", "strides", "base_dilation", "window_dilation")
    return with_attributes(
        b, call, arrays, **{name: (1, *call[name]) for name in more}, padding=((0, 0), *call["padding"])
    )


def select_and_scatter(
    b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]
) -> Any:
    """Windows of one element along the new dimension."""
    arrays = _arrays_batched(b, size, operands, batched, 2)
    if arrays is None:
        return by_loop(b, call, size, operands, batched)
    more = {name: (1, *call[name]) for name in ("window", "strides")}
    return with_attributes(b, call, arrays, **more, padding=((0, 0), *call["padding"]))
