"""Moving and cutting without computing: chains become one step, steps that change nothing go, and what is computed on
stretched values is computed before they are stretched. All exact."""

from __future__ import annotations

from operator import sub

from ...ir.dims import Dim, DimLike, same
from ...ir.graph import Node, Value
from ..patterns import is_elementwise, op, produced_by, without_ones
from ..rewrite import NoMatch, Rewriter, rule


@rule("reshape")
def reshape_identity(r: Rewriter, node: Node) -> Value | None:
    """A reshape to the shape that is there already."""
    return node.operands[0] if node.operands[0].shape == node.result.shape else None


@rule(op("reshape", op("reshape", "x"), bind="node"))
def reshape_chain(r: Rewriter, x: Value, node: Node) -> Value | NoMatch:
    """Two reshapes are one."""
    if same(x.type.size, node.result.type.size) is not True:
        return NoMatch("the numbers of elements are equal only by what the reshape between asserts")
    return r.reshape(x, shape=node.result.shape)


@rule(op("reshape", op("broadcast_in_dim", "x"), bind="node"))
def reshape_of_splat(r: Rewriter, x: Value, node: Node) -> Value | None:
    """A scalar stretched and reshaped is stretched to the last shape."""
    return r.broadcast_in_dim(x, shape=node.result.shape, dims=()) if x.rank == 0 and node.result.rank else None


@rule("transpose")
def transpose_identity(r: Rewriter, node: Node) -> Value | None:
    """A transpose that leaves all axes in place."""
    permutation = node.attributes["permutation"]
    return node.operands[0] if permutation == tuple(range(len(permutation))) else None


@rule(op("transpose", op("transpose", "x", bind="inner"), bind="node"))
def transpose_chain(r: Rewriter, x: Value, inner: Node, node: Node) -> Value:
    """Two transposes are one, or none where one undoes the other."""
    first, second = inner.attributes["permutation"], node.attributes["permutation"]
    combined = tuple(first[i] for i in second)
    return x if combined == tuple(range(len(combined))) else r.transpose(x, permutation=combined)


@rule("transpose")
def transpose_of_ones(r: Rewriter, node: Node) -> Value | None:
    """A transpose that moves only dimensions of 1 is a reshape."""
    x = node.operands[0]
    moved = [i for i in node.attributes["permutation"] if x.shape[i] != 1]
    if moved != sorted(moved) or node.attributes["permutation"] == tuple(range(x.rank)):
        return None
    return r.reshape(x, shape=node.result.shape)


@rule(op("transpose", op("broadcast_in_dim", "x", bind="inner"), bind="node"))
def transpose_of_broadcast(r: Rewriter, x: Value, inner: Node, node: Node) -> Value:
    """A stretched value transposed is stretched to other places."""
    permutation = node.attributes["permutation"]
    dims = tuple(permutation.index(d) for d in inner.attributes["dims"])
    return r.broadcast_in_dim(x, shape=node.result.shape, dims=dims)


@rule("broadcast_in_dim")
def broadcast_identity(r: Rewriter, node: Node) -> Value | None:
    """A broadcast to the shape that is there already."""
    x = node.operands[0]
    return x if x.shape == node.result.shape and node.attributes["dims"] == tuple(range(x.rank)) else None


@rule(op("broadcast_in_dim", op("broadcast_in_dim", "x", bind="inner"), bind="node"))
def broadcast_chain(r: Rewriter, x: Value, inner: Node, node: Node) -> Value:
    """Two broadcasts are one."""
    outer = node.attributes["dims"]
    return r.broadcast_in_dim(x, shape=node.result.shape, dims=tuple(outer[d] for d in inner.attributes["dims"]))


@rule(op("broadcast_in_dim", op("reshape", "x", bind="inner"), bind="node"))
def broadcast_of_reshape(r: Rewriter, x: Value, inner: Node, node: Node) -> Value | None:
    """Dimensions of 1 that a reshape adds before a broadcast are not needed."""
    middle = inner.result.shape
    kept = without_ones(middle)
    if x.shape != kept or x.rank == len(middle):
        return None
    dims = tuple(d for d, size in zip(node.attributes["dims"], middle) if size != 1)
    return r.broadcast_in_dim(x, shape=node.result.shape, dims=dims)


@rule("broadcast_in_dim")
def broadcast_is_reshape(r: Rewriter, node: Node) -> Value | None:
    """A broadcast that only adds dimensions of 1 is a reshape."""
    x, dims = node.operands[0], node.attributes["dims"]
    shape = node.result.shape
    if list(dims) != sorted(dims) or without_ones(x.shape) != without_ones(shape) or x.shape == shape:
        return None
    return r.reshape(x, shape=shape)


@rule("*")
def elementwise_of_broadcasts(r: Rewriter, node: Node) -> Value | None:
    """An elementwise op on stretched values is computed before they are stretched."""
    if not is_elementwise(node):
        return None
    stretched = []
    for value in node.operands:
        if value.rank:
            spread = produced_by(value, "broadcast_in_dim")
            if spread is None:
                return None
            stretched.append(spread)
    if not stretched:
        return None
    wide = max(stretched, key=lambda b: b.operands[0].rank)
    source, dims = wide.operands[0], wide.attributes["dims"]
    if source.shape == node.result.shape or source.type.size == node.result.type.size:
        return None
    operands = []
    for value in node.operands:
        spread = produced_by(value, "broadcast_in_dim") if value.rank else None
        if spread is None:
            operands.append(value)
        elif spread.operands[0].rank == 0:
            operands.append(r.broadcast_to(spread.operands[0], source.shape))
        elif spread.operands[0].shape == source.shape and spread.attributes["dims"] == dims:
            operands.append(spread.operands[0])
        else:
            return None
    result = r.emit(node.op, operands, node.attributes)[0]
    return r.broadcast_in_dim(result, shape=node.result.shape, dims=dims)


@rule("slice")
def slice_whole(r: Rewriter, node: Node) -> Value | None:
    """A slice of everything."""
    x, a = node.operands[0], node.attributes
    whole = all(s == 0 for s in a["start"]) and a["limit"] == x.shape and all(s == 1 for s in a["strides"])
    return x if whole else None


@rule(op("slice", op("slice", "x", bind="inner"), bind="node"))
def slice_chain(r: Rewriter, x: Value, inner: Node, node: Node) -> Value | NoMatch:
    """Two slices are one."""
    bounds = [_slice_of_slice(inner, node, axis) for axis in range(x.rank)]
    if None in bounds:
        return NoMatch("the last element of a strided slice of a symbolic dimension is not known")
    start, limit, strides = zip(*bounds) if bounds else ((), (), ())
    return r.slice(x, start=start, limit=limit, strides=strides)


def _slice_of_slice(inner: Node, outer: Node, axis: int) -> tuple[DimLike, DimLike, int] | None:
    """Start, limit and stride along one axis of both slices together."""
    (first, _, step), (start, limit, stride) = (
        [n.attributes[name][axis] for name in ("start", "limit", "strides")] for n in (inner, outer)
    )
    begin, size = first + start * step, outer.result.shape[axis]
    if size == 0:
        return 0, 0, 1
    if step == 1:
        return begin, first + limit, stride
    return (begin, begin + (size - 1) * step * stride + 1, step * stride) if isinstance(size, int) else None


@rule(op("slice", op("concatenate", bind="inner"), bind="node"))
def slice_of_concatenate(r: Rewriter, inner: Node, node: Node) -> Value | NoMatch:
    """A slice that lies within one piece of a concatenation is a slice of that piece."""
    axis, a = inner.attributes["axis"] % node.result.rank, node.attributes
    start, limit = a["start"][axis], a["limit"][axis]
    offset: DimLike = 0
    for piece in inner.operands:
        end = offset + piece.shape[axis]
        if _within(offset, start) and _within(limit, end):
            from_piece = [0] * axis + [offset] + [0] * (node.result.rank - axis - 1)
            return r.slice(
                piece,
                start=tuple(map(sub, a["start"], from_piece)),
                limit=tuple(map(sub, a["limit"], from_piece)),
                strides=a["strides"],
            )
        offset = end
    return NoMatch("no single piece holds the slice")


def _within(low: DimLike, high: DimLike) -> bool:
    if isinstance(low, int) and isinstance(high, int):
        return low <= high
    return low == high


@rule("pad")
def pad_nothing(r: Rewriter, node: Node) -> Value | None:
    """Padding of no width."""
    a = node.attributes
    return None if any(d != 0 for name in ("low", "high", "interior") for d in a[name]) else node.operands[0]


@rule("concatenate")
def concatenate_one(r: Rewriter, node: Node) -> Value | None:
    """A concatenation of one piece; empty pieces are left out."""
    axis = node.attributes["axis"]
    kept = [v for v in node.operands if v.shape[axis] != 0] or node.operands[:1]
    if len(kept) == 1:
        return kept[0]
    return r.concatenate(*kept, axis=axis) if len(kept) < len(node.operands) else None


@rule("concatenate")
def concatenate_nested(r: Rewriter, node: Node) -> Value | None:
    """A concatenation of concatenations along one axis is one."""
    axis, pieces, nested = node.attributes["axis"], [], False
    for value in node.operands:
        inner = produced_by(value, "concatenate")
        if inner is not None and inner.attributes["axis"] % value.rank == axis % value.rank and r.single_use(value):
            pieces += inner.operands
            nested = True
        else:
            pieces.append(value)
    return r.concatenate(*pieces, axis=axis) if nested else None


@rule(op("reverse", op("reverse", "x", bind="inner"), bind="node"))
def reverse_twice(r: Rewriter, x: Value, inner: Node, node: Node) -> Value:
    """What is reversed twice along an axis is not reversed."""
    axes = tuple(sorted(set(inner.attributes["axes"]) ^ set(node.attributes["axes"])))
    return r.reverse(x, axes=axes) if axes else x


@rule("reverse")
def reverse_of_ones(r: Rewriter, node: Node) -> Value | None:
    """A dimension of 1 has no order."""
    x, axes = node.operands[0], node.attributes["axes"]
    kept = tuple(a for a in axes if x.shape[a] != 1)
    if not kept:
        return x
    return r.reverse(x, axes=kept) if kept != axes else None


@rule("dynamic_slice")
def dynamic_slice_whole(r: Rewriter, node: Node) -> Value | None:
    """A dynamic slice of everything: its starts clamp to 0."""
    return node.operands[0] if node.operands[0].shape == node.result.shape else None


@rule("dynamic_update_slice")
def dynamic_update_whole(r: Rewriter, node: Node) -> Value | None:
    """An update of everything: its starts clamp to 0."""
    return node.operands[1] if node.operands[0].shape == node.operands[1].shape else None


@rule("match_shape")
def match_shape_decided(r: Rewriter, node: Node) -> Value | None:
    """A shape that is there already needs no assertion."""
    return node.operands[0] if node.operands[0].shape == node.result.shape else None


@rule("dim_value")
def dim_value_known(r: Rewriter, node: Node) -> Value | None:
    """The value of a dimension that is a number."""
    dim = node.attributes["dim"]
    return None if isinstance(dim, Dim) else r.constant(dim, node.attributes["dtype"])


RULES = [
    reshape_identity,
    reshape_chain,
    reshape_of_splat,
    transpose_identity,
    transpose_chain,
    transpose_of_ones,
    transpose_of_broadcast,
    broadcast_identity,
    broadcast_chain,
    broadcast_of_reshape,
    broadcast_is_reshape,
    elementwise_of_broadcasts,
    slice_whole,
    slice_chain,
    slice_of_concatenate,
    pad_nothing,
    concatenate_one,
    concatenate_nested,
    reverse_twice,
    reverse_of_ones,
    dynamic_slice_whole,
    dynamic_update_whole,
    match_shape_decided,
    dim_value_known,
]
