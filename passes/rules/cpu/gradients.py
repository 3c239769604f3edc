"""What derivatives are made of, and XLA's CPU backend runs slowly: convolutions and products that sum over what lies
first in memory, and the greatest elements of windows.

A convolution's derivative in its kernel is a convolution whose kernel is the result's cotangent, as large as an image,
batch and features exchanged; that of a grouped one has ``batch_groups`` (``ir/derivatives/contraction.py``). XLA runs
the dense one fast, those with groups in a plain loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ....ir.builder import Builder
from ....ir.dims import DimLike
from ....ir.graph import Graph, Node, Value
from ....ir.ops.composites.rules import lowest
from ....ir.regions import simple_region
from ....ir.types import F32, I32, TensorType
from ...patterns import produced_by
from ...rewrite import NoMatch, Rewriter, Rule, rule
from .convolution import (
    LEAST_WORK,
    MOST_GROUPS,
    MOST_TERMS,
    Convolution,
    as_result,
    of_each_filter,
    padded_input,
    piece,
    places,
    read,
    shifted_by,
)

#: Fewer products than this take less time than handing work to a thread.
LEAST_PRODUCTS = 1 << 20
#: Fewer rows of a result take no longer where they are summed over the first axis.
LEAST_ROWS = 128
#: With more terms than this for each row, the copy costs more than it saves.
MOST_TERMS_A_ROW = 32
#: Fewer elements of a factor are as soon computed in any order.
LEAST_COMPUTED = 1 << 18
#: Operations that one factor is made of, at most, as far as they are counted.
MOST_COUNTED = 64
#: What XLA fuses beside elementwise operations.
_FUSED = ("broadcast_in_dim", "concatenate", "pad", "reshape", "select", "slice", "transpose")
#: Places of a window beyond which choosing among them is no faster.
MOST_PLACES = 25


_OTHER_AXES = NoMatch("it does not sum over the first axes of both factors, or has batch dimensions")


def _sums_over_first_axes(node: Node) -> bool:
    axes = node.attributes["lhs_contract"]
    first = axes == tuple(range(len(axes))) == node.attributes["rhs_contract"]
    return bool(axes) and first and not node.attributes["lhs_batch"]


@rule("dot_general")
def first_axis_made_last(r: Rewriter, node: Node) -> Value | NoMatch:
    """A product that sums over the first axes of both factors, as a weight's gradient, is one of a transposed copy."""
    (x, y), a = node.operands, node.attributes
    if not _sums_over_first_axes(node):
        return _OTHER_AXES
    if not (x.type.is_static and y.type.is_static) or x.dtype != F32 or node.result.dtype != F32:
        return NoMatch("its sizes are open, or it is not of float32")
    count = len(a["lhs_contract"])
    n, rows, columns = (math.prod(shape) for shape in (x.shape[:count], x.shape[count:], y.shape[count:]))
    if rows < max(columns, LEAST_ROWS) or n * rows * columns < LEAST_PRODUCTS:
        return NoMatch(
            f"it is small, or wider than high: {rows} rows, {columns} columns; "
            f"expected {LEAST_ROWS} rows, and {LEAST_PRODUCTS} products"
        )
    if n > MOST_TERMS_A_ROW * rows:
        return NoMatch(f"it sums {n} terms for {rows} rows: copying them costs more than it saves")
    if produced_by(x, "transpose") is not None:
        return NoMatch("the left factor is transposed already")
    turned = r.transpose(_under(r, x, (n, rows)), permutation=(1, 0))
    product = r.dot_general(
        r.optimization_barrier(turned),  # else XLA makes the same product of it again
        _under(r, y, (n, columns)),
        lhs_contract=(1,),
        rhs_contract=(0,),
        precision=a["precision"],
    )
    return _under(r, product, node.result.shape)


@rule("dot_general")
def computed_factor_last(r: Rewriter, node: Node) -> Value | NoMatch:
    """Of such a product's factors the one that takes more to compute becomes the right one; the result is transposed.

    XLA copies the left factor to transpose it, and fuses into the copy what computes the factor: all that is done
    again, column by column.
    """
    (x, y), a = node.operands, node.attributes
    if not _sums_over_first_axes(node):
        return _OTHER_AXES
    if not (x.type.is_static and y.type.is_static):
        return NoMatch("its sizes are open")
    count = len(a["lhs_contract"])
    rows, columns = (math.prod(v.shape[count:]) for v in (x, y))
    if math.prod(x.shape) < LEAST_COMPUTED:
        return NoMatch(f"its left factor has fewer than {LEAST_COMPUTED} elements")
    if not _is_computed_elsewhere(r, x):
        return NoMatch("its left factor is not computed, or nothing else reads it")
    if rows * (1 + _operations(x)) <= columns * (1 + _operations(y)):
        return NoMatch("its right factor takes as much to compute and to copy")
    attributes = {**a, "lhs_contract": a["rhs_contract"], "rhs_contract": a["lhs_contract"]}
    product = r.optimization_barrier(r.dot_general(y, x, **attributes))  # else XLA exchanges the factors again
    left, right = x.rank - count, y.rank - count
    return r.transpose(product, permutation=(*range(right, left + right), *range(right)))


def _is_computed_elsewhere(r: Rewriter, x: Value) -> bool:
    """Whether ``x``, or what it is a view of, is the result of what XLA fuses, and others take it."""
    shared = not r.single_use(x)
    if (view := produced_by(x, "reshape")) is not None:
        x = view.operands[0]
        shared = shared or not r.single_use(x)
    return shared and x.producer is not None and _is_fused(x.producer)


def _is_fused(node: Node) -> bool:
    return node.op.elementwise or node.op.name in _FUSED


def _operations(x: Value) -> int:
    """How many elementwise operations XLA fuses into one that reads ``x``; no more are counted than say enough."""
    found: set[Node] = set()
    reached = [x]
    while reached and len(found) < MOST_COUNTED:
        node = reached.pop().producer
        if node is not None and node not in found and _is_fused(node):
            found.add(node)
            reached += node.operands
    return sum(node.op.elementwise for node in found)


def _under(r: Rewriter, x: Value, shape: Sequence[DimLike]) -> Value:
    return x if x.shape == tuple(shape) else r.reshape(x, shape=tuple(shape))


@rule("convolution")
def batch_groups_as_sums(r: Rewriter, node: Node) -> Value | NoMatch:
    """The kernel's gradient of a depthwise convolution is sums of products of shifted inputs and a cotangent."""
    c = read(node, batch_groups=True)
    if isinstance(c, NoMatch):
        return c
    groups, (out_axis, sum_axis, *window) = node.attributes["batch_groups"], node.attributes["rhs_spec"]
    channel_axis, other_axis, *_ = node.attributes["lhs_spec"]
    if c.x.shape[channel_axis] != groups:
        return NoMatch("its groups are wider than one channel")
    if not c.spatial or any(c.reversal):
        return NoMatch("it has no window, or one that is reversed")
    if math.prod(c.out) > MOST_TERMS:
        return NoMatch(f"the kernel has more than {MOST_TERMS} places; here are {math.prod(c.out)}")
    # The convolution whose kernel this is the gradient of: what is a window here are the places of its result.
    c = replace(
        c,
        feature=channel_axis,
        taps=c.out,
        out=c.taps,
        strides=c.rhs_dilation,
        rhs_dilation=c.strides,
        groups=groups,
        channels=1,
        filters=c.w.shape[out_axis] // groups,
    )
    source = of_each_filter(r, c, r.optimization_barrier(r.astype(padded_input(r, c), c.compute)), 0)
    order = dict(zip((channel_axis, other_axis, *c.spatial), (out_axis, sum_axis, *window)))
    permutation = tuple(order[axis] for axis in range(c.x.rank))
    cotangent = r.astype(c.w, c.compute)
    if permutation != tuple(range(c.x.rank)):
        cotangent = r.transpose(cotangent, permutation=permutation)
    rows = _row_sums(r, c, source, cotangent)
    kernel = r.reshape(r.concatenate(*rows, axis=0), shape=(*c.taps, 1, rows[0].shape[1]))
    last = kernel.rank - 1
    return as_result(r, c, r.astype(kernel, node.result.dtype), (last - 1, last, *range(last - 1)))


def _row_sums(r: Rewriter, c: Convolution, source: Value, cotangent: Value) -> list[Value]:
    """Of each place of the kernel the sums of products, ``[1, channels]``.

    Those of one row of the kernel are summed together, first along the last axis of the image: then all that is read
    for one result lies close together.
    """
    line = max(c.spatial)
    tapped = list(places(c))
    count = c.taps[c.spatial.index(line)]
    # Rows of places that differ along that axis alone.
    rows = sorted(range(len(tapped)), key=lambda i: [p for p, axis in zip(tapped[i], c.spatial) if axis != line])
    sums: dict[int, Value] = {}
    for start in range(0, len(rows), count):
        row = rows[start : start + count]
        products = [r.multiply(shifted_by(r, c, source, tapped[i]), cotangent) for i in row]
        zero = r.constant(0, c.compute)
        parts = r.emit("reduce", [*products, *[zero] * count], {"axes": (line,)}, [_sums(count, c.compute)])
        sums |= dict(zip(row, r.emit("optimization_barrier", parts)))
    channel = c.feature - (line < c.feature)
    others = tuple(axis for axis in range(c.x.rank - 1) if axis != channel)
    return [
        r.reshape(r.reduce_with("add", sums[i], others, 0), shape=(1, sums[i].shape[channel]))
        for i in range(len(tapped))
    ]


def _sums(count: int, dtype: object) -> Graph:
    """The region that adds ``count`` pairs."""
    region = Graph()
    left, right = ([region.add_input(TensorType(dtype)) for _ in range(count)] for _ in range(2))
    b = Builder(region)
    region.outputs = [b.add(x, y) for x, y in zip(left, right)]
    return region


@rule("convolution")
def batch_groups_apart(r: Rewriter, node: Node) -> Value | NoMatch:
    """A convolution of batch groups is a convolution for each group, their results side by side."""
    c = read(node, batch_groups=True)
    if isinstance(c, NoMatch):
        return c
    a, (x, w) = node.attributes, node.operands
    groups, batch, out = a["batch_groups"], a["lhs_spec"][0], a["rhs_spec"][0]
    if groups > MOST_GROUPS or node.result.type.size // groups * c.terms < LEAST_WORK:
        return NoMatch(f"it has more than {MOST_GROUPS} groups, or they make less than {LEAST_WORK} products each")
    attributes = {**a, "batch_groups": 1}
    width, filters = x.shape[batch] // groups, w.shape[out] // groups
    pieces = [
        r.emit(node.op, [piece(r, x, batch, i, width), piece(r, w, out, i, filters)], attributes)[0]
        for i in range(groups)
    ]
    return r.concatenate(*pieces, axis=a["out_spec"][1])


@rule("convolution")
def whole_window_as_product(r: Rewriter, node: Node) -> Value | NoMatch:
    """A convolution with one place for its window, as a kernel's gradient where the kernel is 1, is a product."""
    c = read(node)
    if isinstance(c, NoMatch):
        return c
    if c.groups != 1 or any(n != 1 for n in c.out) or math.prod(c.taps) == 1:
        return NoMatch("it has groups, or more than one place for its window, or a window of 1")
    if any(c.reversal) or any(n != 1 for n in c.lhs_dilation) or any(edge > 0 for pair in c.padding for edge in pair):
        return NoMatch("its window is reversed, or its input dilated or padded")
    a = node.attributes
    met = shifted_by(r, replace(c, out=c.taps, strides=c.rhs_dilation), padded_input(r, c), (0,) * len(c.taps))
    _, in_axis, *window = a["rhs_spec"]
    pairs = sorted(zip((c.feature, *c.spatial), (in_axis, *window)))
    product = r.dot_general(
        met,
        c.w,
        lhs_contract=tuple(i for i, _ in pairs),
        rhs_contract=tuple(j for _, j in pairs),
        dtype=a["dtype"],
        precision=a["precision"],
    )
    ones = (1,) * len(c.spatial)
    return as_result(r, c, r.reshape(product, shape=(*product.shape, *ones)), range(c.x.rank))


@rule("select_and_scatter")
def max_pool_gradient_by_places(r: Rewriter, node: Node) -> Value | NoMatch:
    """The gradient of max pooling: find each window's place of the greatest element, and give that the cotangent.

    The result is woven of its phases, each of the elements that lie a stride apart: to one of these few places of the
    window come.
    """
    x, source, initial = node.operands
    a = node.attributes
    if not x.type.is_static or 0 in x.shape or 0 in source.shape:
        return NoMatch("the sizes are open, or zero")
    zero = produced_by(initial, "constant")
    if not _chooses_greatest(node.regions[0]) or simple_region(node.regions[1]) != "add":
        return NoMatch("it does not add to the greatest element")
    if zero is None or zero.attributes["value"].any():
        return NoMatch("it does not start from zero")
    window, strides = a["window"], a["strides"]
    if max(map(math.prod, (window, strides))) > MOST_PLACES or any(k > 1 and s == 1 for k, s in zip(window, strides)):
        return NoMatch(f"windows overlap everywhere, or have more than {MOST_PLACES} places")
    return _woven(r, node, _places_of_greatest(r, node), source)


def _chooses_greatest(region: Graph) -> bool:
    """Whether the region is ``a >= b``."""
    (result,) = region.outputs
    made = produced_by(result, "compare")
    return made is not None and made.attributes["direction"] == "GE" and list(made.operands) == region.inputs


def _place_slice(
    r: Rewriter, x: Value, place: Sequence[int], count: Sequence[DimLike], strides: Sequence[int]
) -> Value:
    """The elements at ``place`` in each window."""
    limit = tuple(p + (n - 1) * s + 1 for p, n, s in zip(place, count, strides))
    return r.slice(x, start=tuple(place), limit=limit, strides=tuple(strides))


def _places_of_greatest(r: Rewriter, node: Node) -> Value:
    """The number of the first place in each window, in row-major order, that no later one exceeds.

    Padding holds the least value, and is chosen (so that the cotangent is dropped) only where no element of the window
    is greater, or after a NaN.
    """
    x, source, _ = node.operands
    a = node.attributes
    padded = _padded(r, x, a["padding"])
    best = chosen = None
    for number, place in enumerate(_window_places(a["window"])):
        value = _place_slice(r, padded, place, source.shape, a["strides"])
        if best is None or chosen is None:
            best, chosen = value, r.full(source.shape, 0, I32)
            continue
        stays = r.compare(best, value, direction="GE")
        best = r.select(stays, best, value)
        chosen = r.select(stays, chosen, r.full(source.shape, number, I32))
    assert chosen is not None  # a window has a place
    return chosen


def _padded(r: Rewriter, x: Value, padding: Sequence[tuple[int, int]]) -> Value:
    if all(pair == (0, 0) for pair in padding):
        return x
    low, high = (tuple(edges) for edges in zip(*padding))
    return r.pad(x, r.constant(lowest(x.dtype), x.dtype), low=low, high=high, interior=(0,) * x.rank)


def _window_places(window: Sequence[int]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for size in window:
        found = [(*place, i) for place in found for i in range(size)]
    return found


def _woven(r: Rewriter, node: Node, chosen: Value, source: Value) -> Value:
    """The sum, at each element, of the cotangents of the windows whose chosen place it is."""
    x, a = node.operands[0], node.attributes
    strides, numbers = a["strides"], {p: i for i, p in enumerate(_window_places(a["window"]))}
    # How many elements each phase has along an axis: the padded input, up to a whole number of strides.
    sizes = [d + low + high for d, (low, high) in zip(x.shape, a["padding"])]
    lengths = [-(-d // s) for d, s in zip(sizes, strides)]
    nothing, zero = r.full_like(source, 0), r.constant(0, x.dtype)
    none = (0,) * x.rank
    phases = []
    for phase in _window_places(strides):
        total = None
        for place, number in numbers.items():
            if any((p - f) % s for p, f, s in zip(place, phase, strides)):
                continue
            here = r.compare(chosen, r.full_like(chosen, number), direction="EQ")
            part = r.select(here, source, nothing)
            low = tuple(p // s for p, s in zip(place, strides))
            high = tuple(n - m - before for n, m, before in zip(lengths, source.shape, low))
            if any((*low, *high)):
                part = r.pad(part, zero, low=low, high=high, interior=none)
            total = part if total is None else r.add(total, part)
        phases.append(total if total is not None else r.full(lengths, 0, x.dtype))
    whole = _interleaved(r, phases, lengths, strides)
    start = tuple(low for low, _ in a["padding"])
    limit = tuple(low + d for low, d in zip(start, x.shape))
    return r.slice(whole, start=start, limit=limit, strides=(1,) * x.rank)


def _interleaved(r: Rewriter, phases: list[Value], lengths: Sequence[int], strides: Sequence[int]) -> Value:
    """The array whose element ``i * strides + phase`` is element ``i`` of that phase; phases in row-major order."""
    sizes = list(lengths)
    for axis in reversed(range(len(strides))):
        count = strides[axis]
        if count == 1:
            continue
        split = (*sizes[: axis + 1], 1, *sizes[axis + 1 :])
        sizes[axis] *= count
        phases = [
            r.reshape(
                r.concatenate(*(r.reshape(p, shape=split) for p in phases[i : i + count]), axis=axis + 1),
                shape=tuple(sizes),
            )
            for i in range(0, len(phases), count)
        ]
    (whole,) = phases
    return whole


RULES: list[Rule] = [
    computed_factor_last,
    first_axis_made_last,
    batch_groups_as_sums,
    batch_groups_apart,
    whole_window_as_product,
    max_pool_gradient_by_places,
]
