"""Derivatives of Fourier transforms and matrix factorizations. Transposes do not conjugate, as in ``jax``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..builder import Builder
from ..dims import DimLike, ge, min_dim, same
from ..errors import DifferentiationError
from ..graph import Value
from ..opdef import Call, Linear
from ..types import I32, is_complex
from .rules import Tangent, linear
from .rules import same as same_op

__all__ = [
    "cholesky_jvp",
    "fft_transpose",
    "det_jvp",
    "diagonal",
    "linear",
    "lu_jvp",
    "lu_parity",
    "lu_solve_jvp",
    "lu_solve_transpose",
    "permuted",
    "qr_jvp",
    "slogdet_jvp",
    "triangular_solve_jvp",
    "triangular_solve_transpose",
    "unpermuted",
]

# Fourier transforms: their matrices are symmetric.


def fft_transpose(b: Builder, call: Call, cotangent: Tangent, x: Linear) -> Tangent:
    """A transform again: of the whole spectrum where the signal is real."""
    if cotangent is None:
        return None
    kind, length = call["kind"], call["length"]
    if kind in ("FFT", "IFFT"):
        return b.fft(cotangent, kind=kind, length=length)
    if kind == "RFFT":
        none, rest = [0] * x.rank, [0] * x.rank
        rest[-1] = x.shape[-1] - cotangent.shape[-1]  # type: ignore[assignment]
        whole = b.pad(cotangent, b.constant(0, cotangent.dtype), low=none, high=rest, interior=none)
        return b.real(b.fft(whole, kind="FFT", length=length))
    return _irfft_transpose(b, cotangent, length)


def _irfft_transpose(b: Builder, cotangent: Value, length: Sequence[DimLike]) -> Value:
    """All frequencies but the first and, of an even length, the last stand for two of the whole spectrum."""
    spectrum = b.fft(cotangent, kind="RFFT", length=length)
    real = cotangent.dtype
    at = b.iota(dtype=real, shape=spectrum.shape, axis=spectrum.rank - 1)
    last = b.multiply(_filled(b, spectrum.shape, length[-1], real), b.full(spectrum.shape, 0.5, real))
    ends = b.or_(b.compare(at, b.full_like(at, 0), direction="EQ"), b.compare(at, last, direction="EQ"))
    number: DimLike = 1
    for n in length:
        number = number * n
    weight = b.select(ends, b.full_like(at, 1), b.full_like(at, 2))
    weight = b.divide(weight, _filled(b, spectrum.shape, number, real))
    return conjugate(b, b.multiply(b.complex(weight, b.full_like(weight, 0)), spectrum))


def _filled(b: Builder, shape: Sequence[DimLike], dim: DimLike, dtype: np.dtype) -> Value:
    if isinstance(dim, int):
        return b.full(shape, dim, dtype)
    return b.broadcast_to(b.astype(b.dim_value(dim=dim, dtype=I32), dtype), shape)


# Matrices: the last two dimensions.


def conjugate(b: Builder, x: Value) -> Value:
    """Of a real array itself."""
    return b.complex(b.real(x), b.negate(b.imag(x))) if is_complex(x.dtype) else x


def _swapped(b: Builder, x: Value) -> Value:
    order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    return b.transpose(x, permutation=order)


def _adjoint(b: Builder, x: Value) -> Value:
    return conjugate(b, _swapped(b, x))


def _product(b: Builder, x: Value, y: Value, transpose_x: bool = False, transpose_y: bool = False) -> Value:
    batch = tuple(range(x.rank - 2))
    return b.dot_general(
        x,
        y,
        lhs_batch=batch,
        rhs_batch=batch,
        lhs_contract=(x.rank - 2 if transpose_x else x.rank - 1,),
        rhs_contract=(y.rank - 1 if transpose_y else y.rank - 2,),
        precision="highest",
    )


def _places(b: Builder, x: Value, direction: str) -> Value:
    """Whether ``row direction column`` at each place of matrices."""
    rows, columns = (b.iota(dtype=I32, shape=x.shape, axis=axis) for axis in (x.rank - 2, x.rank - 1))
    return b.compare(rows, columns, direction=direction)


def _part(b: Builder, x: Value, direction: str) -> Value:
    """``x`` where ``row direction column``, else 0."""
    return b.select(_places(b, x, direction), x, b.full_like(x, 0))


def _half_lower(b: Builder, x: Value) -> Value:
    """The lower triangle, its diagonal halved."""
    half = b.multiply(x, b.full_like(x, 0.5))
    return b.select(_places(b, x, "EQ"), half, _part(b, x, "GT"))


def _solve(b: Builder, a: Value, x: Value, left: bool, lower: bool, transpose: str = "NO_TRANSPOSE") -> Value:
    return b.triangular_solve(a, x, left_side=left, lower=lower, transpose=transpose)


def cholesky_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """``L phi(L^-1 dA L^-H)``, where phi takes the lower triangle and half the diagonal (arXiv:1602.07527). What is not
    read of the operand does not count of its tangent."""
    (da,), (factor,) = tangents, results
    if da is None:
        return None
    if not call["lower"]:
        da, factor = _adjoint(b, da), _adjoint(b, factor)
    read = _half_lower(b, da)
    whole = b.add(read, _adjoint(b, read))
    inner = _solve(b, factor, whole, left=False, lower=True, transpose="ADJOINT")
    inner = _solve(b, factor, inner, left=True, lower=True)
    moved = _product(b, factor, _half_lower(b, inner))
    return moved if call["lower"] else _adjoint(b, moved)


def triangular_solve_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """``op(A)^-1 (dB - op(dA) X)``, of dA the triangle that is read; the same from the right."""
    (a, _), (da, right), (x,) = primals, tangents, results
    if da is not None:
        direction = ("G" if call["lower"] else "L") + ("T" if call["unit_diagonal"] else "E")
        part = _part(b, da, direction)
        if call["transpose"] == "ADJOINT":
            part = conjugate(b, part)
        turned = call["transpose"] != "NO_TRANSPOSE"
        if call["left_side"]:
            product = _product(b, part, x, transpose_x=turned)
        else:
            product = _product(b, x, part, transpose_y=turned)
        right = b.negate(product) if right is None else b.subtract(right, product)
    return None if right is None else same_op(b, call, [a, right])


def triangular_solve_transpose(
    b: Builder, call: Call, cotangent: Tangent, a: Value, right: Linear
) -> tuple[None, Tangent]:
    """A solve with the matrix transposed."""
    if cotangent is None:
        return None, None
    transpose = "TRANSPOSE" if call["transpose"] == "NO_TRANSPOSE" else "NO_TRANSPOSE"
    if call["transpose"] == "ADJOINT":
        a = conjugate(b, a)
    return None, b.emit("triangular_solve", (a, cotangent), {**call.attributes, "transpose": transpose})[0]


def qr_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> tuple[Tangent, Tangent]:
    """Of a matrix with no more columns than rows as j-towns.github.io/papers/qr-derivative.pdf; of a wide one by its
    square part; of all columns of a square ``q`` as arXiv:2409.13374."""
    (a,), (da,), (q, r) = primals, tangents, results
    if da is None:
        return None, None
    m, n = a.shape[-2:]
    if ge(m, n) is True:
        if not call["full"] or same(m, n) is True:
            return _thin_qr(b, q, r, da)
        return _full_qr(b, q, r, da)
    if ge(n, m) is not True:
        raise DifferentiationError(
            f"qr of {a.type} has no derivative, since it is not known whether there are more rows or columns; give one "
            "of them a size"
        )
    moved_q, moved_r = _thin_qr(b, q, _columns(b, r, 0, m), _columns(b, da, 0, m))
    rest = b.add(
        _product(b, _adjoint(b, moved_q), _columns(b, a, m, n)), _product(b, _adjoint(b, q), _columns(b, da, m, n))
    )
    return moved_q, b.concatenate(moved_r, rest, axis=r.rank - 1)


def _thin_qr(b: Builder, q: Value, r: Value, da: Value) -> tuple[Value, Value]:
    scaled = _solve(b, r, da, left=False, lower=False)
    inner = _product(b, _adjoint(b, q), scaled)
    below = _part(b, inner, "GT")
    turn = b.subtract(below, _adjoint(b, below))
    if is_complex(q.dtype):  # a diagonal of r stays real
        imaginary = b.imag(inner)
        diagonal = b.complex(b.full_like(imaginary, 0), imaginary)
        turn = b.add(turn, _part(b, diagonal, "EQ"))
    rest = b.subtract(inner, turn)
    return b.subtract(scaled, _product(b, q, rest)), _product(b, rest, r)


def _full_qr(b: Builder, q: Value, r: Value, da: Value) -> tuple[Value, Value]:
    m, n = da.shape[-2:]
    tall, more = _columns(b, q, 0, n), _columns(b, q, n, m)
    moved, moved_r = _thin_qr(b, tall, _rows(b, r, 0, n), da)
    top = _rows(b, tall, 0, n)
    identity = b.astype(_places(b, top, "EQ"), top.dtype)
    # Z with Z (top - 1) = bottom, by a factorization of the adjoint.
    left, right = b.qr(_adjoint(b, b.subtract(top, identity)))
    bottom = _adjoint(b, _rows(b, tall, n, m))
    z_adjoint = _solve(b, right, _product(b, _adjoint(b, left), bottom), left=True, lower=False)
    z = _adjoint(b, z_adjoint)
    change = b.subtract(_rows(b, moved, n, m), _product(b, z, _rows(b, moved, 0, n)))
    turned = _product(b, b.add(tall, _product(b, more, z)), _adjoint(b, change))
    moved_more = b.subtract(_product(b, moved, z_adjoint), turned)
    none, rest = [0] * r.rank, [0] * r.rank
    rest[-2] = m - n  # type: ignore[assignment]
    below = b.pad(moved_r, b.constant(0, r.dtype), low=none, high=rest, interior=none)
    return b.concatenate(moved, moved_more, axis=q.rank - 1), below


def _rows(b: Builder, x: Value, start: DimLike, limit: DimLike) -> Value:
    return _cut(b, x, x.rank - 2, start, limit)


def _columns(b: Builder, x: Value, start: DimLike, limit: DimLike) -> Value:
    return _cut(b, x, x.rank - 1, start, limit)


def _cut(b: Builder, x: Value, axis: int, start: DimLike, limit: DimLike) -> Value:
    starts: list[DimLike] = [0] * x.rank
    limits = list(x.shape)
    starts[axis], limits[axis] = start, limit
    return b.slice(x, start=starts, limit=limits, strides=(1,) * x.rank)


# By elimination.


def permuted(b: Builder, x: Value, order: Value) -> Value:
    """The rows of matrices ``x`` [..., m, n] that ``order`` [..., k] names."""
    batch = tuple(range(x.rank - 2))
    last = len(batch)
    return b.gather(
        x,
        b.reshape(order, shape=(*order.shape, 1)),
        offset_dims=(last + 1,),
        collapsed_slice_dims=(last,),
        operand_batching_dims=batch,
        start_indices_batching_dims=batch,
        start_index_map=(last,),
        index_vector_dim=last + 1,
        slice_sizes=(*(min_dim(d, 1) for d in x.shape[:-1]), x.shape[-1]),
    )


def unpermuted(b: Builder, x: Value, order: Value) -> Value:
    """Undo ``permuted`` by an ``order`` of all rows."""
    shape = (*order.shape, order.shape[-1])
    row, column = (b.iota(dtype=I32, shape=shape, axis=order.rank - i) for i in (1, 0))
    found = b.compare(b.expand(order, shape, (order.rank,)), column, direction="EQ")
    return permuted(b, x, b.reduce_sum(b.select(found, row, b.full_like(row, 0)), axes=(order.rank - 1,)))


def diagonal(b: Builder, x: Value) -> Value:
    """The diagonals of square matrices, as vectors."""
    return b.reduce_sum(_part(b, x, "EQ"), axes=(x.rank - 1,))


def lu_parity(b: Builder, pivots: Value, dtype: np.dtype) -> Value:
    """The determinant of the permutation of ``lu``: -1 for each row that was exchanged with another."""
    own = b.iota(dtype=I32, shape=pivots.shape, axis=pivots.rank - 1)
    moved = b.astype(b.compare(pivots, own, direction="NE"), I32)
    count = b.reduce_sum(moved, axes=(pivots.rank - 1,))
    odd = b.compare(b.and_(count, b.full_like(count, 1)), b.full_like(count, 1), direction="EQ")
    return b.select(odd, b.full(count.shape, -1, dtype), b.full(count.shape, 1, dtype))


def _identity(b: Builder, x: Value) -> Value:
    """The identity of the type of square matrices."""
    return b.astype(_places(b, x, "EQ"), x.dtype)


def lu_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> tuple[Tangent, None, None]:
    """``L below(F) + upto(F) U`` with ``F = L^-1 P dA U^-1``: from ``P dA = dL U + L dU``, F is ``L^-1 dL + dU U^-1``,
    the first strictly lower, the second upper triangular. Where the matrix is not square, L and U are continued to
    square ones by those of the identity."""
    (da,), (factors, _, order) = tangents, results
    if da is None:
        return None, None, None
    m, n = factors.shape[-2:]
    lower = _resized(b, factors, 0, m - n)  # [m, m]; its diagonal is not read
    upper = _resized(b, factors, n - m, 0)
    if ge(m, n) is not True:
        beyond = b.compare(
            b.iota(dtype=I32, shape=upper.shape, axis=upper.rank - 2), _filled(b, upper.shape, m, I32), direction="GE"
        )
        upper = b.select(b.and_(beyond, _places(b, upper, "EQ")), b.full_like(upper, 1), upper)
    inner = b.triangular_solve(lower, permuted(b, da, order), lower=True, unit_diagonal=True)
    inner = _solve(b, upper, inner, left=False, lower=False)
    below, upto = _part(b, inner, "GT"), _part(b, inner, "LE")
    moved_lower = b.add(below, _product(b, _part(b, lower, "GT"), below))
    return b.add(moved_lower, _product(b, upto, _part(b, upper, "LE"))), None, None


def _resized(b: Builder, x: Value, rows: DimLike, columns: DimLike) -> Value:
    """Matrices with so many more, or fewer, rows and columns at the end; zeros there."""
    if same(rows, 0) is True and same(columns, 0) is True:
        return x
    none = [0] * x.rank
    high = [*none[2:], rows, columns]
    return b.pad(x, b.constant(0, x.dtype), low=none, high=high, interior=none)


def lu_solve_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """``op(A)^-1 (dB - op(dA) X)``; the factors, being those of A, count with it."""
    (da, _, _, right), (x,) = tangents, results
    if da is not None:
        product = _product(b, da, x, transpose_x=call["transpose"])
        right = b.negate(product) if right is None else b.subtract(right, product)
    return None if right is None else same_op(b, call, [*primals[:3], right])


def lu_solve_transpose(
    b: Builder, call: Call, cotangent: Tangent, a: Value, factors: Value, order: Value, right: Linear
) -> tuple[None, None, None, Tangent]:
    """A solve with the matrix transposed, by the same factors."""
    if cotangent is None:
        return None, None, None, None
    return None, None, None, b.lu_solve(a, factors, order, cotangent, transpose=not call["transpose"])


def _sum_of_products(b: Builder, x: Value, y: Value) -> Value:
    return b.reduce_sum(b.multiply(x, y), axes=(x.rank - 2, x.rank - 1))


def slogdet_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> tuple[Tangent, Tangent]:
    """``d log det A = trace(A^-1 dA)`` (Jacobi's formula): its real part is the logarithm's, its imaginary part turns
    the sign."""
    (a,), (da,), (sign, _) = primals, tangents, results
    if da is None:
        return None, None
    factors, _, order = b.lu(a)
    inverse = b.lu_solve(a, factors, order, _identity(b, a), transpose=True)
    change = _sum_of_products(b, inverse, da)
    if not is_complex(a.dtype):
        return None, change
    imaginary = b.imag(change)
    return b.multiply(sign, b.complex(b.full_like(imaginary, 0), imaginary)), b.real(change)


def det_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """``d det A = trace(adj(A) dA)`` (Jacobi's formula), where the adjugate exists without the inverse.

    With ``U = [[V, u], [0, w]]`` it is ``det P det V [[V^-1, 0], [0, 1]] [[w, -u], [0, 1]] L^-1 P``, which does not
    divide by the last pivot: so it holds for singular matrices too, as long as the others are not zero. Where one is,
    the derivative is zero, as it is of every matrix of rank n - 2 and less (and as jax.numpy.linalg.det has it of all).
    """
    (a,), (da,) = primals, tangents
    return None if da is None else _sum_of_products(b, _cofactors(b, a), da)


def _cofactors(b: Builder, a: Value) -> Value:
    """The transpose of the adjugate: ``P^T L^-T [[w, 0], [-u^T, 1]] [[V^-T, 0], [0, 1]]``, times det P det V."""
    factors, pivots, order = b.lu(a)
    last_index = _filled(b, a.shape, a.shape[-1] - 1, I32)
    row, column = (b.iota(dtype=I32, shape=a.shape, axis=a.rank - i) for i in (2, 1))
    last_row, last_column = (b.compare(i, last_index, direction="EQ") for i in (row, column))
    zero, one = b.full_like(a, 0), b.full_like(a, 1)
    corner = b.and_(last_row, last_column)
    places = _places(b, a, "EQ")

    # The pivots but the last; where one of them is zero, ones stand in, so that nothing divides by it.
    pivot = b.select(places, b.select(corner, one, factors), one)
    usable = b.reduce_all(b.compare(pivot, zero, direction="NE"), axes=(a.rank - 2, a.rank - 1))
    everywhere = b.expand(usable, a.shape, (a.rank - 2, a.rank - 1))
    inner = b.select(b.or_(last_row, last_column), zero, factors)
    inner = b.select(b.and_(places, b.or_(corner, b.not_(everywhere))), one, inner)

    number = b.multiply(
        b.reduce_prod(diagonal(b, b.select(corner, one, factors)), axes=(a.rank - 2,)), lu_parity(b, pivots, a.dtype)
    )
    w = b.reduce_sum(b.select(corner, factors, zero), axes=(a.rank - 2, a.rank - 1))
    u = b.select(b.and_(last_column, b.not_(last_row)), factors, zero)

    # Rows of Z = [[V^-T, 0], [0, 1]]: all but the last times w, and the last less u^T Z.
    z = b.triangular_solve(inner, _identity(b, a), lower=False, transpose="TRANSPOSE")
    scaled = b.multiply(z, b.expand(w, a.shape, (a.rank - 2, a.rank - 1)))
    y = b.subtract(b.select(last_row, z, scaled), _product(b, u, z, transpose_x=True))
    y = b.triangular_solve(factors, y, lower=True, unit_diagonal=True, transpose="TRANSPOSE")
    return b.multiply(unpermuted(b, y, order), b.expand(number, a.shape, (a.rank - 2, a.rank - 1)))
