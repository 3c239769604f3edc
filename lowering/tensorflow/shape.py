"""Rules of the ops that make, move and cut elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dims import DimLike, ge
from ...ir.graph import Node, Value
from ...ir.types import I32, short_name
from ..source import Rule
from .writer import TensorFlowWriter, cast, known_number, literal, tensor, tf_type

#: What tf.range counts in.
_COUNTED = ("f32", "f64", "i32", "i64")


def _constant(writer: TensorFlowWriter, node: Node) -> str:
    tf_type(node.result.dtype)
    return writer.array(node.attributes["value"])


def _iota(writer: TensorFlowWriter, node: Node) -> str:
    shape, axis, dtype = node.attributes["shape"], node.attributes["axis"], node.result.dtype
    counted = dtype if short_name(dtype) in _COUNTED else I32
    text = f"tf.range({writer.dim(shape[axis])}, dtype={tf_type(counted)})"
    text = text if counted == dtype else cast(text, dtype)
    if len(shape) == 1:
        return text
    ones = ["-1" if i == axis else "1" for i in range(len(shape))]
    return f"tf.broadcast_to(tf.reshape({text}, [{', '.join(ones)}]), {writer.shape(shape)})"


def _dim_value(writer: TensorFlowWriter, node: Node) -> str:
    dim, dtype = node.attributes["dim"], node.result.dtype
    return literal(np.array(dim).astype(dtype)) if isinstance(dim, int) else cast(writer.dim(dim), dtype)


def _reshape(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return writer.reshaped(x, node.attributes["shape"])


def _transpose(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return f"tf.transpose({x}, {list(node.attributes['permutation'])})"


def _broadcast_in_dim(writer: TensorFlowWriter, node: Node, x: str) -> str:
    shape, dims, source = node.attributes["shape"], node.attributes["dims"], node.operands[0]
    x = tensor(x, source.dtype)
    if not shape:
        return x
    if not source.rank:
        return _filled(writer, source, x, shape)
    order = sorted(range(len(dims)), key=dims.__getitem__)
    if order != list(range(len(dims))):
        x = f"tf.transpose({x}, {order})"
    if [dims[i] for i in order] != list(range(len(shape) - len(dims), len(shape))):
        aligned: list[DimLike] = [1] * (len(shape) - min(dims))
        for size, axis in zip(source.shape, dims):
            aligned[axis - min(dims)] = size
        x = writer.reshaped(x, aligned)
    return f"tf.broadcast_to({x}, {writer.shape(shape)})"


def _filled(writer: TensorFlowWriter, source: Value, x: str, shape: Sequence[DimLike]) -> str:
    number = known_number(source)
    if number is not None and number in (0, 1) and not (number.dtype.kind == "f" and np.signbit(number)):
        return f"tf.{'ones' if number else 'zeros'}({writer.shape(shape)}, {tf_type(source.dtype)})"
    return f"tf.fill({writer.shape(shape)}, {x})"


def _match_shape(writer: TensorFlowWriter, node: Node, x: str) -> str:
    shape = [str(d) if isinstance(d, int) else "None" for d in node.attributes["shape"]]
    if writer.lite:
        return writer.reshaped(x, node.attributes["shape"])
    return f"tf.ensure_shape({x}, [{', '.join(shape)}])"


def _reverse(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return f"tf.reverse({x}, {list(node.attributes['axes'])})" if node.attributes["axes"] else x


def _slice_(writer: TensorFlowWriter, node: Node, x: str) -> str:
    attributes, parts = node.attributes, []
    for low, high, step, size in zip(*(attributes[k] for k in ("start", "limit", "strides")), node.operands[0].shape):
        start = "" if low == 0 else writer.dim(low)
        end = "" if high == size else writer.dim(high)
        parts.append(f"{start}:{end}" + (f":{step}" if step != 1 else ""))
    while parts and parts[-1] == ":":
        parts.pop()
    return f"{x}[{', '.join(parts)}]" if parts else x


def _pad(writer: TensorFlowWriter, node: Node, x: str, value: str) -> str:
    low, high, interior = (node.attributes[k] for k in ("low", "high", "interior"))
    value = tensor(value, node.result.dtype)
    if any(interior) or any(ge(d, 0) is not True for d in (*low, *high)):
        edges = f"{writer.shape(low)}, {writer.shape(high)}"
        return f"{writer.helper('pad')}({x}, {value}, {edges}, {list(interior)})" if low else x
    return padded(writer, x, list(zip(low, high)), value, known_number(node.operands[1]))


def padded(
    writer: TensorFlowWriter, x: str, edges: Sequence[tuple[Any, Any]], value: str, number: np.ndarray | None
) -> str:
    """``x`` with so much of a value at the edges; ``number``: the value, where it is known."""
    if all(pair == (0, 0) for pair in edges):
        return x
    text = ", ".join(f"[{writer.dim(lo)}, {writer.dim(hi)}]" for lo, hi in edges)
    zero = number is not None and number == 0 and not np.signbit(np.real(np.asarray(number).astype(np.complex128)))
    return f"tf.pad({x}, [{text}]" + (")" if zero else f", constant_values={value})")


def _concatenate(writer: TensorFlowWriter, node: Node, *xs: str) -> str:
    return f"tf.concat([{', '.join(xs)}], {node.attributes['axis']})" if len(xs) > 1 else xs[0]


def _dynamic_slice(writer: TensorFlowWriter, node: Node, x: str, *starts: str) -> str:
    name = writer.helper("dynamic_slice")
    return f"{name}({x}, [{', '.join(starts)}], {writer.shape(node.attributes['sizes'])})"


def _dynamic_update_slice(writer: TensorFlowWriter, node: Node, x: str, update: str, *starts: str) -> str:
    return f"{writer.helper('dynamic_update_slice')}({x}, {update}, [{', '.join(starts)}])"


RULES: dict[str, Rule] = {
    "constant": _constant,
    "iota": _iota,
    "dim_value": _dim_value,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast_in_dim,
    "match_shape": _match_shape,
    "reverse": _reverse,
    "slice": _slice_,
    "pad": _pad,
    "concatenate": _concatenate,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
}
