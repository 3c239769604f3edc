"""Sorting, and what is read off sorted elements: top k, median, quantiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir.builder import Builder
from ...ir.dims import DimLike
from ...ir.errors import ArgumentError, DTypeError, ShapeError
from ...ir.graph import Graph
from ...ir.types import TensorType
from ..convert import as_tensor, at_least, cast, dtype_of, emit, normalize_axes, normalize_axis, promoted
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor
from ..trace import require_trace
from . import building as b
from .elementwise import named
from .indexing import gather_along, index_tensor


def _comparator(types: list[TensorType], total_order: bool) -> Graph:
    """The region that compares the first of the arrays that are sorted together."""
    region = Graph()
    pairs = [(region.add_input(t), region.add_input(t)) for t in types]
    region.outputs = [Builder(region).compare(*pairs[0], direction="LT", total_order=total_order)]
    return region


def _sorted(xs: list[Tensor], axis: int) -> tuple[Tensor, ...]:
    """Sort arrays together by the first, whose NaN must be positive so that the total order puts them last."""
    types = [TensorType(x.value.type.dtype) for x in xs]
    return require_trace().emit("sort", xs, {"axis": axis}, [_comparator(types, b.is_float(xs[0]))])


def _one_nan(x: Tensor) -> Tensor:
    return b.select(b.compare("NE", x, x), np.nan, x) if b.is_float(x) else x


def ascending(x: Tensor, axis: int) -> Tensor:
    """``x`` sorted along an axis, NaN last."""
    if x.dtype == "bool":
        return cast(_sorted([cast(x, "uint8")], axis)[0], "bool")
    return _sorted([_one_nan(x)], axis)[0]


def order(x: Tensor, axis: int) -> Tensor:
    """The indices that sort ``x`` along an axis; equal elements (0 and -0 too) keep their order."""
    key = cast(x, "uint8") if x.dtype == "bool" else _one_nan(x)
    if b.is_float(x):
        key = b.select(b.compare("EQ", key, 0), 0, key)
    return _sorted([key, b.iota(b.shape_of(x), axis)], axis)[1]


@public_op(weak=False)
def sort(x: Any, axis: Any = -1) -> Tensor:
    """``x`` ascending along ``axis`` (None: all in one dimension); NaN last."""
    x = as_tensor(x)
    if axis is None:
        x, axis = b.reshape(x, (x.value.type.size,)), 0
    return ascending(x, normalize_axis(axis, x.ndim))


@public_op(weak=False)
def argsort(x: Any, axis: Any = -1) -> Tensor:
    """The indices that sort ``x`` along ``axis`` (None: all in one dimension); stable; NaN last."""
    x = as_tensor(x)
    if axis is None or not x.ndim:
        x, axis = b.reshape(x, (x.value.type.size,)), 0
    return order(x, normalize_axis(axis, x.ndim))


@public_op(weak=False)
def argpartition(x: Any, kth: int, axis: Any = -1) -> Tensor:
    """Indices that bring the ``kth`` smallest element along ``axis`` to its place, smaller ones before it."""
    x = as_tensor(x)
    if axis is None:
        x, axis = b.reshape(x, (x.value.type.size,)), 0
    place = normalize_axis(axis, x.ndim)
    size, wanted = b.shape_of(x)[place], b.int_arg(kth, "argpartition", "kth")
    if isinstance(size, int) and not -size <= wanted < size:
        raise ArgumentError(f"argpartition: expected kth in {-size}..{size - 1} for {x!r}, received {kth}")
    return order(x, place)


@public_op(weak=False)
def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The ``k`` greatest elements of the last axis, descending, and where they are; NaN counts as greatest."""
    return require_trace().emit("top_k", (as_tensor(x),), {"k": b.int_arg(k, "top_k", "k")})  # type: ignore[return-value]


@public_op(weak=False)
def in_top_k(targets: Any, predictions: Any, k: int) -> Tensor:
    """Whether the prediction at each target is among the ``k`` greatest of its row."""
    scores, places = as_tensor(predictions), index_tensor(targets, "in_top_k")
    if scores.ndim != places.ndim + 1:
        raise ShapeError(
            f"in_top_k: expected predictions with one axis more than the targets, received {scores!r} and {places!r}"
        )
    from .indexing import elements_along

    axis = scores.ndim - 1
    chosen = elements_along(scores, b.reshape(places, (*b.shape_of(places), 1)), axis)
    chosen = b.select(b.compare("NE", chosen, chosen), -np.inf, chosen)
    better = b.compare("GT", scores, stretch(chosen, b.shape_of(scores)))
    rank = b.reduce("reduce_sum", cast(better, "int32"), (axis,))
    return b.compare("LT", rank, k)


# Quantiles.

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _rows(x: Tensor, axis: Any) -> tuple[Tensor, tuple[int, ...]]:
    """The reduced axes together as last axis."""
    axes = normalize_axes(axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    shape = b.shape_of(x)
    return b.reshape(b.transpose(x, [*kept, *axes]), [shape[i] for i in kept] + [b.size_of(shape, axes)]), axes


def _quantile(x: Any, q: Any, axis: Any, method: str, keepdims: bool, scale: float, op: str, skip_nan: bool) -> Tensor:
    if method not in _METHODS:
        raise ArgumentError(f"{op}: expected method {', '.join(_METHODS)}; received {method!r}")
    dtype = promoted(dtype_of(x), dtype_of(q) if isinstance(q, Tensor) else float, float)
    x, wanted = as_tensor(x, dtype), as_tensor(q, dtype)
    if wanted.ndim > 1:
        raise ShapeError(f"{op}: expected q of rank 0 or 1, received {wanted!r}")
    shape = b.shape_of(x)
    rows, axes = _rows(x, axis)
    inner = cast(rows, "float32") if dtype in ("float16", "bfloat16") else rows
    fraction = cast(wanted, inner.dtype)
    result = _interpolated(
        ascending(inner, inner.ndim - 1), b.divide(fraction, scale) if scale != 1 else fraction, method, skip_nan
    )
    result = cast(result, dtype)
    if keepdims:
        result = b.reshape(result, b.shape_of(wanted) + tuple(1 if i in axes else d for i, d in enumerate(shape)))
    return result


def _interpolated(rows: Tensor, fraction: Tensor, method: str, skip_nan: bool) -> Tensor:
    """[*q, *rows] of the quantiles of sorted rows, between neighbours by ``method``."""
    axis, kept = rows.ndim - 1, b.shape_of(rows)[:-1]
    shape = b.shape_of(fraction) + kept
    nan = b.compare("NE", rows, rows)
    count = (
        b.reduce("reduce_sum", cast(emit("not", nan), rows.dtype), (axis,))
        if skip_nan
        else stretch(b.dim_tensor(b.shape_of(rows)[-1], rows.dtype), kept)
    )
    last = b.spread(b.subtract(count, 1), shape, range(fraction.ndim, len(shape)))
    position = emit("multiply", b.spread(fraction, shape, range(fraction.ndim)), last)
    low, high = emit("floor", position), emit("ceil", position)
    share = b.subtract(position, low)
    below, above = (_at(rows, emit("clamp", b.scalar(0, rows.dtype), p, last), fraction.ndim) for p in (low, high))
    if method == "lower":
        result = below
    elif method == "higher":
        result = above
    elif method == "midpoint":
        result = b.multiply(b.add(below, above), 0.5)
    elif method == "nearest":
        result = _at(rows, emit("round_nearest_even", position), fraction.ndim)
    else:
        result = b.add(emit("multiply", below, b.subtract(b.like(share, 1), share)), emit("multiply", above, share))
        result = b.select(b.compare("EQ", share, 0), below, result)
    if skip_nan:
        return b.select(b.compare("LT", last, 0), np.nan, result)
    return b.select(
        b.spread(b.reduce("reduce_any", nan, (axis,)), shape, range(fraction.ndim, len(shape))), np.nan, result
    )


def _at(rows: Tensor, places: Tensor, front: int) -> Tensor:
    """Elements of the last axis: places [q?, *kept] in rows [*kept, n]."""
    from .indexing import elements_along

    indices = cast(places, "int32")
    if not front:
        indices = b.reshape(indices, (*b.shape_of(indices), 1))
        taken = elements_along(rows, indices, rows.ndim - 1)
        return b.reshape(taken, b.shape_of(taken)[:-1])
    taken = elements_along(rows, b.move_axis(indices, 0, rows.ndim - 1), rows.ndim - 1)
    return b.move_axis(taken, rows.ndim - 1, 0)


def _quantile_op(name: str, scale: float, skip_nan: bool, meaning: str) -> Callable[..., Any]:
    def rule(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Tensor:
        return _quantile(x, q, axis, method, keepdims, scale, name, skip_nan)

    return named(
        rule,
        name,
        f"{meaning} over ``axis``; several q make a new first axis. Methods: {', '.join(_METHODS)}.",
        weak=False,
    )


quantile = _quantile_op("quantile", 1, False, "The value below which a part ``q`` of the elements lies")
percentile = _quantile_op("percentile", 100, False, "The value below which ``q`` percent of the elements lie")
nanquantile = _quantile_op("nanquantile", 1, True, "As quantile, NaN left out,")
nanpercentile = _quantile_op("nanpercentile", 100, True, "As percentile, NaN left out,")


@public_op(weak=False)
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The middle element over ``axis``, or the mean of the two in the middle; NaN where there is one."""
    return _quantile(x, 0.5, axis, "midpoint", keepdims, 1, "median", False)


@public_op(weak=False)
def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """As :func:`median`, NaN left out."""
    return _quantile(x, 0.5, axis, "midpoint", keepdims, 1, "nanmedian", True)


@public_op(weak=False)
def histogram(x: Any, bins: Any = 10, range: Any = None) -> tuple[Tensor, Tensor]:
    """How many elements fall into each of ``bins`` equal parts of ``range`` (of what there is), and the edges.

    ``bins`` may also be the edges themselves.
    """
    from .indexing import insertion_points

    x = as_tensor(x)
    if x.dtype == "bool" or b.is_complex(x):
        raise DTypeError(f"histogram: expected numbers, received {x!r}")
    values = b.as_float(b.reshape(x, (x.value.type.size,)))
    known = b.concrete(bins)
    if known is not None and known.ndim == 0:
        edges = _edges(values, b.int_arg(bins, "histogram", "bins"), range)
    else:
        edges = as_tensor(bins, values.dtype)
    count: DimLike = b.shape_of(edges)[0]
    upper = b.cut(edges, 0, 1, count)
    # Elements up to each upper edge; the last bin holds its upper edge too.
    place = insertion_points(edges, values, left=False)
    at_top = b.compare("EQ", values, stretch(b.reshape(b.cut(edges, 0, count - 1, count), ()), b.shape_of(values)))
    place = b.select(at_top, b.subtract(place, 1), place)
    grid = (b.shape_of(values)[0], b.shape_of(upper)[0])
    hits = b.compare("EQ", b.spread(place, grid, (0,)), b.add(b.iota(grid, 1), 1))
    return b.reduce("reduce_sum", cast(hits, values.dtype), (0,)), edges


def _edges(values: Tensor, bins: int, limits: Any) -> Tensor:
    from .creation import linspace

    if limits is not None:
        low, high = (as_tensor(limit, values.dtype) for limit in limits)
    else:
        at_least(b.shape_of(values)[0], 1)
        low, high = (b.reduce(op, values, (0,)) for op in ("reduce_min", "reduce_max"))
    equal = b.compare("EQ", low, high)
    low, high = b.select(equal, b.subtract(low, 0.5), low), b.select(equal, b.add(high, 0.5), high)
    return linspace.traced(low, high, bins + 1)


@public_op(weak=False)
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    size: Any = None,
    fill_value: Any = None,
) -> Any:
    """The different elements of ``x``, ascending.

    Args:
        return_index, return_inverse, return_counts: also where each comes first, which one each element is, how often
            each occurs.
        size: how many there are; must be given where ``x`` is known only when the program runs. What is missing is
            filled with ``fill_value`` (the least element by default), what is too many is left out.

    Raises:
        ArgumentError: ``axis`` is given, or ``size`` is missing.
    """
    if axis is not None:
        raise ArgumentError(f"unique: expected axis=None (all elements), received {axis}")
    x = as_tensor(x)
    if size is None:
        raise ArgumentError("unique: how many different elements there are depends on the values; give size")
    flat = b.reshape(x, (x.value.type.size,))
    return _unique(
        flat,
        b.int_arg(size, "unique", "size"),
        fill_value,
        b.shape_of(x),
        (return_index, return_inverse, return_counts),
    )


def _unique(flat: Tensor, size: int, fill_value: Any, shape: b.Shape, wanted: tuple[bool, bool, bool]) -> Any:
    from .indexing import scatter_into

    total = b.shape_of(flat)[0]
    places = order(flat, 0)
    ordered = gather_along(flat, places, 0)
    changed = b.compare("NE", b.cut(ordered, 0, 1, total), b.cut(ordered, 0, 0, total - 1))
    first = b.pad_with(changed, True, (1,), (0,))
    number = b.subtract(emit("cumsum", cast(first, "int32"), axis=0), 1)  # which distinct element, in sorted order
    slots = b.reshape(b.select(first, number, size), (total, 1))  # beyond the end: dropped
    least = b.reshape(b.cut(ordered, 0, 0, 1), ())
    fill = least if fill_value is None else as_tensor(fill_value, flat.dtype)
    results = [scatter_into(b.filled((size,), fill, flat.dtype), slots, ordered, None)]
    if wanted[0]:
        start = b.filled((size,), b.reshape(b.cut(places, 0, 0, 1), ()), "int32")
        results.append(scatter_into(start, slots, places, None))
    if wanted[1]:
        inverse = scatter_into(b.filled((total,), 0, "int32"), b.reshape(places, (total, 1)), number, None)
        results.append(b.reshape(inverse, shape))
    if wanted[2]:
        results.append(
            scatter_into(
                b.filled((size,), 0, "int32"), b.reshape(number, (total, 1)), b.filled((total,), 1, "int32"), "add"
            )
        )
    return results[0] if len(results) == 1 else tuple(results)
