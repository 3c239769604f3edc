"""Graphs that stop early: some values of a module as its outputs."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Module, Value, clone, clone_module
from ...passes.inline import inline_calls
from ...passes.rewrite import drop_dead


def with_updates_as_outputs(module: Module) -> tuple[Module, list[str]]:
    """A copy without calls and without state: the next values of what it updates are outputs, too. And all names.

    So that running it changes nothing, and what it would have changed can be compared.
    """
    module = clone_module(module)
    inline_calls(module)
    main = module.main
    names = [name or f"output_{i}" for i, name in enumerate(main.output_names or [""] * len(main.outputs))]
    names += [u.parameter.name for u in main.updates]
    main.outputs, main.updates = main.results, []
    main.output_names, main.out_structure = names, None
    return module, names


def cut(module: Module, values: Sequence[Value]) -> Module:
    """A copy of a module without calls whose outputs are ``values``, and with the nodes that these need only."""
    new: dict[Value, Value] = {}
    main = clone(module.main, new)
    main.outputs, main.updates = [new[v] for v in values], []
    main.output_names, main.out_structure = [f"value_{i}" for i in range(len(values))], None
    drop_dead(main)
    return Module({"main": main}, module.name)


def frontier(module: Module, count: int) -> list[Value]:
    """What the nodes after the first ``count`` ones, and the outputs, take from those."""
    main = module.main
    taken = {operand for node in main.nodes[count:] for operand in node.operands} | set(main.outputs)
    return [r for node in main.nodes[:count] if node.op.name != "constant" for r in node.results if r in taken]
