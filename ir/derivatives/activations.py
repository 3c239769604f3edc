"""Derivatives of activations, where they are cheaper or more accurate than those of what these are made of.

At their kinks they are jax's, mostly: ``relu`` has 0 at 0, ``relu6`` 0 at both ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..builder import Builder
from ..graph import Value
from ..opdef import Call
from .rules import Tangent, by_partials, linear, same, total, zeros

__all__ = ["by_partials", "linear"]

_HALF_ROOT = math.sqrt(0.5)


def _where(b: Builder, x: Value, direction: str, bound: float) -> Value:
    return b.compare(x, b.full_like(x, bound), direction=direction)


def _plus(b: Builder, x: Value, number: float) -> Value:
    return b.add(x, b.full_like(x, number))


def _times(b: Builder, x: Value, number: float) -> Value:
    return b.multiply(x, b.full_like(x, number))


def relu(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """Told by the result, so that the operand need not be kept."""
    (t,), (y,) = tangents, results
    return None if t is None else b.select(_where(b, y, "GT", 0), t, zeros(b, t.type))


def relu6(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    (t,), (y,) = tangents, results
    if t is None:
        return None
    inside = b.and_(_where(b, y, "GT", 0), _where(b, y, "LT", 6))
    return b.select(inside, t, zeros(b, t.type))


def elu(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """Below 0 the derivative of alpha * (e^x - 1) is the result plus alpha."""
    (x,), (t,), (y,) = primals, tangents, results
    if t is None:
        return None
    return b.select(_where(b, x, "GT", 0), t, b.multiply(t, _plus(b, y, call["alpha"])))


def logaddexp(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """Each tangent has the weight of its operand, ``e^x / (e^x + e^y)``."""
    (x, y), (dx, dy) = primals, tangents
    left = None if dx is None else b.multiply(dx, b.logistic(b.subtract(x, y)))
    right = None if dy is None else b.multiply(dy, b.logistic(b.subtract(y, x)))
    return total(b, left, right)


softplus = by_partials(lambda b, y, x: b.logistic(x))
log_sigmoid = by_partials(lambda b, y, x: b.logistic(b.negate(x)))


def _silu_slope(b: Builder, y: Value, x: Value) -> Value:
    """``s + y * (1 - s)``."""
    s = b.logistic(x)
    return b.add(s, b.multiply(y, b.subtract(b.full_like(s, 1), s)))


silu = by_partials(_silu_slope)


def gelu(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """``Phi(x) + x * phi(x)``, the normal distribution's two functions, or the derivative of their approximation."""
    (x,), (t,) = primals, tangents
    if t is None:
        return None
    return b.multiply(t, _approximate_slope(b, x) if call["approximate"] else _exact_slope(b, x))


def _exact_slope(b: Builder, x: Value) -> Value:
    below = _times(b, b.erfc(_times(b, b.negate(x), _HALF_ROOT)), 0.5)
    density = _times(b, b.exponential(_times(b, b.multiply(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))
    return b.add(below, b.multiply(x, density))


def _approximate_slope(b: Builder, x: Value) -> Value:
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    square = b.multiply(x, x)
    # The argument of tanh as the decomposition has it, so that both become one.
    cube = b.multiply(x, square)
    inner = b.multiply(b.full_like(x, scale), b.add(x, b.multiply(b.full_like(x, cubic), cube)))
    curve = b.tanh(inner)
    below = _times(b, _plus(b, curve, 1), 0.5)
    slope = _plus(b, _times(b, square, 3 * scale * cubic), scale)
    steep = b.multiply(b.subtract(b.full_like(x, 1), b.multiply(curve, curve)), slope)
    return b.add(below, b.multiply(_times(b, x, 0.5), steep))


# Along an axis. The results say what the operand was, up to what does not matter.


def _summed(b: Builder, x: Value, axis: int) -> Value:
    return b.expand(b.reduce_sum(x, axes=(axis,)), x.shape, (axis,))


def softmax(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """``y * (t - sum(y * t))``."""
    (t,), (y,) = tangents, results
    if t is None:
        return None
    weighted = b.multiply(y, t)
    return b.subtract(weighted, b.multiply(y, _summed(b, weighted, call["axis"] % y.rank)))


def log_softmax(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """``t - sum(e^y * t)``."""
    (t,), (y,) = tangents, results
    if t is None:
        return None
    return b.subtract(t, _summed(b, b.multiply(b.exponential(y), t), call["axis"] % y.rank))


def logsumexp(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """The mean of the tangent under the weights ``e^(x - y)``."""
    (x,), (t,), (y,) = primals, tangents, results
    if t is None:
        return None
    axes = tuple(axis % x.rank for axis in call["axes"])
    whole = b.broadcast_to(y, x.shape) if call["keepdims"] else b.expand(y, x.shape, axes)
    weighted = b.multiply(b.exponential(b.subtract(x, whole)), t)
    return b.reduce_sum(weighted, axes=axes, keepdims=call["keepdims"])


def dropout_transpose(b: Builder, call: Call, ct: Value, x: Any, seed: Value) -> tuple[Tangent, Tangent]:
    """Linear in the operand: the mask is drawn again from the seed."""
    return same(b, call, [ct, seed]), None
