"""``CSVLogger``: a row for each epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from typing import Any, TextIO

import numpy as np

from ..registry import builtin
from ..training.shares import writes_files
from .callback import Callback


@builtin("keras.callbacks")
class CSVLogger(Callback):
    """Writes the logs of each epoch as a row of a CSV file; each row is on disk when its epoch is over. Of several
    processes that train together, whose logs are equal, the first writes it.

    Args:
        filename: the file.
        separator: what stands between values.
        append: whether rows are added to a file that is there.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self.append_header = True
        self.csv_file: TextIO | None = None
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the file."""
        self._close()
        if not writes_files():
            return
        if self.append:
            self.append_header = not (os.path.exists(self.filename) and os.path.getsize(self.filename))
        self.csv_file = open(self.filename, "a" if self.append else "w", newline="")  # noqa: SIM115 (until on_train_end)
        self.keys = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write a row. The first decides on the columns; validation has some even if it only comes in later epochs."""
        logs = logs or {}
        if self.csv_file is None and not writes_files():
            return
        if self._writer is None:
            self.keys = sorted(logs)
            if self.keys and not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
            assert self.csv_file is not None
            self._writer = csv.writer(self.csv_file, delimiter=self.sep)
            if self.append_header:
                self._writer.writerow(["epoch", *self.keys])
        assert self.keys is not None and self.csv_file is not None
        self._writer.writerow([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])
        self.csv_file.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self.csv_file is not None:
            self.csv_file.close()
        self.csv_file = self._writer = None


def _cell(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Iterable) or np.ndim(value) == 0:  # type: ignore[arg-type]
        return value
    return f'"[{", ".join(map(str, value))}]"'
