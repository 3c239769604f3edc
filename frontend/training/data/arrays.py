"""Batches of arrays that are there as a whole: NumPy, JAX, pandas, SciPy's sparse matrices, and nests of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ....ir.errors import ArgumentError, ShapeError
from .adapter import DataAdapter
from .batches import (
    both_weights,
    class_weight_to_sample_weights,
    flatten,
    is_from,
    is_jax_sparse,
    is_nested,
    is_sparse,
    map_nest,
    named_leaves,
    pack_x_y_sample_weight,
    plain_array,
    shown,
    with_default_float,
)

DEFAULT_BATCH_SIZE = 32


class SparseRows:
    """A sparse matrix of SciPy whose rows come out dense."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self.shape = tuple(matrix.shape)
        self.dtype = matrix.dtype

    def astype(self, dtype: Any) -> SparseRows:
        """The same with elements of another type."""
        return SparseRows(self._matrix.astype(dtype))

    def __getitem__(self, rows: Any) -> Any:
        """A dense array of these rows."""
        return self._matrix[rows].toarray()

    def take(self, rows: Any, axis: int = 0) -> Any:
        """A dense array of these rows."""
        return self[rows]

    def part(self, rows: slice) -> SparseRows:
        """These rows, still sparse."""
        return SparseRows(self._matrix[rows])


class ArrayAdapter(DataAdapter):
    """Batches cut from arrays.

    Without shuffling a batch is a view of the arrays. Shuffling draws from NumPy's global generator as Keras does, so
    that one seed (``keras.utils.set_random_seed``) gives the same order.

    Args:
        x, y, sample_weight: nests of arrays with one length, or None.
        batch_size: samples of a batch; by default what makes ``steps`` batches, or 32.
        steps: batches of an epoch; only for the default of ``batch_size``.
        shuffle: False; True for a new order of all samples in each epoch; ``"batch"`` for one within each batch.
        class_weight: weight by class, in place of ``sample_weight``.

    Raises:
        ShapeError: the lengths differ, or an array has no samples or no axis of samples.
        DTypeError: an array holds no numbers.
        ArgumentError: another argument does not fit.
    """

    keeps_batches = True

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool | str = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        if class_weight is not None:
            if sample_weight is not None:
                raise both_weights()
            if y is None:
                raise ArgumentError("class_weight needs targets: pass y")
            sample_weight = class_weight_to_sample_weights(y, class_weight)
        elif sample_weight is not None and is_nested(y):
            sample_weight = _weight_for_each_output(y, sample_weight)
        x, y, sample_weight = sliceable(x, "x"), sliceable(y, "y"), sliceable(sample_weight, "sample_weight")
        self._samples = _common_length({"x": x, "y": y, "sample_weight": sample_weight})
        self._leaves, structure = flatten(pack_x_y_sample_weight(x, y, sample_weight))
        self._unflatten = structure.unflatten
        self.batch_size = _checked_batch_size(batch_size, steps, self._samples)
        self.num_batches = math.ceil(self._samples / self.batch_size)
        self.partial_batch_size = self._samples % self.batch_size or None
        if shuffle not in (False, True, "batch", None):
            raise ArgumentError(f"shuffle is True, False or 'batch', received {shuffle!r}")
        self._shuffle = shuffle

    def __iter__(self) -> Iterator[Any]:
        leaves, unflatten, size = self._leaves, self._unflatten, self.batch_size
        assert size is not None
        if not self._shuffle:
            for start in range(0, self._samples, size):
                part = slice(start, start + size)
                yield unflatten([leaf[part] for leaf in leaves])
            return
        for rows in self._orders(size):
            yield unflatten([leaf.take(rows, axis=0) for leaf in leaves])

    def _orders(self, size: int) -> Iterator[np.ndarray]:
        """The rows of each batch. The draws are Keras's, so that the same seed gives the same order."""
        if self._shuffle != "batch":
            order = np.random.permutation(self._samples)
            for start in range(0, self._samples, size):
                yield order[start : start + size]
            return
        for start in range(0, self._samples, size):
            yield np.random.permutation(min(size, self._samples - start)) + start


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array, of whatever library, that can be cut along its first axis."""
    if isinstance(value, np.ndarray | jax.Array | SparseRows):
        return True
    return (
        is_sparse(value)
        or is_jax_sparse(value)
        or hasattr(value, "__array__")
        or is_from(value, "tensorflow", "RaggedTensor", "SparseTensor")
    )


def all_arrays(*nests: Any) -> bool:
    """Whether all leaves of the nests are arrays."""
    return all(is_array(leaf) for leaf in flatten(nests)[0])


def sliceable(nest: Any, name: str) -> Any:
    """The nest with NumPy arrays, or :class:`SparseRows`, of the default float type or of no float type.

    Raises:
        ShapeError: a leaf is a scalar.
        DTypeError: a leaf holds no numbers.
    """
    leaves, structure = flatten(nest)
    names = [where for where, _ in named_leaves(nest, name)]
    return structure.unflatten([_sliceable_leaf(leaf, where) for leaf, where in zip(leaves, names)])


def _sliceable_leaf(x: Any, name: str) -> Any:
    if isinstance(x, SparseRows):
        return x
    array = SparseRows(x.tocsr()) if is_sparse(x) else plain_array(x, name)
    if not array.shape:
        raise ShapeError(f"{name} is the scalar {shown(x)}, expected an array whose first axis counts samples")
    return with_default_float(array)


def _common_length(named: Mapping[str, Any]) -> int:
    leaves = [pair for name, nest in named.items() for pair in named_leaves(nest, name)]
    if not leaves:
        raise ArgumentError("there is no data: x is None or holds no arrays. Pass arrays, or a source of batches")
    lengths = {leaf.shape[0] for _, leaf in leaves}
    if len(lengths) > 1:
        sizes = ", ".join(f"{name} has {leaf.shape[0]}" for name, leaf in leaves)
        raise ShapeError(
            f"all arrays must have the same number of samples (length of the first axis), but {sizes}. "
            "Cut or repeat them to one length"
        )
    length = lengths.pop()
    if length == 0:
        shapes = ", ".join(f"{name} has shape {tuple(leaf.shape)}" for name, leaf in leaves)
        raise ShapeError(f"there are no samples: {shapes}. Expected at least one; check how the data was selected")
    return length


def _checked_batch_size(batch_size: Any, steps: int | None, samples: int) -> int:
    if batch_size is None:
        return math.ceil(samples / steps) if steps else DEFAULT_BATCH_SIZE
    try:
        size = operator.index(batch_size)
    except TypeError:
        size = 0
    if size < 1 or isinstance(batch_size, bool):
        raise ArgumentError(f"batch_size is a positive integer or None, received {batch_size!r}")
    return size


def _weight_for_each_output(y: Any, sample_weight: Any) -> Any:
    """``sample_weight`` in the structure of ``y``; one array of scalars serves for all outputs."""
    structure = flatten(y)[1]
    if is_nested(sample_weight):
        if flatten(sample_weight)[1] != structure:
            raise ArgumentError(
                "sample_weight must have one array for each output, in the structure of y: expected "
                f"{structure}, received {flatten(sample_weight)[1]}"
            )
        return sample_weight
    shape = tuple(getattr(sample_weight, "shape", ()))
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        raise ShapeError(
            f"one sample_weight for several outputs must hold one number for each sample, shape (n,) or (n, 1); "
            f"received shape {shape}. Pass one array for each output, in the structure of y"
        )
    return map_nest(lambda _: sample_weight, y)


def train_validation_split(arrays: Any, validation_split: float) -> tuple[Any, Any]:
    """Cut arrays in two: the last part is for validation. Order stays, and the parts are views.

    Args:
        arrays: nest of arrays of one length, and None.
        validation_split: fraction for validation, between 0 and 1.

    Returns:
        ``(training arrays, validation arrays)``, each in the structure of ``arrays``.

    Raises:
        ArgumentError: the data is no arrays, the fraction is out of range, or a part would be empty.
    """
    leaves = flatten(arrays)[0]
    wrong = sorted({type(leaf).__name__ for leaf in leaves if not is_array(leaf)})
    if wrong:
        raise ArgumentError(f"validation_split cuts arrays, received {', '.join(wrong)}. Pass validation_data instead")
    if not 0 < validation_split < 1:
        raise ArgumentError(f"validation_split is between 0 and 1, received {validation_split!r}")
    if not leaves:
        return arrays, arrays
    samples = int(leaves[0].shape[0])
    first = math.floor(samples * (1.0 - validation_split))
    if first in (0, samples):
        raise ArgumentError(
            f"validation_split={validation_split} of {samples} samples leaves none for "
            f"{'training' if first == 0 else 'validation'}. Give more data or another fraction"
        )

    def cut(rows: slice) -> Any:
        return map_nest(lambda a: a.part(rows) if isinstance(a, SparseRows) else a[rows], whole)

    whole = sliceable(arrays, "the data")
    return cut(slice(0, first)), cut(slice(first, samples))
