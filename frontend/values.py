"""Values of traced tensors: where a program is traced on arrays and run at once, Python may look at them.

A value is computed when it is asked for, from the arrays that the trace started with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from ..ir import Graph, Module, Node, TensorType, Value
from ..ir.graph import clone_node
from .tensor import Tensor
from .trace import Trace


def remember(inner: Sequence[Tensor], outer: Sequence[Tensor]) -> None:
    """Inputs of a region have the values of tensors around it."""
    for a, b in zip(inner, outer, strict=True):
        a.trace.root.aliases[a.value] = b.value


def value_of(tensor: Tensor) -> jax.Array | None:
    """The value of a traced tensor; None where it has none before the program runs."""
    root = tensor.trace.root
    if not root.reads_values:
        return None
    inputs: dict[Value, Any] = {}
    nodes: dict[Node, None] = {}
    if not _collect(root, tensor.value, inputs, nodes):
        return None
    return _run(root, tensor.value, inputs, list(nodes))


def _source(root: Trace, value: Value) -> Value:
    while value in root.aliases:
        value = root.aliases[value]
    return value


def _collect(root: Trace, value: Value, inputs: dict[Value, Any], nodes: dict[Node, None]) -> bool:
    """Find the nodes and arrays that ``value`` is made of; False where one has no value yet."""
    stack: list[tuple[Value, bool]] = [(value, False)]
    while stack:
        current, ready = stack.pop()
        current = _source(root, current)
        node = current.producer
        if ready and node is not None:
            nodes[node] = None
        elif current in root.known:
            inputs[current] = root.known[current]
        elif node is None:
            array = root.parameter_array(current)
            if array is None:
                return False
            inputs[current] = array
        elif node not in nodes:
            stack.append((current, True))
            stack.extend((v, False) for v in node.operands)
    return True


def _run(root: Trace, value: Value, inputs: dict[Value, Any], nodes: list[Node]) -> jax.Array:
    from ..compiler import Program

    graph = Graph()
    new: dict[Value, Value] = {v: graph.add_input(TensorType(v.dtype, a.shape)) for v, a in inputs.items()}
    for node in nodes:
        graph.nodes.append(clone_node(node, [new[_source(root, v)] for v in node.operands], new))
    graph.outputs = [new[_source(root, value)]]
    found = Program(Module({"main": graph}, "value"), pipeline="O0")(*inputs.values())[0]
    root.known[_source(root, value)] = found
    return found
