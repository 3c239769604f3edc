"""Scaled dot-product attention."""

from __future__ import annotations

from ...batching import attention as batching
from ...builder import Builder
from ...derivatives import attention as derivatives
from ...dims import DimLike, same
from ...errors import DTypeError, ShapeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import BOOL, TensorType
from ..checks import allowed_types, same_dtype
from .attention_parts import matmul, operand_names, scale_of, shaped, weigh
from .rules import expect_operands, expect_shape


def _infer_attention(c: Call, *types: TensorType) -> TensorType:
    names = operand_names(c)
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
    scale_of(c, depth)
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
    vjp=derivatives.attention_vjp,
    batch=batching.attention,
)
def _attention(b: Builder, c: Call, query: Value, key: Value, value: Value, *rest: Value) -> Value:
    """The sums of weights divide at the end: there are fewer results than weights."""
    w = weigh(b, c, query, key, value, rest)
    mixed = shaped(b, matmul(b, w.narrow_weights(b), w.value, dtype=w.weights.dtype), (*w.weights.shape[:3], w.depth))
    total = b.expand(w.total, mixed.shape, (3,))
    return b.transpose(b.astype(b.divide(mixed, total), value.dtype), permutation=(0, 2, 1, 3))
