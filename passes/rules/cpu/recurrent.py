"""Recurrent steps as XLA's CPU backend runs them fast.

A step is small: its products run on one core, and each pass over the gates is a call of its own. What can leave the
loop leaves it for a product that all cores share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ....ir.builder import Builder
from ....ir.graph import Graph, Node, Value, clone_node
from ....ir.ops.composites.recurrent import gates, plus, product
from ....ir.types import F32, F64, bit_width, static_shape
from ...patterns import produced_by
from ...rewrite import NoMatch, Rewriter, Rule, drop_dead, rule
from ...vectorize import vectorize

#: How many steps are projected at once. Fewer make small products; more leave the cache, as do more rows than the last.
FEWEST_STEPS, MOST_STEPS, MOST_ROWS = 8, 32, 1024
#: Products of fewer inputs cost as little in the loop; those of more multiplications share all cores there, too.
FEWEST_INPUTS, MOST_MULTIPLICATIONS = 16, 1 << 22


#: What moves with elementwise operations; and what costs nothing to do again, on both sides.
_MOVABLE = ("constant", "broadcast_in_dim", "reshape", "slice", "concatenate", "transpose")
_FREE = ("constant", "broadcast_in_dim")
#: With fewer the loop's steps get no shorter.
FEWEST_MOVED = 3


@rule("lstm_step")
def lstm_by_one_tanh(r: Rewriter, node: Node) -> tuple[Value, ...] | NoMatch:
    """All gates of an LSTM's step come from one tanh, sigmoid(x) being (tanh(x / 2) + 1) / 2.

    A gate that is nearly closed is right to within eps, not relative to its own size.
    """
    x, h, carry, kernel, recurrent, *bias = node.operands
    units = h.shape[1]
    if h.dtype not in (F32, F64):
        return NoMatch("narrower floats round a gate after each operation")
    if not isinstance(units, int):
        return NoMatch("the number of units is open")
    z = r.add(product(r, x, kernel), product(r, h, recurrent))
    if bias:
        z = plus(r, z, bias[0])
    # Of i, f, g, o; g is a tanh itself.
    halves, shifts = (
        r.broadcast_in_dim(r.constant(np.repeat(v, units), z.dtype), shape=z.shape, dims=(1,))
        for v in ([0.5, 0.5, 1.0, 0.5], [0.5, 0.5, 0.0, 0.5])
    )
    every = r.add(r.multiply(r.tanh(r.multiply(z, halves)), halves), shifts)
    i, f, g, o = gates(r, every, units, 4)
    carry = r.add(r.multiply(f, carry), r.multiply(i, g))
    states = r.multiply(o, r.tanh(carry)), carry
    return (*states, every) if node.attributes["gates"] else states


@rule("scan")
def inputs_in_chunks(r: Rewriter, node: Node) -> tuple[Value, ...] | NoMatch:
    """A product of each step's inputs with a constant, added to another product, is made for many steps at once.

    The scan becomes a scan over chunks: each makes the products of its steps, and scans over them.
    """
    body, consts = node.regions[0], node.attributes["consts"]
    first = consts + node.attributes["carries"]
    found = ((i, _projection(body, x, consts)) for i, x in enumerate(body.inputs[first:], first))
    place, dot = next(((i, dot) for i, dot in found if dot is not None), (0, None))
    if dot is None:
        return NoMatch("no product of a step's inputs with a constant of the loop is added to another product")
    if not (dot.result.type.is_static and all(v.type.is_static for v in (*node.operands, *node.results))):
        return NoMatch("sizes are open")
    length: int = node.attributes["length"]
    (rows, width), (size, _) = static_shape(dot.result.type), static_shape(dot.operands[1].type)
    if size < FEWEST_INPUTS or rows * size * width > MOST_MULTIPLICATIONS:
        return NoMatch(
            f"a step's product has fewer than {FEWEST_INPUTS} inputs, or over {MOST_MULTIPLICATIONS} multiplications"
        )
    steps = _chunk(length, rows)
    if steps is None:
        return NoMatch(
            f"{length} steps have no divisor from {FEWEST_STEPS} to {MOST_STEPS} for which {rows} rows a step are at "
            f"most {MOST_ROWS}"
        )
    chunks = length // steps
    outer = _over_chunk(node, place, dot, steps)
    operands = [
        *node.operands[:first],
        *(r.reshape(v, shape=(chunks, steps, *v.shape[1:])) for v in node.operands[first:]),
    ]
    results = r.emit(node.op, operands, {**node.attributes, "length": chunks}, [outer])
    count = node.attributes["carries"]
    stacked = [r.reshape(v, shape=(length, *v.shape[2:])) for v in results[count:]]
    return (*results[:count], *stacked)


@rule("scan")
def steps_before_the_loop(r: Rewriter, node: Node) -> tuple[Value, ...] | NoMatch:
    """What a loop's body computes from the step's slices alone is computed for all steps at once, before the loop.

    The derivative of a recurrent step has much of that. It is left where the loop would read more than before.
    """
    body, consts = node.regions[0], node.attributes["consts"]
    first = consts + node.attributes["carries"]
    if not all(v.type.is_static for v in (*node.operands, *node.results)):
        return NoMatch("sizes are open")
    moved = _of_slices_alone(body, first)
    if sum(n.op.elementwise for n in moved) < FEWEST_MOVED:
        return NoMatch(f"fewer than {FEWEST_MOVED} elementwise operations depend on the step's slices alone")
    stay = [n for n in body.nodes if n not in moved]
    needed = {v for n in stay for v in n.operands} | set(body.outputs)
    crossing = [v for n in moved for v in n.results if v in needed and n.op.name not in _FREE]
    kept = [v for n in moved for v in n.results if v in needed and n.op.name in _FREE]
    if any(v.producer is not None and not _repeatable(v.producer) for v in kept):
        return NoMatch("part of a slice is used as it is")
    given_up = [v for v in body.inputs[first:] if v not in needed and any(v in n.operands for n in moved)]
    if _bytes(crossing) > _bytes(given_up):
        return NoMatch("the loop would read more than before")
    return _hoisted(r, node, moved, crossing)


def _of_slices_alone(body: Graph, first: int) -> dict[Node, None]:
    """Nodes that depend on slices and constants made in the body, and on at least one slice or nothing else."""
    known = set(body.inputs[first:])
    found: dict[Node, None] = {}
    for each in body.nodes:
        movable = each.op.elementwise or each.op.name in _MOVABLE
        if movable and not each.regions and known.issuperset(each.operands):
            known.update(each.results)
            found[each] = None
    return found


def _repeatable(node: Node) -> bool:
    """Whether a node that both sides need is made on both: a constant, or one spread to a shape."""
    return all(v.producer is not None and _repeatable(v.producer) for v in node.operands)


def _bytes(values: Sequence[Value]) -> int:
    return sum(math.prod(static_shape(v.type)) * bit_width(v.dtype) for v in values)


def _hoisted(r: Rewriter, node: Node, moved: Mapping[Node, None], crossing: Sequence[Value]) -> tuple[Value, ...]:
    """Emit ``moved`` on whole stacks, and the loop without them, which takes what crosses as slices."""
    body = node.regions[0]
    first = node.attributes["consts"] + node.attributes["carries"]
    part = Graph(inputs=body.inputs[first:], nodes=list(moved), outputs=list(crossing))
    whole = vectorize(part, [True] * len(part.inputs), node.attributes["length"], [True] * len(crossing))
    new = dict(zip(whole.inputs, node.operands[first:], strict=True))
    for each in whole.nodes:
        r.nodes.append(clone_node(each, [new[v] for v in each.operands], new))
    stacks = [new[v] for v in whole.outputs]
    inner, names = Graph(), {}
    for value in [*body.inputs, *crossing]:
        names[value] = inner.add_input(value.type, value.name)
    for each in body.nodes:
        if any(v in names for v in each.results) or (each in moved and not _repeatable(each)):
            continue
        inner.nodes.append(clone_node(each, [names[v] for v in each.operands], names))
    inner.outputs = [names[v] for v in body.outputs]
    operands = [*node.operands, *stacks]
    drop_dead(inner)
    used = {v for n in inner.nodes for v in n.operands} | set(inner.outputs)
    left = [i for i in range(len(operands)) if i < first or inner.inputs[i] in used]
    inner.inputs = [inner.inputs[i] for i in left]
    inner.input_names = [inner.input_names[i] for i in left]
    return tuple(r.emit("scan", [operands[i] for i in left], node.attributes, [inner]))


def _projection(body: Graph, x: Value, consts: int) -> Node | None:
    """The product of ``x``, used for nothing else, with one of the first inputs; added to another product."""
    users = body.users()
    if len(users.get(x, ())) != 1 or x in body.outputs:
        return None
    (dot,) = users[x]
    if dot.op.name != "dot_general" or dot.operands[0] is not x or dot.operands[1] not in body.inputs[:consts]:
        return None
    a = dot.attributes
    if x.rank != 2 or a["lhs_batch"] or tuple(a["lhs_contract"]) != (1,) or dot.operands[1].rank != 2:
        return None
    if len(users.get(dot.result, ())) != 1 or dot.result in body.outputs:
        return None
    (sum_,) = users[dot.result]
    others = [v for v in sum_.operands if v is not dot.result]
    return dot if sum_.op.name == "add" and produced_by(others[0], "dot_general") is not None else None


def _chunk(length: int, rows: int) -> int | None:
    fits = [n for n in range(FEWEST_STEPS, MOST_STEPS + 1) if length % n == 0 and n * rows <= MOST_ROWS]
    return max(fits, default=None)


def _over_chunk(node: Node, place: int, dot: Node, steps: int) -> Graph:
    """The body of the scan over chunks: the product for all steps of one, then the scan over them."""
    body = node.regions[0]
    first = node.attributes["consts"] + node.attributes["carries"]
    outer = Graph()
    inputs = [
        outer.add_input(v.type if i < first else v.type.with_shape((steps, *v.shape)), v.name)
        for i, v in enumerate(body.inputs)
    ]
    b = Builder(outer)
    x, kernel = inputs[place], inputs[body.inputs.index(dot.operands[1])]
    with b.at(dot.location):  # steps and rows stay apart: XLA can't split rows of a batch that are one with steps
        (inputs[place],) = b.emit(dot.op, [x, kernel], {**dot.attributes, "lhs_contract": (2,)})
    with b.at(node.location):
        outer.outputs = list(
            b.emit(node.op, inputs, {**node.attributes, "length": steps}, [_without(body, place, dot)])
        )
    return outer


def _without(body: Graph, place: int, dot: Node) -> Graph:
    """``body`` that takes the result of ``dot`` in place of the input at ``place``."""
    inner, new = Graph(), {}
    for i, value in enumerate(body.inputs):
        given = dot.result if i == place else value
        new[given] = inner.add_input(given.type, value.name)
    for each in body.nodes:
        if each is not dot:
            inner.nodes.append(clone_node(each, [new[v] for v in each.operands], new))
    inner.outputs = [new[v] for v in body.outputs]
    return inner


RULES: list[Rule] = [lstm_by_one_tanh, steps_before_the_loop, inputs_in_chunks]
