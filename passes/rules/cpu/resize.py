"""Resizing as XLA's CPU backend runs it fast.

As a product with a matrix that is nearly all zeros, resizing one axis costs as much for each new element as the axis is
long, and turns the array around twice. A kernel reaches a few old elements: their weighted sum is one pass over memory.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ....ir.builder import Builder
from ....ir.evaluate import evaluate
from ....ir.graph import Graph, Node, Value, clone_node
from ....ir.ops.composites.resize import resize_by_matrices, resize_weights, resized_axes, take_known
from ....ir.ops.composites.rules import wide
from ....ir.types import element_type, is_float, static_shape
from ...patterns import produced_by
from ...rewrite import NoMatch, Rewriter, Rule, rule

# Measured (benchmarks/rewrites_resize.py): so many elements are cheaper to sum up than any matrix product, so many more
# while the axis is this many times as long. Along the last axis gathers are slow and products need no turning.
_FEW, _MORE, _TIMES, _TIMES_LAST = 6, 16, 4, 128

#: A matrix of more elements, or made by more operations, is not looked at.
MOST_ELEMENTS, MOST_OPERATIONS = 1 << 18, 128
#: What matrices of known numbers are made of, beside elementwise operations.
_MADE_OF = ("broadcast_in_dim", "constant", "iota", "reduce", "reduce_sum", "reshape", "select", "transpose")


@cache
def _weights(size: int, target: int, method: str, antialias: bool, dtype: str) -> np.ndarray:
    b = Builder(Graph())
    b.graph.outputs = [resize_weights(b, size, target, method, antialias, element_type(dtype))]
    return evaluate(b.graph)[0][0]


def _taps(weights: np.ndarray) -> tuple[np.ndarray, int]:
    """For each column the first row of the window that holds its nonzero weights, and the windows' one length."""
    used = weights != 0
    first, last = used.argmax(0), len(weights) - 1 - used[::-1].argmax(0)
    length = int((last - first).max()) + 1
    return np.minimum(first, len(weights) - length), length


def _sums_pay(length: int, size: int, is_last: bool) -> bool:
    """Whether a sum of ``length`` gathered elements is faster than the product with ``size`` of them."""
    if is_last:
        return length <= _MORE and _TIMES_LAST * length <= size
    return length <= _FEW or (length <= _MORE and _TIMES * length <= size)


def _sum_of_taps(r: Rewriter, x: Value, axis: int, weights: np.ndarray) -> Value:
    """The weighted sum along one axis, in float32 at least, rounded once."""
    start, length = _taps(weights)
    shape = tuple(len(start) if i == axis else d for i, d in enumerate(x.shape))
    total = None
    for rows in (start + i for i in range(length)):
        taken = r.astype(take_known(r, x, axis, r.constant(rows.astype(np.int32))), wide(x.dtype))
        factors = r.constant(weights[rows, np.arange(len(rows))], taken.dtype)
        term = r.multiply(taken, r.broadcast_in_dim(factors, shape=shape, dims=(axis,)))
        total = term if total is None else r.add(total, term)
    assert total is not None
    return r.astype(total, x.dtype)


@rule("resize")
def resize_by_sums(r: Rewriter, node: Node) -> Value | NoMatch:
    """A resize becomes, axis by axis, weighted sums of the few elements that its kernel reaches."""
    x, method = node.operands[0], node.attributes["method"]
    if method == "nearest":
        return NoMatch("nearest neighbours need no weights")
    if not (x.type.is_static and node.result.type.is_static):
        return NoMatch("the elements that a kernel reaches are known only with the sizes")
    old, new = static_shape(x.type), static_shape(node.result.type)
    if 0 in (*old, *new):
        return NoMatch("there are no elements")
    axes = resized_axes(old, new)
    last = max((i for i, d in enumerate(old) if d != 1), default=-1)
    matrices = {
        i: _weights(old[i], new[i], method, node.attributes["antialias"], wide(x.dtype).name).astype(x.dtype)
        for i in axes
    }
    summed = [i for i in axes if _sums_pay(_taps(matrices[i])[1], old[i], i == last)]
    if not summed:
        return NoMatch("a matrix product is as fast: the kernel reaches much of each axis, or the last axis is resized")
    # Products first, then what shrinks: later steps have less to do.
    x = resize_by_matrices(r, x, {i: r.constant(matrices[i]) for i in axes if i not in summed})
    for axis in sorted(summed, key=lambda i: new[i] / old[i]):
        if x is not node.operands[0]:
            x = r.optimization_barrier(x)  # else XLA computes one step's sums again in each of the next
        x = _sum_of_taps(r, x, axis, matrices[axis])
    return x


@rule("dot_general")
def known_band_as_sums(r: Rewriter, node: Node) -> Value | NoMatch:
    """A product with a matrix of known numbers, mostly zeros, becomes such sums: the derivative of a resize is one."""
    a, sides = node.attributes, list(zip(node.operands, ("lhs_contract", "rhs_contract"), strict=True))
    if a["lhs_batch"] or len(a["lhs_contract"]) != 1:
        return NoMatch("it sums over more than one axis, or has batch dimensions")
    if not is_float(node.result.dtype) or {v.dtype for v in node.operands} != {node.result.dtype}:
        return NoMatch("the factors and the result are not of one type of floats")
    found = [(axes, _known(w)) for w, axes in sides if w.rank == 2]
    axes, matrix = next((pair for pair in found if pair[1] is not None), ("", None))
    if matrix is None:
        return NoMatch("neither factor is a matrix that follows from constants, or it is large")
    x, (axis,) = next((v, a[other]) for v, other in sides if other != axes)
    if not x.type.is_static or 0 in x.shape:
        return NoMatch("the sizes are open, or there are no elements")
    matrix = matrix.T if a[axes] == (1,) else matrix
    if not matrix.any() or not _sums_pay(_taps(matrix)[1], len(matrix), axis == x.rank - 1):
        return NoMatch("a matrix product is as fast: each sum takes much of the axis")
    others = [i for i in range(x.rank) if i != axis]
    order = [*others, axis] if axes == "rhs_contract" else [axis, *others]
    while (turned := produced_by(x, "transpose")) is not None:  # as it lies in memory, where no axis has to move
        permutation = turned.attributes["permutation"]
        x, axis, order = turned.operands[0], permutation[axis], [permutation[i] for i in order]
    total = _sum_of_taps(r, r.optimization_barrier(x), axis, matrix)
    return r.transpose(total, permutation=tuple(order))


def _known(x: Value) -> np.ndarray | None:
    """The value of ``x`` if it follows from constants in few operations."""
    found: dict[Node, bool] = {}

    def follows(value: Value) -> bool:
        node, type_ = value.producer, value.type
        if node is None or not type_.is_static or type_.size > MOST_ELEMENTS:
            return False
        if node not in found:
            if len(found) == MOST_OPERATIONS or not (node.op.elementwise or node.op.name in _MADE_OF):
                return False
            found[node] = False
            found[node] = all(map(follows, node.operands))
            order.append(node)
        return found[node]

    order: list[Node] = []
    if not follows(x):
        return None
    graph, new = Graph(), dict[Value, Value]()
    graph.nodes = [clone_node(node, [new[v] for v in node.operands], new) for node in order]
    graph.outputs = [new[x]]
    return evaluate(graph)[0][0]


RULES: list[Rule] = [resize_by_sums, known_band_as_sums]
