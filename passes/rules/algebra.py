"""Algebra that is exact for every value, NaN, infinities and the sign of zero included."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.graph import Node, Value
from ...ir.types import BOOL, bit_width, is_complex, is_float, is_integer, is_unsigned
from ..patterns import is_number, op, scalar, scalar_of
from ..rewrite import NoMatch, Rewriter, rule


def _is_zero(number: Any) -> bool:
    return is_number(number, 0.0) or is_number(number, -0.0)


def _all_ones(number: Any) -> bool:
    """True, or the integer whose bits are all set."""
    dtype = np.asarray(number).dtype
    return bool(number) if dtype == BOOL else is_integer(dtype) and bool(~np.asarray(number) == 0)


def _is_exact(value: Value) -> bool:
    """Whether arithmetic on ``value`` has no rounding, NaN or signed zero."""
    return is_integer(value.dtype) or value.dtype == BOOL


@rule(op("add", "x", scalar(_is_zero, "zero")))
def add_zero(r: Rewriter, x: Value, zero: Any) -> Value | NoMatch:
    """``x + 0`` is x; for floats the zero has to be -0.0."""
    if is_float(x.dtype) and not np.signbit(float(zero)):
        return NoMatch("x + 0.0 turns -0.0 into 0.0; only x + -0.0 is x")
    return x


@rule(op("subtract", "x", 0.0))
def subtract_zero(r: Rewriter, x: Value) -> Value:
    """``x - 0`` is x (for floats: 0.0, not -0.0)."""
    return x


@rule(op("subtract", -0.0, "x"))
def subtract_from_zero(r: Rewriter, x: Value) -> Value:
    """0 - x is -x (for floats: -0.0 - x)."""
    return r.negate(x)


@rule(op("subtract", "x", "x"))
def subtract_self(r: Rewriter, x: Value) -> Value | NoMatch:
    """``x - x`` is 0 for integers."""
    return r.full_like(x, 0) if _is_exact(x) else NoMatch("inf - inf and NaN - NaN are NaN")


@rule(op("multiply", "x", 1), op("divide", "x", 1), op("power", "x", 1))
def times_one(r: Rewriter, x: Value) -> Value:
    """``x * 1, x / 1 and x ** 1`` are x."""
    return x


@rule(op("multiply", "x", scalar(_is_zero, "zero")), op("and", "x", scalar(_is_zero, "zero")))
def times_zero(r: Rewriter, x: Value, zero: Any) -> Value | NoMatch:
    """``x * 0 and x & 0`` are 0 for integers and bool."""
    return r.full_like(x, 0) if _is_exact(x) else NoMatch("x * 0.0 is -0.0 or NaN for some x")


@rule(op("multiply", "x", -1))
def times_minus_one(r: Rewriter, x: Value) -> Value:
    """``x * -1`` is -x."""
    return r.negate(x)


@rule(op("divide", "x", scalar(lambda number: True, "divisor")))
def divide_by_power_of_two(r: Rewriter, x: Value, divisor: Any) -> Value | NoMatch | None:
    """``x / 2^k`` is x * 2^-k for floats."""
    if not is_float(x.dtype) or bit_width(x.dtype) < 16:
        return None
    value = float(divisor)
    if not np.isfinite(value) or value == 0 or abs(np.frexp(value)[0]) != 0.5:
        return NoMatch(f"{value} is not a power of two: its reciprocal is rounded")
    inverse = np.asarray(1 / value).astype(x.dtype)
    if abs(np.frexp(value)[1]) > (12 if bit_width(x.dtype) == 16 else 100):
        return NoMatch("the reciprocal is at the end of the type's range")
    return r.multiply(x, r.full_like(x, inverse))


@rule(op("or", "x", scalar(_is_zero)), op("xor", "x", scalar(_is_zero)), op("and", "x", scalar(_all_ones)))
def bits_unchanged(r: Rewriter, x: Value) -> Value:
    """``x | 0, x ^ 0 and x & ~0`` are x."""
    return x


@rule(op("and", "x", "x"), op("or", "x", "x"), op("maximum", "x", "x"), op("minimum", "x", "x"))
def idempotent(r: Rewriter, x: Value) -> Value:
    """``x & x, x | x, max(x, x) and min(x, x)`` are x."""
    return x


@rule(op("xor", "x", "x"))
def xor_self(r: Rewriter, x: Value) -> Value:
    """``x ^ x`` is 0."""
    return r.full_like(x, 0)


@rule(
    op("shift_left", "x", scalar(_is_zero)),
    op("shift_right_logical", "x", scalar(_is_zero)),
    op("shift_right_arithmetic", "x", scalar(_is_zero)),
)
def shift_by_zero(r: Rewriter, x: Value) -> Value:
    """A shift by 0 is no shift."""
    return x


@rule(op("maximum", "x", -np.inf), op("minimum", "x", np.inf))
def unbounded(r: Rewriter, x: Value) -> Value | None:
    """max(x, -inf) and min(x, inf) are x."""
    return x if is_float(x.dtype) else None


@rule(op("negate", op("negate", "x")), op("not", op("not", "x")))
def double_negate(r: Rewriter, x: Value) -> Value:
    """-(-x) is x, and so is ~(~x)."""
    return x


@rule(op("abs", op("negate", "x")), op("abs", op("abs", "x")))
def abs_of_sign(r: Rewriter, x: Value) -> Value:
    """|-x| and ||x|| are |x|."""
    return r.abs(x)


@rule(op("add", "x", op("negate", "y")))
def add_negated(r: Rewriter, x: Value, y: Value) -> Value:
    """``x + -y`` is x - y."""
    return r.subtract(x, y)


@rule(op("subtract", "x", op("negate", "y")))
def subtract_negated(r: Rewriter, x: Value, y: Value) -> Value:
    """``x - -y`` is x + y."""
    return r.add(x, y)


@rule(op("multiply", op("negate", "x"), op("negate", "y")))
def multiply_negated(r: Rewriter, x: Value, y: Value) -> Value:
    """-x * -y is x * y."""
    return r.multiply(x, y)


@rule(op("real", op("complex", "x", "y")))
def real_of_complex(r: Rewriter, x: Value, y: Value) -> Value:
    """The real part of (x, y) is x."""
    return x


@rule(op("imag", op("complex", "x", "y")))
def imag_of_complex(r: Rewriter, x: Value, y: Value) -> Value:
    """The imaginary part of (x, y) is y."""
    return y


@rule(op("complex", op("real", "z"), op("imag", "z")))
def complex_of_parts(r: Rewriter, z: Value) -> Value | None:
    """The complex number of the parts of z is z."""
    return z if is_complex(z.dtype) else None


_REFLEXIVE = {"EQ": True, "LE": True, "GE": True, "NE": False, "LT": False, "GT": False}


@rule(op("compare", "x", "x", bind="node"))
def compare_self(r: Rewriter, x: Value, node: Node) -> Value | NoMatch:
    """``x == x`` is True for integers."""
    if not _is_exact(x) and not node.attributes["total_order"]:
        return NoMatch("NaN differs from itself")
    return r.full(x.shape, _REFLEXIVE[node.attributes["direction"]], BOOL)


_OPPOSITE = {"EQ": "NE", "NE": "EQ", "LT": "GE", "GE": "LT", "GT": "LE", "LE": "GT"}


@rule(op("not", op("compare", "x", "y", bind="inner", once=True)))
def not_compare(r: Rewriter, x: Value, y: Value, inner: Node) -> Value | NoMatch:
    """``not (x == y)`` is x != y, and for integers not (x < y) is x >= y."""
    direction, total = inner.attributes["direction"], inner.attributes["total_order"]
    if direction not in ("EQ", "NE") and not _is_exact(x) and not total:
        return NoMatch("with NaN both x < y and x >= y are False")
    return r.compare(x, y, direction=_OPPOSITE[direction], total_order=total)


@rule(op("select", "c", "x", "x"))
def select_same(r: Rewriter, c: Value, x: Value) -> Value:
    """A choice between x and x is x."""
    return x


@rule("select")
def select_constant(r: Rewriter, node: Node) -> Value | None:
    """A choice by a constant is made."""
    choice = scalar_of(node.operands[0])
    return None if choice is None else node.operands[1 if choice else 2]


@rule(op("select", op("not", "c"), "x", "y"))
def select_not(r: Rewriter, c: Value, x: Value, y: Value) -> Value:
    """A choice by not c is one by c, the other way round."""
    return r.select(c, y, x)


@rule("convert")
def convert_identity(r: Rewriter, node: Node) -> Value | None:
    """A conversion to the same type is none."""
    x = node.operands[0]
    return x if x.dtype == node.result.dtype else None


@rule(op("convert", op("convert", "x"), bind="node"))
def convert_chain(r: Rewriter, x: Value, node: Node) -> Value | NoMatch:
    """A conversion through a type that loses nothing is one conversion."""
    middle, target = node.operands[0].dtype, node.result.dtype
    if not holds_all(middle, x.dtype):
        return NoMatch("the type between loses values")
    # A float out of range saturates where an integer wraps.
    if is_float(middle) and _is_exact(x) and is_integer(target) and not holds_all(target, x.dtype):
        return NoMatch("a float converts to an integer in another way than an integer")
    return x if target == x.dtype else r.convert(x, dtype=target)


def holds_all(wide: np.dtype, narrow: np.dtype) -> bool:
    """Whether every value of ``narrow`` is one of ``wide``."""
    if wide == narrow or narrow == BOOL:
        return True
    if wide == BOOL or is_complex(wide) or is_complex(narrow):
        return False
    if is_integer(narrow):
        digits = bit_width(narrow) - (0 if is_unsigned(narrow) else 1)
        if is_integer(wide):
            room = bit_width(wide) - (0 if is_unsigned(wide) else 1)
            return digits <= room and (is_unsigned(narrow) or not is_unsigned(wide))
        return digits <= _FLOAT_PRECISION.get(wide.name, 0)
    return (narrow.name, wide.name) in _WIDER_FLOATS


_FLOAT_PRECISION = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
_WIDER_FLOATS = {
    (narrow, wide)
    for narrow, wides in {
        "float32": ("float64",),
        "float16": ("float32", "float64"),
        "bfloat16": ("float32", "float64"),
        "float8_e5m2": ("float16", "bfloat16", "float32", "float64"),
        "float8_e4m3fn": ("float16", "bfloat16", "float32", "float64"),
    }.items()
    for wide in wides
}


RULES = [
    add_zero,
    subtract_zero,
    subtract_from_zero,
    subtract_self,
    times_one,
    times_zero,
    times_minus_one,
    divide_by_power_of_two,
    bits_unchanged,
    idempotent,
    xor_self,
    shift_by_zero,
    unbounded,
    double_negate,
    abs_of_sign,
    add_negated,
    subtract_negated,
    multiply_negated,
    real_of_complex,
    imag_of_complex,
    complex_of_parts,
    compare_self,
    not_compare,
    select_same,
    select_constant,
    select_not,
    convert_identity,
    convert_chain,
]
