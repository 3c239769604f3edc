"""Pooling: the greatest element or the mean of a sliding window, or of all spatial positions."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ShapeError
from .. import ops
from ..dtypes import standardize_data_format
from ..input_spec import InputSpec, known_shape
from ..registry import builtin
from .base import BuiltinLayer, sliding_size, spatial, with_spatial


class _Pooling(BuiltinLayer):
    """A window slides over the spatial axes and its elements are reduced.

    Args:
        pool_size: size of the window.
        strides: how far it moves; its own size for None.
        padding: ``"valid"``, or ``"same"`` for as many places as the input has positions over the stride.
        data_format: ``"channels_last"`` or ``"channels_first"``.
    """

    rank: int
    op: str

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self._keep(
            pool_size=self._integers("pool_size", pool_size, self.rank),
            padding=self._one_of("padding", padding, ("valid", "same")),
            strides=self._integers("strides", pool_size if strides is None else strides, self.rank),
            data_format=standardize_data_format(data_format),
        )
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Pool the spatial axes."""
        self.compute_output_shape(known_shape(inputs))  # a window that does not fit is an error here
        pool = getattr(ops, self.op)
        return pool(
            inputs, pool_size=self.pool_size, strides=self.strides, padding=self.padding, data_format=self.data_format
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes are the numbers of places; a ShapeError where the window does not fit."""
        sizes = [
            sliding_size(*args, self.padding)
            for args in zip(spatial(input_shape, self.data_format), self.pool_size, self.strides, strict=True)
        ]
        if any(size is not None and size <= 0 for size in sizes):
            raise ShapeError(
                f"{self._who}: pool_size={self.pool_size} does not fit into input shape "
                f"{tuple(input_shape)} (padding={self.padding!r})"
            )
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return with_spatial(input_shape, sizes, channels, self.data_format)


class _MaxPooling(_Pooling):
    op = "max_pool"

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


class _AveragePooling(_Pooling):
    op = "average_pool"


@builtin("keras.layers", aliases=("keras.layers.MaxPool1D",))
class MaxPooling1D(_MaxPooling):
    """The greatest element of each window over ``(batch, steps, features)``."""

    rank = 1


@builtin("keras.layers", aliases=("keras.layers.MaxPool2D",))
class MaxPooling2D(_MaxPooling):
    """The greatest element of each window over ``(batch, rows, columns, channels)``."""

    rank = 2


@builtin("keras.layers", aliases=("keras.layers.MaxPool3D",))
class MaxPooling3D(_MaxPooling):
    """The greatest element of each window over three spatial axes."""

    rank = 3


@builtin("keras.layers", aliases=("keras.layers.AvgPool1D",))
class AveragePooling1D(_AveragePooling):
    """The mean of each window over ``(batch, steps, features)``; padding does not count."""

    rank = 1


@builtin("keras.layers", aliases=("keras.layers.AvgPool2D",))
class AveragePooling2D(_AveragePooling):
    """The mean of each window over ``(batch, rows, columns, channels)``; padding does not count."""

    rank = 2


@builtin("keras.layers", aliases=("keras.layers.AvgPool3D",))
class AveragePooling3D(_AveragePooling):
    """The mean of each window over three spatial axes; padding does not count."""

    rank = 3


class _GlobalPooling(BuiltinLayer):
    """All spatial positions reduced to one.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``.
        keepdims: leave the spatial axes in place, with size 1.
    """

    rank: int

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(data_format=standardize_data_format(data_format), keepdims=keepdims)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def _axes(self) -> tuple[int, ...]:
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + self.rank))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(batch, channels)``, with spatial sizes of 1 if they are kept."""
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return with_spatial(input_shape, [1] * self.rank if self.keepdims else [], channels, self.data_format)


class _GlobalMaxPooling(_GlobalPooling):
    def call(self, inputs: Any) -> Any:
        """The greatest element of each channel."""
        return ops.max(inputs, axis=self._axes(), keepdims=self.keepdims)


class _GlobalAveragePooling(_GlobalPooling):
    def call(self, inputs: Any) -> Any:
        """The mean of each channel."""
        return ops.mean(inputs, axis=self._axes(), keepdims=self.keepdims)


@builtin("keras.layers", aliases=("keras.layers.GlobalMaxPool1D",))
class GlobalMaxPooling1D(_GlobalMaxPooling):
    """The greatest element over the steps."""

    rank = 1


@builtin("keras.layers", aliases=("keras.layers.GlobalMaxPool2D",))
class GlobalMaxPooling2D(_GlobalMaxPooling):
    """The greatest element over rows and columns."""

    rank = 2


@builtin("keras.layers", aliases=("keras.layers.GlobalMaxPool3D",))
class GlobalMaxPooling3D(_GlobalMaxPooling):
    """The greatest element over three spatial axes."""

    rank = 3


@builtin("keras.layers", aliases=("keras.layers.GlobalAvgPool1D",))
class GlobalAveragePooling1D(_GlobalAveragePooling):
    """The mean over the steps; masked ones do not count."""

    rank = 1

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The mean of each feature; ``mask`` has shape ``(batch, steps)``, True where a step counts."""
        if mask is None:
            return super().call(inputs)
        (steps,) = self._axes()
        shape = known_shape(inputs)
        self._fits(mask, (shape[0], shape[steps]), "batch and steps of the inputs")
        kept = ops.cast(ops.expand_dims(mask, 2 if steps == 1 else 1), "bool")
        total = ops.sum(ops.where(kept, inputs, 0), axis=steps, keepdims=self.keepdims)
        return ops.divide(total, ops.sum(ops.cast(kept, inputs.dtype), axis=steps, keepdims=self.keepdims))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: there are no steps left."""
        return None


@builtin("keras.layers", aliases=("keras.layers.GlobalAvgPool2D",))
class GlobalAveragePooling2D(_GlobalAveragePooling):
    """The mean over rows and columns."""

    rank = 2


@builtin("keras.layers", aliases=("keras.layers.GlobalAvgPool3D",))
class GlobalAveragePooling3D(_GlobalAveragePooling):
    """The mean over three spatial axes."""

    rank = 3


class _AdaptivePooling(BuiltinLayer):
    """As many windows as asked for, which cover the spatial axes evenly and overlap where their number does not divide.

    Args:
        output_size: how many windows along each spatial axis.
        data_format: ``"channels_last"`` or ``"channels_first"``.
    """

    rank: int
    op: str

    def __init__(self, output_size: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(
            output_size=self._integers("output_size", output_size, self.rank),
            data_format=standardize_data_format(data_format),
        )
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any) -> Any:
        """Pool the spatial axes, whose sizes must be known."""
        for size in spatial(known_shape(inputs), self.data_format):
            self._known(size, "each spatial size", known_shape(inputs))
        return getattr(ops, self.op)(inputs, output_size=self.output_size, data_format=self.data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes are ``output_size``."""
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return with_spatial(input_shape, self.output_size, channels, self.data_format)


class _AdaptiveAveragePooling(_AdaptivePooling):
    op = "adaptive_average_pool"


class _AdaptiveMaxPooling(_AdaptivePooling):
    op = "adaptive_max_pool"


@builtin("keras.layers")
class AdaptiveAveragePooling1D(_AdaptiveAveragePooling):
    """Means of ``output_size`` windows over the steps."""

    rank = 1


@builtin("keras.layers")
class AdaptiveAveragePooling2D(_AdaptiveAveragePooling):
    """Means of ``output_size`` windows over rows and columns."""

    rank = 2


@builtin("keras.layers")
class AdaptiveAveragePooling3D(_AdaptiveAveragePooling):
    """Means of ``output_size`` windows over three spatial axes."""

    rank = 3


@builtin("keras.layers")
class AdaptiveMaxPooling1D(_AdaptiveMaxPooling):
    """Greatest elements of ``output_size`` windows over the steps."""

    rank = 1


@builtin("keras.layers")
class AdaptiveMaxPooling2D(_AdaptiveMaxPooling):
    """Greatest elements of ``output_size`` windows over rows and columns."""

    rank = 2


@builtin("keras.layers")
class AdaptiveMaxPooling3D(_AdaptiveMaxPooling):
    """Greatest elements of ``output_size`` windows over three spatial axes."""

    rank = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
)
