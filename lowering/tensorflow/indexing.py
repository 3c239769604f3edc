"""Rules of gather, scatter, sort and top_k."""

from __future__ import annotations

from typing import Any

from ...ir.graph import Node
from ...ir.regions import selected_input, simple_comparator, simple_region
from ...ir.types import BOOL, is_complex, is_float
from ..source import Rule
from .regions import on_tensors
from .writer import TensorFlowWriter, tensor

_UPDATES = {
    "add": "tf.tensor_scatter_nd_add",
    "maximum": "tf.tensor_scatter_nd_max",
    "minimum": "tf.tensor_scatter_nd_min",
}


def _gather(writer: TensorFlowWriter, node: Node, x: str, indices: str) -> str:
    a, operand = node.attributes, node.operands[0]
    indices = tensor(indices, node.operands[1].dtype)
    if 0 in (*node.result.shape, *operand.shape, *a["slice_sizes"]):
        return f"tf.zeros({writer.shape(node.result.shape)}, {x}.dtype)"
    rows = _along_one_axis(writer, node, x, indices)
    if rows is not None:
        return rows
    sizes = writer.shape(a["slice_sizes"])
    lists = ", ".join(
        str(list(a[k]))
        for k in (
            "start_index_map",
            "collapsed_slice_dims",
            "operand_batching_dims",
            "start_indices_batching_dims",
            "offset_dims",
        )
    )
    return f"{writer.helper('gather_slices')}({x}, {indices}, {a['index_vector_dim']}, {lists}, {sizes})"


def _along_one_axis(writer: TensorFlowWriter, node: Node, x: str, indices: str) -> str | None:
    """Whole slices along one axis, in the order that tf.gather gives them; else None."""
    a, (operand, where) = node.attributes, node.operands
    if (
        len(a["start_index_map"]) != 1
        or a["collapsed_slice_dims"] != a["start_index_map"]
        or a["operand_batching_dims"]
    ):
        return None
    (axis,), vector_dim = a["start_index_map"], a["index_vector_dim"]
    if any(size != whole for i, (size, whole) in enumerate(zip(a["slice_sizes"], operand.shape)) if i != axis):
        return None
    if vector_dim == where.rank:
        shape = where.shape
    elif where.shape[vector_dim] == 1:
        shape = tuple(d for i, d in enumerate(where.shape) if i != vector_dim)
        indices = writer.reshaped(indices, shape)
    else:
        return None
    expected = [*range(axis), *range(axis + len(shape), operand.rank - 1 + len(shape))]
    if list(a["offset_dims"]) != expected:
        return None
    place = f"{writer.helper('clamped')}({indices}, {writer.dim(operand.shape[axis] - 1)})"
    return f"tf.gather({x}, {place}, axis={axis})"


def _scatter(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
    a, count = node.attributes, len(operands) // 2
    xs, indices, updates = operands[:count], operands[count], operands[count + 1 :]
    values = node.operands
    updates = tuple(tensor(t, v.dtype) for t, v in zip(updates, values[count + 1 :]))
    indices = tensor(indices, values[count].dtype)
    if 0 in (*values[0].shape, *values[-1].shape):
        return list(xs)
    lists = ", ".join(
        str(list(a[k]))
        for k in (
            "scatter_dims_to_operand_dims",
            "inserted_window_dims",
            "input_batching_dims",
            "scatter_indices_batching_dims",
            "update_window_dims",
        )
    )
    # The region stands before the calls.
    update = _update(node, count)
    body = on_tensors(writer, node.regions[0]) if update is None else ""
    places, rows = writer.fresh("places"), writer.fresh("values")
    writer.line(
        f"{places}, {rows} = {writer.helper('scatter_places')}({xs[0]}, {indices}, [{', '.join(updates)}], "
        f"{a['index_vector_dim']}, {lists})"
    )
    if update is not None:
        return f"{writer.helper('scatter')}({xs[0]}, {places}, {rows}[0], {update})"
    made = writer.assign(f"{writer.helper('scatter_fold')}({body}, [{', '.join(xs)}], {places}, {rows})", "scattered")
    return [f"{made}[{i}]" for i in range(count)]


def _update(node: Node, count: int) -> str | None:
    """The function of TensorFlow that scatters so, or None."""
    dtype = node.operands[0].dtype
    if count != 1:
        return None
    if selected_input(node.regions[0]) == 1:
        return "tf.tensor_scatter_nd_update"
    op = simple_region(node.regions[0])
    if op not in _UPDATES or dtype == BOOL or (is_complex(dtype) and op != "add"):
        return None
    # NaN and, of narrow floats, the rounding after each addition follow the region.
    if is_float(dtype) and op != "add":
        return None
    return _UPDATES[op]


def _sort(writer: TensorFlowWriter, node: Node, *xs: str) -> Any:
    axis, known = node.attributes["axis"], simple_comparator(node.regions[0])
    arrays = ", ".join(tensor(x, v.dtype) for x, v in zip(xs, node.operands))
    if known is not None and not is_complex(node.operands[known[0]].dtype):
        key, direction, total_order = known
        made = f"{writer.helper('sort_by_keys')}([{arrays}], {key}, {axis}, {direction == 'GT'}, {total_order})"
    else:
        before = on_tensors(writer, node.regions[0], "before")
        made = f"{writer.helper('sort_by')}({before}, [{arrays}], {axis})"
    made = writer.assign(made, "rows") if len(xs) > 1 else made
    return [f"{made}[{i}]" for i in range(len(xs))]


def _top_k(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return f"{writer.helper('top_k')}({x}, {node.attributes['k']})"


RULES: dict[str, Rule] = {"gather": _gather, "scatter": _scatter, "sort": _sort, "top_k": _top_k}
