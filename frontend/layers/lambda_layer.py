"""Lambda: a function as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ...ir.errors import ArgumentError
from .. import registry
from ..registry import builtin
from .base import BuiltinLayer


@builtin("keras.layers")
class Lambda(BuiltinLayer):
    """A function as a layer. It has no weights of its own; a subclass of Layer can have some.

    A file holds the function's name. Its code is never written to a file, nor read from one: register the function with
    ``@register_keras_serializable()``, or pass it as ``custom_objects`` when the file is loaded.

    Args:
        function: takes the inputs, and ``mask`` and ``training`` if it has arguments of these names.
        output_shape: the output's shape without the batch, or a function from the shape of the inputs to that of the
            outputs; found by calling ``function`` on symbolic tensors by default.
        mask: the mask of the outputs, or a function of the inputs and their mask that gives it.
        arguments: further keywords for ``function``.
    """

    runs_users_code = True

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise self._wrong("function", function, "a function")
        self.function = function
        self.arguments = dict(arguments or {})
        self.mask = mask
        self.supports_masking = mask is not None
        self._given_shape = output_shape
        self._wants = _arguments_of(function) & {"mask", "training"}

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """What the function returns."""
        context = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{name: context[name] for name in self._wants})

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """What the constructor's ``mask`` says."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def _declared_output_shape(self, args: tuple) -> Any:
        return None if self._given_shape is None else super()._declared_output_shape(args)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """What the constructor's ``output_shape`` says; without it, the function on symbolic tensors."""
        if self._given_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._given_shape):
            return self._given_shape(input_shape)
        first = input_shape
        while isinstance(first, list | tuple | dict):
            first = next(iter(first.values())) if isinstance(first, dict) else first[0]
        return _with_batch(self._given_shape, first)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, functions by their names, as Keras writes them.

        Raises:
            ArgumentError: a function has no name, being a Python ``lambda``.
        """
        from ..saving.serialization import serialize_keras_object

        config = {**super().get_config(), "function": self._named("function", self.function)}
        if self._given_shape is not None:
            config["output_shape"] = self._named("output_shape", self._given_shape)
        if self.mask is not None:
            config["mask"] = self._named("mask", self.mask)
        config["arguments"] = serialize_keras_object(self.arguments)
        return config

    def _named(self, argument: str, value: Any) -> Any:
        from ..saving.serialization import serialize_keras_object

        if getattr(value, "__name__", "") == "<lambda>":
            raise ArgumentError(
                f"{self._who}: {argument} is a Python lambda, which has no name that a config or file could hold, and "
                "code is not written to files. Give a function made with def and decorated with "
                "@register_keras_serializable(), or write a subclass of Layer"
            )
        return serialize_keras_object(value) if callable(value) or argument == "mask" else value

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None, safe_mode: bool | None = None) -> Any:
        """A layer from what :meth:`get_config` returned.

        ``safe_mode`` makes no difference: bytecode in a config is never run. A function of the layer's name among the
        custom objects takes its place.

        Raises:
            ConfigError: the config has bytecode where a function's name should be.
        """
        config = dict(config)
        with registry.CustomObjectScope(custom_objects):
            for argument in ("function", "output_shape", "mask", "arguments"):
                if argument in config:
                    config[argument] = _read(argument, config)
        return super().from_config(config)


def _read(argument: str, config: Mapping[str, Any]) -> Any:
    from ..saving.serialization import ConfigError, deserialize_keras_object

    value, name = config[argument], config.get("name")
    if isinstance(value, Mapping) and value.get("class_name") == "__lambda__":
        given = registry.get_registered_object(name) if argument == "function" and isinstance(name, str) else None
        if callable(given):
            return given
        raise ConfigError(
            f"the Lambda layer {name!r} has Python bytecode for {argument}, which could do anything when it runs: code "
            "from files is never run, with safe_mode=False neither. "
            + (f'Pass the function itself as custom_objects={{"{name}": function}}; or have' if name else "Have")
            + " the model saved again with a function made with def and decorated with @register_keras_serializable(), "
            "or with a subclass of Layer in the Lambda's place"
        )
    value = deserialize_keras_object(value)
    is_shape = isinstance(value, list) and all(isinstance(size, int | type(None)) for size in value)
    return tuple(value) if argument == "output_shape" and is_shape else value


def _arguments_of(function: Callable[..., Any]) -> set[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C do not tell
        return set()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _with_batch(shape: Any, batch: int | None) -> Any:
    """Each shape in the nest with the batch in front."""
    if isinstance(shape, dict):
        return {name: _with_batch(inner, batch) for name, inner in shape.items()}
    if all(isinstance(size, int | type(None)) for size in shape):
        return (batch, *shape)
    return type(shape)(_with_batch(inner, batch) for inner in shape)
