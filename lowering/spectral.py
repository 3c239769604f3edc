"""Eigenvalues and singular values on XLA: what jax makes of them for the platform, which on the CPU is LAPACK."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any

import jax
import numpy as np

from ..ir.builder import Builder
from ..ir.errors import UnsupportedError
from ..ir.graph import Graph, Node, Value
from ..ir.ops.spectral import LEADING
from ..ir.types import I32, is_complex, static_shape
from ..passes import run_pipeline
from .emitter import Emitter
from .mlir import ir


def _eigh(a: Any) -> Any:
    vectors, values = jax.lax.linalg.eigh(a, symmetrize_input=False)
    return values, vectors


def _svd(a: Any) -> Any:
    return jax.lax.linalg.svd(a, full_matrices=False)


def _eig(a: Any) -> Any:
    return jax.lax.linalg.eig(a, compute_left_eigenvectors=False)


#: The function, and which of its results are vectors whose leading elements are made positive.
_FUNCTIONS = {"eigh": (_eigh, 1), "svd": (_svd, 0), "eig": (_eig, 1)}


def by_jax(emitter: Emitter, node: Node, a: ir.Value) -> list[ir.Value]:
    """What jax lowers the function of the op's name to, with the factor of each vector fixed."""
    type_ = node.operands[0].type
    return emitter.graph(_graph(node.op.name, static_shape(type_), type_.dtype, emitter.platform), [a])


@cache
def _graph(name: str, shape: tuple[int, ...], dtype: np.dtype, platform: str) -> Graph:
    from .importer import import_module

    function, place = _FUNCTIONS[name]
    with jax.enable_x64(True) if dtype.itemsize == 8 else nullcontext():
        traced = jax.jit(function).trace(jax.ShapeDtypeStruct(shape, dtype))
        try:
            program: Any = traced.lower(lowering_platforms=(platform,)).compiler_ir("stablehlo")
        except NotImplementedError as error:
            raise UnsupportedError(f"{name} has no form on {platform}: {error}") from None
        with program.context:
            module = import_module(program, name=name)
    graph = run_pipeline(module, "inline{all=true}")[0].main
    b = Builder(graph)
    factor = _factors(b, graph.outputs[place])
    outputs = list(graph.outputs)
    outputs[place] = _times(b, outputs[place], factor, -1)
    if name == "svd":
        outputs[2] = _times(b, outputs[2], factor, -2)
    graph.outputs = outputs
    return graph


def _times(b: Builder, x: Value, factor: Value, axis: int) -> Value:
    dims = (*range(x.rank - 2), x.rank + axis)
    return b.multiply(x, b.broadcast_in_dim(factor, shape=x.shape, dims=dims))


def _factors(b: Builder, vectors: Value) -> Value:
    """As :func:`ir.ops.spectral.factors`, of the graph."""
    rows, size = (vectors.rank - 2,), b.abs(vectors)
    least = b.multiply(b.reduce_with("maximum", size, rows, -np.inf), b.full(_columns(vectors), LEADING, size.dtype))
    index = b.iota(dtype=I32, shape=vectors.shape, axis=vectors.rank - 2)
    large = b.compare(size, _spread(b, least, vectors), direction="GE")
    last = b.full_like(index, int(vectors.shape[-2]))  # type: ignore[arg-type]
    first = b.reduce_with("minimum", b.select(large, index, last), rows, np.iinfo(np.int32).max)
    own = b.compare(index, _spread(b, first, vectors), direction="EQ")
    leading = b.reduce_with("add", b.select(own, vectors, b.full_like(vectors, 0)), rows, 0)
    if is_complex(vectors.dtype):
        conjugate = b.complex(b.real(leading), b.negate(b.imag(leading)))
        return b.divide(conjugate, b.complex(b.abs(leading), b.full_like(b.abs(leading), 0)))
    negative = b.compare(leading, b.full_like(leading, 0), direction="LT")
    return b.select(negative, b.full_like(leading, -1), b.full_like(leading, 1))


def _columns(vectors: Value) -> tuple[Any, ...]:
    return (*vectors.shape[:-2], vectors.shape[-1])


def _spread(b: Builder, x: Value, like: Value) -> Value:
    return b.broadcast_in_dim(x, shape=like.shape, dims=(*range(like.rank - 2), like.rank - 1))
