"""Penalties on weights and on layers' outputs, which training adds to the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.errors import ArgumentError, ShapeError
from ..ir.types import element_type
from . import ops
from .dtypes import floatx
from .names import to_snake_case
from .registry import builtin, interpret
from .saving.serialization import deserialize_keras_object, serialize_keras_object

ALL_OBJECTS: dict[str, type[Regularizer]] = {}  # by class name, snake_case name and alias


def _regularizer(*other_names: str, aliases: tuple[str, ...] = ()) -> Callable[[type], type]:
    def register(cls: type) -> type:
        for name in (cls.__name__, to_snake_case(cls.__name__), *other_names):
            ALL_OBJECTS[name] = cls
        full = tuple(f"keras.regularizers.{name}" for name in (to_snake_case(cls.__name__), *other_names))
        return builtin("keras.regularizers", aliases=(*full, *aliases))(cls)

    return register


@_regularizer(aliases=("keras.Regularizer",))
class Regularizer:
    """Base of all regularizers. A subclass defines ``__call__(x)``, and ``get_config`` to be saved."""

    def __call__(self, x: Any) -> Any:
        """Return the penalty on a tensor, a scalar."""
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, in a form that JSON can hold."""
        raise TypeError(f"{type(self).__name__} must define get_config(self) to be saved")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        """Make a regularizer from what ``get_config`` returned."""
        return cls(**config)


@_regularizer("l1_l2")
class L1L2(Regularizer):
    """``l1 * sum(|x|) + l2 * sum(x * x)``."""

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _factor("l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        """Return the penalty; see Regularizer."""
        penalty = ops.convert_to_tensor(0.0, dtype=x.dtype)
        if self.l1:
            penalty = ops.add(penalty, _scaled(self.l1, ops.absolute(x)))
        if self.l2:
            penalty = ops.add(penalty, _scaled(self.l2, ops.square(x)))
        return penalty

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"l1": self.l1, "l2": self.l2}


@_regularizer()
class L1(Regularizer):
    """``l1 * sum(|x|)``."""

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = _rounded(_factor("l1", 0.01 if l1 is None else l1))

    def __call__(self, x: Any) -> Any:
        """Return the penalty; see Regularizer."""
        return _scaled(self.l1, ops.absolute(x))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"l1": self.l1}


@_regularizer()
class L2(Regularizer):
    """``l2 * sum(x * x)``."""

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = _factor("l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        """Return the penalty; see Regularizer."""
        return _scaled(self.l2, ops.square(x))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"l2": self.l2}


@_regularizer()
class OrthogonalRegularizer(Regularizer):
    """``factor`` times the mean of ``|cos|`` over all pairs of different rows (or columns) of a matrix."""

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ArgumentError(f"OrthogonalRegularizer: expected mode 'rows' or 'columns', received {mode!r}")
        self.factor = _rounded(_factor("factor", factor))
        self.mode = mode

    def __call__(self, x: Any) -> Any:
        """Return the penalty on a matrix; see Regularizer."""
        if len(x.shape) != 2:
            raise ShapeError(f"OrthogonalRegularizer: expected a matrix, received shape {tuple(x.shape)}")
        axis, size = (1, x.shape[0]) if self.mode == "rows" else (0, x.shape[1])
        unit = ops.normalize(x, axis=axis)
        flipped = ops.transpose(unit)
        cosines = ops.matmul(unit, flipped) if self.mode == "rows" else ops.matmul(flipped, unit)
        others = ops.multiply(cosines, np.float32(1.0) - np.eye(size, dtype="float32"))
        pairs = size * (size - 1.0) / 2.0
        return ops.divide(ops.multiply(self.factor * 0.5, ops.sum(ops.absolute(others))), pairs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"factor": self.factor, "mode": self.mode}


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer


def _scaled(factor: float, terms: Any) -> Any:
    return ops.multiply(ops.cast(factor, terms.dtype), ops.sum(terms))


def _factor(name: str, value: Any) -> float:
    if not isinstance(value, float | int) or not math.isfinite(value) or value < 0:
        raise ArgumentError(f"a regularizer's {name} must be a finite number >= 0, received {value!r}")
    return float(value)


def _rounded(value: float) -> float:
    """``value`` in the default float type, in which Keras keeps (and saves) some of these factors."""
    return float(np.asarray(value).astype(element_type(floatx())))


def serialize(regularizer: Any) -> Any:
    """Return the config of a regularizer."""
    return serialize_keras_object(regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the regularizer that a config, or a name, stands for."""
    return deserialize_keras_object(config, custom_objects, module_objects=ALL_OBJECTS)


def get(identifier: Any) -> Any:
    """Return the regularizer that a layer's argument means.

    Args:
        identifier: a regularizer, its class, its name (``"l2"``), its config, a function of a tensor, or None.

    Raises:
        ArgumentError: it is none of these.
    """
    expected = "a name such as 'l2', a Regularizer, a function of a tensor, or None"
    return interpret("regularizer", identifier, ALL_OBJECTS, deserialize, expected)
