"""What users hand to ``lamina.export`` and ``lamina.verify``, as a module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...compiled import Compiled
from ...ir import Graph, Module
from ...ir.errors import ArgumentError, DTypeError
from ..api import trace
from ..layer import Layer


def resolve(subject: Any) -> Any:
    """A Module, or what can be traced to one: a path is loaded, a graph or compiled program is its module.

    Raises :class:`DTypeError` for anything else.
    """
    if isinstance(subject, str | os.PathLike):
        from ..saving.models import load

        subject = load(os.fspath(subject))
    if isinstance(subject, Compiled):
        return subject.graph
    if isinstance(subject, Graph):
        return Module({"main": subject})
    if not callable(subject) and not isinstance(subject, Module):
        raise DTypeError(
            f"expected a function, layer, model, module, graph, compiled program or path, received {subject!r}"
        )
    return subject


def module_of(subject: Any, specs: Any = None, static: Mapping[str, Any] | None = None) -> Module:
    """The module of what :func:`resolve` takes: traced, where it is not one.

    Args:
        specs: see :func:`arguments`; None where the subject knows its inputs.
        static: keywords that reach what is traced, such as ``training=True``.

    Raises:
        ArgumentError: specs or static are given for what is traced already. Others as :func:`lamina.trace`.
    """
    subject = resolve(subject)
    if not isinstance(subject, Module):
        return trace(subject, *arguments(subject, specs), **(static or {}))
    given = [*(["specs"] if specs is not None else []), *(static or {})]
    if given:
        raise ArgumentError(
            f"the module {subject.name!r} is traced already and takes no {', '.join(given)}; pass the function, layer "
            "or model that it was traced from"
        )
    return subject


def arguments(subject: Any, given: Any) -> Sequence[Any]:
    """Arguments of a call from ``specs`` or ``inputs``: a tuple has one entry for each (a list has, too, but for a
    model or layer, which may take a list); anything else is the only one."""
    if given is None:
        return ()
    several = isinstance(given, tuple) or (isinstance(given, list) and not isinstance(subject, Layer))
    return given if several else (given,)
