"""The base of all optimizers: state, the step around each update rule, learning rate, config."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from ...ir.errors import ArgumentError
from .. import ops
from ..dtypes import floatx
from ..names import auto_name, name_scope
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..stateless import check_values, stateless
from ..trace import current_trace
from ..variable import Variable
from .clipping import clip_by_global_norm, clip_by_norm
from .schedules.schedule import LearningRateSchedule
from .sharing import once, one_step
from .signatures import optimizer
from .state import State, assign_all, is_overwritten


@optimizer("keras.Optimizer")
class Optimizer(State):
    """Changes variables so that a loss gets smaller, given its gradients.

    A subclass makes its state in :meth:`build` (``add_optimizer_variables``), defines :meth:`update_step` for one
    variable, and extends :meth:`get_config` by its own constructor arguments. All of it works at once on arrays, and
    inside traced functions, where the new values become state updates of the program.

    Args:
        learning_rate: a float, which may be set later; a LearningRateSchedule of the number of steps taken; or a
            function without arguments.
        weight_decay: take this part, times the learning rate, off each variable before its update.
        clipnorm: scale a gradient down to this L2 norm where it is longer.
        clipvalue: cut each element of a gradient to ``[-clipvalue, clipvalue]``.
        global_clipnorm: scale all gradients down together to this L2 norm. Only one of the three may be given.
        use_ema: keep an exponential moving average of each variable, see :meth:`finalize_variable_values`.
        ema_momentum: how much of the old average stays at a step, from 0 to 1.
        ema_overwrite_frequency: set the variables to their averages each so many steps; None for never.
        loss_scale_factor: gradients are divided by this, since :meth:`scale_loss` multiplied the loss.
        gradient_accumulation_steps: update the variables each so many steps only, by the mean gradient.
        name: first part of its variables' paths.

    Raises:
        ArgumentError: an argument is unknown, or has a value that cannot be.

    Source: the behaviour of ``keras.optimizers.Optimizer``; each class names the publication of its rule.
    """

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("decay", None) is not None:
            warnings.warn("the argument decay= is ignored; pass a schedule as learning_rate", stacklevel=2)
        if kwargs:
            raise ArgumentError(f"{type(self).__name__} has no argument {', '.join(map(repr, kwargs))}")
        _check_accumulation(gradient_accumulation_steps)
        _check_ema(use_ema, ema_momentum, ema_overwrite_frequency)
        _check_clipping(clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
        self._start()
        self.name = name or auto_name(type(self).__name__)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.global_clipnorm = global_clipnorm
        self.clipvalue = clipvalue
        self.use_ema = use_ema
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.built = False
        self._trainable_variables: list[Variable] = []
        self._indices: dict[Variable, int] = {}
        self._not_decayed: tuple[frozenset[Variable], re.Pattern[str] | None] = (frozenset(), None)
        self._iterations = self._own_scalar(0, "int32", "iteration")
        self._learning_rate = self._made_rate(learning_rate)

    def _own_scalar(self, value: float, dtype: str, name: str) -> Variable:
        with name_scope(self.name, caller=self):
            return Variable(value, dtype=dtype, trainable=False, aggregation="only_first_replica", name=name)

    def _made_rate(self, learning_rate: Any) -> Any:
        if callable(learning_rate):  # a schedule, too
            return learning_rate
        if not isinstance(learning_rate, float):
            raise ArgumentError(
                f"learning_rate must be a float, a LearningRateSchedule or a function without arguments, "
                f"received {learning_rate!r}"
            )
        return self._own_scalar(learning_rate, floatx(), "learning_rate")

    @property
    def iterations(self) -> Any:
        """How many updates it has made; with ``gradient_accumulation_steps`` fewer than there were calls."""
        if self.gradient_accumulation_steps:
            return ops.floor_divide(self._iterations, self.gradient_accumulation_steps)
        return self._iterations

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the state for these variables. A subclass calls this first.

        Args:
            variables: what will be trained; later calls may only be about them.
        """
        if self.use_ema:
            self._model_variables_moving_average = self.add_optimizer_variables(variables, "average")
        self._indices = {variable: index for index, variable in enumerate(variables)}
        if self.gradient_accumulation_steps:
            self._accumulated_gradients = [
                self.add_variable_from_reference(variable, name="gradient_accumulator") for variable in variables
            ]
        self._trainable_variables = list(variables)
        self.built = True

    # One step

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable by its gradient. What a subclass defines."""
        raise TypeError(f"{type(self).__name__} must define update_step(self, gradient, variable, learning_rate)")

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Any:
        """As :meth:`apply`, for pairs of gradient and variable. Returns the number of steps."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Take one step.

        Args:
            grads: one gradient for each variable. None leaves the variable as it is, with a warning.
            trainable_variables: the variables; those it was built with by default. The first call builds.

        Raises:
            ArgumentError: the gradients are not one for each variable, all are None, or a variable is none of those
                the optimizer was built with.
        """
        grads = list(grads)
        if not grads:
            return
        variables = self._variables_for(grads, trainable_variables)
        with name_scope(self.name, caller=self):
            grads, variables = _without_none(grads, variables)
            grads, variables = self._overwritten(grads, variables)
            if grads:
                if self.loss_scale_factor is not None:
                    grads = [ops.divide(g, self.loss_scale_factor) for g in grads]
                self._backend_apply_gradients(grads, variables)
                for variable in variables:
                    if variable.constraint is not None:
                        with self._at(variable):
                            variable.assign(variable.constraint(variable.value))
        self._iterations.assign_add(1)

    def _variables_for(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None) -> list[Variable]:
        if trainable_variables is None:
            if not self.built:
                raise ArgumentError(
                    f"{self.name}: which variables are these gradients for? Call build(variables) first, or pass them"
                )
            variables = self._trainable_variables
        else:
            variables = list(trainable_variables)
            if not self.built:
                with name_scope(self.name, caller=self):
                    self.build(variables)
                self.built = True
            self._check_known(variables)
        if len(grads) != len(variables):
            raise ArgumentError(f"{self.name}: received {len(grads)} gradients for {len(variables)} variables")
        return variables

    def _check_known(self, variables: Sequence[Variable]) -> None:
        for variable in variables:
            if variable not in self._indices:
                raise ArgumentError(
                    f"{self.name} was not built with the variable {getattr(variable, 'path', variable)!r}, but with "
                    f"{_listed([v.path for v in self._indices])}; make a new optimizer for other variables"
                )

    def _overwritten(self, grads: list[Any], variables: list[Variable]) -> tuple[list[Any], list[Variable]]:
        """Store the gradients of variables that they replace, and return the rest.

        The float8 layers compute new scales as gradients.
        """
        left: list[tuple[Any, Variable]] = []
        for gradient, variable in zip(grads, variables, strict=True):
            if not is_overwritten(variable):
                left.append((gradient, variable))
            elif self.gradient_accumulation_steps:
                held = self._accumulated_gradients[self._get_variable_index(variable)]
                due = self._update_is_due()
                largest = ops.maximum(gradient, held)
                variable.assign(ops.where(due, largest, variable))
                held.assign(ops.where(due, ops.zeros_like(largest), largest))
            else:
                variable.assign(gradient)
        return [g for g, _ in left], [v for _, v in left]

    def _update_is_due(self) -> Any:
        steps = self.gradient_accumulation_steps
        return ops.equal(ops.mod(ops.add(self._iterations, 1), steps), 0)

    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[Variable]) -> None:
        if not self.gradient_accumulation_steps:
            self._update(grads, trainable_variables)
        else:
            held = [self._accumulated_gradients[self._get_variable_index(v)] for v in trainable_variables]
            ops.cond(
                self._update_is_due(),
                lambda: self._update_by_mean(grads, held, trainable_variables),
                lambda: assign_all(held, [ops.add(g, h) for g, h in zip(grads, held, strict=True)]),
            )
        if self.use_ema:
            self._update_averages()

    def _update_by_mean(self, grads: list[Any], held: list[Variable], variables: list[Variable]) -> None:
        steps = self.gradient_accumulation_steps
        self._update([ops.divide(ops.add(g, h), steps) for g, h in zip(grads, held, strict=True)], variables)
        assign_all(held, [ops.zeros(h.shape, h.dtype) for h in held])

    def _update(self, grads: list[Any], variables: list[Variable]) -> None:
        grads = self._clip_gradients(grads)
        with one_step():
            self._apply_weight_decay(variables)
            self._backend_update_step(grads, variables, self.learning_rate)

    def _backend_update_step(self, grads: list[Any], trainable_variables: list[Variable], learning_rate: Any) -> None:
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            with self._at(variable):
                self.update_step(gradient, variable, learning_rate)

    @contextmanager
    def _at(self, variable: Variable) -> Iterator[None]:
        """What is traced within is located at this variable."""
        trace = current_trace()
        with nullcontext() if trace is None else trace.layer(f"{self.name}/{variable.path}"):
            yield

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        if self.clipnorm and self.clipnorm > 0:
            return [clip_by_norm(g, self.clipnorm) for g in grads]
        if self.global_clipnorm and self.global_clipnorm > 0:
            return clip_by_global_norm(grads, self.global_clipnorm)
        if self.clipvalue and self.clipvalue > 0:
            return [ops.clip(g, -self.clipvalue, self.clipvalue) for g in grads]
        return grads

    # What the update rules have in common

    def _rate(self, learning_rate: Any, dtype: str) -> Any:
        """The learning rate in a variable's type."""
        return once(lambda: ops.cast(learning_rate, dtype), "rate", self, learning_rate, dtype)

    def _step(self, dtype: str) -> Any:
        """The number of this update, from 1, in a variable's type."""
        return once(lambda: ops.cast(ops.add(self.iterations, 1), dtype), "step", self, dtype)

    def _power(self, base: float, dtype: str) -> Any:
        """``base`` to the number of this update, in a variable's type."""
        return once(lambda: ops.power(ops.cast(base, dtype), self._step(dtype)), "power", self, str(base), dtype)

    # Weight decay

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave these variables out of weight decay; call it before the first step.

        Args:
            var_list: the variables.
            var_names: regular expressions; a variable is left out where one is found in its name.
        """
        pattern = "|".join(dict.fromkeys(var_names or ()))
        self._not_decayed = (frozenset(var_list or ()), re.compile(pattern) if pattern else None)

    def _use_weight_decay(self, variable: Variable) -> bool:
        excluded, pattern = self._not_decayed
        return variable not in excluded and (pattern is None or pattern.search(variable.name) is None)

    def _decay_of(self, variable: Variable) -> float | None:
        """The weight decay of one variable, None for none."""
        return self.weight_decay

    def _apply_weight_decay(self, variables: Sequence[Variable]) -> None:
        for variable in variables:
            decay = self._decay_of(variable)
            if decay is None or not self._use_weight_decay(variable):
                continue
            with self._at(variable):
                rate = self._rate(once(lambda: self.learning_rate, "learning_rate", self), variable.dtype)
                lost = ops.multiply(ops.multiply(variable, ops.cast(decay, variable.dtype)), rate)
                variable.assign_sub(lost)

    # Averages

    def _update_averages(self) -> None:
        with one_step():
            for variable, average in zip(self._trainable_variables, self._model_variables_moving_average, strict=True):
                if average is not None:
                    kept, taken = once(partial(self._ema_factors, variable.dtype), "ema", self, variable.dtype)
                    average.assign(ops.add(ops.multiply(kept, average), ops.multiply(taken, variable)))
        if self.ema_overwrite_frequency:
            due = ops.equal(ops.mod(ops.add(self.iterations, 1), self.ema_overwrite_frequency), 0)
            for variable, average in zip(self._trainable_variables, self._model_variables_moving_average, strict=True):
                if average is not None:
                    variable.assign(ops.where(due, average, variable))

    def _ema_factors(self, dtype: str) -> tuple[Any, Any]:
        """How much of the old average stays, nothing at the first step, and how much of the variable is added."""
        not_first = ops.cast(ops.not_equal(self.iterations, 0), dtype)
        kept = ops.multiply(not_first, self.ema_momentum)
        return kept, ops.subtract(1, kept)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """What ends training: with ``use_ema``, set the variables to their averages.

        Args:
            var_list: the variables it was built with.
        """
        if not self.use_ema:
            return
        averages = self._model_variables_moving_average if self.built else []
        if len(var_list) != len(averages):
            raise ArgumentError(f"{self.name} has averages of {len(averages)} variables, received {len(var_list)}")
        for variable, average in zip(var_list, averages, strict=True):
            if average is not None:
                variable.assign(average)

    # Stateless, and the loss

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Take a step on values in place of the Variables, which stay as they are.

        Args:
            optimizer_variables: values of :attr:`variables`.
            grads: one gradient for each variable it was built with.
            trainable_variables: values of these variables.

        Returns:
            The new values: of the variables, and of the optimizer's own.
        """
        if not self.built:
            raise ArgumentError(f"{self.name}: stateless_apply needs an optimizer that is built; call build(variables)")
        trained, own = list(self._trainable_variables), self.variables
        check_values("optimizer_variables", own, optimizer_variables, self.name)
        check_values("trainable_variables", trained, trainable_variables, self.name)
        values = [*trainable_variables, *optimizer_variables]
        _, new = stateless(self.apply, [*trained, *own], values, (list(grads),))
        return new[: len(trained)], new[len(trained) :]

    def scale_loss(self, loss: Any) -> Any:
        """The loss whose gradients :meth:`apply` expects: times ``loss_scale_factor`` where there is one."""
        return loss if self.loss_scale_factor is None else ops.multiply(loss, self.loss_scale_factor)

    # Learning rate

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step: a Variable, or what the schedule or function gives."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            return rate(self._iterations)
        return rate() if callable(rate) else rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        old = self._learning_rate
        if callable(learning_rate):
            if isinstance(old, Variable):
                del self._variables[old]
            self._learning_rate = learning_rate
        elif isinstance(old, Variable):
            old.assign(learning_rate)
        else:
            kind = "a schedule" if isinstance(old, LearningRateSchedule) else "a function"
            raise TypeError(
                f"{self.name} was made with {kind} as its learning rate, which can't be set to {learning_rate!r}; make "
                "the optimizer with a float, or set another schedule"
            )

    # Config

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, in a form that JSON can hold."""
        return {
            "name": self.name,
            "learning_rate": self._rate_config(),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    def _rate_config(self) -> Any:
        rate = self._learning_rate
        return float(rate.numpy()) if isinstance(rate, Variable) else serialize_keras_object(rate)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Make an optimizer from what ``get_config`` returned; it has no state yet.

        Args:
            config: the constructor's arguments.
            custom_objects: name to class or function, for a schedule of the user's own.
        """
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = deserialize_keras_object(config["learning_rate"], custom_objects=custom_objects)
        return cls(**config)


def _check_accumulation(steps: int | None) -> None:
    if steps and not steps >= 2:
        raise ArgumentError(f"gradient_accumulation_steps must be an integer of 2 or more, or None, received {steps!r}")


def _check_ema(use_ema: bool, momentum: float, frequency: int | None) -> None:
    if not use_ema:
        return
    if not 0 <= momentum <= 1:
        raise ArgumentError(f"ema_momentum must be from 0 to 1, received {momentum!r}")
    if frequency and (not isinstance(frequency, int) or frequency < 1):
        raise ArgumentError(f"ema_overwrite_frequency must be an integer of 1 or more, or None, received {frequency!r}")


def _check_clipping(**limits: float | None) -> None:
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if len(given) > 1:
        shown = ", ".join(f"{name}={limit}" for name, limit in given.items())
        raise ArgumentError(f"only one of clipnorm, clipvalue and global_clipnorm can be given, received {shown}")


def _without_none(grads: list[Any], variables: list[Variable]) -> tuple[list[Any], list[Variable]]:
    """Gradients that are not None, with their variables; a warning about the others."""
    pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
    if not pairs:
        raise ArgumentError("all gradients are None: the loss depends on none of the variables")
    missing = [v.path for g, v in zip(grads, variables, strict=True) if g is None]
    if missing:
        warnings.warn(
            f"there is no gradient (None) for {_listed(missing)}: the loss does not depend on what these hold, or no "
            "loss was given to compile()",
            stacklevel=3,
        )
    return [g for g, _ in pairs], [v for _, v in pairs]


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(map(repr, paths[:10])) + (f" and {len(paths) - 10} more" if len(paths) > 10 else "")
