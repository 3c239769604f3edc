"""Forward mode through ops with regions. Each rule gives the results and their tangents (None for zero)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ir.derivatives.rules import Tangent, known
from ...ir.graph import Graph, Node, Value, clone
from ...ir.types import has_tangent
from .expand import no_derivative, region_nodes
from .forward import Forward, Pushed, push
from .transpose import transpose_nodes

Results = tuple[Sequence[Value], Sequence[Tangent]]


def present(tangents: Sequence[Tangent]) -> list[Value]:
    """Those that are not zero."""
    return [t for t in tangents if t is not None]


def _flags(tangents: Sequence[Tangent]) -> list[bool]:
    return [t is not None for t in tangents]


def _split(results: Sequence[Value], moved: Sequence[bool]) -> Results:
    """Results of a node that gives its own first, then the tangents of those that move."""
    rest = iter(results[len(moved) :])
    return results[: len(moved)], [next(rest) if m else None for m in moved]


def _settled(region: Graph, flags: list[bool], carries: slice) -> tuple[Pushed, list[bool]]:
    """Push through a loop's body until no more of its carries move: what moves is a fixed point of the body."""
    while True:
        pushed = push(region, flags)
        out = _flags(pushed.tangents_out)[: carries.stop - carries.start]
        wider = [a or b for a, b in zip(flags[carries], out, strict=True)]
        if wider == flags[carries]:
            return pushed, flags
        flags = [*flags[: carries.start], *wider, *flags[carries.stop :]]


def _scan(forward: Forward, node: Node, tangents: list[Tangent]) -> Results:
    b, region = forward.b, node.regions[0]
    c, k = node.attributes["consts"], node.attributes["consts"] + node.attributes["carries"]
    parts = (slice(0, c), slice(c, k), slice(k, len(tangents)))
    pushed, flags = _settled(region, _flags(tangents), parts[1])
    body = pushed.graph
    count = k - c
    ys = _flags(pushed.tangents_out)[count:]
    moved = [*flags[parts[1]], *ys]
    tangents_out = pushed.instantiate(moved)
    inputs, operands = [], []
    started = [known(b, t, v.type) if f else None for t, v, f in zip(tangents, node.operands, flags, strict=True)]
    counts = []
    for part in parts:
        inputs += [*body.inputs[part], *present(pushed.tangents_in[part])]
        operands += [*node.operands[part], *present(started[part])]
        counts.append(len(inputs))
    carried = sum(flags[parts[1]])
    outputs = body.outputs
    body.inputs = inputs
    body.outputs = [*outputs[:count], *tangents_out[:carried], *outputs[count:], *tangents_out[carried:]]
    attributes = {**node.attributes, "consts": counts[0], "carries": counts[1] - counts[0]}
    results = list(b.emit("scan", operands, attributes, [body]))
    own = [*results[:count], *results[count + carried : len(outputs) + carried]]
    return _split([*own, *results[count : count + carried], *results[len(outputs) + carried :]], moved)


def _while(forward: Forward, node: Node, tangents: list[Tangent]) -> Results:
    b, (condition, region) = forward.b, node.regions
    c = node.attributes["consts"]
    parts = (slice(0, c), slice(c, len(tangents)))
    pushed, flags = _settled(region, _flags(tangents), parts[1])
    body, condition = pushed.graph, clone(condition)
    moved = flags[parts[1]]
    body.outputs = [*body.outputs, *pushed.instantiate(moved)]
    started = [known(b, t, v.type) if f else None for t, v, f in zip(tangents, node.operands, flags, strict=True)]
    operands: list[Value] = []
    inputs: list[list[Value]] = [[], []]
    for part in parts:
        operands += [*node.operands[part], *present(started[part])]
        inputs[0] += [*condition.inputs[part], *(Value(t.type) for t in present(started[part]))]
        inputs[1] += [*body.inputs[part], *present(pushed.tangents_in[part])]
    condition.inputs, body.inputs = inputs
    attributes = {"consts": c + len(present(started[parts[0]]))}
    return _split(b.emit("while", operands, attributes, [condition, body]), moved)


def _cond(forward: Forward, node: Node, tangents: list[Tangent]) -> Results:
    flags = _flags(tangents)[1:]
    branches = [push(region, flags) for region in node.regions]
    moved = [any(p.tangents_out[i] is not None for p in branches) for i in range(len(node.results))]
    regions = []
    for p in branches:
        p.graph.outputs = [*p.graph.outputs, *p.instantiate(moved)]
        p.graph.inputs = [*p.graph.inputs, *present(p.tangents_in)]
        regions.append(p.graph)
    return _split(forward.b.emit("cond", [*node.operands, *present(tangents)], {}, regions), moved)


def _remat(forward: Forward, node: Node, tangents: list[Tangent]) -> Results:
    pushed = push(node.regions[0], _flags(tangents))
    moved = _flags(pushed.tangents_out)
    pushed.graph.outputs = [*pushed.graph.outputs, *pushed.instantiate(moved)]
    pushed.graph.inputs = [*pushed.graph.inputs, *present(pushed.tangents_in)]
    results = forward.b.emit("remat", [*node.operands, *present(tangents)], node.attributes, [pushed.graph])
    return _split(results, moved)


def _composite(forward: Forward, node: Node, tangents: list[Tangent]) -> Results:
    nodes, values = region_nodes(node.regions[0], node.operands, node)
    forward.push(nodes)
    results = [forward.now(v) for v in values]
    return results, [forward.tangents.get(v) for v in results]


def _custom_vjp(forward: Forward, node: Node, tangents: list[Tangent]) -> Results:
    """The given backward function is linear in the cotangents; its transpose takes tangents forward."""
    b = forward.b
    nodes, values = region_nodes(node.regions[1], node.operands, node)
    b.nodes += nodes
    results, residuals = values[: len(node.results)], values[len(node.results) :]
    placeholders = [Value(r.type) for r in results if has_tangent(r.type)]
    nodes, outputs = region_nodes(node.regions[2], [*residuals, *placeholders], node)
    given = [t for t, v in zip(tangents, node.operands, strict=True) if has_tangent(v.type)]
    seeds = [(v, t) for v, t in zip(outputs, given, strict=True) if t is not None]
    found = transpose_nodes(b, nodes, placeholders, seeds)
    moved = iter(found)
    return results, [next(moved) if has_tangent(r.type) else None for r in results]


def _call(forward: Forward, node: Node, tangents: list[Tangent]) -> Results:
    raise no_derivative(
        node, f"put the function {node.attributes['callee']!r} in place of the call first: inline{{all}}"
    )


RULES: dict[str, Callable[[Forward, Node, list[Tangent]], Results]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "remat": _remat,
    "composite": _composite,
    "custom_vjp": _custom_vjp,
    "call": _call,
}
