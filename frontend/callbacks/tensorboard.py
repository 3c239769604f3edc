"""``TensorBoard``: what training measures, for TensorBoard to show."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ...ir.errors import ArgumentError
from ..functional import Functional
from ..layers import Embedding
from ..registry import builtin
from ..saving.archive import write_beside
from ..sequential import Sequential
from ..training.shares import writes_files
from .callback import Callback, fetches_logs, nearest, python_logs
from .event_file import EventFile, require_tensorboard
from .learning_rate import log_learning_rates


@builtin("keras.callbacks")
class TensorBoard(Callback):
    """Writes event files: ``train`` and ``validation`` under ``log_dir`` are two runs in TensorBoard.

    It needs the package ``tensorboard``, and no TensorFlow. Of several processes that train together the first writes.

    Args:
        log_dir: folder for the files.
        histogram_freq: every how many epochs to write the weights' distributions; 0 for never.
        write_graph: whether to write a functional or sequential model's layers as a graph.
        write_images: whether weights are also written as images, along with histograms.
        write_steps_per_second: whether to write how fast training goes.
        update_freq: ``"epoch"``, ``"batch"``, or every how many batches to write the loss and metrics.
        profile_batch: a batch, or the first and last of a range ``(10, 20)`` or ``"10,20"``, to profile; 0 for none.
        embeddings_freq: every how many epochs to write the matrices of ``Embedding`` layers for the projector.
        embeddings_metadata: file with a label for each row of an embedding; or such a file by layer name.

    Raises:
        UnsupportedError: ``tensorboard`` is not installed.
        ArgumentError: ``profile_batch`` or ``update_freq`` is none of these.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: str | Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        require_tensorboard()
        self.log_dir = str(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq: Any = 1 if update_freq == "batch" else update_freq
        if self.update_freq != "epoch" and (not isinstance(self.update_freq, int) or self.update_freq < 1):
            raise ArgumentError(f'update_freq is "epoch", "batch" or a number of batches, received {update_freq!r}')
        self.embeddings_freq = embeddings_freq
        self.embeddings_metadata = embeddings_metadata
        self._first_profiled, self._last_profiled = _batch_range(profile_batch)
        self._profiling = False
        self._files: dict[str, EventFile] = {}
        self._batches = 0
        self._batch_start = self._epoch_start = 0.0
        self._iterations_before = 0

    def _run(self, name: str) -> EventFile:
        """The event file of a run; opened when it is first written to."""
        if name not in self._files:
            self._files[name] = EventFile(os.path.join(self.log_dir, name), writes_files())
        return self._files[name]

    def set_model(self, model: Any) -> None:
        """Receive the model, and write its graph."""
        self._model = model
        self._files = {}
        if self.write_graph and isinstance(model, Functional | Sequential):
            self._run("train").text("keras", model.to_json(), "graph_keras_model", b"1", step=0)
        if self.embeddings_freq:
            self._write_projector_config()

    def on_train_begin(self, logs: Any = None) -> None:
        """Start counting batches."""
        self._batches = 0

    def on_train_end(self, logs: Any = None) -> None:
        """Write what is left."""
        self._stop_profile()
        self._flush()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Count; start the profile where it is time."""
        self._batches += 1
        if self.write_steps_per_second:
            self._batch_start = time.time()
        if self._batches == self._first_profiled and writes_files():
            jax.profiler.start_trace(os.path.join(self.log_dir, "train"))
            self._profiling = True

    @fetches_logs
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write the batch's values where ``update_freq`` says so; end the profile where it is time."""
        if self.update_freq != "epoch" and self._batches % self.update_freq == 0:
            if self.write_steps_per_second:
                rate = 1.0 / max(time.time() - self._batch_start, 1e-9)
                self._run("train").scalar("batch_steps_per_second", rate, self._batches)
            for name, value in python_logs(logs).items():
                self._run("train").scalar(f"batch_{name}", value, self._batches)
            self._flush()
        if self._batches >= self._last_profiled:
            self._stop_profile()

    def on_test_end(self, logs: Any = None) -> None:
        """Write what evaluation measured, by the number of training steps done before."""
        optimizer = self.model.optimizer
        if optimizer is not None and hasattr(optimizer, "iterations"):
            for name, value in (logs or {}).items():
                step = int(np.asarray(optimizer.iterations))
                self._run("validation").scalar(f"evaluation_{name}_vs_iterations", value, step)
            self._flush()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the time."""
        if self.write_steps_per_second:
            self._iterations_before = int(np.asarray(self.model.optimizer.iterations))
            self._epoch_start = time.time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the epoch's values; and weights and embeddings where it is time."""
        self._write_epoch(epoch, logs or {})
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings()
        self._flush()

    def _write_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
        if not logs:
            return
        train = {name: value for name, value in logs.items() if not name.startswith("val_")}
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        if optimizer is not None:
            log_learning_rates(optimizer, train)
        if self.write_steps_per_second:
            steps = int(np.asarray(self.model.optimizer.iterations)) - self._iterations_before
            train["steps_per_second"] = steps / max(time.time() - self._epoch_start, 1e-9)
        for name, value in train.items():
            self._run("train").scalar(f"epoch_{name}", value, epoch)
        for name, value in logs.items():
            if name.startswith("val_"):
                self._run("validation").scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)

    def _write_weights(self, epoch: int) -> None:
        run = self._run("train")
        for layer in self.model.layers:
            for weight in layer.weights:
                name, value = weight.path.replace(":", "_"), np.asarray(weight)
                run.histogram(f"{name}/histogram", value, epoch)
                image = _as_images(value) if self.write_images else None
                if image is not None:
                    run.images(f"{name}/image", image, epoch)

    def _embeddings(self) -> list[Any]:
        return [layer for layer in self.model.layers if isinstance(layer, Embedding)]

    def _write_projector_config(self) -> None:
        given = self.embeddings_metadata
        names = [layer.name for layer in self._embeddings()]
        for name in given if isinstance(given, Mapping) else ():
            if name not in names:
                raise ArgumentError(
                    "Unrecognized `Embedding` layer names passed to `TensorBoard` as `embeddings_metadata`: "
                    f"{name!r}. The model has {', '.join(map(repr, names)) or 'none'}.{nearest(name, names)}"
                )
        text = ""
        for name in names:
            fields = {"tensor_name": name, "tensor_path": f"{name}_embedding.tsv"}
            labels = given.get(name) if isinstance(given, Mapping) else given
            if labels is not None:
                fields["metadata_path"] = labels
            lines = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in fields.items())
            text += f"embeddings {{\n{lines}}}\n"
        self._write_file("projector_config.pbtxt", text)

    def _write_embeddings(self) -> None:
        for layer in self._embeddings():
            rows = np.asarray(layer.embeddings, "float32").tolist()
            self._write_file(f"{layer.name}_embedding.tsv", "".join("\t".join(map(str, r)) + "\n" for r in rows))

    def _write_file(self, name: str, text: str) -> None:
        from pathlib import Path

        if not writes_files():
            return
        os.makedirs(self.log_dir, exist_ok=True)
        write_beside(Path(self.log_dir, name), lambda file: file.write(text.encode()))

    def _stop_profile(self) -> None:
        if self._profiling:
            self._profiling = False
            jax.profiler.stop_trace()

    def _flush(self) -> None:
        for file in self._files.values():
            file.flush()


def _batch_range(profile_batch: Any) -> tuple[int, int]:
    """The first and last batch to profile; zeros for none."""
    found = profile_batch.split(",") if isinstance(profile_batch, str) else profile_batch
    try:
        numbers = [int(number) for number in (found if isinstance(found, list | tuple) else (found,))]
    except (TypeError, ValueError):
        numbers = []
    first, last = numbers * 2 if len(numbers) == 1 else numbers if len(numbers) == 2 else (-1, -1)
    if first < 0 or last < first:
        raise ArgumentError(
            "profile_batch must be a non-negative integer or 2-tuple of positive integers. A pair of positive integers "
            f"signifies a range of batches to profile. Found: {profile_batch!r}"
        )
    return first, last


def _as_images(weight: np.ndarray) -> np.ndarray | None:
    """A weight as images: a bias as a column, a matrix lying down, filters one by one; None for others."""
    image = np.squeeze(weight)
    if image.ndim == 1:
        return image.reshape(1, -1, 1, 1)
    if image.ndim == 2:
        return (image.T if image.shape[0] > image.shape[1] else image)[None, :, :, None]
    if image.ndim == 3:
        return np.moveaxis(image, -1, 0)[..., None]
    return image if image.ndim == 4 and image.shape[-1] in (1, 3, 4) else None
