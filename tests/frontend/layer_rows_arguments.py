"""Arguments that the other rows leave at their defaults, and cells called by themselves: rows of the parity table."""

import numpy as np
from layer_parity import Row, made

SEQUENCE, VOLUME = (2, 5, 4), (2, 5, 6, 4, 3)
STATE = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
PENALTIES = {"kernel_regularizer": "l2", "bias_regularizer": "l1", "activity_regularizer": "l1"}
LIMITS = {"kernel_constraint": "max_norm", "bias_constraint": "non_neg"}
FIRST_VALUES = {"kernel_initializer": "he_normal", "bias_initializer": "ones"}
PROJECTED = {**PENALTIES, **LIMITS, **FIRST_VALUES}
RECURRENT = {
    **PROJECTED,
    "recurrent_initializer": "he_normal",
    "recurrent_regularizer": "l1",
    "recurrent_constraint": "unit_norm",
}
CELL = {k: v for k, v in RECURRENT.items() if k != "activity_regularizer"}
DROPS = {"dropout": 0.2, "recurrent_dropout": 0.3, "seed": 1}
ATTENTION = {k: v for k, v in PROJECTED.items() if k != "activity_regularizer"}
OTHER = np.linspace(-2, 1, 40, dtype="float32").reshape(2, 5, 4)

RECURRENT_ROWS = [
    Row("SimpleRNN", {"units": 3, **CELL}, SEQUENCE),
    Row("SimpleRNN", {"units": 3, "stateful": True}, SEQUENCE, open_batch=False),
    Row("LSTM", {"units": 3, "recurrent_dropout": 0.3, "seed": 1, **RECURRENT}, SEQUENCE),
    Row("GRU", {"units": 3, "use_cudnn": False, "dropout": 0.2, "seed": 1, **RECURRENT}, SEQUENCE),
    Row("GRU", {"units": 3, "recurrent_activation": "relu", "stateful": True}, SEQUENCE, open_batch=False),
    Row("RNN", {"cell": made(lambda k: k.layers.GRUCell(3)), "go_backwards": True}, SEQUENCE),
    Row("RNN", {"cell": made(lambda k: k.layers.LSTMCell(3)), "stateful": True}, SEQUENCE, open_batch=False),
    Row("SimpleRNNCell", {"units": 3}, (2, 4), call={"states": [STATE]}),
    Row("SimpleRNNCell", {"units": 3, "activation": "relu", "use_bias": False}, (2, 4), call={"states": [STATE]}),
    Row("SimpleRNNCell", {"units": 3, **CELL, **DROPS}, (2, 4), call={"states": [STATE]}),
    Row("LSTMCell", {"units": 3}, (2, 4), call={"states": [STATE, -STATE]}),
    Row(
        "LSTMCell",
        {"units": 3, "activation": "relu", "recurrent_activation": "tanh", "use_bias": False},
        (2, 4),
        call={"states": [STATE, -STATE]},
    ),
    Row("LSTMCell", {"units": 3, "unit_forget_bias": False, **CELL, **DROPS}, (2, 4), call={"states": [STATE, STATE]}),
    Row("GRUCell", {"units": 3}, (2, 4), call={"states": [STATE]}),
    Row("GRUCell", {"units": 3, "reset_after": False, **CELL, **DROPS}, (2, 4), call={"states": [STATE]}),
    Row(
        "GRUCell",
        {"units": 3, "activation": "relu", "recurrent_activation": "tanh", "use_bias": False},
        (2, 4),
        call={"states": [STATE]},
    ),
    Row(
        "StackedRNNCells",
        {"cells": made(lambda k: [k.layers.GRUCell(3), k.layers.LSTMCell(3)])},
        (2, 4),
        call={"states": [[STATE], [STATE, -STATE]]},
    ),
]
CONVOLUTIONAL = [
    Row(
        name,
        {
            "filters": 2,
            "kernel_size": 2,
            "strides": 2,
            "padding": "same",
            "activation": "relu",
            "recurrent_activation": "tanh",
            "unit_forget_bias": False,
            **RECURRENT,
            **DROPS,
        },
        shape,
    )
    for name, shape in (
        ("ConvLSTM1D", (2, 3, 5, 2)),
        ("ConvLSTM2D", (2, 3, 5, 4, 2)),
        ("ConvLSTM3D", (2, 3, 3, 4, 3, 2)),
    )
] + [
    Row(
        name,
        {
            "filters": 2,
            "kernel_size": 2,
            "dilation_rate": 2,
            "data_format": "channels_first",
            "use_bias": False,
            "go_backwards": True,
            "return_sequences": True,
            "stateful": True,
        },
        shape,
        open_batch=False,
    )
    for name, shape in (
        ("ConvLSTM1D", (2, 3, 2, 5)),
        ("ConvLSTM2D", (2, 3, 2, 5, 4)),
        ("ConvLSTM3D", (2, 3, 2, 4, 3, 3)),
    )
]
OTHERS = [
    Row("AdaptiveAveragePooling3D", {"output_size": 2, "data_format": "channels_first"}, (2, 3, 5, 6, 4)),
    Row("AdaptiveMaxPooling1D", {"output_size": 3, "data_format": "channels_first"}, (2, 4, 9)),
    Row("Cropping3D", {"cropping": ((1, 0), (2, 1), (0, 1)), "data_format": "channels_first"}, (2, 3, 5, 6, 4)),
    Row("ZeroPadding3D", {"padding": (1, 0, 2), "data_format": "channels_first"}, (2, 3, 5, 6, 4)),
    Row("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 3), "bias_axes": "d", **PROJECTED}, SEQUENCE),
    Row(
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "flash_attention": False, **ATTENTION},
        SEQUENCE,
        call={"value": OTHER},
    ),
    Row(
        "GroupQueryAttention",
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "flash_attention": False, **ATTENTION},
        SEQUENCE,
        call={"value": OTHER},
    ),
]

ROWS = RECURRENT_ROWS + CONVOLUTIONAL + OTHERS
