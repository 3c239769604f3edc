"""``keras.random``: random tensors from seeds, eagerly and inside a traced call.

A ``seed`` is an integer (the same values each time), a ``SeedGenerator`` (other values each time; in a traced call its
state becomes a state update), or None for the global generator. Values are those of Keras on JAX for the same seed,
except for ``dropout``, which has a cheaper generator of its own that is the same on every target.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import jax

from ..ir.errors import ArgumentError, TracingError
from . import random_eager, random_traced
from .convert import as_array
from .dispatch import run_eagerly
from .keras_tensor import contains_keras_tensor
from .seed import SeedGenerator, draw_seed
from .trace import current_trace

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


def _here() -> types.ModuleType:
    """The module that draws: as nodes of the current trace, or at once."""
    return random_eager if current_trace() is None else random_traced


def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Draw normally distributed numbers.

    Args:
        shape: of the result.
        mean: their mean.
        stddev: their standard deviation.
        dtype: a float type; the default one for None.
        seed: see this module.
    """
    return _here().normal(draw_seed(seed), shape, mean, stddev, dtype)


def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Draw numbers spread evenly over ``[minval, maxval)``; arguments as of :func:`normal`."""
    return _here().uniform(draw_seed(seed), shape, minval, maxval, dtype)


def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Draw normally distributed numbers, none further than two deviations from the mean; see :func:`normal`."""
    return _here().truncated_normal(draw_seed(seed), shape, mean, stddev, dtype)


def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    """Draw integers spread evenly over ``[minval, maxval)``; ``dtype`` is an integer type."""
    return _here().randint(draw_seed(seed), shape, minval, maxval, dtype)


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Draw class numbers by their logits.

    Args:
        logits: log-probabilities up to a constant, ``(batch, classes)``.
        num_samples: draws for each row.
        dtype: of the class numbers.
        seed: see this module.

    Returns:
        A tensor of shape ``(batch, num_samples)``.
    """
    _refuse_symbolic("categorical", logits)
    return _here().categorical(draw_seed(seed), logits, num_samples, dtype)


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """Permute the elements of ``x`` along ``axis``, each line along it by a permutation of its own."""
    _refuse_symbolic("shuffle", x)
    return _here().shuffle(draw_seed(seed), x, axis)


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Set a fraction ``rate`` of the inputs to 0 and divide the others by ``1 - rate``.

    Args:
        inputs: a float tensor.
        rate: from 0 to 1.
        noise_shape: shape of the decisions, which broadcast to the inputs; None in it stands for the inputs' size.
        seed: see this module.
    """
    if not 0 <= rate <= 1:
        raise ArgumentError(f"random.dropout: expected a rate from 0 to 1, received {rate}")
    _refuse_symbolic("dropout", inputs)
    if rate == 0:
        return inputs
    key = draw_seed(seed)
    if current_trace() is not None:
        return random_traced.dropout(inputs, key, rate, noise_shape)
    array = inputs if isinstance(inputs, jax.Array) or hasattr(inputs, "_read_dtype") else as_array(inputs)
    noise_shape = None if noise_shape is None else tuple(noise_shape)
    return run_eagerly(random_traced.dropout, (array, key, float(rate), noise_shape), {}, weak=False)


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Draw gamma distributed numbers of shape parameter ``alpha`` and scale 1. Not inside a traced call."""
    return _at_once("gamma", random_eager.gamma)(draw_seed(seed), shape, alpha, dtype)


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Draw beta distributed numbers; ``alpha`` and ``beta`` broadcast to ``shape``. Not inside a traced call."""
    return _at_once("beta", random_eager.beta)(draw_seed(seed), shape, alpha, beta, dtype)


def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Draw how many of ``counts`` trials succeed, each with ``probabilities``, as floats. Not inside a traced call."""
    return _at_once("binomial", random_eager.binomial)(draw_seed(seed), shape, counts, probabilities, dtype)


def _at_once(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if current_trace() is not None:
        raise TracingError(
            f"random.{name} draws by rejection, which a traced call cannot hold: draw outside of it and "
            "pass the numbers in"
        )
    return function


def _refuse_symbolic(name: str, x: Any) -> None:
    if contains_keras_tensor(x):
        raise TracingError(
            f"random.{name} received {x!r}, which stands for a tensor of a functional model: call it in "
            "the call() of a Layer"
        )
