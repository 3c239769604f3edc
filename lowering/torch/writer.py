"""torch's names and literals, and the writer that its rules write with.

Every element type is *held* in a torch type: its own, or where torch does not compute with that a wider one, in which
results are brought back into range (:func:`narrowed`). Unsigned 64-bit integers are held as the bits of an int64.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ...ir.dims import Dim, DimLike
from ...ir.errors import UnsupportedError
from ...ir.graph import Graph, Guard, Node, Value
from ...ir.literals import same_array
from ...ir.location import Location
from ...ir.opdef import Call
from ...ir.types import BOOL, is_complex, is_float, short_name
from ..source import Language, Writer, constant_number
from .library import HELPERS

_HELD = {
    "i1": "bool",
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "c64": "complex64",
    "c128": "complex128",
    "i4": "int8",
    "ui4": "uint8",
    "ui8": "uint8",
    "ui16": "int32",
    "ui32": "int64",
    "ui64": "int64",
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
}
#: What torch calls the float types of 8 bits, which it converts and does not compute with: they are held as float32.
_FLOAT8 = {
    "f8e4m3fn": "float8_e4m3fn",
    "f8e5m2": "float8_e5m2",
    "f8e4m3fnuz": "float8_e4m3fnuz",
    "f8e5m2fnuz": "float8_e5m2fnuz",
}
#: Element types that torch does not have, and the way out.
UNSUPPORTED_TYPES = {
    "f8e4m3b11fnuz": "torch has no such type; convert to float8_e4m3fnuz before",
    **dict.fromkeys(
        ("f8e4m3", "f8e3m4", "f8e8m0fnu", "f6e2m3fn", "f6e3m2fn", "f4e2m1fn"),
        "torch does not compute with such a type; convert to float8_e4m3fn or wider before",
    ),
    **dict.fromkeys(("i2", "ui2"), "torch has no such type; convert to int8 before"),
}

#: Names that stand for something else in the source.
NAMES = (
    "torch",
    "F",
    "Tensor",
    "List",
    "Tuple",
    "Dict",
    *["bool", "int", "float", "complex", "range", "len", "max", "min"],
)


def held(dtype: np.dtype) -> str:
    """The name in torch of the type that elements are held in. Raises :class:`UnsupportedError`."""
    name = short_name(dtype)
    if name in UNSUPPORTED_TYPES:
        raise UnsupportedError(f"{dtype.name} has no form in torch: {UNSUPPORTED_TYPES[name]}")
    return "float32" if name in _FLOAT8 else _HELD[name]


def own(dtype: np.dtype) -> str | None:
    """The name in torch of a float type of 8 bits, None for any other."""
    return _FLOAT8.get(short_name(dtype))


def torch_type(dtype: np.dtype) -> str:
    """``torch.float32``."""
    return f"torch.{held(dtype)}"


def is_widened(dtype: np.dtype) -> bool:
    """Whether elements are held in a type with more values than their own."""
    return short_name(dtype) in ("i4", "ui4", "ui16", "ui32", *_FLOAT8)


def narrowed(text: str, dtype: np.dtype) -> str:
    """What was computed in the held type, brought back to the element type: wrapped or rounded."""
    name = short_name(dtype)
    match name:
        case "ui16" | "ui32":
            return f"({text}) & {2 ** (8 * dtype.itemsize) - 1}"
        case "ui4":
            return f"({text}) & 15"
        case "i4":
            return f"((({text}) & 15) ^ 8) - 8"
    if name == "f8e4m3fn":
        return f"self.round_e4m3fn({text})"
    if name in _FLOAT8:
        return f"({text}).to(torch.{_FLOAT8[name]}).to(torch.float32)"
    return text


def number_text(array: np.ndarray) -> str:
    """An element as a plain number."""
    dtype = array.dtype
    if is_complex(dtype):
        return f"complex({_float(float(array.real))}, {_float(float(array.imag))})"
    if is_float(dtype):
        return _shortest(array)
    if dtype == BOOL:
        return str(bool(array))
    value = int(array)
    return str(value - 2**64 if dtype == np.uint64 and value >= 2**63 else value)


def _float(value: float) -> str:
    return repr(value) if np.isfinite(value) else f'float("{value}")'


def _shortest(array: np.ndarray) -> str:
    """The shortest number that rounds to this element, and is not beyond the largest one."""
    value = float(array)
    if array.dtype.itemsize > 4 or not np.isfinite(value) or abs(value) == float(ml_dtypes.finfo(array.dtype).max):
        return _float(value)
    text = str(array.astype(np.float32)[()])
    return text if float(np.float32(float(text))) == value else _float(value)


def is_number(text: str) -> bool:
    """Whether a text is a plain number and no tensor."""
    return re.match(r"-?\d|complex\(|float\(|(True|False)$", text) is not None


def known_number(value: Value) -> np.ndarray | None:
    """The one number that a value holds everywhere, where that is known."""
    made = value.producer
    if made is None:
        return None
    if made.op.name in ("broadcast_in_dim", "reshape"):
        return known_number(made.operands[0])
    if made.op.name == "constant" and value.rank:
        array: np.ndarray = made.attributes["value"]
        return array.reshape(-1)[0] if is_uniform(array) else None
    return constant_number(value)


def is_uniform(array: np.ndarray) -> bool:
    """Whether an array has elements, all of the same bits."""
    flat = array.reshape(-1)
    return bool(array.size) and array.tobytes() == flat[:1].tobytes() * array.size


class TorchWriter(Writer):
    """Writes the body of a module's method.

    Attributes:
        parameters: the names of parameters, by their values.
        device_of: the text of a tensor; new ones are put on its device. Empty: on the CPU.
        fixed: parameters that have no gradient.
        orders: for parameters, by name, the order of their axes in memory that suits their use; as they are: absent.
    """

    def __init__(self, language: Language, taken: Iterable[str] = (), indent: int = 1) -> None:
        super().__init__(language, {*NAMES, *taken}, indent)
        self.orders: dict[str, tuple[int, ...]] = {}
        self.parameters: dict[Value, str] = {}
        self.device_of = ""
        self.fixed: set[Value] = set()

    def helper(self, name: str) -> str:
        """How a method of the prelude is called. The source contains what its text calls."""
        assert name in HELPERS, name
        return f"self.{name}"

    @property
    def place(self) -> Location:
        """The location of what is being written."""
        return self._where

    @property
    def device(self) -> str:
        """The argument that puts a new tensor where the others are."""
        return f", device={self.once(f'{self.device_of}.device', 'device')}" if self.device_of else ""

    def guard(self, guard: Guard) -> None:
        """An assumption of the trace, as an assertion."""
        reason = f"{guard.reason or 'the trace assumed'}: {guard}".replace("\\", "/").replace('"', "'")
        reason = reason.replace("\n", " ")
        self.line(f'assert {self.dim(guard.left)} {guard.relation} {self.dim(guard.right)}, "{reason}"')

    def as_head(self, first: int, name: str, form: str) -> bool:
        """Put the only line written since ``first``, which names an expression, into the head of its block."""
        written = [line.lstrip() for line in self.lines[first:]]
        if len(written) > 1 or (written and not written[0].startswith(f"{name} = ")):
            return False
        expression = self.lines.pop().lstrip().split(" = ", 1)[1] if written else name
        head = self.lines[first - 1]
        self.lines[first - 1] = head[: len(head) - len(head.lstrip())] + form.format(expression)
        return True

    # Tensors

    def array(self, array: np.ndarray, hint: str = "constant") -> str:
        """Also :meth:`Writer.array`: what is one number everywhere stands in the source."""
        held(array.dtype)
        if is_uniform(array):
            return self.full(array.shape, number_text(array.reshape(-1)[0]), array.dtype)
        if not array.size:
            return self.full(array.shape, "0", array.dtype)
        for name, known in self.constants.items():
            if same_array(known, array):
                return f"self.{name}"
        name = self.fresh(hint)
        self.constants[name] = array
        return f"self.{name}"

    def full(self, shape: Iterable[DimLike], number: str, dtype: np.dtype) -> str:
        """A new tensor that holds one number everywhere."""
        return f"torch.full({self.shape(shape)}, {number}, dtype={torch_type(dtype)}{self.device})"

    def arange(self, size: DimLike, dtype: np.dtype | None = None) -> str:
        """0, 1, 2 ... as int64, or as ``dtype``."""
        text = f"torch.arange({self.dim(size)}, dtype=torch.int64{self.device})"
        if dtype is None or held(dtype) == "int64":
            return text
        if is_complex(dtype):
            part = "float32" if dtype.itemsize == 8 else "float64"
            return f"{text}.to(torch.{part}).to({torch_type(dtype)})"
        return f"{text}.to({torch_type(dtype)})"

    def tensor(self, text: str, value: Value) -> str:
        """The text of an operand as a tensor, which may be a plain number; as long as it broadcasts to ``value``."""
        return self.full((), text, value.dtype) if is_number(text) else text

    def shape(self, dims: Iterable[DimLike]) -> str:
        """``[N, 4]``."""
        return f"[{', '.join(self.dims(dims))}]"

    def reshaped(self, text: str, before: Sequence[DimLike], after: Sequence[DimLike]) -> str:
        """``text`` under another shape; itself where it has it. One open size is left to torch."""
        if tuple(before) == tuple(after):
            return text
        is_open = [isinstance(d, Dim) for d in after]
        if sum(is_open) == 1 and 0 not in after:
            sizes = ["-1" if o else str(d) for d, o in zip(after, is_open, strict=True)]
        else:
            sizes = self.dims(after)
        return f"{text}.reshape({', '.join(sizes)})" if sizes else f"{text}.reshape([])"

    def permuted(self, text: str, axes: Sequence[int]) -> str:
        """``text`` with axes in another order; itself where that is theirs."""
        if list(axes) == list(range(len(axes))):
            return text
        return f"{text}.permute({', '.join(map(str, axes))})"

    def is_there(self, value: Value) -> bool:
        """Whether the text of a value can be asked for now."""
        made = value.producer
        return value in self._texts or (made is not None and made.op.name == "constant")

    def named(self, text: str, hint: str = "") -> str:
        """A name for ``text``; itself where it is one."""
        return text if text.isidentifier() else self.assign(text, hint)

    # Regions

    def on_tensors(self, region: Graph, operands: Sequence[str]) -> list[str]:
        """Write a region of scalars, at each place of tensors of one shape; its results are of that shape."""
        if all(_lifts(node) for node in region.nodes):
            texts = self.graph(region, operands)
            return [
                text if _reaches(region, v) else self._everywhere(operands[0], v)
                for v, text in zip(region.outputs, texts, strict=True)
            ]
        return self._on_each(region, operands)

    def _everywhere(self, like: str, value: Value) -> str:
        """A scalar that no operand goes into, in the shape of ``like``."""
        return f"{self.text(value)}.expand({like}.shape)"

    def _on_each(self, region: Graph, operands: Sequence[str]) -> list[str]:
        """A region that torch can't apply to tensors as it stands is applied to one element after the other."""
        flat = [self.assign(f"{o}.reshape(-1)", "flat") for o in operands]
        lists = [self.assign("[]", "results") for _ in region.outputs]
        place = self.fresh("i")
        with self.block(f"for {place} in range({flat[0]}.shape[0]):"):
            results = self.graph(region, [self.assign(f"{f}[{place}]", "element") for f in flat])
            for name, text in zip(lists, results, strict=True):
                self.line(f"{name}.append({text})")
        return [
            self.assign(
                f"torch.stack({name}).reshape({operands[0]}.shape) if len({name}) > 0 "
                f"else torch.empty_like({operands[0]}, dtype={torch_type(v.dtype)})",
                "result",
            )
            for name, v in zip(lists, region.outputs, strict=True)
        ]


#: Ops beside the elementwise ones that do on tensors, at each place, what they do on scalars.
_LIFTED = ("constant", "select", "clamp", "optimization_barrier", "stop_gradient", "bitcast_convert")


def _lifts(node: Node) -> bool:
    if any(r.rank for r in (*node.operands, *node.results)):
        return False
    return node.op.elementwise or node.op.name in _LIFTED


def _reaches(region: Graph, value: Any) -> bool:
    """Whether an input of ``region`` goes into ``value``."""
    if value in region.inputs:
        return True
    made = value.producer
    return made is not None and any(_reaches(region, v) for v in made.operands)


def call_of(node: Node) -> Call:
    """A node as rules of the IR see it."""
    return Call(node.op, node.attributes, node.regions, [r.type for r in node.results])
