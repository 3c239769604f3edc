"""A loss scale that follows the gradients, for training in float16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...ir.errors import ArgumentError
from .. import initializers, ops
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..variable import Variable
from .optimizer import Optimizer
from .signatures import optimizer
from .state import is_overwritten

# Arguments of Optimizer that older files hold, at the values that mean nothing.
_DEFAULTS = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


@optimizer("keras.mixed_precision.LossScaleOptimizer")
class LossScaleOptimizer(Optimizer):
    """Scales the loss, so that small gradients are not lost in float16, and has another optimizer take the steps.

    A step whose gradients are not all finite is left out and halves the scale. After ``dynamic_growth_steps`` good ones
    in a row the scale doubles.

    Args:
        inner_optimizer: takes the steps; its own ``loss_scale_factor`` is set to None.
        initial_scale: the scale to start from; high is better than low, since it falls faster than it rises.
        dynamic_growth_steps: after how many good steps the scale doubles.
        name: see Optimizer.
        kwargs: other arguments of Optimizer, which must have their default values: they belong to the inner optimizer.
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not kwargs.pop("dynamic", True):
            raise ArgumentError("LossScaleOptimizer: for a fixed scale set loss_scale_factor of the inner optimizer")
        for argument, value in kwargs.items():
            if argument not in _DEFAULTS:
                raise ArgumentError(f"LossScaleOptimizer has no argument {argument!r}")
            if value != _DEFAULTS[argument]:
                raise ArgumentError(f"LossScaleOptimizer: pass {argument}={value!r} to the inner optimizer instead")
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps
        inner_optimizer.loss_scale_factor = None  # or gradients would be divided twice

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the scale and the count of good steps, and build the inner optimizer."""
        if self.built:
            return
        self.step_counter = self.add_variable((), initializers.Zeros(), "int32", name="step_counter")
        self.dynamic_scale = self.add_variable(
            (), initializers.Constant(self.initial_scale), "float32", name="dynamic_scale"
        )
        self.inner_optimizer.build(variables)
        super().build(variables)

    @property
    def variables(self) -> list[Variable]:
        """Its own state, then the inner optimizer's."""
        return super().variables + self.inner_optimizer.variables

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Take one step by the inner optimizer where all gradients are finite; see Optimizer."""
        grads = list(grads)
        if not grads:
            return
        variables = self._variables_for(grads, trainable_variables)
        ops.cond(self.check_finite(grads), lambda: self._take(grads, variables), self._halve)

    def _take(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        unscaled = [
            g if g is None or is_overwritten(v) else ops.divide(g, self.dynamic_scale)
            for g, v in zip(grads, variables, strict=True)
        ]
        self.inner_optimizer.apply(unscaled, variables)
        grown = ops.equal(self.step_counter, self.dynamic_growth_steps - 1)
        scale = self.dynamic_scale
        scale.assign(ops.where(grown, ops.multiply(scale, 2.0), scale))
        self.step_counter.assign(ops.where(grown, 0, ops.add(self.step_counter, 1)))

    def _halve(self) -> None:
        self.step_counter.assign(0)
        self.dynamic_scale.assign(ops.multiply(self.dynamic_scale, 0.5))

    def check_finite(self, grads: Sequence[Any]) -> Any:
        """Whether all elements of all gradients are finite, as a scalar."""
        return ops.all(ops.stack([ops.all(ops.isfinite(g)) for g in grads if g is not None]))

    @property
    def learning_rate(self) -> Any:
        """That of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        """How many steps the inner optimizer has taken."""
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the scale."""
        return ops.multiply(loss, self.dynamic_scale if self.built else self.initial_scale)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """What ends training for the inner optimizer; see Optimizer."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "name": self.name,
            "inner_optimizer": serialize_keras_object(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Make an optimizer from what ``get_config`` returned; see Optimizer."""
        config = dict(config)
        inner = deserialize_keras_object(config.pop("inner_optimizer"), custom_objects=custom_objects)
        return cls(inner, **config)
