"""``ModelCheckpoint``: the model on disk, as training goes on."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError
from ..registry import builtin
from ..training.progress import print_message
from ..training.shares import first_writes
from .callback import fetches_logs, nearest, python_logs
from .monitor import MonitorCallback


class SaveEvery:
    """Counts batches over the ends of epochs, also where several run at once.

    Args:
        save_freq: how many batches make it due; ``"epoch"`` for never.
    """

    def __init__(self, save_freq: Any) -> None:
        if save_freq != "epoch" and (not isinstance(save_freq, int) or isinstance(save_freq, bool) or save_freq < 1):
            raise ArgumentError(
                f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' or integer values, 1 at least"
            )
        self._every = save_freq
        self._since = 0
        self._last: int | None = None
        self.total = 0

    def due(self, batch: int) -> bool:
        """Whether, with ``batch`` done, it is time."""
        if self._every == "epoch":
            return False
        done = batch + 1 if self._last is None or batch <= self._last else batch - self._last
        self._last = batch
        self._since += done
        self.total += done
        if self._since < self._every:
            return False
        self._since = 0
        return True


@builtin("keras.callbacks")
class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, each epoch or every so many batches.

    A file is written beside and then renamed: whatever happens in the middle, the old one stays whole. Of several
    processes that train together the first writes it.

    Args:
        filepath: the file, ``.keras``, or ``.weights.h5`` with ``save_weights_only``. It may hold fields that the epoch
            and the logs fill: ``"{epoch:02d}-{val_loss:.2f}.keras"``.
        monitor: name in the logs of what decides which model is best.
        verbose: 1 to print what is done.
        save_best_only: save only a model that is better than all before.
        save_weights_only: save the weights and not the whole model.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        save_freq: ``"epoch"``, or a number of batches.
        initial_value_threshold: the value to be better than at first.

    Raises:
        ArgumentError: ``filepath`` has another ending, or ``save_freq`` is neither.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._every = SaveEvery(save_freq)
        self._epoch = 0
        _check_ending(self.filepath, save_weights_only)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch."""
        self._epoch = epoch

    @fetches_logs
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save, when that many batches are done."""
        if self._every.due(batch):
            self._save(self._epoch, batch, python_logs(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save."""
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> None:
        path = self._path(epoch, batch, logs)
        if not self._wanted(epoch, logs, path):
            return
        if os.path.isdir(path):
            raise IsADirectoryError(
                "Please specify a non-directory filepath for ModelCheckpoint. Filepath used is an existing directory: "
                f"{path}"
            )
        with first_writes(f"saving {path!r}") as writes:
            if writes:
                os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            if self.save_weights_only:
                self.model.save_weights(path, overwrite=True)
            else:
                self.model.save(path, overwrite=True)
        if self.verbose > 0:
            print_message(f"\nEpoch {epoch + 1}: finished saving model to {path}")

    def _path(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> str:
        fields = {"epoch": epoch + 1, **({} if batch is None else {"batch": batch + 1}), **logs}
        try:
            return self.filepath.format(**fields)
        except KeyError as error:
            name = error.args[0]
            raise KeyError(
                f'Failed to format this callback filepath: "{self.filepath}". Reason: {error} is none of '
                f"{', '.join(fields)}.{nearest(str(name), fields)}"
            ) from error

    def _wanted(self, epoch: int, logs: dict[str, Any], path: str) -> bool:
        """Whether the model is to be saved; prints why, or why not."""
        if not self.save_best_only:
            if self.verbose > 0:
                print_message(f"\nEpoch {epoch + 1}: saving model to {path}")
            return True
        if self.monitor_op is None:
            self._set_monitor_op()
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"Can save best model only with {self.monitor} available. Available metrics are: {','.join(logs)}."
                f"{nearest(self.monitor, logs)} It is saved anyway",
                stacklevel=4,
            )
            return True
        if np.ndim(current):
            warnings.warn(
                f"Can save best model only when `monitor` is a scalar value. Received: {current}. "
                "Falling back to `save_best_only=False`.",
                stacklevel=4,
            )
            return True
        before = "None" if self.best is None else f"{self.best:.5f}"
        better = self._is_improvement(current, self.best)
        if self.verbose > 0:
            change = f"improved from {before} to {current:.5f}, saving model to {path}"
            print_message(
                f"\nEpoch {epoch + 1}: {self.monitor} {change if better else f'did not improve from {before}'}"
            )
        if better:
            self.best = current
        return better


def _check_ending(path: str, weights_only: bool) -> None:
    if weights_only and not path.endswith(".weights.h5"):
        raise ArgumentError(
            "When using `save_weights_only=True` in `ModelCheckpoint`, the filepath provided must end in `.weights.h5` "
            f"(Keras weights format). Received: filepath={path}"
        )
    if not weights_only and not path.endswith(".keras"):
        hint = "; or pass `save_weights_only=True`" if path.endswith(".weights.h5") else ""
        raise ArgumentError(
            f"The filepath provided must end in `.keras` (Keras model format){hint}. Received: filepath={path}"
        )
