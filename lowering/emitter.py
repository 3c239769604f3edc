"""The walk from a graph to MLIR operations at the current insertion point; a table says what each op becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jax.extend.mlir.dialects import func

from ..ir.builder import Builder
from ..ir.errors import ArgumentError, UnsupportedError
from ..ir.graph import Graph, Node, Value
from ..ir.location import UNKNOWN
from ..ir.opdef import Call, as_tuple
from ..ir.types import TensorType
from .mlir import ir, location, mlir_errors, sharding_attribute, symbol_table, tensor_type
from .stablehlo_dynamic import DYNAMIC, OpenDims, check_expressible, is_open

#: ``(emitter, node, *operands) -> value or values``: emits one node.
Rule = Callable[..., Any]
#: ``(builder, call, *values) -> value or values``: says an op by others, in the graph's own terms.
Expansion = Callable[..., Any]


class Emitter:
    """Emits graphs into one MLIR module.

    Args:
        table: op name -> rule.
        module: receives called functions; graphs go to the current insertion point.
        functions: the graphs that ``call`` names.
        symbols: the module's symbol table, if somebody else inserts into the module as well.
        mesh: the size of each axis of the mesh of devices, if the program is for more than one.
    """

    def __init__(
        self,
        table: Mapping[str, Rule],
        module: ir.Module,
        functions: Mapping[str, Graph] | None = None,
        symbols: ir.SymbolTable | None = None,
        mesh: Mapping[str, int] | None = None,
    ) -> None:
        self.mesh = dict(mesh or {})
        self.table = table
        self.module = module
        self.functions = functions or {}
        #: What jax calls the kind of device that the program is for.
        self.platform = "cpu"
        self.symbols = symbols if symbols is not None else symbol_table(module)
        self._called: dict[str, str] = {}
        self._types: dict[TensorType, ir.Type] = {}
        self._open: OpenDims | None = None
        self._where = UNKNOWN

    @property
    def open_dims(self) -> OpenDims:
        """The values of symbolic dimensions here. Raises :class:`UnsupportedError` outside a function of its own."""
        if self._open is None:
            raise UnsupportedError("shapes must be concrete here; give symbolic dimensions values, such as N=32")
        return self._open

    def type(self, type: TensorType) -> ir.Type:
        """The MLIR tensor type of one of ours."""
        if type not in self._types:
            self._types[type] = tensor_type(type)
        return self._types[type]

    def result_types(self, node: Node) -> list[ir.Type]:
        """The MLIR types of a node's results."""
        return [self.type(r.type) for r in node.results]

    def create(
        self,
        name: str,
        operands: Sequence[ir.Value],
        types: Sequence[ir.Type],
        attributes: Mapping[str, ir.Attribute] | None = None,
        regions: int = 0,
    ) -> ir.Operation:
        """Append one operation at the insertion point, under the current location."""
        return ir.Operation.create(
            name, results=types, operands=operands, attributes=dict(attributes or {}), regions=regions
        )

    def graph(self, graph: Graph, operands: Sequence[ir.Value]) -> list[ir.Value]:
        """Emit the nodes of ``graph`` on values for its parameters, then its inputs; return outputs, then updates."""
        inputs = [p.value for p in graph.parameters] + graph.inputs
        environment: dict[Value, ir.Value] = dict(zip(inputs, operands, strict=True))
        for node in graph.nodes:
            results = self.node(node, [environment[o] for o in node.operands])
            environment.update(zip(node.results, results, strict=True))
        return [environment[v] for v in graph.results]

    def node(self, node: Node, operands: Sequence[ir.Value]) -> list[ir.Value]:
        """Emit one node; a composite that is still there is emitted by its decomposition."""
        rule = self._rule(node)
        outer = self._where
        if node.location != UNKNOWN:  # else the node is of a region, and has the place of what surrounds it
            self._where = node.location
        try:
            with (
                location(self._where, node.op.name),
                mlir_errors(f"StableHLO refuses what {node.op.name} became", self._where),
            ):
                if rule is not None:
                    return _verified(values_of(rule(self, node, *operands)))
                if node.op.decompose is not None:
                    return self.expand(node.op.decompose, node, operands)
        finally:
            self._where = outer
        raise UnsupportedError(f"the op {node.op.name} has no StableHLO form (at {node.location})")

    def _rule(self, node: Node) -> Rule | None:
        if not is_open(node):
            return self.table.get(node.op.name)
        if node.op.name not in DYNAMIC and not node.op.is_composite:
            check_expressible(node)
        return DYNAMIC.get(node.op.name) or self.table.get(node.op.name)

    def expand(self, rule: Expansion, node: Node, operands: Sequence[ir.Value]) -> list[ir.Value]:
        """Emit what ``rule`` says in place of ``node``, in the graph's own terms."""
        scratch = Graph()
        values = [scratch.add_input(o.type) for o in node.operands]
        call = Call(node.op, node.attributes, node.regions, [r.type for r in node.results])
        builder = Builder(scratch, location=node.location)
        scratch.outputs = list(as_tuple(rule(builder, call, *values)))
        return self.graph(scratch, operands)

    def region(
        self, region: ir.Region, inputs: Sequence[Value], body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]]
    ) -> None:
        """Fill a region with one block that takes values of the types of ``inputs`` and returns what ``body`` does."""
        block = region.blocks.append(*[self.type(v.type) for v in inputs])
        with ir.InsertionPoint(block):
            self.create("stablehlo.return", list(body(list(block.arguments))), ())

    def regions(self, operation: ir.Operation, graphs: Sequence[Graph]) -> None:
        """Fill each region of an operation with a graph."""
        for region, graph in zip(operation.regions, graphs, strict=True):
            self.region(region, graph.inputs, partial(self.graph, graph))

    def function(self, name: str, graph: Graph, public: bool = False) -> str:
        """Add a function to the module; return the name it got."""
        values = [p.value for p in graph.parameters] + graph.inputs
        arguments = [self.type(v.type) for v in values]
        results = [self.type(v.type) for v in graph.results]
        with ir.InsertionPoint(self.module.body):
            make: Any = func.FuncOp  # the stubs describe the generated class, which this one extends
            operation = make(name, (arguments, results), visibility="public" if public else "private")
        given = self.symbols.insert(operation)
        where = [ir.Location.name(v.name) if v.name else ir.Location.unknown() for v in values]
        if self.mesh and public:
            operation.arg_attrs = ir.ArrayAttr.get([self._laid_out(v.type) for v in values])
        block = operation.add_entry_block(where)
        outer = self._open
        with ir.InsertionPoint(block):
            with location(UNKNOWN, "sizes"):
                self._open = OpenDims(self, values, list(block.arguments))
            func.ReturnOp(self.graph(graph, list(block.arguments)))
        self._open = outer
        return ir.StringAttr(given).value

    def _laid_out(self, type: TensorType) -> ir.Attribute:
        """The attributes of an argument of the main function: how it is laid over the mesh, where that is said."""
        if type.sharding is None:
            return ir.DictAttr.get({})
        return ir.DictAttr.get({"sdy.sharding": sharding_attribute(type.sharding, self.mesh)})

    def callee(self, name: str) -> str:
        """The module's name of a called function, emitted at its first use."""
        if name not in self._called:
            if name not in self.functions:
                raise ArgumentError(
                    f"the module has no function {name!r}; it has {', '.join(self.functions) or 'none'}"
                )
            self._called[name] = self.function(name, self.functions[name])
        return self._called[name]


def _verified(results: list[ir.Value]) -> list[ir.Value]:
    """Check the operation that made ``results`` now, while the node it stands for is known."""
    if results and not isinstance(results[0].owner, ir.Block):
        results[0].owner.verify()
    return results


def values_of(result: Any) -> list[ir.Value]:
    """A rule may return an operation, a value, or several values."""
    if isinstance(result, ir.Operation):
        return list(result.results)
    return list(result) if isinstance(result, (list, tuple)) else [result]


def op(name: str, attributes: Callable[[Node], Mapping[str, ir.Attribute]] | None = None) -> Rule:
    """The usual rule: one operation on all operands, with ``attributes(node)`` and the node's regions as they are."""

    def rule(emitter: Emitter, node: Node, *operands: ir.Value) -> ir.Operation:
        made = emitter.create(
            name, operands, emitter.result_types(node), attributes(node) if attributes else None, len(node.regions)
        )
        emitter.regions(made, node.regions)
        return made

    return rule


def expanded(rule: Expansion) -> Rule:
    """The rule of an op that is emitted as what ``rule`` builds of other ops."""
    return lambda emitter, node, *operands: emitter.expand(rule, node, operands)


def inlined(region: int = 0) -> Rule:
    """The rule of an op that is one of its regions on its operands."""
    return lambda emitter, node, *operands: emitter.graph(node.regions[region], operands)
