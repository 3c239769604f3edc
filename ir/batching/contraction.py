"""Batching of ops that multiply and sum: a batch dimension joins those that they have.

A product takes it as one of its own batch dimensions or free ones. A convolution has one batch dimension and one of
features, and the new one becomes the outer factor of one of these: of the batch where only the input has it, of the
output features where only the kernel has it, of the groups where both do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call, infer_types
from .rules import by_loop, with_attributes


def _later(axes: Sequence[int], by: bool = True) -> tuple[int, ...]:
    return tuple(axis + by for axis in axes)


def dot_general(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    """The product with one batch dimension more or, where one factor has it only, one free dimension more."""
    left, right = batched
    both = left and right
    axes = {
        f"{side}_{kind}": ((0,) if both and kind == "batch" else ()) + _later(call[f"{side}_{kind}"], has)
        for side, has in (("lhs", left), ("rhs", right))
        for kind in ("batch", "contract")
    }
    result = with_attributes(b, call, operands, **axes)
    if both:
        return result
    # The free dimension is the first one of its factor: after the batch, and after those of the left factor.
    place = len(call["lhs_batch"])
    if right:
        place += operands[0].rank - len(call["lhs_batch"]) - len(call["lhs_contract"])
    return _to_front(b, result, place)


def convolution(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
    """One convolution, the batch dimension merged into the batch, the features or the groups."""
    if size == 0:
        return _nothing(b, call, operands, batched)
    (x, w), (of_input, of_kernel) = operands, batched
    groups = call["feature_groups"] * call["batch_groups"]  # one of them is 1
    if of_input and of_kernel:
        if not isinstance(size, int):  # a number of groups is no symbol
            return by_loop(b, call, size, operands, batched)
        # The groups of one element of the batch stay side by side.
        kind, role = ("batch_groups", 0) if call["batch_groups"] > 1 else ("feature_groups", 1)
        x = _merged(b, x, call["lhs_spec"][role])
        w = _merged(b, w, call["rhs_spec"][0])
        return _split(b, with_attributes(b, call, (x, w), **{kind: groups * size}), call["out_spec"][1], size)
    if of_input:
        x = _merged(b, x, call["lhs_spec"][0], call["batch_groups"])
        return _split(b, with_attributes(b, call, (x, w)), call["out_spec"][0], size)
    w = _merged(b, w, call["rhs_spec"][0], groups)
    return _split(b, with_attributes(b, call, (x, w)), call["out_spec"][1], size, groups)


def _nothing(b: Builder, call: Call, operands: Sequence[Value], batched: Sequence[bool]) -> Value:
    types = [x.type.with_shape(x.shape[1:]) if has else x.type for x, has in zip(operands, batched, strict=True)]
    (type_,) = infer_types(call, types)
    return b.full((0, *type_.shape), 0, type_.dtype)


def _to_front(b: Builder, x: Value, axis: int) -> Value:
    return x if axis == 0 else b.transpose(x, permutation=(axis, *(i for i in range(x.rank) if i != axis)))


def _merged(b: Builder, x: Value, axis: int, groups: int = 1) -> Value:
    """The first dimension merged into ``axis`` (counted without it), inside of ``groups`` and outside of the rest."""
    size, shape = x.shape[0], list(x.shape[1:])
    merged = [*shape[:axis], size * shape[axis], *shape[axis + 1 :]]
    if groups > 1:
        x = b.reshape(x, shape=(size, *shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :]))
    place = axis + (groups > 1)  # how many dimensions come before it
    if place:
        x = b.transpose(x, permutation=(*range(1, place + 1), 0, *range(place + 1, x.rank)))
    return b.reshape(x, shape=merged)


def _split(b: Builder, x: Value, axis: int, size: DimLike, groups: int = 1) -> Value:
    """Undoes :func:`_merged`."""
    shape = list(x.shape)
    inner = shape[axis] // size
    if groups == 1:
        return _to_front(b, b.reshape(x, shape=(*shape[:axis], size, inner, *shape[axis + 1 :])), axis)
    x = b.reshape(x, shape=(*shape[:axis], groups, size, inner // groups, *shape[axis + 1 :]))
    return b.reshape(_to_front(b, x, axis + 1), shape=(size, *shape[:axis], inner, *shape[axis + 1 :]))
