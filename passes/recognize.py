"""The pass `recognize`: composites that were written out by hand, or came in as primitives, get their names back."""

from __future__ import annotations

from .manager import Pass, apply_rules, register
from .rules import composites

RECOGNIZE = register(
    Pass(
        "recognize",
        "relu, silu, gelu, softmax, layer_norm and others written out in primitives become composites",
        lambda module, context: apply_rules(module, context, composites.RULES),
        keeps=("signature", "static", "call_free"),
        rules=tuple(composites.RULES),
    )
)
