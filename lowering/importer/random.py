"""Rules for random numbers: bits by Threefry, with a key of its own for each operation.

The specification leaves the numbers of ``rng`` open; here they are the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.graph import Value
from ...ir.types import BOOL, F32, F64, bit_width, element_type, is_float
from .dynamic import target
from .reading import Source
from .scope import Rule, Scope

UI64 = element_type("ui64")
_MANTISSA = {64: 52, 32: 23}


def rng(s: Scope, op: Source, a: Value, b: Value, shape: Value) -> Value:
    """Uniform between two numbers, or normal of a mean and a deviation."""
    size, dtype = target(s, op, shape), a.dtype
    s.importer.draws += 1
    key = s.b.constant(np.array([0, s.importer.draws], np.uint32))
    low, high = (s.b.broadcast_to(v, size) for v in (a, b))
    if op.enum("rng_distribution") == "NORMAL":
        wide = F64 if dtype == F64 else F32
        u = _unit(s, key, size, wide)
        centered = s.b.subtract(s.b.add(u, u), s.b.full_like(u, np.nextafter(wide.type(1), wide.type(0))))
        normal = s.b.multiply(s.b.erf_inv(centered), s.b.full_like(u, np.sqrt(2)))
        return s.b.add(low, s.b.multiply(s.convert(normal, dtype), high))
    if is_float(dtype):
        wide = F64 if dtype == F64 else F32
        x, y = s.convert(low, wide), s.convert(high, wide)
        return s.convert(s.b.add(x, s.b.multiply(_unit(s, key, size, wide), s.b.subtract(y, x))), dtype)
    bits = s.b.threefry_bits(key, shape=size, dtype=UI64)
    if dtype == BOOL:
        return s.b.compare(s.b.and_(bits, s.b.full_like(bits, 1)), s.b.full_like(bits, 0), direction="NE")
    span = s.convert(s.b.subtract(high, low), UI64)
    return s.b.add(low, s.convert(s.b.remainder(bits, span), dtype))


def _unit(s: Scope, key: Value, shape: Sequence[Any], dtype: np.dtype) -> Value:
    """Floats in [0, 1): the mantissa's bits under the exponent of 1, less 1."""
    width = bit_width(dtype)
    bits = s.b.threefry_bits(key, shape=tuple(shape), dtype=element_type(f"ui{width}"))
    bits = s.b.shift_right_logical(bits, s.b.full_like(bits, width - _MANTISSA[width]))
    one = np.array(1, dtype).view(f"u{dtype.itemsize}")
    floats = s.b.bitcast_convert(s.b.or_(bits, s.b.full_like(bits, one)), dtype=dtype)
    return s.b.subtract(floats, s.b.full_like(floats, 1))


RULES: dict[str, Rule] = {"stablehlo.rng": rng}
