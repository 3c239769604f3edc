"""Rules of dot_general and convolution."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.dims import DimLike, max_dim
from ...ir.errors import UnsupportedError
from ...ir.graph import Node
from ...ir.types import BOOL, F32, I32, I64, is_complex, is_float, short_name
from ..source import Rule
from .shape import padded
from .writer import TensorFlowWriter, cast, tf_type


def _inner_type(node: Node, lacking: Sequence[str]) -> np.dtype:
    """The type that products are summed in."""
    dtype = node.result.dtype
    if dtype == BOOL:
        return I32
    if is_float(dtype) or is_complex(dtype):
        return F32 if dtype.itemsize == 1 else dtype
    return dtype if short_name(dtype) not in lacking else I64 if dtype.itemsize > 2 else I32


def _converted(node: Node, inner: np.dtype, *operands: str) -> list[str]:
    return [x if v.dtype == inner else cast(x, inner) for x, v in zip(operands, node.operands)]


def _back(text: str, inner: np.dtype, node: Node) -> str:
    dtype = node.result.dtype
    return text if inner == dtype else f"{text} != 0" if dtype == BOOL else cast(text, dtype)


# dot_general


def _dot_general(writer: TensorFlowWriter, node: Node, x: str, y: str) -> str:
    inner = _inner_type(node, ("i8", "i16", "ui8", "ui16", "ui32", "ui64"))
    x, y = _converted(node, inner, x, y)
    made = _matmul(writer, node, x, y) or f"tf.einsum('{_equation(node)}', {x}, {y})"
    return _back(made, inner, node)


def _matmul(writer: TensorFlowWriter, node: Node, x: str, y: str) -> str | None:
    """The product as tf.matmul, with a reshape around it where it is rows of any shape times one matrix; else None."""
    a, (left, right) = node.attributes, node.operands
    batch = len(a["lhs_batch"])
    if tuple(a["lhs_batch"]) != tuple(range(batch)) or tuple(a["rhs_batch"]) != tuple(range(batch)):
        return None
    if len(a["lhs_contract"]) != 1 or right.rank != batch + 2:
        return None
    (i,), (j,) = a["lhs_contract"], a["rhs_contract"]
    adjoint_y = ", transpose_b=True" if j == batch + 1 else ""
    if left.rank == batch + 2:
        adjoint_x = ", transpose_a=True" if i == batch else ""
        return f"tf.matmul({x}, {y}{adjoint_x}{adjoint_y})" if adjoint_x or adjoint_y else f"{x} @ {y}"
    if batch or left.rank < 2 or i != left.rank - 1:
        return None
    rows = writer.assign(f"tf.reshape({x}, [-1, {writer.dim(left.shape[-1])}])", "rows")
    product = f"tf.matmul({rows}, {y}, transpose_b=True)" if adjoint_y else f"{rows} @ {y}"
    return writer.reshaped(writer.assign(product, "product"), node.result.shape)


def _equation(node: Node) -> str:
    a, letters = node.attributes, iter(string.ascii_lowercase + string.ascii_uppercase)
    left: list[str] = [""] * node.operands[0].rank
    right: list[str] = [""] * node.operands[1].rank
    for kind in ("batch", "contract"):
        for i, j in zip(a[f"lhs_{kind}"], a[f"rhs_{kind}"]):
            left[i] = right[j] = next(letters)
    batch = "".join(left[i] for i in a["lhs_batch"])
    free = ""
    for names in (left, right):
        for i, name in enumerate(names):
            if not name:
                names[i] = next(letters)
                free += names[i]
    return f"{''.join(left)},{''.join(right)}->{batch}{free}"


# convolution


@dataclass
class Convolution:
    """A convolution of batch, spatial..., feature and a kernel of spatial..., in, out."""

    x: str
    w: str
    batch: DimLike
    sizes: list[DimLike]
    features: int
    kernel: list[int]
    out: list[DimLike]
    out_features: int
    strides: list[int]
    padding: list[tuple[Any, Any]]
    lhs_dilation: list[int]
    rhs_dilation: list[int]
    groups: int

    @property
    def spatial(self) -> int:
        return len(self.kernel)


def _convolution(writer: TensorFlowWriter, node: Node, x: str, w: str) -> str:
    a, (left, right) = node.attributes, node.operands
    spatial = left.rank - 2
    inner = _inner_type(node, ("i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64"))
    x, w = _converted(node, inner, x, w)
    to_last = [a["lhs_spec"][0], *a["lhs_spec"][2:], a["lhs_spec"][1]]
    kernel_last = [*a["rhs_spec"][2:], a["rhs_spec"][1], a["rhs_spec"][0]]
    x, w = _turned(writer, x, to_last), _turned(writer, w, kernel_last)
    flipped = [i for i, on in enumerate(a["reversal"] or ()) if on]
    if flipped:
        w = writer.assign(f"tf.reverse({w}, {flipped})", "kernel")
    out = [node.result.shape[i] for i in a["out_spec"]]
    sizes = [left.shape[i] for i in to_last]
    c = Convolution(
        x,
        w,
        sizes[0],
        sizes[1:-1],
        _known(node, sizes[-1]),
        [_known(node, right.shape[i]) for i in kernel_last[:-2]],
        out[2:],
        _known(node, out[1]),
        list(a["strides"]),
        list(a["padding"]),
        list(a["lhs_dilation"]),
        list(a["rhs_dilation"]),
        a["feature_groups"],
    )
    made = _by_batch_groups(writer, c, a["batch_groups"], inner)
    back = [0, spatial + 1, *range(1, spatial + 1)]  # batch, feature, spatial... of what was made
    made = _turned(writer, made, [back[a["out_spec"].index(i)] for i in range(left.rank)])
    return _back(made, inner, node)


def _known(node: Node, size: DimLike) -> int:
    if not isinstance(size, int):
        raise UnsupportedError(
            f"convolution has no form in TensorFlow with {size} features or kernel elements (at {node.location}); fix "
            f"the size: dims={{...}}"
        )
    return size


def _turned(writer: TensorFlowWriter, x: str, permutation: Sequence[int]) -> str:
    if list(permutation) == list(range(len(permutation))):
        return x
    return writer.assign(f"tf.transpose({x}, {list(permutation)})", "turned")


def _by_batch_groups(writer: TensorFlowWriter, c: Convolution, count: int, inner: np.dtype) -> str:
    if count == 1:
        return _grouped(writer, c, inner)
    assert isinstance(c.batch, int)
    parts = []
    rows, columns = c.batch // count, c.out_features // count
    x, w = c.x, c.w
    for i in range(count):
        c.x = writer.assign(f"{x}[{i * rows}:{(i + 1) * rows}]", "part")
        c.w = writer.assign(f"{w}[..., {i * columns}:{(i + 1) * columns}]", "kernel")
        part = Convolution(**{**c.__dict__, "batch": rows, "out_features": columns})
        parts.append(_grouped(writer, part, inner))
    return f"tf.concat([{', '.join(parts)}], -1)"


def _grouped(writer: TensorFlowWriter, c: Convolution, inner: np.dtype) -> str:
    if c.groups == 1:
        return _plain(writer, c, inner)
    if c.groups == c.features and _depthwise_fits(c, inner):
        return _depthwise(writer, c)
    parts = []
    inputs, outputs = c.features // c.groups, c.out_features // c.groups
    for i in range(c.groups):
        x = writer.assign(f"{c.x}[..., {i * inputs}:{(i + 1) * inputs}]", "part")
        w = writer.assign(f"{c.w}[..., {i * outputs}:{(i + 1) * outputs}]", "kernel")
        group = {**c.__dict__, "x": x, "w": w, "features": inputs, "out_features": outputs, "groups": 1}
        parts.append(writer.assign(_plain(writer, Convolution(**group), inner), "part"))
    return f"tf.concat([{', '.join(parts)}], -1)"


def is_same(size: DimLike, window: int, stride: int, dilation: int, edges: tuple[DimLike, DimLike]) -> bool:
    """Whether these edges of a dimension are the padding that TensorFlow calls SAME, whatever its size may be."""
    count = (size + stride - 1) // stride
    total = max_dim((count - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return tuple(edges) == (total // 2, total - total // 2)


def _same(c: Convolution) -> bool:
    return all(map(is_same, c.sizes, c.kernel, c.strides, c.rhs_dilation, c.padding))


def _edges(writer: TensorFlowWriter, c: Convolution) -> tuple[str, str]:
    """The input and TensorFlow's name for the padding: ``'SAME'``, or ``'VALID'`` of an input that is padded."""
    if all(pair == (0, 0) for pair in c.padding):
        return c.x, "'VALID'"
    if _same(c):
        return c.x, "'SAME'"
    return _padded(writer, c), "'VALID'"


def _padded(writer: TensorFlowWriter, c: Convolution) -> str:
    edges = [(0, 0), *c.padding, (0, 0)]
    if any(not isinstance(d, int) or d < 0 for pair in edges for d in pair) or any(d > 1 for d in c.lhs_dilation):
        low, high = (writer.shape(pair[i] for pair in edges) for i in (0, 1))
        gaps = [0, *(d - 1 for d in c.lhs_dilation), 0]
        zero = f"tf.zeros([], {c.x}.dtype)"
        return writer.assign(f"{writer.helper('pad')}({c.x}, {zero}, {low}, {high}, {gaps})", "padded")
    return writer.assign(padded(writer, c.x, edges, "", np.zeros(())), "padded")


def _depthwise_fits(c: Convolution, inner: np.dtype) -> bool:
    return (
        c.spatial in (1, 2)
        and is_float(inner)
        and len(set(c.strides)) == 1
        and all(d == 1 for d in c.lhs_dilation)
        and (len(set(c.rhs_dilation)) == 1 and (c.rhs_dilation[0] == 1 or c.strides[0] == 1))
        and 0 not in (c.batch, *c.sizes, *c.kernel, *c.out, c.features, c.out_features)
    )


def _depthwise(writer: TensorFlowWriter, c: Convolution) -> str:
    """A kernel of its own for each feature. TensorFlow's kernel is [height, width, in, multiplier]."""
    kernel = f"tf.reshape({c.w}, {[*([1] * (2 - c.spatial)), *c.kernel, c.features, c.out_features // c.features]})"
    x, padding = _edges(writer, c)
    if c.spatial == 1:
        x = f"tf.expand_dims({x}, 1)"
    dilation = f", dilations={[c.rhs_dilation[0]] * 2}" if c.rhs_dilation[0] > 1 else ""
    strides = [1, c.strides[0], c.strides[0], 1]
    made = f"tf.nn.depthwise_conv2d({x}, {kernel}, {strides}, {padding}{dilation})"
    return f"tf.squeeze({writer.assign(made, 'rows')}, 1)" if c.spatial == 1 else made


def _plain(writer: TensorFlowWriter, c: Convolution, inner: np.dtype) -> str:
    nothing = 0 in (c.batch, *c.sizes, *c.kernel, *c.out, c.features, c.out_features)
    if c.spatial not in (1, 2, 3) or not is_float(inner) or nothing or (c.spatial == 3 and inner.itemsize != 4):
        return _by_taps(writer, c, inner)
    if any(d > 1 for d in c.lhs_dilation):
        if all(s == 1 for s in c.strides) and all(d == 1 for d in c.rhs_dilation):
            return _transposed(writer, c)
        x = _padded(writer, c)
        sizes = [(n - 1) * d + 1 + lo + hi for n, d, (lo, hi) in zip(c.sizes, c.lhs_dilation, c.padding)]
        rest = {"x": x, "sizes": sizes, "padding": [(0, 0)] * c.spatial, "lhs_dilation": [1] * c.spatial}
        c = Convolution(**{**c.__dict__, **rest})
    if c.spatial == 3 and any(d > 1 for d in c.rhs_dilation):
        return _by_taps(writer, c, inner)
    if not _same(c) and any(not isinstance(d, int) or d < 0 for pair in c.padding for d in pair):
        c = Convolution(**{**c.__dict__, "x": _padded(writer, c), "padding": [(0, 0)] * c.spatial})
    x, padding = _edges(writer, c)
    if c.spatial == 1:
        dilation = f", dilations={c.rhs_dilation[0]}" if c.rhs_dilation[0] > 1 else ""
        return f"tf.nn.conv1d({x}, {c.w}, {c.strides[0]}, {padding}{dilation})"
    if c.spatial == 3:
        return f"tf.nn.conv3d({x}, {c.w}, {[1, *c.strides, 1]}, {padding})"
    dilation = f", dilations={c.rhs_dilation}" if any(d > 1 for d in c.rhs_dilation) else ""
    return f"tf.nn.conv2d({x}, {c.w}, {c.strides}, {padding}{dilation})"


def _transposed(writer: TensorFlowWriter, c: Convolution) -> str:
    """An input stretched by strides: the transpose of a strided convolution without padding, then cut or padded."""
    strides, kernel, sizes = c.lhs_dilation, c.kernel, c.sizes
    axes = list(range(c.spatial))
    turned = [*axes, c.spatial + 1, c.spatial]
    w = writer.assign(f"tf.transpose(tf.reverse({c.w}, {axes}), {turned})", "kernel")
    full = [(n - 1) * s + k for n, s, k in zip(sizes, strides, kernel)]
    cut = [(k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(kernel, c.padding)]
    same = all(
        isinstance(n, int) and (lo, hi) == (total // 2, total - total // 2)
        for n, k, s, (lo, hi) in zip(sizes, kernel, strides, cut)
        for total in [max(k - s, 0)]
    ) and all(s <= k for s, k in zip(strides, kernel))
    target = [n * s for n, s in zip(sizes, strides)] if same else full
    shape = writer.shape([c.batch, *target, c.out_features])
    call = f"tf.nn.conv{c.spatial}d_transpose"
    strides_text = strides[0] if c.spatial == 1 else [1, *strides, 1] if c.spatial == 3 else strides
    padding = "'SAME'" if same and any(pair != (0, 0) for pair in cut) else "'VALID'"
    made = f"{call}({c.x}, {w}, {shape}, {strides_text}, {padding})"
    if same or all(pair == (0, 0) for pair in cut):
        return made
    made = writer.assign(made, "stretched")
    if all(isinstance(d, int) and d >= 0 for pair in cut for d in pair):
        parts = [f"{lo or ''}:{writer.dim(n - hi) if hi else ''}" for (lo, hi), n in zip(cut, full)]
        return f"{made}[:, {', '.join(parts)}]"
    edges = [(0, 0), *((-lo, -hi) for lo, hi in cut), (0, 0)]
    low, high = (writer.shape(pair[i] for pair in edges) for i in (0, 1))
    return f"{writer.helper('pad')}({made}, tf.zeros([], {made}.dtype), {low}, {high}, {[0] * (c.spatial + 2)})"


def _by_taps(writer: TensorFlowWriter, c: Convolution, inner: np.dtype) -> str:
    """Any convolution, as the sum over the kernel's elements of a product of matrices."""
    name = writer.helper("convolve")
    counts = writer.shape(c.out)
    padding = f"[{', '.join(writer.shape(pair) for pair in c.padding)}]"
    return (
        f"{name}({c.x}, {c.w}, {c.strides}, {padding}, {c.lhs_dilation}, {c.rhs_dilation}, {counts})"
        if math.prod(c.kernel) or c.spatial
        else f"tf.zeros({writer.shape([c.batch, *c.out, c.out_features])}, {tf_type(inner)})"
    )


RULES: dict[str, Rule] = {"dot_general": _dot_general, "convolution": _convolution}
