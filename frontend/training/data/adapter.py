"""What every source of batches offers to the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class DataAdapter:
    """A source of batches. ``iter`` of it starts an epoch; each batch is as :func:`pack_x_y_sample_weight` makes it.

    Attributes:
        num_batches: batches of an epoch; None where that is not known before.
        batch_size: samples of a batch; None where it is not known.
        partial_batch_size: samples of a shorter last batch; None where there is none, or it is not known.
        keeps_batches: whether a batch that was given stays as it is while later ones are made; else it is copied, since
            a generator may fill one array again and again.
    """

    num_batches: int | None = None
    batch_size: int | None = None
    partial_batch_size: int | None = None
    keeps_batches: bool = False

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{type(self).__name__} defines no __iter__")

    @property
    def has_partial_batch(self) -> bool | None:
        """Whether the last batch is shorter; None where it is not known."""
        return None if self.batch_size is None else self.partial_batch_size is not None

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""
