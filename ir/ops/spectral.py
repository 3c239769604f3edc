"""Ops: eigenvalues and singular values. Computed in double precision and rounded to the element type at the end.

Vectors are unique but for a factor, which the ops fix: the leading element of each column, which is the first one of
at least :data:`LEADING` times the greatest size, is positive.
"""

from __future__ import annotations

import numpy as np

from ..batching import linalg as batching
from ..derivatives import spectral as derivatives
from ..dims import min_dim, same
from ..errors import DTypeError, ShapeError
from ..opdef import Call, NotDifferentiable, OpDef, declare
from ..types import F32, F64, TensorType, element_type
from .checks import operand_count

#: Below 1, so that of elements of one size the first is taken, however they are rounded.
LEADING = 0.99
_COMPLEX_OF = {F32: element_type("c64"), F64: element_type("c128")}


def _check(call: Call, types: tuple[TensorType, ...], square: bool) -> TensorType:
    operand_count(call, types, 1)
    a = types[0]
    if a.dtype not in _COMPLEX_OF:
        raise DTypeError(f"{call.op.name} takes f32 or f64, received {a}; convert it first")
    if a.rank < 2 or (square and same(a.shape[-1], a.shape[-2]) is False):
        shown = "square matrices" if square else "matrices"
        raise ShapeError(f"{call.op.name}: expected {shown} in the last two dimensions, received {a}")
    return a


def factors(vectors: np.ndarray) -> np.ndarray:
    """What each column is to be multiplied by, so that its leading element is positive: 1 or -1, or a complex number of
    size 1."""
    if not vectors.size:
        return np.ones((*vectors.shape[:-2], 1, vectors.shape[-1]), vectors.dtype)
    size = np.abs(vectors)
    place = (size >= LEADING * size.max(-2, keepdims=True)).argmax(-2)
    leading = np.take_along_axis(vectors, place[..., np.newaxis, :], -2)
    return leading.conj() / np.abs(leading) if vectors.dtype.kind == "c" else np.where(leading < 0, -1.0, 1.0)


def _infer_eigh(call: Call, *types: TensorType) -> tuple[TensorType, TensorType]:
    a = _check(call, types, square=True)
    return a.with_shape(a.shape[:-1]), a


def _evaluate_eigh(call: Call, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(a.astype(np.float64), "L") if np.isfinite(a).all() else _nans(a, a[..., 0], a)
    return values.astype(a.dtype), (vectors * factors(vectors)).astype(a.dtype)


def _nans(a: np.ndarray, *like: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.full(x.shape, np.nan, a.dtype) for x in like)


EIGH = declare(
    OpDef(
        "eigh",
        "The eigenvalues of a symmetric matrix, of which the lower triangle is read, in rising order; and the "
        "eigenvectors as columns, the leading element of each positive (jax.lax.linalg.eigh)",
        _infer_eigh,
        _evaluate_eigh,
        jvp=derivatives.eigh_jvp,
        batch=batching.elementwise,
    )
)


def _infer_svd(call: Call, *types: TensorType) -> tuple[TensorType, TensorType, TensorType]:
    a = _check(call, types, square=False)
    *batch, m, n = a.shape
    k = min_dim(m, n)
    return a.with_shape((*batch, m, k)), a.with_shape((*batch, k)), a.with_shape((*batch, k, n))


def _evaluate_svd(call: Call, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not np.isfinite(a).all():
        k = min(a.shape[-2:])
        return _nans(a, a[..., :, :k], a[..., :k, 0], a[..., :k, :])  # type: ignore[return-value]
    u, s, v = np.linalg.svd(a.astype(np.float64), full_matrices=False)
    signs = factors(u)
    return (u * signs).astype(a.dtype), s.astype(a.dtype), (v * np.swapaxes(signs, -1, -2)).astype(a.dtype)


SVD = declare(
    OpDef(
        "svd",
        "u, s and v with a = u diag(s) v: singular values in falling order, as many as the shorter side has; the "
        "leading element of each column of u is positive (jax.lax.linalg.svd)",
        _infer_svd,
        _evaluate_svd,
        jvp=derivatives.svd_jvp,
        batch=batching.elementwise,
    )
)


def _infer_eig(call: Call, *types: TensorType) -> tuple[TensorType, TensorType]:
    a = _check(call, types, square=True)
    complex_ = TensorType(_COMPLEX_OF[a.dtype], a.shape)
    return complex_.with_shape(a.shape[:-1]), complex_


def _evaluate_eig(call: Call, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dtype = call.result_types[0].dtype
    if not np.isfinite(a).all():
        return np.full(a.shape[:-1], np.nan, dtype), np.full(a.shape, np.nan, dtype)
    values, vectors = np.linalg.eig(a.astype(np.float64))
    vectors = vectors.astype(np.complex128)
    return values.astype(dtype), (vectors * factors(vectors)).astype(dtype)


EIG = declare(
    OpDef(
        "eig",
        "The eigenvalues of a matrix, in LAPACK's order, and the eigenvectors as columns of length 1, the leading "
        "element of each real and positive (jax.lax.linalg.eig)",
        _infer_eig,
        _evaluate_eig,
        jvp=NotDifferentiable("use eigh where the matrix is symmetric"),
        batch=batching.elementwise,
    )
)
