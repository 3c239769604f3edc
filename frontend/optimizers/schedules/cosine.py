"""Schedules along half a cosine (Loshchilov and Hutter, 2016: SGDR)."""

from __future__ import annotations

import math
from typing import Any

from ... import ops
from .schedule import LearningRateSchedule, check_steps, schedule, with_type_of


@schedule
class CosineDecay(LearningRateSchedule):
    """Down to ``alpha`` times the rate along half a cosine, after a straight warmup where one is asked for.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: how many steps the decay takes.
        alpha: what is left at the end, as a part of the rate that the decay starts from.
        name: a name for it.
        warmup_target: the rate that the warmup ends at; None for no warmup.
        warmup_steps: how many steps the warmup takes, before the decay.
    """

    _arguments = ("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.alpha = alpha
        self.name = name
        self.warmup_steps = warmup_steps
        self.warmup_target = warmup_target

    def __call__(self, step: Any) -> Any:
        """Return the rate; see LearningRateSchedule."""
        rate, typed = with_type_of(self.initial_learning_rate)
        step, decay = typed(step), typed(self.decay_steps)
        if self.warmup_target is None:
            return self._decayed(rate, ops.divide(ops.minimum(step, decay), decay))
        target, warmup = typed(self.warmup_target), typed(self.warmup_steps)
        step = ops.minimum(step, ops.add(decay, warmup))
        warm = ops.add(ops.multiply(ops.subtract(target, rate), ops.divide(step, warmup)), rate)
        decayed = self._decayed(target, ops.divide(ops.subtract(step, warmup), decay))
        return ops.where(ops.less(step, warmup), warm, decayed)

    def _decayed(self, rate: Any, completed: Any) -> Any:
        """The rate where this part of the decay, from 0 to 1, is over."""
        cosine = ops.multiply(0.5, ops.add(1.0, ops.cos(ops.multiply(math.pi, completed))))
        return ops.multiply(rate, ops.add(ops.multiply(1 - self.alpha, cosine), self.alpha))


@schedule
class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine down to ``alpha`` times the rate, again and again.

    Args:
        initial_learning_rate: the rate at step 0.
        first_decay_steps: how many steps the first period takes.
        t_mul: how much longer each period is than the one before.
        m_mul: the rate that a period starts from, as a part of the one before.
        alpha: what is left at the end of a period, as a part of ``initial_learning_rate``.
        name: a name for it.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = check_steps("first_decay_steps", first_decay_steps)
        self._t_mul = t_mul
        self._m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: Any) -> Any:
        """Return the rate; see LearningRateSchedule."""
        rate, typed = with_type_of(self.initial_learning_rate)
        alpha = typed(self.alpha)
        number, completed = self._period(ops.divide(typed(step), typed(self.first_decay_steps)), typed)
        cosine = ops.add(1.0, ops.cos(ops.multiply(math.pi, completed)))
        height = ops.multiply(ops.multiply(0.5, ops.power(typed(self._m_mul), number)), cosine)
        return ops.multiply(rate, ops.add(ops.multiply(ops.subtract(1, alpha), height), alpha))

    def _period(self, periods: Any, typed: Any) -> tuple[Any, Any]:
        """The number of the period, from 0, and which part of it is over, after so many first periods' steps."""
        factor = typed(self._t_mul)
        if float(self._t_mul) == 1.0:
            number = ops.floor(periods)
            return number, ops.subtract(periods, number)
        # The first n periods together are (1 - t**n) / (1 - t) first periods long.
        rest = ops.subtract(1.0, factor)
        length = ops.subtract(1.0, ops.multiply(periods, rest))
        number = ops.floor(ops.divide(ops.log(length), ops.log(factor)))
        before = ops.divide(ops.subtract(1.0, ops.power(factor, number)), rest)
        return number, ops.divide(ops.subtract(periods, before), ops.power(factor, number))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "first_decay_steps": self.first_decay_steps,
            "t_mul": self._t_mul,
            "m_mul": self._m_mul,
            "alpha": self.alpha,
            "name": self.name,
        }
