"""Composites that matter to training: dropout, and a stop for derivatives."""

from __future__ import annotations

import numpy as np

from ...batching import rules as batching
from ...builder import Builder
from ...derivatives import activations as derivatives
from ...derivatives import rules
from ...errors import ArgumentError, DTypeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import UI32, TensorType
from ..checks import allowed_types
from .rules import expect_operands, expect_shape, like_operand


def _infer_dropout(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "x", "seed")
    x, seed = types
    allowed_types(c, x, "f")
    if seed.dtype != UI32:
        raise DTypeError(f"dropout: expected seed ui32[2], received {seed}")
    expect_shape(c, "seed", seed, (2,), "two words of 32 bits")
    if not 0 <= c["rate"] <= 1:
        raise ArgumentError(f"dropout: expected a rate between 0 and 1, received {c['rate']}")
    return x


@composite(
    "dropout",
    "each element is 0 with probability rate, else x / (1 - rate); kept where dropout_bits(seed) >= "
    "rate * 2^32 (Srivastava et al. 2014, JMLR 15; keras.layers.Dropout)",
    _infer_dropout,
    attributes={"rate": Attribute("float")},
    jvp=rules.linear_in_first,
    transpose=derivatives.dropout_transpose,
)
def _dropout(b: Builder, c: Call, x: Value, seed: Value) -> Value:
    rate = c["rate"]
    bound = round(rate * 2**32)
    if bound == 0:
        return x
    zero = b.full_like(x, 0)
    if bound == 2**32:
        return zero
    bits = b.dropout_bits(seed, shape=x.shape)
    kept = b.compare(bits, b.full_like(bits, np.uint32(bound)), direction="GE")
    return b.select(kept, b.multiply(x, b.full_like(x, 1 / (1 - rate))), zero)


@composite(
    "stop_gradient",
    "x; its derivative is zero (jax.lax.stop_gradient)",
    like_operand("fibc"),
    jvp=rules.constant,
    batch=batching.elementwise,
)
def _stop_gradient(b: Builder, c: Call, x: Value) -> Value:
    return x
