"""``PyDataset``: batches that Python code makes, by number, so that workers can make several at a time."""

from __future__ import annotations

import concurrent.futures as futures
import itertools
import multiprocessing
import random
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ....ir.errors import ArgumentError
from .adapter import DataAdapter
from .batches import ready, shown, with_class_weight

_OPTIONS = {"workers": 1, "use_multiprocessing": False, "max_queue_size": 10}


class PyDataset:
    """Base class of the user's datasets, whose ``self[i]`` is the whole batch ``i``.

    A subclass defines ``__getitem__`` and ``__len__`` (the number of batches), or in place of ``__len__`` the property
    ``num_batches``, None for a dataset without end. ``on_epoch_begin`` and ``on_epoch_end`` may change it between
    epochs.

    Args:
        workers: how many batches are made at a time while a model trains.
        use_multiprocessing: whether workers are processes and not threads. The dataset is then pickled, anew in each
            epoch; processes start fresh (the "spawn" method), so that a script needs its
            ``if __name__ == "__main__":``.
        max_queue_size: how many batches may wait.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self._workers = workers
        self._use_multiprocessing = use_multiprocessing
        self._max_queue_size = max_queue_size

    def _option(self, name: str) -> Any:
        value = self.__dict__.get(f"_{name}")
        if value is None:
            warnings.warn(
                f"{type(self).__name__} should call super().__init__(**kwargs) in its constructor; kwargs can hold "
                f"workers, use_multiprocessing and max_queue_size. Without it {name} is {_OPTIONS[name]}",
                stacklevel=3,
            )
            value = self.__dict__[f"_{name}"] = _OPTIONS[name]
        return value

    @property
    def workers(self) -> int:
        """How many batches are made at a time."""
        return self._option("workers")

    @workers.setter
    def workers(self, value: int) -> None:
        self._workers = value

    @property
    def use_multiprocessing(self) -> bool:
        """Whether workers are processes."""
        return self._option("use_multiprocessing")

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        self._use_multiprocessing = value

    @property
    def max_queue_size(self) -> int:
        """How many batches may wait."""
        return self._option("max_queue_size")

    @max_queue_size.setter
    def max_queue_size(self, value: int) -> None:
        self._max_queue_size = value

    def __getitem__(self, index: int) -> Any:
        raise ArgumentError(f"the dataset {type(self).__name__} has no __getitem__; define it to return batch {index}")

    def __iter__(self) -> Iterator[Any]:
        for index in self._indices():
            yield self[index]

    def _indices(self) -> Iterator[int] | range:
        count = self.num_batches
        return itertools.count() if count is None else range(count)

    @property
    def num_batches(self) -> int | None:
        """How many batches an epoch has; None for no end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise ArgumentError(
            f"the dataset {type(self).__name__} does not say how long it is; define __len__ (the number of batches), "
            "or the property num_batches (None for no end)"
        )

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


class PyDatasetAdapter(DataAdapter):
    """Batches of a :class:`PyDataset`, made ahead by its workers, in order.

    Args:
        dataset: the dataset.
        class_weight: weight by class, for batches ``(x, y)``.
        shuffle: whether the batches of a dataset with an end come in another order in each epoch (from Python's
            ``random``, as in Keras).
    """

    def __init__(
        self, dataset: PyDataset, class_weight: Mapping[int, float] | None = None, shuffle: bool | str = False
    ) -> None:
        self.dataset = dataset
        self._class_weight = class_weight
        self._shuffle = shuffle
        self._endless = itertools.count()  # workers go on where the last epoch stopped
        if dataset.num_batches == 0:
            raise ArgumentError(f"the dataset {type(dataset).__name__} has length 0; expected one batch at least")

    @property
    def num_batches(self) -> int | None:  # type: ignore[override]
        """Batches of an epoch; the dataset may change it between epochs."""
        return self.dataset.num_batches

    def __iter__(self) -> Iterator[Any]:
        dataset = self.dataset
        parallel = dataset.workers > 1 or (dataset.workers > 0 and dataset.use_multiprocessing)
        batches = self._made_ahead() if parallel else (dataset[i] for i in self._order(itertools.count()))
        for batch in batches:
            if batch is not None:  # a dataset may leave one out
                yield with_class_weight(ready(self._checked(batch)), self._class_weight)

    def _order(self, endless: Iterator[int]) -> Iterator[int]:
        count = self.dataset.num_batches
        if count is None:
            return endless
        indices = list(range(count))
        if self._shuffle:
            random.shuffle(indices)
        return iter(indices)

    def _made_ahead(self) -> Iterator[Any]:
        """Batches in order, while workers make the next ones. An error of a worker comes up here, in its turn."""
        indices = self._order(self._endless)
        pool, fetch = self._pool()
        waiting: deque[futures.Future[Any]] = deque()
        try:
            for index in itertools.islice(indices, max(1, self.dataset.max_queue_size)):
                waiting.append(pool.submit(fetch, index))
            while waiting:
                batch = waiting.popleft().result()
                for index in itertools.islice(indices, 1):
                    waiting.append(pool.submit(fetch, index))
                yield batch
        except futures.process.BrokenProcessPool as error:
            raise ArgumentError(
                f"a worker process of the dataset {type(self.dataset).__name__} died before it gave its batch. "
                'Processes start fresh: a script needs `if __name__ == "__main__":`, the dataset must be picklable, '
                "and memory must do for each worker. Or pass use_multiprocessing=False"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self) -> tuple[futures.Executor, Any]:
        dataset = self.dataset
        if not dataset.use_multiprocessing:
            return futures.ThreadPoolExecutor(dataset.workers, "PyDataset"), dataset.__getitem__
        # Not "fork": JAX runs threads, and what they hold locked would stay locked in the child.
        context = multiprocessing.get_context("spawn")
        return futures.ProcessPoolExecutor(dataset.workers, context, _receive, (dataset,)), _fetch

    def _checked(self, batch: Any) -> Any:
        if isinstance(batch, dict):
            return batch
        if isinstance(batch, np.ndarray):
            batch = (batch,)
        if not isinstance(batch, tuple | list) or not 1 <= len(batch) <= 3:
            raise ArgumentError(
                f"{type(self.dataset).__name__}.__getitem__ must return a dict or a tuple (x,), (x, y) or "
                f"(x, y, sample_weight); received {shown(batch)}"
            )
        return tuple(batch)

    @property
    def has_partial_batch(self) -> bool | None:
        """Not known."""
        return None

    def on_epoch_begin(self) -> None:
        """Tell the dataset."""
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell the dataset."""
        self.dataset.on_epoch_end()


_received: PyDataset | None = None  # in a worker process: the dataset that it was sent


def _receive(dataset: PyDataset) -> None:
    global _received
    _received = dataset


def _fetch(index: int) -> Any:
    assert _received is not None
    return _received[index]
