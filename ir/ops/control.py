"""Ops: control flow, calls, and what wraps a region. Regions are isolated: every outer value they use is an operand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..batching import rules as batching
from ..errors import ArgumentError, DTypeError, ShapeError, UnsupportedError
from ..opdef import Attribute, ByRegions, Call, NotDifferentiable, OpDef, declare
from ..regions import check_region, check_region_count
from ..types import BOOL, I32, TensorType, has_tangent, static_shape

_PREDICATE = TensorType(BOOL)


def _constants(call: Call, types: Sequence[TensorType], most: int) -> int:
    count = call["consts"]
    if not 0 <= count <= most:
        raise ArgumentError(
            f"{call.op.name}: consts should be in [0, {most}] with {len(types)} operands, received {count}"
        )
    return count


def _infer_while(call: Call, *types: TensorType) -> tuple[TensorType, ...]:
    count = _constants(call, types, len(types))
    check_region_count(call, 2)
    check_region(call, 0, types, [_PREDICATE])
    check_region(call, 1, types, types[count:])
    return types[count:]


def _evaluate_while(call: Call, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    consts, carries = arrays[: call["consts"]], arrays[call["consts"] :]
    condition, body = call.run
    while bool(condition(*consts, *carries)[0]):
        carries = body(*consts, *carries)
    return carries


WHILE = declare(
    OpDef(
        "while",
        "Apply a body to carried values while a condition holds; constants are the same in every turn "
        "(StableHLO: while)",
        _infer_while,
        _evaluate_while,
        {"consts": Attribute("int", 0)},
        regions=("cond", "body"),
        jvp=ByRegions,
        batch=ByRegions,
    )
)


def _scan_parts(call: Call, operands: Sequence) -> tuple[tuple, tuple, tuple]:
    a, b = call["consts"], call["consts"] + call["carries"]
    return tuple(operands[:a]), tuple(operands[a:b]), tuple(operands[b:])


def _infer_scan(call: Call, *types: TensorType) -> tuple[TensorType, ...]:
    count = _constants(call, types, len(types))
    if not 0 <= call["carries"] <= len(types) - count:
        raise ArgumentError(
            f"scan: carries should be in [0, {len(types) - count}] with {len(types)} operands and "
            f"{count} consts, received {call['carries']}"
        )
    consts, carries, xs = _scan_parts(call, types)
    length = call["length"]
    for x in xs:
        if not x.shape or x.shape[0] != length:
            raise ShapeError(f"scan: a scanned array should have the length {length} as first dimension, received {x}")
    check_region_count(call, 1)
    slices = tuple(x.with_shape(x.shape[1:]) for x in xs)
    check_region(call, 0, consts + carries + slices, None)
    outputs = tuple(v.type for v in call.regions[0].outputs)
    check_region(call, 0, consts + carries + slices, carries + outputs[len(carries) :])
    return carries + tuple(y.with_shape((length, *y.shape)) for y in outputs[len(carries) :])


def _evaluate_scan(call: Call, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    consts, carries, xs = _scan_parts(call, arrays)
    count = len(carries)
    ys: list[np.ndarray] = [np.empty(static_shape(t), t.dtype) for t in call.result_types[count:]]
    steps = range(call["length"])
    for i in reversed(steps) if call["reverse"] else steps:
        results = call.run[0](*consts, *carries, *(x[i] for x in xs))
        carries = results[:count]
        for y, value in zip(ys, results[count:], strict=True):
            y[i] = value
    return (*carries, *ys)


SCAN = declare(
    OpDef(
        "scan",
        "Apply a body to carried values and to each slice of arrays along their first axis, and stack what it yields; "
        "reverse goes from the last slice to the first (jax.lax.scan)",
        _infer_scan,
        _evaluate_scan,
        {
            "consts": Attribute("int", 0),
            "carries": Attribute("int"),
            "length": Attribute("dim"),
            "reverse": Attribute("bool", False),
        },
        regions=("body",),
        jvp=ByRegions,
        batch=ByRegions,
    )
)


def _infer_cond(call: Call, *operands: TensorType) -> tuple[TensorType, ...]:
    if not operands:
        raise ArgumentError("cond: expected an index and the branches' operands, received none")
    index, *types = operands
    if index.shape:
        raise ShapeError(f"cond: the index should be a scalar, received {index}")
    if index.dtype not in (BOOL, I32):
        raise DTypeError(f"cond: the index should be i1 or i32, received {index}")
    if not call.regions or (index.dtype == BOOL and len(call.regions) != 2):
        raise ArgumentError(
            f"cond: expected {'2 branches for a predicate' if index.dtype == BOOL else 'a branch'}, "
            f"received {len(call.regions)}"
        )
    results = tuple(v.type for v in call.regions[0].outputs)
    for i in range(len(call.regions)):
        check_region(call, i, types, results)
    return results


def _evaluate_cond(call: Call, index: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    if index.dtype == BOOL:
        return call.run[0 if index else 1](*arrays)
    last = len(call.run) - 1
    return call.run[int(index) if 0 <= index <= last else last](*arrays)


COND = declare(
    OpDef(
        "cond",
        "Run one branch: of two by a predicate, True first, or by an index, the last where it is out of range "
        "(StableHLO: if, case)",
        _infer_cond,
        _evaluate_cond,
        regions=("branches",),
        jvp=ByRegions,
        batch=ByRegions,
    )
)


def _evaluate_call(call: Call, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    if call.call_function is None:
        raise ArgumentError(f"call: there is no module to find the function {call['callee']!r} in")
    return call.call_function(call["callee"], *arrays)


CALL = declare(
    OpDef(
        "call",
        "Apply a function of the module (StableHLO: call)",
        lambda call, *types: call["results"],
        _evaluate_call,
        {"callee": Attribute("str"), "results": Attribute("types")},
        jvp=ByRegions,
        batch=ByRegions,
    )
)

OPTIMIZATION_BARRIER = declare(
    OpDef(
        "optimization_barrier",
        "The operands, unchanged; no rewrite moves across it (StableHLO: optimization_barrier)",
        lambda call, *types: types,
        lambda call, *arrays: arrays,
        jvp=lambda b, call, primals, tangents, results: tuple(tangents),
        batch=batching.elementwise,
    )
)


def _evaluate_custom_call(call: Call, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    raise UnsupportedError(f"custom_call {call['target']!r} is defined by its target and has no evaluation in NumPy")


CUSTOM_CALL = declare(
    OpDef(
        "custom_call",
        "What a target defines under a name; layouts are orders of axes, minor to major, one for each array, or none: "
        "row-major (StableHLO: custom_call)",
        lambda call, *types: call["results"],
        _evaluate_custom_call,
        {
            "target": Attribute("str"),
            "results": Attribute("types"),
            "backend_config": Attribute("str", ""),
            "api_version": Attribute("int", 2),
            "has_side_effect": Attribute("bool", False),
            "operand_layouts": Attribute("groups", ()),
            "result_layouts": Attribute("groups", ()),
        },
        pure=False,
        jvp=NotDifferentiable("its target alone knows what it does; wrap it with custom_gradient"),
        batch=batching.by_loop,
    )
)


def _infer_body(call: Call, *types: TensorType) -> tuple[TensorType, ...]:
    check_region_count(call, len(call.op.regions))
    check_region(call, 0, types, None)
    return tuple(v.type for v in call.regions[0].outputs)


def _evaluate_body(call: Call, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return call.run[0](*arrays)


COMPOSITE = declare(
    OpDef(
        "composite",
        "A named operation and the region that says what it does (StableHLO: composite)",
        _infer_body,
        _evaluate_body,
        {"name": Attribute("str"), "attrs": Attribute("str", "")},
        regions=("body",),
        jvp=ByRegions,
        batch=ByRegions,
    )
)

REMAT = declare(
    OpDef(
        "remat",
        "A region whose inner values the derivative computes again and does not keep; again: this is the second time, "
        "not to be merged with the first (jax.checkpoint)",
        _infer_body,
        _evaluate_body,
        {"again": Attribute("bool", False)},
        regions=("body",),
        jvp=ByRegions,
        batch=ByRegions,
    )
)


def _infer_custom_vjp(call: Call, *types: TensorType) -> tuple[TensorType, ...]:
    results = _infer_body(call, *types)
    check_region(call, 1, types, None)
    forward = tuple(v.type for v in call.regions[1].outputs)
    check_region(call, 1, types, results + forward[len(results) :])
    cotangents = tuple(t for t in types if has_tangent(t))
    check_region(call, 2, forward[len(results) :] + tuple(t for t in results if has_tangent(t)), cotangents)
    return results


CUSTOM_VJP = declare(
    OpDef(
        "custom_vjp",
        "The region primal, with a derivative of its own: forward returns the results and residuals, backward "
        "takes the "
        "residuals and a cotangent for each float result and returns one for each float operand (jax.custom_vjp)",
        _infer_custom_vjp,
        _evaluate_body,
        regions=("primal", "forward", "backward"),
        jvp=ByRegions,
        batch=ByRegions,
    )
)
