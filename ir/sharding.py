"""How a value is laid over a mesh of devices: for each dimension the axes of the mesh that it is split over.

A graph names axes; how many devices an axis has is known where a program is compiled. A sharding is plain data: for
each dimension an axis, a tuple of axes, or None where the dimension is whole on every device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .dims import Dim, DimLike
from .errors import ShapeError

Sharding = tuple[Any, ...]


def axes_of(entry: Any) -> tuple[str, ...]:
    """The axes that one dimension is split over, from the entry of a sharding for it."""
    return () if entry is None else tuple(entry) if isinstance(entry, tuple | list) else (entry,)


def check_sharding(sharding: Sequence[Any], rank: int) -> Sharding:
    """A sharding of a value of this rank in its plain form.

    Raises:
        ShapeError: its length is not the rank, an entry names no axis, or an axis stands twice.
    """
    plain = tuple(tuple(e) if isinstance(e, Sequence) and not isinstance(e, str) else e for e in sharding)
    axes = [axis for entry in plain for axis in axes_of(entry)]
    if len(plain) != rank:
        raise ShapeError(f"a sharding has an entry for each of {rank} dimensions, received {list(plain)}")
    if any(not isinstance(axis, str) or not axis for axis in axes):
        raise ShapeError(f"a sharding names axes of the mesh, or None; received {list(plain)}")
    if len(set(axes)) < len(axes):
        raise ShapeError(f"a sharding splits one dimension over an axis, received {list(plain)}")
    return plain


def splits(shape: Sequence[DimLike], sharding: Sequence[Any], sizes: Mapping[str, int]) -> bool:
    """Whether every dimension divides by the devices that it is split over; open dimensions are taken to."""
    for dim, entry in zip(shape, sharding, strict=True):
        if not isinstance(dim, Dim) and dim % math.prod(sizes[axis] for axis in axes_of(entry)):
            return False
    return True
