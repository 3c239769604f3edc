"""Symbolic dimensions replaced by numbers: one traced module, one program for each set of sizes."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.binding import check_guards, checked_sizes, simplify_guards
from ..ir.dims import DimLike, free_symbols
from ..ir.errors import ArgumentError
from ..ir.graph import Module, clone, clone_module
from .inline import inline_calls
from .rewrite import RuleSet, rewrite
from .rules.shapes import dim_value_known, match_shape_decided

_RULES = RuleSet([match_shape_decided, dim_value_known])


def specialize(module: Module, values: Mapping[str, DimLike]) -> Module:
    """A copy of ``module`` with symbols replaced by ``values``.

    Args:
        values: ``{"N": 32}``; symbols that are not named stay.

    Guards that ``values`` decide are checked and dropped; sizes used as values become constants. Functions with symbols
    of their own are put in place of their calls, since each call may have other sizes.

    Raises:
        ArgumentError: ``values`` names a symbol that the module does not have, or gives a negative size.
        GuardError: ``values`` break an assumption of the trace.
    """
    values = checked_sizes(values)
    known = module.main.symbols
    for name in values:
        if name not in known:
            raise ArgumentError(f"the module has no symbolic dimension {name!r}; it has {', '.join(known) or 'none'}")
    numbers = {name: size for name, size in values.items() if isinstance(size, int)}
    decided = [g for g in module.main.guards if free_symbols(g.left, g.right) <= numbers.keys()]
    check_guards(decided, numbers)
    if any(graph.symbols for name, graph in module.functions.items() if name != "main"):
        module = clone_module(module)
        inline_calls(module, lambda node, callee: bool(callee.symbols))
    functions = {name: clone(graph) for name, graph in module.functions.items() if name != "main"}
    module = clone_module(Module({"main": module.main}, module.name), dict(values))
    module.functions |= functions
    module.main.guards = simplify_guards((g for g in module.main.guards if g not in decided), values)
    rewrite(module.main, _RULES)
    return module
