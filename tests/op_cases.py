"""For every op, uses of it: small graphs of one node and arrays for their inputs, drawn by hypothesis.

``CASES[name]`` is a strategy of ``(graph, inputs)``; the graph has no parameters. Arrays hold the values that break
things (NaN, infinities, -0, the ends of integer types) where the op's meaning covers them, and no subnormal numbers,
which targets may flush. The registry serves every comparison of a target, a pass or a derivative with the meaning in
NumPy.

A new op gets its case in one of the files op_cases_*.py.
"""

from __future__ import annotations

import op_cases_composite
import op_cases_math
import op_cases_recurrent
import op_cases_structure
from op_draw import CASES, Draw, case, region, use

from lamina.ir import OPS

__all__ = [
    "CASES",
    "ELSEWHERE",
    "Draw",
    "case",
    "missing",
    "region",
    "use",
    "op_cases_composite",
    "op_cases_math",
    "op_cases_recurrent",
    "op_cases_structure",
]


#: Ops that need more than one graph on one device, and so have tests of their own: why.
ELSEWHERE = {
    "call": "needs a module",
    "custom_call": "has no meaning of its own",
    "all_reduce": "several devices",
    "all_gather": "several devices",
    "reduce_scatter": "several devices",
    "all_to_all": "several devices",
    "collective_permute": "several devices",
    "partition_id": "several devices",
}


def missing() -> list[str]:
    """Ops that have neither a case nor a reason to have none."""
    return [name for name in OPS if name not in CASES and name not in ELSEWHERE]
