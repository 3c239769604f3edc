"""Forward mode: a graph that carries tangents along."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...ir.builder import Builder
from ...ir.derivatives.rules import Tangent, known
from ...ir.errors import PassError
from ...ir.graph import Graph, Node, Value, clone
from ...ir.opdef import ByDecomposition, ByRegions, as_tuple
from ...ir.types import has_tangent, same_type
from .expand import call_of, decomposition, refuse


@dataclass(frozen=True)
class Pushed:
    """A graph with its tangents in it, before they are made inputs and outputs.

    ``tangents_in`` are values without a producer, one for each input that moves (None for others); ``tangents_out`` one
    for each output, None for zero.
    """

    graph: Graph
    tangents_in: list[Tangent]
    tangents_out: list[Tangent]

    def instantiate(self, wanted: Sequence[bool]) -> list[Value]:
        """The tangents of the outputs that ``wanted`` marks, zeros written out."""
        b = Builder(self.graph)
        pairs = zip(self.graph.outputs, self.tangents_out, wanted, strict=True)
        return [known(b, t, v.type) for v, t, w in pairs if w]


def jvp(graph: Graph, moving: Sequence[bool]) -> Graph:
    """The function together with its derivative along a direction.

    Args:
        graph: without calls (the pass ``inline{all}``) and without parameters that move. Stays as it is.
        moving: for each input whether it has a tangent. Only float and complex ones can.

    Returns:
        A graph that takes the inputs, then a tangent for each moving one; it gives the outputs, then a tangent for each
        float or complex output.

    Raises:
        DifferentiationError: an op on the way has no derivative.
    """
    pushed = push(graph, moving)
    made = pushed.graph
    tangents = pushed.instantiate([has_tangent(v.type) for v in made.outputs])
    made.inputs += [t for t in pushed.tangents_in if t is not None]
    made.outputs += tangents
    made.input_names, made.output_names = [""] * len(made.inputs), [""] * len(made.outputs)
    made.in_structure = made.out_structure = None
    return made


def push(graph: Graph, moving: Sequence[bool]) -> Pushed:
    """A copy of ``graph`` with tangents pushed through it."""
    made = clone(graph)
    nodes, made.nodes = made.nodes, []
    forward = Forward(Builder(made))
    given: list[Tangent] = [Value(v.type) if m else None for v, m in zip(made.inputs, moving, strict=True)]
    forward.tangents = {v: t for v, t in zip(made.inputs, given, strict=True) if t is not None}
    forward.push(nodes)
    made.outputs = [forward.now(v) for v in made.outputs]
    for update in made.updates:
        update.value = forward.now(update.value)
    return Pushed(made, given, [forward.tangents.get(v) for v in made.outputs])


class Forward:
    """Appends nodes to a graph together with those of their tangents.

    ``tangents`` are those of values so far; one that is not there is zero.
    """

    def __init__(self, b: Builder) -> None:
        self.b = b
        self.tangents: dict[Value, Value] = {}
        self.replaced: dict[Value, Value] = {}

    def now(self, value: Value) -> Value:
        """What stands for a value of the original nodes."""
        return self.replaced.get(value, value)

    def push(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            self._push(node)

    def _push(self, node: Node) -> None:
        node.operands = [self.now(v) for v in node.operands]
        tangents = [self.tangents.get(v) for v in node.operands]
        if all(t is None for t in tangents) or not any(has_tangent(r.type) for r in node.results):
            self.b.nodes.append(node)
            return
        refuse(node)
        with self.b.at(node.location):
            if node.op.jvp is ByDecomposition:
                inner, values = decomposition(self.b.graph, node)
                self.push(inner)
                self.replaced |= {r: self.now(v) for r, v in zip(node.results, values, strict=True)}
            elif node.op.jvp is ByRegions:
                from .forward_regions import RULES

                results, moved = RULES[node.op.name](self, node, tangents)
                self.replaced |= dict(zip(node.results, results, strict=True))
                self._set(node, results, moved)
            else:
                self.b.nodes.append(node)
                moved = as_tuple(node.op.jvp(self.b, call_of(node), node.operands, tangents, node.results))
                self._set(node, node.results, moved)

    def _set(self, node: Node, results: Sequence[Value], tangents: Sequence[Tangent]) -> None:
        for result, tangent in zip(results, tangents, strict=True):
            if tangent is None or not has_tangent(result.type):
                continue
            if not same_type(tangent.type, result.type):
                raise PassError(f"the derivative of {node} has a tangent {tangent.type} for {result.type}")
            self.tangents[result] = tangent
