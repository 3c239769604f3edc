"""From a loss's values, weights and mask to one number."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from .. import ops
from ..convert import as_tensor
from ..dispatch import public_op
from ..ops import building as b
from ..tensor import Tensor
from .shapes import same_rank

Reduction = str | None
REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)
_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def standardize_reduction(reduction: Any) -> Reduction:
    """Return ``reduction``. Raises :class:`ArgumentError` where there is no such one."""
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}, received {reduction!r}")
    return reduction


@public_op(weak=False)
def reduce_weighted(
    values: Any,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "sum_over_batch_size",
    dtype: str | None = None,
    owner: str = "loss",
) -> Tensor:
    """Weight values and reduce them.

    Args:
        values: one or more for each sample.
        sample_weight: weights that broadcast to ``values``.
        mask: which values count, or None for all.
        reduction: see :class:`~lamina.frontend.losses.Loss`.
        dtype: type to compute in; that of ``values`` by default.
        owner: the loss's name, for messages.

    Raises:
        ShapeError: the weights do not broadcast to the values.
    """
    values = as_tensor(values, dtype)
    weight = masked_weight(sample_weight, mask, values.dtype, reduction)
    if weight is not None:
        values, weight = same_rank(values, weight)
        _check_weight(owner, values, weight)
        values = ops.multiply(values, weight)
    return _reduced(values, weight, reduction)


def masked_weight(sample_weight: Any, mask: Any, dtype: str, reduction: Reduction) -> Any:
    """Weights that are 0 where the mask leaves out; None where there are neither weights nor a mask.

    A mean still divides by the number of all values, so for it the weights grow by the share of those that count.
    """
    weight = None if sample_weight is None else as_tensor(sample_weight, dtype)
    if mask is None:
        return weight
    counts = as_tensor(as_tensor(mask, "bool"), dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        total = b.dim_tensor(b.size_of(b.shape_of(counts)), dtype)
        counts = ops.multiply(counts, ops.divide_no_nan(total, ops.sum(counts)))
    if weight is None:
        return counts
    counts, weight = same_rank(counts, weight)
    return ops.multiply(weight, counts)


def _reduced(values: Tensor, weight: Tensor | None, reduction: Reduction) -> Tensor:
    shape = b.shape_of(values)
    if reduction in (None, "none") or shape in ((), (0,)):
        return values
    total = ops.sum(values)
    if reduction not in _MEANS:
        return total
    if reduction == "mean_with_sample_weight" and weight is not None:
        return ops.divide_no_nan(total, ops.sum(weight))
    count = b.size_of(shape)
    divide = ops.divide if isinstance(count, int) and count else ops.divide_no_nan  # an open batch may be empty
    return divide(total, b.dim_tensor(count, total.dtype))


def _check_weight(owner: str, values: Tensor, weight: Tensor) -> None:
    shapes = b.shape_of(values), b.shape_of(weight)
    for v, w in zip(reversed(shapes[0]), reversed(shapes[1])):
        if isinstance(v, int) and isinstance(w, int) and v != w and 1 not in (v, w):
            raise ShapeError(
                f"{owner}: sample_weight of shape {b.text(shapes[1])} does not fit the values of shape "
                f"{b.text(shapes[0])}; expected one weight for each sample, or one for each value"
            )
