"""StableHLO with open dimensions: what nodes become whose shapes hold symbols.

A function with symbolic inputs reads each symbol's value off the sizes of its arguments at its start; shapes that
depend
on them become operands (the ``dynamic_`` operations of the specification), and types show ``?``. XLA wants such a
program refined to concrete shapes first; it serves to be read, and to be handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..ir.dims import Atom, Dim, DimLike, symbol
from ..ir.errors import UnsupportedError
from ..ir.graph import Node, Value
from ..ir.types import I32, TensorType
from .mlir import array_attribute, int_array, integer, ir, tensor_type

if TYPE_CHECKING:
    from .emitter import Emitter


class OpenDims:
    """The values of symbols in the function that is being emitted."""

    def __init__(self, emitter: Emitter, values: Sequence[Value], arguments: Sequence[ir.Value]) -> None:
        self.emitter = emitter
        self.scalar = tensor_type(TensorType(I32))
        self.symbols: dict[DimLike, ir.Value] = {}
        self._block = ir.InsertionPoint.current.block
        self._vectors: dict[tuple[DimLike, ...], ir.Value] = {}
        for value, argument in zip(values, arguments, strict=True):
            for axis, dim in enumerate(value.shape):
                if isinstance(dim, Dim) and _is_symbol(dim) and dim not in self.symbols:
                    self.symbols[dim] = self._op("get_dimension_size", [argument], {"dimension": integer(axis)})

    def _op(
        self, name: str, operands: Sequence[ir.Value], attributes: dict[str, ir.Attribute] | None = None
    ) -> ir.Value:
        return self.emitter.create(f"stablehlo.{name}", operands, [self.scalar], attributes).result

    def value(self, dim: DimLike) -> ir.Value:
        """An ``i32`` scalar that holds ``dim``."""
        if isinstance(dim, int):
            return self._op("constant", [], {"value": array_attribute(np.array(dim, np.int32))})
        total = None
        for monomial, coefficient in dim.terms:
            factors = [self._atom(atom) for atom in monomial]
            if coefficient != 1 or not factors:
                factors.append(self.value(coefficient))
            product = factors[0]
            for factor in factors[1:]:
                product = self._op("multiply", [product, factor])
            total = product if total is None else self._op("add", [total, product])
        assert total is not None
        return total

    def _atom(self, atom: Atom) -> ir.Value:
        if atom.kind == "symbol":
            found = self.symbols.get(symbol(atom.args[0]))
            if found is None:
                raise UnsupportedError(
                    f"no argument has {atom.args[0]} as a dimension by itself, so that open StableHLO can't know its "
                    f"value; give it one: {atom.args[0]}=32"
                )
            return found
        name = {"floordiv": "divide", "max": "maximum", "min": "minimum"}[atom.kind]
        return self._op(name, [self.value(arg) for arg in atom.args])

    def vector(self, dims: Sequence[DimLike]) -> ir.Value:
        """A one-dimensional ``i32`` tensor that holds ``dims``."""
        key = tuple(dims)
        if ir.InsertionPoint.current.block != self._block:  # inside a region, which later nodes can't see into
            return self._vector(key)
        if key not in self._vectors:
            self._vectors[key] = self._vector(key)
        return self._vectors[key]

    def _vector(self, dims: tuple[DimLike, ...]) -> ir.Value:
        if all(isinstance(d, int) for d in dims):
            attributes = {"value": array_attribute(np.array(dims, np.int32))}
            return self.emitter.create("stablehlo.constant", [], [_vector(len(dims))], attributes).result
        if len(dims) == 1:
            return self.emitter.create("stablehlo.reshape", [self.value(dims[0])], [_vector(1)]).result
        parts = [self._vector((d,)) for d in dims]
        return self.emitter.create(
            "stablehlo.concatenate", parts, [_vector(len(dims))], {"dimension": integer(0)}
        ).result


def _is_symbol(dim: Dim) -> bool:
    return dim == symbol(str(dim)) if str(dim).isidentifier() else False


def _vector(length: int) -> ir.Type:
    return tensor_type(TensorType(I32, (length,)))


def _iota(emitter: Emitter, node: Node) -> ir.Operation:
    shape = emitter.open_dims.vector(node.result.shape)
    attributes = {"iota_dimension": integer(node.attributes["axis"])}
    return emitter.create("stablehlo.dynamic_iota", [shape], emitter.result_types(node), attributes)


def _reshape(emitter: Emitter, node: Node, x: ir.Value) -> ir.Operation:
    shape = emitter.open_dims.vector(node.result.shape)
    return emitter.create("stablehlo.dynamic_reshape", [x, shape], emitter.result_types(node))


def _broadcast(emitter: Emitter, node: Node, x: ir.Value) -> ir.Operation:
    shape = emitter.open_dims.vector(node.result.shape)
    attributes = {"broadcast_dimensions": int_array(node.attributes["dims"])}
    return emitter.create("stablehlo.dynamic_broadcast_in_dim", [x, shape], emitter.result_types(node), attributes)


def _slice(emitter: Emitter, node: Node, x: ir.Value) -> ir.Operation:
    ends = [emitter.open_dims.vector(node.attributes[name]) for name in ("start", "limit", "strides")]
    return emitter.create("stablehlo.real_dynamic_slice", [x, *ends], emitter.result_types(node))


def _dynamic_slice(emitter: Emitter, node: Node, x: ir.Value, *starts: ir.Value) -> ir.Operation:
    """A slice whose size is open, from where the whole of it fits: that an open slice does not see to by itself."""
    dims, sizes = emitter.open_dims, node.attributes["sizes"]
    vector = _vector(len(sizes))
    parts = []
    for start in starts:
        start = (
            start if start.type == dims.scalar else emitter.create("stablehlo.convert", [start], [dims.scalar]).result
        )
        parts.append(emitter.create("stablehlo.reshape", [start], [_vector(1)]).result)
    zeros, ones = (dims.vector([n] * len(sizes)) for n in (0, 1))
    last = dims.vector([size - part for size, part in zip(node.operands[0].shape, sizes, strict=True)])
    start = emitter.create("stablehlo.concatenate", parts, [vector], {"dimension": integer(0)}).result
    start = emitter.create("stablehlo.clamp", [zeros, start, last], [vector]).result
    limit = emitter.create("stablehlo.add", [start, dims.vector(sizes)], [vector]).result
    return emitter.create("stablehlo.real_dynamic_slice", [x, start, limit, ones], emitter.result_types(node))


def _pad(emitter: Emitter, node: Node, x: ir.Value, value: ir.Value) -> ir.Operation:
    amounts = [emitter.open_dims.vector(node.attributes[name]) for name in ("low", "high", "interior")]
    return emitter.create("stablehlo.dynamic_pad", [x, value, *amounts], emitter.result_types(node))


def _dim_value(emitter: Emitter, node: Node) -> ir.Value:
    value = emitter.open_dims.value(node.attributes["dim"])
    if node.result.dtype == I32:
        return value
    return emitter.create("stablehlo.convert", [value], emitter.result_types(node)).result


def _match_shape(emitter: Emitter, node: Node, x: ir.Value) -> object:
    return x if emitter.type(node.result.type) == x.type else _reshape(emitter, node, x)


#: Ops whose attributes say shapes; others are the same operations on open types.
DYNAMIC: dict[str, Callable[..., object]] = {
    "iota": _iota,
    "reshape": _reshape,
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "pad": _pad,
    "dim_value": _dim_value,
    "match_shape": _match_shape,
}


def is_open(node: Node) -> bool:
    """Whether an attribute of the node, or its result's type, holds a symbol."""
    return not all(r.type.is_static for r in node.results) or any(_holds_dim(v) for v in node.attributes.values())


def check_expressible(node: Node) -> None:
    """Raise :class:`UnsupportedError` where an attribute holds a symbol and no open form is known."""
    name = next((k for k, v in node.attributes.items() if _holds_dim(v)), None)
    if name is not None:
        raise UnsupportedError(
            f"{node.op.name} has no StableHLO form with the open {name}={node.attributes[name]} (at {node.location}); "
            "give its symbols values, such as N=32"
        )


def _holds_dim(value: object) -> bool:
    if isinstance(value, tuple):
        return any(_holds_dim(v) for v in value)
    return isinstance(value, Dim)
