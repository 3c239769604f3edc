"""What ``lamina dump`` prints: a compiled program at one stage, as text or as plain data for JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..compiled import Compiled
from ..ir import Graph, Module, Node
from ..ir.errors import ArgumentError, GuardError, PassError
from ..ir.text import Printer, attribute_text, type_text
from ..passes import Record, specialize
from ..runtime.hlo import Collective, collectives

STAGES = ("traced", "optimized", "stablehlo", "hlo")


def dump_text(
    compiled: Compiled, stage: str, dims: Mapping[str, int] | None = None, module: Module | None = None
) -> str:
    """The text of a program.

    Args:
        stage: one of :data:`STAGES`; any name where ``module`` is given.
        dims: sizes of symbolic dimensions. StableHLO and HLO need all of them; a graph is printed specialised.
        module: print this one instead of the stage's.

    Raises :class:`ArgumentError` for an unknown stage or dimension, or one that is missing.
    """
    dims = dict(dims or {})
    ensure_trace(compiled, dims)
    if module is None and stage in ("stablehlo", "hlo"):
        return _lowered(compiled, stage, dims)
    return str(module if module is not None else stage_module(compiled, stage, dims))


def dump_json(
    compiled: Compiled, stage: str, dims: Mapping[str, int] | None = None, module: Module | None = None
) -> dict[str, Any]:
    """As :func:`dump_text`, as plain data: functions with nodes or lowered text, and the record of each pass.

    Names of values, types and attributes are written as in the text form.
    """
    dims = dict(dims or {})
    ensure_trace(compiled, dims)
    data: dict[str, Any] = {
        "model": compiled.graph.name,
        "stage": stage,
        "dims": dims,
        "records": [_record(r) for r in compiled.records],
    }
    if module is None and stage in ("stablehlo", "hlo"):
        text = _lowered(compiled, stage, dims)
        exchanged = [asdict(c) for c in collectives(text)] if stage == "hlo" else None
        return data | {"text": text} | ({} if exchanged is None else {"collectives": exchanged})
    found = module if module is not None else stage_module(compiled, stage, dims)
    return data | {"functions": {name: _function(name, graph) for name, graph in found.functions.items()}}


def stage_module(compiled: Compiled, stage: str, dims: Mapping[str, int] | None = None) -> Module:
    """The module at stage ``traced`` or ``optimized``; the latter with its function ``prepare``, where it has one."""
    if stage == "traced":
        return specialize(compiled.graph, dims) if dims else compiled.graph
    if stage != "optimized":
        raise ArgumentError(f"there is no stage {stage!r}; stages: {', '.join(STAGES)}")
    module = compiled.specialized(**dims) if dims else compiled.optimized
    prepare = {"prepare": compiled.prepare} if compiled.prepare is not None else {}
    return Module({**module.functions, **prepare}, module.name)


def graph_after(compiled: Compiled, name: str) -> Module:
    """The module after a pass, of a program compiled with ``keep_graphs=True``.

    Args:
        name: a pass of its pipeline; ``simplify#2`` is the second run of one.

    Raises :class:`PassError`, listing the passes that ran, where none is called so.
    """
    found: dict[str, Record] = {}
    shown: list[str] = []
    for record in compiled.records:
        base = record.name.partition("{")[0]
        count = sum(key.partition("#")[0] == base for key in shown) + 1
        shown.append(base if count == 1 else f"{base}#{count}")
        found |= {shown[-1]: record, f"{base}#{count}": record}
        found.setdefault(record.name, record)
    if name not in found:
        raise PassError(f"no pass {name!r} ran; the pipeline ran {', '.join(shown) or 'none'}")
    after = found[name].after
    if after is None:
        raise PassError("the graphs between the passes were not kept; compile with keep_graphs=True")
    return after


def ensure_trace(compiled: Compiled, dims: Mapping[str, int]) -> None:
    """Where Python needs integers, and so no trace serves all sizes: make the one for ``dims``.

    Raises :class:`GuardError`, with the line that needs them, where ``dims`` is empty.
    """
    try:
        compiled.graph  # noqa: B018
    except GuardError:
        if not dims:
            raise
        compiled.specialized(**dims)


def _lowered(compiled: Compiled, stage: str, dims: dict[str, int]) -> str:
    missing = [s for s in compiled.graph.main.symbols if s not in dims]
    if missing and (stage == "hlo" or dims):
        options = " ".join(f"--dim {s}=32" for s in missing)
        raise ArgumentError(
            f"stage {stage} has concrete shapes{' only' if stage == 'hlo' else ' or open ones'}; give {options}"
        )
    if stage == "stablehlo":
        return compiled.stablehlo(**dims)
    text = compiled.hlo(**dims)
    return "\n".join([*(f"// {line}" for line in collectives_table(collectives(text))), text])


def collectives_table(found: Sequence[Collective]) -> list[str]:
    """What devices exchange, as lines; none for a program of one device."""
    if not found:
        return []
    sums: dict[tuple[str, int, int], list[int]] = {}
    for each in found:
        total = sums.setdefault((each.kind, each.times, each.group_size), [0, 0])
        total[:] = total[0] + each.count, total[1] + each.bytes
    rows = [("collective", "count", "bytes", "times", "devices")]
    rows += [(kind, str(count), str(size), str(n), str(group)) for (kind, n, group), (count, size) in sums.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _record(record: Record) -> dict[str, Any]:
    rules = [{"rule": f.rule, "count": f.count, "layers": dict(f.layers), "source": f.source} for f in record.fired]
    return {
        "pass": record.name,
        "milliseconds": round(record.seconds * 1e3, 3),
        "changed": record.changed,
        "nodes_before": record.nodes_before,
        "nodes_after": record.nodes_after,
        "rules": rules,
    }


def _function(name: str, graph: Graph) -> dict[str, Any]:
    printer = Printer()
    printer.function(name, graph)
    return _graph(graph, printer)


def _graph(graph: Graph, printer: Printer) -> dict[str, Any]:
    inputs = [
        {"name": n, "value": printer.value(v), "type": type_text(v.type)}
        for v, n in zip(graph.inputs, graph.input_names or [""] * len(graph.inputs))
    ]
    outputs = [
        {"name": n, "value": printer.value(v), "type": type_text(v.type)}
        for v, n in zip(graph.outputs, graph.output_names or [""] * len(graph.outputs))
    ]
    return {
        "inputs": inputs,
        "parameters": [
            {"name": p.name, "value": printer.value(p.value), "type": type_text(p.type)} for p in graph.parameters
        ],
        "guards": [{"guard": str(g), "reason": g.reason, "layers": list(g.location.layers)} for g in graph.guards],
        "nodes": [_node(node, printer) for node in graph.nodes],
        "outputs": outputs,
        "updates": [{"parameter": u.parameter.name, "value": printer.value(u.value)} for u in graph.updates],
    }


def _node(node: Node, printer: Printer) -> dict[str, Any]:
    kinds = {name: attribute.kind for name, attribute in node.op.attributes.items()}
    data: dict[str, Any] = {
        "op": node.op.name,
        "operands": [printer.value(v) for v in node.operands],
        "results": [{"value": printer.value(v), "type": type_text(v.type)} for v in node.results],
        "attributes": {k: _plain(attribute_text(v, kinds.get(k, "any")), v) for k, v in node.attributes.items()},
        "layers": list(node.location.layers),
        "source": [str(frame) for frame in node.location.frames[:1]],
    }
    if node.regions:
        data["regions"] = [_graph(region, printer) for region in node.regions]
    return data


def _plain(text: str, value: Any) -> Any:
    """Numbers, truth values and strings as JSON has them; the rest as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    return text if not re.fullmatch(r"\[[\d, -]*\]", text) else [int(n) for n in text[1:-1].split(",") if n]
