"""What a loop's turns give, done at once after the loop: sums over them, and products with constants.

A weight that is used in every turn gets one cotangent a turn, mostly a product of two matrices or a sum over the batch.
To add them up in the loop is slow: each is small, and each reads and writes the whole sum. From stacked operands one
product does all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...ir.builder import Builder
from ...ir.graph import Graph, Node, Value

#: ``(builder, stacked operands) -> the sum``.
Emit = Callable[[Builder, Mapping[Value, Value]], Value]


@dataclass(frozen=True)
class StepwiseSum:
    """``emit`` makes the sum over all turns of a value (or their stack) from stacks of its ``parts``."""

    parts: list[Value]
    emit: Emit


def stepwise_sum(body: Graph, value: Value) -> StepwiseSum | None:
    """How to sum a value of a loop's body outside; None where it is better done turn by turn."""
    node = value.producer
    inside = node is not None and any(n is node for n in body.nodes)
    rule = _RULES.get(node.op.name) if node is not None and inside else None
    return rule(body, node) if rule is not None and node is not None else None


def mapped_product(body: Graph, value: Value, constants: Mapping[Value, Value]) -> StepwiseSum | None:
    """How to make the stack of a value outside, where it is the product of a matrix with a constant of the loop.

    ``constants`` are those of the body, with what they are outside.
    """
    node = value.producer
    if node is None or node.op.name != "dot_general" or not any(n is node for n in body.nodes):
        return None
    x, kernel = node.operands
    if kernel not in constants or node.attributes["lhs_batch"]:
        return None
    attributes = {**node.attributes, "lhs_contract": tuple(d + 1 for d in node.attributes["lhs_contract"])}
    return StepwiseSum([x], lambda b, s: b.emit("dot_general", [s[x], constants[kernel]], attributes)[0])


def _add(body: Graph, node: Node) -> StepwiseSum | None:
    left, right = (stepwise_sum(body, v) for v in node.operands)
    if left is None or right is None:
        return None
    return StepwiseSum([*left.parts, *right.parts], lambda b, s: b.add(left.emit(b, s), right.emit(b, s)))


def _transpose(body: Graph, node: Node) -> StepwiseSum | None:
    inner = stepwise_sum(body, node.operands[0])
    if inner is None:
        return None
    permutation = node.attributes["permutation"]
    return StepwiseSum(inner.parts, lambda b, s: b.transpose(inner.emit(b, s), permutation=permutation))


def _reshape(body: Graph, node: Node) -> StepwiseSum | None:
    inner = stepwise_sum(body, node.operands[0])
    shape = node.attributes["shape"]
    return None if inner is None else StepwiseSum(inner.parts, lambda b, s: b.reshape(inner.emit(b, s), shape=shape))


def _concatenate(body: Graph, node: Node) -> StepwiseSum | None:
    inner = [stepwise_sum(body, v) for v in node.operands]
    found = [s for s in inner if s is not None]
    if len(found) < len(inner):
        return None
    axis = node.attributes["axis"]
    parts = [v for s in found for v in s.parts]
    return StepwiseSum(parts, lambda b, stacks: b.concatenate(*(s.emit(b, stacks) for s in found), axis=axis))


def _dot(body: Graph, node: Node) -> StepwiseSum | None:
    a, b_ = node.operands
    if node.attributes["lhs_batch"]:
        return None
    lhs = (0, *(d + 1 for d in node.attributes["lhs_contract"]))
    rhs = (0, *(d + 1 for d in node.attributes["rhs_contract"]))
    attributes = {**node.attributes, "lhs_contract": lhs, "rhs_contract": rhs}
    return StepwiseSum([a, b_], lambda b, s: b.emit("dot_general", [s[a], s[b_]], attributes)[0])


def _reduce_sum(body: Graph, node: Node) -> StepwiseSum | None:
    x = node.operands[0]
    axes = tuple(a % x.rank for a in node.attributes["axes"])
    keepdims = node.attributes["keepdims"]

    def emit(b: Builder, stacks: Mapping[Value, Value]) -> Value:
        total = b.reduce_sum(stacks[x], axes=(0, *(a + 1 for a in axes)), keepdims=False)
        return b.reshape(total, shape=node.result.shape) if keepdims else total

    return StepwiseSum([x], emit)


_RULES: dict[str, Callable[[Graph, Node], StepwiseSum | None]] = {
    "add": _add,
    "transpose": _transpose,
    "reshape": _reshape,
    "concatenate": _concatenate,
    "dot_general": _dot,
    "reduce_sum": _reduce_sum,
}
