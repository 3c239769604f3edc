"""Ops: reduction. reduce, reduce_window and select_and_scatter, with any region and any number of operands.

A sum or product of a float type narrower than 32 bits accumulates in float32 and rounds once at the end, which is what
``jax.numpy`` asks for and XLA does; any other region rounds after each application.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from ..batching import reduction as batching
from ..derivatives import reduction as derivatives
from ..derivatives import windows
from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..regions import check_region, check_region_count, fold_at, on_arrays, simple_region
from ..types import BOOL, F32, TensorType, bit_width, is_float, static_shape
from .checks import at_least, axes_in_range, listing, one_per, operand_count, same_dtype
from .contraction import conv_size as window_count
from .shape import pad_array

_UFUNCS = {
    "add": np.add,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
_ON_BOOL = {"add": "or", "maximum": "or", "multiply": "and", "minimum": "and"}

Fold = Callable[..., tuple[np.ndarray, ...]]


def _operands(call: Call, types: Sequence[TensorType]) -> tuple[tuple[TensorType, ...], tuple[TensorType, ...]]:
    """Split into arrays and initial values, and check that they and the region fit together."""
    name = call.op.name
    if not types or len(types) % 2:
        raise ArgumentError(f"{name}: expected arrays followed by as many initial values, received {listing(types)}")
    xs, inits = tuple(types[: len(types) // 2]), tuple(types[len(types) // 2 :])
    for x, init in zip(xs, inits, strict=True):
        if x.shape != xs[0].shape:
            raise ShapeError(f"{name}: all arrays should have the shape of the first, {xs[0]}; received {x}")
        if init.shape:
            raise ShapeError(f"{name}: an initial value should be a scalar, received {init}")
        if init.dtype != x.dtype:
            raise DTypeError(f"{name}: initial value {init} should have the element type of its array {x}")
    check_region_count(call, 1)
    check_region(call, 0, inits + inits, inits)
    return xs, inits


def _infer_reduce(call: Call, *types: TensorType) -> tuple[TensorType, ...]:
    xs, _ = _operands(call, types)
    axes_in_range(call, call["axes"], xs[0].rank)
    return tuple(x.with_shape(d for i, d in enumerate(x.shape) if i not in call["axes"]) for x in xs)


def _evaluate_reduce(call: Call, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    count = len(arrays) // 2
    xs, inits = arrays[:count], arrays[count:]
    axes = call["axes"]
    kept = [i for i in range(xs[0].ndim) if i not in axes]
    # The reduced elements of one result lie together along the last axis, so that NumPy sums pairwise.
    shape = [xs[0].shape[i] for i in kept]
    length = int(np.prod([xs[0].shape[i] for i in axes], dtype=np.int64))
    rows = [np.ascontiguousarray(x.transpose(*kept, *sorted(axes))).reshape(*shape, length) for x in xs]
    op = _native_op(call, xs[0].dtype)
    if op is not None:
        wide = _accumulator(op, xs[0].dtype)
        row, init = rows[0].astype(wide, copy=False), inits[0].astype(wide)
        return (_UFUNCS[op].reduce(row, axis=-1, dtype=wide, initial=init),)
    return _tree(on_arrays(call), rows, inits)


def _native_op(call: Call, dtype: np.dtype) -> str | None:
    """The name of the NumPy ufunc that does the whole reduction, or None."""
    op = simple_region(call.regions[0])
    if op is None or _accumulator(op, dtype).kind not in "biufc":
        return None
    if dtype.kind == "c" and op not in ("add", "multiply"):
        return None
    return _ON_BOOL.get(op, op) if dtype.kind == "b" else op


def _accumulator(op: str | None, dtype: np.dtype) -> np.dtype:
    narrow = is_float(dtype) and bit_width(dtype) < 32
    # float32 holds every narrower float, so that a maximum in it is exact too.
    return F32 if narrow and op in ("add", "multiply", "maximum", "minimum") else dtype


def _tree(fold: Fold, rows: Sequence[np.ndarray], inits: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Fold the last axis by combining neighbours, which keeps the order and needs few steps; then the initial value."""
    shape = rows[0].shape[:-1]
    start = tuple(np.broadcast_to(init, shape) for init in inits)
    parts = list(rows)
    if parts[0].shape[-1] == 0:
        return start
    while parts[0].shape[-1] > 1:
        pairs = parts[0].shape[-1] // 2
        folded = fold(*(p[..., 0 : 2 * pairs : 2] for p in parts), *(p[..., 1 : 2 * pairs : 2] for p in parts))
        parts = [np.concatenate([f, p[..., 2 * pairs :]], axis=-1) for f, p in zip(folded, parts, strict=True)]
    return fold(*start, *(p[..., 0] for p in parts))


REDUCE = declare(
    OpDef(
        "reduce",
        "Fold the elements along axes with a region, from initial values (StableHLO: reduce)",
        _infer_reduce,
        _evaluate_reduce,
        {"axes": Attribute("ints")},
        regions=("body",),
        jvp=derivatives.reduce_jvp,
        transpose=derivatives.reduce_transpose,
        batch=batching.reduce,
    )
)


def _infer_reduce_window(call: Call, *types: TensorType) -> tuple[TensorType, ...]:
    xs, _ = _operands(call, types)
    for name in ("window", "strides", "base_dilation", "window_dilation", "padding"):
        one_per(call, name, xs[0].rank, f"dimension of {xs[0]}")
        if name != "padding":
            at_least(call, name, 1)
    shape = tuple(
        map(
            window_count,
            xs[0].shape,
            call["window"],
            call["strides"],
            call["padding"],
            call["base_dilation"],
            call["window_dilation"],
        )
    )
    return tuple(x.with_shape(shape) for x in xs)


def window_slices(
    x: np.ndarray, window: Sequence[int], out: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> list[np.ndarray]:
    """For each place inside the window, in row-major order, the elements that all windows have there."""
    return [
        x[
            tuple(
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, n, s, d in zip(place, out, strides, dilation, strict=True)
            )
        ]
        for place in product(*map(range, window))
    ]


def _evaluate_reduce_window(call: Call, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    count = len(arrays) // 2
    xs, inits = arrays[:count], arrays[count:]
    out = static_shape(call.result_types[0])
    results = tuple(np.broadcast_to(init, out) for init in inits)
    if 0 in out:
        return results
    op = simple_region(call.regions[0])
    fold = on_arrays(call)
    if op in ("add", "multiply") and is_float(xs[0].dtype):  # so that narrow floats accumulate wide
        ufunc, wide = _UFUNCS[op], _accumulator(op, xs[0].dtype)
        fold = lambda a, b: (ufunc(a, b),)  # noqa: E731
        xs, inits, results = ((a.astype(wide),) for (a,) in (xs, inits, results))
    low, high = zip(*call["padding"], strict=True) if call["padding"] else ((), ())
    holes = [d - 1 for d in call["base_dilation"]]
    frames = [pad_array(x, init, low, high, holes) for x, init in zip(xs, inits, strict=True)]
    slices = [window_slices(f, call["window"], out, call["strides"], call["window_dilation"]) for f in frames]
    for parts in zip(*slices, strict=True):
        results = fold(*results, *parts)
    return results


REDUCE_WINDOW = declare(
    OpDef(
        "reduce_window",
        "Fold the elements of each window with a region, from initial values (StableHLO: reduce_window)",
        _infer_reduce_window,
        _evaluate_reduce_window,
        {
            "window": Attribute("dims"),
            "strides": Attribute("ints"),
            "base_dilation": Attribute("ints"),
            "window_dilation": Attribute("ints"),
            "padding": Attribute("pairs"),
        },
        regions=("body",),
        jvp=windows.reduce_window_jvp,
        transpose=windows.reduce_window_transpose,
        batch=batching.reduce_window,
    )
)


def _infer_select_and_scatter(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 3)
    same_dtype(call, *types)
    x, source, init = types
    for name in ("window", "strides", "padding"):
        one_per(call, name, x.rank, f"dimension of {x}")
        if name != "padding":
            at_least(call, name, 1)
    expected = tuple(map(window_count, x.shape, call["window"], call["strides"], call["padding"]))
    if source.shape != expected:
        raise ShapeError(
            f"select_and_scatter: the windows over {x} are {x.with_shape(expected)}, received the source {source}"
        )
    if init.shape:
        raise ShapeError(f"select_and_scatter: the initial value should be a scalar, received {init}")
    check_region_count(call, 2)
    check_region(call, 0, [init, init], [TensorType(BOOL)])
    check_region(call, 1, [init, init], [init])
    return x


def _evaluate_select_and_scatter(call: Call, x: np.ndarray, source: np.ndarray, init: np.ndarray) -> np.ndarray:
    result = np.full(x.size, init, x.dtype)
    if source.size == 0 or x.size == 0:
        return result.reshape(x.shape)
    low, high = zip(*call["padding"], strict=True) if call["padding"] else ((), ())
    flat = np.arange(x.size).reshape(x.shape)
    # Padding has the place -1 and is never selected.
    values, places = (
        window_slices(
            pad_array(a, fill, low, high, [0] * x.ndim), call["window"], source.shape, call["strides"], [1] * x.ndim
        )
        for a, fill in ((x, init), (flat, -1))
    )
    prefer = on_arrays(call, 0)
    best, where = values[0], places[0]
    for value, place in zip(values[1:], places[1:], strict=True):
        taken = (place >= 0) & ((where < 0) | ~prefer(best, value)[0].astype(np.bool_))
        best, where = np.where(taken, value, best), np.where(taken, place, where)
    inside = where >= 0
    fold_at(on_arrays(call, 1), [result], where[inside], [source[inside]])
    return result.reshape(x.shape)


SELECT_AND_SCATTER = declare(
    OpDef(
        "select_and_scatter",
        "Of each window select one element, and fold the source's element into its place (StableHLO: "
        "select_and_scatter)",
        _infer_select_and_scatter,
        _evaluate_select_and_scatter,
        {"window": Attribute("dims"), "strides": Attribute("ints"), "padding": Attribute("pairs")},
        regions=("select", "scatter"),
        jvp=windows.select_and_scatter_jvp,
        transpose=windows.select_and_scatter_transpose,
        batch=batching.select_and_scatter,
    )
)
