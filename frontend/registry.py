"""Which names in a saved config stand for which classes and functions.

There are three sources and no other: the built-ins (classes of this package, under the names that Keras files use),
what users registered with ``register_keras_serializable``, and the objects of a ``custom_object_scope``. A name from a
file is only ever looked up here. It never becomes an import.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any, TypeVar

from ..ir.errors import ArgumentError

T = TypeVar("T")

# Modules whose functions Keras writes by bare name, under the module "builtins".
_FUNCTION_MODULES = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")

_builtins: dict[str, Any] = {}  # "keras.layers.Dense" -> class or function
_public_names: dict[Any, tuple[str, str]] = {}  # class or function -> ("keras.layers", "Dense")
_registered: dict[str, Any] = {}  # "package>Name" -> the user's class or function
_registered_names: dict[Any, str] = {}
_scope: ContextVar[Mapping[str, Any]] = ContextVar("custom_objects", default=MappingProxyType({}))


def register_builtin(obj: T, module: str, name: str | None = None, aliases: tuple[str, ...] = ()) -> T:
    """Make ``obj`` known as ``module.name``, the name that is written to files, and under further full names.

    Args:
        obj: a class with ``get_config``/``from_config``, or a function.
        module: Keras's public module, such as ``"keras.layers"``; or, for a class Keras does not export, the private
            module its files name, such as ``"keras.src.models.functional"``.
        name: the name in the module; ``obj.__name__`` by default.
        aliases: further names that files may use, such as ``"keras.models.Sequential"``.

    Returns:
        ``obj``.

    Raises:
        ArgumentError: one of the names stands for another object already.
    """
    short = str(name or getattr(obj, "__name__", ""))
    for full in (f"{module}.{short}", *aliases):
        if _builtins.setdefault(full, obj) is not obj:
            raise ArgumentError(f"the built-in name {full!r} already stands for {_builtins[full]!r}, not {obj!r}")
    _public_names[obj] = (module, short)
    return obj


def builtin(module: str, name: str | None = None, aliases: tuple[str, ...] = ()) -> Callable[[T], T]:
    """Decorate a class or function with ``register_builtin``: ``@builtin("keras.layers")``."""
    return lambda obj: register_builtin(obj, module, name, aliases)


def find_builtin(module: str, name: str) -> Any | None:
    """Return the built-in ``module.name``, or None.

    Keras sometimes writes the private module of a public class (``keras.src.layers.core.dense``); then the class is
    found by its own name, provided that only one public class bears it.
    """
    found = _builtins.get(f"{module}.{name}")
    if found is None and module.startswith("keras.src."):
        folder = module.split(".")[2]
        candidates = {
            obj for obj, (home, short) in _public_names.items() if short == name and folder in home.split(".")
        }
        found = candidates.pop() if len(candidates) == 1 else None
    return found


def find_builtin_function(name: str) -> Any | None:
    """Return the built-in function that Keras writes by bare name, such as ``relu`` or ``mse``; or None."""
    for module in _FUNCTION_MODULES:
        found = _builtins.get(f"keras.{module}.{name}")
        if found is not None and not inspect.isclass(found):
            return found
    return None


def public_name(obj: Any) -> tuple[str, str] | None:
    """Return ``(module, name)`` of a built-in class or function, or None where ``obj`` is not a built-in."""
    try:
        return _public_names.get(obj)
    except TypeError:  # not hashable, so nothing that was ever registered
        return None


def nearest_name(name: str, extra: Mapping[str, Any] | None = None) -> str | None:
    """Return the known name most like ``name``, or None where nothing is near."""
    known = {full.rsplit(".", 1)[-1] for full in _builtins} | set(custom_objects(extra))
    by_plain = {key.rsplit(">", 1)[-1].lower(): key for key in sorted(known)}
    close = difflib.get_close_matches(name.lower(), by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else None


def find_named(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """Return what ``name`` stands for among the user's objects or in ``table``, as for ``activation="relu"``.

    Raises:
        ArgumentError: it stands for nothing; the message says what is near.
    """
    found = get_registered_object(name, module_objects=table)
    if found is None:
        close = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(table))}."
        raise ArgumentError(
            f"unknown {kind} {name!r}: {hint} A custom one is passed as an object, or by registering it"
        )
    return found


def interpret(
    kind: str, identifier: Any, table: Mapping[str, Any], deserialize: Callable[[Any], Any], expected: str
) -> Any:
    """Return what a layer's argument means: an object, its class, its name, or its config.

    Args:
        kind: what it is, for messages: ``"initializer"``.
        identifier: the argument's value.
        table: the objects known by name.
        deserialize: makes an object of a config.
        expected: what the argument may be, for messages.

    Returns:
        The object; None for None.

    Raises:
        ArgumentError: it is none of these.
    """
    if identifier is None:
        return None
    found = identifier
    if isinstance(identifier, str):
        found = find_named(kind, identifier, table)
    elif isinstance(identifier, dict):
        found = deserialize(identifier)
    if not callable(found):
        raise ArgumentError(f"{identifier!r} is no {kind}: expected {expected}")
    return found() if inspect.isclass(found) else found


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Register a class or function of the user's, so that files may refer to it as ``package>name``.

    Args:
        package: first part of the name in files.
        name: second part; the object's own name by default.

    Returns:
        A decorator that returns its argument unchanged.

    Raises:
        ArgumentError: a class has no ``get_config`` method, so that nothing could be saved.
    """

    def register(obj: T) -> T:
        if inspect.isclass(obj) and not hasattr(obj, "get_config"):
            raise ArgumentError(
                f"cannot register the class {obj.__name__}: it has no get_config() method. Define one that returns the "
                "constructor's arguments as a dict"
            )
        key = f"{package}>{name if name is not None else getattr(obj, '__name__', '')}"
        _registered[key] = obj
        _registered_names[obj] = key
        return obj

    return register


def get_custom_objects() -> dict[str, Any]:
    """Return the live table of registered objects; changing it changes what loading finds."""
    return _registered


def get_registered_name(obj: Any) -> str:
    """Return ``package>name`` of a registered object, or the name it has in Python."""
    try:
        return _registered_names.get(obj) or obj.__name__
    except TypeError:
        return obj.__name__


def get_registered_object(
    name: str | None,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any | None:
    """Look ``name`` up among the scope's objects, the registered ones, then the two tables given; None if in none."""
    for table in (_scope.get(), _registered, custom_objects or {}, module_objects or {}):
        if name is not None and table.get(name) is not None:
            return table[name]
    return None


def custom_objects(extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all objects that are known by a name of the user's choice, in one table."""
    return {**(extra or {}), **_registered, **_scope.get()}


class CustomObjectScope:
    """Within the scope, names in configs may refer to the given objects. Scopes nest; the inner wins.

    Args:
        custom_objects: name to class or function. Both the registered name (``"package>MyLayer"``) and the plain class
            name serve.
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None) -> None:
        if custom_objects is not None and not isinstance(custom_objects, Mapping):
            raise ArgumentError(f"custom_objects must be a dict from name to class or function, got {custom_objects!r}")
        self.custom_objects = dict(custom_objects or {})
        self._tokens: list[Token[Mapping[str, Any]]] = []

    def __enter__(self) -> CustomObjectScope:
        self._tokens.append(_scope.set({**_scope.get(), **self.custom_objects}))
        return self

    def __exit__(self, *exc: object) -> None:
        _scope.reset(self._tokens.pop())


custom_object_scope = CustomObjectScope
