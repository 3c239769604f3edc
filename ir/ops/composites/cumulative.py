"""Cumulative reductions: element i combines elements 0 to i along an axis (or i to the end).

Where the length of the axis is known, the decomposition works in blocks: the few elements of a block are combined one
after the other, for all blocks at once, and what comes before each block is the cumulative reduction of the blocks'
totals (Blelloch 1990, "Prefix sums and their applications"). That takes about n * 8/7 applications in log8(n) levels,
and an infinity or NaN reaches only what comes after it. An open length gives a window over the whole axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...batching.reduction import along_axis
from ...builder import Builder, binary_region
from ...derivatives import cumulative as derivatives
from ...dims import max_dim
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import TensorType, highest, lowest
from ..checks import allowed_types
from .rules import expect_operands, one_axis, wide

#: How many elements a block has.
BLOCK = 8


def accumulate(b: Builder, op: str, x: Value, axis: int, reverse: bool, initial: Any) -> Value:
    """The cumulative reduction of ``x`` along an axis of known length by an associative op, in blocks.

    Args:
        op: the name of a binary op.
        initial: its neutral element.

    Narrow floats are added and multiplied in float32, and rounded once.
    """
    inner = b.astype(x, wide(x.dtype)) if op in ("add", "multiply") else x
    return b.astype(_in_blocks(b, op, inner, axis, reverse, b.constant(initial, inner.dtype)), x.dtype)


def _in_blocks(b: Builder, op: str, x: Value, axis: int, reverse: bool, neutral: Value) -> Value:
    shape, length = x.shape, x.shape[axis]
    assert isinstance(length, int)
    if length < 2:
        return x
    size = min(BLOCK, length)
    count = -(-length // size)
    blocks = (*shape[:axis], count, size, *shape[axis + 1 :])
    padded = _moved(b, x, axis, 0, count * size - length, neutral)
    parts = _prefixes(b, op, b.reshape(padded, shape=blocks), axis + 1, size, reverse)
    if count > 1:
        totals = _in_blocks(b, op, parts[0 if reverse else -1], axis, reverse, neutral)
        before = _moved(b, totals, axis, *((-1, 1) if reverse else (1, -1)), neutral)
        parts = [b.emit(op, (part, before) if reverse else (before, part))[0] for part in parts]
    parts = [b.reshape(part, shape=(*blocks[: axis + 1], 1, *blocks[axis + 2 :])) for part in parts]
    joined = b.reshape(b.concatenate(*parts, axis=axis + 1), shape=padded.shape)
    return _moved(b, joined, axis, 0, length - count * size, neutral)


def _prefixes(b: Builder, op: str, x: Value, axis: int, size: int, reverse: bool) -> list[Value]:
    """The ``size`` slices of ``x`` along an axis, each combined with all before it (after it where ``reverse``)."""
    steps = range(size)
    parts: list[Value] = []
    for i in reversed(steps) if reverse else steps:
        start, limit = [0] * x.rank, list(x.shape)
        start[axis], limit[axis] = i, i + 1
        part = b.slice(x, start=start, limit=limit, strides=(1,) * x.rank)
        part = b.reshape(part, shape=(*x.shape[:axis], *x.shape[axis + 1 :]))
        if parts:
            part = b.emit(op, (part, parts[-1]) if reverse else (parts[-1], part))[0]
        parts.append(part)
    return parts[::-1] if reverse else parts


def _moved(b: Builder, x: Value, axis: int, low: int, high: int, neutral: Value) -> Value:
    """``x`` with so many more (or fewer) neutral elements at the two ends of an axis."""
    if not low and not high:
        return x
    lows, highs = [0] * x.rank, [0] * x.rank
    lows[axis], highs[axis] = low, high
    return b.pad(x, neutral, low=lows, high=highs, interior=(0,) * x.rank)


def _cumulative(
    name: str, meaning: str, families: str, op: str, initial: Callable[[np.dtype], object], **derivative: Any
) -> None:
    """Declare the cumulative reduction by the binary ``op`` from the start value ``initial(dtype)``."""

    def infer(c: Call, *types: TensorType) -> TensorType:
        expect_operands(c, types, "x")
        allowed_types(c, types[0], families)
        one_axis(c, types[0].rank)
        return types[0]

    attributes = {"axis": Attribute("int"), "reverse": Attribute("bool", False)}

    @composite(name, meaning, infer, attributes=attributes, batch=along_axis, **derivative)
    def rule(b: Builder, c: Call, x: Value) -> Value:
        axis, ones = one_axis(c, x.rank), (1,) * x.rank
        if isinstance(x.shape[axis], int):
            return accumulate(b, op, x, axis, c["reverse"], initial(x.dtype))
        # A window as long as the axis, whose far end is at the element: the rest lies in the padding.
        length = max_dim(x.shape[axis], 1)
        edges = (0, length - 1) if c["reverse"] else (length - 1, 0)
        return b.reduce_window(
            x,
            b.constant(initial(x.dtype), x.dtype),
            window=[length if i == axis else 1 for i in range(x.rank)],
            strides=ones,
            base_dilation=ones,
            window_dilation=ones,
            padding=[edges if i == axis else (0, 0) for i in range(x.rank)],
            regions=[binary_region(op, x.dtype)],
        )


_cumulative(
    "cumsum",
    "sum of the elements up to each along axis, from the end where reverse (jax.numpy.cumsum)",
    "fic",
    "add",
    lambda dtype: 0,
    jvp=derivatives.linear,
    transpose=derivatives.cumsum_transpose,
)
_cumulative(
    "cumprod",
    "product of the elements up to each along axis, from the end where reverse (jax.numpy.cumprod)",
    "fic",
    "multiply",
    lambda dtype: 1,
)
_cumulative(
    "cummax",
    "greatest element up to each along axis, NaN after a NaN (jax.lax.cummax)",
    "fi",
    "maximum",
    lowest,
    jvp=derivatives.extremum_jvp,
)
_cumulative(
    "cummin",
    "least element up to each along axis, NaN after a NaN (jax.lax.cummin)",
    "fi",
    "minimum",
    highest,
    jvp=derivatives.extremum_jvp,
)
