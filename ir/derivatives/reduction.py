"""Derivatives of reductions over axes, of the op ``reduce`` and of the composites that reduce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Builder
from ..dims import DimLike
from ..errors import DifferentiationError
from ..graph import Graph, Value
from ..opdef import Call, Linear
from ..regions import simple_region
from ..types import F32, I32, bit_width, has_tangent, is_complex, is_float
from .regions import KEEPS, apply, is_neutral, paired
from .rules import Tangent, constant, known, linear, total

__all__ = ["constant", "linear", "mean_transpose", "reduce_jvp", "reduce_transpose", "sum_transpose", "variance_jvp"]


def _without(shape: Sequence[DimLike], axes: Sequence[int]) -> tuple[DimLike, ...]:
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def _number(x: Value | Linear, axes: Sequence[int]) -> DimLike:
    """How many elements are reduced to one."""
    number: DimLike = 1
    for axis in axes:
        number = number * x.shape[axis]
    return number


# The op reduce.


def reduce_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Any:
    """Sums are linear; equal greatest elements share; in a product each factor counts times all the others."""
    op = simple_region(call.regions[0])
    if op == "add":
        return linear(b, call, primals, tangents, results)
    if op in KEEPS and is_float(primals[0].dtype):
        return _extremum(b, call, primals, tangents, results[0])
    if op == "multiply":
        return _product(b, call, primals, tangents)
    return _fold(b, call, primals, tangents)


def reduce_transpose(b: Builder, call: Call, cotangents: Any, *operands: Value | Linear) -> tuple[Tangent, ...]:
    """That of a sum goes to each element."""
    if simple_region(call.regions[0]) != "add":
        raise DifferentiationError(
            "reduce over an axis of symbolic length has no reverse derivative with this region: give the axis a known "
            "length, take the derivative forward (jvp), or reduce by add, multiply, maximum or minimum"
        )
    x, initial = operands
    if cotangents is None:
        return None, None
    to_x = b.expand(cotangents, x.shape, call["axes"]) if isinstance(x, Linear) else None
    every = tuple(range(cotangents.rank))
    to_initial = b.reduce_sum(cotangents, axes=every) if isinstance(initial, Linear) else None
    return to_x, to_initial


def _extremum(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], result: Value) -> Tangent:
    (x, initial), (dx, dinitial), axes = primals, tangents, call["axes"]
    if dinitial is None and is_neutral(KEEPS[str(simple_region(call.regions[0]))], initial):
        return shared(b, x, result, axes, dx)
    # The initial value is one more element.
    places = b.compare(x, b.expand(result, x.shape, axes), direction="EQ")
    start = b.compare(b.broadcast_to(initial, result.shape), result, direction="EQ")
    counts = b.add(b.reduce_sum(b.astype(places, x.dtype), axes=axes), b.astype(start, x.dtype))
    zero = b.full_like(result, 0)
    moved = total(
        b,
        None if dx is None else b.reduce_sum(b.select(places, dx, b.full_like(x, 0)), axes=axes),
        None if dinitial is None else b.select(start, b.broadcast_to(dinitial, result.shape), zero),
    )
    return None if moved is None else b.divide(moved, counts)


def shared(b: Builder, x: Value, extremum: Value, axes: Sequence[int], dx: Tangent) -> Tangent:
    """The tangent of the greatest (least) elements over ``axes``: equal ones have equal shares."""
    if dx is None:
        return None
    places = b.compare(x, b.expand(extremum, x.shape, axes), direction="EQ")
    counts = b.reduce_sum(b.astype(places, x.dtype), axes=axes)
    return b.divide(b.reduce_sum(b.select(places, dx, b.full_like(x, 0)), axes=axes), counts)


def _product(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent]) -> Tangent:
    (x, initial), (dx, dinitial), axes = primals, tangents, tuple(sorted(call["axes"]))
    moved = []
    if dx is not None:
        factors = b.multiply(dx, _others(b, x, axes)) if axes else dx
        moved.append(b.multiply(b.reduce_sum(factors, axes=axes), b.broadcast_to(initial, _without(x.shape, axes))))
    if dinitial is not None:
        moved.append(b.multiply(b.broadcast_to(dinitial, _without(x.shape, axes)), b.reduce_prod(x, axes=axes)))
    return total(b, *moved)


def _others(b: Builder, x: Value, axes: Sequence[int]) -> Value:
    """For each element the product of all others that are reduced with it: of those before it and those after it,
    which is right where some are zero."""
    if len(axes) == 1:
        return b.multiply(_exclusive(b, x, axes[0], False), _exclusive(b, x, axes[0], True))
    order = [i for i in range(x.rank) if i not in axes] + list(axes)
    turned = b.transpose(x, permutation=tuple(order))
    rows = b.reshape(turned, shape=(*_without(x.shape, axes), _number(x, axes)))
    result = b.reshape(_others(b, rows, (rows.rank - 1,)), shape=turned.shape)
    return b.transpose(result, permutation=tuple(order.index(i) for i in range(x.rank)))


def _exclusive(b: Builder, x: Value, axis: int, reverse: bool) -> Value:
    """The product of all elements before each along an axis (after each where ``reverse``)."""
    products = b.cumprod(x, axis=axis, reverse=reverse)
    low, high = [0] * x.rank, [0] * x.rank
    low[axis], high[axis] = (-1, 1) if reverse else (1, -1)
    return b.pad(products, b.constant(1, x.dtype), low=low, high=high, interior=(0,) * x.rank)


def _fold(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent]) -> Any:
    """Any region: values and tangents are reduced together. Where the number of elements is known, neighbours are
    combined step by step, by ops that have a transpose; else by the op, which has none."""
    operands, region, places = with_tangents(b, call, primals, tangents)
    count, axes, x = len(operands) // 2, tuple(sorted(call["axes"])), primals[0]
    length = _number(x, axes)
    if isinstance(length, int):
        order = [i for i in range(x.rank) if i not in axes] + list(axes)
        kept = _without(x.shape, axes)
        rows = [b.reshape(b.transpose(p, permutation=order), shape=(*kept, length)) for p in operands[:count]]
        results = _tree(b, region, rows, [b.broadcast_to(p, kept) for p in operands[count:]])
    else:
        results = b.emit("reduce", operands, dict(call.attributes), [region])
    moved = tuple(None if place is None else results[place] for place in places)
    return moved[0] if len(moved) == 1 else moved


def _tree(b: Builder, region: Graph, rows: list[Value], starts: Sequence[Value]) -> Sequence[Value]:
    """Fold the last axis by combining neighbours; then the initial values."""
    length = rows[0].shape[-1]
    assert isinstance(length, int)
    while length > 1:
        even = length // 2 * 2
        results = apply(b, region, [_stepped(b, x, i, even, 2) for i in (0, 1) for x in rows])
        if length % 2:
            rests = [_stepped(b, x, even, length, 1) for x in rows]
            results = [b.concatenate(r, x, axis=x.rank - 1) for r, x in zip(results, rests, strict=True)]
        rows, length = results, length - even // 2
    if length == 0:
        return starts
    return apply(b, region, [*starts, *(b.reshape(x, shape=x.shape[:-1]) for x in rows)])


def _stepped(b: Builder, x: Value, start: int, limit: int, step: int) -> Value:
    """Elements of the last axis."""
    none = (0,) * (x.rank - 1)
    return b.slice(x, start=(*none, start), limit=(*x.shape[:-1], limit), strides=(*(1 for _ in none), step))


def with_tangents(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent]
) -> tuple[list[Value], Graph, list[int | None]]:
    """Operands and region of a reduction of values together with their tangents, and which of its results is the
    tangent of which of the original ones."""
    count = len(primals) // 2
    moving = [has_tangent(x.type) for x in primals[:count]]
    operands: list[Value] = []
    for half in (slice(0, count), slice(count, None)):
        operands += primals[half]
        operands += [known(b, t, x.type) for t, x, m in zip(tangents[half], primals[half], moving, strict=True) if m]
    places = [count + sum(moving[:i]) if m else None for i, m in enumerate(moving)]
    return operands, paired(call.regions[0], moving), places


# Composites.


def _axes(call: Call, rank: int) -> tuple[int, ...]:
    return tuple(sorted(axis % rank for axis in call["axes"]))


def _given_back(b: Builder, call: Call, cotangent: Value, x: Linear) -> Value:
    """A cotangent of a reduction's result at each element that was reduced."""
    axes = _axes(call, x.rank)
    flat = b.reshape(cotangent, shape=_without(x.shape, axes)) if call["keepdims"] and axes else cotangent
    return b.expand(flat, x.shape, axes) if axes else flat


def sum_transpose(b: Builder, call: Call, cotangent: Tangent, x: Linear) -> Tangent:
    """Of ``reduce_sum``: each element has the cotangent of its sum."""
    return None if cotangent is None else _given_back(b, call, cotangent, x)


def mean_transpose(b: Builder, call: Call, cotangent: Tangent, x: Linear) -> Tangent:
    """Of ``reduce_mean``: each element has an equal share."""
    if cotangent is None:
        return None
    wide = F32 if is_float(x.dtype) and bit_width(x.dtype) < 32 else x.dtype  # narrow floats can't hold every count
    number = _count(b, x, _axes(call, x.rank), wide)
    share = b.divide(b.astype(cotangent, wide), b.broadcast_to(number, cotangent.shape))
    return _given_back(b, call, b.astype(share, x.dtype), x)


def _count(b: Builder, x: Value | Linear, axes: Sequence[int], dtype: Any) -> Value:
    number = _number(x, axes)
    if isinstance(number, int):
        return b.constant(number, dtype)
    return b.astype(b.dim_value(dim=number, dtype=I32), dtype)


def extremum_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """Of ``reduce_max`` and ``reduce_min``: equal greatest elements have equal shares."""
    (x,), (dx,), (y,) = primals, tangents, results
    axes = _axes(call, x.rank)
    if not axes or dx is None:
        return dx
    kept = call["keepdims"]
    moved = shared(b, x, b.reshape(y, shape=_without(x.shape, axes)) if kept else y, axes, dx)
    return b.reshape(moved, shape=y.shape) if kept and moved is not None else moved


def variance_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """Of ``reduce_variance``: twice the mean of distance times tangent, since distances sum to zero."""
    (x,), (dx,) = primals, tangents
    if dx is None or is_complex(x.dtype):
        return None
    wide = F32 if bit_width(x.dtype) < 32 else x.dtype
    inner, axes = b.astype(x, wide), _axes(call, x.rank)
    mean = b.reduce_mean(inner, axes=axes, keepdims=True)
    distance = b.subtract(inner, b.broadcast_to(mean, x.shape))
    twice = b.multiply(distance, b.full_like(distance, 2))
    moved = b.multiply(twice, b.astype(dx, wide))
    return b.astype(b.reduce_mean(moved, axes=axes, keepdims=call["keepdims"]), x.dtype)
