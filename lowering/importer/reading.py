"""Reading MLIR: the attributes, constants, types and locations of operations, as plain Python data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...ir.errors import UnsupportedError
from ...ir.location import UNKNOWN, Frame, Location
from ...ir.types import (
    ELEMENT_TYPES,
    TensorType,
    bit_width,
    is_complex,
    is_float,
    is_integer,
    is_unsigned,
    short_name,
)
from ..mlir import element_type_of, ir, stablehlo

I64 = ELEMENT_TYPES["i64"]
OPEN = ir.ShapedType.get_dynamic_size()
_REQUIRED = object()
#: Components of JAX's names that say how a function was called, and not which part of a model it is.
_NOISE = re.compile(
    r"^(jit|pjit|xla_call|checkpoint|remat\d?|custom_(jvp|vjp)_call\w*|closed_call|core_call|while|scan|cond|body"
    r"|branch_\d+_fun|transpose|jvp|vmap|shard_map|(Stateful)?PartitionedCall)$"
)


class Source:
    """One MLIR operation, read.

    Args:
        operation: the operation.
        resources: gives the bytes of the module's ``dense_resource`` blobs, by name.
    """

    def __init__(self, operation: Any, resources: Callable[[], Mapping[str, bytes]] = dict) -> None:
        self.operation = operation.operation
        self.name: str = self.operation.name
        self.resources = resources

    @cached_property
    def attributes(self) -> Any:
        return self.operation.attributes

    def has(self, name: str) -> bool:
        """Whether the operation has an attribute."""
        return name in self.attributes

    def _get(self, name: str, default: Any) -> Any:
        if name in self.attributes:
            return self.attributes[name]
        if default is _REQUIRED:
            raise UnsupportedError(f"{self.name} has no attribute {name!r} ({self.place})")
        return None

    def ints(self, name: str, default: Any = _REQUIRED) -> tuple[int, ...]:
        """An array or dense attribute of integers, flat."""
        found = self._get(name, default)
        if found is None:
            return default
        if isinstance(found, ir.DenseIntElementsAttr):
            return tuple(int(v) for v in np.array(found).reshape(-1))
        return tuple(int(v) for v in found)

    def bools(self, name: str, default: Any = _REQUIRED) -> tuple[bool, ...]:
        """An array or dense attribute of booleans, flat."""
        found = self._get(name, default)
        if found is None:
            return default
        values = np.array(found).reshape(-1) if isinstance(found, ir.DenseIntElementsAttr) else found
        return tuple(bool(v) for v in values)

    def matrix(self, name: str, rows: int) -> tuple[tuple[int, int], ...]:
        """A dense attribute of two columns; zeros in ``rows`` rows where it is missing."""
        flat = self.ints(name, ())
        return tuple(zip(flat[::2], flat[1::2], strict=True)) if flat else ((0, 0),) * rows

    def groups(self, name: str) -> tuple[tuple[int, ...], ...]:
        """A dense matrix of device numbers; rows are padded with -1 where groups differ in size."""
        found = self._get(name, _REQUIRED)
        if not isinstance(found, ir.DenseIntElementsAttr):
            raise UnsupportedError(f"{self.name}: {name} = {found} is not a plain matrix of devices ({self.place})")
        table = np.array(found)
        return tuple(tuple(int(d) for d in row if d >= 0) for row in table) if table.size else ()

    def integer(self, name: str, default: Any = _REQUIRED) -> int:
        """An integer attribute."""
        found = self._get(name, default)
        return default if found is None else int(found.value)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean or unit attribute."""
        found = self._get(name, default)
        if found is None:
            return default
        return bool(found.value) if isinstance(found, ir.BoolAttr) else True

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        """A string or symbol attribute."""
        found = self._get(name, default)
        return default if found is None else str(found.value)

    def enum(self, name: str, default: Any = _REQUIRED) -> str:
        """The case of an enumeration attribute: ``LT`` of ``#stablehlo<comparison_direction LT>``."""
        found = self._get(name, default)
        return default if found is None else enum_case(found)

    def array(self, name: str = "value") -> np.ndarray:
        """A dense attribute of any element type."""
        try:
            attribute = self.attributes[name]
        except TypeError:  # the bindings have no class for complex ones
            attribute = None
        return read_array(attribute, self, name)

    @property
    def result_types(self) -> list[Any]:
        """MLIR types of the results."""
        return [r.type for r in self.operation.results]

    def dtype(self, index: int = 0) -> np.dtype:
        """Element type of a result."""
        return dtype_of(self.result_types[index])

    def shape(self, index: int = 0) -> tuple[int | None, ...]:
        """Shape of a result; None where it is open."""
        return shape_of(self.result_types[index])

    @property
    def regions(self) -> Sequence[Any]:
        return self.operation.regions

    @cached_property
    def location(self) -> Location:
        """Layers and source lines, as the program's names tell them."""
        return location_of(self.operation.location)

    @property
    def place(self) -> str:
        """Where the operation is, for errors: the line of the text, or what its location says."""
        line = _line(self.operation.location)
        if line is not None:
            return f"line {line}"
        return str(self.location) if self.location is not UNKNOWN else "in a program without locations"


def enum_case(attribute: Any) -> str:
    """``LT`` of ``#stablehlo<comparison_direction LT>``."""
    return str(attribute).rstrip(">").split()[-1]


def dtype_of(type: Any) -> np.dtype:
    """NumPy dtype of an MLIR tensor or element type; ``index`` is i64."""
    element = ir.ShapedType(type).element_type if isinstance(type, ir.ShapedType) else type
    return I64 if isinstance(element, ir.IndexType) else element_type_of(element)


def shape_of(type: Any) -> tuple[int | None, ...]:
    """Shape of an MLIR tensor type; None where it is open."""
    if not isinstance(type, ir.RankedTensorType):
        raise UnsupportedError(f"expected tensors of a known rank, received {type}")
    return tuple(None if d == OPEN else int(d) for d in type.shape)


# Constants.

#: Element types that the bindings give NumPy a buffer of.
_BUFFERS = ("i1", "f16", "f32", "f64", *(f"{sign}{width}" for sign in ("i", "ui") for width in (8, 16, 32, 64)))


def read_array(attribute: Any, source: Source, name: str) -> np.ndarray:
    """A dense attribute as an array. What NumPy has no type for is read from the operation's text."""
    if isinstance(attribute, ir.DenseElementsAttr):
        type = ir.RankedTensorType(attribute.type)
        dtype, shape = dtype_of(type), tuple(type.shape)
        if 0 in shape:
            return np.zeros(shape, dtype)
        if short_name(dtype) in _BUFFERS:
            return np.array(attribute).astype(dtype, copy=False).reshape(shape)
    generic = source.operation.get_asm(print_generic_op_form=True)
    found = re.search(rf"\b{re.escape(name)} = dense(_resource)?<(.*?)> : (tensor<[^,}}]*)", generic, re.DOTALL)
    if found is None:
        raise UnsupportedError(f"{source.name}: can't read the constant {name} ({source.place})")
    resource, literal, written = found.groups()
    type = ir.RankedTensorType(ir.Type.parse(_balanced(written)))
    dtype, shape = dtype_of(type), tuple(type.shape)
    if resource:
        data = source.resources().get(literal)
        if data is None:
            raise UnsupportedError(
                f"{source.name}: the program has no data for its resource {literal} ({source.place})"
            )
        return _raw(data, dtype, shape)
    if literal.startswith('"0x'):
        return _raw(bytes.fromhex(literal[3:-1]), dtype, shape)
    return parse_literal(literal, dtype, shape)


def _balanced(text: str) -> str:
    """The beginning of ``text`` up to the bracket that closes its first one."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "<") - (character == ">")
        if character == ">" and depth == 0:
            return text[: i + 1]
    return text


def _raw(data: bytes, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """Little-endian bytes as MLIR keeps them; narrower integers take a byte each. One element may stand for all."""
    count, width = int(np.prod(shape, dtype=np.int64)), bit_width(dtype)
    if is_integer(dtype) and width < 8:
        array, sign = np.frombuffer(data, np.uint8) & (2**width - 1), 2 ** (width - 1)
        array = (array if is_unsigned(dtype) else ((array ^ sign).astype(np.int8) - sign)).astype(dtype)
    elif short_name(dtype) == "i1":
        array = np.frombuffer(data, np.uint8) != 0
    else:
        array = np.frombuffer(data, dtype)
    if array.size == 1 and count != 1:
        return np.broadcast_to(array, tuple(shape)).copy()
    return array.reshape(tuple(shape)).copy()


_TOKEN = re.compile(r"0x[0-9A-Fa-f]+|[-+]?[0-9][0-9.eE+-]*|true|false")


def parse_literal(literal: str, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """The numbers of ``dense<...>``, row-major; one number (or complex pair) may stand for all."""
    tokens = _TOKEN.findall(literal)
    part = np.zeros((), dtype).real.dtype if is_complex(dtype) else dtype
    values = np.empty(len(tokens), part)
    for i, token in enumerate(tokens):
        values[i] = _number(token, part)
    if is_complex(dtype):
        values = values.view(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    if values.size == 1 and count != 1:
        return np.broadcast_to(values, tuple(shape)).copy()
    return values.reshape(tuple(shape))


def _number(token: str, dtype: np.dtype) -> Any:
    if token in ("true", "false"):
        return token == "true"
    if token.startswith("0x") and is_float(dtype):  # the bits
        return np.array([int(token, 16)], f"u{dtype.itemsize}").view(dtype)[0]
    if is_float(dtype):
        return np.float64(token).astype(dtype)
    return int(token, 0)


# Locations.


def _line(location: Any) -> int | None:
    """The line of a text without locations of its own, where the parser put them."""
    if isinstance(location, ir.FileLineColLoc) and location.filename == "-":
        return int(location.start_line)
    return None


def location_of(location: Any) -> Location:
    """JAX's scopes (``jit(f)/encoder/dense/dot_general``) as layers, and the Python lines that they came from."""
    layers: list[str] = []
    frames: list[Frame] = []
    _collect(location, layers, frames, True)
    return Location(tuple(layers), tuple(frames)) if layers or frames else UNKNOWN


def _collect(location: Any, layers: list[str], frames: list[Frame], outer: bool) -> None:
    if isinstance(location, ir.NameLoc):
        child = location.child_loc
        if isinstance(child, ir.FileLineColLoc):
            frames.append(Frame(child.filename, int(child.start_line), location.name_str))
            return
        if outer:
            layer = _layer(location.name_str)
            if layer:
                layers.append(layer)
        _collect(child, layers, frames, False)
    elif isinstance(location, ir.CallSiteLoc):
        _collect(location.callee, layers, frames, False)
        _collect(location.caller, layers, frames, False)
    elif isinstance(location, ir.FusedLoc):
        for part in location.locations:
            _collect(part, layers, frames, outer)


def _layer(name: str) -> str:
    """The scopes of ``jit(f)/encoder/transpose(jvp(dense))/dot_general``: ``encoder/dense``."""
    parts = []
    for part in _split(name.partition(";")[0])[:-1]:
        while (found := re.fullmatch(r"(\w+)\((.*)\)", part)) and found[1] not in ("jit", "pjit"):
            part = found[2]
        if part and "(" not in part and not _NOISE.match(part):
            parts.append(part)
    return "/".join(parts)


def _split(name: str) -> list[str]:
    """Parts between slashes that stand in no parentheses."""
    parts, depth = [""], 0
    for character in name:
        depth += (character == "(") - (character == ")")
        if character == "/" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def resources_of(module: Any) -> dict[str, bytes]:
    """The blobs that a module's ``dense_resource`` constants name, without the alignment they begin with."""
    blobs = re.findall(r'^\s*"?([\w.$-]+)"?: "0x([0-9A-Fa-f]*)"', module.operation.get_asm(), re.MULTILINE)
    return {name: bytes.fromhex(data)[4:] for name, data in blobs}


def tensor_of(type: Any, shape: Sequence[Any] | None = None) -> TensorType:
    """Our type of an MLIR tensor type; ``shape`` in place of its own where that is open."""
    return TensorType(dtype_of(type), shape_of(type) if shape is None else shape)  # type: ignore[arg-type]


__all__ = ["Source", "dtype_of", "enum_case", "location_of", "resources_of", "shape_of", "stablehlo", "tensor_of"]
