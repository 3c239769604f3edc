"""The pass `prepare`: what depends on parameters alone moves into the function ``prepare``.

Its parameters are those of the original module, and output ``i`` is the value of the parameter of the main graph whose
key is ``("prepared", i)``: whoever runs the module runs ``prepare`` once, and again only after a parameter changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from ..ir.dims import DimLike
from ..ir.graph import Graph, Module, Node, Parameter, Update, Value, clone_node
from ..ir.types import TensorType, bit_width
from .manager import Option, Pass, register
from .patterns import is_placed, is_pure, without_ones
from .rewrite import Log, drop_dead

PREPARE = "prepare"
_PREFIX = "prepared/"
#: The same elements under another shape, or repeated: as cheap as reading the operand.
_VIEWS = ("reshape", "broadcast_in_dim", "match_shape", "stop_gradient")
#: Calls need the module; nothing moves across a barrier.
_STAY = ("call", "optimization_barrier")


def split_prepared(module: Module) -> tuple[Graph | None, Module]:
    """Take the function ``prepare`` out of a module that the pass has been over.

    Returns:
        The function and the module without it; None and the module itself where nothing was prepared.
    """
    if not is_prepared(module):
        return None, module
    functions = {name: graph for name, graph in module.functions.items() if name != PREPARE}
    return module.functions[PREPARE], Module(functions, module.name)


def is_prepared(module: Module) -> bool:
    """Whether the module has parameters that its function ``prepare`` gives."""
    return PREPARE in module.functions and any(_index(p) is not None for p in module.main.parameters)


class _Origins(NamedTuple):
    """What a value is computed from: the first parameter in order of operands, and all of them.

    Bit ``i`` of ``all`` is set for parameter ``i`` of the graph: sets of them that grow along a chain cost little.
    """

    first: Parameter | None = None
    all: int = 0


def _index(parameter: Parameter) -> int | None:
    """Which output of ``prepare`` the parameter is, if any."""
    key = parameter.key
    return key[1] if isinstance(key, tuple) and len(key) == 2 and key[0] == "prepared" else None


def prepare(module: Module, growth: int = 2, log: Log | None = None) -> bool:
    """Move what depends on parameters alone out of the main graph, in place; returns whether anything moved.

    Moved are pure computations on parameters that the graph does not update, at the last value that the rest needs.
    Views stay (reshapes, broadcasts), and so does what is larger than ``growth`` times the parameters it comes from.
    Parameters that only ``prepare`` needs leave the main graph.
    """
    main = module.main
    fixed = _fixed_values(main)
    kept, cuts = _cut(main, fixed, growth)
    if not cuts:
        return False
    if PREPARE in module.functions and not is_prepared(module):
        _rename_function(module, PREPARE)
    target = module.functions.setdefault(PREPARE, Graph())
    known = _extend(target, main, cuts)
    names = dict.fromkeys((p.name for p in main.parameters), 0)
    prepared = {p: target.outputs[i] for p in main.parameters if (i := _index(p)) is not None}
    replaced: dict[Value, Value] = {}
    for cut in cuts:
        origin = fixed[cut].first
        assert origin is not None, "what comes from no parameter is not cut"
        parameter = main.add_parameter(_unused(_PREFIX + origin.name.removeprefix(_PREFIX), names), cut.type)
        prepared[parameter], replaced[cut] = known[cut], parameter.value
        if log is not None and cut.producer is not None:
            log.count(PREPARE, cut.producer.location)
    _replace(main, kept, replaced)
    _drop_unused_parameters(main)
    _set_outputs(target, {p: prepared[p] for p in main.parameters if p in prepared})
    return True


def _fixed_values(main: Graph) -> dict[Value, _Origins]:
    """The values that have no other origin than constants and parameters that are not updated, with their origins."""
    updated = {u.parameter.value for u in main.updates}
    fixed = {
        p.value: _Origins(p, 1 << i)
        for i, p in enumerate(main.parameters)
        if p.value not in updated and p.type.is_static
    }
    for node in main.nodes:
        if all(v in fixed for v in node.operands) and _may_move(node):
            fixed.update(dict.fromkeys(node.results, _together([fixed[v] for v in node.operands])))
    return fixed


def _together(origins: list[_Origins]) -> _Origins:
    if len(origins) == 1:
        return origins[0]
    first, every = None, 0
    for each in origins:
        first, every = first or each.first, every | each.all
    return _Origins(first, every)


def _may_move(node: Node) -> bool:
    return (
        node.op.name not in _STAY
        and is_pure(node)
        and not is_placed(node)
        and all(r.type.is_static for r in node.results)
        and not any(inner.op.name in _STAY for region in node.regions for inner in region.walk())
    )


def _cut(main: Graph, fixed: dict[Value, _Origins], growth: int) -> tuple[list[Node], list[Value]]:
    """The nodes that stay in the main graph, and the values that they take from ``prepare``, both in order."""
    sizes = [_bits(p.type) for p in main.parameters]

    @cache
    def limit(origins: int) -> DimLike:
        return growth * sum(sizes[i] for i in _ones(origins))

    def is_worth_it(value: Value) -> bool:
        node, origins = value.producer, fixed[value].all
        if node is None or not origins or _is_view(node):
            return False
        return bool(_bits(value.type) <= limit(origins))

    needed = set(main.results)
    kept: list[Node] = []
    cuts: list[Value] = []
    for node in reversed(main.nodes):
        if node.results and node.results[0] in fixed:
            wanted = [r for r in node.results if r in needed]
            if all(map(is_worth_it, wanted)):  # of a node that nobody wants: it goes
                cuts += reversed(wanted)
                continue
        needed.update(node.operands)
        kept.append(node)
    return kept[::-1], cuts[::-1]


def _ones(bits: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while bits:
        last = bits.bit_length() - 1
        yield last
        bits ^= 1 << last


def _is_view(node: Node) -> bool:
    if node.op.name == "transpose":
        shape, permutation = node.operands[0].shape, node.attributes["permutation"]
        moved = [i for i in permutation if shape[i] != 1]
        return moved == sorted(moved) and without_ones(shape) == without_ones(node.result.shape)
    return node.op.name in _VIEWS


def _bits(type_: TensorType) -> DimLike:
    return type_.size * bit_width(type_.dtype)


def _behind(values: Iterable[Value]) -> list[Value]:
    """``values`` and all that they are computed from, depth first in order of operands."""
    pending: list[Value] = list(values)[::-1]
    seen: dict[Value, None] = {}
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen[value] = None
        if value.producer is not None:
            pending += value.producer.operands[::-1]
    return list(seen)


def _extend(target: Graph, main: Graph, cuts: list[Value]) -> dict[Value, Value]:
    """Add to ``target`` what computes ``cuts``; returns for each value behind them its counterpart there."""
    needed = set(_behind(cuts))
    there = {p.name: p for p in target.parameters}
    new: dict[Value, Value] = {}
    for p in main.parameters:
        index = _index(p)
        if index is not None:
            new[p.value] = target.outputs[index]
        elif p.value in needed:
            new[p.value] = (there.get(p.name) or target.add_parameter(p.name, p.type, p.key)).value
    for node in main.nodes:
        if any(r in needed for r in node.results):
            target.nodes.append(clone_node(node, [new[v] for v in node.operands], new))
    return new


def _replace(main: Graph, kept: list[Node], replaced: dict[Value, Value]) -> None:
    for node in kept:
        node.operands = [replaced.get(v, v) for v in node.operands]
    main.nodes = kept
    main.outputs = [replaced.get(v, v) for v in main.outputs]
    main.updates = [Update(u.parameter, replaced.get(u.value, u.value)) for u in main.updates]


def _drop_unused_parameters(graph: Graph) -> None:
    used = {v for node in graph.nodes for v in node.operands} | set(graph.results)
    used |= {u.parameter.value for u in graph.updates}
    graph.parameters = [p for p in graph.parameters if p.value in used]


def _set_outputs(target: Graph, prepared: dict[Parameter, Value]) -> None:
    """Make the outputs of ``target`` those of ``prepared``, number their parameters, and drop what is not needed."""
    for index, parameter in enumerate(prepared):
        parameter.key = ("prepared", index)
    target.outputs = list(prepared.values())
    target.output_names = [p.name for p in prepared]
    drop_dead(target)
    _drop_unused_parameters(target)


def _unused(name: str, names: dict[str, int]) -> str:
    """``name``, or with the first number after it that makes it new; it joins ``names``, each with its last number."""
    found = name
    while found in names:
        names[name] += 1
        found = f"{name}_{names[name]}"
    names[found] = 0
    return found


def _rename_function(module: Module, name: str) -> None:
    """Give a function of the program another name: ``name`` is needed."""
    new = _unused(name, dict.fromkeys(module.functions, 0))
    module.functions = {new if n == name else n: graph for n, graph in module.functions.items()}
    for node in module.walk():
        if node.op.name == "call" and node.attributes["callee"] == name:
            node.attributes["callee"] = new


PASS = register(
    Pass(
        "prepare",
        "what depends on parameters alone is computed once, and again when a parameter changes",
        lambda module, context: prepare(module, context["growth"], context.log),
        {"growth": Option(2, "most times by which a prepared value may be larger than its parameters")},
        keeps=("primitive", "static", "call_free"),
    )
)
