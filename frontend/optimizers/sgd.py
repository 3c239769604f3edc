"""Gradient descent, with or without momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.errors import ArgumentError
from .. import ops
from ..variable import Variable
from .optimizer import Optimizer
from .signatures import optimizer


@optimizer()
class SGD(Optimizer):
    """``w -= rate * g``; with momentum ``m = momentum * m - rate * g`` and ``w += m``.

    Args:
        learning_rate: see Optimizer.
        momentum: from 0 to 1; 0 for none.
        nesterov: look ahead (Sutskever et al., 2013): ``w += momentum * m - rate * g``.
        common, options: the other arguments of Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *common: Any,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **options)
        if not isinstance(momentum, float) or not 0 <= momentum <= 1:
            raise ArgumentError(f"momentum must be a float from 0 to 1, received {momentum!r}")
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the momentums, where there is momentum; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum != 0 else []

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        dtype = variable.dtype
        step = ops.multiply(ops.cast(gradient, dtype), self._rate(learning_rate, dtype))
        if self.momentum == 0:
            self.assign_sub(variable, step)
            return
        m = self.momentums[self._get_variable_index(variable)]
        momentum = ops.cast(self.momentum, dtype)
        self.assign(m, ops.subtract(ops.multiply(m, momentum), step))
        self.assign_add(variable, ops.subtract(ops.multiply(m, momentum), step) if self.nesterov else m)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
