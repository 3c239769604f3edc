"""Names and signatures of the optimizers, as users and files see them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ..registry import builtin

C = TypeVar("C", bound=type)

#: All optimizers by their names in small letters.
ALL_OBJECTS: dict[str, type] = {}


def optimizer(*aliases: str) -> Callable[[C], C]:
    """Register an optimizer as ``keras.optimizers.NAME``, and under further full names.

    A constructor that ends in ``*common, **options`` hands these on to the base class; its signature then shows what
    they are.
    """

    def register(cls: C) -> C:
        cls.__signature__ = _signature(cls)  # type: ignore[attr-defined]
        ALL_OBJECTS[cls.__name__.lower()] = cls
        return builtin("keras.optimizers", aliases=aliases)(cls)

    return register


def _signature(cls: type) -> inspect.Signature:
    """The class's own parameters, then those of its base classes' in place of ``*common, **options``."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__[:-1]:
        if "__init__" not in vars(base):
            continue
        parameters: list[Any] = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        open_ended = False
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                open_ended = open_ended or parameter.name == "common"
            else:
                found.setdefault(parameter.name, parameter)
        if not open_ended:
            break
    return inspect.Signature(list(found.values()))
