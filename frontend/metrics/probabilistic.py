"""Losses of probabilities, and hinge losses, as metrics."""

from __future__ import annotations

from typing import Any

from .. import losses
from ..registry import builtin
from .reduction import BuiltinMean


@builtin("keras.metrics")
class KLDivergence(BuiltinMean):
    """Mean Kullback-Leibler divergence of predicted from true probabilities.

    Args:
        name: the metric's name.
        dtype: element type of state and result.
    """

    _direction = "down"

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(losses.kl_divergence, name, dtype)


@builtin("keras.metrics")
class Poisson(BuiltinMean):
    """Mean Poisson loss; arguments as of KLDivergence."""

    _direction = "down"

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(losses.poisson, name, dtype)


@builtin("keras.metrics")
class BinaryCrossentropy(BuiltinMean):
    """Mean cross-entropy of labels 0 and 1, see ``losses.binary_crossentropy``; the rest as of KLDivergence."""

    _direction = "down"

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        own = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        super().__init__(losses.binary_crossentropy, name, dtype, **own)


@builtin("keras.metrics")
class CategoricalCrossentropy(BuiltinMean):
    """Mean cross-entropy of one-hot labels, see ``losses.categorical_crossentropy``; further arguments as of
    KLDivergence."""

    _direction = "down"

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        own = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(losses.categorical_crossentropy, name, dtype, **own)


@builtin("keras.metrics")
class SparseCategoricalCrossentropy(BuiltinMean):
    """Mean cross-entropy of integer labels, see ``losses.sparse_categorical_crossentropy``; further arguments as of
    KLDivergence."""

    _direction = "down"

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        own = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(losses.sparse_categorical_crossentropy, name, dtype, **own)


@builtin("keras.metrics")
class Hinge(BuiltinMean):
    """Mean hinge loss; arguments as of KLDivergence."""

    _direction = "down"

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(losses.hinge, name, dtype)


@builtin("keras.metrics")
class SquaredHinge(BuiltinMean):
    """Mean squared hinge loss; arguments as of KLDivergence."""

    _direction = "down"

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(losses.squared_hinge, name, dtype)


@builtin("keras.metrics")
class CategoricalHinge(BuiltinMean):
    """Mean hinge loss of one-hot labels; arguments as of KLDivergence."""

    _direction = "down"

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(losses.categorical_hinge, name, dtype)
