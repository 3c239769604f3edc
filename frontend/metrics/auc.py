"""The area under a curve of confusion counts: ROC, precision-recall, or precision-recall-gain."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.errors import ArgumentError, ShapeError
from .. import ops
from ..dispatch import public_op
from ..dtypes import epsilon
from ..losses.function import as_array
from ..registry import builtin
from ..saving.serialization import deserialize_keras_object
from .base import Metric
from .confusion import ConfusionMetric
from .counting import Counting, count_into, even_thresholds, spread_evenly

_CURVES = ("ROC", "PR", "PRGAIN")
_METHODS = ("interpolation", "majoring", "minoring")


@builtin("keras.metrics")
class AUC(ConfusionMetric):
    """The area under a curve, approximated by its points at some thresholds.

    Args:
        num_thresholds: how many thresholds, in equal steps from 0 to 1.
        curve: ``"ROC"``, ``"PR"`` (precision over recall) or ``"PRGAIN"`` (Flach and Kull 2015).
        summation_method: ``"interpolation"``, or the less (``"minoring"``) or greater (``"majoring"``) of neighbours.
        name: the metric's name.
        dtype: element type of the result.
        thresholds: inner thresholds, in place of ``num_thresholds``.
        multi_label: count each label (the last axis) by itself, and average their areas.
        num_labels: how many labels; else known at the first batch. Only with ``multi_label``.
        label_weights: a weight for each label.
        from_logits: whether predictions are before the sigmoid.

    Raises:
        ArgumentError: an argument has a value that it can't have.
    """

    _direction = "up"
    kinds = ("tp", "fp", "tn", "fn")

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.curve = _one_of("curve", curve, _CURVES)
        self.summation_method = _one_of("summation_method", summation_method, _METHODS)
        self._init_from_thresholds = thresholds is not None
        if thresholds is None:
            if num_thresholds <= 1:
                raise ArgumentError(f"AUC: expected num_thresholds > 1, received {num_thresholds!r}")
            inner = even_thresholds(num_thresholds)[1:-1]
            even = True
        else:
            inner = sorted(thresholds)
            even = spread_evenly([0.0, *inner, 1.0])
        self.num_thresholds = len(inner) + 2
        # The ends are beyond 0 and 1, so that everything is above the first threshold and nothing above the last.
        bounds = tuple(float(t) for t in (0.0 - epsilon(), *inner, 1.0 + epsilon()))
        self._how = Counting(bounds, even, multi_label=bool(multi_label))
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = None if label_weights is None else np.asarray(label_weights, "float32")
        self._from_logits = from_logits
        self._built = False
        if num_labels and not multi_label:
            raise ArgumentError("AUC: num_labels is for multi_label=True only")
        if num_labels or not multi_label:
            self._build((None, num_labels))

    @property
    def thresholds(self) -> list[float]:
        """The thresholds, those beyond 0 and 1 included."""
        return list(self._how.thresholds)

    def _build(self, shape: tuple[Any, ...]) -> None:
        if self.multi_label and (len(shape) != 2 or not isinstance(shape[1], int)):
            raise ShapeError(
                f"{self.name}: with multi_label=True, predictions (y_pred) are [batch, labels], received shape {shape}"
            )
        count = self.num_thresholds
        self._count_at(self._how, (count, shape[1]) if self.multi_label else (count,))
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: labels 0 and 1.
            y_pred: probabilities (or logits, with ``from_logits``), in the same shape.
            sample_weight: a weight for each sample.

        Raises:
            ShapeError: the shapes do not fit together.
        """
        y_pred = as_array(y_pred)
        if not self._built:
            self._build(tuple(y_pred.shape))
        if self._from_logits:
            y_pred = ops.sigmoid(y_pred)
        label_weights = None if self.multi_label else self.label_weights
        count_into(self._counts(), self.name, self._how, y_true, y_pred, sample_weight, label_weights)

    def result(self) -> Any:
        """The area so far, a scalar."""
        weights = self.label_weights if self.multi_label else None
        return _area(*self._counts().values(), self.curve, self.summation_method, self.multi_label, weights)

    def reset_state(self) -> None:
        """Forget what was counted."""
        if self._built:
            super().reset_state()

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """Make a metric from what ``get_config`` returned. In Keras's files label weights are a tensor's config."""
        return cls(**{**config, "label_weights": deserialize_keras_object(config.get("label_weights"))})

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self._from_logits,
        }
        if self._init_from_thresholds:
            own["thresholds"] = self.thresholds[1:-1]
        return {**super().get_config(), **own}


def _one_of(argument: str, value: Any, known: tuple[str, ...]) -> str:
    """The known name that ``value`` is, in whatever case."""
    for name in known:
        if isinstance(value, str) and value.lower() == name.lower():
            return name
    raise ArgumentError(f"AUC: expected {argument} as one of {', '.join(known)}; received {value!r}")


@public_op(weak=False)
def _area(tp: Any, fp: Any, tn: Any, fn: Any, curve: str, method: str, multi_label: bool, label_weights: Any) -> Any:
    if curve == "PR" and method == "interpolation":
        slices = _interpolated_pr(tp, fp, fn)
    else:
        x, y = _POINTS[curve](tp, fp, tn, fn)
        slices = ops.multiply(ops.subtract(x[:-1], x[1:]), _heights(y, method))
    if not multi_label:
        return ops.sum(slices)
    areas = ops.sum(slices, axis=0)
    if label_weights is None:
        return ops.mean(areas)
    return ops.divide_no_nan(ops.sum(ops.multiply(areas, label_weights)), ops.sum(label_weights))


def _heights(y: Any, method: str) -> Any:
    if method == "interpolation":
        return ops.divide(ops.add(y[:-1], y[1:]), 2.0)
    return (ops.minimum if method == "minoring" else ops.maximum)(y[:-1], y[1:])


def _share(part: Any, rest: Any) -> Any:
    return ops.divide_no_nan(part, ops.add(part, rest))


def _roc(tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
    return _share(fp, tn), _share(tp, fn)


def _pr(tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
    return _share(tp, fn), _share(tp, fp)


def _pr_gain(tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
    odds = ops.divide_no_nan(ops.add(tp, fn), ops.add(tn, fp))
    recall, precision = (ops.subtract(1.0, ops.multiply(odds, ops.divide_no_nan(wrong, tp))) for wrong in (fn, fp))
    nothing = ops.equal(tp, 0.0)
    return ops.maximum(ops.where(nothing, 0.0, recall), 0.0), ops.where(nothing, 1.0, precision)


_POINTS = {"ROC": _roc, "PR": _pr, "PRGAIN": _pr_gain}


def _interpolated_pr(tp: Any, fp: Any, fn: Any) -> Any:
    """Slices of the area under precision over recall where, between points, true positives grow linearly with positives
    (Davis and Goadrich 2006): the integral of ``(slope * p + intercept) / p``, by the number of true labels."""
    positives = ops.add(tp, fp)
    more, less = positives[:-1], positives[1:]
    gained = ops.subtract(tp[:-1], tp[1:])
    slope = ops.divide_no_nan(gained, ops.maximum(ops.subtract(more, less), 0))
    intercept = ops.subtract(tp[1:], ops.multiply(slope, less))
    some = ops.logical_and(ops.greater(more, 0), ops.greater(less, 0))
    ratio = ops.where(some, ops.divide_no_nan(more, ops.maximum(less, 0)), 1.0)
    area = ops.multiply(slope, ops.add(gained, ops.multiply(intercept, ops.log(ratio))))
    return ops.divide_no_nan(area, ops.maximum(ops.add(tp[1:], fn[1:]), 0))
