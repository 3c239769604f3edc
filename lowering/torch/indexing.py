"""Rules of gather, scatter, take, sort and top_k."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...ir.dims import DimLike, max_dim, same
from ...ir.graph import Graph, Node, Value
from ...ir.ops.composites.lookup import fill
from ...ir.regions import selected_input, simple_comparator, simple_region
from ...ir.types import BOOL, is_complex, is_float
from ..source import Rule
from .elementwise import family, ordinal
from .writer import TorchWriter, narrowed, number_text

_LEAST = "-9223372036854775808"


def _int64(writer: TorchWriter, text: str, dtype: np.dtype) -> str:
    """Indices as numbers of an int64."""
    if dtype == np.uint64:
        text = writer.named(text)
        return f"torch.where({text} < 0, 9223372036854775807, {text})"
    return text if dtype in (np.int64, np.uint32) else f"{text}.to(torch.int64)"


class _Slices:
    """Where slices of an operand lie: for each of its dimensions a start for each index vector."""

    def __init__(
        self,
        writer: TorchWriter,
        operand: Value,
        indices: str,
        index_value: Value,
        vector_dim: int,
        mapped: Sequence[int],
        operand_batch: Sequence[int],
        index_batch: Sequence[int],
    ) -> None:
        self.writer, self.operand = writer, operand
        self.batch = [d for i, d in enumerate(index_value.shape) if i != vector_dim]
        text = _int64(writer, indices, index_value.dtype)
        if vector_dim == index_value.rank:
            text = f"{text}.unsqueeze(-1)"
        elif vector_dim != index_value.rank - 1:
            text = f"{text}.movedim({vector_dim}, -1)"
        vectors = writer.named(text, "indices")
        self.starts: dict[int, str] = {dim: f"{vectors}[..., {i}]" for i, dim in enumerate(mapped)}
        for dim, where in zip(operand_batch, index_batch, strict=True):
            axis = where - (where > vector_dim)
            sizes = ["-1" if i == axis else "1" for i in range(len(self.batch))]
            self.starts[dim] = f"{writer.arange(self.batch[axis])}.reshape({', '.join(sizes)})"

    def places(self, window_dims: Sequence[int], window: Sequence[DimLike]) -> list[str]:
        """For each dimension of the operand the index of each element of each slice; they broadcast to
        batch + window."""
        texts = []
        for dim in range(self.operand.rank):
            text = self.starts.get(dim)
            if text is not None and window:
                text = f"{text}[{', '.join(['...', *['None'] * len(window)])}]"
            if dim in window_dims:
                at = list(window_dims).index(dim)
                count = self.writer.arange(window[at])
                if at < len(window) - 1:
                    count += f".reshape({', '.join(['-1', *['1'] * (len(window) - at - 1)])})"
                text = count if text is None else f"{text} + {count}"
            if text is None:
                text = f"torch.zeros({[1] * max(len(window), 1)}, dtype=torch.int64{self.writer.device})"
            texts.append(self.writer.assign(text, "place"))
        return texts


def gather(writer: TorchWriter, node: Node, x: str, indices: str) -> str:
    """By ``index_select`` along one dimension, else by an index for each dimension."""
    a, (operand, index_value) = node.attributes, node.operands
    sizes, collapsed, batching = a["slice_sizes"], a["collapsed_slice_dims"], a["operand_batching_dims"]
    result = node.result.shape
    if 0 in (*result, *sizes):
        return writer.full(result, "False" if operand.dtype == BOOL else "0", operand.dtype)
    fast = _one_dimension(writer, node, x, indices)
    if fast is not None:
        return fast
    slices = _Slices(
        writer,
        operand,
        indices,
        index_value,
        a["index_vector_dim"],
        a["start_index_map"],
        batching,
        a["start_indices_batching_dims"],
    )
    for dim in a["start_index_map"]:
        slices.starts[dim] += f".clamp(0, {writer.dim(max_dim(operand.shape[dim] - sizes[dim], 0))})"
    window_dims = [d for d in range(operand.rank) if d not in (*collapsed, *batching)]
    window = [sizes[d] for d in window_dims]
    shape = [*slices.batch, *window]
    if not operand.rank:
        return f"{x}.expand({writer.shape(shape)})"
    places = slices.places(window_dims, window)
    text = f"{x}[{', '.join(places)}].expand({writer.shape(shape)})"
    order = [*(i for i in range(len(shape)) if i not in a["offset_dims"]), *a["offset_dims"]]
    return writer.permuted(text, sorted(range(len(order)), key=lambda i: order[i]))


def _one_dimension(writer: TorchWriter, node: Node, x: str, indices: str) -> str | None:
    """Rows, or whole slices along another dimension, at the places of a list of indices."""
    a, (operand, index_value) = node.attributes, node.operands
    mapped, sizes = a["start_index_map"], a["slice_sizes"]
    if len(mapped) != 1 or a["operand_batching_dims"] or tuple(a["collapsed_slice_dims"]) != tuple(mapped):
        return None
    (axis,) = mapped
    if any(s != d for i, (s, d) in enumerate(zip(sizes, operand.shape, strict=True)) if i != axis):
        return None
    batch = [d for i, d in enumerate(index_value.shape) if i != a["index_vector_dim"]]
    rank = len(batch)
    if tuple(a["offset_dims"]) != (*range(axis), *range(axis + rank, operand.rank - 1 + rank)):
        return None
    text = _int64(writer, indices, index_value.dtype)
    flat = f"{text}.reshape(-1).clamp(0, {writer.dim(max_dim(operand.shape[axis] - 1, 0))})"
    taken = [*operand.shape[:axis], math.prod(batch), *operand.shape[axis + 1 :]]
    return writer.reshaped(f"torch.index_select({x}, {axis}, {flat})", taken, node.result.shape)


def take(writer: TorchWriter, node: Node, x: str, indices: str) -> str | list[str]:
    """By ``embedding`` from the rows of a matrix; what is out of range is filled."""
    operand, index_value = node.operands
    axis, size = node.attributes["axis"] % operand.rank, operand.shape[node.attributes["axis"] % operand.rank]
    if same(size, 0) is True:
        assert node.op.decompose is not None
        return writer.expand(node.op.decompose, node, [x, indices])
    places, outside = writer.fresh("places"), writer.fresh("outside")
    wide = _int64(writer, indices, index_value.dtype)
    writer.line(f"{places}, {outside} = {writer.helper('from_start')}({wide}, {writer.dim(size)})")
    if axis == 0 and operand.rank == 2:
        found = f"torch.embedding({x}, {places})"
    else:
        flat = [*operand.shape[:axis], index_value.type.size, *operand.shape[axis + 1 :]]
        found = writer.reshaped(f"torch.index_select({x}, {axis}, {places}.reshape(-1))", flat, node.result.shape)
    after = operand.rank - 1 - axis
    mask = f"{outside}[{', '.join(['...', *['None'] * after])}]" if after else outside
    return f"{found}.masked_fill({mask}, {_fill(operand.dtype)})"


def _fill(dtype: np.dtype) -> str:
    return number_text(np.array(fill(dtype)).astype(dtype))


# scatter


def scatter(writer: TorchWriter, node: Node, *operands: str) -> list[str]:
    """Updates are folded into flat arrays that have one more element, where those go whose window sticks out."""
    a, count = node.attributes, len(operands) // 2
    values, index_value, updates = node.operands[:count], node.operands[count], node.operands[count + 1 :]
    shape, update = values[0].shape, updates[0]
    window_axes = a["update_window_dims"]
    if 0 in (*shape, *update.shape):
        return list(operands[:count])
    inserted = (*a["inserted_window_dims"], *a["input_batching_dims"])
    window_dims = [d for d in range(len(shape)) if d not in inserted]
    window = [update.shape[d] for d in window_axes]
    slices = _Slices(
        writer,
        values[0],
        operands[count],
        index_value,
        a["index_vector_dim"],
        a["scatter_dims_to_operand_dims"],
        a["input_batching_dims"],
        a["scatter_indices_batching_dims"],
    )
    sizes = dict(zip(window_dims, window, strict=True))
    fits = [
        f"({slices.starts[d]} >= 0) & ({slices.starts[d]} <= {writer.dim(shape[d] - sizes.get(d, 1))})"
        for d in a["scatter_dims_to_operand_dims"]
    ]
    fits += [f"{slices.starts[d]} < {writer.dim(shape[d])}" for d in a["input_batching_dims"]]
    total = math.prod(shape)
    whole = [*slices.batch, *window]
    places = slices.places(window_dims, window) if shape else []
    terms: list[str] = []
    step: DimLike = 1
    for place, size in reversed([*zip(places, shape, strict=True)]):
        terms.append(place if step == 1 else f"{place} * {writer.dim(step)}")
        step = step * size
    linear = " + ".join(reversed(terms)) or f"torch.zeros([], dtype=torch.int64{writer.device})"
    if fits:
        mask = writer.assign(" & ".join(f"({f})" for f in fits), "fits")
        if window:
            mask += f"[{', '.join(['...', *['None'] * len(window)])}]"
        linear = f"torch.where({mask}, {linear}, {writer.dim(total)})"
    linear = writer.assign(f"({linear}).expand({writer.shape(whole)}).reshape(-1)", "linear")
    order = [*(i for i in range(update.rank) if i not in window_axes), *window_axes]
    flat = [f"{writer.permuted(u, order)}.reshape(-1)" for u in operands[count + 1 :]]
    arrays = [f"{x}.reshape(-1)" for x in operands[:count]]
    each = None if a["unique_indices"] else math.prod(window)
    results = folded_into(writer, node.regions[0], arrays, values, linear, flat, total, each)
    return [writer.reshaped(r, [total], shape) for r in results]


_SCATTERED = {"add": "sum", "multiply": "prod", "maximum": "amax", "minimum": "amin"}


def folded_into(
    writer: TorchWriter,
    body: Graph,
    arrays: Sequence[str],
    values: Sequence[Value],
    places: str,
    updates: Sequence[str],
    total: DimLike,
    one_by_one: DimLike | None,
) -> list[str]:
    """``array[place] = body(array[place], update)`` for flat arrays, places and updates; the place ``total`` drops.

    ``one_by_one``: how many updates at once have different places, at least; None: all.
    """
    dtype = values[0].dtype
    op = simple_region(body) if len(arrays) == 1 else None
    replaced = selected_input(body) if len(arrays) == 1 else None
    names = [
        writer.assign(f"torch.constant_pad_nd({x}, [0, 1], {'False' if v.dtype == BOOL else '0'})", "flat")
        for x, v in zip(arrays, values, strict=True)
    ]
    kept = f"[: {writer.dim(total)}]"
    if replaced == 0:
        return [f"{names[0]}{kept}"]
    kind = family(dtype)
    if replaced == 1:
        if one_by_one is None:
            return [f"torch.index_put({names[0]}, [{places}], {updates[0]}){kept}"]
        return [f"{writer.helper('last_at')}({names[0]}, {places}, {updates[0]}){kept}"]
    if op == "add" and kind != "b":
        text = f"torch.index_put({names[0]}, [{places}], {updates[0]}, True)"
        return [narrowed(f"{text}{kept}", dtype)]
    if op in _SCATTERED and (kind in "fi" or (kind == "u" and op != "multiply")):
        return [f'{writer.helper("fold_at")}({names[0]}, {places}, {updates[0]}, "{_SCATTERED[op]}"){kept}']
    places = writer.named(places, "places")
    new = [writer.named(u, "updates") for u in updates]
    if one_by_one is None:
        results = writer.on_tensors(body, [*(writer.assign(f"{n}[{places}]", "old") for n in names), *new])
        return [f"torch.index_put({n}, [{places}], {r}){kept}" for n, r in zip(names, results, strict=True)]
    size = writer.dim(one_by_one)
    turn = writer.fresh("i")
    with writer.block(f"for {turn} in range({places}.shape[0] // {size}):"):
        now = writer.assign(f"{places}.narrow(0, {turn} * {size}, {size})", "now")
        values_now = [writer.assign(f"{u}.narrow(0, {turn} * {size}, {size})", "update") for u in new]
        old = [writer.assign(f"{n}[{now}]", "old") for n in names]
        results = writer.on_tensors(body, [*old, *values_now])
        for name, text in zip(names, results, strict=True):
            writer.line(f"{name} = torch.index_put({name}, [{now}], {text})")
    return [f"{n}{kept}" for n in names]


# sort


def sort_keys(writer: TorchWriter, x: str, dtype: np.dtype, descending: bool, total_order: bool) -> str:
    """What torch sorts, ascending, in the order of ``x``: NaN comes last; in the total order bits count."""
    if is_float(dtype):
        if total_order:
            keys = ordinal(writer, x, dtype)
            return f"torch.bitwise_not({keys})" if descending else keys
        return f"-{x}" if descending else x
    if dtype == np.uint64:
        x = f"({x} ^ {_LEAST})"
    if dtype == BOOL:
        x = f"{x}.to(torch.int8)"
    return f"torch.bitwise_not({x})" if descending else x


def sort(writer: TorchWriter, node: Node, *xs: str) -> list[str]:
    """By torch where one operand is compared; else by exchange of neighbours, by the comparator."""
    axis, values = node.attributes["axis"], node.operands
    known = simple_comparator(node.regions[0])
    if same(values[0].shape[axis], 0) is True:
        return list(xs)
    if known is not None and not is_complex(values[known[0]].dtype):
        key, direction, total_order = known
        keys = sort_keys(writer, xs[key], values[key].dtype, direction == "GT", total_order)
        order = writer.assign(f"torch.argsort({keys}, stable=True, dim={axis})", "order")
        return [f"torch.gather({x}, {axis}, {order})" for x in xs]
    rows = [writer.named(f"{x}.movedim({axis}, -1)", "rows") if axis != values[0].rank - 1 else x for x in xs]
    order = _exchange_sort(writer, node.regions[0], rows)
    texts = [f"torch.gather({r}, -1, {order})" for r in rows]
    return [f"{t}.movedim(-1, {axis})" if axis != values[0].rank - 1 else t for t in texts]


def _exchange_sort(writer: TorchWriter, before: Graph, rows: Sequence[str]) -> str:
    """The stable order of the last axis under any comparator, by exchange of odd and even neighbours."""
    count, order, turn = writer.fresh("count"), writer.fresh("order"), writer.fresh("i")
    writer.line(f"{count} = {rows[0]}.shape[-1]")
    writer.line(f"{order} = torch.arange({count}, dtype=torch.int64{writer.device}).expand({rows[0]}.shape)")
    with writer.block(f"for {turn} in range({count}):"):
        left = writer.assign(f"{order}[..., {turn} % 2 : {count} - 1 : 2]", "left")
        right = writer.assign(f"{order}[..., {turn} % 2 + 1 :: 2]", "right")
        pairs = [writer.assign(f"torch.gather({r}, -1, {side})", "side") for r in rows for side in (right, left)]
        (swap,) = writer.on_tensors(before, pairs)
        swap = writer.named(swap, "swap")
        writer.line(f"{order} = {order}.clone()")
        writer.line(f"{order}[..., {turn} % 2 : {count} - 1 : 2] = torch.where({swap}, {right}, {left})")
        writer.line(f"{order}[..., {turn} % 2 + 1 :: 2] = torch.where({swap}, {left}, {right})")
    return order


def top_k(writer: TorchWriter, node: Node, x: str) -> list[str]:
    """By a stable sort: torch's own topk does not say which of equal elements it takes."""
    value, k = node.operands[0], node.attributes["k"]
    keys = sort_keys(writer, x, value.dtype, True, True)
    order = writer.assign(f"torch.argsort({keys}, stable=True, dim=-1)[..., :{k}]", "order")
    return [f"torch.gather({x}, -1, {order})", f"{order}.to(torch.int32)"]


RULES: dict[str, Rule] = {"gather": gather, "scatter": scatter, "take": take, "sort": sort, "top_k": top_k}
