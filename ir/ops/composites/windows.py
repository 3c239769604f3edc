"""Folds of the windows that slide over an array, and how many elements each window has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...builder import Builder, binary_region
from ...dims import DimLike
from ...graph import Value
from ...opdef import Call


def pool(b: Builder, c: Call, x: Value, strides: Sequence[int], op: str, initial: object) -> Value:
    """``x`` folded by the binary ``op`` over windows, sized and padded as the attributes of ``c`` say."""
    ones = (1,) * x.rank
    return b.reduce_window(
        x,
        b.constant(initial, x.dtype),
        window=c["window"],
        strides=strides,
        base_dilation=ones,
        window_dilation=ones,
        padding=c["padding"],
        regions=[binary_region(op, x.dtype)],
    )


def window_counts(b: Builder, c: Call, shape: Sequence[DimLike], total: Value) -> Value:
    """How many elements of an array of ``shape`` each window of an avg_pool counts, like their sums ``total``."""
    if c["count_padding"] or all(pair == (0, 0) for pair in c["padding"]):
        return b.full_like(total, math.prod(c["window"]))
    # A dimension whose windows are single elements needs no counting: it is one element long here, and stretches.
    plain = [size == 1 and pair == (0, 0) for size, pair in zip(c["window"], c["padding"], strict=True)]
    ones = b.full([1 if skip else dim for skip, dim in zip(plain, shape, strict=True)], 1, total.dtype)
    strides = [1 if skip else stride for skip, stride in zip(plain, c["strides"], strict=True)]
    return b.broadcast_to(pool(b, c, ones, strides, "add", 0), total.shape)
