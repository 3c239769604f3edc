"""Files of each layer, both ways: `.keras` and `.weights.h5` that Keras wrote are read here, and ours by Keras.

The layers are those of the parity table's rows, each in a functional model of its own.
"""

import keras
import numpy as np
import pytest
from layer_parity import arrays, assert_close, leaves, no_random_values, random_values, run_keras
from layer_rows import ROWS

from lamina import keras as ours
from lamina.ir.errors import LaminaError

FIRST_ROWS = {row.layer: row for row in reversed(ROWS)}.values()
CASES = [
    pytest.param(row, id=row.id, marks=[] if any(row is first for first in FIRST_ROWS) else pytest.mark.long)
    for row in ROWS
    if row.layer != "Lambda"
]


def model_of(row, k):
    """A model of the row's layer alone, and nothing else."""
    layer = row.make(k)
    x, keywords, inputs = row.symbolic_arguments(k)
    return k.Model(inputs, layer(x, **keywords))


def values_of(row):
    """Arrays for the inputs of `model_of`."""
    return [v for v in leaves(row.arguments(ours)) if row.varies(v)]


@pytest.mark.parametrize("row", CASES)
def test_files_are_read_on_the_other_side(row, tmp_path):
    with no_random_values():
        theirs = model_of(row, keras)
        theirs.set_weights(random_values(theirs))
        theirs.save(tmp_path / "theirs.keras")
        mine = ours.models.load_model(tmp_path / "theirs.keras")
        same_weights(mine, theirs)
        mine.save(tmp_path / "ours.keras")
        again = keras.models.load_model(tmp_path / "ours.keras")
        same_weights(again, theirs)
    values = values_of(row)
    wanted = run_keras(again, again, values)
    assert_close(arrays(mine(values)), wanted)

    theirs.set_weights(random_values(theirs, seed=2))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    mine.load_weights(tmp_path / "theirs.weights.h5")
    same_weights(mine, theirs)
    mine.save_weights(tmp_path / "ours.weights.h5")
    again.load_weights(tmp_path / "ours.weights.h5")
    same_weights(again, theirs)


def same_weights(a, b):
    """Equal names, types and values. (Paths differ in Keras, too: a layer inside another is loaded by itself.)"""
    described = [[(w.name, str(w.dtype), tuple(w.shape)) for w in model.weights] for model in (a, b)]
    assert described[0] == described[1]
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_the_code_of_a_lambda_never_comes_from_a_file(tmp_path):
    x = keras.Input((3,))
    keras.Model(x, keras.layers.Lambda(lambda t: t * 2, name="twice")(x)).save(tmp_path / "lambda.keras")
    with pytest.raises(LaminaError, match=r"(?i)lambda"):
        ours.models.load_model(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match=r"(?i)lambda"):
        keras.models.load_model(tmp_path / "lambda.keras")
