"""What attention and its derivative both compute: the unscaled weights of a softmax over scores.

Heads are next to the batch: ``[batch, heads, time, source]``. Where query heads share a key head, they are rows of one
matrix, ``[batch, groups, rows, source]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from ...builder import Builder
from ...dims import DimLike
from ...errors import ShapeError
from ...graph import Value
from ...opdef import Call
from ...types import F32, I32
from .rules import wide


def operand_names(c: Call) -> list[str]:
    """The operands that the flags ask for, in order."""
    return ["query", "key", "value", *(name for name in ("bias", "mask") if c[name])]


def scale_of(c: Call, depth: DimLike) -> float:
    """What scores are multiplied by. Raises ShapeError where it is left open for an open ``depth``."""
    if c["scale"] is not None:
        return c["scale"]
    if not isinstance(depth, int) or depth == 0:
        raise ShapeError(
            f"attention: the default scale 1/sqrt(depth) needs a known depth >= 1, received {depth}; give scale"
        )
    return 1 / math.sqrt(depth)


@dataclass(frozen=True)
class Weighed:
    """The parts of one attention.

    Attributes:
        query: [batch, groups, rows, depth].
        key: [batch, groups, depth, source].
        value: [batch, groups, source, depth of values].
        weights: exp(logits - their maximum), [batch, heads, time, source], in f32 for narrow floats.
        total: their sums over the source, [batch, heads, time].
        allowed: where there is something to attend to, of the shape of ``weights``; None: everywhere.
    """

    query: Value
    key: Value
    value: Value
    weights: Value
    total: Value
    allowed: Value | None

    @property
    def groups(self) -> DimLike:
        return self.value.shape[1]

    @property
    def depth(self) -> DimLike:
        return self.value.shape[3]

    def narrow_weights(self, b: Builder) -> Value:
        """The weights as a factor of a product with ``value``: of its type, rows grouped."""
        return grouped(b, b.astype(self.weights, self.value.dtype), self.groups)


def weigh(b: Builder, c: Call, query: Value, key: Value, value: Value, rest: Sequence[Value]) -> Weighed:
    """Everything of an attention but the product of weights and values."""
    given = dict(zip(operand_names(c)[3:], rest, strict=True))
    # Heads go next to the batch, once for each operand, and keys become columns: plain matrix products are fastest.
    query, value = (b.transpose(x, permutation=(0, 2, 1, 3)) for x in (query, value))
    key = b.transpose(key, permutation=(0, 2, 3, 1))
    shape = (*query.shape[:3], key.shape[3])
    query = grouped(b, query, key.shape[1])
    logits = shaped(b, matmul(b, query, key, dtype=wide(query.dtype)), shape)
    logits = b.multiply(logits, b.full_like(logits, scale_of(c, query.shape[3])))
    if "bias" in given:
        logits = b.add(logits, b.broadcast_to(b.astype(given["bias"], logits.dtype), logits.shape))
    masks = [b.broadcast_to(given["mask"], logits.shape)] if "mask" in given else []
    if c["causal"]:
        masks.append(_not_later(b, logits.shape))
    allowed = None
    if masks:
        allowed = masks[0] if len(masks) == 1 else b.and_(*masks)
        # Finite, so that a row where nothing may be attended to gives the plain mean and no NaN.
        never = -0.7 * float(ml_dtypes.finfo(F32).max)
        logits = b.select(allowed, logits, b.full_like(logits, never))
    top = b.stop_gradient(b.reduce_max(logits, axes=(3,)))  # it cancels
    weights = b.exponential(b.subtract(logits, b.expand(top, logits.shape, (3,))))
    return Weighed(query, key, value, weights, b.reduce_sum(weights, axes=(3,)), allowed)


def grouped(b: Builder, x: Value, groups: DimLike) -> Value:
    """[batch, heads, time, n] as [batch, groups, rows, n]: the heads that share a key are rows of one matrix."""
    batch, heads, time, last = x.shape
    return x if heads == groups else b.reshape(x, shape=(batch, groups, heads // groups * time, last))


def shaped(b: Builder, x: Value, shape: Sequence[DimLike]) -> Value:
    """``x`` under ``shape``; itself where it has it."""
    return x if x.shape == tuple(shape) else b.reshape(x, shape=tuple(shape))


def matmul(b: Builder, x: Value, y: Value, axes: tuple[int, int] = (3, 2), dtype: np.dtype | None = None) -> Value:
    """Products of matrices for each batch and group; ``axes``: which axis of each factor is summed over."""
    i, j = axes
    return b.dot_general(x, y, lhs_batch=(0, 1), rhs_batch=(0, 1), lhs_contract=(i,), rhs_contract=(j,), dtype=dtype)


def _not_later(b: Builder, shape: Sequence[DimLike]) -> Value:
    """True where the source position is not after the query position."""
    return b.compare(b.iota(dtype=I32, shape=shape, axis=2), b.iota(dtype=I32, shape=shape, axis=3), direction="GE")
