"""Rules of pooling and resizing: what torch does to images, whose last axes are in space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.dims import Dim, DimLike
from ...ir.graph import Node
from ...ir.ops.contraction import conv_size
from ...ir.types import is_float
from ..source import Rule
from .shape import padded
from .writer import TorchWriter, held, narrowed

Padding = Sequence[tuple[DimLike, DimLike]]


def as_images(
    writer: TorchWriter, x: str, shape: Sequence[DimLike], axes: Sequence[int]
) -> tuple[str, Callable[[str, Sequence[DimLike]], str], list[int]]:
    """An array as a batch of images, where ``axes`` are in space.

    Returns:
        The text of the images: batch, channels, then the axes; what turns a text of images with these sizes of the
        axes back; ``[1]`` where the images have one row more, since there is one axis only, else ``[]``.
    """
    order = [*(i for i in range(len(shape)) if i not in axes), *axes]
    lead = [shape[i] for i in order[: -len(axes)]]
    flat = [*([1] * (2 - len(lead))), *([lead[0], math.prod(lead[1:])] if len(lead) > 1 else lead)]
    row = [1] if len(axes) == 1 else []
    inner = [*flat, *row, *(shape[i] for i in axes)]
    text = writer.reshaped(writer.permuted(x, order), [shape[i] for i in order], inner)

    def back(made: str, sizes: Sequence[DimLike]) -> str:
        made = writer.reshaped(made, [*flat, *row, *sizes], [*lead, *sizes])
        return writer.permuted(made, sorted(range(len(order)), key=lambda i: order[i]))

    return text, back, row


def pooled(
    writer: TorchWriter,
    kind: str,
    x: str,
    shape: Sequence[DimLike],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    options: str = "",
) -> str | None:
    """``x`` by one of torch's poolings, ``max`` or ``avg``, over one to three axes; None where there is none.

    ``options``: of ``avg``: whether padding counts, and what sums are divided by.
    """
    axes = [i for i in range(len(shape)) if window[i] != 1 or strides[i] != 1 or padding[i] != (0, 0)]
    if not 1 <= len(axes) <= 3:
        return None if axes else x
    edges = _edges(
        [shape[i] for i in axes], [window[i] for i in axes], [strides[i] for i in axes], [padding[i] for i in axes]
    )
    if edges is None and kind == "max":
        low, high = ([p[side] for p in padding] for side in (0, 1))
        x = padded(writer, x, low, high, '-float("inf")')
        shape = [d + lo + hi for d, lo, hi in zip(shape, low, high, strict=True)]
        return pooled(writer, kind, x, shape, window, strides, [(0, 0)] * len(shape))
    if edges is None:
        return None
    before, ceil = edges
    text, back, row = as_images(writer, x, shape, axes)
    size, step = [*row, *(window[i] for i in axes)], [*row, *(strides[i] for i in axes)]
    before = [*([0] * len(row)), *before]
    if kind == "max":
        made = f"torch.max_pool{len(size)}d({text}, {size}, {step}, {before}, {[1] * len(size)}, {ceil})"
    else:
        made = f"F.avg_pool{len(size)}d({text}, {size}, {step}, {before}, {ceil}, {options})"
    return back(made, [conv_size(shape[i], window[i], strides[i], padding[i]) for i in axes])


def _edges(
    sizes: Sequence[DimLike], window: Sequence[int], strides: Sequence[int], padding: Padding
) -> tuple[list[int], bool] | None:
    """The padding on both sides that torch is told, and whether the last window may stand over the edge."""
    before = [lo for lo, _ in padding if isinstance(lo, int)]
    if len(before) < len(padding) or any(not 0 <= lo <= k // 2 for lo, k in zip(before, window, strict=True)):
        return None
    if all(lo == hi for lo, hi in padding):
        return before, False
    for size, k, stride, lo, (_, hi) in zip(sizes, window, strides, before, padding, strict=True):
        if isinstance(size, Dim) or isinstance(hi, Dim):
            return None
        count = -(-(size + 2 * lo - k) // stride) + 1
        if (count - 1) * stride >= size + lo:  # a window starts inside
            count -= 1
        if count != conv_size(size, k, stride, (lo, hi)):
            return None
    return before, True


def _decomposed(writer: TorchWriter, node: Node, x: str) -> list[str]:
    assert node.op.decompose is not None
    return writer.expand(node.op.decompose, node, [x])


def max_pool(writer: TorchWriter, node: Node, x: str) -> str | list[str]:
    """Torch's own, where it has the type and the shape."""
    a, value = node.attributes, node.operands[0]
    found = None
    if is_float(value.dtype):
        found = pooled(writer, "max", x, value.shape, a["window"], a["strides"], a["padding"])
    return found if found is not None else _decomposed(writer, node, x)


def avg_pool(writer: TorchWriter, node: Node, x: str) -> str | list[str]:
    """Torch's own, where it has the padding."""
    a, value = node.attributes, node.operands[0]
    options = f"True, {math.prod(a['window'])}" if a["count_padding"] else "False, None"
    found = pooled(writer, "avg", x, value.shape, a["window"], a["strides"], a["padding"], options)
    return narrowed(found, value.dtype) if found is not None else _decomposed(writer, node, x)


def pooled_window(writer: TorchWriter, node: Node, op: str, x: str) -> str | None:
    """A reduce_window without dilation, from a neutral start, that is a pooling of floats; None for any other."""
    a, value = node.attributes, node.operands[0]
    if not is_float(value.dtype) or any(isinstance(d, Dim) for d in a["window"]):
        return None
    if op == "maximum":
        return pooled(writer, "max", x, value.shape, a["window"], a["strides"], a["padding"])
    if op != "add":
        return None
    low, high = ([p[side] for p in a["padding"]] for side in (0, 1))
    x = padded(writer, x, low, high, "0.0")
    shape = [d + lo + hi for d, lo, hi in zip(value.shape, low, high, strict=True)]
    return pooled(writer, "avg", x, shape, a["window"], a["strides"], [(0, 0)] * value.rank, "True, 1")


def resize(writer: TorchWriter, node: Node, x: str) -> Any:
    """Torch's bilinear kernel for one or two axes that grow; else the decomposition."""
    value, target = node.operands[0], node.attributes["shape"]
    axes = [i for i, (old, new) in enumerate(zip(value.shape, target, strict=True)) if old != new]
    static = all(isinstance(d, int) for i in axes for d in (value.shape[i], target[i]))
    if (
        node.attributes["method"] != "bilinear"
        or not static
        or not 1 <= len(axes) <= 2
        or any(target[i] < value.shape[i] for i in axes)
        or 0 in value.shape
        or held(value.dtype) not in ("float32", "float64")
    ):
        return _decomposed(writer, node, x)
    text, back, row = as_images(writer, x, value.shape, axes)
    new = [*row, *(target[i] for i in axes)]
    made = f"torch._C._nn.upsample_bilinear2d({text}, {writer.shape(new)}, False, None, None)"
    return narrowed(back(made, [target[i] for i in axes]), np.dtype(value.dtype))


RULES: dict[str, Rule] = {"max_pool": max_pool, "avg_pool": avg_pool, "resize": resize}
