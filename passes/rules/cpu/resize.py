"""Resizing as XLA's CPU backend runs it fast.

As a product with a matrix that is nearly all zeros, resizing one axis costs as much for each new element as the axis is
long, and turns the array around twice. A kernel reaches a few old elements: their weighted sum is one pass over memory.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ....ir.builder import Builder
from ....ir.evaluate import evaluate
from ....ir.graph import Graph, Node, Value
from ....ir.ops.composites.resize import resize_by_matrices, resize_weights, resized_axes, take_known
from ....ir.ops.composites.rules import wide
from ....ir.types import element_type, static_shape
from ...rewrite import NoMatch, Rewriter, Rule, rule

# Measured (benchmarks/rewrites_resize.py): so many elements are cheaper to sum up than any matrix product, so many more
# while the axis is this many times as long. Along the last axis gathers are slow and products need no turning.
_FEW, _MORE, _TIMES, _TIMES_LAST = 6, 16, 4, 128


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


RULES: list[Rule] = [resize_by_sums]
