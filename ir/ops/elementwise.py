"""Ops that compute each result element from the operand elements at its place.

Arithmetic on types narrower than float32 runs in float32, functions of narrower types than float64 run in float64, and
the result is rounded once. Integers wrap. Where StableHLO leaves a value open this is the meaning: x/0 is -1 (all ones)
and x%0 is x for integers, INT_MIN/-1 wraps, a shift by the width or more leaves zeros (or sign bits), a float out of
an integer type's range converts to the nearest end and NaN to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..types import BOOL, F32, F64, TensorType, bit_width, is_float, is_integer, short_name
from . import numerics, special
from .checks import allowed_types, family, listing, operand_count, same_dtype, same_shape

Function = Callable[..., Any]


Result = Callable[[TensorType], TensorType]


def _elementwise(
    arity: int,
    name: str,
    meaning: str,
    functions: dict[str, Function],
    *,
    precise: bool = False,
    result: Result | None = None,
    **fields: Any,
) -> OpDef:
    """``functions``: letters of families -> NumPy function, as ``{"if": np.abs, "b": np.logical_not}``."""
    table = {letter: function for letters, function in functions.items() for letter in letters}

    def infer(call: Call, *types: TensorType) -> TensorType:
        operand_count(call, types, arity)
        allowed_types(call, types[0], "".join(table))
        same_dtype(call, *types)
        same_shape(call, *types)
        return result(types[0]) if result else types[0]

    @np.errstate(all="ignore")
    def evaluate(call: Call, *arrays: np.ndarray) -> np.ndarray:
        dtype = arrays[0].dtype
        inner = numerics.precise(dtype) if precise else numerics.widened(dtype)
        computed = table[family(dtype)](*(a.astype(inner) for a in arrays))
        return numerics.narrow(computed, result(TensorType(dtype)).dtype if result else dtype)

    return declare(OpDef(name, meaning, infer, evaluate, elementwise=True, **fields))


def unary(name: str, meaning: str, functions: dict[str, Function], **fields: Any) -> OpDef:
    """Declare an op of one operand."""
    return _elementwise(1, name, meaning, functions, **fields)


def binary(name: str, meaning: str, functions: dict[str, Function], **fields: Any) -> OpDef:
    """Declare an op of two operands of one type."""
    return _elementwise(2, name, meaning, functions, **fields)


def function(name: str, meaning: str, numpy_function: Function, families: str = "fc") -> OpDef:
    """Declare a mathematical function of one operand, evaluated in float64."""
    return unary(name, meaning, {families: numpy_function}, precise=True)


def _real_part(type_: TensorType) -> TensorType:
    return type_.with_dtype({numerics.C64: F32, numerics.C128: F64}.get(type_.dtype, type_.dtype))


def _complex_of(type_: TensorType) -> TensorType:
    if type_.dtype not in (F32, F64):
        raise DTypeError(f"complex: expected float32 or float64 parts, received {type_}; convert them first")
    return type_.with_dtype(numerics.C64 if type_.dtype == F32 else numerics.C128)


def _bool_of(type_: TensorType) -> TensorType:
    return type_.with_dtype(BOOL)


# Unary ops.


unary("abs", "|x|; of a complex number its length (StableHLO spec, abs)", {"ifc": np.abs}, result=_real_part)
unary("negate", "-x (StableHLO spec, negate)", {"ifc": np.negative})
unary(
    "sign",
    "-1, 0 or 1; zeros and NaN stay; z/|z| for complex (StableHLO spec, sign)",
    {"i": np.sign, "f": numerics.sign, "c": numerics.complex_sign},
)
function("exponential", "e^x (StableHLO spec, exponential)", np.exp)
function("exponential_minus_one", "e^x - 1 (StableHLO spec, exponential_minus_one)", np.expm1)
function("log", "Natural logarithm (StableHLO spec, log)", np.log)
function("log_plus_one", "log(1 + x) (StableHLO spec, log_plus_one)", np.log1p)
function("sqrt", "Square root (StableHLO spec, sqrt)", np.sqrt)
function("rsqrt", "1 / sqrt(x) (StableHLO spec, rsqrt)", lambda x: 1 / np.sqrt(x))
function("cbrt", "Cube root (StableHLO spec, cbrt)", numerics.cbrt)
function("sine", "sin(x) (StableHLO spec, sine)", np.sin)
function("cosine", "cos(x) (StableHLO spec, cosine)", np.cos)
function("tan", "tan(x) (StableHLO spec, tan)", np.tan)
function("tanh", "tanh(x) (StableHLO spec, tanh)", np.tanh)
function("logistic", "1 / (1 + e^-x) (StableHLO spec, logistic)", numerics.logistic)
function("sinh", "sinh(x) (CHLO, sinh)", np.sinh)
function("cosh", "cosh(x) (CHLO, cosh)", np.cosh)
function("asin", "Arc sine (CHLO, asin)", np.arcsin)
function("acos", "Arc cosine (CHLO, acos)", np.arccos)
function("atan", "Arc tangent (CHLO, atan)", np.arctan)
function("asinh", "Inverse of sinh (CHLO, asinh)", np.arcsinh)
function("acosh", "Inverse of cosh; NaN below 1 (CHLO, acosh)", np.arccosh)
function("atanh", "Inverse of tanh (CHLO, atanh)", np.arctanh)
function("erf", "Error function (CHLO, erf)", special.erf, "f")
function("erfc", "1 - erf(x) (CHLO, erfc)", special.erfc, "f")
function("erf_inv", "Inverse of erf (CHLO, erf_inv)", special.erf_inv, "f")
function("lgamma", "log |Gamma(x)| (CHLO, lgamma)", special.lgamma, "f")
function("digamma", "Derivative of lgamma; NaN at its poles (CHLO, digamma)", special.digamma, "f")
unary("floor", "Largest whole number not above x (StableHLO spec, floor)", {"f": np.floor})
unary("ceil", "Smallest whole number not below x (StableHLO spec, ceil)", {"f": np.ceil})
unary("round_nearest_even", "Nearest whole number, ties to even (StableHLO spec, round_nearest_even)", {"f": np.rint})
unary(
    "round_nearest_afz",
    "Nearest whole number, ties away from zero (StableHLO spec, round_nearest_afz)",
    {"f": numerics.round_away},
)
unary("is_finite", "Neither infinite nor NaN (StableHLO spec, is_finite)", {"f": np.isfinite}, result=_bool_of)
unary("not", "Bits flipped; logical for bool (StableHLO spec, not)", {"ib": np.invert})
unary("real", "Real part (StableHLO spec, real)", {"fc": np.real}, result=_real_part)
unary("imag", "Imaginary part (StableHLO spec, imag)", {"c": np.imag, "f": np.zeros_like}, result=_real_part)


# Binary ops.


binary("add", "a + b; or for bool (StableHLO spec, add)", {"ifc": np.add, "b": np.logical_or}, commutative=True)
binary("subtract", "a - b (StableHLO spec, subtract)", {"ifc": np.subtract})
binary(
    "multiply",
    "a * b; and for bool (StableHLO spec, multiply)",
    {"ifc": np.multiply, "b": np.logical_and},
    commutative=True,
)
binary(
    "divide",
    "a / b; toward zero for integers (StableHLO spec, divide)",
    {"i": numerics.integer_divide, "fc": np.divide},
)
binary(
    "remainder",
    "a - b * trunc(a / b): the sign of a (StableHLO spec, remainder)",
    {"i": numerics.integer_remainder, "f": np.fmod},
)
binary(
    "power",
    "a to the b (StableHLO spec, power)",
    {"i": numerics.integer_power, "fc": np.power},
    precise=True,
)
binary(
    "maximum",
    "The larger; NaN wins (StableHLO spec, maximum)",
    {"f": numerics.larger, "ic": np.maximum, "b": np.logical_or},
    commutative=True,
)
binary(
    "minimum",
    "The smaller; NaN wins (StableHLO spec, minimum)",
    {"f": numerics.smaller, "ic": np.minimum, "b": np.logical_and},
    commutative=True,
)
binary(
    "atan2",
    "Angle of the point (x=b, y=a) (StableHLO spec, atan2)",
    {"f": np.arctan2, "c": numerics.complex_atan2},
    precise=True,
)
binary("and", "Bitwise and (StableHLO spec, and)", {"ib": np.bitwise_and}, commutative=True)
binary("or", "Bitwise or (StableHLO spec, or)", {"ib": np.bitwise_or}, commutative=True)
binary("xor", "Bitwise exclusive or (StableHLO spec, xor)", {"ib": np.bitwise_xor}, commutative=True)
binary("complex", "a + b i (StableHLO spec, complex)", {"f": numerics.join}, result=_complex_of)


# Ops on bits. Their width matters, so they see the element type itself.


def _bits(name: str, meaning: str, arity: int, rule: Function, families: str = "i", least_width: int = 0) -> OpDef:
    def infer(call: Call, *types: TensorType) -> TensorType:
        operand_count(call, types, arity)
        allowed_types(call, types[0], families)
        if bit_width(types[0].dtype) < least_width:
            raise DTypeError(f"{name}: expected {least_width} bits or more, received {types[0]}; convert it first")
        same_dtype(call, *types)
        same_shape(call, *types)
        return types[0]

    return declare(OpDef(name, meaning, infer, np.errstate(all="ignore")(rule), elementwise=True))


def _popcnt(call: Call, x: np.ndarray) -> np.ndarray:
    return numerics.narrow(np.bitwise_count(numerics.pattern(x)), x.dtype)


def _leading_zeros(call: Call, x: np.ndarray) -> np.ndarray:
    bits, width = numerics.pattern(x), bit_width(x.dtype)
    step = 1
    while step < width:  # copy the highest set bit into all bits below it
        bits, step = bits | (bits >> bits.dtype.type(step)), step * 2
    return numerics.narrow(width - np.bitwise_count(bits), x.dtype)


def _shift_left(call: Call, x: np.ndarray, by: np.ndarray) -> np.ndarray:
    too_far, amount = _amount(by)
    return numerics.narrow(np.where(too_far, 0, numerics.pattern(x) << amount), x.dtype)


def _shift_right_logical(call: Call, x: np.ndarray, by: np.ndarray) -> np.ndarray:
    too_far, amount = _amount(by)
    return numerics.narrow(np.where(too_far, 0, numerics.pattern(x) >> amount), x.dtype)


def _shift_right_arithmetic(call: Call, x: np.ndarray, by: np.ndarray) -> np.ndarray:
    too_far, amount = _amount(by)
    signed = _INT4 if bit_width(x.dtype) < 8 else np.dtype(f"i{x.dtype.itemsize}")
    number = numerics.narrow(numerics.pattern(x), signed).astype(numerics.widened(signed))
    distance = np.where(too_far, bit_width(x.dtype) - 1, amount).astype(number.dtype)
    return numerics.narrow(number >> distance, x.dtype)


_INT4 = np.dtype(ml_dtypes.int4)


def _amount(by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a shift distance, read as unsigned, reaches the width; and the distance, 0 there."""
    distance = numerics.pattern(by)
    too_far = distance >= bit_width(by.dtype)
    return too_far, np.where(too_far, 0, distance).astype(distance.dtype)


def _reduce_precision(call: Call, x: np.ndarray) -> np.ndarray:
    """Round the mantissa to nearest even; a larger exponent becomes infinite, a smaller one zero."""
    wide = x.astype(F32) if x.dtype.itemsize == 1 else x
    info, bits = ml_dtypes.finfo(wide.dtype), numerics.pattern(wide)
    number = bits.dtype.type
    sign, infinity = number(1 << (info.bits - 1)), numerics.pattern(np.array(np.inf, wide.dtype))[()]
    magnitude = bits & ~sign
    cut = info.nmant - call["mantissa_bits"]
    if cut > 0:
        odd = (magnitude >> number(cut)) & number(1)
        magnitude = (magnitude + odd + number((1 << (cut - 1)) - 1)) & ~number((1 << cut) - 1)
    if call["exponent_bits"] < info.nexp:
        bias, reduced = (1 << (info.nexp - 1)) - 1, (1 << (call["exponent_bits"] - 1)) - 1
        exponent = magnitude >> number(info.nmant)
        magnitude = np.where(exponent > bias + reduced, infinity, magnitude)
        magnitude = np.where(exponent <= bias - reduced, number(0), magnitude)
    result = ((bits & sign) | magnitude).astype(bits.dtype).view(wide.dtype)
    return numerics.narrow(np.where(np.isnan(wide.astype(F64)), wide, result), x.dtype)


def _infer_reduce_precision(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    allowed_types(call, types[0], "f")
    if call["exponent_bits"] < 1 or call["mantissa_bits"] < 0:
        raise ArgumentError(
            f"reduce_precision: expected exponent_bits >= 1 and mantissa_bits >= 0, received "
            f"{call['exponent_bits']} and {call['mantissa_bits']}"
        )
    return types[0]


def _next_after(call: Call, x: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """The neighbour of x in the direction of ``toward``; of narrow types by counting on the bits."""
    if x.dtype in (F32, F64):
        return np.nextafter(x, toward)
    integer = numerics.unsigned(x.dtype)
    bits, a, b = numerics.pattern(x), x.astype(F32), toward.astype(F32)
    sign = integer.type(1 << (bit_width(x.dtype) - 1))
    outward = (a < b) == (a > 0)
    step = np.where(outward, 1, -1).astype(integer)
    moved = np.where(a == 0, np.where(np.signbit(b), sign | integer.type(1), integer.type(1)), bits + step)
    result = np.where(a == b, numerics.pattern(toward), moved).astype(integer).view(x.dtype)
    return np.where(np.isnan(a) | np.isnan(b), (a + b).astype(x.dtype), result)


_bits("popcnt", "Number of set bits (StableHLO spec, popcnt)", 1, _popcnt)
_bits(
    "count_leading_zeros",
    "Number of zero bits above the highest set bit (StableHLO spec, count_leading_zeros)",
    1,
    _leading_zeros,
)
_bits("shift_left", "a << b; 0 for b past the width (StableHLO spec, shift_left)", 2, _shift_left)
_bits("shift_right_logical", "a >> b, zeros enter (StableHLO spec, shift_right_logical)", 2, _shift_right_logical)
_bits(
    "shift_right_arithmetic",
    "a >> b, sign bits enter (StableHLO spec, shift_right_arithmetic)",
    2,
    _shift_right_arithmetic,
)
_bits("next_after", "The next representable number after a toward b (CHLO, next_after)", 2, _next_after, "f", 16)
declare(
    OpDef(
        "reduce_precision",
        "x rounded to a float of so many exponent and mantissa bits (StableHLO spec, reduce_precision)",
        _infer_reduce_precision,
        np.errstate(all="ignore")(_reduce_precision),
        {"exponent_bits": Attribute("int"), "mantissa_bits": Attribute("int")},
        elementwise=True,
    )
)


# compare, select, clamp.

_COMPARISONS: dict[str, Function] = {
    "EQ": np.equal,
    "NE": np.not_equal,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
}


def _infer_compare(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 2)
    same_dtype(call, *types)
    same_shape(call, *types)
    if call["direction"] not in _COMPARISONS:
        raise ArgumentError(f"compare: expected direction {', '.join(_COMPARISONS)}; received {call['direction']!r}")
    if family(types[0].dtype) == "c" and call["direction"] not in ("EQ", "NE"):
        raise DTypeError(
            f"compare: complex numbers have no order, received {types[0]}; expected direction EQ or NE, "
            "or compare real and imaginary parts"
        )
    if call["total_order"]:
        allowed_types(call, types[0], "f", "operand for total_order")
    return types[0].with_dtype(BOOL)


def _compare(call: Call, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if call["total_order"]:
        a, b = numerics.ordinal(a), numerics.ordinal(b)
    else:
        a, b = a.astype(numerics.widened(a.dtype)), b.astype(numerics.widened(b.dtype))
    return _COMPARISONS[call["direction"]](a, b)


def _infer_select(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 3)
    predicate, *branches = types
    if predicate.dtype != BOOL:
        raise DTypeError(f"select: expected a predicate of type bool, received {predicate}; compare with zero first")
    same_dtype(call, *branches)
    same_shape(call, *branches)
    if predicate.rank:
        same_shape(call, *types)
    return branches[0]


def _infer_clamp(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 3)
    same_dtype(call, *types)
    for bound in (types[0], types[2]):
        if bound.rank and bound.shape != types[1].shape:
            raise ShapeError(
                f"clamp: expected bounds that are scalars or have the shape of {types[1]}, received "
                f"{listing((types[0], types[2]))}"
            )
    allowed_types(call, types[1], "bif")
    return types[1]


@np.errstate(all="ignore")
def _clamp(call: Call, low: np.ndarray, x: np.ndarray, high: np.ndarray) -> np.ndarray:
    wide = numerics.widened(x.dtype)
    larger, smaller = (numerics.larger, numerics.smaller) if is_float(x.dtype) else (np.maximum, np.minimum)
    return numerics.narrow(smaller(larger(x.astype(wide), low.astype(wide)), high.astype(wide)), x.dtype)


declare(
    OpDef(
        "compare",
        "a `direction` b; with total_order in IEEE 754's total order (StableHLO spec, compare)",
        _infer_compare,
        _compare,
        {"direction": Attribute("str"), "total_order": Attribute("bool", False)},
        elementwise=True,
    )
)
declare(
    OpDef(
        "select",
        "on_true where the predicate (of the same shape, or a scalar) holds, else on_false (StableHLO spec, select)",
        _infer_select,
        lambda call, predicate, a, b: np.where(predicate, a, b),
    )
)
declare(
    OpDef("clamp", "min(max(x, low), high); the bounds may be scalars (StableHLO spec, clamp)", _infer_clamp, _clamp)
)


# convert and bitcast_convert.


def _infer_convert(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    return types[0].with_dtype(call["dtype"])


@np.errstate(all="ignore")
def _convert(call: Call, x: np.ndarray) -> np.ndarray:
    target = call["dtype"]
    if target == BOOL:
        return x.astype(numerics.widened(x.dtype)) != 0
    if family(x.dtype) == "c" and family(target) != "c":
        x = x.real
    if is_float(x.dtype) and is_integer(target):
        return numerics.float_to_integer(x.astype(F64), target)
    if is_integer(x.dtype) and numerics.widened(target) == F32:  # narrow floats round twice, as in XLA
        x = x.astype(numerics.widened(x.dtype)).astype(F32)
    return numerics.narrow(x.astype(numerics.widened(x.dtype)), target)


def _infer_bitcast(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    (x,), target = types, call["dtype"]
    before, after = bit_width(x.dtype), bit_width(target)
    if (family(x.dtype) == "c") != (family(target) == "c"):
        raise DTypeError(
            f"bitcast_convert: complex converts to complex only, received {x} and {short_name(target)}; "
            "take real and imag"
        )
    if before == after:
        return x.with_dtype(target)
    if BOOL in (x.dtype, target):
        raise DTypeError(
            f"bitcast_convert: bool has no other type of its width, received {x} and {short_name(target)}; use convert"
        )
    if before > after:
        return TensorType(target, (*x.shape, before // after))
    if not x.rank or x.shape[-1] != after // before:
        raise ShapeError(
            f"bitcast_convert: {short_name(target)} is made of {after // before} elements of "
            f"{short_name(x.dtype)}; expected a last dimension of {after // before}, received {x}"
        )
    return TensorType(target, x.shape[:-1])


def _bitcast(call: Call, x: np.ndarray) -> np.ndarray:
    """Through bytes, where an element of four bits takes half of one: the first element in the low half."""
    target, after = call["dtype"], bit_width(call["dtype"])
    before = bit_width(x.dtype)
    if target == x.dtype:
        return x
    shape = (*x.shape, before // after) if before > after else x.shape if before == after else x.shape[:-1]
    if before == after == 4:
        return numerics.narrow(numerics.pattern(x), target)
    if before == 4:
        pairs = numerics.pattern(x).reshape(-1, 2)
        x = pairs[:, 0] | (pairs[:, 1] << np.uint8(4))
    octets = np.frombuffer(x.tobytes(), np.uint8)
    if after == 4:
        return numerics.narrow(np.stack([octets & np.uint8(15), octets >> np.uint8(4)], -1), target).reshape(shape)
    return octets.view(target).reshape(shape)


declare(
    OpDef(
        "convert",
        "Value in another element type: rounds, truncates to integers, wraps between them (StableHLO spec, convert)",
        _infer_convert,
        _convert,
        {"dtype": Attribute("dtype")},
        elementwise=True,
    )
)
declare(
    OpDef(
        "bitcast_convert",
        "The same bits as another type; another width takes or gives a last dimension (StableHLO spec, "
        "bitcast_convert)",
        _infer_bitcast,
        _bitcast,
        {"dtype": Attribute("dtype")},
    )
)
