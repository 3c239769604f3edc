"""Losses of regression: squared, absolute, relative and logarithmic errors, Huber, log-cosh, Poisson."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..convert import as_tensor
from ..dtypes import epsilon, floatx
from ..registry import builtin
from .base import BuiltinLoss
from .function import loss_function, pair_op
from .reduction import Reduction
from .shapes import paired


@loss_function("mse", "MSE")
@pair_op
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """``mean((y_true - y_pred)^2)`` over the last axis."""
    true, pred = paired("mean_squared_error", y_true, y_pred, squeeze=True)
    return ops.mean(ops.square(ops.subtract(true, pred)), axis=-1)


@loss_function("mae", "MAE")
@pair_op
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """``mean(|y_true - y_pred|)`` over the last axis."""
    true, pred = paired("mean_absolute_error", y_true, y_pred, squeeze=True)
    return ops.mean(ops.absolute(ops.subtract(true, pred)), axis=-1)


@loss_function("mape", "MAPE")
@pair_op
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """``100 * mean(|y_true - y_pred| / max(|y_true|, epsilon))`` over the last axis."""
    true, pred = paired("mean_absolute_percentage_error", y_true, y_pred, squeeze=True)
    least = as_tensor(epsilon(), pred.dtype)
    relative = ops.absolute(ops.divide(ops.subtract(true, pred), ops.maximum(ops.absolute(true), least)))
    return ops.multiply(100.0, ops.mean(relative, axis=-1))


@loss_function("msle", "MSLE")
@pair_op
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """``mean((log(y_true + 1) - log(y_pred + 1))^2)`` over the last axis, both not below ``epsilon``.

    As in Keras, it computes in the default float type where that is the wider one.
    """
    true, pred = paired("mean_squared_logarithmic_error", y_true, y_pred, squeeze=True)
    least = as_tensor(epsilon(), floatx())
    logs = [ops.log(ops.add(ops.maximum(x, least), 1.0)) for x in (pred, true)]
    return ops.mean(ops.square(ops.subtract(*logs)), axis=-1)


@loss_function()
@pair_op
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """The mean over the last axis of ``e^2 / 2`` for errors up to ``delta``, else of ``delta * |e| - delta^2 / 2``."""
    true, pred = paired("huber", y_true, y_pred, squeeze=True)
    bound, half = as_tensor(delta, pred.dtype), as_tensor(0.5, pred.dtype)
    error = ops.subtract(pred, true)
    size = ops.absolute(error)
    linear = ops.subtract(ops.multiply(bound, size), ops.multiply(half, ops.square(bound)))
    quadratic = ops.multiply(half, ops.square(error))
    return ops.mean(ops.where(ops.less_equal(size, bound), quadratic, linear), axis=-1)


@loss_function()
@pair_op
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """``mean(log(cosh(y_pred - y_true)))`` over the last axis, as ``e + softplus(-2e) - log(2)``."""
    true, pred = paired("log_cosh", y_true, y_pred, squeeze=True)
    error = ops.subtract(pred, true)
    curve = ops.add(error, ops.softplus(ops.multiply(error, -2.0)))
    return ops.mean(ops.subtract(curve, as_tensor(math.log(2.0), pred.dtype)), axis=-1)


@loss_function()
@pair_op
def poisson(y_true: Any, y_pred: Any) -> Any:
    """``mean(y_pred - y_true * log(y_pred + epsilon))`` over the last axis."""
    true, pred = paired("poisson", y_true, y_pred)
    logs = ops.log(ops.add(pred, as_tensor(epsilon(), pred.dtype)))
    return ops.mean(ops.subtract(pred, ops.multiply(true, logs)), axis=-1)


@builtin("keras.losses")
class MeanSquaredError(BuiltinLoss):
    """Mean of squared differences; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(mean_squared_error, reduction, name, dtype)


@builtin("keras.losses")
class MeanAbsoluteError(BuiltinLoss):
    """Mean of absolute differences; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "mean_absolute_error", dtype: Any = None
    ) -> None:
        super().__init__(mean_absolute_error, reduction, name, dtype)


@builtin("keras.losses")
class MeanAbsolutePercentageError(BuiltinLoss):
    """Mean of absolute differences in percent of the labels; arguments as of Loss."""

    def __init__(
        self,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "mean_absolute_percentage_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


@builtin("keras.losses")
class MeanSquaredLogarithmicError(BuiltinLoss):
    """Mean of squared differences of logarithms; arguments as of Loss."""

    def __init__(
        self,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


@builtin("keras.losses")
class Huber(BuiltinLoss):
    """Squared for small errors, linear beyond ``delta`` (Huber 1964); further arguments as of Loss."""

    unsaved = {"delta": 1.0}

    def __init__(
        self,
        delta: float = 1.0,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(huber, reduction, name, dtype, delta=delta)


@builtin("keras.losses")
class LogCosh(BuiltinLoss):
    """Logarithm of the hyperbolic cosine of the error; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "log_cosh", dtype: Any = None
    ) -> None:
        super().__init__(log_cosh, reduction, name, dtype)


@builtin("keras.losses")
class Poisson(BuiltinLoss):
    """Minus the log likelihood of counts under Poisson distributions of the predicted means; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "poisson", dtype: Any = None
    ) -> None:
        super().__init__(poisson, reduction, name, dtype)
