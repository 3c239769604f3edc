"""``CallbackList``: several callbacks called as one, each only where it listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ..registry import builtin
from .callback import BatchLogs, Callback, is_default, python_logs
from .history import History
from .progbar_logger import ProgbarLogger

_BATCH_HOOKS = tuple(f"on_{kind}_batch_{end}" for kind in ("train", "test", "predict") for end in ("begin", "end"))


@builtin("keras.callbacks")
class CallbackList(Callback):
    """A list of callbacks with their hooks.

    A training loop calls the hooks of batches with values that are still on the device, or with a function that fetches
    them. They become Python floats only where a callback overrides the hook; :meth:`listens` tells a loop beforehand.

    Args:
        callbacks: a callback, or a nest of them.
        add_history: whether to add a :class:`History` where there is none.
        add_progbar: whether to add a :class:`ProgbarLogger` where there is none.
        model: the model they are for.
        params: what each callback gets as its ``params``: ``verbose``, ``epochs``, ``steps``.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self.callbacks: list[Any] = jax.tree.leaves(callbacks)
        self._history = self._added(History, add_history and not self._has(History))
        self._progbar = self._added(ProgbarLogger, add_progbar and not self._has(ProgbarLogger))
        self.set_model(model)
        self.set_params(params)
        self._listeners: dict[str, list[Callable[..., None]]] = {}
        self._find_listeners()

    def _has(self, kind: type) -> bool:
        return any(isinstance(callback, kind) for callback in self.callbacks)

    def _added(self, kind: Any, add: bool) -> Any:
        if add:
            self.callbacks.append(kind())
        return next((callback for callback in reversed(self.callbacks) if isinstance(callback, kind)), None)

    def append(self, callback: Any) -> None:
        """Add a callback."""
        self.callbacks.append(callback)
        if self._model is not None:
            callback.set_model(self._model)
        if self.params:
            callback.set_params(self.params)
        self._find_listeners()

    def set_params(self, params: dict[str, Any]) -> None:
        """Hand ``params`` to each callback."""
        self.params = params
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Hand the model to each callback; the history becomes ``model.history``."""
        if model is None:
            return
        self._model = model
        if self._history is not None:
            model.history = self._history
        for callback in self.callbacks:
            callback.set_model(model)

    def listens(self, hook: str) -> bool:
        """Whether any callback overrides a hook of batches, such as ``"on_train_batch_end"``."""
        return bool(self._listeners[hook])

    def _find_listeners(self) -> None:
        """The overridden hooks; anew at each start, since a hook may be set on an object at any time."""
        for name in (*_BATCH_HOOKS, "on_batch_begin", "on_batch_end"):
            self._listeners[name] = [getattr(c, name) for c in self.callbacks if _overrides(c, name)]

    def _on_batch(self, hook: str, batch: int, logs: BatchLogs) -> None:
        listeners = self._listeners[hook]
        if not listeners:
            return
        values: dict[str, Any] | None = None
        for listener in listeners:
            if values is None and not getattr(listener, "_fetches_logs", False):
                values = python_logs(logs)
            listener(batch, logs=logs if values is None else values)

    def _on_each(self, hook: str, *args: Any, logs: Any) -> None:
        values = python_logs(logs)
        for callback in self.callbacks:
            getattr(callback, hook)(*args, values)

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._on_batch("on_batch_begin", batch, logs)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self._on_batch("on_batch_end", batch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._on_batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._on_batch("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._on_batch("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._on_batch("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._on_batch("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self._on_batch("on_predict_batch_end", batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._on_each("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._on_each("on_epoch_end", epoch, logs=logs)

    def on_train_begin(self, logs: Any = None) -> None:
        self._find_listeners()
        self._on_each("on_train_begin", logs=logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._on_each("on_train_end", logs=logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self._find_listeners()
        self._on_each("on_test_begin", logs=logs)

    def on_test_end(self, logs: Any = None) -> None:
        self._on_each("on_test_end", logs=logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._find_listeners()
        self._on_each("on_predict_begin", logs=logs)

    def on_predict_end(self, logs: Any = None) -> None:
        self._on_each("on_predict_end", logs=logs)


def _overrides(callback: Any, hook: str) -> bool:
    """Whether calling the hook does anything. Training's hooks of batches have two names."""
    general = hook.replace("_train_", "_")
    return not is_default(getattr(callback, hook)) or (general != hook and not is_default(getattr(callback, general)))
