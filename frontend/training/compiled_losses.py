"""The losses that ``compile`` was given, as one: each output has its own, training sees their weighted sum."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.errors import ArgumentError
from .. import losses, metrics, ops
from ..keras_tensor import KerasTensor
from ..losses.base import LossFunctionWrapper
from ..losses.shapes import is_one
from ..names import name_scope, object_name
from ..variable import Variable
from .structures import Path, align, at, is_nest, leaves, leaves_along, pack, same_structure, shown


@dataclass(frozen=True)
class OutputLoss:
    """A loss of one output.

    Attributes:
        path: the keys and indices that lead to the output.
        loss: the loss.
        weight: its factor in the sum, or None.
        name: of the output, as the loss's metric bears it.
    """

    path: Path
    loss: losses.Loss
    weight: Any
    name: str


@dataclass(frozen=True)
class Weighted:
    """What the user gave for an output: a loss (or its name) and its weight."""

    loss: Any
    weight: Any


class CompileLoss(losses.Loss):
    """The weighted sum of the outputs' losses.

    Args:
        loss: a loss for every output: a Loss, a function, or a name, of which ``"crossentropy"`` and ``"ce"`` stand for
            the cross-entropy that fits the labels; or a list, dict or nest of them in the outputs' structure, None for
            what has no loss. Several for one output are added.
        loss_weights: numbers in the structure of ``loss``.
        reduction: of this sum; losses have their own.
        output_names: the names of a functional model's outputs, by which a dict may be given.

    Which loss belongs to which output is settled at the first call, as it depends on shapes.

    Raises:
        ArgumentError: an argument is not of these forms.
    """

    def __init__(
        self,
        loss: Any,
        loss_weights: Any = None,
        reduction: str | None = "sum_over_batch_size",
        output_names: Sequence[str] | None = None,
    ) -> None:
        if loss_weights is not None and not isinstance(loss_weights, list | tuple | dict | float | int):
            raise ArgumentError(
                "expected loss_weights as a number for one output, or a list or dict of numbers for several; received "
                f"{loss_weights!r}"
            )
        super().__init__(name="compile_loss", reduction=reduction)
        self.output_names = None if output_names is None else list(output_names)
        self.built = False
        self._user_loss = loss
        self._user_loss_weights = loss_weights
        self._losses: list[OutputLoss] = []
        self._metrics: list[metrics.Mean] = []

    @property
    def metrics(self) -> list[Any]:
        """The mean of each output's loss, named ``<output>_loss``, where there is more than one loss."""
        return list(self._metrics)

    @property
    def variables(self) -> list[Variable]:
        """The Variables of :attr:`metrics`."""
        return [v for metric in self._metrics for v in metric.variables]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch.

        Args:
            y_true: labels, in the outputs' structure, or flat, or a dict by output names.
            y_pred: the outputs.
            sample_weight: one for all outputs, or a nest like ``y_true``.

        Returns:
            A scalar tensor; None where no output has a loss.

        Raises:
            ArgumentError: labels, weights or losses do not fit the outputs. ShapeError: their shapes do not.
        """
        with name_scope(self.name):
            return self.call(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """See :meth:`__call__`."""
        y_true = align("y_true", y_true, y_pred, self.output_names, self._places(y_pred))
        if not self.built:
            self.build(y_true, y_pred)
        if is_nest(sample_weight):
            sample_weight = align("sample_weight", sample_weight, y_pred, self.output_names, self._places(y_pred))
        values = []
        for i, each in enumerate(self._losses):
            weight = _found(sample_weight, each.path) if is_nest(sample_weight) else sample_weight
            output = at(y_pred, each.path)
            value = ops.cast(each.loss(_labels(y_true, each), output, weight), self.dtype)
            if self._metrics:
                self._metrics[i].update_state(value, sample_weight=leaves(output)[0].shape[0])
            values.append(value if each.weight is None else ops.multiply(value, each.weight))
        return sum(values[1:], values[0]) if values else None

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Settle the losses of the outputs by the first labels and predictions."""
        wanted = self._weighted(self._by_name(self._user_loss, y_pred), y_pred)
        flat_names = self.output_names or _names_of(y_pred)
        names = pack(y_pred, flat_names) if len(flat_names) == len(leaves(y_pred)) else pack(y_pred, _names_of(y_pred))
        if not is_nest(wanted):
            wanted = pack(y_pred, [wanted] * len(leaves(y_pred)))
        self._losses = list(self._collect(wanted, y_true, y_pred, names, ()))
        if len(self._losses) > 1:
            self._metrics = [metrics.Mean(name=f"{each.name}_loss") for each in self._losses]
        self.built = True

    def _places(self, y_pred: Any) -> list[bool]:
        """Which of the outputs have a loss, as far as the losses alone tell."""
        given = self._by_name(self._user_loss, y_pred)
        flat = leaves(given)
        return [each is not None for each in flat] if is_nest(given) else [given is not None] * len(leaves(y_pred))

    def _by_name(self, given: Any, y_pred: Any, what: str = "loss") -> Any:
        """A dict by output names as a list, where the outputs are no dict."""
        if not isinstance(given, dict) or isinstance(y_pred, dict) or not self.output_names:
            return given
        _check_keys(what, given, self.output_names)
        missing = [name for name in self.output_names if name not in given]
        if missing:
            raise ArgumentError(
                f"{what} must have a key for each of the outputs {self.output_names}, it lacks {missing}; None stands "
                f"for an output without"
            )
        return [given[name] for name in self.output_names]

    def _weighted(self, loss: Any, y_pred: Any) -> Any:
        """The losses, each with its weight, in their structure."""
        weights = self._user_loss_weights
        flat = leaves(loss)
        if weights is None:
            flat_weights = [None] * len(flat)
        else:
            if isinstance(weights, dict) and isinstance(self._user_loss, dict):
                _check_keys("loss_weights", weights, list(self._user_loss))
            if isinstance(weights, dict) and not isinstance(loss, dict):
                weights = self._by_name(weights, y_pred, "loss_weights")
            alike = same_structure(loss, weights)
            flat_weights = leaves_along(weights, loss) if alike else leaves(weights)
            if len(flat_weights) != len(flat):
                raise ArgumentError(
                    f"loss_weights must match the losses: there are {len(flat)} losses ({shown(loss)}) and "
                    f"{len(flat_weights)} weights ({shown(weights)})"
                )
        pairs = [None if each is None else Weighted(each, weight) for each, weight in zip(flat, flat_weights)]
        return pack(loss, pairs)

    def _collect(self, wanted: Any, y_true: Any, y_pred: Any, names: Any, path: Path) -> Iterator[OutputLoss]:
        """The losses of an output, or of all outputs in a nest."""
        if wanted is None:
            return
        if isinstance(wanted, list | tuple) and not any(map(is_nest, wanted)) and len(wanted) == len(leaves(y_pred)):
            wanted = pack(y_pred, wanted)
        if isinstance(wanted, Weighted):
            yield _settled(wanted, y_true, y_pred, names, path)
        elif isinstance(wanted, list | tuple) and not isinstance(y_pred, list | tuple):
            for each in wanted:  # several losses of one output
                yield from self._collect(each, y_true, y_pred, names, path)
        else:
            yield from self._collect_items(wanted, y_true, y_pred, names, path)

    def _collect_items(self, wanted: Any, y_true: Any, y_pred: Any, names: Any, path: Path) -> Iterator[OutputLoss]:
        is_dict = isinstance(wanted, dict)
        if is_dict != isinstance(y_pred, dict) or not is_nest(y_pred):
            raise ArgumentError(
                f"loss{_place(path)} has the structure {shown(wanted)}, but the model's outputs there are "
                f"{shown(y_pred)}"
            )
        items: Iterable[tuple[Any, Any]] = wanted.items() if is_dict else enumerate(wanted)
        for key, each in items:
            if each is None:
                continue
            known = list(y_pred) if is_dict else range(len(y_pred))
            if key not in known:
                hint = _nearest(key, known) if is_dict else f"there are {len(y_pred)} outputs"
                raise ArgumentError(f"loss{_place((*path, key))} is for no output of the model: {hint}")
            labels = y_true.get(key) if isinstance(y_true, dict) else y_true[key]
            yield from self._collect(each, labels, y_pred[key], names[key], (*path, key))

    def get_config(self) -> dict[str, Any]:
        """It has none: what ``compile`` was given is saved instead."""
        raise TypeError("CompileLoss has no config; the model keeps the arguments of compile()")


def get_loss(identifier: Any, y_true: Any, y_pred: Any) -> losses.Loss:
    """The Loss that an argument means, given the labels and predictions it is for."""
    if str(identifier).lower() in ("crossentropy", "ce"):
        found: Any = {
            "binary": losses.binary_crossentropy,
            "sparse": losses.sparse_categorical_crossentropy,
            "categorical": losses.categorical_crossentropy,
        }[kind_of_labels(y_true, y_pred)]
    else:
        found = losses.get(identifier)
    if isinstance(found, losses.Loss):
        return found
    return LossFunctionWrapper(found, name=identifier if isinstance(identifier, str) else object_name(found))


def kind_of_labels(y_true: Any, y_pred: Any) -> str:
    """Whether labels are ``"binary"``, ``"sparse"`` (integers) or ``"categorical"`` (one-hot), told by the shapes."""
    true, pred = y_true.shape, y_pred.shape
    if pred and is_one(pred[-1]):
        return "binary"
    return "sparse" if len(true) < len(pred) or (true and is_one(true[-1])) else "categorical"


def _settled(wanted: Weighted, y_true: Any, y_pred: Any, names: Any, path: Path) -> OutputLoss:
    try:
        loss = get_loss(wanted.loss, y_true, y_pred)
    except ArgumentError as error:
        raise ArgumentError(f"loss{_place(path)}: {error}") from error
    own = "_".join(str(name) for name in leaves(names)) if is_nest(names) else names or loss.name
    if not path:
        path_names: Path = (own,)
    else:
        path_names = (*path[:-1], own) if isinstance(path[-1], int) else path
    return OutputLoss(path, loss, wanted.weight, "/".join(map(str, path_names)))


def _labels(y_true: Any, each: OutputLoss) -> Any:
    found = _found(y_true, each.path)
    if found is None:
        raise ArgumentError(f"output {each.name!r} has a loss, {each.loss.name}, but there are no labels (y) for it")
    return found


def _found(nest: Any, path: Path) -> Any:
    """What a path leads to in a nest that may lack some keys."""
    for key in path:
        if nest is None:
            return None
        nest = nest.get(key) if isinstance(nest, dict) else nest[key]
    return nest


def _names_of(y_pred: Any) -> list[Any]:
    """The operations that symbolic outputs come from; None for others."""
    return [t.history[0].name if isinstance(t, KerasTensor) and t.history else None for t in leaves(y_pred)]


def _check_keys(what: str, given: dict[str, Any], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            raise ArgumentError(f"{what} has the key {key!r}, which is no output of the model: {_nearest(key, known)}")


def _nearest(name: Any, known: Iterable[Any]) -> str:
    names = [str(each) for each in known]
    close = difflib.get_close_matches(str(name), names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"the outputs are {names}"


def _place(path: Path) -> str:
    return "".join(f"[{key!r}]" for key in path)
