"""What is known while compiling is computed while compiling, by the IR's own evaluation."""

from __future__ import annotations

import math

import numpy as np

from ...ir.dims import Dim
from ...ir.evaluate import evaluate_node
from ...ir.graph import Graph, Node, Value
from ...ir.literals import is_splat
from ...ir.regions import simple_region
from ...ir.types import static_shape
from ..patterns import constant_array, is_placed, is_pure, produced_by
from ..rewrite import NoMatch, Rewriter, rule

# Loops may run long, calls need the module, barriers are there to be kept; a broadcast is kept small on purpose.
_KEPT = ("while", "scan", "call", "optimization_barrier", "broadcast_in_dim", "remat", "custom_vjp", "composite")
_OPEN = ("while", "scan", "call")
#: The most elements of operands and results that a folded node may have; the option ``fold_limit`` of simplify.
FOLD_LIMIT = 16384
_SMALL = 64


def _known(value: Value) -> np.ndarray | None:
    """The array that ``value`` is, where it is a constant; the scalar, where it is a constant scalar stretched."""
    spread = produced_by(value, "broadcast_in_dim")
    if spread is None:
        return constant_array(value)
    number = constant_array(spread.operands[0])
    return number if number is not None and number.ndim == 0 else None


@rule("*")
def fold_constants(r: Rewriter, node: Node) -> tuple[Value, ...] | NoMatch | None:
    """A node whose operands are all constant is computed now."""
    if not node.operands or node.op.name in _KEPT:
        return None
    known = []
    for operand in node.operands:
        array = _known(operand)
        if array is None:
            return None
        known.append(array)
    if not is_pure(node) or is_placed(node) or not all(v.type.is_static for v in (*node.operands, *node.results)):
        return None
    arrays = [np.broadcast_to(array, static_shape(v.type)) for array, v in zip(known, node.operands)]
    size = max([a.size for a in arrays] + [math.prod(t.shape) for t in node.results])
    if size > r.settings.get("fold_limit", FOLD_LIMIT):
        return NoMatch(f"{size} elements are more than fold_limit")
    if size > _SMALL and not any(constant_array(v) is not None and v.rank for v in node.operands):
        return NoMatch("one number stretched is smaller than an array of it")
    if any(simple_region(region) is None for region in node.regions) and size > _SMALL:
        return NoMatch("a region would run once per element")
    if not all(map(_is_closed, node.regions)):
        return NoMatch("a region has a loop, a call or a symbolic size")
    with np.errstate(all="ignore"):
        return tuple(r.constant(array) for array in evaluate_node(node, arrays))


def _is_closed(region: Graph) -> bool:
    """Whether ``region`` can be evaluated from its inputs alone, and quickly."""
    return not any(
        inner.op.name in _OPEN
        or isinstance(inner.attributes.get("dim"), Dim)
        or not all(r.type.is_static for r in inner.results)
        for inner in region.walk()
    )


@rule("constant")
def splat_constant(r: Rewriter, node: Node) -> Value | None:
    """An array that holds one number everywhere is a scalar, stretched."""
    array = node.attributes["value"]
    if array.size < 2 or not is_splat(array):
        return None
    return r.broadcast_in_dim(r.constant(array.reshape(-1)[0]), shape=array.shape, dims=())


RULES = [fold_constants, splat_constant]
