"""Rules of control flow: loops and ifs of Python, which TorchScript has too."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim
from ...ir.graph import Graph, Node
from ...ir.types import BOOL
from ..source import Rule
from . import recurrent
from .writer import TorchWriter


def _set(writer: TorchWriter, names: Sequence[str], texts: Sequence[str]) -> None:
    """Assign all names at once, but for those that stay."""
    changed = [(n, t) for n, t in zip(names, texts, strict=True) if n != t]
    if changed:
        writer.line(f"{', '.join(n for n, _ in changed)} = {', '.join(t for _, t in changed)}")


def _started(writer: TorchWriter, graph: Graph, operands: Sequence[str], first: int) -> list[str]:
    """Variables for carried values."""
    return [writer.assign(o, v.name or "carry") for o, v in zip(operands, graph.inputs[first:], strict=False)]


def _local(writer: TorchWriter, operands: Sequence[str]) -> list[str]:
    """Names for what a loop reads in every turn."""
    return [writer.named(o, o.rsplit(".", 1)[-1] if "(" not in o else "fixed") for o in operands]


def while_(writer: TorchWriter, node: Node, *operands: str) -> list[str]:
    """``while bool(...)``, or ``while True`` with a way out where the condition takes more than a line."""
    test, body = node.regions
    count = node.attributes["consts"]
    consts = _local(writer, operands[:count])
    names = _started(writer, test, operands[count:], count)
    with writer.block("while True:"):
        head = len(writer.lines)
        (condition,) = writer.graph(test, [*consts, *names])
        if not writer.as_head(head, condition, "while bool({}):"):
            with writer.block(f"if not bool({condition}):"):
                writer.line("break")
        _set(writer, names, writer.graph(body, [*consts, *names]))
        if len(writer.lines) == head:
            writer.line("pass")
    return names


def scan(writer: TorchWriter, node: Node, *operands: str) -> list[str]:
    """``for i in range(...)`` over lists of slices; what a turn yields is collected in a list."""
    native = recurrent.whole(writer, node, operands)
    if native is not None:
        return native
    a, body = node.attributes, node.regions[0]
    first, after = a["consts"], a["consts"] + a["carries"]
    length = a["length"]
    consts = _local(writer, operands[:first])
    names = _started(writer, body, operands[first:after], first)
    slices = [writer.assign(f"{x}.unbind(0)", "slices") for x in operands[after:]]
    yielded = body.outputs[a["carries"] :]
    lists = [writer.assign("[]", "ys") for _ in yielded]
    if length == 0:
        return [*names, *(writer.full((0, *v.shape), "False" if v.dtype == BOOL else "0", v.dtype) for v in yielded)]
    turn, count = writer.fresh("i"), writer.dim(length)
    turns = f"range({count} - 1, -1, -1)" if a["reverse"] else f"range({count})"
    with writer.block(f"for {turn} in {turns}:"):
        xs = [writer.assign(f"{s}[{turn}]", "x") for s in slices]
        results = writer.graph(body, [*consts, *names, *xs])
        for name, text in zip(lists, results[a["carries"] :], strict=True):
            writer.line(f"{name}.append({text})")
        _set(writer, names, results[: a["carries"]])
        if not body.outputs:
            writer.line("pass")
    stacked = []
    for name, value in zip(lists, yielded, strict=True):
        if a["reverse"]:
            writer.line(f"{name}.reverse()")
        text = f"torch.stack({name})"
        none = writer.full((0, *value.shape), "False" if value.dtype == BOOL else "0", value.dtype)
        if isinstance(length, Dim):
            text += f" if {count} > 0 else {none}"
        stacked.append(text)
    return [*names, *stacked]


def cond(writer: TorchWriter, node: Node, index: str, *operands: str) -> list[str]:
    """``if`` and ``elif``; the last branch takes what is out of range."""
    names = [writer.fresh(v.name or "chosen") for v in node.results]
    operands = tuple(_local(writer, operands))
    branches = node.regions
    if node.operands[0].dtype == BOOL:
        heads = [f"if bool({index}):", "else:"]
    else:
        chosen = writer.assign(f"int({index})", "branch")
        heads = [f"{'if' if i == 0 else 'elif'} {chosen} == {i}:" for i in range(len(branches) - 1)]
        heads.append("else:" if heads else "if True:")
    if len(branches) == 1:
        return writer.graph(branches[0], operands)
    for head, branch in zip(heads, branches, strict=True):
        with writer.block(head):
            texts = writer.graph(branch, operands)
            for name, text in zip(names, texts, strict=True):
                writer.line(f"{name} = {text}")
            if not names:
                writer.line("pass")
    return names


def inlined(writer: TorchWriter, node: Node, *operands: str) -> list[str]:
    """The first region, in place."""
    return writer.graph(node.regions[0], operands)


RULES: dict[str, Rule] = {
    "while": while_,
    "scan": scan,
    "cond": cond,
    "composite": inlined,
    "remat": inlined,
    "custom_vjp": inlined,
    "optimization_barrier": lambda writer, node, *xs: list(xs),
    "sharding_constraint": lambda writer, node, x: x,
}
