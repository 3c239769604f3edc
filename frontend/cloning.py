"""``clone_model``: the same model with layers and weights of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ..ir.errors import ArgumentError
from .functional import Functional, _is_plain
from .input import Input, InputLayer
from .keras_tensor import KerasTensor
from .model import Model
from .operation import Operation, OpFunction, replace_tensors
from .saving.serialization import deserialize_keras_object, serialize_keras_object
from .sequential import Sequential


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Model:
    """A model of the same structure, with new layers and fresh weights; compiled as the original, if that is.

    Args:
        model: a Sequential or Functional model; one of another class is made again from its config.
        input_tensors: symbolic tensors to start from, in the structure of the model's inputs; new Inputs by default.
        clone_function: ``layer -> layer``, what stands for each layer; by default one made from its config.
        call_function: ``(layer, *args, **kwargs) -> outputs``, how each layer of a functional model is called.
        recursive: whether models inside are cloned in the same way, layer by layer.

    Returns:
        The clone. A layer that is used several times is one layer in the clone, too.

    Raises:
        ArgumentError: an argument does not go with the class of model.
    """
    if isinstance(model, Sequential):
        if call_function is not None:
            raise ArgumentError(
                "clone_model: a Sequential model only lists its layers, so call_function has no use; make it a "
                "functional model first"
            )
        return _Clones(clone_function, None, recursive).sequential(model, input_tensors)
    if isinstance(model, Functional) and (_is_plain(model) or clone_function is not None or input_tensors is not None):
        return _Clones(clone_function, call_function, recursive).functional(model, input_tensors)
    wrong = {"clone_function": clone_function, "call_function": call_function, "input_tensors": input_tensors}
    given = [name for name, value in wrong.items() if value is not None]
    if given:
        raise ArgumentError(
            f"clone_model: {given[0]} is for Sequential and Functional models; {model.name!r} is a "
            f"{type(model).__name__}, whose layers are known to itself only"
        )
    config = serialize_keras_object(model)
    clone: Model = deserialize_keras_object(config, custom_objects={type(model).__name__: type(model)})
    return clone


class _Clones:
    """What stands for each layer."""

    def __init__(
        self, clone_function: Callable[[Any], Any] | None, call_function: Callable[..., Any] | None, recursive: bool
    ) -> None:
        self._clone = clone_function or _from_config
        self._call = call_function
        self._recursive = recursive
        self._made: dict[int, Any] = {}

    def of(self, operation: Operation) -> Any:
        """The clone of a layer or op, made once."""
        if id(operation) not in self._made:
            self._made[id(operation)] = self._new(operation)
        return self._made[id(operation)]

    def _new(self, operation: Operation) -> Any:
        if isinstance(operation, OpFunction):
            return OpFunction(operation.function, operation.name)
        if self._recursive and isinstance(operation, Sequential):
            return self.sequential(operation, None)
        if self._recursive and isinstance(operation, Functional):
            return self.functional(operation, None)
        return self._clone(operation)

    def sequential(self, model: Sequential, input_tensors: Any) -> Model:
        layers: list[Any] = [self.of(layer) for layer in model.layers]
        first = model._all_layers[0] if model._all_layers else None
        if input_tensors is not None:
            tensors = jax.tree.leaves(input_tensors)
            if len(tensors) != 1 or not isinstance(tensors[0], KerasTensor):
                raise ArgumentError(f"clone_model: a Sequential has one symbolic input, received {input_tensors!r}")
            layers.insert(0, _start(tensors[0], getattr(first, "name", None)))
        elif isinstance(first, InputLayer):
            layers.insert(0, Input(batch_shape=first.batch_shape, dtype=first.dtype, name=first.name))
        clone = Sequential(layers, trainable=model.trainable, name=model.name)
        return _compiled_as(model, clone)

    def functional(self, model: Functional, input_tensors: Any) -> Model:
        struct = model.input
        if input_tensors is None:
            inputs = jax.tree.map(lambda t: Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), struct)
        else:
            inputs = input_tensors
            _check_like(inputs, struct)
        held = {id(t): x for t, x in zip(model.inputs, jax.tree.leaves(inputs), strict=True)}
        for node in model._untracked_nodes:
            if isinstance(node.operation, InputLayer):
                continue
            operation = self.of(node.operation)
            args, kwargs = replace_tensors(node.args, held), replace_tensors(node.kwargs, held)
            made = operation(*args, **kwargs) if self._call is None else self._call(operation, *args, **kwargs)
            held.update((id(t), x) for t, x in zip(node.output_tensors, jax.tree.leaves(made), strict=True))
        outputs = replace_tensors(model.output, held)
        cls = type(model) if _is_plain(model) else Functional
        return _compiled_as(model, cls(inputs=inputs, outputs=outputs, name=model.name))


def _from_config(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _start(tensor: KerasTensor, name: str | None) -> KerasTensor:
    if tensor.history is not None and isinstance(tensor.history[0], InputLayer):
        return tensor
    return Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)


def _check_like(tensors: Any, struct: Any) -> None:
    if not all(isinstance(t, KerasTensor) for t in jax.tree.leaves(tensors)):
        raise ArgumentError(f"clone_model: input_tensors are symbolic tensors, received {tensors!r}")
    given: Any = jax.tree.structure(tensors)
    expected: Any = jax.tree.structure(struct)
    if given != expected:
        raise ArgumentError(
            f"clone_model: input_tensors have the structure of the model's inputs, {expected}; received {given}"
        )


def _compiled_as(model: Model, clone: Model) -> Model:
    if model.compiled:
        clone.compile_from_config(model.get_compile_config())
    return clone
