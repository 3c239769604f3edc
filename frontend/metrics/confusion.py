"""Metrics of confusion counts: the counts themselves, precision, recall, and one of two at a bound of the other."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ArgumentError
from .. import ops
from ..dispatch import public_op
from ..registry import builtin
from .base import Metric
from .counting import NEVER, Counting, count_into, even_thresholds, parse_thresholds, spread_evenly

_NAMES = {"tp": "true_positives", "fp": "false_positives", "tn": "true_negatives", "fn": "false_negatives"}


class ConfusionMetric(Metric):
    """A metric that counts some of the four kinds at its thresholds."""

    thresholds: Any
    kinds: tuple[str, ...]

    def _count_at(self, how: Counting, shape: tuple[int, ...] | None = None) -> None:
        """Create the Variables of the counts, and say how they are counted."""
        self._how = how
        for kind in self.kinds:
            variable = self.add_variable(shape or (len(how.thresholds),), "zeros", name=_NAMES[kind])
            setattr(self, _NAMES[kind], variable)

    def _counts(self) -> dict[str, Any]:
        return {kind: getattr(self, _NAMES[kind]) for kind in self.kinds}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: labels 0 and 1.
            y_pred: probabilities, in the same shape.
            sample_weight: a weight for each sample.

        Raises:
            ShapeError: the shapes do not fit together.
        """
        count_into(self._counts(), self.name, self._how, y_true, y_pred, sample_weight)


@public_op(weak=False)
def _ratio(part: Any, rest: Any, single: bool) -> Any:
    found = ops.divide_no_nan(part, ops.add(part, rest))
    return found[0] if single else found


class _Count(ConfusionMetric):
    """The count of one kind.

    Args:
        thresholds: a number or a list of numbers between 0 and 1, above which a prediction is positive; 0.5 by default.
        name: the metric's name.
        dtype: element type of the result.
    """

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.thresholds = parse_thresholds(self.name, thresholds, 0.5)
        self._how = Counting(tuple(self.thresholds), spread_evenly(self.thresholds))
        self.accumulator = self.add_variable((len(self.thresholds),), "zeros", name="accumulator")

    def _counts(self) -> dict[str, Any]:
        return {self.kinds[0]: self.accumulator}

    def result(self) -> Any:
        """The count so far: a scalar, or one for each of several thresholds."""
        return ops.convert_to_tensor(self.accumulator[0] if len(self.thresholds) == 1 else self.accumulator)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "thresholds": self.init_thresholds}


@builtin("keras.metrics")
class FalsePositives(_Count):
    """How many negatives are predicted as positive."""

    kinds = ("fp",)


@builtin("keras.metrics")
class FalseNegatives(_Count):
    """How many positives are predicted as negative."""

    kinds = ("fn",)


@builtin("keras.metrics")
class TrueNegatives(_Count):
    """How many negatives are predicted as such."""

    kinds = ("tn",)


@builtin("keras.metrics")
class TruePositives(_Count):
    """How many positives are predicted as such."""

    kinds = ("tp",)


class _Share(ConfusionMetric):
    """True positives by these and another kind.

    Args:
        thresholds: a number or a list of numbers between 0 and 1, above which a prediction is positive; 0.5 by default.
        top_k: only so many best predictions of each sample may be positive; without thresholds all of these are.
        class_id: the class that is looked at; all by default.
        name: the metric's name.
        dtype: element type of the result.
    """

    _direction = "up"

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.top_k = top_k
        self.class_id = class_id
        self.thresholds = parse_thresholds(self.name, thresholds, 0.5 if top_k is None else NEVER)
        self._count_at(Counting(tuple(self.thresholds), spread_evenly(self.thresholds), top_k, class_id))

    def result(self) -> Any:
        """The share so far: a scalar, or one for each of several thresholds."""
        return _ratio(*self._counts().values(), single=len(self.thresholds) == 1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


@builtin("keras.metrics")
class Precision(_Share):
    """The share of what is predicted as positive that is."""

    kinds = ("tp", "fp")


@builtin("keras.metrics")
class Recall(_Share):
    """The share of positives that is predicted as such."""

    kinds = ("tp", "fn")


@public_op(weak=False)
def _greatest(sought: tuple[Any, Any], bounded: tuple[Any, Any], bound: float) -> Any:
    """The greatest share sought at thresholds where the other is at least ``bound``; 0 where there is none."""
    wanted, other = (ops.divide_no_nan(part, ops.add(part, rest)) for part, rest in (sought, bounded))
    return ops.max(ops.where(ops.greater_equal(other, bound), wanted, 0), initial=0)


_SHARES = {
    "sensitivity": ("tp", "fn"),
    "recall": ("tp", "fn"),
    "specificity": ("tn", "fp"),
    "precision": ("tp", "fp"),
}


class _AtBound(ConfusionMetric):
    """The greatest of one share at thresholds where another is at least a bound."""

    _direction = "up"
    kinds = ("tp", "fp", "tn", "fn")
    sought: str
    bounded: str

    def __init__(self, value: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any) -> None:
        if not 0 <= value <= 1:
            raise ArgumentError(f"{type(self).__name__}: expected {self.bounded} between 0 and 1, received {value!r}")
        if num_thresholds <= 0:
            raise ArgumentError(f"{type(self).__name__}: expected num_thresholds > 0, received {num_thresholds!r}")
        super().__init__(name=name, dtype=dtype)
        setattr(self, self.bounded, value)
        self.value = value
        self.num_thresholds = num_thresholds
        self.class_id = class_id
        self.thresholds = [0.5] if num_thresholds == 1 else even_thresholds(num_thresholds)
        self._count_at(Counting(tuple(self.thresholds), num_thresholds > 1, None, class_id))

    def result(self) -> Any:
        """The greatest share so far, a scalar."""
        counts = self._counts()
        sought, bounded = (tuple(counts[k] for k in _SHARES[share]) for share in (self.sought, self.bounded))
        return _greatest(sought, bounded, float(self.value))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"class_id": self.class_id, "num_thresholds": self.num_thresholds, self.bounded: self.value}
        return {**super().get_config(), **own}


@builtin("keras.metrics")
class SensitivityAtSpecificity(_AtBound):
    """The best share of positives found while at least so many of the negatives are recognized.

    Args:
        specificity: the bound, 0 to 1.
        num_thresholds: how many thresholds are tried.
        class_id: the class that is looked at; all by default.
        name: the metric's name.
        dtype: element type of the result.
    """

    sought, bounded = "sensitivity", "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


@builtin("keras.metrics")
class SpecificityAtSensitivity(_AtBound):
    """The best share of negatives recognized while at least ``sensitivity`` of the positives are found.

    Further arguments as of SensitivityAtSpecificity.
    """

    sought, bounded = "specificity", "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)


@builtin("keras.metrics")
class PrecisionAtRecall(_AtBound):
    """The best precision while the recall is at least ``recall``; further arguments as of SensitivityAtSpecificity."""

    sought, bounded = "precision", "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)


@builtin("keras.metrics")
class RecallAtPrecision(_AtBound):
    """The best recall while precision is at least ``precision``; further arguments as of SensitivityAtSpecificity."""

    sought, bounded = "recall", "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)
