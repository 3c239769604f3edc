"""Functional models: a graph of layers and ops between inputs and outputs."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ..ir.errors import ArgumentError, DTypeError, FileFormatError, ShapeError
from . import dtypes, ops
from .input import Input, InputLayer
from .keras_tensor import KerasTensor
from .layer import Layer
from .model import Model
from .names import to_snake_case
from .op_classes import class_of, find_class, join_arguments, split_arguments
from .operation import Operation, OperationNode, OpFunction, replace_tensors
from .registry import register_builtin
from .saving.serialization import deserialize_keras_object, serialize_keras_object
from .tensor import Tensor


class Functional(Model):
    """A model made of symbolic inputs and outputs: ``Model(inputs, outputs)``.

    Args:
        inputs: a symbolic tensor, or a list, tuple or dict of them.
        outputs: likewise; everything they depend on must lead back to ``inputs``.
        name: its name.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        trainable = kwargs.pop("trainable", None)
        Layer.__init__(self, name=name, **kwargs)
        _check_symbolic(inputs, "inputs")
        _check_symbolic(outputs, "outputs")
        if any(t.history is not None and not isinstance(t.history[0], InputLayer) for t in jax.tree.leaves(inputs)):
            inputs, outputs = _from_the_middle(inputs, outputs)
        self._untracked_inputs_struct = inputs
        self._untracked_outputs_struct = outputs
        self._untracked_inputs: list[KerasTensor] = jax.tree.leaves(inputs)
        self._untracked_outputs: list[KerasTensor] = jax.tree.leaves(outputs)
        for tensor in self._untracked_inputs:
            if tensor.history is None:
                raise ArgumentError(f"model input {tensor!r} does not come from keras.Input")
        self._untracked_nodes, operations = sort_nodes(self._untracked_inputs, self._untracked_outputs)
        _check_names(operations)
        self._untracked_operations = operations
        self._tracked[:] = [op for op in operations if isinstance(op, Layer)]
        self.built = True
        if trainable is not None:
            self.trainable = trainable

    @property
    def layers(self) -> list[Layer]:
        return [op for op in self._untracked_operations if isinstance(op, Layer)]

    @property
    def operations(self) -> list[Operation]:
        """Layers and ops, in the order they run."""
        return list(self._untracked_operations)

    @property
    def inputs(self) -> list[KerasTensor]:
        return list(self._untracked_inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        return list(self._untracked_outputs)

    @property
    def input(self) -> Any:
        return self._untracked_inputs_struct

    @property
    def output(self) -> Any:
        return self._untracked_outputs_struct

    @property
    def input_names(self) -> list[str]:
        return [t.history[0].name for t in self._untracked_inputs]  # type: ignore[index]

    @property
    def output_names(self) -> list[str]:
        return [t.history[0].name for t in self._untracked_outputs]  # type: ignore[index]

    @property
    def input_shape(self) -> Any:
        return _shapes(self._untracked_inputs)

    @property
    def output_shape(self) -> Any:
        return _shapes(self._untracked_outputs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Run the graph on tensors in the structure of the model's inputs."""
        tensors = self._standardize(inputs)
        held = {id(t): x for t, x in zip(self._untracked_inputs, tensors, strict=True)}
        if mask is not None:
            for x, m in zip(tensors, jax.tree.leaves(mask), strict=False):
                if isinstance(x, Tensor):
                    x.keras_mask = m
        masks = _RecordedMasks(self._untracked_inputs, held)
        for node in self._untracked_nodes:
            if isinstance(node.operation, InputLayer):
                continue
            args, kwargs = replace_tensors(node.args, held), replace_tensors(node.kwargs, held)
            if training is not None and isinstance(node.operation, Layer) and node.operation._takes("training"):
                kwargs["training"] = training
            recorded = masks.of(node)
            if recorded is not None and _is_sole(node):
                kwargs["mask"] = recorded
            results = node.operation(*args, **kwargs)
            for tensor, value in zip(node.output_tensors, jax.tree.leaves(results), strict=True):
                held[id(tensor)] = value
            masks.note(node, args, recorded, held)
        outputs = replace_tensors(self._untracked_outputs_struct, held)
        return outputs[0] if isinstance(outputs, list | tuple) and len(outputs) == 1 else outputs

    def _standardize(self, inputs: Any) -> list[Any]:
        """Tensors for the model's inputs, in their order, checked against shapes and converted to their types."""
        struct = self._untracked_inputs_struct
        if isinstance(inputs, Mapping) and not isinstance(struct, Mapping):
            missing = [n for n in self.input_names if n not in inputs]
            if missing:
                raise ArgumentError(
                    f"model {self.name!r} takes inputs {self.input_names}; missing {missing} in the dict "
                    f"with keys {list(inputs)}"
                )
            flat = [inputs[n] for n in self.input_names]
        elif isinstance(struct, Mapping) and isinstance(inputs, Mapping):
            missing = [n for n in struct if n not in inputs]
            if missing:
                raise ArgumentError(f"model {self.name!r} takes a dict with keys {list(struct)}; missing {missing}")
            flat = jax.tree.leaves({k: inputs[k] for k in struct})
        else:
            flat = jax.tree.leaves(inputs)
        if len(flat) != len(self._untracked_inputs):
            raise ArgumentError(
                f"model {self.name!r} takes {len(self._untracked_inputs)} inputs "
                f"({', '.join(self.input_names)}), received {len(flat)}"
            )
        return [self._fit(x, t) for x, t in zip(flat, self._untracked_inputs, strict=True)]

    def _fit(self, x: Any, expected: KerasTensor) -> Any:
        """``x`` with the rank and type of an input; a missing or superfluous last dimension of 1 is mended, as in
        Keras."""
        name = expected.history[0].name  # type: ignore[index]
        shape = tuple(x.shape)
        mask = getattr(x, "keras_mask", None)
        if len(shape) == len(expected.shape) - 1 and expected.shape[-1] == 1:
            x = ops.expand_dims(x, -1)
        elif len(shape) == len(expected.shape) + 1 and isinstance(shape[-1], int) and shape[-1] == 1:
            x = ops.squeeze(x, -1)
        shape = tuple(x.shape)
        fits = (
            len(shape) == len(expected.shape)
            and all(  # as in Keras any batch is welcome, a fixed one included
                e is None or not isinstance(d, int) or d == e
                for d, e in zip(shape[1:], expected.shape[1:], strict=True)
            )
        )
        if not fits:
            raise ShapeError(
                f"model {self.name!r}: input {name!r} has shape {_shown(expected.shape)}, received {_shown(shape)}"
            )
        if dtypes.standardize_dtype(x.dtype) != expected.dtype:
            x = ops.cast(x, expected.dtype)
        if mask is not None and isinstance(x, Tensor):
            x.keras_mask = mask
        return x

    def compute_output_spec(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().compute_output_spec(inputs, training=training)

    # Files

    def get_build_config(self) -> dict[str, Any]:
        return {"input_shape": None}  # as Keras writes: the graph says all

    def get_config(self) -> dict[str, Any]:
        """The model in Keras's form: layers, how they are connected, inputs and outputs."""
        if not _is_plain(self):
            return super().get_config()
        kept = set(map(id, self._untracked_nodes))
        index = {}  # node -> its number among the operation's nodes that belong to this model
        for operation in self._untracked_operations:
            mine = [n for n in operation._inbound_nodes if id(n) in kept]
            index.update({id(n): i for i, n in enumerate(mine)})

        def place(tensor: KerasTensor) -> list[Any]:
            operation, node, i = tensor.history  # type: ignore[misc]
            return [operation.name, index[id(operation._inbound_nodes[node])], i]

        def end(tensor: KerasTensor) -> list[Any]:
            name, node, i = place(tensor)
            return [name, node + _offset(tensor.history[0]), i]  # type: ignore[index]

        layers = []
        for operation in self._untracked_operations:
            config = serialize_operation(operation)
            config["name"] = operation.name
            config["inbound_nodes"] = [
                _node_config(n, place) for n in operation._inbound_nodes if id(n) in kept and (n.args or n.kwargs)
            ]
            layers.append(config)
        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": layers,
            "input_layers": jax.tree.map(end, self._untracked_inputs_struct),
            "output_layers": jax.tree.map(end, self._untracked_outputs_struct),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """A model from what :meth:`get_config` returned (also written by Keras)."""
        if "layers" not in config:
            return cls(**config)
        return functional_from_config(cls, config, custom_objects)


def _is_plain(model: Functional) -> bool:
    """Whether the class adds no constructor of its own, so that the graph says all."""
    return type(model).__init__ is Functional.__init__ or "inputs" in type(model).__init__.__code__.co_varnames


def _offset(operation: Operation) -> int:
    """Where a file names a model's inputs and outputs, Keras counts a functional model's own graph as its first use."""
    return 1 if isinstance(operation, Functional) else 0


def _shapes(tensors: Sequence[KerasTensor]) -> Any:
    """The shape of one tensor, or the list of all shapes."""
    return tensors[0].shape if len(tensors) == 1 else [t.shape for t in tensors]


def _shown(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(str(d) for d in shape) + ("," if len(shape) == 1 else "") + ")"


def _check_symbolic(nest: Any, what: str) -> None:
    leaves = jax.tree.leaves(nest)
    wrong = [x for x in leaves if not isinstance(x, KerasTensor)]
    if wrong or not leaves:
        received = repr(wrong[0]) if wrong else "none"
        raise DTypeError(
            f"the {what} of a functional model are symbolic tensors, from keras.Input on; received {received}"
        )


def _check_names(operations: Sequence[Operation]) -> None:
    """A model's files refer to its layers by name."""
    count = Counter(op.name for op in operations)
    twice = [name for name in count if count[name] > 1]
    if twice:
        raise ArgumentError(
            f"the name {twice[0]!r} is borne by {count[twice[0]]} layers of the model; give each a name of its own"
        )


def _from_the_middle(inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """A graph of its own for a model that starts at what layers of another made: with inputs in their place."""
    starts = jax.tree.leaves(inputs)
    copies = {
        id(t): t
        if isinstance(t.history[0], InputLayer)
        else Input(batch_shape=t.shape, dtype=t.dtype, name=f"{t.name}CLONE")
        for t in starts
    }
    for node in sort_nodes(starts, jax.tree.leaves(outputs))[0]:
        if _is_start(node, starts) or isinstance(node.operation, InputLayer):
            continue
        made = jax.tree.map(_copy_of, node.outputs)
        node.operation._add_node(replace_tensors(node.args, copies), replace_tensors(node.kwargs, copies), made)
        copies.update((id(old), new) for old, new in zip(node.output_tensors, jax.tree.leaves(made), strict=True))
    return replace_tensors(inputs, copies), replace_tensors(outputs, copies)


def _copy_of(tensor: KerasTensor) -> KerasTensor:
    copy = KerasTensor(tensor.shape, tensor.dtype)
    copy.keras_mask = getattr(tensor, "keras_mask", None)  # type: ignore[attr-defined]
    return copy


def sort_nodes(
    inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]
) -> tuple[list[OperationNode], list[Operation]]:
    """The nodes between inputs and outputs in the order they run, and their operations in Keras's order.

    Keras lists operations by depth, the longest way to an output, and those of one depth as a depth-first walk from
    the outputs finishes them.
    """
    finished, found = _depth_first(inputs, outputs)
    depth: dict[int, int] = {}
    operation_depth: dict[int, int] = {}
    for node in reversed(finished):
        d = max(depth.get(id(node), 0), operation_depth.get(id(node.operation), 0))
        depth[id(node)] = operation_depth[id(node.operation)] = d
        if not _is_start(node, inputs):
            for parent in node.parents:
                depth[id(parent)] = max(d + 1, depth.get(id(parent), 0))
    unused: list[Operation] = []
    for tensor in inputs:
        operation, i, _ = tensor.history  # type: ignore[misc]
        if id(operation) not in operation_depth:  # an input that no output needs
            operation_depth[id(operation)] = 0
            depth[id(operation._inbound_nodes[i])] = 0
            finished.append(operation._inbound_nodes[i])
            unused.append(operation)
    found = unused + found
    nodes = sorted(finished, key=lambda n: -depth[id(n)])
    operations = sorted(found, key=lambda op: -operation_depth[id(op)])
    return nodes, operations


def _is_start(node: OperationNode, inputs: Sequence[KerasTensor]) -> bool:
    return any(t is x for t in node.output_tensors for x in inputs)


def _depth_first(
    inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]
) -> tuple[list[OperationNode], list[Operation]]:
    """Nodes in the order a walk from the outputs finishes them; operations in the order it first meets them."""
    finished: list[OperationNode] = []
    met: dict[int, Operation] = {}
    state: dict[int, int] = {}
    for output in outputs:
        if output.history is None:
            raise ArgumentError(f"output {output!r} is not connected to the inputs: it comes from no operation")
        stack: list[tuple[OperationNode, bool]] = [(output.history[0]._inbound_nodes[output.history[1]], False)]
        while stack:
            node, done = stack.pop()
            if done:
                finished.append(node)
                continue
            if id(node) in state:
                continue
            state[id(node)] = 1
            met.setdefault(id(node.operation), node.operation)
            stack.append((node, True))
            if _is_start(node, inputs):
                continue
            if isinstance(node.operation, InputLayer) or not node.input_tensors:
                known = ", ".join(t.name for t in inputs)
                raise ArgumentError(
                    f"the outputs depend on {node.output_tensors[0]!r} (operation {node.operation.name!r}), "
                    f"which is not among the model's inputs: {known}"
                )
            stack.extend((parent, False) for parent in reversed(node.parents))
    return finished, list(met.values())


# Keras's config of functional models.


def serialize_operation(operation: Operation) -> dict[str, Any]:
    """A layer's config, or that of an op, for which Keras has a class."""
    if not isinstance(operation, OpFunction):
        return dict(serialize_keras_object(operation))
    op = class_of(operation.function)
    node = operation._inbound_nodes[0]
    static, _, _ = split_arguments(operation.function, node.args, node.kwargs)
    return {
        "module": op.module,
        "class_name": op.name,
        "registered_name": op.name,
        "config": {**serialize_keras_object(static), "name": operation.name},
    }


def _node_config(node: OperationNode, place: Any) -> dict[str, Any]:
    def encode(value: Any) -> Any:
        if isinstance(value, KerasTensor):
            return {
                "class_name": "__keras_tensor__",
                "config": {"shape": list(value.shape), "dtype": value.dtype, "keras_history": place(value)},
            }
        if isinstance(value, list | tuple):
            return type(value)(encode(v) for v in value)
        if isinstance(value, dict):
            return {k: encode(v) for k, v in value.items()}
        return serialize_keras_object(value)

    args, kwargs = node.args, node.kwargs
    if isinstance(node.operation, OpFunction):
        _, args, kwargs = split_arguments(node.operation.function, args, kwargs)  # type: ignore[assignment]
    elif isinstance(node.operation, Layer) and node.operation._takes("mask") and len(node.input_tensors) == 1:
        if getattr(node.input_tensors[0], "keras_mask", None) is None:  # else None would say that there is no mask
            kwargs = {"mask": None, **kwargs}  # as Keras writes it
    return {"args": [encode(a) for a in args], "kwargs": {k: encode(v) for k, v in kwargs.items()}}


def functional_from_config(cls: type, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> Any:
    """Make the layers, then apply them node by node as soon as a node's inputs are there."""
    for key in ("layers", "input_layers", "output_layers"):
        if key not in config:
            raise FileFormatError(f"the config of a functional model lacks {key!r}; it has {', '.join(config)}")
    operations: dict[str, Operation] = {}
    waiting: list[tuple[Operation, dict[str, Any]]] = []
    static: dict[int, dict[str, Any]] = {}  # arguments of ops that are no tensors
    for entry in config["layers"]:
        operation = _deserialize_operation(entry, custom_objects)
        operations[entry["name"]] = operation
        if isinstance(operation, OpFunction):
            static[id(operation)] = {k: deserialize_keras_object(v) for k, v in entry["config"].items() if k != "name"}
        waiting.extend((operation, node) for node in entry.get("inbound_nodes", []))
    made: dict[tuple[str, int], list[KerasTensor]] = {
        (name, 0): op._inbound_nodes[0].output_tensors for name, op in operations.items() if isinstance(op, InputLayer)
    }
    used = dict.fromkeys(operations, 0)
    names = {id(op): name for name, op in operations.items()}
    while waiting:
        rest = []
        for operation, node in waiting:
            try:
                args, kwargs = _decode(node.get("args", []), made), _decode(node.get("kwargs", {}), made)
            except KeyError:
                rest.append((operation, node))
                continue
            if isinstance(operation, OpFunction):
                args, kwargs = join_arguments(operation.function, static[id(operation)], args, kwargs)
            outputs = operation(*args, **kwargs)
            name = names[id(operation)]
            made[name, used[name]] = jax.tree.leaves(outputs)
            used[name] += 1
        if len(rest) == len(waiting):
            raise FileFormatError(f"the config connects {rest[0][0].name!r} to outputs that no layer makes")
        waiting = rest

    def tensors(nest: Any) -> Any:
        if isinstance(nest, list) and len(nest) == 3 and isinstance(nest[0], str):
            try:
                return made[nest[0], nest[1] - _offset(operations[nest[0]])][nest[2]]
            except (KeyError, IndexError):
                raise FileFormatError(
                    f"the config names {nest} as a model input or output, which no layer makes"
                ) from None
        if isinstance(nest, dict):
            return {k: tensors(v) for k, v in nest.items()}
        return [tensors(v) for v in nest]

    inputs, outputs = tensors(config["input_layers"]), tensors(config["output_layers"])
    extra = {k: config[k] for k in ("trainable",) if config.get(k) is not None}
    return cls(inputs=inputs, outputs=outputs, name=config.get("name"), **extra)


def _deserialize_operation(entry: Any, custom_objects: Mapping[str, Any] | None) -> Operation:
    if not isinstance(entry, Mapping) or "class_name" not in entry or "name" not in entry:
        raise FileFormatError(f"a layer in the config lacks class_name or name: {str(entry)[:200]}")
    module = str(entry.get("module") or "")
    if module.startswith("keras.src.ops"):
        known = find_class(entry["class_name"])
        function = getattr(ops, known.function if known else to_snake_case(entry["class_name"]), None)
        if not inspect.isfunction(function):
            raise FileFormatError(f"the config uses the op {entry['class_name']!r}, which lamina.ops does not have")
        if not isinstance(entry.get("config"), Mapping):
            raise FileFormatError(
                f"the config of op {entry['name']!r} must be a JSON object, got {entry.get('config')!r:.80}"
            )
        return OpFunction(function, name=entry["name"])
    layer = deserialize_keras_object(
        {k: v for k, v in entry.items() if k not in ("inbound_nodes", "name")}, custom_objects=custom_objects
    )
    if not isinstance(layer, Operation):
        raise FileFormatError(f"the config lists {entry['class_name']!r} as a layer, but it is none")
    return layer


def _decode(value: Any, made: Mapping[tuple[str, int], list[KerasTensor]]) -> Any:
    """Arguments of a node; raises KeyError while a tensor is not made yet."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            name, node, i = value["config"]["keras_history"]
            return made[name, node][i]
        if "class_name" in value:
            return deserialize_keras_object(value)
        return {k: _decode(v, made) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_decode(v, made) for v in value)
    return value


register_builtin(
    Functional, "keras.src.models.functional", "Functional", aliases=("keras.Functional", "keras.models.Functional")
)


class _RecordedMasks:
    """The masks that a model's tensors have by their layers' ``compute_mask``, whatever happens to them in a call.

    Keras notes a mask in the model where a layer that takes ``mask`` is called on one tensor. All other masks are those
    of the run, and MultiHeadAttention takes the mask from its inputs: the attention of a second block sees none, the
    pooling after it does.
    """

    def __init__(self, inputs: list[KerasTensor], held: Mapping[int, Any]) -> None:
        self._masks = {id(t): getattr(held[id(t)], "keras_mask", None) for t in inputs}

    def of(self, node: Any) -> Any:
        """The mask of the first argument: that of a tensor, or a list where it is a list; None where there is none."""
        first = node.args[0] if node.args else None
        if isinstance(first, list | tuple):
            masks = [self._masks.get(id(t)) for t in first]
            return masks if any(m is not None for m in masks) else None
        return self._masks.get(id(first))

    def note(self, node: Any, args: tuple, before: Any, held: Mapping[int, Any]) -> None:
        """Keep the masks of what ``node`` made of ``args``, whose recorded masks were ``before``."""
        outputs = node.output_tensors
        masks = [getattr(held[id(t)], "keras_mask", None) for t in outputs]
        layer = node.operation
        if before is not None and masks[0] is None and isinstance(layer, Layer) and layer.supports_masking:
            computed = layer.compute_mask(args[0], before)
            masks = [*(computed if isinstance(computed, list | tuple) else [computed]), *masks[1:]]
        self._masks.update((id(t), m) for t, m in zip(outputs, masks, strict=False) if isinstance(held[id(t)], Tensor))


def _is_sole(node: Any) -> bool:
    """Whether the call is of a layer that takes ``mask`` on one tensor and nothing else."""
    is_call = isinstance(node.operation, Layer) and len(node.args) == 1 and not node.kwargs
    return is_call and isinstance(node.args[0], KerasTensor) and node.operation._takes("mask")
