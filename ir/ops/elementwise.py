"""Ops that compute each result element from the operand elements at its place.

Arithmetic on types narrower than float32 runs in float32, functions of narrower types than float64 run in float64, and
the result is rounded once. Integers wrap. Where StableHLO leaves a value open this is the meaning: x/0 is -1 (all ones)
and x%0 is x for integers, INT_MIN/-1 wraps, a float out of an integer type's range converts to the nearest end and NaN
to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..batching import elementwise as batching
from ..derivatives import elementwise as derivatives
from ..derivatives import rules
from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..types import BOOL, F32, F64, TensorType, is_float, is_integer
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
    jvp: Any = rules.constant,
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

    return declare(
        OpDef(name, meaning, infer, evaluate, elementwise=True, jvp=jvp, batch=batching.elementwise, **fields)
    )


def unary(name: str, meaning: str, functions: dict[str, Function], **fields: Any) -> OpDef:
    """Declare an op of one operand."""
    return _elementwise(1, name, meaning, functions, **fields)


def binary(name: str, meaning: str, functions: dict[str, Function], **fields: Any) -> OpDef:
    """Declare an op of two operands of one type."""
    return _elementwise(2, name, meaning, functions, **fields)


def function(name: str, meaning: str, numpy_function: Function, jvp: Any, families: str = "fc") -> OpDef:
    """Declare a mathematical function of one operand, evaluated in float64."""
    return unary(name, meaning, {families: numpy_function}, precise=True, jvp=jvp)


def _real_part(type_: TensorType) -> TensorType:
    return type_.with_dtype({numerics.C64: F32, numerics.C128: F64}.get(type_.dtype, type_.dtype))


def _complex_of(type_: TensorType) -> TensorType:
    if type_.dtype not in (F32, F64):
        raise DTypeError(f"complex: expected float32 or float64 parts, received {type_}; convert them first")
    return type_.with_dtype(numerics.C64 if type_.dtype == F32 else numerics.C128)


def _bool_of(type_: TensorType) -> TensorType:
    return type_.with_dtype(BOOL)


# Unary ops.


unary(
    "abs",
    "|x|; of a complex number its length (StableHLO spec, abs)",
    {"ifc": np.abs},
    result=_real_part,
    jvp=derivatives.abs_,
)
unary(
    "negate",
    "-x (StableHLO spec, negate)",
    {"ifc": np.negative},
    jvp=rules.linear,
    transpose=derivatives.negate_transpose,
)
unary(
    "sign",
    "-1, 0 or 1; zeros and NaN stay; z/|z| for complex (StableHLO spec, sign)",
    {"i": np.sign, "f": numerics.sign, "c": numerics.complex_sign},
)
function("exponential", "e^x (StableHLO spec, exponential)", np.exp, derivatives.exponential)
function(
    "exponential_minus_one",
    "e^x - 1 (StableHLO spec, exponential_minus_one)",
    np.expm1,
    derivatives.exponential_minus_one,
)
function("log", "Natural logarithm (StableHLO spec, log)", np.log, derivatives.log)
function("log_plus_one", "log(1 + x) (StableHLO spec, log_plus_one)", np.log1p, derivatives.log_plus_one)
function("sqrt", "Square root (StableHLO spec, sqrt)", np.sqrt, derivatives.sqrt)
function("rsqrt", "1 / sqrt(x) (StableHLO spec, rsqrt)", lambda x: 1 / np.sqrt(x), derivatives.rsqrt)
function("cbrt", "Cube root (StableHLO spec, cbrt)", numerics.cbrt, derivatives.cbrt)
function("sine", "sin(x) (StableHLO spec, sine)", np.sin, derivatives.sine)
function("cosine", "cos(x) (StableHLO spec, cosine)", np.cos, derivatives.cosine)
function("tan", "tan(x) (StableHLO spec, tan)", np.tan, derivatives.tan)
function("tanh", "tanh(x) (StableHLO spec, tanh)", np.tanh, derivatives.tanh)
function("logistic", "1 / (1 + e^-x) (StableHLO spec, logistic)", numerics.logistic, derivatives.logistic)
function("sinh", "sinh(x) (CHLO, sinh)", np.sinh, derivatives.sinh)
function("cosh", "cosh(x) (CHLO, cosh)", np.cosh, derivatives.cosh)
function("asin", "Arc sine (CHLO, asin)", np.arcsin, derivatives.asin)
function("acos", "Arc cosine (CHLO, acos)", np.arccos, derivatives.acos)
function("atan", "Arc tangent (CHLO, atan)", np.arctan, derivatives.atan)
function("asinh", "Inverse of sinh (CHLO, asinh)", np.arcsinh, derivatives.asinh)
function("acosh", "Inverse of cosh; NaN below 1 (CHLO, acosh)", np.arccosh, derivatives.acosh)
function("atanh", "Inverse of tanh (CHLO, atanh)", np.arctanh, derivatives.atanh)
function("erf", "Error function (CHLO, erf)", special.erf, derivatives.erf, "f")
function("erfc", "1 - erf(x) (CHLO, erfc)", special.erfc, derivatives.erfc, "f")
function("erf_inv", "Inverse of erf (CHLO, erf_inv)", special.erf_inv, derivatives.erf_inv, "f")
function("lgamma", "log |Gamma(x)| (CHLO, lgamma)", special.lgamma, derivatives.lgamma, "f")
function("digamma", "Derivative of lgamma; NaN at its poles (CHLO, digamma)", special.digamma, derivatives.digamma, "f")
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
unary(
    "real",
    "Real part (StableHLO spec, real)",
    {"fc": np.real},
    result=_real_part,
    jvp=rules.linear,
    transpose=derivatives.real_transpose,
)
unary(
    "imag",
    "Imaginary part (StableHLO spec, imag)",
    {"c": np.imag, "f": np.zeros_like},
    result=_real_part,
    jvp=derivatives.imag,
    transpose=derivatives.imag_transpose,
)


# Binary ops.


binary(
    "add",
    "a + b; or for bool (StableHLO spec, add)",
    {"ifc": np.add, "b": np.logical_or},
    commutative=True,
    jvp=rules.linear,
    transpose=derivatives.add_transpose,
)
binary(
    "subtract",
    "a - b (StableHLO spec, subtract)",
    {"ifc": np.subtract},
    jvp=rules.linear,
    transpose=derivatives.subtract_transpose,
)
binary(
    "multiply",
    "a * b; and for bool (StableHLO spec, multiply)",
    {"ifc": np.multiply, "b": np.logical_and},
    commutative=True,
    jvp=rules.bilinear,
    transpose=derivatives.multiply_transpose,
)
binary(
    "divide",
    "a / b; toward zero for integers (StableHLO spec, divide)",
    {"i": numerics.integer_divide, "fc": np.divide},
    jvp=derivatives.divide,
    transpose=derivatives.divide_transpose,
)
binary(
    "remainder",
    "a - b * trunc(a / b): the sign of a (StableHLO spec, remainder)",
    {"i": numerics.integer_remainder, "f": np.fmod},
    jvp=derivatives.remainder,
)
binary(
    "power",
    "a to the b (StableHLO spec, power)",
    {"i": numerics.integer_power, "fc": np.power},
    precise=True,
    jvp=derivatives.power,
)
binary(
    "maximum",
    "The larger; NaN wins (StableHLO spec, maximum)",
    {"f": numerics.larger, "ic": np.maximum, "b": np.logical_or},
    commutative=True,
    jvp=derivatives.maximum,
)
binary(
    "minimum",
    "The smaller; NaN wins (StableHLO spec, minimum)",
    {"f": numerics.smaller, "ic": np.minimum, "b": np.logical_and},
    commutative=True,
    jvp=derivatives.minimum,
)
binary(
    "atan2",
    "Angle of the point (x=b, y=a) (StableHLO spec, atan2)",
    {"f": np.arctan2, "c": numerics.complex_atan2},
    precise=True,
    jvp=derivatives.atan2,
)
binary("and", "Bitwise and (StableHLO spec, and)", {"ib": np.bitwise_and}, commutative=True)
binary("or", "Bitwise or (StableHLO spec, or)", {"ib": np.bitwise_or}, commutative=True)
binary("xor", "Bitwise exclusive or (StableHLO spec, xor)", {"ib": np.bitwise_xor}, commutative=True)
binary(
    "complex",
    "a + b i (StableHLO spec, complex)",
    {"f": numerics.join},
    result=_complex_of,
    jvp=rules.linear,
    transpose=derivatives.complex_transpose,
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
        jvp=rules.constant,
        batch=batching.elementwise,
    )
)
declare(
    OpDef(
        "select",
        "on_true where the predicate (of the same shape, or a scalar) holds, else on_false (StableHLO spec, select)",
        _infer_select,
        lambda call, predicate, a, b: np.where(predicate, a, b),
        jvp=derivatives.select,
        transpose=derivatives.select_transpose,
        batch=batching.with_scalars(0),
    )
)
declare(
    OpDef(
        "clamp",
        "min(max(x, low), high); the bounds may be scalars (StableHLO spec, clamp)",
        _infer_clamp,
        _clamp,
        jvp=derivatives.clamp,
        batch=batching.with_scalars(0, 2),
    )
)


# convert.


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


declare(
    OpDef(
        "convert",
        "Value in another element type: rounds, truncates to integers, wraps between them (StableHLO spec, convert)",
        _infer_convert,
        _convert,
        {"dtype": Attribute("dtype")},
        elementwise=True,
        jvp=derivatives.convert,
        transpose=derivatives.convert_transpose,
        batch=batching.elementwise,
    )
)
