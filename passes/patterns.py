"""Patterns over graphs: the left side of a rewrite rule, and small questions that rules ask of values.

A pattern is written with :func:`op`: ``op("negate", op("negate", "x"))``. A string stands for any value (twice the same
string: the same value), a number for a scalar constant or a tensor that holds it everywhere, :func:`scalar` for such a
constant that satisfies a condition. The operands of commutative ops match in either order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.graph import Node, Value
from ..ir.regions import simple_region
from ..ir.types import is_complex, is_float

if TYPE_CHECKING:
    from .rewrite import Rewriter

#: Scalars pass through these unchanged on their way to a shape.
_SPREADS = ("broadcast_in_dim", "reshape", "transpose", "match_shape")
_CONSTANTS = frozenset([*_SPREADS, "constant"])
# Ops whose value depends on more than their operands: on the device, or on a target's code.
_PLACED = (
    "custom_call",
    "partition_id",
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "collective_permute",
)


@dataclass(frozen=True)
class Op:
    """A node of the op ``name`` whose operands match; see :func:`op`."""

    name: str
    operands: tuple[Any, ...]
    bind: str
    once: bool

    @cached_property
    def producers(self) -> tuple[tuple[int, frozenset[str]], ...]:
        """For each operand that a node has to make, the ops that it may be. A quick no for most nodes."""
        return tuple(
            (i, frozenset([p.name]) if isinstance(p, Op) else _CONSTANTS)
            for i, p in enumerate(self.operands)
            if not isinstance(p, str)
        )

    @cached_property
    def is_lopsided(self) -> bool:
        """Whether it takes two operands that differ, so that a commutative op may match the other way round."""
        return len(self.operands) == 2 and self.operands[0] != self.operands[1]


@dataclass(frozen=True)
class Scalar:
    """A scalar constant that satisfies ``accepts``; see :func:`scalar`."""

    accepts: Callable[[Any], bool]
    bind: str


def op(name: str, *operands: Any, bind: str = "", once: bool = False) -> Op:
    """A pattern for one node.

    Args:
        name: the op.
        operands: a pattern for each operand; none: any operands.
        bind: the name under which the rule receives the node.
        once: match only where the node's result has a single use, so that the rewrite makes the node disappear.
    """
    return Op(name, operands, bind, once)


def scalar(accepts: Callable[[Any], bool], bind: str = "") -> Scalar:
    """A pattern for a constant that holds one number everywhere, of which ``accepts(number)`` is true."""
    return Scalar(accepts, bind)


def match_node(r: Rewriter, pattern: Op, node: Node, found: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """All ways in which ``node``, whose op is that of the pattern, matches; each gives what its names stand for."""
    operands = node.operands
    orders = []
    if pattern.operands:  # first what refuses most nodes
        if len(operands) != len(pattern.operands):
            return ()
        if _may_match(pattern, operands):
            orders.append(operands)
        if node.op.commutative and pattern.is_lopsided and _may_match(pattern, operands[::-1]):
            orders.append(operands[::-1])
        if not orders:
            return ()
    if pattern.bind:
        found = {**found, pattern.bind: node}
    if not pattern.operands:
        return (found,)
    return (way for order in orders for way in _match_all(r, pattern.operands, order, found))


def _may_match(pattern: Op, operands: list[Value]) -> bool:
    for i, names in pattern.producers:
        producer = operands[i].producer
        if producer is None or producer.op.name not in names:
            return False
    return True


def _match_all(
    r: Rewriter, patterns: tuple[Any, ...], values: list[Value], found: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    if not patterns:
        yield found
        return
    for partly in match_value(r, patterns[0], values[0], found):
        yield from _match_all(r, patterns[1:], values[1:], partly)


def match_value(r: Rewriter, pattern: Any, value: Value, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All ways in which ``value`` matches ``pattern``."""
    if isinstance(pattern, str):
        bound = found.get(pattern)
        if bound is None:
            yield {**found, pattern: value}
        elif bound is value:
            yield found
    elif isinstance(pattern, Op):
        node = value.producer
        if node is not None and node.op.name == pattern.name and not (pattern.once and not r.single_use(value)):
            yield from match_node(r, pattern, node, found)
    else:
        number = scalar_of(value)
        if number is None:
            return
        if isinstance(pattern, Scalar):
            if pattern.accepts(number):
                yield {**found, pattern.bind: number} if pattern.bind else found
        elif is_number(number, pattern):
            yield found


def produced_by(value: Value, name: str) -> Node | None:
    """The node that ``value`` comes from where it is of the op ``name``, else None."""
    node = value.producer
    return node if node is not None and node.op.name == name else None


def scalar_of(value: Value) -> Any:
    """The NumPy scalar that ``value`` holds everywhere where it is such a constant, else None."""
    node = value.producer
    while node is not None and node.op.name in _SPREADS:
        node = node.operands[0].producer
    if node is None or node.op.name != "constant":
        return None
    array = node.attributes["value"]
    return array.reshape(())[()] if array.size == 1 else None


def is_number(number: Any, expected: float) -> bool:
    """Whether a NumPy scalar is exactly ``expected``. Zeros of floats differ by sign; integers have one zero."""
    dtype = np.asarray(number).dtype
    if is_complex(dtype):
        return False
    if is_float(dtype):
        value = float(number)
        return value == expected and bool(np.signbit(value)) == bool(np.signbit(float(expected)))
    return bool(int(number) == expected)


def constant_array(value: Value) -> np.ndarray | None:
    """The array that ``value`` is where a constant node makes it, else None."""
    node = produced_by(value, "constant")
    return None if node is None else node.attributes["value"]


def is_pure(node: Node) -> bool:
    """Whether ``node`` may be merged, moved and dropped: neither it nor its regions do more than give results."""
    if not node.op.pure or node.attributes.get("has_side_effect"):
        return False
    return not node.regions or all(is_pure(inner) for region in node.regions for inner in region.nodes)


def is_droppable(node: Node) -> bool:
    """Whether ``node`` may go where nobody uses its results."""
    return is_pure(node) or (node.op.name == "custom_call" and not node.attributes["has_side_effect"])


def is_placed(node: Node) -> bool:
    """Whether the result depends on the device that runs ``node``, or on code the graph does not hold."""
    return node.op.name in _PLACED or any(is_placed(n) for region in node.regions for n in region.nodes)


_FOLDS = {"reduce_sum": "add", "reduce_max": "maximum", "reduce_min": "minimum", "reduce_prod": "multiply"}


def reduction(value: Value) -> tuple[str, Value, tuple[int, ...]] | None:
    """Read ``value`` as a reduction of an array: ``(op, array, axes)``; op is ``add``, ``maximum``, ``mean`` ...

    Sees the composites and ``reduce`` from the neutral element; kept dimensions of 1 are looked through.
    """
    node = value.producer
    while node is not None and node.op.name == "reshape" and _drops_or_adds_ones(node):
        node = node.operands[0].producer
    if node is None:
        return None
    if node.op.name in _FOLDS:
        return _FOLDS[node.op.name], node.operands[0], _axes_of(node)
    if node.op.name == "reduce_mean":
        return "mean", node.operands[0], _axes_of(node)
    if node.op.name != "reduce" or len(node.operands) != 2:
        return None
    fold, start = simple_region(node.regions[0]), scalar_of(node.operands[1])
    if fold is None or start is None or not _is_neutral(fold, start):
        return None
    return fold, node.operands[0], _axes_of(node)


def _axes_of(node: Node) -> tuple[int, ...]:
    """The reduced axes from the front, in rising order."""
    return tuple(sorted(axis % node.operands[0].rank for axis in node.attributes["axes"]))


def _is_neutral(fold: str, start: Any) -> bool:
    neutral = {"add": 0.0, "multiply": 1.0, "maximum": -np.inf, "minimum": np.inf}
    return fold in neutral and bool(start == neutral[fold])


def _drops_or_adds_ones(node: Node) -> bool:
    return without_ones(node.operands[0].shape) == without_ones(node.result.shape)


def without_ones(shape: tuple) -> tuple:
    """The dimensions of ``shape`` that are not 1."""
    return tuple(d for d in shape if d != 1)


def expanded(value: Value, shape: tuple, axes: tuple[int, ...]) -> Value | None:
    """What was stretched along ``axes`` to ``shape`` to give ``value``; None where it is not so made."""
    node = produced_by(value, "broadcast_in_dim")
    if node is None or value.shape != shape:
        return None
    source = node.operands[0]
    # The dimensions that carry something, in order: exactly those that were not reduced.
    carried = [d for d, size in zip(node.attributes["dims"], source.shape) if size != 1]
    return source if carried == [i for i in range(len(shape)) if i not in axes and shape[i] != 1] else None


def depends_only_on(value: Value, accepts: Callable[[Value], bool], limit: int = 64) -> bool:
    """Whether every input that ``value`` is computed from satisfies ``accepts`` (constants always do).

    Gives up, with False, after ``limit`` nodes.
    """
    pending, seen = [value], {value}
    while pending:
        v = pending.pop()
        if v.producer is None:
            if not accepts(v):
                return False
            continue
        if len(seen) > limit or not is_pure(v.producer) or is_placed(v.producer):
            return False
        for operand in v.producer.operands:
            if operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return True


def is_elementwise(node: Node) -> bool:
    """Whether each result element depends on the operand elements at its place only (or on scalar operands)."""
    return node.op.elementwise or node.op.name in ("select", "clamp")
