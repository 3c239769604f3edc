"""Rules for CHLO: what the graph has under the same name, NumPy's broadcasting, what StableHLO's pass spells out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.errors import UnsupportedError
from ...ir.graph import Graph, Value
from ...ir.types import is_complex
from ..mlir import spelled_out as in_stablehlo
from . import elementwise, shape
from .reading import Source
from .scope import Rule, Scope

_SAME = (
    *("sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "tan", "erf", "erfc", "erf_inv", "lgamma"),
    *("digamma", "next_after"),
)
_BROADCAST = (
    *("add", "and", "atan2", "complex", "divide", "maximum", "minimum", "multiply", "next_after", "or", "power"),
    *("remainder", "shift_left", "shift_right_arithmetic", "shift_right_logical", "subtract", "xor"),
)
_IN_MHLO = ("erf", "tan", "sinh", "cosh", "asin", "acos", "asinh", "acosh", "atanh")
#: What the graph has no op for; StableHLO's own pass says it in other operations.
_SPELLED_OUT = ("zeta", "bessel_i1e", "ragged_dot", "_asin_acos_kernel", "mulhi", "scan")


def broadcast(s: Scope, op: Source, values: Sequence[Value]) -> list[Value]:
    """Operands under one shape: trailing axes align, or as ``broadcast_dimensions`` says; a size of 1 stretches."""
    rank = max(v.rank for v in values)
    shape = list(max(values, key=lambda v: v.rank).shape)
    given = op.ints("broadcast_dimensions", None)
    places = [
        tuple(given) if given is not None and v.rank < rank else tuple(range(rank - v.rank, rank)) for v in values
    ]
    for value, dims in zip(values, places):
        for dim, size in zip(dims, value.shape):
            shape[dim] = size if shape[dim] == 1 else shape[dim]
    return [
        v if v.shape == tuple(shape) else s.b.broadcast_in_dim(v, shape=tuple(shape), dims=dims)
        for v, dims in zip(values, places)
    ]


def broadcasting(rule: Rule) -> Rule:
    """The rule of an operation that broadcasts its operands first."""
    return lambda s, op, *values: rule(s, op, *broadcast(s, op, values))


def broadcast_select(s: Scope, op: Source, predicate: Value, a: Value, b: Value) -> Value:
    """A scalar predicate stays one."""
    if predicate.rank:
        predicate, a, b = broadcast(s, op, (predicate, a, b))
    else:
        a, b = broadcast(s, op, (a, b))
    return s.b.select(predicate, a, b)


def conj(s: Scope, op: Source, x: Value) -> Value:
    """The imaginary part negated."""
    return s.b.complex(s.b.real(x), s.b.negate(s.b.imag(x))) if is_complex(x.dtype) else x


def square(s: Scope, op: Source, x: Value) -> Value:
    """Times itself."""
    return s.b.multiply(x, x)


def constant_like(s: Scope, op: Source, x: Value) -> Value:
    """One number everywhere, in the shape of the operand."""
    value = op.attributes["value"].value
    return s.b.full_like(x, value)


def is_infinite(sign: int) -> Rule:
    """The rule of is_inf (0), is_pos_inf and is_neg_inf."""

    def rule(s: Scope, op: Source, x: Value) -> Value:
        size = x if sign else s.b.abs(x)
        return s.b.compare(size, s.b.full_like(x, -np.inf if sign < 0 else np.inf), direction="EQ")

    return rule


def polygamma(s: Scope, op: Source, order: Value, x: Value) -> Value | Sequence[Value]:
    """The composite, where the order is one whole number for all; else by zeta."""
    number = _one_number(order)
    if number is not None and number == int(number) and 0 <= number < 64:
        return s.b.digamma(x) if number == 0 else s.b.polygamma(x, order=int(number))
    return spelled_out(s, op, order, x)


def _one_number(value: Value) -> float | None:
    producer = value.producer
    while producer is not None and producer.op.name in ("broadcast_in_dim", "convert", "reshape"):
        producer = producer.operands[0].producer
    if producer is None or producer.op.name != "constant":
        return None
    numbers = np.unique(np.asarray(producer.attributes["value"], np.float64))
    return float(numbers[0]) if numbers.size == 1 else None


def spelled_out(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """What StableHLO's pass makes of the operation, in its place."""
    module = in_stablehlo(op.operation, [(v.dtype, v.shape) for v in operands])
    s.importer.borrowed.append(module)
    block = next(iter(module.body.operations)).operation.regions[0].blocks[0]
    inner = Scope(s.importer, Graph())
    inner.graph, inner.builder = s.graph, s.builder
    inner.bind(block.arguments, operands)
    location = s.b.location
    results = inner.block(block)
    s.b.location = location
    return results


def top_k(s: Scope, op: Source, x: Value) -> Sequence[Value]:
    """The largest of the last axis and their places."""
    if not op.flag("largest", True):
        raise UnsupportedError(f"{op.name} of the smallest elements; negate the operand and the result")
    return s.b.top_k(x, k=op.integer("k"))


RULES: dict[str, Rule] = {
    **{f"chlo.{name}": elementwise.same(name) for name in _SAME},
    **{f"chlo.broadcast_{name}": broadcasting(elementwise.same(name)) for name in _BROADCAST},
    "chlo.broadcast_compare": broadcasting(elementwise.compare),
    "chlo.broadcast_select": broadcast_select,
    "chlo.broadcast_polygamma": broadcasting(polygamma),
    "chlo.broadcast_zeta": broadcasting(spelled_out),
    "chlo.conj": conj,
    "chlo.square": square,
    "chlo.constant_like": constant_like,
    "chlo.is_inf": is_infinite(0),
    "chlo.is_pos_inf": is_infinite(1),
    "chlo.is_neg_inf": is_infinite(-1),
    "chlo.polygamma": polygamma,
    "chlo.top_k": top_k,
    "chlo.constant": shape.constant,
    **{f"chlo.{name}": spelled_out for name in _SPELLED_OUT},
    # What MHLO has beyond StableHLO, as XLA's own programs show it.
    **{f"mhlo.{name}": elementwise.same(name) for name in _IN_MHLO},
    "mhlo.topk": top_k,
}
