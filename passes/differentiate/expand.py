"""What stands for a node without rules of its own: the nodes of its decomposition, or of its region."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.builder import Builder
from ...ir.errors import DifferentiationError
from ...ir.graph import Graph, Node, Value, clone_node
from ...ir.location import UNKNOWN, merge
from ...ir.opdef import Call, NotDifferentiable, decompose


def call_of(node: Node) -> Call:
    """A node as its op's rules see it."""
    return Call(node.op, node.attributes, node.regions, [r.type for r in node.results])


def decomposition(graph: Graph, node: Node) -> tuple[list[Node], tuple[Value, ...]]:
    """The nodes of a composite's decomposition on its operands, and its results there."""
    nodes: list[Node] = []
    values = decompose(Builder(graph, nodes, node.location), call_of(node), node.operands)
    return nodes, values


def region_nodes(region: Graph, operands: Sequence[Value], node: Node) -> tuple[list[Node], tuple[Value, ...]]:
    """A copy of the nodes of a node's region on ``operands``, and the region's outputs there."""
    new = dict(zip(region.inputs, operands, strict=True))
    nodes = []
    for inner in region.nodes:
        copy = clone_node(inner, [new[v] for v in inner.operands], new)
        if copy.location is UNKNOWN:
            copy.location = node.location
        elif copy.location is not node.location:
            copy.location = merge((node.location, copy.location))
        nodes.append(copy)
    return nodes, tuple(new[v] for v in region.outputs)


def no_derivative(node: Node, why: str) -> DifferentiationError:
    """The error for a node that has no derivative, with its place."""
    return DifferentiationError(f"{node.op.name} has no derivative: {why}\n  at {node.location}")


def refuse(node: Node) -> None:
    """Raise where an op is declared to have no derivative."""
    if isinstance(node.op.jvp, NotDifferentiable):
        raise no_derivative(node, f"{node.op.jvp.reason}; ops.stop_gradient(x) takes it out of the derivative")
