"""What running a graph costs: floating-point operations, and the bytes that pass through memory.

XLA's own analysis is there for some targets only, and counts a loop's body once. This one is of the graph, so it is the
same for all targets. A product of ``[m,k]`` and ``[k,n]`` takes ``2*m*k*n`` operations, a convolution two for each
place where its kernel meets an element that is no padding, an elementwise operation one for each element.

Bytes are a lower bound: what moves or combines elements is taken to be fused with what makes or takes its values, and
everything else to read each of its sources and write its results once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..ir.graph import Graph, Module, Node, Value
from ..ir.types import bit_width

#: Elementwise operations that chips have no single instruction for; XLA counts them apart, too.
TRANSCENDENTAL = frozenset((
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cosh", "cosine", "digamma", "erf", "erf_inv",
    "erfc", "exponential", "exponential_minus_one", "lgamma", "log", "log_plus_one", "logistic", "power", "rsqrt",
    "sine", "sinh", "sqrt", "tan", "tanh",
))  # fmt: skip
#: Operations that are fused with what makes or takes their values, beside the elementwise ones.
_MOVES = frozenset((
    "bitcast_convert", "broadcast_in_dim", "clamp", "concatenate", "constant", "dim_value", "dropout_bits", "iota",
    "match_shape", "optimization_barrier", "pad", "partition_id", "reshape", "reverse", "select",
    "sharding_constraint", "threefry_bits", "threefry_fold_in", "threefry_split", "transpose",
))  # fmt: skip
#: Operations that read as much as they make, and are fused with what takes that.
_PARTS = frozenset(("slice", "dynamic_slice"))


@dataclass
class Cost:
    """What one run costs.

    Attributes:
        products: operations of dots and convolutions, by element type and precision: ``("float32", "default")``.
        elementwise: all other floating-point operations.
        transcendentals: elements of exponentials, logarithms, roots and the like.
        bytes: read and written, at least.
        open_loops: loops whose length the graph does not say; their bodies are counted once.
    """

    products: Counter[tuple[str, str]] = field(default_factory=Counter)
    elementwise: float = 0
    transcendentals: float = 0
    bytes: float = 0
    open_loops: int = 0

    @property
    def flops(self) -> float:
        """Floating-point operations without the transcendental ones, as XLA counts them."""
        return sum(self.products.values()) + self.elementwise

    def add(self, other: Cost, times: float = 1) -> None:
        """Add what another graph costs that runs ``times`` times."""
        for kind, count in other.products.items():
            self.products[kind] += count * times  # type: ignore[assignment]
        self.elementwise += other.elementwise * times
        self.transcendentals += other.transcendentals * times
        self.bytes += other.bytes * times
        self.open_loops += other.open_loops


def cost(module: Module, precision: Callable[[Node], str] = lambda node: node.attributes["precision"]) -> Cost:
    """What one run of a module with concrete shapes costs, on one device that does all of it.

    Args:
        precision: that which a product is emitted with.
    """
    return _Counting(module.functions, precision).graph(module.main)


class _Counting:
    """Counts graphs of one module."""

    def __init__(self, functions: Mapping[str, Graph], precision: Callable[[Node], str]) -> None:
        self.functions = functions
        self.precision = precision

    def graph(self, graph: Graph) -> Cost:
        found = Cost()
        sources = _Sources()
        kept: set[Value] = set()
        for node in graph.nodes:
            self._node(node, found)
            if _is_fused(node):
                continue
            inner = self._inside(node)
            if inner is not None:
                found.add(*inner)
            else:
                read = {s for operand in _read(node) for s in sources.of(operand)}
                found.bytes += sum(map(size, read)) + sum(map(_written(node), node.results))
        for result in graph.results:
            if result.producer is not None and _is_fused(result.producer):
                kept |= sources.of(result)
                found.bytes += size(result)
        found.bytes += sum(map(size, kept))
        return found

    def _node(self, node: Node, found: Cost) -> None:
        if node.op.name in _PRODUCTS:
            kind = (node.operands[0].dtype.name, self.precision(node))
            found.products[kind] += _PRODUCTS[node.op.name](node)
        elif node.op.name in _OTHERS:
            found.elementwise += _OTHERS[node.op.name](node)
        elif node.op.name in TRANSCENDENTAL:
            found.transcendentals += _elements(node.result)
        elif node.op.elementwise and node.op.name not in ("convert", "real", "imag", "complex"):
            found.elementwise += _elements(node.result)

    def _inside(self, node: Node) -> tuple[Cost, float] | None:
        """The cost of what a node runs, and how often it does; None for one that runs no other graph."""
        name = node.op.name
        if name == "call":
            return self.graph(self.functions[node.attributes["callee"]]), 1
        if name == "scan":
            return self.graph(node.regions[0]), int(node.attributes["length"])
        if name == "while":
            both = Cost(open_loops=1)
            for region in node.regions:
                both.add(self.graph(region))
            return both, 1
        if name == "cond":
            return max(map(self.graph, node.regions), key=lambda c: (c.flops, c.bytes)), 1
        if name in ("remat", "composite", "custom_vjp"):
            return self.graph(node.regions[0]), 1
        return None


class _Sources:
    """The values in memory that a value is computed from, through what is fused with its use."""

    def __init__(self) -> None:
        self._known: dict[Value, frozenset[Value]] = {}

    def of(self, value: Value) -> frozenset[Value]:
        pending = [value]
        while pending:
            at = pending[-1]
            node = at.producer
            if at in self._known:
                pending.pop()
            elif node is None or not _is_fused(node) or node.op.name in _PARTS:
                self._known[at] = frozenset((at,))
            elif missing := [o for o in node.operands if o not in self._known]:
                pending += missing
            else:
                self._known[at] = frozenset().union(*(self._known[o] for o in node.operands))
        return self._known[value]


def _is_fused(node: Node) -> bool:
    return node.op.elementwise or node.op.name in _MOVES or node.op.name in _PARTS


def _read(node: Node) -> list[Value]:
    """The operands that a node reads whole: of those that are indexed it reads as much as it makes."""
    if node.op.name == "gather":
        return node.operands[1:]
    if node.op.name in ("dynamic_update_slice", "scatter"):  # in place
        return node.operands[len(node.results) :]
    return node.operands


def _written(node: Node) -> Callable[[Value], int]:
    """How many bytes a node reads and writes for a result, beside the operands."""
    if node.op.name == "gather":
        return lambda result: 2 * size(result)
    if node.op.name == "dynamic_update_slice":
        return lambda result: size(node.operands[1])
    if node.op.name == "scatter":
        return lambda result: 2 * size(node.operands[-1])
    return size


def size(value: Value) -> int:
    """The bytes of a value."""
    return -(-_elements(value) * max(bit_width(value.dtype), 8 if bit_width(value.dtype) == 1 else 0) // 8)


def _elements(value: Value) -> int:
    return int(value.type.size)  # type: ignore[arg-type]


def _dot(node: Node) -> int:
    contracted = math.prod(int(node.operands[0].shape[i]) for i in node.attributes["lhs_contract"])
    return 2 * _elements(node.result) * contracted


def _convolution(node: Node) -> int:
    """Two for each place where an element of the kernel meets one of the image, padding and holes left out."""
    image, kernel, result = node.operands[0].shape, node.operands[1].shape, node.result.shape
    lhs, rhs, out = (node.attributes[f"{side}_spec"] for side in ("lhs", "rhs", "out"))
    along = zip(*(node.attributes[k] for k in ("strides", "padding", "lhs_dilation", "rhs_dilation")), strict=True)
    met = 1
    for i, (stride, (low, _), base, step) in enumerate(along, start=2):
        met *= _meetings(*map(int, (image[lhs[i]], kernel[rhs[i]], result[out[i]], stride, low, base, step)))
    groups = node.attributes["batch_groups"]
    batch, features = int(image[lhs[0]]), int(result[out[1]])
    return 2 * met * (batch // groups) * features * int(kernel[rhs[1]])


def _meetings(image: int, kernel: int, out: int, stride: int, low: int, base: int, step: int) -> int:
    """How many pairs of an output and a kernel element meet an image element, along one dimension."""
    last = (image - 1) * base
    if base == 1:
        count = 0
        for k in range(kernel):  # 0 <= o*stride + k*step - low <= last
            first = max(0, -(-(low - k * step) // stride))
            count += max(0, min(out - 1, (last + low - k * step) // stride) - first + 1)
        return count
    places = (o * stride + k * step - low for o in range(out) for k in range(kernel))
    return sum(0 <= p <= last and p % base == 0 for p in places)


def _body(node: Node) -> int:
    return len([n for n in node.regions[-1].nodes if n.op.name not in _MOVES])


def _reduce(node: Node) -> int:
    return (_elements(node.operands[0]) - _elements(node.results[0])) * _body(node)


def _reduce_window(node: Node) -> int:
    window = math.prod(map(int, node.attributes["window"]))
    return _elements(node.results[0]) * (window - 1) * _body(node)


def _select_and_scatter(node: Node) -> int:
    return _elements(node.operands[1]) * math.prod(map(int, node.attributes["window"]))


def _sort(node: Node) -> int:
    return math.ceil(_elements(node.operands[0]) * math.log2(max(2, _axis_size(node))))


def _axis_size(node: Node) -> int:
    return int(node.operands[0].shape[node.attributes.get("axis", -1)])


def _fft(node: Node) -> int:
    length = math.prod(map(int, node.attributes["length"]))
    elements = max(_elements(node.operands[0]), _elements(node.result))
    return math.ceil(5 * elements * math.log2(max(2, length)))


def _cholesky(node: Node) -> int:
    return _elements(node.result) * int(node.result.shape[-1]) // 3  # type: ignore[arg-type]


def _triangular_solve(node: Node) -> int:
    return _elements(node.result) * int(node.operands[0].shape[-1])  # type: ignore[arg-type]


def _qr(node: Node) -> int:
    *_, rows, columns = map(int, node.operands[0].shape)  # type: ignore[arg-type]
    return 2 * _elements(node.operands[0]) * min(rows, columns)


_PRODUCTS: dict[str, Callable[[Node], int]] = {"dot_general": _dot, "convolution": _convolution}
_OTHERS: dict[str, Callable[[Node], int]] = {
    "reduce": _reduce,
    "reduce_window": _reduce_window,
    "select_and_scatter": _select_and_scatter,
    "scatter": lambda node: _elements(node.operands[-1]) * _body(node),
    "sort": _sort,
    "top_k": _sort,
    "fft": _fft,
    "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "qr": _qr,
    **dict.fromkeys(("eigh", "svd", "eig"), lambda node: 10 * _qr(node)),
    "clamp": lambda node: 2 * _elements(node.result),
    "select": lambda node: _elements(node.result),
}
