"""What the CPU's rules for recurrent steps gain: rows of ``rewrites.py``."""

from collections.abc import Callable

import lamina
from lamina import keras
from lamina.ir import Module

TANH, CHUNKS = "O2,-lstm_by_one_tanh", "O2,-inputs_in_chunks"
BOTH = "O2,-lstm_by_one_tanh,-inputs_in_chunks"


def lstm(batch: int, steps: int, features: int, units: int) -> Module:
    """One LSTM that gives the outputs of all steps."""
    layer = keras.layers.LSTM(units, return_sequences=True)
    model = keras.Sequential([keras.Input((steps, features), batch_size=batch), layer])
    return lamina.trace(model)


#: name: what leaves the rule out, and the graph.
CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    f"{what}: batch {batch}, {steps} steps of {features}, {units} units": (
        off,
        lambda sizes=(batch, steps, features, units): lstm(*sizes),
    )
    for what, off in (("lstm_by_one_tanh", TANH), ("inputs_in_chunks", CHUNKS), ("both", BOTH))
    for batch, steps, features, units in (
        (32, 128, 64, 128),
        (32, 128, 128, 128),
        (1, 128, 64, 128),
        (8, 128, 16, 32),
        (32, 96, 1, 16),
        (64, 128, 8, 64),
        (32, 64, 256, 256),
        (256, 64, 64, 128),
    )
}
