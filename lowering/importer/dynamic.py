"""Rules for operations whose shapes or amounts are operands.

Where these are known (see dimensions.py) the operation is its static relative, with symbolic dimensions. Where they
depend on data the result's type has to say the sizes: then elements are gathered from places that are computed.
"""

from __future__ import annotations

from ...ir.dims import DimLike, same
from ...ir.errors import UnsupportedError
from ...ir.graph import Value
from ...ir.ops.checks import dilated_size
from ...ir.types import I32, bit_width
from . import structured
from .reading import I64, Source
from .scope import Rule, Scope
from .shape import reshaped


def target(s: Scope, op: Source, shape: Value) -> tuple[DimLike, ...]:
    """The shape of the result: what its type says, and the operand for open dimensions."""
    written = op.shape()
    known = s.importer.known.of(shape)
    given = [None] * len(written) if known is None else list(known.reshape(-1))
    result: list[DimLike] = []
    for axis, (own, other) in enumerate(zip(written, given, strict=True)):
        found = own if own is not None else other
        if found is None or isinstance(found, (bool, tuple)):
            raise UnsupportedError(
                f"{op.name}: dimension {axis} of the result depends on data; lamina's shapes depend on the shapes "
                "of inputs "
                "alone: give the program a static size there"
            )
        if isinstance(other, int) and isinstance(own, int):
            s.importer.equate(other, own, f"dimension {axis} of the result")
        result.append(found)
    return tuple(result)


def dynamic_iota(s: Scope, op: Source, shape: Value) -> Value:
    """Counts along an axis."""
    return s.b.iota(dtype=op.dtype(), shape=target(s, op, shape), axis=op.integer("iota_dimension"))


def dynamic_reshape(s: Scope, op: Source, x: Value, shape: Value) -> Value:
    """The same elements under another shape."""
    return reshaped(s, x, target(s, op, shape))


def dynamic_broadcast_in_dim(s: Scope, op: Source, x: Value, shape: Value) -> Value:
    """Each axis goes where it is told."""
    wanted, dims = target(s, op, shape), op.ints("broadcast_dimensions")
    for axis, place in enumerate(dims):
        if x.shape[axis] != 1 and same(x.shape[axis], wanted[place]) is not True:
            s.importer.equate(x.shape[axis], wanted[place], f"axis {axis} of {x.type}, broadcast")
    fitting = tuple(1 if d == 1 else wanted[place] for d, place in zip(x.shape, dims))
    return s.b.broadcast_in_dim(s.matched(x, fitting), shape=wanted, dims=dims)


def real_dynamic_slice(s: Scope, op: Source, x: Value, start: Value, limit: Value, strides: Value) -> Value:
    """Part of each axis, between computed ends."""
    begin, end, step = (s.importer.known.dims(v) for v in (start, limit, strides))
    if begin is not None and end is not None and step is not None and all(isinstance(d, int) for d in step):
        return s.b.slice(x, start=begin, limit=end, strides=step)
    result = x
    for axis, size in enumerate(_sizes(op, x)):
        place = s.b.multiply(_count(s, size, start), _one_of(s, strides, axis, size))
        place = s.b.add(place, _one_of(s, start, axis, size))
        result = _taken(s, result, axis, place)
    return result


def _sizes(op: Source, x: Value) -> tuple[int, ...]:
    sizes = op.shape()
    if None in sizes:
        raise UnsupportedError(
            f"{op.name}: the size of the result, {op.result_types[0]}, depends on data; give the program a static size "
            "there"
        )
    return sizes  # type: ignore[return-value]


def _signed(s: Scope, value: Value) -> Value:
    """Sizes and places in a type that arithmetic on them does not leave."""
    return s.convert(value, I64 if bit_width(value.dtype) == 64 else I32)


def _count(s: Scope, size: int, like: Value) -> Value:
    return s.b.iota(dtype=_signed(s, like).dtype, shape=(size,), axis=0)


def _one_of(s: Scope, vector: Value, place: int, size: int) -> Value:
    """One element of a vector, ``size`` times."""
    one = s.b.slice(_signed(s, vector), start=(place,), limit=(place + 1,), strides=(1,))
    return s.b.broadcast_in_dim(one, shape=(size,), dims=(0,))


def _taken(s: Scope, x: Value, axis: int, places: Value) -> Value:
    """The slices of ``x`` at ``places`` along an axis."""
    sizes = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
    return s.b.gather(
        x,
        places,
        offset_dims=tuple(i for i in range(x.rank) if i != axis),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
        index_vector_dim=1,
        slice_sizes=sizes,
    )


def dynamic_pad(s: Scope, op: Source, x: Value, value: Value, low: Value, high: Value, interior: Value) -> Value:
    """Padding of computed amounts."""
    amounts = [s.importer.known.dims(v) for v in (low, high, interior)]
    if all(a is not None for a in amounts):
        return s.b.pad(x, value, low=amounts[0], high=amounts[1], interior=amounts[2])
    result = x
    for axis, size in enumerate(_sizes(op, x)):
        result = _spread(s, result, value, axis, size, _one_of(s, low, axis, size), _one_of(s, interior, axis, size))
    return result


def _spread(s: Scope, x: Value, fill: Value, axis: int, size: int, low: Value, interior: Value) -> Value:
    """An axis with ``low`` before it and ``interior`` between its elements, cut to ``size``: ``fill`` elsewhere."""
    b = s.b
    shape = tuple(size if i == axis else d for i, d in enumerate(x.shape))
    if x.shape[axis] == 0 or size == 0:
        return b.broadcast_to(fill, shape)
    zero, one = b.full_like(low, 0), b.full_like(low, 1)
    place = b.subtract(_count(s, size, low), low)
    step = b.add(interior, one)
    source = b.divide(place, step)
    inside = b.and_(
        b.and_(b.compare(place, zero, direction="GE"), b.compare(b.remainder(place, step), zero, direction="EQ")),
        b.compare(source, b.full_like(low, x.shape[axis]), direction="LT"),
    )
    taken = _taken(s, x, axis, source)
    return b.select(b.broadcast_in_dim(inside, shape=shape, dims=(axis,)), taken, b.broadcast_to(fill, shape))


def dynamic_gather(s: Scope, op: Source, x: Value, indices: Value, sizes: Value) -> Value:
    """Slices of computed sizes, which the result's type says as well."""
    numbers = structured.gather_numbers(op)
    known = s.importer.known.dims(sizes)
    if known is None:
        shape = op.shape()
        window = [shape[i] for i in numbers["offset_dims"]]
        dropped = (*numbers["collapsed_slice_dims"], *numbers["operand_batching_dims"])
        known = tuple(1 if i in dropped else window.pop(0) for i in range(x.rank))
        if None in known:
            _sizes(op, x)
    return s.b.gather(x, indices, slice_sizes=known, **numbers)


def dynamic_conv(s: Scope, op: Source, x: Value, kernel: Value, padding: Value) -> Value:
    """A convolution whose padding is computed."""
    settings = structured.convolution_settings(op, x.rank - 2)
    known = s.importer.known.of(padding)
    if known is not None:
        pairs = tuple((low, high) for low, high in known.reshape(-1, 2))
        return structured.convolved(s, op, x, kernel, {**settings, "padding": pairs})
    flat = s.b.reshape(padding, shape=(2 * (x.rank - 2),))
    zero = s.b.constant(0, x.dtype)
    sizes = _sizes(op, x)
    for i, axis in enumerate(settings["lhs_spec"][2:]):
        window = dilated_size(kernel.shape[settings["rhs_spec"][2 + i]], settings["rhs_dilation"][i])
        needed = max(sizes[settings["out_spec"][2 + i]] - 1, 0) * settings["strides"][i] + window
        low = _one_of(s, flat, 2 * i, needed)
        x = _spread(s, x, zero, axis, needed, low, s.b.full_like(low, settings["lhs_dilation"][i] - 1))
    settings["lhs_dilation"] = (1,) * (x.rank - 2)
    return structured.convolved(s, op, x, kernel, {**settings, "padding": ((0, 0),) * (x.rank - 2)})


RULES: dict[str, Rule] = {
    "stablehlo.dynamic_iota": dynamic_iota,
    "stablehlo.dynamic_reshape": dynamic_reshape,
    "stablehlo.dynamic_broadcast_in_dim": dynamic_broadcast_in_dim,
    "stablehlo.real_dynamic_slice": real_dynamic_slice,
    "stablehlo.dynamic_pad": dynamic_pad,
    "stablehlo.dynamic_gather": dynamic_gather,
    "stablehlo.dynamic_conv": dynamic_conv,
}
__all__ = ["RULES", "target"]
