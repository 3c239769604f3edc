"""Eigenvalues, singular values, and what these say, of matrices in the last two axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.errors import ShapeError
from ...ir.types import element_type
from ..convert import as_tensor, broadcast_to, cast, emit, match_shape, promote_float
from ..dispatch import public_op
from ..tensor import Tensor
from ..trace import require_trace
from . import building as b
from .building import square_matrices
from .product import matrix_product


def _matrices(x: Any, op: str) -> Tensor:
    x = b.as_float(x)
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected matrices in the last two axes, received {x!r}")
    return x


def _wide(x: Tensor) -> Tensor:
    """Narrower floats as float32."""
    return cast(x, "float32") if element_type(x.dtype).itemsize < 4 else x


def _decomposed(op: str, x: Tensor) -> tuple[Tensor, ...]:
    results = require_trace().emit(op, (_wide(x),), {})
    return tuple(cast(r, x.dtype) for r in results)


@public_op(weak=False)
def eigh(x: Any) -> tuple[Tensor, Tensor]:
    """The eigenvalues of symmetric matrices in rising order, and the eigenvectors as columns, the first large element
    of each positive. Matrices are made symmetric first. Vectors of equal eigenvalues have no derivative."""
    x = square_matrices(x, "eigh")
    return _decomposed("eigh", b.multiply(b.add(x, b.transposed(x)), 0.5))  # type: ignore[return-value]


@public_op(weak=False)
def eig(x: Any) -> tuple[Tensor, Tensor]:
    """The eigenvalues of matrices and the eigenvectors as columns, as complex numbers. It has no derivative, and XLA
    has it on the CPU only."""
    return require_trace().emit("eig", (_wide(square_matrices(x, "eig")),), {})  # type: ignore[return-value]


@public_op(weak=False)
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """``u``, ``s`` and ``v`` with ``x = u @ diag(s) @ v``; singular values are in falling order, and the first large
    element of each column of ``u`` is positive.

    Args:
        full_matrices: make ``u`` and ``v`` square.
        compute_uv: False gives ``s`` alone.
    """
    u, s, v = _decomposed("svd", _matrices(x, "svd"))
    if not compute_uv:
        return s
    return (_completed(u), s, b.transposed(_completed(b.transposed(v)))) if full_matrices else (u, s, v)


def _completed(vectors: Tensor) -> Tensor:
    """Columns of length 1 at right angles, and as many more as make a square."""
    *_, m, k = b.shape_of(vectors)
    if m == k:
        return vectors
    q, _ = require_trace().emit("qr", (vectors,), {"full": True})
    return b.concatenate([vectors, b.cut(q, vectors.ndim - 1, k, m)], vectors.ndim - 1)


def _precision(x: Tensor, op: str) -> float:
    """The machine's precision times the longer side: what a singular value is uncertain by, beside the greatest."""
    sides = [b.static_dim(d, op, "a side of the matrices") for d in b.shape_of(x)[-2:]]
    return max(sides) * float(np.finfo(element_type(_wide(x).dtype)).eps)


@public_op(weak=False)
def matrix_rank(x: Any, tol: Any = None) -> Tensor:
    """The number of singular values above ``tol``, as int32; by default above the greatest one times the longer side
    times the machine's precision."""
    x = _matrices(x, "matrix_rank")
    s = _decomposed("svd", x)[1]
    last = (s.ndim - 1,)
    if tol is None:
        greatest = b.reduce("reduce_max", s, last, True)
        least = b.multiply(greatest, _precision(x, "matrix_rank"))
    else:
        least = as_tensor(tol, s.dtype)
        least = b.reshape(least, (*b.shape_of(least), 1)) if least.ndim else least
    above = b.compare("GT", s, broadcast_to(least, b.shape_of(s)))
    return b.reduce("reduce_sum", cast(above, "int32"), last, False)


@public_op(weak=False)
def pinv(x: Any, rcond: float | None = None) -> Tensor:
    """The Moore-Penrose inverse. Singular values of at most ``rcond`` times the greatest one count as 0; by default 10
    times the longer side times the machine's precision."""
    x = _matrices(x, "pinv")
    return _pseudo_inverse(x, 10 * _precision(x, "pinv") if rcond is None else rcond)


def _pseudo_inverse(x: Tensor, rcond: float) -> Tensor:
    return cast(emit("pinv", _wide(x), rcond=float(rcond)), x.dtype)


@public_op(weak=False)
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Tensor:
    """The x of least length for which ``a x - b`` is shortest; ``b`` is a vector or a matrix.

    Args:
        rcond: singular values of ``a`` of at most this times the greatest one count as 0; by default the longer side
            times the machine's precision.
    """
    matrix, right = promote_float(a, b)
    return _least_squares(matrix, right, rcond)


def _least_squares(a: Tensor, right: Tensor, rcond: float | None) -> Tensor:
    vector = right.ndim == a.ndim - 1
    if vector:
        right = b.reshape(right, (*b.shape_of(right), 1))
    if a.ndim < 2 or right.ndim != a.ndim:
        raise ShapeError(
            f"lstsq: expected matrices and a right side of their rank, or one less; received {a!r}, {right!r}"
        )
    right = match_shape(right, (*b.shape_of(a)[:-1], b.shape_of(right)[-1]), "lstsq: rows of both sides must be equal")
    result = matrix_product(_pseudo_inverse(a, _precision(a, "lstsq") if rcond is None else rcond), right)
    return b.reshape(result, b.shape_of(result)[:-1]) if vector else result
