"""A module made ready to lower, for one set of sizes after another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from ..ir.graph import Module
from .specialize import specialize
from .targets import run_target

#: Sets of sizes whose graphs are kept; once they are compiled they are only looked at.
KEPT = 8


class Ready:
    """An optimized module, and what is lowered of it for the sets of sizes that were asked for last.

    Args:
        module: optimized, with symbolic dimensions.
        target: whose rules run.
        off: rules to leave out, by name.
    """

    def __init__(self, module: Module, target: str, off: Collection[str] = ()) -> None:
        self.module = module
        self.target = target
        self.off = frozenset(off)
        self._made = lru_cache(KEPT)(self._make)

    def specialized(self, dims: Mapping[str, int]) -> Module:
        """The module for concrete dimensions: specialised, target rules applied, primitive."""
        return self._made(tuple(sorted(dims.items())))

    def _make(self, dims: tuple[tuple[str, int], ...]) -> Module:
        module = specialize(self.module, dict(dims)) if dims else self.module
        return run_target(module, self.target, self.off)[0]
