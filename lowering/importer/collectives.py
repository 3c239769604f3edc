"""Rules for operations between devices. Groups are of devices over all partitions, or of replicas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.errors import UnsupportedError
from ...ir.graph import Value
from ...ir.types import UI32
from .reading import Source
from .scope import Rule, Scope


def _count(s: Scope, name: str) -> int:
    attributes = s.importer.module.operation.attributes
    return int(attributes[name].value) if name in attributes else 1


def _groups(s: Scope, op: Source) -> tuple[tuple[int, ...], ...]:
    """Groups that partitions can form; groups of single devices are none at all."""
    groups = op.groups("replica_groups")
    if _count(s, "mhlo.num_replicas") > 1 and any(len(g) > 1 for g in groups):
        raise UnsupportedError(
            f"{op.name} between replicas: lamina runs one replica on several partitions; compile the program for "
            "partitions (num_partitions)"
        )
    return groups


def _alone(groups: Sequence[Sequence[int]], factor: int = 1) -> bool:
    return factor == 1 and all(len(g) == 1 for g in groups)


def all_reduce(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """Each operand by itself, in the type of the region."""
    groups = _groups(s, op)
    results = []
    for i, x in enumerate(operands):
        body = s.region(op.regions[0], op.name)
        value = s.convert(x, body.inputs[0].dtype)
        if not _alone(groups):
            value = s.b.all_reduce(value, groups=groups, regions=[body])
        results.append(s.convert(value, op.dtype(i)))
    return results


def _ratio(op: Source, axis: int, whole: int, part: int) -> int:
    return whole // part if part else 1


def all_gather(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """The groups' size is that of the result over that of the operand."""
    axis = op.integer("all_gather_dim")
    results = []
    for i, x in enumerate(operands):
        factor = _ratio(op, axis, op.shape(i)[axis] or 0, x.shape[axis])  # type: ignore[arg-type]
        groups = _groups(s, op) or (tuple(range(factor)),)
        results.append(x if _alone(groups, factor) else s.b.all_gather(x, axis=axis, groups=groups))
    return results


def reduce_scatter(s: Scope, op: Source, x: Value) -> Value:
    """In the type of the region."""
    axis = op.integer("scatter_dimension")
    body = s.region(op.regions[0], op.name)
    value = s.convert(x, body.inputs[0].dtype)
    factor = _ratio(op, axis, x.shape[axis], op.shape()[axis] or 0)  # type: ignore[arg-type]
    groups = _groups(s, op) or (tuple(range(factor)),)
    if not _alone(groups, factor):
        value = s.b.reduce_scatter(value, axis=axis, groups=groups, regions=[body])
    return s.convert(value, op.dtype())


def all_to_all(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """Each operand by itself."""
    count = op.integer("split_count")
    groups = _groups(s, op)
    settings = {
        "split_axis": op.integer("split_dimension"),
        "concat_axis": op.integer("concat_dimension"),
        "split_count": count,
    }
    if count == 1:
        return operands
    return [s.b.all_to_all(x, groups=groups or (tuple(range(count)),), **settings) for x in operands]


def collective_permute(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """Each operand by itself."""
    pairs = op.matrix("source_target_pairs", 0)
    if all(source == target for source, target in pairs) and pairs and _devices(s) == 1:
        return operands
    return [s.b.collective_permute(x, pairs=pairs) for x in operands]


def _devices(s: Scope) -> int:
    return _count(s, "mhlo.num_partitions") * _count(s, "mhlo.num_replicas")


def collective_broadcast(s: Scope, op: Source, *operands: Value) -> Sequence[Value]:
    """What the first device of each group has, by way of all that the group has."""
    groups = _groups(s, op)
    if _alone(groups):
        return operands
    results = []
    for x in operands:
        stacked = s.b.all_gather(s.b.reshape(x, shape=(1, *x.shape)), axis=0, groups=groups)
        first = s.b.slice(stacked, start=(0,) * stacked.rank, limit=(1, *x.shape), strides=(1,) * stacked.rank)
        results.append(s.b.reshape(first, shape=x.shape))
    return results


def partition_id(s: Scope, op: Source) -> Value:
    """The op of that name."""
    return s.b.partition_id() if _count(s, "mhlo.num_partitions") > 1 else s.b.constant(np.uint32(0), UI32)


def replica_id(s: Scope, op: Source) -> Value:
    """There is one replica, number 0."""
    if _count(s, "mhlo.num_replicas") > 1:
        raise UnsupportedError(f"{op.name}: lamina runs one replica; compile the program for partitions instead")
    return s.b.constant(np.uint32(0), UI32)


RULES: dict[str, Rule] = {
    "stablehlo.all_reduce": all_reduce,
    "stablehlo.cross-replica-sum": all_reduce,
    "stablehlo.all_gather": all_gather,
    "stablehlo.reduce_scatter": reduce_scatter,
    "stablehlo.all_to_all": all_to_all,
    "stablehlo.collective_permute": collective_permute,
    "stablehlo.collective_broadcast": collective_broadcast,
    "stablehlo.partition_id": partition_id,
    "stablehlo.replica_id": replica_id,
}
