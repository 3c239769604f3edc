"""What derivative rules share. A tangent or cotangent is a value, or None for zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call, Linear
from ..types import TensorType

Tangent = Value | None
#: ``(builder, result, *primals) -> the partial derivative``, of the result's type.
Partial = Callable[..., Value]


def zeros(b: Builder, type_: TensorType) -> Value:
    """Zeros of a type."""
    return b.full(type_.shape, 0, type_.dtype)


def of_shape(b: Builder, x: Value, shape: Sequence[DimLike]) -> Value:
    """``x``, known to have ``shape``, with that in its type: the arithmetic of open dimensions may not show it."""
    return x if x.shape == tuple(shape) else b.match_shape(x, shape=tuple(shape))


def known(b: Builder, tangent: Tangent, type_: TensorType) -> Value:
    """The tangent, or zeros of ``type_`` where it is None."""
    return zeros(b, type_) if tangent is None else tangent


def total(b: Builder, *tangents: Tangent) -> Tangent:
    """The sum of tangents of one type; None where all are."""
    present = [t for t in tangents if t is not None]
    return reduce(b.add, present) if present else None


def same(b: Builder, call: Call, operands: Sequence[Value]) -> Any:
    """The results of the op of ``call`` on other operands."""
    results = b.emit(call.op, operands, dict(call.attributes), call.regions)
    return results[0] if len(results) == 1 else results


def constant(b: Builder, call: Call, primals: Any, tangents: Any, results: Sequence[Value]) -> Any:
    """The jvp of an op whose derivative is zero wherever it has one (floor, sign, comparisons, integers)."""
    return None if len(results) == 1 else (None,) * len(results)


def linear(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Any:
    """The jvp of an op that is linear in all its operands together (add, reshape, concatenate)."""
    return same(b, call, [known(b, t, p.type) for t, p in zip(tangents, primals, strict=True)])


def linear_in_first(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Any:
    """The jvp of an op that is linear in its first operand, the others being indices or sizes."""
    return None if tangents[0] is None else same(b, call, [tangents[0], *primals[1:]])


def bilinear(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
    """The jvp of a product of two operands: ``op(dx, y) + op(x, dy)``."""
    (x, y), (dx, dy) = primals, tangents
    left = None if dx is None else same(b, call, [dx, y])
    right = None if dy is None else same(b, call, [x, dy])
    return total(b, left, right)


def by_partials(*partials: Partial | None) -> Callable[..., Tangent]:
    """The jvp of an elementwise op from its partial derivatives, one for each operand; None: that one is zero."""

    def jvp(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Tangent:
        return total(
            b,
            *(
                b.multiply(t, partial(b, results[0], *primals))
                for t, partial in zip(tangents, partials, strict=True)
                if t is not None and partial is not None
            ),
        )

    return jvp


def is_linear(operand: Value | Linear) -> bool:
    """Whether an operand of a transpose rule is one that the cotangent goes to."""
    return isinstance(operand, Linear)
