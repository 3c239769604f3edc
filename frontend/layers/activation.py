"""Activations as layers."""

from __future__ import annotations

import warnings
from typing import Any

from .. import activations, ops
from ..input_spec import InputSpec, known_shape
from ..registry import builtin
from .base import BuiltinLayer


class _Elementwise(BuiltinLayer):
    """A layer without weights that keeps shape and mask."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape."""
        return input_shape


@builtin("keras.layers")
class Activation(_Elementwise):
    """An activation function, by name or as a function of a tensor."""

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(activation=activation)

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return self.activation(inputs)


@builtin("keras.layers")
class ReLU(_Elementwise):
    """``max(x, 0)``, with a limit, a slope below, or a threshold other than 0; see ``activations.relu``."""

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._keep(
            max_value=None if max_value is None else self._number("max_value", max_value, least=0),
            negative_slope=self._number("negative_slope", negative_slope, least=0),
            threshold=self._number("threshold", threshold, least=0),
        )

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


@builtin("keras.layers")
class LeakyReLU(_Elementwise):
    """``x`` where it is positive, else ``negative_slope * x``."""

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:  # the name in files of Keras 2
            negative_slope = kwargs.pop("alpha")
            warnings.warn("LeakyReLU's argument alpha is called negative_slope now", stacklevel=2)
        super().__init__(**kwargs)
        self._keep(negative_slope=self._number("negative_slope", negative_slope, least=0))

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return activations.leaky_relu(inputs, negative_slope=self.negative_slope)


@builtin("keras.layers")
class ELU(_Elementwise):
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``."""

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(alpha=self._number("alpha", alpha))

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return activations.elu(inputs, alpha=self.alpha)


@builtin("keras.layers")
class PReLU(BuiltinLayer):
    """``x`` where it is positive, else ``alpha * x`` with a learned alpha for each feature.

    Args:
        alpha_initializer: first values of alpha.
        alpha_regularizer: penalty on alpha.
        alpha_constraint: projection of alpha after each training step.
        shared_axes: axes along which alpha is the same.
    """

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if shared_axes is not None:
            shared_axes = list(shared_axes) if isinstance(shared_axes, list | tuple) else [shared_axes]
        self._keep(
            alpha_initializer=alpha_initializer,
            alpha_regularizer=alpha_regularizer,
            alpha_constraint=alpha_constraint,
            shared_axes=shared_axes,
        )
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make alpha, of the input's shape without the batch, 1 along shared axes."""
        shared = self.shared_axes or []
        self._in_range(shared, input_shape)
        shape = [
            1 if axis in shared else self._known(size, f"the size of axis {axis}", input_shape)
            for axis, size in enumerate(input_shape)
            if axis
        ]
        self.alpha = self.add_weight(
            name="alpha",
            shape=shape,
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        own = {axis: size for axis, size in enumerate(input_shape) if axis and axis not in shared} if shared else {}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=own)

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        below = ops.multiply(ops.negative(self.alpha), ops.relu(ops.negative(inputs)))
        return ops.add(ops.relu(inputs), below)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape."""
        return input_shape


@builtin("keras.layers")
class Softmax(_Elementwise):
    """``exp(x) / sum(exp(x))`` along ``axis``, an integer or several; masked places count as minus infinity."""

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(axis=axis)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Apply the function; ``mask`` broadcasts to the inputs, True where they count."""
        if mask is not None:
            mask = self._fits(mask, known_shape(inputs), "that of the inputs", full_rank=False)
            mask = mask if str(mask.dtype) == "bool" else ops.greater(mask, 0.5)
            inputs = ops.where(mask, inputs, -3e4 if str(inputs.dtype) == "float16" else -1e9)
        if isinstance(self.axis, list | tuple) and len(self.axis) > 1:
            axes = tuple(self.axis)
            outputs = ops.exp(ops.subtract(inputs, ops.logsumexp(inputs, axis=axes, keepdims=True)))
        else:
            axis = self.axis[0] if isinstance(self.axis, list | tuple) else self.axis
            outputs = activations.softmax(inputs, axis=axis)
        return outputs if mask is None else ops.where(mask, outputs, 0.0)
