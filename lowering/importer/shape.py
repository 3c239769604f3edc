"""Rules for operations on shapes and places that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.dims import Dim, DimLike
from ...ir.errors import UnsupportedError
from ...ir.graph import Value
from .reading import Source
from .scope import Rule, Scope


def constant(s: Scope, op: Source) -> Value:
    """An array of any element type."""
    return s.b.emit("constant", (), {"value": op.array()})[0]


def iota(s: Scope, op: Source) -> Value:
    """Counts along an axis."""
    return s.b.iota(dtype=op.dtype(), shape=op.shape(), axis=op.integer("iota_dimension"))


def static(op: Source) -> tuple[int, ...]:
    """The shape of a result of an operation that takes no open ones. Raises where it has an open dimension."""
    shape = op.shape()
    if None in shape:
        raise UnsupportedError(
            f"{op.name}: the result's shape {op.result_types[0]} is open, and no operand says what it is"
        )
    return shape  # type: ignore[return-value]


def reshape(s: Scope, op: Source, x: Value) -> Value:
    """The same elements under another shape."""
    return reshaped(s, x, static(op))


def reshaped(s: Scope, x: Value, shape: Sequence[DimLike]) -> Value:
    """``x`` under ``shape``; where the numbers of elements are not known to be equal they are asserted to be."""
    if tuple(shape) == x.shape:
        return x
    made = x.type.with_shape(shape)
    if made.size != x.type.size:
        s.importer.equate(x.type.size, made.size, f"the number of elements of {x.type}, reshaped to {made}")
    return s.b.reshape(x, shape=tuple(shape))


def transpose(s: Scope, op: Source, x: Value) -> Value:
    """Another order of the axes."""
    return s.b.transpose(x, permutation=op.ints("permutation"))


def broadcast_in_dim(s: Scope, op: Source, x: Value) -> Value:
    """Each axis goes where it is told; the shape is the result's."""
    return s.b.broadcast_in_dim(x, shape=static(op), dims=op.ints("broadcast_dimensions"))


def broadcast(s: Scope, op: Source, x: Value) -> Value:
    """New axes in front."""
    return s.b.broadcast_to(x, (*op.ints("broadcast_sizes"), *x.shape))


def slice_(s: Scope, op: Source, x: Value) -> Value:
    """Part of each axis."""
    start, limit, strides = (op.ints(name) for name in ("start_indices", "limit_indices", "strides"))
    return s.b.slice(x, start=start, limit=limit, strides=strides)


def pad(s: Scope, op: Source, x: Value, value: Value) -> Value:
    """Padding around and between."""
    low, high, interior = (op.ints(n) for n in ("edge_padding_low", "edge_padding_high", "interior_padding"))
    return s.b.pad(x, value, low=low, high=high, interior=interior)


def concatenate(s: Scope, op: Source, *values: Value) -> Value:
    """Side by side along an axis; other sizes are equal."""
    axis = op.integer("dimension")
    first = values[0]
    agreed = [first]
    for value in values[1:]:
        shape = tuple(d if i == axis else e for i, (d, e) in enumerate(zip(value.shape, first.shape)))
        s.equal_shapes(shape, value.shape)
        agreed.append(s.matched(value, shape))
    return s.b.concatenate(*agreed, axis=axis)


def reverse(s: Scope, op: Source, x: Value) -> Value:
    """Axes turned round."""
    return s.b.reverse(x, axes=op.ints("dimensions"))


def dynamic_slice(s: Scope, op: Source, x: Value, *starts: Value) -> Value:
    """A slice whose place is computed."""
    sizes: tuple[DimLike, ...] = op.ints("slice_sizes")
    return s.b.dynamic_slice(x, *starts, sizes=sizes) if x.rank else x


def dynamic_update_slice(s: Scope, op: Source, x: Value, update: Value, *starts: Value) -> Value:
    """A slice replaced, at a place that is computed."""
    return s.b.dynamic_update_slice(x, update, *starts) if x.rank else update


def get_dimension_size(s: Scope, op: Source, x: Value) -> Value:
    """The size of an axis, which may be symbolic."""
    return size_value(s, x.shape[op.integer("dimension")], op.dtype())


def size_value(s: Scope, dim: DimLike, dtype: np.dtype) -> Value:
    """A dimension as a scalar."""
    if isinstance(dim, Dim):
        return s.b.dim_value(dim=dim, dtype=dtype)
    return s.b.constant(dim, dtype)


def set_dimension_size(s: Scope, op: Source, x: Value, size: Value) -> Value:
    """The first elements of an axis: as many as a size that is known, or becomes a dimension, says."""
    axis = op.integer("dimension")
    known = s.importer.known.dims(size)
    if known is None:
        raise UnsupportedError(
            f"{op.name}: the size depends on the data; lamina's shapes depend on shapes alone: keep the full size and "
            "mask the rest"
        )
    (limit,) = known
    if limit == x.shape[axis]:
        return x
    stop = tuple(limit if i == axis else d for i, d in enumerate(x.shape))
    return s.b.slice(x, start=(0,) * x.rank, limit=stop, strides=(1,) * x.rank)


RULES: dict[str, Rule] = {
    "stablehlo.constant": constant,
    "stablehlo.iota": iota,
    "stablehlo.reshape": reshape,
    "stablehlo.transpose": transpose,
    "stablehlo.broadcast_in_dim": broadcast_in_dim,
    "stablehlo.broadcast": broadcast,
    "stablehlo.slice": slice_,
    "stablehlo.pad": pad,
    "stablehlo.concatenate": concatenate,
    "stablehlo.reverse": reverse,
    "stablehlo.dynamic_slice": dynamic_slice,
    "stablehlo.dynamic_update_slice": dynamic_update_slice,
    "stablehlo.get_dimension_size": get_dimension_size,
    "stablehlo.set_dimension_size": set_dimension_size,
}
