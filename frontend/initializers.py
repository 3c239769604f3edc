"""First values of variables, bit for bit what Keras on JAX gives for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..ir.errors import ArgumentError, ShapeError
from ..ir.types import element_type
from . import random_eager
from .dtypes import standardize_dtype
from .names import to_snake_case
from .random_eager import width_of
from .registry import builtin, interpret
from .saving.serialization import deserialize_keras_object, serialize_keras_object
from .seed import SeedGenerator, draw_seed, make_default_seed

Shape = Sequence[int]
ALL_OBJECTS: dict[str, type[Initializer]] = {}  # by class name, snake_case name and alias


def _initializer(*other_names: str) -> Callable[[type], type]:
    """Make a class known by its name, its snake_case name and ``other_names``."""

    def register(cls: type) -> type:
        names = (to_snake_case(cls.__name__), *other_names)
        for name in (cls.__name__, *names):
            ALL_OBJECTS[name] = cls
        return builtin("keras.initializers", aliases=tuple(f"keras.initializers.{name}" for name in names))(cls)

    return register


@_initializer()
class Initializer:
    """Base of all initializers. A subclass defines ``__call__(shape, dtype=None)``, and ``get_config`` to be saved."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        """Return an array of this shape and type; None stands for the default float type."""
        raise TypeError(f"{type(self).__name__} must define __call__(self, shape, dtype=None)")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, in a form that JSON can hold."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """Make an initializer from what ``get_config`` returned."""
        return cls(**config)

    def clone(self) -> Initializer:
        """Return a new initializer with the same config."""
        return type(self).from_config(self.get_config())


@_initializer("zero")
class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return zeros; see Initializer."""
        return _filled(np.zeros, shape, dtype)


@_initializer("one")
class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return ones; see Initializer."""
        return _filled(np.ones, shape, dtype)


@_initializer()
class Constant(Initializer):
    """The same value everywhere.

    Args:
        value: a number, or an array that broadcasts to the shape asked for.
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return the value in every place; see Initializer."""
        name = standardize_dtype(dtype)
        with width_of(name):
            return jnp.asarray(self.value).astype(name) * jnp.ones(tuple(shape), name)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"value": serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constant:
        """Make an initializer from what ``get_config`` returned."""
        return cls(deserialize_keras_object(config.get("value", 0.0)))


@_initializer("IdentityInitializer")
class Identity(Initializer):
    """The identity matrix times ``gain``."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return ones times gain on the diagonal of a matrix, which need not be square; see Initializer."""
        if len(shape) != 2:
            raise ShapeError(f"Identity makes matrices, of two dims; got shape {tuple(shape)}")
        name = standardize_dtype(dtype)
        with width_of(name):
            return self.gain * jnp.eye(shape[0], shape[1], dtype=name)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"gain": self.gain}


@_initializer("STFTInitializer")
class STFT(Initializer):
    """Kernel of a convolution that computes a short-time Fourier transform: its real or its imaginary part.

    Args:
        side: ``"real"`` or ``"imag"``.
        window: name of a window of ``scipy.signal.windows``, its values, or None for no window.
        scaling: divide the window by its L2 norm (``"density"``), by its L1 norm (``"spectrum"``), or not (None).
        periodic: make the window periodic rather than symmetric.
    """

    def __init__(
        self, side: str = "real", window: Any = "hann", scaling: str | None = "density", periodic: bool = False
    ) -> None:
        if side not in ("real", "imag"):
            raise ArgumentError(f"side must be 'real' or 'imag', got {side!r}")
        if scaling not in (None, "density", "spectrum"):
            raise ArgumentError(f"scaling must be 'density', 'spectrum' or None, got {scaling!r}")
        if isinstance(window, str):
            _window(window, 1, periodic)  # an unknown name is an error here, not at the first call
        self.side = side
        self.window = window
        self.scaling = scaling
        self.periodic = periodic

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return a kernel of shape ``(frame_length, 1, fft_length // 2 + 1)``; see Initializer."""
        if len(shape) != 3:
            raise ShapeError(f"STFT makes kernels of shape (frame_length, 1, frequencies), got {tuple(shape)}")
        frame_length, _, frequencies = shape
        name = standardize_dtype(dtype)
        with width_of(name):
            time = jnp.arange(frame_length, dtype=name)[:, None, None]
            frequency = jnp.arange(frequencies, dtype=name)[None, None, :] / ((frequencies - 1) * 2)
            angle = -2 * time * frequency * jnp.arccos(jnp.asarray(-1, name))  # arccos(-1): pi in this type
            kernel = jnp.cos(angle) if self.side == "real" else jnp.sin(angle)
            if self.window is None:
                return kernel.astype(name)
            values = _window(self.window, frame_length, self.periodic)
            window = jnp.asarray(values).astype(name)
            if window.shape != (frame_length,):
                raise ShapeError(f"the window must have shape ({frame_length},) like the frame, got {window.shape}")
            window = window[:, None, None]
            return kernel.astype(name) * window / self._scale(window)

    def _scale(self, window: jax.Array) -> jax.Array | int:
        if self.scaling == "density":
            return jnp.sqrt(jnp.sum(jnp.square(window)))
        return jnp.sum(jnp.abs(window)) if self.scaling == "spectrum" else 1

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"side": self.side, "window": self.window, "periodic": self.periodic, "scaling": self.scaling}


class RandomInitializer(Initializer):
    """Base of the random initializers.

    Args:
        seed: an integer or None: the same values at every call with the same shape. A SeedGenerator: other values each
            time.
    """

    def __init__(self, seed: Any = None) -> None:
        self._init_seed = seed
        if seed is None:
            seed = make_default_seed()
        elif isinstance(seed, dict):
            seed = deserialize_keras_object(seed)
        if not isinstance(seed, int | SeedGenerator):
            raise ArgumentError(f"seed must be an integer, a SeedGenerator or None, got {seed!r}")
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"seed": serialize_keras_object(self._init_seed)}


@_initializer("normal")
class RandomNormal(RandomInitializer):
    """Normally distributed values."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return random values; see Initializer."""
        return random_eager.normal(draw_seed(self.seed), shape, self.mean, self.stddev, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


@_initializer()
class TruncatedNormal(RandomInitializer):
    """Normally distributed values, none further than two standard deviations from the mean."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return random values; see Initializer."""
        return random_eager.truncated_normal(draw_seed(self.seed), shape, self.mean, self.stddev, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


@_initializer("uniform")
class RandomUniform(RandomInitializer):
    """Values spread evenly over ``[minval, maxval)``."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None) -> None:
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return random values; see Initializer."""
        return random_eager.uniform(draw_seed(self.seed), shape, self.minval, self.maxval, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


@_initializer()
class VarianceScaling(RandomInitializer):
    """Random values whose variance is ``scale / n``, where n is how many units the weight reads from or feeds.

    Args:
        scale: a positive number.
        mode: what n is: ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"``, their mean.
        distribution: ``"truncated_normal"`` (or ``"normal"``), ``"untruncated_normal"`` or ``"uniform"``.
        seed: see RandomInitializer.
        input_axes: axes of the shape whose product is fan_in; None for the usual axes of dense and convolution kernels.
        output_axes: the same for fan_out.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        if scale <= 0.0:
            raise ArgumentError(f"scale must be positive, got {scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ArgumentError(f"mode must be 'fan_in', 'fan_out' or 'fan_avg', got {mode!r}")
        distribution = {"normal": "truncated_normal"}.get(distribution.lower(), distribution.lower())
        if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise ArgumentError(
                f"distribution must be 'uniform', 'truncated_normal' or 'untruncated_normal', got {distribution!r}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return random values; see Initializer."""
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        units = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, units)
        key = draw_seed(self.seed)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random_eager.uniform(key, shape, -limit, limit, dtype)
        if self.distribution == "untruncated_normal":
            return random_eager.normal(key, shape, 0.0, math.sqrt(variance), dtype)
        # What is cut off beyond two deviations takes this factor off the deviation.
        stddev = math.sqrt(variance) / 0.87962566103423978
        return random_eager.truncated_normal(key, shape, 0.0, stddev, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class _NamedScaling(VarianceScaling):
    """A VarianceScaling whose scale, mode and distribution are fixed by its class."""

    fixed: tuple[float, str, str]

    def __init__(
        self, seed: Any = None, input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
    ) -> None:
        super().__init__(*self.fixed, seed=seed, input_axes=input_axes, output_axes=output_axes)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        return {name: config[name] for name in ("seed", "input_axes", "output_axes")}


@_initializer()
class GlorotUniform(_NamedScaling):
    """Uniform values of variance ``2 / (fan_in + fan_out)`` (Glorot and Bengio, 2010)."""

    fixed = (1.0, "fan_avg", "uniform")


@_initializer()
class GlorotNormal(_NamedScaling):
    """Truncated normal values of variance ``2 / (fan_in + fan_out)`` (Glorot and Bengio, 2010)."""

    fixed = (1.0, "fan_avg", "truncated_normal")


@_initializer()
class LecunUniform(_NamedScaling):
    """Uniform values of variance ``1 / fan_in`` (LeCun et al., 1998)."""

    fixed = (1.0, "fan_in", "uniform")


@_initializer()
class LecunNormal(_NamedScaling):
    """Truncated normal values of variance ``1 / fan_in`` (LeCun et al., 1998)."""

    fixed = (1.0, "fan_in", "truncated_normal")


@_initializer()
class HeUniform(_NamedScaling):
    """Uniform values of variance ``2 / fan_in`` (He et al., 2015)."""

    fixed = (2.0, "fan_in", "uniform")


@_initializer()
class HeNormal(_NamedScaling):
    """Truncated normal values of variance ``2 / fan_in`` (He et al., 2015)."""

    fixed = (2.0, "fan_in", "truncated_normal")


@_initializer("OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal columns (or rows, where there are fewer), times ``gain`` (Saxe et al., 2014).

    All axes but the last count as rows.
    """

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Return a random orthogonal matrix in this shape; see Initializer."""
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal makes arrays of two dims or more, got shape {tuple(shape)}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        name = standardize_dtype(dtype)
        tall = (max(rows, columns), min(rows, columns))
        with width_of(name):
            q, r = jnp.linalg.qr(random_eager.normal(draw_seed(self.seed), tall, dtype=name))
            q = q * jnp.sign(jnp.diag(r))  # else the signs QR chooses would show in the distribution
            return self.gain * jnp.reshape(q.T if rows < columns else q, tuple(shape))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "gain": self.gain}


zeros = Zeros
ones = Ones
constant = Constant
identity = IdentityInitializer = Identity
stft = STFTInitializer = STFT
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
lecun_uniform = LecunUniform
lecun_normal = LecunNormal
he_uniform = HeUniform
he_normal = HeNormal
orthogonal = OrthogonalInitializer = Orthogonal


def compute_fans(
    shape: Shape, input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """Return how many units a weight of this shape reads from, and how many it feeds.

    Args:
        shape: with ``input_axes`` and ``output_axes`` both None, that of a bias, of a dense kernel ``(in, out)`` or of
            a convolution kernel ``(..., in, out)``.
        input_axes: the axes to multiply up for the first number.
        output_axes: the axes to multiply up for the second number.
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        units = int(math.prod(shape))
        return units, units
    receptive_field = math.prod(shape[:-2])
    return int(shape[-2] * receptive_field), int(shape[-1] * receptive_field)


def _filled(fill: Callable[..., np.ndarray], shape: Shape, dtype: Any) -> jax.Array:
    """An array that NumPy makes: jax would compile a program for each shape."""
    name = standardize_dtype(dtype)
    with width_of(name):
        return jax.device_put(fill(tuple(shape), element_type(name)))


def _window(window: Any, length: int, periodic: bool) -> Any:
    if not isinstance(window, str):
        return window
    from scipy.signal import get_window  # JAX brings SciPy; this part of it is slow to import

    try:
        return get_window(window, length, periodic)
    except ValueError as error:
        raise ArgumentError(f"scipy.signal has no window {window!r}") from error


def serialize(initializer: Any) -> Any:
    """Return the config of an initializer."""
    return serialize_keras_object(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the initializer that a config, or a name, stands for."""
    return deserialize_keras_object(config, custom_objects, module_objects=ALL_OBJECTS)


def get(identifier: Any) -> Any:
    """Return the initializer that a layer's argument means.

    Args:
        identifier: an initializer, its class, its name (``"glorot_uniform"``), its config, a function of shape and
            dtype, an array (the values themselves), or None.

    Returns:
        Something to call with ``(shape, dtype=None)``, or None for None.

    Raises:
        ArgumentError: ``identifier`` is none of these.
    """
    if isinstance(identifier, np.ndarray | np.generic | jax.Array):
        return _given_values(identifier)
    expected = "a name such as 'glorot_uniform', an Initializer, a function of shape and dtype, or an array"
    return interpret("initializer", identifier, ALL_OBJECTS, deserialize, expected)


def _given_values(values: Any) -> Callable[..., jax.Array]:
    def initialize(shape: Shape, dtype: Any = None) -> jax.Array:
        if tuple(shape) != values.shape:
            raise ShapeError(f"the array given as initializer has shape {values.shape}, but {tuple(shape)} is needed")
        name = standardize_dtype(dtype)
        with width_of(name):
            return jnp.asarray(values).astype(name)

    return initialize
