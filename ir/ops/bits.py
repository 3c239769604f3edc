"""Ops on the bits of numbers: shifts and counts, neighbours, rounding to fewer bits, the same bits as another type.

Their width matters, so they see the element type itself. A shift by the width or more leaves zeros (or sign bits).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from ..batching import rules as batching
from ..derivatives import elementwise as derivatives
from ..derivatives import rules
from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..types import BOOL, F32, F64, TensorType, bit_width, is_integer, short_name
from . import numerics
from .checks import allowed_types, family, operand_count, same_dtype, same_shape

Function = Callable[..., Any]


def _bits(name: str, meaning: str, arity: int, rule: Function, families: str = "i", least_width: int = 0) -> OpDef:
    def infer(call: Call, *types: TensorType) -> TensorType:
        operand_count(call, types, arity)
        allowed_types(call, types[0], families)
        if bit_width(types[0].dtype) < least_width:
            raise DTypeError(f"{name}: expected {least_width} bits or more, received {types[0]}; convert it first")
        same_dtype(call, *types)
        same_shape(call, *types)
        return types[0]

    evaluate = np.errstate(all="ignore")(rule)
    return declare(
        OpDef(name, meaning, infer, evaluate, elementwise=True, jvp=rules.constant, batch=batching.elementwise)
    )


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
    signed = _SIGNED.get(bit_width(x.dtype)) or np.dtype(f"i{x.dtype.itemsize}")
    number = numerics.narrow(numerics.pattern(x), signed).astype(numerics.widened(signed))
    distance = np.where(too_far, bit_width(x.dtype) - 1, amount).astype(number.dtype)
    return numerics.narrow(number >> distance, x.dtype)


_SIGNED = {2: np.dtype(ml_dtypes.int2), 4: np.dtype(ml_dtypes.int4)}


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
        jvp=rules.linear,
        transpose=derivatives.reduce_precision_transpose,
        batch=batching.elementwise,
    )
)


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
    if max(before, after) % min(before, after):
        raise DTypeError(f"bitcast_convert: {x} has no whole number of {short_name(target)} in an element")
    if before > after:
        return TensorType(target, (*x.shape, before // after))
    if not x.rank or x.shape[-1] != after // before:
        raise ShapeError(
            f"bitcast_convert: {short_name(target)} is made of {after // before} elements of "
            f"{short_name(x.dtype)}; expected a last dimension of {after // before}, received {x}"
        )
    return TensorType(target, x.shape[:-1])


def _bitcast(call: Call, x: np.ndarray) -> np.ndarray:
    """Through bytes, of which narrow elements take parts: the first element the lowest bits."""
    target, after = call["dtype"], bit_width(call["dtype"])
    before = bit_width(x.dtype)
    if target == x.dtype:
        return x
    shape = (*x.shape, before // after) if before > after else x.shape if before == after else x.shape[:-1]
    if before == after < 8:
        return _of_pattern(numerics.pattern(x), target)
    if before < 8:
        parts = numerics.pattern(x).reshape(-1, min(8, after) // before if after > before else 1)
        places = np.arange(parts.shape[1], dtype=np.uint8) * np.uint8(before)
        octets = np.bitwise_or.reduce(parts << places, axis=1, dtype=np.uint8)
    else:
        octets = np.frombuffer(x.tobytes(), np.uint8)
    if after < 8:
        places = np.arange(0, max(min(8, before), after), after, dtype=np.uint8)
        return _of_pattern((octets[:, np.newaxis] >> places) & np.uint8(2**after - 1), target).reshape(shape)
    return octets.view(target).reshape(shape)


def _of_pattern(bits: np.ndarray, target: np.dtype) -> np.ndarray:
    """Narrow elements from their bits."""
    return numerics.narrow(bits, target) if is_integer(target) else np.ascontiguousarray(bits).view(target)


declare(
    OpDef(
        "bitcast_convert",
        "The same bits as another type; another width takes or gives a last dimension (StableHLO spec, "
        "bitcast_convert)",
        _infer_bitcast,
        _bitcast,
        {"dtype": Attribute("dtype")},
        jvp=rules.constant,
        batch=batching.elementwise,
    )
)
