"""``keras.ops.image``: resizing, cropping, padding, patches and colours of images [..., height, width, channels]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ...ir.dims import DimLike, ge
from ...ir.errors import ArgumentError, DTypeError, ShapeError
from ...ir.ops.composites.resize import METHODS
from ..convert import as_tensor, at_least, cast, emit
from ..dispatch import public_op
from ..dtypes import standardize_data_format
from ..tensor import Tensor
from ..trace import require_trace
from . import building as b
from .convolution import conv
from .product import contract


def _images(images: Any, data_format: Any, op: str) -> tuple[Tensor, int, int]:
    """The images, and their axes of height and of channels; the width follows the height."""
    x = as_tensor(images)
    if x.ndim not in (3, 4):
        raise ShapeError(f"{op}: expected an image of rank 3 or a batch of rank 4, received {x!r}")
    last = standardize_data_format(data_format) == "channels_last"
    return x, x.ndim - 3 if last else x.ndim - 2, x.ndim - 1 if last else x.ndim - 3


# Resizing.


@public_op(weak=False)
def resize(
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Images of another ``size`` (height, width).

    Args:
        size: integers, or symbolic dimensions made from ``images.shape``.
        interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos3"`` or ``"lanczos5"``.
        antialias: widen the kernel where the images become smaller.
        crop_to_aspect_ratio, pad_to_aspect_ratio: first cut, or fill up with ``fill_value``, what has another ratio.
    """
    x, axis, _ = _images(images, data_format, "resize")
    if interpolation not in METHODS:
        raise ArgumentError(
            f"resize: expected interpolation {', '.join(map(repr, METHODS))}; received {interpolation!r}"
        )
    if fill_mode != "constant":
        raise ArgumentError(f"resize: expected fill_mode 'constant', received {fill_mode!r}")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ArgumentError("resize: only one of crop_to_aspect_ratio and pad_to_aspect_ratio may be True")
    target = b.dims_arg(size, "resize", "size")
    if len(target) != 2 or any(ge(d, 1) is False for d in target):
        raise ArgumentError(f"resize: expected size as (height, width), received {size!r}")
    if crop_to_aspect_ratio:
        x = _cropped_to_ratio(x, axis, _ratio(target))
    if pad_to_aspect_ratio:
        x = _padded_to_ratio(x, axis, _ratio(target), fill_value)
    inner = x if b.is_float(x) or interpolation == "nearest" else cast(x, "float32")
    shape = [target[i - axis] if axis <= i < axis + 2 else d for i, d in enumerate(b.shape_of(x))]
    return _like_input(emit("resize", inner, shape=shape, method=interpolation, antialias=antialias), x.dtype)


def _ratio(target: Sequence[DimLike]) -> tuple[int, int]:
    height, width = (b.static_dim(d, "resize", "a size whose aspect ratio counts") for d in target)
    return height, width


def _like_input(x: Tensor, dtype: str) -> Tensor:
    """Integers are rounded, and limited to what their type holds."""
    if x.dtype == dtype:
        return x
    limits = ml_dtypes.iinfo(as_tensor(0, dtype).value.type.dtype)
    rounded = emit("round_nearest_even", x)
    return cast(emit("clamp", b.scalar(limits.min, x.dtype), rounded, b.scalar(limits.max, x.dtype)), dtype)


def _sizes(x: Tensor, axis: int, op: str) -> tuple[int, int]:
    return (b.static_dim(b.shape_of(x)[axis], op, "the height"), b.static_dim(b.shape_of(x)[axis + 1], op, "the width"))


def _cropped_to_ratio(x: Tensor, axis: int, target: tuple[int, ...]) -> Tensor:
    height, width = _sizes(x, axis, "resize")
    rows = max(min(height, int(width * target[0] / target[1])), 1)
    columns = max(min(width, int(height * target[1] / target[0])), 1)
    top, left = int((height - rows) / 2), int((width - columns) / 2)
    return b.cut(b.cut(x, axis, top, top + rows), axis + 1, left, left + columns)


def _padded_to_ratio(x: Tensor, axis: int, target: tuple[int, ...], fill_value: float) -> Tensor:
    height, width = _sizes(x, axis, "resize")
    rows = max(height, int(width * target[0] / target[1]))
    columns = max(width, int(height * target[1] / target[0]))
    # Keras fills both sides alike: where the difference is odd, one short of the ratio.
    edges = [0] * x.ndim
    edges[axis], edges[axis + 1] = (rows - height) // 2, (columns - width) // 2
    return b.pad_with(x, fill_value, edges, edges)


# Cropping and padding.


def _known(low: Any, high: Any, target: Any, size: DimLike, sign: int, op: str, names: str) -> tuple[DimLike, DimLike]:
    """What to cut off (sign -1) or add (1) on both sides, of which the target may stand for one."""
    if sum(v is None for v in (low, high, target)) != 1:
        raise ArgumentError(f"{op}: give exactly two of {names}, received {low}, {high} and {target}")
    change = None if target is None else (b.dims_arg(target, op, "target")[0] - size) * sign
    first = change - high if low is None else low
    second = change - first if high is None else high
    if not at_least(first, 0) or not at_least(second, 0):
        raise ArgumentError(f"{op}: expected nothing negative, received {low}, {high}, {target} for a size of {size}")
    return first, second


@public_op(weak=False)
def pad_images(
    images: Any,
    top_padding: Any = None,
    left_padding: Any = None,
    bottom_padding: Any = None,
    right_padding: Any = None,
    target_height: Any = None,
    target_width: Any = None,
    data_format: str | None = None,
) -> Tensor:
    """Images with zeros around them; of top, bottom and target height two are given, and so for the width."""
    x, axis, _ = _images(images, data_format, "pad_images")
    low: list[DimLike] = [0] * x.ndim
    high = list(low)
    rows = (top_padding, bottom_padding, target_height, "top_padding, bottom_padding and target_height")
    columns = (left_padding, right_padding, target_width, "left_padding, right_padding and target_width")
    for i, (before, after, target, names) in enumerate((rows, columns), axis):
        low[i], high[i] = _known(before, after, target, b.shape_of(x)[i], 1, "pad_images", names)
    return b.pad_with(x, 0, low, high)


@public_op(weak=False)
def crop_images(
    images: Any,
    top_cropping: Any = None,
    left_cropping: Any = None,
    bottom_cropping: Any = None,
    right_cropping: Any = None,
    target_height: Any = None,
    target_width: Any = None,
    data_format: str | None = None,
) -> Tensor:
    """Images with edges cut off; of top, bottom and target height two are given, and so for the width."""
    x, axis, _ = _images(images, data_format, "crop_images")
    for i, (before, after, target, names) in enumerate(
        (
            (top_cropping, bottom_cropping, target_height, "top_cropping, bottom_cropping and target_height"),
            (left_cropping, right_cropping, target_width, "left_cropping, right_cropping and target_width"),
        )
    ):
        size = b.shape_of(x)[axis + i]
        low, high = _known(before, after, target, size, -1, "crop_images", names)
        x = b.cut(x, axis + i, low, size - high)
    return x


# Patches.


def _patches(
    images: Any, size: Any, strides: Any, dilation_rate: Any, padding: str, data_format: Any, count: int, op: str
) -> Tensor:
    """A convolution with the identity: [..., *out, patch * channels]."""
    x = as_tensor(images)
    if x.ndim not in (count + 1, count + 2):
        raise ShapeError(f"{op}: expected a tensor of rank {count + 1} or {count + 2}, received {x!r}")
    window = b.int_args(size, op, "size")
    window = window * count if len(window) == 1 else window
    if len(window) != count:
        raise ArgumentError(f"{op}: expected size as an integer or {count} of them, received {size!r}")
    last = standardize_data_format(data_format) == "channels_last"
    batched = x if x.ndim == count + 2 else b.reshape(x, (1, *b.shape_of(x)))
    channels = b.static_dim(b.shape_of(batched)[-1 if last else 1], op, "the number of channels")
    total = int(np.prod(window)) * channels
    kernel = require_trace().constant(np.eye(total).reshape(*window, channels, total).astype(x.value.type.dtype))
    result = conv.traced(batched, kernel, window if strides is None else strides, padding, data_format, dilation_rate)
    return result if x.ndim == count + 2 else b.reshape(result, b.shape_of(result)[1:])


@public_op(weak=False)
def extract_patches(
    images: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """The patches of ``size`` (height, width) at every stride, each as one vector of pixels and channels."""
    if isinstance(size, tuple | list) and len(size) == 3:
        return extract_patches_3d.traced(images, size, strides, dilation_rate, padding, data_format)
    return _patches(images, size, strides, dilation_rate, padding, data_format, 2, "extract_patches")


@public_op(weak=False)
def extract_patches_3d(
    volumes: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """As :func:`extract_patches`, of volumes [..., depth, height, width, channels]."""
    return _patches(volumes, size, strides, dilation_rate, padding, data_format, 3, "extract_patches_3d")


# Colours.


def _planes(x: Tensor, axis: int, op: str) -> list[Tensor]:
    if not b.is_float(x):
        raise DTypeError(f"{op}: expected images of a float type, received {x!r}")
    if b.shape_of(x)[axis] != 3:
        raise ShapeError(f"{op}: expected 3 channels, received {x!r} with channels along axis {axis}")
    rest = [d for i, d in enumerate(b.shape_of(x)) if i != axis]
    return [b.reshape(b.cut(x, axis, i, i + 1), rest) for i in range(3)]


def _joined(planes: tuple[Tensor, ...], axis: int) -> Tensor:
    shape = b.shape_of(planes[0])
    return b.concatenate([b.reshape(p, (*shape[:axis], 1, *shape[axis:])) for p in planes], axis)


@public_op(weak=False)
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Tensor:
    """The weighted mean of red, green and blue, as one channel; images of one channel stay."""
    x, _, axis = _images(images, data_format, "rgb_to_grayscale")
    channels = b.shape_of(x)[axis]
    if channels == 1:
        return x
    if channels != 3:
        raise ShapeError(f"rgb_to_grayscale: expected 3 channels or 1, received {x!r} with channels along axis {axis}")
    inner = b.as_float(x)
    weights = require_trace().constant(np.array([0.2989, 0.5870, 0.1140]).astype(inner.value.type.dtype))
    result = contract(inner, weights, (axis,), (0,), what="rgb_to_grayscale")
    return cast(b.reshape(result, [1 if i == axis else d for i, d in enumerate(b.shape_of(x))]), x.dtype)


@public_op(weak=False)
def rgb_to_hsv(images: Any, data_format: str | None = None) -> Tensor:
    """Hue, saturation and value of red, green and blue, all between 0 and 1."""
    x, _, axis = _images(images, data_format, "rgb_to_hsv")
    eps = float(ml_dtypes.finfo(x.value.type.dtype).eps) if b.is_float(x) else 0.0
    planes = _planes(x, axis, "rgb_to_hsv")
    red, green, blue = (b.select(b.compare("LT", emit("abs", p), eps), 0, p) for p in planes)
    value = emit("maximum", emit("maximum", red, green), blue)
    spread = b.subtract(value, emit("minimum", emit("minimum", red, green), blue))
    bright, coloured = b.compare("GT", value, 0), b.compare("GT", spread, 0)
    saturation = b.select(bright, b.divide(spread, b.select(bright, value, 1)), 0)
    unit = b.divide(b.like(spread, 1), b.multiply(b.select(coloured, spread, 1), 6))

    def sector(first: Tensor, second: Tensor, start: float) -> Tensor:
        return b.add(emit("multiply", unit, b.subtract(first, second)), start)

    hue = b.select(b.compare("EQ", value, green), sector(blue, red, 2 / 6), sector(red, green, 4 / 6))
    hue = b.select(b.compare("EQ", value, red), sector(green, blue, 0), hue)
    turned = b.select(b.compare("LT", hue, 0), b.add(hue, 1), hue)
    return _joined((b.select(coloured, turned, 0), saturation, value), axis)


@public_op(weak=False)
def hsv_to_rgb(images: Any, data_format: str | None = None) -> Tensor:
    """Red, green and blue of hue, saturation and value, all between 0 and 1."""
    x, _, axis = _images(images, data_format, "hsv_to_rgb")
    hue, saturation, value = _planes(x, axis, "hsv_to_rgb")
    sixth = b.multiply(b.subtract(hue, emit("floor", hue)), 6)
    rest = b.subtract(b.like(saturation, 1), saturation)
    zero, one = b.scalar(0, x.dtype), b.scalar(1, x.dtype)

    def colour(strength: Tensor) -> Tensor:
        return emit("multiply", value, b.add(rest, emit("multiply", saturation, emit("clamp", zero, strength, one))))

    def away(centre: float) -> Tensor:
        return emit("abs", b.subtract(sixth, centre))

    two = b.like(sixth, 2)
    return _joined(
        (colour(b.subtract(away(3), 1)), colour(b.subtract(two, away(2))), colour(b.subtract(two, away(4)))), axis
    )
