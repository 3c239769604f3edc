"""Activations, layer normalization and matrix products as XLA's CPU backend runs them fast."""

from __future__ import annotations

import math

from ....ir.graph import Node, Value
from ....ir.ops.composites.rules import wide
from ....ir.types import ELEMENT_TYPES, F32
from ...rewrite import NoMatch, Rewriter, Rule, rule

BF16 = ELEMENT_TYPES["bf16"]
#: Products of fewer multiplications gain nothing.
FEWEST_MULTIPLICATIONS = 2**20


@rule("gelu")
def gelu_through_erf(r: Rewriter, node: Node) -> Value | NoMatch | None:
    """The exact gelu is x / 2 * (1 + erf(x / sqrt(2))), within 4 eps of abs(x): XLA's erfc takes eight times its erf.

    What is lost is the relative precision of results that are less than eps * abs(x); they become 0 in the end.
    """
    if node.attributes["approximate"]:
        return None
    x = node.operands[0]
    if x.dtype != F32:
        return NoMatch("the sum 1 + erf needs the precision of float32, and float64 keeps its own")
    one = r.full_like(x, 1)
    doubled = r.add(one, r.erf(r.multiply(x, r.full_like(x, math.sqrt(0.5)))))
    return r.multiply(r.multiply(x, r.full_like(x, 0.5)), doubled)


@rule("layer_norm")
def layer_norm_by_distance(r: Rewriter, node: Node) -> Value:
    """A layer_norm scales the distances from the mean, which the variance has already, in place of x itself."""
    x, *weights = node.operands
    a = node.attributes
    axes = tuple(sorted(axis % x.rank for axis in a["axes"]))
    inner = r.astype(x, wide(x.dtype))
    distance = r.subtract(inner, r.expand(r.reduce_mean(inner, axes=axes), x.shape, axes))
    variance = r.reduce_mean(r.multiply(distance, distance), axes=axes)
    inverse = r.rsqrt(r.add(variance, r.full_like(variance, a["epsilon"])))
    result = r.multiply(distance, r.expand(inverse, x.shape, axes))
    wide_weights = [r.broadcast_in_dim(r.astype(w, inner.dtype), shape=x.shape, dims=axes) for w in weights]
    if a["scale"]:
        result = r.multiply(result, wide_weights.pop(0))
    if a["center"]:
        result = r.add(result, wide_weights.pop(0))
    return r.astype(result, x.dtype)


@rule("dot_general")
def bfloat16_product_in_float32(r: Rewriter, node: Node) -> Value | NoMatch | None:
    """A product of bfloat16 matrices is made in float32 and rounded: what it means, and a faster routine of XLA's."""
    lhs, rhs = node.operands
    if lhs.dtype != BF16 or node.attributes["dtype"] not in (None, BF16):
        return None
    if node.attributes["lhs_contract"] != (lhs.rank - 1,):
        return NoMatch("the left operand does not contract its last dimension alone")
    sizes = (*node.result.shape, lhs.shape[-1])
    if not all(isinstance(d, int) for d in sizes) or math.prod(sizes) < FEWEST_MULTIPLICATIONS:
        return NoMatch(f"it is of fewer than {FEWEST_MULTIPLICATIONS} multiplications, or of open size")
    product = r.emit(node.op, [lhs, rhs], {**node.attributes, "dtype": F32})[0]
    return r.astype(product, BF16)


RULES: list[Rule] = [gelu_through_erf, layer_norm_by_distance, bfloat16_product_in_float32]
