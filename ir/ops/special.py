"""Functions that NumPy lacks, on float64 arrays, accurate to a few ULP."""

from __future__ import annotations

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])
erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # a pole (0, -1, -2 ...), or beyond float64
        return math.inf


lgamma = np.vectorize(_lgamma, otypes=[np.float64])


def erf_inv(x: np.ndarray) -> np.ndarray:
    """The y with ``erf(y) == x``: a rational guess (Winitzki), then Newton's method on erfc of the distance to 1."""
    size = np.minimum(np.abs(x), 1)
    rest = 1 - size
    log = np.log(np.maximum(rest * (1 + size), 1e-300))
    half = 2 / (math.pi * 0.147) + log / 2
    y = np.sqrt(np.maximum(np.sqrt(half * half - log / 0.147) - half, 0))
    for _ in range(4):
        error = np.where(size < 0.5, size - erf(y), erfc(y) - rest)
        y = y + error * (math.sqrt(math.pi) / 2) * np.exp(np.minimum(y * y, 700))
    y = np.where(size < 1e-8, size * (math.sqrt(math.pi) / 2), y)
    y = np.where(np.abs(x) == 1, np.inf, y)
    return np.where((np.abs(x) > 1) | np.isnan(x), np.nan, np.copysign(y, x))


#: B_2k / 2k: the asymptotic series is log(x) - 1/2x - sum of these / x^2k.
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def digamma(x: np.ndarray) -> np.ndarray:
    """Recurrence up to 10, then the asymptotic series; reflection below 1/2. NaN at the poles."""
    reflected = np.where(x < 0.5, 1 - x, x)
    shift, large = np.zeros_like(reflected), reflected
    for _ in range(10):
        small = large < 10
        shift = shift + np.where(small, 1 / large, 0)
        large = np.where(small, large + 1, large)
    series, square = np.zeros_like(large), 1 / (large * large)
    for coefficient in reversed(_DIGAMMA):
        series = square * (coefficient + series)
    value = np.where(np.isposinf(large), np.inf, np.log(large) - 0.5 / large - series - shift)
    fraction = x - np.rint(x)  # tan(pi x) of the exact remainder
    value = np.where(x < 0.5, value - math.pi / np.tan(math.pi * fraction), value)
    return np.where((x <= 0) & (fraction == 0) | np.isneginf(x), np.nan, value)
