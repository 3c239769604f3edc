"""Layers that act in training only: dropout, noise, penalties on activations."""

from __future__ import annotations

import math
from typing import Any

from ...ir.errors import ShapeError
from .. import ops, random, regularizers
from ..dtypes import standardize_data_format
from ..input_spec import InputSpec, known_shape
from ..registry import builtin
from ..seed import SeedGenerator
from .base import BuiltinLayer


class _Noise(BuiltinLayer):
    """A layer that keeps shape and mask and does nothing out of training.

    Args:
        seed: an integer that fixes the random numbers, or None.
        active: whether it does something in training, so that it needs a seed generator.
    """

    def __init__(self, seed: int | None, active: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        if active:
            self.seed_generator = SeedGenerator(seed)
        self.supports_masking = True
        self.built = True

    def _noise(self, noise_shape: Any) -> tuple[int | None, ...] | None:
        """The argument ``noise_shape`` once it is checked."""
        if noise_shape is None:
            return None
        dims = tuple(noise_shape) if isinstance(noise_shape, list | tuple) else (0,)
        if any(d is not None and (not isinstance(d, int) or d <= 0) for d in dims):
            raise self._wrong("noise_shape", noise_shape, "a tuple of positive integers and None")
        return dims

    def _fitting_noise(self, noise_shape: Any, inputs: Any) -> Any:
        """The noise shape. Raises :class:`ShapeError` where it does not broadcast to the inputs."""
        shape = known_shape(inputs)
        if noise_shape is not None and (
            len(noise_shape) != len(shape)
            or any(None not in (d, size) and d not in (1, size) for d, size in zip(noise_shape, shape, strict=True))
        ):
            raise ShapeError(
                f"{self._who}: noise_shape={noise_shape} does not broadcast to inputs of shape {shape}; it takes 1, "
                "None or the size for each axis"
            )
        return noise_shape

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape."""
        return input_shape


@builtin("keras.layers")
class Dropout(_Noise):
    """In training a fraction ``rate`` of the inputs becomes 0 and the others are divided by ``1 - rate``.

    Args:
        rate: from 0 to 1.
        noise_shape: shape of the decisions, which broadcast to the inputs; None in it stands for the inputs' size.
        seed: an integer that fixes the random numbers, or None.
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, active=isinstance(rate, int | float) and rate > 0, **kwargs)
        self._keep(rate=self._fraction("rate", rate), seed=seed, noise_shape=self._noise(noise_shape))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop some of the inputs in training."""
        if not training or self.rate == 0:
            return inputs
        noise_shape = self._fitting_noise(self._noise_shape(inputs), inputs)
        return random.dropout(inputs, self.rate, noise_shape, self.seed_generator)

    def _noise_shape(self, inputs: Any) -> Any:
        return self.noise_shape


class _SpatialDropout(Dropout):
    """Dropout of whole channels."""

    rank: int
    data_format = "channels_last"

    def __init__(self, rate: float, seed: int | None, name: str | None, dtype: Any) -> None:
        super().__init__(rate, seed=seed, name=name, dtype=dtype)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _noise_shape(self, inputs: Any) -> Any:
        ones = (1,) * self.rank
        return (None, *ones, None) if self.data_format == "channels_last" else (None, None, *ones)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        config = {"rate": self.rate, "seed": self.seed, "name": self.name, "dtype": self.dtype}
        return config if self.rank == 1 else {**config, "data_format": self.data_format}


@builtin("keras.layers")
class SpatialDropout1D(_SpatialDropout):
    """In training whole features of a sequence are dropped."""

    rank = 1

    def __init__(self, rate: float, seed: int | None = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(rate, seed, name, dtype)


@builtin("keras.layers")
class SpatialDropout2D(_SpatialDropout):
    """In training whole channels of images are dropped."""

    rank = 2

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(rate, seed, name, dtype)
        self.data_format = standardize_data_format(data_format)


@builtin("keras.layers")
class SpatialDropout3D(_SpatialDropout):
    """In training whole channels of volumes are dropped."""

    rank = 3

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(rate, seed, name, dtype)
        self.data_format = standardize_data_format(data_format)


@builtin("keras.layers")
class GaussianNoise(_Noise):
    """In training normally distributed noise of deviation ``stddev``, from 0 to 1, is added."""

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, active=isinstance(stddev, int | float) and stddev > 0, **kwargs)
        self._keep(stddev=self._fraction("stddev", stddev), seed=seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Add noise in training."""
        if not training or self.stddev == 0:
            return inputs
        return ops.add(inputs, random.normal(inputs.shape, 0.0, self.stddev, self.compute_dtype, self.seed_generator))


@builtin("keras.layers")
class GaussianDropout(_Noise):
    """In training the inputs are multiplied by noise of mean 1 and variance ``rate / (1 - rate)``."""

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, active=isinstance(rate, int | float) and rate > 0, **kwargs)
        self._keep(rate=self._fraction("rate", rate), seed=seed)
        if rate == 1:
            raise self._wrong("rate", rate, "less than 1, for its noise has variance rate / (1 - rate)")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Multiply by noise in training."""
        if not training or self.rate == 0:
            return inputs
        stddev = math.sqrt(self.rate / (1.0 - self.rate))
        return ops.multiply(inputs, random.normal(inputs.shape, 1.0, stddev, self.compute_dtype, self.seed_generator))


_SELU_SATURATION = -1.6732632423543772 * 1.0507009873554805


@builtin("keras.layers")
class AlphaDropout(_Noise):
    """Dropout to selu's saturation value instead of 0, rescaled so that mean and variance stay.

    Args:
        rate: from 0 to 1.
        noise_shape: shape of the decisions, which broadcast to the inputs; None in it stands for the inputs' size.
        seed: an integer that fixes the random numbers, or None.
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, active=isinstance(rate, int | float) and rate > 0, **kwargs)
        self._keep(rate=self._fraction("rate", rate), seed=seed, noise_shape=self._noise(noise_shape))
        if rate == 1:
            raise self._wrong("rate", rate, "less than 1, for what is kept is divided by a power of 1 - rate")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop some of the inputs in training."""
        if not training or self.rate == 0:
            return inputs
        noise = self._fitting_noise(self.noise_shape, inputs) or [None] * len(inputs.shape)
        shape = [size if wanted is None else wanted for size, wanted in zip(inputs.shape, noise, strict=True)]
        kept = ops.greater_equal(random.uniform(shape, seed=self.seed_generator), self.rate)
        scale = ((1 - self.rate) * (1 + self.rate * _SELU_SATURATION**2)) ** -0.5
        shift = -scale * _SELU_SATURATION * self.rate
        return ops.add(ops.multiply(ops.where(kept, inputs, _SELU_SATURATION), scale), shift)


@builtin("keras.layers")
class ActivityRegularization(_Noise):
    """The inputs as they are, with the penalty ``l1 * sum(|x|) + l2 * sum(x * x)`` on them."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(None, active=False, activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self._keep(l1=l1, l2=l2)

    def call(self, inputs: Any) -> Any:
        """Return the input."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        config = super().get_config()
        config.pop("activity_regularizer", None)
        return config
