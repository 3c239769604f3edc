"""Linear algebra, on matrices in the last two axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir.dims import DimLike
from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor, cast, emit, match_shape, normalize_axes, promote_float
from ..dispatch import public_op
from ..tensor import Tensor
from ..trace import require_trace
from . import building as b
from .building import square_matrices
from .product import matrix_product
from .spectral import eig as eig
from .spectral import eigh as eigh
from .spectral import lstsq as lstsq
from .spectral import matrix_rank as matrix_rank
from .spectral import pinv as pinv
from .spectral import svd as svd


@public_op(weak=False)
def cholesky(x: Any, upper: bool = False) -> Tensor:
    """The triangular factor of positive definite matrices; all NaN where one is not."""
    x = square_matrices(x, "cholesky")
    symmetric = b.multiply(b.add(x, b.transposed(x)), 0.5)
    factor = emit("cholesky", symmetric, lower=True)
    return b.transposed(factor) if upper else factor


@public_op(weak=False)
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Tensor:
    """The x with ``a x = b``, of ``a`` one triangle; ``b`` is a vector or a matrix."""
    matrix, right = promote_float(a, b)
    return _triangular(square_matrices(matrix, "solve_triangular"), right, lower, "solve_triangular")


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
    factor = square_matrices(x, "cholesky_inverse")
    inverse = _triangular(factor, _identity_like(factor), not upper, "cholesky_inverse")
    pair = (inverse, b.transposed(inverse)) if upper else (b.transposed(inverse), inverse)
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


# By LU factorization.


def _factors(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``L`` and ``U`` in one matrix, the row each was exchanged with, and the order of rows."""
    return require_trace().emit("lu", (a,), {})  # type: ignore[return-value]


@public_op(weak=False)
def det(x: Any) -> Tensor:
    """The determinant.

    Its derivative is the cofactors, also where the matrix is singular: of matrices up to 3 by 3 always; of larger ones
    where all pivots but the last are not zero, and else zeros.
    """
    x = square_matrices(x, "det")
    for size in (1, 2, 3):
        if b.shape_of(x)[-1] == size:
            return _small_determinant(_elements(x, size))
    return emit("det", x)


def _elements(x: Tensor, n: int) -> list[list[Tensor]]:
    """The elements of ``n`` by ``n`` matrices, by row and column; each for all of the batch."""
    *batch, _, _ = b.shape_of(x)
    axis = len(batch)

    def element(i: int, j: int) -> Tensor:
        return b.reshape(b.cut(b.cut(x, axis, i, i + 1), axis + 1, j, j + 1), batch)

    return [[element(i, j) for j in range(n)] for i in range(n)]


def _small_determinant(rows: list[list[Tensor]]) -> Tensor:
    """By expansion along the first row."""
    first, *others = rows
    if not others:
        return first[0]
    total = None
    for j, element in enumerate(first):
        minor = _small_determinant([row[:j] + row[j + 1 :] for row in others])
        term = b.multiply(element, minor)
        total = term if total is None else (b.subtract if j % 2 else b.add)(total, term)
    assert total is not None
    return total


@public_op(weak=False)
def slogdet(x: Any) -> tuple[Tensor, Tensor]:
    """The determinant's sign, and the logarithm of its absolute value."""
    return require_trace().emit("slogdet", (square_matrices(x, "slogdet"),), {})  # type: ignore[return-value]


@public_op(weak=False)
def logdet(x: Any) -> Tensor:
    """The logarithm of the determinant's absolute value."""
    return require_trace().emit("slogdet", (square_matrices(x, "logdet"),), {})[1]


def _solved(a: Tensor, right: Tensor, op: str) -> Tensor:
    vector = right.ndim == a.ndim - 1
    if vector:
        right = b.reshape(right, (*b.shape_of(right), 1))
    if right.ndim != a.ndim:
        raise ShapeError(f"{op}: expected a right side of the rank of {a!r}, or one less; received {right!r}")
    right = match_shape(right, (*b.shape_of(a)[:-1], b.shape_of(right)[-1]), f"{op}: rows of both sides must be equal")
    factors, _, order = _factors(a)
    result = emit("lu_solve", a, factors, order, right)
    return b.reshape(result, b.shape_of(result)[:-1]) if vector else result


@public_op(weak=False)
def solve(a: Any, b: Any) -> Tensor:
    """The x with ``a x = b``; ``b`` is a vector or a matrix."""
    matrix, right = promote_float(a, b)
    return _solved(square_matrices(matrix, "solve"), right, "solve")


@public_op(weak=False)
def inv(x: Any) -> Tensor:
    """The inverse matrix."""
    x = square_matrices(x, "inv")
    return _solved(x, _identity_like(x), "inv")


@public_op(weak=False)
def lu_factor(x: Any) -> tuple[Tensor, Tensor]:
    """Lower times upper triangular, both in one matrix, and for each row the one it was exchanged with."""
    return _factors(square_matrices(x, "lu_factor"))[:2]


def jvp(fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """``fun(*primals)`` and its derivative along ``tangents``: see :func:`lamina.jvp`."""
    from ..transforms import jvp as transformed

    return transformed(fun, primals, tangents, has_aux)


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
