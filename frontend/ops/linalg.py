"""Linear algebra, on matrices in the last two axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dims import DimLike
from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor, cast, emit, match_shape, normalize_axes, promote_float
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor
from ..trace import all_captures, require_trace, trace_region
from . import building as b
from .product import matrix_product


def _square(x: Any, op: str) -> Tensor:
    x = b.as_float(x)
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected square matrices in the last two axes, received {x!r}")
    return match_shape(x, (*b.shape_of(x)[:-1], b.shape_of(x)[-2]), f"{op}: matrices must be square")


def _transposed(x: Tensor) -> Tensor:
    return b.transpose(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


@public_op(weak=False)
def cholesky(x: Any, upper: bool = False) -> Tensor:
    """The triangular factor of positive definite matrices; all NaN where one is not."""
    x = _square(x, "cholesky")
    symmetric = b.multiply(b.add(x, _transposed(x)), 0.5)
    factor = emit("cholesky", symmetric, lower=True)
    return _transposed(factor) if upper else factor


@public_op(weak=False)
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Tensor:
    """The x with ``a x = b``, of ``a`` one triangle; ``b`` is a vector or a matrix."""
    matrix, right = promote_float(a, b)
    return _triangular(_square(matrix, "solve_triangular"), right, lower, "solve_triangular")


def _triangular(a: Tensor, right: Tensor, lower: bool, op: str, transpose: bool = False, unit: bool = False) -> Tensor:
    vector = right.ndim == a.ndim - 1
    if vector:
        right = b.reshape(right, (*b.shape_of(right), 1))
    if right.ndim != a.ndim:
        raise ShapeError(f"{op}: expected a right side of the rank of {a!r}, or one less; received {right!r}")
    right = match_shape(right, (*b.shape_of(a)[:-1], b.shape_of(right)[-1]), f"{op}: rows of both sides must be equal")
    result = emit(
        "triangular_solve",
        a,
        right,
        left_side=True,
        lower=lower,
        unit_diagonal=unit,
        transpose="TRANSPOSE" if transpose else "NO_TRANSPOSE",
    )
    return b.reshape(result, b.shape_of(result)[:-1]) if vector else result


@public_op(weak=False)
def cholesky_inverse(x: Any, upper: bool = False) -> Tensor:
    """The inverse of the matrices whose triangular factor ``x`` is."""
    factor = _square(x, "cholesky_inverse")
    inverse = _triangular(factor, _identity_like(factor), not upper, "cholesky_inverse")
    pair = (inverse, _transposed(inverse)) if upper else (_transposed(inverse), inverse)
    return matrix_product(*pair)


def _identity_like(x: Tensor) -> Tensor:
    shape = b.shape_of(x)
    return cast(b.compare("EQ", b.iota(shape, x.ndim - 2), b.iota(shape, x.ndim - 1)), x.dtype)


@public_op(weak=False)
def qr(x: Any, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Orthogonal times upper triangular; ``mode`` ``"complete"`` makes the first square."""
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f"qr: expected mode 'reduced' or 'complete', received {mode!r}")
    x = b.as_float(x)
    if x.ndim < 2:
        raise ShapeError(f"qr: expected matrices in the last two axes, received {x!r}")
    return require_trace().emit("qr", (x,), {"full": mode == "complete"})  # type: ignore[return-value]


# By elimination with partial pivoting: one turn of a loop for each column.


def _eliminated(a: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``a`` brought to upper triangular form: (it, ``right`` after the same steps, rows' order, parity)."""
    *batch, n, _ = b.shape_of(a)
    order = b.iota((*batch, n), len(batch))
    parity = b.filled(tuple(batch), 1, a.dtype)
    types = [b.scalar(0, "int32").value.type, *(t.value.type for t in (a, right, order, parity))]

    def step(k: Tensor, a: Tensor, right: Tensor, order: Tensor, parity: Tensor) -> tuple[Tensor, ...]:
        rows = b.iota((*batch, n), len(batch))
        at_k = b.compare("EQ", rows, stretch(k, (*batch, n)))
        column = _pick(a, b.spread(at_k, (*batch, 1, n), [*range(len(batch)), len(batch) + 1]))
        size = b.select(b.compare("GE", rows, stretch(k, (*batch, n))), emit("abs", column), -1)
        pivot = emit("argmax", size, axis=len(batch))
        at_pivot = b.compare("EQ", rows, b.spread(pivot, (*batch, n), range(len(batch))))
        parity = b.select(b.compare("EQ", pivot, stretch(k, tuple(batch))), parity, emit("negate", parity))
        a, right = (_exchanged(t, at_k, at_pivot) for t in (a, right))
        order = b.reshape(_exchanged(b.reshape(order, (*batch, n, 1)), at_k, at_pivot), (*batch, n))
        below = b.compare("GT", rows, stretch(k, (*batch, n)))
        column = _pick(a, b.spread(at_k, (*batch, 1, n), [*range(len(batch)), len(batch) + 1]))
        top = b.reduce("reduce_sum", b.select(at_k, column, 0), (len(batch),), True)
        usable = b.compare("NE", top, 0)
        factor = b.select(below, b.divide(column, stretch(b.select(usable, top, 1), b.shape_of(column))), 0)
        return (b.add(k, 1), *(_less_multiples(t, factor, at_k) for t in (a, right)), order, parity)

    def more(k: Tensor, *rest: Tensor) -> Tensor:
        return b.compare("LT", k, b.dim_tensor(n, "int32"))

    regions = [trace_region(more, types), trace_region(step, types)]
    captured = all_captures(regions)
    trace = require_trace()
    held = [Tensor(value, trace) for value in captured]
    results = trace.emit(
        "while",
        (*held, b.scalar(0, "int32"), a, right, order, parity),
        {"consts": len(held)},
        [region.close(captured) for region in regions],
    )
    return results[1:]  # type: ignore[return-value]


def _pick(a: Tensor, here: Tensor) -> Tensor:
    """The column of ``a`` where ``here`` holds."""
    return b.reduce("reduce_sum", b.select(stretch(here, b.shape_of(a)), a, 0), (a.ndim - 1,))


def _row(a: Tensor, here: Tensor) -> Tensor:
    """The row of ``a`` where ``here`` holds, [..., 1, columns]."""
    wide = b.spread(here, b.shape_of(a), range(a.ndim - 1))
    return b.reduce("reduce_sum", b.select(wide, a, 0), (a.ndim - 2,), True)


def _exchanged(a: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """``a`` with two rows exchanged, each named by where it is True."""
    shape, axes = b.shape_of(a), range(a.ndim - 1)
    one, two = (stretch(_row(a, here), shape) for here in (first, second))
    return b.select(b.spread(first, shape, axes), two, b.select(b.spread(second, shape, axes), one, a))


def _less_multiples(a: Tensor, factor: Tensor, here: Tensor) -> Tensor:
    """``a`` minus ``factor`` times one of its rows."""
    shape = b.shape_of(a)
    return b.subtract(a, emit("multiply", b.spread(factor, shape, range(a.ndim - 1)), stretch(_row(a, here), shape)))


def _empty_right(a: Tensor) -> Tensor:
    return b.filled((*b.shape_of(a)[:-1], 1), 0, a.dtype)


def _log_determinant(x: Tensor) -> tuple[Tensor, Tensor]:
    from .padding import diagonal_of_last

    upper, _, _, parity = _eliminated(x, _empty_right(x))
    diagonal = diagonal_of_last(upper, 0)
    sign = b.reduce("reduce_prod", emit("sign", diagonal), (diagonal.ndim - 1,))
    logs = b.reduce("reduce_sum", emit("log", emit("abs", diagonal)), (diagonal.ndim - 1,))
    return emit("multiply", sign, parity), logs


@public_op(weak=False)
def det(x: Any) -> Tensor:
    """The determinant."""
    from .padding import diagonal_of_last

    x = _square(x, "det")
    upper, _, _, parity = _eliminated(x, _empty_right(x))
    diagonal = diagonal_of_last(upper, 0)
    return emit("multiply", b.reduce("reduce_prod", diagonal, (diagonal.ndim - 1,)), parity)


@public_op(weak=False)
def slogdet(x: Any) -> tuple[Tensor, Tensor]:
    """The determinant's sign, and the logarithm of its absolute value."""
    return _log_determinant(_square(x, "slogdet"))


@public_op(weak=False)
def logdet(x: Any) -> Tensor:
    """The logarithm of the determinant's absolute value."""
    return _log_determinant(_square(x, "logdet"))[1]


def _solved(a: Tensor, right: Tensor, op: str) -> Tensor:
    vector = right.ndim == a.ndim - 1
    if vector:
        right = b.reshape(right, (*b.shape_of(right), 1))
    if right.ndim != a.ndim:
        raise ShapeError(f"{op}: expected a right side of the rank of {a!r}, or one less; received {right!r}")
    right = match_shape(right, (*b.shape_of(a)[:-1], b.shape_of(right)[-1]), f"{op}: rows of both sides must be equal")
    upper, reduced, _, _ = _eliminated(a, right)
    result = _triangular(upper, reduced, False, op)
    return b.reshape(result, b.shape_of(result)[:-1]) if vector else result


@public_op(weak=False)
def solve(a: Any, b: Any) -> Tensor:
    """The x with ``a x = b``; ``b`` is a vector or a matrix."""
    matrix, right = promote_float(a, b)
    return _solved(_square(matrix, "solve"), right, "solve")


@public_op(weak=False)
def inv(x: Any) -> Tensor:
    """The inverse matrix."""
    x = _square(x, "inv")
    return _solved(x, _identity_like(x), "inv")


@public_op(weak=False)
def lu_factor(x: Any) -> tuple[Tensor, Tensor]:
    """Lower times upper triangular, both in one matrix, and for each row the one it was exchanged with."""
    x = _square(x, "lu_factor")
    *batch, n, _ = b.shape_of(x)
    size = b.static_dim(n, "lu_factor", "the size of the matrices")
    upper, _, order, _ = _eliminated(x, _empty_right(x))
    # P x = L U: L from U by a solve, since elimination keeps U only.
    rows = emit(
        "gather",
        x,
        b.reshape(order, (*batch, n, 1)),
        offset_dims=(len(batch) + 1,),
        collapsed_slice_dims=(len(batch),),
        operand_batching_dims=range(len(batch)),
        start_indices_batching_dims=range(len(batch)),
        start_index_map=(len(batch),),
        index_vector_dim=len(batch) + 1,
        slice_sizes=(*(1,) * len(batch), 1, n),
    )
    lower = _transposed(_triangular(upper, _transposed(rows), False, "lu_factor", transpose=True))
    shape = b.shape_of(x)
    strictly = b.compare("GT", b.iota(shape, x.ndim - 2), b.iota(shape, x.ndim - 1))
    return b.select(strictly, lower, upper), _pivots(order, size)


def _pivots(order: Tensor, size: int) -> Tensor:
    """The exchanges that lead to an order of rows, one for each place, as LAPACK lists them."""
    *batch, _ = b.shape_of(order)
    axis = len(batch)
    current = b.iota((*batch, size), axis)
    found = []
    for i in range(size):
        wanted = b.cut(order, axis, i, i + 1)
        here = b.compare("EQ", current, stretch(wanted, b.shape_of(current)))
        place = b.reduce("reduce_sum", b.select(here, b.iota(b.shape_of(current), axis), 0), (axis,), True)
        first = b.cut(current, axis, i, i + 1)
        current = b.select(here, stretch(first, b.shape_of(current)), current)
        current = b.select(
            b.compare("EQ", b.iota(b.shape_of(current), axis), i), stretch(wanted, b.shape_of(current)), current
        )
        found.append(place)
    return b.concatenate(found, axis)


# Norms.


@public_op(weak=False)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The norm of vectors (one axis) or matrices (two axes).

    ``ord``: None (the root of the sum of squares), ``"fro"``, inf, -inf, 1, -1 (of matrices by columns or rows); for
    vectors also 0 and any number.
    """
    x = b.as_float(x)
    axes = normalize_axes(axis, x.ndim)
    order = tuple(a % x.ndim for a in axis) if isinstance(axis, tuple | list) else axes
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        square = emit("multiply", *[emit("abs", x)] * 2)
        return emit("sqrt", b.reduce("reduce_sum", square, axes, keepdims))
    if len(axes) == 1:
        return _vector_norm(emit("abs", x), ord, axes, keepdims)
    if len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):
        rows, columns = order
        summed, other = (rows, columns) if ord in (1, -1) else (columns, rows)
        total = b.reduce("reduce_sum", emit("abs", x), (summed,), True)
        result = b.reduce("reduce_max" if ord > 0 else "reduce_min", total, (other,), True)
        return result if keepdims else b.reshape(result, [d for i, d in enumerate(b.shape_of(x)) if i not in axes])
    raise ArgumentError(
        f"norm: ord={ord!r} is not supported for {len(axes)} axes; expected None, 'fro', 1, -1, inf or -inf for "
        "matrices, a number for vectors"
    )


def _vector_norm(size: Tensor, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    if isinstance(ord, str):
        raise ArgumentError(f"norm: expected a number as ord of vectors, received {ord!r}")
    if np.isinf(ord):
        return b.reduce("reduce_max" if ord > 0 else "reduce_min", size, axes, keepdims)
    if ord == 0:
        return b.reduce("reduce_sum", cast(b.compare("NE", size, 0), size.dtype), axes, keepdims)
    if ord == 1:
        return b.reduce("reduce_sum", size, axes, keepdims)
    total = b.reduce("reduce_sum", emit("power", size, b.like(size, ord)), axes, keepdims)
    return emit("power", total, b.like(total, 1 / ord))


@public_op(weak=False)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Tensor:
    """The matrix of the powers 0 to ``N - 1`` of a vector, falling from left to right unless ``increasing``."""
    x = as_tensor(x)
    if x.ndim != 1:
        raise ShapeError(f"vander: expected a vector, received {x!r}")
    columns: DimLike = b.shape_of(x)[0] if N is None else b.int_arg(N, "vander", "N")
    count = b.static_dim(columns, "vander", "N")
    powers = [b.like(x, 1)]
    for _ in range(1, count):
        powers.append(emit("multiply", powers[-1], x))
    rows = b.shape_of(x)[0]
    chosen = powers[:count] if increasing else powers[:count][::-1]
    if not chosen:
        return b.filled((rows, 0), 0, x.dtype)
    return b.concatenate([b.reshape(p, (rows, 1)) for p in chosen], 1)
