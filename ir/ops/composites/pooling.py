"""Pooling: a window slides over an array and its elements are reduced."""

from __future__ import annotations

from ...batching import pooling as batching
from ...builder import Builder
from ...derivatives import pooling as derivatives
from ...dims import ge
from ...errors import ArgumentError
from ...graph import Value
from ...opdef import Attribute, Call, InferRule, composite
from ...types import TensorType
from ..checks import allowed_types, at_least, one_per
from ..reduction import window_count
from .rules import expect_operands, lowest
from .windows import pool, window_counts

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


@composite(
    "max_pool",
    "greatest element of each window; padding never wins (keras.ops.max_pool)",
    _infer("fi"),
    attributes=_ATTRIBUTES,
    vjp=derivatives.max_pool_vjp,
    batch=batching.pool,
)
def _max_pool(b: Builder, c: Call, x: Value) -> Value:
    return pool(b, c, x, c["strides"], "maximum", lowest(x.dtype))


@composite(
    "avg_pool",
    "mean of each window; count_padding says whether padding counts as zeros or not at all "
    "(keras.ops.average_pool does not count it)",
    _infer("f"),
    attributes={**_ATTRIBUTES, "count_padding": Attribute("bool", False)},
    jvp=derivatives.linear,
    transpose=derivatives.avg_pool_transpose,
    batch=batching.pool,
)
def _avg_pool(b: Builder, c: Call, x: Value) -> Value:
    total = pool(b, c, x, c["strides"], "add", 0)
    return b.divide(total, window_counts(b, c, x.shape, total))
