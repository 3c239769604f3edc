"""The pass `simplify`: exact rewrites, constant folding, common subexpressions and dead code, until nothing changes."""

from __future__ import annotations

from ..ir.graph import Module
from .cse import merge_equal
from .manager import Context, Option, Pass, register
from .rewrite import drop_dead, rewrite
from .rules import algebra, constants, control, shapes

RULES = (*algebra.RULES, *shapes.RULES, *constants.RULES, *control.RULES)


def _run(module: Module, context: Context) -> bool:
    rules = context.enabled(RULES)
    changed = False
    for graph in module.functions.values():
        for turn in range(context["rounds"]):
            cleaned = "dead_code" not in context.off and drop_dead(graph, context.log)
            cleaned |= "common_subexpression" not in context.off and merge_equal(graph, context.log)
            changed |= cleaned
            if turn and not cleaned:
                break  # the rules left nothing for themselves
            if not rewrite(graph, rules, context.log, context.options):
                break  # once is enough for the other two where no rule makes them new work
            changed = True
    return changed


SIMPLIFY = register(
    Pass(
        "simplify",
        "exact algebra, constant folding, shorter shape chains, common subexpressions, dead code",
        _run,
        {
            "fold_limit": Option(constants.FOLD_LIMIT, "most elements of a constant that is computed while compiling"),
            "rounds": Option(8, "most repetitions"),
        },
        keeps=("signature", "primitive", "static", "call_free"),
        rules=RULES,
        steps=("dead_code", "common_subexpression"),
    )
)
