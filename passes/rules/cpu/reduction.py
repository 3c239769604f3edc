"""Positions of extremes and cumulative windows as XLA's CPU backend runs them fast."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node, Value
from ....ir.ops.composites.cumulative import accumulate
from ....ir.ops.composites.rules import highest, lowest
from ....ir.regions import simple_region
from ....ir.types import bit_width, is_float, is_integer
from ...patterns import scalar_of
from ...rewrite import NoMatch, Rewriter, Rule, rule


@rule("argmax", "argmin")
def position_by_extreme(r: Rewriter, node: Node) -> Value | NoMatch:
    """An argmax is the least of the positions that hold the maximum, or of those that hold NaN; argmin alike.

    Two reductions of one array vectorize, where one of pairs (value, position) does not.
    """
    x = node.operands[0]
    if not is_float(x.dtype) and bit_width(x.dtype) > 8:
        return NoMatch("XLA reduces pairs of wider integers as fast")
    axis, dtype = node.attributes["axis"] % x.rank, node.attributes["dtype"]
    greatest = node.op.name == "argmax"
    op, start = ("maximum", lowest(x.dtype)) if greatest else ("minimum", highest(x.dtype))
    extreme = r.expand(r.reduce_with(op, x, (axis,), start), x.shape, (axis,))
    holds = r.compare(x, extreme, direction="EQ")
    if is_float(x.dtype):  # a NaN makes the extreme NaN, which equals nothing
        holds = r.or_(holds, r.compare(x, x, direction="NE"))
    none = highest(dtype)
    positions = r.select(holds, r.iota(dtype=dtype, shape=x.shape, axis=axis), r.full(x.shape, none, dtype))
    return r.reduce_with("minimum", positions, (axis,), none)


@rule("reduce_window")
def cumulative_in_blocks(r: Rewriter, node: Node) -> Value | NoMatch | None:
    """A window over the whole axis up to (or from) each element is combined in blocks of a few elements."""
    if len(node.operands) != 2:
        return None
    x, start = node.operands
    axis, reverse = _cumulative_axis(node)
    if axis is None:
        return None
    op, initial = simple_region(node.regions[0]), scalar_of(start)
    if op is None or initial is None or not _is_neutral(op, initial):
        return NoMatch("it does not combine by one associative op from its neutral element")
    return accumulate(r, op, x, axis, reverse, initial)


def _cumulative_axis(node: Node) -> tuple[int | None, bool]:
    """The axis along which each window holds all elements up to its own, and whether it is all from its own."""
    a, x = node.attributes, node.operands[0]
    longer = [i for i, size in enumerate(a["window"]) if size != 1]
    if len(longer) != 1 or any(n != 1 for key in ("strides", "base_dilation", "window_dilation") for n in a[key]):
        return None, False
    axis = longer[0]
    size, length = a["window"][axis], x.shape[axis]
    if not isinstance(size, int) or not isinstance(length, int) or size < length:
        return None, False
    if any(edges != (0, 0) for i, edges in enumerate(a["padding"]) if i != axis):
        return None, False
    edges = tuple(a["padding"][axis])
    return (axis, edges[1] != 0) if edges in ((size - 1, 0), (0, size - 1)) else (None, False)


def _is_neutral(op: str, start: Any) -> bool:
    dtype = np.asarray(start).dtype
    if op in ("maximum", "minimum"):
        return bool(start == (lowest if op == "maximum" else highest)(dtype))
    if op == "and":
        return bool(start == (~np.zeros((), dtype) if is_integer(dtype) else True))
    return bool(start == (1 if op == "multiply" else 0))


RULES: list[Rule] = [position_by_extreme, cumulative_in_blocks]
