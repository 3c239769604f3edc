"""``Sequential``: one layer after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..ir.errors import ArgumentError, DTypeError, FileFormatError
from .functional import Functional
from .input import Input, InputLayer
from .keras_tensor import KerasTensor
from .layer import Layer
from .model import Model
from .operation import shape_nest
from .registry import builtin
from .saving.serialization import deserialize_keras_object, serialize_keras_object


@builtin("keras", aliases=("keras.models.Sequential",))
class Sequential(Model):
    """A model that applies its layers one after the other.

    Args:
        layers: layers, and maybe an ``Input`` first; without one the model is built at its first call.
        trainable: whether training changes it.
        name: its name.
    """

    def __init__(self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None) -> None:
        Layer.__init__(self, trainable=trainable, name=name)
        self._untracked_functional: Functional | None = None
        self._any_batch = False  # the batch size is that of a first call and binds no later one
        self._all_layers: list[Layer] = []
        for layer in layers or ():
            self.add(layer, rebuild=False)
        self._rebuild()

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Append a layer."""
        if isinstance(layer, KerasTensor) and layer.history is not None and isinstance(layer.history[0], InputLayer):
            layer = layer.history[0]
        if not isinstance(layer, Layer):
            if not callable(layer) or not hasattr(layer, "name"):
                raise DTypeError(f"Sequential takes layers, received {layer!r}")
        if any(other.name == layer.name for other in self._all_layers):
            raise ArgumentError(
                f"Sequential {self.name!r} has a layer {layer.name!r} already; give each a name of its own"
            )
        if isinstance(layer, InputLayer) and self._all_layers:
            raise ArgumentError(
                f"Sequential {self.name!r}: an Input comes first, received it after {self._all_layers[-1].name!r}"
            )
        shape = getattr(layer, "_input_shape_arg", None)
        if shape is not None and not self._all_layers:
            self._all_layers = [Input(shape).history[0]]  # type: ignore[index]
        self._all_layers = [*self._all_layers, layer]
        self.built = False
        self._forget_functions()
        self._untracked_functional = None
        if rebuild:
            self._rebuild()

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the last layer and return it."""
        layer = self._all_layers[-1]
        self._all_layers = self._all_layers[:-1]
        self.built = False
        self._forget_functions()
        self._untracked_functional = None
        if rebuild:
            self._rebuild()
        return layer

    def _rebuild(self) -> None:
        if self._all_layers and isinstance(self._all_layers[0], InputLayer) and len(self._all_layers) > 1:
            self.build(self._all_layers[0].batch_shape)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of ``input_shape``, the batch dimension included."""
        if not self._all_layers:
            raise ArgumentError(
                f"Sequential {self.name!r} has no layers, so there is nothing to build; add() one first"
            )
        if isinstance(self._all_layers[0], InputLayer):
            start = self._all_layers[0].output
        elif input_shape is None:
            return
        else:
            start = Input(batch_shape=shape_nest(input_shape))
            self._any_batch = True
            self._all_layers = [start.history[0], *self._all_layers]  # type: ignore[index]
        x = start
        for layer in self._all_layers[1:]:
            x = layer(x)
        self._untracked_functional = Functional(start, x, name=self.name)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Apply the layers."""
        if self._untracked_functional is not None:
            return self._untracked_functional.call(inputs, training=training, mask=mask)
        x = inputs
        for layer in self.layers:
            x = layer(x, training=training) if training is not None and layer._takes("training") else layer(x)
        return x

    @property
    def layers(self) -> list[Layer]:
        layers = self._all_layers
        return list(layers[1:] if layers and isinstance(layers[0], InputLayer) else layers)

    def _structure(self) -> Functional:
        if self._untracked_functional is None:
            raise ArgumentError(
                f"Sequential {self.name!r} is not built, so its inputs and outputs are unknown; start it with an "
                "Input, or call it once"
            )
        return self._untracked_functional

    @property
    def inputs(self) -> list[KerasTensor]:
        return self._structure().inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        return self._structure().outputs

    @property
    def input(self) -> Any:
        return self._structure().input

    @property
    def output(self) -> Any:
        return self._structure().output

    @property
    def input_shape(self) -> Any:
        return self._structure().input_shape

    @property
    def output_shape(self) -> Any:
        return self._structure().output_shape

    @property
    def input_names(self) -> list[str]:
        return self._structure().input_names

    @property
    def output_names(self) -> list[str]:
        return self._structure().output_names

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        config["dtype"] = Layer.get_config(self)["dtype"]
        config["layers"] = [serialize_keras_object(layer) for layer in self._all_layers]
        if self._untracked_functional is not None:
            config["build_input_shape"] = self._untracked_functional.input_shape
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        if "layers" not in config:
            if cls is Sequential:
                found = ", ".join(config) or "nothing"
                raise FileFormatError(f"the config of a Sequential lacks 'layers'; it has {found}")
            return cls(**config)
        model = cls(name=config.get("name"))
        for entry in config["layers"]:
            model.add(deserialize_keras_object(entry, custom_objects=custom_objects), rebuild=False)
        shape = config.get("build_input_shape")
        if isinstance(model._all_layers[0] if model._all_layers else None, InputLayer):
            model._rebuild()
        elif shape:
            model.build(shape)
        if config.get("trainable") is False:
            model.trainable = False
        return model
