"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.errors import ArgumentError
from .. import ops
from ..variable import Variable
from .optimizer import Optimizer
from .sharing import once
from .signatures import optimizer


def move_towards(optimizer: Optimizer, average: Variable, value: Any, part: Any) -> None:
    """Move a running average by this part of the way to ``value``."""
    optimizer.assign_add(average, ops.multiply(ops.subtract(value, average), part))


def corrected_rate(optimizer: Optimizer, learning_rate: Any, beta_1: float, beta_2: float, dtype: str) -> Any:
    """Adam's learning rate, corrected for averages that start at 0."""

    def compute() -> Any:
        second, first = optimizer._power(beta_2, dtype), optimizer._power(beta_1, dtype)
        rate = ops.multiply(optimizer._rate(learning_rate, dtype), ops.sqrt(ops.subtract(1, second)))
        return ops.divide(rate, ops.subtract(1, first))

    return once(compute, "corrected rate", optimizer, learning_rate, dtype)


@optimizer()
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014): steps by running averages of the gradient and of its square.

    Args:
        learning_rate: see Optimizer.
        beta_1: how much of the average gradient stays at a step.
        beta_2: the same for the average square.
        epsilon: added to the root of the average square; the "epsilon hat" of the paper.
        amsgrad: divide by the largest average square so far (Reddi et al., 2018).
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *common: Any,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the averages; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        if self.amsgrad:
            self._velocity_hats = self.add_optimizer_variables(variables, "velocity_hat")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        alpha = corrected_rate(self, learning_rate, self.beta_1, self.beta_2, dtype)
        m, v = self._momentums[index], self._velocities[index]
        move_towards(self, m, gradient, 1 - self.beta_1)
        move_towards(self, v, ops.square(gradient), 1 - self.beta_2)
        if self.amsgrad:
            largest = self._velocity_hats[index]
            self.assign(largest, ops.maximum(largest, v))
            v = largest
        self.assign_sub(variable, ops.divide(ops.multiply(m, alpha), ops.add(ops.sqrt(v), self.epsilon)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }


@optimizer()
class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019).

    Args:
        learning_rate: see Optimizer.
        weight_decay: see Optimizer; a float.
        beta_1, beta_2, epsilon, amsgrad: see Adam.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *common: Any,
        **options: Any,
    ) -> None:
        if weight_decay is None:
            raise ArgumentError("AdamW: weight_decay must be a float, received None; Adam goes without")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, *common, **options)
