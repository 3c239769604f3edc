"""From a graph to StableHLO: one row for each op, and the two ways in, :func:`emit` and :func:`emit_into`.

XLA compiles concrete shapes: a graph with symbolic dimensions is specialised before it runs. :func:`emit` also writes
it with open ones, for reading and for handing on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..ir.binding import graph_types
from ..ir.errors import ArgumentError, DTypeError, UnsupportedError
from ..ir.graph import Graph, Module
from ..ir.types import TensorType, is_float, short_name
from . import expansions, linalg, sharding, spectral, stablehlo_control, stablehlo_numeric
from . import stablehlo_attributes as attributes
from .emitter import Emitter, Rule, expanded, inlined, op
from .mlir import context, ir, parse_module, type_of, verify_module
from .stablehlo_dynamic import DYNAMIC

# Ops that StableHLO, or CHLO (which every StableHLO consumer legalizes away), has under the same name.
_SAME = (
    *("abs", "negate", "sign", "exponential", "exponential_minus_one", "log", "log_plus_one", "sqrt", "rsqrt", "sine"),
    *("cosine", "tan", "tanh", "logistic", "floor", "ceil", "round_nearest_even", "round_nearest_afz", "is_finite"),
    *("not", "popcnt", "count_leading_zeros", "real", "imag", "add", "subtract", "multiply", "divide", "remainder"),
    *("maximum", "minimum", "atan2", "and", "or", "xor", "shift_left", "shift_right_arithmetic", "complex"),
    *("shift_right_logical", "select", "clamp", "bitcast_convert", "dynamic_update_slice", "optimization_barrier"),
    *("partition_id", "reshape"),
)
_CHLO = (
    *("sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma"),
    "next_after",
)

#: One row for each op; a composite without a row is emitted as its decomposition.
LOWERINGS: dict[str, Rule] = {
    **{name: op(f"stablehlo.{name}") for name in _SAME},
    **{name: op(f"chlo.{name}") for name in _CHLO},
    # elementwise
    "power": stablehlo_numeric.power,
    "cbrt": stablehlo_numeric.cbrt,
    "convert": stablehlo_numeric.convert,
    "compare": op("stablehlo.compare", attributes.compare),
    "reduce_precision": op("stablehlo.reduce_precision", attributes.reduce_precision),
    # shape
    "constant": op("stablehlo.constant", attributes.constant),
    "iota": op("stablehlo.iota", attributes.iota),
    "transpose": op("stablehlo.transpose", attributes.transpose),
    "broadcast_in_dim": op("stablehlo.broadcast_in_dim", attributes.broadcast_in_dim),
    "slice": op("stablehlo.slice", attributes.slice_),
    "pad": op("stablehlo.pad", attributes.pad),
    "concatenate": op("stablehlo.concatenate", attributes.concatenate),
    "reverse": op("stablehlo.reverse", attributes.reverse),
    "dynamic_slice": op("stablehlo.dynamic_slice", attributes.dynamic_slice),
    "dim_value": expanded(expansions.dim_value),
    "match_shape": lambda emitter, node, x: x,
    # contraction
    "dot_general": op("stablehlo.dot_general", attributes.dot_general),
    "convolution": op("stablehlo.convolution", attributes.convolution),
    # reduction
    "reduce": stablehlo_numeric.reduce,
    "reduce_window": stablehlo_numeric.reduce_window,
    "select_and_scatter": op("stablehlo.select_and_scatter", attributes.select_and_scatter),
    # indexing
    "gather": op("stablehlo.gather", attributes.gather),
    "scatter": op("stablehlo.scatter", attributes.scatter),
    "sort": op("stablehlo.sort", attributes.sort),
    "top_k": op("chlo.top_k", attributes.top_k),
    # linear algebra
    "fft": op("stablehlo.fft", attributes.fft),
    "cholesky": stablehlo_numeric.cholesky,
    "triangular_solve": op("stablehlo.triangular_solve", attributes.triangular_solve),
    "qr": expanded(linalg.qr),
    **dict.fromkeys(("eigh", "svd", "eig"), spectral.by_jax),
    # random
    "threefry_bits": expanded(expansions.threefry_bits),
    "threefry_split": expanded(expansions.threefry_split),
    "threefry_fold_in": expanded(expansions.threefry_fold_in),
    "dropout_bits": expanded(expansions.dropout_bits),
    # control
    "while": stablehlo_control.while_,
    "scan": expanded(expansions.scan),
    "cond": stablehlo_control.cond,
    "call": stablehlo_control.call,
    "custom_call": op("stablehlo.custom_call", attributes.custom_call),
    "custom_vjp": inlined(),
    "remat": stablehlo_control.remat,
    "composite": stablehlo_control.composite,
    # collectives
    "all_reduce": op("stablehlo.all_reduce", attributes.all_reduce),
    "all_gather": op("stablehlo.all_gather", attributes.all_gather),
    "reduce_scatter": op("stablehlo.reduce_scatter", attributes.reduce_scatter),
    "all_to_all": op("stablehlo.all_to_all", attributes.all_to_all),
    "collective_permute": op("stablehlo.collective_permute", attributes.collective_permute),
    "sharding_constraint": sharding.constraint,
}

#: Rules that say open shapes, too, in the graph's own terms.
DYNAMIC["dropout_bits"] = LOWERINGS["dropout_bits"]


def emit(module: Module, mesh: Mapping[str, int] | None = None) -> ir.Module:
    """A StableHLO module of its own, verified, in a fresh context (``result.context``).

    Its public function ``main`` takes the parameters, then the inputs, of the main graph, and returns its outputs, then
    the next values of updated parameters. Functions that are called become private ones. Symbolic dimensions become
    ``?``; what the trace assumed of them (``Graph.guards``) is not part of the program.

    Args:
        mesh: the size of each axis of the mesh of devices, major first; shardings are left out where there is none.

    Raises:
        UnsupportedError: an op has no StableHLO form, or none with open dimensions.
        VerificationError: MLIR refuses the result; the message names the layer.
    """
    with context():
        made = ir.Module.create()
        made.operation.attributes["sym_name"] = ir.StringAttr.get(module.name)
        Emitter(LOWERINGS, made, module.functions, mesh=mesh).function("main", module.main, public=True)
        verify_module(made)
    return made


def emit_into(
    ctx: Any,
    graph: Graph,
    operands: Sequence[ir.Value],
    functions: Mapping[str, Graph] | None = None,
    mesh: Mapping[str, int] | None = None,
) -> list[ir.Value]:
    """Emit ``graph`` inside a lowering rule of a jax primitive, at its insertion point.

    Args:
        ctx: the rule's ``jax.interpreters.mlir.LoweringRuleContext``.
        operands: MLIR values for the parameters, then the inputs, of the graph.
        functions: the graphs that ``call`` names.
        mesh: as of :func:`emit`.

    Returns:
        MLIR values of the outputs, then of the updates. Errors as :func:`emit`.
    """
    check_runs(graph)
    emitter = Emitter(LOWERINGS, ctx.module_context.module, functions, ctx.module_context.symbol_table, mesh)
    emitter.platform = ctx.module_context.platforms[0]
    _check_operands(emitter, graph, operands)
    return emitter.graph(graph, operands)


#: Element types that StableHLO has, on which XLA ends the process or computes what is wrong.
_NOT_RUN = ("f6e2m3fn", "f6e3m2fn", "i2", "ui2")


def check_runs(graph: Graph) -> None:
    """Raise :class:`UnsupportedError` where XLA can't be trusted with an element type of the graph."""
    results = ((f"{n.op.name} (at {n.location})", r.type) for n in graph.walk() for r in n.results)
    named = [*graph_types(graph), *results]
    for name, type_ in named:
        if isinstance(type_, TensorType) and short_name(type_.dtype) in _NOT_RUN:
            raise UnsupportedError(
                f"{name} is {type_}, and XLA does not run {type_.dtype.name}: convert to "
                f"{'float8_e4m3fn' if is_float(type_.dtype) else 'int8'} or wider before, or run it in NumPy by "
                "lamina.evaluate"
            )


def _check_operands(emitter: Emitter, graph: Graph, operands: Sequence[ir.Value]) -> None:
    named = graph_types(graph)
    named = named[len(graph.inputs) :] + named[: len(graph.inputs)]  # parameters first
    if len(named) != len(operands):
        raise ArgumentError(f"expected {len(named)} values for parameters and inputs, received {len(operands)}")
    for (name, type_), value in zip(named, operands, strict=True):
        if emitter.type(type_) != value.type:
            raise DTypeError(
                f"{name}: expected {type_}, received {type_of(value)}; a 64-bit array keeps its type only "
                "while x64 is on"
            )


def parse(text: str | bytes) -> ir.Module:
    """Read StableHLO text or bytecode into a fresh context, and verify it. Raises :class:`VerificationError`."""
    with context():
        return parse_module(text)
