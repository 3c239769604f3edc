"""Gradients cut down to a norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops


def clip_by_norm(gradient: Any, limit: float) -> Any:
    """``gradient``, scaled down to L2 norm ``limit`` where it is longer.

    The square root is taken of 1 where the norm is 0, whose derivative would be infinite.
    """
    squares = ops.sum(ops.square(gradient), keepdims=True)
    positive = ops.greater(squares, 0)
    norm = ops.where(positive, ops.sqrt(ops.where(positive, squares, ops.ones_like(squares))), squares)
    return ops.divide(ops.multiply(gradient, limit), ops.maximum(norm, limit))


def global_norm(gradients: Sequence[Any]) -> Any:
    """L2 norm of all gradients together, as one long vector."""
    return ops.sqrt(ops.sum(ops.stack([ops.sum(ops.square(g)) for g in gradients])))


def clip_by_global_norm(gradients: Sequence[Any], limit: float) -> list[Any]:
    """All gradients, scaled down together to L2 norm ``limit`` where they are longer.

    An infinite norm makes all of them NaN rather than zero, so that it is noticed.
    """
    norm = global_norm(gradients)
    scale = ops.multiply(limit, ops.minimum(ops.divide(1.0, norm), 1.0 / limit))
    scale = ops.add(scale, ops.subtract(norm, norm))
    return [ops.multiply(g, scale) for g in gradients]
