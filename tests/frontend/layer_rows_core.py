"""Dense, Embedding and other core layers: rows of the parity table."""

import numpy as np
from layer_parity import Row

SEQUENCE = (2, 9, 4)
STEPS = np.arange(9) < np.array([[9], [4]])
WEIGHTS = {
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": "l2",
    "bias_regularizer": "l1",
    "activity_regularizer": "l1",
    "kernel_constraint": "max_norm",
    "bias_constraint": "non_neg",
}
TABLE = {
    "embeddings_initializer": "ones",
    "embeddings_regularizer": "l1",
    "embeddings_constraint": "unit_norm",
}
SCORES = {"tie_weights": False, "reverse_dtype": "float32", "logit_soft_cap": 2.0}
REVERSED = {"reverse": True}

ROWS = [
    Row("Dense", {"units": 5}, (3, 4)),
    Row("Dense", {"units": 5, "activation": "relu", "use_bias": False}, (2, 3, 4)),
    Row("Dense", {"units": 2, "activation": "softmax", **WEIGHTS}, (3, 4)),
    Row("Dense", {"units": 3, "trainable": False}, SEQUENCE, mask=STEPS),
    Row("Dense", {"units": 3}, (3, 4), dtype="int32"),
    Row("Dense", {"units": 1}, (3, 2, 2, 1, 4)),
    Row("Embedding", {"input_dim": 10, "output_dim": 3}, (3, 4), dtype="int32"),
    Row("Embedding", {"input_dim": 10, "output_dim": 3, "mask_zero": True, **TABLE}, (3, 4), dtype="int32", high=3),
    Row("Embedding", {"input_dim": 10, "output_dim": 1}, (3, 4, 2), dtype="uint8"),
    # A number of a row is cut to an integer: 2.9 is row 2. Negative ones count from the end; beyond both ends is NaN.
    Row("Embedding", {"input_dim": 4, "output_dim": 2}, (5,), dtype="float32", low=0, high=3.99),
    Row("Embedding", {"input_dim": 4, "output_dim": 2}, (5, 8), dtype="int32", low=-7, high=7),
    Row("ReversibleEmbedding", {"input_dim": 10, "output_dim": 3}, (3, 4), dtype="int32"),
    Row("ReversibleEmbedding", {"input_dim": 9, "output_dim": 3}, (2, 5, 3), call=REVERSED),
    Row(
        "ReversibleEmbedding",
        {"input_dim": 9, "output_dim": 3, "mask_zero": True, **SCORES, **TABLE},
        (3, 4),
        dtype="int32",
        high=3,
    ),
    Row("ReversibleEmbedding", {"input_dim": 9, "output_dim": 3, **SCORES}, (2, 3), call=REVERSED),
    Row("Identity", {}, (3, 4)),
    Row("Identity", {}, SEQUENCE, mask=STEPS),
    Row("Identity", {}, (3, 4), dtype="int32"),
    Row("Masking", {"mask_value": 0.5}, SEQUENCE),
    Row("Masking", {"mask_value": 1}, SEQUENCE, dtype="int32", high=2),
    Row("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, (3, 4)),
    Row("ActivityRegularization", {}, SEQUENCE, mask=STEPS),
]
