"""Relatives of Adam: Adamax, Nadam, Lamb, Lion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.errors import ArgumentError
from .. import ops
from ..dtypes import floatx
from ..variable import Variable
from .adam import move_towards
from .optimizer import Optimizer
from .sharing import once
from .signatures import optimizer


class _TwoBetas(Optimizer):
    """What takes two rates of averages and a small number."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *common: Any,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


@optimizer()
class Adamax(_TwoBetas):
    """Adam with the largest recent gradient in place of the average square (Kingma and Ba, 2014, section 7.1).

    Args:
        learning_rate: see Optimizer.
        beta_1: how much of the average gradient stays at a step.
        beta_2: how much of the largest gradient stays at a step.
        epsilon: added to the largest gradient.
        common, options: the other arguments of Optimizer.
    """

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the averages; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._m, self._u = self.add_optimizer_variables(variables, ["momentum", "norm"])

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        left = once(lambda: ops.subtract(1, self._power(self.beta_1, dtype)), "1 - power", self, dtype)
        m, u = self._m[index], self._u[index]
        move_towards(self, m, gradient, 1 - self.beta_1)
        self.assign(u, ops.maximum(ops.multiply(self.beta_2, u), ops.abs(gradient)))
        divisor = ops.multiply(left, ops.add(u, self.epsilon))
        self.assign_sub(variable, ops.divide(ops.multiply(self._rate(learning_rate, dtype), m), divisor))


@optimizer()
class Nadam(_TwoBetas):
    """Adam with Nesterov's momentum (Dozat, 2015).

    Args:
        learning_rate: see Optimizer.
        beta_1: how much of the average gradient stays at a step, in the long run.
        beta_2: how much of the average square stays at a step.
        epsilon: added to the root of the average square.
        common, options: the other arguments of Optimizer.
    """

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the averages and the product of all momentums; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self._u_product = Variable(1.0, dtype=variables[0].dtype if variables else floatx())

    def _backend_update_step(self, grads: list[Any], trainable_variables: list[Variable], learning_rate: Any) -> None:
        dtype = self._u_product.dtype
        warm = ops.subtract(1.0, ops.multiply(0.5, ops.power(0.96, self._step(dtype))))
        self.assign(self._u_product, ops.multiply(ops.multiply(self._u_product, self.beta_1), warm))
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        next_part, part, left_2, taken_1, taken_2 = once(lambda: self._factors(dtype), "factors", self, dtype)
        m, v = self._momentums[index], self._velocities[index]
        move_towards(self, m, gradient, taken_1)
        move_towards(self, v, ops.square(gradient), taken_2)
        (next_u, next_left), (rest, left) = next_part, part
        ahead = ops.add(ops.divide(ops.multiply(next_u, m), next_left), ops.divide(ops.multiply(rest, gradient), left))
        divisor = ops.add(ops.sqrt(ops.divide(v, left_2)), self.epsilon)
        self.assign_sub(variable, ops.divide(ops.multiply(ahead, self._rate(learning_rate, dtype)), divisor))

    def _factors(self, dtype: str) -> tuple[Any, ...]:
        """What the averages are multiplied and divided by at this step."""
        step = self._step(dtype)
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        u, next_u = (self._momentum_at(s, beta_1, dtype) for s in (step, ops.cast(ops.add(self.iterations, 2), dtype)))
        product = ops.cast(self._u_product, dtype)
        next_product = ops.multiply(product, next_u)
        return (
            (next_u, ops.subtract(1, next_product)),
            (ops.subtract(1, u), ops.subtract(1, product)),
            ops.subtract(1, self._power(self.beta_2, dtype)),
            ops.subtract(1, beta_1),
            ops.subtract(1, beta_2),
        )

    def _momentum_at(self, step: Any, beta_1: Any, dtype: str) -> Any:
        """Momentum warms up: at step t it is ``beta_1 * (1 - 0.5 * 0.96 ** t)``."""
        decayed = ops.power(ops.cast(0.96, dtype), step)
        return ops.multiply(beta_1, ops.subtract(1.0, ops.multiply(0.5, decayed)))


@optimizer()
class Lamb(_TwoBetas):
    """Adam whose step is as long as the weight, times the learning rate (You et al., 2019), for large batches.

    Args:
        learning_rate: see Optimizer.
        beta_1: how much of the average gradient stays at a step.
        beta_2: how much of the average square stays at a step.
        epsilon: added to the root of the average square.
        common, options: the other arguments of Optimizer.
    """

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the averages; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        left_1, left_2 = once(
            lambda: [ops.subtract(1.0, self._power(beta, dtype)) for beta in (self.beta_1, self.beta_2)],
            "1 - powers",
            self,
            dtype,
        )
        m, v = self._momentums[index], self._velocities[index]
        move_towards(self, m, gradient, 1 - self.beta_1)
        move_towards(self, v, ops.square(gradient), 1 - self.beta_2)
        update = ops.divide(ops.divide(m, left_1), ops.add(ops.sqrt(ops.divide(v, left_2)), self.epsilon))
        weight_norm, update_norm = (ops.sqrt(ops.sum(ops.power(x, 2))) for x in (variable, update))
        both = ops.logical_and(ops.greater(weight_norm, 0), ops.greater(update_norm, 0))
        ratio = ops.where(both, ops.divide(weight_norm, update_norm), 1.0)
        rate = ops.multiply(ratio, self._rate(learning_rate, dtype))
        self.assign_sub(variable, ops.multiply(rate, update))


@optimizer()
class Lion(Optimizer):
    """Steps of one size in every element, by the sign of an average gradient (Chen et al., 2023).

    Args:
        learning_rate: see Optimizer.
        beta_1: how much the average counts in the step against the gradient, above 0.
        beta_2: how much of the average stays at a step.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, *common: Any, **options: Any
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        if not 0 < beta_1 <= 1:
            raise ArgumentError(f"Lion: beta_1 must be above 0 and at most 1, received {beta_1!r}")
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the averages; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        m = self._momentums[self._get_variable_index(variable)]
        (beta_1, rest_1), (beta_2, rest_2) = once(
            lambda: [(ops.cast(b, dtype), ops.subtract(1.0, ops.cast(b, dtype))) for b in (self.beta_1, self.beta_2)],
            "betas",
            self,
            dtype,
        )
        direction = ops.sign(ops.add(ops.multiply(m, beta_1), ops.multiply(gradient, rest_1)))
        self.assign_sub(variable, ops.multiply(self._rate(learning_rate, dtype), direction))
        self.assign(m, ops.add(ops.multiply(m, beta_2), ops.multiply(gradient, rest_2)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}
