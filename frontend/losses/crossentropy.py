"""Losses of probabilities: cross-entropies of binary, one-hot and integer labels, and the KL divergence."""

from __future__ import annotations

import warnings
from typing import Any

from ...ir.errors import ArgumentError
from .. import ops
from ..convert import as_tensor, normalize_axis
from ..dispatch import public_op
from ..dtypes import epsilon
from ..masking import set_mask
from ..ops import building as b
from ..registry import builtin
from ..tensor import Tensor
from .base import BuiltinLoss
from .function import as_array, loss_function, pair_op
from .reduction import Reduction
from .shapes import check_same_shape, is_one, misfit, paired

_ONE_HOT = (
    "one-hot labels have the shape of the predictions; integer labels are for sparse_categorical_crossentropy, or "
    "keras.ops.one_hot makes one-hot ones of them"
)

_BINARY = "binary labels have the shape of the predictions"


def checked_axis(name: str, axis: Any) -> Any:
    """Return ``axis``. Raises :class:`ArgumentError` for a bool, which is no axis."""
    if isinstance(axis, bool):
        raise ArgumentError(f"{name}: expected axis as an integer, received {axis!r}")
    return axis


def one_hot_pair(name: str, y_true: Any, y_pred: Any, axis: Any, label_smoothing: float) -> tuple[Any, Tensor]:
    """One-hot labels, smoothed, and predictions; warns where there is but one class."""
    checked_axis(name, axis)
    true, pred = paired(name, y_true, y_pred, hint=_ONE_HOT)
    if pred.ndim and is_one(pred.shape[-1]):
        warnings.warn(
            f"{name}: predictions (y_pred) of shape {b.text(b.shape_of(pred))} have one class only, whose loss is "
            "always 0; binary_crossentropy is for two classes with one output",
            SyntaxWarning,
            stacklevel=2,
        )
    if not label_smoothing:
        return true, pred
    classes = b.dim_tensor(b.shape_of(true)[-1], pred.dtype)
    kept = ops.multiply(true, 1.0 - label_smoothing)
    return ops.add(kept, ops.divide(label_smoothing, classes)), pred


def binary_pair(name: str, y_true: Any, y_pred: Any, label_smoothing: float) -> tuple[Any, Tensor]:
    """Labels 0 and 1, smoothed, and predictions, of one shape."""
    true, pred = paired(name, y_true, y_pred, hint=_BINARY)
    check_same_shape(name, true, pred, _BINARY)
    if not label_smoothing:
        return true, pred
    return ops.add(ops.multiply(true, 1.0 - label_smoothing), 0.5 * label_smoothing), pred


@loss_function("kld", "KLD")
@pair_op
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """``sum(y_true * log(y_true / y_pred))`` over the last axis, both kept between ``epsilon`` and 1."""
    true, pred = (ops.clip(x, epsilon(), 1) for x in paired("kl_divergence", y_true, y_pred))
    return ops.sum(ops.multiply(true, ops.log(ops.divide(true, pred))), axis=-1)


@loss_function("bce", "BCE")
@pair_op
def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: Any = -1
) -> Any:
    """The mean over ``axis`` of ``-y_true * log(y_pred) - (1 - y_true) * log(1 - y_pred)``.

    Args:
        y_true: labels 0 and 1.
        y_pred: probabilities (kept ``epsilon`` away from 0 and 1), or logits.
        from_logits: whether ``y_pred`` is before the sigmoid.
        label_smoothing: moves labels that much towards 1/2.
        axis: over which the mean is taken.
    """
    true, pred = binary_pair("binary_crossentropy", y_true, y_pred, label_smoothing)
    return ops.mean(ops.binary_crossentropy(true, pred, from_logits=from_logits), axis=axis)


@loss_function()
@pair_op
def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """``-sum(y_true * log(y_pred))`` over ``axis``.

    Args:
        y_true: one-hot labels, or other probabilities of classes.
        y_pred: probabilities (scaled to sum 1, and kept ``epsilon`` away from 0 and 1), or logits.
        from_logits: whether ``y_pred`` is before the softmax.
        label_smoothing: the share of the labels that is spread over all classes.
        axis: the axis of the classes.
    """
    name = "categorical_crossentropy"
    true, pred = one_hot_pair(name, y_true, y_pred, axis, label_smoothing)
    check_same_shape(name, as_tensor(true), pred, _ONE_HOT)
    return ops.categorical_crossentropy(true, pred, from_logits=from_logits, axis=axis)


@loss_function()
def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """``-log(y_pred)`` at the class that ``y_true`` names.

    Args:
        y_true: integer classes, in the shape of ``y_pred`` without ``axis``, or with 1 there.
        y_pred: probabilities, or logits.
        from_logits: whether ``y_pred`` is before the softmax.
        ignore_class: a class whose places have loss 0 and are masked.
        axis: the axis of the classes.
    """
    true, pred = as_array(y_true), as_array(y_pred)
    if ignore_class is None:
        return _sparse(true, pred, from_logits, axis)
    values, counts = _sparse_but(true, pred, from_logits, ignore_class, axis)
    set_mask(values, counts)
    return values


def _classes(y_true: Any, y_pred: Any, axis: int) -> tuple[Tensor, Tensor]:
    """Integer labels, and predictions with the classes as last axis."""
    name = "sparse_categorical_crossentropy"
    classes, pred = as_tensor(as_tensor(y_true), "int32"), b.as_float(y_pred)
    given = b.shape_of(classes), b.shape_of(pred)
    place = normalize_axis(checked_axis(name, axis), pred.ndim)
    pred = b.move_axis(pred, place, pred.ndim - 1)
    if classes.ndim == pred.ndim and is_one(classes.shape[place]):
        classes = as_tensor(ops.squeeze(classes, place))
    wanted = b.shape_of(pred)[:-1]
    clash = any(isinstance(t, int) and isinstance(p, int) and t != p for t, p in zip(b.shape_of(classes), wanted))
    if classes.ndim != len(wanted) or clash:
        raise misfit(
            name,
            *given,
            f"integer labels have the shape of the predictions without the axis of classes, here {b.text(wanted)}; "
            "one-hot labels are for categorical_crossentropy",
        )
    return classes, pred


@public_op(weak=False)
def _sparse(y_true: Any, y_pred: Any, from_logits: bool, axis: int) -> Any:
    return ops.sparse_categorical_crossentropy(*_classes(y_true, y_pred, axis), from_logits=from_logits)


@public_op(weak=False)
def _sparse_but(y_true: Any, y_pred: Any, from_logits: bool, ignore_class: int, axis: int) -> tuple[Any, Any]:
    """The losses, 0 where the label is ``ignore_class``, and where it is another."""
    classes, pred = _classes(y_true, y_pred, axis)
    counts = ops.not_equal(classes, ignore_class)
    # Ignored places compute on harmless numbers, so that no derivative there is NaN.
    classes = ops.where(counts, classes, 0)
    pred = ops.where(ops.expand_dims(counts, -1), pred, 1)
    values = ops.sparse_categorical_crossentropy(classes, pred, from_logits=from_logits)
    return ops.where(counts, values, 0.0), counts


@loss_function(metric=False, get=False)
@pair_op
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """``(1 - p^q) / q`` for the probability ``p`` of the class that ``y_true`` names (Zhang and Sabuncu 2018).

    Args:
        y_true: integer classes, in the shape of ``y_pred`` without its last axis, or with 1 there.
        y_pred: probabilities.
        q: between 0 (cross-entropy) and 1 (absolute error).
    """
    name = "categorical_generalized_cross_entropy"
    pred, classes = as_tensor(y_pred), as_tensor(as_tensor(y_true), "int32")
    if classes.ndim == pred.ndim and is_one(classes.shape[-1]):
        classes = as_tensor(ops.squeeze(classes, -1))
    if classes.ndim != pred.ndim - 1:
        raise misfit(name, classes, pred, "integer labels have the shape of the predictions without its last axis")
    depth = b.static_dim(b.shape_of(pred)[-1], name, "the number of classes")
    hot = ops.one_hot(classes, depth, dtype=pred.dtype)
    chosen = ops.sum(ops.multiply(pred, hot), axis=-1)
    return ops.divide(ops.subtract(1, ops.power(chosen, q)), q)


@builtin("keras.losses")
class KLDivergence(BuiltinLoss):
    """Kullback-Leibler divergence of predicted from true probabilities; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "kl_divergence", dtype: Any = None
    ) -> None:
        super().__init__(kl_divergence, reduction, name, dtype)


@builtin("keras.losses")
class BinaryCrossentropy(BuiltinLoss):
    """Cross-entropy of labels 0 and 1, see :func:`binary_crossentropy`; further arguments as of Loss."""

    saved = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: Any = -1,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        own = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(binary_crossentropy, reduction, name, dtype, **own)


@builtin("keras.losses")
class CategoricalCrossentropy(BuiltinLoss):
    """Cross-entropy of one-hot labels, see :func:`categorical_crossentropy`; further arguments as of Loss."""

    saved = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        own = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(categorical_crossentropy, reduction, name, dtype, **own)


@builtin("keras.losses")
class SparseCategoricalCrossentropy(BuiltinLoss):
    """Cross-entropy of integer labels, see :func:`sparse_categorical_crossentropy`; further arguments as of Loss."""

    saved = ("from_logits", "ignore_class")
    unsaved = {"axis": -1}

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: Reduction = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        own = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(sparse_categorical_crossentropy, reduction, name, dtype, **own)


@builtin("keras.losses")
class CategoricalGeneralizedCrossEntropy(BuiltinLoss):
    """Cross-entropy that bears wrong labels, see :func:`categorical_generalized_cross_entropy`.

    Args:
        q: greater than 0 and less than 1: the greater, the less wrong labels count.
        reduction, name, dtype: see Loss.

    Raises:
        ArgumentError: ``q`` is not between 0 and 1.
    """

    saved = ("q",)

    def __init__(
        self,
        q: float = 0.5,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ) -> None:
        if not 0 < q < 1:
            raise ArgumentError(f"CategoricalGeneralizedCrossEntropy: expected 0 < q < 1, received q={q!r}")
        super().__init__(categorical_generalized_cross_entropy, reduction, name, dtype, q=q)
