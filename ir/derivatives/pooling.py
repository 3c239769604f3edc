"""Derivatives of pooling: the greatest element of a window gets the cotangent, or each its share."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder, binary_region
from ..graph import Value
from ..opdef import Call, Linear
from ..ops.composites.windows import window_counts
from .regions import comparison
from .rules import Tangent, linear
from .windows import window_sum_transpose

__all__ = ["avg_pool_transpose", "linear", "max_pool_vjp"]


def max_pool_vjp(
    b: Builder, call: Call, operands: Sequence[Value], results: Sequence[Value], cotangent: Value
) -> tuple[Tangent]:
    """Of equal greatest elements of a window, the first gets the cotangent."""
    (x,) = operands
    return (
        b.select_and_scatter(
            x,
            cotangent,
            b.constant(0, x.dtype),
            window=call["window"],
            strides=call["strides"],
            padding=call["padding"],
            regions=[comparison("GE", x.dtype), binary_region("add", x.dtype)],
        ),
    )


def avg_pool_transpose(b: Builder, call: Call, cotangent: Value | None, x: Linear) -> Tangent:
    """Each element of a window gets the same share of the cotangent."""
    if cotangent is None:
        return None
    counts = window_counts(b, call, x.shape, cotangent)
    share = b.divide(cotangent, counts)
    return window_sum_transpose(b, share, x, call["window"], call["strides"], call["padding"])
