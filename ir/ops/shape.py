"""Ops that make, move and cut elements without computing on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..batching import shape as batching
from ..derivatives import rules
from ..derivatives import shape as derivatives
from ..dims import Dim, DimLike, ge, same
from ..errors import ArgumentError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..types import I32, TensorType
from .checks import (
    allowed_types,
    at_least,
    axes_in_range,
    axis_in_range,
    dilated,
    dilated_size,
    listing,
    one_per,
    operand_count,
    same_dtype,
    scalar_integers,
)


def _shape_op(
    name: str,
    meaning: str,
    infer: Any,
    evaluate: Any,
    *,
    jvp: Any = derivatives.linear,
    transpose: Any = None,
    batch: Any = batching.elementwise,
    **attributes: Attribute,
) -> OpDef:
    return declare(OpDef(name, meaning, infer, evaluate, attributes, jvp=jvp, transpose=transpose, batch=batch))


def _not_negative(call: Call, shape: Sequence[DimLike]) -> None:
    if any(ge(d, 0) is False for d in shape):
        raise ShapeError(f"{call.op.name}: expected dimensions >= 0, received {shape}")


# constant, iota, dim_value: nothing in, a tensor out.


def _infer_constant(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 0)
    return TensorType(call["value"].dtype, call["value"].shape)


def _infer_iota(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 0)
    _not_negative(call, call["shape"])
    result = TensorType(call["dtype"], call["shape"])
    allowed_types(call, result, "ifc", "result")
    axis_in_range(call, call["axis"], result.rank)
    return result


def _iota(call: Call) -> np.ndarray:
    shape, axis = call["shape"], call["axis"]
    along = np.arange(shape[axis]).astype(call["dtype"])
    return np.broadcast_to(along.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


def _infer_dim_value(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 0)
    result = TensorType(call["dtype"])
    allowed_types(call, result, "if", "result")
    return result


def _dim_value(call: Call) -> np.ndarray:
    if isinstance(call["dim"], Dim):
        raise ArgumentError(f"dim_value: the value of {call['dim']} is not known; give its symbols through `dims`")
    return np.array(call["dim"]).astype(call["dtype"])


_shape_op(
    "constant",
    "The array `value` (StableHLO spec, constant)",
    _infer_constant,
    lambda call: call["value"],
    value=Attribute("array"),
    jvp=rules.constant,
)
_shape_op(
    "iota",
    "0, 1, 2, ... along `axis` (StableHLO spec, iota)",
    _infer_iota,
    _iota,
    dtype=Attribute("dtype"),
    shape=Attribute("dims"),
    axis=Attribute("int"),
    jvp=rules.constant,
)
_shape_op(
    "dim_value",
    "The value of a dimension as a scalar (StableHLO spec, get_dimension_size)",
    _infer_dim_value,
    _dim_value,
    dim=Attribute("dim"),
    dtype=Attribute("dtype", I32),
    jvp=rules.constant,
)


# reshape, transpose, broadcast_in_dim, match_shape, reverse: the same elements elsewhere.


def _infer_reshape(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    _not_negative(call, call["shape"])
    result = TensorType(types[0].dtype, call["shape"])
    if same(types[0].size, result.size) is False:
        raise ShapeError(
            f"reshape: {types[0]} has {types[0].size} elements, the shape {_text(call['shape'])} has "
            f"{result.size}; expected equal numbers"
        )
    return result


def _reshape(call: Call, x: np.ndarray) -> np.ndarray:
    if math.prod(call["shape"]) != x.size:
        raise ShapeError(
            f"reshape: expected {math.prod(call['shape'])} elements for {_text(call['shape'])}, "
            f"received {x.size}, shape {_text(x.shape)}"
        )
    return x.reshape(call["shape"])


def _infer_transpose(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    (x,), permutation = types, call["permutation"]
    if sorted(permutation) != list(range(x.rank)):
        raise ArgumentError(f"transpose: expected a permutation of 0..{x.rank - 1} for {x}, received {permutation}")
    return TensorType(x.dtype, [x.shape[i] for i in permutation])


def _infer_broadcast(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    (x,), shape, dims = types, call["shape"], call["dims"]
    _not_negative(call, shape)
    one_per(call, "dims", x.rank, f"dimension of {x}")
    axes_in_range(call, dims, len(shape), "dims")
    for axis, (size, target) in enumerate(zip(x.shape, dims)):
        if size != 1 and size != shape[target]:
            mend = "" if same(size, shape[target]) is False else "; assert that they are equal with match_shape"
            raise ShapeError(
                f"broadcast_in_dim: axis {axis} of {x} goes to axis {target} of {_text(shape)}; expected size 1 or "
                f"{shape[target]}, received {size}{mend}"
            )
    return TensorType(x.dtype, shape)


def _broadcast(call: Call, x: np.ndarray) -> np.ndarray:
    shape, dims = call["shape"], call["dims"]
    aligned = [1] * len(shape)
    for size, target in zip(x.shape, dims):
        aligned[target] = size
    return np.broadcast_to(x.transpose(np.argsort(dims).tolist()).reshape(aligned), shape)


def _infer_match_shape(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    (x,), shape = types, call["shape"]
    if x.rank != len(shape) or any(same(a, b) is False for a, b in zip(x.shape, shape)):
        raise ShapeError(f"match_shape: {x} cannot have the shape {_text(shape)}")
    return TensorType(x.dtype, shape)


def _match_shape(call: Call, x: np.ndarray) -> np.ndarray:
    if x.shape != call["shape"]:
        raise ShapeError(f"match_shape: expected shape {_text(call['shape'])}, received {_text(x.shape)}")
    return x


def _infer_reverse(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    axes_in_range(call, call["axes"], types[0].rank)
    return types[0]


def _text(shape: Sequence[DimLike]) -> str:
    return f"[{','.join(map(str, shape))}]"


_shape_op(
    "reshape",
    "The same elements in row-major order under another shape (StableHLO spec, reshape)",
    _infer_reshape,
    _reshape,
    shape=Attribute("dims"),
    transpose=derivatives.reshape_transpose,
    batch=batching.reshape,
)
_shape_op(
    "transpose",
    "Result axis i is operand axis permutation[i] (StableHLO spec, transpose)",
    _infer_transpose,
    lambda call, x: x.transpose(call["permutation"]),
    permutation=Attribute("ints"),
    transpose=derivatives.transpose_transpose,
    batch=batching.transpose,
)
_shape_op(
    "broadcast_in_dim",
    "Operand axis i becomes result axis dims[i]; size 1 stretches (StableHLO spec, broadcast_in_dim)",
    _infer_broadcast,
    _broadcast,
    shape=Attribute("dims"),
    dims=Attribute("ints"),
    transpose=derivatives.broadcast_in_dim_transpose,
    batch=batching.broadcast_in_dim,
)
_shape_op(
    "match_shape",
    "The operand, asserted to have `shape` (StableHLO spec, reshape, of equal sizes)",
    _infer_match_shape,
    _match_shape,
    shape=Attribute("dims"),
    transpose=derivatives.match_shape_transpose,
    batch=batching.reshape,
)
_shape_op(
    "reverse",
    "The order of elements along `axes` reversed (StableHLO spec, reverse)",
    _infer_reverse,
    lambda call, x: np.flip(x, call["axes"]),
    axes=Attribute("ints"),
    transpose=derivatives.reverse_transpose,
    batch=batching.reverse,
)


# slice, pad, concatenate, dynamic_slice, dynamic_update_slice: parts of a tensor.


def _infer_slice(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    (x,), start, limit, strides = types, call["start"], call["limit"], call["strides"]
    for name in ("start", "limit", "strides"):
        one_per(call, name, x.rank, f"dimension of {x}")
    at_least(call, "strides", 1)
    for axis, (low, high, size) in enumerate(zip(start, limit, x.shape)):
        if ge(low, 0) is False or ge(high, low) is False or ge(size, high) is False:
            raise ArgumentError(
                f"slice: expected 0 <= start <= limit <= {size} along axis {axis} of {x}, "
                f"received start {low}, limit {high}"
            )
    return TensorType(x.dtype, [(high - low + step - 1) // step for low, high, step in zip(start, limit, strides)])


def _slice(call: Call, x: np.ndarray) -> np.ndarray:
    for low, high, size in zip(call["start"], call["limit"], x.shape):
        if not 0 <= low <= high <= size:
            raise ArgumentError(f"slice: expected 0 <= start <= limit <= {size}, received start {low}, limit {high}")
    return x[tuple(map(slice, call["start"], call["limit"], call["strides"]))]


def _infer_pad(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 2)
    x, value = types
    same_dtype(call, *types)
    if value.rank:
        raise ShapeError(f"pad: expected a scalar padding value, received {value}")
    for name in ("low", "high", "interior"):
        one_per(call, name, x.rank, f"dimension of {x}")
    at_least(call, "interior", 0)
    shape = [
        low + dilated(size, interior + 1) + high
        for size, low, high, interior in zip(x.shape, call["low"], call["high"], call["interior"])
    ]
    if any(ge(d, 0) is False for d in shape):
        raise ShapeError(
            f"pad: {x} with low {call['low']}, high {call['high']} would have the shape {_text(shape)}; "
            "expected dimensions >= 0"
        )
    return TensorType(x.dtype, shape)


def pad_array(
    x: np.ndarray, value: Any, low: Sequence[int], high: Sequence[int], interior: Sequence[int]
) -> np.ndarray:
    """StableHLO's pad in NumPy: ``interior`` elements between neighbours, edges added or (negative) cut off."""
    stretched = [dilated_size(size, gap + 1) for size, gap in zip(x.shape, interior)]
    result = np.full([max(lo, 0) + n + max(hi, 0) for lo, n, hi in zip(low, stretched, high)], value, x.dtype)
    result[tuple(slice(max(lo, 0), max(lo, 0) + n, gap + 1) for lo, n, gap in zip(low, stretched, interior))] = x
    return result[tuple(slice(max(-lo, 0), size - max(-hi, 0)) for lo, hi, size in zip(low, high, result.shape))]


def _infer_concatenate(call: Call, *types: TensorType) -> TensorType:
    if not types:
        raise ArgumentError("concatenate takes one operand or more, received none")
    same_dtype(call, *types)
    axis = call["axis"]
    axis_in_range(call, axis, types[0].rank)
    total: DimLike = 0
    for t in types:
        if t.rank != types[0].rank or any(a != b for i, (a, b) in enumerate(zip(t.shape, types[0].shape)) if i != axis):
            raise ShapeError(
                f"concatenate: expected shapes equal in all dimensions but axis {axis}, received {listing(types)}"
            )
        total = total + t.shape[axis]
    return TensorType(types[0].dtype, [total if i == axis else d for i, d in enumerate(types[0].shape)])


def _check_window(call: Call, x: TensorType, sizes: Sequence[DimLike], starts: Sequence[TensorType]) -> None:
    if len(starts) != x.rank or len(sizes) != x.rank:
        raise ArgumentError(
            f"{call.op.name}: expected {x.rank} start indices and {x.rank} sizes for {x}, received "
            f"{len(starts)} and {len(sizes)}"
        )
    scalar_integers(call, starts, "start indices")
    for axis, (size, whole) in enumerate(zip(sizes, x.shape)):
        if ge(size, 0) is False or ge(whole, size) is False:
            raise ShapeError(f"{call.op.name}: expected a size in 0..{whole} along axis {axis} of {x}, received {size}")


def _infer_dynamic_slice(call: Call, *types: TensorType) -> TensorType:
    if not types:
        raise ArgumentError("dynamic_slice takes an operand and its start indices, received none")
    _check_window(call, types[0], call["sizes"], types[1:])
    return TensorType(types[0].dtype, call["sizes"])


def _infer_dynamic_update_slice(call: Call, *types: TensorType) -> TensorType:
    if len(types) < 2:
        raise ArgumentError(
            f"dynamic_update_slice takes an operand, an update and start indices, received {listing(types)}"
        )
    same_dtype(call, *types[:2])
    _check_window(call, types[0], types[1].shape, types[2:])
    return types[0]


def _window(x: np.ndarray, sizes: Sequence[int], starts: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """The window of ``sizes`` at ``starts``, moved inside ``x`` where it sticks out."""
    if any(size > whole for size, whole in zip(sizes, x.shape)):
        raise ShapeError(f"expected a window no larger than {_text(x.shape)}, received {_text(sizes)}")
    places = [min(max(int(start), 0), whole - size) for start, size, whole in zip(starts, sizes, x.shape)]
    return tuple(slice(place, place + size) for place, size in zip(places, sizes))


def _dynamic_update_slice(call: Call, x: np.ndarray, update: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    result = x.copy()
    result[_window(x, update.shape, starts)] = update
    return result


_shape_op(
    "slice",
    "Elements start, start+stride, ... below limit (StableHLO spec, slice)",
    _infer_slice,
    _slice,
    start=Attribute("dims"),
    limit=Attribute("dims"),
    strides=Attribute("ints"),
    transpose=derivatives.slice_transpose,
    batch=batching.slice_,
)
_shape_op(
    "pad",
    "Padding at the edges (negative: cut off) and between elements (StableHLO spec, pad)",
    _infer_pad,
    lambda call, x, value: pad_array(x, value, call["low"], call["high"], call["interior"]),
    low=Attribute("dims"),
    high=Attribute("dims"),
    interior=Attribute("ints"),
    transpose=derivatives.pad_transpose,
    batch=batching.pad,
)
_shape_op(
    "concatenate",
    "Operands one after another along `axis` (StableHLO spec, concatenate)",
    _infer_concatenate,
    lambda call, *xs: np.concatenate(xs, call["axis"]),
    axis=Attribute("int"),
    transpose=derivatives.concatenate_transpose,
    batch=batching.concatenate,
)
_shape_op(
    "dynamic_slice",
    "The window of `sizes` at the starts, clamped into the operand (StableHLO spec, dynamic_slice)",
    _infer_dynamic_slice,
    lambda call, x, *starts: x[_window(x, call["sizes"], starts)],
    sizes=Attribute("dims"),
    jvp=derivatives.linear_in_first,
    transpose=derivatives.dynamic_slice_transpose,
    batch=batching.dynamic_slice,
)
_shape_op(
    "dynamic_update_slice",
    "The operand with the window at the (clamped) starts replaced (StableHLO spec, dynamic_update_slice)",
    _infer_dynamic_update_slice,
    _dynamic_update_slice,
    jvp=derivatives.dynamic_update_slice,
    transpose=derivatives.dynamic_update_slice_transpose,
    batch=batching.dynamic_update_slice,
)
