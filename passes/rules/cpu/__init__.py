"""What XLA's CPU backend runs slowly, rewritten into what it runs fast; docs/optimizations.md has the measurements."""

from __future__ import annotations

from . import arithmetic, control, convolution, gradients, recurrent, reduction, resize, sorting

RULES = (
    *convolution.RULES,
    *gradients.RULES,
    *resize.RULES,
    *reduction.RULES,
    *sorting.RULES,
    *recurrent.RULES,
    *arithmetic.RULES,
    *control.RULES,
)
