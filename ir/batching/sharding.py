"""The batching rule of sharding_constraint: the batch dimension is whole on every device."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from .rules import with_attributes


def sharding_constraint_batch(
    b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]
) -> Value:
    """The same constraint behind a dimension that nothing splits."""
    made: Value = with_attributes(b, call, operands, sharding=(None, *call["sharding"]))
    return made
