"""Derivatives through the regions of reductions, and the regions that carry tangents along with values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..errors import DifferentiationError
from ..graph import Graph, Node, Value, clone
from ..opdef import ByDecomposition, Call, NotDifferentiable, as_tuple, decompose
from ..types import TensorType, has_tangent, highest, lowest
from .rules import Tangent, known

#: The comparison by which a maximum or minimum keeps its first operand.
KEEPS = {"maximum": "GE", "minimum": "LE"}
#: Ops that work place by place on operands of one shape, beside those declared so: other shapes mean something too.
_PLACEWISE = ("constant", "select", "clamp")


def push(
    b: Builder, region: Graph, operands: Sequence[Value], tangents: Sequence[Tangent]
) -> tuple[list[Value], list[Tangent]]:
    """Apply a region of scalars at every place of arrays of one shape; returns its results and their tangents."""
    values = dict(zip(region.inputs, operands, strict=True))
    moved = {v: t for v, t in zip(region.inputs, tangents, strict=True) if t is not None}
    for node in region.nodes:
        results, found = _push_node(b, node, [values[v] for v in node.operands], [moved.get(v) for v in node.operands])
        values.update(zip(node.results, results, strict=True))
        moved.update((r, t) for r, t in zip(node.results, found, strict=True) if t is not None and has_tangent(r.type))
    # What a region makes of constants alone has their shape.
    shape = operands[0].shape
    return [b.broadcast_to(values[v], shape) for v in region.outputs], [moved.get(v) for v in region.outputs]


def apply(b: Builder, region: Graph, operands: Sequence[Value]) -> list[Value]:
    """Apply a region of scalars at every place of arrays of one shape."""
    return push(b, region, operands, [None] * len(operands))[0]


def _push_node(
    b: Builder, node: Node, operands: list[Value], tangents: list[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    shape = max((v.shape for v in operands), key=len, default=())
    operands = [b.broadcast_to(v, shape) for v in operands]
    if not node.op.elementwise and node.op.name not in _PLACEWISE:
        raise DifferentiationError(
            f"a region with {node.op.name} has no derivative: it is known for regions of elementwise ops"
        )
    moves = any(t is not None for t in tangents) and any(has_tangent(r.type) for r in node.results)
    if moves and isinstance(node.op.jvp, NotDifferentiable):
        raise DifferentiationError(f"{node.op.name} has no derivative: {node.op.jvp.reason}")
    if moves and node.op.jvp is ByDecomposition:
        inner = Graph()
        inputs = [inner.add_input(TensorType(v.dtype)) for v in node.operands]
        call = Call(node.op, node.attributes, node.regions, [r.type for r in node.results])
        inner.outputs = list(decompose(Builder(inner), call, inputs))
        return push(b, inner, operands, tangents)
    results = b.emit(node.op, operands, node.attributes, node.regions)
    if not moves:
        return results, [None] * len(results)
    call = Call(node.op, node.attributes, node.regions, [r.type for r in results])
    return results, as_tuple(node.op.jvp(b, call, operands, tangents, results))


def paired(region: Graph, moving: Sequence[bool]) -> Graph:
    """The region of a reduction of values and of tangents of those that ``moving`` marks, all values first."""
    copy = clone(region)
    types = [v.type for v in copy.inputs[: len(moving)]]
    made = Graph()
    b = Builder(made)
    halves = []
    for _ in range(2):
        values = [made.add_input(t) for t in types]
        halves.append((values, [made.add_input(t) if m else None for t, m in zip(types, moving, strict=True)]))
    (first, first_moved), (second, second_moved) = halves
    results, tangents = push(b, copy, [*first, *second], [*first_moved, *second_moved])
    made.outputs = results + [known(b, t, r) for t, r, m in zip(tangents, types, moving, strict=True) if m]
    return made


def choosing(direction: str, dtype: np.dtype) -> Graph:
    """The region ``(a, ta, b, tb) -> (a, ta)`` where ``a direction b``, else ``(b, tb)``."""
    region = Graph()
    a, ta, c, tc = (region.add_input(TensorType(dtype)) for _ in range(4))
    b = Builder(region)
    keep = b.compare(a, c, direction=direction)
    region.outputs = [b.select(keep, a, c), b.select(keep, ta, tc)]
    return region


def chosen_by(region: Graph) -> str | None:
    """The direction where ``region`` is that of :func:`choosing`, else None."""
    if [n.op.name for n in region.nodes] != ["compare", "select", "select"] or len(region.inputs) != 4:
        return None
    compare, *selects = region.nodes
    a, ta, c, tc = region.inputs
    keep = compare.result
    chosen = [keep, a, c], [keep, ta, tc]
    if compare.operands != [a, c] or tuple(n.operands for n in selects) != chosen:
        return None
    if region.outputs != [n.result for n in selects]:
        return None
    direction = compare.attributes["direction"]
    return direction if direction in KEEPS.values() else None


def comparison(direction: str, dtype: np.dtype) -> Graph:
    """The region ``(a, b) -> a direction b``."""
    region = Graph()
    a, c = (region.add_input(TensorType(dtype)) for _ in range(2))
    region.outputs = [Builder(region).compare(a, c, direction=direction)]
    return region


def compared_by(region: Graph) -> str | None:
    """The direction where ``region`` is that of :func:`comparison`, else None."""
    if [n.op.name for n in region.nodes] != ["compare"] or region.outputs != [region.nodes[0].result]:
        return None
    return region.nodes[0].attributes["direction"] if region.nodes[0].operands == region.inputs else None


def is_neutral(direction: str, initial: Value) -> bool:
    """Whether ``initial`` is the constant that never compares ``direction`` to another value, but to its equals."""
    return is_constant(initial, neutral(direction, initial.dtype))


def neutral(direction: str, dtype: np.dtype) -> Any:
    """What the reduction that keeps by ``direction`` starts from."""
    return (lowest if direction == "GE" else highest)(dtype)


def is_constant(value: Value, number: Any) -> bool:
    """Whether a scalar is the constant ``number``."""
    node = value.producer
    return node is not None and node.op.name == "constant" and bool(node.attributes["value"] == number)
