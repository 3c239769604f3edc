"""Objects to Keras's JSON configs and back.

An object's config is ``{"module", "class_name", "config", "registered_name"}`` and, for what has been built or
compiled, ``"build_config"`` and ``"compile_config"``. Values that JSON lacks (arrays, slices...) are a class name
between double underscores and a config: one `Codec` each. Names in a config are looked up in tables (registry.py) and
nowhere else.
"""

from __future__ import annotations

import inspect
import reprlib
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ...ir.errors import FileFormatError, LaminaError
from .. import registry
from ..dtypes import standardize_dtype
from ..random_eager import width_of
from .bytecode import dump_lambda, load_lambda

PLAIN_TYPES = (str, int, float, bool)


class ConfigError(FileFormatError, TypeError):
    """A config that no object can be made of, or an object that no config can be made of."""


@dataclass(frozen=True)
class Codec:
    """How values that JSON lacks are written: ``{"class_name": tag, "config": encode(value)}``.

    Attributes:
        tag: such as ``"__slice__"``.
        matches: tells the values that it is for.
        encode: value to config, of JSON's types.
        decode: config, always a dict, back to a value.
    """

    tag: str
    matches: Callable[[Any], bool]
    encode: Callable[[Any], dict[str, Any]]
    decode: Callable[[dict[str, Any]], Any]


_codecs: dict[str, Codec] = {}


def register_codec(codec: Codec) -> Codec:
    """Have ``serialize_keras_object`` and ``deserialize_keras_object`` know one more kind of value."""
    _codecs[codec.tag] = codec
    return codec


@dataclass
class _Sharing:
    """Objects met so far, so that one which is used twice is one object again after loading."""

    written: dict[int, tuple[Any, dict[str, Any], int]] = field(default_factory=dict)  # the object too: it keeps its id
    read: dict[Any, Any] = field(default_factory=dict)


_sharing: ContextVar[_Sharing | None] = ContextVar("shared_objects", default=None)
_safe_mode: ContextVar[bool | None] = ContextVar("safe_mode", default=None)
_unsafe_everywhere = False


@contextmanager
def object_sharing_scope() -> Iterator[None]:
    """Within the scope, one object that occurs twice in a config is marked so, and loads as one object."""
    token = _sharing.set(_Sharing())
    try:
        yield
    finally:
        _sharing.reset(token)


@contextmanager
def safe_mode_scope(safe_mode: bool | None) -> Iterator[None]:
    """Within the scope, nested calls of ``deserialize_keras_object`` have this safe mode, whatever they pass."""
    token = _safe_mode.set(safe_mode)
    try:
        yield
    finally:
        _safe_mode.reset(token)


def in_safe_mode() -> bool:
    """Whether bytecode and other code from files is refused. It is, unless the user said otherwise."""
    return _safe_mode.get() is not False and not _unsafe_everywhere


def enable_unsafe_deserialization() -> None:
    """From now on run code that files contain. A config cannot call this; only the user's program can."""
    global _unsafe_everywhere
    _unsafe_everywhere = True


def serialize_keras_object(obj: Any) -> Any:
    """Return the config of a layer, initializer, function, array or nest of such, in the form that Keras files have.

    Args:
        obj: None, a number, a string; a list, tuple or dict of serializable things; an array; a function; or an object
            whose class has ``get_config``.

    Returns:
        What JSON can hold. Tuples stay tuples; JSON makes lists of them.

    Raises:
        ConfigError: ``obj``, or something in it, has no config.
    """
    if obj is None or isinstance(obj, PLAIN_TYPES):
        return obj
    if isinstance(obj, list | tuple):
        items = [serialize_keras_object(item) for item in obj]
        return tuple(items) if isinstance(obj, tuple) else items
    if isinstance(obj, Mapping) and not hasattr(obj, "get_config"):
        return serialize_dict(obj)
    if isinstance(obj, np.generic) or (isinstance(obj, np.ndarray) and obj.ndim == 0):
        return obj.item()
    for codec in _codecs.values():
        if codec.matches(obj):
            return {"class_name": codec.tag, "config": codec.encode(obj)}
    return _serialize_object(obj)


def serialize_dict(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dict with each value serialized."""
    return {key: serialize_keras_object(value) for key, value in obj.items()}


def _serialize_object(obj: Any) -> dict[str, Any]:
    inner = _inner_config(obj)
    cls = type(obj)
    public = registry.public_name(cls)
    if public is None:
        module, name = cls.__module__, cls.__name__
        registered_name: str | None = registry.get_registered_name(cls)
    else:
        module, name = public
        # Classes that Keras does not export carry their own name in this place.
        registered_name = name if module.startswith("keras.src.") else None
    config: dict[str, Any] = {
        "module": None if module == "__main__" else module,
        "class_name": name,
        "config": inner,
        "registered_name": registered_name,
    }
    for key in ("build_config", "compile_config"):
        value = getattr(obj, f"get_{key}", lambda: None)()
        if value is not None:
            config[key] = serialize_dict(value)
    _mark_if_shared(obj, config)
    return config


def _inner_config(obj: Any) -> Any:
    if isinstance(obj, types.FunctionType | types.BuiltinFunctionType | type):
        return registry.get_registered_name(obj)
    if not hasattr(obj, "get_config"):
        if hasattr(obj, "__name__"):  # function-like, such as a NumPy ufunc
            return registry.get_registered_name(obj)
        raise ConfigError(
            f"cannot save {reprlib.repr(obj)} of type {type(obj).__name__}: its class has no get_config() method that "
            "returns the constructor's arguments"
        )
    config = obj.get_config()
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"get_config() of {type(obj).__name__} must return a dict, but it returned {reprlib.repr(config)}"
        )
    return serialize_dict(config)


def _mark_if_shared(obj: Any, config: dict[str, Any]) -> None:
    sharing = _sharing.get()
    if sharing is None:
        return
    if id(obj) not in sharing.written:
        sharing.written[id(obj)] = (obj, config, len(sharing.written) + 1)
    else:
        _, first, number = sharing.written[id(obj)]
        first["shared_object_id"] = config["shared_object_id"] = number


def deserialize_keras_object(
    config: Any,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
    *,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """Return the object that a config stands for.

    Args:
        config: what ``serialize_keras_object`` returned, or JSON made of it.
        custom_objects: name to class or function, for names that are neither built in nor registered.
        safe_mode: refuse bytecode of lambdas. False runs code that the file contains.
        module_objects: table in which a bare name, or the ``class_name`` of a config, is looked up first; what is not
            in it is returned as it is when it is a bare name.

    Raises:
        ConfigError: an unknown class or function, a config of the wrong shape, or refused content. It is both a
            ValueError and a TypeError.
    """
    outer = _safe_mode.get()
    try:
        with registry.CustomObjectScope(custom_objects), safe_mode_scope(safe_mode if outer is None else outer):
            if module_objects is not None:
                return _from_table(config, module_objects)
            return _deserialize(config)
    except RecursionError:
        raise ConfigError("the config is nested too deeply") from None


def _from_table(config: Any, table: Mapping[str, Any]) -> Any:
    if isinstance(config, str):
        found = registry.get_registered_object(config, module_objects=table)
        return config if found is None else (found() if inspect.isclass(found) else found)
    if not isinstance(config, Mapping):
        return _deserialize(config)
    name = config.get("class_name")
    if not isinstance(name, str):
        raise ConfigError(f"expected a config with 'class_name', got {reprlib.repr(config)}")
    inner = config.get("config")
    if name == "function" and isinstance(inner, str):
        found = registry.get_registered_object(inner, module_objects=table)
        return _deserialize(config) if found is None else found
    if config.get("module") or config.get("registered_name") or name not in table:
        return _deserialize({"config": {}, **config})
    found = registry.get_registered_object(name, module_objects=table)
    return _instantiate(found, {**config, "config": inner}) if inspect.isclass(found) else found


def _deserialize(config: Any) -> Any:
    if isinstance(config, str):
        # Old files name functions so; a string that names nothing is just a string.
        found = registry.get_registered_object(config)
        return config if found is None else found
    if config is None or isinstance(config, PLAIN_TYPES):
        return config
    if isinstance(config, list | tuple):
        return [_deserialize(item) for item in config]
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"expected a config of JSON's types, got {reprlib.repr(config)} of type {type(config).__name__}"
        )
    if "class_name" not in config or "config" not in config:
        return {key: _deserialize(value) for key, value in config.items()}
    _check_header(config)
    name = config["class_name"]
    if name in _codecs:
        return _decode(_codecs[name], config["config"])
    if name == "function":
        return _find_function(config)
    if config["config"] is not None and not isinstance(config["config"], Mapping):
        raise ConfigError(f"the config of {name!r} must be a JSON object, got {reprlib.repr(config['config'])}")
    return _deserialize_instance(config)


def _check_header(config: Mapping[str, Any]) -> None:
    for key in ("class_name", "module", "registered_name"):
        value = config.get(key)
        if not isinstance(value, str) and (value is not None or key == "class_name"):
            raise ConfigError(f"{key!r} must be a string, got {reprlib.repr(value)} in {reprlib.repr(dict(config))}")


def _decode(codec: Codec, config: Any) -> Any:
    if not isinstance(config, Mapping):
        raise ConfigError(f"the config of {codec.tag!r} must be a JSON object, got {reprlib.repr(config)}")
    try:
        return codec.decode(dict(config))
    except ConfigError:
        raise
    except KeyError as error:
        raise ConfigError(f"the config of {codec.tag!r} lacks the key {error}: {reprlib.repr(dict(config))}") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError(
            f"the config of {codec.tag!r} cannot be read: {error}: {reprlib.repr(dict(config))}"
        ) from error


def _deserialize_instance(config: Mapping[str, Any]) -> Any:
    sharing, number = _sharing.get(), config.get("shared_object_id")
    if number is not None and not isinstance(number, int):
        raise ConfigError(f"'shared_object_id' must be an integer, got {reprlib.repr(number)}")
    if sharing is not None and number in sharing.read:
        return sharing.read[number]
    cls = _find_class(config)
    if not inspect.isclass(cls):
        return cls  # a function of the user's, saved by some class's name
    instance = _instantiate(cls, config)
    if sharing is not None and number is not None:
        sharing.read[number] = instance
    return instance


def _instantiate(cls: type, config: Mapping[str, Any]) -> Any:
    name = config["class_name"]
    if not hasattr(cls, "from_config"):
        raise ConfigError(f"cannot load {name!r}: the class {cls.__name__} has no from_config() method")
    try:
        instance = cls.from_config(dict(config["config"] or {}))
        if config.get("build_config") and not getattr(instance, "built", True):
            instance.build_from_config(config["build_config"])
            instance.built = True
        if config.get("compile_config") and hasattr(instance, "compile_from_config"):
            instance.compile_from_config(config["compile_config"])
            instance.compiled = True
    except LaminaError:
        raise
    except (TypeError, AttributeError, KeyError, IndexError) as error:
        raise ConfigError(
            f"cannot make a {name!r} from its config: {type(error).__name__}: {error}. Its from_config() must accept "
            f"what its get_config() returned, and deserialize the objects in it. Config: {reprlib.repr(dict(config))}"
        ) from error
    return instance


def _find_class(config: Mapping[str, Any]) -> Any:
    name, module = config["class_name"], config.get("module") or ""
    found = registry.get_registered_object(config.get("registered_name", name))
    if found is None and module.partition(".")[0] == "keras":
        found = registry.find_builtin(module, name)
        if found is not None:
            _refuse_spoof(config, name, f"{module}.{name}")
    if found is None:
        found = registry.get_registered_object(name)
    if found is None:
        raise ConfigError(_unknown("class", name, config))
    return found


def _find_function(config: Mapping[str, Any]) -> Any:
    name, module = config["config"], config.get("module") or ""
    if not isinstance(name, str):
        raise ConfigError(f"the config of a function must be its name, got {reprlib.repr(name)}")
    found = registry.get_registered_object(name)
    if found is None:
        found = registry.find_builtin_function(name) if module == "builtins" else registry.find_builtin(module, name)
        if found is not None:
            _refuse_spoof(config, name, name)
    if found is None:  # files of Keras 3.6 and before: the function's name without its package
        custom = registry.custom_objects()
        found = next((custom[key] for key in custom if key.endswith(f">{name}")), None)
    if found is None or not callable(found):
        raise ConfigError(_unknown("function", name, config))
    return found


def _refuse_spoof(config: Mapping[str, Any], name: str, full_name: str) -> None:
    """A built-in is never registered by users: a config that claims both hopes that two readers see two things."""
    claimed = config.get("registered_name")
    if claimed and claimed not in (name, config["class_name"]):
        raise ConfigError(f"the config claims to be {claimed!r}, registered by a user, and the built-in {full_name!r}")


def _unknown(kind: str, name: str, config: Mapping[str, Any]) -> str:
    registered, module = config.get("registered_name"), config.get("module")
    known_as = registered if registered and registered not in (name, "function") else name
    python_name = name.rpartition(">")[2]
    where = f" (of module {module!r})" if module and module != "builtins" else ""
    near = registry.nearest_name(name)
    hint = f" The nearest name known is {near!r}." if near else ""
    return (
        f"unknown {kind} {known_as!r}{where}. Modules are not imported because a file says so: pass "
        f'custom_objects={{"{known_as}": {python_name}}}, or decorate it with '
        f"@register_keras_serializable(...) and import it before loading.{hint}"
    )


def _encode_array(value: Any) -> dict[str, Any]:
    return {"value": np.asarray(value).tolist(), "dtype": standardize_dtype(value.dtype)}


def _decode_array(config: dict[str, Any]) -> np.ndarray:
    dtype = standardize_dtype(config["dtype"])
    if dtype == "string":
        raise ValueError("arrays of strings are not supported")
    return np.array(config["value"], dtype=np.dtype(dtype))


def _decode_tensor(config: dict[str, Any]) -> jax.Array:
    array = _decode_array(config)
    with width_of(array.dtype.name):
        return jax.numpy.asarray(array)


def _encode_lambda(function: types.FunctionType) -> dict[str, Any]:
    warnings.warn(
        "a lambda is saved as bytecode, which loads only with safe_mode=False and only in the same version of Python. "
        "Use a named function and register it with @register_keras_serializable(...)",
        stacklevel=4,
    )
    return {"value": dump_lambda(function)}


def _decode_lambda(config: dict[str, Any]) -> types.FunctionType:
    if in_safe_mode():
        raise ConfigError(
            "the config contains a Python lambda as bytecode, which could do anything when it runs, so it is refused. "
            "Have it saved again with a named function and pass that as custom_objects; or, if you trust the file's "
            "author with your machine, pass safe_mode=False"
        )
    return load_lambda(config["value"])


def _slice_part(value: Any) -> Any:
    if value is not None and not isinstance(value, int):
        raise TypeError(f"a slice consists of integers, got {reprlib.repr(value)}")
    return value


for _codec in (
    Codec(
        "__bytes__",
        lambda value: isinstance(value, bytes),
        lambda value: {"value": value.decode("utf-8")},
        lambda config: config["value"].encode("utf-8"),
    ),
    Codec(
        "__slice__",
        lambda value: isinstance(value, slice),
        lambda value: {key: serialize_keras_object(getattr(value, key)) for key in ("start", "stop", "step")},
        lambda config: slice(*(_slice_part(config[key]) for key in ("start", "stop", "step"))),
    ),
    Codec("__ellipsis__", lambda value: value is Ellipsis, lambda value: {}, lambda config: Ellipsis),
    Codec("__numpy__", lambda value: isinstance(value, np.ndarray), _encode_array, _decode_array),
    Codec("__tensor__", lambda value: isinstance(value, jax.Array), _encode_array, _decode_tensor),
    Codec(
        "__lambda__",
        lambda value: isinstance(value, types.FunctionType) and value.__name__ == "<lambda>",
        _encode_lambda,
        _decode_lambda,
    ),
):
    register_codec(_codec)
