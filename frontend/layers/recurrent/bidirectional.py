"""``Bidirectional``: a recurrent layer from both ends of a sequence."""

from __future__ import annotations

from typing import Any

from ....ir.errors import ArgumentError
from ... import ops
from ...layer import Layer
from ...registry import builtin
from ...saving.serialization import deserialize_keras_object, object_sharing_scope, serialize_keras_object
from ..base import BuiltinLayer
from .rnn import first_mask

_MERGE_MODES = ("sum", "mul", "ave", "concat", None)


@builtin("keras.layers")
class Bidirectional(BuiltinLayer):
    """Two copies of a recurrent layer, of which one goes backwards.

    Args:
        layer: a recurrent layer; it is copied, its weights are not.
        merge_mode: how the outputs become one: "concat", "sum", "mul", "ave", or None for a tuple of both.
        weights: first values of the weights, those of the forward layer first.
        backward_layer: the layer that goes backwards, if not a copy of ``layer``.
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._keep(merge_mode=merge_mode)
        for name, value in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(value, Layer) and (value is not None or name == "layer"):
                raise self._wrong(name, value, "a recurrent layer")
        if merge_mode not in _MERGE_MODES:
            raise self._wrong("merge_mode", merge_mode, " or ".join(map(repr, _MERGE_MODES)))
        self.forward_layer = _copy(layer, "forward")
        if backward_layer is None:
            backward_layer = _copy(layer, "backward", go_backwards=True)
        self.backward_layer = backward_layer
        self._check_directions()
        for each in (self.forward_layer, self.backward_layer):
            if getattr(each, "zero_output_for_mask", None) is not None:
                each.zero_output_for_mask = layer.return_sequences
        self.stateful = layer.stateful
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.supports_masking = True
        self.input_spec = layer.input_spec
        self._untracked_first_values = weights

    def _check_directions(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ArgumentError(
                f"{self._who}: layer and backward_layer must go in opposite directions, received "
                f"go_backwards={forward.go_backwards} for both"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            ours, theirs = getattr(forward, name), getattr(backward, name)
            if ours != theirs:
                raise ArgumentError(
                    f"{self._who}: layer and backward_layer must agree in {name}, received {ours!r} and {theirs!r}"
                )

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build both layers."""
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(sequences_shape)
                layer.built = True
        if self._untracked_first_values:
            self.set_weights(self._untracked_first_values)
            self._untracked_first_values = None

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        """Apply both layers to ``(batch, steps, ...)``.

        Args:
            initial_state: the forward layer's states, then those of the backward layer.
            mask: ``(batch, steps)`` bools; False leaves a step out.

        Returns:
            The merged outputs; with ``return_state`` a tuple of these and the last states of both.
        """
        half = len(initial_state) // 2 if initial_state is not None else 0
        states = (initial_state[:half], initial_state[half:]) if half else (None, None)
        given = {"mask": mask, "training": training}
        results = []
        for layer, state in zip((self.forward_layer, self.backward_layer), states, strict=True):
            keywords = {name: value for name, value in given.items() if layer._takes(name)}
            result = layer(sequences, initial_state=state, **keywords)
            results.append(result if self.return_state else (result,))
        (y, *after), (y_back, *after_back) = results
        y, y_back = ops.cast(y, self.compute_dtype), ops.cast(y_back, self.compute_dtype)
        if self.return_sequences:
            y_back = ops.flip(y_back, axis=1)
        output = self._merged(y, y_back)
        if not self.return_state:
            return output
        return (*(output if self.merge_mode is None else (output,)), *after, *after_back)

    def _merged(self, y: Any, y_back: Any) -> Any:
        if self.merge_mode == "concat":
            return ops.concatenate([y, y_back], axis=-1)
        if self.merge_mode == "sum":
            return ops.add(y, y_back)
        if self.merge_mode == "ave":
            return ops.divide(ops.add(y, y_back), 2)
        return ops.multiply(y, y_back) if self.merge_mode == "mul" else (y, y_back)

    def compute_mask(self, sequences: Any, previous_mask: Any = None) -> Any:
        """The mask of the sequences for the outputs of all steps, else none."""
        mask = first_mask(previous_mask) if self.return_sequences else None
        return (mask, mask) if self.merge_mode is None else mask

    @property
    def states(self) -> Any:
        """What stateful layers keep, the forward layer's first; or None."""
        forward, backward = (getattr(layer, "states", None) for layer in (self.forward_layer, self.backward_layer))
        return (*forward, *backward) if forward and backward else None

    def reset_state(self) -> None:
        """Set the states of stateful layers to zero."""
        if not self.stateful:
            raise ArgumentError(f"{self._who}: reset_state() is for a stateful layer; make it with stateful=True")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """The same as :meth:`reset_state`."""
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        layers = {"layer": self.forward_layer, "backward_layer": self.backward_layer}
        return {**super().get_config(), **{name: serialize_keras_object(layer) for name, layer in layers.items()}}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A layer from what :meth:`get_config` returned."""
        layers = {
            name: deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("layer", "backward_layer")
            if config.get(name) is not None
        }
        return super().from_config({**config, **layers})


def _copy(layer: Any, direction: str, **changes: Any) -> Any:
    """A layer of the same config, not built, whose name says the direction."""
    with object_sharing_scope():  # of its own: numbers of shared objects in a file that is being read are others
        saved = serialize_keras_object(layer)
        name = f"{direction}_{layer.name.removeprefix(f'{direction}_')}"
        config = {**saved["config"], **changes, "name": name}
        copied = deserialize_keras_object(
            {**{k: v for k, v in saved.items() if k != "build_config"}, "config": config},
            custom_objects={type(each).__name__: type(each) for each in layer._flatten_layers()},
        )
    if hasattr(layer, "use_cudnn"):
        copied.use_cudnn = layer.use_cudnn
    return copied
