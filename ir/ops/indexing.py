"""Ops: indexing. gather, scatter, sort and top_k."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..batching import indexing as batching
from ..derivatives import indexing as derivatives
from ..dims import DimLike, ge, same
from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..regions import check_region, check_region_count, fold_at, on_arrays, selected_input, simple_comparator
from ..types import BOOL, I32, TensorType, bit_width, has_ordered_bits, is_complex, is_float, is_integer, static_shape
from .checks import axes_in_range, axis_in_range, listing, one_per, operand_count


def _batch_shape(name: str, indices: TensorType, vector_dim: int) -> tuple[DimLike, ...]:
    if not is_integer(indices.dtype):
        raise DTypeError(f"{name}: indices should be integers, received {indices}")
    if not 0 <= vector_dim <= indices.rank:
        raise ArgumentError(
            f"{name}: index_vector_dim should be in [0, {indices.rank}] for indices {indices}, received {vector_dim}"
        )
    return tuple(d for i, d in enumerate(indices.shape) if i != vector_dim)


def _check_index_map(
    call: Call,
    operand: TensorType,
    indices: TensorType,
    vector_dim: int,
    mapped: Sequence[int],
    dropped: Sequence[int],
    operand_batch: Sequence[int],
    indices_batch: Sequence[int],
) -> None:
    """Check how the entries of index vectors and the batching dimensions are laid on the operand's dimensions."""
    name = call.op.name
    length = 1 if vector_dim == indices.rank else indices.shape[vector_dim]
    if same(length, len(mapped)) is not True:
        raise ShapeError(
            f"{name}: an index vector has {length} entries (dimension {vector_dim} of {indices}), "
            f"but {len(mapped)} operand dimensions are indexed: {tuple(mapped)}"
        )
    axes_in_range(call, tuple(mapped) + tuple(operand_batch), operand.rank, "indexed and batching dimensions")
    axes_in_range(call, tuple(dropped) + tuple(operand_batch), operand.rank, "dropped and batching dimensions")
    axes_in_range(call, indices_batch, indices.rank, "batching dimensions of the indices")
    if vector_dim in indices_batch or len(indices_batch) != len(operand_batch):
        raise ArgumentError(
            f"{name}: batching dimensions of the operand {tuple(operand_batch)} and of the indices "
            f"{tuple(indices_batch)} should pair up and not name index_vector_dim {vector_dim}"
        )
    for a, b in zip(operand_batch, indices_batch, strict=True):
        if same(operand.shape[a], indices.shape[b]) is not True:
            raise ShapeError(
                f"{name}: batching dimension {a} of the operand {operand} and {b} of the indices "
                f"{indices} should be equal; received {operand.shape[a]} and {indices.shape[b]}"
            )


def _infer_gather(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 2)
    x, indices = types
    batch = list(_batch_shape("gather", indices, call["index_vector_dim"]))
    collapsed, batching, sizes = call["collapsed_slice_dims"], call["operand_batching_dims"], call["slice_sizes"]
    _check_index_map(
        call,
        x,
        indices,
        call["index_vector_dim"],
        call["start_index_map"],
        collapsed,
        batching,
        call["start_indices_batching_dims"],
    )
    one_per(call, "slice_sizes", x.rank, f"dimension of {x}")
    for i, (size, dim) in enumerate(zip(sizes, x.shape, strict=True)):
        if ge(size, 0) is False or ge(dim, size) is False:
            raise ShapeError(f"gather: slice size {size} is outside [0, {dim}], the size of dimension {i} of {x}")
        if i in collapsed + batching and ge(1, size) is False:
            raise ShapeError(
                f"gather: dimension {i} is collapsed or batching, so its slice size should be at most 1, "
                f"received {size}"
            )
    window = [s for i, s in enumerate(sizes) if i not in collapsed + batching]
    offsets = call["offset_dims"]
    rank = len(batch) + len(window)
    if len(offsets) != len(window) or list(offsets) != sorted(offsets):
        raise ArgumentError(
            f"gather: offset_dims should name {len(window)} result dimensions in order, received {offsets}"
        )
    axes_in_range(call, offsets, rank, "offset_dims")
    return x.with_shape(window.pop(0) if i in offsets else batch.pop(0) for i in range(rank))


def _int64(indices: np.ndarray) -> np.ndarray:
    if indices.dtype == np.uint64:
        indices = np.minimum(indices, np.uint64(2**63 - 1))
    return indices.astype(np.int64)


def _starts(
    indices: np.ndarray,
    vector_dim: int,
    rank: int,
    mapped: Sequence[int],
    operand_batch: Sequence[int],
    indices_batch: Sequence[int],
) -> list[np.ndarray]:
    """For each operand dimension, where each slice starts: arrays of the batch shape."""
    vectors = indices[..., np.newaxis] if vector_dim == indices.ndim else np.moveaxis(indices, vector_dim, -1)
    vectors = _int64(vectors)
    batch = vectors.shape[:-1]
    starts = [np.zeros(batch, np.int64) for _ in range(rank)]
    for i, dim in enumerate(mapped):
        starts[dim] = vectors[..., i]
    for dim, where in zip(operand_batch, indices_batch, strict=True):
        axis = where - (where > vector_dim)
        shape = [1] * len(batch)
        shape[axis] = batch[axis]
        starts[dim] = np.broadcast_to(np.arange(batch[axis]).reshape(shape), batch)
    return starts


def _places(starts: Sequence[np.ndarray], window: Sequence[int], window_dims: Sequence[int]) -> tuple[np.ndarray, ...]:
    """For each operand dimension, the index of each element of each slice: broadcastable to batch + window shape."""
    places = []
    for dim, start in enumerate(starts):
        place = start.reshape(start.shape + (1,) * len(window))
        if dim in window_dims:
            axis = list(window_dims).index(dim)
            place = place + np.arange(window[axis]).reshape((-1,) + (1,) * (len(window) - axis - 1))
        places.append(place)
    return tuple(places)


def _window_last(rank: int, window_dims: Sequence[int]) -> list[int]:
    """The permutation that brings the dimensions ``window_dims`` behind the others."""
    return [i for i in range(rank) if i not in window_dims] + list(window_dims)


def _evaluate_gather(call: Call, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    batching, sizes = call["operand_batching_dims"], call["slice_sizes"]
    starts = _starts(
        indices,
        call["index_vector_dim"],
        x.ndim,
        call["start_index_map"],
        batching,
        call["start_indices_batching_dims"],
    )
    starts = [np.clip(s, 0, max(0, size - sizes[d])) for d, (s, size) in enumerate(zip(starts, x.shape, strict=True))]
    window_dims = [d for d in range(x.ndim) if d not in call["collapsed_slice_dims"] + batching]
    window = [sizes[d] for d in window_dims]
    shape = starts[0].shape if starts else _batch_sizes(indices, call["index_vector_dim"])
    if 0 in (*shape, *sizes):
        return np.zeros(static_shape(call.result_types[0]), x.dtype)
    gathered = np.broadcast_to(x[_places(starts, window, window_dims)], (*shape, *window))
    order = _window_last(gathered.ndim, call["offset_dims"])
    return gathered.transpose(np.argsort(order))


def _batch_sizes(indices: np.ndarray, vector_dim: int) -> tuple[int, ...]:
    return tuple(d for i, d in enumerate(indices.shape) if i != vector_dim)


GATHER = declare(
    OpDef(
        "gather",
        "Slices of an array at start indices, which clamp so that each slice fits (StableHLO: gather)",
        _infer_gather,
        _evaluate_gather,
        {
            "offset_dims": Attribute("ints"),
            "collapsed_slice_dims": Attribute("ints"),
            "operand_batching_dims": Attribute("ints", ()),
            "start_indices_batching_dims": Attribute("ints", ()),
            "start_index_map": Attribute("ints"),
            "index_vector_dim": Attribute("int"),
            "slice_sizes": Attribute("dims"),
            "indices_are_sorted": Attribute("bool", False),
        },
        jvp=derivatives.linear_in_first,
        transpose=derivatives.gather_transpose,
        batch=batching.gather,
    )
)


def _infer_scatter(call: Call, *types: TensorType) -> tuple[TensorType, ...]:
    if len(types) < 3 or len(types) % 2 == 0:
        raise ArgumentError(
            f"scatter: expected arrays, indices and as many updates as arrays; received {listing(types)}"
        )
    count = len(types) // 2
    xs, indices, updates = types[:count], types[count], types[count + 1 :]
    x = xs[0]
    batch = list(_batch_shape("scatter", indices, call["index_vector_dim"]))
    inserted, batching = call["inserted_window_dims"], call["input_batching_dims"]
    _check_index_map(
        call,
        x,
        indices,
        call["index_vector_dim"],
        call["scatter_dims_to_operand_dims"],
        inserted,
        batching,
        call["scatter_indices_batching_dims"],
    )
    window = [d for i, d in enumerate(x.shape) if i not in inserted + batching]
    window_dims, rank = call["update_window_dims"], len(batch) + len(window)
    if len(window_dims) != len(window) or list(window_dims) != sorted(window_dims):
        raise ArgumentError(
            f"scatter: update_window_dims should name {len(window)} dimensions of the updates in "
            f"order; received {window_dims}"
        )
    axes_in_range(call, window_dims, rank, "update_window_dims")
    for other, update in zip(xs, updates, strict=True):
        _check_update(x, other, update, updates[0], window_dims, batch, window)
    check_region_count(call, 1)
    scalars = [TensorType(o.dtype) for o in xs]
    check_region(call, 0, scalars + scalars, scalars)
    return tuple(xs)


def _check_update(
    x: TensorType,
    other: TensorType,
    update: TensorType,
    first: TensorType,
    window_dims: Sequence[int],
    batch: Sequence[DimLike],
    window: Sequence[DimLike],
) -> None:
    if other.shape != x.shape:
        raise ShapeError(f"scatter: all arrays should have the shape of the first, {x}; received {other}")
    if update.dtype != other.dtype:
        raise DTypeError(f"scatter: updates {update} should have the element type of their array {other}")
    rank = len(batch) + len(window)
    received = [d for i, d in enumerate(update.shape) if i not in window_dims]
    if update.rank != rank or update.shape != first.shape or received != list(batch):
        raise ShapeError(
            f"scatter: updates should have rank {rank}, with the dimensions "
            f"({', '.join(map(str, batch))}) of the indices beside the window dimensions "
            f"{tuple(window_dims)}; received {update}"
        )
    for dim, size in zip(window_dims, window, strict=True):
        if ge(size, update.shape[dim]) is False:
            raise ShapeError(
                f"scatter: dimension {dim} of the updates {update} is a window in an array {x} and should "
                f"be at most {size}"
            )


def _evaluate_scatter(call: Call, *operands: np.ndarray) -> tuple[np.ndarray, ...]:
    count = len(operands) // 2
    indices, updates = operands[count], operands[count + 1 :]
    results = [np.array(x, order="C") for x in operands[:count]]  # updated in place as flat arrays
    shape = results[0].shape
    inserted = call["inserted_window_dims"] + call["input_batching_dims"]
    window_dims = [d for d in range(len(shape)) if d not in inserted]
    order = _window_last(updates[0].ndim, call["update_window_dims"])
    values = [u.transpose(order) for u in updates]
    window = [updates[0].shape[d] for d in call["update_window_dims"]]
    if values[0].size == 0 or results[0].size == 0:
        return tuple(results)
    starts = _starts(
        indices,
        call["index_vector_dim"],
        len(shape),
        call["scatter_dims_to_operand_dims"],
        call["input_batching_dims"],
        call["scatter_indices_batching_dims"],
    )
    sizes = {d: window[i] for i, d in enumerate(window_dims)}
    fits = np.ones(values[0].shape[: values[0].ndim - len(window)], np.bool_)
    for dim, start in enumerate(starts):  # a window that is not wholly inside is dropped whole, as XLA does
        fits &= (start >= 0) & (start <= shape[dim] - sizes.get(dim, 1))
    fits = np.broadcast_to(fits.reshape(fits.shape + (1,) * len(window)), values[0].shape)
    places = [np.broadcast_to(p, values[0].shape)[fits] for p in _places(starts, window, window_dims)]
    linear = np.ravel_multi_index(places, shape) if places else np.zeros(int(fits.sum()), np.int64)
    _apply_updates(call, [r.reshape(-1) for r in results], linear, [v[fits] for v in values])
    return tuple(results)


def _apply_updates(call: Call, flat: Sequence[np.ndarray], linear: np.ndarray, values: Sequence[np.ndarray]) -> None:
    """Apply updates to places of flat arrays, in place; those to the same place in order, one round for each."""
    replaced = selected_input(call.regions[0])
    if len(flat) == 1 and replaced is not None:
        if replaced == 1:
            flat[0][linear] = values[0]
        return
    fold_at(on_arrays(call), flat, linear, values)


SCATTER = declare(
    OpDef(
        "scatter",
        "Combine updates into slices of arrays with a region, in order; slices not wholly inside are dropped "
        "(StableHLO: scatter; XLA for the slices that stick out)",
        _infer_scatter,
        _evaluate_scatter,
        {
            "update_window_dims": Attribute("ints"),
            "inserted_window_dims": Attribute("ints"),
            "input_batching_dims": Attribute("ints", ()),
            "scatter_indices_batching_dims": Attribute("ints", ()),
            "scatter_dims_to_operand_dims": Attribute("ints"),
            "index_vector_dim": Attribute("int"),
            "indices_are_sorted": Attribute("bool", False),
            "unique_indices": Attribute("bool", False),
        },
        regions=("body",),
        jvp=derivatives.scatter_jvp,
        transpose=derivatives.scatter_transpose,
        batch=batching.scatter,
    )
)


def _infer_sort(call: Call, *types: TensorType) -> tuple[TensorType, ...]:
    if not types:
        raise ArgumentError("sort: expected at least one array, received none")
    for x in types:
        if x.shape != types[0].shape:
            raise ShapeError(f"sort: all arrays should have the shape of the first, {types[0]}; received {x}")
    axis_in_range(call, call["axis"], types[0].rank)
    check_region_count(call, 1)
    check_region(call, 0, [TensorType(t.dtype) for t in types for _ in range(2)], [TensorType(BOOL)])
    return types


def _evaluate_sort(call: Call, *xs: np.ndarray) -> tuple[np.ndarray, ...]:
    rows = [np.moveaxis(x, call["axis"], -1) for x in xs]
    known = simple_comparator(call.regions[0])
    if known is not None and not is_complex(xs[known[0]].dtype):
        key, direction, total_order = known
        order = np.argsort(sort_keys(rows[key], direction == "GT", total_order), axis=-1, kind="stable")
    else:
        order = _exchange_sort(on_arrays(call), rows)
    return tuple(np.moveaxis(np.take_along_axis(r, order, -1), -1, call["axis"]) for r in rows)


def sort_keys(x: np.ndarray, descending: bool, total_order: bool) -> np.ndarray:
    """Integers whose ascending order is the order of ``x``.

    Floats: -0 equals 0 and NaN comes last in either direction; in the total order the bits decide, so that
    -NaN < -inf < -0 < 0 < inf < NaN.
    """
    if not is_float(x.dtype):
        if x.dtype.kind not in "iu":  # bool and the 4-bit types
            x = x.astype(np.int8)
        return ~x if descending else x
    if not has_ordered_bits(x.dtype):
        x = x.astype(np.float32)
    signed = np.dtype(f"int{bit_width(x.dtype)}")
    bits = np.ascontiguousarray(x).view(signed)
    largest = np.iinfo(signed).max
    keys = np.where(bits < 0, bits ^ largest, bits)
    if not total_order:
        keys = np.where(x == 0, signed.type(0), keys)
    keys = ~keys if descending else keys
    return keys if total_order else np.where(np.isnan(x), largest, keys)


def _exchange_sort(before: Callable[..., tuple[np.ndarray, ...]], rows: Sequence[np.ndarray]) -> np.ndarray:
    """The stable order of the last axis under any comparator, by odd-even exchange of neighbours, all rows at once."""
    length = rows[0].shape[-1]
    order = np.broadcast_to(np.arange(length), rows[0].shape).copy()
    quiet = 0
    for turn in range(2 * length):
        left, right = order[..., turn % 2 : length - 1 : 2], order[..., turn % 2 + 1 :: 2]
        pairs = [np.take_along_axis(r, side, -1) for r in rows for side in (right, left)]
        swap = before(*pairs)[0].astype(np.bool_)
        quiet = 0 if swap.any() else quiet + 1
        if quiet == 2:
            break
        first, second = np.where(swap, right, left), np.where(swap, left, right)
        order[..., turn % 2 : length - 1 : 2], order[..., turn % 2 + 1 :: 2] = first, second
    return order


SORT = declare(
    OpDef(
        "sort",
        "Sort arrays together along an axis by a comparator region; always stable here (StableHLO: sort)",
        _infer_sort,
        _evaluate_sort,
        {"axis": Attribute("int"), "stable": Attribute("bool", True)},
        regions=("comparator",),
        jvp=derivatives.sort_jvp,
        batch=batching.along_axis,
    )
)


def _infer_top_k(call: Call, *types: TensorType) -> tuple[TensorType, TensorType]:
    operand_count(call, types, 1)
    x = types[0]
    if x.rank == 0 or call["k"] < 0 or ge(x.shape[-1], call["k"]) is False:
        raise ShapeError(
            f"top_k: k should be between 0 and the size of the last dimension; received k={call['k']} for {x}"
        )
    if is_complex(x.dtype):
        raise DTypeError(f"top_k: complex numbers have no order; received {x}")
    shape = (*x.shape[:-1], call["k"])
    return x.with_shape(shape), TensorType(I32, shape)


def _evaluate_top_k(call: Call, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(sort_keys(x, True, True), axis=-1, kind="stable")[..., : call["k"]]
    return np.take_along_axis(x, order, -1), order.astype(np.int32)


TOP_K = declare(
    OpDef(
        "top_k",
        "The k largest of the last axis, descending, and their indices; equal ones by index; floats in total order, so "
        "that NaN is largest (CHLO: top_k, as XLA has it)",
        _infer_top_k,
        _evaluate_top_k,
        {"k": Attribute("int")},
        jvp=derivatives.top_k_jvp,
        batch=batching.elementwise,
    )
)
