"""``fit``, ``evaluate`` and ``predict``, and the same for one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ...ir.errors import ArgumentError
from ...runtime import processes
from .data import (
    EpochIterator,
    class_weight_to_sample_weights,
    train_validation_split,
    unpack_x_y_sample_weight,
)
from .data.arrays import DEFAULT_BATCH_SIZE
from .data.batches import pack_x_y_sample_weight, ready, with_default_float
from .functions import StepFunction
from .shares import agree_on_batches, are_shared, types_of
from .steps import Steps

#: Predictions that wait on the device; those before them are NumPy's already, so that its memory does not fill.
_LEFT_ON_DEVICE = 2


class Trainer(Steps):
    """Keras's training loops. After each step the state is that of the model's Variables, on the device.

    An exception in a callback or in the data, or Ctrl-C, leaves the model as it was after the last whole step.
    """

    @processes.blaming()
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> Any:
        """Train.

        Args:
            x: inputs: an array, a list or dict of them, or a source of batches (generator, PyDataset, DataLoader,
                tf.data.Dataset).
            y: targets, where ``x`` is arrays.
            batch_size: samples of a step, where ``x`` is arrays; 32 by default.
            epochs: number of the last epoch.
            verbose: 0 silent, 1 a progress bar, 2 a line for each epoch; ``"auto"``: 1 in a terminal, else 2.
            callbacks: what else happens during training.
            validation_split: part of the arrays, from their end, that is not trained on but evaluated on.
            validation_data: ``(x, y)``, ``(x, y, sample_weight)`` or a source of batches to evaluate on.
            shuffle: whether samples get a new order in each epoch; ``"batch"``: within batches only.
            class_weight: weight of each class's samples, by the class's number.
            sample_weight: weight of each sample, or of each of its steps.
            initial_epoch: the epoch to begin with.
            steps_per_epoch: batches of an epoch; all by default.
            validation_steps, validation_batch_size: as ``steps_per_epoch`` and ``batch_size``, for validation.
            validation_freq: validate each so many epochs, or after the epochs in a list (counted from 1).

        Returns:
            A History, whose ``history`` has a list of values for each log.

        Raises:
            ArgumentError: the model is not compiled, the data is empty, or an argument does not fit.
            ShapeError, DTypeError: the data does not fit the model or the loss.
        """
        self._assert_compile_called("fit")
        self._warn_of_changed_trainable()
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = train_validation_split((x, y, sample_weight), validation_split)
        data = EpochIterator(
            x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight, self.steps_per_execution
        )
        validation = None
        if validation_data is not None:
            val_x, val_y, val_weight = unpack_x_y_sample_weight(validation_data)
            validation = {
                "x": val_x,
                "y": val_y,
                "sample_weight": val_weight,
                "batch_size": validation_batch_size or batch_size,
            }
        function = self._built_from(self.make_train_function(), data)
        callbacks = self._callbacks(callbacks, data, verbose, epochs, add_history=True)
        self.stop_training = False
        logs: dict[str, Any] = {}
        evaluation = None
        try:
            callbacks.on_train_begin()
            # BackupAndRestore has set it where there was something to restore; it holds for this run only.
            first_epoch = self.__dict__.pop("_initial_epoch", None) or initial_epoch
            for epoch in range(first_epoch, epochs):
                found = self._train_epoch(function, data, callbacks, epoch)
                if found is None and epoch > first_epoch:
                    break  # a warning has said that the data is through
                logs = self._final_logs(found, "train_step")
                if validation is not None and _is_due(epoch, validation_freq):
                    if evaluation is None:
                        evaluation = EpochIterator(
                            **validation,
                            steps_per_epoch=validation_steps,
                            steps_per_execution=self.steps_per_execution,
                        )
                        self._evaluation = evaluation
                    evaluated = self.evaluate(
                        **validation,
                        steps=validation_steps,
                        callbacks=callbacks,
                        return_dict=True,
                        _use_cached_eval_dataset=True,
                    )
                    logs.update((f"val_{name}", value) for name, value in evaluated.items())
                callbacks.on_epoch_end(epoch, logs)
                if self.stop_training or (data.ran_out and data.steps_per_epoch is None):
                    break
            self._finalize()
            callbacks.on_train_end(logs)
        except BaseException:
            self._finalize()
            raise
        finally:
            self.__dict__.pop("_evaluation", None)
        return self.history

    def _finalize(self) -> None:
        """End training: an optimizer that keeps averages of the weights puts them in place."""
        finalize = getattr(self.optimizer, "finalize_variable_values", None)
        if finalize is not None and self.optimizer.built:
            finalize(self.trainable_weights)

    def _train_epoch(self, function: Any, data: EpochIterator, callbacks: Any, epoch: int) -> Any:
        self.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        logs: Any = None
        for begin, end, batches in data:
            callbacks.on_train_batch_begin(begin)
            logs = function(batches)
            data.fetch()
            callbacks.on_train_batch_end(end, logs)
            if self.stop_training:
                break
        return logs

    @processes.blaming()
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The loss and metrics on data.

        Args:
            x, y, sample_weight, batch_size, verbose, callbacks: as for :meth:`fit`.
            steps: batches to take; all by default.
            return_dict: whether the result is a dict.

        Returns:
            The loss, a list of it and the metrics, or a dict of them by name.

        Raises:
            ArgumentError: the model is not compiled, or the data is empty. ShapeError: the data does not fit.
        """
        self._assert_compile_called("evaluate")
        cached = kwargs.pop("_use_cached_eval_dataset", False)
        if kwargs:
            raise ArgumentError(f"evaluate has no argument {next(iter(kwargs))!r}")
        data = (
            self._evaluation
            if cached
            else EpochIterator(x, y, sample_weight, batch_size, steps, steps_per_execution=self.steps_per_execution)
        )
        function = self._built_from(self.make_test_function(), data)
        data.reset()
        callbacks = self._callbacks(callbacks, data, verbose, 1)
        self.stop_evaluating = False
        callbacks.on_test_begin()
        self.reset_metrics()
        logs: Any = None
        for begin, end, batches in data:
            callbacks.on_test_batch_begin(begin)
            logs = function(batches)
            data.fetch()
            callbacks.on_test_batch_end(end, logs)
            if self.stop_evaluating:
                break
        found = dict(sorted(self._final_logs(logs, "test_step").items()))
        callbacks.on_test_end(found)
        return found if return_dict else self._flatten_metrics_in_order(found)

    _evaluation: EpochIterator

    @processes.blaming()
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The model's outputs for data, batch by batch.

        Args:
            x, batch_size, verbose, callbacks: as for :meth:`fit`.
            steps: batches to take; all by default.

        Returns:
            NumPy arrays in the structure of the model's outputs.

        Raises:
            ArgumentError, ShapeError, DTypeError: the data is empty or does not fit the model.
        """
        if callbacks is None and verbose == 0 and steps is None and isinstance(x, np.ndarray | jax.Array):
            found = self._predict_array(x, batch_size)
            if found is not None:
                return found
        data = EpochIterator(
            x, batch_size=batch_size, steps_per_epoch=steps, steps_per_execution=self.steps_per_execution
        )
        function = self._built_from(self.make_predict_function(), data)
        callbacks = self._callbacks(callbacks, data, verbose, 1)
        self.stop_predicting = False
        callbacks.on_predict_begin()
        parts = []
        for begin, end, batches in data:
            callbacks.on_predict_batch_begin(begin)
            outputs = function(batches)
            data.fetch()
            parts.append(outputs)
            if len(parts) > _LEFT_ON_DEVICE:
                parts[-_LEFT_ON_DEVICE - 1] = jax.tree.map(np.asarray, parts[-_LEFT_ON_DEVICE - 1])
            callbacks.on_predict_batch_end(end, {"outputs": outputs})
            if self.stop_predicting:
                break
        callbacks.on_predict_end()
        if not parts:
            raise ArgumentError("predict: the data has no batches, so that there are no outputs")
        return _concatenated(parts)

    def _predict_array(self, x: Any, batch_size: int | None) -> Any:
        """:meth:`predict` on one array with nothing to call or to show; None where there is more to it."""
        function = self.predict_function
        size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
        if function is None or function.eager or are_shared():
            return None
        if self.steps_per_execution > 1 or type(size) is not int or size < 1:
            return None
        if x.ndim == 0 or not len(x) or x.dtype.kind in "OUSmM":
            return None
        x = with_default_float(x)
        function.begin()
        if len(x) <= size:
            return _concatenated([function.one(x)])
        return _concatenated([function.one(x[i : i + size]) for i in range(0, len(x), size)])

    # One batch

    @processes.blaming()
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step of training on a batch of arrays.

        Args:
            x, y, sample_weight: the batch.
            class_weight: weights by class, in place of ``sample_weight``.
            return_dict: whether the result is a dict.

        Returns:
            The loss, a list of it and the metrics, or a dict of them by name: those of this batch.
        """
        self._assert_compile_called("train_on_batch")
        if class_weight is not None:
            if sample_weight is not None:
                raise ArgumentError("train_on_batch takes sample_weight or class_weight, received both")
            sample_weight = class_weight_to_sample_weights(y, class_weight)
        batch = self._batch(x, y, sample_weight)
        return self._on_batch(self._built_for(self.make_train_function(), batch), batch, return_dict)

    @processes.blaming()
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and metrics on a batch of arrays; arguments and result as of :meth:`train_on_batch`."""
        self._assert_compile_called("test_on_batch")
        batch = self._batch(x, y, sample_weight)
        return self._on_batch(self._built_for(self.make_test_function(), batch), batch, return_dict)

    @processes.blaming()
    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for a batch of arrays, as NumPy arrays."""
        batch = (ready(x),)
        agree_on_batches("predict_on_batch", 1, types_of(batch))
        return _concatenated([self._built_for(self.make_predict_function(), batch)([batch])])

    def _batch(self, x: Any, y: Any, sample_weight: Any) -> Any:
        """Arrays as a batch. An empty one is refused: its mean loss would be NaN, and so the weights."""
        batch = ready(pack_x_y_sample_weight(x, y, sample_weight))
        if any(0 in leaf.shape[:1] for leaf in jax.tree.leaves(batch)) or not jax.tree.leaves(batch):
            raise ArgumentError("the batch is empty; expected at least one sample")
        return batch

    def _on_batch(self, function: Any, batch: Any, return_dict: bool) -> Any:
        agree_on_batches(function.method, 1, types_of(batch))
        self.reset_metrics()
        logs = _as_numbers(function([batch]))
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    # What the loops share

    def _built_from(self, function: StepFunction, data: EpochIterator) -> StepFunction:
        """A step's function, for which all is made that a first batch is needed for."""
        if not function.ran:
            self._build_for(function, data.first_batch)
        function.begin()
        data.place, data.purpose = function.place, function.method
        return function

    def _built_for(self, function: StepFunction, batch: Any) -> StepFunction:
        if not function.ran:
            self._build_for(function, lambda: batch)
        return function

    def _callbacks(
        self, callbacks: Any, data: EpochIterator, verbose: Any, epochs: int, add_history: bool = False
    ) -> Any:
        from ..callbacks import CallbackList

        if isinstance(callbacks, CallbackList):
            return callbacks
        if verbose == "auto" and not processes.is_first():
            verbose = 0
        return CallbackList(
            callbacks,
            add_history=add_history,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=epochs,
            steps=data.num_batches,
        )

    def _final_logs(self, logs: Any, method: str) -> dict[str, Any]:
        """The logs after the last batch. As in Keras those of the metrics, where a step of the user's returned less."""
        if logs is None:
            raise ArgumentError("the data has no batches: expected at least one")
        own = getattr(type(self), method) is getattr(Steps, method)
        if not own and isinstance(logs, Mapping):
            metrics = self.get_metrics_result()
            if metrics.keys() == logs.keys():
                logs = metrics
        return _as_numbers(logs)

    def _flatten_metrics_in_order(self, logs: Mapping[str, Any]) -> Any:
        """Logs as a list: the loss, the metrics in their order, then others by name. One value alone is no list."""
        names: list[str] = []
        for metric in self.metrics:
            names += [m.name for m in metric.metrics] if metric is self._compile_metrics else [metric.name]
        found = [logs[name] for name in names if name in logs]
        found += [logs[name] for name in sorted(logs) if name not in names]
        return found[0] if len(found) == 1 else found


def _as_numbers(logs: Any) -> dict[str, Any]:
    """Logs with Python floats in place of scalars; nested ones are lifted."""
    found: dict[str, Any] = {}
    for name, value in (jax.device_get(logs) or {}).items():
        if isinstance(value, Mapping):
            found.update(_as_numbers(value))
            continue
        found[name] = float(value) if np.ndim(value) == 0 else value
    return found


def _concatenated(parts: Sequence[Any]) -> Any:
    """Outputs of several batches as NumPy arrays of their own."""
    if len(parts) == 1:
        return jax.tree.map(np.array, parts[0])
    return jax.tree.map(lambda *arrays: np.concatenate([np.asarray(a) for a in arrays]), *parts)


def _is_due(epoch: int, frequency: Any) -> bool:
    """Whether validation follows the epoch."""
    if isinstance(frequency, int) and not isinstance(frequency, bool):
        return (epoch + 1) % frequency == 0
    if isinstance(frequency, list | tuple | set):
        return epoch + 1 in frequency
    raise ArgumentError(f"validation_freq is an integer or a list of epochs, received {frequency!r}")
