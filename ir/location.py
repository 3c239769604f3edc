"""Where a node comes from: the layers it belongs to and the user's source line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of the user's Python: file, line number, function name."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclass(frozen=True, slots=True)
class Location:
    """Layer paths such as ``encoder/dense_1`` and source frames; a node merged from several keeps all of them."""

    layers: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()

    def __str__(self) -> str:
        layers = " + ".join(self.layers)
        where = f" ({self.frames[0]})" if self.frames else ""
        return f"{layers or 'no layer'}{where}"


UNKNOWN = Location()


def merge(locations: Iterable[Location]) -> Location:
    """One location that keeps every layer and frame of ``locations``, first come first."""
    kept = [location for location in dict.fromkeys(locations) if location is not UNKNOWN]
    if len(kept) <= 1:
        return kept[0] if kept else UNKNOWN
    layers = dict.fromkeys(layer for location in kept for layer in location.layers)
    frames = dict.fromkeys(frame for location in kept for frame in location.frames)
    return Location(tuple(layers), tuple(frames))
