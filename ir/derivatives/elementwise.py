"""Derivatives of ops that compute each element from those at its place.

Partial derivatives are written with the op's result where that is cheaper (``tanh' = 1 - y*y``). At ties and edges they
are jax's: ``maximum`` shares between equal operands, ``abs`` has 1 at 0, ``sqrt`` has infinity there. Transposes of
complex ops never conjugate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..graph import Value
from ..opdef import Call, Linear
from ..types import has_tangent, is_complex
from .rules import Tangent, by_partials, is_linear, known, same, total, zeros

__all__ = ["by_partials"]

Operand = Value | Linear
Cotangents = tuple[Tangent, ...]


def _one(b: Builder, x: Value) -> Value:
    return b.full_like(x, 1)


def _square(b: Builder, x: Value) -> Value:
    return b.multiply(x, x)


def _scaled(b: Builder, factor: float, x: Value) -> Value:
    return b.multiply(b.full_like(x, factor), x)


def _over(divisor: Callable[..., Value]) -> Callable[..., Tangent]:
    """The jvp of a function of one operand whose derivative is ``1 / divisor(b, result, x)``."""

    def jvp(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
        return None if tangents[0] is None else b.divide(tangents[0], divisor(b, results[0], primals[0]))

    return jvp


# Functions of one operand.

exponential = by_partials(lambda b, y, x: y)
exponential_minus_one = by_partials(lambda b, y, x: b.add(y, _one(b, y)))
log = _over(lambda b, y, x: x)
log_plus_one = _over(lambda b, y, x: b.add(x, _one(b, x)))
sqrt = by_partials(lambda b, y, x: b.divide(b.full_like(y, 0.5), y))
rsqrt = by_partials(lambda b, y, x: _scaled(b, -0.5, b.divide(y, x)))
cbrt = _over(lambda b, y, x: _scaled(b, 3, _square(b, y)))
sine = by_partials(lambda b, y, x: b.cosine(x))
cosine = by_partials(lambda b, y, x: b.negate(b.sine(x)))
tan = by_partials(lambda b, y, x: b.add(_one(b, y), _square(b, y)))
tanh = by_partials(lambda b, y, x: b.subtract(_one(b, y), _square(b, y)))
logistic = by_partials(lambda b, y, x: b.multiply(y, b.subtract(_one(b, y), y)))
sinh = by_partials(lambda b, y, x: b.cosh(x))
cosh = by_partials(lambda b, y, x: b.sinh(x))
asin = by_partials(lambda b, y, x: b.rsqrt(b.subtract(_one(b, x), _square(b, x))))
acos = by_partials(lambda b, y, x: b.negate(b.rsqrt(b.subtract(_one(b, x), _square(b, x)))))
atan = _over(lambda b, y, x: b.add(_one(b, x), _square(b, x)))
asinh = by_partials(lambda b, y, x: b.rsqrt(b.add(_square(b, x), _one(b, x))))
acosh = by_partials(lambda b, y, x: b.rsqrt(b.subtract(_square(b, x), _one(b, x))))
atanh = _over(lambda b, y, x: b.multiply(b.subtract(_one(b, x), x), b.add(_one(b, x), x)))
erf = by_partials(lambda b, y, x: _scaled(b, 2 / math.sqrt(math.pi), b.exponential(b.negate(_square(b, x)))))
erfc = by_partials(lambda b, y, x: _scaled(b, -2 / math.sqrt(math.pi), b.exponential(b.negate(_square(b, x)))))
erf_inv = by_partials(lambda b, y, x: _scaled(b, math.sqrt(math.pi) / 2, b.exponential(_square(b, y))))
lgamma = by_partials(lambda b, y, x: b.digamma(x))
digamma = by_partials(lambda b, y, x: b.polygamma(x, order=1))


def abs_(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """The tangent, turned over below 0; of a complex number its part along the number."""
    (x,), (t,), (size,) = primals, tangents, results
    if t is None:
        return None
    if not is_complex(x.dtype):
        return b.select(b.compare(x, zeros(b, x.type), direction="GE"), t, b.negate(t))
    some = b.select(b.compare(size, zeros(b, size.type), direction="EQ"), _one(b, size), size)
    conjugate = b.complex(b.real(x), b.negate(b.imag(x)))
    return b.real(b.multiply(t, b.divide(conjugate, b.astype(some, x.dtype))))


# Functions of two operands.


def _share(b: Builder, result: Value, x: Value, other: Value) -> Value:
    """1 where ``x`` is the result of maximum or minimum, and half of that where ``other`` is so too."""
    chosen = b.select(b.compare(x, other, direction="EQ"), b.full_like(x, 0.5), _one(b, x))
    return b.select(b.compare(x, result, direction="EQ"), chosen, zeros(b, x.type))


maximum = minimum = by_partials(lambda b, z, x, y: _share(b, z, x, y), lambda b, z, x, y: _share(b, z, y, x))
remainder = by_partials(
    lambda b, z, x, y: _one(b, x),
    lambda b, z, x, y: b.negate(_toward_zero(b, b.divide(x, y))),
)
atan2 = by_partials(
    lambda b, z, y, x: b.divide(x, b.add(_square(b, y), _square(b, x))),
    lambda b, z, y, x: b.divide(b.negate(y), b.add(_square(b, y), _square(b, x))),
)


def _toward_zero(b: Builder, x: Value) -> Value:
    return b.multiply(b.sign(x), b.floor(b.abs(x)))


def divide(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """``dx / y - (x / y) / y * dy``."""
    (_, y), (dx, dy), (quotient,) = primals, tangents, results
    upper = None if dx is None else b.divide(dx, y)
    lower = None if dy is None else b.multiply(dy, b.negate(b.divide(quotient, y)))
    return total(b, upper, lower)


def power(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """``y * x^(y - 1) * dx + log(x) * x^y * dy``, with 0 for log(0)."""
    (x, y), (dx, dy), (result,) = primals, tangents, results
    base = None if dx is None else _base_tangent(b, x, y, dx)
    if dy is None:
        return base
    positive = b.select(b.compare(x, zeros(b, x.type), direction="EQ"), _one(b, x), x)
    return total(b, base, b.multiply(dy, b.multiply(b.log(positive), result)))


def _base_tangent(b: Builder, x: Value, exponent: Value, dx: Value) -> Tangent:
    number = _number(exponent)
    if number is None:
        slope = b.multiply(exponent, b.power(x, b.subtract(exponent, _one(b, exponent))))
    elif number in (0, 1):
        return dx if number else None
    elif number == 2:
        slope = _scaled(b, 2, x)
    else:
        lower = _square(b, x) if number == 3 else b.power(x, b.full_like(exponent, number - 1))
        slope = b.multiply(exponent, lower)
    return b.multiply(dx, slope)


def _number(value: Value) -> float | None:
    """The real number that ``value`` is everywhere, where its nodes say so."""
    node = value.producer
    while node is not None and node.op.name in ("broadcast_in_dim", "reshape", "convert"):
        node = node.operands[0].producer
    if node is None or node.op.name != "constant" or not has_tangent(value.type) or is_complex(value.dtype):
        return None
    array = node.attributes["value"]
    return float(array.reshape(-1)[0]) if array.size and np.all(array == array.reshape(-1)[0]) else None


# Linear ops: where cotangents go.


def add_transpose(b: Builder, call: Call, ct: Value, x: Operand, y: Operand) -> Cotangents:
    return ct if is_linear(x) else None, ct if is_linear(y) else None


def subtract_transpose(b: Builder, call: Call, ct: Value, x: Operand, y: Operand) -> Cotangents:
    return ct if is_linear(x) else None, b.negate(ct) if is_linear(y) else None


def negate_transpose(b: Builder, call: Call, ct: Value, x: Operand) -> Value:
    return b.negate(ct)


def multiply_transpose(b: Builder, call: Call, ct: Value, x: Operand, y: Operand) -> Cotangents:
    if isinstance(y, Value):
        return b.multiply(ct, y), None
    assert isinstance(x, Value)
    return None, b.multiply(ct, x)


def divide_transpose(b: Builder, call: Call, ct: Value, x: Operand, y: Operand) -> Cotangents:
    assert isinstance(y, Value)
    return b.divide(ct, y), None


def real_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.complex(ct, zeros(b, ct.type)) if is_complex(x.dtype) else ct


def imag(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """Linear; of a real number it is zero."""
    return b.imag(tangents[0]) if tangents[0] is not None and is_complex(primals[0].dtype) else None


def imag_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.complex(zeros(b, ct.type), b.negate(ct))


def complex_transpose(b: Builder, call: Call, ct: Value, x: Operand, y: Operand) -> Cotangents:
    return b.real(ct) if is_linear(x) else None, b.negate(b.imag(ct)) if is_linear(y) else None


def reduce_precision_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    """Rounding is taken for linear: what goes back is rounded as well."""
    return same(b, call, [ct])


def convert(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """Converting the tangent; there is none from or to integers."""
    return None if tangents[0] is None or not has_tangent(results[0].type) else same(b, call, [tangents[0]])


def convert_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.convert(ct, dtype=x.dtype)


def select(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """The tangent of whichever is selected."""
    predicate, *branches = primals
    moved = [known(b, t, x.type) for t, x in zip(tangents[1:], branches, strict=True)]
    return b.select(predicate, *moved)


def select_transpose(b: Builder, call: Call, ct: Value, predicate: Value, x: Operand, y: Operand) -> Cotangents:
    zero = zeros(b, ct.type)
    return (
        None,
        b.select(predicate, ct, zero) if is_linear(x) else None,
        b.select(predicate, zero, ct) if is_linear(y) else None,
    )


def clamp(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """The operand's tangent inside the bounds, that of a bound beyond it; none at the bound itself."""
    low, x, high = (b.broadcast_to(p, primals[1].shape) for p in primals)
    moved = [None if t is None else b.broadcast_to(t, x.shape) for t in tangents]

    def below(p: Value, q: Value) -> Value:
        return b.compare(p, q, direction="LT")

    where = (
        lambda: b.and_(below(x, low), below(low, high)),
        lambda: b.and_(below(low, x), below(x, high)),
        lambda: below(high, x),
    )
    kept = [b.select(w(), t, zeros(b, x.type)) for w, t in zip(where, moved, strict=True) if t is not None]
    return total(b, *kept)


def polygamma(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """The next order."""
    return None if tangents[0] is None else b.multiply(tangents[0], b.polygamma(primals[0], order=call["order"] + 1))
