"""Transposing nodes that are linear: from tangents that go in and come out to cotangents that go the other way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...ir.builder import Builder
from ...ir.derivatives.rules import Tangent
from ...ir.errors import PassError
from ...ir.graph import Node, Value
from ...ir.opdef import Linear, as_tuple
from ...ir.types import same_type
from .expand import call_of, decomposition, no_derivative


class Cotangents:
    """Cotangents of values, summed as they arrive. One that is not there is zero."""

    def __init__(self, b: Builder, seeds: Iterable[tuple[Value, Value]] = ()) -> None:
        self.b = b
        self._sums: dict[Value, Value] = {}
        for value, cotangent in seeds:
            self.add(value, cotangent)

    def get(self, value: Value) -> Tangent:
        return self._sums.get(value)

    def add(self, value: Value, cotangent: Tangent) -> None:
        if cotangent is None:
            return
        if not same_type(cotangent.type, value.type):
            raise PassError(f"a cotangent {cotangent.type} arrives for a value of {value.type} at {self.b.location}")
        before = self._sums.get(value)
        self._sums[value] = cotangent if before is None else self.b.add(before, cotangent)


def transpose_nodes(
    b: Builder, nodes: Sequence[Node], inputs: Sequence[Value], seeds: Iterable[tuple[Value, Value]]
) -> list[Tangent]:
    """Cotangents of ``inputs`` from those of values that depend on them linearly.

    Args:
        b: receives the nodes that do not depend on ``inputs`` as they are, and the transposed ones.
        nodes: what was computed from ``inputs``, in order.
        seeds: values among the results of ``nodes`` (or inputs) with their cotangents.
    """
    linear = set(inputs)
    steps: list[Node] = []
    replaced: dict[Value, Value] = {}
    _sort_out(b, nodes, linear, steps, replaced)
    cotangents = Cotangents(b, ((replaced.get(v, v), ct) for v, ct in seeds))
    for node in reversed(steps):
        given = tuple(cotangents.get(r) for r in node.results)
        if all(ct is None for ct in given):
            continue
        operands = [Linear(v.type) if v in linear else v for v in node.operands]
        with b.at(node.location):
            found = as_tuple(node.op.transpose(b, call_of(node), given[0] if len(given) == 1 else given, *operands))
            for operand, ct in zip(node.operands, found, strict=True):
                if operand in linear:
                    cotangents.add(operand, ct)
    return [cotangents.get(v) for v in inputs]


def _sort_out(
    b: Builder, nodes: Iterable[Node], linear: set[Value], steps: list[Node], replaced: dict[Value, Value]
) -> None:
    """Put the nodes that depend on a value of ``linear`` into ``steps``, composites decomposed, others into ``b``."""
    for node in nodes:
        node.operands = [replaced.get(v, v) for v in node.operands]
        if linear.isdisjoint(node.operands):
            b.nodes.append(node)
        elif node.op.transpose is not None:
            linear.update(node.results)
            steps.append(node)
        elif node.op.is_composite:
            inner, values = decomposition(b.graph, node)
            _sort_out(b, inner, linear, steps, replaced)
            replaced |= {r: replaced.get(v, v) for r, v in zip(node.results, values, strict=True)}
        elif node.op.name == "optimization_barrier":
            replaced |= dict(zip(node.results, node.operands, strict=True))
        else:
            raise no_derivative(node, "in reverse mode its derivative would have to be transposed, and it can't be")
