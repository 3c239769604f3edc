"""The pass `decompose`: composites are replaced by their decompositions, in functions and regions too."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..ir.builder import Builder
from ..ir.errors import LaminaError, PassError
from ..ir.graph import Graph, Module, Node, Update, Value
from ..ir.location import merge
from ..ir.opdef import OPS, Call
from ..ir.opdef import decompose as emit_decomposition
from .manager import Context, Option, Pass, register
from .rewrite import Log, have_types, keep_sharding
from .targets import kept_composites


def decompose(graph: Graph, keep: Collection[str] = (), log: Log | None = None) -> bool:
    """Replace the composites of ``graph`` by primitives, in place; returns whether there were any.

    Args:
        keep: names of composites that stay. Composites inside a decomposition are replaced too, unless they are kept.
        log: receives what was replaced, and where.
    """
    new: dict[Value, Value] = {}
    nodes: list[Node] = []
    changed = _expand(graph, graph.nodes, frozenset(keep), nodes, new, log if log is not None else Log())
    graph.nodes = nodes
    graph.outputs = [new.get(v, v) for v in graph.outputs]
    graph.updates = [Update(u.parameter, new.get(u.value, u.value)) for u in graph.updates]
    return changed


def _expand(
    graph: Graph, source: Sequence[Node], keep: frozenset[str], nodes: list[Node], new: dict[Value, Value], log: Log
) -> bool:
    """Append ``source`` to ``nodes``, composites expanded; ``new`` receives what their results became."""
    changed = False
    for node in source:
        if new:
            node.operands = [new.get(v, v) for v in node.operands]
        for region in node.regions:
            changed |= decompose(region, keep, log)
        if not node.op.is_composite or node.op.name in keep:
            nodes.append(node)
            continue
        inner: list[Node] = []
        values = _decomposition(graph, node, inner)
        log.count(node.op.name, node.location)
        _expand(graph, inner, keep, nodes, new, log)
        for result, value in zip(node.results, values, strict=True):
            final = new.get(value, value)
            final.name = final.name or result.name
            new[result] = final
        changed = True
    return changed


def _decomposition(graph: Graph, node: Node, nodes: list[Node]) -> tuple[Value, ...]:
    builder = Builder(graph, nodes, node.location)
    call = Call(node.op, node.attributes, node.regions, [r.type for r in node.results])
    try:
        values = emit_decomposition(builder, call, node.operands)
    except LaminaError as error:
        raise PassError(f"the decomposition of {node} failed: {error}") from error
    if not have_types(values, node.results):
        raise PassError(f"the decomposition of {node} gives {[str(v.type) for v in values]}")
    keep_sharding(node.results, values, nodes)
    for made in nodes:
        if made.location is not node.location:
            made.location = merge((node.location, made.location))
    return values


def _run(module: Module, context: Context) -> bool:
    unknown = [name for name in context["keep"] if name not in OPS or not OPS[name].is_composite]
    if unknown:
        raise PassError(f"keep={unknown[0]}: there is no such composite")
    keep = {*context["keep"], *(kept_composites(context.target) if context["final"] is False else ())}
    changed = False
    for graph in module.functions.values():
        changed |= decompose(graph, keep, context.log)
    return changed


DECOMPOSE = register(
    Pass(
        "decompose",
        "composites become primitives, but for those in `keep` and those the target's own rules start from",
        _run,
        {
            "keep": Option((), "composites that stay"),
            "final": Option(False, "decompose what the target's rules start from, too"),
        },
        keeps=("signature", "primitive", "static", "call_free"),
    )
)
