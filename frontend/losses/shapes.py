"""How labels, predictions and weights of almost equal shapes are brought together, by Keras's rules."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ...ir.errors import ShapeError
from ...ir.types import element_type
from .. import ops
from ..convert import as_tensor
from ..keras_tensor import KerasTensor
from ..ops import building as b
from ..tensor import Tensor
from ..trace import current_trace
from ..variable import Variable

_TENSORS = (Tensor, KerasTensor, Variable, jax.Array, np.ndarray, np.generic, bool, int, float)


def is_array(x: Any) -> bool:
    """Whether ``x`` is a tensor, an array, a number, or a nest of lists of numbers."""
    if isinstance(x, list | tuple):
        return all(isinstance(item, list | tuple | bool | int | float | np.generic) and is_array(item) for item in x)
    return isinstance(x, _TENSORS)


def as_input(x: Any, dtype: str) -> Any:
    """``x`` in the type ``dtype``: an array while ops run at once, a tensor while tracing."""
    if current_trace() is None and not isinstance(x, jax.Array | KerasTensor | Variable):
        return np.asarray(x).astype(element_type(dtype), copy=False)
    return x if getattr(x, "dtype", None) == dtype and not isinstance(x, Variable) else ops.cast(x, dtype)


def is_one(dim: Any) -> bool:
    """Whether a dimension is known to be 1; an open one is not, and asking leaves no guard."""
    return isinstance(dim, int) and dim == 1


def same_rank(x1: Any, x2: Any, expand_rank_1: bool = True) -> tuple[Any, Any]:
    """Bring two tensors to one rank where one has a last axis of 1 more than the other.

    The axis of 1 is dropped, or the other tensor gets one if it is a vector and ``expand_rank_1``. Other tensors are
    returned as they are.
    """
    if len(x1.shape) == len(x2.shape) + 1 and is_one(x1.shape[-1]):
        return _one_rank(x1, x2, expand_rank_1)
    if len(x2.shape) == len(x1.shape) + 1 and is_one(x2.shape[-1]):
        return _one_rank(x2, x1, expand_rank_1)[::-1]
    return x1, x2


def _one_rank(longer: Any, shorter: Any, expand_rank_1: bool) -> tuple[Any, Any]:
    if len(shorter.shape) == 1 and expand_rank_1:
        return longer, ops.expand_dims(shorter, -1)
    return ops.squeeze(longer, -1), shorter


_FIT = "they must be equal, or differ by a last axis of 1"


def paired(name: str, y_true: Any, y_pred: Any, squeeze: bool = False, hint: str = _FIT) -> tuple[Tensor, Tensor]:
    """Labels in the type of the predictions, and the predictions, as tensors of the trace whose shapes fit together.

    Args:
        name: the loss or metric, for messages.
        squeeze: bring them to one rank, see :func:`same_rank`.
        hint: what the message says is expected.

    Raises:
        ShapeError: the shapes do not broadcast; both are in the message.
    """
    pred = as_tensor(y_pred)
    true = as_tensor(y_true, pred.dtype)
    given = b.shape_of(true), b.shape_of(pred)
    if squeeze:
        true, pred = same_rank(true, pred)
    for t, p in zip(reversed(b.shape_of(true)), reversed(b.shape_of(pred))):
        if isinstance(t, int) and isinstance(p, int) and t != p and 1 not in (t, p):
            raise misfit(name, *given, hint)
    return true, pred


def misfit(name: str, y_true: Any, y_pred: Any, hint: str = _FIT) -> ShapeError:
    """The error for labels and predictions (shapes, or tensors) that do not fit together."""
    shapes = [b.text(b.shape_of(x) if isinstance(x, Tensor) else tuple(x)) for x in (y_true, y_pred)]
    return ShapeError(
        f"{name}: labels (y_true) of shape {shapes[0]} and predictions (y_pred) of shape {shapes[1]} do not fit "
        f"together: {hint}"
    )


def check_same_shape(name: str, true: Tensor, pred: Tensor, hint: str) -> None:
    """Raise :func:`misfit` where two shapes can't be equal."""
    shapes = b.shape_of(true), b.shape_of(pred)
    clash = any(isinstance(t, int) and isinstance(p, int) and t != p for t, p in zip(*shapes))
    if len(shapes[0]) != len(shapes[1]) or clash:
        raise misfit(name, *shapes, hint)
