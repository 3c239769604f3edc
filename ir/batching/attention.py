"""Batching of attention: the new dimension joins the batch that it has."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from .rules import stretched


def attention(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """Attention of a larger batch. Bias and mask that are the same for all stay as they are where they broadcast."""
    query = operands[0]
    batch = query.shape[1] if batched[0] else query.shape[0]
    merged = []
    for i, (x, has) in enumerate(zip(operands, batched, strict=True)):
        own = x.shape[1:] if has else x.shape
        if i >= 3:
            if not has and (len(own) < 4 or own[0] == 1):
                merged.append(x)
                continue
            own = (batch, *(1,) * (3 - len(own)), *own) if len(own) < 4 else (batch, *own[1:])
            x = _widened(b, x, own, size, has)
        elif not has:
            x = stretched(b, x, size)
        merged.append(b.reshape(x, shape=(size * batch, *own[1:])))
    (result,) = b.emit(call.op, merged, dict(call.attributes))
    return b.reshape(result, shape=(size, batch, *result.shape[1:]))


def _widened(b: Builder, x: Value, shape: Sequence[DimLike], size: DimLike, has: bool) -> Value:
    """A bias or mask as one of ``shape`` (rank 4, whole batch) for each element of the new dimension."""
    first = 5 - (x.rank - has)  # trailing dimensions align; its own batch, if it is 1, stretches
    dims = tuple(range(first, 5))
    return b.broadcast_in_dim(x, shape=(size, *shape), dims=(0, *dims) if has else dims)
