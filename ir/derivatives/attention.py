"""The reverse derivative of attention: four products of matrices, from the weights and the result.

With weights ``w = exp(logits - max)``, their sums ``t``, the result ``o`` and its cotangent over the sums
``d = do / t``, the values' cotangent is ``w^T d`` and that of the logits ``w (d v^T - sum(d o))`` (Dao et al. 2022,
arXiv:2205.14135, appendix B). The weights are computed as on the way forward, and so become one with those.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..graph import Value
from ..opdef import Call
from ..ops.composites.attention_parts import Weighed, grouped, matmul, operand_names, scale_of, shaped, weigh
from .rules import Tangent


def attention_vjp(
    b: Builder, call: Call, operands: Sequence[Value], results: Sequence[Value], cotangent: Value
) -> tuple[Tangent, ...]:
    """The cotangents of query, key, value and bias; a mask has none."""
    query, key, value, *rest = operands
    w = weigh(b, call, query, key, value, rest)
    narrow, inner = w.value.dtype, w.weights.dtype
    given, result = (
        b.astype(b.transpose(x, permutation=(0, 2, 1, 3)), inner) for x in (cotangent, results[0])
    )  # [batch, heads, time, depth]
    share = b.divide(given, b.expand(w.total, given.shape, (3,)))
    along = b.reduce_sum(b.multiply(share, result), axes=(3,))
    share = grouped(b, b.astype(share, narrow), w.groups)
    to_value = matmul(b, w.narrow_weights(b), share, (2, 2), inner)
    logits = _logits_cotangent(b, w, share, along)
    scores = b.multiply(logits, b.full_like(logits, scale_of(call, query.shape[3])))
    scores = grouped(b, b.astype(scores, narrow), w.groups)
    to_query = shaped(b, matmul(b, scores, w.key, (3, 3), inner), (*logits.shape[:3], query.shape[3]))
    to_key = matmul(b, scores, w.query, (2, 2), inner)
    found: list[Tangent] = [
        b.transpose(b.astype(x, narrow), permutation=(0, 2, 1, 3)) for x in (to_query, to_key, to_value)
    ]
    for name, operand in zip(operand_names(call)[3:], rest, strict=True):
        found.append(_summed(b, logits, operand) if name == "bias" else None)
    return tuple(found)


def _logits_cotangent(b: Builder, w: Weighed, share: Value, along: Value) -> Value:
    pulled = shaped(b, matmul(b, share, w.value, (3, 3), w.weights.dtype), w.weights.shape)
    pulled = b.multiply(w.weights, b.subtract(pulled, b.expand(along, pulled.shape, (3,))))
    # Where nothing may be attended to in a row, weights are not 0, and still depend on nothing.
    return pulled if w.allowed is None else b.select(w.allowed, pulled, b.full_like(pulled, 0))


def _summed(b: Builder, x: Value, like: Value) -> Value:
    """``x`` summed to the shape of ``like``, which broadcasts to its."""
    before = x.rank - like.rank
    axes = tuple(i for i in range(x.rank) if i < before or (like.shape[i - before] == 1 and x.shape[i] != 1))
    total = b.reduce_sum(x, axes=axes) if axes else x
    return b.astype(shaped(b, total, like.shape), like.dtype)
