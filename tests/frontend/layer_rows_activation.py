"""Activation layers: rows of the parity table."""

import numpy as np
from layer_parity import Row

SEQUENCE = (2, 9, 4)
STEPS = np.arange(9) < np.array([[9], [4]])
ALPHA = {"alpha_initializer": "ones", "alpha_regularizer": "l1", "alpha_constraint": "non_neg"}
PLACES = np.array([[True, True, False, True], [False, False, True, True], [True, False, False, False]])

ROWS = [
    Row("Activation", {"activation": "gelu"}, (3, 4)),
    Row("Activation", {"activation": "linear"}, (3, 4)),
    Row("Activation", {"activation": "softmax"}, SEQUENCE, mask=STEPS),
    Row("ReLU", {}, (3, 4)),
    Row("ReLU", {"max_value": 6.0}, (3, 40)),
    Row("ReLU", {"max_value": 1.0, "negative_slope": 0.2, "threshold": 0.3}, (3, 40)),
    Row("ReLU", {"negative_slope": 0.2, "max_value": 1.0}, SEQUENCE, mask=STEPS),
    Row("LeakyReLU", {}, (3, 4)),
    Row("LeakyReLU", {"negative_slope": 0.1}, SEQUENCE, mask=STEPS),
    Row("ELU", {}, (3, 4)),
    Row("ELU", {"alpha": 0.5}, SEQUENCE, mask=STEPS),
    Row("PReLU", {"alpha_initializer": "ones"}, (3, 4, 5)),
    Row("PReLU", {**ALPHA, "shared_axes": [1]}, (3, 4, 5)),
    Row("PReLU", {"shared_axes": [1, 2]}, (3, 4, 5, 2)),
    Row("PReLU", {"shared_axes": 1}, SEQUENCE, mask=STEPS),
    Row("Softmax", {}, (3, 4)),
    Row("Softmax", {"axis": 1}, (3, 4, 5)),
    Row("Softmax", {"axis": [1, 2]}, (3, 4, 5)),
    Row("Softmax", {}, (3, 4), mask=PLACES),
    Row("Softmax", {"axis": [-1, -2]}, (3, 4, 4), mask=np.repeat(PLACES[:, None], 4, axis=1)),
]
