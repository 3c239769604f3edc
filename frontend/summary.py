"""``model.summary()``: a table of the layers, as Keras prints it."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ..ir.errors import ArgumentError, LaminaError
from .functional import Functional
from .layer import Layer, _is_own
from .op_classes import class_of
from .operation import Operation, OperationNode, OpFunction
from .variable import Variable

# Rich's numbers of the colours that Keras uses.
_NUMBER, _OPEN, _CLASS, _NO = 34, 45, 33, 9


def print_summary(
    model: Layer,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[..., Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print a table of a model's layers and the number of its parameters.

    Args:
        model: the model.
        line_length: width of the table in characters; by default what fits, up to 88 (108 with connections).
        positions: right edges of the columns as parts of the width, rising to 1.
        print_fn: takes the whole text in place of printing, without colours.
        expand_nested: show the layers of nested models too.
        show_trainable: add a column that says whether a layer trains.
        layer_range: names (regular expressions) of the first and the last layer to show.

    Raises:
        ArgumentError: the table has no room, or ``layer_range`` names no layers.
    """
    nodes = model._untracked_nodes if isinstance(model, Functional) else []
    connected = None if _is_chain(model, nodes) else nodes
    layout = _layout(connected is not None, show_trainable, line_length, positions)
    table = Table(
        *(Column(c.title, justify=c.align, width=c.width) for c in layout.columns),  # type: ignore[arg-type]
        width=layout.line_length,
        show_lines=True,
    )
    operations: Sequence[Operation] = model.operations if isinstance(model, Functional) else model.layers  # type: ignore[attr-defined]
    for operation in _in_range(operations, layer_range):
        for row in _rows(operation, 0, connected, expand_nested, show_trainable):
            table.add_row(*row)
    trainable, frozen = model.trainable_weights, model.non_trainable_weights
    lines: list[Any] = [f'[bold]Model: "{escape(model.name)}"[/]', table]
    optimizer = getattr(model, "optimizer", None)
    state = optimizer.variables if optimizer is not None and optimizer.built else []
    parts = {"Total": trainable + frozen + state, "Trainable": trainable, "Non-trainable": frozen}
    for title, weights in {**parts, **({"Optimizer": state} if state else {})}.items():
        lines.append(
            f"[bold] {title} params: [/]{_coloured(f'{_count(weights):,}')} ({readable_size(_bytes(weights))})"
        )
    if not print_fn:
        _print(Console(highlight=False), lines)
        return
    console = Console(highlight=False, force_terminal=False, color_system=None)
    with console.capture() as captured:
        _print(console, lines)
    print_fn(captured.get())


def _print(console: Console, lines: Iterable[Any]) -> None:
    for line in lines:
        console.print(line)


@dataclass(frozen=True)
class _Column:
    title: str
    align: str
    width: int


@dataclass(frozen=True)
class _Layout:
    columns: list[_Column]
    line_length: int


def _layout(connections: bool, trainable: bool, line_length: int | None, positions: Sequence[float] | None) -> _Layout:
    titles = [("Layer (type)", "left"), ("Output Shape", "left"), ("Param #", "right")]
    if connections:
        titles.append(("Connected to", "left"))
        edges, default_length = list(positions or (0.3, 0.56, 0.74, 1.0)), 108
    else:
        edges, default_length = list(positions or (0.45, 0.8, 1.0)), 88
    if trainable:
        titles.append(("Trainable", "center"))
        edges, default_length = [e * 0.9 for e in edges] + [1.0], default_length + 12
    length = line_length or min(default_length, shutil.get_terminal_size().columns - 4)
    if len(edges) != len(titles):
        raise ArgumentError(f"summary: positions are the right edges of {len(titles)} columns, received {positions!r}")
    columns, used = [], 0
    for (title, align), edge in zip(titles, edges, strict=True):
        width = int(edge * length) - used
        if width < 4:
            raise ArgumentError(
                f"summary: a line of {length} characters leaves no room for column {title!r}; "
                f"give a larger "
                "line_length, or positions that rise from 0 to 1"
            )
        columns.append(_Column(title, align, width))
        used += width
    return _Layout(columns, length)


def _is_chain(model: Layer, nodes: Sequence[OperationNode]) -> bool:
    """Whether each operation takes what the one before it made, so that connections need not be shown."""
    if not isinstance(model, Functional):
        return True
    depths = node_depths(model, nodes)
    if len(set(depths)) < len(nodes) or any(len(n.input_tensors) > 1 for n in nodes):
        return False
    operations = [n.operation for n in nodes]
    return len(set(map(id, operations))) == len(operations)


def node_depths(model: Functional, nodes: Sequence[OperationNode]) -> list[int]:
    """For each node the longest way from it to an output."""
    depth: dict[int, int] = {id(n): 0 for n in nodes}
    for node in reversed(nodes):
        for parent in node.parents:
            if id(parent) in depth:
                depth[id(parent)] = max(depth[id(parent)], depth[id(node)] + 1)
    return [depth[id(n)] for n in nodes]


def _in_range(operations: Sequence[Operation], layer_range: Sequence[str] | None) -> Sequence[Operation]:
    if layer_range is None:
        return operations
    if isinstance(layer_range, str) or len(layer_range) != 2 or not all(isinstance(n, str) for n in layer_range):
        raise ArgumentError(
            f"summary: layer_range is two names, of the first and the last layer, received {layer_range!r}"
        )
    first, last = ([i for i, op in enumerate(operations) if re.match(name, op.name)] for name in layer_range)
    if not first or not last:
        raise ArgumentError(
            f"summary: no layer matches {layer_range[1] if first else layer_range[0]!r}; the "
            f"layers are "
            f"{', '.join(op.name for op in operations)}"
        )
    if min(first) > max(last):
        return operations[min(last) : max(first) + 1]
    return operations[min(first) : max(last) + 1]


def _rows(
    operation: Operation, level: int, connected: Sequence[OperationNode] | None, nested: bool, show_trainable: bool
) -> Iterable[list[str]]:
    prefix = "   " * level + "└ " if level else ""
    row = [
        f"{escape(prefix + operation.name)} ({_coloured(escape(_class_name(operation)), _CLASS)})",
        _shape_text(operation),
        _parameters(operation),
    ]
    if connected is not None:
        row.append(_connections(operation, connected))
    if show_trainable:
        row.append(_trainable(operation))
    yield row
    for inner in getattr(operation, "layers", ()) if nested else ():
        yield from _rows(inner, level + 1, connected, nested, show_trainable)


def _class_name(operation: Operation) -> str:
    return class_of(operation.function).name if isinstance(operation, OpFunction) else type(operation).__name__


def _parameters(operation: Operation) -> str:
    if not isinstance(operation, Layer):
        return _coloured(0)
    return _coloured(f"{operation.count_params():,}") if operation.built else f"{_coloured(0)} (unbuilt)"


def _trainable(operation: Operation) -> str:
    if not isinstance(operation, Layer) or not operation.weights:
        return "[bold]-[/]"
    return f"[bold]{_coloured('Y', _NUMBER) if operation.trainable else _coloured('N', _NO)}[/]"


def _connections(operation: Operation, nodes: Sequence[OperationNode]) -> str:
    places = []
    for node in operation._inbound_nodes:
        if any(node is n for n in nodes):
            for tensor in node.input_tensors:
                source, node_index, tensor_index = tensor.history  # type: ignore[misc]
                places.append(f"{source.name}[{_coloured(node_index)}][{_coloured(tensor_index)}]")
    return ", ".join(places) or "-"


def _shape_text(operation: Operation) -> str:
    """The output shape: of its last use in a functional model, or as computed from what it was built for."""
    if operation._inbound_nodes:
        tensors = operation._inbound_nodes[-1].output_tensors
        return _shapes_text([t.shape for t in tensors])
    shapes = operation._build_shapes if isinstance(operation, Layer) else None
    if not isinstance(operation, Layer) or not shapes:
        return "?"
    if type(operation).compute_output_shape is Layer.compute_output_shape and not _is_own(operation):
        return "?"  # as Keras has it: the user's class does not say
    try:
        shape = getattr(operation, "output_shape", None)
        return _shapes_text(operation.compute_output_shape(**shapes) if shape is None else shape)
    except LaminaError:  # what it computes can't be told from shapes alone
        return "?"


def _shapes_text(shapes: Any) -> str:
    """One shape as itself, more of them in the structure they come in."""
    texts = jax.tree.map(lambda s: f"({', '.join(map(_coloured, s))})", shapes, is_leaf=_is_shape)
    flat = jax.tree.leaves(texts)
    return flat[0] if len(flat) == 1 else str(texts).replace("'", "")


def _is_shape(nest: Any) -> bool:
    return isinstance(nest, tuple) and all(isinstance(d, int | type(None)) for d in nest)


def _coloured(value: Any, colour: int = _NUMBER) -> str:
    return f"[color({_OPEN if value is None else colour})]{value}[/]"


def _count(weights: Sequence[Variable]) -> int:
    return sum(math.prod(v.shape) for v in weights)


def _bytes(weights: Sequence[Variable]) -> int:
    return sum(v._value.nbytes for v in weights)


def readable_size(size: float) -> str:
    """A number of bytes in the largest unit that leaves it 1 or more: ``"8.00 B"``, ``"1.50 KB"``."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"
