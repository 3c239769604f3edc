"""The pass `counting_loops`: a `while` that only counts is a `scan`, which has a derivative in reverse.

JAX says ``lax.scan`` and ``lax.fori_loop`` as a while: a counter, arrays of which every turn takes the slice at the
counter, and arrays into which it writes one. Where the number of turns is known and the slices are those of all turns
in order, the loop is a scan of these arrays.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from ..ir.builder import Builder
from ..ir.dims import Dim, DimLike, max_dim, min_dim
from ..ir.evaluate import evaluate_node
from ..ir.graph import Graph, Module, Node, Update, Value, clone_node
from ..ir.types import TensorType, is_integer
from .manager import Context, Pass, register
from .rewrite import Log, drop_dead

#: The pass's only step, by which what it does is counted.
NAME = "counting_loop"
#: Most turns for which the places of slices are computed to see whether they are in order.
_MOST_TURNS = 1 << 16


def counting_loops(graph: Graph, log: Log | None = None) -> bool:
    """Make scans of the counting loops of ``graph``, and of its regions, in place; returns whether there were any."""
    changed = False
    new: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        node.operands = [new.get(v, v) for v in node.operands]
        for region in node.regions:
            changed |= counting_loops(region, log)
        loop = _recognized(node) if node.op.name == "while" else None
        if loop is None:
            nodes.append(node)
            continue
        made: list[Node] = []
        new.update(zip(node.results, _scan(Builder(graph, made, node.location), loop), strict=True))
        nodes += made
        changed = True
        if log is not None:
            log.count(NAME, node.location)
    if changed:
        graph.nodes = nodes
        graph.outputs = [new.get(v, v) for v in graph.outputs]
        graph.updates = [Update(u.parameter, new.get(u.value, u.value)) for u in graph.updates]
        drop_dead(graph)
    return changed


@dataclass
class _Loop:
    """A while that counts. Places are those of its carries.

    ``counters``: place -> first value and step of each carry that counts. ``length``: how many turns. ``fixed`` carries
    do not change. ``written`` carries get one slice in each turn: place -> the node that writes. ``read``: a value that
    does not change -> the nodes that take its slices. ``reverse``: from the last slice to the first.
    """

    node: Node
    counters: dict[int, tuple[int, int]]
    fixed: set[int]
    length: DimLike = 0
    written: dict[int, Node] = field(default_factory=dict)
    read: dict[Value, list[Node]] = field(default_factory=dict)
    reverse: bool = False

    @property
    def body(self) -> Graph:
        return self.node.regions[1]

    @property
    def consts(self) -> int:
        return self.node.attributes["consts"]

    def carry(self, place: int) -> Value:
        """The body's input for a carry."""
        return self.body.inputs[self.consts + place]

    def first(self, place: int) -> Value:
        """What a carry is at first."""
        return self.node.operands[self.consts + place]

    @property
    def steady(self) -> dict[Value, Value]:
        """The body's inputs that do not change, and what they are."""
        return {
            v: self.node.operands[i]
            for i, v in enumerate(self.body.inputs)
            if i < self.consts or i - self.consts in self.fixed
        }


def _recognized(node: Node) -> _Loop | None:
    test, body = node.regions
    consts = node.attributes["consts"]
    carries = body.inputs[consts:]
    fixed = {i for i, (value, result) in enumerate(zip(carries, body.outputs, strict=True)) if value is result}
    counters: dict[int, tuple[int, int]] = {}
    for i, (value, result) in enumerate(zip(carries, body.outputs, strict=True)):
        start, step = _number(node.operands[consts + i]), _step(body, value, result)
        if isinstance(start, int) and step is not None:
            counters[i] = start, step
    loop = _Loop(node, counters, fixed)
    lengths = [_turns(loop, condition) for condition in _conditions(test)]
    known = [n for n in lengths if n is not None]
    if not known or len(known) < len(lengths):
        return None
    loop.length = functools.reduce(min_dim, known)
    _find_slices(loop)
    return loop


def _conditions(test: Graph) -> list[Node | None]:
    """The comparisons that all have to hold."""
    pending, found = list(test.outputs), []
    while pending:
        node = pending.pop().producer
        if node is not None and node.op.name == "and":
            pending += node.operands
        else:
            found.append(node)
    return found


def _turns(loop: _Loop, compare: Node | None) -> DimLike | None:
    """How many turns it takes until a counter passes a limit that is known."""
    if compare is None or compare.op.name != "compare":
        return None
    test, consts = loop.node.regions[0], loop.consts
    direction, left, right = compare.attributes["direction"], *compare.operands
    if _place(test, consts, left) not in loop.counters:
        direction, left, right = {"GT": "LT", "GE": "LE"}.get(direction, ""), right, left
    counter = _place(test, consts, left)
    if direction not in ("LT", "LE") or counter not in loop.counters:
        return None
    if right in test.inputs:
        place = test.inputs.index(right)
        limit = _number(loop.node.operands[place]) if place < consts or place - consts in loop.fixed else None
    else:
        limit = _number(right)
    if limit is None:
        return None
    start, step = loop.counters[counter]
    if isinstance(limit, int) and limit + step > ml_dtypes.iinfo(left.dtype).max:
        return None  # the counter may wrap, and never pass the limit
    return max_dim((limit + (direction == "LE") - start + step - 1) // step, 0)


def _place(test: Graph, consts: int, value: Value) -> int:
    """Which carry a value of the condition is, or a number that no carry has."""
    return test.inputs.index(value) - consts if value in test.inputs else -1


def _number(value: Value) -> DimLike | None:
    """The integer that a scalar is known to be."""
    producer = value.producer
    while producer is not None and producer.op.name in ("convert", "reshape", "broadcast_in_dim"):
        producer = producer.operands[0].producer
    if producer is None or value.rank or not is_integer(value.dtype):
        return None
    if producer.op.name == "constant":
        array = producer.attributes["value"]
        return int(array.reshape(-1)[0]) if array.size == 1 and is_integer(array.dtype) else None
    return producer.attributes["dim"] if producer.op.name == "dim_value" else None


def _step(body: Graph, counter: Value, result: Value) -> int | None:
    """What a turn adds to the counter: a constant above 0."""
    node = result.producer
    if node is None or node.op.name != "add" or counter not in node.operands:
        return None
    other = node.operands[1 - node.operands.index(counter)]
    number = _number(other)
    return number if isinstance(number, int) and number > 0 else None


# Slices.


def _find_slices(loop: _Loop) -> None:
    """Fill in what the loop reads and writes slice by slice; all in one order."""
    body = loop.body
    users = body.users()
    order = _Order(loop)
    directions: dict[bool, int] = {}
    reads: dict[Value, tuple[list[Node], bool]] = {}
    for value in loop.steady:
        nodes = users.get(value, [])
        found = {order.of(n, 1) if _is_row(n, value, loop.length) else None for n in nodes}
        if nodes and found in ({True}, {False}):
            reads[value] = (nodes, found == {True})
    writes: dict[int, tuple[Node, bool]] = {}
    for i, (value, result) in enumerate(zip(body.inputs[loop.consts :], body.outputs)):
        node = result.producer
        if node is None or users.get(value) != [node] or not _is_row_update(node, value, loop.length):
            continue
        direction = order.of(node, 2)
        if direction is not None and body.outputs.count(result) == 1 and not users.get(result):
            writes[i] = (node, direction)
    for _, direction in (*reads.values(), *writes.values()):
        directions[direction] = directions.get(direction, 0) + 1
    loop.reverse = directions.get(True, 0) > directions.get(False, 0)
    loop.read = {v: nodes for v, (nodes, d) in reads.items() if d == loop.reverse}
    loop.written = {i: n for i, (n, d) in writes.items() if d == loop.reverse}


def _is_row(node: Node, x: Value, length: DimLike) -> bool:
    """Whether a node takes one slice of the first axis of ``x``, which has one for each turn."""
    if node.op.name != "dynamic_slice" or node.operands[0] is not x or x in node.operands[1:]:
        return False
    return x.rank > 0 and x.shape[0] == length and node.attributes["sizes"] == (1, *x.shape[1:])


def _is_row_update(node: Node, x: Value, length: DimLike) -> bool:
    """Whether a node writes one slice of the first axis of ``x``, which has one for each turn."""
    if node.op.name != "dynamic_update_slice" or node.operands[0] is not x or x in node.operands[1:]:
        return False
    return x.rank > 0 and x.shape[0] == length and node.operands[1].shape == (1, *x.shape[1:])


class _Order:
    """The places of slices in all turns, computed from the counter."""

    def __init__(self, loop: _Loop) -> None:
        self.loop = loop
        self.steady = loop.steady
        self.counters = {loop.carry(i): counted for i, counted in loop.counters.items()}

    def of(self, node: Node, first: int) -> bool | None:
        """Whether the slices of a node go from the last to the first; None where they go otherwise.

        ``first`` is the operand that says the place on the first axis; on the others there is only one.
        """
        place = node.operands[first]
        if isinstance(self.loop.length, Dim):
            return False if self.counters.get(place) == (0, 1) else None
        if not 0 < self.loop.length <= _MOST_TURNS:
            return None
        turns = np.arange(self.loop.length)
        places = self._values(place, turns)
        if places is None:
            return None
        places = np.clip(places.astype(np.int64), 0, self.loop.length - 1)
        if np.array_equal(places, turns):
            return False
        return True if np.array_equal(places, turns[::-1]) else None

    def _values(self, value: Value, turns: np.ndarray) -> np.ndarray | None:
        """A scalar of the body in all turns, where it depends on counters alone, element by element."""
        known = {v: (start + turns * step).astype(v.dtype) for v, (start, step) in self.counters.items()}
        pending = [value]
        while pending:
            wanted = pending[-1]
            node = wanted.producer
            if wanted in known:
                pending.pop()
                continue
            if wanted in self.loop.body.inputs or node is None or wanted.rank or node.regions or len(pending) > 64:
                fixed = _number(self.steady[wanted]) if wanted in self.steady else None
                if not isinstance(fixed, int):
                    return None
                known[wanted] = np.full(turns.shape, fixed, wanted.dtype)
                continue
            missing = [v for v in node.operands if v not in known]
            if missing:
                pending += missing
                continue
            result = _on_turns(node, [known[v] for v in node.operands], turns.shape)
            if result is None:
                return None
            known[wanted] = result
        return known[value]


def _on_turns(node: Node, arrays: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray | None:
    """An elementwise node on scalars of all turns at once."""
    if node.op.name == "constant":
        return np.broadcast_to(node.attributes["value"], shape)
    if node.op.name in ("reshape", "broadcast_in_dim") and node.result.rank == 0:
        return arrays[0]
    if not node.op.elementwise and node.op.name not in ("select", "clamp"):
        return None
    types = [TensorType(r.dtype, shape) for r in node.results]
    lifted = Node(node.op, node.operands, node.attributes, (), types, node.location)
    return evaluate_node(lifted, arrays)[0]


# The scan.


def _scan(b: Builder, loop: _Loop) -> list[Value]:
    """Emit the scan; return what the results of the while become."""
    body, outside = loop.body, dict(zip(loop.body.inputs, loop.node.operands))
    moving = [i for i in range(len(body.outputs)) if i not in loop.fixed and i not in loop.written]
    graph = Graph()
    new: dict[Value, Value] = {}
    kept = [v for v in loop.steady if v not in loop.read]
    for value in (*kept, *map(loop.carry, moving)):
        new[value] = graph.add_input(value.type, value.name)
    rows = {v: graph.add_input(v.type.with_shape(v.shape[1:])) for v in loop.read}
    inside = Builder(graph, location=b.location)
    taken = {n: rows[v] for v, nodes in loop.read.items() for n in nodes}
    writers = set(loop.written.values())
    for node in body.nodes:
        if node in taken:
            inside.location = node.location
            new[node.result] = inside.reshape(taken[node], shape=node.result.shape)
        elif node not in writers:
            graph.nodes.append(clone_node(node, [new[o] for o in node.operands], new))
    inside.location = b.location
    graph.outputs = [new[body.outputs[i]] for i in moving]
    for node in loop.written.values():
        row = new[node.operands[1]]
        graph.outputs.append(inside.reshape(row, shape=row.shape[1:]))
    graph.output_names = [""] * len(graph.outputs)
    drop_dead(graph)
    found = {i: loop.first(i) for i in loop.fixed}
    for place in [i for i in moving if i in loop.counters and isinstance(loop.length, int)]:
        if _only_counts(graph, new[loop.carry(place)]):
            start, step = loop.counters[place]
            found[place] = b.constant(start + loop.length * step, loop.carry(place).dtype)
            _drop_carry(graph, len(kept), moving.index(place))
            moving.remove(place)
    results = b.emit(
        "scan",
        [outside[v] for v in (*kept, *map(loop.carry, moving), *loop.read)],
        {"consts": len(kept), "carries": len(moving), "length": loop.length, "reverse": loop.reverse},
        [graph],
    )
    found.update(zip((*moving, *loop.written), results, strict=True))
    return [found[i] for i in range(len(body.outputs))]


def _drop_carry(graph: Graph, consts: int, place: int) -> None:
    """Take a carry that only counts out of a body."""
    del graph.outputs[place], graph.output_names[place]
    drop_dead(graph)
    del graph.inputs[consts + place], graph.input_names[consts + place]


def _only_counts(graph: Graph, counter: Value) -> bool:
    """Whether the counter is there for its own next value alone."""
    users = graph.users().get(counter, [])
    return len(users) == 1 and graph.outputs.count(users[0].result) == 1 and not graph.users().get(users[0].result)


def _run(module: Module, context: Context) -> bool:
    changed = False
    if NAME not in context.off:
        for graph in module.functions.values():
            changed |= counting_loops(graph, context.log)
    return changed


COUNTING_LOOPS = register(
    Pass(
        "counting_loops",
        "loops that only count become scans, which have a derivative in reverse",
        _run,
        keeps=("signature", "primitive", "static", "call_free"),
        steps=(NAME,),
    )
)
