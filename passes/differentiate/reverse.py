"""Reverse mode: a graph that gives cotangents of its inputs.

The nodes run forward as they are (composites without a derivative of their own decomposed); then each, from the last to
the first, takes the cotangents of its results to its operands: by its ``vjp``, or by its jvp, transposed on the spot.
Nothing is kept for the way back but values that the graph has; what the way back needs of a loop's turns the loop is
made to give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...ir.builder import Builder
from ...ir.derivatives.rules import Tangent, known
from ...ir.graph import Graph, Node, Value, clone
from ...ir.opdef import ByDecomposition, ByRegions, as_tuple
from ...ir.types import has_tangent
from .expand import call_of, decomposition, refuse
from .transpose import Cotangents, transpose_nodes


def vjp(graph: Graph, wanted: Sequence[bool], given: Sequence[bool]) -> Graph:
    """The function together with its cotangents.

    Args:
        graph: without calls (the pass ``inline{all}``). Stays as it is.
        wanted: for each input whether its cotangent is wanted; only float and complex ones have any.
        given: for each output whether its cotangent is given; that of others is zero.

    Returns:
        A graph that takes the inputs, then a cotangent for each given output; it gives the outputs, then a cotangent
        for each wanted input.

    Raises:
        DifferentiationError: an op on the way has no derivative, or none in reverse mode.
    """
    made = clone(graph)
    inputs = [v for v, w in zip(made.inputs, wanted, strict=True) if w]
    reverse = Reverse(made, inputs)
    chosen = [v for v, g in zip(made.outputs, given, strict=True) if g]
    seeds = [Value(v.type) for v in chosen]
    b = Builder(made)
    found = reverse.pull(b, zip(chosen, seeds, strict=True))
    made.inputs += seeds
    made.outputs += [known(b, ct, v.type) for v, ct in zip(inputs, found, strict=True)]
    made.input_names, made.output_names = [""] * len(made.inputs), [""] * len(made.outputs)
    made.in_structure = made.out_structure = None
    return made


def _has_vjp(node: Node) -> bool:
    """Whether the vjp of an op serves a node: not where it gives what only the vjp asks for, in a second derivative."""
    further = node.op.vjp_attributes
    return node.op.vjp is not None and not any(node.attributes[name] == value for name, value in further.items())


@dataclass
class Step:
    """A node on the way forward; or, with ``backward``, several that have one derivative together: a function
    ``(builder, cotangents of outputs) -> cotangents of inputs``."""

    inputs: Sequence[Value]
    outputs: Sequence[Value]
    node: Node | None = None
    backward: Callable[[Builder, Sequence[Tangent]], Sequence[Tangent]] | None = None


class Reverse:
    """A graph, which is taken over, made ready for the way back.

    Args:
        graph: its nodes are replaced by those of the way forward.
        inputs: values (inputs or parameters of the graph) whose cotangents are wanted.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Value]) -> None:
        self.graph = graph
        self.inputs = list(inputs)
        self.active = set(inputs)
        self.steps: list[Step] = []
        self.replaced: dict[Value, Value] = {}
        nodes, graph.nodes = graph.nodes, []
        self.go(nodes)
        graph.outputs = [self.now(v) for v in graph.outputs]
        for update in graph.updates:
            update.value = self.now(update.value)

    def now(self, value: Value) -> Value:
        """What stands for a value of the original nodes."""
        return self.replaced.get(value, value)

    def go(self, nodes: Iterable[Node]) -> None:
        """Append nodes to the way forward."""
        for node in nodes:
            self._go(node)

    def _go(self, node: Node) -> None:
        node.operands = [self.now(v) for v in node.operands]
        moves = not self.active.isdisjoint(node.operands) and any(has_tangent(r.type) for r in node.results)
        if not moves:
            self.graph.nodes.append(node)
        elif node.op.jvp is ByDecomposition and not _has_vjp(node):
            inner, values = decomposition(self.graph, node)
            self.go(inner)
            self.replaced |= {r: self.now(v) for r, v in zip(node.results, values, strict=True)}
        elif node.op.jvp is ByRegions:
            from .reverse_regions import EXPANSIONS

            expand = EXPANSIONS.get(node.op.name)
            if expand is None:
                self.take(node)
            else:
                stand_in = expand(self, node)
                self.replaced |= {r: self.now(v) for r, v in zip(node.results, stand_in, strict=True)}
        else:
            self.take(node)

    def take(self, node: Node) -> None:
        """Append one node that has a derivative of its own."""
        if node.op.vjp_attributes:
            attributes = {**node.attributes, **node.op.vjp_attributes}
            b = Builder(self.graph, location=node.location)
            results = b.emit(node.op, node.operands, attributes, node.regions)
            self.replaced |= dict(zip(node.results, results, strict=False))
            count, node = len(node.results), self.graph.nodes[-1]
            self.add(Step(node.operands, node.results[:count], node))
            return
        self.graph.nodes.append(node)
        self.add(Step(node.operands, node.results, node))

    def add(self, step: Step) -> None:
        self.steps.append(step)
        self.active.update(v for v in step.outputs if has_tangent(v.type))

    def pull(self, b: Builder, seeds: Iterable[tuple[Value, Value]]) -> list[Tangent]:
        """Write the way back with ``b``; returns the cotangents of the inputs, None for zero."""
        cotangents = Cotangents(b, ((self.now(v), ct) for v, ct in seeds))
        for step in reversed(self.steps):
            given = [cotangents.get(r) for r in step.outputs]
            if all(ct is None for ct in given):
                continue
            if step.node is not None:
                with b.at(step.node.location):
                    self._add(cotangents, step.inputs, self._pull(b, step.node, given))
            else:
                assert step.backward is not None
                self._add(cotangents, step.inputs, step.backward(b, given))
        return [cotangents.get(v) for v in self.inputs]

    def _add(self, cotangents: Cotangents, values: Sequence[Value], found: Sequence[Tangent]) -> None:
        for value, ct in zip(values, found, strict=True):
            if value in self.active:
                cotangents.add(value, ct)

    def _pull(self, b: Builder, node: Node, given: Sequence[Tangent]) -> Sequence[Tangent]:
        if node.op.jvp is ByRegions:
            from .reverse_regions import RULES

            return RULES[node.op.name](self, b, node, given)
        refuse(node)
        if node.op.vjp is not None:
            cotangents = tuple(known(b, ct, r.type) for ct, r in zip(given, node.results, strict=False))
            one = cotangents[0] if len(cotangents) == 1 else cotangents
            return as_tuple(node.op.vjp(b, call_of(node), node.operands, node.results, one))
        return self._transposed(b, node, given)

    def _transposed(self, b: Builder, node: Node, given: Sequence[Tangent]) -> Sequence[Tangent]:
        """The jvp of a node, on stand-ins for tangents, transposed."""
        nodes: list[Node] = []
        scratch = Builder(b.graph, nodes, node.location)
        tangents = [Value(v.type) if v in self.active else None for v in node.operands]
        moved = as_tuple(node.op.jvp(scratch, call_of(node), node.operands, tangents, node.results))
        seeds = [(t, ct) for t, ct in zip(moved, given, strict=True) if t is not None and ct is not None]
        stand_ins = [t for t in tangents if t is not None]
        found = iter(transpose_nodes(b, nodes, stand_ins, seeds))
        return [None if t is None else next(found) for t in tangents]
