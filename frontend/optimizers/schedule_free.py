"""Schedule-free AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..variable import Variable
from .adam import move_towards
from .optimizer import Optimizer
from .sharing import once
from .signatures import optimizer


@optimizer()
class ScheduleFreeAdamW(Optimizer):
    """AdamW that averages its iterates in place of a falling learning rate (Defazio et al., 2024).

    The weights are ``y``, between the iterate ``z`` (kept as ``momentum``) and the average ``x`` of all iterates.

    Args:
        learning_rate: see Optimizer.
        beta_1: how near the weights are to the average, from above 0 to 1.
        beta_2: how much of the average square stays at a step.
        epsilon: added to the root of the average square.
        warmup_steps: the learning rate rises along a straight line for so many steps.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        *common: Any,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.warmup_steps = warmup_steps

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the iterates, which start at the weights, and the averages; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        for iterate, variable in zip(self._momentums, variables, strict=True):
            if iterate is not None:
                iterate._set(variable._value)  # what it holds now, even where this is called inside a trace

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        rate, left_2, new, old, epsilon = once(
            lambda: self._factors(learning_rate, dtype), "factors", self, learning_rate, dtype
        )
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        rest = ops.subtract(1, beta_1)
        iterate, velocity = self._momentums[index], self._velocities[index]
        before = iterate.value
        move_towards(self, velocity, ops.square(gradient), ops.subtract(1, beta_2))
        divisor = ops.add(ops.sqrt(ops.divide(velocity, left_2)), epsilon)
        self.assign_sub(iterate, ops.divide(ops.multiply(rate, gradient), divisor))
        average = ops.divide(ops.subtract(variable, ops.multiply(rest, before)), beta_1)
        average = ops.add(ops.multiply(old, average), ops.multiply(new, iterate))
        self.assign(variable, ops.add(ops.multiply(rest, iterate), ops.multiply(beta_1, average)))

    def _factors(self, learning_rate: Any, dtype: str) -> tuple[Any, ...]:
        """The rate, the correction of the average square, the parts of the new iterate and of the old in the average,
        and epsilon."""
        step, rate = self._step(dtype), self._rate(learning_rate, dtype)
        if self.warmup_steps > 0:
            rate = ops.multiply(rate, ops.minimum(ops.divide(step, ops.cast(self.warmup_steps, dtype)), 1.0))
        new = ops.divide(1.0, step)
        left = ops.subtract(1, self._power(self.beta_2, dtype))
        return rate, left, new, ops.subtract(1, new), ops.cast(self.epsilon, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "warmup_steps": self.warmup_steps,
        }
