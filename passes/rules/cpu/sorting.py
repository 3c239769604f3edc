"""Sorting as XLA's CPU backend runs it fast: one array of integers, compared by one comparison.

In any other sort XLA calls a compiled comparator for each pair of elements, and moves several arrays element by
element; one array of integers under one comparison it gives to a sort that the C++ compiler made for them.
"""

from __future__ import annotations

import math

import numpy as np

from ....ir.builder import Builder
from ....ir.graph import Graph, Node, Value
from ....ir.regions import simple_comparator
from ....ir.types import BOOL, I32, TensorType, bit_width, has_ordered_bits, is_complex, is_float, is_unsigned
from ...rewrite import NoMatch, Rewriter, Rule, rule

#: With fewer elements than this, what is done before and after the sort takes longer than it saves.
FEWEST = 256
_FEW = f"it sorts fewer than {FEWEST} elements, or along an open dimension"


@rule("sort")
def sort_as_integers(r: Rewriter, node: Node) -> Value | NoMatch | None:
    """Floats in their total order sort as the integers of their bits."""
    if len(node.operands) != 1 or not is_float(node.result.dtype) or not has_ordered_bits(node.result.dtype):
        return None
    found = simple_comparator(node.regions[0])
    if found is None:
        return NoMatch("the comparator is not one comparison")
    _, direction, total_order = found
    if not total_order:
        return NoMatch("equal floats of different bits keep their order, which integers would not")
    if not _is_worth_it(node):
        return NoMatch(_FEW)
    keys = _sorted(r, _ordered(r, node.operands[0]), node.attributes["axis"], direction)
    return r.bitcast_convert(_mirrored(r, keys), dtype=node.result.dtype)


@rule("sort")
def sort_packed(r: Rewriter, node: Node) -> tuple[Value, ...] | NoMatch | None:
    """Arrays that are sorted together by one key: sort key and position in one integer, then fetch by position."""
    axis, shape = node.attributes["axis"], node.operands[0].shape
    found = simple_comparator(node.regions[0])
    if found is None:
        return NoMatch("the comparator is not one comparison")
    place, direction, total_order = found
    key = node.operands[place]
    if len(node.operands) == 1 and (total_order or not is_float(key.dtype)):
        return None
    if is_complex(key.dtype) or (is_float(key.dtype) and not has_ordered_bits(key.dtype)):
        return NoMatch("the key has no integers in its order")
    if not _is_worth_it(node):
        return NoMatch(_FEW)
    bits = int(shape[axis] - 1).bit_length()
    width = next((w for w in (32, 64) if bit_width(key.dtype) + bits + is_unsigned(key.dtype) <= w), None)
    if width is None:
        return NoMatch("key and position do not fit into 64 bits")
    packed = _sorted(r, _packed(r, key, direction, total_order, axis, bits, np.dtype(f"int{width}")), axis, "LT")
    index = r.astype(r.and_(packed, r.full_like(packed, (1 << bits) - 1)), I32)
    return tuple(r.astype(index, x.dtype) if _is_iota(x, axis) else _along(r, x, index, axis) for x in node.operands)


def _is_worth_it(node: Node) -> bool:
    shape = node.results[0].shape
    return all(isinstance(d, int) for d in shape) and math.prod(shape) >= FEWEST


def _sorted(r: Rewriter, x: Value, axis: int, direction: str) -> Value:
    """``x`` sorted by one comparison. The machine's stable sort is the faster one."""
    region = Graph()
    pair = [region.add_input(TensorType(x.dtype)) for _ in range(2)]
    region.outputs = [Builder(region).compare(*pair, direction=direction)]
    return r.sort(x, axis=axis, stable=True, regions=[region])


def _ordered(r: Rewriter, x: Value) -> Value:
    """Signed integers in the total order of the floats ``x``, one for each pattern of bits."""
    return _mirrored(r, r.bitcast_convert(x, dtype=np.dtype(f"int{bit_width(x.dtype)}")))


def _mirrored(r: Rewriter, bits: Value) -> Value:
    """Negative floats grow as their bits fall: all bits but the sign turn over. Doing it twice undoes it."""
    largest = np.iinfo(bits.dtype).max
    negative = r.compare(bits, r.full_like(bits, 0), direction="LT")
    return r.select(negative, r.xor(bits, r.full_like(bits, largest)), bits)


def _packed(r: Rewriter, key: Value, direction: str, total_order: bool, axis: int, bits: int, dtype: np.dtype) -> Value:
    """Integers that rise as the sort wants it, of which the last ``bits`` are the position."""
    rising = key
    if is_float(key.dtype):
        rising = _ordered(r, key)
        if not total_order:  # zeros are equal
            zero = r.compare(key, r.full_like(key, 0), direction="EQ")
            rising = r.select(zero, r.full_like(rising, 0), rising)
    if direction == "GT":
        rising = r.not_(rising)
    if is_float(key.dtype) and not total_order:  # NaN comes last in either direction
        number = r.compare(key, key, direction="EQ")
        rising = r.select(number, rising, r.full_like(rising, np.iinfo(rising.dtype).max))
    rising = r.shift_left(r.astype(rising, dtype), r.full(key.shape, bits, dtype))
    return r.or_(rising, r.iota(dtype=dtype, shape=key.shape, axis=axis))


def _is_iota(x: Value, axis: int) -> bool:
    node = x.producer
    return node is not None and node.op.name == "iota" and node.attributes["axis"] == axis and x.dtype != BOOL


def _along(r: Rewriter, x: Value, index: Value, axis: int) -> Value:
    """The elements of ``x`` at ``index``, which has its shape, along an axis."""
    others = tuple(i for i in range(x.rank) if i != axis)
    return r.gather(
        x,
        r.reshape(index, shape=(*index.shape, 1)),
        offset_dims=(),
        collapsed_slice_dims=(axis,),
        operand_batching_dims=others,
        start_indices_batching_dims=others,
        start_index_map=(axis,),
        index_vector_dim=x.rank,
        slice_sizes=(1,) * x.rank,
    )


RULES: list[Rule] = [sort_as_integers, sort_packed]
