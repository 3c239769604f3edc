"""Elementwise arithmetic, functions and bits, as keras.ops has them."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ...ir.errors import DTypeError
from ...ir.types import bit_width
from ..convert import as_tensor, broadcast, emit, promote, promote_float
from ..dispatch import public_op
from ..dtypes import floatx
from ..tensor import Tensor
from . import building as b

# Functions of one float.


def named(rule: Callable[..., Any], name: str, meaning: str, weak: bool = True) -> Callable[..., Any]:
    """The public op ``name`` that does ``rule``, for families whose members differ in little more than the name."""
    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = meaning
    rule.__module__ = named.__module__
    return public_op(rule, weak=weak)


def function(name: str, op: str, meaning: str) -> Callable[..., Any]:
    """The public op of an IR op of one operand, in which integers and bools become floats."""

    def rule(x: Any) -> Tensor:
        return emit(op, b.as_float(x))

    return named(rule, name, f"{meaning}, elementwise. Integers and bools become the default float type.")


sin = function("sin", "sine", "Sine")
cos = function("cos", "cosine", "Cosine")
tan = function("tan", "tan", "Tangent")
sinh = function("sinh", "sinh", "Hyperbolic sine")
cosh = function("cosh", "cosh", "Hyperbolic cosine")
tanh = function("tanh", "tanh", "Hyperbolic tangent")
arcsin = function("arcsin", "asin", "Inverse sine")
arccos = function("arccos", "acos", "Inverse cosine")
arctan = function("arctan", "atan", "Inverse tangent")
arcsinh = function("arcsinh", "asinh", "Inverse hyperbolic sine")
arccosh = function("arccosh", "acosh", "Inverse hyperbolic cosine")
arctanh = function("arctanh", "atanh", "Inverse hyperbolic tangent")
exp = function("exp", "exponential", "e to the power x")
expm1 = function("expm1", "exponential_minus_one", "exp(x) - 1, accurate near 0")
log = function("log", "log", "Natural logarithm")
log1p = function("log1p", "log_plus_one", "log(1 + x), accurate near 0")
sqrt = function("sqrt", "sqrt", "Square root")
rsqrt = function("rsqrt", "rsqrt", "1 / sqrt(x)")
cbrt = function("cbrt", "cbrt", "Cube root")
erf = function("erf", "erf", "Error function")
erfc = function("erfc", "erfc", "1 - erf(x)")
erfinv = function("erfinv", "erf_inv", "Inverse of the error function")
floor = function("floor", "floor", "Largest whole number not above x")
ceil = function("ceil", "ceil", "Smallest whole number not below x")


def _scaled(name: str, op: str, factor: float, meaning: str, before: bool = False) -> Callable[..., Any]:
    def rule(x: Any) -> Tensor:
        x = b.as_float(x)
        return emit(op, b.multiply(x, factor)) if before else b.divide(emit(op, x), factor)

    return named(rule, name, f"{meaning}, elementwise.")


log2 = _scaled("log2", "log", math.log(2), "Logarithm to base 2")
log10 = _scaled("log10", "log", math.log(10), "Logarithm to base 10")
exp2 = _scaled("exp2", "exponential", math.log(2), "2 to the power x", before=True)


@public_op
def deg2rad(x: Any) -> Tensor:
    """Degrees as radians."""
    return b.multiply(b.as_float(x), math.pi / 180)


@public_op
def rad2deg(x: Any) -> Tensor:
    """Radians as degrees."""
    return b.multiply(b.as_float(x), 180 / math.pi)


@public_op
def sinc(x: Any) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = b.as_float(x)
    zero = b.compare("EQ", x, 0)
    angle = b.multiply(b.select(zero, 1, x), math.pi)
    return b.select(zero, 1, b.divide(emit("sine", angle), angle))


# Abramowitz and Stegun 9.8.1 and 9.8.2, to 2e-7: a series in (x / 3.75)^2, and one in 3.75 / x.
_I0_SMALL = (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813)
_I0_LARGE = (
    0.39894228,
    0.01328592,
    0.00225319,
    -0.00157565,
    0.00916281,
    -0.02057706,
    0.02635537,
    -0.01647633,
    0.00392377,
)


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    result = b.like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = b.add(b.multiply(result, x), coefficient)
    return result


@public_op
def i0(x: Any) -> Tensor:
    """The modified Bessel function of the first kind of order 0, to a relative 2e-7."""
    x = b.as_float(x)
    size = emit("abs", as_tensor(x, "float32") if bit_width(x.value.type.dtype) < 32 else x)
    ratio = b.divide(size, 3.75)
    near = _polynomial(b.multiply(ratio, ratio), _I0_SMALL)
    safe = emit("maximum", size, b.like(size, 3.75))
    far = b.multiply(_polynomial(b.divide(b.like(safe, 3.75), safe), _I0_LARGE), emit("rsqrt", safe))
    far = b.multiply(far, emit("exponential", safe))
    return as_tensor(b.select(b.compare("LT", size, 3.75), near, far), x.dtype)


# Signs, rounding, parts.


@public_op
def absolute(x: Any) -> Tensor:
    """Absolute value; of a complex number its length."""
    x = as_tensor(x)
    return x if x.dtype == "bool" or x.dtype.startswith("uint") else emit("abs", x)


abs = absolute


@public_op
def fabs(x: Any) -> Tensor:
    """Absolute value as a float."""
    return emit("abs", b.as_float(x))


@public_op
def negative(x: Any) -> Tensor:
    """``-x``. Raises :class:`DTypeError` for bools."""
    x = as_tensor(x)
    if x.dtype == "bool":
        raise DTypeError("negative: bools have no negative; use logical_not, or cast to a number type")
    return emit("negate", x)


@public_op
def sign(x: Any) -> Tensor:
    """-1, 0 or 1."""
    x = as_tensor(x)
    if x.dtype == "bool":
        raise DTypeError("sign: expected numbers, received bools; cast to a number type")
    return emit("sign", x)


@public_op
def signbit(x: Any) -> Tensor:
    """Whether the sign bit is set (negative numbers, -0.0 too)."""
    x = as_tensor(x)
    if not b.is_float(x):
        x = as_tensor(x, "int32") if x.dtype == "bool" else x
        return b.compare("LT", x, 0)
    bits = emit("bitcast_convert", x, dtype=f"int{bit_width(x.value.type.dtype)}")
    return b.compare("LT", bits, 0)


@public_op
def square(x: Any) -> Tensor:
    """``x * x``."""
    x = b.no_bool(x)
    return emit("multiply", x, x)


@public_op
def reciprocal(x: Any) -> Tensor:
    """``1 / x``."""
    x = b.as_float(x)
    return b.divide(b.like(x, 1), x)


@public_op
def trunc(x: Any) -> Tensor:
    """The whole part: rounded towards zero."""
    x = as_tensor(x)
    return b.select(b.compare("LT", x, 0), emit("ceil", x), emit("floor", x)) if b.is_float(x) else x


@public_op
def round(x: Any, decimals: int = 0) -> Tensor:
    """Rounded to ``decimals`` places, halves to even."""
    x = as_tensor(x)
    if not b.is_float(x):
        if decimals >= 0:
            return as_tensor(x, "int32") if x.dtype == "bool" else x
        return as_tensor(_rounded(as_tensor(x, floatx()), decimals), x.dtype)
    inner = as_tensor(x, "float32") if decimals and bit_width(x.value.type.dtype) < 32 else x
    return as_tensor(_rounded(inner, decimals), x.dtype)


def _rounded(x: Tensor, decimals: int) -> Tensor:
    if not decimals:
        return emit("round_nearest_even", x)
    factor = 10.0**decimals
    return b.divide(emit("round_nearest_even", b.multiply(x, factor)), factor)


@public_op
def real(x: Any) -> Tensor:
    """Real part; of a real number itself."""
    x = as_tensor(x)
    return emit("real", x) if b.is_complex(x) else x


@public_op
def imag(x: Any) -> Tensor:
    """Imaginary part; of a real number 0."""
    x = as_tensor(x)
    return emit("imag", x) if b.is_complex(x) else b.like(x, 0)


@public_op
def conjugate(x: Any) -> Tensor:
    """Complex conjugate; of a real number itself."""
    x = as_tensor(x)
    return emit("complex", emit("real", x), emit("negate", emit("imag", x))) if b.is_complex(x) else x


conj = conjugate


@public_op
def angle(x: Any) -> Tensor:
    """The angle of a complex number in the plane, in radians."""
    x = b.as_float(x)
    if b.is_complex(x):
        return emit("atan2", emit("imag", x), emit("real", x))
    return emit("atan2", b.like(x, 0), x)


@public_op
def isreal(x: Any) -> Tensor:
    """Whether the imaginary part is zero."""
    x = as_tensor(x)
    if not b.is_complex(x):
        return b.filled(b.shape_of(x), True, "bool")
    return b.compare("EQ", emit("imag", x), 0)


# NaN and infinity.


def _special(name: str, test: Callable[[Tensor], Tensor], meaning: str, otherwise: bool = False) -> Callable[..., Any]:
    def rule(x: Any) -> Tensor:
        x = as_tensor(x)
        if b.is_complex(x):
            parts = test(emit("real", x)), test(emit("imag", x))
            return emit("and" if otherwise else "or", *parts)
        return test(x) if b.is_float(x) else b.filled(b.shape_of(x), otherwise, "bool")

    return named(rule, name, meaning)


isnan = _special("isnan", lambda x: b.compare("NE", x, x), "Where ``x`` is NaN.")
isinf = _special("isinf", lambda x: b.compare("EQ", emit("abs", x), np.inf), "Where ``x`` is infinite.")
isfinite = _special("isfinite", lambda x: emit("is_finite", x), "Where ``x`` is neither infinite nor NaN.", True)
isposinf = _special("isposinf", lambda x: b.compare("EQ", x, np.inf), "Where ``x`` is positive infinity.")
isneginf = _special("isneginf", lambda x: b.compare("EQ", x, -np.inf), "Where ``x`` is negative infinity.")


@public_op(weak=False)
def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN and infinities replaced: by ``nan``, and the greatest and least finite number unless given."""
    x = as_tensor(x)
    if not b.is_float(x):
        return x
    limits = ml_dtypes.finfo(x.value.type.dtype)
    result = b.select(b.compare("NE", x, x), nan, x)
    result = b.select(b.compare("EQ", x, np.inf), limits.max if posinf is None else posinf, result)
    return b.select(b.compare("EQ", x, -np.inf), limits.min if neginf is None else neginf, result)


# Arithmetic of two operands.


def binary(name: str, op: str, meaning: str) -> Callable[..., Any]:
    """The public op of an IR op of two operands, promoted and broadcast."""

    def rule(x1: Any, x2: Any) -> Tensor:
        return emit(op, *broadcast(*promote(x1, x2), what=name))

    return named(rule, name, f"{meaning}, elementwise, with promotion and broadcasting.")


def float_binary(name: str, op: str, meaning: str) -> Callable[..., Any]:
    """As :func:`binary`, in which integers and bools become floats."""

    def rule(x1: Any, x2: Any) -> Tensor:
        return emit(op, *broadcast(*promote_float(x1, x2), what=name))

    return named(rule, name, f"{meaning}, elementwise, in a float type, with broadcasting.")


add = binary("add", "add", "``x1 + x2`` (for bools: or)")
multiply = binary("multiply", "multiply", "``x1 * x2`` (for bools: and)")
maximum = binary("maximum", "maximum", "The larger of two; NaN where there is one")
minimum = binary("minimum", "minimum", "The smaller of two; NaN where there is one")
divide = float_binary("divide", "divide", "``x1 / x2``")
true_divide = float_binary("true_divide", "divide", "``x1 / x2``")
arctan2 = float_binary("arctan2", "atan2", "The angle of the point (x2, x1)")
logaddexp = float_binary("logaddexp", "logaddexp", "log(exp(x1) + exp(x2)), without overflow")
nextafter = float_binary("nextafter", "next_after", "The number after x1 in the direction of x2")


def pair(x1: Any, x2: Any, what: str) -> tuple[Tensor, Tensor]:
    """Two numbers promoted and broadcast; bools become int32."""
    first, second = broadcast(*map(b.no_bool, promote(x1, x2)), what=what)
    return first, second


@public_op
def subtract(x1: Any, x2: Any) -> Tensor:
    """``x1 - x2``, elementwise. Raises :class:`DTypeError` for two bools."""
    x, y = broadcast(*promote(x1, x2), what="subtract")
    if x.dtype == "bool":
        raise DTypeError("subtract: bools can't be subtracted; use logical_xor, or cast to a number type")
    return emit("subtract", x, y)


@public_op
def mod(x1: Any, x2: Any) -> Tensor:
    """The remainder of ``x1 // x2``, which has the sign of ``x2``."""
    return _modulo(*pair(x1, x2, "mod"))


def _remainder(x: Tensor, y: Tensor) -> Tensor:
    """With the sign of ``x``; of integers 0 where ``y`` is 0."""
    return emit("remainder", x, y if b.is_float(x) else b.select(b.compare("EQ", y, 0), 1, y))


def _modulo(x: Tensor, y: Tensor) -> Tensor:
    rest = _remainder(x, y)
    if x.dtype.startswith("uint"):
        return rest
    differs = emit("xor", b.compare("LT", rest, 0), b.compare("LT", y, 0))
    return b.select(emit("and", differs, b.compare("NE", rest, 0)), b.add(rest, y), rest)


@public_op
def fmod(x1: Any, x2: Any) -> Tensor:
    """The remainder of the division towards zero, which has the sign of ``x1``."""
    return _remainder(*pair(x1, x2, "fmod"))


@public_op
def floor_divide(x1: Any, x2: Any) -> Tensor:
    """The largest whole number not above ``x1 / x2``."""
    return _floor_quotient(*pair(x1, x2, "floor_divide"))


def _floor_quotient(x: Tensor, y: Tensor) -> Tensor:
    if b.is_float(x):
        # From the exact remainder, so that rounding of the quotient does not matter.
        rest = emit("remainder", x, y)
        quotient = b.divide(b.subtract(x, rest), y)
        differs = emit("xor", b.compare("LT", rest, 0), b.compare("LT", y, 0))
        lower = emit("and", differs, b.compare("NE", rest, 0))
        whole = emit("round_nearest_even", b.select(lower, b.subtract(quotient, 1), quotient))
        return b.select(b.compare("EQ", y, 0), b.divide(x, y), whole)
    quotient = b.divide(x, y)
    if x.dtype.startswith("uint"):
        return quotient
    differs = b.compare("NE", emit("sign", x), emit("sign", y))
    inexact = b.compare("NE", emit("remainder", x, y), 0)
    return b.select(emit("and", differs, inexact), b.subtract(quotient, 1), quotient)


@public_op
def divmod(x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """``(x1 // x2, x1 % x2)``."""
    x, y = pair(x1, x2, "divmod")
    return _floor_quotient(x, y), _modulo(x, y)


@public_op
def divide_no_nan(x1: Any, x2: Any) -> Tensor:
    """``x1 / x2``, and 0 where ``x2`` is 0."""
    x, y = broadcast(*promote_float(x1, x2), what="divide_no_nan")
    zero = b.compare("EQ", y, 0)
    return b.select(zero, 0, b.divide(x, b.select(zero, 1, y)))


@public_op
def power(x1: Any, x2: Any) -> Tensor:
    """``x1`` to the power ``x2``. A small whole number as power becomes multiplications."""
    exponent = b.concrete(x2)
    if exponent is not None and exponent.ndim == 0 and exponent.dtype.kind == "i":
        count = int(exponent)
        base = as_tensor(x1) if not isinstance(x1, float) else b.as_float(x1)
        if builtins.abs(count) <= 64 and base.dtype != "bool" and (count >= 0 or not b.is_int(base)):
            base = promote(x1, x2)[0]
            return _integer_power(base, count)
    x, y = pair(x1, x2, "power")
    return emit("power", x, y)


def _integer_power(x: Tensor, count: int) -> Tensor:
    if count < 0:
        return b.divide(b.like(x, 1), _integer_power(x, -count))
    result, square_ = None, x
    while count:
        if count & 1:
            result = square_ if result is None else emit("multiply", result, square_)
        count >>= 1
        if count:
            square_ = emit("multiply", square_, square_)
    return b.like(x, 1) if result is None else result


@public_op
def hypot(x1: Any, x2: Any) -> Tensor:
    """sqrt(x1^2 + x2^2), without overflow."""
    x, y = (emit("abs", t) for t in broadcast(*promote_float(x1, x2), what="hypot"))
    larger, smaller = emit("maximum", x, y), emit("minimum", x, y)
    nothing = b.compare("EQ", larger, 0)
    ratio = b.divide(smaller, b.select(nothing, 1, larger))
    length = b.multiply(larger, emit("sqrt", b.add(emit("multiply", ratio, ratio), 1)))
    infinite = emit("or", b.compare("EQ", x, np.inf), b.compare("EQ", y, np.inf))
    return b.select(infinite, np.inf, length)


@public_op
def logaddexp2(x1: Any, x2: Any) -> Tensor:
    """log2(2^x1 + 2^x2), without overflow."""
    x, y = broadcast(*promote_float(x1, x2), what="logaddexp2")
    factor = math.log(2)
    return b.divide(emit("logaddexp", b.multiply(x, factor), b.multiply(y, factor)), factor)


@public_op
def fmax(x1: Any, x2: Any) -> Tensor:
    """The larger of two; a NaN yields to a number."""
    return _number_of("GT", *broadcast(*promote(x1, x2), what="fmax"))


@public_op
def fmin(x1: Any, x2: Any) -> Tensor:
    """The smaller of two; a NaN yields to a number."""
    return _number_of("LT", *broadcast(*promote(x1, x2), what="fmin"))


def _number_of(direction: str, x: Tensor, y: Tensor) -> Tensor:
    first = emit("or", b.compare(direction, x, y), b.compare("NE", y, y))
    return b.select(first, x, y)


@public_op
def heaviside(x1: Any, x2: Any) -> Tensor:
    """0 below zero, 1 above, ``x2`` at zero, NaN at NaN."""
    x, y = broadcast(*promote_float(x1, x2), what="heaviside")
    step = b.select(b.compare("LT", x, 0), 0, b.select(b.compare("GT", x, 0), 1, y))
    return b.select(b.compare("NE", x, x), x, step)


@public_op
def ldexp(x1: Any, x2: Any) -> Tensor:
    """``x1 * 2**x2`` for integers ``x2``."""
    exponent = as_tensor(x2)
    if not b.is_int(exponent):
        raise DTypeError(f"ldexp: expected an integer exponent, received {exponent!r}")
    x = b.as_float(x1)
    x, exponent = broadcast(x, exponent, what="ldexp")
    # In two steps: 2**x2 alone may be out of range where the product is not.
    half = emit("shift_right_arithmetic", as_tensor(exponent, "int32"), b.filled(b.shape_of(exponent), 1, "int32"))
    for part in (half, b.subtract(as_tensor(exponent, "int32"), half)):
        x = b.multiply(x, emit("power", b.like(x, 2), as_tensor(part, x.dtype)))
    return x


@public_op(weak=False)
def gcd(x1: Any, x2: Any) -> Tensor:
    """Greatest common divisor of integers, by Euclid's algorithm on all elements at once."""
    return _gcd(*_integers(x1, x2, "gcd"))


def _integers(x1: Any, x2: Any, what: str) -> tuple[Tensor, Tensor]:
    x, y = pair(x1, x2, what)
    if not b.is_int(x):
        raise DTypeError(f"{what}: expected integers, received {x!r} and {y!r}")
    if x.dtype.startswith("uint"):
        return x, y
    return emit("abs", x), emit("abs", y)


def _gcd(x: Tensor, y: Tensor) -> Tensor:
    from ..trace import all_captures, require_trace, trace_region

    types = [x.value.type, y.value.type]

    def more(left: Tensor, right: Tensor) -> Tensor:
        return b.reduce("reduce_any", b.compare("NE", right, 0), range(right.ndim))

    def step(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        done = b.compare("EQ", right, 0)
        rest = emit("remainder", left, b.select(done, 1, right))
        return b.select(done, left, right), b.select(done, right, rest)

    regions = [trace_region(body, types) for body in (more, step)]
    assert not all_captures(regions)
    graphs = [region.close([]) for region in regions]
    return require_trace().emit("while", (x, y), {"consts": 0}, graphs)[0]


@public_op(weak=False)
def lcm(x1: Any, x2: Any) -> Tensor:
    """Least common multiple of integers."""
    x, y = _integers(x1, x2, "lcm")
    divisor = _gcd(x, y)
    nothing = b.compare("EQ", divisor, 0)
    return b.select(nothing, 0, b.multiply(x, b.divide(y, b.select(nothing, 1, divisor))))


@public_op
def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """``x`` limited to ``x_min`` and ``x_max`` (numbers or tensors; None: no limit)."""
    given = [limit for limit in (x_min, x_max) if limit is not None]
    x, *limits = promote(b.no_bool(x), *given)
    bounds = dict(zip([name for name, limit in (("low", x_min), ("high", x_max)) if limit is not None], limits))
    if len(bounds) == 2 and not bounds["low"].ndim and not bounds["high"].ndim:
        return emit("clamp", bounds["low"], x, bounds["high"])
    for name, op in (("low", "maximum"), ("high", "minimum")):
        if name in bounds:
            x = emit(op, *broadcast(x, bounds[name], what="clip"))
    return x
