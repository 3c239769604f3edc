"""Connectionist temporal classification (Graves et al. 2006) as a loss."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ShapeError
from .. import ops
from ..convert import as_tensor
from ..ops import building as b
from ..registry import builtin
from .base import BuiltinLoss
from .function import loss_function, pair_op
from .reduction import Reduction


@loss_function(metric=False)
@pair_op
def ctc(y_true: Any, y_pred: Any) -> Any:
    """Minus the log probability of the labels, whenever they are spoken: [batch].

    Args:
        y_true: [batch, labels] classes; 0 is the blank and pads short rows.
        y_pred: [batch, time, classes] logits.

    Raises:
        ShapeError: the ranks are others.
    """
    labels, logits = as_tensor(y_true), as_tensor(y_pred)
    if labels.ndim != 2 or logits.ndim != 3:
        raise ShapeError(
            "ctc: expected labels (y_true) [batch, labels] and logits (y_pred) [batch, time, classes], received shapes "
            f"{b.text(b.shape_of(labels))} and {b.text(b.shape_of(logits))}"
        )
    batch, time, _ = b.shape_of(logits)
    lengths = ops.sum(ops.cast(ops.not_equal(labels, 0), "int32"), axis=-1)
    steps = b.filled((batch,), b.dim_tensor(time, "int32"), "int32")
    return ops.ctc_loss(labels, logits, lengths, steps, mask_index=0)


@builtin("keras.losses")
class CTC(BuiltinLoss):
    """The loss of sequences without alignment, see :func:`ctc`; arguments as of Loss."""

    def __init__(
        self, reduction: Reduction = "sum_over_batch_size", name: str | None = "ctc", dtype: Any = None
    ) -> None:
        super().__init__(ctc, reduction, name, dtype)
