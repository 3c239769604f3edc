"""Nests of outputs, labels and weights: lists, tuples and dicts whose leaves are tensors or None."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from ...ir.errors import ArgumentError

Path = tuple[Any, ...]


def is_nest(x: Any) -> bool:
    """Whether ``x`` is a list, tuple or dict."""
    return isinstance(x, list | tuple | dict)


def _items(nest: Any) -> list[tuple[Any, Any]]:
    """Keys and parts of a nest, those of a dict by key, but of an OrderedDict in its order."""
    if not isinstance(nest, dict):
        return list(enumerate(nest))
    return [(key, nest[key]) for key in (nest if isinstance(nest, OrderedDict) else sorted(nest))]


def leaves(nest: Any) -> list[Any]:
    """The leaves in order (of dicts: of sorted keys); None is one."""
    return [leaf for _, part in _items(nest) for leaf in leaves(part)] if is_nest(nest) else [nest]


def pack(like: Any, flat: Iterable[Any]) -> Any:
    """A nest with the structure of ``like``, its dicts in their order, and other leaves."""
    rest = iter(flat)

    def filled(part: Any) -> Any:
        if not is_nest(part):
            return next(rest)
        found = {key: filled(each) for key, each in _items(part)}
        if isinstance(part, dict):
            kind = OrderedDict if isinstance(part, OrderedDict) else dict
            return kind((key, found[key]) for key in part)
        return list(found.values())

    return filled(like)


def same_structure(a: Any, b: Any) -> bool:
    """Whether two nests have equal keys and lengths everywhere; a list is as good as a tuple."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_structure(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same_structure(x, y) for x, y in zip(a, b, strict=True))
    return not is_nest(a) and not is_nest(b)


def leaves_along(nest: Any, like: Any) -> list[Any]:
    """The leaves in the order that those of ``like``, of the same structure, have."""
    if not is_nest(like):
        return [nest]
    return [leaf for key, part in _items(like) for leaf in leaves_along(nest[key], part)]


def at(nest: Any, path: Path) -> Any:
    """What a path of keys and indices leads to."""
    for key in path:
        nest = nest[key]
    return nest


def shown(nest: Any) -> str:
    """A structure as messages show it: ``{'a': *, 'b': [*, *]}``."""
    if isinstance(nest, dict):
        return "{" + ", ".join(f"{key!r}: {shown(value)}" for key, value in nest.items()) + "}"
    if isinstance(nest, list | tuple):
        return "[" + ", ".join(shown(value) for value in nest) + "]"
    return "None" if nest is None else "*"


def align(name: str, nest: Any, like: Any, output_names: Sequence[str] | None, places: Sequence[bool] = ()) -> Any:
    """Labels or weights in the structure of the outputs.

    Args:
        name: what they are, for messages.
        nest: in that structure; or flat; or a dict by output names; or for fewer outputs, then None fills the others.
        like: the outputs.
        output_names: names of the outputs, where they have any.
        places: which of the outputs have a loss.

    Raises:
        ArgumentError: it can't be told what belongs to which output.
    """
    if same_structure(nest, like):
        return nest
    flat, count = leaves(nest), len(leaves(like))
    if isinstance(nest, dict):
        if isinstance(like, dict) and set(nest) <= set(like):
            return nest
        if not isinstance(like, dict) and output_names and set(nest) <= set(output_names):
            return pack(like, [nest.get(key) for key in output_names])
    elif len(flat) == count:
        return pack(like, flat)
    elif len(flat) == sum(places) and len(places) == count:
        rest = iter(flat)
        return pack(like, [next(rest) if place else None for place in places])
    known = f"; the outputs' names are {list(output_names)}" if output_names else ""
    raise ArgumentError(
        f"{name} and y_pred have different structures: {name} is {shown(nest)}, y_pred is {shown(like)}{known}"
    )
