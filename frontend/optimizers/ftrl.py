"""FTRL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.errors import ArgumentError
from .. import initializers, ops
from ..variable import Variable
from .optimizer import Optimizer
from .sharing import once
from .signatures import optimizer


@optimizer()
class Ftrl(Optimizer):
    """Follow the regularized leader, for large sparse linear models (McMahan et al., 2013).

    Args:
        learning_rate: see Optimizer.
        learning_rate_power: how the rate falls as squares add up; 0 or less, 0 for a constant rate.
        initial_accumulator_value: what the sums of squares start from, 0 or more.
        l1_regularization_strength: weights up to this stay 0; 0 or more.
        l2_regularization_strength: penalty on large weights; 0 or more.
        l2_shrinkage_regularization_strength: the same, added to the gradient; 0 or more.
        beta: the beta of the paper.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        *common: Any,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        if learning_rate_power > 0.0:
            raise ArgumentError(f"Ftrl: learning_rate_power must be 0 or less, received {learning_rate_power!r}")
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = _not_negative("initial_accumulator_value", initial_accumulator_value)
        self.l1_regularization_strength = _not_negative("l1_regularization_strength", l1_regularization_strength)
        self.l2_regularization_strength = _not_negative("l2_regularization_strength", l2_regularization_strength)
        self.l2_shrinkage_regularization_strength = _not_negative(
            "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength
        )
        self.beta = beta

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the sums of squares and of gradients; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        start = initializers.Constant(self.initial_accumulator_value)
        self._accumulators, self._linears = self.add_optimizer_variables(
            variables, ["accumulator", "linear"], initializer=[start, "zeros"]
        )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        rate = self._rate(learning_rate, dtype)
        penalty = once(lambda: self._penalty(rate), "penalty", self, learning_rate, dtype)
        total, linear = self._accumulators[index], self._linears[index]
        shrunk = ops.add(gradient, ops.multiply(2 * self.l2_shrinkage_regularization_strength, variable))
        new_total = ops.add(total, ops.square(gradient))
        new_power = ops.power(new_total, -self.learning_rate_power)
        growth = ops.divide(ops.subtract(new_power, ops.power(total, -self.learning_rate_power)), rate)
        self.assign_add(linear, ops.subtract(shrunk, ops.multiply(growth, variable)))
        l1 = self.l1_regularization_strength
        excess = ops.subtract(ops.clip(linear, -l1, l1), linear)
        self.assign(variable, ops.divide(excess, ops.add(ops.divide(new_power, rate), penalty)))
        self.assign(total, new_total)

    def _penalty(self, rate: Any) -> Any:
        strength = ops.add(self.l2_regularization_strength, ops.divide(self.beta, ops.multiply(2.0, rate)))
        return ops.multiply(2, strength)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "learning_rate_power": self.learning_rate_power,
            "initial_accumulator_value": self.initial_accumulator_value,
            "l1_regularization_strength": self.l1_regularization_strength,
            "l2_regularization_strength": self.l2_regularization_strength,
            "l2_shrinkage_regularization_strength": self.l2_shrinkage_regularization_strength,
            "beta": self.beta,
        }


def _not_negative(name: str, value: float) -> float:
    if value < 0.0:
        raise ArgumentError(f"Ftrl: {name} must be 0 or more, received {value!r}")
    return value
