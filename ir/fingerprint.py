"""A digest of what a module computes: equal for modules that differ only in names, layers and source lines.

Two modules of one fingerprint take and give the same types and run the same nodes on the same constants, so that one
executable serves both. Weights are parameters, and no part of it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from .dims import Dim
from .graph import Graph, Module, Node, Value
from .literals import digest, raw_bytes
from .types import TensorType, short_name


def fingerprint(module: Module) -> str:
    """32 hexadecimal digits over functions, types, guards, nodes in order, attributes and constants (bit for bit).

    Left out: names of the module, of values, parameters, inputs and outputs; structures of inputs and outputs; what
    parameters are bound to; locations.

    Raises :class:`TypeError` for an attribute that is no plain data.
    """
    writer = _Writer()
    for name in sorted(module.functions):
        writer.lines.append(f"func {name!r}")
        writer.graph(module.functions[name])
    return hashlib.blake2b("\n".join(writer.lines).encode(), digest_size=16).hexdigest()


class _Writer:
    """Writes graphs as lines that say the same exactly where the graphs do."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._types: dict[int, str] = {}

    def graph(self, graph: Graph) -> None:
        numbers: dict[Value, int] = {}
        self._define([p.value for p in graph.parameters], numbers)
        self._define(graph.inputs, numbers)
        for guard in graph.guards:
            self.lines.append(f"guard {guard.left} {guard.relation} {guard.right}")
        for node in graph.nodes:
            self._node(node, numbers)
        position = {p: i for i, p in enumerate(graph.parameters)}
        updates = [(position[u.parameter], numbers[u.value]) for u in graph.updates]
        self.lines.append(f"return {[numbers[v] for v in graph.outputs]} {updates}")

    def _node(self, node: Node, numbers: dict[Value, int]) -> None:
        attributes = node.attributes
        said = [
            f"{name}={_text(attributes[name])}" for name in (sorted(attributes) if len(attributes) > 1 else attributes)
        ]
        self.lines.append(f"{node.op.name} {[numbers[v] for v in node.operands]} {' '.join(said)}")
        for region in node.regions:
            self.lines.append("region")
            self.graph(region)
        self._define(node.results, numbers)

    def _define(self, values: Any, numbers: dict[Value, int]) -> None:
        types = self._types
        for value in values:
            numbers[value] = len(numbers)
            type_ = value.type
            text = types.get(id(type_))  # the graph keeps its types alive; one is shared by many values
            if text is None:
                sharding = getattr(type_, "sharding", None)
                text = types[id(type_)] = str(type_) + (f" {sharding!r}" if sharding is not None else "")
            self.lines.append(text)


def _text(value: Any) -> str:
    write = _TEXTS.get(type(value))
    if write is None:
        if not isinstance(value, np.generic | np.dtype):
            raise TypeError(f"an attribute of {type(value).__name__} has no fingerprint: {value!r}")
        write = _scalar if isinstance(value, np.generic) else str
    return write(value)


def _array(value: np.ndarray) -> str:
    if value.size > 8:
        return digest(value)
    return f"{short_name(value.dtype)}{value.shape}{raw_bytes(value).hex()}"


def _scalar(value: np.generic) -> str:
    return f"scalar {_array(np.asarray(value))}"


def _float(value: float) -> str:
    return repr(value) if value == value else struct.pack("<d", value).hex()  # which NaN


def _complex(value: complex) -> str:
    return f"({_float(value.real)},{_float(value.imag)})"


def _tuple(values: Any) -> str:
    return f"({','.join(map(_text, values))})"


def _dict(value: dict[Any, Any]) -> str:
    return f"{{{','.join([f'{k!r}:{_text(v)}' for k, v in value.items()])}}}"


_TEXTS: dict[type, Callable[[Any], str]] = {
    **dict.fromkeys((int, str, bool, bytes, type(None)), repr),
    **dict.fromkeys((Dim, TensorType), lambda value: f"{type(value).__name__} {value}"),
    float: _float,
    complex: _complex,
    tuple: _tuple,
    list: lambda values: f"[{_tuple(values)}]",
    dict: _dict,
    np.ndarray: _array,
}
