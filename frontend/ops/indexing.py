"""Reading and writing parts of tensors by indices: take, slice, scatter, segments, where, search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.builder import binary_region
from ...ir.dims import Dim, DimLike
from ...ir.errors import ArgumentError, DTypeError, ShapeError, TracingError
from ...ir.graph import Graph
from ...ir.types import TensorType, bit_width
from ..convert import as_tensor, broadcast, broadcast_shapes, emit, match_shape, normalize_axis, promote
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor, plain_dims
from ..trace import require_trace
from . import building as b
from .getitem import from_front, get_item

__all__ = ["get_item"]


def index_tensor(x: Any, op: str) -> Tensor:
    """Indices as a tensor of an integer type. Raises :class:`DTypeError` for floats and bools."""
    tensor = as_tensor(x)
    if not b.is_int(tensor):
        raise DTypeError(f"{op}: expected integer indices, received {tensor!r}")
    return tensor


# Reading.


@public_op(weak=False)
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Slices of ``x`` at ``indices`` along ``axis`` (of all elements in one dimension where it is None).

    Negative indices count from the end; those out of range give NaN (of integers the least one).
    """
    x, places = as_tensor(x), index_tensor(indices, "take")
    if axis is None:
        x, axis = b.reshape(x, (x.value.type.size,)), 0
    return emit("take", x, places, axis=normalize_axis(axis, x.ndim))


def gather_along(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Slices of ``x`` at indices that are known to lie inside."""
    rank, shape = indices.ndim, b.shape_of(x)
    return emit(
        "gather",
        x,
        indices,
        index_vector_dim=rank,
        start_index_map=(axis,),
        collapsed_slice_dims=(axis,),
        operand_batching_dims=(),
        start_indices_batching_dims=(),
        offset_dims=(*range(axis), *range(axis + rank, x.ndim - 1 + rank)),
        slice_sizes=[1 if i == axis else d for i, d in enumerate(shape)],
    )


@public_op(weak=False)
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Elements of ``x`` at ``indices`` along ``axis``, the other dimensions side by side (they broadcast).

    Out of range gives NaN, as in :func:`take`.
    """
    x, places = as_tensor(x), index_tensor(indices, "take_along_axis")
    if axis is None:
        x, axis = b.reshape(x, (x.value.type.size,)), 0
        if places.ndim != 1:
            raise ShapeError(f"take_along_axis: without an axis the indices must be a vector, received {places!r}")
    if x.ndim != places.ndim:
        raise ShapeError(f"take_along_axis: expected indices of the rank of {x!r}, received {places!r}")
    return elements_along(x, places, normalize_axis(axis, x.ndim))


def elements_along(x: Tensor, places: Tensor, axis: int) -> Tensor:
    """:func:`take_along_axis` on tensors of one rank."""
    shape, size = b.shape_of(x), b.shape_of(x)[axis]
    others = [
        broadcast_shapes([[a], [c]], "take_along_axis: tensor and indices")[0] if i != axis else 1
        for i, (a, c) in enumerate(zip(shape, b.shape_of(places)))
    ]
    x = stretch(x, [size if i == axis else d for i, d in enumerate(others)])
    places = stretch(places, [b.shape_of(places)[axis] if i == axis else d for i, d in enumerate(others)])
    places = from_front(places, size)
    batch = tuple(i for i in range(x.ndim) if i != axis)
    taken = emit(
        "gather",
        x,
        places,
        offset_dims=(),
        collapsed_slice_dims=(axis,),
        operand_batching_dims=batch,
        start_indices_batching_dims=batch,
        start_index_map=(axis,),
        index_vector_dim=x.ndim,
        slice_sizes=(1,) * x.ndim,
    )
    inside = b.compare("LT", places, stretch(b.dim_tensor(size, places.dtype), b.shape_of(places)))
    if not places.dtype.startswith("uint"):
        inside = emit("and", inside, b.compare("GE", places, 0))
    return b.select(inside, taken, _missing(taken))


def _missing(x: Tensor) -> Any:
    """What an index out of range gives."""
    if x.dtype == "bool":
        return True
    if b.is_int(x):
        limits = np.iinfo(x.value.type.dtype)
        return limits.max if x.dtype.startswith("uint") else limits.min
    return np.nan


@public_op(weak=False)
def slice(inputs: Any, start_indices: Any, shape: Any) -> Tensor:
    """The part of ``inputs`` of ``shape`` at ``start_indices``, which may be traced; moved inside where it sticks out.

    -1 in ``shape`` (beside a start that is known) means all that is left.
    """
    x = as_tensor(inputs)
    starts = _starts(start_indices, x.ndim, "slice")
    sizes: list[DimLike] = []
    for axis, size in enumerate(b.dims_arg(shape, "slice")):
        if isinstance(size, int) and size == -1:
            start = starts[axis]
            if isinstance(start, Tensor):
                raise TracingError("slice: -1 in shape needs a start that is known while tracing; give the size")
            size = b.shape_of(x)[axis] - start
        sizes.append(size)
    if len(sizes) != x.ndim:
        raise ShapeError(f"slice: expected {x.ndim} sizes for {x!r}, received {sizes}")
    if not any(isinstance(s, Tensor) for s in starts) and all(
        isinstance(s, int) and isinstance(n, int) and isinstance(d, int) and 0 <= s <= d - n
        for s, n, d in zip(starts, sizes, b.shape_of(x))
    ):
        return emit("slice", x, start=starts, limit=[s + n for s, n in zip(starts, sizes)], strides=(1,) * x.ndim)
    return emit("dynamic_slice", x, *_start_tensors(starts, b.shape_of(x)), sizes=sizes)


def _starts(start_indices: Any, rank: int, op: str) -> list[Any]:
    if isinstance(start_indices, Tensor):
        if start_indices.ndim != 1 or b.shape_of(start_indices)[0] != rank:
            raise ShapeError(f"{op}: expected {rank} start indices, received {start_indices!r}")
        return [b.reshape(b.cut(start_indices, 0, i, i + 1), ()) for i in range(rank)]
    starts = [plain_dims(s) if isinstance(s, Dim) else s if isinstance(s, Tensor) else int(s) for s in start_indices]
    if len(starts) != rank:
        raise ShapeError(f"{op}: expected {rank} start indices, received {len(starts)}")
    return starts


def _start_tensors(starts: Sequence[Any], shape: b.Shape) -> list[Tensor]:
    tensors = []
    for start, size in zip(starts, shape):
        tensor = index_tensor(start, "slice") if isinstance(start, Tensor) else b.dim_tensor(start, "int32")
        if tensor.ndim:
            raise ShapeError(f"slice: expected scalar start indices, received {tensor!r}")
        tensors.append(as_tensor(from_front(tensor, size), "int32"))
    return tensors


@public_op(weak=False)
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Tensor:
    """``inputs`` with the part at ``start_indices`` replaced by ``updates``; it is moved inside where it sticks out."""
    x = as_tensor(inputs)
    update = as_tensor(updates, x.dtype)
    if update.ndim != x.ndim:
        raise ShapeError(f"slice_update: expected updates of the rank of {x!r}, received {update!r}")
    starts = _start_tensors(_starts(start_indices, x.ndim, "slice_update"), b.shape_of(x))
    return emit("dynamic_update_slice", x, update, *starts)


# Writing.

_REDUCTIONS = {"add": "add", "max": "maximum", "min": "minimum", "mul": "multiply"}


def _body(reduction: str | None, dtype: np.dtype) -> Graph:
    """The region of a scatter: the old and the new value -> what is kept."""
    if reduction is not None:
        return binary_region(_REDUCTIONS[reduction], dtype)
    region = Graph()
    region.add_input(TensorType(dtype))
    region.outputs = [region.add_input(TensorType(dtype))]
    return region


def scatter_into(x: Tensor, indices: Tensor, updates: Tensor, reduction: str | None, sort: bool = False) -> Tensor:
    """Combine ``updates[i]`` into ``x[indices[i]]``, the last axis of ``indices`` naming the first axes of ``x``."""
    depth = b.static_dim(b.shape_of(indices)[-1], "scatter", "the last dimension of indices")
    if depth > x.ndim:
        raise ShapeError(f"scatter: indices {indices!r} name {depth} axes of {x!r}")
    batch = indices.ndim - 1
    shape = b.shape_of(indices)[:-1] + b.shape_of(x)[depth:]
    updates = stretch(as_tensor(updates, x.dtype), shape)
    columns = [from_front(b.cut(indices, batch, i, i + 1), b.shape_of(x)[i]) for i in range(depth)]
    attributes = {
        "update_window_dims": tuple(range(batch, batch + x.ndim - depth)),
        "inserted_window_dims": tuple(range(depth)),
        "scatter_dims_to_operand_dims": tuple(range(depth)),
        "index_vector_dim": batch,
        "indices_are_sorted": sort,
    }
    operands = (x, b.concatenate(columns, batch), updates)
    return require_trace().emit("scatter", operands, attributes, [_body(reduction, x.value.type.dtype)])[0]


@public_op(weak=False)
def scatter(indices: Any, values: Any, shape: Any) -> Tensor:
    """Zeros of ``shape`` with ``values`` added at ``indices``, whose last axis names an element."""
    updates = as_tensor(values)
    zeros = b.filled(b.dims_arg(shape, "scatter"), 0, updates.dtype)
    return scatter_into(zeros, index_tensor(indices, "scatter"), updates, "add")


@public_op(weak=False)
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Tensor:
    """``inputs`` with the slices at ``indices`` replaced by ``updates``, or combined with them.

    Args:
        indices: [..., depth]: each vector names a place of the first ``depth`` axes.
        reduction: None, ``"add"``, ``"max"``, ``"min"`` or ``"mul"``.
    """
    if reduction is not None and reduction not in _REDUCTIONS:
        raise ArgumentError(
            f"scatter_update: expected reduction None, {', '.join(_REDUCTIONS)}; received {reduction!r}"
        )
    return scatter_into(as_tensor(inputs), index_tensor(indices, "scatter_update"), as_tensor(updates), reduction)


def _segments(data: Any, segment_ids: Any, num_segments: Any, ordered: bool, op: str, reduction: str) -> Tensor:
    x, ids = as_tensor(data), index_tensor(segment_ids, op)
    if num_segments is None:
        raise ArgumentError(f"{op}: num_segments must be given, since the result's shape depends on it")
    if ids.ndim != 1 or not x.ndim:
        raise ShapeError(f"{op}: expected segment_ids of rank 1, one for each row of data; received {ids!r} for {x!r}")
    rows = b.dims_arg(num_segments, op, "num_segments")[0]
    start = 0 if reduction == "add" else 1 if reduction == "mul" else _limit(x, reduction == "max")
    total = b.filled((rows, *b.shape_of(x)[1:]), start, x.dtype)
    ids = match_shape(ids, b.shape_of(x)[:1], f"{op}: one segment id for each row")
    # A negative id is none, while scatter counts it from the end: send it past the end.
    if not ids.dtype.startswith("uint"):
        ids = b.select(b.compare("LT", ids, 0), stretch(b.dim_tensor(rows, ids.dtype), b.shape_of(ids)), ids)
    return scatter_into(total, b.reshape(ids, (b.shape_of(ids)[0], 1)), x, reduction, ordered)


def _limit(x: Tensor, lowest: bool) -> Any:
    if x.dtype == "bool":
        return not lowest
    if b.is_int(x):
        limits = np.iinfo(x.value.type.dtype)
        return limits.min if lowest else limits.max
    return -np.inf if lowest else np.inf


@public_op(weak=False)
def segment_sum(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Tensor:
    """For each of ``num_segments`` the sum of the rows of ``data`` with its id."""
    return _segments(data, segment_ids, num_segments, sorted, "segment_sum", "add")


@public_op(weak=False)
def segment_prod(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Tensor:
    """For each of ``num_segments`` the product of the rows of ``data`` with its id."""
    return _segments(data, segment_ids, num_segments, sorted, "segment_prod", "mul")


@public_op(weak=False)
def segment_max(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Tensor:
    """For each of ``num_segments`` the greatest element of its rows of ``data``; of none the lowest number."""
    return _segments(data, segment_ids, num_segments, sorted, "segment_max", "max")


@public_op(weak=False)
def segment_min(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Tensor:
    """For each of ``num_segments`` the least element of its rows of ``data``; of none the highest number."""
    return _segments(data, segment_ids, num_segments, sorted, "segment_min", "min")


# Choosing.


@public_op
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """``x1`` where the condition holds, else ``x2``; with the condition alone the places where it holds."""
    if x1 is None and x2 is None:
        return nonzero.traced(condition)
    if x1 is None or x2 is None:
        raise ArgumentError("where: expected both x1 and x2, or neither")
    first, second = promote(x1, x2)
    return emit("select", *broadcast(b.as_bool(condition), first, second, what="where"))


@public_op(weak=False)
def nonzero(x: Any) -> tuple[Tensor, ...]:
    """The places where ``x`` is not zero, one vector for each axis; ``x`` must be known while tracing."""
    value = b.concrete(x)
    if value is None:
        raise TracingError(
            f"nonzero: how many places there are depends on the values of {x!r}, which are known only when "
            "the program runs; use ops.where(condition, x1, x2)"
        )
    return tuple(require_trace().constant(place.astype(np.int32)) for place in np.nonzero(value))


@public_op
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Tensor:
    """From ``choicelist`` the element whose condition is the first that holds, else ``default``."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ArgumentError(
            f"select: expected as many choices as conditions, received {len(choicelist)} and {len(condlist)}"
        )
    *choices, result = promote(*choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices)):
        result = emit("select", *broadcast(b.as_bool(condition), choice, result, what="select"))
    return result


@public_op(weak=False)
def unravel_index(indices: Any, shape: Any) -> tuple[Tensor, ...]:
    """The index along each axis of ``shape`` that places in row-major order stand for."""
    flat = index_tensor(indices, "unravel_index")
    sizes = [b.static_dim(d, "unravel_index", "shape") for d in b.dims_arg(shape, "unravel_index")]
    total = math.prod(sizes)
    flat = b.select(b.compare("LT", flat, 0), b.add(flat, total), flat)
    flat = emit("clamp", b.scalar(0, flat.dtype), flat, b.scalar(max(total - 1, 0), flat.dtype))
    places = []
    for size in reversed(sizes):
        divisor = b.like(flat, max(size, 1))
        places.append(emit("remainder", flat, divisor))
        flat = emit("divide", flat, divisor)
    return tuple(reversed(places))


# Searching.


@public_op
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Tensor:
    """Where each of ``values`` belongs in an ascending vector: before equal ones (left), or behind (right)."""
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted: expected side 'left' or 'right', received {side!r}")
    edges, wanted = promote(sorted_sequence, values)
    if edges.ndim != 1:
        raise ShapeError(f"searchsorted: expected a sorted sequence of rank 1, received {edges!r}")
    return insertion_points(edges, wanted, side == "left")


def insertion_points(edges: Tensor, wanted: Tensor, left: bool) -> Tensor:
    """For each wanted value how many edges lie before it (NaN lies behind every number)."""
    size = b.shape_of(edges)[0]
    grid = (*b.shape_of(wanted), size)
    first = b.spread(edges, grid, (wanted.ndim,))
    second = b.spread(wanted, grid, range(wanted.ndim))
    before = b.compare("LT" if left else "LE", first, second)
    if b.is_float(edges):
        edge_nan, wanted_nan = b.compare("NE", first, first), b.compare("NE", second, second)
        also = emit("and", wanted_nan, emit("not", edge_nan)) if left else wanted_nan
        before = emit("or", before, also)
    return b.reduce("reduce_sum", as_tensor(before, "int32"), (wanted.ndim,))


@public_op
def digitize(x: Any, bins: Any) -> Tensor:
    """The bin of each element: i where ``bins[i-1] <= x < bins[i]`` (for falling bins the other way round)."""
    wanted, edges = promote(x, bins)
    if edges.ndim != 1:
        raise ShapeError(f"digitize: expected bins of rank 1, received {edges!r}")
    rising = insertion_points(edges, wanted, left=False)
    if b.shape_of(edges)[0] in (0, 1):
        return rising
    size = b.shape_of(edges)[0]
    falling = b.subtract(
        stretch(b.dim_tensor(size, "int32"), b.shape_of(rising)),
        insertion_points(emit("reverse", edges, axes=(0,)), wanted, left=True),
    )
    first, last = (b.reshape(b.cut(edges, 0, i, i + 1), ()) for i in (0, size - 1))
    ascending = stretch(b.compare("LE", first, last), b.shape_of(rising))
    return b.select(ascending, rising, falling)


@public_op
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element of ``x1`` is among those of ``x2``."""
    first, second = promote(x1, x2)
    flat = b.reshape(second, (second.value.type.size,))
    grid = (*b.shape_of(first), b.shape_of(flat)[0])
    equal = b.compare("EQ", b.spread(first, grid, range(first.ndim)), b.spread(flat, grid, (first.ndim,)))
    found = b.reduce("reduce_any", equal, (first.ndim,))
    return emit("not", found) if invert else found


@public_op(weak=False)
def bincount(x: Any, weights: Any = None, minlength: Any = 0, sparse: bool = False) -> Tensor:
    """How often each of 0, 1, ... occurs, or the sum of its ``weights``, for vectors or rows of a matrix.

    The result has ``minlength`` entries, which must be given where ``x`` is known only when the program runs; larger
    numbers are then not counted.
    """
    if sparse:
        raise ArgumentError("bincount: there are no sparse tensors here; leave sparse out")
    value = b.concrete(x)
    counted = index_tensor(x, "bincount")
    length = b.int_arg(minlength, "bincount", "minlength")
    if value is not None:
        length = max(length, int(value.max(initial=-1)) + 1)
    elif length == 0:
        raise TracingError(f"bincount: the length of the result depends on the values of {counted!r}; give minlength")
    if counted.ndim not in (1, 2):
        raise ShapeError(f"bincount: expected a vector or rows of a matrix, received {counted!r}")
    grid = (*b.shape_of(counted), length)
    hits = b.compare("EQ", b.spread(as_tensor(counted, "int32"), grid, range(counted.ndim)), b.iota(grid, counted.ndim))
    if weights is None:
        return b.reduce("reduce_sum", as_tensor(hits, "int32"), (counted.ndim - 1,))
    given = as_tensor(weights)
    given = match_shape(b.as_float(given) if given.dtype == "bool" else given, b.shape_of(counted), "bincount: weights")
    return b.reduce("reduce_sum", b.select(hits, b.spread(given, grid, range(counted.ndim)), 0), (counted.ndim - 1,))


@public_op(weak=False)
def view(x: Any, dtype: Any = None) -> Tensor:
    """The same bits as another element type; the last dimension follows the width."""
    from ...ir.types import element_type
    from ..dtypes import standardize_dtype

    x = as_tensor(x)
    if dtype is None:
        return x
    name = standardize_dtype(dtype)
    before, after = bit_width(x.value.type.dtype), bit_width(element_type(name))
    if before == after:
        return emit("bitcast_convert", x, dtype=name)
    if not x.ndim:
        raise ShapeError(f"view: expected a tensor with a dimension, received {x!r} as {name}")
    shape = b.shape_of(x)
    if before > after:
        result = emit("bitcast_convert", x, dtype=name)
        return b.reshape(result, (*shape[:-1], shape[-1] * (before // after)))
    count = after // before
    rest = shape[-1] // count
    require_trace().require_equal(shape[-1], rest * count, f"view of {x!r} as {name}: last dimension")
    return emit("bitcast_convert", b.reshape(x, (*shape[:-1], rest, count)), dtype=name)
