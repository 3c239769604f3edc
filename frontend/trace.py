"""Tracing: running Python on stand-ins for tensors, which writes the graph.

One :class:`Trace` is current at a time in a context (threads trace independently). Reading a Variable makes it a named
parameter of the graph; assigning to it makes a state update. A region of an op (a loop's body) is traced by a
:class:`Trace` of its own whose parent is the trace around it: what it uses from outside becomes an operand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..ir import Builder, Frame, Graph, Guard, Location, OpDef, Parameter, TensorType, Update, Value, find_op
from ..ir.dims import DimLike, evaluate_dim, free_symbols, same
from ..ir.errors import IntegerDimError, LaminaError, ShapeError, TracingError
from ..runtime import frames
from .tensor import Tensor, plain_dims

if TYPE_CHECKING:
    from .variable import Variable

_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current_trace() -> Trace | None:
    """The trace that is being written in this context, or None: then ops run at once."""
    return _current.get()


def require_trace() -> Trace:
    """The current trace. Raises :class:`TracingError` where there is none (a traced value escaped its trace)."""
    trace = _current.get()
    if trace is None:
        raise TracingError(
            "a traced tensor or dimension was used after its trace had ended; return it from the traced "
            "function instead of keeping it"
        )
    return trace


def user_frame() -> Frame | None:
    """The innermost Python frame that is not lamina's, NumPy's or jax's own: the user's source line."""
    frame, _ = frames.user_frame()
    return Frame(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) if frame is not None else None


class Trace:
    """A graph in the making.

    Args:
        parent: the trace around it, for a region.
        hints: values of symbolic dimensions at the call that made this trace necessary. They decide comparisons that
        the
            symbols leave open and serve Python that needs an integer; either is recorded as a guard.
    """

    def __init__(self, parent: Trace | None = None, hints: Mapping[str, int] | None = None) -> None:
        self.graph = Graph()
        self.builder = Builder(self.graph)
        self.parent = parent
        self.root: Trace = parent.root if parent else self
        self.hints = dict(hints or {})
        self.layers: list[str] = []
        self.captures: dict[Value, Value] = {}
        self.variables: dict[Variable, Value] = {}  # what each holds at this point of the trace
        self.written: dict[Variable, None] = {}
        self.parameters: dict[Variable, Parameter] = {}
        # Where the program runs at once on arrays: their values, and which outer value an inner one stands for.
        self.reads_values = False
        self.known: dict[Value, Any] = {}
        self.aliases: dict[Value, Value] = {}
        self.kept: dict[Any, Any] = {}  # what layers keep for as long as the outermost trace lasts

    # Writing nodes

    def emit(
        self,
        op: OpDef | str,
        operands: Sequence[Tensor] = (),
        attributes: Mapping[str, Any] | None = None,
        regions: Sequence[Graph] = (),
    ) -> tuple[Tensor, ...]:
        """Append a node and return its results as tensors of this trace."""
        definition = op if isinstance(op, OpDef) else find_op(op)
        values = [self.take(t) for t in operands]
        self.builder.location = self.location()
        plain = {name: plain_dims(value) for name, value in (attributes or {}).items()}
        return tuple(Tensor(v, self) for v in self.builder.emit(definition, values, plain, regions))

    def location(self) -> Location:
        frame = user_frame()
        layers = self.root.layers
        path = "/".join(layers[1:]) or "/".join(layers)  # the outermost model's own name only where nothing is inside
        return Location((path,) if path else (), (frame,) if frame else ())

    def constant(self, array: np.ndarray) -> Tensor:
        return self.emit("constant", (), {"value": array})[0]

    def take(self, tensor: Tensor) -> Value:
        """The value that stands for ``tensor`` in this trace; one from outside a region becomes an operand of it."""
        if tensor.trace is self:
            return tensor.value
        outer = self.parent
        while outer is not None and outer is not tensor.trace:
            outer = outer.parent
        if outer is None:
            raise TracingError(
                f"{tensor!r} belongs to another trace; a tensor can't be kept from one traced call to the "
                "next: return it from the function, or store it in a Variable"
            )
        return self.capture(self.parent.take(tensor))  # type: ignore[union-attr]

    def capture(self, outer: Value) -> Value:
        """The stand-in inside this region for a value of the parent."""
        if outer not in self.captures:
            self.captures[outer] = Value(outer.type, name=outer.name)
            self.root.aliases[self.captures[outer]] = outer
        return self.captures[outer]

    # Variables

    def read(self, variable: Variable) -> Tensor:
        """What ``variable`` holds at this point."""
        if variable not in self.variables:
            if self.parent is not None:
                self.variables[variable] = self.capture(self.parent.read(variable).value)
            else:
                self.variables[variable] = self._parameter(variable).value
        return Tensor(self.variables[variable], self)

    def write(self, variable: Variable, tensor: Tensor) -> None:
        """From here on ``variable`` holds ``tensor``."""
        if self.parent is None:
            self._parameter(variable)
        self.variables[variable] = self.take(tensor)
        self.written[variable] = None

    def _parameter(self, variable: Variable) -> Parameter:
        if variable not in self.parameters:
            taken = {p.name for p in self.graph.parameters}
            name, count = variable.path, 0
            while name in taken:
                count += 1
                name = f"{variable.path}_{count}"
            type_ = TensorType(variable.dtype, variable.shape, variable.sharding)
            self.parameters[variable] = self.graph.add_parameter(name, type_, key=variable)
        return self.parameters[variable]

    def parameter_array(self, value: Value) -> Any:
        """What the Variable held, when the trace began, whose parameter ``value`` is; None for any other value."""
        return next((p.key._value for p in self.graph.parameters if p.value is value), None)

    # Symbolic dimensions

    def assume(self, relation: str, left: DimLike, right: DimLike, expected: bool | None = None) -> bool:
        """Decide an open comparison by the hints (else as ``expected``, or by sizes like no other) and keep the outcome
        as a guard."""
        symbols = sorted(free_symbols(left, right))
        values = {s: self.root.hints.get(s, 1009 + 10 * i) for i, s in enumerate(symbols)}
        a, b = evaluate_dim(left, values), evaluate_dim(right, values)
        truth = a == b if relation == "==" else a >= b
        if expected is not None and not self.root.hints.keys() >= set(symbols):
            truth = expected
        opposite = {"==": "!=", ">=": "<"}[relation]
        self._guard(relation if truth else opposite, left, right, "a comparison in Python")
        return truth

    def require_equal(self, left: DimLike, right: DimLike, reason: str) -> None:
        """Make ``left == right`` a guard. Raises :class:`ShapeError` where it can never hold."""
        if same(left, right) is False:
            raise ShapeError(f"{reason}: {left} and {right} differ{self._where()}")
        if left != right:
            self._guard("==", left, right, reason)

    def pin(self, dim: DimLike) -> int:
        """The integer value of ``dim`` at the call that is being traced for, kept as a guard."""
        missing = sorted(free_symbols(dim) - self.root.hints.keys())
        if missing:
            raise IntegerDimError(
                f"Python needs the integer value of the symbolic dimension {dim}{self._where()}; give "
                f"{', '.join(missing)} as an integer in the spec, or use ops that take symbolic sizes",
                dim,
                self._where(),
            )
        value = evaluate_dim(dim, self.root.hints)
        self._guard("==", dim, value, "Python needed an integer")
        return value

    def _guard(self, relation: str, left: DimLike, right: DimLike, reason: str) -> None:
        known = {(g.relation, g.left, g.right) for g in self.root.graph.guards}
        mirrored = relation in ("==", "!=") and (relation, right, left) in known
        if not mirrored and (relation, left, right) not in known:
            self.root.graph.guards.append(Guard(relation, left, right, reason, self.location()))

    def _where(self) -> str:
        frame = user_frame()
        layers = "/".join(self.root.layers)
        return (f"\n  in layer {layers}" if layers else "") + (f"\n  at {frame}" if frame else "")

    # Scopes

    @contextmanager
    def active(self) -> Iterator[Trace]:
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        self.root.layers.append(name)
        try:
            yield
        except LaminaError as error:
            if not _names(str(error), name):
                error.args = (f"{error}{self._where()}", *error.args[1:])
            raise
        finally:
            self.root.layers.pop()

    def finish_updates(self) -> None:
        """Turn what was written to Variables into the graph's state updates."""
        for variable in self.written:
            self.graph.updates.append(Update(self.parameters[variable], self.variables[variable]))


def _names(message: str, layer: str) -> bool:
    """Whether a message says already that it is about a layer."""
    return re.search(rf"(\bin layer |\bat |['/]){re.escape(layer)}\b", message) is not None


class Region:
    """A traced region: its graph (explicit inputs only, until :meth:`close`), its captures and written Variables."""

    def __init__(self, trace: Trace, outputs: list[Tensor], structure: Any) -> None:
        self.trace = trace
        self.outputs = outputs
        self.structure = structure

    @property
    def written(self) -> list[Variable]:
        return list(self.trace.written)

    def close(self, captured: Sequence[Value], variables: Sequence[Variable] = ()) -> Graph:
        """The region's graph with ``captured`` outer values as its first inputs and ``variables`` as last outputs."""
        graph = self.trace.graph
        tail = [self.trace.read(v).value for v in variables]
        graph.outputs = [t.value for t in self.outputs] + tail
        first = [self.trace.captures.get(v) or Value(v.type) for v in captured]
        graph.inputs[:0] = first
        graph.input_names[:0] = [""] * len(first)
        return graph


def trace_region(body: Callable[..., Any], types: Sequence[TensorType], carried: Sequence[Variable] = ()) -> Region:
    """Trace ``body`` on tensors of ``types`` as a region of the current trace.

    Args:
        body: takes the tensors, returns a nest of tensors.
        types: the types of the region's explicit inputs.
        carried: Variables that enter as further explicit inputs, since the region writes them.
    """
    from .convert import as_tensor

    trace = Trace(parent=require_trace())
    tensors = [Tensor(trace.graph.add_input(t), trace) for t in types]
    for variable in carried:
        type_ = TensorType(variable.dtype, variable.shape)
        trace.variables[variable] = trace.graph.add_input(type_, variable.name)
    with trace.active():
        leaves, structure = jax.tree.flatten(body(*tensors))
        outputs = [as_tensor(leaf) for leaf in leaves]
        outputs = [Tensor(trace.take(t), trace) for t in outputs]
    return Region(trace, outputs, structure)


def all_captures(regions: Sequence[Region]) -> list[Value]:
    """The outer values that any of the regions uses, in order of first use."""
    return list(dict.fromkeys(v for r in regions for v in r.trace.captures))
