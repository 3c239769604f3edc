"""Verification: whether a module keeps the rules of the IR; if not, what is wrong and where, shown in its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .dims import Dim, DimLike
from .equality import same_value
from .errors import LaminaError, VerificationError
from .graph import Graph, Module, Node, Value
from .opdef import OPS, Call, OpDef, infer_types, normalize_attribute
from .text import Printer, attribute_text
from .types import TensorType, TokenType, element_type, same_type

_SHOWN = 10  # lines before and after the wrong one
_RELATIONS = ("==", "!=", ">=", "<")
_VARIADIC = ("cond",)  # ops that take any number of regions; their inference says which numbers are right


def verify(program: Module | Graph) -> None:
    """Check that a module, or one graph, is well formed.

    Checked: every value is defined once, before its uses and in the graph that uses it; ops, attributes, regions and
    result types agree with the ops' declarations; parameters, updates, names and structures fit; calls name functions
    of the module that take and return these types, and no function calls itself. A graph alone is not asked what its
    calls go to.

    Raises:
        VerificationError: the first rule that is broken, and the graph's text around it with a mark at that place.
    """
    functions = program.functions if isinstance(program, Module) else {"main": program}
    callees = program.functions if isinstance(program, Module) else None
    if "main" not in functions:
        raise VerificationError(f"the module {program.name!r} has no function 'main'")  # type: ignore[union-attr]
    checker = _Checker(callees)
    for name, graph in functions.items():
        try:
            checker.function(graph)
        except _Broken as broken:
            raise VerificationError(_report(name, graph, broken)) from broken.__cause__
    if callees is not None:
        _check_recursion(callees)


class _Broken(Exception):
    """A rule is broken at ``where``: a node, a parameter, ... (a graph: at its first line).

    ``{value}`` in the message stands for ``value`` as it is printed.
    """

    def __init__(self, message: str, where: object, value: Value | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.value = value


def _report(name: str, graph: Graph, broken: _Broken) -> str:
    """The message, and the function's text around the wrong place with the message under it."""
    printer = Printer()
    printer.function(name, graph)
    lines, at, message = printer.lines, printer.where.get(id(broken.where), 0), broken.message
    if broken.value is not None:
        message = message.replace("{value}", f"{printer.value(broken.value)}: {broken.value.type}")
    line = lines[at]
    indent = line[: len(line) - len(line.lstrip())]
    first, last = max(0, at - _SHOWN), min(len(lines), at + 1 + _SHOWN)
    shown = [*lines[first : at + 1], f"{indent}^^^ {message}", *lines[at + 1 : last]]
    if first:
        shown.insert(0, "...")
    if last < len(lines):
        shown.append("...")
    what = f"function {name}"
    if isinstance(broken.where, Node):
        what += f", {broken.where.op.name} at {broken.where.location}"
    return "\n".join([f"{what}: {message}", *(f"  {text}" for text in shown)])


class _Checker:
    """Checks functions one after another; remembers what inference said of equal uses of an op."""

    def __init__(self, functions: Mapping[str, Graph] | None) -> None:
        self.functions = functions
        self.inferred: dict[Any, tuple[TensorType, ...]] = {}

    def function(self, graph: Graph) -> None:
        """Check a graph that is a function, then what regions have not: names and structures."""
        self.graph(graph)
        for what, values, names in (
            ("input", graph.inputs, graph.input_names),
            ("output", graph.outputs, graph.output_names),
        ):
            if len(names) != len(values) and (names or what == "input"):
                raise _Broken(f"there are {len(values)} {what}s and {len(names)} {what} names", graph)
        _check_structure("input", graph.in_structure, len(graph.inputs), graph, each=True)
        _check_structure("output", graph.out_structure, len(graph.outputs), graph, each=False)

    def graph(self, graph: Graph) -> None:
        """Check a function's body or a region."""
        defined: set[Value] = set()
        for value in graph.inputs:
            _define(value, None, 0, defined, graph)
        names = set()
        for parameter in graph.parameters:
            _define(parameter.value, None, 0, defined, parameter)
            if parameter.name in names:
                raise _Broken(f"two parameters are named {parameter.name!r}", parameter)
            names.add(parameter.name)
        for guard in graph.guards:
            if guard.relation not in _RELATIONS or not _is_dim(guard.left) or not _is_dim(guard.right):
                raise _Broken(f"a guard compares two dimensions by one of {' '.join(_RELATIONS)}", guard)
        for node in graph.nodes:
            self.node(node, defined)
        for value in graph.outputs:
            if value not in defined:
                raise _Broken("the output {value} is not a value of this graph", graph.outputs, value)
        self.updates(graph, defined)

    def updates(self, graph: Graph, defined: set[Value]) -> None:
        """Each update is of a parameter of the graph, the only one of it, and of the parameter's type."""
        seen = set()
        for update in graph.updates:
            parameter, value = update.parameter, update.value
            if all(parameter is not p for p in graph.parameters):
                raise _Broken(f"the update is of {parameter.name!r}, which is not a parameter of this graph", update)
            if parameter in seen:
                raise _Broken(f"{parameter.name!r} is updated twice", update)
            seen.add(parameter)
            if value not in defined:
                raise _Broken(f"the next value of {parameter.name!r} is not a value of this graph", update)
            if value.type != parameter.type:
                raise _Broken(f"{parameter.name!r} has the type {parameter.type}, its next value {value.type}", update)

    def node(self, node: Node, defined: set[Value]) -> None:
        """Check one node; its results join ``defined``."""
        if OPS.get(node.op.name) is not node.op:
            raise _Broken(f"{node.op.name} is not a declared op", node)
        for index, operand in enumerate(node.operands):
            if operand not in defined:
                origin = f" (it is a result of {operand.producer.op.name})" if operand.producer else ""
                raise _Broken(
                    f"operand {index}, {{value}}, is not defined in this graph before it is used{origin}", node, operand
                )
        _check_attributes(node)
        expected = len(node.op.regions)
        if len(node.regions) != expected and not (node.op.name in _VARIADIC and node.regions):
            raise _Broken(
                f"{node.op.name} takes {expected} regions ({', '.join(node.op.regions) or 'none'}), "
                f"this has {len(node.regions)}",
                node,
            )
        for region in node.regions:
            if region.parameters or region.updates:
                raise _Broken("a region has no parameters and no updates: they pass as operands and results", region)
            self.graph(region)
        self.types(node)
        if node.op.name == "call" and self.functions is not None:
            _check_call(node, self.functions)
        for index, result in enumerate(node.results):
            _define(result, node, index, defined, node)

    def types(self, node: Node) -> None:
        """The result types are those that inference gives."""
        try:
            inferred = self.infer(node.op, node.attributes, [o.type for o in node.operands], node.regions)
        except LaminaError as error:
            raise _Broken(str(error), node) from error
        except Exception as error:  # rules may take for granted what only the builder's callers keep, such as arity
            given = ", ".join(str(o.type) for o in node.operands)
            raise _Broken(f"{node.op.name} does not take ({given}): {type(error).__name__}: {error}", node) from error
        if len(inferred) != len(node.results):
            raise _Broken(f"{node.op.name} has {len(inferred)} results, this node {len(node.results)}", node)
        for index, (result, type_) in enumerate(zip(node.results, inferred)):
            _check_type(result, node)
            if not same_type(result.type, type_):
                raise _Broken(
                    f"result {index} says {result.type}, {node.op.name} of these operands gives {type_}", node
                )

    def infer(
        self, op: OpDef, attributes: Mapping[str, Any], types: Sequence[TensorType], regions: Sequence[Graph]
    ) -> tuple[TensorType, ...]:
        call = Call(op, attributes, regions)
        if op.infer is not None or regions:
            return infer_types(call, types)
        key = (op, tuple(attributes.items()), tuple(types))  # a composite that would be decomposed each time
        try:
            found = self.inferred.get(key)
        except TypeError:  # an attribute is an array
            return infer_types(call, types)
        if found is None:
            found = self.inferred[key] = infer_types(call, types)
        return found


def _define(value: Value, producer: Node | None, index: int, defined: set[Value], where: object) -> None:
    if value in defined:
        raise _Broken("{value} is defined twice", where, value)
    if value.producer is not producer or value.index != index:
        raise _Broken("{value} says that another node, or none, produces it", where, value)
    _check_type(value, where)
    defined.add(value)


def _check_type(value: Value, where: object) -> None:
    if not isinstance(value.type, (TensorType, TokenType)):
        raise _Broken("{value} has no type", where, value)


def _is_dim(dim: DimLike) -> bool:
    return isinstance(dim, (int, Dim))


def _check_attributes(node: Node) -> None:
    """All attributes of the op are there, no others, each in its plain form."""
    declared = node.op.attributes
    if node.attributes.keys() != declared.keys():
        unknown = [name for name in node.attributes if name not in declared]
        missing = [name for name in declared if name not in node.attributes]
        raise _Broken(
            f"{node.op.name} "
            + (f"has no attribute {unknown[0]!r}" if unknown else f"lacks the attribute {missing[0]!r}"),
            node,
        )
    for name, value in node.attributes.items():
        kind = declared[name].kind
        if not _is_plain(kind, value):
            raise _Broken(
                f"the attribute {name!r} should be {kind}, it is {attribute_text(value)} ({type(value).__name__})", node
            )


def _is_plain(kind: str, value: Any) -> bool:
    if kind == "array":  # not normalized for a comparison: that copies
        return isinstance(value, np.ndarray) and _has_element_type(value)
    try:
        return same_value(normalize_attribute(kind, value), value)
    except (TypeError, ValueError, AttributeError):
        return False


def _has_element_type(array: np.ndarray) -> bool:
    try:
        return element_type(array.dtype) == array.dtype
    except LaminaError:
        return False


def _check_structure(what: str, structure: Any, count: int, graph: Graph, each: bool) -> None:
    """The leaves are indices of inputs or outputs; with ``each``, every input is there once."""
    if structure is None:
        return
    leaves = list(_leaves(structure, what, graph))
    for leaf in leaves:
        if not 0 <= leaf < count:
            raise _Broken(f"the {what} structure has the index {leaf}; there are {count} {what}s", graph)
    if each and sorted(leaves) != list(range(count)):
        raise _Broken(
            f"the {what} structure has the indices {sorted(leaves)}; each of the {count} {what}s should be there once",
            graph,
        )


def _leaves(structure: Any, what: str, graph: Graph) -> Iterator[int]:
    if isinstance(structure, (dict, list, tuple)):
        for part in structure.values() if isinstance(structure, dict) else structure:
            yield from _leaves(part, what, graph)
    elif isinstance(structure, int) and not isinstance(structure, bool):
        yield structure
    elif structure is not None:
        raise _Broken(
            f"the {what} structure holds {structure!r}; it nests dicts, lists, tuples and None around indices", graph
        )


def _check_call(node: Node, functions: Mapping[str, Graph]) -> None:
    """The callee exists, takes the operands and returns the results; its symbols stand for the operands' dimensions."""
    name = node.attributes["callee"]
    if name not in functions:
        raise _Broken(f"the module has no function {name!r}; it has {', '.join(functions)}", node)
    callee = functions[name]
    if callee.parameters or callee.updates:
        raise _Broken(
            f"the function {name!r} has parameters or updates; only main has, others take them as operands", node
        )
    types = [o.type for o in node.operands]
    bound: dict[str, DimLike] = {}
    for value, type_ in zip(callee.inputs, types):
        for dim, size in zip(value.type.shape, type_.shape):
            if isinstance(dim, Dim) and str(dim).isidentifier():
                bound.setdefault(str(dim), size)
    takes, returns = ([_bound(v.type, bound) for v in values] for values in (callee.inputs, callee.outputs))
    for what, expected, received in (("takes", takes, types), ("returns", returns, [r.type for r in node.results])):
        if len(expected) != len(received) or not all(map(same_type, expected, received)):
            raise _Broken(
                f"the function {name!r} {what} ({', '.join(map(str, expected))}), the call has "
                f"({', '.join(map(str, received))})",
                node,
            )


def _bound(type_: TensorType, values: Mapping[str, DimLike]) -> TensorType:
    return type_ if isinstance(type_, TokenType) else type_.substitute(values)


def _check_recursion(functions: Mapping[str, Graph]) -> None:
    """No function reaches itself by calls."""
    calls = {name: [n for n in graph.walk() if n.op.name == "call"] for name, graph in functions.items()}
    done: set[str] = set()
    for start in functions:
        path: list[tuple[str, Iterator[Node]]] = [(start, iter(calls[start]))] if start not in done else []
        while path:
            name, rest = path[-1]
            node = next(rest, None)
            if node is None:
                done.add(name)
                path.pop()
                continue
            callee = node.attributes["callee"]
            cycle = [n for n, _ in path]
            if callee in cycle:
                way = " -> ".join([*cycle[cycle.index(callee) :], callee])
                broken = _Broken(f"the functions are recursive: {way}", node)
                raise VerificationError(_report(name, functions[name], broken))
            if callee not in done:
                path.append((callee, iter(calls[callee])))
