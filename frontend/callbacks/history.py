"""``History``: what each epoch measured."""

from __future__ import annotations

from typing import Any

from ..registry import builtin
from .callback import Callback


@builtin("keras.callbacks")
class History(Callback):
    """Records the logs of each epoch; ``fit`` returns it.

    Attributes:
        history: name to the values of all epochs.
        epoch: the numbers of the epochs of the last run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget the epochs' numbers; values are kept, and added to."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self
