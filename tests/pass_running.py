"""Running modules before and after passes in NumPy, prepared parameters included, and comparing the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lamina.ir import Graph, Module, evaluate, parse, verify
from lamina.ir.types import is_float
from lamina.passes import run_pipeline, split_prepared


def arrays_of(graph: Graph, dims: Mapping[str, int] | None = None, seed: int = 0) -> tuple[list[Any], dict[str, Any]]:
    """Random inputs, and random positive parameters by name, of the types of ``graph``."""
    rng = np.random.default_rng(seed)

    def draw(type_: Any, low: float) -> np.ndarray:
        t = type_.substitute(dims or {})
        if not is_float(t.dtype):
            return rng.integers(0, 2, t.shape).astype(t.dtype)
        return rng.uniform(low, 2, t.shape).astype(t.dtype)

    return [draw(v.type, -2) for v in graph.inputs], {p.name: draw(p.type, 0.5) for p in graph.parameters}


def run(module: Module, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Outputs and updates of a module; ``prepare`` runs first if there is one. ``parameters``: the original ones."""
    prepare, module = split_prepared(module)
    known = dict(parameters)
    if prepare is not None:
        values, _ = evaluate(prepare, parameters={p.name: parameters[p.name] for p in prepare.parameters})
        for p in module.main.parameters:
            if isinstance(p.key, tuple) and p.key[0] == "prepared":
                known[p.name] = values[p.key[1]]
    return evaluate(module, *inputs, parameters={p.name: known[p.name] for p in module.main.parameters})


def optimized(text: str, pipeline: str, target: str = "cpu") -> tuple[Module, Module, list[Any]]:
    """The module of ``text``, the same after ``pipeline`` (verified after each pass), and the records."""
    module = parse(text)
    verify(module)
    after, records = run_pipeline(module, pipeline, verify=True, target=target)
    return module, after, records


def assert_same_results(
    before: Module,
    after: Module,
    dims: Mapping[str, int] | None = None,
    ulps: float = 0,
    seed: int = 0,
    least: float = 0,
) -> None:
    """Compare outputs and updates on random arrays: bit for bit, or within ``ulps`` * eps of the largest magnitude.

    That is taken to be ``least`` at least: where outputs may be differences of numbers that large.
    """
    inputs, parameters = arrays_of(before.main, dims, seed)
    want, want_updates = run(before, inputs, parameters)
    got, got_updates = run(after, inputs, parameters)
    assert got_updates.keys() == want_updates.keys()
    pairs = [*zip(want, got, strict=True), *((want_updates[n], got_updates[n]) for n in want_updates)]
    for a, b in pairs:
        assert a.dtype == b.dtype and a.shape == b.shape
        if not ulps or not is_float(a.dtype):
            np.testing.assert_array_equal(b, a)
            continue
        bound = ulps * float(np.finfo(a.dtype).eps) * float(np.abs(a[np.isfinite(a)]).max(initial=least))
        np.testing.assert_allclose(b, a, rtol=0, atol=bound)
