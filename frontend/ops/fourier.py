"""Fourier transforms; complex tensors go in and out as pairs of real and imaginary parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.errors import ArgumentError, DTypeError, ShapeError
from ..convert import as_tensor, cast, emit, match_shape
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor
from ..trace import require_trace
from . import building as b
from .convolution import windows_of

Pair = tuple[Tensor, Tensor]


def _complex(x: Any, op: str) -> Tensor:
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise ArgumentError(f"{op}: expected a tuple of two tensors, the real and imaginary parts; received {x!r}")
    real, imag = (as_tensor(t) for t in x)
    if not b.is_float(real) or not b.is_float(imag):
        raise DTypeError(f"{op}: expected float real and imaginary parts, received {real!r} and {imag!r}")
    if real.ndim != imag.ndim:
        raise ShapeError(f"{op}: real and imaginary parts must have one shape, received {real!r} and {imag!r}")
    imag = match_shape(imag, b.shape_of(real), f"{op}: real and imaginary parts must have one shape")
    dtype = "float64" if real.dtype == imag.dtype == "float64" else "float32"
    return emit("complex", cast(real, dtype), cast(imag, dtype))


def _parts(x: Tensor) -> Pair:
    return emit("real", x), emit("imag", x)


def _transform(x: Tensor, kind: str, axes: int, op: str) -> Tensor:
    if x.ndim < axes:
        raise ShapeError(f"{op}: expected tensors of rank {axes} or more, received {x!r}")
    return emit("fft", x, kind=kind, length=b.shape_of(x)[x.ndim - axes :])


@public_op(weak=False)
def fft(x: Any) -> Pair:
    """The Fourier transform along the last axis."""
    return _parts(_transform(_complex(x, "fft"), "FFT", 1, "fft"))


@public_op(weak=False)
def fft2(x: Any) -> Pair:
    """The Fourier transform of the last two axes."""
    return _parts(_transform(_complex(x, "fft2"), "FFT", 2, "fft2"))


@public_op(weak=False)
def ifft2(x: Any) -> Pair:
    """The inverse Fourier transform of the last two axes."""
    return _parts(_transform(_complex(x, "ifft2"), "IFFT", 2, "ifft2"))


def _resized(x: Tensor, size: Any) -> Tensor:
    """The last axis cut or padded with zeros to ``size``."""
    axis, own = x.ndim - 1, b.shape_of(x)[-1]
    if own == size:
        return x
    edge = [0] * axis + [size - own]
    return b.pad_with(x, 0, [0] * x.ndim, edge)


@public_op(weak=False)
def rfft(x: Any, fft_length: Any = None) -> Pair:
    """The half of the Fourier transform of real signals that says it all, along the last axis of ``fft_length``."""
    x = b.as_float(x)
    if not x.ndim:
        raise ShapeError(f"rfft: expected a signal of rank 1 or more, received {x!r}")
    x = x if x.dtype == "float64" else cast(x, "float32")
    if fft_length is not None:
        x = _resized(x, b.dims_arg(fft_length, "rfft", "fft_length")[0])
    return _parts(_transform(x, "RFFT", 1, "rfft"))


@public_op(weak=False)
def irfft(x: Any, fft_length: Any = None) -> Tensor:
    """The real signals of ``fft_length`` that :func:`rfft` transforms into ``x``."""
    value = _complex(x, "irfft")
    half = b.shape_of(value)[-1]
    length = 2 * (half - 1) if fft_length is None else b.dims_arg(fft_length, "irfft", "fft_length")[0]
    value = _resized(value, length // 2 + 1)
    return emit("fft", value, kind="IRFFT", length=(length,))


# Short transforms along a signal.


def _window(window: Any, length: int, fft_length: int, dtype: str, op: str) -> Tensor:
    """The window, centred in ``fft_length`` points."""
    left = (fft_length - length) // 2
    if window is None:
        return b.filled((fft_length,), 1, dtype)
    if isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ArgumentError(f"{op}: expected window 'hann', 'hamming', None or a vector; received {window!r}")
        angle = 2 * np.pi * np.arange(length) / length  # periodic
        values = 0.5 - 0.5 * np.cos(angle) if window == "hann" else 0.54 - 0.46 * np.cos(angle)
        points = require_trace().constant(values.astype(b.scalar(0, dtype).value.type.dtype))
    else:
        points = as_tensor(window, dtype)
    if b.shape_of(points) != (length,):
        raise ShapeError(f"{op}: expected a window of {length} points, received {points!r}")
    return b.pad_with(points, 0, (left,), (fft_length - length - left,))


def _lengths(values: tuple[Any, Any, Any], op: str) -> tuple[int, int, int]:
    names = ("sequence_length", "sequence_stride", "fft_length")
    length, stride, fft_length = (b.int_arg(v, op, n) for v, n in zip(values, names))
    if fft_length < length:
        raise ArgumentError(f"{op}: expected fft_length >= sequence_length, received {fft_length} and {length}")
    return length, stride, fft_length


@public_op(weak=False)
def stft(
    x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann", center: bool = True
) -> Pair:
    """The transforms of windows along the last axis: [..., windows, fft_length // 2 + 1].

    ``center`` pads the signal by reflection, so that window i is centred on sample ``i * sequence_stride``.
    """
    from .padding import pad

    x = as_tensor(x)
    if x.dtype not in ("float32", "float64"):
        raise DTypeError(f"stft: expected float32 or float64, received {x!r}")
    length, stride, size = _lengths((sequence_length, sequence_stride, fft_length), "stft")
    if center:
        x = pad.traced(x, [(0, 0)] * (x.ndim - 1) + [(size // 2, size // 2)], "reflect")
    frames = windows_of(x, size, stride)
    weights = stretch(_window(window, length, size, x.dtype, "stft"), b.shape_of(frames))
    return _parts(_transform(emit("multiply", frames, weights), "RFFT", 1, "stft"))


@public_op(weak=False)
def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: Any = None,
    window: Any = "hann",
    center: bool = True,
) -> Tensor:
    """The signal that :func:`stft` transforms into ``x``: weighted windows added and divided by what they sum to."""
    from .convolution import fold

    value = _complex(x, "istft")
    size, stride, points = _lengths((sequence_length, sequence_stride, fft_length), "istft")
    if value.ndim < 2:
        raise ShapeError(f"istft: expected [..., windows, frequencies], received {value!r}")
    *batch, count, _ = b.shape_of(value)
    frames = emit("fft", _resized(value, points // 2 + 1), kind="IRFFT", length=(points,))
    weights = _window(window, size, points, frames.dtype, "istft")
    windows = b.static_dim(count, "istft", "the number of windows")
    whole = points + stride * (windows - 1)

    def added(t: Tensor) -> Tensor:
        """[rows, windows, points] -> [rows, whole]."""
        columns = b.transpose(t, (0, 2, 1))
        signal = fold.traced(columns, (1, whole), (1, points), stride=(1, stride))
        return b.reshape(signal, (b.shape_of(t)[0], whole))

    rows = b.size_of(batch)
    wide = (rows, windows, points)
    flat = b.reshape(frames, wide)
    signal = added(emit("multiply", flat, stretch(weights, wide)))
    square = stretch(emit("multiply", weights, weights), (1, windows, points))
    norm = stretch(added(square), b.shape_of(signal))
    signal = b.divide(signal, b.select(b.compare("GT", norm, 1e-10), norm, 1))
    signal = b.reshape(signal, (*batch, whole))
    start = points // 2 if center else 0
    end = (
        start + b.int_arg(length, "istft", "length") if length is not None else whole - points // 2 if center else whole
    )
    end = min(end, whole)
    return b.cut(signal, signal.ndim - 1, start, end)
