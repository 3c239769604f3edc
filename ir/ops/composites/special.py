"""Special functions that targets lack, or have with gaps: XLA's polygamma is wrong below -8."""

from __future__ import annotations

import math

import numpy as np

from ...batching import rules as batching
from ...builder import Builder
from ...derivatives import elementwise as derivatives
from ...errors import ArgumentError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import TensorType
from .rules import like_operand, wide

#: B_2k / (2k)!, for the Euler-Maclaurin sum.
_BERNOULLI = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
)
_LARGEST_ORDER = 16


def _infer(c: Call, *types: TensorType) -> TensorType:
    if not 1 <= c["order"] <= _LARGEST_ORDER:
        raise ArgumentError(f"polygamma: expected an order in 1..{_LARGEST_ORDER}, received {c['order']}")
    return like_operand("f")(c, *types)


@composite(
    "polygamma",
    "the derivative of digamma, taken order times (jax.scipy.special.polygamma; Abramowitz and Stegun 1964, 6.4)",
    _infer,
    attributes={"order": Attribute("int")},
    elementwise=True,
    jvp=derivatives.polygamma,
    batch=batching.elementwise,
)
def _polygamma(b: Builder, c: Call, x: Value) -> Value:
    order, inner = c["order"], b.astype(x, wide(x.dtype))
    zero, one = b.full_like(inner, 0), b.full_like(inner, 1)
    negative = b.compare(inner, zero, direction="LT")
    positive = b.select(negative, b.subtract(one, inner), inner)
    value = _times(b, _zeta(b, order + 1, positive), (-1) ** (order + 1) * math.factorial(order))
    reflected = b.subtract(_times(b, value, (-1) ** order), _cotangent(b, order, inner))
    return b.astype(b.select(negative, reflected, value), x.dtype)


def _zeta(b: Builder, s: int, x: Value) -> Value:
    """Hurwitz's zeta for ``x >= 0``: first terms of the sum of ``(x + k)^-s``, then Euler and Maclaurin's series."""
    total, place = None, x
    for _ in range(8 + s):
        term = _inverse_power(b, place, s)
        total = term if total is None else b.add(total, term)
        place = b.add(place, b.full_like(x, 1))
    assert total is not None
    # The rest, from y on: y^-s * (y / (s - 1) + 1/2 + s B_2 / 2! / y + s (s + 1) (s + 2) B_4 / 4! / y^3 + ...)
    y, inverse = place, b.divide(b.full_like(x, 1), place)
    square = b.multiply(inverse, inverse)
    series = b.full_like(x, 0)
    for k in reversed(range(len(_BERNOULLI))):
        rising = math.prod(range(s, s + 2 * k + 1))
        series = b.add(b.multiply(series, square), b.full_like(x, _BERNOULLI[k] * rising))
    rest = b.add(b.full_like(x, 0.5), b.multiply(series, inverse))
    scale = _inverse_power(b, y, s)
    head = _times(b, _inverse_power(b, y, s - 1), 1 / (s - 1))
    return b.add(total, b.add(head, b.multiply(scale, rest)))


def _inverse_power(b: Builder, x: Value, exponent: int) -> Value:
    inverse = b.divide(b.full_like(x, 1), x)
    result = inverse
    for _ in range(exponent - 1):
        result = b.multiply(result, inverse)
    return result


def _cotangent(b: Builder, order: int, x: Value) -> Value:
    """``pi`` times the derivative, taken ``order`` times, of ``cot(pi * x)``: a polynomial of the cotangent."""
    polynomial = [0, 1]
    for _ in range(order):  # (p(cot))' = -p'(cot) * (1 + cot^2)
        slope = [-k * coefficient for k, coefficient in enumerate(polynomial)][1:]
        polynomial = [p + q for p, q in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    fraction = b.subtract(x, b.round_nearest_even(x))
    cotangent = b.divide(b.full_like(x, 1), b.tan(_times(b, fraction, np.pi)))
    value = b.full_like(x, polynomial[-1])
    for coefficient in reversed(polynomial[:-1]):
        value = b.multiply(value, cotangent)
        value = b.add(value, b.full_like(x, coefficient)) if coefficient else value
    return _times(b, value, np.pi ** (order + 1))


def _times(b: Builder, x: Value, number: float) -> Value:
    return b.multiply(x, b.full_like(x, number))
