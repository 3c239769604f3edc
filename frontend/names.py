"""Automatic names (``dense``, ``dense_1``) and the paths of variables (``sequential/dense/kernel``)."""

from __future__ import annotations

import gc
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ..ir.errors import ArgumentError

_uids: defaultdict[str, int] = defaultdict(int)
_uids_lock = threading.Lock()
_at_clear: list[Callable[[], None]] = []


def to_snake_case(name: str) -> str:
    """Turn a class name into the name its instances get: ``Conv2DTranspose`` becomes ``conv2d_transpose``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)  # before a capitalized word
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()  # between a small letter and a run of capitals


def uniquify(name: str) -> str:
    """Return ``name`` the first time, then ``name_1``, ``name_2`` and so on, until ``clear_session``."""
    with _uids_lock:
        count = _uids[name]
        _uids[name] += 1
    return f"{name}_{count}" if count else name


def auto_name(prefix: str) -> str:
    """Return an unused name made from a class name."""
    return uniquify(to_snake_case(prefix))


def get_uid(prefix: str = "") -> int:
    """Return how often ``prefix`` has been used as a name, this time included: 1, 2, 3..."""
    with _uids_lock:
        _uids[prefix] += 1
        return _uids[prefix]


def reset_uids() -> None:
    """Let automatic names start afresh."""
    with _uids_lock:
        _uids.clear()


def object_name(obj: Any) -> str:
    """Return the name of a layer, function or other object, for messages and for output names."""
    if hasattr(obj, "name"):
        return str(obj.name)
    return to_snake_case(getattr(obj, "__name__", type(obj).__name__))


def on_clear_session(reset: Callable[[], None]) -> Callable[[], None]:
    """Have ``clear_session`` call ``reset`` too. Serves as a decorator."""
    _at_clear.append(reset)
    return reset


def clear_session(free_memory: bool = True) -> None:
    """Forget global state: automatic names, the global dtype policy, the global seed generator.

    Args:
        free_memory: also run Python's garbage collector, so that dropped models are gone when this returns.
    """
    reset_uids()
    _scopes.set(())
    for reset in _at_clear:
        reset()
    if free_memory:
        gc.collect()


class name_scope:
    """Within the scope, paths of new variables start with ``name``, after the names of the scopes around it.

    Args:
        name: one part of a path, without ``/``.
        caller: the layer that opens the scope. A layer that opens its own scope again inside it stays in the same one.
        deduplicate: False to nest even then.
        override_parent: a path that replaces the names of the scopes around it. By default it is taken from
            ``caller._parent_path``, which a layer has once it knows where it lives.
    """

    def __init__(
        self, name: str, caller: object = None, deduplicate: bool = True, override_parent: str | None = None
    ) -> None:
        if not isinstance(name, str) or "/" in name:
            raise ArgumentError(f"a name must be a string without '/', got {name!r}")
        if override_parent is None and deduplicate:
            override_parent = getattr(caller, "_parent_path", None)
        self.name = name
        self.caller = caller
        self.deduplicate = deduplicate
        self.override_parent = override_parent
        self._outer: list[tuple[name_scope, ...]] = []

    def __enter__(self) -> name_scope:
        scopes = _scopes.get()
        self._outer.append(scopes)
        if not (self.deduplicate and scopes and self._is_same(scopes[-1])):
            _scopes.set((*scopes, self))
        return self

    def __exit__(self, *exc: object) -> None:
        _scopes.set(self._outer.pop())

    def _is_same(self, other: name_scope) -> bool:
        return self.caller is not None and self.caller is other.caller and self.name == other.name


_scopes: ContextVar[tuple[name_scope, ...]] = ContextVar("name_scopes", default=())


def current_path() -> str:
    """Return the path that the open scopes spell, such as ``sequential/dense``; empty outside all scopes."""
    parts: list[str] = []
    for scope in _scopes.get():
        if scope.override_parent is not None:
            parts = [part for part in scope.override_parent.split("/") if part]
        parts.append(scope.name)
    return "/".join(parts)
