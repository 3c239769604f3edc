"""Rules where StableHLO or XLA differs from what the graph means, and what is emitted so that both agree."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from ..ir.builder import Builder, binary_region
from ..ir.graph import Graph, Node, Value
from ..ir.opdef import Call
from ..ir.regions import simple_region
from ..ir.types import BOOL, F32, bit_width, highest, is_complex, is_float, is_integer, is_unsigned, lowest
from . import linalg
from . import stablehlo_attributes as attributes
from .emitter import Emitter, op
from .mlir import ir

_cbrt = op("stablehlo.cbrt")
_power = op("stablehlo.power")
_convert = op("stablehlo.convert")
_reduce = op("stablehlo.reduce", attributes.reduce)
_reduce_window = op("stablehlo.reduce_window", attributes.reduce_window)
_cholesky = op("stablehlo.cholesky", attributes.cholesky)


def convert(emitter: Emitter, node: Node, x: ir.Value) -> object:
    """Complex numbers become others by their real part, and bool by comparison with zero."""
    source, target = node.operands[0].dtype, node.attributes["dtype"]
    if is_complex(source) and not is_complex(target):
        return emitter.expand(_from_complex, node, [x])
    return _convert(emitter, node, x)


def _from_complex(builder: Builder, call: Call, x: Value) -> Value:
    if call["dtype"] == BOOL:
        return builder.compare(x, builder.full_like(x, 0), direction="NE")
    return builder.astype(builder.real(x), call["dtype"])


def cbrt(emitter: Emitter, node: Node, x: ir.Value) -> object:
    """XLA has no complex cube root."""
    return emitter.expand(_complex_cbrt, node, [x]) if is_complex(node.operands[0].dtype) else _cbrt(emitter, node, x)


def _complex_cbrt(builder: Builder, call: Call, x: Value) -> Value:
    zero = builder.full_like(x, 0)
    root = builder.exponential(builder.divide(builder.log(x), builder.full_like(x, 3)))
    return builder.select(builder.compare(x, zero, direction="EQ"), zero, root)


def power(emitter: Emitter, node: Node, x: ir.Value, exponent: ir.Value) -> object:
    """XLA's integer power reads six bits of the exponent, which is right where the result does not wrap."""
    if not is_integer(node.operands[0].dtype) or _is_small_constant(node.operands[1]):
        return _power(emitter, node, x, exponent)
    return emitter.expand(_integer_power, node, [x, exponent])


def _is_small_constant(value: Value) -> bool:
    maker = value.producer
    while maker is not None and maker.op.name == "broadcast_in_dim":
        maker = maker.operands[0].producer
    if maker is None or maker.op.name != "constant":
        return False
    numbers = maker.attributes["value"]
    return bool(np.all((numbers >= 0) & (numbers < 64)))


def _integer_power(builder: Builder, call: Call, x: Value, exponent: Value) -> Value:
    """By squaring, one turn for each bit of the exponent; a negative one leaves 0, or the sign where x is 1 or -1."""
    zero, one = builder.full_like(x, 0), builder.full_like(x, 1)
    result, square = one, x
    for bit in range(bit_width(x.dtype) - (0 if is_unsigned(x.dtype) else 1)):
        mask = builder.full_like(exponent, 2**bit)
        is_set = builder.compare(builder.and_(exponent, mask), zero, direction="NE")
        result = builder.select(is_set, builder.multiply(result, square), result)
        square = builder.multiply(square, square)
    if is_unsigned(x.dtype):
        return result
    odd = builder.compare(builder.and_(exponent, one), zero, direction="NE")
    minus_one = builder.full_like(x, -1)
    sign = builder.select(odd, minus_one, one)
    whole = builder.select(builder.compare(x, minus_one, direction="EQ"), sign, zero)
    whole = builder.select(builder.compare(x, one, direction="EQ"), one, whole)
    return builder.select(builder.compare(exponent, zero, direction="LT"), whole, result)


def cholesky(emitter: Emitter, node: Node, a: ir.Value) -> object:
    """XLA leaves the other triangle undefined, and NaN in parts only where the matrix is not positive definite."""
    factor = _cholesky(emitter, node, a).result
    scratch = Graph()
    values = [scratch.add_input(node.operands[0].type) for _ in (a, factor)]
    scratch.outputs = [
        linalg.cholesky(Builder(scratch, location=node.location), Call(node.op, node.attributes), *values)
    ]
    return emitter.graph(scratch, [a, factor])


def reduce(emitter: Emitter, node: Node, *operands: ir.Value) -> object:
    """Sums and products of narrow floats accumulate in float32; a start value that is no identity counts once.

    XLA may fold the start value any number of times, which only an identity hides.
    """
    name = simple_region(node.regions[0])
    if _is_narrow_sum(node):
        return _accumulated_wide(emitter, node, operands)
    if name is None or _has_no_identity(node) or _is_identity(node.operands[1], name):
        return _reduce(emitter, node, *operands)
    return emitter.expand(_start_apart, node, operands)


def _has_no_identity(node: Node) -> bool:
    """The greatest of complex numbers: no number is below all others."""
    return is_complex(node.operands[0].dtype) and simple_region(node.regions[0]) in ("maximum", "minimum")


def _start_apart(builder: Builder, call: Call, x: Value, start: Value) -> Value:
    name = simple_region(call.regions[0])
    assert name is not None
    identity = builder.constant(_identity(name, x.dtype), x.dtype)
    folded = builder.reduce(x, identity, regions=call.regions, **call.attributes)
    return builder.emit(name, (builder.broadcast_to(start, folded.shape), folded))[0]


def _identity(name: str, dtype: np.dtype) -> np.ndarray:
    """The value that the op ``name`` leaves others alone with."""
    if name in ("add", "or", "xor") or (dtype == BOOL and name == "maximum"):
        return np.zeros((), dtype)
    if name == "multiply" or dtype == BOOL:
        return np.ones((), dtype)
    if name == "and":
        return np.array(ml_dtypes.iinfo(dtype).max if is_unsigned(dtype) else -1).astype(dtype)
    return np.array(lowest(dtype) if name == "maximum" else highest(dtype)).astype(dtype)


def _is_identity(start: Value, name: str) -> bool:
    maker = start.producer
    return (
        maker is not None
        and maker.op.name == "constant"
        and bool(maker.attributes["value"] == _identity(name, start.dtype))
    )


def reduce_window(emitter: Emitter, node: Node, *operands: ir.Value) -> object:
    """As :func:`reduce`."""
    return (
        _accumulated_wide(emitter, node, operands) if _is_narrow_sum(node) else _reduce_window(emitter, node, *operands)
    )


def _is_narrow_sum(node: Node) -> bool:
    dtype = node.operands[0].dtype
    return is_float(dtype) and bit_width(dtype) < 32 and simple_region(node.regions[0]) in ("add", "multiply")


def _accumulated_wide(emitter: Emitter, node: Node, operands: Sequence[ir.Value]) -> list[ir.Value]:
    def rule(builder: Builder, call: Call, *values: Value) -> Value:
        name = simple_region(node.regions[0])
        assert name is not None
        wide = [builder.astype(v, F32) for v in values]
        (result,) = builder.emit(node.op, wide, dict(node.attributes), [binary_region(name, F32)])
        return builder.astype(result, values[0].dtype)

    return emitter.expand(rule, node, operands)
