"""The walk from MLIR operations to a graph: functions, regions and what they capture, one rule for each operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ...ir.builder import Builder
from ...ir.dims import Dim, DimLike, free_symbols, same, substitute, symbol
from ...ir.errors import ArgumentError, LaminaError, ShapeError, UnsupportedError
from ...ir.graph import Graph, Guard, Value, clone_node
from ...ir.types import TensorType, is_integer
from ..mlir import ir
from .dimensions import Known, fold
from .reading import Source, resources_of, shape_of, tensor_of

#: ``(scope, source, *values) -> value or values``: imports one operation.
Rule = Callable[..., Any]


class Token:
    """What stands for a value that only orders effects."""


class Equation(Exception):
    """A symbol turned out to have a value; the import starts again with it in place."""

    def __init__(self, name: str, value: DimLike) -> None:
        super().__init__(f"{name} = {value}")
        self.name = name
        self.value = value


class Importer:
    """Imports the functions of one MLIR module.

    Args:
        module: the module.
        rules: operation name -> rule.
        symbols: what is known of symbols by now (see :class:`Equation`).
    """

    def __init__(self, module: Any, rules: Mapping[str, Rule], symbols: Mapping[str, DimLike]) -> None:
        self.module = module
        self.rules = rules
        self.symbols = symbols
        self.definitions = {
            ir.StringAttr(op.attributes["sym_name"]).value: op
            for op in module.body.operations
            if op.operation.name == "func.func"
        }
        self.graphs: dict[str, Graph] = {}
        self.known = Known()
        self.guards: list[Guard] = []
        #: Modules beside this one whose operations are imported: alive until the end.
        self.borrowed: list[Any] = []
        #: How many operations that draw random numbers there were.
        self.draws = 0
        #: Results of LAPACK's geqrf (see custom_calls.py).
        self.packed: dict[Value, Any] = {}
        #: Functions that are being imported in place of their calls, to tell circles.
        self.path: list[str] = []

    @cached_property
    def resources(self) -> Mapping[str, bytes]:
        """The module's blobs by name."""
        return resources_of(self.module)

    @cached_property
    def is_open(self) -> bool:
        """Whether a function takes or returns a type with open dimensions; then calls are imported in place."""
        return any("?" in str(op.attributes["function_type"]) for op in self.definitions.values())

    def definition(self, name: str) -> Any:
        """The function of a name. Raises :class:`UnsupportedError` where there is none."""
        if name not in self.definitions:
            raise UnsupportedError(
                f"the program has no function @{name}; it has {', '.join(self.definitions) or 'none'}"
            )
        return self.definitions[name]

    def function(self, name: str) -> str:
        """The graph's name of a function that is called, imported at its first call."""
        if name in self.path:
            raise UnsupportedError(f"functions call each other in a circle: {' -> '.join([*self.path, name])}")
        if name not in self.graphs:
            self.path.append(name)
            block = self.definition(name).operation.regions[0].blocks[0]
            graph = Graph()
            scope = Scope(self, graph)
            scope.bind(block.arguments, [graph.add_input(tensor_of(a.type)) for a in block.arguments])
            graph.outputs = scope.plain(scope.block(block))
            graph.output_names = [""] * len(graph.outputs)
            self.graphs[name] = graph
            self.path.pop()
        return name

    def equate(self, a: DimLike, b: DimLike, why: str) -> None:
        """Take two dimensions for equal: by solving for a symbol, or by a guard. Raises where they never are."""
        truth = same(a, b)
        if truth:
            return
        if truth is False:
            raise ShapeError(f"{why}: {a} is not {b}")
        solved = _solve(a, b)
        if solved is not None:
            raise Equation(*solved)
        self.guards.append(Guard("==", a, b, why))


class Scope:
    """A graph that receives nodes, and the MLIR values that have one of its values.

    Args:
        importer: what the module's functions are imported by.
        graph: receives nodes and inputs.
        parent: what surrounds a region; values from there that are not constants become captures.
        nodes: as of :class:`Builder`.
    """

    def __init__(self, importer: Importer, graph: Graph, parent: Scope | None = None) -> None:
        self.importer = importer
        self.graph = graph
        self.parent = parent
        self.builder = Builder(graph)
        self.values: dict[Any, Any] = {}
        #: The parent's value -> this graph's input for it.
        self.captures: dict[Value, Value] = {}
        #: What stands in the way of captures: the name of an operation whose regions can have none.
        self.closed = ""

    @property
    def b(self) -> Builder:
        """The builder, short, as rules are full of it."""
        return self.builder

    def bind(self, arguments: Iterable[Any], values: Iterable[Any]) -> None:
        """Say what MLIR values stand for."""
        self.values.update(zip(arguments, values, strict=True))

    def find(self, value: Any) -> Any:
        """What stands for an MLIR value here; one from outside becomes an input, or is built again if constant."""
        found = self.values.get(value)
        if found is None:
            if self.parent is None:
                raise UnsupportedError(f"a value is used outside of where it is made: {value}")
            outer = self.parent.find(value)
            found = self.values[value] = outer if not isinstance(outer, Value) else self._captured(outer)
        return found

    def _captured(self, outer: Value) -> Value:
        copied = self._again(outer)
        if copied is not None:
            return copied
        if self.closed:
            raise UnsupportedError(
                f"a region of {self.closed} uses a value from outside, which targets do not take; pass it as an operand"
            )
        if outer not in self.captures:
            self.captures[outer] = Value(outer.type, name=outer.name)
            self.importer.known.copy(outer, self.captures[outer])
        return self.captures[outer]

    def _again(self, outer: Value) -> Value | None:
        """A constant, or what is made of constants alone, built again here; else None."""
        producer = outer.producer
        if producer is None or producer.op.name not in ("constant", "broadcast_in_dim", "iota", "dim_value", "reshape"):
            return None
        operands = [self._again(o) for o in producer.operands]
        if any(o is None for o in operands):
            return None
        new: dict[Value, Value] = {}
        self.builder.nodes.append(clone_node(producer, operands, new))  # type: ignore[arg-type]
        self.importer.known.copy(outer, new[outer])
        return new[outer]

    def block(self, block: Any) -> list[Any]:
        """Import the operations of a block; return what it returns."""
        for operation in block.operations:
            if operation.operation.name in ("func.return", "stablehlo.return", "return", "mhlo.return"):
                return [self.find(v) for v in operation.operation.operands]
            self.operation(operation)
        return []

    def operation(self, operation: Any) -> None:
        """Import one operation."""
        source = Source(operation, lambda: self.importer.resources)
        rule = self.importer.rules.get(source.name)
        if rule is None:
            raise UnsupportedError(f"{source.name} is no operation that can be imported ({source.place})")
        operands = [self.find(v) for v in source.operation.operands]
        try:
            with self.builder.at(source.location):
                results = _packed(_listed(rule(self, source, *operands)), source.result_types)
                results = [self.fitted(r, t) for r, t in zip(results, source.result_types, strict=True)]
                results = self.followed(fold(self.importer.known, source, operands), results)
        except LaminaError as error:
            if getattr(error, "placed", False):
                raise
            placed = type(error)(f"{error}\n  in {source.name}, {source.place}")
            placed.placed = True  # type: ignore[attr-defined]
            raise placed from None
        self.bind(source.operation.results, results)

    def followed(self, array: Any, results: list[Any]) -> list[Any]:
        """Remember what an operation's result is known to hold; a scalar that is a dimension is read off it."""
        if array is None:
            return results
        (value,) = results
        if array.shape == () and isinstance(array[()], Dim) and is_integer(value.dtype):
            if value.producer is None or value.producer.op.name != "dim_value":
                value = self.b.dim_value(dim=array[()], dtype=value.dtype)
        self.importer.known.note(array, value)
        return [value]

    def fitted(self, value: Any, type: Any) -> Any:
        """A result under the type that the program gives it: sizes it knows better become equations."""
        if not isinstance(value, Value) or not isinstance(type, ir.RankedTensorType):
            return value
        wanted = shape_of(type)
        if len(wanted) != value.rank:
            raise ShapeError(f"expected {type}, computed {value.type}")
        for axis, (want, have) in enumerate(zip(wanted, value.shape)):
            if want is not None and want != have:
                self.importer.equate(have, want, f"axis {axis} of {value.type}")
        return self.matched(value, [h if w is None else w for w, h in zip(wanted, value.shape)])

    def matched(self, value: Value, shape: Sequence[DimLike]) -> Value:
        """``value``, asserted to have ``shape``."""
        if tuple(shape) == value.shape:
            return value
        return self.b.match_shape(value, shape=tuple(shape))

    def settled(self, value: Value, type: TensorType) -> Value:
        """A value that leaves a region, under the type that others have who leave it in its place."""
        if value.shape == type.shape:
            return value
        self.equal_shapes(type.shape, value.shape)
        return self.matched(value, type.shape)

    def agreed(self, values: Sequence[Value]) -> list[Value]:
        """Values of one rank under the shape of the first, where the sizes of others are known under other names."""
        first = values[0]
        result = [first]
        for value in values[1:]:
            if value.rank == first.rank and value.shape != first.shape:
                self.equal_shapes(first.shape, value.shape)
                value = self.matched(value, first.shape)
            result.append(value)
        return result

    def equal_shapes(self, a: Sequence[DimLike], b: Sequence[DimLike]) -> None:
        """Take two shapes for equal, dimension by dimension."""
        for left, right in zip(a, b):
            self.importer.equate(left, right, "operands of one shape")

    def region(self, region: Any, name: str) -> Graph:
        """A region on its own arguments, as a graph of its own that captures nothing but constants."""
        graph = Graph()
        scope = Scope(self.importer, graph, self)
        scope.closed = name
        block = region.blocks[0]
        scope.bind(block.arguments, [graph.add_input(tensor_of(a.type)) for a in block.arguments])
        graph.outputs = scope.plain(scope.block(block))
        graph.output_names = [""] * len(graph.outputs)
        return graph

    def plain(self, values: Iterable[Any]) -> list[Value]:
        """Values that a graph can return: tuples spread, tokens refused."""
        result: list[Value] = []
        for value in values:
            if isinstance(value, tuple):
                result += self.plain(value)
            elif isinstance(value, Token):
                raise UnsupportedError(
                    "a function or region returns a token; lamina's programs have no tokens: leave it out"
                )
            else:
                result.append(value)
        return result

    def convert(self, value: Value, dtype: Any) -> Value:
        """``value`` in another element type, if it has another."""
        return self.b.astype(value, dtype)

    def inline(self, graph: Graph, operands: Sequence[Value]) -> list[Value]:
        """Append a graph's nodes on values for its inputs; return its outputs."""
        new = dict(zip(graph.inputs, operands, strict=True))
        for node in graph.nodes:
            self.builder.nodes.append(clone_node(node, [new[o] for o in node.operands], new))
        return [new[v] for v in graph.outputs]

    def call(self, name: str, operands: Sequence[Any]) -> list[Any]:
        """A function in place of its call."""
        if name in self.importer.path:
            raise UnsupportedError(f"functions call each other in a circle: {' -> '.join([*self.importer.path, name])}")
        self.importer.path.append(name)
        block = self.importer.definition(name).operation.regions[0].blocks[0]
        inner = Scope(self.importer, self.graph)
        inner.builder = self.builder
        inner.bind(block.arguments, [self.fitted(v, a.type) for v, a in zip(operands, block.arguments, strict=True)])
        location = self.builder.location
        results = inner.block(block)
        self.builder.location = location
        self.importer.path.pop()
        return results


def _listed(results: Any) -> list[Any]:
    if results is None:
        return []
    return list(results) if isinstance(results, (list, tuple)) else [results]


def _packed(results: list[Any], types: Sequence[Any]) -> list[Any]:
    """Results as one tuple, where the program takes them so (HLO's custom calls)."""
    one = len(types) == 1 and isinstance(types[0], ir.TupleType)
    return [tuple(results)] if one and not (len(results) == 1 and isinstance(results[0], tuple)) else results


def _solve(a: DimLike, b: DimLike) -> tuple[str, DimLike] | None:
    """A symbol and the value that makes two dimensions equal, where one is that symbol, or a product ``k*symbol``."""
    for left, right in ((a, b), (b, a)):
        if not isinstance(left, Dim):
            continue
        for name in sorted(free_symbols(left), reverse=True):
            rest = left - right
            step = substitute(rest, {name: 1}) - substitute(rest, {name: 0})
            linear = step * symbol(name) + substitute(rest, {name: 0})
            if linear == rest and isinstance(step, int) and step:
                value = substitute(rest, {name: 0}) * -1
                if value % step == 0 and name not in free_symbols(value // step):
                    return name, value // step
    return None


def renamed(graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give a main graph the names of its inputs and outputs."""
    if len(inputs) != len(graph.inputs):
        raise ArgumentError(f"expected {len(graph.inputs)} names of inputs, received {len(inputs)}")
    graph.input_names = list(inputs)
    for value, name in zip(graph.inputs, inputs):
        value.name = name
    graph.output_names = list(outputs)
