"""The meaning of the IR: evaluation in NumPy, slow and plain. Every other path is compared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .binding import bind_symbols, check_guards, graph_types
from .errors import ArgumentError, DTypeError, LaminaError
from .graph import Graph, Module, Node, Value, substitute_attribute
from .opdef import Call, as_tuple
from .opdef import decompose as emit_decomposition
from .types import short_name, static_shape


def evaluate(
    program: Module | Graph,
    *inputs: Any,
    parameters: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Run a graph in NumPy.

    Args:
        program: a module (its main graph runs) or a graph that calls no functions.
        inputs: one array for each input of the graph, of its exact element type.
        parameters: an array for each parameter, by name.
        dims: values for symbols that the shapes do not fix.

    Returns:
        The outputs, and the next value of each updated parameter by name.

    Raises:
        ShapeError, DTypeError, ArgumentError: inputs or parameters do not fit the graph.
        GuardError: the concrete dimensions break an assumption of the trace.
    """
    functions = program.functions if isinstance(program, Module) else {}
    graph = program.main if isinstance(program, Module) else program
    given = dict(parameters or {})
    missing = [p.name for p in graph.parameters if p.name not in given]
    if missing:
        raise ArgumentError(
            f"evaluate needs a value for the parameters {', '.join(missing)}; give parameters={{name: array, ...}} "
            "(for a model's: {p.name: p.key.numpy() for p in module.main.parameters})"
        )
    if len(inputs) != len(graph.inputs):
        raise ArgumentError(f"expected {len(graph.inputs)} inputs, received {len(inputs)}")
    arrays = [np.asarray(x) for x in (*inputs, *(given[p.name] for p in graph.parameters))]
    types = graph_types(graph)
    for (name, type_), array in zip(types, arrays, strict=True):
        if array.dtype != type_.dtype:
            raise DTypeError(f"{name}: expected {short_name(type_.dtype)}, {type_}; received {array.dtype}")
    values = bind_symbols([(name, t, a.shape) for (name, t), a in zip(types, arrays, strict=True)], dims)
    check_guards(graph.guards, values)
    environment = dict(zip([*graph.inputs, *(p.value for p in graph.parameters)], arrays, strict=True))
    _run(graph, environment, values, functions)
    outputs = [environment[v] for v in graph.outputs]
    return outputs, {u.parameter.name: environment[u.value] for u in graph.updates}


def _run(
    graph: Graph, environment: dict[Value, np.ndarray], dims: Mapping[str, int], functions: Mapping[str, Graph]
) -> None:
    for node in graph.nodes:
        arrays = [environment[operand] for operand in node.operands]
        for value, array in zip(node.results, evaluate_node(node, arrays, dims, functions), strict=True):
            environment[value] = array


def evaluate_node(
    node: Node,
    arrays: Sequence[np.ndarray],
    dims: Mapping[str, int] | None = None,
    functions: Mapping[str, Graph] | None = None,
) -> list[np.ndarray]:
    """The results of one node on concrete operands."""
    values, callees = dims or {}, functions or {}
    attributes = {k: substitute_attribute(v, values) for k, v in node.attributes.items()}
    types = [r.type.substitute(values) for r in node.results]
    run = [partial(_run_region, region, values, callees) for region in node.regions]
    call = Call(node.op, attributes, node.regions, types, run, partial(_call_function, callees))
    try:
        with np.errstate(all="ignore"):  # an overflow or 0/0 is a value here, not an event
            if node.op.evaluate is not None:
                results = as_tuple(node.op.evaluate(call, *arrays))
            else:
                results = _evaluate_composite(call, node, arrays)
    except LaminaError as error:
        raise type(error)(f"{error}\n  while evaluating {node.op.name} at {node.location}") from None
    return [
        np.asarray(r).astype(t.dtype, copy=False).reshape(static_shape(t)) for r, t in zip(results, types, strict=True)
    ]


def _run_region(
    region: Graph, dims: Mapping[str, int], functions: Mapping[str, Graph], *arrays: np.ndarray
) -> tuple[np.ndarray, ...]:
    environment = dict(zip(region.inputs, (np.asarray(a) for a in arrays), strict=True))
    _run(region, environment, dims, functions)
    return tuple(environment[v] for v in region.outputs)


def _call_function(functions: Mapping[str, Graph], callee: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    if callee not in functions:
        raise ArgumentError(f"the module has no function {callee!r}; evaluate the module rather than its graph")
    graph = functions[callee]
    dims = bind_symbols([(n, t, a.shape) for (n, t), a in zip(graph_types(graph), arrays, strict=True)])
    return _run_region(graph, dims, functions, *arrays)


def _evaluate_composite(call: Call, node: Node, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """A composite's value is that of its decomposition at the concrete types."""
    from .builder import Builder
    from .types import TensorType

    scratch = Graph()
    operands = [scratch.add_input(TensorType(a.dtype, a.shape)) for a in arrays]
    scratch.outputs = list(emit_decomposition(Builder(scratch), call, operands))
    return _run_region(scratch, {}, {}, *arrays)
