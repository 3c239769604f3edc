"""What the way back through a loop's body needs of the way forward, and where it gets it from."""

from __future__ import annotations

from collections.abc import Set

from ...ir.dims import DimLike
from ...ir.graph import Graph, Node, Value, clone_node
from ..patterns import is_pure

#: Ops that cost nothing to do again where their operands are at hand.
_CHEAP = frozenset(["broadcast_in_dim", "reshape", "convert", "compare", "match_shape"])


class Residuals:
    """The values of a scan's body that another graph uses, turned into inputs of that graph.

    Args:
        body: the scan's body.
        inputs: its inputs: constants up to ``c``, carries up to ``k``, slices.

    Attributes:
        constants, slices: which of the scan's operands are handed on, with ``constant_inputs`` and ``slice_inputs``.
        stacked: values of the body that its scan has to give, with ``stacked_inputs``.
        previous_inputs: see :meth:`previous_carries`.
    """

    def __init__(self, body: Graph, inputs: list[Value], c: int, k: int, length: DimLike) -> None:
        self._body = body
        self._many = isinstance(length, int) and length > 0
        self._place = {v: i for i, v in enumerate(inputs)}
        self._c, self._k = c, k
        self._constant = _constant_values(body, set(inputs[:c]))
        self._new: dict[Value, Value] = {}
        self._nodes: list[Node] = []
        self.constants: list[int] = []
        self.slices: list[int] = []
        self.stacked: list[Value] = []
        self.constant_inputs: list[Value] = []
        self.slice_inputs: list[Value] = []
        self.stacked_inputs: list[Value] = []
        self.previous_inputs: list[Value] = []

    def close(self, graph: Graph, own: Set[Value]) -> None:
        """Replace what ``graph`` uses from outside: all but ``own`` (inputs) and what its nodes make."""
        inside = {r for node in graph.nodes for r in node.results} | own
        for node in graph.nodes:
            node.operands = [v if v in inside else self._at_hand(v) for v in node.operands]
        graph.outputs = [v if v in inside else self._at_hand(v) for v in graph.outputs]
        graph.nodes[:0] = self._nodes

    def previous_carries(self) -> list[tuple[int, Value]]:
        """Carries that a turn starts with are those that the one before it ended with: where the scan gives these
        anyway, they are not stacked twice.

        Returns:
            For each of ``previous_inputs`` the number of a carry, and the output of the body that is its next value.
        """
        found: list[tuple[int, Value]] = []
        if not self._many:
            return found
        given = {*self._body.outputs[self._k - self._c :], *self.stacked}
        for value, inner in list(zip(self.stacked, self.stacked_inputs, strict=True)):
            place = self._place.get(value)
            if place is None or (after := self._body.outputs[place - self._c]) not in given or after in self._place:
                continue
            found.append((place - self._c, after))
            self.previous_inputs.append(inner)
            self.stacked.remove(value)
            self.stacked_inputs.remove(inner)
        return found

    def _at_hand(self, value: Value) -> Value:
        if value not in self._new:
            self._new[value] = self._get(value)
        return self._new[value]

    def _get(self, value: Value) -> Value:
        place = self._place.get(value)
        if place is not None and not self._c <= place < self._k:
            indices, inputs = (
                (self.constants, self.constant_inputs) if place < self._c else (self.slices, self.slice_inputs)
            )
            indices.append(place)
            inputs.append(Value(value.type))
            return inputs[-1]
        node = value.producer
        if node is not None and self._again(node):
            self._nodes.append(clone_node(node, [self._at_hand(v) for v in node.operands], self._new))
            return self._new[value]
        self.stacked.append(value)
        self.stacked_inputs.append(Value(value.type))
        return self.stacked_inputs[-1]

    def _again(self, node: Node) -> bool:
        """Whether to compute a node again: it is the same in every turn (XLA moves it out of the loop), or cheap."""
        if not is_pure(node):
            return False
        if node.results[0] in self._constant:
            return True
        return node.op.name in _CHEAP and all(
            (v in self._place and not self._c <= self._place[v] < self._k) or v in self._new or v in self._constant
            for v in node.operands
        )


def _constant_values(body: Graph, constants: set[Value]) -> set[Value]:
    """What depends on the constants alone."""
    found = set(constants)
    for node in body.nodes:
        if is_pure(node) and found.issuperset(node.operands):
            found.update(node.results)
    return found
