"""Structural equality: whether two modules say the same, and where they first differ.

Compared: inputs, outputs and their structure, parameters, updates, guards, nodes in order, operands, attributes (arrays
and floats bit for bit), types, names, layer paths. Not compared: Python frames, the keys of parameters.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from .graph import Graph, Guard, Module, Node, Value
from .literals import array_text, same_array


def equal(a: Module | Graph, b: Module | Graph) -> bool:
    """Whether two modules, or two graphs, are the same but for Python frames and parameter keys."""
    return difference(a, b) is None


def difference(a: Module | Graph, b: Module | Graph) -> str | None:
    """Say where two modules, or two graphs, first differ; None where they are equal."""
    if isinstance(a, Graph) and isinstance(b, Graph):
        return _graph(a, b)
    if not (isinstance(a, Module) and isinstance(b, Module)):
        return f"a {type(a).__name__} and a {type(b).__name__}"
    if a.name != b.name:
        return _differ("module name", a.name, b.name)
    if set(a.functions) != set(b.functions):
        return _differ("functions", sorted(a.functions), sorted(b.functions))
    for name, graph in a.functions.items():
        found = _graph(graph, b.functions[name])
        if found:
            return f"function {name}: {found}"
    return None


def same_value(a: Any, b: Any) -> bool:
    """Whether two attributes are the same: of one Python type, tuples element by element, arrays and floats by bits."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return same_array(a, b)
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same_value, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_value(v, b[k]) for k, v in a.items())
    return bool(a == b)


def _differ(what: str, a: Any, b: Any) -> str:
    return f"{what}: {_short(a)} and {_short(b)}"


def _short(value: Any) -> str:
    text = array_text(value) if isinstance(value, np.ndarray) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _names(names: Sequence[str], values: Sequence[Value]) -> list[str]:
    """No names at all means the same as an empty name for each."""
    return list(names) or [""] * len(values)


def _graph(a: Graph, b: Graph) -> str | None:
    """The first difference of two graphs."""
    matched: dict[Value, Value] = {}
    found = (
        _interface(a, b)
        or _values("input", a.inputs, b.inputs, matched)
        or _values("parameter", [p.value for p in a.parameters], [p.value for p in b.parameters], matched)
    )
    if found:
        return found
    for index, (left, right) in enumerate(zip(a.nodes, b.nodes)):
        found = _node(left, right, matched)
        if found:
            return f"node {index} ({left.op.name}): {found}"
    if len(a.nodes) != len(b.nodes):
        return _differ("number of nodes", len(a.nodes), len(b.nodes))
    for index, (x, y) in enumerate(zip(a.outputs, b.outputs, strict=True)):
        if matched.get(x) is not y:
            return f"output {index} is another value"
    for u, v in zip(a.updates, b.updates, strict=True):
        if matched.get(u.parameter.value) is not v.parameter.value or matched.get(u.value) is not v.value:
            return f"the update of {u.parameter.name} is another"
    return None


def _interface(a: Graph, b: Graph) -> str | None:
    pairs = [
        ("number of inputs", len(a.inputs), len(b.inputs)),
        ("number of outputs", len(a.outputs), len(b.outputs)),
        ("number of updates", len(a.updates), len(b.updates)),
        ("input names", _names(a.input_names, a.inputs), _names(b.input_names, b.inputs)),
        ("output names", _names(a.output_names, a.outputs), _names(b.output_names, b.outputs)),
        ("input structure", a.in_structure, b.in_structure),
        ("output structure", a.out_structure, b.out_structure),
        ("parameters", [p.name for p in a.parameters], [p.name for p in b.parameters]),
        ("guards", list(map(_guard, a.guards)), list(map(_guard, b.guards))),
    ]
    return next((_differ(*pair) for pair in pairs if not same_value(*pair[1:])), None)


def _guard(guard: Guard) -> tuple[Any, ...]:
    return guard.relation, guard.left, guard.right, guard.reason, guard.location.layers


def _values(what: str, a: Sequence[Value], b: Sequence[Value], matched: dict[Value, Value]) -> str | None:
    """Compare values where they are defined, and take them as each other's counterpart from here on."""
    if len(a) != len(b):
        return _differ(f"number of {what}s", len(a), len(b))
    for index, (x, y) in enumerate(zip(a, b)):
        if x.type != y.type:
            return _differ(f"type of {what} {index}", x.type, y.type)
        if x.name != y.name:
            return _differ(f"name of {what} {index}", repr(x.name), repr(y.name))
        matched[x] = y
    return None


def _node(a: Node, b: Node, matched: dict[Value, Value]) -> str | None:
    if a.op.name != b.op.name:
        return _differ("op", a.op.name, b.op.name)
    if len(a.operands) != len(b.operands):
        return _differ("number of operands", len(a.operands), len(b.operands))
    for index, (x, y) in enumerate(zip(a.operands, b.operands)):
        if matched.get(x) is not y:
            return f"operand {index} is another value"
    if a.attributes.keys() != b.attributes.keys():
        return _differ("attributes", sorted(a.attributes), sorted(b.attributes))
    for name, value in a.attributes.items():
        if not same_value(value, b.attributes[name]):
            return _differ(f"attribute {name}", value, b.attributes[name])
    if a.location.layers != b.location.layers:
        return _differ("layers", a.location.layers, b.location.layers)
    if len(a.regions) != len(b.regions):
        return _differ("number of regions", len(a.regions), len(b.regions))
    for index, (left, right) in enumerate(zip(a.regions, b.regions)):
        found = _graph(left, right)
        if found:
            return f"region {index}: {found}"
    return _values("result", a.results, b.results, matched)
