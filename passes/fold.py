"""The pass `fold`: what is linear and fixed is folded into the kernel before it."""

from __future__ import annotations

from .manager import Pass, apply_rules, register
from .rules import batch_norm

FOLD = register(
    Pass(
        "fold",
        "linear operations on parameters are folded together: batch_norm into the kernel before it",
        lambda module, context: apply_rules(module, context, batch_norm.RULES),
        keeps=("signature", "primitive", "static", "call_free"),
        rules=tuple(batch_norm.RULES),
    )
)
