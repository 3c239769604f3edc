"""Comparison, logic and bits, elementwise, as keras.ops has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.errors import DTypeError
from ..convert import as_tensor, broadcast, emit, promote
from ..dispatch import public_op
from ..tensor import Tensor
from . import building as b
from .elementwise import named


def comparison(name: str, direction: str, meaning: str) -> Callable[..., Any]:
    """The public op of one direction of ``compare``."""

    def rule(x1: Any, x2: Any) -> Tensor:
        return emit("compare", *broadcast(*promote(x1, x2), what=name), direction=direction)

    return named(rule, name, f"``{meaning}``, elementwise, as bools.")


equal = comparison("equal", "EQ", "x1 == x2")
not_equal = comparison("not_equal", "NE", "x1 != x2")
less = comparison("less", "LT", "x1 < x2")
less_equal = comparison("less_equal", "LE", "x1 <= x2")
greater = comparison("greater", "GT", "x1 > x2")
greater_equal = comparison("greater_equal", "GE", "x1 >= x2")


def logical(name: str, op: str, meaning: str) -> Callable[..., Any]:
    """The public op of a logical connective: what is not zero is True."""

    def rule(x1: Any, x2: Any) -> Tensor:
        return emit(op, *broadcast(b.as_bool(x1), b.as_bool(x2), what=name))

    return named(rule, name, f"{meaning}, elementwise; what is not zero is True.")


logical_and = logical("logical_and", "and", "Whether both hold")
logical_or = logical("logical_or", "or", "Whether one holds")
logical_xor = logical("logical_xor", "xor", "Whether exactly one holds")


@public_op
def logical_not(x: Any) -> Tensor:
    """Whether ``x`` is zero or False."""
    return emit("not", b.as_bool(x))


@public_op(weak=False)
def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether ``|x1 - x2| <= atol + rtol * |x2|``."""
    return _close(x1, x2, rtol, atol, equal_nan)


def _close(x1: Any, x2: Any, rtol: float, atol: float, equal_nan: bool) -> Tensor:
    x, y = broadcast(*promote(x1, x2), what="isclose")
    if not b.is_float(x):
        if x.dtype == "bool":
            return b.compare("EQ", x, y)
        x, y = as_tensor(x, "float32"), as_tensor(y, "float32")
    near = b.compare("LE", emit("abs", b.subtract(x, y)), b.add(b.multiply(emit("abs", y), rtol), atol))
    finite = emit("and", emit("is_finite", x), emit("is_finite", y))
    result = emit("or", emit("and", near, finite), b.compare("EQ", x, y))
    if equal_nan:
        result = emit("or", result, emit("and", b.compare("NE", x, x), b.compare("NE", y, y)))
    return result


@public_op(weak=False)
def allclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether :func:`isclose` holds everywhere."""
    close = _close(x1, x2, rtol, atol, equal_nan)
    return b.reduce("reduce_all", close, range(close.ndim))


# Bits.


def bitwise(name: str, op: str, meaning: str) -> Callable[..., Any]:
    """The public op of a bitwise op on integers or bools."""

    def rule(x: Any, y: Any) -> Tensor:
        return emit(op, *_bits(name, x, y))

    return named(rule, name, f"{meaning}, elementwise, of integers or bools.")


def _bits(name: str, x: Any, y: Any) -> list[Tensor]:
    tensors = broadcast(*promote(x, y), what=name)
    if not b.is_int(tensors[0]) and tensors[0].dtype != "bool":
        raise DTypeError(f"{name}: expected integers or bools, received {tensors[0]!r} and {tensors[1]!r}")
    return tensors


bitwise_and = bitwise("bitwise_and", "and", "Bitwise and")
bitwise_or = bitwise("bitwise_or", "or", "Bitwise or")
bitwise_xor = bitwise("bitwise_xor", "xor", "Bitwise exclusive or")


@public_op
def bitwise_not(x: Any) -> Tensor:
    """All bits flipped; of bools the negation."""
    x = as_tensor(x)
    if not b.is_int(x) and x.dtype != "bool":
        raise DTypeError(f"bitwise_not: expected integers or bools, received {x!r}")
    return emit("not", x)


bitwise_invert = bitwise_not


@public_op
def bitwise_left_shift(x: Any, y: Any) -> Tensor:
    """The bits moved left by ``y``."""
    return emit("shift_left", *_bits("bitwise_left_shift", b.no_bool(x), y))


@public_op
def bitwise_right_shift(x: Any, y: Any) -> Tensor:
    """The bits moved right by ``y``; the sign stays."""
    x, y = _bits("bitwise_right_shift", b.no_bool(x), y)
    return emit("shift_right_logical" if x.dtype.startswith("uint") else "shift_right_arithmetic", x, y)


left_shift = bitwise_left_shift
right_shift = bitwise_right_shift
