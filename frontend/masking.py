"""Masks of tensors: which of their steps count. Traced tensors carry them, and arrays that were given one."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import numpy as np

from .tensor import Tensor


def get_mask(x: Any) -> Any:
    """The mask of a tensor or array (bools, True where it counts); None where it has none."""
    return x.keras_mask if isinstance(x, Tensor) else getattr(x, "_keras_mask", None)


def set_mask(x: Any, mask: Any) -> None:
    """Give a tensor or array a mask; None takes it away."""
    if isinstance(x, Tensor):
        x.keras_mask = mask
    elif isinstance(x, jax.Array):
        x._keras_mask = mask  # type: ignore[attr-defined]


def are_tensors(value: Any) -> bool:
    """Whether ``value`` is a tensor or array, or a nest of nothing else."""
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, Tensor | jax.Array | np.ndarray) for leaf in leaves)


def mask_of(value: Any) -> Any:
    """The mask of a traced tensor, or the list of a nest's masks; None where no tensor has one."""
    if isinstance(value, Tensor):
        return value.keras_mask
    if isinstance(value, list | tuple):
        masks = [getattr(t, "keras_mask", None) for t in value]
        return masks if any(m is not None for m in masks) else None
    return None


def fill_masks(outputs: Any, masks: Any) -> None:
    """Give traced tensors of a nest the masks, one or a list, that they lack."""
    each = list(masks) if isinstance(masks, list | tuple) else [masks]
    for tensor, mask in zip(jax.tree.leaves(outputs), each, strict=False):
        if isinstance(tensor, Tensor) and mask is not None and tensor.keras_mask is None:
            tensor.keras_mask = mask


def warn_of_lost_mask(path: str, kind: str) -> None:
    """Warn that a layer was given a mask and does not keep it."""
    warnings.warn(
        f"layer {path!r} (a {kind}) was given an input with a mask, which it does not support: the layers after it do "
        "not see the mask. A layer that keeps masks sets self.supports_masking = True",
        stacklevel=3,
    )
