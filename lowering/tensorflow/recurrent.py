"""Rules of the recurrent steps: few ops each, since a loop pays for every one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.graph import Node
from ..source import Rule
from .writer import TensorFlowWriter


def _projected(writer: TensorFlowWriter, x: str, kernel: str, bias: str | None, hint: str) -> str:
    product = writer.assign(f"{x} @ {kernel}", hint)
    return product if bias is None else writer.assign(f"tf.nn.bias_add({product}, {bias})", hint)


def hoisted(writer: TensorFlowWriter, node: Node, fixed: Sequence[str], xs: Sequence[str]) -> list[str]:
    """Write, before the loop of a scan, the products of all inputs and kernels whose steps are in it, as one product.

    Returns texts of arrays to be scanned beside ``xs``, the scanned arrays. A slice of the i-th is what the i-th of
    :func:`steps_on_inputs` is to find in ``writer.projected``.
    """
    region, made = node.regions[0], []
    index = {value: i for i, value in enumerate(region.inputs)}
    first = node.attributes["consts"] + node.attributes["carries"]
    for step in steps_on_inputs(node):
        x = xs[index[step.operands[0]] - first]
        operands = step.operands[_KERNEL[step.op.name] :]
        kernel, _, *bias = (fixed[index[v]] if v in index and index[v] < len(fixed) else "" for v in operands)
        rows, size = step.operands[0].shape
        if bias and step.op.name == "gru_step":
            bias[0], recurrent = (writer.assign(f"{bias[0]}[{i}]", name) for i, name in enumerate(_GRU_BIASES))
            writer.recurrent_biases[step] = recurrent
        flat = writer.assign(f"tf.reshape({x}, [-1, {writer.dim(size)}])", "rows")
        product = _projected(writer, flat, kernel, bias[0] if bias else None, "projected")
        width = operands[0].shape[1]
        made.append(writer.assign(writer.reshaped(product, (node.attributes["length"], rows, width)), "projected"))
    return made


def steps_on_inputs(node: Node) -> list[Node]:
    """The recurrent steps in a scan that take a slice of a scanned array, and a kernel and bias that stay."""
    a, region = node.attributes, node.regions[0]
    fixed, slices = region.inputs[: a["consts"]], region.inputs[a["consts"] + a["carries"] :]
    found = []
    for step in region.nodes:
        if step.op.name in _KERNEL and step.operands[0] in slices:
            kernel, _, *bias = step.operands[_KERNEL[step.op.name] :]
            if all(v in fixed for v in (kernel, *bias)):
                found.append(step)
    return found


#: Where the kernel is among the operands of a step.
_KERNEL = {"lstm_step": 3, "gru_step": 2}
#: What the rows of a GRU's bias are.
_GRU_BIASES = ("input_bias", "recurrent_bias")


def _lstm_step(
    writer: TensorFlowWriter, node: Node, x: str, h: str, c: str, kernel: str, recurrent: str, *bias: str
) -> Any:
    product = writer.projected.get(node) or _projected(writer, x, kernel, bias[0] if bias else None, "z")
    return lstm_gates(writer, node, product, h, c, recurrent)


def lstm_gates(writer: TensorFlowWriter, node: Node, product: str, h: str, c: str, recurrent: str) -> list[str]:
    """The step from the input's part of the gates."""
    z = writer.assign(f"{product} + {h} @ {recurrent}", "z")
    i, f, g, o = (writer.fresh(name) for name in ("i", "f", "g", "o"))
    writer.line(f"{i}, {f}, {g}, {o} = tf.split({z}, 4, axis=1)")
    for name, function in ((i, "sigmoid"), (f, "sigmoid"), (g, "tanh"), (o, "sigmoid")):  # side by side on threads
        writer.line(f"{name} = tf.{function}({name})")
    carry = writer.assign(f"{f} * {c} + {i} * {g}", "carry")
    hidden = writer.assign(f"{o} * tf.tanh({carry})", "hidden")
    return [hidden, carry, *([f"tf.concat([{i}, {f}, {g}, {o}], 1)"] if node.attributes["gates"] else [])]


def _gru_step(writer: TensorFlowWriter, node: Node, x: str, h: str, kernel: str, recurrent: str, *bias: str) -> Any:
    product = writer.projected.get(node) or _projected(writer, x, kernel, f"{bias[0]}[0]" if bias else None, "p")
    recurrent_bias = writer.recurrent_biases.get(node) or (f"{bias[0]}[1]" if bias else None)
    return gru_gates(writer, node, product, h, recurrent, recurrent_bias)


def gru_gates(
    writer: TensorFlowWriter, node: Node, product: str, h: str, recurrent: str, bias: str | None
) -> list[str]:
    """The step from the input's part of the gates."""
    q = _projected(writer, h, recurrent, bias, "q")
    units = writer.dim(node.operands[1].shape[1])
    pzr, pg, qzr, qg, z, r = (writer.fresh(n) for n in ("pzr", "pg", "qzr", "qg", "z", "r"))
    for parts, whole in ((f"{pzr}, {pg}", product), (f"{qzr}, {qg}", q)):
        writer.line(f"{parts} = tf.split({whole}, [2 * {units}, {units}], axis=1)")
    writer.line(f"{z}, {r} = tf.split(tf.sigmoid({pzr} + {qzr}), 2, axis=1)")
    candidate = writer.assign(f"tf.tanh({pg} + {r} * {qg})", "candidate")
    new = writer.assign(f"{candidate} + {z} * ({h} - {candidate})", "hidden")  # z h + (1 - z) candidate, an op less
    return [new, *([f"tf.concat([{z}, {r}, {candidate}, {qg}], 1)"] if node.attributes["gates"] else [])]


RULES: dict[str, Rule] = {"lstm_step": _lstm_step, "gru_step": _gru_step}
