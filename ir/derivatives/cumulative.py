"""Derivatives of cumulative reductions."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..graph import Value
from ..opdef import Call, Linear
from ..types import I32
from .indexing import gather_along
from .rules import Tangent, linear

__all__ = ["cumsum_transpose", "extremum_jvp", "linear"]


def cumsum_transpose(b: Builder, call: Call, cotangent: Tangent, x: Linear) -> Tangent:
    """An element is in the sums from its own on: their cotangents are summed from the other end."""
    return None if cotangent is None else b.cumsum(cotangent, axis=call["axis"], reverse=not call["reverse"])


def extremum_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """Of ``cummax`` and ``cummin``: a result has the tangent of the element that it is, the last so far of equal ones.

    Wherever an element is itself the greatest so far, its place is the one to read until the next such element.
    """
    (x,), (dx,), (y,) = primals, tangents, results
    if dx is None or 0 in x.shape:
        return None
    axis = call["axis"] % x.rank
    at = b.iota(dtype=I32, shape=x.shape, axis=axis)
    is_new = b.compare(x, y, direction="EQ")
    if call["reverse"]:  # places fall from the last on
        place = b.cummin(b.select(is_new, at, b.full_like(at, 2**31 - 1)), axis=axis, reverse=True)
    else:
        place = b.cummax(b.select(is_new, at, b.full_like(at, 0)), axis=axis)
    return gather_along(b, dx, place, axis)
