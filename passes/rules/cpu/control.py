"""Control flow on the CPU."""

from __future__ import annotations

from ....ir.builder import Builder
from ....ir.dims import Dim
from ....ir.graph import Graph, Node, Value
from ....ir.types import bit_width, is_float
from ...rewrite import NoMatch, Rewriter, rule

_INTEGERS = {8: "int8", 16: "int16", 32: "int32", 64: "int64"}


@rule("remat")
def remat_in_a_branch(r: Rewriter, node: Node) -> tuple[Value, ...] | NoMatch:
    """A region that is computed again runs in a branch, which is always taken.

    XLA's CPU backend drops optimization barriers early, merges the second computation with the first, and keeps what
    should not be kept. It does not look into branches, if these hold more than elementwise ops: so there is a barrier
    in it. The predicate is true for all bits of the operands, and no constant to XLA. It takes the last operand, a
    cotangent, for the branch to wait for it, and others in case XLA knows that.
    """
    if not node.attributes["again"]:
        return NoMatch("it is computed for the first time")
    bits = [b for v in node.operands if (b := _some_bits(r, v)) is not None]
    if not bits:
        return NoMatch("there is no element to hang the branch on")
    odd = r.full_like(bits[0], 1)
    for some in bits:
        odd = r.or_(odd, some)
    taken = r.compare(odd, r.full_like(odd, 0), direction="NE")
    region = node.regions[0]
    region.outputs = list(Builder(region, location=node.location).emit("optimization_barrier", region.outputs))
    return tuple(r.emit("cond", [taken, *node.operands], {}, [region, _zeros(node)]))


def _some_bits(r: Rewriter, x: Value) -> Value | None:
    """Bits of one element of a float tensor, as an integer of 32 bits; None where it has none."""
    if (
        any(isinstance(d, Dim) or d == 0 for d in x.shape)
        or not is_float(x.dtype)
        or bit_width(x.dtype) not in _INTEGERS
    ):
        return None
    first = r.reshape(r.slice(x, start=(0,) * x.rank, limit=(1,) * x.rank, strides=(1,) * x.rank), shape=())
    bits = r.bitcast_convert(first, dtype=_INTEGERS[bit_width(x.dtype)])
    return r.astype(bits, "int32")


def _zeros(node: Node) -> Graph:
    """The branch that is never taken."""
    graph = Graph()
    for operand in node.operands:
        graph.add_input(operand.type)
    b = Builder(graph, location=node.location)
    graph.outputs = [b.full(v.shape, 0, v.dtype) for v in node.results]
    graph.output_names = [""] * len(graph.outputs)
    return graph


RULES = [remat_in_a_branch]
