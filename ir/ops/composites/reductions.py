"""Reductions over axes. Narrow floats are summed in f32 and rounded once, as jax.numpy does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...batching import reduction as batching
from ...builder import Builder
from ...derivatives import reduction as derivatives
from ...dims import DimLike, ge
from ...errors import DTypeError, ShapeError
from ...graph import Graph, Value
from ...opdef import Attribute, Call, InferRule, composite
from ...types import I32, TensorType, highest, is_integer, lowest, short_name
from ..checks import allowed_types
from .rules import (
    all_axes,
    dim_scalar,
    expect_operands,
    one_axis,
    wide,
    without,
)

_ATTRIBUTES = {"axes": Attribute("ints"), "keepdims": Attribute("bool", False)}


def _infer(families: str) -> InferRule:
    def infer(c: Call, *types: TensorType) -> TensorType:
        expect_operands(c, types, "x")
        allowed_types(c, types[0], families)
        return types[0].with_shape(without(types[0].shape, all_axes(c, types[0].rank), c["keepdims"]))

    return infer


def _reduction(
    name: str,
    meaning: str,
    families: str,
    op: str,
    initial: Callable[[np.dtype], object],
    widen: bool = False,
    **derivative: Any,
) -> None:
    """Declare a reduction by the binary ``op`` from the start value ``initial(dtype)``."""

    @composite(name, meaning, _infer(families), attributes=_ATTRIBUTES, batch=batching.over_axes, **derivative)
    def rule(b: Builder, c: Call, x: Value) -> Value:
        axes = all_axes(c, x.rank)
        if not axes:
            return x
        inner = b.astype(x, wide(x.dtype)) if widen else x
        result = b.astype(b.reduce_with(op, inner, axes, initial(inner.dtype)), x.dtype)
        return _keep(b, c, result, x.shape, axes)


def _keep(b: Builder, c: Call, result: Value, shape: tuple[DimLike, ...], axes: tuple[int, ...]) -> Value:
    return b.reshape(result, shape=without(shape, axes, True)) if c["keepdims"] else result


_reduction(
    "reduce_sum",
    "sum over axes, integers wrap; narrow floats are summed in f32 (jax.numpy.sum)",
    "fic",
    "add",
    lambda dtype: 0,
    widen=True,
    jvp=derivatives.linear,
    transpose=derivatives.sum_transpose,
)
_reduction(
    "reduce_prod",
    "product over axes, integers wrap; narrow floats are multiplied in f32 (jax.numpy.prod)",
    "fic",
    "multiply",
    lambda dtype: 1,
    widen=True,
)
_reduction(
    "reduce_max",
    "greatest element over axes, NaN where there is one; of nothing: -inf, the least integer, False (jax.numpy.max)",
    "fib",
    "maximum",
    lowest,
    jvp=derivatives.extremum_jvp,
)
_reduction(
    "reduce_min",
    "least element over axes, NaN where there is one; of nothing: inf, the greatest integer, True (jax.numpy.min)",
    "fib",
    "minimum",
    highest,
    jvp=derivatives.extremum_jvp,
)
_reduction(
    "reduce_any",
    "whether any element over axes is True (jax.numpy.any)",
    "b",
    "or",
    lambda dtype: False,
    jvp=derivatives.constant,
)
_reduction(
    "reduce_all",
    "whether all elements over axes are True (jax.numpy.all)",
    "b",
    "and",
    lambda dtype: True,
    jvp=derivatives.constant,
)


def _mean(b: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    """The mean in the operand's own type; of nothing: NaN."""
    count: DimLike = 1
    for axis in axes:
        count = count * x.shape[axis]
    total = b.reduce_sum(x, axes=axes)
    return b.divide(total, b.broadcast_to(dim_scalar(b, count, x.dtype), total.shape))


@composite(
    "reduce_mean",
    "mean over axes, computed in f32 for narrow floats; of nothing: NaN (jax.numpy.mean)",
    _infer("fc"),
    attributes=_ATTRIBUTES,
    jvp=derivatives.linear,
    transpose=derivatives.mean_transpose,
    batch=batching.over_axes,
)
def _reduce_mean(b: Builder, c: Call, x: Value) -> Value:
    axes = all_axes(c, x.rank)
    mean = b.astype(_mean(b, b.astype(x, wide(x.dtype)), axes), x.dtype)
    return _keep(b, c, mean, x.shape, axes)


@composite(
    "reduce_variance",
    "mean over axes of the squared distance from the mean, computed in f32 for narrow floats (jax.numpy.var)",
    _infer("f"),
    attributes=_ATTRIBUTES,
    jvp=derivatives.variance_jvp,
    batch=batching.over_axes,
)
def _reduce_variance(b: Builder, c: Call, x: Value) -> Value:
    axes = all_axes(c, x.rank)
    inner = b.astype(x, wide(x.dtype))
    distance = b.subtract(inner, b.expand(_mean(b, inner, axes), x.shape, axes))
    variance = b.astype(_mean(b, b.multiply(distance, distance), axes), x.dtype)
    return _keep(b, c, variance, x.shape, axes)


def _infer_arg(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "x")
    allowed_types(c, types[0], "fib")
    if not is_integer(c["dtype"]):
        raise DTypeError(f"{c.op.name}: dtype should be an integer type for indices, received {short_name(c['dtype'])}")
    axis = one_axis(c, types[0].rank)
    if ge(types[0].shape[axis], 1) is False:
        raise ShapeError(f"{c.op.name} needs at least one element along axis {axis}, received {types[0]}")
    return TensorType(c["dtype"], without(types[0].shape, (axis,)))


def _better(direction: str, dtype: np.dtype, index_dtype: np.dtype) -> Graph:
    """The region ``(value, index, value, index) -> (value, index)`` of the better pair, whatever the order of pairs."""
    region = Graph()
    value, index = TensorType(dtype), TensorType(index_dtype)
    left, left_index, right, right_index = (region.add_input(t) for t in (value, index, value, index))
    b = Builder(region)
    wins = b.compare(left, right, direction=direction)
    tie = b.compare(left, right, direction="EQ")
    left_nan = b.compare(left, left, direction="NE")
    right_nan = b.compare(right, right, direction="NE")
    wins = b.or_(wins, b.and_(left_nan, b.not_(right_nan)))
    tie = b.or_(tie, b.and_(left_nan, right_nan))
    first = b.or_(wins, b.and_(tie, b.compare(left_index, right_index, direction="LT")))
    # In a tie either value may stay: they are equal, or both NaN.
    region.outputs = [b.select(wins, left, right), b.select(first, left_index, right_index)]
    return region


def _arg(name: str, meaning: str, direction: str, initial: Callable[[np.dtype], object]) -> None:
    attributes = {"axis": Attribute("int"), "dtype": Attribute("dtype", I32)}

    @composite(name, meaning, _infer_arg, attributes=attributes, jvp=derivatives.constant, batch=batching.along_axis)
    def rule(b: Builder, c: Call, x: Value) -> Value:
        axis, index_dtype = one_axis(c, x.rank), c["dtype"]
        indices = b.iota(dtype=index_dtype, shape=x.shape, axis=axis)
        start = b.constant(initial(x.dtype), x.dtype), b.constant(0, index_dtype)
        return b.reduce(x, indices, *start, axes=(axis,), regions=[_better(direction, x.dtype, index_dtype)])[1]


_arg(
    "argmax",
    "index along axis of the greatest element, the first of equal ones; NaN is the greatest (jax.numpy.argmax)",
    "GT",
    lowest,
)
_arg(
    "argmin",
    "index along axis of the least element, the first of equal ones; NaN is the least (jax.numpy.argmin)",
    "LT",
    highest,
)
