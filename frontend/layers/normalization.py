"""Normalizations: by statistics of the batch, of features, of groups of channels."""

from __future__ import annotations

import warnings
from typing import Any

from ...ir.errors import ArgumentError, DTypeError
from .. import initializers, ops
from ..convert import as_tensor, cast, emit, normalize_axis
from ..dispatch import public_op
from ..dtypes import epsilon as default_epsilon
from ..dtypes import is_float
from ..input_spec import InputSpec, known_shape
from ..registry import builtin
from ..tensor import Tensor
from .base import BuiltinLayer


def _as_float(inputs: Any) -> Tensor:
    x = as_tensor(inputs)
    return x if is_float(x.dtype) else cast(x, "float32")


@public_op(weak=False)
def _batch_norm(inputs: Any, mean: Any, variance: Any, gamma: Any, beta: Any, axis: int, epsilon: float) -> Tensor:
    """One ``batch_norm`` node; statistics and weights keep their own type in it."""
    x = _as_float(inputs)
    weights = [as_tensor(w) for w in (gamma, beta) if w is not None]
    return emit(
        "batch_norm",
        x,
        as_tensor(mean),
        as_tensor(variance),
        *weights,
        axis=normalize_axis(axis, x.ndim),
        epsilon=epsilon,
        scale=gamma is not None,
        center=beta is not None,
    )


def _in_order(weight: Tensor, places: tuple[int, ...]) -> Tensor:
    """A weight in the shape of the input's axes in order, its elements as they lie, as Keras reads them."""
    sizes = [size for _, size in sorted(zip(places, weight.shape, strict=True))]
    return weight if tuple(sizes) == tuple(weight.shape) else ops.reshape(weight, sizes)


@public_op(weak=False)
def _layer_norm(inputs: Any, gamma: Any, beta: Any, axes: Any, epsilon: float) -> Tensor:
    """One ``layer_norm`` node; weights keep their own type in it."""
    x = _as_float(inputs)
    places = tuple(normalize_axis(axis, x.ndim) for axis in axes)
    weights = [_in_order(as_tensor(w), places) for w in (gamma, beta) if w is not None]
    return emit(
        "layer_norm",
        x,
        *weights,
        axes=tuple(sorted(places)),
        epsilon=epsilon,
        scale=gamma is not None,
        center=beta is not None,
    )


@public_op(weak=False)
def _rms_norm(inputs: Any, scale: Any, axes: Any, epsilon: float) -> Tensor:
    """One ``rms_norm`` node; the scale keeps its own type in it."""
    x = _as_float(inputs)
    return emit(
        "rms_norm",
        x,
        as_tensor(scale),
        axes=tuple(normalize_axis(axis, x.ndim) for axis in axes),
        epsilon=epsilon,
        scale=True,
    )


class _Normalization(BuiltinLayer):
    """A layer that keeps the shape and has an argument ``axis``, one axis or several."""

    axis: Any

    def _sizes(self, input_shape: Any) -> tuple[int, ...]:
        """The sizes of the axes, which the input spec fixes from then on."""
        self._in_range(self.axis, input_shape)
        self.axis = sorted(self.axis) if isinstance(self.axis, list) else [self.axis]
        sizes = tuple(self._known(input_shape[a], f"the size of axis {a}", input_shape) for a in self.axis)
        least_rank = max(axis + 1 if axis >= 0 else -axis for axis in self.axis)
        self.input_spec = InputSpec(min_ndim=least_rank, axes=dict(zip(self.axis, sizes, strict=True)))
        return sizes

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape; a ShapeError where an axis is out of range."""
        self._in_range(self.axis, input_shape)
        return input_shape


class _Affine(_Normalization):
    """A normalization with a learned scale ``gamma`` and shift ``beta``, one for each index of some axes."""

    def _add_affine(self, shape: tuple[int, ...], scale: bool, center: bool) -> None:
        for name, wanted in (("gamma", scale), ("beta", center)):
            setattr(
                self,
                name,
                self.add_weight(
                    name=name,
                    shape=shape,
                    initializer=getattr(self, f"{name}_initializer"),
                    regularizer=getattr(self, f"{name}_regularizer"),
                    constraint=getattr(self, f"{name}_constraint"),
                    autocast=False,
                )
                if wanted
                else None,
            )


@builtin("keras.layers")
class BatchNormalization(_Affine):
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, by each index of ``axis``.

    In training by the statistics of the batch, which also move the averages ``moving_mean`` and ``moving_variance``:
    ``average * momentum + statistic * (1 - momentum)``. Out of training (and where ``trainable`` is False) by those.

    Args:
        axis: the axis that keeps its own statistics, usually that of the channels.
        momentum: how much of an average stays in a step.
        epsilon: added to the variance.
        center: whether there is a ``beta``.
        scale: whether there is a ``gamma``.
        renorm: batch renormalization: in training the batch's statistics are corrected towards long-term ones.
        renorm_clipping: limits ``rmin``, ``rmax``, ``dmax`` of that correction, a dict.
        renorm_momentum: momentum of the statistics behind it.
        synchronized: not supported; False.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: first values.
        beta_regularizer, gamma_regularizer: penalties.
        beta_constraint, gamma_constraint: projections after each training step.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if synchronized:
            raise self._wrong("synchronized", synchronized, "False, as real Keras on JAX has it too")
        self._keep(
            axis=self._one_axis(axis),
            momentum=float(self._number("momentum", momentum)),
            epsilon=float(self._number("epsilon", epsilon)),
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            moving_mean_initializer=moving_mean_initializer,
            moving_variance_initializer=moving_variance_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
            synchronized=synchronized,
            renorm=renorm,
            renorm_clipping=self._limits(renorm_clipping) if renorm else renorm_clipping,
            renorm_momentum=renorm_momentum,
        )
        self.supports_masking = True

    def _one_axis(self, axis: Any) -> int:
        if isinstance(axis, list | tuple) and len(axis) == 1:
            axis = axis[0]
        if isinstance(axis, bool) or not isinstance(axis, int | float) or int(axis) != axis:
            raise self._wrong("axis", axis, "an integer")
        return int(axis)

    def _limits(self, clipping: dict[str, float] | None) -> dict[str, float]:
        limits = dict(clipping or {})
        low, high, most = (limits.get(name) for name in ("rmin", "rmax", "dmax"))
        crossed = low is not None and high is not None and high < low
        if set(limits) - {"rmin", "rmax", "dmax"} or crossed or (most is not None and most < 0):
            raise self._wrong("renorm_clipping", clipping, "a dict of rmin, rmax >= rmin and dmax >= 0")
        return limits

    def build(self, input_shape: Any) -> None:
        """Make gamma, beta and the moving averages."""
        self._in_range(self.axis, input_shape)
        size = self._known(input_shape[self.axis], f"the size of axis {self.axis}", input_shape)
        self._add_affine((size,), self.scale, self.center)
        self.moving_mean = self._average("moving_mean", size, self.moving_mean_initializer)
        self.moving_variance = self._average("moving_variance", size, self.moving_variance_initializer)
        if self.renorm:
            self.moving_stddev = self._average("moving_stddev", size, self._first_stddev)
            self.renorm_mean = self._average("renorm_mean", size, _again(self.moving_mean_initializer))
            self.renorm_stddev = self._average("renorm_stddev", size, self._first_stddev)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})

    def _average(self, name: str, size: int, initializer: Any) -> Any:
        return self.add_weight(name=name, shape=(size,), initializer=initializer, trainable=False, autocast=False)

    def _first_stddev(self, shape: Any, dtype: Any = None) -> Any:
        return ops.sqrt(_again(self.moving_variance_initializer)(shape, dtype=dtype))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize.

        Args:
            inputs: a tensor of the rank the layer was built for.
            training: whether to use the batch's statistics and to move the averages.
            mask: of the inputs' shape without the last axis: True where an element counts for the statistics.
        """
        if mask is not None:
            self._fits(mask, known_shape(inputs)[:-1], "that of the inputs without the last axis")
        gamma, beta = self.gamma, self.beta
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            mean, variance = self._moments(ops.cast(inputs, _wide(inputs)), mask)
            if self.renorm:
                gamma, beta = self._renormalize(mean, variance)
            else:
                _move(self.moving_mean, mean, self.momentum)
                _move(self.moving_variance, variance, self.momentum)
        outputs = _batch_norm(inputs, mean, variance, gamma, beta, self.axis, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        rank = len(inputs.shape)
        axes = tuple(i for i in range(rank) if i != self.axis % rank)
        if mask is None:
            mean, variance = ops.moments(inputs, axes=axes)
            return mean, variance
        kept = ops.cast(ops.broadcast_to(ops.expand_dims(mask, -1), inputs.shape), "bool")
        count = ops.add(ops.sum(ops.cast(kept, inputs.dtype), axis=axes, keepdims=True), default_epsilon())
        mean = ops.divide(ops.sum(ops.where(kept, inputs, 0), axis=axes, keepdims=True), count)
        distance = ops.where(kept, ops.subtract(inputs, mean), 0)
        variance = ops.divide(ops.sum(ops.square(distance), axis=axes, keepdims=True), count)
        return ops.squeeze(mean, axis=axes), ops.squeeze(variance, axis=axes)

    def _renormalize(self, mean: Any, variance: Any) -> tuple[Any, Any]:
        """Gamma and beta with the correction of Ioffe 2017 (arXiv:1702.03275) in them; moves all averages."""
        stddev = ops.sqrt(ops.add(variance, self.epsilon))
        long_term = ops.maximum(self.renorm_stddev, self.epsilon**0.5)
        r = ops.divide(stddev, long_term)
        d = ops.divide(ops.subtract(mean, self.renorm_mean), long_term)
        limits = self.renorm_clipping
        if limits.get("rmin") is not None:
            r = ops.maximum(r, limits["rmin"])
        if limits.get("rmax") is not None:
            r = ops.minimum(r, limits["rmax"])
        if limits.get("dmax") is not None:
            d = ops.clip(d, -limits["dmax"], limits["dmax"])
        gamma, beta = ops.stop_gradient(r), ops.stop_gradient(d)
        if self.gamma is not None:
            gamma, beta = ops.multiply(gamma, self.gamma), ops.multiply(beta, self.gamma)
        if self.beta is not None:
            beta = ops.add(beta, self.beta)
        _move(self.renorm_mean, mean, self.renorm_momentum)
        _move(self.renorm_stddev, stddev, self.renorm_momentum)
        _move(self.moving_mean, mean, self.momentum)
        moved = _move(self.moving_stddev, stddev, self.momentum)
        self.moving_variance.assign(ops.relu(ops.subtract(ops.multiply(moved, moved), self.epsilon)))
        return gamma, beta


def _move(average: Any, statistic: Any, momentum: float) -> Any:
    """Move a Variable towards a statistic."""
    statistic = ops.multiply(statistic, 1.0 - momentum)
    return average.assign(ops.add(ops.multiply(ops.cast(average, statistic.dtype), momentum), statistic))


def _wide(x: Any) -> str:
    """The type that statistics of ``x`` are computed in."""
    return "float64" if str(x.dtype) == "float64" else "float32"


def _again(initializer: Any) -> Any:
    """An initializer that draws anew what another drew."""
    return initializer.clone() if isinstance(initializer, initializers.Initializer) else initializer


def _axes(layer: BuiltinLayer, axis: Any) -> Any:
    if isinstance(axis, list | tuple) and axis and all(isinstance(a, int) for a in axis):
        return list(axis)
    if isinstance(axis, int):
        return axis
    raise DTypeError(f"{layer._who}: expected axis to be an integer or several, received {axis!r}")


@builtin("keras.layers")
class LayerNormalization(_Affine):
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, with the statistics of each example along ``axis``.

    Args:
        axis: one axis or several.
        epsilon: added to the variance.
        center: whether there is a ``beta``.
        scale: whether there is a ``gamma``.
        rms_scaling: divide by the deviation only, and neither subtract the mean nor shift (an old option; use
            RMSNormalization).
        beta_initializer, gamma_initializer: first values.
        beta_regularizer, gamma_regularizer: penalties.
        beta_constraint, gamma_constraint: projections after each training step.
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ) -> None:
        if rms_scaling:
            warnings.warn(
                "LayerNormalization(rms_scaling=True) divides by the deviation from the mean, not by the "
                "root of the mean square; RMSNormalization does that",
                stacklevel=2,
            )
        super().__init__(**kwargs)
        self._keep(
            axis=_axes(self, axis),
            epsilon=self._number("epsilon", epsilon),
            center=center,
            scale=scale,
            rms_scaling=rms_scaling,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )
        self.supports_masking = True
        self.autocast = False

    def build(self, input_shape: Any) -> None:
        """Make gamma and beta, of the sizes of the axes."""
        shape = self._sizes(input_shape)
        self._add_affine(shape, self.scale or self.rms_scaling, self.center and not self.rms_scaling)

    def call(self, inputs: Any) -> Any:
        """Normalize."""
        outputs = (
            self._divided(inputs)
            if self.rms_scaling
            else _layer_norm(inputs, self.gamma, self.beta, self.axis, self.epsilon)
        )
        return ops.cast(outputs, self.compute_dtype)

    def _divided(self, inputs: Any) -> Any:
        x = ops.cast(inputs, _wide(inputs))
        inverse = ops.rsqrt(ops.add(ops.var(x, axis=tuple(self.axis), keepdims=True), self.epsilon))
        rank = len(inputs.shape)
        places = [a % rank for a in self.axis]
        shape = [inputs.shape[i] if i in places else 1 for i in range(rank)]
        scaled = ops.multiply(ops.multiply(x, inverse), ops.reshape(ops.cast(self.gamma, x.dtype), shape))
        return ops.cast(scaled, inputs.dtype)


@builtin("keras.layers")
class RMSNormalization(_Normalization):
    """``x / sqrt(mean(x * x) + epsilon) * scale`` along ``axis``, one axis or several."""

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(axis=_axes(self, axis), epsilon=epsilon)

    def build(self, input_shape: Any) -> None:
        """Make the scale, of the sizes of the axes."""
        self.scale = self.add_weight(name="scale", shape=self._sizes(input_shape), initializer="ones")

    def call(self, x: Any) -> Any:
        """Normalize."""
        return _rms_norm(x, self.scale, self.axis, self.epsilon)


@builtin("keras.layers")
class UnitNormalization(_Normalization):
    """``x`` divided by its norm along ``axis``, one axis or several."""

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(axis=_axes(self, axis))
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Normalize."""
        axes = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        return ops.normalize(inputs, axis=axes, order=2, epsilon=1e-12)


@builtin("keras.layers")
class GroupNormalization(_Affine):
    """As LayerNormalization, with the statistics of each group of channels over all positions.

    Args:
        groups: number of groups; -1 for one of each channel.
        axis: the axis of the channels.
        epsilon: added to the variance.
        center: whether there is a ``beta``.
        scale: whether there is a ``gamma``.
        beta_initializer, gamma_initializer: first values.
        beta_regularizer, gamma_regularizer: penalties.
        beta_constraint, gamma_constraint: projections after each training step.
    """

    groups: int

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(groups, int) or (groups <= 0 and groups != -1):
            raise self._wrong("groups", groups, "a positive integer, or -1 for groups of one channel")
        self._keep(
            groups=groups,
            axis=axis,
            epsilon=self._number("epsilon", epsilon),
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )
        self.supports_masking = True
        self.autocast = False

    def build(self, input_shape: Any) -> None:
        """Make gamma and beta, one for each channel."""
        self._in_range(self.axis, input_shape)
        channels = self._known(input_shape[self.axis], f"the size of axis {self.axis}", input_shape)
        self.groups = channels if self.groups == -1 else self.groups
        if channels % self.groups:
            raise ArgumentError(
                f"{self._who}: groups={self.groups} do not divide the {channels} channels "
                f"of input shape {tuple(input_shape)}"
            )
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})
        self._add_affine((channels,), self.scale, self.center)

    def call(self, inputs: Any) -> Any:
        """Normalize."""
        shape, axis = inputs.shape, self.axis % len(inputs.shape)
        sizes = (self.groups, shape[axis] // self.groups)
        grouped = ops.cast(ops.reshape(inputs, (*shape[:axis], *sizes, *shape[axis + 1 :])), _wide(inputs))
        rank = len(shape) + 1
        mean, variance = ops.moments(grouped, axes=tuple(i for i in range(1, rank) if i != axis), keepdims=True)
        scale = ops.rsqrt(ops.add(variance, self.epsilon))
        weight_shape = [sizes[i - axis] if i in (axis, axis + 1) else 1 for i in range(rank)]
        if self.gamma is not None:
            scale = ops.multiply(scale, ops.reshape(ops.cast(self.gamma, grouped.dtype), weight_shape))
        shift = ops.negative(ops.multiply(mean, scale))
        if self.beta is not None:
            shift = ops.add(shift, ops.reshape(ops.cast(self.beta, grouped.dtype), weight_shape))
        outputs = ops.cast(ops.add(ops.multiply(grouped, scale), shift), inputs.dtype)
        return ops.cast(ops.reshape(outputs, shape), self.compute_dtype)
