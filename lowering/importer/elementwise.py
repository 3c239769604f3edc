"""Rules for operations that work element by element."""

from __future__ import annotations

import numpy as np

from ...ir.graph import Value
from ...ir.types import BOOL, bit_width, element_type, is_complex, is_float
from .reading import Source
from .scope import Rule, Scope

# Operations that the graph has under the same name.
_SAME = (
    *("abs", "negate", "sign", "exponential", "exponential_minus_one", "log", "log_plus_one", "sqrt", "rsqrt", "cbrt"),
    *("sine", "cosine", "tan", "tanh", "logistic", "floor", "ceil", "round_nearest_even", "round_nearest_afz"),
    *("is_finite", "not", "popcnt", "count_leading_zeros", "real", "imag", "add", "subtract", "multiply", "divide"),
    *("remainder", "maximum", "minimum", "power", "atan2", "and", "or", "xor", "shift_left", "complex"),
    *("shift_right_arithmetic", "shift_right_logical"),
)


def same(name: str) -> Rule:
    """The rule of an operation that is the op ``name`` on operands of one shape."""

    def rule(s: Scope, op: Source, *values: Value) -> Value:
        return s.b.emit(name, s.agreed(values))[0]

    return rule


def compare(s: Scope, op: Source, a: Value, b: Value) -> Value:
    """The total order is one of floats."""
    a, b = s.agreed((a, b))
    total = op.enum("compare_type", "NOTYPE") == "TOTALORDER" and is_float(a.dtype)
    return s.b.compare(a, b, direction=op.enum("comparison_direction"), total_order=total)


def select(s: Scope, op: Source, predicate: Value, a: Value, b: Value) -> Value:
    """The predicate may be a scalar."""
    a, b = s.agreed((a, b))
    if predicate.rank:
        _, predicate = s.agreed((a, predicate))
    return s.b.select(predicate, a, b)


def clamp(s: Scope, op: Source, low: Value, x: Value, high: Value) -> Value:
    """The bounds may be scalars. Complex numbers have minimum and maximum, and so they have this."""
    low, high = (bound if bound.rank == 0 else s.agreed((x, bound))[1] for bound in (low, high))
    if not is_complex(x.dtype):
        return s.b.clamp(low, x, high)
    low, high = (s.b.broadcast_to(bound, x.shape) for bound in (low, high))
    return s.b.minimum(s.b.maximum(x, low), high)


def convert(s: Scope, op: Source, x: Value) -> Value:
    """A conversion to the same type is nothing."""
    return s.convert(x, op.dtype())


def bitcast_convert(s: Scope, op: Source, x: Value) -> Value:
    """The result's type says which; booleans are single bits."""
    target = op.dtype()
    if (x.dtype == BOOL) == (target == BOOL):
        return x if x.dtype == target else s.b.bitcast_convert(x, dtype=target)
    return _to_bits(s, x) if target == BOOL else _from_bits(s, x, target)


def _to_bits(s: Scope, x: Value) -> Value:
    """A last axis with the bits of each element, the lowest first."""
    width = bit_width(x.dtype)
    unsigned = element_type(f"ui{width}")
    x = x if x.dtype == unsigned else s.b.bitcast_convert(x, dtype=unsigned)
    shape = (*x.shape, width)
    place = s.b.iota(dtype=unsigned, shape=shape, axis=x.rank)
    wide = s.b.broadcast_in_dim(x, shape=shape, dims=tuple(range(x.rank)))
    bit = s.b.and_(s.b.shift_right_logical(wide, place), s.b.full_like(place, 1))
    return s.b.compare(bit, s.b.full_like(bit, 0), direction="NE")


def _from_bits(s: Scope, x: Value, target: np.dtype) -> Value:
    """The last axis' booleans as the bits of elements, the lowest first."""
    unsigned = element_type(f"ui{bit_width(target)}")
    place = s.b.iota(dtype=unsigned, shape=x.shape, axis=x.rank - 1)
    total = s.b.reduce_with("add", s.b.shift_left(s.b.astype(x, unsigned), place), (x.rank - 1,), 0)
    return total if target == unsigned else s.b.bitcast_convert(total, dtype=target)


def reduce_precision(s: Scope, op: Source, x: Value) -> Value:
    """Fewer bits, in the same type."""
    return s.b.reduce_precision(x, exponent_bits=op.integer("exponent_bits"), mantissa_bits=op.integer("mantissa_bits"))


RULES: dict[str, Rule] = {
    **{f"stablehlo.{name}": same(name) for name in _SAME},
    "stablehlo.compare": compare,
    "stablehlo.select": select,
    "stablehlo.clamp": clamp,
    "stablehlo.convert": convert,
    "stablehlo.bitcast_convert": bitcast_convert,
    "stablehlo.reduce_precision": reduce_precision,
}
