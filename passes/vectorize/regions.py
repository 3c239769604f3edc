"""Batching of ops with regions. Each rule gives results and whether each has the batch dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ir.batching.rules import all_batched, stretched
from ...ir.builder import Builder
from ...ir.errors import PassError
from ...ir.graph import Graph, Node, Value
from ...ir.types import BOOL
from ..differentiate.expand import region_nodes
from .batch import Batching, batch, force

Flags = Sequence[bool]
Results = tuple[Sequence[Value], Flags]


def _settled(
    batching: Batching, region: Graph, flags: list[bool], carries: slice
) -> tuple[Graph, list[bool], list[bool]]:
    """Batch a loop's body; a carry that any turn makes differ within the batch has the dimension from the start."""
    count = carries.stop - carries.start
    while True:
        body, out = batch(region, flags, batching.size)
        wider = [a or b for a, b in zip(flags[carries], out, strict=False)]
        if wider == flags[carries]:
            force(body, out, [*flags[carries], *out[count:]], batching.size)
            return body, flags, out
        flags = [*flags[: carries.start], *wider, *flags[carries.stop :]]


def _moved(b: Builder, x: Value, source: int, destination: int) -> Value:
    order = [i for i in range(x.rank) if i != source]
    order.insert(destination, source)
    return b.transpose(x, permutation=order)


def _given(batching: Batching, operands: Sequence[Value], has: Flags, wanted: Flags) -> list[Value]:
    """Operands with the batch dimension where it is wanted."""
    return [
        stretched(batching.b, x, batching.size) if w and not h else x
        for x, h, w in zip(operands, has, wanted, strict=True)
    ]


def _scan(batching: Batching, node: Node, operands: list[Value], has: list[bool]) -> Results:
    b = batching.b
    c, k = node.attributes["consts"], node.attributes["consts"] + node.attributes["carries"]
    body, flags, out = _settled(batching, node.regions[0], has, slice(c, k))
    given = _given(batching, operands, has, flags)
    given[k:] = [_moved(b, x, 0, 1) if f else x for x, f in zip(given[k:], flags[k:], strict=True)]
    results = list(b.emit("scan", given, node.attributes, [body]))
    count = k - c
    moved = [*flags[c:k], *out[count:]]
    results[count:] = [_moved(b, y, 1, 0) if f else y for y, f in zip(results[count:], out[count:], strict=True)]
    return results, moved


def _while(batching: Batching, node: Node, operands: list[Value], has: list[bool]) -> Results:
    """Where the condition differs within the batch, turns go on while any element's holds; others keep their values."""
    b, c = batching.b, node.attributes["consts"]
    carries = slice(c, len(operands))
    body, flags, _ = _settled(batching, node.regions[1], has, carries)
    condition, (differs,) = batch(node.regions[0], flags, batching.size)
    if differs:
        flags = [*flags[:c], *[True] * (len(operands) - c)]
        body, _ = batch(node.regions[1], flags, batching.size)
        force(
            body, [v.rank > i.rank for v, i in zip(body.outputs, node.results, strict=True)], flags[c:], batching.size
        )
        condition, _ = batch(node.regions[0], flags, batching.size)
        inner = Builder(body, location=node.location)
        nodes, (holds,) = region_nodes(condition, body.inputs, node)
        body.nodes[:0] = nodes
        body.outputs = [
            inner.select(inner.broadcast_in_dim(holds, shape=new.shape, dims=(0,)), new, old)
            for new, old in zip(body.outputs, body.inputs[c:], strict=True)
        ]
        condition.outputs = [
            Builder(condition, location=node.location).reduce_with("or", condition.outputs[0], (0,), False)
        ]
    given = _given(batching, operands, has, flags)
    return b.emit("while", given, node.attributes, [condition, body]), flags[c:]


def _cond(batching: Batching, node: Node, operands: list[Value], has: list[bool]) -> Results:
    """Where the choice differs within the batch all branches are computed, and each element takes its own."""
    b, size = batching.b, batching.size
    made = [batch(region, has[1:], size) for region in node.regions]
    if not has[0]:
        moved = [any(flags[i] for _, flags in made) for i in range(len(node.results))]
        for branch, flags in made:
            force(branch, flags, moved, size)
        return b.emit("cond", operands, {}, [branch for branch, _ in made]), moved
    branches = []
    for branch, flags in made:
        force(branch, flags, [True] * len(flags), size)
        nodes, values = region_nodes(branch, operands[1:], node)
        b.nodes += nodes
        branches.append(values)
    index = operands[0]
    if index.dtype == BOOL:
        branches.reverse()
        index = b.convert(index, dtype="int32")
    chosen = list(branches[-1])
    for i, values in list(enumerate(branches))[:-1]:
        takes = b.compare(index, b.full_like(index, i), direction="EQ")
        chosen = [
            b.select(b.broadcast_in_dim(takes, shape=v.shape, dims=(0,)), v, other)
            for v, other in zip(values, chosen, strict=True)
        ]
    return chosen, [True] * len(chosen)


def _body(batching: Batching, node: Node, operands: list[Value], has: list[bool]) -> Results:
    body, out = batch(node.regions[0], has, batching.size)
    return batching.b.emit(node.op, operands, node.attributes, [body]), out


def _composite(batching: Batching, node: Node, operands: list[Value], has: list[bool]) -> Results:
    """A target knows the name for what it is without the batch; so the region stands for it."""
    body, out = batch(node.regions[0], has, batching.size)
    nodes, values = region_nodes(body, operands, node)
    batching.b.nodes += nodes
    return values, out


def _custom_vjp(batching: Batching, node: Node, operands: list[Value], has: list[bool]) -> Results:
    size = batching.size
    regions = []
    for region in node.regions:
        made, out = batch(region, [True] * len(region.inputs), size)
        force(made, out, [True] * len(out), size)
        regions.append(made)
    results = batching.b.emit("custom_vjp", all_batched(batching.b, size, operands, has), {}, regions)
    return results, [True] * len(results)


def _call(batching: Batching, node: Node, operands: list[Value], has: list[bool]) -> Results:
    raise PassError(
        f"put the function {node.attributes['callee']!r} in place of its call first: inline{{all}}\n"
        f"  at {node.location}"
    )


RULES: dict[str, Callable[[Batching, Node, list[Value], list[bool]], Results]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "remat": _body,
    "composite": _composite,
    "custom_vjp": _custom_vjp,
    "call": _call,
}
