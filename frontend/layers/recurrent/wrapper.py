"""``Wrapper``: the base of layers around another layer."""

from __future__ import annotations

from typing import Any

from ...layer import Layer
from ...registry import builtin
from ...saving.serialization import deserialize_keras_object, serialize_keras_object
from ..base import BuiltinLayer


@builtin("keras.layers")
class Wrapper(BuiltinLayer):
    """A layer around another one, which a subclass calls.

    Args:
        layer: the layer inside.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            raise self._wrong("layer", layer, "a layer")
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        """Build the layer inside."""
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        return {**super().get_config(), "layer": serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A layer from what :meth:`get_config` returned."""
        layer = deserialize_keras_object(config["layer"], custom_objects=custom_objects)
        return super().from_config({**config, "layer": layer})
