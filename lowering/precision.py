"""How exactly XLA is to multiply float32: on a GPU or TPU its own default is fewer bits than the type has.

That default is TensorFloat-32 on GPUs that have it (10 bits of mantissa in place of 23) and bfloat16 on TPUs (7). So
StableHLO always says the precision: that of the element type, unless the user asks for less by jax's own setting,
``jax.default_matmul_precision``. CPUs compute in the element type whatever is said.
"""

from __future__ import annotations

import jax

from ..ir.errors import UnsupportedError
from ..ir.graph import Node

#: What ``jax.default_matmul_precision`` may be, and StableHLO's name for it.
LEVELS = {
    "highest": "highest",
    "float32": "highest",
    "high": "high",
    "tensorfloat32": "high",
    "bfloat16_3x": "high",
    "default": "default",
    "bfloat16": "default",
    "fastest": "default",
}


def precision_of(node: Node) -> str:
    """The precision that a product or a convolution is emitted with: ``default``, ``high`` or ``highest``.

    Raises:
        UnsupportedError: jax's setting names an algorithm.
    """
    said: str = node.attributes["precision"]
    if said != "default" or all(o.dtype.itemsize < 4 for o in node.operands):
        return said
    chosen = getattr(jax.config, "jax_default_matmul_precision")  # noqa: B009 (the stubs lack it)
    level = LEVELS.get("highest" if chosen is None else chosen)
    if level is None:
        raise UnsupportedError(
            f"jax_default_matmul_precision={chosen!r} names an algorithm, which programs of lamina do not take; set "
            f"one of {', '.join(LEVELS)}, or None for all bits of the element type"
        )
    return level
