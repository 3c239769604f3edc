"""Control flow whose way is known."""

from __future__ import annotations

from ...ir.graph import Graph, Node, Value, clone_node
from ...ir.location import merge
from ..patterns import scalar_of
from ..rewrite import NoMatch, Rewriter, rule


@rule("cond")
def cond_constant(r: Rewriter, node: Node) -> tuple[Value, ...] | NoMatch:
    """A branch that is always taken is put in place of the choice."""
    index = scalar_of(node.operands[0])
    if index is None:
        return NoMatch("the choice is made at run time")
    if len(node.regions) == 2 and node.operands[0].dtype == bool:
        branch = node.regions[0 if index else 1]
    else:
        branch = node.regions[int(index) if 0 <= index < len(node.regions) else -1]
    return inline(r, branch, node.operands[1:], node)


def inline(r: Rewriter, region: Graph, operands: list[Value], node: Node) -> tuple[Value, ...]:
    """Emit the nodes of a region on ``operands``; returns its outputs."""
    new = dict(zip(region.inputs, operands))
    for inner in region.nodes:
        copy = clone_node(inner, [new[v] for v in inner.operands], new)
        copy.location = merge((node.location, inner.location))
        r.nodes.append(copy)
    return tuple(new[v] for v in region.outputs)


RULES = [cond_constant]
