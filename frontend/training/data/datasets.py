"""Datasets made of arrays: windows of a time series, and the parts of a split."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ....ir.errors import ArgumentError, ShapeError
from .adapter import DataAdapter
from .arrays import sliceable
from .batches import flatten, is_nested, map_nest, plain_array, ready, shown

Fetch = Callable[[np.ndarray], Any]


class ArrayDataset:
    """Samples, or batches of them, cut from arrays when they are asked for; ``fit`` takes it where it has batches.

    It stands where Keras returns a ``tf.data.Dataset``. ``iter`` of it gives NumPy arrays, as often as one likes, and
    ``len`` how many samples, or batches, there are.

    Args:
        count: number of samples.
        fetch: from the numbers of samples to a nest of arrays whose first axis counts them.
        batch_size: samples of a batch; None to give single samples.
        rng: NumPy generator that gives the samples another order in each iteration; None to keep their order.
    """

    def __init__(
        self, count: int, fetch: Fetch, batch_size: int | None = None, rng: np.random.RandomState | None = None
    ) -> None:
        self._count = count
        self._fetch = fetch
        self.batch_size = batch_size
        self._rng = rng

    def __len__(self) -> int:
        return self._count if self.batch_size is None else math.ceil(self._count / self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = np.arange(self._count) if self._rng is None else self._rng.permutation(self._count)
        if self.batch_size is None:
            for number in order:
                yield map_nest(lambda a: a[0], self._fetch(order[number : number + 1]))
            return
        for start in range(0, self._count, self.batch_size):
            yield self._fetch(order[start : start + self.batch_size])

    def batch(self, batch_size: int) -> ArrayDataset:
        """The same samples in batches.

        Raises:
            ArgumentError: they are in batches already, or the size is no positive integer.
        """
        if self.batch_size is not None:
            raise ArgumentError(f"the dataset has batches of {self.batch_size} already")
        _check_positive("batch_size", batch_size)
        return ArrayDataset(self._count, self._fetch, batch_size, self._rng)

    def cardinality(self) -> int:
        """How many samples, or batches, there are."""
        return len(self)


class ArrayDatasetAdapter(DataAdapter):
    """Batches of an :class:`ArrayDataset`.

    Raises:
        ArgumentError: it gives single samples.
    """

    keeps_batches = True

    def __init__(self, dataset: ArrayDataset) -> None:
        if dataset.batch_size is None:
            raise ArgumentError("the dataset gives single samples, and training takes batches: use dataset.batch(32)")
        self._dataset = dataset
        self.num_batches = len(dataset)
        self.batch_size = dataset.batch_size
        self.partial_batch_size = dataset._count % dataset.batch_size or None

    def __iter__(self) -> Iterator[Any]:
        return map(ready, self._dataset)


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> ArrayDataset:
    """Windows of a time series.

    Window ``i`` starts at ``start_index + i * sequence_stride`` and has the steps ``sampling_rate`` apart.

    Args:
        data: array whose first axis is time.
        targets: array whose entry at a window's start is its target; None for windows alone.
        sequence_length: steps of a window.
        sequence_stride: steps from the start of a window to that of the next.
        sampling_rate: steps from one of a window to the next.
        batch_size: windows of a batch; None to give single windows.
        shuffle: whether windows come in another order in each iteration.
        seed: fixes the orders.
        start_index, end_index: the part of the data to use; the end is not in it.

    Returns:
        An :class:`ArrayDataset` of ``(windows, targets)`` or ``windows``; Keras returns a ``tf.data.Dataset``.

    Raises:
        ArgumentError, ShapeError: an argument is out of range, or no window fits.
    """
    series = plain_array(data, "data")
    wanted = None if targets is None else plain_array(targets, "targets")
    steps = len(series)
    for name, number in (("sequence_length", sequence_length), ("batch_size", batch_size)):
        if number is not None:
            _check_positive(name, number)
    for name, number in (("sampling_rate", sampling_rate), ("sequence_stride", sequence_stride)):
        _check_positive(name, number)
        if number >= steps:
            raise ArgumentError(f"{name}={number} must be lower than the length of the data, {steps}")
    start, end = start_index or 0, steps if end_index is None else end_index
    if not 0 <= start < end <= steps:
        raise ArgumentError(
            f"the data has {steps} steps; expected 0 <= start_index < end_index <= {steps}, received "
            f"start_index={start_index}, end_index={end_index}"
        )
    series, wanted = series[start:end], None if wanted is None else wanted[start:end]
    possible = len(series) - (sequence_length - 1) * sampling_rate
    if wanted is not None:
        possible = min(possible, len(wanted))
    if possible < 1:
        raise ShapeError(
            f"no window fits: {sequence_length} steps, {sampling_rate} apart, need "
            f"{(sequence_length - 1) * sampling_rate + 1}, and the data has {len(series)}"
            + ("" if wanted is None else f" with {len(wanted)} targets")
        )
    starts = np.arange(0, possible, sequence_stride)
    offsets = np.arange(sequence_length) * sampling_rate
    rng = None
    if shuffle:
        rng = np.random.RandomState(np.random.randint(int(1e6)) if seed is None else seed)
        rng.shuffle(starts)

    def fetch(numbers: np.ndarray) -> Any:
        positions = starts[numbers]
        windows = series[positions[:, None] + offsets]
        return windows if wanted is None else (windows, wanted[positions])

    return ArrayDataset(len(starts), fetch, batch_size, rng)


def split_dataset(
    dataset: Any,
    left_size: int | float | None = None,
    right_size: int | float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[ArrayDataset, ArrayDataset]:
    """Split samples in two, such as for training and testing.

    Args:
        dataset: an array, or a list or tuple of arrays of one length.
        left_size, right_size: numbers of samples, or fractions of them; one may be None for the rest.
        shuffle: whether samples get another order first.
        seed: fixes that order.
        preferred_backend: taken for Keras's sake.

    Returns:
        The parts: datasets of single samples, to be put into batches with ``.batch(n)``.

    Raises:
        ArgumentError: the data is no arrays, or the sizes do not fit.
        ShapeError: the arrays' lengths differ.
    """
    if not (isinstance(dataset, np.ndarray) or is_nested(dataset)) or not flatten(dataset)[0]:
        raise ArgumentError(f"split_dataset splits an array, or a list or tuple of arrays, received {shown(dataset)}")
    arrays = map_nest(lambda a: plain_array(a, "dataset"), tuple(dataset) if isinstance(dataset, list) else dataset)
    lengths = {len(a) for a in flatten(sliceable(arrays, "dataset"))[0]}
    if len(lengths) > 1:
        raise ShapeError(f"all arrays must have the same number of samples, received {sorted(lengths)}")
    total = lengths.pop()
    left, right = _split_sizes(left_size, right_size, total)
    order = list(range(total))
    if shuffle:  # Python's generator, as in Keras
        random.Random(random.randint(0, int(1e6)) if seed is None else seed).shuffle(order)

    def part(rows: np.ndarray) -> ArrayDataset:
        return ArrayDataset(len(rows), lambda numbers: map_nest(lambda a: a[rows[numbers]], arrays))

    return part(np.array(order[:left])), part(np.array(order[total - right :]))


def _split_sizes(left: int | float | None, right: int | float | None, total: int) -> tuple[int, int]:
    """Both sizes as numbers of samples."""
    if left is None and right is None:
        raise ArgumentError("at least one of left_size and right_size must be given, received None and None")
    for name, size in (("left_size", left), ("right_size", right)):
        whole = isinstance(size, int) and not isinstance(size, bool)
        if size is not None and not (0 < size < total if whole else isinstance(size, float) and 0 < size < 1):
            raise ArgumentError(
                f"{name} is an integer from 1 to {total - 1}, as there are {total} samples, or a fraction between 0 "
                f"and 1; received {size!r}"
            )
    first, second = (round(size * total) if isinstance(size, float) else size for size in (left, right))
    if first is None:
        first = total - (second or 0)
    if second is None:
        second = total - first
    if first + second > total or not first or not second:
        raise ArgumentError(
            f"left_size={left!r} and right_size={right!r} of {total} samples are {first} and {second}; expected two "
            f"parts that are not empty and together no more than {total}"
        )
    return first, second


def _check_positive(name: str, number: Any) -> None:
    if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 1:
        raise ArgumentError(f"{name} must be a positive integer, received {number!r}")
