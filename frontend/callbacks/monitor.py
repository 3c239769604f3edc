"""What callbacks that watch a quantity have in common: which way is better, and whether a value is."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

from ...ir.errors import ArgumentError
from .callback import Callback


class MonitorCallback(Callback):
    """Base of callbacks that watch a quantity.

    Args:
        monitor: its name in the logs, such as ``"val_loss"``.
        mode: ``"min"`` where less is better, ``"max"`` where more is, ``"auto"`` to tell by the name.
        baseline: the value to be better than at first; None for any.
        min_delta: a smaller change counts as none.
    """

    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", baseline: float | None = None, min_delta: float = 0
    ) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f"{type(self).__name__} mode '{mode}' is unknown, fallback to auto mode.",
                stacklevel=3,
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self.monitor_op: Callable[[Any, Any], Any] | None = None

    def _set_monitor_op(self) -> None:
        """Decide which way is better; late, since a model's metrics are there only once it has run.

        Raises:
            ArgumentError: ``mode`` is ``"auto"``, and the name does not tell.
        """
        if self.mode == "min" or (self.mode == "auto" and self._direction() == "down"):
            self.monitor_op = operator.lt
            self.min_delta = -self.min_delta
        elif self.mode == "max" or self._direction() == "up":
            self.monitor_op = operator.gt
        else:
            raise ArgumentError(
                f"{type(self).__name__} callback received monitor={self.monitor}, but isn't able to automatically "
                "determine whether that metric should be maximized or minimized. Pass `mode='max'` in order to monitor "
                "based on the highest metric value, or pass `mode='min'` in order to use the lowest value."
            )

    def _direction(self) -> str | None:
        name = self.monitor.removeprefix("val_")
        for group in getattr(self.model, "metrics", None) or ():
            for metric in getattr(group, "metrics", ()):  # those that compile() got are in a group
                if metric.name == name and hasattr(metric, "_direction"):
                    return "up" if metric._direction == "up" else "down"
        return "down" if name == "loss" else None

    def _is_improvement(self, value: Any, reference: Any) -> bool:
        if reference is None:
            return True
        assert self.monitor_op is not None
        return bool(self.monitor_op(value - self.min_delta, reference))
