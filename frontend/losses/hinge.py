"""Hinge losses: of labels -1 and 1 (or 0 and 1), and of one-hot labels."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..registry import builtin
from ..tensor import Tensor
from .base import BuiltinLoss
from .function import loss_function, pair_op
from .reduction import Reduction
from .shapes import paired


def _signs(labels: Tensor) -> Any:
    """Labels as -1 and 1: those of a batch that holds nothing but 0 and 1 are converted."""
    binary = ops.all(ops.logical_or(ops.equal(labels, 0), ops.equal(labels, 1)))
    return ops.where(binary, ops.subtract(ops.multiply(2.0, labels), 1.0), labels)


def _below_margin(name: str, y_true: Any, y_pred: Any) -> Any:
    true, pred = paired(name, y_true, y_pred)
    return ops.maximum(ops.subtract(1.0, ops.multiply(_signs(true), pred)), 0.0)


@loss_function()
@pair_op
def hinge(y_true: Any, y_pred: Any) -> Any:
    """``mean(max(1 - y_true * y_pred, 0))`` over the last axis, for labels -1 and 1 (or 0 and 1)."""
    return ops.mean(_below_margin("hinge", y_true, y_pred), axis=-1)


@loss_function()
@pair_op
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """``mean(max(1 - y_true * y_pred, 0)^2)`` over the last axis, for labels -1 and 1 (or 0 and 1)."""
    return ops.mean(ops.square(_below_margin("squared_hinge", y_true, y_pred)), axis=-1)


@loss_function()
@pair_op
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """``max(best wrong score - right score + 1, 0)`` along the last axis, for one-hot labels."""
    true, pred = paired("categorical_hinge", y_true, y_pred)
    right = ops.sum(ops.multiply(true, pred), axis=-1)
    wrong = ops.max(ops.multiply(ops.subtract(1.0, true), pred), axis=-1)
    return ops.maximum(ops.add(ops.subtract(wrong, right), 1.0), 0.0)


@builtin("keras.losses")
class Hinge(BuiltinLoss):
    """Mean of ``max(1 - y_true * y_pred, 0)``; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "hinge", dtype: Any = None
    ) -> None:
        super().__init__(hinge, reduction, name, dtype)


@builtin("keras.losses")
class SquaredHinge(BuiltinLoss):
    """Mean of ``max(1 - y_true * y_pred, 0)^2``; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "squared_hinge", dtype: Any = None
    ) -> None:
        super().__init__(squared_hinge, reduction, name, dtype)


@builtin("keras.losses")
class CategoricalHinge(BuiltinLoss):
    """By how much the right class does not beat the best other one by 1; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "categorical_hinge", dtype: Any = None
    ) -> None:
        super().__init__(categorical_hinge, reduction, name, dtype)
