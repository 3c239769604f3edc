"""Several optimizers, each for some of the variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from ...ir.errors import ArgumentError
from ..registry import builtin
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..variable import Variable
from .loss_scale import LossScaleOptimizer
from .optimizer import Optimizer
from .signatures import optimizer


@builtin("keras.optimizers")
class OptimizerMap(MutableMapping[str, Optimizer]):
    """Which optimizer is for which variable, by path.

    A key is a path, or a regular expression that must match all of a path. An equal path comes first.

    Args:
        default_optimizer: for what no key matches.
        optimizer_map: optimizer by key.
    """

    def __init__(self, default_optimizer: Optimizer, optimizer_map: dict[str, Optimizer] | None = None) -> None:
        if not isinstance(default_optimizer, Optimizer):
            raise TypeError(f"OptimizerMap: default_optimizer must be an optimizer, received {default_optimizer!r}")
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise TypeError(f"OptimizerMap: optimizer_map must be a dict, received {optimizer_map!r}")
        self._default_optimizer = default_optimizer
        self._optimizer_map: dict[str, Optimizer] = optimizer_map or {}

    @property
    def default_optimizer(self) -> Optimizer:
        """The optimizer for what no key matches."""
        return self._default_optimizer

    def __getitem__(self, key: str) -> Optimizer:
        if key in self._optimizer_map:
            return self._optimizer_map[key]
        matching = [pattern for pattern in self._optimizer_map if re.fullmatch(pattern, key)]
        if len(matching) > 1:
            raise ArgumentError(f"OptimizerMap: {key!r} matches several keys: {', '.join(map(repr, matching))}")
        return self._optimizer_map[matching[0]] if matching else self._default_optimizer

    def __setitem__(self, key: str, optimizer: Optimizer) -> None:
        if not isinstance(key, str):
            raise ArgumentError(f"OptimizerMap: a key must be a string, received {key!r}")
        if key in self._optimizer_map:
            raise ArgumentError(f"OptimizerMap: {key!r} has an optimizer already, {self._optimizer_map[key].name!r}")
        self._optimizer_map[key] = _checked(optimizer, f"for {key!r}")

    def __delitem__(self, key: str) -> None:
        del self._optimizer_map[key]

    def __len__(self) -> int:
        return len(self._optimizer_map)

    def __iter__(self) -> Iterator[str]:
        return iter(self._optimizer_map)

    def __call__(self, variable: Variable) -> Optimizer:
        """The optimizer for a variable."""
        return self[variable.path]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, in a form that JSON can hold."""
        return {
            "default_optimizer": serialize_keras_object(self._default_optimizer),
            "optimizer_map": serialize_keras_object(self._optimizer_map),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> OptimizerMap:
        """Make a map from what ``get_config`` returned."""
        names = ("default_optimizer", "optimizer_map")
        return cls(*(deserialize_keras_object(config[name], custom_objects=custom_objects) for name in names))


@optimizer()
class MultiOptimizer(Optimizer):
    """Leaves each variable to one of several optimizers.

    It has no learning rate: each of :attr:`optimizers` has its own.

    Args:
        optimizer_map: an OptimizerMap, or a function that returns the optimizer for a variable.
        loss_scale_factor: see Optimizer; it replaces that of the optimizers.
        name: see Optimizer.
    """

    def __init__(self, optimizer_map: Any, loss_scale_factor: float | None = None, name: str | None = None) -> None:
        super().__init__(learning_rate=0.0, loss_scale_factor=loss_scale_factor, name=name)
        self._optimizer_map = optimizer_map
        self._inner_optimizers: list[Optimizer] = []
        self._parts: dict[Variable, Optimizer] = {}
        if isinstance(optimizer_map, OptimizerMap):
            for inner in (*optimizer_map.values(), optimizer_map.default_optimizer):
                self._include(inner)

    def _include(self, inner: Optimizer) -> None:
        if not any(each is inner for each in self._inner_optimizers):
            inner.loss_scale_factor = self.loss_scale_factor
            self._inner_optimizers.append(inner)

    def build(self, variables: Sequence[Variable]) -> None:
        """Find the optimizer of each variable, and build them."""
        if self.built:
            return
        parts = {v: _checked(self._optimizer_map(v), f"for variable {v.path!r}") for v in variables}
        for inner in parts.values():
            self._include(inner)
        object.__setattr__(self, "_parts", parts)
        for inner in self._inner_optimizers:
            own = [v for v in variables if parts[v] is inner]
            if own:
                inner.build(own)
        super().build(variables)

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers."""
        return self._inner_optimizers

    @property
    def variables(self) -> list[Variable]:
        """Its own state, then that of each optimizer."""
        return super().variables + [v for inner in self._inner_optimizers for v in inner.variables]

    @property
    def learning_rate(self) -> Any:
        """Not there: each of :attr:`optimizers` has its own."""
        raise AttributeError(f"{self.name} has no learning rate; each of its .optimizers has one")

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        raise AttributeError(f"{self.name} has no learning rate; set that of each of its .optimizers")

    @property
    def loss_scale_factor(self) -> float | None:
        """See Optimizer; setting it sets that of each optimizer."""
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        self._loss_scale_factor = value
        for inner in self.__dict__.get("_inner_optimizers", ()):
            inner.loss_scale_factor = value

    @property
    def iterations(self) -> Any:
        """How often it was called."""
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Have each optimizer take one step for its variables; see Optimizer."""
        grads = list(grads)
        if not grads:
            return
        variables = self._variables_for(grads, trainable_variables)
        pairs = list(zip(grads, variables, strict=True))
        for inner in self._inner_optimizers:
            own = [pair for pair in pairs if self._parts[pair[1]] is inner]
            if own:
                inner.apply_gradients(own)
        self._iterations.assign_add(1)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """What ends training for each optimizer; see Optimizer."""
        for inner in self._inner_optimizers:
            own = [v for v in var_list if self._parts[v] is inner]
            if own:
                inner.finalize_variable_values(own)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "optimizer_map": serialize_keras_object(self._optimizer_map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Make an optimizer from what ``get_config`` returned; see Optimizer."""
        config = dict(config)
        config["optimizer_map"] = deserialize_keras_object(config["optimizer_map"], custom_objects=custom_objects)
        return cls(**config)


def _checked(found: Any, what: str) -> Optimizer:
    if not isinstance(found, Optimizer):
        raise ArgumentError(f"expected an optimizer {what}, received {found!r}")
    if isinstance(found, LossScaleOptimizer | MultiOptimizer):
        raise ArgumentError(f"a {type(found).__name__} can't be one of several optimizers (received {what})")
    return found
