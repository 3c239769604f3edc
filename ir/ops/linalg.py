"""Ops: linalg. Computed in double precision and rounded to the element type at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..batching import linalg as batching
from ..derivatives import linalg as derivatives
from ..dims import ge, min_dim, same
from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..types import F32, F64, TensorType, element_type, is_complex, static_shape
from .checks import allowed_types, operand_count

_COMPLEX_OF = {F32: element_type("c64"), F64: element_type("c128")}
_REAL_OF = {c: r for r, c in _COMPLEX_OF.items()}
_KINDS = ("FFT", "IFFT", "RFFT", "IRFFT")
_TRANSPOSES = ("NO_TRANSPOSE", "TRANSPOSE", "ADJOINT")


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.complex128 if is_complex(x.dtype) else np.float64)


def _infer_fft(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    x = types[0]
    kind, length = call["kind"], call["length"]
    if kind not in _KINDS:
        raise ArgumentError(f"fft: kind should be one of {', '.join(_KINDS)}, received {kind!r}")
    if not 1 <= len(length) <= 3 or x.rank < len(length) or any(ge(n, 0) is False for n in length):
        raise ArgumentError(
            f"fft: length should hold the sizes of the last 1 to 3 dimensions of {x}, received {length}"
        )
    accepted = _COMPLEX_OF if kind == "RFFT" else _REAL_OF
    if x.dtype not in accepted:
        raise DTypeError(f"fft: {kind} takes {'f32 or f64' if kind == 'RFFT' else 'c64 or c128'}, received {x}")
    half = (*length[:-1], length[-1] // 2 + 1 if same(length[-1], 0) is not True else 0)
    received, expected = x.shape[x.rank - len(length) :], half if kind == "IRFFT" else length
    if any(same(a, b) is False for a, b in zip(received, expected, strict=True)):
        raise ShapeError(f"fft: {kind} of length {length} takes {tuple(expected)} as last dimensions, received {x}")
    if kind in ("FFT", "IFFT"):
        return x
    return TensorType(accepted[x.dtype], (*x.shape[: x.rank - len(length)], *(half if kind == "RFFT" else length)))


def _evaluate_fft(call: Call, x: np.ndarray) -> np.ndarray:
    result = call.result_types[0]
    if x.size == 0 or result.size == 0:
        return np.zeros(static_shape(result), result.dtype)
    transform: Any = getattr(np.fft, call["kind"].lower() + "n")
    length = call["length"]
    return transform(_wide(x), s=length, axes=tuple(range(-len(length), 0))).astype(result.dtype)


FFT = declare(
    OpDef(
        "fft",
        "The Fourier transform of the last 1 to 3 dimensions, its inverse, and both for real signals (StableHLO: fft)",
        _infer_fft,
        _evaluate_fft,
        {"kind": Attribute("str"), "length": Attribute("dims")},
        jvp=derivatives.linear,
        transpose=derivatives.fft_transpose,
        batch=batching.elementwise,
    )
)


def _check_square(call: Call, a: TensorType) -> None:
    allowed_types(call, a, "fc")
    if a.rank < 2 or same(a.shape[-1], a.shape[-2]) is False:
        raise ShapeError(f"{call.op.name}: expected square matrices in the last two dimensions, received {a}")


def _infer_cholesky(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    a = types[0]
    _check_square(call, a)
    return a


def _evaluate_cholesky(call: Call, a: np.ndarray) -> np.ndarray:
    wide = _wide(a)
    lower = np.tril(wide) if call["lower"] else _adjoint(np.triu(wide))
    result = np.empty_like(lower)
    for place in np.ndindex(a.shape[:-2]):
        try:
            result[place] = np.linalg.cholesky(lower[place])  # reads the lower triangle only
        except np.linalg.LinAlgError:
            result[place] = np.nan
    return (result if call["lower"] else _adjoint(result)).astype(a.dtype)


def _adjoint(a: np.ndarray) -> np.ndarray:
    return np.swapaxes(a, -1, -2).conj()


CHOLESKY = declare(
    OpDef(
        "cholesky",
        "The triangular factor of a positive definite matrix, of which one triangle is read; the other one of "
        "the result "
        "is zero, and all is NaN where it is not positive definite (StableHLO: cholesky)",
        _infer_cholesky,
        _evaluate_cholesky,
        {"lower": Attribute("bool", True)},
        jvp=derivatives.cholesky_jvp,
        batch=batching.elementwise,
    )
)


def _infer_triangular_solve(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 2)
    a, b = types
    _check_square(call, a)
    if call["transpose"] not in _TRANSPOSES:
        raise ArgumentError(
            f"triangular_solve: transpose should be one of {', '.join(_TRANSPOSES)}, received {call['transpose']!r}"
        )
    if b.dtype != a.dtype:
        raise DTypeError(f"triangular_solve: both operands should have one element type, received {a} and {b}")
    if b.rank != a.rank or any(same(p, q) is False for p, q in zip(a.shape[:-2], b.shape[:-2], strict=True)):
        raise ShapeError(f"triangular_solve: batch dimensions of both operands should be equal, received {a} and {b}")
    axis = -2 if call["left_side"] else -1
    if same(a.shape[-1], b.shape[axis]) is False:
        raise ShapeError(
            f"triangular_solve: dimension {axis} of the right side should be {a.shape[-1]}, as in {a}; received {b}"
        )
    return b


def _evaluate_triangular_solve(call: Call, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    matrix = np.tril(_wide(a)) if call["lower"] else np.triu(_wide(a))
    if call["unit_diagonal"]:
        n = a.shape[-1]
        matrix[..., range(n), range(n)] = 1
    lower = call["lower"]
    if call["transpose"] != "NO_TRANSPOSE":
        matrix, lower = np.swapaxes(matrix, -1, -2), not lower
    if call["transpose"] == "ADJOINT":
        matrix = matrix.conj()
    x = _wide(b)
    if not call["left_side"]:  # X A = B is A^T X^T = B^T
        matrix, lower, x = np.swapaxes(matrix, -1, -2), not lower, np.swapaxes(x, -1, -2)
    solved = _substitute(matrix, x.copy(), lower)
    return (solved if call["left_side"] else np.swapaxes(solved, -1, -2)).astype(b.dtype)


def _substitute(matrix: np.ndarray, x: np.ndarray, lower: bool) -> np.ndarray:
    """Solve ``matrix @ result = x`` row by row; overwrites ``x``."""
    n = matrix.shape[-1]
    for i in range(n) if lower else reversed(range(n)):
        done = slice(0, i) if lower else slice(i + 1, n)
        known = np.matmul(matrix[..., i : i + 1, done], x[..., done, :])[..., 0, :]
        x[..., i, :] = (x[..., i, :] - known) / matrix[..., i, i, np.newaxis]
    return x


TRIANGULAR_SOLVE = declare(
    OpDef(
        "triangular_solve",
        "Solve op(a) x = b, or x op(a) = b, with a triangular, of which one triangle is read (StableHLO: "
        "triangular_solve)",
        _infer_triangular_solve,
        _evaluate_triangular_solve,
        {
            "left_side": Attribute("bool", True),
            "lower": Attribute("bool", True),
            "unit_diagonal": Attribute("bool", False),
            "transpose": Attribute("str", "NO_TRANSPOSE"),
        },
        jvp=derivatives.triangular_solve_jvp,
        transpose=derivatives.triangular_solve_transpose,
        batch=batching.triangular_solve,
    )
)


def _infer_qr(call: Call, *types: TensorType) -> tuple[TensorType, TensorType]:
    operand_count(call, types, 1)
    a = types[0]
    allowed_types(call, a, "fc")
    if a.rank < 2:
        raise ShapeError(f"qr: expected matrices in the last two dimensions, received {a}")
    *batch, m, n = a.shape
    k = m if call["full"] else min_dim(m, n)
    return a.with_shape((*batch, m, k)), a.with_shape((*batch, k, n))


def _evaluate_qr(call: Call, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q, r = np.linalg.qr(_wide(a), mode="complete" if call["full"] else "reduced")
    return q.astype(a.dtype), r.astype(a.dtype)


QR = declare(
    OpDef(
        "qr",
        "Orthogonal times upper triangular, by Householder reflections with LAPACK's signs (jax.lax.linalg.qr)",
        _infer_qr,
        _evaluate_qr,
        {"full": Attribute("bool", False)},
        jvp=derivatives.qr_jvp,
        batch=batching.elementwise,
    )
)
