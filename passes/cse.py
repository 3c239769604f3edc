"""Common subexpressions: of equal pure nodes the first stays and keeps the locations of all."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np

from ..ir.graph import Graph, Node, Update, Value
from ..ir.literals import raw_bytes
from ..ir.location import merge
from ..ir.opdef import OpDef
from .patterns import is_pure
from .rewrite import Log

_DIGEST_FROM = 256  # bytes; longer arrays are compared by digest
_SUBTLE = ("float", "array", "any")  # kinds of attributes that may be equal and not the same, or are not hashable


def merge_equal(graph: Graph, log: Log | None = None) -> bool:
    """Merge equal nodes of ``graph``, and inside its regions; returns whether any were.

    Two nodes are equal where op, operands, attributes (floats and arrays bit for bit), regions and result types are.
    """
    first: dict[Any, Node] = {}
    merged: dict[Node, list[Node]] = {}
    new: dict[Value, Value] = {}
    kept: list[Node] = []
    changed = False
    for node in graph.nodes:
        if new:
            node.operands = [new.get(v, v) for v in node.operands]
        for region in node.regions:
            changed |= merge_equal(region, log)
        key = (_key(node), tuple(map(id, _ordered(node))))
        same = first.setdefault(key, node) if is_pure(node) else node
        if same is node:
            kept.append(node)
            continue
        merged.setdefault(same, []).append(node)
        for result, stays in zip(node.results, same.results):
            stays.name = stays.name or result.name
            new[result] = stays
        if log is not None:
            log.count("common_subexpression", node.location)
    if merged:
        for node, others in merged.items():
            node.location = merge([node.location, *(n.location for n in others)])
        graph.nodes = kept
        graph.outputs = [new.get(v, v) for v in graph.outputs]
        graph.updates = [Update(u.parameter, new.get(u.value, u.value)) for u in graph.updates]
    return changed or bool(merged)


def _ordered(node: Node) -> list[Value]:
    """The operands; those of a commutative op in one order."""
    return sorted(node.operands, key=id) if node.op.commutative and len(node.operands) == 2 else node.operands


def _key(node: Node) -> Any:
    """What a node does to its operands, hashable."""
    attributes = tuple(node.attributes.items())
    if _is_subtle(node.op):
        attributes = tuple((name, _hashable(value)) for name, value in attributes)
    regions = tuple(map(_region_key, node.regions)) if node.regions else ()
    return node.op.name, attributes, regions, tuple([r.type for r in node.results])


@cache
def _is_subtle(op: OpDef) -> bool:
    """Whether equal values of its attributes may not be the same."""
    return any(attribute.kind.removesuffix("?") in _SUBTLE for attribute in op.attributes.values())


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = raw_bytes(value)
        return value.dtype, value.shape, data if len(data) < _DIGEST_FROM else hashlib.blake2b(data).digest()
    if isinstance(value, tuple):
        return tuple(map(_hashable, value))
    # 0.0 == -0.0 and 1 == True, but they are not the same attribute; NaN is the same as itself.
    return (float.hex(value),) if isinstance(value, float) else (type(value), value)


def _region_key(region: Graph) -> Any:
    """The structure of a region: values are numbered in order of definition."""
    number = {value: i for i, value in enumerate(region.inputs)}
    nodes = []
    for node in region.nodes:
        nodes.append((_key(node), tuple(number[v] for v in node.operands)))
        for result in node.results:
            number[result] = len(number)
    return tuple(v.type for v in region.inputs), tuple(nodes), tuple(number[v] for v in region.outputs)
