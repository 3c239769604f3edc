"""What batching rules share. The batch dimension is the first one of whatever has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..builder import Builder
from ..dims import DimLike
from ..graph import Graph, Value
from ..opdef import Call

BatchRule = Callable[..., Any]


def stretched(b: Builder, x: Value, size: DimLike) -> Value:
    """``x`` repeated along a new first dimension."""
    return b.broadcast_in_dim(x, shape=(size, *x.shape), dims=tuple(range(1, x.rank + 1)))


def all_batched(b: Builder, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> list[Value]:
    """The operands, those without the batch dimension stretched along it."""
    return [x if has else stretched(b, x, size) for x, has in zip(operands, batched, strict=True)]


def with_attributes(b: Builder, call: Call, operands: Sequence[Value], **attributes: Any) -> Any:
    """The results of the op of ``call`` on other operands, with some attributes changed."""
    results = b.emit(call.op, operands, {**call.attributes, **attributes}, call.regions)
    return results[0] if len(results) == 1 else results


def elementwise(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
    """An op that looks at one place of its operands at a time, and any op to which dimensions before those it works on
    make no difference."""
    return with_attributes(b, call, all_batched(b, size, operands, batched))


def by_loop(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
    """Any op: one turn of a scan for each element of the batch."""
    consts = [x for x, has in zip(operands, batched, strict=True) if not has]
    xs = [x for x, has in zip(operands, batched, strict=True) if has]
    body = Graph()
    inner = Builder(body, location=b.location)
    inputs = [body.add_input(x.type) for x in consts] + [body.add_input(x.type.with_shape(x.shape[1:])) for x in xs]
    given = {id(x): v for x, v in zip([*consts, *xs], inputs, strict=True)}
    body.outputs = list(inner.emit(call.op, [given[id(x)] for x in operands], dict(call.attributes), call.regions))
    results = b.emit("scan", [*consts, *xs], {"consts": len(consts), "carries": 0, "length": size}, [body])
    return results[0] if len(results) == 1 else results
