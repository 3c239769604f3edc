"""Sums and means of values, and the metric that is the mean of a function's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from .. import ops
from ..convert import as_tensor
from ..dispatch import public_op
from ..losses.base import Loss
from ..losses.function import LOSS_FUNCTIONS, as_array
from ..losses.reduction import masked_weight
from ..losses.shapes import same_rank
from ..masking import get_mask
from ..ops import building as b
from ..registry import builtin
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..tensor import Tensor
from .base import Metric, gather

Reduce = Callable[..., Any]


def _samplewise(values: Any, sample_weight: Any, mask: Any, reduce: Reduce, dtype: str) -> tuple[Tensor, Any]:
    """One weighted value for each sample, and each sample's weight (None without weights).

    Axes that the weights lack are reduced first, then all axes but the first.
    """
    values = as_tensor(values, dtype)
    weight = None if sample_weight is None else as_tensor(sample_weight, dtype)
    if weight is not None:
        if mask is not None:
            weight = masked_weight(weight, mask, dtype, "sum")
        values, weight = same_rank(values, weight)
        given, rank = b.shape_of(values), weight.ndim
        if values.ndim > rank:
            values = reduce(values, axis=tuple(range(rank, values.ndim)))
        _check_weight(given, values, weight)
        weight = as_tensor(ops.broadcast_to(weight, values.shape))
        values = ops.multiply(values, weight)
        if rank > 1:
            weight = reduce(weight, axis=tuple(range(1, rank)))
    if values.ndim > 1:
        values = reduce(values, axis=tuple(range(1, values.ndim)))
    return values, weight


def _check_weight(given: b.Shape, values: Tensor, weight: Tensor) -> None:
    wanted, own = b.shape_of(values), b.shape_of(weight)
    pairs = list(zip(reversed(wanted), reversed(own)))
    clash = any(isinstance(v, int) and isinstance(w, int) and v != w and w != 1 for v, w in pairs)
    if len(own) > len(wanted) or clash:
        raise ShapeError(
            f"sample_weight of shape {b.text(own)} does not fit values of shape {b.text(given)}; expected one weight "
            "for each sample, or weights for the first axes of the values"
        )


@public_op(weak=False)
def _total(values: Any, sample_weight: Any, mask: Any, dtype: str) -> Any:
    return ops.sum(_samplewise(values, sample_weight, mask, ops.sum, dtype)[0])


@public_op(weak=False)
def _total_and_count(values: Any, sample_weight: Any, mask: Any, dtype: str) -> tuple[Any, Any]:
    values, weight = _samplewise(values, sample_weight, mask, ops.mean, dtype)
    if weight is not None:
        count = ops.sum(weight)
    else:
        count = b.dim_tensor(b.shape_of(values)[0] if values.ndim else 1, dtype)
    return ops.sum(values), count


@public_op(weak=False)
def _weight_of(sample_weight: Any, mask: Any, dtype: str) -> Any:
    return masked_weight(sample_weight, mask, dtype, "sum")


@builtin("keras.metrics")
class Sum(Metric):
    """The (weighted) sum of values.

    Args:
        name: the metric's name.
        dtype: element type of state and result.
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values of any shape, each times its weight."""
        values = as_array(values)
        gather([self.total], [_total(values, as_array(sample_weight), get_mask(values), self.dtype)])

    def result(self) -> Any:
        """The sum so far, a scalar."""
        return ops.cast(self.total, self.dtype)


@builtin("keras.metrics")
class Mean(Metric):
    """The (weighted) mean of values.

    Args:
        name: the metric's name.
        dtype: element type of state and result.
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")
        self.count = self.add_variable((), "zeros", self.dtype, name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Take in values of any shape: the mean of each sample's, times its weight.

        Raises:
            ShapeError: the weights do not fit the values.
        """
        values = as_array(values)
        found = _total_and_count(values, as_array(sample_weight), get_mask(values), self.dtype)
        gather([self.total, self.count], found)

    def result(self) -> Any:
        """The mean so far, a scalar; 0 before any value."""
        return ops.divide_no_nan(self.total, self.count)


@builtin("keras.metrics")
class MeanMetricWrapper(Mean):
    """The mean of what a function makes of labels and predictions.

    Args:
        fn: ``fn(y_true, y_pred, **kwargs)``, which returns a value for each sample; a Loss serves too.
        name: the metric's name.
        dtype: element type of state and result.
        kwargs: further arguments for ``fn``.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        if not callable(fn):
            raise ArgumentError(f"{type(self).__name__}: expected a function fn(y_true, y_pred), received {fn!r}")
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        if isinstance(fn, Loss) or any(fn is known for known in LOSS_FUNCTIONS.values()):
            self._direction = "down"

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take in a batch of labels and predictions; steps that the predictions' mask leaves out do not count.

        Raises:
            ShapeError: labels, predictions and weights do not fit together.
        """
        mask = get_mask(y_pred)
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        weight = as_array(sample_weight)
        if mask is not None:
            weight = _weight_of(weight, mask, self.dtype)
        super().update_state(values, weight)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"fn": serialize_keras_object(self._fn), **serialize_keras_object(self._fn_kwargs)}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """Make a metric from what ``get_config`` returned."""
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))


class BuiltinMean(MeanMetricWrapper):
    """A mean of one of this package's functions.

    The further arguments are attributes, and are written to the config: ``unsaved``, which Keras leaves out, only where
    they are not their defaults.
    """

    unsaved: dict[str, Any] = {}

    def __init__(self, fn: Callable[..., Any], name: str | None, dtype: Any, **kwargs: Any) -> None:
        super().__init__(fn, name=name, dtype=dtype, **kwargs)
        self.__dict__.update(kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as Keras writes them."""
        own = {k: v for k, v in self._fn_kwargs.items() if k not in self.unsaved or v != self.unsaved[k]}
        return {**Metric.get_config(self), **own}
