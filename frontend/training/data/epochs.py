"""Epochs of a source of batches: where each begins and ends, and what happens when the data ends first."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ....ir.errors import ArgumentError
from ..shares import agree_on_batches, are_shared, types_of
from .adapter import DataAdapter


@dataclass(frozen=True)
class _Taken:
    """The batches of one execution as the loop is given them, how many they are; or why there are none. ``types`` are
    those of their arrays, where several processes have to agree on them."""

    count: int = 0
    batches: Any = None
    error: Exception | None = None
    types: list[str] = field(default_factory=list)


def _own(x: Any) -> Any:
    """An array that nobody else writes to. NumPy copies it at once, while ``jax.device_put`` may read it later."""
    return np.array(x) if isinstance(x, np.ndarray) else x


class EpochIterator:
    """The batches of each epoch in turn.

    With ``steps_per_epoch`` an epoch is that many batches, and the next one goes on where it stopped, until the source
    is through and starts again. Without, an epoch is all that the source has.

    Args:
        x, y, sample_weight, batch_size, shuffle, class_weight: as :func:`get_data_adapter` takes them; ``x`` may be an
            adapter.
        steps_per_epoch: batches of an epoch, or None for all.
        steps_per_execution: how many batches come together.

    Attributes:
        adapter: the source.
        place: ``batches of one execution -> what the loop is given``, such as arrays that are on the device.
        purpose: what the batches are for, in messages.
        ran_out: whether the last epoch ended before it should.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps_per_epoch: int | None = None,
        shuffle: bool | str = False,
        class_weight: Mapping[int, float] | None = None,
        steps_per_execution: int = 1,
    ) -> None:
        from . import get_data_adapter

        if steps_per_epoch is not None and (not isinstance(steps_per_epoch, int) or steps_per_epoch < 1):
            raise ArgumentError(f"steps_per_epoch is a positive integer or None, received {steps_per_epoch!r}")
        self.steps_per_epoch = steps_per_epoch
        self.steps_per_execution = steps_per_execution
        self.adapter: DataAdapter = get_data_adapter(
            x, y, sample_weight, batch_size, steps_per_epoch=steps_per_epoch, shuffle=shuffle, class_weight=class_weight
        )
        self.ran_out = False
        self._known = self.adapter.num_batches
        self._current: Iterator[Any] | None = None
        self._seen = 0  # batches taken from the current iterator
        self.place: Callable[[list[Any]], Any] = list
        self.purpose = "an epoch"
        self._room = 0  # batches that the next execution may take
        self._ahead: _Taken | None = None

    @property
    def num_batches(self) -> int | None:
        """Batches of an epoch; None where that is not known before the first one has ended."""
        return self.steps_per_epoch or self._known

    def first_batch(self) -> Any:
        """A batch to look at. The epochs then start afresh: it comes again, unless the source is one stream.

        Keras takes a batch in the same way to build a model that is not built, so that shuffled orders stay equal.
        """
        self.adapter.on_epoch_begin()
        batches = iter(self.adapter)
        try:
            batch = next(batches, None)
        finally:
            self.adapter.on_epoch_end()
        if batch is None:
            raise ArgumentError("the data has no batch at all; expected one at least")
        self.reset()
        self._keep_stream(batch, batches)
        return batch

    def _keep_stream(self, batch: Any, batches: Iterator[Any]) -> None:
        from .iterables import GeneratorAdapter

        if isinstance(self.adapter, GeneratorAdapter):
            self.adapter.put_back(batch)
        elif hasattr(batches, "close"):
            batches.close()

    def reset(self) -> None:
        """Start the source from its beginning."""
        self._current = None
        self._seen = 0
        self._ahead = None

    def fetch(self) -> None:
        """Take the batches of the next execution now, so that the source makes them while the device is at work.

        They come in their turn, and so does an error of the source. No other batch is taken before.
        """
        if self._room and self._ahead is None:
            self._ahead = self._take(self._room)

    def enumerate_epoch(self) -> Iterator[tuple[int, int, Any]]:
        """One epoch: ``(first step, last step, batches)``, each with up to ``steps_per_execution`` batches, as
        :attr:`place` gives them.

        Where the data ends before ``steps_per_epoch`` is reached, or there is none left at all, a warning says so, as
        in Keras, and ``ran_out`` is set.
        """
        self.ran_out = False
        self.adapter.on_epoch_begin()
        try:
            yield from self._steps()
        finally:
            self._room = 0
            self.adapter.on_epoch_end()

    __iter__ = enumerate_epoch

    def _steps(self) -> Iterator[tuple[int, int, Any]]:
        wanted = self.steps_per_epoch
        if self._current is None or wanted is None:
            self.reset()
            self._current = iter(self.adapter)
        step = 0
        while room := self._room_after(step):
            taken, self._ahead = self._ahead or self._take(room), None
            agree_on_batches(f"step {step} of {self.purpose}", taken.count, taken.types, taken.error)
            if taken.error is not None:
                raise taken.error
            self._seen += taken.count
            if taken.count:
                self._room = self._room_after(step + taken.count) if taken.count == room else 0
                yield step, step + taken.count - 1, taken.batches
                step += taken.count
            if taken.count < room:
                self._ended(step)
                return
        if self._known is not None and self._seen >= self._known:
            self.reset()

    def _room_after(self, step: int) -> int:
        """How many batches the execution after so many steps of the epoch takes."""
        left = self.steps_per_execution if self.steps_per_epoch is None else self.steps_per_epoch - step
        return min(self.steps_per_execution, left)

    def _take(self, room: int) -> _Taken:
        assert self._current is not None
        try:
            taken = itertools.islice(self._current, room)
            batches = list(taken) if self.adapter.keeps_batches else [jax.tree.map(_own, batch) for batch in taken]
            types = types_of(batches) if are_shared() else []
            return _Taken(len(batches), self.place(batches) if batches else None, types=types)
        except Exception as error:  # raised in its turn
            return _Taken(error=error)

    def _ended(self, step: int) -> None:
        """The source is through."""
        if self._known is None and step:
            self._known = self._seen
        self.reset()
        if (self.steps_per_epoch is not None and step < self.steps_per_epoch) or not step:
            self.ran_out = True
            expected = "" if self.steps_per_epoch is None else f", expected {self.steps_per_epoch}"
            warnings.warn(
                f"Your input ran out of data; interrupting training. The epoch had {step} batches{expected}. Make sure "
                "that your dataset or generator can generate at least `steps_per_epoch * epochs` batches. You may need "
                "to use the `.repeat()` function when building your dataset.",
                stacklevel=2,
            )
