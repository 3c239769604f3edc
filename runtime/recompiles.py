"""A warning where a program is compiled again and again, for one size after another."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence

from ..ir.errors import RecompileWarning
from .frames import user_frame

#: A program that is compiled for this many sets of sizes is warned about, once.
LIMIT = 32


class Sizes:
    """The sets of sizes that one program was compiled for.

    Args:
        what: what is compiled, as the message starts.
        advice: what to do about it; ``{dims}`` stands for the dimensions that vary.
    """

    def __init__(self, what: str, advice: str, limit: int = LIMIT) -> None:
        self.what = what
        self.advice = advice
        self.limit = limit
        self._seen: dict[tuple[tuple[str, int], ...], None] | None = {}
        self._lock = threading.Lock()

    def add(self, dims: Mapping[str, int]) -> None:
        """Count a compilation; at the limit warn (:class:`RecompileWarning`, at the user's line), and count no more."""
        with self._lock:
            if self._seen is None:
                return
            self._seen[tuple(dims.items())] = None
            if len(self._seen) < self.limit:
                return
            seen, self._seen = list(self._seen), None
        _, depth = user_frame()
        warnings.warn(self._message([dict(each) for each in seen]), RecompileWarning, stacklevel=depth + 1)

    def _message(self, seen: list[dict[str, int]]) -> str:
        found: dict[str, dict[int, None]] = {}
        for dims in seen:
            for name, size in dims.items():
                found.setdefault(name, {})[size] = None
        varying = {name: list(sizes) for name, sizes in found.items() if len(sizes) > 1}
        told = "; ".join(f"{name} had {len(sizes)} sizes ({_few(sizes)})" for name, sizes in varying.items())
        advice = self.advice.format(dims=" and ".join(varying) or "the sizes")
        start = f"{self.what} was compiled for {len(seen)} sets of sizes, and each new one is compiled again"
        return f"{start}: {told}. {advice}"


def sizes_of(shapes: Sequence[Sequence[int]]) -> dict[str, int]:
    """The sizes of arrays whose dimensions have no names."""
    return {f"axis {axis} of array {i}": n for i, shape in enumerate(shapes) for axis, n in enumerate(shape)}


def _few(sizes: list[int], most: int = 6) -> str:
    shown = [str(size) for size in sizes[:most]]
    return ", ".join(shown if len(sizes) <= most else [*shown[:-1], "...", str(sizes[-1])])
