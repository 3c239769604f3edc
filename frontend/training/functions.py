"""``train_function``, ``test_function``, ``predict_function``: a model's steps on the batches of one execution."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...ir.errors import UnsupportedError
from ..variable import Variable
from .shares import are_shared, own_outputs
from .step import Step, stack, stackable


class Placed(NamedTuple):
    """The batches of one execution: the steps that take them, each with the leaves of a nest and its structure."""

    parts: list[tuple[Step, tuple[list[Any], Any]]]


class StepFunction:
    """One of a model's steps as a function of a list of batches, which run in one executable where they are alike.

    The step is the model's method of that name. It takes a batch; or, as in Keras on JAX, the state and a batch, and
    returns ``(result, new state)``, where the state is a tuple of lists of tensors.

    Args:
        model: whose method it is.
        method: ``"train_step"``, ``"test_step"`` or ``"predict_step"``.
        lists: the properties of the model that make up the state: ``"trainable_variables"``...
    """

    def __init__(self, model: Any, method: str, lists: Sequence[str]) -> None:
        self.model = model
        self.method = method
        self.lists = tuple(lists)
        self.eager = bool(model.run_eagerly)
        self.ran = False  # before, the model or what it was compiled with may not be built

    @cached_property
    def one(self) -> Step:
        """The step for one batch."""
        return Step(self.run, f"{self.model.name}_{self.method}", updates=self.method != "predict_step")

    @cached_property
    def several(self) -> Step:
        """The step for several batches in turn, on the device."""
        updates = self.method != "predict_step"
        join = last if updates else joined
        return Step(self.run, f"{self.model.name}_{self.method}s", join=join, updates=updates)

    def begin(self) -> None:
        """Be about to run on another source of batches."""
        for name in ("one", "several"):
            if name in self.__dict__:
                self.__dict__[name].begin()

    def place(self, batches: Sequence[Any]) -> Placed | Sequence[Any]:
        """Batches as a call takes them too, brought to where they are needed: stacked where one loop on the device runs
        several, and on the device or over the mesh once the step has run.
        """
        if self.eager or not self.ran:
            return batches
        return Placed([(step, step.place(batch)) for step, batch in self._parts(batches)])

    def _parts(self, batches: Sequence[Any]) -> list[tuple[Step, Any]]:
        if len(batches) == 1 or (self.method == "predict_step" and are_shared()):
            return [(self.one, batch) for batch in batches]
        return [(self.several, stack(g)) if len(g) > 1 else (self.one, g[0]) for g in stackable(batches)]

    def __call__(self, batches: Sequence[Any] | Placed) -> Any:
        """The result of the last batch; for predictions those of all batches, joined."""
        try:
            results = self._results(batches)
        except BaseException:
            if not self.ran:
                self.model._renew_compiled()  # what was settled by a batch that fits nothing
            raise
        self.ran = True
        if self.method != "predict_step":
            return results[-1]
        if are_shared():
            results = [own_outputs(result) for result in results]
        return results[0] if len(results) == 1 else jax.tree.map(lambda *parts: jnp.concatenate(parts), *results)

    def _results(self, batches: Sequence[Any] | Placed) -> list[Any]:
        if isinstance(batches, Placed):
            return [step.run(*batch) for step, batch in batches.parts]
        if self.eager and are_shared():
            raise UnsupportedError("run_eagerly=True runs in one process; compile(run_eagerly=False) for several")
        if self.eager:
            return [self.run(jax.tree.map(_device_array, batch)) for batch in batches]
        return [step(batch) for step, batch in self._parts(batches)]

    def run(self, batch: Any) -> Any:
        """The user's method on one batch, in the style that it is written in."""
        step = getattr(self.model, self.method)
        if not takes_state(step):
            return step(batch)
        groups = [self._variables(name) for name in self.lists]
        result, state = step(tuple([v.value for v in group] for group in groups), batch)
        if self.method == "predict_step":  # it returns the non-trainable ones alone, as in Keras
            groups, state = groups[1:], (state,)
        for group, values in zip(groups, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return result

    def _variables(self, name: str) -> list[Variable]:
        return list(self.model.optimizer.variables if name == "optimizer_variables" else getattr(self.model, name))

    def __getstate__(self) -> dict[str, Any]:
        """A copy of a model compiles its own."""
        kept = {name: value for name, value in self.__dict__.items() if name not in ("one", "several")}
        return {**kept, "ran": False}


def last(results: Any) -> Any:
    """The last of stacked results."""
    return jax.tree.map(lambda t: t[-1], results)


def joined(results: Any) -> Any:
    """Stacked results with the first two axes made one."""
    from .. import ops

    return jax.tree.map(lambda t: ops.reshape(t, (-1, *t.shape[2:])) if t.ndim > 1 else t, results)


def takes_state(step: Callable[..., Any]) -> bool:
    """Whether a step is written as in Keras on JAX: ``train_step(state, data)``."""
    parameters = inspect.signature(step).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters) > 1


def _device_array(x: Any) -> Any:
    return x if isinstance(x, jax.Array) else jnp.asarray(np.asarray(x))
