"""Images made to one size: resized, or cut around the centre."""

from __future__ import annotations

from typing import Any

from ...ir.dims import ge
from ...ir.errors import ShapeError, UnsupportedError
from ...ir.ops.composites.resize import METHODS
from .. import ops
from ..dtypes import standardize_data_format
from ..registry import builtin
from ..tensor import plain_dims
from .base import BuiltinLayer


class _ImageLayer(BuiltinLayer):
    """Images ``(height, width, channels)``, or batches of them, come out ``height`` by ``width``.

    A dict of ``images``, ``segmentation_masks`` and ``labels`` comes out as such, with its labels as they are. What
    becomes of images, a subclass says in ``_images``.
    """

    def __init__(self, height: int, width: int, data_format: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(
            data_format=standardize_data_format(data_format),
            height=self._positive("height", height),
            width=self._positive("width", width),
        )

    def call(self, inputs: Any) -> Any:
        """Images, or a dict with them."""
        if not isinstance(inputs, dict):
            return self._images(inputs)
        if "bounding_boxes" in inputs:
            raise UnsupportedError(f"{self._who}: bounding boxes are not supported; transform the images alone")
        steps = {"images": self._images, "segmentation_masks": self._masks}
        return {name: steps[name](value) if name in steps else value for name, value in inputs.items()}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape with the layer's height and width."""
        if len(input_shape) not in (3, 4):
            raise ShapeError(f"{self._who}: expected images of rank 3 or 4, received input shape {tuple(input_shape)}")
        first = self._height_axis
        return (*input_shape[:first], self.height, self.width, *input_shape[len(input_shape) + first + 2 :])

    @property
    def _height_axis(self) -> int:
        """The axis of the height from the end; that of the width is the next."""
        return -3 if self.data_format == "channels_last" else -2

    def _masks(self, masks: Any) -> Any:
        return self._images(masks)


@builtin("keras.layers")
class Resizing(_ImageLayer):
    """Images resized to ``(height, width)``; integers stay integers, rounded. Masks get their nearest element.

    Args:
        interpolation, crop_to_aspect_ratio, pad_to_aspect_ratio, fill_mode, fill_value, antialias: as those of
            ``ops.image.resize``.
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, data_format, **kwargs)
        self._keep(
            interpolation=self._one_of("interpolation", interpolation, METHODS),
            crop_to_aspect_ratio=crop_to_aspect_ratio,
            pad_to_aspect_ratio=pad_to_aspect_ratio,
            fill_mode=self._one_of("fill_mode", fill_mode, ("constant",)),
            fill_value=fill_value,
            antialias=bool(antialias),
        )

    def _images(self, images: Any, interpolation: str | None = None) -> Any:
        return ops.image.resize(
            images,
            (self.height, self.width),
            interpolation=interpolation or self.interpolation,
            antialias=self.antialias,
            crop_to_aspect_ratio=self.crop_to_aspect_ratio,
            pad_to_aspect_ratio=self.pad_to_aspect_ratio,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            data_format=self.data_format,
        )

    def _masks(self, masks: Any) -> Any:
        return self._images(masks, "nearest")


@builtin("keras.layers")
class CenterCrop(_ImageLayer):
    """The middle of images, ``height`` by ``width``; what is smaller is cut to that ratio and resized.

    An open size is taken to be large enough, and is checked when it is known.
    """

    def __init__(self, height: int, width: int, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(height, width, data_format, **kwargs)

    def _images(self, images: Any) -> Any:
        images = ops.cast(images, self.compute_dtype)
        first, wanted = self._height_axis, (self.height, self.width)
        rest = [plain_dims(images.shape[first + i]) - wanted[i] for i in (0, 1)]
        if any(ge(r, 0) is False for r in rest):
            return ops.image.resize(images, wanted, crop_to_aspect_ratio=True, data_format=self.data_format)
        cuts = [slice(r // 2, r // 2 + size) for r, size in zip(rest, wanted, strict=True)]
        return images[(..., *cuts, *[slice(None)] * (-first - 2))]
