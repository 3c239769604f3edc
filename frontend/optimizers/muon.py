"""Muon."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from ...ir.errors import ShapeError
from .. import ops
from ..variable import Variable
from .adam import corrected_rate, move_towards
from .optimizer import Optimizer
from .sharing import once
from .signatures import optimizer
from .state import is_overwritten


@optimizer()
class Muon(Optimizer):
    """Steps of matrices made orthogonal (Jordan et al., 2024); Adam for all else.

    Adam changes what is no matrix, embeddings, and what ``exclude_layers`` names; the layer that makes a model's output
    should be among these.

    Args:
        learning_rate: see Optimizer.
        adam_beta_1, adam_beta_2, epsilon: of Adam, see there.
        adam_weight_decay: weight decay of what Adam changes.
        weight_decay: weight decay of the matrices.
        exclude_layers: regular expressions; where one is found in a variable's path Adam changes it.
        exclude_embeddings: let Adam change variables with ``embedding`` in their path.
        muon_a, muon_b, muon_c: coefficients of the polynomial that is iterated to make a matrix orthogonal.
        adam_lr_ratio: Adam's learning rate as a part of Muon's.
        momentum: how much of the average gradient stays at a step.
        ns_steps: how often the polynomial is iterated.
        nesterov: look ahead by one step of momentum.
        rms_rate: scale a matrix's step by this and the root of its larger size, so that Adam's learning rates serve
            (Liu et al., 2025); None not to.
        clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor,
        gradient_accumulation_steps, name, options: see Optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **options,
        )
        self.adam_beta_1 = adam_beta_1
        self.adam_beta_2 = adam_beta_2
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = epsilon
        self.exclude_layers = exclude_layers or []
        self.exclude_embeddings = exclude_embeddings
        self.muon_a = muon_a
        self.muon_b = muon_b
        self.muon_c = muon_c
        self.adam_lr_ratio = adam_lr_ratio
        self.momentum = momentum
        self.ns_steps = ns_steps
        self.nesterov = nesterov
        self.rms_rate = rms_rate

    def _should_use_adamw(self, variable: Variable) -> bool:
        """Whether Adam changes a variable."""
        embedding = self.exclude_embeddings and "embedding" in variable.path.lower()
        named = any(re.search(pattern, variable.path) for pattern in self.exclude_layers)
        return len(variable.shape) != 2 or embedding or named

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the average gradients, and Adam's average squares; see Optimizer."""
        if self.built:
            return
        super().build(variables)
        self.momentums: list[Variable | None] = []
        self.adam_velocities: list[Variable | None] = []
        for variable in variables:
            kept, by_adam = not is_overwritten(variable), self._should_use_adamw(variable)
            self.momentums.append(self.add_variable_from_reference(variable, "momentum") if kept else None)
            self.adam_velocities.append(
                self.add_variable_from_reference(variable, "velocity") if kept and by_adam else None
            )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable; see Optimizer."""
        index = self._get_variable_index(variable)
        m, v = self.momentums[index], self.adam_velocities[index]
        if v is None:
            self._muon_update_step(gradient, variable, learning_rate, m)
        else:
            rate = once(lambda: ops.multiply(learning_rate, self.adam_lr_ratio), "rate of adam", self, learning_rate)
            self._adamw_update_step(gradient, variable, rate, m, v)

    def _muon_update_step(self, gradient: Any, variable: Variable, lr: Any, m: Any) -> None:
        self.assign_add(m, ops.add(gradient, ops.multiply(m, self.momentum - 1)))
        direction = ops.add(gradient, ops.multiply(self.momentum, m)) if self.nesterov else m.value
        update = self.zeropower_via_newtonschulz5(direction, self.ns_steps)
        self.assign_sub(variable, self.lr_adjust(ops.multiply(lr, update)))

    def _adamw_update_step(self, gradient: Any, variable: Variable, learning_rate: Any, m: Any, v: Any) -> None:
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        alpha = corrected_rate(self, learning_rate, self.adam_beta_1, self.adam_beta_2, dtype)
        move_towards(self, m, gradient, 1 - self.adam_beta_1)
        move_towards(self, v, ops.square(gradient), 1 - self.adam_beta_2)
        self.assign_sub(variable, ops.divide(ops.multiply(m, alpha), ops.add(ops.sqrt(v), self.epsilon)))

    def lr_adjust(self, x: Any) -> Any:
        """A matrix's step, scaled as ``rms_rate`` says."""
        if self.rms_rate is None:
            return x
        return ops.multiply(ops.multiply(x, math.sqrt(max(x.shape[0], x.shape[1]))), self.rms_rate)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """The orthogonal matrix nearest to ``x``, approximately: its singular values become about 1.

        A polynomial of degree 5 is iterated (Newton and Schulz), which is odd in ``x`` and so only changes its singular
        values; its coefficients are chosen to drive small ones up fast.

        Args:
            x: a matrix, or a stack of them.
            steps: how often.

        Raises:
            ShapeError: ``x`` has less than two axes.
        """
        if len(x.shape) < 2:
            raise ShapeError(f"Muon makes matrices orthogonal; received shape {tuple(x.shape)}")
        tall = x.shape[-2] > x.shape[-1]
        x = ops.swapaxes(x, -2, -1) if tall else x
        x = ops.divide(x, ops.add(ops.norm(x, axis=(-2, -1), keepdims=True), 1e-7))  # singular values up to 1
        for _ in range(steps):
            square = ops.matmul(x, ops.swapaxes(x, -2, -1))
            higher = ops.matmul(ops.multiply(self.muon_c, square), square)
            factor = ops.add(ops.multiply(self.muon_b, square), higher)
            x = ops.add(ops.multiply(self.muon_a, x), ops.matmul(factor, x))
        return ops.swapaxes(x, -2, -1) if tall else x

    def _decay_of(self, variable: Variable) -> float | None:
        return self.adam_weight_decay if self._should_use_adamw(variable) else self.weight_decay

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "adam_beta_1": self.adam_beta_1,
            "adam_beta_2": self.adam_beta_2,
            "epsilon": self.epsilon,
            "exclude_layers": self.exclude_layers,
            "muon_a": self.muon_a,
            "muon_b": self.muon_b,
            "muon_c": self.muon_c,
            "adam_lr_ratio": self.adam_lr_ratio,
            "momentum": self.momentum,
            "ns_steps": self.ns_steps,
            "nesterov": self.nesterov,
            "exclude_embeddings": self.exclude_embeddings,
            "adam_weight_decay": self.adam_weight_decay,
            "rms_rate": self.rms_rate,
        }
