"""Where an error begins: bisection over graphs that stop early."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...ir import Module, Value
from ...ir.binding import bind_symbols, graph_types
from .compare import difference
from .cut import cut, frontier
from .reference import evaluate_wide
from .report import Offender
from .runners import Run, run_checked


def locate(
    module: Module,
    make: Callable[[Module], Run],
    inputs: Sequence[np.ndarray],
    parameters: dict[str, np.ndarray],
    bound: Callable[[np.dtype], float],
) -> Offender | None:
    """The first node whose results are outside the bound while those before it are within.

    The graph is cut where half of its nodes are left, again and again: a cut is bad where anything that the rest takes
    from the part before is outside the bound. Some ten cuts are run, whatever the length of the graph.

    Args:
        module: without calls.
        make: what makes a runner of a module.
        bound: the largest relative error by element type.

    Returns None where no cut is bad: the error shows only while the graph is whole.
    """
    nodes = module.main.nodes

    def worst(values: Sequence[Value]) -> tuple[float, Value] | None:
        """The largest relative error that is outside its bound, and whose."""
        part = cut(module, values)
        results = run_checked(make(part), inputs, part)
        wanted = evaluate_wide(module, inputs, parameters, values)
        errors = [difference(a, b).relative for a, b in zip(results, wanted, strict=True)]
        bad = [(e, i) for i, (e, v) in enumerate(zip(errors, values, strict=True)) if not e <= bound(v.dtype)]
        return (max(bad)[0], values[max(bad)[1]]) if bad else None

    good, bad = 0, len(nodes)
    found = worst(frontier(module, bad))
    if found is None:
        return None
    while bad - good > 1:
        middle = (good + bad) // 2
        here = worst(frontier(module, middle))
        if here is None:
            good = middle
        else:
            bad, found = middle, here
    node = nodes[bad - 1]
    types = [*graph_types(module.main)]
    arrays = [*inputs, *(parameters[p.name] for p in module.main.parameters)]
    sizes = bind_symbols([(n, t, a.shape) for (n, t), a in zip(types, arrays, strict=True)])
    shown = ", ".join(str(r.type.substitute(sizes)) for r in node.results)
    frames = node.location.frames
    return Offender(" + ".join(node.location.layers), node.op.name, shown, found[0], str(frames[0]) if frames else "")
