"""Scaled dot-product attention."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from ...builder import Builder
from ...dims import DimLike, same
from ...errors import DTypeError, ShapeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import BOOL, F32, I32, TensorType
from ..checks import allowed_types, same_dtype
from .rules import expect_operands, expect_shape, wide


def _operand_names(c: Call) -> list[str]:
    return ["query", "key", "value", *(name for name in ("bias", "mask") if c[name])]


def _infer_attention(c: Call, *types: TensorType) -> TensorType:
    names = _operand_names(c)
    expect_operands(c, types, *names)
    query, key, value = types[:3]
    allowed_types(c, query, "f", "query")
    same_dtype(c, query, key, value)
    for name, type_ in zip(names, types[:3], strict=False):
        if type_.rank != 4:
            raise ShapeError(f"attention: expected {name} of shape [batch, time, heads, depth], received {type_}")
    (batch, time, heads, depth), (_, source, groups, _) = query.shape, key.shape
    expect_shape(c, "key", key, (batch, source, groups, depth), f"batch and depth as query {query}")
    expect_shape(c, "value", value, (batch, source, groups, value.shape[3]), f"time and heads as key {key}")
    _heads_per_group(c, heads, groups)
    for name, type_ in zip(names[3:], types[3:], strict=True):
        _check_logits_operand(c, name, type_, (batch, heads, time, source))
    _scale(c, depth)
    return TensorType(query.dtype, (batch, time, heads, value.shape[3]))


def _check_logits_operand(c: Call, name: str, type_: TensorType, shape: tuple[DimLike, ...]) -> None:
    if name == "mask" and type_.dtype != BOOL:
        raise DTypeError(f"attention: expected mask of i1 (True: attend), received {type_}; an additive one is a bias")
    if name == "bias":
        allowed_types(c, type_, "f", name)
    tail = shape[4 - type_.rank :] if type_.rank <= 4 else ()
    if type_.rank > 4 or any(d != 1 and same(d, t) is not True for d, t in zip(type_.shape, tail, strict=True)):
        wanted = ",".join(map(str, shape))
        raise ShapeError(
            f"attention: expected {name} that broadcasts to [batch, heads, time, source] = [{wanted}], received {type_}"
        )


def _scale(c: Call, depth: DimLike) -> float:
    if c["scale"] is not None:
        return c["scale"]
    if not isinstance(depth, int) or depth == 0:
        raise ShapeError(
            f"attention: the default scale 1/sqrt(depth) needs a known depth >= 1, received {depth}; give scale"
        )
    return 1 / math.sqrt(depth)


def _heads_per_group(c: Call, heads: DimLike, groups: DimLike) -> int:
    """How many query heads share one head of key and value."""
    if heads == groups:
        return 1
    if not isinstance(heads, int) or not isinstance(groups, int) or groups == 0 or heads % groups:
        raise ShapeError(
            f"attention: expected a number of query heads that is a multiple of key heads, "
            f"received {heads} and {groups}"
        )
    return heads // groups


@composite(
    "attention",
    "softmax(query key^T * scale + bias, where mask) value, for [batch, time, heads, depth]; query "
    "heads may share key heads; logits and softmax in f32 for narrow floats; operands bias and mask per the "
    "flags (jax.nn.dot_product_attention; Vaswani et al. 2017, arXiv:1706.03762)",
    _infer_attention,
    attributes={
        "scale": Attribute("float?", None),
        "causal": Attribute("bool", False),
        "bias": Attribute("bool", False),
        "mask": Attribute("bool", False),
    },
)
def _attention(b: Builder, c: Call, query: Value, key: Value, value: Value, *rest: Value) -> Value:
    given = dict(zip(_operand_names(c)[3:], rest, strict=True))
    # Heads go next to the batch, once for each operand, and keys become columns: plain matrix products are fastest.
    query, value = (b.transpose(x, permutation=(0, 2, 1, 3)) for x in (query, value))
    key = b.transpose(key, permutation=(0, 2, 3, 1))
    logits = _scores(b, query, key, _scale(c, query.shape[3]))
    if "bias" in given:
        logits = b.add(logits, b.broadcast_to(b.astype(given["bias"], logits.dtype), logits.shape))
    masks = [b.broadcast_to(given["mask"], logits.shape)] if "mask" in given else []
    if c["causal"]:
        masks.append(_not_later(b, logits.shape))
    if masks:
        allowed = masks[0] if len(masks) == 1 else b.and_(*masks)
        # Finite, so that a row where nothing may be attended to gives the plain mean and no NaN.
        never = -0.7 * float(ml_dtypes.finfo(F32).max)
        logits = b.select(allowed, logits, b.full_like(logits, never))
    return b.transpose(_weighted_mean(b, logits, value), permutation=(0, 2, 1, 3))


def _weighted_mean(b: Builder, logits: Value, value: Value) -> Value:
    """``softmax(logits) value``, divided by the sums of weights at the end: there are fewer results than weights."""
    top = b.stop_gradient(b.reduce_max(logits, axes=(3,)))  # it cancels
    weights = b.exponential(b.subtract(logits, b.expand(top, logits.shape, (3,))))
    (batch, heads, time, _), (_, groups, _, depth) = logits.shape, value.shape
    mixed = _matmul(b, _grouped(b, b.astype(weights, value.dtype), groups), value, weights.dtype)
    mixed = _shaped(b, mixed, (batch, heads, time, depth))
    total = b.expand(b.reduce_sum(weights, axes=(3,)), mixed.shape, (3,))
    return b.astype(b.divide(mixed, total), value.dtype)


def _scores(b: Builder, query: Value, key: Value, scale: float) -> Value:
    """``query key^T * scale`` of shape [batch, heads, time, source], in f32 for narrow floats."""
    batch, heads, time, _ = query.shape
    scores = _matmul(b, _grouped(b, query, key.shape[1]), key, wide(query.dtype))
    scores = _shaped(b, scores, (batch, heads, time, key.shape[3]))
    return b.multiply(scores, b.full_like(scores, scale))


def _grouped(b: Builder, x: Value, groups: DimLike) -> Value:
    """[batch, heads, time, n] as [batch, groups, rows, n]: the heads that share a key are rows of one matrix."""
    batch, heads, time, last = x.shape
    return x if heads == groups else b.reshape(x, shape=(batch, groups, heads // groups * time, last))


def _shaped(b: Builder, x: Value, shape: tuple[DimLike, ...]) -> Value:
    return x if x.shape == shape else b.reshape(x, shape=shape)


def _matmul(b: Builder, x: Value, y: Value, dtype: np.dtype | None = None) -> Value:
    """Products of matrices [batch, groups, rows, n] and [batch, groups, n, columns]."""
    return b.dot_general(x, y, lhs_batch=(0, 1), rhs_batch=(0, 1), lhs_contract=(3,), rhs_contract=(2,), dtype=dtype)


def _not_later(b: Builder, shape: tuple[DimLike, ...]) -> Value:
    """True where the source position is not after the query position."""
    return b.compare(b.iota(dtype=I32, shape=shape, axis=2), b.iota(dtype=I32, shape=shape, axis=3), direction="GE")
