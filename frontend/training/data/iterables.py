"""Batches from Python generators, PyTorch's DataLoader and tf.data.Dataset. None of these libraries is imported."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ....ir.errors import ArgumentError
from .adapter import DataAdapter
from .batches import is_from, ready, shown, with_class_weight


def is_torch_loader(x: Any) -> bool:
    """Whether it is a ``torch.utils.data.DataLoader``."""
    return is_from(x, "torch.utils.data", "DataLoader")


def is_tf_dataset(x: Any) -> bool:
    """Whether it is a ``tf.data.Dataset``."""
    return is_from(x, "tensorflow", "DatasetV2", "DistributedDataset", "DistributedDatasetsFromFunction")


class GeneratorAdapter(DataAdapter):
    """Batches that a generator yields. It is one stream: the next epoch goes on where the last one stopped.

    Args:
        generator: yields ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.

    Raises:
        ArgumentError: it yields nothing, or what it yields first is no tuple.
    """

    def __init__(self, generator: Iterator[Any]) -> None:
        first = next(generator, None)
        if first is None:
            raise ArgumentError("the generator yields no batch at all; expected one at least. Was it used up before?")
        _check_batch(first, "a generator")
        self._batches = itertools.chain([first], generator)

    def put_back(self, batch: Any) -> None:
        """Have ``batch``, which was taken to be looked at, come next."""
        self._batches = itertools.chain([batch], self._batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            _check_batch(batch, "a generator")
            yield ready(batch)


def _check_batch(batch: Any, source: str) -> None:
    if not isinstance(batch, tuple) or not 1 <= len(batch) <= 3:
        kind = f"a tuple of {len(batch)}" if isinstance(batch, tuple) else shown(batch)
        raise ArgumentError(
            f"{source} must give batches (x,), (x, y) or (x, y, sample_weight); received {kind}. "
            "Put several inputs into one list, tuple or dict: ((a, b), y)"
        )


class TorchLoaderAdapter(DataAdapter):
    """Batches of a ``torch.utils.data.DataLoader``; tensors share their memory with the arrays where they can.

    Args:
        loader: the loader.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.batch_size = loader.batch_size
        if hasattr(loader.dataset, "__len__"):
            self.num_batches = len(loader)
            if self.batch_size and not getattr(loader, "drop_last", False):
                self.partial_batch_size = len(loader.dataset) % self.batch_size or None
        if self.num_batches == 0:
            raise ArgumentError("the DataLoader has no batches: its dataset is empty, or drop_last drops the only one")

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            arrays = ready(batch)
            yield tuple(arrays) if isinstance(arrays, list) else arrays

    @property
    def has_partial_batch(self) -> bool | None:
        """Whether the last batch is shorter; None where the dataset has no length."""
        return None if self.num_batches is None else self.partial_batch_size is not None


class TFDatasetAdapter(DataAdapter):
    """Batches of a ``tf.data.Dataset``; ragged and sparse tensors come out dense.

    Args:
        dataset: the dataset, already batched.
        class_weight: weight by class, for batches ``(x, y)``.
    """

    keeps_batches = True

    def __init__(self, dataset: Any, class_weight: Mapping[int, float] | None = None) -> None:
        self._dataset = dataset
        self._class_weight = class_weight
        count = dataset.cardinality
        known = int(count() if callable(count) else count)
        self.num_batches = known if known >= 0 else None
        if known == 0:
            raise ArgumentError("the tf.data.Dataset is empty (its cardinality is 0); expected one batch at least")

    def __iter__(self) -> Iterator[Any]:
        for batch in self._dataset:
            yield with_class_weight(ready(batch), self._class_weight)

    @property
    def has_partial_batch(self) -> bool | None:
        """Not known."""
        return None
