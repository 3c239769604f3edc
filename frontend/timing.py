"""What ``lamina bench`` measures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..compiled import Compiled
from ..ir import TensorType
from ..ir.errors import ArgumentError
from ..ir.types import is_float
from ..runtime.dispatch import needs_x64, x64
from ..runtime.errors import xla_errors
from .dump import ensure_trace

_WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """Times in seconds: ``trace`` with all passes, ``lower`` to StableHLO, ``compile`` by XLA, and of each call.

    ``rows``, which throughput counts, is the first size of the first input where that is symbolic, else 1.
    """

    name: str
    device: str
    trace: float
    lower: float
    compile: float
    calls: tuple[float, ...]
    rows: int = 1
    shapes: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.calls)


def percentile(values: tuple[float, ...], percent: float) -> float:
    """The value below which ``percent`` of a hundred of ``values`` are."""
    return float(np.percentile(values, percent))


def measure(compile_: Callable[[], Compiled], dims: Mapping[str, int], runs: int) -> Timing:
    """Time a program on random inputs that are on its device already; a call ends when its results are there.

    Args:
        compile_: gives the program, not called yet.
        dims: sizes of its symbolic dimensions.
        runs: how many calls are timed, after three that are not.
    """
    start = time.perf_counter()
    compiled = compile_()
    ensure_trace(compiled, dims)
    trace = time.perf_counter() - start
    graph = compiled.graph.main
    missing = [s for s in graph.symbols if s not in dims]
    if missing:
        options = " ".join(f"--dim {s}=32" for s in missing)
        raise ArgumentError(f"a size is needed for each symbolic dimension; give {options}")
    start = time.perf_counter()
    compiled.stablehlo(**dims)
    lower = time.perf_counter() - start
    types = [v.type.substitute(dims) for v in graph.inputs]
    wide = needs_x64(*(t.dtype for t in types))
    draw = np.random.default_rng(0)
    with x64(wide):
        flat = [jax.device_put(_random(t, draw), compiled.device) for t in types]
    args = flat if graph.in_structure is None else jax.tree.map(lambda i: flat[i], graph.in_structure)
    with xla_errors(f"running {compiled.graph.name}"):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        first = time.perf_counter() - start
        calls = [_time(compiled, args) for _ in range(_WARM_UP + runs)][_WARM_UP:]
    symbolic = bool(graph.inputs) and graph.inputs[0].rank > 0 and not isinstance(graph.inputs[0].shape[0], int)
    rows = int(types[0].shape[0]) if symbolic else 1  # type: ignore[arg-type]
    device = f"{compiled.device.platform} ({compiled.device.device_kind})"
    compile_time = max(first - statistics.median(calls), 0.0)
    shapes = ", ".join(map(str, types))
    return Timing(compiled.graph.name, device, trace, lower, compile_time, tuple(calls), rows, shapes)


def _time(compiled: Compiled, args: Any) -> float:
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    return time.perf_counter() - start


def _random(type_: TensorType, draw: np.random.Generator) -> np.ndarray:
    """Normal floats; zeros and ones as integers, which are valid wherever an index is."""
    shape = tuple(int(d) for d in type_.shape)  # type: ignore[arg-type]
    if is_float(type_.dtype) or type_.dtype.kind == "c":
        return draw.standard_normal(shape).astype(type_.dtype)
    return draw.integers(0, 2, shape).astype(type_.dtype)


def format_timing(timing: Timing) -> str:
    """The lines that ``lamina bench`` prints."""
    low, high = percentile(timing.calls, 10), percentile(timing.calls, 90)
    unit = "rows" if timing.rows != 1 else "calls"
    return "\n".join(
        [
            f"{timing.name} on {timing.device}, inputs {timing.shapes or 'none'}",
            f"compilation  trace and passes {_ms(timing.trace)}, StableHLO {_ms(timing.lower)}, XLA "
            f"{_ms(timing.compile)}",
            f"call         median {_ms(timing.median)}, p10 {_ms(low)}, p90 {_ms(high)} ({len(timing.calls)} calls)",
            f"throughput   {timing.rows / timing.median:,.0f} {unit}/s",
        ]
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"
