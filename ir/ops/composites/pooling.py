"""Pooling: a window slides over an array and its elements are reduced."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...builder import Builder, binary_region
from ...dims import ge
from ...errors import ArgumentError
from ...graph import Value
from ...opdef import Attribute, Call, InferRule, composite
from ...types import TensorType
from ..checks import allowed_types, at_least, one_per
from ..reduction import window_count
from .rules import expect_operands, lowest

_ATTRIBUTES = {"window": Attribute("ints"), "strides": Attribute("ints"), "padding": Attribute("pairs")}


def _infer(families: str) -> InferRule:
    def infer(c: Call, *types: TensorType) -> TensorType:
        expect_operands(c, types, "x")
        allowed_types(c, types[0], families)
        for name in ("window", "strides", "padding"):
            one_per(c, name, types[0].rank, f"dimension of {types[0]}")
        at_least(c, "window", 1)
        at_least(c, "strides", 1)
        if any(ge(edge, 0) is False for pair in c["padding"] for edge in pair):
            raise ArgumentError(f"{c.op.name}: expected 'padding' of at least 0, received {c['padding']}")
        return types[0].with_shape(map(window_count, types[0].shape, c["window"], c["strides"], c["padding"]))

    return infer


def _pool(b: Builder, c: Call, x: Value, strides: Sequence[int], op: str, initial: object) -> Value:
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


@composite(
    "max_pool",
    "greatest element of each window; padding never wins (keras.ops.max_pool)",
    _infer("fi"),
    attributes=_ATTRIBUTES,
)
def _max_pool(b: Builder, c: Call, x: Value) -> Value:
    return _pool(b, c, x, c["strides"], "maximum", lowest(x.dtype))


@composite(
    "avg_pool",
    "mean of each window; count_padding says whether padding counts as zeros or not at all "
    "(keras.ops.average_pool does not count it)",
    _infer("f"),
    attributes={**_ATTRIBUTES, "count_padding": Attribute("bool", False)},
)
def _avg_pool(b: Builder, c: Call, x: Value) -> Value:
    total = _pool(b, c, x, c["strides"], "add", 0)
    if c["count_padding"] or all(pair == (0, 0) for pair in c["padding"]):
        return b.divide(total, b.full_like(total, math.prod(c["window"])))
    # A dimension whose windows are single elements needs no counting: it is one element long here, and stretches.
    plain = [size == 1 and pair == (0, 0) for size, pair in zip(c["window"], c["padding"], strict=True)]
    shape = [1 if skip else dim for skip, dim in zip(plain, x.shape, strict=True)]
    strides = [1 if skip else stride for skip, stride in zip(plain, c["strides"], strict=True)]
    counts = _pool(b, c, b.full(shape, 1, x.dtype), strides, "add", 0)
    return b.divide(total, b.broadcast_to(counts, total.shape))
