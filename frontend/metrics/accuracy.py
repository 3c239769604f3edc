"""Accuracies: how often predictions are right."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..convert import as_tensor, cast
from ..dtypes import floatx
from ..losses.function import pair_op
from ..losses.shapes import is_one, misfit, paired
from ..registry import builtin
from ..tensor import Tensor
from .reduction import BuiltinMean


def _matches(x: Any, y: Any) -> Tensor:
    return cast(as_tensor(ops.equal(x, y)), floatx())


@pair_op
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where label and prediction are equal, else 0; in the shape of the predictions."""
    return _matches(*paired("accuracy", y_true, y_pred, squeeze=True))


@builtin("keras.metrics")
@pair_op
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where ``y_pred > threshold`` says what the label 0 or 1 does, else 0; in the shape of the predictions."""
    pred, labels = as_tensor(y_pred), as_tensor(y_true)
    positive = as_tensor(ops.greater(pred, as_tensor(threshold)))
    labels, positive = paired("binary_accuracy", labels, cast(positive, labels.dtype), squeeze=True)
    return _matches(labels, positive)


@builtin("keras.metrics")
@pair_op
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the greatest of the one-hot label and of the prediction are at one place of the last axis, else 0."""
    true, pred = as_tensor(y_true), as_tensor(y_pred)
    if true.ndim != pred.ndim or not pred.ndim:
        raise misfit(
            "categorical_accuracy",
            true,
            pred,
            "one-hot labels have the shape of the predictions; integer labels are for sparse_categorical_accuracy",
        )
    places = paired("categorical_accuracy", ops.argmax(true, axis=-1), ops.argmax(pred, axis=-1))
    return _matches(*places)


@builtin("keras.metrics")
@pair_op
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the greatest of the last axis of the predictions is at the label's place, else 0.

    Args:
        y_true: integer classes, in the shape of ``y_pred`` without its last axis, or with 1 there.
        y_pred: scores of the classes.
    """
    true, pred = as_tensor(y_true), as_tensor(y_pred)
    dropped = true.ndim == pred.ndim and pred.ndim > 0 and is_one(true.shape[-1])
    classes = as_tensor(ops.squeeze(true, -1)) if dropped else true
    if classes.ndim != pred.ndim - 1:
        raise misfit(
            "sparse_categorical_accuracy",
            true,
            pred,
            "integer labels have the shape of the predictions without its last axis; one-hot labels are for "
            "categorical_accuracy",
        )
    matches = _matches(*paired("sparse_categorical_accuracy", cast(classes, pred.dtype), _place(pred)))
    # Keras drops a last axis of 1 of the matches, be it from the labels or a time axis of one step.
    return ops.squeeze(matches, -1) if not dropped and matches.ndim > 1 and is_one(matches.shape[-1]) else matches


def _place(pred: Tensor) -> Tensor:
    return cast(as_tensor(ops.argmax(pred, axis=-1)), pred.dtype)


@builtin("keras.metrics")
@pair_op
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where the class of the one-hot label is among the ``k`` likeliest, else 0."""
    classes = ops.argmax(as_tensor(y_true), axis=-1)
    return _in_top_k("top_k_categorical_accuracy", as_tensor(classes), as_tensor(y_pred), k)


@builtin("keras.metrics")
@pair_op
def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Any:
    """1 where the label is among the ``k`` likeliest classes, else 0.

    Args:
        y_true: integer classes.
        y_pred: scores of the classes; or, ``from_sorted_ids``, the classes themselves, the likeliest first.
    """
    pred = as_tensor(y_pred)
    if not from_sorted_ids:
        return _in_top_k("sparse_top_k_categorical_accuracy", as_tensor(as_tensor(y_true), "int32"), pred, k)
    classes = as_tensor(y_true, pred.dtype)
    if classes.ndim != pred.ndim - 1:
        raise misfit("sparse_top_k_categorical_accuracy", classes, pred, _SPARSE)
    found = ops.any(ops.equal(ops.expand_dims(classes, -1), pred[..., :k]), axis=-1)
    return cast(as_tensor(found), floatx())


_SPARSE = "integer labels have the shape of the predictions without its last axis"


def _in_top_k(name: str, classes: Tensor, pred: Tensor, k: int) -> Tensor:
    if classes.ndim != pred.ndim - 1:
        raise misfit(name, classes, pred, _SPARSE)
    return cast(as_tensor(ops.in_top_k(classes, pred, k)), floatx())


@builtin("keras.metrics")
class Accuracy(BuiltinMean):
    """How often labels and predictions are equal.

    Args:
        name: the metric's name.
        dtype: element type of state and result.
    """

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)
        self._direction = "up"


@builtin("keras.metrics")
class BinaryAccuracy(BuiltinMean):
    """How often probabilities are on the right side of ``threshold``; further arguments as of Accuracy."""

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self._direction = "up"


@builtin("keras.metrics")
class CategoricalAccuracy(BuiltinMean):
    """How often the likeliest class is that of the one-hot label; arguments as of Accuracy."""

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)
        self._direction = "up"


@builtin("keras.metrics")
class SparseCategoricalAccuracy(BuiltinMean):
    """How often the likeliest class is that of the integer label; arguments as of Accuracy."""

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)
        self._direction = "up"


@builtin("keras.metrics")
class TopKCategoricalAccuracy(BuiltinMean):
    """How often the class of the one-hot label is among the ``k`` likeliest; further arguments as of Accuracy."""

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)
        self._direction = "up"


@builtin("keras.metrics")
class SparseTopKCategoricalAccuracy(BuiltinMean):
    """How often the integer label is among the ``k`` likeliest classes; further arguments as of Accuracy.

    ``from_sorted_ids``: the predictions are the classes themselves, the likeliest first.
    """

    unsaved = {"from_sorted_ids": False}

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)
        self._direction = "up"
