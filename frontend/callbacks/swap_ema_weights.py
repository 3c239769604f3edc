"""``SwapEMAWeights``: evaluate with the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...ir.errors import ArgumentError
from ..registry import builtin
from .callback import Callback


@builtin("keras.callbacks")
class SwapEMAWeights(Callback):
    """Gives the model the moving averages that an optimizer with ``use_ema=True`` keeps, while it is evaluated.

    Args:
        swap_on_epoch: whether it has them from the end of an epoch to the beginning of the next, so that callbacks
            after this one, such as ``ModelCheckpoint``, see them.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._averages_in_model = False

    def _optimizers(self) -> Iterator[Any]:
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of LossScaleOptimizer
        several = hasattr(optimizer, "optimizers")
        found = [o for o in (optimizer.optimizers if several else [optimizer]) if getattr(o, "use_ema", False)]
        if not found:
            raise ArgumentError(
                "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer"
                f"{' or one of its inner optimizers' if several else ''}. Received: use_ema=False; pass "
                f"use_ema=True to {type(optimizer).__name__}"
            )
        for each in found:
            if not hasattr(each, "_model_variables_moving_average"):
                raise ArgumentError(f"{type(each).__name__} is not built, so that it keeps no moving averages yet")
            yield each

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        for optimizer in self._optimizers():
            yield from zip(optimizer._trainable_variables, optimizer._model_variables_moving_average)

    def _swap(self) -> None:
        for variable, average in self._pairs():
            held = variable.numpy().copy()
            variable.assign(average)
            average.assign(held)
        self._averages_in_model = not self._averages_in_model

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Give the model its weights back."""
        if self.swap_on_epoch and self._averages_in_model:
            self._swap()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Give the model the averages."""
        if self.swap_on_epoch and not self._averages_in_model:
            self._swap()
            if epoch == (self.params or {}).get("epochs", 0) - 1:
                # At the end of training the optimizer gives the model the averages; they are in the model now.
                for variable, average in self._pairs():
                    average.assign(variable)

    def on_test_begin(self, logs: Any = None) -> None:
        """Give the model the averages."""
        if not self._averages_in_model:
            self._swap()

    def on_test_end(self, logs: Any = None) -> None:
        """Give the model its weights back."""
        if self._averages_in_model:
            self._swap()

    def on_predict_begin(self, logs: Any = None) -> None:
        """Give the model the averages."""
        if not self._averages_in_model:
            self._swap()

    def on_predict_end(self, logs: Any = None) -> None:
        """Give the model its weights back."""
        if self._averages_in_model:
            self._swap()
