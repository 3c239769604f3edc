"""Convolutions and pooling, with Keras's padding and layouts."""

from __future__ import annotations

import itertools
from typing import Any

from ...ir.dims import DimLike, max_dim
from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor, cast, emit, promote
from ..dispatch import public_op
from ..dtypes import standardize_data_format
from ..tensor import Tensor
from ..trace import require_trace
from . import building as b
from .indexing import gather_along

Pairs = list[tuple[DimLike, DimLike]]


def _spatial(value: Any, count: int, op: str, name: str) -> tuple[int, ...]:
    """An argument that is one integer or one for each spatial dimension."""
    values = b.int_args(value, op, name)
    values = values * count if len(values) == 1 else values
    if len(values) != count or any(v < 1 for v in values):
        raise ArgumentError(f"{op}: expected {name} as a positive integer, or {count} of them; received {value!r}")
    return values


def _image(inputs: Any, op: str) -> Tensor:
    x = as_tensor(inputs)
    if x.ndim < 3:
        raise ShapeError(
            f"{op}: expected inputs with batch, channels and at least one spatial dimension, received {x!r}"
        )
    return x


def _spec(rank: int, channels_last: bool) -> tuple[int, ...]:
    """(batch, channels, *spatial): where each is in the inputs."""
    return (0, rank - 1, *range(1, rank - 1)) if channels_last else tuple(range(rank))


def same_padding(size: DimLike, window: DimLike, stride: int) -> tuple[DimLike, DimLike]:
    """What to add before and after so that ``ceil(size / stride)`` windows fit; the odd one goes after."""
    total = max_dim(((size + stride - 1) // stride - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def paddings(
    padding: Any, sizes: tuple[DimLike, ...], windows: tuple[DimLike, ...], strides: tuple[int, ...], op: str
) -> Pairs:
    """The padding of each spatial dimension for ``"valid"``, ``"same"``, or pairs as they are."""
    if isinstance(padding, tuple | list):
        return [(p, q) for p, q in padding]
    name = str(padding).lower()
    if name == "valid":
        return [(0, 0)] * len(sizes)
    if name == "same":
        return [same_padding(*each) for each in zip(sizes, windows, strides)]
    raise ArgumentError(f"{op}: expected padding 'valid' or 'same', received {padding!r}")


def _kernel(kernel: Any, x: Tensor, op: str) -> Tensor:
    w = as_tensor(kernel)
    if w.ndim != x.ndim:
        raise ShapeError(
            f"{op}: expected a kernel of rank {x.ndim} (spatial dimensions, in and out channels) for {x!r}, "
            f"received {w!r}"
        )
    return w


def _convolved(
    x: Tensor,
    w: Tensor,
    strides: tuple[int, ...],
    padding: Any,
    dilation: tuple[int, ...],
    last: bool,
    groups: int,
    op: str,
) -> Tensor:
    spec, count = _spec(x.ndim, last), x.ndim - 2
    sizes = tuple(b.shape_of(x)[i] for i in spec[2:])
    windows = tuple((k - 1) * d + 1 for k, d in zip(b.shape_of(w)[:count], dilation))
    pairs = paddings(padding, sizes, windows, strides, op)
    for size, window, (low, high) in zip(sizes, windows, pairs):
        room = size + low + high - window
        if isinstance(room, int) and room < 0 and size != 0:
            raise ShapeError(
                f"{op}: a kernel of extent {window} (with dilation) does not fit into inputs {x!r} with "
                f"padding {padding!r}; the output would be empty"
            )
    return emit(
        "convolution",
        x,
        w,
        strides=strides,
        padding=pairs,
        lhs_dilation=(1,) * count,
        rhs_dilation=dilation,
        lhs_spec=spec,
        rhs_spec=(count + 1, count, *range(count)),
        out_spec=spec,
        feature_groups=groups,
    )


@public_op(weak=False)
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """Convolution in 1, 2 or 3 dimensions.

    Args:
        inputs: [batch, *spatial, channels], or channels before the spatial dimensions for ``"channels_first"``.
        kernel: [*spatial, in channels, out channels]; with fewer in channels than the inputs have, in groups.
        strides, dilation_rate: an integer, or one for each spatial dimension.
        padding: ``"valid"`` or ``"same"``.
    """
    x = _image(inputs, "conv")
    w = _kernel(kernel, x, "conv")
    x = cast(x, w.dtype)
    last = standardize_data_format(data_format) == "channels_last"
    channels, taken = b.shape_of(x)[-1 if last else 1], b.shape_of(w)[-2]
    groups = b.static_dim(
        channels // taken if taken else 0, "conv", "the number of groups (channels / kernel channels)"
    )
    if groups * taken != channels or not groups:
        raise ShapeError(
            f"conv: the kernel's input channels must divide those of the inputs; received kernel {w!r} with "
            f"{taken} and inputs {x!r} with {channels} ({'last' if last else 'first'})"
        )
    count = x.ndim - 2
    return _convolved(
        x,
        w,
        _spatial(strides, count, "conv", "strides"),
        padding,
        _spatial(dilation_rate, count, "conv", "dilation_rate"),
        last,
        groups,
        "conv",
    )


@public_op(weak=False)
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """Each channel convolved for itself; ``kernel`` is [*spatial, channels, multiplier]."""
    return _depthwise(inputs, kernel, strides, padding, data_format, dilation_rate, "depthwise_conv")


def _depthwise(
    inputs: Any, kernel: Any, strides: Any, padding: Any, data_format: Any, dilation: Any, op: str
) -> Tensor:
    x = _image(inputs, op)
    x, w = promote(x, _kernel(kernel, x, op))
    last = standardize_data_format(data_format) == "channels_last"
    channels, count = b.shape_of(x)[-1 if last else 1], x.ndim - 2
    *spatial, taken, multiplier = b.shape_of(w)
    if taken != channels:
        raise ShapeError(f"{op}: the kernel {w!r} is for {taken} channels, the inputs {x!r} have {channels}")
    groups = b.static_dim(channels, op, "the number of channels")
    w = b.reshape(w, (*spatial, 1, groups * multiplier))
    return _convolved(
        x,
        w,
        _spatial(strides, count, op, "strides"),
        padding,
        _spatial(dilation, count, op, "dilation_rate"),
        last,
        groups,
        op,
    )


@public_op(weak=False)
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """:func:`depthwise_conv`, then a convolution of single points that mixes channels."""
    x = _depthwise(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate, "separable_conv")
    return conv.traced(x, pointwise_kernel, 1, "valid", data_format)


def transposed_padding(
    size: int, stride: int, dilation: int, padding: str, output_padding: int | None
) -> tuple[int, int]:
    """How Keras pads the stretched inputs of a transposed convolution.

    "valid" keeps everything the kernel reaches, and at least ``stride`` for the last input; "same" gives ``stride``
    outputs for each input. ``output_padding`` fixes the size by hand.
    """
    extent = (size - 1) * dilation + 1
    if padding == "valid":
        extra = max(extent, stride) - extent if output_padding is None else output_padding
        return extent - 1, extent - 1 + extra
    total = stride + extent - 2 if output_padding is None else extent + extent % 2 - 2 + output_padding
    low = min((total + 1) // 2, extent - 1)
    return low, total - low


@public_op(weak=False)
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """The transpose of a convolution, which enlarges; ``kernel`` is [*spatial, out channels, in channels]."""
    op = "conv_transpose"
    x = _image(inputs, op)
    x, w = promote(x, _kernel(kernel, x, op))
    last, count = standardize_data_format(data_format) == "channels_last", x.ndim - 2
    channels = b.shape_of(x)[-1 if last else 1]
    if b.shape_of(w)[-1] != channels:
        raise ShapeError(
            f"{op}: the kernel {w!r} is for {b.shape_of(w)[-1]} channels, the inputs {x!r} have {channels}"
        )
    name = str(padding).lower()
    if name not in ("valid", "same"):
        raise ArgumentError(f"{op}: expected padding 'valid' or 'same', received {padding!r}")
    steps, holes = _spatial(strides, count, op, "strides"), _spatial(dilation_rate, count, op, "dilation_rate")
    sizes = [b.static_dim(d, op, "the kernel's size") for d in b.shape_of(w)[:count]]
    extra = output_padding if isinstance(output_padding, tuple | list) else (output_padding,) * count
    pairs = [transposed_padding(k, s, d, name, e) for k, s, d, e in zip(sizes, steps, holes, extra)]
    spec = _spec(x.ndim, last)
    return emit(
        "convolution",
        x,
        w,
        strides=(1,) * count,
        padding=pairs,
        lhs_dilation=steps,
        rhs_dilation=holes,
        lhs_spec=spec,
        rhs_spec=(count, count + 1, *range(count)),
        out_spec=spec,
        reversal=(True,) * count,
    )


# Pooling.


def _pooled(
    op: str, inputs: Any, pool_size: Any, strides: Any, padding: Any, data_format: Any, name: str, **more: Any
) -> Tensor:
    x = _image(inputs, name)
    count = x.ndim - 2
    spatial = _spec(x.ndim, standardize_data_format(data_format) == "channels_last")[2:]
    window = _spatial(pool_size, count, name, "pool_size")
    steps = window if strides is None else _spatial(strides, count, name, "strides")
    if str(padding).lower() not in ("valid", "same"):
        raise ArgumentError(f"{name}: expected padding 'valid' or 'same', received {padding!r}")
    shape = b.shape_of(x)
    pairs = paddings(padding, tuple(shape[i] for i in spatial), window, steps, name)

    def full(values: Any, other: Any) -> list[Any]:
        return [values[spatial.index(i)] if i in spatial else other for i in range(x.ndim)]

    if name == "average_pool":
        x = b.as_float(x)
    return emit(op, x, window=full(window, 1), strides=full(steps, 1), padding=full(pairs, (0, 0)), **more)


@public_op(weak=False)
def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Tensor:
    """The greatest element of each window of the spatial dimensions; ``strides`` is the window's size by default."""
    return _pooled("max_pool", inputs, pool_size, strides, padding, data_format, "max_pool")


@public_op(weak=False)
def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Tensor:
    """The mean of each window of the spatial dimensions; padding does not count."""
    return _pooled("avg_pool", inputs, pool_size, strides, padding, data_format, "average_pool", count_padding=False)


def _adaptive(inputs: Any, output_size: Any, data_format: Any, op: str) -> Tensor:
    """Output i takes the elements from floor(i * n / out) up to ceil((i + 1) * n / out)."""
    x = _image(inputs, op)
    x = b.as_float(x) if op == "adaptive_average_pool" else x
    count = x.ndim - 2
    spatial = _spec(x.ndim, standardize_data_format(data_format) == "channels_last")[2:]
    for axis, out in zip(spatial, _spatial(output_size, count, op, "output_size")):
        n = b.static_dim(b.shape_of(x)[axis], op, "a spatial dimension")
        bounds = [(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]
        reduction = "reduce_mean" if op == "adaptive_average_pool" else "reduce_max"
        if n % out == 0:
            shape = b.shape_of(x)
            x = b.reduce(reduction, b.reshape(x, (*shape[:axis], out, n // out, *shape[axis + 1 :])), (axis + 1,))
        else:
            x = b.concatenate(
                [b.reduce(reduction, b.cut(x, axis, low, high), (axis,), True) for low, high in bounds], axis
            )
    return x


@public_op(weak=False)
def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Tensor:
    """Means of as many windows as ``output_size`` says, which cover the spatial dimensions evenly."""
    return _adaptive(inputs, output_size, data_format, "adaptive_average_pool")


@public_op(weak=False)
def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Tensor:
    """Greatest elements of as many windows as ``output_size`` says, which cover the spatial dimensions evenly."""
    return _adaptive(inputs, output_size, data_format, "adaptive_max_pool")


# Patches.


def _patches(x: Tensor, sizes: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...]) -> list[Tensor]:
    """For each place in the window, in row-major order, the elements under it: [..., *out] of [..., *spatial]."""
    first = x.ndim - len(sizes)
    result = []
    for place in itertools.product(*map(range, sizes)):
        part = x
        for axis, (offset, size, stride, hole) in enumerate(zip(place, sizes, strides, dilation), first):
            n = b.shape_of(x)[axis]
            count = (n - (size - 1) * hole - 1) // stride + 1
            start = offset * hole
            part = b.cut(part, axis, start, start + (count - 1) * stride + 1, stride)
        result.append(part)
    return result


def _two(value: Any, op: str, name: str) -> tuple[int, int]:
    values = b.int_args(value, op, name)
    return (values[0], values[-1])


@public_op(weak=False)
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of images [batch, channels, height, width], each as a column: [batch, channels * window, windows]."""
    x = as_tensor(x)
    if x.ndim != 4:
        raise ShapeError(f"unfold: expected images [batch, channels, height, width], received {x!r}")
    sizes, holes, edges, steps = (
        _two(v, "unfold", n)
        for v, n in ((kernel_size, "kernel_size"), (dilation, "dilation"), (padding, "padding"), (stride, "stride"))
    )
    x = b.pad_with(x, 0, (0, 0, *edges), (0, 0, *edges)) if any(edges) else x
    parts = _patches(x, sizes, steps, holes)
    batch, channels, height, width = b.shape_of(parts[0])
    joined = b.concatenate([b.reshape(p, (batch, channels, 1, height * width)) for p in parts], 2)
    return b.reshape(joined, (batch, channels * len(parts), height * width))


@public_op(weak=False)
def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Columns as :func:`unfold` makes them, added up at their places in images of ``output_size``."""
    x = as_tensor(x)
    if x.ndim != 3:
        raise ShapeError(f"fold: expected [batch, channels * window, windows], received {x!r}")
    out, sizes, holes, edges, steps = (
        _two(v, "fold", n)
        for v, n in (
            (output_size, "output_size"),
            (kernel_size, "kernel_size"),
            (dilation, "dilation"),
            (padding, "padding"),
            (stride, "stride"),
        )
    )
    whole = [o + 2 * p for o, p in zip(out, edges)]
    counts = [(n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(whole, sizes, holes, steps)]
    batch, columns, windows = b.shape_of(x)
    channels = columns // (sizes[0] * sizes[1])
    require_trace().require_equal(
        columns, channels * sizes[0] * sizes[1], "fold: columns are channels times the window"
    )
    require_trace().require_equal(windows, counts[0] * counts[1], "fold: number of windows")
    parts = b.reshape(x, (batch, channels, *sizes, *counts))
    total: Tensor | None = None
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            part = b.reshape(b.cut(b.cut(parts, 2, i, i + 1), 3, j, j + 1), (batch, channels, *counts))
            low = [0, 0, i * holes[0], j * holes[1]]
            high = [0, 0] + [n - start - (c - 1) * s - 1 for n, start, c, s in zip(whole, low[2:], counts, steps)]
            spread = emit(
                "pad", part, b.scalar(0, x.dtype), low=low, high=high, interior=(0, 0, *(s - 1 for s in steps))
            )
            total = spread if total is None else b.add(total, spread)
    assert total is not None
    return b.cut(b.cut(total, 2, edges[0], whole[0] - edges[0]), 3, edges[1], whole[1] - edges[1])


@public_op(weak=False)
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Tensor:
    """Windows of the last axis: [..., windows, sequence_length]."""
    x = as_tensor(x)
    return windows_of(
        x,
        b.int_arg(sequence_length, "extract_sequences", "sequence_length"),
        b.int_arg(sequence_stride, "extract_sequences", "sequence_stride"),
    )


def windows_of(x: Tensor, length: int, stride: int) -> Tensor:
    """:func:`extract_sequences` by one gather."""
    *batch, size = b.shape_of(x)
    count = (size - length) // stride + 1
    grid = (count, length)
    places = b.add(b.multiply(b.iota(grid, 0), stride), b.iota(grid, 1))
    return gather_along(x, places, len(batch))
