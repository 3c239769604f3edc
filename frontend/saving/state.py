"""Which layers and optimizers a model's variables belong to, and under which paths Keras's files keep them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..functional import Functional
from ..layer import Layer
from ..model import Model
from ..names import to_snake_case
from ..operation import Operation
from ..optimizers.optimizer import Optimizer
from ..sequential import Sequential
from ..variable import Variable


@dataclass(frozen=True)
class Owner:
    """A layer (or other operation) or an optimizer at the place that Keras's files have for it.

    Attributes:
        path: such as ``"layers/dense_1"`` or ``"optimizer"``; empty for the model itself.
        layer: the object.
        containers: paths of the lists, tuples and dicts inside other such that it was found through.
    """

    path: str
    layer: Operation | Optimizer
    containers: tuple[str, ...] = ()

    def variables(self) -> list[Variable]:
        """The Variables that it reads and writes itself."""
        if isinstance(self.layer, Optimizer):
            return self.layer.variables
        return list(self.layer._own(Variable)) if isinstance(self.layer, Layer) else []


def owners(model: Layer) -> Iterator[Owner]:
    """The model and all that is in it, each once, where Keras keeps its weights.

    Attributes are visited by name, private ones last; ``layers`` of a Sequential or Functional model comes first. In a
    list, tuple or dict, objects are numbered per class: ``blocks/dense``, ``blocks/dense_1``.
    """
    yield from _walk(model, "", (), set())


def _walk(layer: Operation | Optimizer, path: str, containers: tuple[str, ...], seen: set[int]) -> Iterator[Owner]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield Owner(path, layer, containers)
    for name, value in _attributes(layer):
        inner = f"{path}/{name}" if path else name
        if isinstance(value, Operation | Optimizer):
            yield from _walk(value, inner, containers, seen)
        elif isinstance(value, list | dict | tuple):
            yield from _walk_container(value, inner, containers, seen, set())


def _walk_container(
    container: Any, path: str, containers: tuple[str, ...], seen: set[int], entered: set[int]
) -> Iterator[Owner]:
    if id(container) in entered:  # it holds itself
        return
    entered.add(id(container))
    used: dict[str, int] = {}
    items: Iterable[Any] = container.values() if isinstance(container, dict) else container
    for item in list(items):
        if isinstance(item, Operation | Optimizer):
            inner = f"{path}/{_numbered(to_snake_case(type(item).__name__), used)}"
            yield from _walk(item, inner, containers, seen)
        elif isinstance(item, list | dict | tuple):
            inner = f"{path}/{_numbered('container', used)}"
            yield from _walk_container(item, inner, (*containers, inner), seen, entered)


def _numbered(name: str, used: dict[str, int]) -> str:
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


def _attributes(layer: Operation | Optimizer) -> Iterator[tuple[str, Any]]:
    if isinstance(layer, Functional | Sequential):
        yield "layers", layer.layers
    known = _own_names_of_optimizers() if isinstance(layer, Optimizer) else _own_names()
    for name in sorted(dir(layer), key=lambda n: f"~{n}" if n.startswith("_") else n):
        if name in known or name.startswith(("__", "_untracked")):
            continue
        try:
            value = getattr(layer, name)
        except Exception:  # a property of the user's that can't be read now holds no weights
            continue
        yield name, value


@functools.cache
def _own_names() -> frozenset[str]:
    """Attributes that all layers and models have; they hold what is found by other names. ``layers`` and ``optimizer``
    are for models."""
    names = {*dir(Layer(name="layer")), *dir(Model), *dir(Functional), *dir(Sequential), "_all_layers", "function"}
    return frozenset(names - {"layers", "optimizer"})


@functools.cache
def _own_names_of_optimizers() -> frozenset[str]:
    """Attributes that all optimizers have."""
    return frozenset(dir(Optimizer(1.0, name="optimizer")))
