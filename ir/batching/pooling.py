"""Batching of pooling: one more dimension, whose windows are single elements."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from .rules import with_attributes


def pool(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """max_pool and avg_pool."""
    attributes = {"window": (1, *call["window"]), "strides": (1, *call["strides"])}
    return with_attributes(b, call, operands, **attributes, padding=((0, 0), *call["padding"]))


def resize(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """The new dimension keeps its size."""
    return with_attributes(b, call, operands, shape=(size, *call["shape"]))
