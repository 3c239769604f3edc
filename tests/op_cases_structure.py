"""Uses of the ops that move elements, look them up, and control what runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from op_draw import ANY, COMPLEX, FLOATS, INTEGERS, SMALL, Case, Draw, case, region, use

from lamina.ir import Builder, Graph, binary_region
from lamina.ir.types import is_float, is_unsigned

# Shape.


@case("constant")
def _constant(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(*ANY, SMALL), d.shape()
    value = d.wild(dtype, shape) if d.bool() else np.full(shape, d.wild(dtype, ()))
    return use(name, value=value)


@case("iota")
def _iota(d: Draw, name: str) -> Case:
    shape = d.shape(1)
    return use(name, dtype=d.dtype(FLOATS, INTEGERS, COMPLEX), shape=shape, axis=d.int(0, len(shape) - 1))


@case("dim_value")
def _dim_value(d: Draw, name: str) -> Case:
    return use(name, dim=d.int(0, 1000), dtype=d.dtype(("i32", "i64", "f32")))


@case("reshape")
def _reshape(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(*ANY), d.shape())
    shapes = [x.shape, (x.size,), (1, x.size), x.shape[::-1], (*x.shape, 1)]
    return use(name, x, shape=d.pick(*shapes))


@case("transpose")
def _transpose(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(*ANY), d.shape(high=4))
    return use(name, x, permutation=d.draw(st.permutations(range(x.ndim))))


@case("broadcast_in_dim")
def _broadcast(d: Draw, name: str) -> Case:
    shape = d.shape(high=4)
    dims = d.draw(st.permutations(range(len(shape))))[: d.int(0, len(shape))]
    return use(name, d.wild(d.dtype(*ANY), [1 if d.bool() else shape[i] for i in dims]), shape=shape, dims=dims)


@case("match_shape")
def _match_shape(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(*ANY), d.shape())
    return use(name, x, shape=x.shape)


@case("reverse")
def _reverse(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(*ANY), d.shape())
    return use(name, x, axes=[i for i in range(x.ndim) if d.bool()])


@case("slice")
def _slice(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(*ANY), d.shape())
    limit = [d.int(0, n) for n in x.shape]
    return use(name, x, start=[d.int(0, n) for n in limit], limit=limit, strides=[d.int(1, 3) for _ in x.shape])


@case("pad")
def _pad(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(*ANY), d.shape()
    interior = [d.int(0, 2) for _ in shape]
    low = [d.int(-1, 3) for _ in shape]
    high = [max(d.int(-1, 3), -lo - (n + max(0, n - 1) * gap)) for n, lo, gap in zip(shape, low, interior)]
    return use(name, d.wild(dtype, shape), d.wild(dtype, ()), low=low, high=high, interior=interior)


@case("concatenate")
def _concatenate(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(*ANY), d.shape(1)
    axis = d.int(0, len(shape) - 1)
    sizes = [d.int(0, 4) for _ in range(d.int(1, 3))]
    return use(name, *[d.wild(dtype, (*shape[:axis], n, *shape[axis + 1 :])) for n in sizes], axis=axis)


def _starts(d: Draw, rank: int) -> list[np.ndarray]:
    dtype = d.dtype(("i32", "i64", "ui32", "ui8"))
    return [np.array(max(0, v) if is_unsigned(dtype) else v, dtype) for v in d.rng.integers(-3, 9, rank)]


@case("dynamic_slice")
def _dynamic_slice(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(*ANY), d.shape())
    return use(name, x, *_starts(d, x.ndim), sizes=[d.int(0, n) for n in x.shape])


@case("dynamic_update_slice")
def _dynamic_update_slice(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(*ANY), d.shape())
    return use(name, x, d.wild(x.dtype, [d.int(0, n) for n in x.shape]), *_starts(d, x.ndim))


# Indexing.


@case("gather")
def _gather(d: Draw, name: str) -> Case:
    """Rows, cells or windows, with and without batching dimensions."""
    dtype, kind = d.dtype(*ANY), d.pick("rows", "windows", "batch", "cells")
    index_dtype = d.dtype(("i32", "i64", "ui32"))
    rows, columns, count = d.int(1, 5), d.int(1, 4), d.int(0, 4)

    def indices(*shape: int) -> np.ndarray:
        return np.maximum(d.rng.integers(-2, 8, shape), 0 if is_unsigned(index_dtype) else -2).astype(index_dtype)

    x = d.wild(dtype, (rows, columns))
    match kind:
        case "rows":
            return use(
                name,
                x,
                indices(count),
                offset_dims=(1,),
                collapsed_slice_dims=(0,),
                start_index_map=(0,),
                index_vector_dim=1,
                slice_sizes=(1, columns),
            )
        case "windows":
            sizes = (d.int(0, rows), d.int(0, columns))
            return use(
                name,
                x,
                indices(count, 2),
                offset_dims=(0, 2),
                collapsed_slice_dims=(),
                start_index_map=d.pick((0, 1), (1, 0)),
                index_vector_dim=1,
                slice_sizes=sizes,
            )
        case "batch":
            return use(
                name,
                x,
                indices(rows, count),
                offset_dims=(),
                collapsed_slice_dims=(1,),
                start_index_map=(1,),
                operand_batching_dims=(0,),
                start_indices_batching_dims=(0,),
                index_vector_dim=2,
                slice_sizes=(1, 1),
            )
    return use(
        name,
        x,
        indices(2, count),
        offset_dims=(),
        collapsed_slice_dims=(0, 1),
        start_index_map=(0, 1),
        index_vector_dim=0,
        slice_sizes=(1, 1),
    )


@case("scatter")
def _scatter(d: Draw, name: str) -> Case:
    kind, fold = d.pick("rows", "windows", "cells"), d.pick("add", "maximum", "set")
    dtype = d.dtype(("f32", "i32", "f64", "ui8", "bf16") if fold != "set" else ("f32", "i1", "c64", "i64"))
    if fold == "add" and is_float(dtype):
        dtype = np.dtype(np.float32)
    rows, columns, count = d.int(1, 5), d.int(1, 4), d.int(0, 4)
    body = region([(dtype, ())] * 2, lambda b, x, y: y) if fold == "set" else binary_region(fold, dtype)
    x = d.tame(dtype, (rows, columns))
    # Setting one place twice leaves open which one stays.
    places = d.rng.permutation(np.arange(-1, 7))[:count] if fold == "set" else d.rng.integers(-2, 7, count)
    match kind:
        case "rows":
            return use(
                name,
                x,
                places.astype(np.int32),
                d.tame(dtype, (count, columns)),
                update_window_dims=(1,),
                inserted_window_dims=(0,),
                scatter_dims_to_operand_dims=(0,),
                index_vector_dim=1,
                regions=[body],
            )
        case "windows":
            size = d.int(1, columns)
            starts = np.stack([places[:1], d.rng.integers(0, columns, len(places[:1]))], -1).astype(np.int64)
            return use(
                name,
                x,
                starts,
                d.tame(dtype, (len(starts), 1, size)),
                update_window_dims=(1, 2),
                inserted_window_dims=(),
                scatter_dims_to_operand_dims=(0, 1),
                index_vector_dim=1,
                regions=[body],
            )
    cells = np.stack([places, d.rng.integers(0, columns, count)]).astype(np.int32)
    return use(
        name,
        x,
        cells,
        d.tame(dtype, (count,)),
        update_window_dims=(),
        inserted_window_dims=(0, 1),
        scatter_dims_to_operand_dims=(0, 1),
        index_vector_dim=0,
        regions=[body],
    )


@case("sort")
def _sort(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(FLOATS, INTEGERS), d.shape(1, most=7)
    direction, total = d.pick("LT", "GT"), is_float(dtype)
    key = d.wild(dtype, shape)
    key = np.where(np.isnan(key), dtype.type(1), key) if total else key
    key = np.where(d.rng.random(shape) < 0.3, dtype.type(1), key)  # equal ones, whose order is kept
    index = np.arange(key.size, dtype=np.int32).reshape(shape)
    types = [(dtype, ())] * 2 + [("i32", ())] * 2
    compare = region(types, lambda b, x, y, *_: b.compare(x, y, direction=direction, total_order=total))
    return use(name, key, index, axis=d.int(0, len(shape) - 1), regions=[compare])


@case("top_k")
def _top_k(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(("f32", "f64", "bf16", "i32", "ui8")), d.shape(1, least=1, most=7)
    x = d.wild(dtype, shape)
    x = np.where(np.isnan(x), dtype.type(2), x) if is_float(dtype) else x
    return use(name, np.where(d.rng.random(shape) < 0.3, dtype.type(1), x), k=d.int(0, shape[-1]))


# Control.


@case("while")
def _while(d: Draw, name: str) -> Case:
    shape, count = d.shape(high=2), d.int(0, 4)
    types = [("f32", shape), ("i32", ()), ("f32", shape)]  # a constant, then the carries

    def step(b: Builder, fixed: Any, i: Any, x: Any) -> tuple:
        return b.add(i, b.constant(1, "i32")), b.add(b.multiply(x, b.full_like(x, 0.5)), fixed)

    test = region(types, lambda b, fixed, i, x: b.compare(i, b.constant(count, "i32"), direction="LT"))
    x = [d.tame(np.dtype(np.float32), shape) for _ in range(2)]
    return use(name, x[0], np.int32(0), x[1], consts=1, regions=[test, region(types, step)])


@case("scan")
def _scan(d: Draw, name: str) -> Case:
    shape, length = d.shape(high=1), d.int(0, 4)
    types = [("f32", shape)] * 3 + [("i32", ())]  # a constant, a carry, slices of two arrays

    def step(b: Builder, fixed: Any, carry: Any, x: Any, i: Any) -> tuple:
        carry = b.add(b.multiply(carry, fixed), x)
        return carry, b.negate(carry), b.add(i, i)

    f32 = np.dtype(np.float32)
    arrays = (
        d.tame(f32, shape, -1, 1),
        d.tame(f32, shape),
        d.tame(f32, (length, *shape)),
        d.wild(np.dtype(np.int32), (length,)),
    )
    return use(name, *arrays, consts=1, carries=1, length=length, reverse=d.bool(), regions=[region(types, step)])


@case("cond")
def _cond(d: Draw, name: str) -> Case:
    shape, by_index = d.shape(), d.bool()
    types = [("f32", shape)]
    branches = [
        region(types, lambda b, x: b.negate(x)),
        region(types, lambda b, x: b.add(x, x)),
        region(types, lambda b, x: x),
    ][: 3 if by_index else 2]
    index = np.int32(d.int(-1, 4)) if by_index else np.bool_(d.bool())
    return use(name, index, d.wild(np.dtype(np.float32), shape), regions=branches)


@case("optimization_barrier")
def _barrier(d: Draw, name: str) -> Case:
    return use(name, *(d.wild(d.dtype(*ANY), d.shape()) for _ in range(d.int(1, 3))))


@case("sharding_constraint")
def _laid_out(d: Draw, name: str) -> Case:
    x = d.wild(d.dtype(*ANY), d.shape())
    return use(name, x, sharding=tuple("data" if i == 0 else None for i in range(x.ndim)))


def _twice(shape: Sequence[int]) -> Graph:
    return region([("f32", shape)] * 2, lambda b, x, y: b.add(b.multiply(x, b.full_like(x, 2)), y))


@case("remat", "composite")
def _body(d: Draw, name: str) -> Case:
    shape = d.shape()
    x = [d.tame(np.dtype(np.float32), shape) for _ in range(2)]
    named = {"name": "test.twice", "attrs": d.pick("", "{scale = 2.0 : f32}")} if name == "composite" else {}
    return use(name, *x, regions=[_twice(shape)], **named)


@case("custom_vjp")
def _custom_vjp(d: Draw, name: str) -> Case:
    shape = d.shape()
    f = [("f32", shape)]
    return use(
        name,
        *(d.tame(np.dtype(np.float32), shape) for _ in range(2)),
        regions=[
            _twice(shape),
            region(f * 2, lambda b, x, y: (b.add(b.multiply(x, b.full_like(x, 2)), y), x)),
            region(f * 2, lambda b, x, g: (b.multiply(g, b.full_like(x, 2)), g)),
        ],
    )
