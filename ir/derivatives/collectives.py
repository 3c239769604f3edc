"""Derivatives of collectives, taken of all devices' arrays together: what an array adds to others comes back to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Builder, binary_region
from ..errors import DifferentiationError
from ..graph import Value
from ..opdef import Call, Linear
from ..regions import simple_region
from .rules import Tangent, linear, same

__all__ = ["linear"]


def sum_only(b: Builder, call: Call, primals: Sequence[Value], tangents: Sequence[Tangent], results: Any) -> Any:
    """The jvp of a fold that is linear: a sum. Raises :class:`DifferentiationError` for any other."""
    fold = simple_region(call.regions[0])
    if fold != "add":
        raise DifferentiationError(
            f"{call.op.name} has a derivative where it adds, received {fold or 'another region'}; gather the arrays "
            f"with all_gather and fold them, or take it out of the derivative with ops.stop_gradient(x)\n"
            f"  at {b.location}"
        )
    return linear(b, call, primals, tangents, results)


def all_reduce_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return same(b, call, [ct])


def all_gather_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    region = binary_region("add", ct.dtype)
    return b.reduce_scatter(ct, axis=call["axis"], groups=call["groups"], regions=[region])


def reduce_scatter_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.all_gather(ct, axis=call["axis"], groups=call["groups"])


def all_to_all_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.all_to_all(
        ct,
        split_axis=call["concat_axis"],
        concat_axis=call["split_axis"],
        split_count=call["split_count"],
        groups=call["groups"],
    )


def collective_permute_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return b.collective_permute(ct, pairs=tuple((target, source) for source, target in call["pairs"]))


def sharding_constraint_transpose(b: Builder, call: Call, ct: Value, x: Linear) -> Value:
    return same(b, call, [ct])
