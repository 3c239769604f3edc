"""What the built-in layers share: constructor arguments kept for the config, and their checks."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...ir.errors import ArgumentError, ShapeError
from .. import activations, constraints, initializers, regularizers
from ..input_spec import known_shape
from ..layer import Layer

# What an argument's value stands for is told by the last word of its name.
_KINDS = {
    "activation": activations,
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}


class BuiltinLayer(Layer):
    """A layer whose config is what its constructor gave to :meth:`_keep`."""

    _kept: tuple[str, ...] = ()

    if TYPE_CHECKING:  # attributes that _keep sets

        def __getattr__(self, name: str) -> Any: ...

    def _keep(self, **arguments: Any) -> None:
        """Set attributes from constructor arguments, and write them to the config.

        An ``activation``, ``..._initializer``, ``..._regularizer`` or ``..._constraint`` is looked up by its name or
        config.
        """
        for name, value in arguments.items():
            kind = _KINDS.get(name.rpartition("_")[2])
            try:
                setattr(self, name, value if kind is None else kind.get(value))
            except ArgumentError as error:
                raise ArgumentError(f"{self._who}: argument {name}: {error}") from error
        self._kept = (*self._kept, *arguments)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        config = super().get_config()
        for name in self._kept:
            kind = _KINDS.get(name.rpartition("_")[2])
            value = getattr(self, name)
            config[name] = value if kind is None else kind.serialize(value)
        return config

    @property
    def _who(self) -> str:
        """Class and path, as messages begin."""
        return f"{type(self).__name__} {self.path!r}"

    def _wrong(self, argument: str, value: Any, expected: str) -> ArgumentError:
        """The error for an argument that cannot be used."""
        return ArgumentError(f"{self._who}: expected {argument} to be {expected}, received {argument}={value!r}")

    def _positive(self, argument: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise self._wrong(argument, value, "a positive integer")
        return value

    def _fraction(self, argument: str, value: Any) -> Any:
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self._wrong(argument, value, "a number from 0 to 1")
        return value

    def _number(self, argument: str, value: Any, least: float | None = None) -> Any:
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or (least is not None and value < least):
            raise self._wrong(argument, value, "a number" + ("" if least is None else f" >= {least}"))
        return value

    def _integers(self, argument: str, value: Any, count: int, least: int = 1) -> tuple[int, ...]:
        """One integer for all, or one for each of ``count`` dimensions."""
        expected = f"an integer >= {least}" + (f" or {count} of them" if count > 1 else "")
        try:
            single = isinstance(value, int)
            items = (value,) * count if single else tuple(operator.index(item) for item in value)
        except TypeError:
            raise self._wrong(argument, value, expected) from None
        if len(items) != count or any(item < least for item in items):
            raise self._wrong(argument, value, expected)
        return items

    def _pairs(self, argument: str, value: Any, count: int) -> tuple[tuple[int, int], ...]:
        """How much at both edges of each of ``count`` dimensions: ``n``, ``(n, m)`` or ``((before, after), ...)``."""
        if isinstance(value, int):
            value = (value,) * count
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
            raise self._wrong(argument, value, f"an integer >= 0, or {count} of them, or {count} pairs (before, after)")
        first_to_last = [self._integers(argument, item, 2, least=0) for item in value]
        return tuple((before, after) for before, after in first_to_last)

    def _one_of(self, argument: str, value: Any, names: Sequence[str]) -> str:
        name = value.lower() if isinstance(value, str) else value
        if name not in names:
            raise self._wrong(argument, value, " or ".join(map(repr, names)))
        return name

    def _known(self, size: Any, what: str, shape: Any) -> int:
        """A dimension that weights need. Raises :class:`ShapeError` for an open one."""
        if size is None:
            raise ShapeError(
                f"{self._who}: {what} must be known to build the layer, received input shape {tuple(shape)}"
            )
        return size

    def _in_range(self, axes: Any, shape: Sequence[Any]) -> None:
        """Refuse axes that an input of this shape does not have, and one named twice."""
        axes = axes if isinstance(axes, list | tuple) else [axes]
        for axis in axes:
            if not -len(shape) <= axis < len(shape):
                raise ShapeError(f"{self._who}: axis {axis} is out of range for shape {tuple(shape)}")
        if len({axis % len(shape) for axis in axes}) < len(axes):
            raise ArgumentError(f"{self._who}: axis={axes} names an axis of shape {tuple(shape)} twice")

    def _fits(self, mask: Any, shape: Sequence[Any], of: str, full_rank: bool = True) -> Any:
        """Return the mask. Raises :class:`ShapeError` where it does not broadcast to ``shape``, in words ``of``."""
        own = known_shape(mask)
        fits = len(own) == len(shape) if full_rank else len(own) <= len(shape)
        if not fits or any(m not in (1, None, s) and s is not None for m, s in zip(own[::-1], shape[::-1])):
            raise ShapeError(
                f"{self._who}: expected a mask of shape {tuple(shape)}, {of} (or 1 for a size), "
                f"received mask shape {own}"
            )
        return mask


def sliding_size(size: int | None, window: int, stride: int, padding: str, dilation: int = 1) -> int | None:
    """How many places a window takes along a dimension. It may be 0 or less where the window is too large."""
    if size is None:
        return None
    span = 1 if padding != "valid" else dilation * (window - 1) + 1
    return (size - span) // stride + 1


def spatial(shape: Sequence[Any], data_format: str) -> tuple[Any, ...]:
    """The dimensions that are neither batch nor channels."""
    return tuple(shape[1:-1] if data_format == "channels_last" else shape[2:])


def with_spatial(shape: Sequence[Any], sizes: Sequence[Any], channels: Any, data_format: str) -> tuple[Any, ...]:
    """A shape made of the batch of ``shape``, spatial ``sizes`` and ``channels``."""
    return (shape[0], *sizes, channels) if data_format == "channels_last" else (shape[0], channels, *sizes)


def channel_axis(data_format: str) -> int:
    """Where the channels are."""
    return -1 if data_format == "channels_last" else 1
