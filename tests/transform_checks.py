"""Comparing derivatives and batching of a graph, evaluated in NumPy, with JAX and with a Python loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from lamina.ir import Builder, Graph, Module, evaluate, verify
from lamina.ir.types import TensorType
from lamina.passes.differentiate import jvp, vjp
from lamina.passes.vectorize import vectorize

Build = Callable[..., Any]  # (builder, *values) -> value(s)


def graph_of(build: Build, arrays: Sequence[np.ndarray], shapes: Sequence[tuple] | None = None) -> Graph:
    """The graph of ``build`` on inputs of the arrays' types; ``shapes`` may name symbols instead of sizes."""
    graph = Graph()
    wanted = shapes or [a.shape for a in arrays]
    values = [graph.add_input(TensorType(a.dtype, s)) for a, s in zip(arrays, wanted, strict=True)]
    outputs = build(Builder(graph), *values)
    graph.outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    verify(Module({"main": graph}))
    return graph


def run(graph: Graph, *arrays: np.ndarray) -> list[np.ndarray]:
    """The outputs of a verified graph in NumPy."""
    verify(Module({"main": graph}))
    return evaluate(graph, *arrays)[0]


def assert_derivatives(
    build: Build,
    oracle: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    moving: Sequence[bool] | None = None,
    shapes: Sequence[tuple] | None = None,
    rtol: float = 1e-9,
    second: bool = True,
) -> None:
    """Compare with JAX, in 64 bits, the results, jvp and vjp; with ``second`` also the vjp of the vjp.

    ``rtol``: of the largest element, for sums are made in another order.
    """
    moving = moving or [a.dtype.kind in "fc" for a in arrays]
    rng = np.random.default_rng(7)
    graph = graph_of(build, arrays, shapes)
    given = [a for a, m in zip(arrays, moving, strict=True) if m]
    tangents = [_random(rng, a) for a in given]

    def on_moving(*xs: Any) -> tuple[Any, ...]:
        rest = iter(xs)
        result = oracle(*(next(rest) if m else a for a, m in zip(arrays, moving, strict=True)))
        return result if isinstance(result, tuple) else (result,)

    with jax.enable_x64(True):
        outputs = jax.eval_shape(on_moving, *given)
        cotangents = [_random(rng, np.zeros(y.shape, y.dtype)) for y in outputs]
        again = [_random(rng, a) for a in given]

        def pulled(xs: tuple, ys: tuple) -> tuple:
            return jax.vjp(on_moving, *xs)[1](tuple(ys))

        @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time
        def everything(xs: tuple, dxs: tuple, ys: tuple, ddxs: tuple) -> tuple:
            twice = jax.vjp(pulled, xs, ys)[1](ddxs) if second else ((), ())
            return *jax.jvp(on_moving, xs, dxs), pulled(xs, ys), [*twice[0], *twice[1]]

        want, want_tangents, want_cotangents, want_second = everything(
            tuple(given), tuple(tangents), tuple(cotangents), tuple(again)
        )
    got = run(jvp(graph, moving), *arrays, *tangents)
    _close(got, [*want, *want_tangents], rtol)
    back = vjp(graph, moving, [True] * len(want))
    _close(run(back, *arrays, *cotangents), [*want, *want_cotangents], rtol)
    if second:
        # Once more, through the way back; the first results are not asked for.
        marks = [*moving, *[True] * len(want)]
        twice = vjp(back, marks, [False] * len(want) + [True] * len(given))
        got = run(twice, *arrays, *cotangents, *again)[len(want) + len(given) :]
        _close(got, want_second, rtol)


def assert_batching(
    build: Build, arrays: Sequence[np.ndarray], size: int = 3, rtol: float = 1e-9, every: bool = True
) -> None:
    """Compare batching over each choice of operands with a loop over the batch; ``every``: all choices, not all one."""
    rng = np.random.default_rng(8)
    count = len(arrays)
    choices = range(1, 1 << count) if every else [(1 << count) - 1, *(1 << i for i in range(count))]
    graph = graph_of(build, arrays)
    for choice in choices:
        batched = [bool(choice >> i & 1) for i in range(count)]
        given = [np.stack([_shuffled(rng, a) for _ in range(size)]) if m else a for a, m in zip(arrays, batched)]
        many = vectorize(graph, batched, size, [True] * len(graph.outputs))
        got = run(many, *given)
        for i in range(size):
            want = run(graph, *(a[i] if m else a for a, m in zip(given, batched, strict=True)))
            _close([g[i] for g in got], want, rtol)


def _random(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    x = rng.normal(size=like.shape)
    if like.dtype.kind == "c":
        x = x + 1j * rng.normal(size=like.shape)
    return np.asarray(x).astype(like.dtype)


def _shuffled(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    return rng.permutation(x.ravel()).reshape(x.shape)


def _close(got: Sequence[np.ndarray], want: Sequence[Any], rtol: float) -> None:
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        b = np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype
        wide = np.complex128 if b.dtype.kind == "c" else np.float64
        largest = float(np.abs(b.astype(wide)).max(initial=1e-3))
        np.testing.assert_allclose(a.astype(wide), b.astype(wide), rtol=0, atol=rtol * largest)
