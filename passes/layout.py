"""The pass `layout`: convolutions run in the layout that the target likes, transposes stay at the edges of the graph.

One walk over the graph. A convolution of the other layout takes its operand turned and gives a turned result; what
follows and can work on turned values (elementwise ops, pooling, normalization, reductions ...) does, with its axes
renamed. A value is turned back only where something needs it as it was. Convolutions name their own dimensions, so
kernels stay as they are. Where no convolution has the other layout the graph stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.builder import Builder
from ..ir.graph import Graph, Module, Node, Update, Value
from .manager import Context, Option, Pass, register
from .patterns import constant_array, is_elementwise, produced_by, without_ones
from .rewrite import Log, drop_dead
from .targets import layout_of

Axes = tuple[int, ...]


def channels_first(rank: int) -> Axes:
    """The dimensions batch, feature, spatial... of a channels-first array of ``rank``."""
    return tuple(range(rank))


def channels_last(rank: int) -> Axes:
    """The dimensions batch, feature, spatial... of a channels-last array of ``rank``."""
    return (0, rank - 1, *range(1, rank - 1))


def inverse(permutation: Sequence[int]) -> Axes:
    """The permutation that undoes ``permutation``."""
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


# How attributes of an op follow when axis i of its operand goes to place[i].
Turn = Callable[[Any, Axes], Any]


def _axis(value: int, place: Axes) -> int:
    return place[value % len(place)]


def _axes(value: Sequence[int], place: Axes) -> Axes:
    return tuple(sorted(place[v % len(place)] for v in value))


def _each(value: Sequence[Any], place: Axes) -> tuple[Any, ...]:
    return tuple(value[i] for i in inverse(place))


_WINDOW: dict[str, Turn] = {"window": _each, "strides": _each, "padding": _each}
_ALONG: dict[str, Turn] = {"axis": _axis}
_OVER: dict[str, Turn] = {"axes": _axes}
#: Ops beside the elementwise ones whose result has the dimensions of their operands, in the same order. Operands of a
#: smaller rank (statistics, scalars) do not change.
SAME_RANK: dict[str, dict[str, Turn]] = {
    "max_pool": _WINDOW,
    "avg_pool": _WINDOW,
    "select_and_scatter": _WINDOW,
    "reduce_window": {**_WINDOW, "base_dilation": _each, "window_dilation": _each},
    "batch_norm": _ALONG,
    "softmax": _ALONG,
    "log_softmax": _ALONG,
    "concatenate": _ALONG,
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin"), _ALONG),
    "pad": {"low": _each, "high": _each, "interior": _each},
    "slice": {"start": _each, "limit": _each, "strides": _each},
    "match_shape": {"shape": _each},
    "resize": {"shape": _each},
    "reverse": _OVER,
    "layer_norm": _OVER,
    "rms_norm": _OVER,
    "stop_gradient": {},
}
#: Ops that drop axes of their operands, or with ``keepdims`` leave them as 1.
REDUCING: dict[str, dict[str, Turn]] = {
    "reduce": _OVER,
    "logsumexp": _OVER,
    "argmax": _ALONG,
    "argmin": _ALONG,
    **{f"reduce_{name}": _OVER for name in ("sum", "mean", "max", "min", "prod", "any", "all", "variance")},
}


class _Walk:
    """One walk over a graph: which values exist turned, which only turned, and what turns them.

    ``order`` gives for a rank which axis of the plain value each axis of the turned one is.
    """

    def __init__(self, graph: Graph, to: str, log: Log) -> None:
        self.b = Builder(graph, nodes=[])
        self.log = log
        self.wanted, self.other = (channels_last, channels_first) if to == "nhwc" else (channels_first, channels_last)
        self._turned: dict[Value, Value] = {}
        self._plain: dict[Value, Value] = {}
        self._only_turned: set[Value] = set()

    def order(self, rank: int) -> Axes:
        """Axis ``i`` of a turned value is axis ``order[i]`` of the plain one."""
        wanted, other = self.wanted(rank), self.other(rank)
        return tuple(other[wanted.index(axis)] for axis in range(rank))

    def place(self, rank: int) -> Axes:
        """Axis ``i`` of a plain value is axis ``place[i]`` of the turned one."""
        return inverse(self.order(rank))

    # Values

    def is_turned(self, value: Value) -> bool:
        """Whether ``value`` exists turned only."""
        return value in self._only_turned

    def give(self, old: Value, turned: Value) -> None:
        """From here on ``old`` exists as ``turned``."""
        turned.name = old.name
        self._turned[old] = turned
        self._only_turned.add(old)

    def replace(self, old: Value, new: Value) -> None:
        """From here on ``old`` is ``new``, of the same type."""
        new.name = new.name or old.name
        self._plain[old] = new

    def plain(self, value: Value) -> Value:
        """``value`` as it was, turned back if need be."""
        found = self._plain.get(value)
        if found is None and value in self._only_turned:
            with self.b.at(self._turned[value].producer.location):  # type: ignore[union-attr]
                found = self._plain[value] = self.transpose(self._turned[value], self.place(value.rank))
        return value if found is None else found

    def turned(self, value: Value) -> Value:
        """``value`` turned; what is a scalar stays one."""
        if value.rank == 0:
            return self.plain(value)
        found = self._turned.get(value)
        if found is None:
            found = self._turned[value] = self._turn(value)
        return found

    def _turn(self, value: Value) -> Value:
        order, place = self.order(value.rank), self.place(value.rank)
        shape = tuple(value.shape[i] for i in order)
        array = constant_array(value)
        if array is not None:
            return self.b.constant(np.transpose(array, order))
        spread = produced_by(value, "broadcast_in_dim")
        if spread is not None:
            dims = tuple(place[d] for d in spread.attributes["dims"])
            return self.b.broadcast_in_dim(self.plain(spread.operands[0]), shape=shape, dims=dims)
        count = produced_by(value, "iota")
        if count is not None:
            return self.b.iota(dtype=value.dtype, shape=shape, axis=place[count.attributes["axis"]])
        return self.transpose(self.plain(value), order)

    def transpose(self, value: Value, permutation: Axes) -> Value:
        """``value`` transposed, together with the transpose that made it."""
        inner = produced_by(value, "transpose")
        if inner is not None:
            value, permutation = inner.operands[0], tuple(inner.attributes["permutation"][i] for i in permutation)
        same = permutation == tuple(range(len(permutation)))
        return value if same else self.b.transpose(value, permutation=permutation)

    # Nodes

    def node(self, node: Node) -> None:
        """Take over one node, on turned operands where it can."""
        self.b.location = node.location
        if not self._follow(node):
            node.operands = [self.plain(v) for v in node.operands]
            self.b.nodes.append(node)

    def _follow(self, node: Node) -> bool:
        name = node.op.name
        if name == "convolution":
            return self._convolution(node)
        if not any(map(self.is_turned, node.operands)):
            return False
        if name in REDUCING:
            return self._reduce(node)
        if name in _SPECIAL:
            return _SPECIAL[name](self, node)
        if name in SAME_RANK or (is_elementwise(node) and all(r.rank == node.result.rank for r in node.results)):
            return self._same_rank(node)
        return False

    def _convolution(self, node: Node) -> bool:
        """A convolution of the other layout is turned; any other one reads turned operands as they lie."""
        a, rank = node.attributes, node.result.rank
        turns = rank > 2 and a["lhs_spec"] == a["out_spec"] == self.other(rank)
        place, specs, operands = self.place(rank), {}, []
        for value, spec in zip(node.operands, ("lhs_spec", "rhs_spec"), strict=True):
            if self.is_turned(value) or (turns and spec == "lhs_spec"):
                operands.append(self.turned(value))
                specs[spec] = tuple(place[axis] for axis in a[spec])
            else:
                operands.append(self.plain(value))
        if not specs:
            return False
        if turns:
            specs["out_spec"] = self.wanted(rank)
            self.log.count("convolution_layout", node.location)
        self._emit(node, operands, specs, [turns])
        return True

    def _same_rank(self, node: Node) -> bool:
        rank = node.result.rank
        if node.op.name in ("layer_norm", "rms_norm") and len(node.attributes["axes"]) != 1:
            return False  # its weights have several dimensions, whose order would change
        operands = [self.turned(v) if v.rank == rank else self.plain(v) for v in node.operands]
        attributes = self._renamed(node, SAME_RANK.get(node.op.name, {}), rank)
        self._emit(node, operands, attributes, [True] * len(node.results))
        return True

    def _reduce(self, node: Node) -> bool:
        rank = node.operands[0].rank
        operands = [self.turned(v) if v.rank == rank else self.plain(v) for v in node.operands]
        attributes = self._renamed(node, REDUCING[node.op.name], rank)
        if node.attributes.get("keepdims"):
            self._emit(node, operands, attributes, [True])
            return True
        results = self._emit(node, operands, attributes, None)
        gone = attributes["axes"] if "axes" in attributes else (attributes["axis"],)
        left = [axis for i, axis in enumerate(self.order(rank)) if i not in gone]  # the plain axes in their order now
        for old, new in zip(node.results, results, strict=True):
            self.replace(old, self.transpose(new, inverse([sorted(left).index(axis) for axis in left])))
        return True

    def _spread(self, node: Node) -> bool:
        """A turned value stretched to its own rank is stretched turned."""
        x, rank = node.operands[0], node.result.rank
        if x.rank != rank:
            return False
        order, place = self.order(rank), self.place(rank)
        dims = tuple(place[node.attributes["dims"][i]] for i in order)
        self._emit(node, [self.turned(x)], {"shape": _each(node.attributes["shape"], place), "dims": dims}, [True])
        return True

    def _transpose(self, node: Node) -> bool:
        """The program's own transpose of a turned value: one transpose for both, or none."""
        x, place = node.operands[0], self.place(node.result.rank)
        permutation = tuple(place[axis] for axis in node.attributes["permutation"])
        self.replace(node.result, self.transpose(self.turned(x), permutation))
        return True

    def _reshape(self, node: Node) -> bool:
        """Where turning moved dimensions of 1 only, a reshape does not mind."""
        x = self.turned(node.operands[0])
        if without_ones(x.shape) != without_ones(node.operands[0].shape) or not _moves_ones(
            node.operands[0].shape, self.order(x.rank)
        ):
            return False
        self._emit(node, [x], {}, [False])
        return True

    def _renamed(self, node: Node, table: dict[str, Turn], rank: int) -> dict[str, Any]:
        return {name: turn(node.attributes[name], self.place(rank)) for name, turn in table.items()}

    def _emit(
        self, node: Node, operands: Sequence[Value], attributes: dict[str, Any], turned: Sequence[bool] | None
    ) -> tuple[Value, ...]:
        """Emit ``node`` on other operands; ``turned`` says which results are turned (None: the caller sees to them)."""
        results = self.b.emit(node.op, operands, {**node.attributes, **attributes}, node.regions)
        for old, new, is_turned in zip(node.results, results, turned or ()):
            (self.give if is_turned else self.replace)(old, new)
        return results


_SPECIAL: dict[str, Callable[[_Walk, Node], bool]] = {
    "broadcast_in_dim": _Walk._spread,
    "transpose": _Walk._transpose,
    "reshape": _Walk._reshape,
}


def _moves_ones(shape: Sequence[Any], permutation: Axes) -> bool:
    """Whether transposing an array of ``shape`` moves dimensions of 1 only."""
    kept = [axis for axis in permutation if shape[axis] != 1]
    return kept == sorted(kept)


def change_layout(graph: Graph, to: str, log: Log | None = None) -> bool:
    """Run the convolutions of a graph in the layout ``to`` (``nhwc`` or ``nchw``), in place.

    Bodies of loops stay as they are: transposes at their edge would run in every turn.

    Returns whether a convolution had the other layout.
    """
    walk = _Walk(graph, to, log if log is not None else Log())
    if not any(_has_layout(node, walk.other) for node in graph.nodes):
        return False
    for node in graph.nodes:
        walk.node(node)
    graph.outputs = [walk.plain(v) for v in graph.outputs]
    graph.updates = [Update(u.parameter, walk.plain(u.value)) for u in graph.updates]
    graph.nodes = walk.b.nodes
    drop_dead(graph)
    return True


def _has_layout(node: Node, layout: Callable[[int], Axes]) -> bool:
    if node.op.name != "convolution" or node.result.rank <= 2:
        return False
    return node.attributes["lhs_spec"] == node.attributes["out_spec"] == layout(node.result.rank)


def _run(module: Module, context: Context) -> bool:
    to = context["data"] if context["data"] != "auto" else layout_of(context.target)
    changed = False
    for graph in module.functions.values():
        changed |= to != "keep" and change_layout(graph, to, context.log)
    return changed


LAYOUT = register(
    Pass(
        "layout",
        "convolutions run in the layout that the target likes, with transposes at the edges of the graph only",
        _run,
        {"data": Option("auto", "layout of the data; auto: the target's own", ("auto", "nhwc", "nchw", "keep"))},
        keeps=("signature", "primitive", "static", "call_free"),
    )
)
