"""The state of an optimizer: Variables under Keras's names and in Keras's order."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError, ShapeError
from .. import initializers
from ..distribution.current import distribution
from ..names import name_scope
from ..variable import Variable, values_follow

_UNTRACKED = ("_variables", "_containers", "_trainable_variables", "_indices")


class State:
    """What keeps Variables: those assigned to attributes, those in lists and dicts there, and those it makes itself.

    They count in the order in which they came. Files hold them in that order.
    """

    name: str
    built: bool
    _indices: dict[Variable, int]  # of the trained variables
    _variables: dict[Variable, None]  # in order
    _containers: dict[str, Any]  # by the attribute that holds them

    def _start(self) -> None:
        object.__setattr__(self, "_variables", {})
        object.__setattr__(self, "_containers", {})

    def __setattr__(self, name: str, value: Any) -> None:
        if "_variables" not in self.__dict__:
            raise ArgumentError(
                f"{type(self).__name__}: call super().__init__() before setting attributes ({name!r}), so that "
                "Variables among them are noticed"
            )
        if name not in _UNTRACKED:
            if isinstance(value, Variable):
                self._track_variable(value)
            elif isinstance(value, list | tuple | dict | set):
                self._containers[name] = value
                self._collect()
        object.__setattr__(self, name, value)

    def _track_variable(self, variable: Variable) -> None:
        """Make a Variable part of the state, if it is not."""
        self._variables.setdefault(variable)

    def _collect(self) -> None:
        """Track what containers have got since they were assigned."""
        for container in self._containers.values():
            for variable in _variables_in(container):
                self._track_variable(variable)

    @property
    def variables(self) -> list[Variable]:
        """Its state: number of steps, learning rate where it is a Variable, then what :meth:`build` made."""
        self._collect()
        return list(self._variables)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str | None = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Make a Variable of the optimizer's state.

        Args:
            shape: its shape.
            initializer: name, initializer or function of shape and dtype.
            dtype: its type; the default float type by default.
            aggregation: how replicas of it are combined; kept for Keras's sake.
            layout: how it is laid over a mesh; by default as the distribution says that is set.
            name: last part of its path, after the optimizer's name.
        """
        with name_scope(self.name, caller=self), values_follow(False):
            variable = Variable(
                initializers.get(initializer),
                shape=tuple(shape),
                dtype=dtype,
                trainable=False,
                aggregation=aggregation,
                name=name,
                layout=layout,
            )
        self._track_variable(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """Make a Variable of the shape, type and layout of another, called ``{path of that one}_{name}``."""
        path = getattr(reference_variable, "path", None) or str(reference_variable.name)
        layout, chosen = getattr(reference_variable, "_layout", None), distribution()
        if layout is None and chosen is not None:  # it was made before the distribution was set
            layout = chosen.get_variable_layout(reference_variable)
        variable = self.add_variable(
            shape=reference_variable.shape,
            initializer=initializer,
            dtype=reference_variable.dtype,
            layout=layout,
            name=f"{path.replace('/', '_')}_{name or 'var'}",
        )
        if isinstance(reference_variable, Variable):
            variable._like = reference_variable
        return variable

    def add_optimizer_variables(
        self, trainable_variables: Iterable[Variable], name: str | Sequence[str], initializer: Any = "zeros"
    ) -> Any:
        """Make one Variable, or several, for each that is trained; see :meth:`add_variable_from_reference`.

        Args:
            trainable_variables: what is trained. One with ``overwrite_with_gradient`` needs no state and gets None.
            name: of the Variable; several names make several.
            initializer: for all, or one for each name.

        Returns:
            A list of Variables; for several names a tuple of such lists.
        """
        names = [name] if isinstance(name, str) else list(name)
        each = list(initializer) if isinstance(initializer, list | tuple) else [initializer] * len(names)
        if len(each) != len(names):
            raise ArgumentError(f"add_optimizer_variables: {len(names)} names, but {len(each)} initializers")
        made: tuple[list[Variable | None], ...] = tuple([] for _ in names)
        for variable in trainable_variables:
            for found, own_name, own_initializer in zip(made, names, each, strict=True):
                overwritten = is_overwritten(variable)
                found.append(
                    None if overwritten else self.add_variable_from_reference(variable, own_name, own_initializer)
                )
        return made[0] if isinstance(name, str) else made

    def _get_variable_index(self, variable: Variable) -> int:
        return self._indices[variable]

    def assign(self, variable: Variable, value: Any) -> None:
        """Store ``value`` in a Variable."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Add ``value`` to a Variable."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtract ``value`` from a Variable."""
        variable.assign_sub(value)

    def get_weights(self) -> list[np.ndarray]:
        """The values of :attr:`variables`."""
        return [v.numpy() for v in self.variables]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign all :attr:`variables`; nothing changes where a number or a shape does not fit."""
        own = self.variables
        if not self.built:
            raise ArgumentError(f"{self.name} is not built, so that it has no weights to set; call build(variables)")
        if len(weights) != len(own):
            raise ArgumentError(f"{self.name} has {len(own)} variables, received {len(weights)} values")
        for variable, value in zip(own, weights, strict=True):
            if tuple(np.shape(value)) != variable.shape:
                raise ShapeError(f"{variable.path}: expected shape {variable.shape}, received {tuple(np.shape(value))}")
        assign_all(own, weights)

    def save_own_variables(self, store: Any) -> None:
        """Write :attr:`variables` into ``store``, numbered in order."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Read :attr:`variables` from ``store``; another number of them is skipped with a warning."""
        own = self.variables
        if len(store) != len(own):
            hint = "" if self.built else "; it is not built, so it has no state for the model's variables yet"
            warnings.warn(
                f"{self.name} keeps the state it has: it has {len(own)} variables, the file holds {len(store)}{hint}",
                stacklevel=2,
            )
            return
        assign_all(own, [store[str(i)] for i in range(len(own))])


def is_overwritten(variable: Any) -> bool:
    """Whether the gradient of a variable is its new value."""
    return bool(getattr(variable, "overwrite_with_gradient", False))


def assign_all(variables: Sequence[Variable], values: Sequence[Any]) -> None:
    """Assign one value to each."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _variables_in(container: Any) -> Iterator[Variable]:
    for item in container.values() if isinstance(container, dict) else container:
        if isinstance(item, Variable):
            yield item
        elif isinstance(item, list | tuple | dict | set):
            yield from _variables_in(item)
