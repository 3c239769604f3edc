"""The text of modules: one line a node, with types and layer; ``parser.parse`` reads it back to an equal module.

::

    module @sequential

    func @main(%x: f32[N,8]) -> (probabilities: f32[N,4]) {
      inputs (0)
      guard N >= 1 "softmax of no rows" @softmax
      param %dense/kernel: f32[8,4]
      %0 = dot_general(%x, %dense/kernel) {lhs_contract=[1], rhs_contract=[0]} : f32[N,4] @dense
      %1, %2 = sort(%0, %0) {axis=1} : f32[N,4], f32[N,4] @top
        region comparator(%3: f32[], %4: f32[], %5: f32[], %6: f32[]) -> (i1[]) {
          %7 = compare(%3, %4) {direction="LT"} : i1[]
          return %7
        }
      update %dense/kernel = %dense/kernel
      return %1
    }

A value's name is ``%`` and its hint, quoted where it has odd characters; the second value of one hint is ``%x#1``, the
third ``%x#2``. ``%`` and a number is a value without a hint. Attributes that have their default are left out. ``#``
begins a comment, and line breaks mean nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from .dims import Dim
from .equality import same_value
from .graph import Graph, Module, Node, Value
from .literals import array_text, digest, float_text, is_abbreviated
from .location import Location
from .opdef import REQUIRED, OpDef, normalize_attribute
from .types import ELEMENT_TYPES, TensorType, short_name

#: Names that need no quotes after ``%`` or ``@``.
BARE_NAME = re.compile(r"[\w$./-]+")
IDENTIFIER = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"[0-9]+")


def print_module(module: Module, full: bool = False) -> str:
    """The text of a module.

    Args:
        full: write large constants out as base64, so that the text needs no ``constants`` to be read; else they are
            abbreviated to a digest, and :func:`constants_of` gives what ``parse`` needs beside the text.
    """
    printer = Printer(full)
    printer.lines.append(f"module @{_name(module.name)}")
    for name, graph in module.functions.items():
        printer.lines.append("")
        printer.function(name, graph)
    return "\n".join(printer.lines) + "\n"


def print_graph(graph: Graph, full: bool = False) -> str:
    """The text of one graph, as the function ``main``. Arguments as in :func:`print_module`."""
    printer = Printer(full)
    printer.function("main", graph)
    return "\n".join(printer.lines) + "\n"


def constants_of(program: Module | Graph) -> dict[str, np.ndarray]:
    """The arrays that the text of ``program`` abbreviates, by digest: the ``constants`` of ``parse``."""
    arrays = (value for node in program.walk() for value in node.attributes.values() if isinstance(value, np.ndarray))
    return {digest(array): array for array in arrays if is_abbreviated(array)}


class Printer:
    """Writes functions into ``lines``; ``where`` says at which line a node, graph, guard, ... (by its id) stands.

    It writes whatever is in the graph, broken ones too: the verifier shows them with it.
    """

    def __init__(self, full: bool = False) -> None:
        self.full = full
        self.lines: list[str] = []
        self.where: dict[int, int] = {}
        self._names: dict[Value, str] = {}
        self._used: dict[str, int] = {}

    def function(self, name: str, graph: Graph) -> None:
        """Write one function; value names are unique within it."""
        self._names, self._used = {}, {}
        self._graph(graph, f"func @{_name(name)}", "")

    def _graph(self, graph: Graph, head: str, pad: str) -> None:
        inputs = ", ".join(self._declared(v, n) for v, n in _zip_names(graph.inputs, graph.input_names))
        outputs = ", ".join(
            _output_name(n) + type_text(v.type) for v, n in _zip_names(graph.outputs, graph.output_names)
        )
        self._line(graph, f"{pad}{head}({inputs}) -> ({outputs}) {{")
        inner = pad + "  "
        for word, structure in (("inputs", graph.in_structure), ("outputs", graph.out_structure)):
            if structure is not None:
                self.lines.append(f"{inner}{word} {structure_text(structure)}")
        for guard in graph.guards:
            reason = f" {_quoted(guard.reason)}" if guard.reason else ""
            self._line(guard, f"{inner}guard {guard}{reason}{_layers(guard.location)}")
        for parameter in graph.parameters:
            self._line(parameter, f"{inner}param {self._declared(parameter.value, parameter.name)}")
        for node in graph.nodes:
            self._node(node, inner)
        for update in graph.updates:
            target = update.parameter.value
            self._line(update, f"{inner}update {self.value(target)} = {self.value(update.value)}")
        self._line(graph.outputs, f"{inner}return {', '.join(map(self.value, graph.outputs))}".rstrip())
        self.lines.append(pad + "}")

    def _node(self, node: Node, pad: str) -> None:
        results = ", ".join(map(self.value, node.results))
        operands = f"({', '.join(map(self.value, node.operands))})" if node.operands else ""
        types = ", ".join(type_text(r.type) for r in node.results)
        self._line(
            node,
            f"{pad}{results}{' = ' if results else ''}{node.op.name}{operands}{self._attributes(node)}"
            f"{' : ' if types else ''}{types}{_layers(node.location)}",
        )
        roles = node.op.regions or ("",)
        for index, region in enumerate(node.regions):
            self._graph(region, f"region {roles[min(index, len(roles) - 1)]}", pad + "  ")

    def _attributes(self, node: Node) -> str:
        defaults, texts = _defaults(node.op), []
        for name, value in node.attributes.items():
            kind = node.op.attributes[name].kind if name in node.op.attributes else "any"
            implied = name in defaults and same_value(value, defaults[name])
            if not implied and not (kind == "types" and value == tuple(r.type for r in node.results)):
                texts.append(f"{name}={attribute_text(value, kind, self.full)}")
        return f" {{{', '.join(texts)}}}" if texts else ""

    def _line(self, thing: object, text: str) -> None:
        self.where[id(thing)] = len(self.lines)
        self.lines.append(text)

    def value(self, value: Value) -> str:
        """The name of a value in the function that is being written, or was last."""
        text = self._names.get(value)
        if text is None:
            count = self._used.get(value.name, 0)
            self._used[value.name] = count + 1
            if not value.name:
                text = f"%{count}"
            else:
                text = f"%{_name(value.name)}" + (f"#{count}" if count else "")
            self._names[value] = text
        return text

    def _declared(self, value: Value, name: str) -> str:
        """``%x: f32[3]``; ``%x "name": f32[3]`` where the name is not the value's."""
        own = "" if name == value.name else f" {_quoted(name)}"
        return f"{self.value(value)}{own}: {type_text(value.type)}"


def attribute_text(value: Any, kind: str = "any", full: bool = False) -> str:
    """Write an attribute; one of kind ``any`` so that it can be read without knowing more."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Dim):
        text = str(value)
        return f"dim({text})" if kind == "any" else f"({text})" if text == "none" else text
    if isinstance(value, (tuple, list)):
        return f"[{','.join(attribute_text(v, kind, full) for v in value)}]"
    if isinstance(value, np.dtype):
        return short_name(value) if value in ELEMENT_TYPES.values() else str(value)
    if isinstance(value, TensorType):
        return type_text(value)
    if isinstance(value, np.ndarray) and value.dtype in ELEMENT_TYPES.values():
        return array_text(value, full)
    return str(value)  # an index; anything, in a broken graph


def type_text(type_: object) -> str:
    """Write a type; a sharding follows it: ``f32[8,N] sharding(["data",none])``."""
    sharding = getattr(type_, "sharding", None)
    return f"{type_} sharding({attribute_text(sharding)})" if sharding is not None else str(type_)


def structure_text(structure: Any) -> str:
    """Write a nest of dicts, lists, tuples and None: ``{"a": 0, "b": (1, [2, none])}``."""
    if isinstance(structure, Mapping):
        return "{" + ", ".join(f"{attribute_text(k)}: {structure_text(v)}" for k, v in structure.items()) + "}"
    if isinstance(structure, list):
        return f"[{', '.join(map(structure_text, structure))}]"
    if isinstance(structure, tuple):
        return f"({', '.join(map(structure_text, structure))})"
    return attribute_text(structure)


@cache
def _defaults(op: OpDef) -> dict[str, Any]:
    """The attributes of ``op`` that have a default, in their plain form."""
    return {
        name: normalize_attribute(a.kind, a.default) for name, a in op.attributes.items() if a.default is not REQUIRED
    }


def _zip_names(values: Sequence[Value], names: Sequence[str]) -> Iterable[tuple[Value, str]]:
    """Each value with its name; ``names`` may be empty or, in a broken graph, too short."""
    return zip(values, [*names, *[""] * (len(values) - len(names))])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _name(name: str) -> str:
    """A name after ``%`` or ``@``; digits alone are quoted, since ``%3`` is the third value without a name."""
    return name if BARE_NAME.fullmatch(name) and not _NUMBER.fullmatch(name) else _quoted(name)


def _output_name(name: str) -> str:
    return f"{name if IDENTIFIER.fullmatch(name) else _quoted(name)}: " if name else ""


def _layers(location: Location) -> str:
    return "".join(f" @{_name(layer)}" for layer in location.layers)
