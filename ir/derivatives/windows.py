"""Derivatives of reductions over windows, and of the scatter to the places that windows select.

The tangent of a maximum is that of the element it is: a reduction of pairs that compares values and keeps the tangent
beside. Its transpose is ``select_and_scatter``, whose own transpose is that reduction again, so that derivatives of any
order are made of the two. Of equal elements the first is it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from ..builder import Builder, binary_region
from ..dims import DimLike
from ..errors import DifferentiationError
from ..graph import Graph, Value
from ..opdef import Call, Linear
from ..ops.checks import dilated
from ..regions import simple_region
from ..types import is_float
from .reduction import with_tangents
from .regions import KEEPS, apply, choosing, chosen_by, compared_by, comparison, is_neutral, neutral
from .rules import Tangent, known, linear, of_shape

#: A window of more places is not taken apart into slices.
MOST_PLACES = 256


def reduce_window_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Any:
    """A sum is linear; a greatest element has its own tangent; any other region combines slices, one for each place of
    the window, together with their tangents."""
    op, count = simple_region(call.regions[0]), len(primals) // 2
    starts_move = any(t is not None for t in tangents[count:])
    places: list[int | None] = [1]
    if op == "add" and not starts_move:
        return linear(b, call, primals, tangents, results)
    if chosen_by(call.regions[0]) and not starts_move:
        return _chosen_jvp(b, call, primals, tangents)
    if op in KEEPS and is_float(primals[0].dtype):
        (x, initial), (dx, dinitial) = primals, tangents
        operands = [x, known(b, dx, x.type), initial, known(b, dinitial, initial.type)]
        region = choosing(KEEPS[op], x.dtype)
        whole = not starts_move and not _has_dilation(call) and is_neutral(KEEPS[op], initial)
    else:
        operands, region, places = with_tangents(b, call, primals, tangents)
        whole = False
    window = call["window"]
    if whole or not all(isinstance(w, int) for w in window) or prod(window) > MOST_PLACES:
        found: Sequence[Value] = b.emit("reduce_window", operands, dict(call.attributes), [region])
    else:
        found = _by_slices(b, call, operands, region, results[0].shape)
    moved = tuple(None if place is None else found[place] for place in places)
    return moved[0] if len(moved) == 1 else moved


def _chosen_jvp(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent]) -> tuple[Tangent, ...]:
    """Of values that are chosen by comparing the first: the tangents of both are chosen in the same way."""
    x, _, initial, _ = primals
    none = b.constant(0, x.dtype)
    attributes = dict(call.attributes)
    return tuple(
        None if t is None else b.emit("reduce_window", [x, t, initial, none], attributes, call.regions)[1]
        for t in tangents[:2]
    )


def _has_dilation(call: Call) -> bool:
    return any(d != 1 for d in (*call["base_dilation"], *call["window_dilation"]))


def _by_slices(
    b: Builder, call: Call, operands: Sequence[Value], region: Graph, out: Sequence[DimLike]
) -> Sequence[Value]:
    count = len(operands) // 2
    xs, starts = operands[:count], operands[count:]
    results = [b.broadcast_to(start, out) for start in starts]
    if 0 in out:
        return results
    low, high = zip(*call["padding"], strict=True) if call["padding"] else ((), ())
    holes = [d - 1 for d in call["base_dilation"]]
    if any((*low, *high, *holes)):
        xs = [b.pad(x, start, low=low, high=high, interior=holes) for x, start in zip(xs, starts, strict=True)]
    for place in product(*map(range, call["window"])):
        start = [p * d for p, d in zip(place, call["window_dilation"], strict=True)]
        limit = [s + (n - 1) * step + 1 for s, n, step in zip(start, out, call["strides"], strict=True)]
        parts = [b.slice(x, start=start, limit=limit, strides=call["strides"]) for x in xs]
        results = apply(b, region, [*results, *parts])
    return results


def reduce_window_transpose(b: Builder, call: Call, cotangents: Any, *operands: Value | Linear) -> tuple[Tangent, ...]:
    """That of a sum goes to each element of a window, that of a greatest element to this."""
    if simple_region(call.regions[0]) == "add" and isinstance(operands[0], Linear):
        how = ("window", "strides", "padding", "base_dilation", "window_dilation")
        given = {name: call[name] for name in how}
        return None if cotangents is None else window_sum_transpose(b, cotangents, operands[0], **given), None
    direction = chosen_by(call.regions[0])
    starts = operands[len(operands) // 2]
    if (
        direction is None
        or _has_dilation(call)
        or not isinstance(operands[1], Linear)
        or not (isinstance(starts, Value) and is_neutral(direction, starts))
    ):
        raise DifferentiationError(
            f"reduce_window has no reverse derivative with this region and a window {call['window']}: give it known "
            f"sizes and at most {MOST_PLACES} places, take the derivative forward (jvp), or reduce by add, maximum or "
            "minimum"
        )
    x, moved, cotangent = operands[0], operands[1], cotangents[1]
    assert isinstance(x, Value)
    if cotangent is None:
        return (None,) * 4
    found = b.select_and_scatter(
        x,
        cotangent,
        b.constant(0, moved.dtype),
        window=call["window"],
        strides=call["strides"],
        padding=call["padding"],
        regions=[comparison(direction, x.dtype), binary_region("add", x.dtype)],
    )
    return None, found, None, None


def window_sum_transpose(
    b: Builder,
    cotangent: Value,
    x: Linear,
    window: Sequence[DimLike],
    strides: Sequence[int],
    padding: Sequence[tuple[DimLike, DimLike]],
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Value:
    """At each element of ``x`` the sum of the cotangents of the windows over it: those lie a stride apart."""
    ones = (1,) * x.rank
    holes, gaps = tuple(base_dilation or ones), tuple(window_dilation or ones)
    if window == strides and holes == gaps == ones and all(pair == (0, 0) for pair in padding):
        return _repeated(b, cotangent, x.shape, window)
    low, high = [], []
    for size, out, width, stride, (before, _), hole, gap in zip(
        x.shape, cotangent.shape, window, strides, padding, holes, gaps, strict=True
    ):
        reach = dilated(width, gap) - 1
        low.append(reach - before)
        high.append(dilated(size, hole) + before - dilated(out, stride))
    padded, zero = cotangent, b.constant(0, cotangent.dtype)
    if any((*low, *high)) or any(s != 1 for s in strides):
        padded = b.pad(cotangent, zero, low=low, high=high, interior=[s - 1 for s in strides])
    result = b.reduce_window(
        padded,
        zero,
        window=window,
        strides=holes,
        base_dilation=ones,
        window_dilation=gaps,
        padding=((0, 0),) * x.rank,
        regions=[binary_region("add", x.dtype)],
    )
    return of_shape(b, result, x.shape)


def _repeated(b: Builder, x: Value, shape: Sequence[DimLike], times: Sequence[DimLike]) -> Value:
    """Each element of ``x`` as a block of ``times``, zeros after them up to ``shape``."""
    split: list[DimLike] = []
    kept = []
    for size, count in zip(x.shape, times, strict=True):
        kept.append(len(split))
        split += [size] if count == 1 else [size, count]
    blocks = [size * count for size, count in zip(x.shape, times, strict=True)]
    if len(split) > x.rank:
        x = b.reshape(b.broadcast_in_dim(x, shape=split, dims=kept), shape=blocks)
    rest = [wanted - size for wanted, size in zip(shape, blocks, strict=True)]
    none = (0,) * x.rank
    return b.pad(x, b.constant(0, x.dtype), low=none, high=rest, interior=none) if any(rest) else x


def select_and_scatter_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """Linear in the source; which elements are selected does not move."""
    x, source, initial = primals
    _, dsource, dinitial = tangents
    if dsource is None and dinitial is None:
        return None
    if simple_region(call.regions[1]) != "add":
        raise DifferentiationError("select_and_scatter has no derivative unless its scatter region adds")
    operands = [x, known(b, dsource, source.type), known(b, dinitial, initial.type)]
    return b.emit("select_and_scatter", operands, dict(call.attributes), call.regions)[0]


def select_and_scatter_transpose(
    b: Builder, call: Call, cotangent: Tangent, x: Value, source: Value | Linear, initial: Value | Linear
) -> tuple[Tangent, Tangent, Tangent]:
    """Each window takes the cotangent from the place of the element that it selects."""
    if cotangent is None:
        return None, None, None
    to_source = _selected(b, call, x, cotangent) if isinstance(source, Linear) else None
    every = tuple(range(cotangent.rank))
    return None, to_source, b.reduce_sum(cotangent, axes=every) if isinstance(initial, Linear) else None


def _selected(b: Builder, call: Call, x: Value, values: Value) -> Value:
    direction = compared_by(call.regions[0])
    if direction is None or direction not in KEEPS.values():
        raise DifferentiationError(
            "select_and_scatter has no reverse derivative unless its select region compares its inputs by GE or LE"
        )
    ones = (1,) * x.rank
    return b.reduce_window(
        x,
        values,
        b.constant(neutral(direction, x.dtype), x.dtype),
        b.constant(0, values.dtype),
        window=call["window"],
        strides=call["strides"],
        padding=call["padding"],
        base_dilation=ones,
        window_dilation=ones,
        regions=[choosing(direction, x.dtype)],
    )[1]
