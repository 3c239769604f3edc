"""``Callback``: what a user may have happen at each point of training, evaluation and prediction."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from ..registry import builtin

F = TypeVar("F", bound=Callable[..., Any])

# A batch's values as a training loop has them: arrays on the device by name, or a function that fetches those.
BatchLogs = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None


def default(method: F) -> F:
    """Mark a hook that does nothing, so that no time is spent on calling it where no subclass overrides it."""
    method._is_default = True  # type: ignore[attr-defined]
    return method


def is_default(method: Any) -> bool:
    """Whether a hook is one that does nothing."""
    return getattr(method, "_is_default", False)


def fetches_logs(method: F) -> F:
    """Mark a hook that takes :data:`BatchLogs` as they are and calls :func:`python_logs` only where it needs values.

    Fetching values waits for the device, so that a hook that does so for each batch has host and device take turns.
    A hook without the mark receives a dict of Python floats.
    """
    method._fetches_logs = True  # type: ignore[attr-defined]
    return method


def python_logs(logs: BatchLogs) -> dict[str, Any]:
    """Logs as Keras hands them out: sorted by name, nested dicts merged, scalars as Python floats."""
    logs = logs() if callable(logs) else logs
    result: dict[str, Any] = {}
    for name, value in sorted((logs or {}).items()):
        if isinstance(value, Mapping):
            result.update(python_logs(value))
        else:
            result[name] = python_value(value)
    return result


def python_value(value: Any) -> Any:
    """A scalar as a Python float; anything else as it is."""
    if isinstance(value, bool | int | float):
        return float(value)
    if getattr(value, "shape", None) == () and hasattr(value, "__array__"):
        array = np.asarray(value)
        return array.item() if array.dtype.kind in "OUSMmc" else float(array)
    return value


def nearest(name: str, available: Iterable[str]) -> str:
    """What a message adds about a name that is not there: the nearest one that is."""
    close = difflib.get_close_matches(name, list(available), n=1)
    return f" Did you mean `{close[0]}`?" if close else ""


@builtin("keras.callbacks")
class Callback:
    """Base of all callbacks: a subclass overrides the hooks it wants.

    Hooks of batches are called with ``batch``, the number of the step in its epoch, those of epochs with ``epoch``.
    What was measured comes as ``logs``, a dict from name to float; what a hook adds to it the callbacks after it see,
    and the history records.

    Attributes:
        model: the model that trains.
        params: ``verbose``, ``epochs`` and ``steps``.
    """

    def __init__(self) -> None:
        self.params: dict[str, Any] | None = None
        self._model: Any = None

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive the parameters of the run."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Receive the model."""
        self._model = model

    @property
    def model(self) -> Any:
        """The model that trains."""
        return self._model

    @default
    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Another name for :meth:`on_train_batch_begin`."""

    @default
    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Another name for :meth:`on_train_batch_end`."""

    @default
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """An epoch of training begins."""

    @default
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """An epoch of training is over; ``logs`` has its loss and metrics, those of validation as ``val_...``."""

    @default
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """A step of training begins."""
        self.on_batch_begin(batch, logs=logs)

    @default
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """A step of training is done; ``logs`` has the loss and metrics of the epoch so far."""
        self.on_batch_end(batch, logs=logs)

    @default
    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """A step of evaluation, or of validation in training, begins."""

    @default
    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """A step of evaluation, or of validation in training, is done."""

    @default
    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """A step of prediction begins."""

    @default
    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """A step of prediction is done; ``logs["outputs"]`` has what it gave."""

    @default
    def on_train_begin(self, logs: Any = None) -> None:
        """Training begins."""

    @default
    def on_train_end(self, logs: Any = None) -> None:
        """Training is over; not called where it ended by an error."""

    @default
    def on_test_begin(self, logs: Any = None) -> None:
        """Evaluation begins, or validation in training."""

    @default
    def on_test_end(self, logs: Any = None) -> None:
        """Evaluation is over."""

    @default
    def on_predict_begin(self, logs: Any = None) -> None:
        """Prediction begins."""

    @default
    def on_predict_end(self, logs: Any = None) -> None:
        """Prediction is over."""
