"""What results are measured against: the NumPy meaning of a graph whose floats have 64 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...ir import Builder, Graph, Module, Node, TensorType, Value, evaluate
from ...ir.graph import Update
from ...ir.types import F64, element_type, is_complex, is_float

_C128 = element_type("c128")
#: Ops that look at an element's bits, and so run in the graph's own type.
_OF_BITS = ("bitcast_convert", "next_after", "custom_call")


def wide_dtype(dtype: np.dtype) -> np.dtype:
    """float64 for floats, complex128 for complex numbers, others as they are."""
    return F64 if is_float(dtype) else _C128 if is_complex(dtype) else dtype


def wide_array(array: np.ndarray) -> np.ndarray:
    """An array in its wide type."""
    return array.astype(wide_dtype(array.dtype), copy=False)


def widen(module: Module) -> tuple[Module, dict[Value, Value]]:
    """A copy of ``module`` in which every float has 64 bits, and the values of its main graph by those of ``module``'s.

    Constants and weights keep the values they have; ops that look at bits run in their own type.
    """
    new: dict[Value, Value] = {}
    functions = {name: _graph(g, new if name == "main" else {}) for name, g in module.functions.items()}
    return Module(functions, module.name), new


def evaluate_wide(
    module: Module, inputs: Sequence[np.ndarray], parameters: Mapping[str, np.ndarray], values: Sequence[Value]
) -> list[np.ndarray]:
    """The wide results of ``values``, which are of the main graph of ``module``."""
    wide, new = widen(module)
    wide.main.outputs, wide.main.updates = [new[v] for v in values], []
    wide.main.output_names, wide.main.out_structure = [""] * len(values), None
    given = {name: wide_array(array) for name, array in parameters.items()}
    return evaluate(wide, *map(wide_array, inputs), parameters=given)[0]


def _graph(graph: Graph, new: dict[Value, Value]) -> Graph:
    wide = Graph(
        input_names=list(graph.input_names),
        output_names=list(graph.output_names),
        in_structure=graph.in_structure,
        out_structure=graph.out_structure,
        guards=list(graph.guards),
    )
    for value in graph.inputs:
        new[value] = Value(_type(value.type), name=value.name)
        wide.inputs.append(new[value])
    by_old = {p: wide.add_parameter(p.name, _type(p.type), p.key) for p in graph.parameters}
    new.update((p.value, copy.value) for p, copy in by_old.items())
    for node in graph.nodes:
        if node.op.name in _OF_BITS:
            _narrow_node(node, wide, new)
        else:
            wide.nodes.append(_node(node, new))
    wide.outputs = [new[v] for v in graph.outputs]
    wide.updates = [Update(by_old[u.parameter], new[u.value]) for u in graph.updates]
    return wide


def _node(node: Node, new: dict[Value, Value]) -> Node:
    regions = [_graph(region, {}) for region in node.regions]
    attributes = {k: _attribute(v) for k, v in node.attributes.items()}
    wide = Node(
        node.op, [new[o] for o in node.operands], attributes, regions, [_type(r.type) for r in node.results],
        node.location,
    )  # fmt: skip
    new.update(zip(node.results, wide.results, strict=True))
    return wide


def _narrow_node(node: Node, graph: Graph, new: dict[Value, Value]) -> None:
    """The node as it is, between conversions."""
    b = Builder(graph, location=node.location)
    operands = [b.convert(new[o], dtype=o.dtype) if new[o].dtype != o.dtype else new[o] for o in node.operands]
    narrow = Node(node.op, operands, node.attributes, node.regions, [r.type for r in node.results], node.location)
    graph.nodes.append(narrow)
    for old, result in zip(node.results, narrow.results, strict=True):
        to = wide_dtype(old.dtype)
        new[old] = b.convert(result, dtype=to) if to != old.dtype else result


def _type(type_: Any) -> Any:
    return type_.with_dtype(wide_dtype(type_.dtype)) if isinstance(type_, TensorType) else type_


def _attribute(value: Any) -> Any:
    """An attribute with element types made wide: a type, an array, or a tuple of types."""
    if isinstance(value, np.dtype):
        return wide_dtype(value)
    if isinstance(value, np.ndarray):
        return wide_array(value)
    if isinstance(value, tuple):
        return tuple(_attribute(v) for v in value)
    return _type(value)
