"""Gradient accumulation and rematerialization: less memory for a step, by XLA's own count, and the same results."""

from contextlib import nullcontext

import jax
import numpy as np
import pytest

from lamina import keras

WIDTH, ROWS = 64, 2048
X = np.random.default_rng(0).standard_normal((2 * ROWS, WIDTH)).astype(np.float32)
Y = X[:, :1]


class Trained:
    """A deep model after two steps of 2048 rows, each in ``parts`` parts; its weights, and a part's temporary bytes."""

    def __init__(self, remat, parts):
        keras.utils.set_random_seed(0)
        with keras.RematScope(mode="full") if remat else nullcontext():
            hidden = [keras.layers.Dense(WIDTH, activation="gelu") for _ in range(8)]
        model = keras.Sequential([keras.Input((WIDTH,)), *hidden, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01, gradient_accumulation_steps=parts), "mse")
        rows = ROWS // (parts or 1)
        model.fit(X, Y, batch_size=rows, shuffle=False, verbose=0)
        self.weights = model.get_weights()
        leaves, tree = jax.tree.flatten((X[:rows], Y[:rows]))
        program = model.make_train_function().one.program(leaves, tree)
        self.temporary = program.compile_for(N=rows).memory_analysis().temp_size_in_bytes


@pytest.fixture(scope="module")
def plain():
    return Trained(False, None)


@pytest.mark.parametrize(
    ("remat", "parts", "share"), [(True, None, 0.7), (False, 4, 0.3), (True, 4, 0.2)], ids=["remat", "parts", "both"]
)
def test_less_memory_for_the_same_training(plain, remat, parts, share):
    trained = Trained(remat, parts)
    assert trained.temporary < share * plain.temporary
    for a, b in zip(trained.weights, plain.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # gradients are float32 sums in another order
