"""Batching of Fourier transforms and matrix factorizations: they take any dimensions before those they work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from .rules import elementwise, with_attributes

__all__ = ["elementwise", "lu_solve", "triangular_solve"]


def triangular_solve(
    b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]
) -> Value:
    """One more batch dimension; or, where all have one matrix, more columns (rows) of the right side."""
    if batched[0]:
        return elementwise(b, call, size, operands, batched)
    wide, back = _side_by_side(b, operands[1], columns=call["left_side"])
    return back(with_attributes(b, call, (operands[0], wide)))


def lu_solve(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """One more batch dimension; or, where all have one matrix, more columns of the right side."""
    if any(batched[:3]):
        return elementwise(b, call, size, operands, batched)
    wide, back = _side_by_side(b, operands[3], columns=True)
    return back(with_attributes(b, call, (*operands[:3], wide)))


def _side_by_side(b: Builder, x: Value, columns: bool) -> tuple[Value, Callable[[Value], Value]]:
    """Matrices over a first dimension as one with more columns (else more rows), and what takes such a one apart."""
    size, *outer, m, n = x.shape
    *batch, row, column = range(1, x.rank)
    before = [*batch, row, 0, column] if columns else [*batch, 0, row, column]
    moved = b.transpose(x, permutation=before)
    wide = (m, size * n) if columns else (size * m, n)

    def back(y: Value) -> Value:
        order = [before.index(i) for i in range(x.rank)]
        return b.transpose(b.reshape(y, shape=moved.shape), permutation=order)

    return b.reshape(moved, shape=(*outer, *wide)), back
