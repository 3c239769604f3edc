"""Products of one value with several fixed matrices, computed as one product.

``x @ a``, ``x @ b``, ``x @ c`` are slices of ``x @ [a b c]``; the kernels depend on parameters alone, so that `prepare`
puts them together once. On XLA:CPU this pays for narrow kernels: 1.04 to 1.5 times as fast with kernels of 4 columns
or more and 32 in all, whatever the number of rows. Wider ones fill the vector registers by themselves, and reading
slices of the wide result costs more than is gained (0.5 to 1.05 times as fast, the usual query, key and value
projections among them): they stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ...ir.builder import Builder
from ...ir.graph import Graph, Node, Update, Value, clone_node
from ...ir.location import merge
from ...ir.types import F32, F64
from ..patterns import depends_only_on
from ..rewrite import Log, drop_dead

#: The step's name, by which a pipeline leaves it out.
MERGE_DOTS = "merge_dots"
#: Fewest columns of a kernel and most columns of merged ones for which merging was measured to pay.
_NARROWEST, _WIDEST = 4, 32


class _Kind(NamedTuple):
    """What dots must have in common to be merged."""

    x: Value
    contract: tuple[int, ...]
    dtype: object


def merge_dots(graph: Graph, log: Log | None = None) -> bool:
    """Merge narrow dots on one shared value in ``graph``, in place; returns whether there were any.

    The merged dot stands where the first of them stood. What made the kernels of the others is copied before it.
    """
    updated = {u.parameter.value for u in graph.updates}
    fixed = {p.value for p in graph.parameters if p.value not in updated}
    kinds: dict[_Kind, list[Node]] = {}
    for node in graph.nodes:
        if node.op.name == "dot_general" and _is_narrow(node) and depends_only_on(node.operands[1], fixed.__contains__):
            kind = _Kind(node.operands[0], node.attributes["lhs_contract"], node.attributes["dtype"])
            kinds.setdefault(kind, []).append(node)
    groups = {dots[0]: group for dots in kinds.values() if len(group := _fitting(dots)) > 1}
    if not groups:
        return False
    new: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        node.operands = [new.get(v, v) for v in node.operands]
        if node in groups:
            new |= _merged(graph, groups[node], nodes)
            if log is not None:
                log.count(MERGE_DOTS, merge([dot.location for dot in groups[node]]))
        if node.results[:1] and node.results[0] in new:
            continue
        nodes.append(node)
    graph.nodes = nodes
    graph.outputs = [new.get(v, v) for v in graph.outputs]
    graph.updates = [Update(u.parameter, new.get(u.value, u.value)) for u in graph.updates]
    drop_dead(graph)  # what the kernels were made of, where they were
    return True


def _is_narrow(node: Node) -> bool:
    x, kernel = node.operands
    a = node.attributes
    return (
        x.dtype in (F32, F64)
        and kernel.type.sharding is None
        and node.result.type.sharding is None
        and kernel.dtype == x.dtype
        and not a["lhs_batch"]
        and kernel.type.is_static
        and _NARROWEST <= _columns(node) < _WIDEST
    )


def _free(node: Node) -> list[int]:
    """The kernel's dimensions that become the result's last ones."""
    return [i for i in range(node.operands[1].rank) if i not in node.attributes["rhs_contract"]]


def _columns(node: Node) -> int:
    sizes = [node.operands[1].shape[i] for i in _free(node)]
    return math.prod(size for size in sizes if isinstance(size, int))  # all are: the kernel's type is static


def _fitting(dots: Sequence[Node]) -> list[Node]:
    """The first of ``dots`` (of one kind, in order) that are together no wider than pays."""
    group: list[Node] = []
    for dot in dots:
        if sum(map(_columns, group)) + _columns(dot) <= _WIDEST:
            group.append(dot)
    return group


def _merged(graph: Graph, dots: Sequence[Node], nodes: list[Node]) -> dict[Value, Value]:
    """Append one dot for all of ``dots`` to ``nodes``; returns the slice that takes the place of each result."""
    b = Builder(graph, nodes, merge([dot.location for dot in dots]))
    kernels = []
    copies: dict[Value, Value] = {}
    for dot in dots:
        kernel = _copied(dot.operands[1], nodes, copies)
        order = (*dot.attributes["rhs_contract"], *_free(dot))
        if order != tuple(range(kernel.rank)):
            kernel = b.transpose(kernel, permutation=order)
        shape = (math.prod(kernel.shape[: len(order) - len(_free(dot))]), _columns(dot))
        kernels.append(kernel if kernel.shape == shape else b.reshape(kernel, shape=shape))
    x, first = dots[0].operands[0], dots[0].attributes
    count = len(first["lhs_contract"])
    kernel = b.concatenate(*kernels, axis=1)
    sizes = tuple(x.shape[i] for i in first["lhs_contract"])
    if count != 1:
        kernel = b.reshape(kernel, shape=(*sizes, kernel.shape[1]))
    product = b.dot_general(
        x, kernel, lhs_contract=first["lhs_contract"], rhs_contract=tuple(range(count)), dtype=first["dtype"]
    )
    return _slices(b, product, dots)


def _slices(b: Builder, product: Value, dots: Sequence[Node]) -> dict[Value, Value]:
    found: dict[Value, Value] = {}
    rows, start = product.shape[:-1], 0
    for dot in dots:
        stop = start + _columns(dot)
        part = b.slice(product, start=(0,) * len(rows) + (start,), limit=(*rows, stop), strides=(1,) * product.rank)
        found[dot.result] = part if part.shape == dot.result.shape else b.reshape(part, shape=dot.result.shape)
        found[dot.result].name = dot.result.name
        start = stop
    return found


def _copied(value: Value, nodes: list[Node], copies: dict[Value, Value]) -> Value:
    """``value``, or, where nodes make it, what copies of them at the end of ``nodes`` make; ``copies``: those made."""
    if value.producer is None:
        return value
    if value not in copies:
        operands = [_copied(v, nodes, copies) for v in value.producer.operands]
        nodes.append(clone_node(value.producer, operands, copies))
    return copies[value]
