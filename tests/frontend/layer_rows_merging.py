"""Layers that merge several inputs: rows of the parity table."""

import numpy as np
from layer_parity import Row

SEQUENCE = (2, 9, 4)
STEPS = np.arange(9) < np.array([[9], [4]])
OTHERS = np.arange(9) >= np.array([[3], [2]])

ROWS = [
    Row("Add", {}, [(3, 4), (3, 4), (3, 1)]),
    Row("Add", {}, [(3, 4, 5), (3, 5)]),
    Row("Add", {}, [(3, 4), (3, 4)], dtype="int32"),
    Row("Subtract", {}, [(3, 4), (3, 4)]),
    Row("Multiply", {}, [(3, 4), (3, 4)]),
    Row("Average", {}, [(3, 4), (3, 4), (3, 4)]),
    Row("Maximum", {}, [(3, 4), (3, 4)]),
    Row("Minimum", {}, [(3, 4), (3, 4), (3, 1)]),
    *(
        Row(name, {}, [SEQUENCE, SEQUENCE], mask=[STEPS, OTHERS])
        for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
    ),
    Row("Add", {}, [SEQUENCE, SEQUENCE], mask=[STEPS, None]),
    Row("Concatenate", {}, [SEQUENCE, SEQUENCE], mask=[STEPS, None]),
    Row("Concatenate", {}, [(3, 4), (3, 2)]),
    Row("Concatenate", {"axis": 1}, [(3, 4, 2), (3, 1, 2), (3, 2, 2)]),
    Row("Concatenate", {"axis": 1}, [SEQUENCE, SEQUENCE], mask=[STEPS, OTHERS]),
    Row("Dot", {"axes": 1}, [(3, 4), (3, 4)]),
    Row("Dot", {"axes": (2, 1), "normalize": True}, [(3, 2, 4), (3, 4, 5)]),
    Row("Dot", {"axes": -1}, [(3, 2, 4), (3, 5, 4)]),
    Row("Dot", {"axes": (1, 2)}, [(3, 4), (3, 5, 4)]),
]
