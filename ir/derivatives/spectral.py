"""Derivatives of eigenvalues and singular values, of real matrices.

Where two values are equal their vectors have no derivative: there it is infinite or NaN, as in jax.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import ge
from ..graph import Value
from ..opdef import Call
from .linalg import _adjoint, _half_lower, _places, diagonal
from .linalg import _product as product
from .rules import Tangent


def _along(b: Builder, vector: Value, like: Value, axis: int) -> Value:
    """A vector for each matrix, along axis -2 or -1 of it."""
    return b.broadcast_in_dim(vector, shape=like.shape, dims=(*range(like.rank - 2), like.rank + axis))


def _inverse(b: Builder, gaps: Value) -> Value:
    """``1 / gaps``, and 0 on the diagonals."""
    own = _places(b, gaps, "EQ")
    one = b.full_like(gaps, 1)
    return b.select(own, b.full_like(gaps, 0), b.divide(one, b.select(own, one, gaps)))


def eigh_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> tuple[Tangent, Tangent]:
    """``dw = diag(V^T dA V)``, ``dV = V (F * V^T dA V)`` with ``F = 1 / (w_j - w_i)`` (Giles 2008, section 3.1)."""
    (da,), (w, v) = tangents, results
    if da is None:
        return None, None
    read = _half_lower(b, da)
    turned = product(b, product(b, v, b.add(read, _adjoint(b, read)), transpose_x=True), v)
    gaps = b.subtract(_along(b, w, v, -1), _along(b, w, v, -2))
    return diagonal(b, turned), product(b, v, b.multiply(_inverse(b, gaps), turned))


def svd_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> tuple[Tangent, Tangent, Tangent]:
    """With ``P = U^T dA V`` and ``F = 1 / (s_j^2 - s_i^2)``: ``ds = diag(P)``, ``dU = U (F * (P S + S P^T))``, ``dV =
    V (F * (S P + P^T S))``, and what leaves the spans of ``U`` and ``V`` where one is not square (Giles 2008, section
    3.2; Townsend 2016)."""
    (a,), (da,), (u, s, vt) = primals, tangents, results
    if da is None:
        return None, None, None
    v = _adjoint(b, vt)
    p = product(b, product(b, u, da, transpose_x=True), v)
    row, column = _along(b, s, p, -1), _along(b, s, p, -2)
    f = _inverse(b, b.multiply(b.add(row, column), b.subtract(row, column)))
    ps, sp = b.multiply(p, row), b.multiply(p, column)
    du = product(b, u, b.multiply(f, b.add(ps, _adjoint(b, ps))))
    dv = product(b, v, b.multiply(f, b.add(sp, _adjoint(b, sp))))
    m, n = a.shape[-2:]
    if ge(n, m) is not True:
        du = b.add(du, _outside(b, u, product(b, da, v), s))
    if ge(m, n) is not True:
        dv = b.add(dv, _outside(b, v, product(b, da, u, transpose_x=True), s))
    return du, diagonal(b, p), _adjoint(b, dv)


def _outside(b: Builder, vectors: Value, moved: Value, s: Value) -> Value:
    """``(I - V V^T) moved / s``: the part that is in no span of ``vectors``."""
    inside = product(b, vectors, product(b, vectors, moved, transpose_x=True))
    return b.divide(b.subtract(moved, inside), _along(b, s, moved, -1))


def pinv_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """``-P dA P + P P^T dA^T (I - A P) + (I - P A) dA^T P^T P`` (Golub and Pereyra 1973): as long as the rank stays."""
    (a,), (da,), (p,) = primals, tangents, results
    if da is None:
        return None
    moved = product(b, product(b, p, da), p)
    rows = product(b, product(b, p, p, transpose_y=True), da, transpose_y=True)
    rows = b.subtract(rows, product(b, product(b, rows, a), p))
    columns = product(b, da, product(b, p, p, transpose_x=True), transpose_x=True)
    columns = b.subtract(columns, product(b, p, product(b, a, columns)))
    return b.subtract(b.add(rows, columns), moved)
