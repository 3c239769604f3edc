"""Batching: a graph on arrays with one more dimension, always the first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...ir.batching.rules import elementwise, stretched
from ...ir.builder import Builder
from ...ir.dims import DimLike
from ...ir.errors import PassError
from ...ir.graph import Graph, Node, Value, clone
from ...ir.opdef import ByDecomposition, ByRegions, as_tuple
from ..differentiate.expand import call_of, decomposition


def vectorize(graph: Graph, batched: Sequence[bool], size: DimLike, out: Sequence[bool] | None = None) -> Graph:
    """The function applied to each element of a batch.

    Args:
        graph: without calls (the pass ``inline{all}``). Stays as it is.
        batched: for each input whether it has the batch dimension, which is its first. Others are the same for all.
        size: of the batch.
        out: for each output whether to give it the batch dimension even where it is the same for all.

    Returns:
        A graph; each output that depends on a batched input, or is marked in ``out``, has the batch dimension first.
    """
    made, flags = batch(graph, batched, size)
    if out is not None:
        force(made, flags, out, size)
    return made


def batch(graph: Graph, batched: Sequence[bool], size: DimLike) -> tuple[Graph, list[bool]]:
    """As :func:`vectorize`; says too which outputs have the batch dimension."""
    made = clone(graph)
    nodes, made.nodes = made.nodes, []
    batching = Batching(Builder(made), size)
    for i, (value, flag) in enumerate(zip(made.inputs, batched, strict=True)):
        if flag:
            made.inputs[i] = Value(value.type.with_shape((size, *value.shape)), name=value.name)
            batching.batched[value] = made.inputs[i]
    batching.push(nodes)
    flags = [batching.now(v) in batching.batched for v in made.outputs]
    made.outputs = [batching.value(v) for v in made.outputs]
    made.in_structure = made.out_structure = None
    return made, flags


def force(graph: Graph, flags: Sequence[bool], wanted: Sequence[bool], size: DimLike) -> None:
    """Give outputs that ``wanted`` marks the batch dimension where they have none."""
    b = Builder(graph)
    graph.outputs = [
        stretched(b, v, size) if w and not f else v for v, f, w in zip(graph.outputs, flags, wanted, strict=True)
    ]


class Batching:
    """Appends nodes to a graph, batched where an operand is.

    ``batched`` are the values with the batch dimension that stand for values of the original nodes.
    """

    def __init__(self, b: Builder, size: DimLike) -> None:
        self.b = b
        self.size = size
        self.batched: dict[Value, Value] = {}
        self.replaced: dict[Value, Value] = {}

    def now(self, value: Value) -> Value:
        """What stands for a value of the original nodes, in its original shape."""
        return self.replaced.get(value, value)

    def value(self, value: Value) -> Value:
        """What stands for a value: batched where it is."""
        now = self.now(value)
        return self.batched.get(now, now)

    def push(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            self._push(node)

    def _push(self, node: Node) -> None:
        original = [self.now(v) for v in node.operands]
        flags = [v in self.batched for v in original]
        node.operands = original
        if not any(flags):
            self.b.nodes.append(node)
            return
        operands = [self.batched.get(v, v) for v in original]
        with self.b.at(node.location):
            if node.op.batch is ByRegions:
                from .regions import RULES

                results, moved = RULES[node.op.name](self, node, operands, flags)
            elif node.op.batch is ByDecomposition and not node.op.elementwise:
                inner, values = decomposition(self.b.graph, node)
                self.push(inner)
                self.replaced |= {r: self.now(v) for r, v in zip(node.results, values, strict=True)}
                return
            else:
                rule = elementwise if node.op.batch is ByDecomposition else node.op.batch
                results = as_tuple(rule(self.b, call_of(node), self.size, operands, flags))
                moved = [True] * len(results)
        for old, new, flag in zip(node.results, results, moved, strict=True):
            if flag:
                if new.type.shape != (self.size, *old.shape) or new.dtype != old.dtype:
                    raise PassError(f"batching {node} by {self.size} gives {new.type}")
                self.batched[old] = new
            else:
                self.replaced[old] = new
