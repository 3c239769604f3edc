"""Regions of scalars as functions in the source."""

from __future__ import annotations

from ...ir.graph import Graph
from .writer import TensorFlowWriter, tf_type


def written(writer: TensorFlowWriter, region: Graph, hint: str = "body") -> str:
    """Write a region as a function that gives a list; its name."""
    name = writer.fresh(hint)
    arguments = [writer.fresh(v.name or "a") for v in region.inputs]
    with writer.block(f"def {name}({', '.join(arguments)}):"):
        results = writer.graph(region, arguments)
        writer.line(f"return [{', '.join(results)}]")
    return name


def on_tensors(writer: TensorFlowWriter, region: Graph, hint: str = "body") -> str:
    """Write a region of scalars as a function of tensors, applied at each place; the text of the function."""
    name = written(writer, region, hint)
    if all(node.op.elementwise or node.op.name in ("constant", "select", "clamp") for node in region.nodes):
        # A result that no argument reaches has to get their shape.
        if all(_reaches(region, v) for v in region.outputs):
            return name
    types = ", ".join(tf_type(v.dtype) for v in region.outputs)
    return f"{writer.helper('each')}({name}, [{types}])"


def _reaches(region: Graph, value: object) -> bool:
    if value in region.inputs:
        return True
    made = getattr(value, "producer", None)
    return made is not None and any(_reaches(region, v) for v in made.operands)
