"""Functions that project a weight back to where it may be, applied after each training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import ops
from .dtypes import epsilon
from .names import to_snake_case
from .registry import builtin, interpret
from .saving.serialization import deserialize_keras_object, serialize_keras_object

ALL_OBJECTS: dict[str, type[Constraint]] = {}  # by class name and snake_case name


def _constraint() -> Callable[[type], type]:
    def register(cls: type) -> type:
        snake = to_snake_case(cls.__name__)
        ALL_OBJECTS[cls.__name__] = ALL_OBJECTS[snake] = cls
        return builtin("keras.constraints", aliases=(f"keras.constraints.{snake}",))(cls)

    return register


@_constraint()
class Constraint:
    """Base of all constraints. A subclass defines ``__call__(w)``, and ``get_config`` where it takes arguments."""

    def __call__(self, w: Any) -> Any:
        """Return the projected weight."""
        return w

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, in a form that JSON can hold."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constraint:
        """Make a constraint from what ``get_config`` returned."""
        return cls(**config)


@_constraint()
class MaxNorm(Constraint):
    """Norms along ``axis`` are at most ``max_value``. ``axis`` is an integer or several: those that feed one unit."""

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """Return the projected weight; see Constraint."""
        norms = _norms(w, self.axis)
        return _rescaled(w, norms, ops.clip(norms, 0, self.max_value))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"max_value": self.max_value, "axis": self.axis}


@_constraint()
class NonNeg(Constraint):
    """No element is negative."""

    def __call__(self, w: Any) -> Any:
        """Return the projected weight; see Constraint."""
        return ops.maximum(w, 0)


@_constraint()
class UnitNorm(Constraint):
    """Norms along ``axis`` are 1."""

    def __init__(self, axis: Any = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """Return the projected weight; see Constraint."""
        return ops.divide(w, ops.add(_norms(w, self.axis), epsilon()))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"axis": self.axis}


@_constraint()
class MinMaxNorm(Constraint):
    """Norms along ``axis`` move towards ``[min_value, max_value]``, by the fraction ``rate`` of the way."""

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0) -> None:
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """Return the projected weight; see Constraint."""
        norms = _norms(w, self.axis)
        limited = ops.multiply(self.rate, ops.clip(norms, self.min_value, self.max_value))
        return _rescaled(w, norms, ops.add(limited, ops.multiply(1 - self.rate, norms)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm


def _norms(w: Any, axis: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))


def _rescaled(w: Any, norms: Any, wanted: Any) -> Any:
    return ops.multiply(w, ops.divide(wanted, ops.add(norms, epsilon())))


def serialize(constraint: Any) -> Any:
    """Return the config of a constraint."""
    return serialize_keras_object(constraint)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the constraint that a config, or a name, stands for."""
    return deserialize_keras_object(config, custom_objects, module_objects=ALL_OBJECTS)


def get(identifier: Any) -> Any:
    """Return the constraint that a layer's argument means.

    Args:
        identifier: a constraint, its class, its name (``"non_neg"``), its config, a function of a tensor, or None.

    Raises:
        ArgumentError: it is none of these.
    """
    expected = "a name such as 'non_neg', a Constraint, a function of a tensor, or None"
    return interpret("constraint", identifier, ALL_OBJECTS, deserialize, expected)
