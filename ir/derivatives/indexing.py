"""Derivatives of gather, scatter, sort and top_k. What is read by indices goes back by a scatter that adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ..builder import Builder, binary_region
from ..dims import DimLike
from ..errors import DifferentiationError
from ..graph import Graph, Value, clone
from ..opdef import Call, Linear
from ..regions import selected_input, simple_region
from ..types import I32, TensorType, is_float, is_unsigned
from .rules import Tangent, known, linear_in_first, total, zeros

__all__ = [
    "gather_transpose",
    "linear_in_first",
    "scatter_jvp",
    "scatter_transpose",
    "sort_jvp",
    "top_k_jvp",
]


def gather_transpose(b: Builder, call: Call, cotangent: Tangent, x: Linear, indices: Value) -> tuple[Tangent, None]:
    """Each slice's cotangent is added where the slice was read."""
    if cotangent is None:
        return None, None
    mapped = call["start_index_map"]
    limits = [x.shape[d] - call["slice_sizes"][d] for d in mapped]
    clamped = _clamped(b, indices, limits, call["index_vector_dim"])
    (result,) = b.emit(
        "scatter",
        (zeros(b, x.type), clamped, cotangent),
        {
            "update_window_dims": call["offset_dims"],
            "inserted_window_dims": call["collapsed_slice_dims"],
            "input_batching_dims": call["operand_batching_dims"],
            "scatter_indices_batching_dims": call["start_indices_batching_dims"],
            "scatter_dims_to_operand_dims": mapped,
            "index_vector_dim": call["index_vector_dim"],
            "indices_are_sorted": call["indices_are_sorted"] and len(mapped) < 2,  # clamping may disturb pairs
        },
        [binary_region("add", x.dtype)],
    )
    return result, None


def _clamped(b: Builder, indices: Value, limits: Sequence[DimLike], vector_dim: int) -> Value:
    """Start indices as a gather takes them: between 0 and the limits."""
    if not limits or 0 in indices.shape:
        return indices
    low = indices if is_unsigned(indices.dtype) else b.maximum(indices, b.full_like(indices, 0))
    return b.minimum(low, _along(b, limits, indices, vector_dim))


def _along(b: Builder, numbers: Sequence[DimLike], indices: Value, vector_dim: int) -> Value:
    """One number for each entry of index vectors, in the shape of the indices."""
    most = int(ml_dtypes.iinfo(indices.dtype).max)
    if all(isinstance(n, int) for n in numbers):
        vector = b.constant(np.array([min(n, most) for n in numbers]), indices.dtype)
    else:
        parts = [b.reshape(_number(b, n, indices.dtype), shape=(1,)) for n in numbers]
        vector = parts[0] if len(parts) == 1 else b.concatenate(*parts, axis=0)
    if vector_dim == indices.rank:  # an index is its own vector of one
        return b.broadcast_to(b.reshape(vector, shape=()), indices.shape)
    return b.broadcast_in_dim(vector, shape=indices.shape, dims=(vector_dim,))


def _number(b: Builder, dim: DimLike, dtype: np.dtype) -> Value:
    return b.constant(dim, dtype) if isinstance(dim, int) else b.astype(b.dim_value(dim=dim, dtype=I32), dtype)


# scatter


def scatter_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Tangent:
    """Linear where updates are set or added; a greatest element has the tangents of all that equal it, in equal shares;
    a product that of its factors, where all places differ."""
    if len(primals) != 3:
        raise DifferentiationError("a scatter into several arrays has no derivative: scatter into each by itself")
    dx, _, du = tangents
    region = call.regions[0]
    op, replaced = simple_region(region), selected_input(region)
    if replaced == 0 or (op == "add" and du is None):
        return dx
    if replaced == 1 or op == "add":
        x, indices, updates = primals
        return _scatter(b, call, known(b, dx, x.type), indices, known(b, du, updates.type))
    if op == "multiply":
        return _scatter_product(b, call, primals, dx, du)
    if op in ("maximum", "minimum") and is_float(primals[0].dtype):
        return _scatter_extremum(b, call, primals, dx, du, results[0])
    raise DifferentiationError(
        "a scatter with this region has no derivative: it is known for regions that set, add, multiply, or take the "
        "maximum or minimum"
    )


def _scatter(b: Builder, call: Call, x: Value, indices: Value, updates: Value, op: str | None = None) -> Value:
    """The scatter of ``call`` on other operands; by the binary ``op`` rather than its region."""
    regions = call.regions if op is None else [binary_region(op, x.dtype)]
    return b.emit("scatter", (x, indices, updates), dict(call.attributes), regions)[0]


def _scatter_product(b: Builder, call: Call, primals: Sequence[Value], dx: Tangent, du: Tangent) -> Tangent:
    x, indices, updates = primals
    moved = None if dx is None else _scatter(b, call, dx, indices, updates)
    if du is None:
        return moved
    if not call["unique_indices"]:
        raise DifferentiationError(
            "a scatter that multiplies has no derivative in its updates, since several may go to one place; say "
            "unique_indices=True where none do"
        )
    factors = b.multiply(_read(b, call, x, indices, updates.type), du)
    return total(b, moved, _scatter(b, call, zeros(b, x.type), indices, factors, "add"))


def _scatter_extremum(
    b: Builder, call: Call, primals: Sequence[Value], dx: Tangent, du: Tangent, result: Value
) -> Tangent:
    x, indices, updates = primals
    stays = b.compare(x, result, direction="EQ")
    wins = b.compare(updates, _read(b, call, result, indices, updates.type), direction="EQ")
    counts = _scatter(b, call, b.astype(stays, x.dtype), indices, b.astype(wins, x.dtype), "add")
    counts = b.maximum(counts, b.full_like(counts, 1))  # a NaN equals nothing
    from_x = zeros(b, x.type) if dx is None else b.select(stays, dx, b.full_like(x, 0))
    if du is not None:
        from_x = _scatter(b, call, from_x, indices, b.select(wins, du, b.full_like(updates, 0)), "add")
    return b.divide(from_x, counts)


def scatter_transpose(
    b: Builder, call: Call, cotangent: Any, x: Value | Linear, indices: Value, updates: Value | Linear
) -> tuple[Tangent, None, Tangent]:
    """What was set or added takes the cotangent of its place; what was set over takes none."""
    if cotangent is None:
        return None, None, None
    op, sets = simple_region(call.regions[0]), selected_input(call.regions[0]) == 1
    to_x: Tangent = None
    if isinstance(x, Linear):
        to_x = cotangent
        if sets:
            to_x = _scatter(b, call, cotangent, indices, zeros(b, updates.type))
        elif op == "multiply":
            assert isinstance(updates, Value)
            to_x = _scatter(b, call, cotangent, indices, updates)
    if not isinstance(updates, Linear):
        return to_x, None, None
    found = _read(b, call, cotangent, indices, updates.type)
    counts: Value | None
    if sets and not call["unique_indices"]:
        counts = _winners(b, call, cotangent.type, indices, updates.type)
    else:
        counts = _fits(b, call, cotangent.type, indices, updates.type)
    return to_x, None, found if counts is None else b.select(counts, found, zeros(b, updates.type))


def _read(b: Builder, call: Call, x: Value, indices: Value, updates: TensorType) -> Value:
    """The gather that reads the places that a scatter writes (clamped ones, where it writes none)."""
    outside = call["inserted_window_dims"] + call["input_batching_dims"]
    window = iter(call["update_window_dims"])
    return b.gather(
        x,
        indices,
        offset_dims=call["update_window_dims"],
        collapsed_slice_dims=call["inserted_window_dims"],
        operand_batching_dims=call["input_batching_dims"],
        start_indices_batching_dims=call["scatter_indices_batching_dims"],
        start_index_map=call["scatter_dims_to_operand_dims"],
        index_vector_dim=call["index_vector_dim"],
        slice_sizes=[1 if d in outside else updates.shape[next(window)] for d in range(x.rank)],
        indices_are_sorted=call["indices_are_sorted"],
    )


def _winners(b: Builder, call: Call, x: TensorType, indices: Value, updates: TensorType) -> Value:
    """Which updates a scatter that sets leaves standing: every update's number is set, and read again."""
    length: DimLike = 1
    for d in updates.shape:
        length = length * d
    numbers = b.reshape(b.iota(dtype=I32, shape=(length,), axis=0), shape=updates.shape)
    region = Graph()
    scalars = [region.add_input(TensorType(I32)) for _ in range(2)]
    region.outputs = [scalars[1]]
    none = b.full(x.shape, -1, I32)
    (standing,) = b.emit("scatter", (none, indices, numbers), dict(call.attributes), [region])
    return b.compare(_read(b, call, standing, indices, numbers.type), numbers, direction="EQ")


def _fits(b: Builder, call: Call, x: TensorType, indices: Value, updates: TensorType) -> Value | None:
    """Which updates lie wholly inside, so that a scatter does not drop them; None: all do."""
    mapped, vector_dim = call["scatter_dims_to_operand_dims"], call["index_vector_dim"]
    if not mapped or 0 in indices.shape:
        return None
    outside = call["inserted_window_dims"] + call["input_batching_dims"]
    window = dict(zip((d for d in range(x.rank) if d not in outside), call["update_window_dims"], strict=True))
    limits = [x.shape[d] - (updates.shape[window[d]] if d in window else 1) for d in mapped]
    fits = b.compare(indices, _along(b, limits, indices, vector_dim), direction="LE")
    if not is_unsigned(indices.dtype):
        fits = b.and_(fits, b.compare(indices, b.full_like(indices, 0), direction="GE"))
    if vector_dim < indices.rank:
        fits = b.reduce_with("and", fits, (vector_dim,), True)
    batch = tuple(d for d in range(updates.rank) if d not in call["update_window_dims"])
    return b.broadcast_in_dim(fits, shape=updates.shape, dims=batch)


# sort and top_k


def sort_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> Any:
    """Tangents move as their values do."""
    axis = call["axis"]
    order = _order(b, call, primals, results)
    moved = tuple(None if t is None else gather_along(b, t, order, axis) for t in tangents)
    return moved[0] if len(moved) == 1 else moved


def _order(b: Builder, call: Call, primals: Sequence[Value], results: Sequence[Value]) -> Value:
    """Where each sorted element comes from: what becomes of positions that are sorted too."""
    axis = call["axis"]
    for primal, result in zip(primals, results, strict=True):
        node = primal.producer
        if node is not None and node.op.name == "iota" and node.attributes["axis"] == axis and primal.dtype == I32:
            return result
    region = clone(call.regions[0])
    for _ in range(2):
        region.add_input(TensorType(I32))
    positions = b.iota(dtype=I32, shape=primals[0].shape, axis=axis)
    return b.emit("sort", (*primals, positions), dict(call.attributes), [region])[-1]


def gather_along(b: Builder, x: Value, indices: Value, axis: int) -> Value:
    """``x[..., indices[..., i, ...], ...]``: what stands along an axis at indices, for each place of the others."""
    others = tuple(d for d in range(x.rank) if d != axis)
    return b.gather(
        x,
        indices,
        offset_dims=(),
        collapsed_slice_dims=(axis,),
        operand_batching_dims=others,
        start_indices_batching_dims=others,
        start_index_map=(axis,),
        index_vector_dim=x.rank,
        slice_sizes=(1,) * x.rank,
    )


def top_k_jvp(
    b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Sequence[Value]
) -> tuple[Tangent, None]:
    """The tangents of the elements that are taken."""
    (dx,) = tangents
    return None if dx is None else gather_along(b, dx, results[1], primals[0].rank - 1), None
