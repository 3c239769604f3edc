"""Losses of similarity: angles between vectors, overlaps of regions, distances within and between classes."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..convert import as_tensor
from ..dispatch import public_op
from ..dtypes import epsilon
from ..masking import set_mask
from ..ops import building as b
from ..registry import builtin
from ..tensor import Tensor
from .base import BuiltinLoss
from .function import as_array, loss_function, pair_op
from .reduction import Reduction
from .shapes import misfit, paired


def cosine(name: str, y_true: Any, y_pred: Any, axis: Any) -> Any:
    """The cosines of the angles between vectors along ``axis``."""
    true, pred = paired(name, y_true, y_pred, squeeze=True)
    return ops.sum(ops.multiply(ops.normalize(true, axis=axis), ops.normalize(pred, axis=axis)), axis=axis)


@loss_function(metric=False)
@pair_op
def cosine_similarity(y_true: Any, y_pred: Any, axis: Any = -1) -> Any:
    """Minus the cosine of the angle between labels and predictions along ``axis``."""
    return ops.negative(cosine("cosine_similarity", y_true, y_pred, axis))


@loss_function(metric=False)
@pair_op
def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """``1 - 2 * overlap / (sum of labels + sum of predictions)``, summed over ``axis`` (by default over all)."""
    true, pred = paired("dice", y_true, y_pred)
    overlap = ops.sum(ops.multiply(true, pred), axis=axis)
    total = ops.add(ops.add(ops.sum(true, axis=axis), ops.sum(pred, axis=axis)), epsilon())
    return ops.subtract(1, ops.divide(ops.multiply(2.0, overlap), total))


@loss_function(metric=False)
@pair_op
def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> Any:
    """``1 - overlap / (overlap + alpha * missed + beta * excess)``, summed over ``axis`` (by default over all).

    As Keras has it, ``alpha`` weights labels that the prediction misses, ``beta`` predictions without a label.
    """
    true, pred = paired("tversky", y_true, y_pred)
    overlap = ops.sum(ops.multiply(true, pred), axis=axis)
    missed = ops.sum(ops.multiply(ops.subtract(1, pred), true), axis=axis)
    excess = ops.sum(ops.multiply(pred, ops.subtract(1, true)), axis=axis)
    errors = ops.add(ops.multiply(missed, alpha), ops.multiply(excess, beta))
    return ops.subtract(1, ops.divide(overlap, ops.add(ops.add(overlap, errors), epsilon())))


@loss_function(metric=False)
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """The circle loss of normalized embeddings (Sun et al. 2020); samples of loss 0 are masked.

    Args:
        y_true: [batch] integer classes.
        y_pred: [batch, depth] embeddings of length 1.
        ref_labels, ref_embeddings: what the batch is compared with; itself by default.
        remove_diagonal: leave out the pairs of a sample with itself.
        gamma: scale.
        margin: how far classes should be apart.
    """
    refs = as_array(ref_labels), as_array(ref_embeddings)
    loss, counts = _circle(as_array(y_true), as_array(y_pred), *refs, remove_diagonal, gamma, margin)
    set_mask(loss, counts)
    return loss


@public_op(weak=False)
def _circle(
    y_true: Any, y_pred: Any, ref_labels: Any, ref_embeddings: Any, remove_diagonal: bool, gamma: float, margin: float
) -> tuple[Tensor, Tensor]:
    pred, labels = as_tensor(y_pred), as_tensor(y_true, "int32")
    refs = pred if ref_embeddings is None else as_tensor(ref_embeddings)
    ref_labels = labels if ref_labels is None else as_tensor(ref_labels, "int32")
    if pred.ndim != 2 or labels.ndim not in (1, 2):
        raise misfit("circle", labels, pred, "expected labels [batch] and embeddings [batch, depth]")
    distance = ops.maximum(ops.subtract(1, ops.matmul(pred, ops.transpose(refs))), 0.0)
    same, other = _pairs(labels, ref_labels, remove_diagonal)
    near = _weighted(ops.add(margin, distance), ops.subtract(margin, distance), -gamma)
    far = _weighted(ops.subtract(1 + margin, distance), ops.subtract(1 - margin, distance), gamma)
    sums = [ops.logsumexp(ops.where(of, x, -math.inf), axis=1) for of, x in ((same, near), (other, far))]
    loss = ops.softplus(ops.add(*sums))
    return loss, ops.greater(loss, 0)


def _weighted(weight: Any, distance: Any, gamma: float) -> Any:
    return ops.multiply(ops.multiply(gamma, ops.maximum(weight, 0.0)), distance)


def _pairs(labels: Tensor, refs: Tensor, remove_diagonal: bool) -> tuple[Any, Any]:
    """Which pairs are of one class, and which are not."""
    same = ops.equal(ops.reshape(labels, (-1, 1)), ops.reshape(refs, (1, -1)))
    other = ops.logical_not(same)
    if remove_diagonal:
        off = b.compare("NE", b.iota(b.shape_of(same), 0), b.iota(b.shape_of(same), 1))
        same = ops.logical_and(same, off)
    return same, other


@builtin("keras.losses")
class CosineSimilarity(BuiltinLoss):
    """Minus the cosine between labels and predictions along ``axis``; further arguments as of Loss."""

    unsaved = {"axis": -1}

    def __init__(
        self,
        axis: int = -1,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)


@builtin("keras.losses")
class Dice(BuiltinLoss):
    """1 - twice the overlap by the sizes, summed over ``axis`` (by default all axes); further arguments as of Loss."""

    saved = ("axis",)

    def __init__(
        self,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dice, reduction, name, dtype, axis=axis)


@builtin("keras.losses")
class Tversky(BuiltinLoss):
    """As Dice, with a weight for labels missed (``alpha``) and for predictions too many (``beta``)."""

    saved = ("alpha", "beta", "axis")

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)


@builtin("keras.losses")
class Circle(BuiltinLoss):
    """The circle loss of normalized embeddings, see :func:`circle`; ``reduction``, ``name``, ``dtype`` as of Loss."""

    saved = ("gamma", "margin", "remove_diagonal")

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ) -> None:
        super().__init__(circle, reduction, name, dtype, gamma=gamma, margin=margin, remove_diagonal=remove_diagonal)
