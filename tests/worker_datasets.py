"""A dataset that worker processes can import without importing the tests that use it."""

import numpy as np

from lamina import keras


class Squares(keras.utils.PyDataset):
    """Batch ``i`` is filled with ``i``; batch ``bad`` raises, batch ``fatal`` ends its process."""

    def __init__(self, count=6, bad=None, fatal=None, end=True, **kwargs):
        super().__init__(**kwargs)
        self.count, self.bad, self.fatal, self.end = count, bad, fatal, end
        self.calls = []

    def __len__(self):
        return self.count

    @property
    def num_batches(self):
        return self.count if self.end else None

    def __getitem__(self, index):
        if index == self.bad:
            raise ValueError(f"batch {index} can't be read")
        if index == self.fatal:
            import os

            os._exit(1)
        return np.full((2, 1), index, "float64"), np.full(2, index % 2)

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")
