"""The metrics that ``compile`` was given, as one: those of each output, under the names that logs have."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.errors import ArgumentError
from .. import metrics as metrics_module
from ..metrics import Metric
from ..names import object_name
from ..variable import Variable
from .compiled_losses import _check_keys, kind_of_labels
from .structures import is_nest, leaves, shown

_BY_LABELS = {
    "binary": (metrics_module.BinaryAccuracy, metrics_module.BinaryCrossentropy),
    "sparse": (metrics_module.SparseCategoricalAccuracy, metrics_module.SparseCategoricalCrossentropy),
    "categorical": (metrics_module.CategoricalAccuracy, metrics_module.CategoricalCrossentropy),
}


@dataclass(frozen=True)
class OutputMetrics:
    """The metrics of one output; ``output`` is the name that theirs start with, or None."""

    metrics: tuple[Metric, ...]
    output: str | None


class CompileMetrics(Metric):
    """Metrics of all outputs.

    Args:
        metrics: metrics, functions or names, of which ``"accuracy"``, ``"acc"``, ``"crossentropy"`` and ``"ce"`` stand
            for what fits the labels: a list for one output; for several a list of lists, a dict by output names, or a
            nest in the outputs' structure.
        weighted_metrics: such that sample weights apply to.
        name: the metric's name.
        output_names: the names of a functional model's outputs.

    Which metrics belong to which output is settled at the first update, as it depends on shapes.

    Raises:
        ArgumentError: an argument is not of these forms.
    """

    def __init__(
        self,
        metrics: Any,
        weighted_metrics: Any,
        name: str = "compile_metrics",
        output_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name=name)
        for argument, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if value and not isinstance(value, list | tuple | dict):
                raise ArgumentError(f"expected {argument} as a list, tuple or dict, received {value!r}")
        self.built = False
        self.output_names = None if output_names is None else list(output_names)
        self._given = (metrics, weighted_metrics)
        self._names: list[str] | None = None  # of the outputs, in order, where there are several
        self._plain: list[OutputMetrics | None] = []
        self._weighted: list[OutputMetrics | None] = []

    @property
    def metrics(self) -> list[Metric]:
        """All metrics, once it is built."""
        return [m for each in (*self._plain, *self._weighted) if each is not None for m in each.metrics]

    @property
    def variables(self) -> list[Variable]:
        """The Variables of :attr:`metrics`."""
        return list({id(v): v for metric in self.metrics for v in metric.variables}.values())

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Settle the metrics of the outputs by the first labels and predictions."""
        count = len(leaves(y_pred))
        flat = is_nest(y_pred) and len(y_pred) == count
        names = _names_of(y_pred, self.output_names) if flat and isinstance(y_pred, dict) else self.output_names
        self._names = list(names) if names and count > 1 and flat else None
        outputs = [names if names and len(names) == count else [None] * count, self._flat(y_true), self._flat(y_pred)]
        self._plain, self._weighted = (
            [
                None if not each else OutputMetrics(tuple(_metrics_of(each, true, pred)), name if count > 1 else None)
                for each, name, true, pred in zip(_spread(given, y_pred, names, flat, what), *outputs)
            ]
            for given, what in zip(self._given, ("metrics", "weighted_metrics"), strict=True)
        )
        self.built = True

    def _flat(self, nest: Any) -> list[Any]:
        """Labels, outputs or weights in the order of the outputs."""
        if isinstance(nest, dict) and self._names is not None:
            _check_keys("y", nest, self._names)
            return [nest.get(name) for name in self._names]
        return leaves(nest)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: labels, in the outputs' structure, or flat, or a dict by output names.
            y_pred: the outputs.
            sample_weight: one for all outputs, or a nest like ``y_true``; for the weighted metrics.

        Raises:
            ArgumentError: metrics do not fit the outputs. ShapeError: labels do not fit them.
        """
        if not self.built:
            self.build(y_true, y_pred)
        true, pred = self._flat(y_true), self._flat(y_pred)
        weights: list[Any] = [None] if sample_weight is None else self._flat(sample_weight)
        if len(weights) < len(pred):
            weights = weights[:1] * len(pred)
        for sets, factors in ((self._plain, [None] * len(pred)), (self._weighted, weights)):
            for each, t, p, w in zip(sets, true, pred, factors, strict=False):
                for metric in each.metrics if each is not None else ():
                    metric.update_state(t, p, sample_weight=w) if w is not None else metric.update_state(t, p)

    def reset_state(self) -> None:
        """Forget what all metrics gathered."""
        for metric in self.metrics:
            metric.reset_state()

    def result(self) -> dict[str, Any]:
        """Name to value. Of several outputs names start with the output's; weighted ones with ``weighted_`` where an
        unweighted one has the name."""
        if not self.built:
            raise ArgumentError("the metrics of compile() have no result before the first batch")
        return {name: metric.result() for name, metric in self._named()}

    def _named(self) -> Iterator[tuple[str, Metric]]:
        used: dict[str, int] = {}
        for sets, prefix in ((self._plain, ""), (self._weighted, "weighted_")):
            for each in sets:
                for metric in each.metrics if each is not None else ():
                    start = f"{each.output}_" if each is not None and each.output else ""
                    name = f"{start}{metric.name}"
                    if prefix and name in used:
                        name = f"{start}{prefix}{metric.name}"
                    number = used.get(name, 0)
                    used[name] = number + 1
                    yield (f"{name}_{number}" if number else name), metric

    def get_config(self) -> dict[str, Any]:
        """It has none: what ``compile`` was given is saved instead."""
        raise TypeError("CompileMetrics has no config; the model keeps the arguments of compile()")


def get_metric(identifier: Any, y_true: Any, y_pred: Any) -> Metric:
    """The Metric that an argument means, given the labels and predictions it is for."""
    if identifier is None:
        raise ArgumentError("expected a metric, received None")
    short = str(identifier).lower()
    if short in ("accuracy", "acc", "crossentropy", "ce"):
        kind = _BY_LABELS[kind_of_labels(y_true, y_pred)]
        found: Any = kind[0](name=identifier) if short.startswith("acc") else kind[1](name=identifier)
    else:
        found = metrics_module.get(identifier)
    name = identifier if isinstance(identifier, str) else object_name(found)
    if not isinstance(found, Metric):
        found = metrics_module.MeanMetricWrapper(found)
    found.name = name
    return found


def _metrics_of(given: Any, y_true: Any, y_pred: Any) -> list[Metric]:
    if y_true is None:
        raise ArgumentError(f"metrics {given!r} are for an output without labels (y)")
    return [get_metric(each, y_true, y_pred) for each in (given if isinstance(given, list | tuple) else [given])]


def _names_of(y_pred: dict[str, Any], output_names: Sequence[str] | None) -> list[str]:
    """The outputs' order: the model's, that of an OrderedDict, or by name."""
    if output_names and set(y_pred) == set(output_names):
        return list(output_names)
    return list(y_pred) if isinstance(y_pred, OrderedDict) else sorted(y_pred)


def _spread(given: Any, y_pred: Any, names: Sequence[str] | None, flat: bool, what: str) -> list[Any]:
    """What was given for each output, in order."""
    count = len(leaves(y_pred))
    if not given:
        return [None] * count
    if count == 1:
        return [leaves(given)]
    if flat and isinstance(given, list | tuple) and len(given) == count:
        return list(given)
    if flat and names and isinstance(given, dict):
        _check_keys(what, given, names)
        return [given.get(name) for name in names]
    return list(_matched(given, y_pred, names, what))


def _matched(given: Any, y_pred: Any, names: Sequence[str] | None, what: str) -> Iterator[Any]:
    """What was given for each output of a nest that ``given`` has the structure of."""
    if not is_nest(y_pred):
        yield given
    elif isinstance(y_pred, dict) and isinstance(given, dict) and y_pred.keys() == given.keys():
        for key in sorted(y_pred):
            yield from _matched(given[key], y_pred[key], names, what)
    elif isinstance(given, list | tuple) and not isinstance(y_pred, dict) and len(given) == len(y_pred):
        for own, output in zip(given, y_pred, strict=True):
            yield from _matched(own, output, names, what)
    else:
        known = f" (outputs {list(names)})" if names else ""
        raise ArgumentError(
            f"{what} must be a list or dict by the names of the outputs, or have their structure "
            f"{shown(y_pred)}{known}; received {given!r}"
        )
