"""One training run in Keras on JAX and here, from the same seed: what tests of training compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras as theirs
import numpy as np

from lamina import keras as ours

#: Sums over a batch are taken in another order; over a few epochs of float32 that stays far below this.
RTOL = 1e-4


def pair(build: Callable[[Any], Any], seed: int = 1) -> tuple[Any, Any]:
    """The model of ``build(keras)`` here and in Keras, with equal weights."""
    models = []
    for library in (ours, theirs):
        library.utils.set_random_seed(seed)
        models.append(build(library))
    mine, other = models
    if mine.built and other.built:
        assert len(mine.weights) == len(other.weights)
        for a, b in zip(mine.weights, other.weights, strict=True):
            np.testing.assert_allclose(np.asarray(a.numpy()), np.asarray(b.numpy()), rtol=1e-6, atol=1e-7)
    return mine, other


def assert_same_logs(mine: dict[str, Any], other: dict[str, Any], rtol: float = RTOL) -> None:
    """The same names with the same values."""
    assert sorted(mine) == sorted(other)
    for name, value in other.items():
        np.testing.assert_allclose(mine[name], value, rtol=rtol, atol=1e-6, err_msg=name)


def assert_same_weights(mine: Any, other: Any, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """Weights after training, whose errors add up over the steps."""
    for a, b in zip(mine.weights, other.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=rtol, atol=atol, err_msg=a.path)


def assert_trains_alike(
    build: Callable[[Any], Any], x: Any, y: Any = None, *, rtol: float = RTOL, **fit: Any
) -> tuple[Any, Any]:
    """Fit both and compare histories and weights. Returns the two models."""
    mine, other = pair(build)
    settings = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0, **fit}
    np.random.seed(5)
    found = mine.fit(x, y, **settings)
    np.random.seed(5)
    expected = other.fit(x, y, **settings)
    assert found.epoch == expected.epoch
    assert_same_logs(found.history, expected.history, rtol)
    assert_same_weights(mine, other)
    return mine, other
