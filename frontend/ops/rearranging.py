"""Shapes: the same elements elsewhere. Reshaping, moving axes, joining, splitting, repeating, padding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...ir.dims import Dim, DimLike
from ...ir.errors import ArgumentError, ShapeError
from ..convert import (
    as_tensor,
    at_least,
    broadcast_shapes,
    emit,
    match_shape,
    normalize_axes,
    normalize_axis,
    promote,
)
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor, plain_dims
from ..trace import require_trace
from . import building as b


@public_op(weak=False)
def reshape(x: Any, newshape: Any) -> Tensor:
    """The same elements in row-major order under ``newshape``, of which one dimension may be -1: what is left."""
    x = as_tensor(x)
    return b.reshape(x, _resolved(x, newshape))


def _resolved(x: Tensor, newshape: Any) -> b.Shape:
    """``newshape`` with -1 replaced, by exact division; an open question becomes a guard."""
    asked = b.dims_arg(newshape, "reshape", "newshape")
    total = x.value.type.size
    open_ = [i for i, d in enumerate(asked) if isinstance(d, int) and d == -1]
    if len(open_) > 1 or any(isinstance(d, int) and d < -1 for d in asked):
        raise ShapeError(f"reshape: expected dimensions >= 0 and at most one -1, received {b.text(asked)} for {x!r}")
    known = b.size_of([d for i, d in enumerate(asked) if i not in open_])
    if not open_:
        require_trace().require_equal(
            total, known, f"reshape of {b.text(b.shape_of(x))} to {b.text(asked)}: numbers of elements"
        )
        return asked
    if known == 0:
        raise ShapeError(f"reshape: -1 is undecided beside a dimension 0, received {b.text(asked)} for {x!r}")
    rest = total // known
    require_trace().require_equal(
        total, rest * known, f"reshape of {b.text(b.shape_of(x))} to {b.text(asked)}: numbers of elements"
    )
    return tuple(rest if i in open_ else d for i, d in enumerate(asked))


@public_op(weak=False)
def ravel(x: Any) -> Tensor:
    """All elements in one dimension."""
    x = as_tensor(x)
    return b.reshape(x, (x.value.type.size,))


@public_op(weak=False)
def squeeze(x: Any, axis: Any = None) -> Tensor:
    """``x`` without dimensions of 1: all of them, or those of ``axis``, which must be 1."""
    x = as_tensor(x)
    shape = b.shape_of(x)
    axes = [i for i, d in enumerate(shape) if d == 1] if axis is None else normalize_axes(axis, x.ndim)
    for a in axes:
        require_trace().require_equal(
            shape[a], 1, f"squeeze of axis {a} of shape {b.text(shape)}: expected a dimension of 1"
        )
    return b.reshape(x, [d for i, d in enumerate(shape) if i not in axes])


@public_op(weak=False)
def expand_dims(x: Any, axis: Any) -> Tensor:
    """``x`` with a dimension of 1 at ``axis`` (one or several) of the result."""
    x = as_tensor(x)
    count = len(axis) if isinstance(axis, tuple | list) else 1
    places = normalize_axes(axis, x.ndim + count)
    rest = iter(b.shape_of(x))
    return b.reshape(x, [1 if i in places else next(rest) for i in range(x.ndim + count)])


@public_op(weak=False)
def transpose(x: Any, axes: Any = None) -> Tensor:
    """``x`` with axis i of the result taken from axis ``axes[i]``; by default in reverse order."""
    x = as_tensor(x)
    if axes is None:
        return b.transpose(x, range(x.ndim)[::-1])
    order = [normalize_axis(b.int_arg(a, "transpose", "axes"), x.ndim) for a in axes]
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"transpose: expected a permutation of {x.ndim} axes for {x!r}, received {tuple(axes)}")
    return b.transpose(x, order)


@public_op(weak=False)
def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """``x`` with two axes exchanged."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    first, second = normalize_axis(axis1, x.ndim, "axis1"), normalize_axis(axis2, x.ndim, "axis2")
    order[first], order[second] = order[second], order[first]
    return b.transpose(x, order)


@public_op(weak=False)
def moveaxis(x: Any, source: Any, destination: Any) -> Tensor:
    """``x`` with the axes ``source`` moved to ``destination``; the others keep their order."""
    x = as_tensor(x)
    origin, target = (a if isinstance(a, tuple | list) else (a,) for a in (source, destination))
    origin = [normalize_axis(a, x.ndim, "source") for a in origin]
    target = [normalize_axis(a, x.ndim, "destination") for a in target]
    if len(set(origin)) != len(origin) or len(set(target)) != len(origin):
        raise ShapeError(
            f"moveaxis: expected as many distinct axes in destination as in source, received {source} and {destination}"
        )
    order = [a for a in range(x.ndim) if a not in origin]
    for place, axis in sorted(zip(target, origin)):
        order.insert(place, axis)
    return b.transpose(x, order)


@public_op(weak=False)
def broadcast_to(x: Any, shape: Any) -> Tensor:
    """``x`` stretched to ``shape`` by NumPy's rule."""
    return stretch(as_tensor(x), b.dims_arg(shape, "broadcast_to"))


@public_op(weak=False)
def flip(x: Any, axis: Any = None) -> Tensor:
    """The order of elements reversed along ``axis`` (all by default)."""
    x = as_tensor(x)
    axes = normalize_axes(axis, x.ndim)
    return emit("reverse", x, axes=axes) if axes else x


@public_op(weak=False)
def fliplr(x: Any) -> Tensor:
    """The order of elements reversed along axis 1."""
    return flip.traced(x, 1)


@public_op(weak=False)
def flipud(x: Any) -> Tensor:
    """The order of elements reversed along axis 0."""
    return flip.traced(x, 0)


@public_op(weak=False)
def rot90(array: Any, k: int = 1, axes: Any = (0, 1)) -> Tensor:
    """``array`` turned by 90 degrees ``k`` times, from the first of ``axes`` towards the second."""
    x = as_tensor(array)
    if len(axes) != 2 or x.ndim < 2:
        raise ShapeError(f"rot90: expected two axes and a tensor of rank 2 or more, received axes {axes} and {x!r}")
    first, second = (normalize_axis(a, x.ndim, "axes") for a in axes)
    if first == second:
        raise ShapeError(f"rot90: expected two different axes, received {axes}")
    turns = k % 4
    if turns in (2, 3):
        x = emit("reverse", x, axes=(first,))
    if turns in (1, 2):
        x = emit("reverse", x, axes=(second,))
    return swapaxes.traced(x, first, second) if turns % 2 else x


# Joining and splitting.


@public_op
def concatenate(xs: Any, axis: int = 0) -> Tensor:
    """Tensors one after another along ``axis``; the other dimensions must be equal."""
    if not len(xs):
        raise ArgumentError("concatenate: expected at least one tensor, received none")
    return _joined(promote(*xs), axis, "concatenate")


def _joined(tensors: list[Tensor], axis: Any, op: str) -> Tensor:
    """Concatenate tensors of one type; open equalities of the other dimensions become guards."""
    rank = tensors[0].ndim
    shapes = [b.shape_of(t) for t in tensors]
    if any(len(s) != rank for s in shapes) or not rank:
        raise ShapeError(
            f"{op}: expected tensors of one rank, 1 or more; received shapes {', '.join(map(b.text, shapes))}"
        )
    place = normalize_axis(axis, rank)
    same = [
        match_shape(
            t,
            [s[i] if i == place else shapes[0][i] for i in range(rank)],
            f"{op} along axis {place} of shapes {', '.join(map(b.text, shapes))}",
        )
        for t, s in zip(tensors, shapes)
    ]
    return b.concatenate(same, place)


@public_op
def append(x1: Any, x2: Any, axis: int | None = None) -> Tensor:
    """``x2`` behind ``x1`` along ``axis``; both flattened where it is None."""
    tensors = promote(x1, x2)
    if axis is None:
        tensors, axis = [b.reshape(t, (t.value.type.size,)) for t in tensors], 0
    return _joined(tensors, axis, "append")


@public_op
def stack(x: Any, axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    if not len(x):
        raise ArgumentError("stack: expected at least one tensor, received none")
    tensors = promote(*x)
    place = normalize_axis(axis, tensors[0].ndim + 1)
    shape = list(b.shape_of(tensors[0]))
    reason = f"stack of shapes {', '.join(b.text(b.shape_of(t)) for t in tensors)}"
    same = [match_shape(t, shape, reason) for t in tensors]
    return b.concatenate([b.reshape(t, [*shape[:place], 1, *shape[place:]]) for t in same], place)


def _at_least_rank(x: Tensor, rank: int) -> Tensor:
    """As NumPy's atleast_1d, _2d and _3d."""
    shape = b.shape_of(x)
    if len(shape) >= rank:
        return x
    if rank == 3 and shape:
        return b.reshape(x, (*((1,) if len(shape) == 1 else ()), *shape, 1))
    return b.reshape(x, (*(1,) * (rank - len(shape)), *shape))


@public_op
def hstack(xs: Any) -> Tensor:
    """Tensors one after another along axis 1 (vectors: axis 0)."""
    tensors = [_at_least_rank(t, 1) for t in promote(*xs)]
    return _joined(tensors, 0 if tensors[0].ndim == 1 else 1, "hstack")


@public_op
def vstack(xs: Any) -> Tensor:
    """Tensors one after another along axis 0; vectors are rows."""
    return _joined([_at_least_rank(t, 2) for t in promote(*xs)], 0, "vstack")


@public_op
def dstack(xs: Any) -> Tensor:
    """Tensors one after another along axis 2."""
    return _joined([_at_least_rank(t, 3) for t in promote(*xs)], 2, "dstack")


def _sections(x: Tensor, indices_or_sections: Any, axis: int, op: str, equal: bool = True) -> list[DimLike]:
    """Where the parts begin and end."""
    size = b.shape_of(x)[axis]
    if isinstance(indices_or_sections, tuple | list | np.ndarray):
        inner = [plain_dims(d) if isinstance(d, Dim) else b.int_arg(d, op, "indices") for d in indices_or_sections]
        if isinstance(size, int):
            inner = [min(max(d + size if d < 0 else d, 0), size) if isinstance(d, int) else d for d in inner]
        return [0, *inner, size]
    count = b.int_arg(indices_or_sections, op, "the number of parts")
    if count < 1:
        raise ArgumentError(f"{op}: expected a number of parts >= 1, received {count}")
    if equal:
        part = size // count
        require_trace().require_equal(
            size, part * count, f"{op} of axis {axis} of {b.text(b.shape_of(x))} into {count} equal parts"
        )
        return [part * i for i in range(count)] + [size]
    known = b.static_dim(size, op, f"axis {axis}")
    larger = known % count
    return [i * (known // count) + min(i, larger) for i in range(count + 1)]


def _split(x: Any, indices_or_sections: Any, axis: Any, op: str, equal: bool = True) -> list[Tensor]:
    x = as_tensor(x)
    place = normalize_axis(b.int_arg(axis, op, "axis"), x.ndim)
    bounds = _sections(x, indices_or_sections, place, op, equal)
    return [
        b.cut(x, place, low, high if not isinstance(high, int) or not isinstance(low, int) else max(low, high))
        for low, high in pairwise(bounds)
    ]


@public_op(weak=False)
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """Parts of ``x`` along ``axis``: so many equal ones, or cut at the given indices."""
    return _split(x, indices_or_sections, axis, "split")


@public_op(weak=False)
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """As :func:`split`; the first parts are one longer where the number does not divide."""
    return _split(x, indices_or_sections, axis, "array_split", equal=False)


@public_op(weak=False)
def hsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """:func:`split` along axis 1 (of a vector: axis 0)."""
    return _split(x, indices_or_sections, 0 if as_tensor(x).ndim == 1 else 1, "hsplit")


@public_op(weak=False)
def vsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """:func:`split` along axis 0."""
    return _split(x, indices_or_sections, 0, "vsplit")


@public_op(weak=False)
def dsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """:func:`split` along axis 2."""
    return _split(x, indices_or_sections, 2, "dsplit")


@public_op(weak=False)
def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """The slices of ``x`` along ``axis``, whose size must be known."""
    x = as_tensor(x)
    place = normalize_axis(axis, x.ndim)
    shape = b.shape_of(x)
    count = num if num is not None and isinstance(shape[place], Dim) else b.static_dim(shape[place], "unstack", "axis")
    require_trace().require_equal(shape[place], count, f"unstack of axis {place} of {b.text(shape)}")
    rest = [d for i, d in enumerate(shape) if i != place]
    return [b.reshape(b.cut(x, place, i, i + 1), rest) for i in range(count)]


# Repeating and rolling.


@public_op(weak=False)
def tile(x: Any, repeats: Any) -> Tensor:
    """``x`` repeated whole, ``repeats`` times along each axis."""
    x = as_tensor(x)
    counts = b.dims_arg(repeats, "tile", "repeats")
    rank = max(len(counts), x.ndim)
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.ndim) + b.shape_of(x)
    if all(c == 1 for c in counts):
        return b.reshape(x, shape)
    doubled = [d for pair in zip(counts, shape) for d in pair]
    x = b.spread(x, doubled, range(2 * (rank - x.ndim) + 1, 2 * rank, 2))
    return b.reshape(x, [c * d for c, d in zip(counts, shape)])


@public_op(weak=False)
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element of ``x`` repeated along ``axis`` (of all elements in one dimension where it is None).

    ``repeats`` is a number, or one for each element, known while tracing.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = b.reshape(x, (x.value.type.size,)), 0
    place, shape = normalize_axis(axis, x.ndim), b.shape_of(x)
    counts = np.atleast_1d(np.asarray(repeats)) if not isinstance(repeats, Dim) else None
    if counts is None or counts.size == 1:
        count: DimLike = b.dims_arg(repeats if counts is None else int(counts[0]), "repeat", "repeats")[0]
        wide = [*shape[: place + 1], count, *shape[place + 1 :]]
        x = b.spread(x, wide, [i for i in range(len(wide)) if i != place + 1])
        return b.reshape(x, [d * count if i == place else d for i, d in enumerate(shape)])
    size = b.static_dim(shape[place], "repeat", f"axis {place} with a number for each element")
    if counts.size != size:
        raise ShapeError(f"repeat: expected {size} numbers for axis {place} of {b.text(shape)}, received {counts.size}")
    from .indexing import gather_along

    return gather_along(x, require_trace().constant(np.repeat(np.arange(size), counts).astype(np.int32)), place)


@public_op(weak=False)
def roll(x: Any, shift: Any, axis: Any = None) -> Tensor:
    """Elements moved by ``shift`` along ``axis``; those that fall out at the end enter at the front."""
    x = as_tensor(x)
    if axis is None:
        flat = b.reshape(x, (x.value.type.size,))
        return b.reshape(roll.traced(flat, shift, 0), b.shape_of(x))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    shifts = shift if isinstance(shift, tuple | list) else (shift,) * len(axes)
    if len(shifts) == 1:
        shifts = tuple(shifts) * len(axes)
    if len(axes) == 1 and len(shifts) > 1:
        axes = tuple(axes) * len(shifts)
    for step, a in zip(shifts, axes):
        x = _rolled(
            x,
            plain_dims(step) if isinstance(step, Dim) else b.int_arg(step, "roll", "shift"),
            normalize_axis(a, x.ndim),
        )
    return x


def _rolled(x: Tensor, shift: DimLike, axis: int) -> Tensor:
    size = b.shape_of(x)[axis]
    if isinstance(size, int):
        if not size:
            return x
        shift = shift % size
    elif isinstance(shift, int) and shift < 0:
        at_least(size, -shift)
        shift = size + shift
    else:
        at_least(size, shift)
    if shift == 0:
        return x
    return b.concatenate([b.cut(x, axis, size - shift, size), b.cut(x, axis, 0, size - shift)], axis)


# Blocks of images, and named axes.


def _image_axes(data_format: Any, op: str) -> bool:
    if data_format not in ("channels_last", "channels_first"):
        raise ArgumentError(f"{op}: expected data_format 'channels_last' or 'channels_first', received {data_format!r}")
    return data_format == "channels_last"


def _four(x: Any, op: str) -> Tensor:
    x = as_tensor(x)
    if x.ndim != 4:
        raise ShapeError(f"{op}: expected images of rank 4, received {x!r}")
    return x


@public_op(weak=False)
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Channels rearranged into blocks of ``block_size`` by ``block_size`` pixels."""
    x, k = _four(x, "depth_to_space"), block_size
    last = _image_axes(data_format, "depth_to_space")
    batch, *rest = b.shape_of(x)
    height, width, channels = rest if last else (*rest[1:], rest[0])
    depth = channels // (k * k)
    require_trace().require_equal(channels, depth * k * k, f"depth_to_space: channels that {k}*{k} divides")
    if last:
        x = b.transpose(b.reshape(x, (batch, height, width, k, k, depth)), (0, 1, 3, 2, 4, 5))
        return b.reshape(x, (batch, height * k, width * k, depth))
    x = b.transpose(b.reshape(x, (batch, depth, k, k, height, width)), (0, 1, 4, 2, 5, 3))
    return b.reshape(x, (batch, depth, height * k, width * k))


@public_op(weak=False)
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Blocks of ``block_size`` by ``block_size`` pixels rearranged into channels."""
    x, k = _four(x, "space_to_depth"), block_size
    last = _image_axes(data_format, "space_to_depth")
    batch, *rest = b.shape_of(x)
    height, width, channels = rest if last else (*rest[1:], rest[0])
    h, w = height // k, width // k
    for size, part in ((height, h), (width, w)):
        require_trace().require_equal(size, part * k, f"space_to_depth: height and width that {k} divides")
    if last:
        x = b.transpose(b.reshape(x, (batch, h, k, w, k, channels)), (0, 1, 3, 2, 4, 5))
        return b.reshape(x, (batch, h, w, k * k * channels))
    x = b.transpose(b.reshape(x, (batch, channels, h, k, w, k)), (0, 1, 3, 5, 2, 4))
    return b.reshape(x, (batch, k * k * channels, h, w))


def broadcast_all(xs: Sequence[Any], op: str) -> list[Tensor]:
    """Tensors, each of its own type, stretched to their common shape."""
    tensors = [as_tensor(x) for x in xs]
    shape = broadcast_shapes([b.shape_of(t) for t in tensors], op)
    return [stretch(t, shape) for t in tensors]
