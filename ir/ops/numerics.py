"""NumPy arithmetic with the IR's meaning: how narrow types compute, wrap, round and saturate.

Arithmetic on types narrower than float32 runs in float32, functions of types narrower than float64 run in float64, and
the result is rounded to the type. Integers wrap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..types import BOOL, F32, F64, bit_width, is_float, is_integer, is_unsigned
from .checks import family

C64, C128 = np.dtype(np.complex64), np.dtype(np.complex128)


def widened(dtype: np.dtype) -> np.dtype:
    """The NumPy type that arithmetic on ``dtype`` runs in."""
    if is_float(dtype) and dtype.itemsize < 4:
        return F32
    if is_integer(dtype) and bit_width(dtype) < 8:
        return np.dtype(np.uint8 if is_unsigned(dtype) else np.int8)
    return dtype


def precise(dtype: np.dtype) -> np.dtype:
    """The NumPy type that functions of ``dtype`` run in."""
    return {"f": F64, "c": C128}.get(family(dtype), widened(dtype))


def narrow(array: Any, dtype: np.dtype) -> np.ndarray:
    """Round floats, wrap integers to ``dtype``."""
    array = np.asarray(array)
    if is_integer(dtype) and bit_width(dtype) < 8:
        width = bit_width(dtype)
        low, sign = array.astype(np.int8) & (2**width - 1), 2 ** (width - 1)
        return (low if is_unsigned(dtype) else (low ^ sign) - sign).astype(dtype)
    if array.dtype == F64 and widened(dtype) == F32:
        array = array.astype(F32) if dtype.itemsize > 1 else to_odd_f32(array)  # halves round twice, as in XLA
    return array.astype(dtype)


def to_odd_f32(array: np.ndarray) -> np.ndarray:
    """float64 to float32 with an odd last bit where inexact, so that a second rounding gives what one would."""
    near = array.astype(F32)
    back = near.astype(F64)
    toward_zero = np.where(np.abs(back) > np.abs(array), np.nextafter(near, F32.type(0)), near).astype(F32)
    odd = (toward_zero.view(np.uint32) | 1).view(F32)
    return np.where((back == array) | ~np.isfinite(array), near, odd)


def unsigned(dtype: np.dtype) -> np.dtype:
    """The unsigned integer of the same size in memory."""
    return np.dtype(f"u{dtype.itemsize}")


def pattern(x: np.ndarray) -> np.ndarray:
    """The bits as unsigned numbers."""
    if bit_width(x.dtype) < 8:
        held = x.astype(np.int8) if is_integer(x.dtype) or x.dtype == BOOL else np.ascontiguousarray(x)
        return held.view(np.uint8).reshape(x.shape) & np.uint8(2 ** bit_width(x.dtype) - 1)
    return np.ascontiguousarray(x).view(unsigned(x.dtype)).reshape(x.shape)


# Functions of one array.


def sign(x: np.ndarray) -> np.ndarray:
    """-1 or 1; zeros and NaN stay."""
    return np.where(np.isnan(x) | (x == 0), x, np.copysign(1, x))


def complex_sign(z: np.ndarray) -> np.ndarray:
    """Z / |z|, and 0 for 0."""
    size = np.abs(z)
    return np.where(np.isnan(size), complex(np.nan, np.nan), np.where(size == 0, 0, z / size))


def round_away(x: np.ndarray) -> np.ndarray:
    """Nearest whole number, ties away from zero."""
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1, x), whole).astype(x.dtype)


def cbrt(z: np.ndarray) -> np.ndarray:
    """Cube root, the principal one for complex numbers."""
    return np.where(z == 0, 0, np.exp(np.log(z) / 3)) if np.iscomplexobj(z) else np.cbrt(z)


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), real or complex."""
    return 1 / (1 + np.exp(-x))


# Functions of two arrays.


def integer_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quotient toward zero; all ones for x/0; INT_MIN/-1 wraps."""
    by_minus_one = b == -1 if a.dtype.kind == "i" else np.zeros_like(b, BOOL)
    safe = np.where((b == 0) | by_minus_one, 1, b).astype(a.dtype)
    quotient = a // safe
    quotient = quotient + ((quotient * safe != a) & ((a < 0) != (b < 0)))
    return np.where(b == 0, np.invert(np.zeros_like(a)), np.where(by_minus_one, np.negative(a), quotient))


def integer_remainder(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Remainder with the dividend's sign; x for x%0."""
    by_minus_one = b == -1 if a.dtype.kind == "i" else np.zeros_like(b, BOOL)
    safe = np.where((b == 0) | by_minus_one, 1, b).astype(a.dtype)
    return np.where(b == 0, a, np.fmod(a, safe))


def integer_power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Wrapping power by squaring; a negative exponent leaves 0, or the sign where |a| is 1."""
    result, square, left = np.ones_like(a), a, np.where(b < 0, 0, b)
    while np.any(left > 0):
        result = np.where(left & 1 == 1, result * square, result)
        square, left = square * square, left >> 1
    if a.dtype.kind == "u":
        return result
    small = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0))
    return np.where(b < 0, small, result)


def larger(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The larger, NaN where either is NaN; +0 above -0."""
    return np.where((a == b) & (a == 0), a + b, np.maximum(a, b))


def smaller(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smaller, NaN where either is NaN; -0 below +0."""
    return np.where((a == b) & (a == 0), -(-a - b), np.minimum(a, b))


def join(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """A complex array from its parts (``a + 1j * b`` would turn infinities into NaN)."""
    result = np.empty(real.shape, C64 if real.dtype == F32 else C128)
    result.real, result.imag = real, imaginary
    return result


def complex_atan2(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The angle by its formula with the complex logarithm."""
    return -1j * np.log((x + 1j * y) / np.sqrt(x * x + y * y))


# Order and conversion.


def ordinal(x: np.ndarray) -> np.ndarray:
    """An integer in the total order of IEEE 754: -NaN < -inf < ... < -0 < +0 < ... < inf < NaN."""
    bits = np.ascontiguousarray(x).view(f"i{x.dtype.itemsize}").reshape(x.shape)
    return np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)


def float_to_integer(x: np.ndarray, target: np.dtype) -> np.ndarray:
    """Toward zero; saturates; NaN gives 0."""
    width = bit_width(target)
    low, high = (0, 2**width - 1) if is_unsigned(target) else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)
    inside = (x > low - 1) & (x < high + 1.0) if width < 64 else (x >= low) & (x < float(high))
    wide = np.dtype(np.uint64 if is_unsigned(target) else np.int64)
    whole = np.where(inside, x, 0).astype(wide)
    ends = np.where(x > 0, wide.type(high), wide.type(low))
    return narrow(np.where(np.isnan(x), wide.type(0), np.where(inside, whole, ends)), target)
