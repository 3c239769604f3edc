"""What layers keep track of: Variables, layers and seed generators in their attributes, and the weights of these."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..ir.errors import ArgumentError, ShapeError
from . import constraints, dtypes, initializers, regularizers
from .names import name_scope
from .operation import Operation
from .seed import SeedGenerator
from .variable import Variable


class Changes:
    """Numbers changes to attributes of any layer, so that cached programs notice those that concern them."""

    numbers = itertools.count(1)
    last = 0


class Tracked(Operation):
    """An operation with state: what is assigned to its attributes, or kept in lists and dicts there, is tracked."""

    _tracked: list[Any]
    _trainable: bool
    _parent_path: str | None
    built: bool
    dtype_policy: dtypes.DTypePolicy
    _last_change = 0

    @property
    def variable_dtype(self) -> str:
        """The type that it keeps its weights in."""
        return self.dtype_policy.variable_dtype

    @property
    def path(self) -> str:
        """Names of the layers around it and its own, as its Variables' paths start."""
        return f"{self._parent_path}/{self.name}" if self._parent_path else self.name

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if old is not value:
            self._forget(name, old)
            if _is_trackable(value) and not name.startswith("_untracked") and name != "_tracked":
                if not any(t is value for t in self._tracked):
                    self._tracked.append(value)
        object.__setattr__(self, name, value)
        if old is not value:
            self._changed()

    def __delattr__(self, name: str) -> None:
        self._forget(name, self.__dict__.get(name))
        object.__delattr__(self, name)
        self._changed()

    def _forget(self, name: str, value: Any) -> None:
        """No longer track what attribute ``name`` held, unless another attribute holds it too."""
        if _is_trackable(value) and not any(v is value for n, v in self.__dict__.items() if n != name):
            self._tracked[:] = [t for t in self._tracked if t is not value]

    def _changed(self) -> None:
        number = next(Changes.numbers)
        object.__setattr__(self, "_last_change", number)
        Changes.last = number

    def _own(self, kind: type) -> Iterator[Any]:
        """Tracked objects of a kind, those in containers included, each once, in order of assignment."""
        seen: set[int] = set()
        for item in self._tracked:
            for leaf in _leaves(item):
                if isinstance(leaf, kind) and id(leaf) not in seen:
                    seen.add(id(leaf))
                    yield leaf

    def _own_metrics(self) -> Iterator[Any]:
        """Metrics in its attributes; their Variables are none of its own."""
        seen: set[int] = set()
        for item in self._tracked:
            for leaf in _leaves(item):
                if _is_metric(leaf) and id(leaf) not in seen:
                    seen.add(id(leaf))
                    yield leaf

    @property
    def _layers(self) -> list[Any]:
        return list(self._own(Tracked))

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> list[Any]:
        """This layer and all below it, each once."""
        found: dict[int, Any] = {id(self): self} if include_self else {}
        stack = list(reversed(self._layers))
        while stack:
            layer = stack.pop()
            if id(layer) not in found and layer is not self:
                found[id(layer)] = layer
                if recursive:
                    stack.extend(reversed(layer._layers))
        return list(found.values())

    # Weights

    def _gather(self, seeds: bool) -> list[Variable]:
        own = list(self._own(Variable))
        ordered = [v for v in own if v._declared_trainable] + [v for v in own if not v._declared_trainable]
        if seeds:
            ordered += [g.state for g in self._own(SeedGenerator)]
        for layer in self._layers:
            ordered += layer._gather(seeds)
        return list({id(v): v for v in ordered}.values())

    @property
    def variables(self) -> list[Variable]:
        """All its Variables and those of the layers in it, states of seed generators included."""
        return self._gather(seeds=True)

    @property
    def weights(self) -> list[Variable]:
        """Its weights and those of the layers in it."""
        return self._gather(seeds=False)

    @property
    def trainable_variables(self) -> list[Variable]:
        return [v for v in self.variables if v.trainable] if self.trainable else []

    @property
    def non_trainable_variables(self) -> list[Variable]:
        if not self.trainable:
            return self.variables
        return [v for v in self.variables if not v.trainable]

    @property
    def trainable_weights(self) -> list[Variable]:
        return [v for v in self.weights if v.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        return [v for v in self.weights if not v.trainable] if self.trainable else self.weights

    @property
    def trainable(self) -> bool:
        """Whether training changes its weights; setting it sets that of all layers and weights in it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for variable in self._own(Variable):
            if variable._declared_trainable:
                variable.trainable = value
        for layer in self._layers:
            layer.trainable = value

    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        name: str | None = None,
    ) -> Variable:
        """Make a tracked Variable.

        Args:
            shape: its shape; () by default.
            initializer: name, initializer or callable; Glorot uniform for floats and zeros for the rest by default.
            dtype: its type; by default the layer's variable type.
        """
        shape = () if shape is None else shape
        dtype = dtypes.standardize_dtype(dtype) if dtype is not None else self.variable_dtype
        if initializer is None:
            initializer = "glorot_uniform" if dtypes.is_float(dtype) else "zeros"
        with name_scope(self.name, caller=self):
            variable = Variable(
                initializers.get(initializer),
                shape=tuple(shape),
                dtype=dtype,
                trainable=trainable,
                autocast=autocast,
                aggregation=aggregation,
                name=name,
            )
        if not self.trainable and trainable:
            variable.trainable = False
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        self._tracked.append(variable)
        self._changed()
        return variable

    def get_weights(self) -> list[np.ndarray]:
        """The values of :attr:`weights` as NumPy arrays."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign all :attr:`weights`; nothing changes where a number or a shape does not fit."""
        own = self.weights
        if len(own) != len(weights):
            raise ArgumentError(
                f"{self.name} has {len(own)} weights, received {len(weights)}"
                + ("" if self.built else "; the layer is not built yet: call it once first")
            )
        for variable, value in zip(own, weights, strict=True):
            if tuple(np.shape(value)) != variable.shape:
                raise ShapeError(f"{variable.path}: expected shape {variable.shape}, received {tuple(np.shape(value))}")
        for variable, value in zip(own, weights, strict=True):
            variable.assign(value)

    def count_params(self) -> int:
        """Number of scalars in its weights."""
        if not self.built:
            raise ArgumentError(f"{self.name} is not built, so it has no weights to count; call it once, or build() it")
        return sum(int(np.prod(v.shape)) for v in self.weights)

    def save_own_variables(self, store: Any) -> None:
        """Write the layer's own Variables into ``store``, numbered in order."""
        for i, variable in enumerate(self._own_in_order()):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Read the layer's own Variables from ``store``."""
        own = self._own_in_order()
        if len(store) != len(own):
            hint = "" if own or self.built else "; the layer was never built"
            raise ArgumentError(
                f"layer {self.path!r} has {len(own)} variables, the file holds {len(store)} for it{hint}"
            )
        for i, variable in enumerate(own):
            variable.assign(store[str(i)])

    def _own_in_order(self) -> list[Variable]:
        own = list(self._own(Variable))
        return [v for v in own if v._declared_trainable] + [v for v in own if not v._declared_trainable]


@contextmanager
def as_before_on_failure(layer: Tracked) -> Iterator[None]:
    """What fails within leaves the layer and those in it as they were: unbuilt, with the weights they had."""
    before = [(each, dict(each.__dict__), list(each._tracked)) for each in layer._flatten_layers()]
    try:
        yield
    except BaseException:
        for each, attributes, tracked in before:
            each.__dict__.clear()
            each.__dict__.update(attributes)
            each._tracked[:] = tracked
            each._changed()
        raise


def _is_trackable(value: Any) -> bool:
    return isinstance(value, Variable | Tracked | SeedGenerator | list | tuple | dict | set) or _is_metric(value)


def _is_metric(value: Any) -> bool:
    """Whether it is a metric, by its methods: the class is of a module that builds on this one."""
    cls = type(value)
    return hasattr(cls, "update_state") and hasattr(cls, "reset_state") and hasattr(cls, "result")


def _leaves(item: Any) -> Iterator[Any]:
    if isinstance(item, dict):
        for value in item.values():
            yield from _leaves(value)
    elif isinstance(item, list | tuple | set):
        for value in item:
            yield from _leaves(value)
    else:
        yield item
