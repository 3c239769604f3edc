"""``OrbaxCheckpoint``: the state of training as Orbax's checkpoints."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError, UnsupportedError
from ..registry import builtin
from .callback import fetches_logs, nearest, python_logs
from .checkpoint import SaveEvery
from .monitor import MonitorCallback

_PARTS = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")


def _orbax() -> Any:
    try:
        from orbax.checkpoint import v1
    except ImportError as error:
        raise UnsupportedError(
            f"OrbaxCheckpoint requires the 'orbax-checkpoint' package ({error}). You can install it via pip install "
            "orbax-checkpoint"
        ) from error
    return v1


@builtin("keras.callbacks")
class OrbaxCheckpoint(MonitorCallback):
    """Saves weights, the optimizer's and the metrics' state with Orbax, by default while training goes on.

    Each checkpoint is a folder of ``directory``, named by the epoch, or by the number of batches seen. It holds
    ``pytree``, the variables by their paths, and ``model_config``, the model as JSON.

    Args:
        directory: folder of the checkpoints.
        monitor: name in the logs of what decides which model is best.
        verbose: taken for Keras's sake.
        save_best_only: save only a model that is better than all before.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        save_freq: ``"epoch"``, or a number of batches.
        initial_value_threshold: the value to be better than at first.
        max_to_keep: how many of the latest checkpoints stay; None for all.
        save_on_background: whether training goes on while a checkpoint is written.
        save_weights_only: save the model's variables only.

    Raises:
        UnsupportedError: ``orbax-checkpoint`` is not installed.
        ArgumentError: ``save_freq`` is neither.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        max_to_keep: int | None = 1,
        save_on_background: bool = True,
        save_weights_only: bool = False,
    ) -> None:
        self._library = _orbax()
        super().__init__(monitor, mode, initial_value_threshold)
        self.directory = os.path.abspath(directory)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_freq = save_freq
        self.max_to_keep = max_to_keep
        self.save_on_background = save_on_background
        self.save_weights_only = save_weights_only
        self._every = SaveEvery(save_freq)
        self._saves: list[Any] = []
        self._checkpointer: Any = None

    @property
    def checkpointer(self) -> Any:
        """Orbax's checkpointer of the folder; open until training is over."""
        if self._checkpointer is None:
            training = self._library.training
            keep = None if self.max_to_keep is None else training.preservation_policies.LatestN(self.max_to_keep)
            self._checkpointer = training.Checkpointer(
                self.directory,
                preservation_policy=keep,
                save_decision_policy=training.save_decision_policies.FixedIntervalPolicy(1),
            )
        return self._checkpointer

    def set_model(self, model: Any) -> None:
        """Receive the model; batches are counted on from what its optimizer has seen."""
        super().set_model(model)
        if getattr(model, "optimizer", None) is not None:
            self._every.total = int(np.asarray(model.optimizer.iterations))

    @fetches_logs
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save, when that many batches are done."""
        if self._every.due(batch):
            self._save(self._every.total, f"batch {batch}", python_logs(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save."""
        if self.save_freq == "epoch":
            self._save(epoch, f"epoch {epoch}", logs or {})

    def on_train_end(self, logs: Any = None) -> None:
        """Wait until all is written."""
        self.wait_until_finished()
        if self._checkpointer is not None:
            self._checkpointer.close()
            self._checkpointer = None

    def wait_until_finished(self) -> None:
        """Wait until all that was saved is written."""
        for save in self._saves:
            save.result()
        self._saves.clear()

    def restore(self, step: int | None = None) -> None:
        """Give the model, and its optimizer and metrics where they were saved, the state of a checkpoint.

        Args:
            step: which one; the latest by default.

        Raises:
            ArgumentError: there is none, or it holds other variables than the model has.
        """
        found = [c.step for c in self.checkpointer.checkpoints]
        if step is None and found:
            step = max(found)
        if step not in found:
            raise ArgumentError(f"{self.directory} has no checkpoint {step}; it has {found or 'none'}")
        saved = self.checkpointer.load_checkpointables(step)["pytree"]
        wanted = {part: _state(self.model, part) for part in _PARTS if part in saved}
        pairs = [(v, _at(saved[part], path)) for part, state in wanted.items() for path, v in state.items()]
        for variable, value in pairs:
            if value is None or tuple(np.shape(value)) != tuple(variable.shape):
                what = "nothing" if value is None else f"shape {np.shape(value)}"
                raise ArgumentError(
                    f"checkpoint {step} of {self.directory} does not fit the model: it holds {what} for the variable "
                    f"{variable.path!r} of shape {variable.shape}"
                )
        for variable, value in pairs:
            variable.assign(np.asarray(value))

    def _save(self, step: int, when: str, logs: dict[str, Any]) -> None:
        if self.save_best_only and not self._is_best(when, logs):
            return
        parts = _PARTS[:2] if self.save_weights_only else _PARTS
        payload: dict[str, Any] = {"pytree": {part: _tree(_state(self.model, part)) for part in parts}}
        if not self.save_weights_only:
            payload["model_config"] = {"config": self.model.to_json()}
        if self.save_on_background:
            self._saves.append(self.checkpointer.save_checkpointables_async(step, payload))
        else:
            self.checkpointer.save_checkpointables(step, payload)

    def _is_best(self, when: str, logs: dict[str, Any]) -> bool:
        if self.monitor_op is None:
            self._set_monitor_op()
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"Can save best model only with {self.monitor} available, skipping save at {when}. Available metrics "
                f"are: {','.join(logs)}.{nearest(self.monitor, logs)}",
                stacklevel=4,
            )
            return False
        if not self._is_improvement(current, self.best):
            return False
        self.best = current
        return True


def _state(model: Any, part: str) -> dict[str, Any]:
    """The variables of a part by their paths; the optimizer's without its own name, which another run may count on."""
    if part != "optimizer_variables":
        return {v.path: v for v in getattr(model, part, ())}
    optimizer = getattr(model, "optimizer", None)
    return {v.path.split("/", 1)[-1]: v for v in optimizer.variables} if optimizer is not None else {}


def _tree(state: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the parts of their paths; copies, since training overwrites what the device holds."""
    tree: dict[str, Any] = {}
    for path, variable in state.items():
        *groups, name = path.split("/")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = np.array(variable)
    return tree


def _at(tree: Any, path: str) -> Any:
    for part in path.split("/"):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree
