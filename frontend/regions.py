"""Functions traced to be transformed: the graph, what it takes from around it, and the way back into a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..compiler import Program
from ..ir import Graph, TensorType, Value
from ..ir.errors import ArgumentError, TracingError
from ..ir.graph import clone_node
from ..runtime.dispatch import Convention
from .distribution.tensors import mesh_for
from .tensor import Tensor
from .trace import Trace, require_trace, trace_region
from .tracing import trace_flat
from .values import remember
from .variable import Variable


class Traced:
    """A function as a graph whose inputs are: what it captured, then its explicit tensors, then Variables.

    Its outputs are the leaves of what the function returned, a pair, and then the next values of Variables that it
    assigned. Whoever splices the graph in assigns them (:meth:`unflatten`).
    """

    def __init__(
        self, graph: Graph, operands: list[Tensor], held: int, structure: Any, written: list[Variable]
    ) -> None:
        self.graph = graph
        self.operands = operands
        self.held = held
        self.written = written
        self.structure = structure
        self.results: list[Tensor] = []

    def value_structure(self) -> tuple[Any]:
        """The first part of what the function returned, with stand-ins."""
        count = self.structure.num_leaves
        return (jax.tree.unflatten(self.structure, [0.0] * count)[0],)

    def value_types(self) -> list[TensorType]:
        """The types of the leaves of the first part."""
        count = len(jax.tree.leaves(self.value_structure()[0]))
        return [v.type for v in self.graph.outputs[:count]]

    def match_value(self, given: Any) -> list[Any]:
        """The leaves of a nest of the structure of the first part."""
        leaves, tree = jax.tree.flatten(given)
        expected: Any = jax.tree.structure(self.value_structure()[0])
        if tree != expected:
            raise ArgumentError(f"the cotangent should have the structure {expected} of the result, received {tree}")
        return leaves

    def flags(self, count: int, variables: bool = False) -> list[bool]:
        """For each input whether it is one of the explicit tensors (or one of the Variables)."""
        rest = len(self.graph.inputs) - self.held - count
        return [*[False] * self.held, *[True] * count, *[variables] * rest]

    def splice(self, graph: Graph, more: Sequence[Tensor]) -> list[Tensor]:
        """Write a graph made of this one into the current trace; ``more`` are its further inputs."""
        trace = require_trace()
        new: dict[Value, Value] = {}
        for inner, tensor in zip(graph.inputs, [*self.operands, *more], strict=True):
            new[inner] = trace.take(tensor)
        for node in graph.nodes:
            trace.builder.nodes.append(clone_node(node, [new[v] for v in node.operands], new))
        return [Tensor(new[v], trace) for v in graph.outputs]

    def unflatten(self, results: Sequence[Any], final: bool = True) -> tuple[Any, Any]:
        """The pair that the function returned, of results; with ``final`` Variables take their new values."""
        count = self.structure.num_leaves
        if final:
            for variable, tensor in zip(self.written, results[count:], strict=False):
                require_trace().write(variable, tensor)
        first, second = jax.tree.unflatten(self.structure, list(results[:count]))
        return first, second

    def check_written(self, differs: Sequence[bool], name: str) -> None:
        """Raise where a Variable would get a value that differs within a batch."""
        count = self.structure.num_leaves - len(self.value_types())
        for variable, flag in zip(self.written, differs[count:], strict=False):
            if flag:
                raise TracingError(
                    f"{name}: the function assigns to Variable {variable.path!r} a value that differs within the "
                    "batch; return it instead"
                )


def trace_function(
    f: Callable[..., Any],
    tensors: Sequence[Tensor],
    variables: Sequence[Variable] = (),
    call: Callable[[Callable[..., Any], Sequence[Tensor]], Any] | None = None,
    types: Sequence[TensorType] | None = None,
) -> Traced:
    """Trace ``f`` as a graph of its own.

    Args:
        f: returns a pair of nests.
        tensors: of the current trace; they become inputs.
        variables: what they hold becomes further inputs.
        call: how to call ``f`` on tensors, ``f(*tensors)`` by default.
        types: of the inputs where they differ from those of ``tensors``.
    """
    outer = require_trace()
    own = [t.value.type for t in tensors]
    held_variables = [outer.read(v) for v in variables]

    def body(*inner: Tensor) -> Any:
        if types is None:
            remember(inner, tensors)
        trace = require_trace()
        remember([Tensor(trace.variables[v], trace) for v in variables], held_variables)
        return call(f, inner) if call is not None else f(*inner)

    region = trace_region(body, types if types is not None else own, variables)
    captured = list(region.trace.captures)
    written = region.written
    graph = region.close(captured, written)
    operands = [*(Tensor(v, outer) for v in captured), *tensors, *held_variables]
    return Traced(graph, operands, len(captured), region.structure, written)


def run_on_arrays(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Trace ``function`` on tensors that have the values of the arrays among its arguments, compile and run it."""
    from .convert import argument_dtype
    from .nests import is_array

    leaves, tree = jax.tree.flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
    arrays = [leaf.value if isinstance(leaf, Variable) else leaf for leaf in (leaves[i] for i in places)]
    arrays = [x if isinstance(x, jax.Array) else np.asarray(x, argument_dtype(x)) for x in arrays]
    types = [TensorType(x.dtype, x.shape) for x in arrays]

    def call(tensors: list[Tensor]) -> Any:
        trace: Trace = require_trace()
        full = list(leaves)
        for i, tensor, array in zip(places, tensors, arrays, strict=True):
            full[i] = tensor
            trace.known[tensor.value] = array
        trace.reads_values = True
        given, named = jax.tree.unflatten(tree, full)
        return function(*given, **named)

    module, out_tree = trace_flat(call, types, name=getattr(function, "__name__", "main"))
    convention = Convention(unpack=lambda flat: jax.tree.unflatten(out_tree, flat), key=("flat", out_tree))
    return Program(module, pipeline="O1", convention=convention, mesh=mesh_for(module))(*arrays)
