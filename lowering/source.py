"""The walk from a graph to Python source; a language's table says what each op becomes.

TorchScript and TensorFlow are both written this way (``torch_source.py``, ``tensorflow_source.py``): one line a node,
under a comment with the layer it belongs to, so that what leaves can be read. Scalars are literals, and operands that
were only broadcast for an elementwise op are left to the target's own broadcasting.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.builder import Builder
from ..ir.dims import Atom, Dim, DimLike
from ..ir.errors import UnsupportedError
from ..ir.graph import Graph, Guard, Node, Value
from ..ir.location import UNKNOWN
from ..ir.opdef import Call, as_tuple

#: ``(writer, node, *operands) -> text or texts``: the expressions of a node's results, on those of its operands. One
#: text for a node with several results is an expression that unpacks into them. Statements go to ``writer.line``.
Rule = Callable[..., Any]


@dataclass(frozen=True)
class Language:
    """What a target's source looks like.

    Attributes:
        name: for messages.
        rules: op name -> rule. A composite without one is written as its decomposition.
        size: ``(tensor, axis) -> text`` of an integer, the size along an axis.
        number: ``(array of rank 0) -> text`` of a plain Python number.
        literal: ``(array) -> text`` of a tensor, or None where it is too large to stand in the source; it is then held
            by an attribute of the module.
        reshape: ``(tensor, sizes) -> text``; sizes are texts of integers.
        broadcasts: ops whose operands the target broadcasts itself, as NumPy does.
        numbers: those of ``broadcasts`` that take a plain number in place of any one operand.
        extremes: what ``max`` and ``min`` of two sizes are called.
    """

    name: str
    rules: Mapping[str, Rule]
    size: Callable[[str, int], str]
    number: Callable[[np.ndarray], str]
    literal: Callable[[np.ndarray], str | None]
    reshape: Callable[[str, Sequence[str]], str]
    broadcasts: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    extremes: tuple[str, str] = ("max", "min")


class Writer:
    """Writes a graph as the lines of a function's body.

    Attributes:
        lines: what was written.
        constants: arrays that are no literals, by the name of the attribute that holds them.
    """

    def __init__(self, language: Language, taken: Iterable[str] = (), indent: int = 1) -> None:
        self.language = language
        self.lines: list[str] = []
        self.constants: dict[str, np.ndarray] = {}
        self._indent = indent
        self._taken = {*keyword.kwlist, "self", *taken}
        self._texts: dict[Value, str] = {}
        self._sizes: dict[str, str] = {}
        self._first: dict[str, str] = {}
        self._uses: dict[Value, list[Node | None]] = {}
        self._merged: dict[Node, Value] = {}
        self._where = UNKNOWN
        self._said: tuple[str, ...] = ()

    # Lines and names

    def line(self, text: str) -> None:
        """Append a statement."""
        self.lines.append("    " * self._indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Statements that stand indented under ``head``."""
        self.line(head)
        self._indent += 1
        said, self._said = self._said, ()
        try:
            yield
        finally:
            self._indent -= 1
            self._said = said

    def fresh(self, hint: str = "") -> str:
        """A name that nothing has yet, from ``hint``."""
        base = re.sub(r"\W", "_", hint) or "t"
        base = f"t_{base}" if base[0].isdigit() else base
        name, number = base, 1
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name

    def assign(self, expression: str, hint: str = "") -> str:
        """Give an expression a name."""
        name = self.fresh(hint)
        self.line(f"{name} = {expression}")
        return name

    def once(self, expression: str, hint: str = "") -> str:
        """The name of what is computed at the top of the function, on its operands alone."""
        if expression not in self._first:
            self._first[expression] = self.fresh(hint)
        return self._first[expression]

    def array(self, array: np.ndarray, hint: str = "constant") -> str:
        """The text of a tensor with these elements: a literal, or an attribute of the module that holds it."""
        text = self.language.literal(array)
        if text is not None:
            return text
        for name, held in self.constants.items():
            if held.dtype == array.dtype and held.shape == array.shape and held.tobytes() == array.tobytes():
                return f"self.{name}"
        name = self.fresh(hint)
        self.constants[name] = array
        return f"self.{name}"

    # Sizes

    def dim(self, dim: DimLike) -> str:
        """The text of an integer: a size, which may depend on those of the inputs."""
        if not isinstance(dim, Dim):
            return str(int(dim))
        terms = []
        for monomial, coefficient in dim.terms:
            factors = [self._atom(atom) for atom in monomial]
            if coefficient != 1 or not factors:
                factors.insert(0, str(coefficient))
            terms.append(" * ".join(factors))
        return terms[0] if len(terms) == 1 and "*" not in terms[0] else f"({' + '.join(terms)})"

    def dims(self, dims: Iterable[DimLike]) -> list[str]:
        """The texts of several sizes."""
        return [self.dim(d) for d in dims]

    def _atom(self, atom: Atom) -> str:
        if atom.kind == "symbol":
            return self._symbol(atom.args[0])
        left, right = self.dims(atom.args)
        if atom.kind == "floordiv":
            return f"({left} // {right})"
        return f"{self.language.extremes[atom.kind == 'min']}({left}, {right})"

    def _symbol(self, name: str) -> str:
        if name not in self._sizes:
            raise UnsupportedError(
                f"no input has {name} alone in a dimension, such as {name} or 2*{name}+1, so that "
                f"{self.language.name} can't know its value; give it one: {name}=32"
            )
        return self.once(self._sizes[name], name)

    # Graphs

    def function(self, graph: Graph, operands: Sequence[str]) -> list[str]:
        """Write a whole body on texts for the parameters, then the inputs, of ``graph``; the texts of its results."""
        inputs = [*(p.value for p in graph.parameters), *graph.inputs]
        for value, text in [*zip(inputs, operands, strict=True)][::-1]:  # of an input rather than of a parameter
            for axis, dim in enumerate(value.shape):
                if isinstance(dim, Dim):
                    self._learn(dim, self.language.size(text, axis))
        start = len(self.lines)
        for guard in graph.guards:
            self.guard(guard)
        results = self.graph(graph, operands)
        tabs = "    " * self._indent
        self.lines[start:start] = [f"{tabs}{name} = {expression}" for expression, name in self._first.items()]
        return results

    def graph(self, graph: Graph, operands: Sequence[str]) -> list[str]:
        """Write the nodes of ``graph``, a region's for example, here; operands and results as :meth:`function`."""
        values = [p.value for p in graph.parameters] + graph.inputs
        self._texts.update(zip(values, operands, strict=True))
        for node in graph.nodes:  # a region may be written twice
            self._merged.pop(node, None)
            for value in node.results:
                self._texts.pop(value, None)
        uses: dict[Value, list[Node | None]] = {value: [None] for value in graph.results}
        for node in graph.nodes:
            for operand in node.operands:
                uses.setdefault(operand, []).append(node)
        self._uses.update(uses)
        for node in graph.nodes:
            if node in self._merged:
                self._texts[node.result] = self.text(self._merged[node])
            elif node.op.name not in _PUT_OFF:
                self._write(node)
        return [self.text(v) for v in graph.results]

    def guard(self, guard: Guard) -> None:
        """Write what the trace assumed of sizes; here it is left out."""

    def _learn(self, dim: Dim, size: str) -> None:
        """Take note of the symbol in ``dim``, a size along an axis, where it is one or ``k * symbol + c``."""
        (monomial, factor), *rest = dim.terms
        constant = rest[0][1] if rest and not rest[0][0] else 0
        if len(monomial) != 1 or monomial[0].kind != "symbol" or len(rest) != bool(constant):
            return
        name = monomial[0].args[0]
        if factor == 1 and not constant:
            self._sizes[name] = size
        else:
            less = f"({size} - {constant})" if constant > 0 else f"({size} + {-constant})" if constant else size
            self._sizes.setdefault(name, f"{less} // {factor}" if factor != 1 else less)

    def only_user(self, value: Value) -> Node | None:
        """The node that alone takes ``value``, once; None where there is no such node."""
        uses = self._uses.get(value, [])
        return uses[0] if len(uses) == 1 else None

    def merge(self, value: Value, node: Node) -> None:
        """What is written for ``value`` does the work of ``node``, its only user, too."""
        self._merged[node] = value

    def expand(self, rule: Callable[..., Any], node: Node, operands: Sequence[str]) -> list[str]:
        """Write what ``rule(builder, call, *values)`` says in place of ``node``, in the graph's own terms."""
        scratch = Graph()
        values = [scratch.add_input(o.type) for o in node.operands]
        call = Call(node.op, node.attributes, node.regions, [r.type for r in node.results])
        scratch.outputs = list(as_tuple(rule(Builder(scratch, location=node.location), call, *values)))
        return self.graph(scratch, operands)

    def text(self, value: Value) -> str:
        """The text of a value."""
        if value not in self._texts:
            assert value.producer is not None, f"{value} is used before it is there"
            self._write(value.producer)
        return self._texts[value]

    def _write(self, node: Node) -> None:
        outer = self._where
        if node.location != UNKNOWN:  # else the node is of a region, and has the place of what surrounds it
            self._where = node.location
        try:
            rule = self.language.rules.get(node.op.name)
            if rule is not None:
                operands = self._operands(node)
                self._say_layer()
                self._name(node, rule(self, node, *operands))
            elif node.op.decompose is not None:
                results = self.expand(node.op.decompose, node, [self.text(o) for o in node.operands])
                self._texts.update(zip(node.results, results, strict=True))
            else:
                raise UnsupportedError(f"the op {node.op.name} has no form in {self.language.name}")
        except UnsupportedError as error:
            if getattr(error, "located", False):
                raise
            located = UnsupportedError(f"{error} (op {node.op.name}, at {self._where})")
            located.located = True  # type: ignore[attr-defined]
            raise located from None
        finally:
            self._where = outer

    def _say_layer(self) -> None:
        if self._where.layers != self._said and self._where.layers:
            self.line(f"# {' + '.join(self._where.layers)}")
            self._said = self._where.layers

    def _name(self, node: Node, made: Any) -> None:
        """Remember the results that a rule gave, under names where they are more than a name."""
        texts = [made] if isinstance(made, str) else list(made)
        if len(texts) == len(node.results):
            for value, text in zip(node.results, texts, strict=True):
                plain = text.isidentifier() or _PUT_OFF.get(node.op.name) == "inline"
                self._texts[value] = text if plain else self.assign(text, value.name)
            return
        names = [self.fresh(v.name) for v in node.results]
        self.line(f"{', '.join(names)} = {texts[0]}")
        self._texts.update(zip(node.results, names, strict=True))

    def _operands(self, node: Node) -> list[str]:
        """Texts of the operands; where the target broadcasts, those of what was broadcast, but for one of full
        shape."""
        if node.op.name not in self.language.broadcasts:
            return [self.text(o) for o in node.operands]
        whole = [o for o in node.operands if o.shape == node.results[0].shape]
        full = [o for o in whole if not self._is_put_off_broadcast(o) and constant_number(o) is None]
        keep = (full or whole)[0]
        return [self.text(o) if o is keep else self._unbroadcast(node, o) for o in node.operands]

    def _is_put_off_broadcast(self, value: Value) -> bool:
        made = value.producer
        return made is not None and made.op.name == "broadcast_in_dim" and value not in self._texts

    def _unbroadcast(self, node: Node, value: Value) -> str:
        """What broadcasts to ``value`` by NumPy's rules."""
        made = value.producer
        source = made.operands[0] if made is not None and self._is_put_off_broadcast(value) else value
        number = constant_number(source)
        if number is not None and node.op.name in self.language.numbers:
            return self.language.number(number)
        if source is value:
            return self.text(value)
        assert made is not None
        dims = made.attributes["dims"]
        if tuple(dims) == tuple(range(value.rank - source.rank, value.rank)):
            return self.text(source)
        if list(dims) != sorted(dims):
            return self.text(value)  # its dimensions change places, too
        sizes = ["1"] * (value.rank - min(dims, default=value.rank))
        for axis, size in zip(dims, source.shape, strict=True):
            sizes[axis - value.rank] = self.dim(size)
        return self.language.reshape(self.text(source), sizes)


#: Nodes that are written where somebody needs them as they are, under a name or in place.
_PUT_OFF = {"broadcast_in_dim": "named", "constant": "inline"}


def constant_number(value: Value) -> np.ndarray | None:
    """The array of rank 0 that a value is, where it is a constant."""
    made = value.producer
    if made is None or made.op.name != "constant" or value.rank:
        return None
    array: np.ndarray = made.attributes["value"]
    return array


def attribute_paths(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Where the parameters of these names stand in a tree of submodules: ``dense/kernel`` at ``("dense", "kernel")``.

    Parts are Python identifiers, none of them one of ``taken`` (what the target's modules have already), and no
    parameter is a submodule of another's name.
    """
    reserved = {*keyword.kwlist, *taken}
    leaves: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = set()
    paths = {}
    for name in names:
        path: tuple[str, ...] = ()
        *outer, last = name.split("/")
        for part in outer:
            path = _free((*path, _identifier(part)), lambda p: p[-1] in reserved or p in leaves)
            folders.add(path)
        path = _free((*path, _identifier(last)), lambda p: p[-1] in reserved or p in leaves or p in folders)
        leaves.add(path)
        paths[name] = path
    return paths


def _identifier(text: str) -> str:
    base = re.sub(r"\W", "_", text, flags=re.ASCII) or "_"
    return f"_{base}" if base[0].isdigit() else base


def _free(path: tuple[str, ...], is_taken: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
    """``path``, its last part with as many underscores as make it free."""
    while is_taken(path):
        path = (*path[:-1], f"{path[-1]}_")
    return path


def lines_of(writer: Writer, head: str) -> str:
    """A function's text from its head and what was written."""
    return "\n".join([head, *writer.lines]) + "\n"
