"""Intersection over union of classes, from a confusion matrix."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ...ir.errors import ArgumentError
from .. import ops
from ..convert import as_tensor
from ..dispatch import public_op
from ..dtypes import epsilon
from ..losses.function import as_array
from ..losses.shapes import check_same_shape
from ..registry import builtin
from .base import Metric, gather


@public_op(weak=False)
def _confusion(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    owner: str,
    num_classes: int,
    ignore_class: int | None,
    sparse: tuple[bool, bool],
    axis: int,
    dtype: str,
) -> Any:
    """The matrix [labels, predictions] of the weights of a batch."""
    classes = [x if given else ops.argmax(x, axis=axis) for x, given in zip((y_true, y_pred), sparse, strict=True)]
    true, pred = (as_tensor(ops.reshape(as_tensor(x, dtype), (-1,))) for x in classes)
    check_same_shape(owner, true, pred, "labels and predictions must hold the same number of classes")
    weight = as_tensor(1 if sample_weight is None else sample_weight, dtype)
    weight = ops.broadcast_to(ops.reshape(weight, (-1,)) if weight.ndim > 1 else weight, true.shape)
    known = [ops.logical_and(ops.greater_equal(x, 0), ops.less(x, num_classes)) for x in (true, pred)]
    counts = ops.logical_and(*known)
    if ignore_class is not None:
        counts = ops.logical_and(counts, ops.not_equal(true, ignore_class))
    cells = ops.stack([ops.where(counts, x, 0) for x in (true, pred)], axis=1)
    return ops.scatter(ops.cast(cells, "int32"), ops.where(counts, weight, 0), (num_classes, num_classes))


@public_op(weak=False)
def _mean_iou(matrix: Any, classes: tuple[int, ...]) -> Any:
    """The mean over ``classes`` that occur of intersection by union."""
    matrix = as_tensor(matrix)
    both = ops.diag(matrix)
    union = ops.subtract(ops.add(ops.sum(matrix, axis=0), ops.sum(matrix, axis=1)), both)
    chosen = as_tensor(list(classes), "int32")
    both, union = (ops.cast(ops.take(x, chosen), "float32") for x in (both, union))
    occurs = ops.greater(union, 1e-9)
    iou = ops.where(occurs, ops.divide(both, ops.add(union, epsilon())), 0.0)
    return ops.divide(ops.sum(iou), ops.add(ops.sum(ops.cast(occurs, "float32")), epsilon()))


@builtin("keras.metrics")
class IoU(Metric):
    """The mean over some classes of intersection over union.

    Args:
        num_classes: how many classes there are.
        target_class_ids: those that count.
        name: the metric's name.
        dtype: element type of the counts; int32 by default.
        ignore_class: a label whose places do not count.
        sparse_y_true: whether labels are integers; else one-hot, or scores.
        sparse_y_pred: whether predictions are integers; else scores.
        axis: the axis of classes of what is not sparse.

    Raises:
        ArgumentError: a target class is none of the classes.
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name=name, dtype=dtype or "int32")
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        if not all(0 <= target < num_classes for target in self.target_class_ids):
            raise ArgumentError(
                f"{type(self).__name__}: expected target_class_ids between 0 and {num_classes - 1}, received "
                f"{self.target_class_ids}"
            )
        self.total_cm = self.add_variable(
            (num_classes, num_classes), "zeros", self.dtype, name="total_confusion_matrix"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch of labels and predictions of any shape; classes out of range do not count.

        Warns where weights are float and counts are not: their fractions are lost.
        """
        weight = as_array(sample_weight)
        if "float" in str(getattr(weight, "dtype", "")) and "int" in self.dtype:
            warnings.warn(
                f"{self.name}: sample_weight has a float type, but counts are {self.dtype}, so fractions are lost; "
                "use integer weights, or dtype='float32'",
                stacklevel=2,
            )
        sparse = bool(self.sparse_y_true), bool(self.sparse_y_pred)
        found = _confusion(
            as_array(y_true),
            as_array(y_pred),
            weight,
            self.name,
            self.num_classes,
            self.ignore_class,
            sparse,
            self.axis,
            self.dtype,
        )
        gather([self.total_cm], [found])

    def result(self) -> Any:
        """The mean so far, a scalar; 0 before any batch."""
        return _mean_iou(self.total_cm, tuple(self.target_class_ids))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**Metric.get_config(self), **{name: getattr(self, name) for name in self._saved()}}

    def _saved(self) -> tuple[str, ...]:
        return ("num_classes", "target_class_ids", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")


@builtin("keras.metrics")
class BinaryIoU(IoU):
    """IoU of two classes, of which ``threshold`` and more predicts the second; further arguments as of IoU."""

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name=name, dtype=dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch of labels 0 and 1 and of predictions between 0 and 1; see IoU."""
        positive = ops.greater_equal(ops.convert_to_tensor(as_array(y_pred), "float32"), self.threshold)
        super().update_state(y_true, ops.cast(positive, self.dtype), sample_weight)

    def _saved(self) -> tuple[str, ...]:
        return ("target_class_ids", "threshold")


@builtin("keras.metrics")
class MeanIoU(IoU):
    """IoU of all classes; arguments as of IoU."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def _saved(self) -> tuple[str, ...]:
        return ("num_classes", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")


@builtin("keras.metrics")
class OneHotIoU(IoU):
    """IoU of one-hot labels; arguments as of IoU."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def _saved(self) -> tuple[str, ...]:
        return ("num_classes", "target_class_ids", "ignore_class", "sparse_y_pred", "axis")


@builtin("keras.metrics")
class OneHotMeanIoU(MeanIoU):
    """IoU of all classes, of one-hot labels; arguments as of IoU."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def _saved(self) -> tuple[str, ...]:
        return ("num_classes", "ignore_class", "sparse_y_pred", "axis")
