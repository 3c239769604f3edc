"""Rules for control flow, calls, tuples and tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.dims import Dim
from ...ir.errors import UnsupportedError
from ...ir.evaluate import evaluate
from ...ir.graph import Graph, Value
from ...ir.types import I32
from ..mlir import ir
from .reading import Source, tensor_of
from .scope import Rule, Scope, Token
from .shape import size_value


def while_(s: Scope, op: Source, *operands: Any) -> Sequence[Any]:
    """What the regions take from outside rides along as constants; tokens stay outside."""
    carried = [v for v in operands if isinstance(v, Value)]
    types = [v.type for v in carried]
    sides = [_region(s, region, operands) for region in op.regions]
    outer = list(dict.fromkeys(v for scope, _ in sides for v in scope.captures))
    graphs = []
    for (scope, results), keep in zip(sides, (False, True)):
        given = [scope.captures.get(v) or Value(v.type, name=v.name) for v in outer]
        scope.graph.inputs = given + scope.graph.inputs
        scope.graph.input_names = [""] * len(scope.graph.inputs)
        outputs = [v for v in results if isinstance(v, Value)]
        if keep:
            outputs = [scope.settled(v, t) for v, t in zip(outputs, types, strict=True)]
        scope.graph.outputs = outputs
        scope.graph.output_names = [""] * len(outputs)
        graphs.append(scope.graph)
    made = iter(s.b.emit("while", (*outer, *carried), {"consts": len(outer)}, graphs))
    return [next(made) if isinstance(v, Value) else v for v in operands]


def _region(s: Scope, region: Any, operands: Sequence[Any]) -> tuple[Scope, list[Any]]:
    """A region on arguments like ``operands``; those that are no tensors stand for themselves."""
    scope = Scope(s.importer, Graph(), s)
    block = region.blocks[0]
    for argument, operand in zip(block.arguments, operands, strict=True):
        scope.values[argument] = scope.graph.add_input(operand.type) if isinstance(operand, Value) else operand
    return scope, scope.block(block)


def branches(s: Scope, op: Source, index: Value) -> Sequence[Any]:
    """``if`` and ``case``: branches take what any of them uses from outside."""
    if op.name == "stablehlo.case":
        index = s.convert(index, I32)
    sides = [_region(s, region, ()) for region in op.regions]
    outer = list(dict.fromkeys(v for scope, _ in sides for v in scope.captures))
    types = [v.type for v in sides[0][1] if isinstance(v, Value)]
    graphs = []
    for scope, results in sides:
        scope.graph.inputs = [scope.captures.get(v) or Value(v.type, name=v.name) for v in outer]
        scope.graph.input_names = [""] * len(outer)
        values = [v for v in results if isinstance(v, Value)]
        scope.graph.outputs = [scope.settled(v, t) for v, t in zip(values, types, strict=True)]
        scope.graph.output_names = [""] * len(values)
        graphs.append(scope.graph)
    made = iter(s.b.emit("cond", (index, *outer), {}, graphs))
    return [next(made) if isinstance(v, Value) else v for v in sides[0][1]]


def call(s: Scope, op: Source, *operands: Any) -> Sequence[Any]:
    """A call; in place where shapes are open, or tuples or tokens are passed, which the graph's functions lack."""
    name = op.text("callee")
    types = [*op.result_types, *(v.type for v in op.operation.operands)]
    if s.importer.is_open or not all(isinstance(t, ir.RankedTensorType) for t in types):
        quotient = _quotient(s, name, operands)
        return s.call(name, operands) if quotient is None else quotient
    callee = s.importer.function(name)
    return s.b.emit("call", operands, {"callee": callee, "results": tuple(tensor_of(t) for t in op.result_types)})


# Functions by which jax.export computes dimensions, and what they give of two.
_QUOTIENTS: dict[str, Callable[[Any, Any], tuple[Any, ...]]] = {
    "floor_divide": lambda a, b: (a // b,),
    "remainder": lambda a, b: (a % b,),
    "divmod": lambda a, b: (a // b, a % b),
}


def _quotient(s: Scope, name: str, operands: Sequence[Any]) -> list[Value] | None:
    """The results of a function that divides dimensions, as dimensions; None where it is another function.

    It rounds down, for which StableHLO has no operation, so that its body is not easily followed.
    """
    rule = _QUOTIENTS.get(re.sub(r"_\d+$", "", name))
    known = [s.importer.known.of(v) for v in operands[-2:]]
    if rule is None or len(known) < 2 or any(k is None or k.shape for k in known):
        return None
    a, b = (k[()] for k in known if k is not None)
    if not isinstance(a, Dim) or not isinstance(b, int) or b < 1 or not _divides(s, name, operands, rule):
        return None
    results = [size_value(s, dim, operands[-1].dtype) for dim in rule(a, b)]
    for dim, value in zip(rule(a, b), results):
        s.importer.known.note(np.array(dim, object), value)
    return results


def _divides(s: Scope, name: str, operands: Sequence[Value], rule: Callable[[Any, Any], tuple[Any, ...]]) -> bool:
    """Whether a function does what its name says, tried on some numbers."""
    graph = Graph()
    inner = Scope(s.importer, graph)
    graph.outputs = inner.plain(inner.call(name, [graph.add_input(v.type) for v in operands]))
    dtype = operands[-1].dtype
    for pair in ((7, 2), (-7, 2), (6, 3), (-6, 3), (-1, 5), (0, 4)):
        given = [np.ones((), v.dtype) for v in operands[:-2]] + [np.array(n, dtype) for n in pair]
        if tuple(int(r) for r in evaluate(graph, *given)[0]) != rule(*pair):
            return False
    return True


def composite(s: Scope, op: Source, *operands: Value) -> Sequence[Any]:
    """A composite of CHLO is the op of that name; another one keeps its name and its decomposition."""
    name = op.text("name")
    rule = s.importer.rules.get(name) if name.startswith("chlo.") else None
    if rule is not None:
        results = rule(s, _Composite(op), *operands)
        return results if isinstance(results, (list, tuple)) else [results]
    decomposition = op.text("decomposition")
    if s.importer.is_open:
        return s.call(decomposition, operands)
    graph = Graph()
    inner = Scope(s.importer, graph)
    graph.outputs = inner.plain(inner.call(decomposition, [graph.add_input(v.type) for v in operands]))
    graph.output_names = [""] * len(graph.outputs)
    attributes = str(op.attributes["composite_attributes"]) if op.has("composite_attributes") else ""
    return s.b.emit("composite", operands, {"name": name, "attrs": "" if attributes == "{}" else attributes}, [graph])


class _Composite(Source):
    """A composite, seen as the operation that it is named after."""

    def __init__(self, op: Source) -> None:
        super().__init__(op.operation, op.resources)
        self.name = op.text("name")
        given: Any = op.attributes["composite_attributes"] if op.has("composite_attributes") else ()
        self.attributes = {named.name: named.attr for named in given}


def optimization_barrier(s: Scope, op: Source, *operands: Any) -> Sequence[Any]:
    """Tensors pass the barrier; tokens and tuples stand for themselves."""
    tensors = [v for v in operands if isinstance(v, Value)]
    made = iter(s.b.emit("optimization_barrier", tensors, {}) if tensors else ())
    return [next(made) if isinstance(v, Value) else v for v in operands]


def tuple_(s: Scope, op: Source, *operands: Any) -> list[Any]:
    """Several values as one."""
    return [tuple(operands)]


def get_tuple_element(s: Scope, op: Source, operand: tuple) -> list[Any]:
    """One of several values."""
    return [operand[op.integer("index")]]


def first_operand(s: Scope, op: Source, x: Any, *rest: Any) -> list[Any]:
    """A copy, or a value behind an effect: the value."""
    return [x]


def token(s: Scope, op: Source, *operands: Any) -> Token:
    """Nothing here has effects that need an order."""
    return Token()


def outside(s: Scope, op: Source, *operands: Any) -> Any:
    """What talks to the world while the program runs."""
    ways = {
        "stablehlo.infeed": "make what it reads an input of the program",
        "stablehlo.outfeed": "make what it writes an output of the program",
        "stablehlo.send": "make what it sends an output, or use collective_permute",
        "stablehlo.recv": "make what it receives an input, or use collective_permute",
        "stablehlo.async_start": "use the operation itself, which waits for its result",
        "stablehlo.async_done": "use the operation itself, which waits for its result",
    }
    raise UnsupportedError(
        f"{op.name} exchanges data while the program runs; lamina's programs map inputs to outputs: {ways[op.name]}"
    )


RULES: dict[str, Rule] = {
    "stablehlo.while": while_,
    "stablehlo.if": branches,
    "stablehlo.case": branches,
    "func.call": call,
    "stablehlo.composite": composite,
    "stablehlo.optimization_barrier": optimization_barrier,
    "stablehlo.tuple": tuple_,
    "stablehlo.get_tuple_element": get_tuple_element,
    # What XLA's own programs keep of HLO, as TensorFlow hands them out.
    "mhlo.copy": first_operand,
    "mhlo.add_dependency": first_operand,
    "stablehlo.create_token": token,
    "stablehlo.after_all": token,
    **{f"stablehlo.{name}": outside for name in ("infeed", "outfeed", "send", "recv", "async_start", "async_done")},
}
