"""Ops: collectives, and how a value is laid over devices. Groups hold device numbers; no groups means all devices in
one. Evaluation is on one device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..batching import rules as batching
from ..batching.axes import moved
from ..batching.sharding import sharding_constraint_batch
from ..derivatives import collectives as derivatives
from ..derivatives import rules
from ..dims import same
from ..errors import ArgumentError, ShapeError, UnsupportedError
from ..opdef import Attribute, Call, OpDef, declare
from ..regions import check_region, check_region_count
from ..sharding import check_sharding
from ..types import UI32, TensorType
from .checks import axis_in_range, operand_count

_GROUPS = Attribute("groups", ())


def _group_size(call: Call) -> int:
    """Devices in a group; raises where groups differ in size or share a device."""
    groups = call["groups"]
    devices = [d for group in groups for d in group]
    if len({len(group) for group in groups}) > 1 or len(set(devices)) != len(devices) or any(d < 0 for d in devices):
        raise ArgumentError(f"{call.op.name}: groups should have one size and name each device once, received {groups}")
    return len(groups[0]) if groups else 1


def _known_group_size(call: Call) -> int:
    if not call["groups"] or not call["groups"][0]:
        raise ArgumentError(
            f"{call.op.name}: the result's shape depends on the groups' size; received groups "
            f"{call['groups']}, expected such as ((0, 1),)"
        )
    return _group_size(call)


def _alone(rule: Callable[[Call, np.ndarray], np.ndarray]) -> Callable[[Call, np.ndarray], np.ndarray]:
    def evaluate(call: Call, x: np.ndarray) -> np.ndarray:
        if _group_size(call) > 1:
            raise UnsupportedError(f"{call.op.name} evaluates on one device; received the groups {call['groups']}")
        return rule(call, x)

    return evaluate


def _identity(call: Call, x: np.ndarray) -> np.ndarray:
    return x


def _check_body(call: Call, x: TensorType) -> None:
    scalar = TensorType(x.dtype)
    check_region_count(call, 1)
    check_region(call, 0, [scalar, scalar], [scalar])


def _infer_all_reduce(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    x = types[0]
    _group_size(call)
    _check_body(call, x)
    return x


ALL_REDUCE = declare(
    OpDef(
        "all_reduce",
        "Fold the arrays of a group's devices with a region (StableHLO: all_reduce)",
        _infer_all_reduce,
        _alone(_identity),
        {"groups": _GROUPS},
        regions=("body",),
        jvp=derivatives.sum_only,
        transpose=derivatives.all_reduce_transpose,
        batch=batching.elementwise,
    )
)


def _infer_all_gather(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    x = types[0]
    axis_in_range(call, call["axis"], x.rank)
    size = _known_group_size(call)
    return x.with_shape(d * size if i == call["axis"] else d for i, d in enumerate(x.shape))


ALL_GATHER = declare(
    OpDef(
        "all_gather",
        "The arrays of a group's devices, side by side along an axis (StableHLO: all_gather)",
        _infer_all_gather,
        _alone(_identity),
        {"axis": Attribute("int"), "groups": _GROUPS},
        jvp=derivatives.linear,
        transpose=derivatives.all_gather_transpose,
        batch=moved("axis"),
    )
)


def _divided(call: Call, x: TensorType, axis: int, parts: int) -> TensorType:
    if parts < 1 or same(x.shape[axis] % parts, 0) is False:
        raise ShapeError(f"{call.op.name}: dimension {axis} of {x} should be a multiple of {parts}")
    return x.with_shape(d // parts if i == axis else d for i, d in enumerate(x.shape))


def _infer_reduce_scatter(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    x = types[0]
    axis_in_range(call, call["axis"], x.rank)
    _check_body(call, x)
    return _divided(call, x, call["axis"], _known_group_size(call))


REDUCE_SCATTER = declare(
    OpDef(
        "reduce_scatter",
        "Fold the arrays of a group's devices and keep this device's part (StableHLO: reduce_scatter)",
        _infer_reduce_scatter,
        _alone(_identity),
        {"axis": Attribute("int"), "groups": _GROUPS},
        regions=("body",),
        jvp=derivatives.sum_only,
        transpose=derivatives.reduce_scatter_transpose,
        batch=moved("axis"),
    )
)


def _infer_all_to_all(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    x = types[0]
    split, concat, count = call["split_axis"], call["concat_axis"], call["split_count"]
    axis_in_range(call, split, x.rank, "split_axis")
    axis_in_range(call, concat, x.rank, "concat_axis")
    size = _group_size(call)
    if call["groups"] and size != count:
        raise ArgumentError(f"all_to_all: split_count should be the groups' size {size}, received {count}")
    part = _divided(call, x, split, count)
    return part.with_shape(d * count if i == concat else d for i, d in enumerate(part.shape))


def _evaluate_all_to_all(call: Call, x: np.ndarray) -> np.ndarray:
    if call["split_count"] > 1:
        raise UnsupportedError(f"all_to_all evaluates on one device; received split_count {call['split_count']}")
    return x


ALL_TO_ALL = declare(
    OpDef(
        "all_to_all",
        "Exchange parts along an axis between devices of a group, join along another (StableHLO: all_to_all)",
        _infer_all_to_all,
        _alone(_evaluate_all_to_all),
        {
            "split_axis": Attribute("int"),
            "concat_axis": Attribute("int"),
            "split_count": Attribute("int"),
            "groups": _GROUPS,
        },
        jvp=derivatives.linear,
        transpose=derivatives.all_to_all_transpose,
        batch=moved("split_axis", "concat_axis"),
    )
)


def _infer_permute(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    x = types[0]
    pairs = call["pairs"]
    for side in (0, 1):
        if any(len(p) != 2 for p in pairs) or len({p[side] for p in pairs}) != len(pairs):
            raise ArgumentError(
                f"collective_permute: pairs should be (source, target), each source and each target "
                f"once; received {pairs}"
            )
    return x


def _evaluate_permute(call: Call, x: np.ndarray) -> np.ndarray:
    if any(source != target for source, target in call["pairs"]):
        raise UnsupportedError(f"collective_permute evaluates on one device; received the pairs {call['pairs']}")
    return x if call["pairs"] else np.zeros_like(x)


COLLECTIVE_PERMUTE = declare(
    OpDef(
        "collective_permute",
        "Send arrays between devices; zeros where none is sent (StableHLO: collective_permute)",
        _infer_permute,
        _evaluate_permute,
        {"pairs": Attribute("groups")},
        jvp=derivatives.linear,
        transpose=derivatives.collective_permute_transpose,
        batch=batching.elementwise,
    )
)


def _infer_partition_id(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 0)
    return TensorType(UI32)


PARTITION_ID = declare(
    OpDef(
        "partition_id",
        "The number of the partition that runs, 0 in evaluation (StableHLO: partition_id)",
        _infer_partition_id,
        lambda call: np.uint32(0),
        jvp=rules.constant,
        batch=batching.elementwise,
    )
)


def _infer_sharding_constraint(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    x = types[0]
    return TensorType(x.dtype, x.shape, check_sharding(call["sharding"], x.rank))


SHARDING_CONSTRAINT = declare(
    OpDef(
        "sharding_constraint",
        "The operand, laid over the mesh as its result's type says (Shardy: sharding_constraint)",
        _infer_sharding_constraint,
        _identity,
        {"sharding": Attribute("any")},
        jvp=derivatives.linear,
        transpose=derivatives.sharding_constraint_transpose,
        batch=sharding_constraint_batch,
    )
)
