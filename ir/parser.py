"""Reading the text of modules (see text.py for what it looks like).

Recursive descent over the tokens of tokens.py. Text is data from anywhere: whatever it holds, the answer is a module or
a :class:`ParseError` that shows the line; nothing is evaluated, and nesting and sizes are bounded.
"""

from __future__ import annotations

import difflib
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .dims import Dim, DimLike, max_dim, min_dim, symbol
from .errors import LaminaError, ParseError
from .graph import Graph, Guard, Module, Node, Parameter, Update, Value
from .literals import SPLAT_ELEMENTS, NaNBits, array_from_base64, array_from_values, digest
from .location import UNKNOWN, Location
from .opdef import OPS, OpDef, normalize_attributes
from .tokens import Tokens
from .types import BOOL, ELEMENT_TYPES, TensorType, TokenType, is_complex, is_integer

_MAX_DIGITS = 25
_MAX_TERMS = 10_000
_MAX_ATOMS = 60  # floor divisions, max and min in one dimension: they nest
_MAX_RANK = 64  # NumPy's


def parse(text: str, constants: Mapping[str, Any] | None = None) -> Module:
    """Read a module from its text.

    Args:
        text: what ``str(module)`` or ``str(graph)`` gave. Types are taken as written; ``verify`` checks them.
        constants: digest -> array, for the constants that the text abbreviates; ``constants_of(module)`` has them.

    Raises:
        ParseError: the text is not IR, with the line, a caret, and what was expected; or a digest has no array.
    """
    if not isinstance(text, str):
        raise ParseError(f"parse reads a string, received {type(text).__name__}")
    if not text.strip():
        raise ParseError("line 1: expected 'func @main', found the end of the text, which is empty\n  \n  ^")
    return _Parser(text, 0, len(text), constants or {}).module()


class _Parser(Tokens):
    """One method per construct."""

    def __init__(self, source: str, start: int, end: int, constants: Mapping[str, Any]) -> None:
        super().__init__(source, start, end)
        self.constants = constants
        self.atoms = 0  # in the dimension that is being read
        self.types: dict[str, TensorType] = {}
        self.scopes: list[dict[str, Value]] = []

    # Modules and graphs

    def module(self) -> Module:
        module = Module({}, self.named("'@' and the module's name") if self.accept("module") else "main")
        while self.kind != "end":
            self.expect("func")
            name = self.named("'@' and the function's name")
            if name in module.functions:
                self.fail(f"the function {name!r} is defined twice", self.i - 1)
            module.functions[name] = self.graph()
        if "main" not in module.functions:
            self.expected("'func @main'")
        return module

    def graph(self) -> Graph:
        """From the inputs' parenthesis to the closing brace."""
        self.enter()
        graph = Graph()
        scope: dict[str, Value] = {}
        self.scopes.append(scope)
        for value, name in self.listed(self.declared, "(", ")"):
            graph.inputs.append(value)
            graph.input_names.append(name)
        self.expect("->")
        header = self.i
        outputs = self.listed(self.output, "(", ")")
        if any(name for name, _ in outputs):
            graph.output_names = [name for name, _ in outputs]
        self.expect("{")
        while not self.accept("return"):
            self.statement(graph)
        if self.kind == "value":
            graph.outputs.append(self.operand())
            while self.accept(","):
                graph.outputs.append(self.operand())
        if [v.type for v in graph.outputs] != [t for _, t in outputs]:
            returned = ", ".join(str(v.type) for v in graph.outputs)
            self.fail(f"the graph says it returns other types than it does: it returns ({returned})", header)
        self.expect("}")
        self.scopes.pop()
        self.leave()
        return graph

    def declared(self) -> tuple[Value, str]:
        """``%x: type``, or ``%x "name": type`` where the name is not the value's."""
        names = self.i
        text = self.take("value", "a value such as %x")
        hint = self.hint(text)
        name = self.string() if self.kind == "string" else hint
        self.expect(":")
        value = Value(self.type(), name=hint)
        self.define(text, value, names)
        return value, name

    def output(self) -> tuple[str, TensorType]:
        name = ""
        if self.kind in ("word", "string") and self.texts[self.i + 1] == ":":
            name = self.string() if self.kind == "string" else self.take("word", "a name")
            self.expect(":")
        return name, self.type()

    def statement(self, graph: Graph) -> None:
        word = self.text
        if word == "param":
            self.i += 1
            value, name = self.declared()
            graph.parameters.append(Parameter(name, value))
        elif word == "update":
            self.i += 1
            graph.updates.append(self.update(graph))
        elif word == "guard":
            self.i += 1
            graph.guards.append(self.guard())
        elif word == "inputs":
            self.i += 1
            graph.in_structure = self.structure()
        elif word == "outputs":
            self.i += 1
            graph.out_structure = self.structure()
        elif self.kind in ("value", "word"):
            graph.nodes.append(self.node())
        else:
            self.expected("a node, 'param', 'guard', 'update' or 'return'")

    def update(self, graph: Graph) -> Update:
        at = self.i
        target = self.operand()
        parameter = next((p for p in graph.parameters if p.value is target), None)
        if parameter is None:
            self.fail(f"{self.texts[at]} is not a parameter", at)
        self.expect("=")
        return Update(parameter, self.operand())

    def guard(self) -> Guard:
        left = self.dim()
        relation = self.text
        if relation not in ("==", "!=", ">=", "<"):
            self.expected("'==', '!=', '>=' or '<'")
        self.i += 1
        right = self.dim()
        reason = self.string() if self.kind == "string" else ""
        return Guard(relation, left, right, reason, self.location())

    def structure(self) -> Any:
        """A nest of dicts, lists, tuples and none with indices as leaves."""
        self.enter()
        result: Any
        if self.text == "(":
            result = tuple(self.listed(self.structure, "(", ")"))
        elif self.text == "[":
            result = self.listed(self.structure)
        elif self.text == "{":
            result = dict(self.listed(self.entry, "{", "}"))
        elif self.accept("none"):
            result = None
        else:
            result = self.integer()
        self.leave()
        return result

    def entry(self) -> tuple[Any, Any]:
        key = self.literal()
        self.expect(":")
        return key, self.structure()

    # Nodes

    def node(self) -> Node:
        """``%a, %b = op(%x) {attributes} : types @layer`` and the regions."""
        names: list[tuple[str, int]] = []
        while self.kind == "value":
            names.append((self.text, self.i))
            self.i += 1
            if not self.accept(","):
                self.expect("=")
                break
        at = self.i
        op = self.op()
        operands = self.listed(self.operand, "(", ")") if self.text == "(" else []
        given = dict(self.listed(lambda: self.attribute(op), "{", "}")) if self.text == "{" else {}
        types: list[TensorType] = []
        if self.accept(":"):
            types.append(self.type())
            while self.accept(","):
                types.append(self.type())
        if len(types) != len(names):
            self.fail(f"{op.name}: {len(names)} results are named, {len(types)} types are given", at)
        location = self.location()
        regions = []
        while self.accept("region"):
            if self.kind == "word":
                self.i += 1
            regions.append(self.graph())
        node = Node(op, operands, self.complete(op, given, types, at), regions, types, location)
        for (text, place), value in zip(names, node.results, strict=True):
            value.name = self.hint(text, place)
            self.define(text, value, place)
        return node

    def op(self) -> OpDef:
        name = self.take("word", "an op")
        if name not in OPS:
            near = difflib.get_close_matches(name, OPS, 3)
            self.fail(f"there is no op {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""), self.i - 1)
        return OPS[name]

    def attribute(self, op: OpDef) -> tuple[str, Any]:
        name = self.take("word", "an attribute")
        if name not in op.attributes:
            self.fail(f"{op.name} has no attribute {name!r}; it has {', '.join(op.attributes) or 'none'}", self.i - 1)
        self.expect("=")
        kind = op.attributes[name].kind
        if kind.endswith("?"):
            if self.accept("none"):
                return name, None
            kind = kind[:-1]
        return name, _READERS[kind](self)

    def complete(self, op: OpDef, given: dict[str, Any], types: list[TensorType], at: int) -> dict[str, Any]:
        """All attributes: the result types stand for one of kind ``types`` that is left out, defaults for others."""
        for name, attribute in op.attributes.items():
            if attribute.kind == "types" and name not in given:
                given[name] = tuple(types)
        try:
            return normalize_attributes(op, given)
        except LaminaError as error:
            self.fail(str(error), at)

    def location(self) -> Location:
        layers = []
        while self.kinds[self.i] == "at":
            layers.append(self.named("a layer"))
        return Location(tuple(layers)) if layers else UNKNOWN

    # Values

    def hint(self, text: str, at: int | None = None) -> str:
        """The name that ``%name``, ``%"any name"`` or ``%name#2`` gives a value; none for ``%3``."""
        if text.startswith('%"'):
            return self.unquoted(text[1 : text.rindex('"') + 1])
        name = text[1:].partition("#")[0]
        return "" if name.isascii() and name.isdigit() else name

    def define(self, text: str, value: Value, at: int) -> None:
        scope = self.scopes[-1]
        if text in scope:
            self.fail(f"{text} is defined twice", at)
        scope[text] = value

    def operand(self) -> Value:
        text = self.take("value", "a value such as %x")
        value = self.scopes[-1].get(text)
        if value is None:
            outer = any(text in scope for scope in self.scopes)
            self.fail(
                f"{text} is not defined before it is used"
                + ("; a region sees no outer values: pass it as an operand" if outer else ""),
                self.i - 1,
            )
        return value

    # Types and dimensions

    def type(self) -> TensorType:
        if self.accept("token"):
            return TokenType()  # type: ignore[return-value]
        at = self.i
        text = self.take("type", "a type such as f32[N,3]")
        found = self.types.get(text)
        if found is None:
            found = self.types[text] = self.new_type(text, at)
        if self.accept("sharding"):
            self.expect("(")
            found = TensorType(found.dtype, found.shape, self.literal())
            self.expect(")")
        return found

    def new_type(self, text: str, at: int) -> TensorType:
        name, start = text[: text.index("[")], self.starts[at]
        inner = _Parser(self.source, start + len(name), start + len(text), {})
        shape = inner.listed(inner.dim)
        try:
            return TensorType(ELEMENT_TYPES[name], shape)
        except LaminaError as error:
            self.fail(str(error), at)

    def dtype(self) -> np.dtype:
        name = self.take("word", "an element type such as f32")
        if name not in ELEMENT_TYPES:
            self.fail(f"{name!r} is no element type; expected one of {', '.join(ELEMENT_TYPES)}", self.i - 1)
        return ELEMENT_TYPES[name]

    def dim(self) -> DimLike:
        """An integer, or an expression of ``+ - * //``, ``max``, ``min`` and symbols."""
        at, self.atoms = self.i, 0
        try:
            dim = self.dim_sum()
        except ParseError:
            raise
        except (LaminaError, ArithmeticError) as error:
            self.fail(f"not a dimension: {error}", at)
        return dim

    def dim_sum(self) -> DimLike:
        self.enter()
        total = self.dim_product()
        while self.text in ("+", "-"):
            self.i += 1
            total = total + self.dim_product() if self.texts[self.i - 1] == "+" else total - self.dim_product()
        self.leave()
        return total

    def dim_product(self) -> DimLike:
        product = self.dim_factor()
        while self.text in ("*", "//"):
            self.i += 1
            times, at = self.texts[self.i - 1] == "*", self.i
            factor = self.dim_factor()
            if _term_count(product) * _term_count(factor) > _MAX_TERMS:
                self.fail("the dimension has too many terms", at)
            if times:
                product = product * factor
            else:
                self.count_atom(at)
                product = product // factor
            if any(abs(c) >= 10**_MAX_DIGITS for c in _coefficients(product)):
                self.fail(f"the dimension has an integer of more than {_MAX_DIGITS} digits", at)
        return product

    def count_atom(self, at: int) -> None:
        self.atoms += 1
        if self.atoms > _MAX_ATOMS:
            self.fail(f"the dimension has more than {_MAX_ATOMS} floor divisions, max and min", at)

    def dim_factor(self) -> DimLike:
        negative = False
        while self.accept("-"):
            negative = not negative
        if self.kind == "number":
            factor: DimLike = self.natural()
        elif self.accept("("):
            factor = self.dim_sum()
            self.expect(")")
        else:
            name = self.take("word", "a dimension: an integer, a symbol or an expression such as 2*N+1")
            if name in ("max", "min"):
                self.count_atom(self.i - 1)
                self.expect("(")
                left = self.dim_sum()
                self.expect(",")
                right = self.dim_sum()
                self.expect(")")
                factor = max_dim(left, right) if name == "max" else min_dim(left, right)
            else:
                factor = symbol(name)
        return -factor if negative else factor

    # Literals

    def natural(self) -> int:
        """Digits."""
        text = self.take("number", "an integer")
        if not text.isdigit() or len(text) > _MAX_DIGITS:
            self.fail(f"expected an integer of at most {_MAX_DIGITS} digits, found {text[:40]!r}", self.i - 1)
        return int(text)

    def integer(self) -> int:
        return -self.natural() if self.accept("-") else self.natural()

    def boolean(self) -> bool:
        if self.accept("true"):
            return True
        if not self.accept("false"):
            self.expected("'true' or 'false'")
        return False

    def number(self) -> float | NaNBits:
        """A float: digits, ``inf``, ``nan``, or ``nan(0x...)`` with its bits."""
        sign = -1.0 if self.accept("-") else 1.0
        if self.accept("inf"):
            return sign * math.inf
        if self.accept("nan"):
            if self.accept("("):
                bits = self.take("number", "the NaN's bits, 0x...")
                if not bits.startswith("0x") or len(bits) > 18:
                    self.fail(
                        f"expected the bits of a NaN, at most 16 digits after 0x, found {bits[:40]!r}", self.i - 1
                    )
                self.expect(")")
                return NaNBits(bits, 16)
            return sign * math.nan
        text = self.take("number", "a number")
        if text.startswith("0x"):
            self.fail("expected a decimal number", self.i - 1)
        return sign * float(text)

    def float(self) -> float:
        value = self.number()
        return struct.unpack("<d", struct.pack("<Q", value))[0] if isinstance(value, NaNBits) else value

    def literal(self) -> Any:
        """A plain value whose kind its text shows: nested lists of numbers, strings, booleans, none, dim(...)."""
        if self.text == "[":
            self.enter()
            items = tuple(self.listed(self.literal))
            self.leave()
            return items
        if self.kind == "string":
            return self.string()
        if self.kind == "type" or self.text == "token":
            return self.type()
        if self.text in ("true", "false"):
            return self.boolean()
        if self.accept("none"):
            return None
        if self.accept("dim"):
            self.expect("(")
            dim = self.dim()
            self.expect(")")
            return dim
        digits = self.texts[self.i + 1] if self.text == "-" else self.text
        if digits.isdigit():
            return self.integer()
        if self.text in ("inf", "nan", "-") or self.kind == "number":
            return self.float()
        self.expected("a value")

    def array(self) -> np.ndarray:
        """A constant; see ``literals.array_text``."""
        at = self.i
        type_ = self.type()
        shape = tuple(d for d in type_.shape if isinstance(d, int))
        if isinstance(type_, TokenType) or len(shape) > _MAX_RANK or len(shape) < len(type_.shape):
            self.fail(f"a constant has a static type of rank at most {_MAX_RANK}, not {type_}", at)
        try:
            if self.kind == "digest":
                return self.abbreviated(type_)
            if self.accept("base64"):
                return array_from_base64(type_.dtype, shape, self.string())
            return array_from_values(type_.dtype, shape, self.values(type_, shape, at))
        except ParseError:
            raise
        except (ValueError, OverflowError) as error:
            self.fail(f"not a constant of type {type_}: {error}", at)

    def values(self, type_: TensorType, shape: tuple[int, ...], at: int) -> list[Any]:
        values: list[Any] = []
        size = math.prod(shape)
        if self.accept("splat"):
            if not 1 < size <= SPLAT_ELEMENTS:
                self.fail(f"a splat has from 2 to {SPLAT_ELEMENTS} elements, {type_} has {size}", at)
            self.expect("(")
            self.element(type_.dtype, values)
            self.expect(")")
        elif size == 0:
            self.expect("[")
            self.expect("]")
        else:
            self.elements(type_.dtype, shape, values)
        return values

    def elements(self, dtype: np.dtype, shape: tuple[int, ...], values: list[Any]) -> None:
        if not shape:
            self.element(dtype, values)
            return
        self.expect("[")
        for i in range(shape[0]):
            if i:
                self.expect(",")
            self.elements(dtype, shape[1:], values)
        self.expect("]")

    def element(self, dtype: np.dtype, values: list[Any]) -> None:
        if dtype == BOOL:
            values.append(self.boolean())
        elif is_integer(dtype):
            values.append(self.integer())
        elif is_complex(dtype):
            values += self.listed(self.number, "(", ")")
            if len(values) % 2:
                self.fail("a complex number is (real,imaginary)", self.i - 1)
        else:
            values.append(self.number())

    def abbreviated(self, type_: TensorType) -> np.ndarray:
        at = self.i
        key = self.take("digest", "a digest")
        if key not in self.constants:
            self.fail(
                f"the text abbreviates this constant; parse(text, constants={{{key!r}: array}}) needs its array "
                "(constants_of(module) has all of them)",
                at,
            )
        array = np.asarray(self.constants[key])
        if array.dtype != type_.dtype or array.shape != type_.shape:
            self.fail(f"expected an array of type {type_}, constants has {array.dtype}{list(array.shape)}", at)
        if digest(array) != key:
            self.fail(f"the array that constants has for this digest has the digest {digest(array)}", at)
        if self.accept("["):  # the first elements are there for the reader only
            ignored: list[Any] = []
            while not self.accept("..."):
                self.element(type_.dtype, ignored)
                self.expect(",")
            self.expect("]")
        return array


def _term_count(dim: DimLike) -> int:
    return len(dim.terms) if isinstance(dim, Dim) else 1


def _coefficients(dim: DimLike) -> list[int]:
    return [c for _, c in dim.terms] if isinstance(dim, Dim) else [dim]


def _tuple_of(read: Callable[[_Parser], Any]) -> Callable[[_Parser], tuple[Any, ...]]:
    return lambda parser: tuple(parser.listed(lambda: read(parser)))


#: How an attribute of each kind is read.
_READERS: dict[str, Callable[[_Parser], Any]] = {
    "int": _Parser.integer,
    "float": _Parser.float,
    "bool": _Parser.boolean,
    "str": _Parser.string,
    "dtype": _Parser.dtype,
    "array": _Parser.array,
    "dim": _Parser.dim,
    "ints": _tuple_of(_Parser.integer),
    "dims": _tuple_of(_Parser.dim),
    "strs": _tuple_of(_Parser.string),
    "pairs": _tuple_of(_tuple_of(_Parser.dim)),
    "groups": _tuple_of(_tuple_of(_Parser.integer)),
    "types": _tuple_of(_Parser.type),
    "any": _Parser.literal,
}
