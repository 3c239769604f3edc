"""Rules of the ops that fold elements: reduce, reduce_window, select_and_scatter, cumulative reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dims import Dim, DimLike, same
from ...ir.graph import Graph, Node, Value
from ...ir.regions import simple_region
from ...ir.types import BOOL, highest, is_complex, is_float, is_unsigned, lowest
from ..source import Rule
from .elementwise import converted, family, ordinal
from .indexing import folded_into
from .pooling import pooled_window
from .shape import padded, slice_text, spread
from .writer import TorchWriter, held, known_number, narrowed, number_text, torch_type

_LEAST = "-9223372036854775808"


def _identity(op: str, dtype: np.dtype) -> Any:
    """The value that leaves others as they are."""
    if op in ("add", "or", "xor"):
        return False if dtype == BOOL else 0
    if op in ("multiply", "and"):
        return (True if dtype == BOOL else 1) if op == "multiply" or dtype == BOOL else -1
    return lowest(dtype) if op == "maximum" else highest(dtype)


def _is_identity(op: str, value: Value) -> bool:
    number = known_number(value)
    if number is None:
        return False
    wanted = np.asarray(_identity(op, value.dtype)).astype(value.dtype) if not is_unsigned(value.dtype) else None
    if wanted is None:
        bits = 2 ** (8 * value.dtype.itemsize) - 1 if value.dtype.itemsize else 0
        return int(number) == (bits if _identity(op, value.dtype) == -1 else int(_identity(op, value.dtype)))
    return bool(number == wanted)


def native(writer: TorchWriter, op: str | None, x: str, axes: Sequence[int], dtype: np.dtype) -> str | None:
    """A reduction of at least one element by one of torch's own functions; None where there is none."""
    kind = family(dtype)
    if kind == "b":
        op = {"add": "or", "maximum": "or", "multiply": "and", "minimum": "and"}.get(op or "", op)
        if op in ("or", "and"):
            return f"torch.{'any' if op == 'or' else 'all'}({x}, dim={list(axes)})"
        return None
    type_ = torch_type(dtype)
    if op == "add":
        return narrowed(f"torch.sum({x}, {list(axes)}, dtype={type_})", dtype)
    if op == "multiply":
        wide = is_float(dtype) and dtype.itemsize < 4 and held(dtype) != "float32"
        text = f"{x}.to(torch.float32)" if wide else x
        for axis in sorted(axes, reverse=True):
            text = f"torch.prod({text}, {axis}, dtype={'torch.float32' if wide else type_})"
        return f"{text}.to({type_})" if wide else narrowed(text, dtype)
    if op in ("maximum", "minimum") and kind != "c":
        name = "torch.amax" if op == "maximum" else "torch.amin"
        return f"{name}({x} ^ {_LEAST}, {list(axes)}) ^ {_LEAST}" if kind == "q" else f"{name}({x}, {list(axes)})"
    return None


def reduce(writer: TorchWriter, node: Node, *operands: str) -> list[str]:
    """By torch's own function, or neighbour by neighbour with the region."""
    count = len(operands) // 2
    axes = node.attributes["axes"]
    values, inits = node.operands[:count], node.operands[count:]
    result = [d for i, d in enumerate(values[0].shape) if i not in axes]
    length = [values[0].shape[i] for i in axes]
    if any(same(d, 0) is True for d in length):
        return [f"{init}.expand({writer.shape(result)})" for init in operands[count:]]
    body = node.regions[0]
    op = simple_region(body) if count == 1 else None
    if not axes:
        return writer.on_tensors(
            body, [*(f"{i}.expand({writer.shape(result)})" for i in operands[count:]), *operands[:count]]
        )
    x = operands[0]
    text = native(writer, op, x, axes, values[0].dtype)
    if text is not None and op is not None:
        if op in ("maximum", "minimum") and any(isinstance(d, Dim) for d in length):
            init = f"{operands[1]}.expand({writer.shape(result)})"
            open_ = " and ".join(f"{writer.dim(d)} > 0" for d in length if isinstance(d, Dim))
            text = f"{text} if {open_} else {init}"
        if _is_identity(op, inits[0]):
            return [text]
        return writer.on_tensors(body, [operands[1], writer.assign(text, "folded")])
    kept = [i for i in range(values[0].rank) if i not in axes]
    rows = [
        writer.reshaped(
            writer.permuted(x, (*kept, *axes)),
            [values[0].shape[i] for i in (*kept, *axes)],
            [*result, math.prod(length)],
        )
        for x in operands[:count]
    ]
    return fold_last(writer, body, rows, operands[count:], result)


def fold_last(
    writer: TorchWriter, body: Graph, rows: Sequence[str], inits: Sequence[str], shape: Sequence[DimLike]
) -> list[str]:
    """Fold the last axis, after an initial value: halves of it at once, in order."""
    first = f"{writer.shape([*shape, 1])}"
    parts = [
        writer.assign(f"torch.cat([{init}.expand({first}), {row}], -1)", "part")
        for init, row in zip(inits, rows, strict=True)
    ]
    half = writer.fresh("half")
    with writer.block(f"while {parts[0]}.shape[-1] > 1:"):
        writer.line(f"{half} = {parts[0]}.shape[-1] // 2")
        left = [writer.assign(f"{p}[..., 0 : 2 * {half} : 2]", "left") for p in parts]
        right = [writer.assign(f"{p}[..., 1 : 2 * {half} : 2]", "right") for p in parts]
        folded = writer.on_tensors(body, [*left, *right])
        for part, text in zip(parts, folded, strict=True):
            writer.line(f"{part} = torch.cat([{text}, {part}[..., 2 * {half} :]], -1)")
    return [f"{part}[..., 0]" for part in parts]


# Windows


def windows(
    writer: TorchWriter, x: str, window: Sequence[DimLike], strides: Sequence[int], dilation: Sequence[int]
) -> tuple[str, list[int]]:
    """``x`` with one more last axis for each window of more than one element, and what these axes are."""
    axes: list[int] = []
    for axis, (size, stride, gap) in enumerate(zip(window, strides, dilation, strict=True)):
        if size == 1:
            if stride > 1:
                x += slice_text(["0"] * (axis + 1), [""] * (axis + 1), [*[1] * axis, stride], [""] * (axis + 1))
            continue
        reach = gap * (size - 1) + 1
        x = f"{x}.unfold({axis}, {writer.dim(reach)}, {stride})" + (f"[..., ::{gap}]" if gap > 1 else "")
        axes.append(len(window) + len(axes))
    return x, axes


def reduce_window(writer: TorchWriter, node: Node, *operands: str) -> list[str]:
    """A pooling or cumulative function where it is one; else windows as views, folded along their last axes."""
    a, count = node.attributes, len(operands) // 2
    values, inits = node.operands[:count], node.operands[count:]
    shape, out, body = values[0].shape, node.results[0].shape, node.regions[0]
    op = simple_region(body) if count == 1 else None
    if 0 in out:
        return [f"{init}.expand({writer.shape(out)})" for init in operands[count:]]
    if (
        op is not None
        and _is_identity(op, inits[0])
        and all(d == 1 for d in (*a["base_dilation"], *a["window_dilation"]))
    ):
        found = _cumulative_window(writer, node, op, operands[0]) or pooled_window(writer, node, op, operands[0])
        if found is not None:
            return [found]
    low, high = ([p[side] for p in a["padding"]] for side in (0, 1))
    gaps = [d - 1 for d in a["base_dilation"]]
    views = []
    axes: list[int] = []
    for value, x, init_value, init in zip(values, operands, inits, operands[count:], strict=False):
        number = known_number(init_value)
        text = number_text(number) if number is not None else None
        if any(gaps) or (text is None and any(any(d != 0 for d in p) for p in a["padding"])):
            x = spread(writer, x, shape, value.dtype, low, high, gaps, text, init)
        elif text is not None:
            x = padded(writer, x, low, high, text)
        x, axes = windows(writer, x, a["window"], a["strides"], a["window_dilation"])
        views.append(x)
    if not axes:
        return writer.on_tensors(
            body, [*(f"{i}.expand({writer.shape(out)})" for i in operands[count:]), *(writer.named(v) for v in views)]
        )
    text = native(writer, op, views[0], axes, values[0].dtype)
    if text is not None and op is not None:
        if _is_identity(op, inits[0]):
            return [text]
        return writer.on_tensors(body, [operands[1], writer.assign(text, "folded")])
    rows = [f"{v}.reshape({writer.shape([*out, math.prod(d for d in a['window'] if d != 1)])})" for v in views]
    return fold_last(writer, body, rows, operands[count:], out)


def _cumulative_window(writer: TorchWriter, node: Node, op: str, x: str) -> str | None:
    """A window over all that comes before, or after, along one axis."""
    a, value = node.attributes, node.operands[0]
    names = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin"}
    wide = [i for i, d in enumerate(a["window"]) if d != 1]
    if op not in names or len(wide) != 1 or any(s != 1 for s in a["strides"]) or family(value.dtype) == "b":
        return None
    (axis,) = wide
    size = value.shape[axis]
    if (
        isinstance(size, Dim)
        or a["window"][axis] != size
        or any(p != (0, 0) for i, p in enumerate(a["padding"]) if i != axis)
    ):
        return None
    if a["padding"][axis] not in ((size - 1, 0), (0, size - 1)):
        return None
    return _accumulated(writer, names[op], x, value.dtype, axis, a["padding"][axis] == (0, size - 1))


def _accumulated(writer: TorchWriter, name: str, x: str, dtype: np.dtype, axis: int, reverse: bool) -> str | None:
    if name in ("cummax", "cummin"):
        if is_complex(dtype):
            return None
        return _running_extreme(writer, name, x, dtype, axis, reverse)
    wide = is_float(dtype) and dtype.itemsize < 4
    type_ = "torch.float32" if wide else torch_type(dtype)
    turned = f"torch.flip({x}, [{axis}])" if reverse else x
    text = f"torch.{name}({turned}, {axis}, dtype={type_})"
    text = f"torch.flip({text}, [{axis}])" if reverse else text
    if wide and held(dtype) != "float32":
        text = f"{text}.to({torch_type(dtype)})"
    return narrowed(text, dtype)


def _running_extreme(writer: TorchWriter, name: str, x: str, dtype: np.dtype, axis: int, reverse: bool) -> str:
    """By where it is: of numbers that torch takes for equal, zeros, the order of the bits tells which."""
    x = writer.assign(f"torch.flip({x}, [{axis}])", "turned") if reverse else writer.named(x)
    keys = x
    if is_float(dtype):
        bits = 32 if dtype.itemsize == 1 else 8 * dtype.itemsize
        nan = 2 ** (bits - 1) - 1 if name == "cummax" else -(2 ** (bits - 1))
        keys = f"{ordinal(writer, x, dtype)}.masked_fill(torch.isnan({x}), {nan})"
    elif dtype == np.uint64:
        keys = f"{x} ^ {_LEAST}"
    _, where = writer.fresh("_"), writer.fresh("where")
    writer.line(f"{_}, {where} = torch.{name}({keys}, {axis})")
    text = f"torch.gather({x}, {axis}, {where})"
    return f"torch.flip({text}, [{axis}])" if reverse else text


def _decomposition(node: Node) -> Any:
    return node.op.decompose


def cumulative(name: str) -> Rule:
    """The rule of a cumulative reduction."""

    def rule(writer: TorchWriter, node: Node, x: str) -> str | list[str]:
        value = node.operands[0]
        axis = node.attributes["axis"] % value.rank
        if same(value.shape[axis], 0) is True:
            return x
        found = _accumulated(writer, name, x, value.dtype, axis, node.attributes["reverse"])
        return found if found is not None else writer.expand(_decomposition(node), node, [x])

    return rule


def reduction(name: str) -> Rule:
    """The rule of ``reduce_<name>``."""
    op = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum", "any": "or", "all": "and"}.get(name)

    def rule(writer: TorchWriter, node: Node, x: str) -> str | list[str]:
        value, keep = node.operands[0], node.attributes["keepdims"]
        axes = sorted({i % value.rank for i in node.attributes["axes"]}) if value.rank else []
        open_or_none = [d for d in (value.shape[i] for i in axes) if isinstance(d, Dim) or d == 0]
        if not axes:
            return x if name not in ("variance",) else writer.expand(_decomposition(node), node, [x])
        if name in ("max", "min") and open_or_none:
            return writer.expand(_decomposition(node), node, [x])
        if name in ("mean", "variance"):
            if value.dtype.itemsize == 1:
                return writer.expand(_decomposition(node), node, [x])
            extra = ", correction=0" if name == "variance" else ""
            return (
                f"torch.{'var' if name == 'variance' else 'mean'}({x}, {axes}{extra}{', keepdim=True' if keep else ''})"
            )
        text = native(writer, op, x, axes, value.dtype)
        if text is None:
            return writer.expand(_decomposition(node), node, [x])
        if not keep:
            return text
        shape = [d for i, d in enumerate(value.shape) if i not in axes]
        return writer.reshaped(f"({text})", shape, node.result.shape)

    return rule


def arg(name: str) -> Rule:
    """The rule of argmax and argmin: the first of equal ones, and the first NaN."""

    def rule(writer: TorchWriter, node: Node, x: str) -> str:
        value = node.operands[0]
        axis = node.attributes["axis"] % value.rank
        if value.dtype == np.uint64:
            x = f"({x} ^ {_LEAST})"
        if value.dtype == BOOL:
            x = f"{x}.to(torch.uint8)"
        return converted(writer, f"torch.{name}({x}, {axis})", np.dtype(np.int64), node.result.dtype)

    return rule


def select_and_scatter(writer: TorchWriter, node: Node, x: str, source: str, init: str) -> str:
    """In each window one element after the other is preferred or not; then its place is known."""
    a, value = node.attributes, node.operands[0]
    shape, out = value.shape, node.operands[1].shape
    number = known_number(node.operands[2])
    if 0 in (*shape, *out):
        return f"{init}.expand({writer.shape(shape)})"
    low, high = ([p[side] for p in a["padding"]] for side in (0, 1))
    total = math.prod(shape)
    ones = [1] * value.rank
    places = f"{writer.arange(total)}.reshape({writer.shape(shape)})"
    framed = (
        padded(writer, x, low, high, number_text(number))
        if number is not None
        else spread(writer, x, shape, value.dtype, low, high, [0] * value.rank, None, init)
    )
    values, _ = windows(writer, framed, a["window"], a["strides"], ones)
    indices, _ = windows(writer, padded(writer, places, low, high, "-1"), a["window"], a["strides"], ones)
    count = math.prod(a["window"])
    flat = writer.shape([*out, count])
    values, indices = (
        writer.assign(f"{values}.reshape({flat})", "values"),
        writer.assign(f"{indices}.reshape({flat})", "places"),
    )
    best, where = writer.assign(f"{values}[..., 0]", "best"), writer.assign(f"{indices}[..., 0]", "where")
    turn = writer.fresh("i")
    with writer.block(f"for {turn} in range(1, {writer.dim(count)}):"):
        other = writer.assign(f"{values}[..., {turn}]", "other")
        place = writer.assign(f"{indices}[..., {turn}]", "place")
        (prefer,) = writer.on_tensors(node.regions[0], [best, other])
        taken = writer.assign(f"({place} >= 0) & (({where} < 0) | ~({prefer}))", "taken")
        writer.line(f"{best} = torch.where({taken}, {other}, {best})")
        writer.line(f"{where} = torch.where({taken}, {place}, {where})")
    bin_ = f"torch.where({where} < 0, {writer.dim(total)}, {where}).reshape(-1)"
    whole = writer.assign(f"{init}.expand({writer.shape([total])})", "whole")
    (result,) = folded_into(writer, node.regions[1], [whole], [value], bin_, [f"{source}.reshape(-1)"], total, 1)
    return f"{result}.reshape({writer.shape(shape)})"


RULES: dict[str, Rule] = {
    "reduce": reduce,
    "reduce_window": reduce_window,
    "select_and_scatter": select_and_scatter,
    **{name: cumulative(name) for name in ("cumsum", "cumprod", "cummax", "cummin")},
    **{f"reduce_{name}": reduction(name) for name in ("sum", "prod", "max", "min", "any", "all", "mean", "variance")},
    "argmax": arg("argmax"),
    "argmin": arg("argmin"),
}
