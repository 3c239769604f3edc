"""The rule for shardings, in Shardy's dialect."""

from __future__ import annotations

from typing import Any

from ..ir.graph import Node
from .emitter import Emitter
from .mlir import ir, sharding_attribute


def constraint(emitter: Emitter, node: Node, x: ir.Value) -> Any:
    """``sdy.sharding_constraint``; the operand itself where the program is for one device."""
    if not emitter.mesh:
        return x
    attribute = sharding_attribute(node.attributes["sharding"], emitter.mesh)
    return emitter.create("sdy.sharding_constraint", [x], emitter.result_types(node), {"sharding": attribute})
