"""Operations of functional models: what was applied to which symbolic tensors, and what came out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ..ir import Dim, TensorType
from ..ir.dims import DimLike, symbol
from ..ir.errors import ArgumentError
from .keras_tensor import KerasTensor, keras_tensors
from .names import auto_name
from .op_classes import class_of
from .tensor import Tensor
from .tracing import trace_flat


class OperationNode:
    """One application of an operation: ``outputs = operation(*args, **kwargs)`` on symbolic tensors."""

    def __init__(self, operation: Operation, args: tuple, kwargs: dict[str, Any], outputs: Any) -> None:
        self.operation = operation
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs
        self.input_tensors = keras_tensors([args, kwargs])
        self.output_tensors: list[KerasTensor] = jax.tree.leaves(outputs)

    @property
    def parents(self) -> list[OperationNode]:
        """The nodes that made its inputs, in order."""
        return [t.history[0]._inbound_nodes[t.history[1]] for t in self.input_tensors if t.history is not None]


class Operation:
    """Something with a name that can be applied to symbolic tensors."""

    def __init__(self, name: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ArgumentError(
                f"name should be a string without '/', which separates names in paths; received {name!r}"
            )
        self.name = name or auto_name(type(self).__name__)
        self._inbound_nodes_: list[OperationNode] = []

    @property
    def _inbound_nodes(self) -> list[OperationNode]:
        return self._inbound_nodes_

    def _add_node(self, args: tuple, kwargs: dict[str, Any], outputs: Any) -> Any:
        """Remember an application; the outputs know from then on where they come from."""
        node = OperationNode(self, args, kwargs, outputs)
        self._inbound_nodes.append(node)
        for i, tensor in enumerate(node.output_tensors):
            tensor.history = (self, len(self._inbound_nodes) - 1, i)
        return outputs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply it; layers and ops say how."""
        raise ArgumentError(f"the operation {self.name!r} can't be called")

    @property
    def input(self) -> Any:
        """The symbolic input of its first use."""
        tensors = self._inbound_nodes[0].input_tensors
        return tensors[0] if len(tensors) == 1 else tensors

    @property
    def output(self) -> Any:
        """The symbolic output of its first use."""
        tensors = self._inbound_nodes[0].output_tensors
        return tensors[0] if len(tensors) == 1 else tensors


class OpFunction(Operation):
    """A function of ``ops`` as an operation of a functional model.

    Args:
        function: the public op.
        name: unique name; made from the function's by default.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(name or auto_name(class_of(function).name))
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if keras_tensors([args, kwargs]):
            outputs = symbolic_outputs(self.function, args, kwargs, self.name)
            return self._add_node(args, kwargs, outputs)
        return self.function(*args, **kwargs)


def record_operation(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Apply a public op to symbolic tensors, which makes it an operation of the model they lead to."""
    return OpFunction(function)(*args, **kwargs)


def symbolic_outputs(call: Callable[..., Any], args: tuple, kwargs: dict[str, Any], name: str) -> Any:
    """What ``call`` returns for symbolic tensors, found by tracing it: a nest of KerasTensors.

    The first open dimensions of all inputs are taken to be one (the batch), others each its own.
    """
    tensors = list({id(t): t for t in keras_tensors([args, kwargs])}.values())
    types = [TensorType(t.dtype, _symbols(t.shape, i)) for i, t in enumerate(tensors)]
    masks: list[Any] = []

    def run(traced: list[Tensor]) -> Any:
        by_id = {id(t): x for t, x in zip(tensors, traced, strict=True)}
        for tensor, x in zip(tensors, traced, strict=True):
            x.keras_mask = None if getattr(tensor, "keras_mask", None) is None else _mask_stand_in(x)
        outputs = call(*_replace(args, by_id), **_replace(kwargs, by_id))
        masks.extend(getattr(t, "keras_mask", None) for t in jax.tree.leaves(outputs))
        return outputs

    module, tree = trace_flat(run, types, name=name)
    made = [
        KerasTensor(tuple(None if isinstance(d, Dim) else d for d in v.type.shape), v.type.dtype.name)
        for v in module.main.outputs
    ]
    for tensor, mask in zip(made, masks, strict=True):
        tensor.keras_mask = mask is not None or None  # type: ignore[attr-defined]
    return jax.tree.unflatten(tree, made)


def _mask_stand_in(x: Tensor) -> Tensor:
    from . import ops

    return ops.ones(x.shape[:2], dtype="bool")


def _symbols(shape: tuple[int | None, ...], index: int) -> tuple[DimLike, ...]:
    return tuple(
        d if d is not None else symbol("N" if axis == 0 else f"D{index}_{axis}") for axis, d in enumerate(shape)
    )


def _replace(nest: Any, by_id: dict[int, Any]) -> Any:
    if isinstance(nest, KerasTensor):
        return by_id[id(nest)]
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*(_replace(x, by_id) for x in nest))
    if isinstance(nest, tuple | list):
        return type(nest)(_replace(x, by_id) for x in nest)
    if isinstance(nest, dict):
        return {k: _replace(v, by_id) for k, v in nest.items()}
    return nest


replace_tensors = _replace


def shape_nest(shape: Any) -> Any:
    """Shapes from a file or a user in plain form: each a tuple, in the nest they came in."""
    if isinstance(shape, dict):
        return {k: shape_nest(v) for k, v in shape.items()}
    if isinstance(shape, list | tuple):
        if all(isinstance(d, int | type(None)) for d in shape):
            return tuple(shape)
        return [shape_nest(s) for s in shape]
    return shape
