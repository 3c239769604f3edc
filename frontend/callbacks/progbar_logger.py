"""``ProgbarLogger``: the progress bar of ``fit``, ``evaluate`` and ``predict``."""

from __future__ import annotations

from typing import Any

from ..registry import builtin
from ..training.progress import Progbar, print_message, resolve_verbose
from .callback import Callback, fetches_logs, python_logs


@builtin("keras.callbacks")
class ProgbarLogger(Callback):
    """Prints the epoch's number, a bar and the metrics. Values are fetched from the device only when it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.progbar: Progbar | None = None
        self.target: int | None = None
        self.verbose = 1
        self.epochs: int | None = 1
        self._in_fit = False  # where validation prints nothing of its own

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive ``verbose``, ``epochs`` and ``steps``."""
        self.params = params
        self.verbose = resolve_verbose(params.get("verbose", 1))
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")

    def on_train_begin(self, logs: Any = None) -> None:
        """From now on validation is silent."""
        self._in_fit = True

    def on_train_end(self, logs: Any = None) -> None:
        """Evaluation shows its own bar again."""
        self._in_fit = False

    def on_test_begin(self, logs: Any = None) -> None:
        """Start a bar, unless this is validation in training."""
        if not self._in_fit:
            self._start()

    def on_predict_begin(self, logs: Any = None) -> None:
        """Start a bar."""
        self._start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start a bar, under the epoch's number where there are several."""
        self._start()
        if self.verbose and self.epochs is not None and self.epochs > 1:
            print_message(f"Epoch {epoch + 1}/{self.epochs}")

    @fetches_logs
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Draw, when it is time."""
        self._step(batch, logs)

    @fetches_logs
    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Draw, when it is time."""
        if not self._in_fit:
            self._step(batch, logs)

    @fetches_logs
    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Draw, when it is time."""
        self._step(batch, None)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Draw the last state."""
        self._finish(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Draw the last state."""
        if not self._in_fit:
            self._finish(logs)

    def on_predict_end(self, logs: Any = None) -> None:
        """Draw the last state."""
        self._finish(logs)

    def _start(self) -> None:
        self.seen = 0
        self.progbar = Progbar(self.target, verbose=self.verbose, unit_name="step", stateless_metrics=())

    def _step(self, batch: int, logs: Any) -> None:
        self.seen = batch + 1
        if self.progbar is None:
            self._start()
        assert self.progbar is not None
        if self.progbar.due(self.seen):
            self.progbar.update(self.seen, list(python_logs(logs).items()), finalize=False)

    def _finish(self, logs: Any) -> None:
        if self.progbar is None:
            self._start()
        assert self.progbar is not None
        if self.target is None:
            self.target = self.progbar.target = self.seen
        self.progbar.update(self.target, list(python_logs(logs).items()), finalize=True)
