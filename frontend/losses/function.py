"""How the functions of losses and metrics are made public: known by name, compiled whole where they run at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..dispatch import public_op
from ..registry import register_builtin

F = TypeVar("F", bound=Callable[..., Any])

#: Losses' functions by name and short name.
LOSS_FUNCTIONS: dict[str, Callable[..., Any]] = {}


def pair_op(function: F) -> F:
    """Make ``function(y_true, y_pred, ...)`` on traced tensors callable anywhere, see :func:`public_op`.

    Lists of numbers become arrays, so that other numbers need no other program.
    """
    op = public_op(weak=False)(function)

    @functools.wraps(function)
    def call(y_true: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        return op(as_array(y_true), as_array(y_pred), *args, **kwargs)

    return call  # type: ignore[return-value]


def as_array(x: Any) -> Any:
    """Numbers and lists of numbers as an array; all else as it is."""
    return np.asarray(x) if isinstance(x, list | tuple | int | float) else x


def loss_function(*short_names: str, metric: bool = True, get: bool = True) -> Callable[[F], F]:
    """Register a function as a built-in loss.

    Args:
        short_names: further names that ``losses.get`` takes.
        metric: whether Keras has it in ``keras.metrics`` too.
        get: whether ``losses.get`` knows it by name.
    """

    def register(function: F) -> F:
        name = function.__name__
        also = (name, *short_names)
        aliases = [f"keras.losses.{short}" for short in short_names]
        aliases += [f"keras.metrics.{known}" for known in (also if metric else ())]
        register_builtin(function, "keras.losses", aliases=tuple(aliases))
        if get:
            LOSS_FUNCTIONS.update(dict.fromkeys(also, function))
        return function

    return register
