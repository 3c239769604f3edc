"""Batching of elementwise ops that take scalars beside whole tensors."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from .rules import BatchRule, elementwise, stretched, with_attributes

__all__ = ["elementwise", "with_scalars"]


def with_scalars(*places: int) -> BatchRule:
    """The rule of an op whose operands have the shape of its operand 1, those at ``places`` that shape or none.

    One scalar stays one; a scalar for each element of the batch is repeated over that shape.
    """

    def rule(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
        whole = (size, *operands[1].shape[batched[1] :])

        def prepared(place: int, x: Value, has: bool) -> Value:
            if place not in places or x.rank - has:
                return x if has else stretched(b, x, size)
            return b.broadcast_in_dim(x, shape=whole, dims=(0,)) if has and len(whole) > 1 else x

        return with_attributes(
            b, call, [prepared(i, x, has) for i, (x, has) in enumerate(zip(operands, batched, strict=True))]
        )

    return rule
