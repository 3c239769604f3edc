"""How far results are from the reference: absolute, relative, in units in the last place."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from ...ir.types import is_complex, is_float


@dataclass(frozen=True)
class Difference:
    """The largest differences between a result and the reference, over all elements.

    Attributes:
        absolute: ``max |a - b|``.
        relative: ``max |a - b| / max |b|``.
        ulp: ``max (|a - b| / unit of b)``, a unit being that of the last place of the result's type.
        place: index of the element with the largest absolute difference.
    """

    absolute: float
    relative: float
    ulp: float
    place: tuple[int, ...] = ()


def difference(result: np.ndarray, reference: np.ndarray) -> Difference:
    """Compare a result with the reference, which may have a wider type.

    NaN equals NaN, and an infinity itself; where only one of the two is such a number, or shapes differ, all is inf.
    """
    if result.shape != reference.shape:
        return Difference(np.inf, np.inf, np.inf)
    if not result.size:
        return Difference(0.0, 0.0, 0.0)
    a, b = _in_64_bits(result), _in_64_bits(reference)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (np.asarray(result == reference) if _is_exact(result.dtype) else a == b) | (np.isnan(a) & np.isnan(b))
        error = np.abs(a - b)
        least = 1.0 if _is_exact(result.dtype) else 0.0  # integers beyond 2**53 may differ by less than float64 shows
        error = np.where(same, 0.0, np.where(np.isnan(error), np.inf, np.maximum(error, least)))
        size = np.abs(b)
    finite = np.where(np.isfinite(size), size, 0.0)
    absolute, largest = float(error.max()), float(finite.max())
    relative = 0.0 if not absolute else absolute / largest if largest else np.inf
    ulp = float((error / _unit(finite, result.dtype)).max())
    return Difference(absolute, relative, ulp, tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape)))


def _is_exact(dtype: np.dtype) -> bool:
    return not (is_float(dtype) or is_complex(dtype))


def _in_64_bits(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if is_complex(array.dtype) else np.float64)


def _unit(size: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """One unit in the last place of numbers of this magnitude: 1 for integers."""
    if _is_exact(dtype):
        return np.ones_like(size)
    limits = ml_dtypes.finfo(np.empty(0, dtype).real.dtype if is_complex(dtype) else dtype)
    return 2.0 ** np.floor(np.log2(np.maximum(size, float(limits.smallest_normal)))) * float(limits.eps)
