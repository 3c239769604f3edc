"""Reductions and cumulative reductions, as keras.ops has them; those that skip NaN; statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from ...ir.errors import ArgumentError, DTypeError, ShapeError
from ...ir.types import bit_width
from ..convert import as_tensor, cast, dtype_of, emit, match_shape, normalize_axes, normalize_axis, promoted
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor
from . import building as b
from .elementwise import named


def summable(x: Any, dtype: Any = None) -> Tensor:
    """``x`` in the type that its sum has: integers and bools as 32-bit integers."""
    tensor = as_tensor(x)
    if dtype is not None:
        return cast(tensor, dtype)
    if tensor.dtype == "bool" or (b.is_int(tensor) and bit_width(tensor.value.type.dtype) < 32):
        return cast(tensor, "uint32" if tensor.dtype.startswith("uint") else "int32")
    return tensor


def _reduced(op: str, x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return b.reduce(op, x, normalize_axes(axis, x.ndim), keepdims)


@public_op(weak=False)
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Sum over ``axis`` (all by default). Small integers and bools are summed as 32-bit integers."""
    return _reduced("reduce_sum", summable(x), axis, keepdims)


@public_op(weak=False)
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Product over ``axis`` (all by default), of type ``dtype`` where given."""
    return _reduced("reduce_prod", summable(x, dtype), axis, keepdims)


@public_op(weak=False)
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Mean over ``axis`` (all by default), as a float; narrow floats are summed in float32."""
    return _reduced("reduce_mean", _at_least_float32(x), axis, keepdims)


def _at_least_float32(x: Any) -> Tensor:
    """Integers as float32, as Keras takes means."""
    tensor = as_tensor(x)
    return tensor if b.is_float(tensor) or b.is_complex(tensor) else cast(tensor, "float32")


@public_op(weak=False)
def var(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Variance over ``axis`` (all by default): the mean squared distance from the mean."""
    return _reduced("reduce_variance", b.as_float(x), axis, keepdims)


@public_op(weak=False)
def std(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Standard deviation over ``axis`` (all by default)."""
    return emit("sqrt", _reduced("reduce_variance", b.as_float(x), axis, keepdims))


def _extreme(x: Any, axis: Any, keepdims: bool, initial: Any, greatest: bool) -> Tensor:
    x = as_tensor(x)
    op = "maximum" if greatest else "minimum"
    axes = normalize_axes(axis, x.ndim)
    if initial is None and 0 in [b.shape_of(x)[a] for a in axes]:
        raise ShapeError(f"the {op} of nothing is undefined, received {x!r} and axis={axis}; give initial")
    result = b.reduce("reduce_max" if greatest else "reduce_min", x, axes, keepdims)
    return result if initial is None else emit(op, result, stretch(as_tensor(initial, x.dtype), b.shape_of(result)))


@public_op(weak=False)
def max(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Greatest element over ``axis`` (all by default), not less than ``initial``; NaN where there is one."""
    return _extreme(x, axis, keepdims, initial, True)


@public_op(weak=False)
def min(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Least element over ``axis`` (all by default), not more than ``initial``; NaN where there is one."""
    return _extreme(x, axis, keepdims, initial, False)


@public_op(weak=False)
def amax(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """As :func:`max`."""
    return _extreme(x, axis, keepdims, None, True)


@public_op(weak=False)
def amin(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """As :func:`min`."""
    return _extreme(x, axis, keepdims, None, False)


@public_op(weak=False)
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Greatest minus least element over ``axis``."""
    x = as_tensor(x)
    if x.dtype == "bool":
        raise DTypeError("ptp: expected numbers, received bools; cast to a number type")
    return b.subtract(_extreme(x, axis, keepdims, None, True), _extreme(x, axis, keepdims, None, False))


@public_op(weak=False)
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether an element over ``axis`` (all by default) is not zero."""
    return _reduced("reduce_any", b.as_bool(x), axis, keepdims)


@public_op(weak=False)
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether no element over ``axis`` (all by default) is zero."""
    return _reduced("reduce_all", b.as_bool(x), axis, keepdims)


@public_op(weak=False)
def count_nonzero(x: Any, axis: Any = None) -> Tensor:
    """How many elements over ``axis`` (all by default) are not zero, as int32."""
    return _reduced("reduce_sum", cast(b.as_bool(x), "int32"), axis, False)


@public_op(weak=False)
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over ``axis`` (all by default), without overflow."""
    x = b.as_float(x)
    axes = normalize_axes(axis, x.ndim)
    return emit("logsumexp", x, axes=axes, keepdims=keepdims) if axes else x


@public_op(weak=False)
def average(x: Any, axis: Any = None, weights: Any = None) -> Tensor:
    """Mean over ``axis``, weighted by ``weights``: of the shape of ``x``, or a vector along one axis."""
    if weights is None:
        return _reduced("reduce_mean", b.as_float(x), axis, False)
    dtype = promoted(dtype_of(x), dtype_of(weights), float)
    x, given = as_tensor(x, dtype), as_tensor(weights, dtype)
    if given.ndim != x.ndim:
        axes = normalize_axes(axis, x.ndim)
        if given.ndim != 1 or len(axes) != 1:
            raise ShapeError(
                f"average: expected weights of the shape of {x!r}, or a vector and one axis; received {given!r} "
                f"and axis={axis}"
            )
        given = stretch(b.along(given, x.ndim, axes[0]), b.shape_of(x))
    given = match_shape(given, b.shape_of(x), "average: weights")
    total = _reduced("reduce_sum", emit("multiply", x, given), axis, False)
    return b.divide(total, _reduced("reduce_sum", given, axis, False))


# Where the extreme is.


def _position(op: str, x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    shape = b.shape_of(x)
    if axis is None:
        result = emit(op, b.reshape(x, (x.value.type.size,)), axis=0)
        return b.reshape(result, (1,) * x.ndim) if keepdims else result
    if not x.ndim:
        normalize_axis(axis, 1)
        return b.scalar(0, "int32")
    place = normalize_axis(b.int_arg(axis, op, "axis"), x.ndim)
    result = emit(op, x, axis=place)
    return b.reshape(result, [1 if i == place else d for i, d in enumerate(shape)]) if keepdims else result


@public_op(weak=False)
def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Where the greatest element is along ``axis`` (of all in one dimension by default): the first of equal ones."""
    return _position("argmax", as_tensor(x), axis, keepdims)


@public_op(weak=False)
def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Where the least element is along ``axis`` (of all in one dimension by default): the first of equal ones."""
    return _position("argmin", as_tensor(x), axis, keepdims)


# Cumulative.


def _running(op: str, x: Tensor, axis: Any) -> Tensor:
    if axis is None:
        x, axis = b.reshape(x, (x.value.type.size,)), 0
    place = normalize_axis(axis, x.ndim)
    return x if b.shape_of(x)[place] == 0 else emit(op, x, axis=place)


def _countable(x: Any, dtype: Any) -> Tensor:
    return b.no_bool(x) if dtype is None else cast(as_tensor(x), dtype)


@public_op(weak=False)
def cumsum(x: Any, axis: Any = None, dtype: Any = None) -> Tensor:
    """Sums of the elements up to each along ``axis`` (of all in one dimension by default)."""
    return _running("cumsum", _countable(x, dtype), axis)


@public_op(weak=False)
def cumprod(x: Any, axis: Any = None, dtype: Any = None) -> Tensor:
    """Products of the elements up to each along ``axis`` (of all in one dimension by default)."""
    return _running("cumprod", _countable(x, dtype), axis)


@public_op(weak=False)
def diff(a: Any, n: int = 1, axis: int = -1) -> Tensor:
    """Differences of neighbours along ``axis``, taken ``n`` times."""
    x = as_tensor(a)
    place = normalize_axis(axis, x.ndim)
    for _ in range(b.int_arg(n, "diff", "n")):
        size = b.shape_of(x)[place]
        if size == 0:
            return x
        after, before = b.cut(x, place, 1, size), b.cut(x, place, 0, size - 1)
        x = b.compare("NE", after, before) if x.dtype == "bool" else b.subtract(after, before)
    return x


@public_op(weak=False)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral of ``y`` along ``axis`` by the trapezoidal rule, at points ``x`` or at a distance ``dx``."""
    values = b.as_float(y)
    place = normalize_axis(axis, values.ndim)
    size = b.shape_of(values)[place]
    middle = b.add(b.cut(values, place, 1, size), b.cut(values, place, 0, size - 1))
    if x is None:
        width = stretch(as_tensor(dx, values.dtype), b.shape_of(middle))
    else:
        points = as_tensor(x, values.dtype)
        points = b.along(points, values.ndim, place) if points.ndim == 1 else points
        at = points.ndim - values.ndim + place
        count = b.shape_of(points)[at]
        width = stretch(b.subtract(b.cut(points, at, 1, count), b.cut(points, at, 0, count - 1)), b.shape_of(middle))
    return b.multiply(b.reduce("reduce_sum", emit("multiply", middle, width), (place,)), 0.5)


# Without NaN.


def _replaced(x: Tensor, value: Any) -> Tensor:
    return b.select(b.compare("NE", x, x), value, x) if b.is_float(x) else x


def _ignoring(name: str, op: str, filler: float, meaning: str) -> Callable[..., Any]:
    def rule(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _reduced(op, _replaced(summable(x), filler), axis, keepdims)

    return named(rule, name, f"{meaning} over ``axis`` (all by default), NaN left out.", weak=False)


nansum = _ignoring("nansum", "reduce_sum", 0, "Sum")
nanprod = _ignoring("nanprod", "reduce_prod", 1, "Product")


def _nan_extreme(x: Any, axis: Any, keepdims: bool, greatest: bool) -> Tensor:
    x = as_tensor(x)
    op = "reduce_max" if greatest else "reduce_min"
    if not b.is_float(x):
        return _reduced(op, x, axis, keepdims)
    result = _reduced(op, _replaced(x, -np.inf if greatest else np.inf), axis, keepdims)
    return b.select(_reduced("reduce_all", b.compare("NE", x, x), axis, keepdims), np.nan, result)


@public_op(weak=False)
def nanmax(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Greatest element over ``axis``, NaN left out; NaN where there is nothing else."""
    return _nan_extreme(x, axis, keepdims, True)


@public_op(weak=False)
def nanmin(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Least element over ``axis``, NaN left out; NaN where there is nothing else."""
    return _nan_extreme(x, axis, keepdims, False)


def _nan_statistics(x: Tensor, axis: Any, keepdims: bool, squared: bool) -> Tensor:
    """The mean, or variance, of what is not NaN; narrow floats in float32."""
    inner = cast(x, "float32") if bit_width(x.value.type.dtype) < 32 else x
    valid = b.compare("EQ", inner, inner)
    count = _reduced("reduce_sum", cast(valid, inner.dtype), axis, True)
    mean_ = b.divide(_reduced("reduce_sum", b.select(valid, inner, 0), axis, True), count)
    if squared:
        distance = b.select(valid, b.subtract(inner, stretch(mean_, b.shape_of(inner))), 0)
        mean_ = b.divide(_reduced("reduce_sum", emit("multiply", distance, distance), axis, True), count)
    if not keepdims:
        axes = normalize_axes(axis, x.ndim)
        mean_ = b.reshape(mean_, [d for i, d in enumerate(b.shape_of(x)) if i not in axes])
    return cast(mean_, x.dtype)


@public_op(weak=False)
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Mean over ``axis``, NaN left out."""
    return _nan_statistics(b.as_float(x), axis, keepdims, False)


@public_op(weak=False)
def nanvar(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Variance over ``axis``, NaN left out."""
    return _nan_statistics(b.as_float(x), axis, keepdims, True)


@public_op(weak=False)
def nanstd(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Standard deviation over ``axis``, NaN left out."""
    return emit("sqrt", _nan_statistics(b.as_float(x), axis, keepdims, True))


@public_op(weak=False)
def nancumsum(x: Any, axis: Any = None, dtype: Any = None) -> Tensor:
    """As :func:`cumsum`, NaN counting as 0."""
    return _running("cumsum", _replaced(_countable(x, dtype), 0), axis)


@public_op(weak=False)
def nancumprod(x: Any, axis: Any = None, dtype: Any = None) -> Tensor:
    """As :func:`cumprod`, NaN counting as 1."""
    return _running("cumprod", _replaced(_countable(x, dtype), 1), axis)


def _nan_position(op: str, x: Any, axis: Any, keepdims: bool, filler: float) -> Tensor:
    x = as_tensor(x)
    if not b.is_float(x):
        return _position(op, x, axis, keepdims)
    nothing = _reduced("reduce_all", b.compare("NE", x, x), axis, keepdims)
    return b.select(nothing, -1, _position(op, _replaced(x, filler), axis, keepdims))


@public_op(weak=False)
def nanargmax(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """As :func:`argmax`, NaN left out; -1 where there is nothing else."""
    return _nan_position("argmax", x, axis, keepdims, -np.inf)


@public_op(weak=False)
def nanargmin(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """As :func:`argmin`, NaN left out; -1 where there is nothing else."""
    return _nan_position("argmin", x, axis, keepdims, np.inf)


@public_op(weak=False)
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and variance over ``axes``; of narrow floats computed in float32 and limited to the range of float16."""
    if synchronized:
        raise ArgumentError("moments: synchronized=True is not possible; average the results of the devices instead")
    x = b.as_float(x)
    narrow = x.dtype in ("float16", "bfloat16")
    inner = cast(x, "float32") if narrow else x
    results = [_reduced(op, inner, axes, keepdims) for op in ("reduce_mean", "reduce_variance")]
    if narrow:
        limits = ml_dtypes.finfo(np.float16)
        low, high = b.scalar(limits.min, "float32"), b.scalar(limits.max, "float32")
        results = [cast(emit("clamp", low, r, high), x.dtype) for r in results]
    return results[0], results[1]


@public_op(weak=False)
def corrcoef(x: Any) -> Tensor:
    """The matrix of correlation coefficients of the rows of ``x``."""
    x = b.as_float(x)
    if x.ndim > 2:
        raise ShapeError(f"corrcoef: expected a vector or a matrix, received {x!r}")
    if x.ndim < 2:
        return b.divide(*[b.scalar(1, x.dtype)] * 2)
    shape = b.shape_of(x)
    centred = b.subtract(x, b.spread(b.reduce("reduce_mean", x, (1,)), shape, (0,)))
    products = emit("dot_general", centred, centred, lhs_batch=(), rhs_batch=(), lhs_contract=(1,), rhs_contract=(1,))
    square = b.reduce("reduce_sum", emit("multiply", centred, centred), (1,))
    size = b.shape_of(products)
    deviation = emit("sqrt", square)
    result = b.divide(b.divide(products, b.spread(deviation, size, (0,))), b.spread(deviation, size, (1,)))
    return emit("clamp", b.scalar(-1, x.dtype), result, b.scalar(1, x.dtype))
