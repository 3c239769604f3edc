"""Rules of the ops that make and move elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.dims import Dim, DimLike, max_dim, same
from ...ir.graph import Node
from ..source import Rule
from .writer import TorchWriter, known_number, narrowed, number_text


def constant(writer: TorchWriter, node: Node) -> str:
    """A literal, or an attribute of the module."""
    return writer.array(node.attributes["value"], node.result.name or "constant")


def iota(writer: TorchWriter, node: Node) -> str:
    """Counted along its axis, and stretched over the others."""
    shape, axis, dtype = node.attributes["shape"], node.attributes["axis"], node.result.dtype
    text = narrowed(writer.arange(shape[axis], dtype), dtype)
    if len(shape) == 1:
        return text
    sizes = ["1" if i > axis else "-1" for i in range(axis, len(shape))]
    line = f"({text})" if "&" in text else text
    return f"{line}.reshape({', '.join(sizes)}).expand({', '.join(writer.dims(shape))})"


def dim_value(writer: TorchWriter, node: Node) -> str:
    """A size as a tensor."""
    return writer.full((), writer.dim(node.attributes["dim"]), node.result.dtype)


def reshape(writer: TorchWriter, node: Node, x: str) -> str:
    """The same elements under another shape."""
    return writer.reshaped(x, node.operands[0].shape, node.result.shape)


def transpose(writer: TorchWriter, node: Node, x: str) -> str:
    """A view."""
    return writer.permuted(x, node.attributes["permutation"])


def broadcast_in_dim(writer: TorchWriter, node: Node, x: str) -> str:
    """A view: axes in the order of the result, ones between them, stretched."""
    shape, dims, source = node.result.shape, node.attributes["dims"], node.operands[0]
    number = known_number(source)
    if number is not None:
        return writer.full(shape, number_text(number), source.dtype)
    order = sorted(range(len(dims)), key=lambda i: dims[i])
    text = writer.permuted(x, order)
    first = min(dims, default=len(shape))
    aligned: list[DimLike] = [1] * (len(shape) - first)
    for axis, size in zip(dims, source.shape, strict=True):
        aligned[axis - first] = size
    text = writer.reshaped(text, [source.shape[i] for i in order], aligned)
    return text if tuple(aligned) == shape else f"{text}.expand({writer.shape(shape)})"


def match_shape(writer: TorchWriter, node: Node, x: str) -> str:
    """The operand; what the trace could not decide is asserted."""
    for axis, (before, after) in enumerate(zip(node.operands[0].shape, node.result.shape, strict=True)):
        if same(before, after) is not True:
            writer.line(
                f'assert {x}.shape[{axis}] == {writer.dim(after)}, "expected a size of {after} along axis {axis}"'
            )
    return x


def reverse(writer: TorchWriter, node: Node, x: str) -> str:
    """A copy in the other order."""
    axes = node.attributes["axes"]
    return f"torch.flip({x}, {list(axes)})" if axes else x


def slice_text(starts: Sequence[str], limits: Sequence[str], strides: Sequence[int], sizes: Sequence[str]) -> str:
    """``[:, 1:5:2]``; empty where it takes everything."""
    parts = []
    for start, limit, stride, size in zip(starts, limits, strides, sizes, strict=True):
        if start == "0" and limit == size and stride == 1:
            parts.append(":")
            continue
        part = f"{'' if start == '0' else start}:{'' if limit == size else limit}"
        parts.append(f"{part}:{stride}" if stride != 1 else part)
    while parts and parts[-1] == ":":
        parts.pop()
    return f"[{', '.join(parts)}]" if parts else ""


def slice_(writer: TorchWriter, node: Node, x: str) -> str:
    """A view."""
    a = node.attributes
    return x + slice_text(
        writer.dims(a["start"]), writer.dims(a["limit"]), a["strides"], writer.dims(node.operands[0].shape)
    )


def pad(writer: TorchWriter, node: Node, x: str, value: str) -> str:
    """By torch's padding with a number; else a part of a new tensor is filled."""
    a, source = node.attributes, node.operands[0]
    number = known_number(node.operands[1])
    filler = number_text(number) if number is not None else None
    if filler is not None and not any(a["interior"]):
        return padded(writer, x, a["low"], a["high"], filler)
    return spread(writer, x, source.shape, source.dtype, a["low"], a["high"], a["interior"], filler, value)


def padded(writer: TorchWriter, x: str, low: Sequence[DimLike], high: Sequence[DimLike], number: str) -> str:
    """``x`` with a number at the edges; negative widths cut off."""
    pairs = [(low[i], high[i]) for i in reversed(range(len(low)))]
    while pairs and pairs[-1] == (0, 0):
        pairs.pop()
    if not pairs:
        return x
    return f"torch.constant_pad_nd({x}, {writer.shape(d for pair in pairs for d in pair)}, {number})"


def spread(
    writer: TorchWriter,
    x: str,
    shape: Sequence[DimLike],
    dtype: Any,
    low: Sequence[DimLike],
    high: Sequence[DimLike],
    interior: Sequence[int],
    number: str | None,
    value: str,
) -> str:
    """StableHLO's pad: what lies between and around the elements is a number, or the tensor ``value`` of rank 0."""
    lows, highs = ([_positive(d) for d in dims] for dims in (low, high))
    stretched = [_stretched(size, gap) for size, gap in zip(shape, interior, strict=True)]
    sizes = [a + n + b for a, n, b in zip(lows, stretched, highs, strict=True)]
    if number is not None:
        name = writer.assign(writer.full(sizes, number, dtype), "padded")
    else:
        name = writer.assign(f"{value}.expand({writer.shape(sizes)}).clone()", "padded")
    texts = writer.dims(sizes)
    limits = writer.dims(a + n for a, n in zip(lows, stretched, strict=True))
    where = slice_text(writer.dims(lows), limits, [gap + 1 for gap in interior], texts)
    writer.line(f"{name}{where or '[...]'} = {x}")
    starts = writer.dims(_positive(-1 * d) for d in low)
    cut = [size - _positive(-1 * d) for size, d in zip(sizes, high, strict=True)]
    return name + slice_text(starts, writer.dims(cut), [1] * len(sizes), texts)


def _positive(dim: DimLike) -> DimLike:
    return max_dim(dim, 0)


def _stretched(size: DimLike, gap: int) -> DimLike:
    """How far elements reach that lie ``gap`` apart."""
    return size if gap == 0 else max_dim((size - 1) * (gap + 1) + 1, 0)


def concatenate(writer: TorchWriter, node: Node, *xs: str) -> str:
    """One after another."""
    return xs[0] if len(xs) == 1 else f"torch.cat([{', '.join(xs)}], {node.attributes['axis']})"


def starts_of(
    writer: TorchWriter, node: Node, starts: Sequence[str], values: Sequence[Any], sizes: Sequence[DimLike]
) -> dict[int, str]:
    """Names of integers where a window of ``sizes`` starts inside the first operand, for axes that it does not
    cover."""
    names = {}
    for axis, (start, value, size, whole) in enumerate(zip(starts, values, sizes, node.operands[0].shape, strict=True)):
        if size == whole:
            continue
        room, number = whole - size, known_number(value)
        if number is not None and not isinstance(room, Dim):
            names[axis] = str(min(max(int(number), 0), room))
        elif str(value.dtype) == "uint64":
            names[axis] = writer.assign(
                f"int(torch.where({start} < 0, 9223372036854775807, {start}).clamp(0, {writer.dim(room)}))", "start"
            )
        else:
            names[axis] = writer.assign(f"max(0, min(int({start}), {writer.dim(room)}))", "start")
    return names


def _end(start: str, size: str) -> str:
    return str(int(start) + int(size)) if start.isdigit() and size.isdigit() else f"{start} + {size}"


def dynamic_slice(writer: TorchWriter, node: Node, x: str, *starts: str) -> str:
    """A view at integers that are known when it runs."""
    sizes = node.attributes["sizes"]
    names = starts_of(writer, node, starts, node.operands[1:], sizes)
    for axis, start in names.items():
        x = f"{x}.narrow({axis}, {start}, {writer.dim(sizes[axis])})"
    return x


def dynamic_update_slice(writer: TorchWriter, node: Node, x: str, update: str, *starts: str) -> str:
    """A copy with another part."""
    sizes = node.operands[1].shape
    names = starts_of(writer, node, starts, node.operands[2:], sizes)
    if not names:
        return update
    texts = writer.dims(sizes)
    if len(names) == 1:
        ((axis, start),) = names.items()
        return f"torch.slice_scatter({x}, {update}, {axis}, {start}, {_end(start, texts[axis])}, 1)"
    result = writer.assign(f"{x}.clone()", "updated")
    parts = [f"{names[i]}:{_end(names[i], texts[i])}" if i in names else ":" for i in range(len(texts))]
    writer.line(f"{result}[{', '.join(parts)}] = {update}")
    return result


RULES: dict[str, Rule] = {
    "constant": constant,
    "iota": iota,
    "dim_value": dim_value,
    "reshape": reshape,
    "transpose": transpose,
    "broadcast_in_dim": broadcast_in_dim,
    "match_shape": match_shape,
    "reverse": reverse,
    "slice": slice_,
    "pad": pad,
    "concatenate": concatenate,
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
}
