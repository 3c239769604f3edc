"""``EarlyStopping``: end training once it no longer gets better."""

from __future__ import annotations

import warnings
from typing import Any

from ..registry import builtin
from ..training.progress import print_message
from .callback import nearest
from .monitor import MonitorCallback


@builtin("keras.callbacks")
class EarlyStopping(MonitorCallback):
    """Ends training when a quantity has stopped getting better.

    Args:
        monitor: its name in the logs.
        min_delta: a smaller change counts as none.
        patience: how many epochs may pass without its getting better.
        verbose: 1 to print what is done.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        baseline: training also ends where it is not better than this.
        restore_best_weights: whether the model gets the weights of its best epoch at the end.
        start_from_epoch: epochs before this one do not count.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_weights: list[Any] | None = None
        self.best_epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget the last run."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare, and end training where patience is used up."""
        if self.monitor_op is None:
            self._set_monitor_op()
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:  # the first are the best so far
            self._keep(epoch)
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best = current
            self._keep(epoch)
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: Any = None) -> None:
        """Say when it ended, and put the best weights back."""
        if self.stopped_epoch > 0 and self.verbose > 0:
            print_message(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print_message(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs: Any) -> Any:
        """The watched value; None, with a warning, where the logs lack it."""
        logs = logs or {}
        value = logs.get(self.monitor)
        if value is None:
            warnings.warn(
                f"Early stopping conditioned on metric `{self.monitor}` which is not available. "
                f"Available metrics are: {','.join(logs)}.{nearest(self.monitor, logs)}",
                stacklevel=2,
            )
        return value
