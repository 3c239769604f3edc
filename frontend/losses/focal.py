"""Focal cross-entropies, in which what is predicted well counts less (Lin et al. 2018)."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..convert import as_tensor
from ..dtypes import epsilon
from ..registry import builtin
from .base import BuiltinLoss
from .crossentropy import binary_pair, one_hot_pair
from .function import loss_function, pair_op
from .reduction import Reduction


@loss_function()
@pair_op
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: Any = -1,
) -> Any:
    """Binary cross-entropy times ``(1 - p)^gamma``, ``p`` being the probability of the label; the mean over ``axis``.

    Args:
        y_true: labels 0 and 1.
        y_pred: probabilities, or logits.
        apply_class_balancing: weight label 1 by ``alpha`` and label 0 by ``1 - alpha``.
        gamma: how much less what is predicted well counts.
        from_logits, label_smoothing, axis: see binary_crossentropy.
    """
    true, pred = binary_pair("binary_focal_crossentropy", y_true, y_pred, label_smoothing)
    pred = ops.sigmoid(pred) if from_logits else pred
    right = _mixed(true, pred, ops.subtract(1, pred))
    loss = ops.multiply(ops.power(ops.subtract(1.0, right), gamma), ops.binary_crossentropy(true, pred))
    if apply_class_balancing:
        loss = ops.multiply(_mixed(true, alpha, 1 - alpha), loss)
    return ops.mean(loss, axis=axis)


def _mixed(true: Any, on_one: Any, on_zero: Any) -> Any:
    return ops.add(ops.multiply(true, on_one), ops.multiply(ops.subtract(1, true), on_zero))


@loss_function()
@pair_op
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Categorical cross-entropy with each class's term times ``alpha * (1 - y_pred)^gamma``, summed over ``axis``.

    Args:
        y_true: one-hot labels.
        y_pred: probabilities, or logits.
        alpha: a weight, or one for each class.
        gamma: how much less what is predicted well counts.
        from_logits, label_smoothing, axis: see categorical_crossentropy.
    """
    true, pred = one_hot_pair("categorical_focal_crossentropy", y_true, y_pred, axis, label_smoothing)
    pred = ops.softmax(pred, axis=axis) if from_logits else pred
    share = ops.divide(pred, ops.sum(pred, axis=axis, keepdims=True))
    share = ops.clip(share, epsilon(), 1.0 - epsilon())
    entropy = ops.multiply(ops.negative(true), ops.log(share))
    weight = ops.multiply(ops.power(ops.subtract(1.0, share), gamma), _weights(alpha))
    return ops.sum(ops.multiply(weight, entropy), axis=axis)


def _weights(alpha: Any) -> Any:
    return as_tensor(alpha) if isinstance(alpha, list | tuple) else alpha


@builtin("keras.losses")
class BinaryFocalCrossentropy(BuiltinLoss):
    """Focal loss of labels 0 and 1, see :func:`binary_focal_crossentropy`; further arguments as of Loss."""

    saved = ("from_logits", "label_smoothing", "axis", "apply_class_balancing", "alpha", "gamma")

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: Any = -1,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@builtin("keras.losses")
class CategoricalFocalCrossentropy(BuiltinLoss):
    """Focal loss of one-hot labels, see :func:`categorical_focal_crossentropy`; further arguments as of Loss."""

    saved = ("from_logits", "label_smoothing", "axis", "alpha", "gamma")

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
