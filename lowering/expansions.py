"""Ops that targets lack, said by other ops of the graph: ``(builder, call, *values) -> value or values``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..ir.builder import Builder
from ..ir.dims import Dim, DimLike
from ..ir.errors import UnsupportedError
from ..ir.graph import Graph, Value, clone_node
from ..ir.opdef import Call
from ..ir.ops.random import MIX, MIX_SHIFTS, ROTATIONS, SEED_SALT
from ..ir.types import I32, UI32, bit_width, element_type

UI64 = element_type("ui64")


def concrete(call: Call, *dims: object) -> tuple[int, ...]:
    """``dims`` as integers. Raises :class:`UnsupportedError` where one is symbolic."""
    for dim in dims:
        if isinstance(dim, Dim):
            raise UnsupportedError(
                f"{call.op.name} is emitted for concrete shapes, and depends on the symbolic dimension "
                f"{dim}; give it a value: dims={{{str(dim)!r}: 32}}"
            )
    return tuple(int(d) for d in dims)  # type: ignore[call-overload]


def inline(builder: Builder, graph: Graph, operands: Sequence[Value]) -> tuple[Value, ...]:
    """Append the nodes of a region on ``operands``; return its outputs."""
    new = dict(zip(graph.inputs, operands, strict=True))
    for node in graph.nodes:
        builder.nodes.append(clone_node(node, [new[o] for o in node.operands], new))
    return tuple(new[v] for v in graph.outputs)


def dim_value(builder: Builder, call: Call) -> Value:
    """The size of a dimension, once it is known."""
    (size,) = concrete(call, call["dim"])
    return builder.constant(size, call["dtype"])


# Control.


def scan(builder: Builder, call: Call, *operands: Value) -> tuple[Value, ...]:
    """A while that takes slice ``i`` of each x and writes slice ``i`` of each y."""
    (length,) = concrete(call, call["length"])
    consts, carries = call["consts"], call["carries"]
    body = call.regions[0]
    xs = operands[consts + carries :]
    ys = [builder.full((length, *v.shape), 0, v.dtype) for v in body.outputs[carries:]]
    if length == 0:
        return (*operands[consts : consts + carries], *ys)
    fixed = (*operands[:consts], *xs)
    moving = (builder.constant(0, I32), *operands[consts : consts + carries], *ys)

    test = Graph()
    index = [test.add_input(v.type) for v in (*fixed, *moving)][len(fixed)]
    inside = Builder(test, location=builder.location)
    test.outputs = [inside.compare(index, inside.constant(length, I32), direction="LT")]

    step = Graph()
    values = [step.add_input(v.type) for v in (*fixed, *moving)]
    inside = Builder(step, location=builder.location)
    index, *state = values[len(fixed) :]
    place = inside.subtract(inside.constant(length - 1, I32), index) if call["reverse"] else index
    slices = [_slice_at(inside, x, place) for x in values[consts : len(fixed)]]
    results = inline(inside, body, [*values[:consts], *state[:carries], *slices])
    written = [_write_at(inside, whole, y, place) for whole, y in zip(state[carries:], results[carries:], strict=True)]
    step.outputs = [inside.add(index, inside.constant(1, I32)), *results[:carries], *written]
    return builder.emit("while", (*fixed, *moving), {"consts": len(fixed)}, (test, step))[1:]


def _starts(builder: Builder, x: Value, place: Value) -> list[Value]:
    return [place, *[builder.constant(0, place.dtype)] * (x.rank - 1)]


def _slice_at(builder: Builder, x: Value, place: Value) -> Value:
    taken = builder.dynamic_slice(x, *_starts(builder, x, place), sizes=(1, *x.shape[1:]))
    return builder.reshape(taken, shape=x.shape[1:])


def _write_at(builder: Builder, whole: Value, part: Value, place: Value) -> Value:
    row = builder.reshape(part, shape=(1, *part.shape))
    return builder.dynamic_update_slice(whole, row, *_starts(builder, whole, place))


# Random bits.


def positions(builder: Builder, shape: Sequence[DimLike], dtype: np.dtype = UI32) -> Value:
    """The row-major linear index of each element, modulo 2**bits."""
    total = None
    for axis, size in enumerate(shape):
        if size == 1 and len(shape) > 1:
            continue
        step = prod(shape[axis + 1 :])
        index = builder.iota(dtype=dtype, shape=tuple(shape), axis=axis)
        if isinstance(step, Dim):
            scale = builder.astype(builder.dim_value(dim=step), dtype)
            index = builder.multiply(index, builder.broadcast_in_dim(scale, shape=tuple(shape), dims=()))
        elif (step := step % 2 ** bit_width(dtype)) != 1:
            index = builder.multiply(index, builder.full_like(index, step))
        total = index if total is None else builder.add(total, index)
    return total if total is not None else builder.full(tuple(shape), 0, dtype)


def _words(builder: Builder, key: Value, shape: Sequence[int]) -> list[Value]:
    """The two words of each key, each over all elements of ``shape``: of shape batch + ``shape``."""
    batch = key.shape[:-1]
    start, whole = (0,) * len(batch), tuple(range(len(batch)))
    halves = [builder.slice(key, start=(*start, i), limit=(*batch, i + 1), strides=(1,) * key.rank) for i in (0, 1)]
    return [
        builder.broadcast_in_dim(builder.reshape(half, shape=batch), shape=(*batch, *shape), dims=whole)
        for half in halves
    ]


def _for_each(builder: Builder, key: Value, x: Value) -> Value:
    """``x`` for each key of the batch."""
    return builder.broadcast_to(x, (*key.shape[:-1], *x.shape))


def threefry(builder: Builder, key: Sequence[Value], high: Value, low: Value) -> tuple[Value, Value]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011) of the counter (high, low)."""

    def number(value: int) -> Value:
        return builder.full_like(low, np.uint32(value))

    first, second = key
    schedule = (first, second, builder.xor(builder.xor(first, second), number(0x1BD11BDA)))
    x, y = builder.add(high, first), builder.add(low, second)
    for group in range(5):
        for bits in ROTATIONS[group % 2]:
            x = builder.add(x, y)
            turned = builder.or_(builder.shift_left(y, number(bits)), builder.shift_right_logical(y, number(32 - bits)))
            y = builder.xor(x, turned)
        x = builder.add(x, schedule[(group + 1) % 3])
        y = builder.add(builder.add(y, schedule[(group + 2) % 3]), number(group + 1))
    return x, y


def _threefry_at_positions(builder: Builder, key: Value, shape: Sequence[int]) -> tuple[Value, Value]:
    if prod(shape) <= 2**32:
        low = positions(builder, shape)
        high = builder.full_like(low, 0)
    else:
        place = positions(builder, shape, UI64)
        low = builder.astype(place, UI32)
        high = builder.astype(builder.shift_right_logical(place, builder.full_like(place, 32)), UI32)
    high, low = (_for_each(builder, key, word) for word in (high, low))
    return threefry(builder, _words(builder, key, shape), high, low)


def threefry_bits(builder: Builder, call: Call, key: Value) -> Value:
    """``jax.random.bits`` with the partitionable threefry: each element hashes its linear index."""
    high, low = _threefry_at_positions(builder, key, concrete(call, *call["shape"]))
    dtype = call["dtype"]
    if bit_width(dtype) < 64:
        return builder.astype(builder.xor(high, low), dtype)
    wide = builder.astype(high, dtype)
    return builder.or_(builder.shift_left(wide, builder.full_like(wide, 32)), builder.astype(low, dtype))


def threefry_split(builder: Builder, call: Call, key: Value) -> Value:
    """``jax.random.split``: key ``i`` is the hash of ``i``."""
    return _side_by_side(builder, _threefry_at_positions(builder, key, (call["count"],)))


def _side_by_side(builder: Builder, words: Sequence[Value]) -> Value:
    """Two words as keys."""
    columns = [builder.reshape(w, shape=(*w.shape, 1)) for w in words]
    return builder.concatenate(*columns, axis=words[0].rank)


def threefry_fold_in(builder: Builder, call: Call, key: Value, data: Value) -> Value:
    """``jax.random.fold_in``: the hash of the counter (0, data)."""
    return _side_by_side(builder, threefry(builder, _words(builder, key, ()), builder.full_like(data, 0), data))


def _mix(builder: Builder, x: Value, addend: Value | None = None) -> Value:
    """The hash of ir/ops/random.py; ``addend`` is added after the first multiplication."""

    def number(value: int) -> Value:
        return builder.full_like(x, np.uint32(value))

    def fold(x: Value, bits: int) -> Value:
        return builder.xor(x, builder.shift_right_logical(x, number(bits)))

    for turn, (bits, factor) in enumerate(zip(MIX_SHIFTS, MIX, strict=False)):
        x = builder.multiply(fold(x, bits), number(factor))
        if turn == 0 and addend is not None:
            x = builder.add(x, addend)
    return fold(x, MIX_SHIFTS[-1])


def dropout_bits(builder: Builder, call: Call, seed: Value) -> Value:
    """The hash of each element's linear index, as ir/ops/random.py defines it."""
    shape = tuple(call["shape"])
    first, second = _words(builder, seed, ())
    one = _mix(builder, builder.xor(first, builder.full_like(first, np.uint32(SEED_SALT))))
    two = _mix(builder, builder.xor(second, one))
    one = _mix(builder, builder.add(one, two))
    two = _mix(builder, builder.xor(two, one))
    batch = tuple(range(one.rank))
    one, two = (builder.broadcast_in_dim(k, shape=(*k.shape, *shape), dims=batch) for k in (one, two))
    return _mix(builder, builder.xor(_for_each(builder, seed, positions(builder, shape)), one), two)
