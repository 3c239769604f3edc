"""F-scores: harmonic means of precision and recall."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from .. import ops
from ..convert import as_tensor
from ..dispatch import public_op
from ..dtypes import epsilon
from ..losses.function import as_array
from ..losses.shapes import check_same_shape
from ..registry import builtin
from .base import Metric, gather

_AVERAGES = (None, "micro", "macro", "weighted")


@public_op(weak=False)
def _counts(
    y_true: Any, y_pred: Any, sample_weight: Any, threshold: float | None, axis: int | None, owner: str, dtype: str
) -> list[Any]:
    """Weights of true positives, false positives, false negatives, and of all positives."""
    true, pred = as_tensor(y_true, dtype), as_tensor(y_pred, dtype)
    check_same_shape(owner, true, pred, "labels have the shape of the predictions")
    if threshold is None:
        best = ops.greater_equal(pred, ops.max(pred, axis=-1, keepdims=True))
        positive = ops.logical_and(best, ops.greater(ops.absolute(pred), 1e-9))
    else:
        positive = ops.greater(pred, threshold)
    yes, no = ops.cast(positive, dtype), ops.subtract(1, ops.cast(positive, dtype))
    values = [
        ops.multiply(yes, true),
        ops.multiply(yes, ops.subtract(1, true)),
        ops.multiply(no, true),
        true,
    ]
    if sample_weight is not None:
        weight = ops.expand_dims(as_tensor(sample_weight, dtype), 1)
        values = [ops.multiply(value, weight) for value in values]
    return [ops.sum(value, axis=axis) for value in values]


@public_op(weak=False)
def _score(tp: Any, fp: Any, fn: Any, weights: Any, beta: float, average: str | None) -> Any:
    precision, recall = (ops.divide(tp, ops.add(ops.add(tp, wrong), epsilon())) for wrong in (fp, fn))
    total = ops.add(ops.multiply(beta**2, precision), recall)
    mean = ops.divide(ops.multiply(precision, recall), ops.add(total, epsilon()))
    score = ops.multiply(mean, 1 + beta**2)
    if average == "weighted":
        share = ops.divide(weights, ops.add(ops.sum(weights), epsilon()))
        return ops.sum(ops.multiply(score, share))
    return score if average is None else ops.mean(score)


@builtin("keras.metrics")
class FBetaScore(Metric):
    """The harmonic mean of precision and recall, recall weighing ``beta`` times as much.

    Args:
        average: None for a score for each class, ``"micro"`` to count all classes together, ``"macro"`` for the mean of
            the classes' scores, ``"weighted"`` for that weighted by the number of their labels.
        beta: a float > 0.
        threshold: a float in (0, 1] above which a prediction is positive; by default the greatest of each sample is.
        name: the metric's name.
        dtype: element type of state and result.

    Raises:
        ArgumentError: an argument has a value that it can't have.
    """

    _direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        who = type(self).__name__
        if average not in _AVERAGES:
            raise ArgumentError(f"{who}: expected average as one of {_AVERAGES}, received {average!r}")
        if not isinstance(beta, float) or beta <= 0:
            raise ArgumentError(f"{who}: expected beta as a float > 0, received {beta!r}")
        if threshold is not None and not (isinstance(threshold, float) and 0 < threshold <= 1):
            raise ArgumentError(f"{who}: expected threshold as a float in (0, 1], received {threshold!r}")
        self.average = average
        self.beta = beta
        self.threshold = threshold
        self.axis = None if average == "micro" else 0
        self._built = False

    def _build(self, y_true: tuple[Any, ...], y_pred: tuple[Any, ...]) -> None:
        if len(y_pred) != 2 or len(y_true) != 2 or not isinstance(y_pred[1], int):
            raise ShapeError(
                f"{self.name}: expected labels (y_true) and predictions (y_pred) [batch, classes], received shapes "
                f"{y_true} and {y_pred}"
            )
        shape = () if self.average == "micro" else (y_pred[1],)
        names = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")
        for name in names:
            setattr(self, name, self.add_variable(shape, "zeros", self.dtype, name=name))
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: [batch, classes] labels 0 and 1.
            y_pred: [batch, classes] scores.
            sample_weight: [batch].

        Raises:
            ShapeError: the shapes are others.
        """
        y_true, y_pred = as_array(y_true), as_array(y_pred)
        if not self._built:
            self._build(tuple(y_true.shape), tuple(y_pred.shape))
        weight = as_array(sample_weight)
        gather(self.variables, _counts(y_true, y_pred, weight, self.threshold, self.axis, self.name, self.dtype))

    def result(self) -> Any:
        """The score so far: a scalar, or one for each class without an average."""
        if not self._built:
            raise ArgumentError(f"{self.name}: no batch was seen yet, so the number of classes is not known")
        return _score(*self.variables, self.beta, self.average)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"average": self.average, "beta": self.beta, "threshold": self.threshold}
        return {**super().get_config(), **own}


@builtin("keras.metrics")
class F1Score(FBetaScore):
    """The harmonic mean of precision and recall; arguments as of FBetaScore."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["beta"]
        return config
