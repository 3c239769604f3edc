"""The graph: modules of functions, functions of nodes, nodes of values, in SSA order.

Plain mutable data. Regions are graphs too, and are isolated from above: whatever a region uses from outside reaches it
as an operand of its node, so a region can be evaluated, verified and rewritten alone.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .dims import DimLike
from .location import UNKNOWN, Location
from .types import TensorType

if TYPE_CHECKING:
    from .opdef import OpDef


class Value:
    """A tensor in a graph: an input, a parameter, or one result of a node. Compared by identity.

    ``producer`` is the node it comes from (None for inputs and parameters), ``index`` which of its results it is;
    ``name`` is a hint for printing.
    """

    __slots__ = ("index", "name", "producer", "type")

    def __init__(self, type: TensorType, producer: Node | None = None, index: int = 0, name: str = "") -> None:
        self.type = type
        self.producer = producer
        self.index = index
        self.name = name

    @property
    def shape(self) -> tuple[DimLike, ...]:
        return self.type.shape

    @property
    def dtype(self) -> Any:
        return self.type.dtype

    @property
    def rank(self) -> int:
        return len(self.type.shape)

    def __repr__(self) -> str:
        return f"<Value {self.name or ''}: {self.type}>"


class Node:
    """An op applied to operands: ``results = op(operands) {attributes} (regions)``. Compared by identity."""

    __slots__ = ("attributes", "location", "op", "operands", "regions", "results")

    def __init__(
        self,
        op: OpDef,
        operands: Sequence[Value],
        attributes: Mapping[str, Any],
        regions: Sequence[Graph] = (),
        result_types: Iterable[TensorType] = (),
        location: Location = UNKNOWN,
    ) -> None:
        self.op = op
        self.operands = list(operands)
        self.attributes = dict(attributes)
        self.regions = list(regions)
        self.results = tuple([Value(t, self, i) for i, t in enumerate(result_types)])
        self.location = location

    @property
    def result(self) -> Value:
        """The only result of a node that has one."""
        return self.results[0]

    def __repr__(self) -> str:
        return f"<Node {self.op.name} {[str(r.type) for r in self.results]} at {self.location}>"


@dataclass(eq=False, slots=True)
class Parameter:
    """A named value that a graph takes from outside beside its inputs: a weight, a seed state.

    ``key`` is its identity for whoever binds it (compiler.py: the Variable); the IR never looks inside.
    """

    name: str
    value: Value
    key: Any = None

    @property
    def type(self) -> TensorType:
        return self.value.type


@dataclass(eq=False, slots=True)
class Update:
    """A state update: after a run, ``parameter`` holds ``value``."""

    parameter: Parameter
    value: Value


@dataclass(frozen=True, slots=True)
class Guard:
    """An assumption about symbolic dimensions, checked when they become concrete: ``left relation right``.

    ``relation`` is one of ``== != >= <``; ``reason`` says what needed it, ``location`` where.
    """

    relation: str
    left: DimLike
    right: DimLike
    reason: str = ""
    location: Location = UNKNOWN

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


@dataclass(eq=False)
class Graph:
    """Inputs, parameters, nodes in SSA order, outputs and state updates; a function's body or a node's region.

    ``in_structure`` and ``out_structure`` are nests of dicts, lists, tuples and None whose leaves are indices into
    ``inputs`` and ``outputs`` (None: a flat tuple); ``input_names`` and ``output_names`` are their names, if any.
    """

    inputs: list[Value] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    input_names: list[str] = field(default_factory=list)
    output_names: list[str] = field(default_factory=list)
    in_structure: Any = None
    out_structure: Any = None

    def add_input(self, type: TensorType, name: str = "") -> Value:
        value = Value(type, name=name)
        self.inputs.append(value)
        self.input_names.append(name)
        return value

    def add_parameter(self, name: str, type: TensorType, key: Any = None) -> Parameter:
        parameter = Parameter(name, Value(type, name=name), key)
        self.parameters.append(parameter)
        return parameter

    @property
    def results(self) -> list[Value]:
        """Everything the graph keeps alive: outputs, then the values of updates."""
        return self.outputs + [update.value for update in self.updates]

    @property
    def symbols(self) -> list[str]:
        """Names of the symbolic dimensions of inputs and parameters, in order of appearance."""
        values = self.inputs + [p.value for p in self.parameters]
        return list(dict.fromkeys(s for v in values for s in sorted(v.type.symbols)))

    def walk(self) -> Iterator[Node]:
        """Every node, those inside regions included, in order."""
        for node in self.nodes:
            yield node
            for region in node.regions:
                yield from region.walk()

    def users(self) -> dict[Value, list[Node]]:
        """For each value the nodes of this graph that take it, once per operand."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for operand in node.operands:
                found.setdefault(operand, []).append(node)
        return found

    def __str__(self) -> str:
        from .text import print_graph

        return print_graph(self)


@dataclass(eq=False)
class Module:
    """A main graph and the functions it calls, by name. ``name`` is the model's or function's name."""

    functions: dict[str, Graph]
    name: str = "main"

    @property
    def main(self) -> Graph:
        return self.functions["main"]

    def walk(self) -> Iterator[Node]:
        """Every node of every function, regions included."""
        for graph in self.functions.values():
            yield from graph.walk()

    def __str__(self) -> str:
        from .text import print_module

        return print_module(self)


def clone(
    graph: Graph, substitution: dict[Value, Value] | None = None, dims: Mapping[str, DimLike] | None = None
) -> Graph:
    """A copy that shares no mutable part with ``graph``.

    Args:
        substitution: filled with old value -> new value.
        dims: symbols to replace on the way; types, attributes and regions follow.
    """
    new: dict[Value, Value] = {} if substitution is None else substitution
    copy = Graph(
        input_names=list(graph.input_names),
        output_names=list(graph.output_names),
        in_structure=graph.in_structure,
        out_structure=graph.out_structure,
        guards=list(graph.guards),
    )
    for value in graph.inputs:
        new[value] = Value(_type(value, dims), name=value.name)
        copy.inputs.append(new[value])
    by_old: dict[Parameter, Parameter] = {}
    for p in graph.parameters:
        new[p.value] = Value(_type(p.value, dims), name=p.value.name)
        by_old[p] = Parameter(p.name, new[p.value], p.key)
        copy.parameters.append(by_old[p])
    for node in graph.nodes:
        copy.nodes.append(clone_node(node, [new[o] for o in node.operands], new, dims))
    copy.outputs = [new[v] for v in graph.outputs]
    copy.updates = [Update(by_old[u.parameter], new[u.value]) for u in graph.updates]
    return copy


def clone_node(
    node: Node, operands: Sequence[Value], new: dict[Value, Value], dims: Mapping[str, DimLike] | None = None
) -> Node:
    """A copy of ``node`` on other operands; ``new`` receives old result -> new result."""
    attributes = {k: substitute_attribute(v, dims) for k, v in node.attributes.items()} if dims else node.attributes
    regions = [clone(region, dims=dims) for region in node.regions]
    copy = Node(node.op, operands, attributes, regions, (_type(r, dims) for r in node.results), node.location)
    for old, result in zip(node.results, copy.results, strict=True):
        result.name = old.name
        new[old] = result
    return copy


def clone_module(module: Module, dims: Mapping[str, DimLike] | None = None) -> Module:
    """A copy of a module; ``dims`` as in :func:`clone`."""
    return Module({name: clone(graph, dims=dims) for name, graph in module.functions.items()}, module.name)


@contextmanager
def without_collection() -> Iterator[None]:
    """Within the block no garbage is collected.

    Graphs are many small objects that live on: searching them for garbage would take half of the time of making them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _type(value: Value, dims: Mapping[str, DimLike] | None) -> TensorType:
    return value.type.substitute(dims) if dims else value.type


def substitute_attribute(value: Any, dims: Mapping[str, DimLike]) -> Any:
    """Replace symbols inside an attribute (a dimension, a type, or nested tuples of them); others pass through."""
    from .dims import Dim, substitute

    if isinstance(value, Dim):
        return substitute(value, dims)
    if isinstance(value, TensorType):
        return value.substitute(dims)
    if isinstance(value, tuple):
        return tuple(substitute_attribute(v, dims) for v in value)
    return value
