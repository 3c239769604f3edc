"""``Model``: a layer that is the whole; subclassed, or functional when made of inputs and outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ..ir.errors import ArgumentError, LaminaError
from .layer import Layer
from .operation import shape_nest
from .registry import builtin
from .training.trainer import Trainer


@builtin("keras", aliases=("keras.models.Model",))
class Model(Trainer, Layer):
    """A model: layers in one object that can be called, trained, saved and compiled.

    ``Model(inputs, outputs)`` makes a functional model. A subclass makes its layers in the constructor and writes
    ``call``.
    """

    _rematerializes = False  # its layers do

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        functional = (
            len(args) == 2 or (len(args) == 1 and "outputs" in kwargs) or {"inputs", "outputs"} <= kwargs.keys()
        )
        if functional and cls is Model:
            from .functional import Functional

            return Functional.__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or "inputs" in kwargs or "outputs" in kwargs:
            from .functional import Functional

            if isinstance(self, Functional) or len(args) > 2:
                raise ArgumentError("Model takes inputs and outputs, then keyword arguments")
            inject_functional(type(self))
            Functional.__init__(self, *args, **kwargs)  # type: ignore[arg-type]
            return
        super().__init__(**kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise ArgumentError(
            f"the model class {type(self).__name__} has no call() method; define one, or make a functional "
            "model with Model(inputs, outputs)"
        )

    @property
    def layers(self) -> list[Layer]:
        """The layers directly in it."""
        return self._layers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or at that place in :attr:`layers`."""
        layers = self.layers
        if (name is None) == (index is None):
            raise ArgumentError(f"get_layer takes a name or an index, received name={name!r}, index={index!r}")
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ArgumentError(f"model {self.name!r} has {len(layers)} layers, received index={index}")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in layers)
        raise ArgumentError(f"model {self.name!r} has no layer {name!r}; it has {known}")

    def summary(
        self,
        line_length: int | None = None,
        positions: list[float] | None = None,
        print_fn: Callable[..., Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Print a table of the layers: name and type, output shape, number of parameters.

        Args:
            line_length: width of the table in characters.
            positions: right edges of the columns as parts of the width.
            print_fn: takes the text, or each line, in place of printing.
            expand_nested: show the layers of nested models too.
            show_trainable: add a column that says whether a layer trains.
            layer_range: names of the first and last layer to show.
        """
        from .summary import print_summary

        print_summary(
            self,
            line_length=line_length,
            positions=positions,
            print_fn=print_fn,
            expand_nested=expand_nested,
            show_trainable=show_trainable,
            layer_range=layer_range,
        )

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Build from what :meth:`get_build_config` returned: by ``build``, or without one by tracing ``call``."""
        if type(self).build is not Layer.build:
            super().build_from_config(config)
            return
        shapes = config.get("shapes_dict", config)
        try:
            self.compute_output_shape(**shapes)
        except LaminaError as error:
            warnings.warn(
                f"model {self.name!r} can't be built from the input shapes {dict(shapes)} in its config: {error}. "
                "Define build_from_config(), or build()",
                stacklevel=2,
            )
            return
        self._build_shapes = {k: shape_nest(v) for k, v in shapes.items()}
        self.built = True

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None) -> None:
        """Write the model as a ``.keras`` file: beside, then renamed."""
        from .saving.models import save_model

        save_model(self, filepath, overwrite=overwrite)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the weights as a ``.weights.h5`` file."""
        from .saving.models import save_weights

        save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Read the weights from a ``.weights.h5`` or ``.keras`` file; nothing changes where they do not fit."""
        from .saving.models import load_weights

        load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    def to_json(self, **kwargs: Any) -> str:
        """The model's config as JSON; ``model_from_json`` makes a model of it, with fresh weights."""
        import json

        from .saving.serialization import serialize_keras_object

        return json.dumps(serialize_keras_object(self), **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A model from its config; a functional one where the config says how layers are connected."""
        from .functional import Functional

        if {"layers", "input_layers", "output_layers"} <= config.keys():
            return Functional.from_config.__func__(Functional if cls is Model else cls, config, custom_objects)  # type: ignore[attr-defined]
        return super().from_config(config)


def inject_functional(cls: type) -> None:
    """Make ``Functional`` the base of a user's subclass of Model that calls ``super().__init__(inputs, outputs)``."""
    from .functional import Functional

    if Functional in cls.__mro__:
        return
    if Model in cls.__bases__:
        cls.__bases__ = tuple(Functional if base is Model else base for base in cls.__bases__)
        return
    for base in cls.__bases__:
        if issubclass(base, Model):
            inject_functional(base)


def model_from_json(text: str, custom_objects: Any = None) -> Model:
    """A model with fresh weights from what :meth:`Model.to_json` returned."""
    import json

    from .saving.serialization import deserialize_keras_object

    return deserialize_keras_object(json.loads(text), custom_objects=custom_objects)
