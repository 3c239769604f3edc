"""Metrics of regression: means of errors, their root, correlations, and the share of variance explained."""

from __future__ import annotations

import warnings
from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from .. import losses, ops
from ..convert import as_tensor
from ..dispatch import public_op
from ..dtypes import epsilon
from ..losses.function import as_array, pair_op
from ..losses.shapes import paired, same_rank
from ..losses.similarity import cosine
from ..ops import building as b
from ..registry import builtin
from ..trace import current_trace
from .base import Metric, gather
from .reduction import BuiltinMean, Mean

# Functions.


@pair_op
def cosine_similarity(y_true: Any, y_pred: Any, axis: Any = -1) -> Any:
    """The cosine of the angle between labels and predictions along ``axis``."""
    return cosine("cosine_similarity", y_true, y_pred, axis)


@builtin("keras.metrics")
@pair_op
def pearson_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Any:
    """The linear correlation of labels and predictions along ``axis``, -1 to 1."""
    pair = paired("pearson_correlation", y_true, y_pred, squeeze=True)
    centered = [ops.subtract(x, ops.mean(x, axis=axis, keepdims=True)) for x in pair]
    return ops.mean(ops.multiply(*(ops.divide(x, ops.std(x, axis=axis, keepdims=True)) for x in centered)), axis=axis)


@builtin("keras.metrics")
@pair_op
def concordance_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Any:
    """The correlation of labels and predictions along ``axis`` that counts shifts and scales as errors (Lin 1989)."""
    true, pred = paired("concordance_correlation", y_true, y_pred, squeeze=True)
    means = [ops.mean(x, axis=axis, keepdims=True) for x in (true, pred)]
    spread = [ops.var(ops.subtract(x, m), axis=axis, keepdims=True) for x, m in zip((true, pred), means, strict=True)]
    # The mean of (true - m) * (pred - mean(pred)) is the covariance for any m.
    products = ops.multiply(ops.subtract(true, means[1]), ops.subtract(pred, means[1]))
    norm = ops.add(ops.add(*spread), ops.square(ops.subtract(*means)))
    return ops.mean(ops.divide(ops.multiply(2, products), ops.add(norm, epsilon())), axis=axis)


# Means of functions.


@builtin("keras.metrics")
class MeanSquaredError(BuiltinMean):
    """Mean of squared differences.

    Args:
        name: the metric's name.
        dtype: element type of state and result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_error, name, dtype)


@builtin("keras.metrics")
class MeanAbsoluteError(BuiltinMean):
    """Mean of absolute differences; arguments as of MeanSquaredError."""

    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_error, name, dtype)


@builtin("keras.metrics")
class MeanAbsolutePercentageError(BuiltinMean):
    """Mean of absolute differences in percent of the labels; arguments as of MeanSquaredError."""

    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


@builtin("keras.metrics")
class MeanSquaredLogarithmicError(BuiltinMean):
    """Mean of squared differences of logarithms; arguments as of MeanSquaredError."""

    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


@builtin("keras.metrics")
class LogCoshError(BuiltinMean):
    """Mean of the logarithm of the error's hyperbolic cosine; arguments as of MeanSquaredError."""

    _direction = "down"

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(losses.log_cosh, name, dtype)


@builtin("keras.metrics")
class CosineSimilarity(BuiltinMean):
    """Mean cosine between labels and predictions along ``axis``; further arguments as of MeanSquaredError."""

    _direction = "up"
    unsaved = {"axis": -1}

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: Any = -1) -> None:
        super().__init__(cosine_similarity, name, dtype, axis=axis)


@builtin("keras.metrics")
class PearsonCorrelation(BuiltinMean):
    """Mean linear correlation along ``axis``; further arguments as of MeanSquaredError."""

    _direction = "up"

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: Any = -1) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)


@builtin("keras.metrics")
class ConcordanceCorrelation(BuiltinMean):
    """Mean concordance correlation along ``axis``; further arguments as of MeanSquaredError."""

    _direction = "up"

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: Any = -1) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)


# Others.


@pair_op
def _squared(y_true: Any, y_pred: Any, dtype: str) -> Any:
    true, pred = paired("root_mean_squared_error", as_tensor(y_true, dtype), as_tensor(y_pred, dtype), squeeze=True)
    return ops.square(ops.subtract(pred, true))


@builtin("keras.metrics")
class RootMeanSquaredError(Mean):
    """The root of the mean of squared differences; arguments as of MeanSquaredError."""

    _direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in a batch of labels and predictions."""
        super().update_state(_squared(y_true, y_pred, self.dtype), sample_weight)

    def result(self) -> Any:
        """The root of the mean so far, a scalar."""
        return ops.sqrt(super().result())


@public_op(weak=False)
def _moments(y_true: Any, y_pred: Any, sample_weight: Any, dtype: str) -> list[Any]:
    """Number of values; and for each output the weighted squares, sum, squared errors, and the weight."""
    true, pred = paired("r2_score", as_tensor(y_true, dtype), as_tensor(y_pred, dtype), squeeze=True)
    weight = as_tensor(1 if sample_weight is None else sample_weight, dtype)
    weight = ops.expand_dims(weight, 1) if weight.ndim == 1 else weight
    weight = ops.broadcast_to(weight, true.shape)
    weighted = ops.multiply(true, weight)
    errors = ops.multiply(ops.square(ops.subtract(true, pred)), weight)
    sums = [ops.sum(x, axis=0) for x in (ops.multiply(true, weighted), weighted, errors, weight)]
    return [b.dim_tensor(b.size_of(b.shape_of(true)), dtype), *sums]


@public_op(weak=False)
def _r2(
    num_samples: Any, squared_sum: Any, total: Any, residual: Any, count: Any, aggregation: str | None, regressors: int
) -> Any:
    spread = ops.subtract(squared_sum, ops.multiply(total, ops.divide(total, count)))
    scores = ops.subtract(1, ops.divide(residual, spread))
    scores = ops.where(ops.isinf(scores), 0.0, scores)
    if aggregation == "uniform_average":
        scores = ops.mean(scores)
    elif aggregation == "variance_weighted_average":
        scores = ops.divide(ops.sum(ops.multiply(spread, scores)), ops.sum(spread))
    if not regressors:
        return scores
    left = ops.subtract(ops.subtract(num_samples, regressors), 1.0)  # degrees of freedom
    adjusted = ops.subtract(
        1.0, ops.divide(ops.multiply(ops.subtract(1.0, scores), ops.subtract(num_samples, 1.0)), left)
    )
    return ops.where(ops.greater(left, 0), adjusted, scores)


@builtin("keras.metrics")
class R2Score(Metric):
    """The share of the labels' variance that predictions explain, at most 1.

    Args:
        class_aggregation: ``"uniform_average"`` or ``"variance_weighted_average"`` of the outputs' scores, or None for
            all of them.
        num_regressors: number of independent variables, for the adjusted score; 0 for the plain one.
        name: the metric's name.
        dtype: element type of state and result.

    Raises:
        ArgumentError: an argument has a value that it can't have.
    """

    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        known = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in known:
            raise ArgumentError(
                f"R2Score: expected class_aggregation as one of {known}, received {class_aggregation!r}"
            )
        if num_regressors < 0:
            raise ArgumentError(f"R2Score: expected num_regressors >= 0, received {num_regressors!r}")
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.num_samples = self.add_variable((), "zeros", name="num_samples")
        self._built = False

    def _build(self, y_true: tuple[Any, ...], y_pred: tuple[Any, ...]) -> None:
        if len(y_pred) != 2 or len(y_true) != 2 or not isinstance(y_pred[1], int):
            raise ShapeError(
                f"{self.name}: expected labels (y_true) and predictions (y_pred) [batch, outputs], received shapes "
                f"{y_true} and {y_pred}"
            )
        for name, attribute in (("squared_sum",) * 2, ("sum",) * 2, ("residual", "total_mse"), ("count",) * 2):
            setattr(self, attribute, self.add_variable((y_pred[1],), "zeros", name=name))
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true, y_pred: [batch, outputs].
            sample_weight: [batch].

        Raises:
            ShapeError: the shapes are others.
        """
        pair = same_rank(as_array(y_true), as_array(y_pred))
        if not self._built:
            self._build(*(tuple(x.shape) for x in pair))
        gather(self.variables, _moments(*pair, as_array(sample_weight), self.dtype))

    def result(self) -> Any:
        """The score so far: a scalar, or one for each output without an aggregation.

        Warns where there are too few values for an adjusted score; the result is then the plain one.
        """
        if not self._built:
            raise ArgumentError(f"{self.name}: no batch was seen yet, so the number of outputs is not known")
        if self.num_regressors and current_trace() is None and self.num_regressors >= float(self.num_samples) - 1:
            warnings.warn(
                f"{self.name}: {self.num_regressors} regressors are too many for {int(self.num_samples)} values, so "
                "the score is not adjusted",
                stacklevel=2,
            )
        return _r2(*self.variables, self.class_aggregation, self.num_regressors)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**super().get_config(), **own}
