"""Convolutions as XLA's CPU backend runs them fast.

XLA has one fast convolution, dense, of one group. Grouped ones run in a plain loop, ten to fifty times as slow as what
their arithmetic takes. Here they become what vectorizes (shifted multiplies and sums) or what is fast (dense
convolutions and products of matrices).

Sums are made in float32 at least, as convolution makes them, and integers wrap as they did; what is new is the order
of the terms. A padding of zeros is multiplied with the kernel as before. A sum of nothing but zeros may come out as -0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.graph import Node, Value
from ....ir.types import BOOL, F32, is_complex, is_integer
from ...rewrite import NoMatch, Rewriter, Rule, rule

#: Longer sums are not vectorized: one of 121 terms runs 25 times as fast as the convolution, one of 144 no faster.
MOST_TERMS = 121
#: Above this many input channels a group has work enough for a dense convolution of its own.
NARROW = 16
#: Each group is a convolution to compile; above this many that takes seconds.
MOST_GROUPS = 64
#: Products that a group has to make for a convolution of its own to pay.
LEAST_WORK = 1 << 18


@dataclass(frozen=True)
class Convolution:
    """A convolution with static sizes. ``batch`` and ``feature`` are axes of the input, ``spatial`` its other axes."""

    x: Value
    w: Value
    feature: int
    spatial: tuple[int, ...]
    taps: tuple[int, ...]
    out: tuple[int, ...]
    groups: int
    channels: int
    filters: int
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    reversal: tuple[bool, ...]
    node: Node

    @property
    def terms(self) -> int:
        """How many products one element of the result is the sum of."""
        return math.prod(self.taps) * self.channels

    @property
    def compute(self) -> np.dtype:
        """The type in which products are summed; integers of any width wrap alike in a wider one."""
        given, result = self.x.dtype, self.node.result.dtype
        if is_complex(result):
            return np.promote_types(given, result)
        if max(given.itemsize, result.itemsize) > 4:
            return np.dtype(np.int64 if is_integer(result) else np.float64)
        return np.dtype(np.int32) if is_integer(result) else F32


def read(node: Node, batch_groups: bool = False) -> Convolution | NoMatch:
    """What the rules ask of a convolution; a refusal where none of them applies.

    ``batch_groups``: whether the rule is for convolutions of batch groups, which others refuse.
    """
    a, (x, w), y = node.attributes, node.operands, node.result
    if not (x.type.is_static and w.type.is_static and y.type.is_static):
        return NoMatch("the sizes are open")
    if y.dtype == BOOL:
        return NoMatch("it is a convolution of booleans")
    if (a["batch_groups"] != 1) != batch_groups:
        return NoMatch("it has no batch groups" if batch_groups else "it has batch groups")
    if 0 in x.shape or 0 in w.shape or 0 in y.shape:
        return NoMatch("there is nothing to sum")
    rhs = a["rhs_spec"]
    return Convolution(
        x=x,
        w=w,
        feature=a["lhs_spec"][1],
        spatial=a["lhs_spec"][2:],
        taps=tuple(w.shape[i] for i in rhs[2:]),
        out=tuple(y.shape[i] for i in a["out_spec"][2:]),
        groups=a["feature_groups"],
        channels=w.shape[rhs[1]],
        filters=w.shape[rhs[0]] // a["feature_groups"],
        strides=a["strides"],
        padding=a["padding"],
        lhs_dilation=a["lhs_dilation"],
        rhs_dilation=a["rhs_dilation"],
        reversal=a["reversal"] or (False,) * (x.rank - 2),
        node=node,
    )


@rule("convolution")
def narrow_groups_as_shifts(r: Rewriter, node: Node) -> Value | NoMatch:
    """A convolution of narrow groups, such as a depthwise one, is a sum of shifted inputs times taps of the kernel."""
    c = read(node)
    if isinstance(c, NoMatch):
        return c
    if c.groups == 1 or c.channels > NARROW:
        return NoMatch(f"it has one group, or more than {NARROW} input channels in each")
    if c.terms > MOST_TERMS:
        return NoMatch(f"sums of more than {MOST_TERMS} terms are not vectorized; here are {c.terms}")
    padded, kernel = r.astype(padded_input(r, c), c.compute), _rows_of_kernel(r, c)
    total = None
    for channel in range(c.channels):
        source = of_each_filter(r, c, padded, channel)
        for tap in places(c):
            shifted = shifted_by(r, c, source, tap)
            product = r.multiply(shifted, _factor(r, c, kernel, tap, channel, shifted))
            total = product if total is None else r.add(total, product)
    assert total is not None  # neither taps nor channels are zero
    return as_result(r, c, r.astype(total, node.result.dtype), c.node.attributes["lhs_spec"])


def places(c: Convolution) -> Iterator[tuple[int, ...]]:
    """The places of the kernel's window."""
    return itertools.product(*map(range, c.taps))


def padded_input(r: Rewriter, c: Convolution) -> Value:
    """The input dilated and padded, so that the window never leaves it."""
    low, high, interior = [0] * c.x.rank, [0] * c.x.rank, [0] * c.x.rank
    for axis, (before, after), dilation in zip(c.spatial, c.padding, c.lhs_dilation):
        low[axis], high[axis], interior[axis] = before, after, dilation - 1
    if not any((*low, *high, *interior)):
        return c.x
    return r.pad(c.x, r.constant(0, c.x.dtype), low=tuple(low), high=tuple(high), interior=tuple(interior))


def shifted_by(r: Rewriter, c: Convolution, padded: Value, tap: Sequence[int]) -> Value:
    """The elements of the input that the place ``tap`` of the window meets, one for each place of the result."""
    start, limit, strides = [0] * padded.rank, list(padded.shape), [1] * padded.rank
    for axis, place, count, stride, dilation in zip(c.spatial, tap, c.out, c.strides, c.rhs_dilation):
        start[axis] = place * dilation
        limit[axis] = start[axis] + (count - 1) * stride + 1
        strides[axis] = stride
    if not any(start) and tuple(limit) == padded.shape and set(strides) == {1}:
        return padded
    return r.slice(padded, start=tuple(start), limit=tuple(limit), strides=tuple(strides))


def of_each_filter(r: Rewriter, c: Convolution, padded: Value, channel: int) -> Value:
    """One channel of each group, repeated for each filter of the group: as many features as the result has."""
    if c.channels > 1:
        start, strides = [0] * padded.rank, [1] * padded.rank
        start[c.feature], strides[c.feature] = channel, c.channels
        padded = r.slice(padded, start=tuple(start), limit=padded.shape, strides=tuple(strides))
    if c.filters == 1:
        return padded
    before, after = padded.shape[: c.feature + 1], padded.shape[c.feature + 1 :]
    kept = tuple(i for i in range(padded.rank + 1) if i != c.feature + 1)
    repeated = r.broadcast_in_dim(padded, shape=(*before, c.filters, *after), dims=kept)
    return r.reshape(repeated, shape=(*before[:-1], c.groups * c.filters, *after))


def _rows_of_kernel(r: Rewriter, c: Convolution) -> Value:
    """The kernel as a matrix: a row for each place of the window and input channel of a group, over all features."""
    out_axis, in_axis, *spatial = c.node.attributes["rhs_spec"]
    order = (*spatial, in_axis, out_axis)
    kernel = c.w if order == tuple(range(c.w.rank)) else r.transpose(c.w, permutation=order)
    return r.reshape(r.astype(kernel, c.compute), shape=(c.terms, c.w.shape[out_axis]))


def _factor(r: Rewriter, c: Convolution, kernel: Value, tap: Sequence[int], channel: int, shifted: Value) -> Value:
    """What ``shifted`` is multiplied with: a row of the kernel."""
    index = 0
    for place, size, reverse in zip(tap, c.taps, c.reversal):
        index = index * size + (size - 1 - place if reverse else place)
    index = index * c.channels + channel
    row = r.slice(kernel, start=(index, 0), limit=(index + 1, kernel.shape[1]), strides=(1, 1))
    if c.feature == 0:  # no axis before it for the row's 1
        return r.broadcast_in_dim(r.reshape(row, shape=kernel.shape[1:]), shape=shifted.shape, dims=(0,))
    return r.broadcast_in_dim(row, shape=shifted.shape, dims=(c.feature - 1, c.feature))


def as_result(r: Rewriter, c: Convolution, value: Value, spec: Sequence[int]) -> Value:
    """``value``, whose batch, feature and spatial axes are ``spec``, in the order of the result."""
    place = dict(zip(c.node.attributes["out_spec"], spec))
    permutation = tuple(place[i] for i in range(value.rank))
    return value if permutation == tuple(range(value.rank)) else r.transpose(value, permutation=permutation)


@rule("convolution")
def wide_groups_apart(r: Rewriter, node: Node) -> Value | NoMatch:
    """A convolution of wide groups is a dense convolution for each group, their results side by side."""
    c = read(node)
    if isinstance(c, NoMatch):
        return c
    if c.groups == 1 or c.groups > MOST_GROUPS or math.prod(c.taps) == 1:
        return NoMatch(f"it has one group, or more than {MOST_GROUPS}, or a kernel of 1, where little is to be gained")
    if node.result.type.size // c.groups * c.terms < LEAST_WORK:
        return NoMatch(f"a group makes less than {LEAST_WORK} products: the calls would cost what they save")
    attributes = {**node.attributes, "feature_groups": 1}
    pieces = [
        r.emit(
            node.op,
            [
                piece(r, c.x, c.feature, group, c.channels),
                piece(r, c.w, node.attributes["rhs_spec"][0], group, c.filters),
            ],
            attributes,
        )[0]
        for group in range(c.groups)
    ]
    return r.concatenate(*pieces, axis=node.attributes["out_spec"][1])


def piece(r: Rewriter, value: Value, axis: int, index: int, size: int) -> Value:
    """The part ``index`` of ``value`` cut along ``axis`` into parts of ``size``."""
    start, limit = [0] * value.rank, list(value.shape)
    start[axis], limit[axis] = index * size, (index + 1) * size
    return r.slice(value, start=tuple(start), limit=tuple(limit), strides=(1,) * value.rank)


@rule("convolution")
def apart_windows_as_product(r: Rewriter, node: Node) -> Value | NoMatch:
    """A transposed convolution whose strides equal the kernel is a product of matrices: no two windows overlap.

    The zeros that dilate the input are left out, so that a kernel element that is not finite makes NaN only where an
    input meets it.
    """
    c = read(node)
    if isinstance(c, NoMatch):
        return c
    whole = tuple((k - 1, k - 1) for k in c.taps)
    if c.groups != 1 or math.prod(c.taps) == 1 or c.lhs_dilation != c.taps or c.padding != whole:
        return NoMatch("its windows overlap or do not cover the result")
    if any(n != 1 for n in (*c.strides, *c.rhs_dilation)):
        return NoMatch("it has strides, or a dilated kernel")
    a = node.attributes
    out_axis, in_axis, *spatial = a["rhs_spec"]
    # The last tap of the window meets the input first: without reversal the kernel runs backwards.
    backwards = tuple(axis for axis, reverse in zip(spatial, c.reversal) if not reverse)
    kernel = r.reverse(c.w, axes=backwards) if backwards else c.w
    product = r.dot_general(
        c.x, kernel, lhs_contract=(c.feature,), rhs_contract=(in_axis,), dtype=a["dtype"], precision=a["precision"]
    )
    count = c.x.rank - 1  # axes that come from the input; those of the kernel follow in its order

    def from_input(axis: int) -> int:
        return axis - (axis > c.feature)

    def from_kernel(axis: int) -> int:
        return count + axis - (axis > in_axis)

    order = [0] * c.x.rank
    for role, axis in enumerate(a["out_spec"]):
        order[axis] = role
    permutation: list[int] = []
    for role in order:
        if role == 0:
            permutation.append(from_input(a["lhs_spec"][0]))
        elif role == 1:
            permutation.append(from_kernel(out_axis))
        else:
            permutation += [from_input(a["lhs_spec"][role]), from_kernel(a["rhs_spec"][role])]
    return r.reshape(r.transpose(product, permutation=tuple(permutation)), shape=c.node.result.shape)


@rule("convolution")
def pointwise_as_product(r: Rewriter, node: Node) -> Value | NoMatch:
    """A convolution with a kernel of 1 is a product of matrices."""
    c = read(node)
    if isinstance(c, NoMatch):
        return c
    if c.groups != 1 or math.prod(c.taps) != 1:
        return NoMatch("it has groups, or a kernel larger than 1")
    if any(n != 1 for n in (*c.strides, *c.lhs_dilation)) or any(p != (0, 0) for p in c.padding):
        return NoMatch("it has strides, where the convolution is as fast, or its input is dilated or padded")
    a = node.attributes
    out_axis, in_axis, *_ = a["rhs_spec"]
    kernel = r.reshape(
        c.w if in_axis < out_axis else r.transpose(c.w, permutation=_swapped(c.w.rank, in_axis, out_axis)),
        shape=(c.channels, c.filters),
    )
    product = r.dot_general(
        c.x, kernel, lhs_contract=(c.feature,), rhs_contract=(0,), dtype=a["dtype"], precision=a["precision"]
    )
    # The contracted axis is gone, the filters are last.
    spec = [product.rank - 1 if i == c.feature else i - (i > c.feature) for i in a["lhs_spec"]]
    return as_result(r, c, product, spec)


def _swapped(rank: int, i: int, j: int) -> tuple[int, ...]:
    return tuple({i: j, j: i}.get(axis, axis) for axis in range(rank))


RULES: list[Rule] = [
    narrow_groups_as_shifts,
    wide_groups_apart,
    pointwise_as_product,
    apart_windows_as_product,
]
