"""Confusion counts: true and false, positives and negatives, at one threshold or many."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError, ShapeError
from .. import ops
from ..convert import as_tensor, broadcast_to, cast, match_shape
from ..dispatch import public_op
from ..dtypes import epsilon
from ..losses.function import as_array
from ..losses.shapes import check_same_shape, paired, same_rank
from ..ops import building as b
from ..tensor import Tensor
from ..variable import Variable

#: What stands for a score that can't be among the best.
NEVER = -1e10
_SAME = "labels have the shape of the predictions"


def parse_thresholds(owner: str, thresholds: Any, default: float) -> list[float]:
    """Thresholds as a list; ``default`` for None. Raises :class:`ArgumentError` outside of 0 to 1."""
    if thresholds is None:
        return [default]
    found = list(thresholds) if isinstance(thresholds, list | tuple | np.ndarray) else [thresholds]
    wrong = [t for t in found if t is None or not 0 <= t <= 1]
    if wrong:
        raise ArgumentError(f"{owner}: thresholds must be between 0 and 1, received {wrong}")
    return found


def spread_evenly(thresholds: Sequence[float]) -> bool:
    """Whether thresholds go from 0 to 1 in equal steps, so that a score's place among them can be computed."""
    count = len(thresholds)
    return count >= 3 and np.allclose(thresholds, np.arange(count) / (count - 1), atol=epsilon())


def even_thresholds(count: int) -> list[float]:
    """``count`` thresholds from 0 to 1 in equal steps."""
    return [0.0, *((i + 1) / (count - 1) for i in range(count - 2)), 1.0]


@dataclass(frozen=True)
class Counting:
    """How predictions are counted.

    Attributes:
        thresholds: a prediction above one is positive.
        even: whether they go from 0 to 1 in equal steps (but for an epsilon at the ends).
        top_k: only so many best predictions of each sample may be positive.
        class_id: count this class alone.
        multi_label: count each label by itself.
    """

    thresholds: tuple[float, ...]
    even: bool
    top_k: int | None = None
    class_id: int | None = None
    multi_label: bool = False


def count_into(
    variables: dict[str, Variable],
    owner: str,
    how: Counting,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    label_weights: Any = None,
) -> None:
    """Add a batch's counts to Variables, one for each of some of the kinds ``tp``, ``fp``, ``tn`` and ``fn``.

    Args:
        owner: the metric's name, for messages.
        y_true: labels 0 and 1.
        y_pred: probabilities.
        sample_weight: a weight for each sample, or for each of its first axes.
        label_weights: a weight for each label (the last axis), where labels are counted together.
    """
    dtype = next(iter(variables.values()))._dtype
    kinds = tuple(variables)
    arrays = (as_array(a) for a in (y_true, y_pred, sample_weight, label_weights))
    found = _counts(*arrays, owner, how, kinds, dtype)
    for variable, increment in zip(variables.values(), found, strict=True):
        variable.assign(ops.add(variable, increment))


@public_op(weak=False)
def _counts(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    label_weights: Any,
    owner: str,
    how: Counting,
    kinds: tuple[str, ...],
    dtype: str,
) -> list[Any]:
    true, pred = paired(owner, as_tensor(y_true, dtype), as_tensor(y_pred, dtype), squeeze=True, hint=_SAME)
    check_same_shape(owner, true, pred, _SAME)
    true = match_shape(true, b.shape_of(pred), f"{owner}: {_SAME}")
    weight = None
    if sample_weight is not None:
        weight = ops.expand_dims(as_tensor(sample_weight, dtype), -1)
        weight = same_rank(true, weight, expand_rank_1=False)[1]
    if how.top_k is not None:
        pred = _best(owner, pred, how.top_k)
    if how.class_id is not None:
        true, pred = (_one_class(owner, x, how.class_id) for x in (true, pred))
    if how.multi_label and pred.ndim != 2:
        raise ShapeError(f"{owner}: with multi_label=True, predictions are [batch, labels], received {pred!r}")
    weight = _weights(owner, weight, label_weights, pred)
    true = cast(cast(true, "bool"), dtype)
    parts = [true, b.subtract(b.like(true, 1), true)]  # weights of positives and of negatives
    if weight is not None:
        parts = [as_tensor(ops.multiply(part, weight)) for part in parts]
    if not how.multi_label:
        pred, *parts = (as_tensor(ops.reshape(x, (-1, 1))) for x in (pred, *parts))
    found = (_by_place if how.even else _by_comparison)(how, pred, *parts)
    return [found[kind] if how.multi_label else ops.squeeze(found[kind], -1) for kind in kinds]


def _best(owner: str, pred: Tensor, top_k: int) -> Tensor:
    """Scores of the ``top_k`` greatest of the last axis; all others become one that is above no threshold."""
    depth = b.static_dim(b.shape_of(pred)[-1], owner, "the number of classes, for top_k,")
    if top_k > depth:
        raise ArgumentError(f"{owner}: expected top_k of at most {depth}, the number of classes; received {top_k}")
    places = ops.top_k(pred, top_k)[1]
    chosen = ops.sum(ops.one_hot(places, depth, dtype=pred.dtype), axis=-2)
    return as_tensor(ops.where(ops.greater(chosen, 0), pred, NEVER))


def _one_class(owner: str, x: Tensor, class_id: int) -> Tensor:
    size = b.shape_of(x)[-1]
    if x.ndim < 2 or (isinstance(size, int) and not -size <= class_id < size):
        raise ShapeError(f"{owner}: class_id={class_id} needs an axis of classes that has it, received {x!r}")
    place = class_id % size if isinstance(size, int) else class_id
    return b.cut(x, x.ndim - 1, place, place + 1)


def _weights(owner: str, weight: Any, label_weights: Any, pred: Tensor) -> Tensor | None:
    """Weights of samples times those of labels, in the shape of the predictions."""
    found = [] if weight is None else [as_tensor(weight)]
    if label_weights is not None:
        found.append(as_tensor(ops.expand_dims(as_tensor(label_weights, pred.dtype), 0)))
    wanted = b.shape_of(pred)
    for each in found:
        pairs = zip(reversed(b.shape_of(each)), reversed(wanted))
        if each.ndim > pred.ndim or any(isinstance(p, int) and w not in (1, p) for w, p in pairs if isinstance(w, int)):
            raise ShapeError(
                f"{owner}: weights of shape {b.text(b.shape_of(each))} do not fit predictions of shape "
                f"{b.text(wanted)}; expected one weight for each sample, or one for each prediction"
            )
    stretched = [broadcast_to(each, wanted) for each in found]
    return functools.reduce(b.multiply, stretched) if stretched else None


def _by_comparison(how: Counting, pred: Tensor, positive: Tensor, negative: Tensor) -> dict[str, Any]:
    """Counts [thresholds, labels]: every prediction [samples, labels] is compared with every threshold."""
    bounds = as_tensor(np.reshape(how.thresholds, (-1, 1, 1)), pred.dtype)
    above = ops.greater(ops.expand_dims(pred, 0), bounds)
    yes, no = (ops.expand_dims(x, 0) for x in (positive, negative))
    return {
        "tp": ops.sum(ops.where(above, yes, 0), axis=1),
        "fp": ops.sum(ops.where(above, no, 0), axis=1),
        "fn": ops.sum(ops.where(above, 0, yes), axis=1),
        "tn": ops.sum(ops.where(above, 0, no), axis=1),
    }


def _by_place(how: Counting, pred: Tensor, positive: Tensor, negative: Tensor) -> dict[str, Any]:
    """As :func:`_by_comparison` for thresholds in equal steps: the work does not grow with their number.

    A prediction's place is the last threshold below it; above a threshold is what has its place or a later one.
    """
    count, labels = len(how.thresholds), b.static_dim(b.shape_of(pred)[1], "metric", "the number of labels")
    place = ops.subtract(ops.ceil(ops.multiply(ops.clip(pred, 0.0, 1.0), float(count - 1))), 1)
    if how.thresholds[0] < 0 or how.thresholds[-1] > 1:  # the first is below 0, so 0 is above it
        place = ops.relu(place)
    cells = ops.add(ops.multiply(ops.cast(place, "int32"), labels), b.iota((1, labels), 1))
    both = ops.reshape(ops.stack([positive, negative], axis=-1), (-1, 2))
    at = ops.segment_sum(both, ops.reshape(cells, (-1,)), num_segments=count * labels)
    above = ops.flip(ops.cumsum(ops.flip(ops.reshape(at, (count, labels, 2)), axis=0), axis=0), axis=0)
    tp, fp = above[..., 0], above[..., 1]
    fn, tn = ops.subtract(ops.sum(positive, axis=0), tp), ops.subtract(ops.sum(negative, axis=0), fp)
    return {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
