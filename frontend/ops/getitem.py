"""NumPy's indexing of traced tensors: ``x[...]``.

An index is read once into a plan: slices of the axes, then one gather for everything that is an array, then the new
axes. Out-of-range indices that are known while tracing are an error; unknown ones are clamped, as in JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir.dims import Dim, DimLike, ge
from ...ir.errors import ArgumentError, ShapeError, TracingError
from ..convert import as_tensor, at_least, broadcast_shapes, emit
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor, plain_dims
from ..trace import current_trace, require_trace
from . import building as b


def get_item(x: Any, key: Any) -> Tensor:
    """``x[key]`` by NumPy's rules.

    Args:
        key: integers, slices (bounds may be symbolic), None, Ellipsis, arrays or tensors of integers, masks that
            are known while tracing; or a tuple of them.
    """
    return _get_item(x, key if current_trace() is not None else _masks_as_numpy(key))


def _masks_as_numpy(key: Any) -> Any:
    """Masks decide about shapes, so that an eager call may not make inputs of them: the places where they are True."""
    entries = key if isinstance(key, tuple) else (key,)
    plain: list[Any] = []
    for entry in entries:
        if str(getattr(entry, "dtype", "")) == "bool" and len(getattr(entry, "shape", ())):
            plain.extend(place.astype(np.int32) for place in np.nonzero(np.asarray(entry)))
        else:
            plain.append(entry)
    return tuple(plain)


@public_op(weak=False)
def _get_item(x: Any, key: Any) -> Tensor:
    x = as_tensor(x)
    plan = _read(x, key if isinstance(key, tuple) else (key,))
    return plan.apply(x)


_get_item.__name__ = "get_item"

Array = np.ndarray | Tensor


@dataclass
class _Plan:
    """How an index is done: ``slices`` for each axis, arrays by axis, and the layout of the result.

    ``layout`` lists the result's dimensions: None for a new axis, an axis of ``x`` for a sliced one, and ``"arrays"``
    where those of the arrays go.
    """

    slices: list[tuple[DimLike, DimLike, int]] = field(default_factory=list)
    arrays: dict[int, Array] = field(default_factory=dict)
    layout: list[Any] = field(default_factory=list)

    def apply(self, x: Tensor) -> Tensor:
        x = _sliced(x, self.slices)
        sizes = b.shape_of(x)
        shape: list[DimLike] = []
        inner: b.Shape = ()
        if self.arrays and all(a.ndim == 0 for a in self.arrays.values()):
            x = _window(x, self.arrays)
        elif self.arrays:
            before = [entry for entry in self.layout if entry is not None].index("arrays")
            x, inner = _gathered(x, self.arrays, before)
        for entry in self.layout:
            shape.extend([1] if entry is None else inner if entry == "arrays" else [sizes[entry]])
        return b.reshape(x, shape)


def _read(x: Tensor, key: tuple[Any, ...]) -> _Plan:
    entries = _expanded(x, key)
    plan = _Plan()
    separated = _separated(entries)
    axis = 0
    for entry in entries:
        if entry is None:
            plan.layout.append(None)
            continue
        size = b.shape_of(x)[axis]
        if isinstance(entry, slice):
            plan.slices.append(_bounds(entry, size))
            plan.layout.append(axis)
        elif _is_array(entry):
            plan.slices.append((0, size, 1))
            plan.arrays[axis] = _checked(entry, size, axis, x)
            if "arrays" not in plan.layout:
                plan.layout.append("arrays")
        else:
            plan.slices.append(_single(entry, size, axis, x))
        axis += 1
    if separated:
        plan.layout.sort(key=lambda entry: entry != "arrays")
    return plan


def _expanded(x: Tensor, key: tuple[Any, ...]) -> list[Any]:
    """The key with Ellipsis and masks replaced, and one entry for each axis (and None for new ones)."""
    entries: list[Any] = []
    for entry in key:
        entries.extend(_entry(entry))
    used = sum(entry is not None and entry is not Ellipsis for entry in entries)
    if used > x.ndim:
        raise ShapeError(f"an index of {used} entries is too long for {x!r}")
    if sum(entry is Ellipsis for entry in entries) > 1:
        raise ArgumentError("an index has one '...' at most")
    place = next((i for i, entry in enumerate(entries) if entry is Ellipsis), len(entries))
    entries[place : place + 1] = [slice(None)] * (x.ndim - used)
    if any(_is_array(e) for e in entries):  # beside arrays a number is an array too
        entries = [np.asarray(e) if isinstance(e, int) else as_tensor(e) if isinstance(e, Dim) else e for e in entries]
    return entries


def _entry(entry: Any) -> list[Any]:
    """One entry of a key in plain form; a mask becomes the places where it is True."""
    if entry is None or entry is Ellipsis or isinstance(entry, slice | Dim):
        return [entry]
    if isinstance(entry, bool | np.bool_):
        raise ArgumentError(f"an index may not be the bool {entry}; use ops.where")
    if isinstance(entry, int | np.integer):
        return [int(entry)]
    value = b.concrete(entry)
    if value is None:
        tensor = as_tensor(entry)
        if not b.is_int(tensor):
            what = (
                "a mask that is known only when the program runs decides about shapes; use ops.where(mask, x, y)"
                if tensor.dtype == "bool"
                else "an index is an integer"
            )
            raise TracingError(f"{what}. Received {tensor!r} as index")
        return [tensor]
    if value.dtype == bool:
        return list(np.nonzero(value))
    if value.size == 0 and isinstance(entry, list | tuple):
        value = value.astype(np.int32)
    if value.dtype.kind not in "iu":
        raise ArgumentError(
            f"an index is an integer, a slice, None, '...', or an array of integers or bools; received {entry!r}"
        )
    return [int(value)] if value.ndim == 0 else [value]


def _is_array(entry: Any) -> bool:
    return isinstance(entry, np.ndarray | Tensor)


def _separated(entries: Sequence[Any]) -> bool:
    """Whether a slice or new axis stands between arrays: then their dimensions come first."""
    places = [i for i, e in enumerate(entries) if _is_array(e)]
    return bool(places) and places[-1] - places[0] + 1 != len(places)


# Slices.


def _bound(value: Any, what: str) -> DimLike:
    if isinstance(value, Dim):
        return plain_dims(value)
    if isinstance(value, Tensor):
        raise TracingError(
            f"the {what} of a slice must be known while tracing, received {value!r}; use ops.slice or "
            "ops.take, or multiply with a mask"
        )
    return b.int_arg(value, "slice", what)


def _bounds(entry: slice, size: DimLike) -> tuple[DimLike, DimLike, int]:
    """(start, limit, step) of a slice with ``0 <= start <= limit <= size``; a negative step: that slice reversed.

    Where symbols leave open whether a bound lies inside, it is taken to, and a guard says so.
    """
    step = 1 if entry.step is None else b.int_arg(entry.step, "slice", "step")
    if step == 0:
        raise ArgumentError("the step of a slice must not be 0")
    if step > 0:
        start = _inside(entry.start, size, "start", 0)
        limit = _inside(entry.stop, size, "stop", size)
        return (start, limit, step) if at_least(limit, start) else (start, start, step)
    # From start down to one above stop: count elements, then name them upwards.
    first = size - 1 if entry.start is None else _inside_down(entry.start, size, "start")
    last = -1 if entry.stop is None else _inside_down(entry.stop, size, "stop")
    if entry.start is None and entry.stop is None and step == -1:
        return 0, size, -1
    if not at_least(first, last):
        return 0, 0, step
    count = (first - last - step - 1) // -step
    low = first + (count - 1) * step
    return (low, first + 1, step) if count != 0 else (0, 0, step)


def _inside(value: Any, size: DimLike, what: str, default: DimLike) -> DimLike:
    if value is None:
        return default
    bound = _bound(value, what)
    if ge(bound, 0) is False:
        bound = bound + size
        return bound if at_least(bound, 0) else 0
    return bound if at_least(size, bound) else size


def _inside_down(value: Any, size: DimLike, what: str) -> DimLike:
    """A bound of a slice with negative step: between -1 and size - 1."""
    bound = _bound(value, what)
    if ge(bound, 0) is False:
        bound = bound + size
        return bound if at_least(bound, -1) else -1
    return bound if at_least(size - 1, bound) else size - 1


def _single(index: Any, size: DimLike, axis: int, x: Tensor) -> tuple[DimLike, DimLike, int]:
    place = plain_dims(index)
    if ge(place, 0) is False:
        place = place + size
    if not at_least(place, 0) or not at_least(size, place + 1):
        raise ShapeError(f"index {index} is out of range for axis {axis} of {x!r}, of size {size}")
    return place, place + 1, 1


def _sliced(x: Tensor, slices: Sequence[tuple[DimLike, DimLike, int]]) -> Tensor:
    shape = b.shape_of(x)
    if any((start, limit, abs(step)) != (0, size, 1) for (start, limit, step), size in zip(slices, shape)):
        x = emit(
            "slice", x, start=[s[0] for s in slices], limit=[s[1] for s in slices], strides=[abs(s[2]) for s in slices]
        )
    backward = tuple(i for i, s in enumerate(slices) if s[2] < 0)
    return emit("reverse", x, axes=backward) if backward else x


# Arrays.


def _checked(entry: Array, size: DimLike, axis: int, x: Tensor) -> Array:
    """Indices counted from the front. Known ones must lie inside where the size is known."""
    if isinstance(entry, Tensor):
        return from_front(entry, size)
    if isinstance(size, int):
        if entry.size and (entry.min() < -size or entry.max() >= size):
            wrong = entry[(entry < -size) | (entry >= size)].flat[0]
            raise ShapeError(f"index {wrong} is out of range for axis {axis} of {x!r}, of size {size}")
        return np.where(entry < 0, entry + size, entry).astype(np.int32)
    plain = entry.astype(np.int32)
    return plain if not (plain < 0).any() else from_front(require_trace().constant(plain), size)


def from_front(indices: Tensor, size: DimLike) -> Tensor:
    """Traced indices with ``size`` added to the negative ones, as int32 at least."""
    if indices.dtype.startswith("uint"):
        return as_tensor(indices, "uint32") if indices.dtype in ("uint8", "uint16") else indices
    places = as_tensor(indices, "int32") if indices.dtype in ("int8", "int16") else indices
    wrapped = b.add(places, stretch(b.dim_tensor(size, places.dtype), b.shape_of(places)))
    return b.select(b.compare("LT", places, 0), wrapped, places)


def _window(x: Tensor, arrays: dict[int, Array]) -> Tensor:
    """Scalars known at run time: one window of the tensor."""
    zero = b.scalar(0, "int32")
    starts = [as_tensor(arrays[i], "int32") if i in arrays else zero for i in range(x.ndim)]
    sizes = [1 if i in arrays else d for i, d in enumerate(b.shape_of(x))]
    return emit("dynamic_slice", x, *starts, sizes=sizes)


def _gathered(x: Tensor, arrays: dict[int, Array], before: int) -> tuple[Tensor, b.Shape]:
    """One gather of all indexed axes, and the arrays' common shape, which stands behind ``before`` sliced axes."""
    tensors = [as_tensor(a, "int32") for a in arrays.values()]
    common = broadcast_shapes([b.shape_of(t) for t in tensors], "index arrays")
    columns = [b.reshape(stretch(t, common), (*common, 1)) for t in tensors]
    axes = tuple(arrays)
    rank = x.ndim - len(axes) + len(common)
    result = emit(
        "gather",
        x,
        b.concatenate(columns, len(common)),
        collapsed_slice_dims=axes,
        operand_batching_dims=(),
        start_indices_batching_dims=(),
        start_index_map=axes,
        index_vector_dim=len(common),
        offset_dims=[i for i in range(rank) if not before <= i < before + len(common)],
        slice_sizes=[1 if i in axes else d for i, d in enumerate(b.shape_of(x))],
    )
    return result, common
