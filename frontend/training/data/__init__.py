"""Where training takes its batches from: arrays, generators, datasets of Python, PyTorch and TensorFlow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from ....ir.errors import ArgumentError
from ...distribution.current import distribution
from .adapter import DataAdapter
from .arrays import ArrayAdapter, all_arrays, train_validation_split
from .batches import (
    class_weight_to_sample_weights,
    is_from,
    is_nested,
    pack_x_y_sample_weight,
    shown,
    unpack_x_y_sample_weight,
)
from .datasets import ArrayDataset, ArrayDatasetAdapter, split_dataset, timeseries_dataset_from_array
from .epochs import EpochIterator
from .iterables import GeneratorAdapter, TFDatasetAdapter, TorchLoaderAdapter, is_tf_dataset, is_torch_loader
from .py_dataset import PyDataset, PyDatasetAdapter

__all__ = [
    "ArrayAdapter", "ArrayDataset", "ArrayDatasetAdapter", "DataAdapter", "EpochIterator", "GeneratorAdapter",
    "PyDataset", "PyDatasetAdapter", "TFDatasetAdapter", "TorchLoaderAdapter", "class_weight_to_sample_weights",
    "get_data_adapter", "pack_x_y_sample_weight", "split_dataset", "timeseries_dataset_from_array",
    "train_validation_split", "unpack_x_y_sample_weight",
]  # fmt: skip


def get_data_adapter(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    shuffle: bool | str = False,
    class_weight: Mapping[int, float] | None = None,
) -> DataAdapter:
    """The source of batches for what a user passes to ``fit``, ``evaluate`` or ``predict``.

    Args:
        x: arrays (NumPy, JAX, pandas, SciPy's sparse matrices, anything with ``__array__``) or a nest of them; or a
            generator, a :class:`PyDataset`, an :class:`ArrayDataset`, a ``torch.utils.data.DataLoader``, a
            ``tf.data.Dataset``, or an adapter.
        y, sample_weight: nests of arrays; only where ``x`` is arrays too.
        batch_size: samples of a batch, for arrays; 32 by default.
        steps_per_epoch: gives the default of ``batch_size`` for arrays.
        shuffle: True, False or ``"batch"``, for arrays; whether the batches of a ``PyDataset`` change order.
        class_weight: weight by class; for arrays, a ``PyDataset`` or a ``tf.data.Dataset``.

    Raises:
        ArgumentError: ``x`` is of no such kind, or an argument does not go with it.
        ShapeError, DTypeError: the arrays do not go together, are empty, or hold no numbers.
    """
    if isinstance(x, DataAdapter | ArrayDataset):
        _refuse_targets(type(x).__name__, y, sample_weight, class_weight)
        return x if isinstance(x, DataAdapter) else ArrayDatasetAdapter(x)
    if x is not None and not isinstance(x, Iterator) and all_arrays(x, y, sample_weight):
        return ArrayAdapter(x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight)
    if is_tf_dataset(x):
        _refuse_targets("tf.data.Dataset", y, sample_weight)
        _warn_of_shuffle("tf.data.Dataset", shuffle, "Shuffle it with its method .shuffle(buffer_size)")
        chosen = distribution()
        return TFDatasetAdapter(x if chosen is None else chosen.distribute_dataset(x), class_weight)
    if isinstance(x, PyDataset):
        _refuse_targets("PyDataset", y, sample_weight)
        if x.num_batches is None:
            _warn_of_shuffle("PyDataset without end", shuffle, "Have it give shuffled batches")
        return PyDatasetAdapter(x, class_weight, shuffle)
    if is_torch_loader(x):
        _refuse_targets("torch DataLoader", y, sample_weight, class_weight)
        _warn_of_shuffle("torch DataLoader", shuffle, "Pass shuffle=True to the DataLoader")
        return TorchLoaderAdapter(x)
    if isinstance(x, Iterator):
        _refuse_targets("generator", y, sample_weight, class_weight)
        _warn_of_shuffle("generator", shuffle, "Have it yield shuffled batches")
        return GeneratorAdapter(x)
    raise _unrecognized({"x": x, "y": y, "sample_weight": sample_weight})


def _refuse_targets(kind: str, y: Any, sample_weight: Any, class_weight: Any = None) -> None:
    for name, value in {"y": y, "sample_weight": sample_weight, "class_weight": class_weight}.items():
        if value is not None:
            content = "the weight of each sample" if name == "class_weight" else name
            raise ArgumentError(
                f"x is a {kind}, which gives whole batches, so that {name} can't be passed beside it. Have it give "
                f"{content} too: batches (x, y) or (x, y, sample_weight)"
            )


def _warn_of_shuffle(kind: str, shuffle: bool | str, mend: str) -> None:
    if shuffle == "batch":  # True is the default of fit(), so that it says nothing about what the user wants
        warnings.warn(f"shuffle={shuffle!r} has no effect, since x is a {kind}. {mend}", stacklevel=3)


def _unrecognized(named: Mapping[str, Any]) -> ArgumentError:
    """Say which argument is no data, and how to make data of it."""
    name = next(key for key, value in named.items() if not all_arrays(value) or (key == "x" and value is None))
    value = named[name]
    if is_nested(value):
        mend = f"lists hold whole arrays, one for each input; make one array of numbers with np.array({name})"
    elif is_from(value, "torch.utils.data", "Dataset"):
        mend = "wrap it in a torch.utils.data.DataLoader, which makes batches"
    elif name == "x":
        mend = "expected arrays, a generator, a PyDataset, a torch DataLoader or a tf.data.Dataset"
    else:
        mend = "expected an array, or a list, tuple or dict of arrays"
    return ArgumentError(f"{name} is {shown(value)}, which holds no training data: {mend}")
