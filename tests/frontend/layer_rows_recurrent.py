"""Recurrent layers and wrappers: rows of the parity table."""

import numpy as np
from layer_parity import Row, made

SEQUENCE = (2, 5, 4)
MASK = np.array([[True, True, True, False, False], [True, False, True, True, True]])
LATE = np.array([[False, False, True, True, True], [True, True, True, True, False]])  # masked from the start
STEPS = np.arange(24).reshape(2, 3, 4) % 5 != 0
ZERO = {"zero_output_for_mask": True}
WHOLE = {"return_sequences": True, "return_state": True}
REGULAR = {
    "kernel_regularizer": "l2",
    "recurrent_constraint": "non_neg",
    "bias_initializer": "ones",
    "recurrent_initializer": "he_normal",
}
STATE = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
ONE = {"initial_state": made(lambda k: [STATE])}
STATES = {"initial_state": made(lambda k: [STATE, -STATE])}


TWO = made(lambda k: [k.layers.LSTMCell(3), k.layers.LSTMCell(2)])
THREE = made(lambda k: [k.layers.LSTMCell(3), k.layers.GRUCell(2), k.layers.SimpleRNNCell(3)])
STACK = made(lambda k: k.layers.StackedRNNCells([k.layers.GRUCell(2), k.layers.LSTMCell(3, dropout=0.1)]))


SIMPLE = [
    Row("SimpleRNN", {"units": 3, "activation": "relu", "use_bias": False, **WHOLE}, SEQUENCE),
    Row("SimpleRNN", {"units": 3, "go_backwards": True, "return_sequences": True, **REGULAR}, SEQUENCE, mask=MASK),
    Row("SimpleRNN", {"units": 3, "dropout": 0.2, "recurrent_dropout": 0.3, "seed": 1}, SEQUENCE, mask=LATE),
    Row("SimpleRNN", {"units": 3, "unroll": True, **WHOLE}, SEQUENCE, call=ONE),
]
GATED = [
    Row("LSTM", {"units": 3}, SEQUENCE),
    Row("LSTM", {"units": 3, **WHOLE}, SEQUENCE, mask=MASK),
    Row(
        "LSTM",
        {"units": 3, "return_sequences": True, "activity_regularizer": "l1", **ZERO},
        SEQUENCE,
        mask=LATE,
    ),
    Row("LSTM", {"units": 3, "go_backwards": True, **WHOLE}, SEQUENCE, call=STATES),
    Row("LSTM", {"units": 3, "unroll": True, "go_backwards": True, **WHOLE}, SEQUENCE, mask=LATE),
    Row("LSTM", {"units": 3, "activation": "relu", "recurrent_activation": "hard_sigmoid"}, SEQUENCE),
    Row("LSTM", {"units": 3, "use_bias": False, "implementation": 1, "use_cudnn": False}, SEQUENCE),
    Row("LSTM", {"units": 3, "unit_forget_bias": False, "dropout": 0.3, "seed": 3, **REGULAR}, SEQUENCE, mask=MASK),
    Row("LSTM", {"units": 3, "stateful": True, **WHOLE}, SEQUENCE, open_batch=False),
    Row("GRU", {"units": 3}, SEQUENCE),
    Row("GRU", {"units": 3, **WHOLE}, SEQUENCE, mask=LATE),
    Row("GRU", {"units": 3, "go_backwards": True, "return_sequences": True}, SEQUENCE, mask=MASK),
    Row("GRU", {"units": 3, "reset_after": False, "return_state": True}, SEQUENCE, call=ONE),
    Row("GRU", {"units": 3, "use_bias": False, "recurrent_dropout": 0.2, "seed": 4}, SEQUENCE),
    Row("GRU", {"units": 3, "activation": "elu", "unroll": True, **REGULAR}, SEQUENCE, mask=LATE),
]
GENERIC = [
    Row("RNN", {"cell": made(lambda k: k.layers.LSTMCell(3)), **WHOLE}, SEQUENCE, mask=MASK),
    Row("RNN", {"cell": TWO, **WHOLE}, SEQUENCE, mask=LATE),
    Row("RNN", {"cell": THREE, "unroll": True, "return_sequences": True}, SEQUENCE, mask=MASK),
    Row("RNN", {"cell": STACK, "zero_output_for_mask": True, "return_sequences": True}, SEQUENCE, mask=LATE),
]
BOTH_WAYS = [
    Row("Bidirectional", {"layer": made(lambda k: k.layers.GRU(3, return_sequences=True))}, SEQUENCE, mask=LATE),
    Row("Bidirectional", {"layer": made(lambda k: k.layers.LSTM(3, **WHOLE)), "merge_mode": "sum"}, SEQUENCE),
    Row("Bidirectional", {"layer": made(lambda k: k.layers.GRU(3)), "merge_mode": "ave"}, SEQUENCE),
    Row("Bidirectional", {"layer": made(lambda k: k.layers.SimpleRNN(3)), "merge_mode": "mul"}, SEQUENCE, mask=MASK),
    Row(
        "Bidirectional",
        {"layer": made(lambda k: k.layers.LSTM(3, return_sequences=True)), "merge_mode": None},
        SEQUENCE,
        mask=MASK,
    ),
    Row(
        "Bidirectional",
        {
            "layer": made(lambda k: k.layers.GRU(3, return_state=True)),
            "backward_layer": made(lambda k: k.layers.GRU(3, return_state=True, go_backwards=True, name="back")),
        },
        SEQUENCE,
        call=STATES,
    ),
]
WRAPPED = [
    Row("TimeDistributed", {"layer": made(lambda k: k.layers.Dense(3, activation="relu"))}, SEQUENCE),
    Row("TimeDistributed", {"layer": made(lambda k: k.layers.Conv2D(filters=2, kernel_size=2))}, (2, 3, 4, 5, 1)),
    Row("TimeDistributed", {"layer": made(lambda k: k.layers.LSTM(3))}, (2, 3, 4, 2), mask=STEPS),
]
CONVOLUTIONAL = [
    Row("ConvLSTM1D", {"filters": 2, "kernel_size": 3, "padding": "same", "strides": 2, **WHOLE}, (2, 3, 6, 2)),
    Row("ConvLSTM2D", {"filters": 2, "kernel_size": (3, 2), **WHOLE, **REGULAR}, (2, 3, 5, 4, 2)),
    Row("ConvLSTM2D", {"filters": 3, "kernel_size": 2, "padding": "same", "go_backwards": True}, (2, 3, 5, 4, 2)),
    Row(
        "ConvLSTM2D",
        {"filters": 2, "kernel_size": 2, "dilation_rate": 2, "data_format": "channels_first", "use_bias": False},
        (2, 3, 2, 5, 4),
    ),
    Row("ConvLSTM2D", {"filters": 2, "kernel_size": 2, "dropout": 0.2, "activation": "relu"}, (2, 2, 4, 4, 1)),
    Row("ConvLSTM3D", {"filters": 2, "kernel_size": 2, "return_state": True}, (2, 2, 3, 3, 3, 2)),
]
ROWS = [*SIMPLE, *GATED, *GENERIC, *BOTH_WAYS, *WRAPPED, *CONVOLUTIONAL]
