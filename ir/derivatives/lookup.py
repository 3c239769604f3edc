"""The derivative of ``take``."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder, binary_region
from ..graph import Value
from ..opdef import Call
from ..ops.composites.lookup import from_start
from .rules import Tangent, zeros


def take_vjp(
    b: Builder, call: Call, operands: Sequence[Value], results: Sequence[Value], cotangent: Value
) -> tuple[Tangent, None]:
    """Each slice's cotangent is added where the slice was taken; a scatter drops those out of range."""
    x, indices = operands
    axis, rank = call["axis"] % x.rank, indices.rank
    if x.shape[axis] == 0:
        return None, None
    return b.scatter(
        zeros(b, x.type),
        from_start(b, indices, x.shape[axis]),
        cotangent,
        update_window_dims=(*range(axis), *range(axis + rank, cotangent.rank)),
        inserted_window_dims=(axis,),
        scatter_dims_to_operand_dims=(axis,),
        index_vector_dim=rank,
        regions=[binary_region("add", x.dtype)],
    ), None
