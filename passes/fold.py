"""The pass `fold`: what is linear and fixed is folded into the kernel before it, or into one kernel."""

from __future__ import annotations

from ..ir.graph import Module
from .manager import Context, Pass, apply_rules, register
from .rules import batch_norm, dots


def _run(module: Module, context: Context) -> bool:
    changed = apply_rules(module, context, batch_norm.RULES)
    if dots.MERGE_DOTS not in context.off:
        for graph in module.functions.values():
            changed |= dots.merge_dots(graph, context.log)
    return changed


FOLD = register(
    Pass(
        "fold",
        "linear operations on parameters come together: batch_norm with the kernel before it, narrow dots in one",
        _run,
        keeps=("signature", "primitive", "static", "call_free"),
        rules=tuple(batch_norm.RULES),
        steps=(dots.MERGE_DOTS,),
    )
)
