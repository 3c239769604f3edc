"""How batches are compared."""

import warnings

import numpy as np

from lamina.frontend.training.data import unpack_x_y_sample_weight


def numbers(*shape, dtype="float32"):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def same(a, b):
    """Whether two batches are equal, in structure, dtype and values."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)


def epochs_of(iterator, count):
    """The batches of each epoch as numbers, and how often the data ran out."""
    epochs, ran_out = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(count):
            found = [[unpack_x_y_sample_weight(batch)[0] for batch in batches] for _, _, batches in iterator]
            epochs.append([[int(np.ravel(x)[0]) for x in batches] for batches in found])
            ran_out.append(iterator.ran_out)
    return epochs, ran_out
