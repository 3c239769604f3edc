"""The same elements elsewhere: flattening, reshaping, permuting, repeating, padding, cropping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...ir.errors import ShapeError
from ...ir.ops.composites.resize import METHODS
from .. import ops
from ..dtypes import standardize_data_format
from ..input_spec import InputSpec, known_shape
from ..registry import builtin
from .base import BuiltinLayer, spatial, with_spatial


@builtin("keras.layers")
class Flatten(BuiltinLayer):
    """All axes but the batch's as one. Channels that come first are moved to the end before."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(data_format=standardize_data_format(data_format))
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """``(batch, ...)`` to ``(batch, size)``."""
        shape = inputs.shape
        if self.data_format == "channels_first" and len(shape) > 2:
            inputs = ops.transpose(inputs, axes=(0, *range(2, len(shape)), 1))
        return ops.reshape(inputs, (shape[0], math.prod(shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The batch, and the product of the other sizes."""
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))


@builtin("keras.layers")
class Reshape(BuiltinLayer):
    """The same elements in row-major order under another shape.

    Args:
        target_shape: sizes without the batch's; one may be -1: what is left.
    """

    def __init__(self, target_shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        target = tuple(target_shape)
        if sum(d == -1 for d in target) > 1 or any(not isinstance(d, int) or d < -1 for d in target):
            raise self._wrong("target_shape", target_shape, "sizes >= 0, one of them perhaps -1")
        self._keep(target_shape=target)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """``(batch, ...)`` to ``(batch, *target_shape)``."""
        resolved = self.compute_output_shape(known_shape(inputs))[1:]
        sizes = [-1 if d is None else d for d in resolved]
        return ops.reshape(inputs, (inputs.shape[0], *sizes))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The batch and the target shape, -1 replaced where the input's size is known."""
        target, rest = self.target_shape, tuple(input_shape[1:])
        if None in rest:
            return (input_shape[0], *(None if d == -1 else d for d in target))
        size, known = math.prod(rest), math.prod(d for d in target if d != -1)
        fits = size == known if -1 not in target else known > 0 and size % known == 0
        if not fits:
            raise ShapeError(f"{self._who}: the {size} elements of shape {rest} do not fit target_shape={target}")
        return (input_shape[0], *(size // known if d == -1 else d for d in target))


@builtin("keras.layers")
class Permute(BuiltinLayer):
    """Axes in another order.

    Args:
        dims: for each axis after the batch the axis it is taken from, from 1 on.
    """

    def __init__(self, dims: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dims = tuple(dims)
        if sorted(dims) != list(range(1, len(dims) + 1)):
            raise self._wrong("dims", dims, f"the numbers 1 to {len(dims)} in some order")
        self._keep(dims=dims)
        self.input_spec = InputSpec(ndim=len(dims) + 1)

    def call(self, inputs: Any) -> Any:
        """Permute the axes."""
        return ops.transpose(inputs, axes=(0, *self.dims))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The sizes in the new order."""
        return (input_shape[0], *(input_shape[d] for d in self.dims))


@builtin("keras.layers")
class RepeatVector(BuiltinLayer):
    """``n`` copies of a vector in a new axis after the batch."""

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(n=self._positive("n", n))
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Any) -> Any:
        """``(batch, size)`` to ``(batch, n, size)``."""
        batch, size = inputs.shape
        return ops.broadcast_to(ops.expand_dims(inputs, 1), (batch, self.n, size))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """A size ``n`` comes after the batch."""
        return (input_shape[0], self.n, input_shape[1])


class _ZeroPadding(BuiltinLayer):
    """Zeros at the edges of the spatial axes."""

    rank: int

    def __init__(self, padding: Any, data_format: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.rank == 1:
            padding = self._integers("padding", padding, 2, least=0)
        else:
            padding = self._pairs("padding", padding, self.rank)
        self._keep(padding=padding, data_format=standardize_data_format(data_format))
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _edges(self) -> Sequence[tuple[int, int]]:
        return (self.padding,) if self.rank == 1 else self.padding

    def call(self, inputs: Any) -> Any:
        """Pad the spatial axes."""
        none = (0, 0)
        return ops.pad(inputs, with_spatial([none], self._edges(), none, self.data_format))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes grow by the padding."""
        sizes = [
            None if d is None else d + sum(edges)
            for d, edges in zip(spatial(input_shape, self.data_format), self._edges(), strict=True)
        ]
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return with_spatial(input_shape, sizes, channels, self.data_format)


@builtin("keras.layers")
class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after a sequence: ``padding`` of them, or ``(before, after)``."""

    rank = 1

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(padding, data_format, **kwargs)


@builtin("keras.layers")
class ZeroPadding2D(_ZeroPadding):
    """Zeros around images: ``n``, ``(rows, columns)`` or ``((top, bottom), (left, right))``."""

    rank = 2

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(padding, data_format, **kwargs)


@builtin("keras.layers")
class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes: ``n``, three numbers, or three pairs ``(before, after)``."""

    rank = 3

    def __init__(self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(padding, data_format, **kwargs)


class _Cropping(BuiltinLayer):
    """The edges of the spatial axes cut off."""

    rank: int
    data_format = "channels_last"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _edges(self) -> Sequence[tuple[int, int]]:
        return (self.cropping,) if self.rank == 1 else self.cropping

    def call(self, inputs: Any) -> Any:
        """Cut the spatial axes."""
        self.compute_output_shape(known_shape(inputs))
        whole = slice(None)
        parts = [slice(before, -after if after else None) for before, after in self._edges()]
        return inputs[with_spatial([whole], parts, whole, self.data_format)]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes less the cropping; a ShapeError where nothing would be left."""
        sizes = [
            None if d is None else d - sum(edges)
            for d, edges in zip(spatial(input_shape, self.data_format), self._edges(), strict=True)
        ]
        if any(d is not None and d <= 0 for d in sizes):
            raise ShapeError(
                f"{self._who}: cropping={self.cropping} leaves nothing of input shape {tuple(input_shape)}"
            )
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return with_spatial(input_shape, sizes, channels, self.data_format)


@builtin("keras.layers")
class Cropping1D(_Cropping):
    """A sequence without its first and last steps: ``n`` at both ends, or ``(before, after)``."""

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(cropping=self._integers("cropping", cropping, 2, least=0))


@builtin("keras.layers")
class Cropping2D(_Cropping):
    """Images without their edges: ``n``, ``(rows, columns)`` or ``((top, bottom), (left, right))``."""

    rank = 2

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(cropping=self._pairs("cropping", cropping, 2), data_format=standardize_data_format(data_format))


@builtin("keras.layers")
class Cropping3D(_Cropping):
    """Volumes without their edges: ``n``, three numbers, or three pairs ``(before, after)``."""

    rank = 3

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(cropping=self._pairs("cropping", cropping, 3), data_format=standardize_data_format(data_format))


class _UpSampling(BuiltinLayer):
    """Every element repeated along the spatial axes."""

    rank: int
    data_format = "channels_last"

    def _sizes(self) -> Sequence[int]:
        return (self.size,) if self.rank == 1 else self.size

    def call(self, inputs: Any) -> Any:
        """Repeat along each spatial axis."""
        first = 1 if self.data_format == "channels_last" else 2
        for axis, times in enumerate(self._sizes(), first):
            inputs = ops.repeat(inputs, times, axis=axis)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes times ``size``."""
        sizes = [
            None if d is None else d * times
            for d, times in zip(spatial(input_shape, self.data_format), self._sizes(), strict=True)
        ]
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return with_spatial(input_shape, sizes, channels, self.data_format)


@builtin("keras.layers")
class UpSampling1D(_UpSampling):
    """Every step of a sequence ``size`` times."""

    rank = 1

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(size=self._positive("size", size))
        self.input_spec = InputSpec(ndim=3)


@builtin("keras.layers")
class UpSampling2D(_UpSampling):
    """Images ``size`` times as high and wide.

    Args:
        size: the factors of rows and columns.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        interpolation: ``"nearest"`` repeats rows and columns; ``"bilinear"``, ``"bicubic"``, ``"lanczos3"`` and
            ``"lanczos5"`` weigh those near by, as ``ops.image.resize`` does.
    """

    rank = 2

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._keep(
            size=self._integers("size", size, 2),
            data_format=standardize_data_format(data_format),
            interpolation=self._one_of("interpolation", interpolation, METHODS),
        )
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Any) -> Any:
        """``(batch, rows, columns, channels)`` to ``(batch, size[0] * rows, size[1] * columns, channels)``."""
        if self.interpolation == "nearest":
            return super().call(inputs)
        sizes = [d * times for d, times in zip(spatial(inputs.shape, self.data_format), self.size, strict=True)]
        return ops.image.resize(inputs, sizes, interpolation=self.interpolation, data_format=self.data_format)


@builtin("keras.layers")
class UpSampling3D(_UpSampling):
    """Volumes repeated ``size`` times along each spatial axis."""

    rank = 3

    def __init__(self, size: Any = (2, 2, 2), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(size=self._integers("size", size, 3), data_format=standardize_data_format(data_format))
        self.input_spec = InputSpec(ndim=5)
