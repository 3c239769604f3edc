"""Functions put in place of their calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.binding import simplify_guards
from ..ir.dims import Dim, DimLike, free_symbols, substitute, symbol
from ..ir.errors import PassError
from ..ir.graph import Graph, Guard, Module, Node, Update, Value, clone
from ..ir.location import UNKNOWN, merge
from ..ir.types import TensorType
from .manager import Context, Option, Pass, register
from .rewrite import Log, have_types

Wanted = Callable[[Node, Graph], bool]


def inline_calls(module: Module, wanted: Wanted = lambda node, callee: True, log: Log | None = None) -> bool:
    """Replace calls by the bodies of what they call, in place; functions that nobody calls any more go.

    Args:
        wanted: ``(call, callee) -> bool``, which calls; default all.
        log: receives the names of inlined functions.

    Returns whether any call was replaced. Raises :class:`PassError` for functions that call each other in a circle.
    """
    changed = False
    for name, graph in module.functions.items():
        guards: list[Guard] = []
        changed |= _inline(module, graph, wanted, log if log is not None else Log(), (name,), guards)
        graph.guards = list(dict.fromkeys([*graph.guards, *guards]))
    if changed:
        drop_uncalled(module)
    return changed


def _inline(module: Module, graph: Graph, wanted: Wanted, log: Log, path: tuple[str, ...], guards: list[Guard]) -> bool:
    """Inline the calls in a function or region; ``path``: functions around it; ``guards`` receives those inlined."""
    new: dict[Value, Value] = {}
    nodes: list[Node] = []
    changed = False
    for node in graph.nodes:
        node.operands = [new.get(v, v) for v in node.operands]
        for region in node.regions:
            changed |= _inline(module, region, wanted, log, path, guards)
        callee = module.functions.get(node.attributes["callee"]) if node.op.name == "call" else None
        if callee is None or not wanted(node, callee):
            nodes.append(node)
            continue
        name = node.attributes["callee"]
        if name in path:
            raise PassError(f"functions call each other in a circle: {' -> '.join([*path, name])}")
        body = _body(callee, node)
        guards += body.guards
        _inline(module, body, wanted, log, (*path, name), guards)
        given = dict(zip(body.inputs, node.operands, strict=True))
        for inner in body.nodes:
            inner.operands = [given.get(v, v) for v in inner.operands]
        nodes += body.nodes
        new.update(zip(node.results, (given.get(v, v) for v in body.outputs), strict=True))
        log.count(name, node.location)
        changed = True
    graph.nodes = nodes
    graph.outputs = [new.get(v, v) for v in graph.outputs]
    graph.updates = [Update(u.parameter, new.get(u.value, u.value)) for u in graph.updates]
    return changed


def _body(callee: Graph, node: Node) -> Graph:
    """A copy of the callee with its symbols expressed in those of the call, located at the call."""
    dims = match_symbols([v.type for v in callee.inputs], [v.type for v in node.operands], node)
    body = clone(callee, dims=dims)
    body.guards = simplify_guards(callee.guards, dims)
    for inner in body.walk():
        inner.location = merge((node.location, inner.location)) if inner.location is not UNKNOWN else node.location
    if not have_types(body.outputs, node.results):
        raise PassError(
            f"{node} should give {[str(r.type) for r in node.results]}, its function gives "
            f"{[str(v.type) for v in body.outputs]}"
        )
    return body


def match_symbols(declared: Sequence[TensorType], given: Sequence[TensorType], node: object) -> dict[str, DimLike]:
    """The values of a function's symbols in a call, each a dimension of the caller. Raises :class:`PassError`, which
    names ``node``."""
    found: dict[str, DimLike] = {}
    pairs = [(d, g) for a, b in zip(declared, given, strict=True) for d, g in zip(a.shape, b.shape, strict=True)]
    for dim, size in pairs:
        names = free_symbols(dim)
        if len(names) == 1 and dim == symbol(next(iter(names))):
            found.setdefault(next(iter(names)), size)
    for dim, size in pairs:
        if (substitute(dim, found) if isinstance(dim, Dim) else dim) != size:
            raise PassError(f"{node}: the function takes {list(map(str, declared))}, received {list(map(str, given))}")
    return found


def drop_uncalled(module: Module) -> None:
    """Remove functions that neither ``main`` nor ``prepare`` calls, directly or through others."""
    pending, called = ["main", "prepare"], set()
    while pending:
        name = pending.pop()
        if name in called or name not in module.functions:
            continue
        called.add(name)
        pending += [n.attributes["callee"] for n in module.functions[name].walk() if n.op.name == "call"]
    for name in [n for n in module.functions if n not in called]:
        del module.functions[name]


def _run(module: Module, context: Context) -> bool:
    calls: dict[str, int] = {}
    for node in module.walk():
        if node.op.name == "call":
            calls[node.attributes["callee"]] = calls.get(node.attributes["callee"], 0) + 1

    def wanted(node: Node, callee: Graph) -> bool:
        return (
            context["all"]
            or calls.get(node.attributes["callee"]) == 1
            or sum(1 for _ in callee.walk()) <= context["limit"]
        )

    return inline_calls(module, wanted, context.log)


INLINE = register(
    Pass(
        "inline",
        "functions that are called once, or small ones, are put in place of their calls",
        _run,
        {
            "limit": Option(16, "most nodes of a function that is called more than once"),
            "all": Option(False, "inline every call"),
        },
        keeps=("signature", "static"),
    )
)
