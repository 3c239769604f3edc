"""Learning rates that depend on the number of steps taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ....ir.errors import ArgumentError
from ... import ops
from ...registry import builtin
from ...saving.serialization import deserialize_keras_object, serialize_keras_object

C = TypeVar("C", bound=type)

#: All schedules by class name.
ALL_OBJECTS: dict[str, type] = {}


def schedule(cls: C) -> C:
    """Register a schedule as ``keras.optimizers.schedules.NAME``."""
    ALL_OBJECTS[cls.__name__] = cls
    return builtin("keras.optimizers.schedules")(cls)


@schedule
class LearningRateSchedule:
    """Base of all schedules. A subclass defines ``__call__(step)``, and ``get_config`` to be saved."""

    _arguments: tuple[str, ...] = ()  # attributes that are the constructor's arguments, for the schedules here

    def __call__(self, step: Any) -> Any:
        """Return the learning rate after ``step`` steps, an integer or a scalar tensor; the result is a scalar."""
        raise TypeError(f"{type(self).__name__} must define __call__(self, step)")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, in a form that JSON can hold."""
        if not self._arguments:
            raise TypeError(f"{type(self).__name__} must define get_config(self) to be saved")
        return {name: getattr(self, name) for name in self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a schedule from what ``get_config`` returned."""
        return cls(**config)


def check_steps(name: str, steps: Any) -> Any:
    """Return a number of steps that must be positive."""
    if steps <= 0:
        raise ArgumentError(f"{name} must be greater than 0, received {steps!r}")
    return steps


def with_type_of(rate: Any) -> tuple[Any, Callable[[Any], Any]]:
    """A learning rate as a tensor, and a function that gives other values its type, in which all is computed."""
    tensor = ops.convert_to_tensor(rate)
    return tensor, lambda value: ops.cast(value, tensor.dtype)


@schedule
class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: after how many steps the rate has fallen by one factor ``decay_rate``.
        decay_rate: that factor.
        staircase: let the rate fall at multiples of ``decay_steps`` only.
        name: a name for it.
    """

    _arguments = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: Any) -> Any:
        """Return the rate; see LearningRateSchedule."""
        rate, typed = with_type_of(self.initial_learning_rate)
        periods = ops.divide(typed(step), typed(self.decay_steps))
        if self.staircase:
            periods = ops.floor(periods)
        return ops.multiply(rate, ops.power(typed(self.decay_rate), periods))


@schedule
class InverseTimeDecay(LearningRateSchedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: how many steps count as one period.
        decay_rate: by how much the divisor grows in a period.
        staircase: let the rate fall at multiples of ``decay_steps`` only.
        name: a name for it.
    """

    _arguments = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: Any) -> Any:
        """Return the rate; see LearningRateSchedule."""
        rate, typed = with_type_of(self.initial_learning_rate)
        periods = ops.divide(typed(step), typed(self.decay_steps))
        if self.staircase:
            periods = ops.floor(periods)
        return ops.divide(rate, ops.add(typed(1), ops.multiply(typed(self.decay_rate), periods)))


@schedule
class PolynomialDecay(LearningRateSchedule):
    """From ``initial_learning_rate`` to ``end_learning_rate`` along ``(1 - step / decay_steps) ** power``.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: when ``end_learning_rate`` is reached.
        end_learning_rate: the rate from then on.
        power: of the polynomial; 1 is a straight line.
        cycle: instead of staying there, start again from a higher rate: ``decay_steps`` becomes its first multiple
            that is not below the step.
        name: a name for it.
    """

    _arguments = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: Any) -> Any:
        """Return the rate; see LearningRateSchedule."""
        rate, typed = with_type_of(self.initial_learning_rate)
        step, steps, end = typed(step), typed(self.decay_steps), typed(self.end_learning_rate)
        if self.cycle:
            cycles = ops.where(ops.equal(step, 0), 1.0, ops.ceil(ops.divide(step, self.decay_steps)))
            steps = ops.multiply(steps, cycles)
        else:
            step = ops.minimum(step, steps)
        # XLA multiplies by the rounded inverse of a constant, so that the quotient may exceed 1.
        left = ops.maximum(ops.subtract(1, ops.divide(step, steps)), 0)
        return ops.add(ops.multiply(ops.subtract(rate, end), ops.power(left, typed(self.power))), end)


@schedule
class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[0]`` up to and with step ``boundaries[0]``, ``values[1]`` up to and with ``boundaries[1]``, and so on.

    Args:
        boundaries: increasing numbers of steps.
        values: learning rates, one more than boundaries.
        name: a name for it.
    """

    _arguments = ("boundaries", "values", "name")

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1:
            raise ArgumentError(
                f"PiecewiseConstantDecay: expected one value more than boundaries, received {len(boundaries)} "
                f"boundaries and {len(values)} values"
            )
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def __call__(self, step: Any) -> Any:
        """Return the rate; see LearningRateSchedule."""
        step = ops.convert_to_tensor(step)
        bounds = [ops.cast(bound, step.dtype) for bound in self.boundaries]
        rate, *later = [ops.convert_to_tensor(value) for value in self.values]
        for bound, value in zip(bounds, later, strict=True):
            rate = ops.where(ops.greater(step, bound), value, rate)
        return rate


def serialize(learning_rate_schedule: Any) -> Any:
    """Return the config of a schedule."""
    return serialize_keras_object(learning_rate_schedule)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the schedule that a config stands for."""
    return deserialize_keras_object(config, custom_objects, module_objects=ALL_OBJECTS)
