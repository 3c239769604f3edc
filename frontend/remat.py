"""``keras.RematScope``: layers whose inner values training computes again and does not keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any

from ..ir.errors import ArgumentError

_MODES = (None, "full", "activations", "larger_than", "list_of_layers")


@dataclass(frozen=True)
class Remat:
    """How layers that are made in a scope rematerialize; see :class:`RematScope`."""

    mode: str
    output_size_threshold: int
    layer_names: tuple[str, ...]

    def apply(self, layer: Any) -> Callable[..., Any]:
        """What is traced in place of the layer's ``call``."""
        from .transforms import rematerialized

        if self.mode == "activations":
            return lambda *args, **kwargs: self._with_activation(layer, *args, **kwargs)
        if self.mode == "list_of_layers" and layer.name not in self.layer_names:
            return layer.call
        if self.mode == "larger_than":
            return rematerialized(layer.call, lambda types: any(self._is_large(t.shape) for t in types))
        return rematerialized(layer.call)

    def _is_large(self, shape: Sequence[Any]) -> bool:
        return math.prod(d for d in shape if isinstance(d, int)) > self.output_size_threshold

    def _with_activation(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layer with its activation function rematerialized."""
        from .transforms import rematerialized

        function = getattr(layer, "activation", None)
        if function is None:
            return layer.call(*args, **kwargs)
        object.__setattr__(layer, "activation", rematerialized(function))
        try:
            return layer.call(*args, **kwargs)
        finally:
            object.__setattr__(layer, "activation", function)


_current: ContextVar[Remat | None] = ContextVar("remat", default=None)


def current_remat() -> Remat | None:
    """What the innermost scope asks for; None outside of one."""
    return _current.get()


class RematScope:
    """Layers that are made within the scope compute values again on the way back of training, to save memory.

    Args:
        mode: ``"full"``, all of a layer's call (a model's layers each for itself); ``"activations"``, its activation
            function; ``"larger_than"``, layers with an output of more than ``output_size_threshold`` elements, the
            batch not counted; ``"list_of_layers"``, those named in ``layer_names``; None, nothing.
        output_size_threshold: elements.
        layer_names: names of layers.
    """

    def __init__(
        self, mode: str | None = "full", output_size_threshold: int = 1024, layer_names: Sequence[str] | None = None
    ) -> None:
        if mode not in _MODES:
            raise ArgumentError(f"RematScope: expected mode to be one of {_MODES}, received {mode!r}")
        self.mode = mode
        self.output_size_threshold = output_size_threshold
        self.layer_names = list(layer_names or ())
        self._tokens: list[Token[Remat | None]] = []

    def __enter__(self) -> RematScope:
        names = tuple(self.layer_names)
        wanted = None if self.mode is None else Remat(self.mode, self.output_size_threshold, names)
        self._tokens.append(_current.set(wanted))
        return self

    def __exit__(self, *error: object) -> None:
        _current.reset(self._tokens.pop())
