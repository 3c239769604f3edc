"""Callbacks that change the learning rate: by a schedule, or when training no longer gets better."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError
from ..registry import builtin
from ..training.progress import print_message
from .callback import Callback, nearest, python_value
from .monitor import MonitorCallback


def optimizers_of(optimizer: Any) -> Iterator[tuple[str, Any]]:
    """Each optimizer that has a learning rate, with what it is called where there are several, else ``""``."""
    if hasattr(optimizer, "optimizers"):
        for each in optimizer.optimizers:
            yield each.name, each
    else:
        yield "", optimizer


def learning_rate_of(optimizer: Any) -> float:
    """The present learning rate."""
    return float(np.asarray(optimizer.learning_rate))


def log_learning_rates(optimizer: Any, logs: dict[str, Any]) -> None:
    """Add the present learning rates to the logs."""
    for name, each in optimizers_of(optimizer):
        logs[f"learning_rate_{name}" if name else "learning_rate"] = learning_rate_of(each)


@builtin("keras.callbacks")
class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch.

    Args:
        schedule: function of the epoch, counted from 0, and the present rate; or of the epoch alone. Returns a float.
        verbose: 1 to print each change.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the rate."""
        for name, optimizer in optimizers_of(self.model.optimizer):
            if not hasattr(optimizer, "learning_rate"):
                raise ArgumentError(
                    f'Optimizer must have a "learning_rate" attribute. {type(optimizer).__name__} has none'
                )
            rate = self._next_rate(epoch, learning_rate_of(optimizer))
            optimizer.learning_rate = rate
            if self.verbose > 0:
                of = f"{name} " if name else ""
                print_message(f"\nEpoch {epoch + 1}: LearningRateScheduler setting {of}learning rate to {rate}.")

    def _next_rate(self, epoch: int, rate: float) -> float:
        arguments = (epoch, rate) if _takes_two(self.schedule) else (epoch,)
        found = self.schedule(*arguments)
        value = python_value(found)
        if not isinstance(value, float) or isinstance(found, int):
            raise ArgumentError(f"The output of the `schedule` function should be a float. Got: {found!r}")
        return value

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the rate."""
        log_learning_rates(self.model.optimizer, {} if logs is None else logs)


def _takes_two(schedule: Callable[..., Any]) -> bool:
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # a built-in function that does not say
        return True
    return True


@builtin("keras.callbacks")
class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a quantity has stopped getting better.

    Args:
        monitor: its name in the logs.
        factor: what the rate is multiplied by, below 1.
        patience: how many epochs may pass without its getting better.
        verbose: 1 to print each change.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        min_delta: a smaller change counts as none.
        cooldown: epochs after a change that do not count.
        min_lr: the rate goes no lower.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        if factor >= 1.0:
            raise ArgumentError(
                f"ReduceLROnPlateau does not support a factor >= 1.0. Received factor={factor}, which lowers nothing"
            )
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget the last run."""
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the rate, compare, and lower it where patience is used up."""
        if self.monitor_op is None:
            self._set_monitor_op()
        logs = {} if logs is None else logs
        log_learning_rates(self.model.optimizer, logs)
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"Learning rate reduction is conditioned on metric `{self.monitor}` which is not available. Available "
                f"metrics are: {','.join(logs)}.{nearest(self.monitor, logs)}",
                stacklevel=2,
            )
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def _reduce(self, epoch: int) -> bool:
        """Lower the rates that are above the least; whether any was."""
        reduced = False
        for name, optimizer in optimizers_of(self.model.optimizer):
            old = learning_rate_of(optimizer)
            if old > np.float32(self.min_lr):
                new = max(old * self.factor, self.min_lr)
                optimizer.learning_rate = new
                reduced = True
                if self.verbose > 0:
                    of = f" {name}" if name else ""
                    print_message(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing{of} learning rate to {new}.")
        return reduced

    def in_cooldown(self) -> bool:
        """Whether epochs do not count, because the rate was lowered a short while ago."""
        return self.cooldown_counter > 0
