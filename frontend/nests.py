"""Nests of arguments (pytrees) as flat lists of traced tensors, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..ir.errors import ArgumentError
from .convert import as_tensor
from .tensor import Tensor
from .variable import Variable


def is_leaf_array(x: Any) -> bool:
    """Whether ``x`` has an element type of its own, unlike a Python number."""
    return isinstance(x, Tensor | Variable | jax.Array | np.ndarray | np.generic)


def is_array(x: Any) -> bool:
    """Whether ``x`` can be an input of a program: an array, a tensor, a Variable, or a float."""
    return is_leaf_array(x) or (isinstance(x, float | complex) and not isinstance(x, bool))


class Nest:
    """Arguments, with the arrays in them as tensors of the current trace; other leaves (names, flags) stay.

    Args:
        value: any nest.
    """

    def __init__(self, value: Any) -> None:
        self._all, self.tree = jax.tree.flatten(value)
        self._places = [i for i, leaf in enumerate(self._all) if is_array(leaf)]
        self.leaves: list[Tensor] = [as_tensor(self._all[i]) for i in self._places]

    def unflatten(self, tensors: Sequence[Any]) -> Any:
        """The nest with other arrays in the places of its own."""
        full = list(self._all)
        for i, tensor in zip(self._places, tensors, strict=False):
            full[i] = tensor
        return jax.tree.unflatten(self.tree, full)

    def call(self, f: Callable[..., Any], tensors: Sequence[Any]) -> Any:
        """Call ``f`` on the nest's parts, with other arrays."""
        return f(*self.unflatten(tensors))

    def call_both(self, f: Callable[..., Any], tensors: Sequence[Any]) -> Any:
        """Call ``f`` on a nest of ``(args, kwargs)``, with other arrays."""
        args, kwargs = self.unflatten(tensors)
        return f(*args, **kwargs)

    def match(self, given: Any, what: str) -> list[Any]:
        """Leaves of another nest in the places of this one's arrays; None where a None stands."""
        try:
            spread = jax.tree.map(
                lambda part, own: jax.tree.map(lambda _: part, own) if part is None else part,
                given,
                jax.tree.unflatten(self.tree, self._all),
                is_leaf=lambda x: x is None,
            )
            leaves, tree = jax.tree.flatten(spread, is_leaf=lambda x: x is None)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{what} should have the structure of the arguments: {error}") from None
        if len(leaves) != len(self._all):
            raise ArgumentError(f"{what} should have the structure {self.tree}, received {tree}")
        return [leaves[i] for i in self._places]


def axes_of(axes: Any, args: Any, kwargs: Any = None, name: str = "in_axes") -> list[int | None]:
    """An axis for each array of arguments, from a nest of them that begins as the arguments do.

    Keyword arguments have axis 0. Raises :class:`ArgumentError` where the nests do not fit.
    """
    found: list[int | None] = []

    def spread(axis: Any, part: Any) -> None:
        if axis is None or isinstance(axis, int):
            found.extend(axis for leaf in jax.tree.leaves(part) if is_array(leaf))
            return
        if isinstance(axis, dict) and isinstance(part, dict) and axis.keys() == part.keys():
            for key in sorted(axis):
                spread(axis[key], part[key])
            return
        if isinstance(axis, tuple | list) and isinstance(part, tuple | list) and len(axis) == len(part):
            for a, p in zip(axis, part, strict=True):
                spread(a, p)
            return
        raise ArgumentError(f"vmap: {name} {axes!r} does not fit the structure {jax.tree.structure(args)}")

    spread(axes, args)
    if kwargs:
        found.extend(0 for leaf in jax.tree.leaves(kwargs) if is_array(leaf))
    return found
