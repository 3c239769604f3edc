"""Making tensors: constants, ranges, identity matrices, grids, windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir.dims import Dim, DimLike
from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor, broadcast, broadcast_to, cast, dtype_of, emit, normalize_axis, promoted
from ..dispatch import public_op
from ..dtypes import floatx, standardize_dtype
from ..tensor import Tensor, plain_dims
from ..trace import require_trace
from . import building as b


@public_op(weak=False)
def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of zeros."""
    return b.filled(b.dims_arg(shape, "zeros"), 0, standardize_dtype(dtype))


@public_op(weak=False)
def ones(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of ones."""
    return b.filled(b.dims_arg(shape, "ones"), 1, standardize_dtype(dtype))


@public_op(weak=False)
def empty(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor whose contents do not matter (zeros)."""
    return b.filled(b.dims_arg(shape, "empty"), 0, standardize_dtype(dtype))


@public_op
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """A tensor of ``fill_value``, which may be a tensor that broadcasts to ``shape``."""
    return broadcast_to(as_tensor(fill_value, standardize_dtype(dtype)), b.dims_arg(shape, "full"))


def _like(x: Any, dtype: Any) -> tuple[b.Shape, str]:
    tensor = as_tensor(x)
    return b.shape_of(tensor), tensor.dtype if dtype is None else standardize_dtype(dtype)


@public_op(weak=False)
def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """Zeros of the shape, and unless given the type, of ``x``."""
    shape, name = _like(x, dtype)
    return b.filled(shape, 0, name)


@public_op(weak=False)
def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """Ones of the shape, and unless given the type, of ``x``."""
    shape, name = _like(x, dtype)
    return b.filled(shape, 1, name)


@public_op(weak=False)
def empty_like(x: Any, dtype: Any = None) -> Tensor:
    """A tensor of the shape and type of ``x`` whose contents do not matter (zeros)."""
    shape, name = _like(x, dtype)
    return b.filled(shape, 0, name)


@public_op
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """``fill_value`` in the shape, and unless given the type, of ``x``."""
    shape, name = _like(x, dtype)
    return broadcast_to(as_tensor(fill_value, name), shape)


@public_op(weak=False)
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Tensor:
    """``start, start + step, ...`` below ``stop``; from 0 where only one bound is given.

    The bounds are numbers or, with a whole step, symbolic dimensions.
    """
    given = [v for v in (start, stop, step) if v is not None]
    if any(isinstance(v, Tensor) for v in given):
        raise ArgumentError(
            f"arange: the bounds must be known while tracing, received {given}; the number of elements depends on them"
        )
    name = promoted(*(dtype_of(v) for v in given)) if dtype is None else standardize_dtype(dtype)
    if not any(isinstance(v, Dim) for v in given):
        return _counted(
            0 if stop is None else start, start if stop is None else stop, 1 if step is None else step, name
        )
    low, high = (plain_dims(v) for v in ((0, start) if stop is None else (start, stop)))
    stride = 1 if step is None else b.int_arg(step, "arange", "step beside a symbolic bound")
    count = (high - low + stride - 1) // stride if stride > 0 else (low - high - stride - 1) // -stride
    if isinstance(count, int):
        count = max(count, 0)
    numbers = b.iota((count,), 0, name if name != "bool" else "int32")
    if stride != 1:
        numbers = b.multiply(numbers, stride)
    return numbers if low == 0 else b.add(numbers, broadcast_to(b.dim_tensor(low, numbers.dtype), (count,)))


def _counted(start: Any, stop: Any, step: Any, dtype: str) -> Tensor:
    if step == 0:
        raise ArgumentError("arange: step must not be 0")
    count = max(0, math.ceil((stop - start) / step))
    whole = all(isinstance(v, int | np.integer) for v in (start, step))
    if whole and dtype not in ("bool",):
        numbers = b.iota((count,), 0, dtype)
        numbers = numbers if step == 1 else b.multiply(numbers, step)
        return numbers if start == 0 else b.add(numbers, start)
    return require_trace().constant(np.arange(start, stop, step)[:count].astype(as_tensor(0, dtype).value.type.dtype))


@public_op
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0
) -> Any:
    """``num`` numbers evenly from ``start`` to ``stop``, with ``stop`` where ``endpoint``; tensors along a new axis.

    Returns:
        The numbers; with ``retstep`` also the step between them.
    """
    values, step, name = _spaced(start, stop, num, endpoint, dtype, axis, "linspace")
    values = cast(emit("floor", values) if name.startswith(("int", "uint")) else values, name)
    return (values, step) if retstep else values


def _spaced(
    start: Any, stop: Any, num: Any, endpoint: bool, dtype: Any, axis: int, op: str
) -> tuple[Tensor, Tensor, str]:
    num = b.int_arg(num, op, "num")
    if num < 0:
        raise ArgumentError(f"{op}: expected num >= 0, received {num}")
    inner = promoted(dtype_of(start), dtype_of(stop), float)
    name = inner if dtype is None else standardize_dtype(dtype)
    first, last = broadcast(as_tensor(start, inner), as_tensor(stop, inner), what=op)
    place = normalize_axis(axis, first.ndim + 1)
    parts = num - 1 if endpoint else num
    shape = list(b.shape_of(first))
    shape.insert(place, num)
    others = [i for i in range(len(shape)) if i != place]
    if num == 1 or parts <= 0:
        return b.spread(first, shape, others), b.like(first, np.nan), name
    fraction = b.divide(b.iota(shape, place, inner), parts)
    wide_first, wide_last = b.spread(first, shape, others), b.spread(last, shape, others)
    values = b.add(
        emit("multiply", wide_first, b.subtract(b.like(fraction, 1), fraction)), emit("multiply", wide_last, fraction)
    )
    if endpoint:  # exactly, whatever the rounding before it
        at_end = b.compare("EQ", b.iota(shape, place), num - 1)
        values = b.select(at_end, wide_last, values)
    return values, b.divide(b.subtract(last, first), parts), name


@public_op
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10, dtype: Any = None, axis: int = 0
) -> Tensor:
    """``base`` to the power of ``num`` numbers evenly from ``start`` to ``stop``."""
    values, _, name = _spaced(start, stop, num, endpoint, dtype, axis, "logspace")
    return cast(emit("power", *broadcast(as_tensor(base, values.dtype), values)), name)


@public_op
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Tensor:
    """``num`` numbers from ``start`` to ``stop`` (of one sign, not 0) with a constant ratio."""
    inner = promoted(dtype_of(start), dtype_of(stop), float)
    first, last = broadcast(as_tensor(start, inner), as_tensor(stop, inner), what="geomspace")
    sign = emit("sign", first)
    low, high = (emit("log", emit("multiply", t, sign)) for t in (first, last))
    values, _, name = _spaced(low, high, num, endpoint, dtype, axis, "geomspace")
    place = normalize_axis(axis, first.ndim + 1)
    others = [i for i in range(values.ndim) if i != place]
    return cast(
        emit("multiply", b.spread(sign, b.shape_of(values), others), emit("exponential", values)),
        inner if dtype is None else name,
    )


def diagonal_mask(rows: DimLike, columns: DimLike, k: int, direction: str) -> Tensor:
    """A matrix of bools: where ``column - k`` is ``direction`` to ``row``."""
    shape = (rows, columns)
    place = b.iota(shape, 0)
    return b.compare(direction, b.add(place, k) if k else place, b.iota(shape, 1))


def _diagonal(n: Any, m: Any, k: Any, direction: str, op: str) -> Tensor:
    rows, columns = b.dims_arg((n, n if m is None else m), op, "the numbers of rows and columns")
    return diagonal_mask(rows, columns, b.int_arg(k, op, "k"), direction)


@public_op(weak=False)
def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Tensor:
    """An ``N`` by ``M`` matrix with ones on its ``k``-th diagonal."""
    return cast(_diagonal(N, M, k, "EQ", "eye"), dtype)


@public_op(weak=False)
def identity(n: Any, dtype: Any = None) -> Tensor:
    """The identity matrix."""
    return cast(_diagonal(n, None, 0, "EQ", "identity"), dtype)


@public_op(weak=False)
def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Tensor:
    """An ``N`` by ``M`` matrix with ones on and below its ``k``-th diagonal."""
    return cast(_diagonal(N, M, k, "GE", "tri"), dtype)


def _triangle(x: Any, k: Any, keep_lower: bool, op: str) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected a tensor of rank 2 or more, received {x!r}")
    shape, offset = b.shape_of(x), b.int_arg(k, op, "k")
    mask = (
        diagonal_mask(shape[-2], shape[-1], offset, "GE")
        if keep_lower
        else diagonal_mask(shape[-2], shape[-1], offset - 1, "LT")
    )
    return b.select(broadcast_to(mask, shape), x, 0)


@public_op(weak=False)
def tril(x: Any, k: int = 0) -> Tensor:
    """``x`` with zeros above the ``k``-th diagonal of its last two axes."""
    return _triangle(x, k, True, "tril")


@public_op(weak=False)
def triu(x: Any, k: int = 0) -> Tensor:
    """``x`` with zeros below the ``k``-th diagonal of its last two axes."""
    return _triangle(x, k, False, "triu")


@public_op(weak=False)
def meshgrid(*x: Any, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of a grid over vectors: each as a tensor of the grid; ``"xy"`` swaps the first two axes."""
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: expected indexing 'xy' or 'ij', received {indexing!r}")
    vectors = [b.reshape(t, (b.size_of(b.shape_of(t)),)) for t in map(as_tensor, x)]
    order = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        order[:2] = [1, 0]
    shape = [b.shape_of(vectors[i])[0] for i in order]
    return [b.spread(v, shape, (order.index(i),)) for i, v in enumerate(vectors)]


# Windows.


def _window_points(x: Any, op: str) -> int:
    value = b.concrete(x)
    if value is None or value.ndim or value < 0:
        raise ArgumentError(f"{op}: expected the number of points, an integer known while tracing; received {x!r}")
    return int(value)


def _window(values: np.ndarray) -> Tensor:
    return require_trace().constant(values.astype(as_tensor(0, floatx()).value.type.dtype))


@public_op(weak=False)
def bartlett(x: Any) -> Tensor:
    """The triangular window of ``x`` points."""
    return _window(np.bartlett(_window_points(x, "bartlett")))


@public_op(weak=False)
def blackman(x: Any) -> Tensor:
    """Blackman's window of ``x`` points."""
    return _window(np.blackman(_window_points(x, "blackman")))


@public_op(weak=False)
def hamming(x: Any) -> Tensor:
    """Hamming's window of ``x`` points."""
    return _window(np.hamming(_window_points(x, "hamming")))


@public_op(weak=False)
def hanning(x: Any) -> Tensor:
    """The von Hann window of ``x`` points."""
    return _window(np.hanning(_window_points(x, "hanning")))


@public_op(weak=False)
def kaiser(x: Any, beta: float) -> Tensor:
    """Kaiser's window of ``x`` points and shape ``beta``."""
    return _window(np.kaiser(_window_points(x, "kaiser"), float(beta)))
