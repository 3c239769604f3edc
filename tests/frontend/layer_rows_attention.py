"""EinsumDense and the attention layers: rows of the parity table."""

import numpy as np
from layer_parity import Row, made

REGULAR = {"kernel_regularizer": "l2", "bias_constraint": "non_neg", "kernel_initializer": "he_normal"}
QUERY, VALUE = (2, 5, 4), (2, 7, 6)


def draw(*shape, seed=5):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def mask(*shape, seed=6):
    return np.random.default_rng(seed).uniform(size=shape) < 0.6


def heads(config, *, query=QUERY, value=VALUE, **call):
    """A row of MultiHeadAttention with two heads of size 3."""
    return Row(
        "MultiHeadAttention", {"num_heads": 2, "key_dim": 3, **config}, query, call={"value": draw(*value), **call}
    )


def groups(config, *, value=(2, 7, 4), **call):
    """A row of GroupQueryAttention with four heads of queries on two of keys and values."""
    config = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, **config}
    return Row("GroupQueryAttention", config, QUERY, call={"value": draw(*value), **call})


def dense(equation, output_shape, shape, **config):
    return Row("EinsumDense", {"equation": equation, "output_shape": output_shape, **config}, shape)


PAIR, TRIPLE = [QUERY, (2, 7, 4)], [QUERY, (2, 7, 6), (2, 7, 4)]
MASKS = [mask(2, 5), mask(2, 7)]

ROWS = [
    dense("ab,bc->ac", 5, (3, 4)),
    dense("ab,bc->ac", 5, (3, 4), bias_axes="c", activation="relu", activity_regularizer="l1", **REGULAR),
    dense("abc,cd->abd", (None, 5), (2, 3, 4), bias_axes="d"),
    dense("abc,cde->abde", (3, 2, 5), (2, 3, 4), bias_axes="be"),
    dense("...x,xy->...y", 5, (2, 3, 4), bias_axes="y"),
    dense("...x,xy->...y", 5, (2, 4)),
    dense("ab...,bc->ac...", 5, (2, 3, 4), bias_axes="c"),
    dense("abc,bd->adc", (5, 4), (2, 3, 4), bias_axes="d"),
    heads({}),
    heads({}, value=QUERY, return_attention_scores=True),
    heads({"value_dim": 5, "dropout": 0.1, "use_bias": False, "output_shape": 3}, key=draw(2, 7, 4, seed=7)),
    heads({"output_shape": (3, 2), "dropout": 0.3, "seed": 1, "activity_regularizer": "l2", **REGULAR}),
    heads({}, use_causal_mask=True),
    heads({"dropout": 0.3}, use_causal_mask=True),
    heads({"sliding_window": 2}),
    heads({"sliding_window": 3}, use_causal_mask=True, attention_mask=mask(2, 5, 7)),
    heads({}, attention_mask=mask(2, 5, 7)),
    heads({}, attention_mask=mask(5, 7)),
    heads({}, attention_mask=mask(2, 2, 5, 7)),
    heads({"dropout": 0.3}, attention_mask=mask(2, 5, 7), use_causal_mask=True),
    heads({}, query_mask=mask(2, 5), value_mask=mask(2, 7)),
    heads({"dropout": 0.3}, query_mask=mask(2, 5), value_mask=mask(2, 7)),
    heads({}, value=QUERY, query_mask=mask(2, 5), return_attention_scores=True, use_causal_mask=True),
    heads({"use_gate": True}),
    heads({"use_gate": True, "value_dim": 4, "dropout": 0.1}),
    heads({"attention_axes": (1, 2)}, query=(2, 3, 4, 5), value=(2, 2, 3, 5)),
    heads({"attention_axes": 2}, query=(2, 3, 4, 5), value=(2, 3, 2, 5)),
    heads({}, query=(2, 3, 4, 5), value=(2, 3, 4, 5), query_mask=None),
    groups({}),
    groups({"num_key_value_heads": 4, "use_bias": False, "use_gate": True}),
    groups({"num_key_value_heads": 1, **REGULAR}, key=draw(2, 7, 4, seed=7)),
    groups({"dropout": 0.2, "seed": 3}, value_mask=mask(2, 7)),
    groups({"activity_regularizer": "l1"}, return_attention_scores=True),
    groups({"sliding_window": 2}, use_causal_mask=True, return_attention_scores=True),
    groups({}, use_causal_mask=True, attention_mask=mask(2, 5, 7)),
    Row("Attention", {}, PAIR),
    Row("Attention", {"use_scale": True, "dropout": 0.2, "seed": 2}, TRIPLE, mask=MASKS),
    Row("Attention", {"score_mode": "concat"}, PAIR, call={"use_causal_mask": True}),
    Row("Attention", {"score_mode": "concat", "use_scale": True}, PAIR, call={"return_attention_scores": True}),
    Row("Attention", {}, TRIPLE, mask=[None, MASKS[1]], call={"use_causal_mask": True}),
    Row("AdditiveAttention", {}, PAIR),
    Row("AdditiveAttention", {"use_scale": False}, TRIPLE, mask=MASKS, call={"return_attention_scores": True}),
    Row("AdditiveAttention", {"dropout": 0.2}, PAIR, mask=[MASKS[0], None], call={"use_causal_mask": True}),
    Row("Lambda", {"function": made(lambda k: k.activations.gelu)}, (3, 4)),
    Row(
        "Lambda",
        {"function": made(lambda k: k.activations.elu), "output_shape": (4,), "arguments": {"alpha": 0.5}},
        (3, 4),
    ),
]
