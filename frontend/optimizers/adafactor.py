"""Adafactor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..variable import Variable
from .optimizer import Optimizer
from .sharing import once
from .signatures import optimizer
from .state import is_overwritten


@optimizer()
class Adafactor(Optimizer):
    """Average squares kept by row and by column only, and steps in proportion to the weight (Shazeer and Stern, 2018).

    Args:
        learning_rate: see Optimizer.
        beta_2_decay: the averages take up ``step ** beta_2_decay`` of what is new.
        epsilon_1: added to squared gradients.
        epsilon_2: the least root mean square of a weight that its step is in proportion to.
        clip_threshold: the largest root mean square of an update, before the learning rate.
        relative_step: let the learning rate, where it is a number, be at most ``1 / sqrt(step)``.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        *common: Any,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = clip_threshold
        self.relative_step = relative_step

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the averages by row, by column and in full; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self._r: list[Variable | None] = []
        self._c: list[Variable | None] = []
        self._v: list[Variable | None] = []
        for variable in variables:
            for found, shape in zip((self._r, self._c), _factors(variable.shape), strict=True):
                found.append(self._part(variable, shape))
            self._v.append(
                None if is_overwritten(variable) else self.add_variable_from_reference(variable, name="velocity")
            )

    def _part(self, variable: Variable, shape: tuple[int, ...] | None) -> Variable | None:
        """The average of one factor. Files hold an unused number where a variable has no factors."""
        if shape is None:
            unused = Variable(0, dtype="int32", name=variable.name, trainable=False)
            self._track_variable(unused)
            return unused
        if is_overwritten(variable):
            return None
        return self.add_variable(shape=shape, dtype=variable.dtype, name=variable.name)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient = ops.cast(gradient, dtype)
        rho, beta_2, rest = once(
            lambda: self._step_sizes(learning_rate, dtype), "step sizes", self, learning_rate, dtype
        )
        squares = ops.add(ops.square(gradient), self.epsilon_1)
        v: Any = self._v[index]
        if len(variable.shape) < 2:
            self.assign(v, _mixed(beta_2, v, rest, squares))
        else:
            r: Any = self._r[index]
            c: Any = self._c[index]
            self.assign(r, _mixed(beta_2, r, rest, ops.mean(squares, axis=-1)))
            self.assign(c, _mixed(beta_2, c, rest, ops.mean(squares, axis=-2)))
            rows = ops.divide(r, ops.mean(r, axis=-1, keepdims=True))
            self.assign(v, ops.multiply(ops.expand_dims(rows, -1), ops.expand_dims(c, -2)))
        update = ops.divide(gradient, ops.sqrt(v))
        excess = ops.maximum(ops.cast(1.0, dtype), ops.divide(_rms(update), self.clip_threshold))
        size = ops.multiply(ops.maximum(ops.cast(self.epsilon_2, dtype), _rms(variable)), rho)
        self.assign_sub(variable, ops.multiply(size, ops.divide(update, excess)))

    def _step_sizes(self, learning_rate: Any, dtype: str) -> tuple[Any, Any, Any]:
        """The relative step, how much of the averages stays, and how much they take up."""
        step, rate = self._step(dtype), self._rate(learning_rate, dtype)
        largest = ops.divide(1, ops.sqrt(step))
        if not callable(self._learning_rate) and self.relative_step:
            rate = ops.minimum(rate, largest)
        beta_2 = ops.subtract(1, ops.power(step, self.beta_2_decay))
        return ops.minimum(rate, largest), beta_2, ops.subtract(1, beta_2)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "beta_2_decay": self.beta_2_decay,
            "epsilon_1": self.epsilon_1,
            "epsilon_2": self.epsilon_2,
            "clip_threshold": self.clip_threshold,
            "relative_step": self.relative_step,
        }


def _factors(shape: tuple[int, ...]) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Shapes of the averages over the last axis and over the last but one; None for vectors and numbers."""
    return (None, None) if len(shape) < 2 else (shape[:-1], (*shape[:-2], shape[-1]))


def _mixed(kept: Any, average: Any, rest: Any, value: Any) -> Any:
    return ops.add(ops.multiply(kept, average), ops.multiply(rest, value))


def _rms(x: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(x)))
