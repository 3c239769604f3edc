"""Rules for control flow and calls: what differs in form from the node it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..ir.errors import ParseError
from ..ir.graph import Node
from ..ir.types import BOOL
from .emitter import Emitter
from .mlir import ir, string, symbol


def while_(emitter: Emitter, node: Node, *operands: ir.Value) -> list[ir.Value]:
    """``stablehlo.while``; constants ride along as carries that do not change."""
    consts = node.attributes["consts"]
    types = [o.type for o in operands]
    made = emitter.create("stablehlo.while", operands, types, regions=2)
    test, body = node.regions
    emitter.region(made.regions[0], node.operands, partial(emitter.graph, test))

    def step(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        return [*arguments[:consts], *emitter.graph(body, arguments)]

    emitter.region(made.regions[1], node.operands, step)
    results: list[ir.Value] = [*made.results]
    return results[consts:]


def cond(emitter: Emitter, node: Node, *operands: ir.Value) -> ir.Operation:
    """``stablehlo.if`` or ``stablehlo.case``; branches capture the operands."""
    name = "stablehlo.if" if node.operands[0].dtype == BOOL else "stablehlo.case"
    made = emitter.create(name, operands[:1], emitter.result_types(node), regions=len(node.regions))
    for region, graph in zip(made.regions, node.regions, strict=True):
        branch = partial(emitter.graph, graph, operands[1:])
        emitter.region(region, (), lambda _, branch=branch: branch())  # type: ignore[misc]
    return made


def call(emitter: Emitter, node: Node, *operands: ir.Value) -> ir.Operation:
    """``func.call`` of a private function."""
    callee = emitter.callee(node.attributes["callee"])
    return emitter.create("func.call", operands, emitter.result_types(node), {"callee": symbol(callee)})


def composite(emitter: Emitter, node: Node, *operands: ir.Value) -> ir.Operation:
    """``stablehlo.composite`` under its name, its region as the decomposition."""
    name, given = node.attributes["name"], node.attributes["attrs"]
    try:
        attributes = ir.Attribute.parse(given or "{}")
    except ir.MLIRError:
        raise ParseError(f"composite {name}: its attributes should be an MLIR dictionary, received {given!r}") from None
    body = emitter.function(name.replace("/", "."), node.regions[0])
    return emitter.create(
        "stablehlo.composite",
        operands,
        emitter.result_types(node),
        {"name": string(name), "composite_attributes": attributes, "decomposition": symbol(body)},
    )


def remat(emitter: Emitter, node: Node, *operands: ir.Value) -> list[ir.Value]:
    """The region in place; the second time behind a barrier, so that XLA does not merge it with the first."""
    if node.attributes["again"] and operands:
        operands = tuple(emitter.create("stablehlo.optimization_barrier", operands, [o.type for o in operands]).results)
    return emitter.graph(node.regions[0], operands)
