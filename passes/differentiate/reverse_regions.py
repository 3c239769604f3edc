"""Reverse mode through ops with regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ir.builder import Builder
from ...ir.derivatives.rules import Tangent, known, zeros
from ...ir.graph import Graph, Node, Value, clone
from ...ir.types import has_tangent
from ..rewrite import drop_dead
from .expand import no_derivative, region_nodes
from .forward_regions import present
from .residuals import Residuals
from .reverse import Reverse, Step
from .sums import mapped_product, stepwise_sum


def _composite(reverse: Reverse, node: Node) -> Sequence[Value]:
    nodes, values = region_nodes(node.regions[0], node.operands, node)
    reverse.go(nodes)
    return values


def _custom_vjp(reverse: Reverse, node: Node) -> Sequence[Value]:
    """The forward function in place of the primal one, and the backward one as its derivative."""
    nodes, values = region_nodes(node.regions[1], node.operands, node)
    reverse.graph.nodes += nodes
    outputs, residuals = values[: len(node.results)], values[len(node.results) :]

    def backward(b: Builder, given: Sequence[Tangent]) -> Sequence[Tangent]:
        with b.at(node.location):
            cotangents = [known(b, ct, v.type) for ct, v in zip(given, outputs, strict=True) if has_tangent(v.type)]
        nodes, found = region_nodes(node.regions[2], [*residuals, *cotangents], node)
        b.nodes += nodes
        rest = iter(found)
        return [next(rest) if has_tangent(v.type) else None for v in node.operands]

    reverse.add(Step(node.operands, outputs, None, backward))
    return outputs


def _call(reverse: Reverse, node: Node) -> Sequence[Value]:
    raise no_derivative(
        node, f"put the function {node.attributes['callee']!r} in place of the call first: inline{{all}}"
    )


def _while(reverse: Reverse, b: Builder, node: Node, given: Sequence[Tangent]) -> Sequence[Tangent]:
    raise no_derivative(
        node,
        "reverse mode goes through a loop from its last turn to the first, and a while_loop may turn any number of "
        "times; use ops.scan or ops.fori_loop with a known number of turns, or forward mode (lamina.jvp)",
    )


def _remat(reverse: Reverse, b: Builder, node: Node, given: Sequence[Tangent]) -> Sequence[Tangent]:
    """The region forward once more and then back; nothing of the first time is kept for it."""
    wanted = [v in reverse.active for v in node.operands]
    region = _there_and_back(node.regions[0], wanted, given, node)
    found = iter(b.emit("remat", [*node.operands, *present(given)], {"again": True}, [region]))
    return [next(found) if w else None for w in wanted]


def _cond(reverse: Reverse, b: Builder, node: Node, given: Sequence[Tangent]) -> Sequence[Tangent]:
    """The branch that was taken, forward once more and then back."""
    wanted = [v in reverse.active for v in node.operands[1:]]
    regions = [_there_and_back(region, wanted, given, node) for region in node.regions]
    found = iter(b.emit("cond", [*node.operands, *present(given)], {}, regions))
    return [None, *(next(found) if w else None for w in wanted)]


def _there_and_back(region: Graph, wanted: Sequence[bool], given: Sequence[Tangent], node: Node) -> Graph:
    """A region that takes a cotangent for each given one too, and gives one for each wanted input."""
    made = clone(region)
    inputs = [v for v, w in zip(made.inputs, wanted, strict=True) if w]
    reverse = Reverse(made, inputs)
    seeds = [None if ct is None else Value(ct.type) for ct in given]
    b = Builder(made, location=node.location)
    found = reverse.pull(b, [(v, s) for v, s in zip(made.outputs, seeds, strict=True) if s is not None])
    made.inputs += present(seeds)
    made.input_names = [""] * len(made.inputs)
    made.outputs = [known(b, ct, v.type) for v, ct in zip(inputs, found, strict=True)]
    made.output_names = [""] * len(made.outputs)
    drop_dead(made)
    return made


def _scan(reverse: Reverse, b: Builder, node: Node, given: Sequence[Tangent]) -> Sequence[Tangent]:
    """A scan the other way. It carries cotangents of the carries, and sums those of the constants."""
    c, k = node.attributes["consts"], node.attributes["consts"] + node.attributes["carries"]
    wanted = _active(node.regions[0], [v in reverse.active for v in node.operands], c, k)
    live = [ct is not None for ct in given[: k - c]]
    while True:
        way = _Way(node, wanted, live, [ct is not None for ct in given[k - c :]])
        wider = [a or (w and ct is not None) for a, w, ct in zip(live, wanted[c:k], way.found[c:k], strict=True)]
        if wider == live:
            return way.emit(b, given)
        live = wider


def _active(region: Graph, flags: list[bool], c: int, k: int) -> list[bool]:
    """Which inputs of a body depend on what is differentiated, the carries settled."""
    flags = [f and has_tangent(v.type) for f, v in zip(flags, region.inputs, strict=True)]
    while True:
        active = {v for v, f in zip(region.inputs, flags, strict=True) if f}
        for node in region.nodes:
            if not active.isdisjoint(node.operands):
                active.update(r for r in node.results if has_tangent(r.type))
        wider = [f or v in active for f, v in zip(flags[c:k], region.outputs, strict=False)]
        if wider == flags[c:k]:
            return flags
        flags = [*flags[:c], *wider, *flags[k:]]


class _Way:
    """The way back through a scan, for one guess of which carries have cotangents.

    ``found`` are the cotangents of the body's inputs inside ``back``, the body of the scan to be.
    """

    def __init__(self, node: Node, wanted: Sequence[bool], live: Sequence[bool], ys: Sequence[bool]) -> None:
        self.node = node
        self.live = live
        self.body = clone(node.regions[0])
        self.inputs = list(self.body.inputs)
        self.reverse = Reverse(self.body, [v for v, w in zip(self.inputs, wanted, strict=True) if w])
        self.back = Graph()
        self.builder = Builder(self.back, location=node.location)
        outputs = self.body.outputs
        self.seeds = [Value(v.type) if f else None for v, f in zip(outputs, [*live, *ys], strict=True)]
        seeded = [(v, s) for v, s in zip(outputs, self.seeds, strict=True) if s is not None]
        rest = iter(self.reverse.pull(self.builder, seeded))
        self.found = [next(rest) if w else None for w in wanted]

    def emit(self, b: Builder, given: Sequence[Tangent]) -> list[Tangent]:
        """Make the forward scan give what the way back needs, and write the scan that goes it."""
        node, back, inner = self.node, self.back, self.builder
        c, n = node.attributes["consts"], node.attributes["carries"]
        k = c + n
        carries = [i for i, f in enumerate(self.live) if f]
        # A sum over the turns of products or of sums is done at once, after the loop, from what the turns give.
        sums = {i: stepwise_sum(self.back, ct) for i, ct in enumerate(self.found[:c]) if ct is not None}
        carried_sums = [i for i, s in sums.items() if s is None]
        accumulators = [Value(self.inputs[i].type) for i in carried_sums]
        next_sums = []
        for i, before in zip(carried_sums, accumulators, strict=True):
            ct = self.found[i]
            assert ct is not None
            next_sums.append(inner.add(before, ct))
        new_carries = [known(inner, self.found[c + i], self.inputs[c + i].type) for i in carries]
        parts = list(dict.fromkeys(v for s in sums.values() if s is not None for v in s.parts))
        constants = dict(zip(self.inputs[:c], node.operands, strict=False))
        slices = []
        for i, ct in enumerate(self.found[k:], k):
            if ct is None:
                continue
            mapped = mapped_product(self.back, ct, constants)
            if mapped is not None and mapped.parts[0] in parts:  # what it is made of is given already
                sums[i] = mapped
            else:
                slices.append((i, ct))
        core = [*new_carries, *next_sums, *(ct for _, ct in slices)]
        back.outputs = [*core, *parts]
        drop_dead(back)
        carried_in = [self.seeds[i] for i in carries]
        seeds_y = [s for s in self.seeds[n:] if s is not None]
        own = {v for v in [*carried_in, *accumulators, *seeds_y] if v is not None}
        residuals = Residuals(self.body, self.inputs, c, k, node.attributes["length"])
        residuals.close(back, own)
        previous = residuals.previous_carries()
        first = len(node.results)
        node.regions[0] = self.body
        self.body.outputs = [*self.body.outputs, *residuals.stacked]
        self.body.output_names = [""] * len(self.body.outputs)
        length = node.attributes["length"]
        made = [Value(v.type.with_shape((length, *v.shape)), node, first + i) for i, v in enumerate(residuals.stacked)]
        node.results = (*node.results, *made)
        stacks_out = dict(zip(self.body.outputs[n:], node.results[n:], strict=True))
        shifted = [_shifted(b, node, node.operands[c + i], stacks_out[v]) for i, v in previous]

        back.inputs = [
            *residuals.constant_inputs, *present(carried_in), *accumulators, *seeds_y, *residuals.slice_inputs,
            *residuals.stacked_inputs, *residuals.previous_inputs,
        ]  # fmt: skip
        back.input_names = [""] * len(back.inputs)
        started = [known(b, given[i], node.results[i].type) for i in carries]
        scanned = [
            *(ct for ct in given[n:] if ct is not None), *(node.operands[i] for i in residuals.slices), *made, *shifted,
        ]  # fmt: skip
        operands = [
            *(node.operands[i] for i in residuals.constants), *started,
            *(zeros(b, v.type) for v in accumulators), *scanned,
        ]  # fmt: skip
        attributes = {
            "consts": len(residuals.constants),
            "carries": len(carries) + len(accumulators),
            "length": length,
            "reverse": not node.attributes["reverse"],
        }
        taken = [*seeds_y, *residuals.slice_inputs, *residuals.stacked_inputs, *residuals.previous_inputs]
        available = dict(zip(taken, scanned, strict=True))
        inside = dict(zip(parts, back.outputs[len(core) :], strict=True))
        given_out = list(dict.fromkeys(v for v in inside.values() if v not in available))
        back.outputs = [*back.outputs[: len(core)], *given_out]
        results = list(b.emit("scan", operands, attributes, [back])) if back.outputs else []
        available |= dict(zip(given_out, results[len(core) :], strict=True))
        stacks = {outer: available[inner] for outer, inner in inside.items()}
        found: list[Tangent] = [None] * len(node.operands)
        for i, value in zip(carries, results, strict=False):
            found[c + i] = value
        for i, value in zip(carried_sums, results[len(carries) :], strict=False):
            found[i] = value
        for (i, _), value in zip(slices, results[len(carries) + len(carried_sums) :], strict=False):
            found[i] = value
        for i, s in sums.items():
            if s is not None:
                found[i] = s.emit(b, stacks)
        return found


def _shifted(b: Builder, node: Node, start: Value, stack: Value) -> Value:
    """The stack of a carry before each turn, from what it was at the start and the stack of it after each turn."""
    length, reverse = node.attributes["length"], node.attributes["reverse"]
    rest = b.slice(
        stack,
        start=(int(reverse), *[0] * start.rank),
        limit=(length - 1 + int(reverse), *start.shape),
        strides=(1,) * stack.rank,
    )
    first = b.reshape(start, shape=(1, *start.shape))
    return b.concatenate(rest, first, axis=0) if reverse else b.concatenate(first, rest, axis=0)


#: What is done on the way back, where the node stays on the way forward.
RULES: dict[str, Callable[[Reverse, Builder, Node, Sequence[Tangent]], Sequence[Tangent]]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "remat": _remat,
}
#: What stands for the node on the way forward.
EXPANSIONS: dict[str, Callable[[Reverse, Node], Sequence[Value]]] = {
    "composite": _composite,
    "custom_vjp": _custom_vjp,
    "call": _call,
}
