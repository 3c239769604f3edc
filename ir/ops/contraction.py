"""Ops that multiply and sum: dot_general and convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..batching import contraction as batching
from ..derivatives import contraction as derivatives
from ..dims import DimLike
from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..types import BOOL, F32, TensorType, is_complex, is_float, is_integer, short_name
from .checks import at_least, axes_in_range, dilated, dilated_size, listing, one_per, operand_count, same_dtype
from .numerics import narrow
from .shape import pad_array

_PRECISIONS = ("default", "high", "highest")


def _result_dtype(call: Call, x: TensorType) -> np.dtype:
    """The result's element type: the attribute, if there is one and the operands convert to it."""
    if call["precision"] not in _PRECISIONS:
        raise ArgumentError(
            f"{call.op.name}: expected precision {', '.join(_PRECISIONS)}; received {call['precision']!r}"
        )
    dtype = call["dtype"] or x.dtype
    kinds = (is_integer, is_float, is_complex, lambda t: t == BOOL)
    if not any(kind(dtype) and kind(x.dtype) for kind in kinds):
        raise DTypeError(
            f"{call.op.name}: expected a result type of the operands' kind, {short_name(x.dtype)}; "
            f"received {short_name(dtype)}"
        )
    return dtype


def _accumulator(operand: np.dtype, result: np.dtype) -> np.dtype:
    """The type that products are summed in: float32 at least, and 64 bits (which wrap) for integers."""
    if is_integer(result) or result == BOOL:
        return np.dtype(np.int64)
    if is_complex(result):
        return np.promote_types(operand, result)
    return F32 if operand.itemsize <= 4 and result.itemsize <= 4 else np.dtype(np.float64)


@np.errstate(all="ignore")
def _matmul(a: np.ndarray, b: np.ndarray, result: np.dtype) -> np.ndarray:
    """``[g,m,k] @ [g,k,n]`` in the accumulator's type, rounded (or wrapped) to ``result``."""
    inner = _accumulator(a.dtype, result)
    product = np.matmul(a.astype(inner), b.astype(inner))
    return product != 0 if result == BOOL else narrow(product, result)


# dot_general


def _free(rank: int, *taken: Sequence[int]) -> list[int]:
    return [i for i in range(rank) if not any(i in axes for axes in taken)]


def _infer_dot(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 2)
    left, right = types
    same_dtype(call, *types)
    for side, type_ in (("lhs", left), ("rhs", right)):
        axes = call[f"{side}_batch"] + call[f"{side}_contract"]
        axes_in_range(call, axes, type_.rank, f"{side}_batch and {side}_contract")
    for kind in ("batch", "contract"):
        ours, theirs = call[f"lhs_{kind}"], call[f"rhs_{kind}"]
        if len(ours) != len(theirs):
            raise ArgumentError(f"dot_general: expected as many lhs_{kind} as rhs_{kind}, received {ours} and {theirs}")
        for i, j in zip(ours, theirs):
            if left.shape[i] != right.shape[j]:
                raise ShapeError(
                    f"dot_general: expected equal sizes in the {kind} dimensions, axis {i} of {left} is "
                    f"{left.shape[i]} and axis {j} of {right} is {right.shape[j]}"
                )
    batch = [left.shape[i] for i in call["lhs_batch"]]
    left_free = [left.shape[i] for i in _free(left.rank, call["lhs_batch"], call["lhs_contract"])]
    right_free = [right.shape[i] for i in _free(right.rank, call["rhs_batch"], call["rhs_contract"])]
    return TensorType(_result_dtype(call, left), batch + left_free + right_free)


def _dot(call: Call, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    batch, other_batch = call["lhs_batch"], call["rhs_batch"]
    contract, other_contract = call["lhs_contract"], call["rhs_contract"]
    free, other_free = _free(left.ndim, batch, contract), _free(right.ndim, other_batch, other_contract)
    sizes = [[left.shape[i] for i in axes] for axes in (batch, free, contract)]
    other_sizes = [right.shape[i] for i in other_free]
    g, m, k = map(math.prod, sizes)
    n = math.prod(other_sizes)
    a = left.transpose(*batch, *free, *contract).reshape(g, m, k)
    b = right.transpose(*other_batch, *other_contract, *other_free).reshape(g, k, n)
    return _matmul(a, b, call["dtype"] or left.dtype).reshape((*sizes[0], *sizes[1], *other_sizes))


declare(
    OpDef(
        "dot_general",
        "Sums of products over the contracted dimensions, for each batch (StableHLO spec, dot_general)",
        _infer_dot,
        _dot,
        {
            "lhs_batch": Attribute("ints", ()),
            "rhs_batch": Attribute("ints", ()),
            "lhs_contract": Attribute("ints"),
            "rhs_contract": Attribute("ints"),
            "dtype": Attribute("dtype?", None),
            "precision": Attribute("str", "default"),
        },
        batch=batching.dot_general,
        jvp=derivatives.bilinear,
        transpose=derivatives.dot_general_transpose,
    )
)


# convolution


def _infer_convolution(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 2)
    x, w = types
    same_dtype(call, *types)
    if x.rank < 2 or w.rank != x.rank:
        raise ShapeError(f"convolution: expected an input and a kernel of one rank >= 2, received {listing(types)}")
    for name in ("lhs_spec", "rhs_spec", "out_spec"):
        if sorted(call[name]) != list(range(x.rank)):
            raise ArgumentError(f"convolution: expected {name} a permutation of 0..{x.rank - 1}, received {call[name]}")
    for name in ("strides", "lhs_dilation", "rhs_dilation", "padding"):
        one_per(call, name, x.rank - 2, f"spatial dimension of {x}")
    for name in ("strides", "lhs_dilation", "rhs_dilation"):
        at_least(call, name, 1)
    if call["reversal"] is not None:
        one_per(call, "reversal", x.rank - 2, f"spatial dimension of {x}")
    batch, features = (x.shape[i] for i in call["lhs_spec"][:2])
    out_features, in_features = (w.shape[i] for i in call["rhs_spec"][:2])
    _check_groups(call, types, batch, features, out_features, in_features)
    sizes = [batch // call["batch_groups"], out_features]
    sizes += [
        conv_size(x.shape[i], w.shape[j], *rest)
        for i, j, *rest in zip(
            call["lhs_spec"][2:],
            call["rhs_spec"][2:],
            call["strides"],
            call["padding"],
            call["lhs_dilation"],
            call["rhs_dilation"],
        )
    ]
    shape: list[DimLike] = [0] * x.rank
    for axis, size in zip(call["out_spec"], sizes):
        shape[axis] = size
    return TensorType(_result_dtype(call, x), shape)


def _check_groups(
    call: Call,
    types: Sequence[TensorType],
    batch: DimLike,
    features: DimLike,
    out_features: DimLike,
    in_features: DimLike,
) -> None:
    groups, batch_groups = call["feature_groups"], call["batch_groups"]
    if groups < 1 or batch_groups < 1 or (groups > 1 and batch_groups > 1):
        raise ArgumentError(
            "convolution: expected feature_groups and batch_groups >= 1, one of them 1; "
            f"received {groups} and {batch_groups}"
        )
    if features != in_features * groups:
        raise ShapeError(
            f"convolution: {types[0]} has {features} features and the kernel {types[1]} takes {in_features} "
            f"in each of {groups} groups; expected {in_features * groups} features (specs "
            f"{call['lhs_spec']}, {call['rhs_spec']})"
        )
    for what, size, count in (
        ("output features", out_features, groups),
        ("output features", out_features, batch_groups),
        ("batch", batch, batch_groups),
    ):
        if isinstance(size, int) and size % count:
            raise ShapeError(
                f"convolution: expected a number of {what} that {count} groups divide, received {size} in "
                f"{listing(types)}"
            )


def conv_size(
    size: DimLike,
    window: DimLike,
    stride: int,
    padding: tuple[DimLike, DimLike],
    base_dilation: int = 1,
    window_dilation: int = 1,
) -> DimLike:
    """Number of places that a window takes; a static number is clamped to 0 where the window is too large."""
    room = dilated(size, base_dilation) + padding[0] + padding[1] - dilated(window, window_dilation)
    count = room // stride + 1
    return max(count, 0) if isinstance(count, int) else count


def _convolution(call: Call, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Collect the windows (im2col), then one product of matrices for each group."""
    result = call["dtype"] or x.dtype
    groups, batch_groups = call["feature_groups"], call["batch_groups"]
    windows = _windows(call, x.transpose(call["lhs_spec"]), w.shape)  # [batch, features, *out, *kernel]
    w = w.transpose(call["rhs_spec"])
    if call["reversal"] is not None:
        w = np.flip(w, tuple(i + 2 for i, reverse in enumerate(call["reversal"]) if reverse))
    spatial = x.ndim - 2
    batch, out, kernel = x.shape[call["lhs_spec"][0]], windows.shape[2 : 2 + spatial], w.shape[1:]
    together = groups * batch_groups  # one of them is 1
    if batch_groups > 1:
        windows = windows.reshape(batch_groups, batch // batch_groups, *windows.shape[1:])
    else:
        windows = np.moveaxis(windows.reshape(batch, groups, kernel[0], *windows.shape[2:]), 1, 0)
    batch //= batch_groups
    # [g, batch, features, *out, *kernel] -> [g, batch, *out, features, *kernel]
    columns = np.moveaxis(windows, 2, 2 + spatial).reshape(together, batch * math.prod(out), math.prod(kernel))
    features = w.shape[0]
    matrices = w.reshape(together, features // together, math.prod(kernel)).transpose(0, 2, 1)
    product = _matmul(columns, matrices, result).reshape(together, batch, *out, features // together)
    product = np.moveaxis(np.moveaxis(product, 0, -2).reshape(batch, *out, features), -1, 1)
    return product.transpose(np.argsort(call["out_spec"]).tolist())


def _windows(call: Call, x: np.ndarray, kernel_shape: Sequence[int]) -> np.ndarray:
    """``[batch, features, *out, *kernel]``: the input elements under each place of the kernel."""
    low, high = [0, 0], [0, 0]
    for before, after in call["padding"]:
        low.append(before)
        high.append(after)
    sizes = [kernel_shape[i] for i in call["rhs_spec"][2:]]
    out = [
        conv_size(n, k, *rest)
        for n, k, *rest in zip(
            x.shape[2:], sizes, call["strides"], call["padding"], call["lhs_dilation"], call["rhs_dilation"]
        )
    ]
    if 0 in out or 0 in sizes:
        return np.zeros((*x.shape[:2], *out, *sizes), x.dtype)
    x = pad_array(x, 0, low, high, [0, 0, *(d - 1 for d in call["lhs_dilation"])])
    spans = [dilated_size(k, d) for k, d in zip(sizes, call["rhs_dilation"])]
    axes = tuple(range(2, x.ndim))
    views = np.lib.stride_tricks.sliding_window_view(x, spans, axes) if axes else x
    places = [slice(None, None, s) for s in call["strides"]]
    taps = [slice(None, None, d) for d in call["rhs_dilation"]]
    return views[(slice(None), slice(None), *places, *taps)]


declare(
    OpDef(
        "convolution",
        "Sums of products of the kernel and the input under it (StableHLO spec, convolution)",
        _infer_convolution,
        _convolution,
        {
            "strides": Attribute("ints"),
            "padding": Attribute("pairs"),
            "lhs_dilation": Attribute("ints"),
            "rhs_dilation": Attribute("ints"),
            "lhs_spec": Attribute("ints"),
            "rhs_spec": Attribute("ints"),
            "out_spec": Attribute("ints"),
            "feature_groups": Attribute("int", 1),
            "batch_groups": Attribute("int", 1),
            "precision": Attribute("str", "default"),
            "dtype": Attribute("dtype?", None),
            "reversal": Attribute("any", None),
        },
        batch=batching.convolution,
        jvp=derivatives.bilinear,
        transpose=derivatives.convolution_transpose,
    )
)
