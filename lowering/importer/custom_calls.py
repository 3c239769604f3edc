"""Rules for custom calls: what JAX says of matrices to LAPACK becomes ops of the graph; others stay what they are.

A factorization that JAX gets from LAPACK in packed form is imported twice: as the packed form, and as the op that
gives the parts themselves. Where the program takes the parts (the triangle of ``geqrf``'s result, ``orgqr`` of it) it
gets them from the op, and nothing uses the packed form any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...ir.errors import UnsupportedError
from ...ir.evaluate import evaluate
from ...ir.graph import Graph, Guard, Value, clone_node
from ...ir.types import I32, is_complex, static_shape
from .. import linalg
from ..mlir import ir
from . import chlo, elementwise
from .dimensions import Relation
from .reading import Source, tensor_of
from .scope import Rule, Scope


class Packed(NamedTuple):
    """A result of ``geqrf``, and what of."""

    matrix: Value
    vectors: Value
    factors: Value


def custom_call(s: Scope, op: Source, *operands: Any) -> Any:
    """A target that is known, by name; or the op that passes the call on to XLA."""
    target = op.text("call_target_name")
    for pattern, rule in _TARGETS:
        if pattern.fullmatch(target):
            return rule(s, op, *operands)
    if not all(isinstance(v, Value) for v in operands):
        raise UnsupportedError(f"custom_call {target!r} takes a token or a tuple; lamina's programs have none")
    if not op.result_types:
        raise UnsupportedError(
            f"custom_call {target!r} has no results: it is there for an effect outside of the program, which lamina's "
            "programs do not have; leave it out"
        )
    version = op.integer("api_version", 1)
    config = op.attributes["backend_config"] if op.has("backend_config") else None
    if op.has("mhlo.backend_config"):  # as artifacts keep the typed form
        version, config = 4, op.attributes["mhlo.backend_config"]
    text = "" if config is None else config.value if isinstance(config, ir.StringAttr) else str(config)
    return s.b.emit(
        "custom_call",
        operands,
        {
            "target": target,
            "results": tuple(tensor_of(t) for t in _flat(op.result_types)),
            "backend_config": text,
            "api_version": version,
            "has_side_effect": op.flag("has_side_effect"),
            "operand_layouts": _layouts(op, "operand_layouts"),
            "result_layouts": _layouts(op, "result_layouts"),
        },
    )


def _flat(types: Sequence[Any]) -> list[Any]:
    """Types, tuples spread."""
    tuples = [ir.TupleType(t) if isinstance(t, ir.TupleType) else None for t in types]
    return [
        inner
        for type, spread in zip(types, tuples)
        for inner in ([type] if spread is None else [spread.get_type(i) for i in range(spread.num_types)])
    ]


def _layouts(op: Source, name: str) -> tuple[tuple[int, ...], ...]:
    """Orders of axes, minor to major, for each operand or result; none: row-major."""
    if not op.has(name):
        return ()
    return tuple(_layout(a) for a in op.attributes[name])


def _layout(attribute: Any) -> tuple[int, ...]:
    size = ir.RankedTensorType(attribute.type).shape[0]
    numbers = [int(n) for n in re.findall(r"\d+", str(attribute).partition(" : ")[0])]
    return tuple(numbers * size if len(numbers) == 1 and size > 1 else numbers[:size])


# Custom calls that say something about shapes or placement.


def assertion(s: Scope, op: Source, condition: Value, *rest: Value) -> list[Any]:
    """What jax.export asserts of dimensions is a guard, and what is known from here on."""
    known = s.importer.known.of(condition)
    truth: Any = None if known is None else known[()]
    if isinstance(truth, Relation):
        _assume(s, truth)
    elif truth is False:
        raise UnsupportedError(f"the program asserts of its shapes what is wrong: {op.text('error_message', '')}")
    return []


def _assume(s: Scope, relation: Relation) -> None:
    importer = s.importer
    if relation.relation == "EQ":
        importer.equate(relation.left, relation.right, "the program asserts it of its shapes")
    elif relation.relation == "GE" and isinstance(relation.right, int):
        name = str(relation.left)
        if name.isidentifier():
            importer.known.least[name] = relation.right
        guard = Guard(">=", relation.left, relation.right, "the program asserts it of its shapes", s.b.location)
        importer.guards.append(guard)


def nothing(s: Scope, op: Source, *operands: Any) -> list[Any]:
    """A check of a result: not part of the program."""
    return []


def identity(s: Scope, op: Source, *operands: Any) -> Sequence[Any]:
    """Says where a value is, and not what."""
    return operands


def top_k(s: Scope, op: Source, x: Value, *rest: Value) -> Sequence[Value]:
    """XLA's own name for it; the number is that of the result's columns."""
    config = str(op.attributes["mhlo.attributes"]) if op.has("mhlo.attributes") else ""
    if "largest = false" in config:
        raise UnsupportedError("custom_call of top_k for the smallest elements; negate the operand and the result")
    return s.b.top_k(x, k=op.shape()[-1])


def dynamic_top_k(s: Scope, op: Source, x: Value, k: Value) -> Sequence[Value]:
    """jax.export's: the number is an operand."""
    (count,) = s.importer.known.dims(k) or (op.shape()[-1],)
    if not isinstance(count, int):
        raise UnsupportedError(
            f"top_k of {count} elements: lamina's takes a number that is known; give its symbols values"
        )
    return s.b.top_k(x, k=count)


def dynamic_reduce_window(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """jax.export's: windows, strides, dilations and padding are operands, the body is a function."""
    *arrays, window, strides, base, dilation, padding = operands
    known = [s.importer.known.dims(v) for v in (window, strides, base, dilation, padding)]
    if any(k is None for k in known):
        raise UnsupportedError("reduce_window: the window depends on data; lamina's depends on shapes alone")
    flat = known[4] or ()
    body = _function(s, op.attributes["called_computations"][0].value)
    names = ("window", "strides", "base_dilation", "window_dilation")
    attributes = {**dict(zip(names, known)), "padding": tuple(zip(flat[::2], flat[1::2]))}
    return s.b.emit("reduce_window", arrays, attributes, [body])


def approximate_top_k(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """XLA may miss some of the largest; this is a sort, which finds all."""
    arrays = operands[: len(operands) // 2]
    body = _function(s, op.attributes["called_computations"][0].value)
    shape = op.shape()
    axis = next((i for i, (a, b) in enumerate(zip(arrays[0].shape, shape)) if a != b), len(shape) - 1)
    results = s.b.emit("sort", arrays, {"axis": axis, "stable": True}, [body])
    return [s.b.slice(v, start=(0,) * v.rank, limit=shape, strides=(1,) * v.rank) for v in results]


def _function(s: Scope, name: str) -> Graph:
    """A function as a region."""
    graph = Graph()
    inner = Scope(s.importer, graph)
    block = s.importer.definition(name).operation.regions[0].blocks[0]
    inner.bind(block.arguments, [graph.add_input(tensor_of(a.type)) for a in block.arguments])
    graph.outputs = inner.plain(inner.block(block))
    graph.output_names = [""] * len(graph.outputs)
    return graph


def by_name(s: Scope, op: Source, *operands: Value) -> Any:
    """XLA's names of what CHLO has: ``mhlo.erf``."""
    name = op.text("call_target_name").removeprefix("mhlo.")
    rule = chlo.RULES.get(f"chlo.{name}")
    if rule is None:
        raise UnsupportedError(f"custom_call {op.text('call_target_name')!r} is not known")
    return rule(s, op, *operands)


# LAPACK.


def _letter(op: Source, name: str, default: str) -> str:
    """A setting of a LAPACK routine, which JAX passes as the code of its letter."""
    for key in ("mhlo.backend_config", "backend_config"):
        if op.has(key) and (found := re.search(rf"\b{name} = (\d+)", str(op.attributes[key]))):
            return chr(int(found[1]))
    return default


def potrf(s: Scope, op: Source, a: Value) -> Sequence[Value]:
    """The factor in its triangle, the operand's elements in the other, and whether it failed."""
    lower = _letter(op, "uplo", "L") == "L"
    factor = s.b.cholesky(a, lower=lower)
    row, column = _grid(s, a)
    inside = s.b.compare(row, column, direction="GE" if lower else "LE")
    wrong = s.b.compare(factor, factor, direction="NE")
    failed = s.b.reduce_with("or", wrong, (a.rank - 2, a.rank - 1), False)
    return s.b.select(inside, factor, a), s.b.astype(failed, I32)


def _grid(s: Scope, a: Value) -> tuple[Value, Value]:
    row, column = (s.b.iota(dtype=I32, shape=a.shape, axis=a.rank - i) for i in (2, 1))
    return row, column


def getrf(s: Scope, op: Source, a: Value) -> Sequence[Value]:
    """The op's factors; pivots count from 1, and ``info`` is the first zero on the diagonal, from 1, or 0."""
    factors, pivots, _ = s.b.lu(a)
    count = static_shape(pivots.type)[-1]
    square = s.b.slice(factors, start=(0,) * a.rank, limit=(*a.shape[:-2], count, count), strides=(1,) * a.rank)
    row, column = _grid(s, square)
    singular = s.b.and_(
        s.b.compare(square, s.b.full_like(square, 0), direction="EQ"), s.b.compare(row, column, direction="EQ")
    )
    never = s.b.full_like(row, count + 1)
    place = s.b.select(singular, s.b.add(row, s.b.full_like(row, 1)), never)
    first = s.b.reduce_with("minimum", place, (a.rank - 2, a.rank - 1), count + 1)
    none = s.b.compare(first, s.b.full_like(first, count + 1), direction="EQ")
    info = s.b.select(none, s.b.full_like(first, 0), first)
    return factors, s.b.add(pivots, s.b.full_like(pivots, 1)), info


def geqrf(s: Scope, op: Source, a: Value) -> Sequence[Value]:
    """R on and above the diagonal, the reflections' vectors below it; and their factors."""
    triangle, vectors, factors = linalg.reflections(s.b, a)
    count, width = static_shape(vectors.type)[-1], static_shape(a.type)[-1]
    below = s.b.pad(
        vectors,
        s.b.constant(0, a.dtype),
        low=(0,) * a.rank,
        high=(*(0,) * (a.rank - 1), width - count),
        interior=(0,) * a.rank,
    )
    row, column = _grid(s, a)
    packed = s.b.select(s.b.compare(row, column, direction="GT"), below, triangle)
    factors = s.b.reshape(factors, shape=(*a.shape[:-2], count))
    s.importer.packed[packed] = Packed(a, packed, factors)
    return packed, factors


def orgqr(s: Scope, op: Source, x: Value, factors: Value) -> Value:
    """Q: of the op, where this is about the packed form of one matrix; else the product of the reflections."""
    found = _packed(s, x)
    width = static_shape(x.type)[-1]
    if found is not None and found.factors is factors:
        count = min(static_shape(found.matrix.type)[-2:])
        q, _ = s.b.qr(found.matrix, full=width > count)
        return s.b.slice(q, start=(0,) * q.rank, limit=(*q.shape[:-1], width), strides=(1,) * q.rank)
    count = static_shape(factors.type)[-1]
    row, column = _grid(s, x)
    zero, one = s.b.full_like(x, 0), s.b.full_like(x, 1)
    below = s.b.select(s.b.compare(row, column, direction="GT"), x, zero)
    vectors = s.b.select(s.b.compare(row, column, direction="EQ"), one, below)
    vectors = s.b.slice(vectors, start=(0,) * x.rank, limit=(*x.shape[:-1], count), strides=(1,) * x.rank)
    columns = s.b.reshape(factors, shape=(*factors.shape[:-1], 1, count))
    return linalg.product_of_reflections(s.b, vectors, columns, width)


def _packed(s: Scope, x: Value) -> Packed | None:
    """The packed form that ``x`` is, but for columns cut off or added."""
    while x not in s.importer.packed and x.producer is not None:
        node = x.producer
        cut = node.op.name == "slice" and not any(node.attributes["start"]) and set(node.attributes["strides"]) <= {1}
        grown = node.op.name == "pad" and not any(node.attributes["low"]) and not any(node.attributes["interior"])
        if not (cut or grown) or node.operands[0].shape[:-1] != x.shape[:-1]:
            return None
        x = node.operands[0]
    return s.importer.packed.get(x)


def triangle_of_packed(s: Scope, op: Source, predicate: Value, a: Value, b: Value) -> Value:
    """``select``; of what is below the diagonal of a packed form zero is left, then it is R."""
    found = _packed(s, b) if s.importer.packed else None
    if found is not None and _is_below(predicate) and _is_zero(a):
        m, n = static_shape(b.type)[-2:]
        _, r = s.b.qr(found.matrix, full=m > min(static_shape(found.matrix.type)[-2:]))
        if m <= static_shape(r.type)[-2] and n <= static_shape(r.type)[-1]:
            return s.b.slice(r, start=(0,) * r.rank, limit=(*r.shape[:-2], m, n), strides=(1,) * r.rank)
    return elementwise.select(s, op, predicate, a, b)


def _is_below(predicate: Value) -> bool:
    """Whether a constant mask is that of what is below the diagonal."""
    mask = _value_of(predicate)
    return mask is not None and mask.ndim >= 2 and bool(np.all(mask == np.tril(np.ones(mask.shape, bool), -1)))


def _is_zero(value: Value) -> bool:
    array = _value_of(value)
    return array is not None and not array.any()


def _value_of(value: Value) -> np.ndarray | None:
    """What a value holds that depends on nothing, or None."""
    graph = Graph()
    new: dict[Value, Value] = {}
    stack = [value]
    order: dict[Any, None] = {}
    while stack:
        node = stack.pop().producer
        if node is None or node.regions or len(order) > 32 or node.op.name == "call":
            return None
        order.pop(node, None)
        order[node] = None
        stack += node.operands
    for node in reversed(order):
        graph.nodes.append(clone_node(node, [new[o] for o in node.operands], new))
    graph.outputs = [new[value]]
    return evaluate(graph)[0][0] if value.type.is_static else None


def trsm(s: Scope, op: Source, a: Value, b: Value, *rest: Value) -> Value:
    """The op, by LAPACK's letters; a further operand is a factor of the right side."""
    if rest:
        b = s.b.multiply(b, s.b.broadcast_to(rest[0], b.shape))
    kinds = {"N": "NO_TRANSPOSE", "T": "TRANSPOSE", "C": "ADJOINT" if is_complex(a.dtype) else "TRANSPOSE"}
    return s.b.triangular_solve(
        a,
        b,
        left_side=_letter(op, "side", "L") == "L",
        lower=_letter(op, "uplo", "L") == "L",
        unit_diagonal=_letter(op, "diag", "N") == "U",
        transpose=kinds[_letter(op, "trans_x", "N")],
    )


_TARGETS: list[tuple[re.Pattern[str], Callable[..., Any]]] = [
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"shape_assertion", assertion),
        (r"check\..*", nothing),
        (r"Sharding|annotate_device_placement|MoveToDevice|MoveToHost|LayoutConstraint", identity),
        (r"mhlo\.topk|TopK|__gpu\$TopK", top_k),
        (r"ApproxTopK", approximate_top_k),
        (r"mhlo\.\w+", by_name),
        (r"stablehlo\.dynamic_top_k", dynamic_top_k),
        (r"stablehlo\.dynamic_reduce_window", dynamic_reduce_window),
        (r"lapack_[sdcz]potrf_ffi", potrf),
        (r"lapack_[sdcz]getrf_ffi|LuDecomposition", getrf),
        (r"lapack_[sdcz]geqrf_ffi|Qr", geqrf),
        (r"lapack_[sdcz](or|un)gqr_ffi|ProductOfElementaryHouseholderReflectors", orgqr),
        (r"lapack_[sdcz]trsm_ffi", trsm),
    )
]

RULES: dict[str, Rule] = {"stablehlo.custom_call": custom_call, "stablehlo.select": triangle_of_packed}
