"""LSTM and GRU: their steps, and scans that are nothing but such steps, which torch runs as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.graph import Graph, Node
from ..source import Rule
from .writer import TorchWriter


def _decomposed(writer: TorchWriter, node: Node, operands: Sequence[str]) -> list[str]:
    assert node.op.decompose is not None
    return writer.expand(node.op.decompose, node, operands)


def lstm_step(writer: TorchWriter, node: Node, x: str, h: str, c: str, kernel: str, recurrent: str, *bias: str) -> Any:
    """Two products, and the functions of the gates."""
    if node.operands[0].dtype.itemsize < 4:
        return _decomposed(writer, node, [x, h, c, kernel, recurrent, *bias])
    given = f"F.linear({x}, {kernel}.t(), {bias[0]})" if bias else f"torch.matmul({x}, {kernel})"
    z = writer.assign(f"torch.addmm({given}, {h}, {recurrent})", "z")
    i, f, g, o = (writer.fresh(name) for name in ("i", "f", "g", "o"))
    writer.line(f"{i}, {f}, {g}, {o} = torch.chunk({z}, 4, 1)")
    functions = [(i, "sigmoid"), (f, "sigmoid"), (g, "tanh"), (o, "sigmoid")]
    i, f, g, o = (writer.assign(f"torch.{function}({name})", name) for name, function in functions)
    c = writer.assign(f"{f} * {c} + {i} * {g}", "c")
    h = writer.assign(f"{o} * torch.tanh({c})", "h")
    return [h, c, f"torch.cat([{i}, {f}, {g}, {o}], 1)"] if node.attributes["gates"] else [h, c]


def gru_step(writer: TorchWriter, node: Node, x: str, h: str, kernel: str, recurrent: str, *bias: str) -> Any:
    """Two products, and the functions of the gates."""
    if node.operands[0].dtype.itemsize < 4:
        return _decomposed(writer, node, [x, h, kernel, recurrent, *bias])
    given, own = (f"{bias[0]}[0]", f"{bias[0]}[1]") if bias else ("None", "None")
    p = writer.assign(f"F.linear({x}, {kernel}.t(), {given})", "p")
    q = writer.assign(f"F.linear({h}, {recurrent}.t(), {own})", "q")
    units = node.results[0].shape[1]
    two = writer.dim(2 * units)
    both = writer.assign(f"torch.sigmoid({p}[:, :{two}] + {q}[:, :{two}])", "gates")
    z, r = writer.fresh("z"), writer.fresh("r")
    writer.line(f"{z}, {r} = torch.chunk({both}, 2, 1)")
    inner = writer.assign(f"{q}[:, {two}:]", "inner")
    n = writer.assign(f"torch.tanh({p}[:, {two}:] + {r} * {inner})", "n")
    new = writer.assign(f"{z} * {h} + (1.0 - {z}) * {n}", "h")
    return [new, f"torch.cat([{z}, {r}, {n}, {inner}], 1)"] if node.attributes["gates"] else [new]


def only_step(node: Node) -> Node | None:
    """The step that a scan consists of: its input is the scanned array, weights are constants, states are carried."""
    a, body = node.attributes, node.regions[0]
    if len(body.nodes) != 1 or body.nodes[0].op.name not in ("lstm_step", "gru_step") or a["length"] == 0:
        return None
    step = body.nodes[0]
    states = 2 if step.op.name == "lstm_step" else 1
    first = a["consts"]
    carried, scanned = body.inputs[first : first + states], body.inputs[first + states :]
    fits = (
        not step.attributes["gates"]
        and a["carries"] == states
        and step.operands[0].dtype.itemsize >= 4
        and [step.operands[0]] == scanned
        and step.operands[1 : 1 + states] == carried
        and all(v in body.inputs[:first] for v in step.operands[1 + states :])
        and body.outputs[:states] == list(step.results)
        and all(v is step.results[0] for v in body.outputs[states:])
    )
    return step if fits else None


def whole(writer: TorchWriter, node: Node, operands: Sequence[str]) -> list[str] | None:
    """A scan of nothing but LSTM or GRU steps by ``torch.lstm`` or ``torch.gru``; None for any other."""
    step = only_step(node)
    if step is None:
        return None
    body: Graph = node.regions[0]
    texts = dict(zip(body.inputs, operands, strict=True))
    is_lstm = step.op.name == "lstm_step"
    x, *states = (texts[v] for v in step.operands[: 3 if is_lstm else 2])
    kernel, recurrent, *bias = (texts[v] for v in step.operands[1 + len(states) :])
    if is_lstm:
        weights = [f"{kernel}.t()", f"{recurrent}.t()", *(f"{t}" for b in bias for t in (b, f"torch.zeros_like({b})"))]
    else:
        weights = [_reordered(writer, f"{text}.t()", 0) for text in (kernel, recurrent)]
        for text in bias:
            both = writer.assign(_reordered(writer, text, 1), "bias")
            weights += [f"{both}[0]", f"{both}[1]"]
    reverse = node.attributes["reverse"]
    y, *last = (writer.fresh(name) for name in ("y", "h", "c")[: 1 + len(states)])
    start = [f"{text}.unsqueeze(0)" for text in states]
    given = f"[{', '.join(start)}]" if is_lstm else start[0]
    source = f"{x}.flip([0])" if reverse else x
    writer.line(
        f"{y}, {', '.join(last)} = torch.{'lstm' if is_lstm else 'gru'}({source}, {given}, [{', '.join(weights)}], "
        f"{bool(bias)}, 1, 0.0, False, False, False)"
    )
    yielded = f"{y}.flip([0])" if reverse else y
    return [*(f"{text}.squeeze(0)" for text in last), *([yielded] * (len(body.outputs) - len(states)))]


def _reordered(writer: TorchWriter, text: str, axis: int) -> str:
    """Gates z, r, h as torch has them: r, z, h."""
    z, r, n = (writer.fresh(name) for name in ("z", "r", "n"))
    writer.line(f"{z}, {r}, {n} = torch.chunk({text}, 3, {axis})")
    return f"torch.cat([{r}, {z}, {n}], {axis})"


RULES: dict[str, Rule] = {"lstm_step": lstm_step, "gru_step": gru_step}
