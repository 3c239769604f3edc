"""From a Python callable and the types of its inputs to a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ..ir import Module, TensorType
from ..ir.graph import without_collection
from .convert import as_tensor
from .tensor import Tensor
from .trace import Trace


def trace_flat(
    call: Callable[[list[Tensor]], Any],
    types: Sequence[TensorType],
    names: Sequence[str] = (),
    name: str = "main",
    hints: Mapping[str, int] | None = None,
) -> tuple[Module, Any]:
    """Trace ``call`` on a flat list of tensors.

    Args:
        types: one for each tensor.
        names: the inputs' names, where they have any.
        hints: values of symbolic dimensions, see :class:`Trace`.

    Returns:
        The module, and the tree (``jax.tree``) of what ``call`` returned.
    """
    trace = Trace(hints=hints)
    names = list(names) or [""] * len(types)
    tensors = [Tensor(trace.graph.add_input(t, n), trace) for t, n in zip(types, names, strict=True)]
    with trace.active(), without_collection():
        leaves, tree = jax.tree.flatten(call(tensors))
        trace.graph.outputs = [as_tensor(leaf).value for leaf in leaves]
        trace.finish_updates()
    trace.graph.in_structure = tuple(range(len(types)))
    trace.graph.out_structure = index_nest(jax.tree.unflatten(tree, range(len(leaves))))
    trace.graph.output_names = key_names(trace.graph.out_structure, len(leaves))
    return Module({"main": trace.graph}, name), tree


def key_names(structure: Any, count: int) -> list[str]:
    """Names of ``count`` outputs by their keys, where the structure is a dict: ``{"a": 0, "b": {"c": 1}}`` gives ``a``
    and ``b_c``. Else, and where names would be equal, they are empty."""
    names = [""] * count

    def name(nest: Any, path: str) -> None:
        if isinstance(nest, int):
            names[nest] = path
        elif nest is not None:
            for key, inner in nest.items() if isinstance(nest, dict) else enumerate(nest):
                name(inner, f"{path}_{key}" if path else str(key))

    if isinstance(structure, dict):
        name(structure, "")
    return names if len(set(names)) == count else [""] * count


def index_nest(nest: Any) -> Any:
    """The same nest in plain dicts, lists and tuples, as the IR keeps it."""
    if isinstance(nest, dict):
        return {key if type(key) is int else str(key): index_nest(value) for key, value in nest.items()}
    if isinstance(nest, list):
        return [index_nest(value) for value in nest]
    if isinstance(nest, tuple):
        return tuple(index_nest(value) for value in nest)
    return nest
