"""Callbacks of a few lines: functions as hooks, and an end where the loss is no number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...ir.errors import ArgumentError
from ..registry import builtin
from ..training.progress import print_message
from .callback import Callback, fetches_logs, nearest, python_value


@builtin("keras.callbacks")
class LambdaCallback(Callback):
    """A callback of functions.

    Args:
        on_epoch_begin, on_epoch_end: functions of ``(epoch, logs)``.
        on_train_begin, on_train_end: functions of ``(logs)``.
        on_train_batch_begin, on_train_batch_end: functions of ``(batch, logs)``, the second by keyword.
        kwargs: functions for further hooks, by name.

    Raises:
        ArgumentError: there is no hook of that name.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        known = [name for name in dir(Callback) if name.startswith("on_")]
        for name in kwargs:
            if name.startswith("on_") and name not in known:
                raise ArgumentError(f"LambdaCallback has no hook {name!r}.{nearest(name, known)}")
        self.__dict__.update(kwargs)
        self.__dict__.update({name: function for name, function in hooks.items() if function is not None})


@builtin("keras.callbacks")
class TerminateOnNaN(Callback):
    """Ends training when the loss is NaN or infinite.

    Args:
        raise_error: whether that is an error, so that nothing that comes after training is done.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    @fetches_logs
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look at the loss, and at nothing else, so that only it is fetched."""
        self.on_batch_end(batch, logs() if callable(logs) else logs)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """End training, or raise RuntimeError, where the loss is no finite number."""
        loss = python_value((logs or {}).get("loss"))
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. Terminating training immediately."
            )
        print_message(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
