"""Steps divided by the root of past squares: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import initializers, ops
from ..variable import Variable
from .optimizer import Optimizer
from .signatures import optimizer


@optimizer()
class Adagrad(Optimizer):
    """``w -= rate * g / sqrt(sum of all squares)`` (Duchi et al., 2011).

    Args:
        learning_rate: see Optimizer.
        initial_accumulator_value: what the sums start from.
        epsilon: added to the sum.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *common: Any,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the sums; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        initializer = initializers.Constant(self.initial_accumulator_value)
        self._accumulators = self.add_optimizer_variables(variables, "accumulator", initializer=initializer)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        total = self._accumulators[self._get_variable_index(variable)]
        self.assign_add(total, ops.square(gradient))
        step = ops.multiply(self._rate(learning_rate, dtype), gradient)
        self.assign_sub(variable, ops.divide(step, ops.sqrt(ops.add(total, self.epsilon))))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


def _mixed(kept: float, average: Variable, value: Any) -> Any:
    """A running average, of which this part stays, after one more value."""
    return ops.add(ops.multiply(kept, average), ops.multiply(1 - kept, value))


@optimizer()
class Adadelta(Optimizer):
    """Steps in proportion to past steps over past gradients (Zeiler, 2012).

    Args:
        learning_rate: see Optimizer; 1.0 is that of the paper.
        rho: how much of the averages stays at a step.
        epsilon: added to average squares before their root.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, *common: Any, **options: Any
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        self.rho = rho
        self.epsilon = epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the averages of squared gradients and squared steps; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._accumulated_grads, self._accumulated_delta_vars = self.add_optimizer_variables(
            variables, ["accumulated_grad", "accumulated_delta_var"]
        )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        grads, deltas = self._accumulated_grads[index], self._accumulated_delta_vars[index]
        self.assign(grads, _mixed(self.rho, grads, ops.square(gradient)))
        delta = ops.negative(ops.divide(ops.multiply(self._rms(deltas), gradient), self._rms(grads)))
        self.assign(deltas, _mixed(self.rho, deltas, ops.square(delta)))
        self.assign_add(variable, ops.multiply(self._rate(learning_rate, dtype), delta))

    def _rms(self, average: Variable) -> Any:
        return ops.sqrt(ops.add(average, self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}


@optimizer()
class RMSprop(Optimizer):
    """``w -= rate * g / sqrt(average square)`` (Tieleman and Hinton, 2012).

    Args:
        learning_rate: see Optimizer.
        rho: how much of the averages stays at a step.
        momentum: how much of the last step is added to the next, from 0.
        epsilon: added to the average square.
        centered: divide by the average square less the square of the average, an estimate of the variance.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        *common: Any,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the averages, and momentums where there is momentum; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        self._momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum > 0 else []
        self._average_gradients = self.add_optimizer_variables(variables, "average_gradient") if self.centered else []

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        velocity = self._velocities[index]
        self.assign(velocity, _mixed(self.rho, velocity, ops.square(gradient)))
        spread: Any = velocity
        if self.centered:
            average = self._average_gradients[index]
            self.assign(average, _mixed(self.rho, average, gradient))
            spread = ops.subtract(velocity, ops.square(average))
        step = ops.multiply(self._rate(learning_rate, dtype), gradient)
        step = ops.divide(step, ops.sqrt(ops.add(spread, self.epsilon)))
        if self.momentum > 0:
            momentum = self._momentums[index]
            self.assign(momentum, ops.add(ops.multiply(self.momentum, momentum), step))
            step = momentum
        self.assign_sub(variable, step)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }
