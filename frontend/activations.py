"""Activation functions by name, as layers take them: thin functions over ``ops``."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, TypeVar

from . import ops
from .registry import builtin, interpret
from .saving.serialization import deserialize_keras_object, serialize_keras_object

F = TypeVar("F", bound=Callable[..., Any])
ALL_OBJECTS: dict[str, Callable[..., Any]] = {}  # by name and alias


def _activation(*other_names: str) -> Callable[[F], F]:
    """Make a function known by its name and ``other_names``."""

    def register(function: F) -> F:
        for name in (function.__name__, *other_names):
            ALL_OBJECTS[name] = function
        aliases = tuple(f"keras.activations.{name}" for name in other_names)
        return builtin("keras.activations", aliases=aliases)(function)

    return register


@_activation()
def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """Return ``x`` above ``threshold`` and at most ``max_value``; ``negative_slope * (x - threshold)`` below it.

    Args:
        x: a tensor.
        negative_slope: slope below the threshold.
        max_value: the greatest result; None for no limit.
        threshold: where the linear part starts; what is below it (with no slope) is 0.
    """
    if negative_slope and max_value is None and threshold == 0:
        return ops.leaky_relu(x, negative_slope=negative_slope)
    if threshold != 0:
        result = ops.where(ops.greater(x, threshold), x, 0)
    elif max_value == 6:
        result = ops.relu6(x)
    else:
        result = ops.relu(x)
    if max_value is not None and (threshold != 0 or max_value != 6):
        result = ops.clip(result, 0, max_value)
    if negative_slope:
        # relu(threshold - x) is how far x lies below the threshold
        below = ops.relu(ops.add(ops.negative(x), threshold) if threshold != 0 else ops.negative(x))
        result = ops.subtract(result, ops.multiply(negative_slope, below))
    return result


@_activation()
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """Return ``x`` where it is positive, else ``negative_slope * x``."""
    return ops.leaky_relu(x, negative_slope=negative_slope)


@_activation()
def relu6(x: Any) -> Any:
    """Return ``x`` limited to ``[0, 6]``."""
    return ops.relu6(x)


@_activation()
def softmax(x: Any, axis: int = -1) -> Any:
    """Return ``exp(x) / sum(exp(x))`` along ``axis``."""
    return ops.softmax(x, axis=axis)


@_activation()
def log_softmax(x: Any, axis: int = -1) -> Any:
    """Return the logarithm of softmax along ``axis``."""
    return ops.log_softmax(x, axis=axis)


@_activation()
def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return ``x`` where it is positive, else ``alpha * (exp(x) - 1)``."""
    return ops.elu(x, alpha=alpha)


@_activation()
def celu(x: Any, alpha: float = 1.0) -> Any:
    """Return ``x`` where it is positive, else ``alpha * (exp(x / alpha) - 1)``."""
    return ops.celu(x, alpha=alpha)


@_activation()
def selu(x: Any) -> Any:
    """Return ``scale * elu(x, alpha)`` with the constants that keep mean and variance through layers."""
    return ops.selu(x)


@_activation()
def softplus(x: Any) -> Any:
    """Return ``log(exp(x) + 1)``."""
    return ops.softplus(x)


@_activation()
def softsign(x: Any) -> Any:
    """Return ``x / (|x| + 1)``."""
    return ops.softsign(x)


@_activation()
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """Return ``x`` moved towards 0 by ``threshold``; 0 where it is nearer."""
    return ops.soft_shrink(x, threshold=threshold)


@_activation()
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """Return ``x`` where ``|x| > threshold``, else 0."""
    return ops.hard_shrink(x, threshold=threshold)


@_activation()
def tanh_shrink(x: Any) -> Any:
    """Return ``x - tanh(x)``."""
    return ops.tanh_shrink(x)


@_activation()
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """Return ``x`` where it is above ``threshold``, else ``default_value``."""
    return ops.threshold(x, threshold, default_value)


@_activation()
def squareplus(x: Any, b: float = 4) -> Any:
    """Return ``(x + sqrt(x * x + b)) / 2``."""
    return ops.squareplus(x, b=b)


@_activation()
def sparse_plus(x: Any) -> Any:
    """Return 0 below -1, ``x`` above 1, ``(x + 1)**2 / 4`` between."""
    return ops.sparse_plus(x)


@_activation()
def sparse_sigmoid(x: Any) -> Any:
    """Return ``(x + 1) / 2`` limited to ``[0, 1]``."""
    return ops.sparse_sigmoid(x)


@_activation()
def sparsemax(x: Any, axis: int = -1) -> Any:
    """Return the point of the probability simplex that is nearest to ``x``, along ``axis``."""
    return ops.sparsemax(x, axis)


@_activation("swish")
def silu(x: Any) -> Any:
    """Return ``x * sigmoid(x)``."""
    return ops.silu(x)


@_activation()
def gelu(x: Any, approximate: bool = False) -> Any:
    """Return ``x`` times the probability that a normal variable is below it; ``approximate`` goes through tanh."""
    return ops.gelu(x, approximate=approximate)


@_activation()
def glu(x: Any, axis: int = -1) -> Any:
    """Return ``a * sigmoid(b)``, where a and b are the halves of ``x`` along ``axis``."""
    return ops.glu(x, axis=axis)


@_activation()
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    return ops.tanh(x)


@_activation()
def hard_tanh(x: Any) -> Any:
    """Return ``x`` limited to ``[-1, 1]``."""
    return ops.hard_tanh(x)


@_activation()
def sigmoid(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))``."""
    return ops.sigmoid(x)


@_activation()
def hard_sigmoid(x: Any) -> Any:
    """Return ``x / 6 + 1/2`` limited to ``[0, 1]``."""
    return ops.hard_sigmoid(x)


@_activation("hard_swish")
def hard_silu(x: Any) -> Any:
    """Return ``x * hard_sigmoid(x)``."""
    return ops.hard_silu(x)


@_activation()
def log_sigmoid(x: Any) -> Any:
    """Return ``log(sigmoid(x))``."""
    return ops.log_sigmoid(x)


@_activation()
def exponential(x: Any) -> Any:
    """Return ``exp(x)``."""
    return ops.exp(x)


@_activation()
def mish(x: Any) -> Any:
    """Return ``x * tanh(softplus(x))``."""
    return ops.mish(x)


@_activation()
def linear(x: Any) -> Any:
    """Return ``x``."""
    return x


swish = silu
hard_swish = hard_silu


def serialize(activation: Any) -> Any:
    """Return the name of an activation of this module or of a registered function; the config of anything else."""
    if isinstance(activation, types.FunctionType) and ALL_OBJECTS.get(activation.__name__) is activation:
        return activation.__name__
    return serialize_keras_object(activation)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the activation that a config, or a name, stands for."""
    return deserialize_keras_object(config, custom_objects, module_objects=ALL_OBJECTS)


def get(identifier: Any) -> Callable[..., Any]:
    """Return the function that a layer's ``activation`` means.

    Args:
        identifier: a function of a tensor, the name of one, its config, or None for ``linear``.

    Raises:
        ArgumentError: it is none of these.
    """
    if identifier is None:
        return linear
    expected = "a name such as 'relu', a function of a tensor, or None"
    return interpret("activation", identifier, ALL_OBJECTS, deserialize, expected)
