"""Arrays brought into the form that training needs: one-hot classes, sequences of one length, unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ....ir.errors import ArgumentError, ShapeError
from ... import ops
from ...tensor import Tensor
from .batches import shown


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Classes as one-hot rows.

    Args:
        x: integers from 0 to ``num_classes - 1``, of any shape; a last axis of length 1 is dropped.
        num_classes: number of classes; by default one more than the largest in ``x``.

    Returns:
        For a tensor or jax array a tensor, else a NumPy array of float64; the classes are the last axis.

    Raises:
        ArgumentError: ``x`` is empty with no ``num_classes``, or holds a number that is no class.
    """
    if isinstance(x, Tensor | jax.Array):
        if x.ndim > 1 and x.shape[-1] == 1:
            x = ops.squeeze(x, axis=-1)
        if num_classes is None:
            if isinstance(x, Tensor):
                raise ArgumentError("to_categorical of a traced tensor needs num_classes: its values are not known")
            num_classes = int(np.max(np.asarray(x))) + 1
        return ops.one_hot(x, num_classes)
    classes = np.array(x, dtype="int64")
    if classes.ndim > 1 and classes.shape[-1] == 1:
        classes = classes[..., 0]
    if not num_classes:
        if not classes.size:
            raise ArgumentError("to_categorical of an empty array needs num_classes")
        num_classes = int(classes.max()) + 1
    if classes.size and not -num_classes <= classes.min() <= classes.max() < num_classes:
        raise ArgumentError(
            f"expected classes from 0 to {num_classes - 1}, but x holds {classes.min()} to {classes.max()}; "
            "pass a larger num_classes, or count classes from 0"
        )
    rows = np.zeros((classes.size, num_classes))
    rows[np.arange(classes.size), classes.ravel()] = 1
    return rows.reshape(*classes.shape, num_classes)


def normalize(x: Any, axis: int = -1, order: int | float = 2) -> Any:
    """``x`` divided by its norms along an axis; what has norm 0 stays.

    Args:
        x: a NumPy array, or a tensor.
        axis: the axis.
        order: order of the norm.

    Returns:
        An array of the kind of ``x``.
    """
    if not isinstance(x, np.ndarray):
        return ops.normalize(x, axis=axis, order=order)
    norm = np.atleast_1d(np.linalg.norm(x, order, axis))
    norm[norm == 0] = 1
    return x / np.expand_dims(norm, axis)


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences of various lengths as one array.

    Args:
        sequences: sequences of numbers, or of arrays of one shape.
        maxlen: their common length; that of the longest by default.
        dtype: element type of the result.
        padding: whether ``value`` fills up at the beginning, ``"pre"``, or at the end, ``"post"``.
        truncating: whether what is too much is cut off at the beginning, ``"pre"``, or at the end, ``"post"``.
        value: what fills up.

    Returns:
        Array of shape ``(number of sequences, maxlen, ...)``.

    Raises:
        ArgumentError: ``sequences`` is no list of sequences, or another argument is unknown.
        ShapeError: entries differ in shape.
    """
    if not hasattr(sequences, "__len__"):
        raise ArgumentError(f"`sequences` must be a list of sequences, received {shown(sequences)}")
    for each in sequences:
        if not hasattr(each, "__len__"):
            raise ArgumentError(f"`sequences` must be a list of iterables. Found non-iterable: {shown(each)}")
    for name, choice in (("padding", padding), ("truncating", truncating)):
        if choice not in ("pre", "post"):
            raise ArgumentError(f'{name} is "pre" or "post", received {choice!r}')
    text = np.issubdtype(dtype, np.str_) or np.issubdtype(dtype, np.bytes_)
    if isinstance(value, str) and dtype is not object and not text:
        raise ArgumentError(
            f"dtype {dtype} does not hold the value {value!r}; set dtype=object for strings of various lengths"
        )
    length = max((len(each) for each in sequences), default=0) if maxlen is None else maxlen
    shape = next((np.asarray(each).shape[1:] for each in sequences if len(each)), ())
    result = np.full((len(sequences), length, *shape), value, dtype=dtype)
    for row, (number, each) in zip(result, enumerate(sequences)):
        if not len(each) or not length:
            continue
        kept = np.asarray(each[-length:] if truncating == "pre" else each[:length], dtype=dtype)
        if kept.shape[1:] != shape:
            raise ShapeError(
                f"the entries of sequence {number} have shape {kept.shape[1:]}, those before have {shape}; "
                "all must have one shape"
            )
        if padding == "pre":
            row[-len(kept) :] = kept
        else:
            row[: len(kept)] = kept
    return result
