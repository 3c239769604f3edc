"""Rules of dot_general and convolution, with a bias where one is added to the result alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...ir.dims import Dim, DimLike
from ...ir.graph import Node, Value
from ...ir.types import BOOL, is_complex, is_float, is_integer
from ..source import Rule
from .elementwise import converted
from .shape import padded, spread
from .writer import TorchWriter, held, narrowed


def accumulated(writer: TorchWriter, node: Node, operands: Sequence[str]) -> tuple[list[str], np.dtype]:
    """Operands in the type that products are summed in, and this type."""
    source, result = node.operands[0].dtype, node.result.dtype
    if result == BOOL:
        return [f"{x}.to(torch.int64)" for x in operands], np.dtype(np.int64)
    inner = source
    if source != result and (is_integer(result) or result.itemsize > source.itemsize):
        inner = result
    return [converted(writer, x, source, inner) for x in operands], inner


def finished(writer: TorchWriter, node: Node, text: str, inner: np.dtype) -> str:
    """A product as the element type of the result."""
    result = node.result.dtype
    if result == BOOL:
        return f"{text} != 0"
    return converted(writer, text, inner, result) if inner != result else narrowed(text, result)


def bias_of(writer: TorchWriter, node: Node, axes: Sequence[int]) -> tuple[Node, Value] | None:
    """The addition that alone takes the result, of a vector along ``axes``, and this vector."""
    add = writer.only_user(node.result)
    if (
        add is None
        or add.op.name != "add"
        or not is_float(node.result.dtype)
        or held(node.result.dtype) != held(node.operands[0].dtype)
    ):
        return None
    other = add.operands[1] if add.operands[0] is node.result else add.operands[0]
    made = other.producer
    if made is None or made.op.name != "broadcast_in_dim" or made.attributes["dims"] != tuple(axes):
        return None
    source = made.operands[0]
    sizes = [node.result.shape[i] for i in axes]
    if tuple(sizes) != source.shape or not writer.is_there(source):
        return None
    return add, source


# dot_general


def dot_general(writer: TorchWriter, node: Node, left: str, right: str) -> str:
    """A product of matrices, or of batches of them."""
    a = node.attributes
    (left, right), inner = accumulated(writer, node, (left, right))
    x, y = node.operands
    batch, contract = a["lhs_batch"], a["lhs_contract"]
    free = [i for i in range(x.rank) if i not in (*batch, *contract)]
    other_free = [i for i in range(y.rank) if i not in (*a["rhs_batch"], *a["rhs_contract"])]
    if not batch:
        return finished(writer, node, _product(writer, node, left, right, free, other_free), inner)
    sizes = [x.shape[i] for i in batch]
    rows, columns = ([v.shape[i] for i in axes] for v, axes in ((x, free), (y, other_free)))
    depth = [x.shape[i] for i in contract]
    order, other_order = (*batch, *free, *contract), (*a["rhs_batch"], *a["rhs_contract"], *other_free)
    left = writer.reshaped(
        writer.permuted(left, order), [x.shape[i] for i in order], [*sizes, math.prod(rows), math.prod(depth)]
    )
    right = writer.reshaped(
        writer.permuted(right, other_order),
        [y.shape[i] for i in other_order],
        [*sizes, math.prod(depth), math.prod(columns)],
    )
    made = [*sizes, math.prod(rows), math.prod(columns)]
    text = writer.reshaped(f"torch.matmul({left}, {right})", made, node.result.shape)
    return finished(writer, node, text, inner)


def _product(
    writer: TorchWriter, node: Node, left: str, right: str, free: Sequence[int], other_free: Sequence[int]
) -> str:
    """Without batch dimensions: rows of the left side times a matrix, as a linear layer where that fits."""
    (x, y), a = node.operands, node.attributes
    contract, other = list(a["lhs_contract"]), list(a["rhs_contract"])
    if len(contract) > 1:  # in the order that the right side has them, which usually is the one in memory
        pairs = sorted(zip(other, contract, strict=True))
        other, contract = [p[0] for p in pairs], [p[1] for p in pairs]
    depth, width = (math.prod(y.shape[i] for i in axes) for axes in (other, other_free))
    rows = [x.shape[i] for i in free]
    left = writer.permuted(left, (*free, *contract))
    left = writer.reshaped(left, [x.shape[i] for i in (*free, *contract)], [*rows, depth])
    is_linear = is_float(node.result.dtype) and bool(free)
    result = [*rows, *([width] if other_free else [])]
    if is_linear and other_free and list(range(y.rank)) == [*other_free, *other]:
        weight = writer.reshaped(right, y.shape, [width, depth])
        transposed = f"{weight}.t()"
    else:
        order = (*other, *other_free)
        weight = writer.reshaped(
            writer.permuted(right, order), [y.shape[i] for i in order], [depth, *([width] if other_free else [])]
        )
        weight, transposed = f"{weight}.t()", weight
    first = len(rows)
    bias = bias_of(writer, node, range(first, first + len(other_free))) if is_linear and other_free else None
    if bias is not None:
        add, vector = bias
        writer.merge(node.result, add)
        text = writer.reshaped(writer.text(vector), vector.shape, [width])
        made = f"F.linear({left}, {weight}, {text})"
    else:
        made = f"torch.matmul({left}, {transposed})"
    return writer.reshaped(made, result, node.result.shape)


# convolution


def convolution(writer: TorchWriter, node: Node, x: str, w: str) -> str:
    """Torch's convolution in one to three dimensions; of integers, the windows collected and one product."""
    a = node.attributes
    spatial = node.operands[0].rank - 2
    (x, w), inner = accumulated(writer, node, (x, w))
    shape = [node.operands[0].shape[i] for i in a["lhs_spec"]]
    kernel = [node.operands[1].shape[i] for i in a["rhs_spec"]]
    x, w = writer.permuted(x, a["lhs_spec"]), writer.permuted(w, a["rhs_spec"])
    groups = a["feature_groups"]
    if a["batch_groups"] > 1:  # groups of the batch are groups of features
        groups, batch = a["batch_groups"], shape[0]
        split = [groups, batch // groups, *shape[1:]]
        x = f"{writer.reshaped(x, shape, split)}.transpose(0, 1)"
        shape = [batch // groups, groups * shape[1], *shape[2:]]
        x = writer.reshaped(x, [split[1], split[0], *split[2:]], shape)
    native = (is_float(inner) or is_complex(inner)) and 1 <= spatial <= 3
    out = [node.result.shape[i] for i in a["out_spec"]]
    if 0 in (*out, *shape, *kernel):
        return writer.full(node.result.shape, "False" if node.result.dtype == BOOL else "0", node.result.dtype)
    reversal = a["reversal"] or (False,) * spatial
    if not native:
        text = _by_windows(writer, node, x, w, shape, kernel, groups, reversal, inner)
    elif any(d > 1 for d in a["lhs_dilation"]):
        text = _transposed(writer, node, x, w, shape, kernel, groups, reversal)
    else:
        text = _direct(writer, node, x, w, groups, reversal)
    back = sorted(range(len(out)), key=lambda i: a["out_spec"][i])
    return finished(writer, node, writer.permuted(text, back), inner)


def _flipped(w: str, flip: Sequence[bool]) -> str:
    axes = [i + 2 for i, on in enumerate(flip) if on]
    return f"{w}.flip({axes})" if axes else w


def _bias(writer: TorchWriter, node: Node) -> str:
    """The bias that is added to the result alone, along its features; else ``None``."""
    found = bias_of(writer, node, (node.attributes["out_spec"][1],))
    if found is None or is_complex(node.result.dtype):
        return "None"
    add, vector = found
    writer.merge(node.result, add)
    return writer.text(vector)


def _direct(writer: TorchWriter, node: Node, x: str, w: str, groups: int, reversal: Sequence[bool]) -> str:
    a, spatial = node.attributes, node.operands[0].rank - 2
    _suit_memory(writer, node)
    low, high = [p[0] for p in a["padding"]], [p[1] for p in a["padding"]]
    strides, dilation, w = list(a["strides"]), list(a["rhs_dilation"]), _flipped(w, reversal)
    symmetric = low == high and all(isinstance(d, int) and d >= 0 for d in low)
    one = spatial == 1
    if one:  # a row of an image: what has its features last in memory then stays so
        x, w = f"{x}.unsqueeze(2)", f"{w}.unsqueeze(2)"
        low, high, strides, dilation = [0, *low], [0, *high], [1, *strides], [1, *dilation]
    if not symmetric:
        x = padded(writer, x, [0, 0, *low], [0, 0, *high], "0.0")
        low = [0] * len(low)
    name = f"torch.conv{max(spatial, 2)}d"
    text = f"{name}({x}, {w}, {_bias(writer, node)}, {strides}, {writer.shape(low)}, {dilation}, {groups})"
    return f"{text}.squeeze(2)" if one else text


def _suit_memory(writer: TorchWriter, node: Node) -> None:
    """A kernel that is a parameter is best kept as the convolution reads it: features of the input last."""
    name = writer.parameters.get(node.operands[1])
    if name is not None and is_float(node.result.dtype):
        out, inner, *rest = node.attributes["rhs_spec"]
        writer.orders[name] = (out, *rest, inner)


def _transposed(
    writer: TorchWriter,
    node: Node,
    x: str,
    w: str,
    shape: Sequence[DimLike],
    kernel: Sequence[DimLike],
    groups: int,
    reversal: Sequence[bool],
) -> str:
    """A dilated input is a transposed convolution, cut or padded to size, and strided after it."""
    a, spatial = node.attributes, node.operands[0].rank - 2
    stretch, dilation, strides = list(a["lhs_dilation"]), list(a["rhs_dilation"]), a["strides"]
    sizes = kernel[2:]
    w = _flipped(w, [not on for on in reversal])
    if groups > 1:
        split = [groups, kernel[0] // groups, *kernel[1:]]
        w = f"{writer.reshaped(w, kernel, split)}.transpose(1, 2)"
        swapped = [groups, kernel[1], kernel[0] // groups, *sizes]
        w = writer.reshaped(w, swapped, [groups * kernel[1], kernel[0] // groups, *sizes])
    else:
        w = f"{w}.transpose(0, 1)"
    # The transposed convolution without padding reaches `full` beyond the first and the last element.
    full = [d * (k - 1) for d, k in zip(dilation, sizes, strict=True)]
    low, high = ([p[side] for p in a["padding"]] for side in (0, 1))
    cut = [f - lo for f, lo in zip(full, low, strict=True)]
    extra = [hi - lo for lo, hi in zip(low, high, strict=True)]
    fits = not any(isinstance(d, Dim) for d in (*cut, *extra)) and all(
        c >= 0 and 0 <= e < max(s, d) for c, e, s, d in zip(cut, extra, stretch, dilation, strict=True)
    )
    plain = fits and all(s == 1 for s in strides)
    if not fits:
        cut, extra = [0] * spatial, [0] * spatial
    bias = _bias(writer, node) if plain else "None"
    arguments = f"{bias}, {stretch}, {writer.shape(cut)}, {writer.shape(extra)}, {groups}, {dilation}"
    text = f"torch.conv_transpose{spatial}d({x}, {w}, {arguments})"
    if not fits:
        low, high = ([p - f for p, f in zip(side, full, strict=True)] for side in (low, high))
        text = padded(writer, text, [0, 0, *low], [0, 0, *high], "0.0")
    if any(s > 1 for s in strides):
        text += f"[:, :, {', '.join(f'::{s}' for s in strides)}]"
    return text


def _by_windows(
    writer: TorchWriter,
    node: Node,
    x: str,
    w: str,
    shape: Sequence[DimLike],
    kernel: Sequence[DimLike],
    groups: int,
    reversal: Sequence[bool],
    inner: np.dtype,
) -> str:
    """The elements under each place of the kernel as rows, and a product of matrices for each group."""
    a, spatial = node.attributes, node.operands[0].rank - 2
    low, high = ([0, 0, *(p[side] for p in a["padding"])] for side in (0, 1))
    zero = "0.0" if is_float(inner) or is_complex(inner) else "0"
    gaps = [0, 0, *(d - 1 for d in a["lhs_dilation"])]
    x = spread(writer, x, shape, inner, low, high, gaps, zero, "") if any(gaps) else padded(writer, x, low, high, zero)
    for axis, (size, stride, dilation) in enumerate(zip(kernel[2:], a["strides"], a["rhs_dilation"], strict=True)):
        reach = dilation * (size - 1) + 1
        x = f"{x}.unfold({axis + 2}, {writer.dim(reach)}, {stride})" + (f"[..., ::{dilation}]" if dilation > 1 else "")
    batch, out = shape[0], [node.result.shape[i] for i in a["out_spec"][2:]]
    sizes, width = kernel[2:], kernel[0] // groups
    depth, places = math.prod(kernel[1:]), math.prod(out)
    windows = writer.named(f"{x}.reshape({writer.shape([batch, groups, kernel[1], *out, *sizes])})", "windows")
    order = [1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial)]
    rows = f"{windows}.permute({order}).reshape({writer.shape([groups, batch * places, depth])})"
    columns = f"{_flipped(w, reversal)}.reshape({writer.shape([groups, width, depth])}).transpose(1, 2)"
    product = writer.named(f"torch.matmul({rows}, {columns})", "product")
    shaped = f"{product}.reshape({writer.shape([groups, batch, *out, width])})"
    order = [1, 0, 2 + spatial, *range(2, 2 + spatial)]
    return f"{shaped}.permute({order}).reshape({writer.shape([batch, groups * width, *out])})"


RULES: dict[str, Rule] = {"dot_general": dot_general, "convolution": convolution}
