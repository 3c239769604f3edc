"""Rules for contractions, indexing, reductions and sorting: operations with dimension numbers and regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...ir.errors import UnsupportedError
from ...ir.graph import Graph, Value
from ...ir.types import F32, F64, is_float
from ..mlir import stablehlo
from .reading import Source, enum_case
from .scope import Rule, Scope

# Contractions.

_PRECISIONS = ("DEFAULT", "HIGH", "HIGHEST")


def precision(op: Source) -> str:
    """The higher one of both operands."""
    if not op.has("precision_config"):
        return "default"
    names = [enum_case(p) for p in op.attributes["precision_config"]]
    return max(names or ["DEFAULT"], key=_PRECISIONS.index).lower()


def dot_general(s: Scope, op: Source, x: Value, y: Value) -> Value:
    """Batch and contracting axes."""
    numbers = stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    return contracted(
        s,
        op,
        x,
        y,
        lhs_batch=tuple(numbers.lhs_batching_dimensions),
        rhs_batch=tuple(numbers.rhs_batching_dimensions),
        lhs_contract=tuple(numbers.lhs_contracting_dimensions),
        rhs_contract=tuple(numbers.rhs_contracting_dimensions),
    )


def dot(s: Scope, op: Source, x: Value, y: Value) -> Value:
    """The last axis of the left with the first of the right."""
    return contracted(s, op, x, y, lhs_contract=(x.rank - 1,), rhs_contract=(0,))


def contracted(s: Scope, op: Source, x: Value, y: Value, **axes: tuple[int, ...]) -> Value:
    """A product with the operation's precision and result type.

    An algorithm, which names the types that hardware multiplies and adds in, asks for no more than the precision that
    the element types give, which is what XLA computes on the CPU.
    """
    for kind in ("batch", "contract"):
        for i, j in zip(axes.get(f"lhs_{kind}", ()), axes.get(f"rhs_{kind}", ())):
            s.importer.equate(x.shape[i], y.shape[j], f"{kind} dimensions {i} of {x.type} and {j} of {y.type}")
    result, level = op.dtype(), "highest" if op.has("algorithm") else precision(op)
    if x.dtype != y.dtype:
        common = _common(x.dtype, y.dtype, result)
        x, y = s.convert(x, common), s.convert(y, common)
    inner = result if _same_kind(x.dtype, result) else None
    product = s.b.dot_general(x, y, dtype=None if inner == x.dtype else inner, precision=level, **axes)
    return s.convert(product, result)


def _same_kind(a: np.dtype, b: np.dtype) -> bool:
    return is_float(a) == is_float(b) and (a.kind == "c") == (b.kind == "c") and (a.kind == "b") == (b.kind == "b")


def _common(a: np.dtype, b: np.dtype, result: np.dtype) -> np.dtype:
    """A type that holds both operands' values."""
    if is_float(a) and is_float(b):
        wide = F64 if F64 in (a, b) else F32
        return wide if max(a.itemsize, b.itemsize) > 1 or not is_float(result) else F32
    return result


def convolution_settings(op: Source, spatial: int) -> dict[str, Any]:
    """Attributes of the graph's convolution, but for the padding."""
    numbers = stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    reversal = op.bools("window_reversal", ())
    return {
        "strides": op.ints("window_strides", (1,) * spatial) or (1,) * spatial,
        "lhs_dilation": op.ints("lhs_dilation", (1,) * spatial) or (1,) * spatial,
        "rhs_dilation": op.ints("rhs_dilation", (1,) * spatial) or (1,) * spatial,
        "lhs_spec": (numbers.input_batch_dimension, numbers.input_feature_dimension, *numbers.input_spatial_dimensions),
        "rhs_spec": (
            numbers.kernel_output_feature_dimension,
            numbers.kernel_input_feature_dimension,
            *numbers.kernel_spatial_dimensions,
        ),
        "out_spec": (
            numbers.output_batch_dimension,
            numbers.output_feature_dimension,
            *numbers.output_spatial_dimensions,
        ),
        "feature_groups": op.integer("feature_group_count", 1),
        "batch_groups": op.integer("batch_group_count", 1),
        "precision": precision(op),
        "reversal": reversal if any(reversal) else None,
    }


def convolution(s: Scope, op: Source, x: Value, kernel: Value) -> Value:
    """Windows with padding, dilations, reversal and groups."""
    settings = convolution_settings(op, x.rank - 2)
    return convolved(s, op, x, kernel, {**settings, "padding": op.matrix("padding", x.rank - 2)})


def convolved(s: Scope, op: Source, x: Value, kernel: Value, settings: Mapping[str, Any]) -> Value:
    """A convolution with the operation's result type."""
    result = op.dtype()
    if x.dtype != kernel.dtype:
        common = _common(x.dtype, kernel.dtype, result)
        x, kernel = s.convert(x, common), s.convert(kernel, common)
    inner = result if _same_kind(x.dtype, result) and result != x.dtype else None
    return s.convert(s.b.convolution(x, kernel, dtype=inner, **settings), result)


# Indexing.


def gather_numbers(op: Source) -> dict[str, Any]:
    """Roles of the axes of a gather."""
    numbers = stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    return {
        "offset_dims": tuple(numbers.offset_dims),
        "collapsed_slice_dims": tuple(numbers.collapsed_slice_dims),
        "operand_batching_dims": tuple(numbers.operand_batching_dims),
        "start_indices_batching_dims": tuple(numbers.start_indices_batching_dims),
        "start_index_map": tuple(numbers.start_index_map),
        "index_vector_dim": int(numbers.index_vector_dim),
        "indices_are_sorted": op.flag("indices_are_sorted"),
    }


def gather(s: Scope, op: Source, x: Value, indices: Value) -> Value:
    """Slices at computed places."""
    return s.b.gather(x, indices, slice_sizes=op.ints("slice_sizes"), **gather_numbers(op))


def scatter(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """Slices combined with others at computed places; sums may be in a wider type than the operands."""
    count = len(operands) // 2
    numbers = stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    body = s.region(op.regions[0], op.name)
    dtypes = [v.dtype for v in body.inputs]
    xs = [s.convert(v, t) for v, t in zip(operands[:count], dtypes)]
    updates = [s.convert(v, t) for v, t in zip(operands[count + 1 :], dtypes)]
    results = s.b.emit(
        "scatter",
        (*xs, operands[count], *updates),
        {
            "update_window_dims": tuple(numbers.update_window_dims),
            "inserted_window_dims": tuple(numbers.inserted_window_dims),
            "input_batching_dims": tuple(numbers.input_batching_dims),
            "scatter_indices_batching_dims": tuple(numbers.scatter_indices_batching_dims),
            "scatter_dims_to_operand_dims": tuple(numbers.scattered_dims_to_operand_dims),
            "index_vector_dim": int(numbers.index_vector_dim),
            "indices_are_sorted": op.flag("indices_are_sorted"),
            "unique_indices": op.flag("unique_indices"),
        },
        [body],
    )
    return [s.convert(v, op.dtype(i)) for i, v in enumerate(results)]


def torch_index_select(s: Scope, op: Source, x: Value, index: Value) -> Value:
    """Slices of an axis at indices, batch by batch."""
    axis, batch = op.integer("dim"), op.integer("batch_dims")
    kept = [d for d in range(x.rank) if d >= batch and d != axis]
    # Result: axes of x before `axis`, axes of the index after the batch, axes of x behind `axis`.
    offsets = [d if d < axis else d + index.rank - batch - 1 for d in kept]
    return s.b.gather(
        x,
        index,
        offset_dims=tuple(offsets),
        collapsed_slice_dims=(axis,),
        operand_batching_dims=tuple(range(batch)),
        start_indices_batching_dims=tuple(range(batch)),
        start_index_map=(axis,),
        index_vector_dim=index.rank,
        slice_sizes=tuple(1 if d == axis or d < batch else size for d, size in enumerate(x.shape)),
    )


# Reductions and sorting.


def _folded(
    s: Scope, op: Source, name: str, operands: Sequence[Value], attributes: Mapping[str, Any]
) -> Sequence[Value]:
    """A reduction in the types of its region."""
    body = s.region(op.regions[0], op.name)
    count = len(operands) // 2
    dtypes = [v.dtype for v in body.inputs[:count]] * 2
    first = s.agreed(operands[:count])
    values = [s.convert(v, t) for v, t in zip((*first, *operands[count:]), dtypes)]
    results = s.b.emit(name, values, dict(attributes), [body])
    return [s.convert(v, op.dtype(i)) for i, v in enumerate(results)]


def reduce(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """Axes folded away."""
    return _folded(s, op, "reduce", operands, {"axes": op.ints("dimensions")})


def reduce_window(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """Windows folded, with padding and both dilations."""
    rank = operands[0].rank
    ones = (1,) * rank
    attributes = {
        "window": op.ints("window_dimensions"),
        "strides": op.ints("window_strides", ones) or ones,
        "base_dilation": op.ints("base_dilations", ones) or ones,
        "window_dilation": op.ints("window_dilations", ones) or ones,
        "padding": op.matrix("padding", rank),
    }
    return _folded(s, op, "reduce_window", operands, attributes)


def select_and_scatter(s: Scope, op: Source, x: Value, source: Value, init: Value) -> Value:
    """Elements of a source to the chosen places of windows."""
    ones = (1,) * x.rank
    chosen, body = (s.region(r, op.name) for r in op.regions)
    # The choice is in the operand's type and the sum may be in a wider one, which only widens what is compared.
    wide = body.inputs[0].dtype
    if chosen.inputs[0].dtype != wide:
        chosen = _widened(s, chosen, wide)
    x, source, init = (s.convert(v, wide) for v in (x, source, init))
    result = s.b.select_and_scatter(
        x,
        source,
        init,
        window=op.ints("window_dimensions", ones) or ones,
        strides=op.ints("window_strides", ones) or ones,
        padding=op.matrix("padding", x.rank),
        regions=[chosen, body],
    )
    return s.convert(result, op.dtype())


def _widened(s: Scope, region: Graph, dtype: np.dtype) -> Graph:
    """A region on values of another type, which are converted to its own first."""
    graph = Graph()
    scope = Scope(s.importer, graph)
    inputs = [graph.add_input(v.type.with_dtype(dtype)) for v in region.inputs]
    values = [scope.convert(v, own.dtype) for v, own in zip(inputs, region.inputs)]
    graph.outputs = scope.inline(region, values)
    return graph


def sort(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """Arrays sorted together by a comparator."""
    values = s.agreed(operands)
    axis = op.integer("dimension", -1)
    rank = values[0].rank
    if rank == 0:
        return values
    axis = axis + rank if axis < 0 else axis
    return s.b.emit("sort", values, {"axis": axis, "stable": op.flag("is_stable")}, [s.region(op.regions[0], op.name)])


def map_(s: Scope, op: Source, *operands: Value) -> Value:
    """A function of scalars at every place: on whole arrays where it is elementwise, else in a loop."""
    body = s.region(op.regions[0], op.name)
    values = s.agreed(operands)
    shape = values[0].shape
    if all(n.op.elementwise or n.op.name in ("constant", "select", "clamp") for n in body.nodes):
        return _lifted(s, body, values, shape)
    size = values[0].type.size
    rows = [s.b.reshape(v, shape=(size,)) for v in values]
    (result,) = s.b.emit("scan", rows, {"carries": 0, "length": size}, [body])
    return s.b.reshape(result, shape=shape)


def _lifted(s: Scope, body: Graph, values: Sequence[Value], shape: Sequence[Any]) -> Value:
    new = dict(zip(body.inputs, values))
    for node in body.nodes:
        if node.op.name == "constant":
            new[node.result] = s.b.broadcast_to(s.b.emit(node.op, (), node.attributes)[0], shape)
        else:
            (new[node.result],) = s.b.emit(node.op, [new[o] for o in node.operands], node.attributes)
    return new[body.outputs[0]]


# Einstein sums.


def einsum(s: Scope, op: Source, x: Value, y: Value) -> Value:
    """Letters of both operands that the result has too are batch axes, others that both have are contracted."""
    left, right, result = _equation(op, x, y)
    (x, left), (y, right) = _single(s, x, left, right + result), _single(s, y, right, left + result)
    batch = [c for c in left if c in right and c in result]
    summed = [c for c in left if c in right and c not in result]
    product = contracted(
        s,
        op,
        x,
        y,
        lhs_batch=tuple(left.index(c) for c in batch),
        rhs_batch=tuple(right.index(c) for c in batch),
        lhs_contract=tuple(left.index(c) for c in summed),
        rhs_contract=tuple(right.index(c) for c in summed),
    )
    order = batch + [c for c in left if c not in batch + summed] + [c for c in right if c not in batch + summed]
    return _ordered(s, product, "".join(order), result)


def unary_einsum(s: Scope, op: Source, x: Value) -> Value:
    """Sums, diagonals and transposes."""
    equation = op.text("einsum_config")
    left, _, result = equation.replace(" ", "").partition("->")
    left, result = _spelled(left, x.rank), _spelled(result, op.operation.results[0].type.rank)
    x, left = _single(s, x, left, result)
    return _ordered(s, x, left, result)


def _equation(op: Source, x: Value, y: Value) -> tuple[str, str, str]:
    inputs, arrow, result = op.text("einsum_config").replace(" ", "").partition("->")
    parts = inputs.split(",")
    if len(parts) != 2 or not arrow:
        raise UnsupportedError(
            f"{op.name}: expected an equation such as ab,bc->ac, received {op.text('einsum_config')!r}"
        )
    return _spelled(parts[0], x.rank), _spelled(parts[1], y.rank), _spelled(result, op.operation.results[0].type.rank)


def _spelled(letters: str, rank: int) -> str:
    """Letters with one of their own for each axis that ``...`` stands for; digits, counted from the last."""
    if "..." not in letters:
        return letters
    count = rank - len(letters.replace("...", ""))
    return letters.replace("...", "".join(chr(0x2160 + i) for i in reversed(range(count))))


def _single(s: Scope, x: Value, letters: str, wanted: str) -> tuple[Value, str]:
    """Repeated letters become a diagonal; those that nobody else wants are summed."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            i, j = letters.index(letter), letters.rindex(letter)
            x, letters = _diagonal(s, x, i, j), letters[:j] + letters[j + 1 :]
    gone = [i for i, c in enumerate(letters) if c not in wanted]
    if gone:
        x = s.b.reduce_with("add", x, gone, 0)
    return x, "".join(c for c in letters if c in wanted)


def _diagonal(s: Scope, x: Value, i: int, j: int) -> Value:
    order = [k for k in range(x.rank) if k not in (i, j)] + [i, j]
    x = s.b.transpose(x, permutation=tuple(order))
    size = x.shape[-1]
    row, column = (s.b.iota(dtype=np.int32, shape=x.shape, axis=x.rank - k) for k in (2, 1))
    kept = s.b.select(s.b.compare(row, column, direction="EQ"), x, s.b.full_like(x, 0))
    x = s.b.reduce_with("add", kept, [x.rank - 1], 0) if size != 0 else s.b.full(x.shape[:-1], 0, x.dtype)
    back = list(range(x.rank - 1))
    back.insert(i, x.rank - 1)
    return s.b.transpose(x, permutation=tuple(back))


def _ordered(s: Scope, x: Value, letters: str, wanted: str) -> Value:
    """Axes in the order of the result, which may have further ones, of letters that no operand has: none here."""
    permutation = tuple(letters.index(c) for c in wanted)
    return s.b.transpose(x, permutation=permutation) if permutation != tuple(range(x.rank)) else x


RULES: dict[str, Rule] = {
    "stablehlo.dot_general": dot_general,
    "stablehlo.dot": dot,
    "stablehlo.convolution": convolution,
    "stablehlo.gather": gather,
    "stablehlo.scatter": scatter,
    "stablehlo.torch_index_select": torch_index_select,
    "stablehlo.reduce": reduce,
    "stablehlo.reduce_window": reduce_window,
    "stablehlo.select_and_scatter": select_and_scatter,
    "stablehlo.sort": sort,
    "stablehlo.map": map_,
    "stablehlo.einsum": einsum,
    "stablehlo.unary_einsum": unary_einsum,
}
