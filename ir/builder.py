"""Building graphs: one node at a time, types inferred, errors that name the place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .dims import DimLike
from .errors import ArgumentError, LaminaError
from .graph import Graph, Node, Value
from .location import UNKNOWN, Location
from .opdef import OPS, Call, OpDef, infer_types, normalize_attributes
from .types import TensorType


class Builder:
    """Appends nodes to a graph, or to any list of nodes.

    ``builder.tanh(x)`` emits the op of that name and returns its value (a tuple where it has several results):
    ``builder.transpose(x, permutation=(1, 0))``. Helpers that emit a few nodes (``full``, ``broadcast_to``) are
    methods.

    Args:
        graph: receives the nodes.
        nodes: the list to append to, if not ``graph.nodes``.
        location: where new nodes say they come from.
    """

    def __init__(
        self, graph: Graph | None = None, nodes: list[Node] | None = None, location: Location = UNKNOWN
    ) -> None:
        self.graph = graph if graph is not None else Graph()
        self.nodes = nodes if nodes is not None else self.graph.nodes
        self.location = location

    def emit(
        self,
        op: OpDef | str,
        operands: Sequence[Value] = (),
        attributes: dict[str, Any] | None = None,
        regions: Sequence[Graph] = (),
    ) -> tuple[Value, ...]:
        """Append one node and return its results.

        Raises ShapeError, DTypeError or ArgumentError, with the location, where the op does not take these operands.
        """
        definition = op if isinstance(op, OpDef) else find_op(op)
        try:
            full = normalize_attributes(definition, attributes or {})
            types = infer_types(Call(definition, full, regions), [v.type for v in operands])
            if definition.name != "sharding_constraint":  # XLA propagates what these and the inputs say
                types = tuple([t if t.sharding is None else TensorType(t.dtype, t.shape) for t in types])
        except LaminaError as error:
            if self.location is UNKNOWN or getattr(error, "located", False):
                raise
            located = type(error)(f"{error}\n  at {self.location}")
            located.located = True  # type: ignore[attr-defined]
            raise located from None
        for inner in (n for region in regions for n in region.walk()):
            if inner.location is UNKNOWN:  # a region that was built apart is where its node is
                inner.location = self.location
        node = Node(definition, operands, full, regions, types, self.location)
        self.nodes.append(node)
        return node.results

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        op = find_op(name.rstrip("_"))  # and_, or_, not_, while_: Python's keywords

        def build(*operands: Value, regions: Sequence[Graph] = (), **attributes: Any) -> Any:
            results = self.emit(op, operands, attributes, regions)
            return results[0] if len(results) == 1 else results

        return build

    @contextmanager
    def at(self, location: Location) -> Iterator[Builder]:
        """Within the block, new nodes carry ``location``."""
        before, self.location = self.location, location
        try:
            yield self
        finally:
            self.location = before

    def constant(self, value: Any, dtype: object = None) -> Value:
        """A constant array (copied)."""
        array = np.asarray(value) if dtype is None else np.asarray(value).astype(TensorType(dtype).dtype)
        return self.emit("constant", (), {"value": array})[0]

    def full(self, shape: Sequence[DimLike], value: Any, dtype: object) -> Value:
        """A tensor of ``shape`` that holds one scalar everywhere."""
        scalar = self.constant(value, dtype)
        return scalar if not shape else self.broadcast_in_dim(scalar, shape=tuple(shape), dims=())

    def full_like(self, x: Value, value: Any) -> Value:
        """A tensor of ``x``'s type that holds one scalar everywhere."""
        return self.full(x.type.shape, value, x.type.dtype)

    def broadcast_to(self, x: Value, shape: Sequence[DimLike]) -> Value:
        """NumPy's rule: trailing dimensions align; a dimension of 1 stretches."""
        if tuple(shape) == x.type.shape:
            return x
        first = len(shape) - x.rank
        return self.broadcast_in_dim(x, shape=tuple(shape), dims=tuple(range(first, len(shape))))

    def expand(self, x: Value, shape: Sequence[DimLike], axes: Sequence[int]) -> Value:
        """Give ``x``, whose dimensions are those of ``shape`` without ``axes``, the whole ``shape`` (undoes a
        reduction)."""
        kept = tuple(i for i in range(len(shape)) if i not in axes)
        return self.broadcast_in_dim(x, shape=tuple(shape), dims=kept)

    def astype(self, x: Value, dtype: object) -> Value:
        """``x`` converted, or ``x`` itself where it has the type already."""
        wanted = TensorType(dtype).dtype
        return x if x.type.dtype == wanted else self.convert(x, dtype=wanted)

    def reduce_with(self, op: str, x: Value, axes: Sequence[int], initial: Any) -> Value:
        """Reduce ``axes`` of ``x`` by a binary op (``add``, ``maximum`` ...) from a scalar start value."""
        region = binary_region(op, x.type.dtype)
        return self.reduce(x, self.constant(initial, x.type.dtype), axes=tuple(axes), regions=[region])


def find_op(name: str) -> OpDef:
    """The declaration of an op. Raises :class:`ArgumentError` with the nearest names for an unknown one."""
    if name not in OPS:
        import difflib

        near = difflib.get_close_matches(name, OPS, 3)
        raise ArgumentError(f"there is no op {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return OPS[name]


def binary_region(op: str, dtype: object) -> Graph:
    """The region ``(a, b) -> op(a, b)`` on scalars of ``dtype``."""
    region = Graph()
    scalar = TensorType(dtype)
    a, b = region.add_input(scalar), region.add_input(scalar)
    region.outputs = list(Builder(region).emit(op, (a, b)))
    return region
