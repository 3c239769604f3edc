"""Normalization, losses, encodings and attention."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from ..convert import (
    as_tensor,
    broadcast,
    cast,
    dtype_of,
    emit,
    match_shape,
    normalize_axes,
    normalize_axis,
    promote,
    promoted,
)
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..dtypes import epsilon as default_epsilon
from ..dtypes import standardize_dtype
from ..tensor import Tensor
from . import building as b

# Normalization.


@public_op(weak=False)
def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Tensor:
    """``(x - mean) / sqrt(variance + epsilon) * scale + offset`` with statistics for each index of ``axis``."""
    given = [t for t in (mean, variance, scale, offset) if t is not None]
    x = as_tensor(x, promoted(dtype_of(x), *map(dtype_of, given), float))
    place = normalize_axis(b.int_arg(axis, "batch_normalization", "axis"), x.ndim)
    weights = [_vector(t, x, (place,), "batch_normalization") for t in given]
    return emit(
        "batch_norm", x, *weights, axis=place, epsilon=epsilon, scale=scale is not None, center=offset is not None
    )


def _vector(weight: Any, x: Tensor, axes: tuple[int, ...], op: str) -> Tensor:
    """A weight in the shape of the axes of ``x`` that it belongs to."""
    tensor = as_tensor(weight, x.dtype)
    shape = [b.shape_of(x)[a] for a in axes]
    if tensor.ndim == x.ndim and tensor.ndim != len(shape):
        sizes = b.shape_of(tensor)
        if any(d != 1 for i, d in enumerate(sizes) if i not in axes):
            raise ShapeError(f"{op}: expected weights for axes {axes} of {x!r}, received {tensor!r}")
        tensor = b.reshape(tensor, [sizes[a] for a in axes])
    if tensor.ndim < len(shape):
        return stretch(tensor, shape)
    return match_shape(tensor, shape, f"{op}: weights for axes {axes} of {b.text(b.shape_of(x))}")


@public_op(weak=False)
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Any = -1, epsilon: float | None = None, **kwargs: Any
) -> Tensor:
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, mean and variance over ``axis`` (one or several)."""
    scaling = kwargs.pop("rms_scaling", False)
    if kwargs:
        raise ArgumentError(f"layer_normalization has no argument {next(iter(kwargs))!r}")
    x = b.as_float(x)
    axes = normalize_axes(axis, x.ndim)
    rate = default_epsilon() if epsilon is None else epsilon
    if scaling:  # as old Keras files ask for it: scaled by the variance, not shifted
        return _variance_scaled(x, gamma, axes, rate)
    weights = [_vector(t, x, axes, "layer_normalization") for t in (gamma, beta) if t is not None]
    return emit("layer_norm", x, *weights, axes=axes, epsilon=rate, scale=gamma is not None, center=beta is not None)


def _variance_scaled(x: Tensor, gamma: Any, axes: tuple[int, ...], rate: float) -> Tensor:
    inner = cast(x, "float32") if x.dtype in ("float16", "bfloat16") else x
    inverse = emit("rsqrt", b.add(b.reduce("reduce_variance", inner, axes, True), rate))
    result = emit("multiply", inner, stretch(inverse, b.shape_of(x)))
    if gamma is not None:
        result = emit(
            "multiply", result, b.spread(_vector(gamma, inner, axes, "layer_normalization"), b.shape_of(x), axes)
        )
    return cast(result, x.dtype)


@public_op(weak=False)
def rms_normalization(x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None) -> Tensor:
    """``x / sqrt(mean(x * x) + epsilon) * scale``, the mean over ``axis`` (one or several)."""
    x = b.as_float(x)
    x = b.reshape(x, (1,)) if not x.ndim else x
    axes = normalize_axes(axis, x.ndim)
    weights = [] if scale is None else [_vector(scale, x, axes, "rms_normalization")]
    return emit(
        "rms_norm",
        x,
        *weights,
        axes=axes,
        epsilon=default_epsilon() if epsilon is None else epsilon,
        scale=scale is not None,
    )


@public_op(weak=False)
def normalize(x: Any, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    """``x`` divided by its norm of ``order`` (1, 2, ...) along ``axis``, the norm not below ``epsilon``."""
    if not isinstance(order, int) or order < 1:
        raise ArgumentError(f"normalize: expected order as an integer >= 1, received {order!r}")
    x = b.as_float(x)
    x = b.reshape(x, (1,)) if not x.ndim else x
    axes = normalize_axes(axis, x.ndim)
    least = default_epsilon() if epsilon is None else epsilon
    if order == 2:
        square = b.reduce("reduce_sum", emit("multiply", x, x), axes, True)
        inverse = emit("minimum", emit("rsqrt", square), b.like(square, 1 / least))
        return emit("multiply", x, stretch(inverse, b.shape_of(x)))
    size = emit("abs", x)
    if order > 1:
        size = emit("power", size, b.like(size, order))
    norm = b.reduce("reduce_sum", size, axes, True)
    if order > 1:
        norm = emit("power", norm, b.like(norm, 1 / order))
    return b.divide(x, stretch(emit("maximum", norm, b.like(norm, least)), b.shape_of(x)))


# Encodings.


@public_op(weak=False)
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Tensor:
    """1 at each index along a new ``axis`` of ``num_classes``, else 0; an index out of range gives zeros."""
    _no_sparse(sparse, "one_hot")
    x = as_tensor(x)
    return _hot(x, num_classes, axis, dtype, "one_hot")


def _hot(x: Tensor, num_classes: Any, axis: int, dtype: Any, op: str) -> Tensor:
    indices = x if b.is_int(x) else cast(x, "int32")
    return emit(
        "one_hot",
        indices,
        depth=b.int_arg(num_classes, op, "num_classes"),
        axis=normalize_axis(axis, x.ndim + 1),
        dtype=standardize_dtype(dtype),
    )


def _no_sparse(sparse: bool, op: str) -> None:
    if sparse:
        raise ArgumentError(f"{op}: there are no sparse tensors here; leave sparse out")


@public_op(weak=False)
def multi_hot(
    inputs: Any, num_classes: int | None = None, axis: int = -1, dtype: Any = None, sparse: bool = False, **kwargs: Any
) -> Tensor:
    """1 at each of the indices of a row, else 0: [batch, n] becomes [batch, num_classes]."""
    _no_sparse(sparse, "multi_hot")
    classes = kwargs.pop("num_tokens", num_classes)
    if kwargs or classes is None:
        raise ArgumentError(f"multi_hot: expected num_classes, received {classes} and {sorted(kwargs)}")
    x = as_tensor(inputs)
    hot = _hot(cast(x, "int32"), classes, axis, dtype, "multi_hot")
    return b.reduce("reduce_max", hot, (1 if x.ndim > 1 else 0,))


# Losses.


def _same_shape(target: Tensor, output: Tensor, op: str) -> Tensor:
    if target.ndim != output.ndim:
        raise ShapeError(f"{op}: target and output must have one shape, received {target!r} and {output!r}")
    return match_shape(target, b.shape_of(output), f"{op}: target and output must have one shape")


def _clipped(output: Tensor) -> Tensor:
    low, high = (b.scalar(v, output.dtype) for v in (default_epsilon(), 1.0 - default_epsilon()))
    return emit("clamp", low, output, high)


@public_op(weak=False)
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Tensor:
    """``-target * log(output) - (1 - target) * log(1 - output)``; of logits through log_sigmoid."""
    output = b.as_float(output)
    wanted, output = promote(target, output)
    wanted = _same_shape(wanted, output, "binary_crossentropy")
    other = b.subtract(b.like(wanted, 1), wanted)
    if from_logits:
        logs = emit("log_sigmoid", output), emit("log_sigmoid", emit("negate", output))
    else:
        output = _clipped(output)
        logs = emit("log", output), emit("log", b.subtract(b.like(output, 1), output))
    return emit("negate", b.add(emit("multiply", wanted, logs[0]), emit("multiply", other, logs[1])))


def _log_probabilities(output: Tensor, from_logits: bool, axis: int) -> Tensor:
    if from_logits:
        return emit("log_softmax", output, axis=axis)
    total = b.reduce("reduce_sum", output, (axis,), True)
    return emit("log", _clipped(b.divide(output, stretch(total, b.shape_of(output)))))


@public_op(weak=False)
def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Tensor:
    """``-sum(target * log(output))`` along ``axis``; probabilities are scaled to sum 1."""
    op = "categorical_crossentropy"
    wanted, output = promote(target, b.as_float(output))
    if not output.ndim:
        raise ShapeError(f"{op}: expected output of rank 1 or more, received {output!r}")
    wanted = _same_shape(wanted, output, op)
    place = normalize_axis(axis, output.ndim)
    return emit(
        "negate",
        b.reduce("reduce_sum", emit("multiply", wanted, _log_probabilities(output, from_logits, place)), (place,)),
    )


@public_op(weak=False)
def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Tensor:
    """``-log(output)`` at the class that ``target`` names, along ``axis``."""
    op = "sparse_categorical_crossentropy"
    classes, output = cast(as_tensor(target), "int32"), b.as_float(output)
    if not output.ndim:
        raise ShapeError(f"{op}: expected output of rank 1 or more, received {output!r}")
    if classes.ndim == output.ndim and b.shape_of(classes)[-1] == 1:
        classes = b.reshape(classes, b.shape_of(classes)[:-1])
    if classes.ndim != output.ndim - 1:
        raise ShapeError(
            f"{op}: target must have the shape of output without its last axis, received {classes!r} and {output!r}"
        )
    classes = match_shape(
        classes, b.shape_of(output)[:-1], f"{op}: target must have the shape of output without its last axis"
    )
    place = normalize_axis(axis, output.ndim)
    logs = _log_probabilities(output, from_logits, place)
    depth = b.static_dim(b.shape_of(output)[place], op, "the number of classes")
    hot = emit("one_hot", classes, depth=depth, axis=place, dtype=output.dtype)
    return emit("negate", b.reduce("reduce_sum", emit("multiply", hot, logs), (place,)))


@public_op(weak=False)
def psnr(x1: Any, x2: Any, max_val: float) -> Tensor:
    """Peak signal-to-noise ratio of two images in decibels, for signals up to ``max_val``."""
    x, y = promote(b.as_float(x1), b.as_float(x2))
    y = _same_shape(y, x, "psnr")
    difference = b.subtract(x, y)
    error = b.reduce("reduce_mean", emit("multiply", difference, difference), range(x.ndim))
    peak = as_tensor(max_val, x.dtype)
    ratio = b.subtract(b.multiply(emit("log", peak), 2), emit("log", error))
    return b.multiply(ratio, 10 / 2.302585092994046)


# Attention.


@public_op(weak=False)
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Tensor:
    """``softmax(query key^T * scale + bias) value``, attending where ``mask`` (and causality) allow.

    Args:
        query, key, value: [batch, time, heads, depth]; key and value may have fewer heads, which are shared.
        bias, mask: broadcast to [batch, heads, query time, key time].
        scale: 1 / sqrt(depth) by default.
        flash_attention: accepted; what runs is the target's choice.
        attn_logits_soft_cap: not taken outside of TPUs by Keras either; must be None.
    """
    if attn_logits_soft_cap is not None:
        raise ArgumentError(
            f"dot_product_attention: attn_logits_soft_cap must be None, received {attn_logits_soft_cap}"
        )
    q, k, v = promote(*(b.as_float(t) for t in (query, key, value)))
    for name, t in (("query", q), ("key", k), ("value", v)):
        if t.ndim != 4:
            raise ShapeError(
                f"dot_product_attention: expected {name} of shape [batch, time, heads, depth], received {t!r}"
            )
    k = match_shape(
        k,
        (b.shape_of(q)[0], *b.shape_of(k)[1:3], b.shape_of(q)[3]),
        "dot_product_attention: key must have the batch size and depth of query",
    )
    v = match_shape(
        v,
        (*b.shape_of(k)[:3], b.shape_of(v)[3]),
        "dot_product_attention: value must have the batch size, time and heads of key",
    )
    logits = (b.shape_of(q)[0], b.shape_of(q)[2], b.shape_of(q)[1], b.shape_of(k)[1])
    rest = []
    if bias is not None:
        rest.append(_logits_operand(as_tensor(bias, q.dtype), logits, "bias"))
    if mask is not None:
        rest.append(_logits_operand(b.as_bool(mask), logits, "mask"))
    return emit(
        "attention", q, k, v, *rest, scale=scale, causal=bool(is_causal), bias=bias is not None, mask=mask is not None
    )


def _logits_operand(t: Tensor, logits: b.Shape, name: str) -> Tensor:
    """Bias or mask with sizes that are 1 or, perhaps by a guard, those of the logits."""
    if t.ndim > 4:
        raise ShapeError(f"dot_product_attention: expected {name} that broadcasts to {b.text(logits)}, received {t!r}")
    wanted = logits[4 - t.ndim :]
    return match_shape(
        t,
        [d if d == 1 else w for d, w in zip(b.shape_of(t), wanted)],
        f"dot_product_attention: {name} must broadcast to {b.text(logits)}",
    )


@public_op(weak=False)
def cdist(x: Any, y: Any) -> Tensor:
    """The Euclidean distances of all rows of ``x`` from all rows of ``y``."""
    first, second = promote(b.as_float(x), b.as_float(y))
    if first.ndim < 2 or second.ndim < 2:
        raise ShapeError(f"cdist: expected tensors of rank 2 or more, received {first!r} and {second!r}")
    left, right = b.shape_of(first), b.shape_of(second)
    first, second = broadcast(
        b.reshape(first, (*left[:-1], 1, left[-1])), b.reshape(second, (*right[:-2], 1, *right[-2:])), what="cdist"
    )
    difference = b.subtract(first, second)
    return emit("sqrt", b.reduce("reduce_sum", emit("multiply", difference, difference), (difference.ndim - 1,)))
