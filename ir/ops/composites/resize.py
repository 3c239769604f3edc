"""Resizing: an array under another shape, each new element weighed together from the old ones near its place.

Places are those of ``jax.image.resize``: elements are cells of equal size, so that element j of a new axis of n lies
at ``(j + 1/2) * m/n - 1/2`` on the old one of m. Weights are a kernel of the distance; those that would fall beyond the
edges are left out, and the others are scaled to sum to 1. The nearest element is that in whose cell the place lies, the
later one where it lies between two (JAX leaves that to a rounding).

For finite arrays this defines the result up to rounding. A NaN or an infinity reaches every element in whose sum it
has a weight other than 0, and may reach all of the line through it along a resized axis: the matrix product below
multiplies it by 0 there, as JAX's does, and a target's own form need not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ...batching import pooling as batching
from ...builder import Builder
from ...derivatives.rules import linear
from ...dims import DimLike, same
from ...errors import ArgumentError, ShapeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import I32, I64, TensorType
from ..checks import allowed_types, at_least, one_per
from .rules import dim_scalar, expect_operands, wide


def _polynomial(b: Builder, x: Value, *coefficients: float) -> Value:
    """The polynomial with these coefficients, that of the highest power first."""
    result = b.full_like(x, coefficients[0])
    for number in coefficients[1:]:
        result = b.add(b.multiply(result, x), b.full_like(x, number))
    return result


def _below(b: Builder, x: Value, limit: float, inside: Value, outside: Value | float) -> Value:
    """``inside`` where ``x < limit``, else ``outside``."""
    other = outside if isinstance(outside, Value) else b.full_like(x, outside)
    return b.select(b.compare(x, b.full_like(x, limit), direction="LT"), inside, other)


def _triangle(b: Builder, x: Value) -> Value:
    return b.maximum(_polynomial(b, x, -1, 1), b.full_like(x, 0))


def _cubic(b: Builder, x: Value) -> Value:
    """Keys's piecewise cubic with a = -1/2 (IEEE Trans. ASSP 29(6), 1981)."""
    near, far = _polynomial(b, x, 1.5, -2.5, 0, 1), _polynomial(b, x, -0.5, 2.5, -4, 2)
    return _below(b, x, 1, near, _below(b, x, 2, far, 0))


def _lanczos(radius: int) -> Callable[[Builder, Value], Value]:
    """``sinc(x) * sinc(x / radius)`` up to ``radius``."""

    def kernel(b: Builder, x: Value) -> Value:
        away = b.maximum(x, b.full_like(x, 1e-3))
        waves = [b.sine(b.multiply(away, b.full_like(x, math.pi / period))) for period in (1, radius)]
        product = b.multiply(b.full_like(x, radius / math.pi**2), b.multiply(*waves))
        inside = b.divide(product, b.multiply(away, away))
        return _below(b, x, 1e-3, b.full_like(x, 1), _below(b, x, radius, inside, 0))

    return kernel


#: The methods that weigh, and their kernels: weights by the distance, which is not negative.
KERNELS: dict[str, Callable[[Builder, Value], Value]] = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}
METHODS = ("nearest", *KERNELS)


def resize_weights(b: Builder, size: DimLike, target: DimLike, method: str, antialias: bool, dtype: np.dtype) -> Value:
    """The matrix ``[size, target]`` of ``dtype`` whose columns weigh the old elements for each new one.

    The dimensions may be symbolic. With ``antialias`` a shrinking axis gets a kernel as wide as its new elements.
    """
    shape = (size, target)
    step = b.divide(*(dim_scalar(b, d, dtype) for d in shape))
    old, new = (b.iota(dtype=dtype, shape=shape, axis=axis) for axis in (0, 1))
    half = b.full(shape, 0.5, dtype)
    centres = b.subtract(b.multiply(b.add(new, half), b.broadcast_to(step, shape)), half)
    distances = b.abs(b.subtract(centres, old))
    if antialias:
        width = b.maximum(step, b.constant(1, dtype))
        distances = b.divide(distances, b.broadcast_to(width, shape))
    weights = KERNELS[method](b, distances)
    return b.divide(weights, b.expand(b.reduce_sum(weights, axes=(0,)), shape, (0,)))


def resized_axes(shape: tuple[DimLike, ...], target: tuple[DimLike, ...]) -> tuple[int, ...]:
    """The axes whose size is not known to stay."""
    return tuple(i for i, (old, new) in enumerate(zip(shape, target, strict=True)) if old != new)


def resize_by_matrices(b: Builder, x: Value, matrices: Mapping[int, Value]) -> Value:
    """``x`` with axes multiplied by ``weights [size, target]``, in the order in which they are given."""
    order = list(range(x.rank))  # which axis each one of the product is
    for axis, weights in matrices.items():
        place = order.index(axis)
        order.remove(axis)
        if axis == x.rank - 1:  # already where a product contracts and leaves it
            x = b.dot_general(x, weights, lhs_contract=(place,), rhs_contract=(0,), precision="highest")
            order.append(axis)
        else:
            x = b.dot_general(weights, x, lhs_contract=(0,), rhs_contract=(place,), precision="highest")
            order.insert(0, axis)
    back = tuple(order.index(axis) for axis in range(x.rank))
    return x if back == tuple(range(x.rank)) else b.transpose(x, permutation=back)


def _nearest(b: Builder, x: Value, axis: int, target: DimLike) -> Value:
    """The old element in whose cell the centre of each new one lies."""
    size = x.shape[axis]
    grows, shrinks = _factor(target, size), _factor(size, target)
    shape = tuple(target if i == axis else d for i, d in enumerate(x.shape))
    if grows is not None:
        split = (*x.shape[: axis + 1], grows, *x.shape[axis + 1 :])
        return b.reshape(b.expand(x, split, (axis + 1,)), shape=shape)
    if shrinks is not None:
        here = [i == axis for i in range(x.rank)]
        return b.slice(
            x,
            start=[shrinks // 2 if a else 0 for a in here],
            limit=x.shape,
            strides=[shrinks if a else 1 for a in here],
        )
    # floor((j + 1/2) * size / target) in integers: XLA divides floats by a constant with an error that shows here.
    odd = b.iota(dtype=I64, shape=(target,), axis=0)
    odd = b.add(b.add(odd, odd), b.full_like(odd, 1))
    whole, parts = (b.broadcast_to(dim_scalar(b, d, I64), (target,)) for d in (size, 2 * target))
    return take_known(b, x, axis, b.astype(b.divide(b.multiply(odd, whole), parts), I32))


def _factor(large: DimLike, small: DimLike) -> int | None:
    """The integer that ``large`` is times ``small``, whatever the symbols; else None."""
    quotient = large // small if small != 0 else None
    return quotient if isinstance(quotient, int) and quotient > 0 and quotient * small == large else None


def take_known(b: Builder, x: Value, axis: int, places: Value) -> Value:
    """Slices of ``x`` along ``axis`` at a vector of places that are known to lie inside, in rising order."""
    return b.gather(
        x,
        places,
        index_vector_dim=1,
        start_index_map=(axis,),
        collapsed_slice_dims=(axis,),
        operand_batching_dims=(),
        start_indices_batching_dims=(),
        offset_dims=tuple(i for i in range(x.rank) if i != axis),
        slice_sizes=[1 if i == axis else d for i, d in enumerate(x.shape)],
        indices_are_sorted=True,
    )


def _infer(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "x")
    (x,) = types
    if c["method"] not in METHODS:
        raise ArgumentError(f"resize: expected method {', '.join(METHODS)}; received {c['method']!r}")
    if c["method"] != "nearest":
        allowed_types(c, x, "f")
    one_per(c, "shape", x.rank, f"dimension of {x}")
    at_least(c, "shape", 0)
    for axis, (old, new) in enumerate(zip(x.shape, c["shape"])):
        if old == 0 and same(new, 0) is False:
            raise ShapeError(f"resize: axis {axis} of {x} has no elements to make {new} of")
    return x.with_shape(c["shape"])


@composite(
    "resize",
    "x under another shape, elements weighed by a kernel of their distance (jax.image.resize)",
    _infer,
    attributes={"shape": Attribute("dims"), "method": Attribute("str"), "antialias": Attribute("bool", False)},
    jvp=linear,
    batch=batching.resize,
)
def _resize(b: Builder, c: Call, x: Value) -> Value:
    axes, target = resized_axes(x.shape, c["shape"]), c["shape"]
    if c["method"] != "nearest":
        matrices = {}
        for i in axes:
            weights = resize_weights(b, x.shape[i], target[i], c["method"], c["antialias"], wide(x.dtype))
            matrices[i] = b.astype(weights, x.dtype)
        return resize_by_matrices(b, x, matrices)
    for i in axes:
        x = _nearest(b, x, i, target[i])
    return x
