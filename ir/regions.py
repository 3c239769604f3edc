"""Regions of ops such as reduce, sort and scatter: checking them, recognising common ones, applying them to arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError, DTypeError, ShapeError
from .evaluate import evaluate_node
from .graph import Graph, Node, Value
from .opdef import Call
from .types import TensorType, same_type

#: Binary ops that :func:`simple_region` names.
SIMPLE_OPS = ("add", "multiply", "maximum", "minimum", "and", "or", "xor")


def simple_region(region: Graph) -> str | None:
    """The op's name where ``region`` is ``(a, b) -> op(a, b)`` for one of :data:`SIMPLE_OPS`, else None.

    All of them are commutative, so ``op(b, a)`` counts too.
    """
    if len(region.nodes) != 1 or len(region.inputs) != 2 or region.outputs != [region.nodes[0].results[0]]:
        return None
    node = region.nodes[0]
    if node.op.name not in SIMPLE_OPS or set(node.operands) != set(region.inputs):
        return None
    return node.op.name


def selected_input(region: Graph) -> int | None:
    """Which input ``region`` returns as its only output without change, else None (a scatter that overwrites: 1)."""
    if len(region.outputs) == 1 and region.outputs[0] in region.inputs:
        return region.inputs.index(region.outputs[0])
    return None


def simple_comparator(region: Graph) -> tuple[int, str, bool] | None:
    """Recognise a sort comparator that is one LT or GT on one key.

    Returns:
        Which operand of the sort is the key, ``"LT"`` or ``"GT"``, and whether the order is total; None for any other
        comparator. JAX's, which makes -0 to 0 and every NaN to one and compares by LT in the total order, is LT in an
        order that is not total: zeros are equal, and NaN is last.
    """
    node = region.outputs[0].producer if len(region.outputs) == 1 else None
    if node is None or node.op.name != "compare":
        return None
    plain = [_before_normalization(v) for v in node.operands]
    normalized = node.attributes["total_order"] and None not in plain
    found = _one_key(region, plain if normalized else node.operands, node.attributes["direction"])
    if found is None or (normalized and found[1] == "GT"):  # which would have NaN first
        return None
    return *found, node.attributes["total_order"] and not normalized


def _one_key(region: Graph, operands: Sequence[Value | None], direction: str) -> tuple[int, str] | None:
    """The key of a comparison of the two elements of one operand, and which way it goes from the first to the other."""
    if direction not in ("LT", "GT") or any(v not in region.inputs for v in operands):
        return None
    left, right = (region.inputs.index(v) for v in operands if v is not None)
    if left // 2 != right // 2 or left == right:
        return None
    return left // 2, direction if left < right else {"LT": "GT", "GT": "LT"}[direction]


def _before_normalization(value: Value) -> Value | None:
    """``x`` of ``select(x != x, nan, select(x == 0, 0, x))``, else None."""
    x, nan, others = _selected(value, "NE")
    y, zero, rest = _selected(others, "EQ") if others is not None else (None, None, None)
    if x is None or x is not y or rest is not x or nan is None or zero is None:
        return None
    return x if np.isnan(nan) and zero == 0 and not np.signbit(zero) else None


def _selected(value: Value, direction: str) -> tuple[Value | None, Any, Value | None]:
    """``x``, ``c`` and ``y`` of ``select(x direction k, c, y)``, if ``c`` is a constant and ``k`` is ``x`` for NE and
    0 for EQ; else Nones."""
    node = value.producer
    if node is not None and node.op.name == "select":
        condition, constant, other = node.operands
        test, result = condition.producer, _constant(constant)
        if test is not None and test.op.name == "compare" and test.attributes["direction"] == direction:
            x, k = test.operands
            if result is not None and (k is x if direction == "NE" else _constant(k) == 0):
                return x, result, other
    return None, None, None


def _constant(value: Value) -> Any:
    """The number that a value is, if it is a constant."""
    node = value.producer
    if node is None or node.op.name != "constant" or node.attributes["value"].ndim:
        return None
    return node.attributes["value"].astype(np.float64)[()]


def check_region(call: Call, index: int, inputs: Sequence[TensorType], outputs: Sequence[TensorType] | None) -> None:
    """Raise where region ``index`` of ``call`` is missing, or its input or output types are not the expected ones.

    ``outputs`` None: any outputs will do.
    """
    names = call.op.regions
    role = names[min(index, len(names) - 1)]
    if index >= len(call.regions):
        raise ArgumentError(f"{call.op.name}: region {role!r} is missing; received {len(call.regions)} regions")
    region = call.regions[index]
    if region.parameters or region.updates:
        raise ArgumentError(
            f"{call.op.name}: region {role!r} has parameters or updates; pass them as operands and results"
        )
    _compare_types(f"{call.op.name}: region {role!r} takes", [v.type for v in region.inputs], inputs)
    if outputs is not None:
        _compare_types(f"{call.op.name}: region {role!r} returns", [v.type for v in region.outputs], outputs)


def check_region_count(call: Call, count: int) -> None:
    """Raise where ``call`` has not exactly ``count`` regions."""
    if len(call.regions) != count:
        raise ArgumentError(
            f"{call.op.name}: expected {count} regions ({', '.join(call.op.regions)}), received {len(call.regions)}"
        )


def _compare_types(what: str, received: Sequence[TensorType], expected: Sequence[TensorType]) -> None:
    if len(received) == len(expected) and all(map(same_type, received, expected)):
        return
    message = f"{what} ({', '.join(map(str, received))}); expected ({', '.join(map(str, expected))})"
    if len(received) != len(expected):
        raise ArgumentError(message)
    if [t.dtype for t in received] != [t.dtype for t in expected]:
        raise DTypeError(message)
    raise ShapeError(message)


def on_arrays(call: Call, index: int = 0) -> Callable[..., tuple[np.ndarray, ...]]:
    """A region of scalars as a function of arrays: it is applied at every place of arrays of one shape.

    A region of elementwise ops and constants is evaluated on whole arrays; any other one runs once per element.
    """
    region = call.regions[index]
    if all(node.op.elementwise or node.op.name == "constant" for node in region.nodes):
        return lambda *arrays: _lifted(region, arrays)
    return lambda *arrays: _each(region, call.run[index], arrays)


def _lifted(region: Graph, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    shape = arrays[0].shape
    environment: dict[Value, np.ndarray] = dict(zip(region.inputs, arrays, strict=True))
    for node in region.nodes:
        if node.op.name == "constant":
            environment[node.result] = np.broadcast_to(node.attributes["value"], shape)
            continue
        lifted = Node(
            node.op,
            node.operands,
            node.attributes,
            node.regions,
            [TensorType(r.dtype, shape) for r in node.results],
            node.location,
        )
        results = evaluate_node(lifted, [environment[v] for v in node.operands])
        environment.update(zip(node.results, results, strict=True))
    return tuple(environment[v] for v in region.outputs)


def _each(
    region: Graph, run: Callable[..., tuple[np.ndarray, ...]], arrays: Sequence[np.ndarray]
) -> tuple[np.ndarray, ...]:
    shape = arrays[0].shape
    results = tuple(np.empty(shape, v.dtype) for v in region.outputs)
    for place in np.ndindex(shape):
        for result, value in zip(results, run(*(a[place] for a in arrays)), strict=True):
            result[place] = value
    return results


def fold_at(
    fold: Callable[..., tuple[np.ndarray, ...]],
    flat: Sequence[np.ndarray],
    places: np.ndarray,
    values: Sequence[np.ndarray],
) -> None:
    """``flat[place] = fold(flat[place], value)`` for each place and value, in place; equal places in order."""
    order = np.argsort(places, kind="stable")
    grouped = places[order]
    first = np.ones(len(grouped), np.bool_)
    first[1:] = grouped[1:] != grouped[:-1]
    begin = np.maximum.accumulate(np.where(first, np.arange(len(grouped)), 0))
    turn = np.arange(len(grouped)) - begin  # 0 for the first value of a place, 1 for the second ...
    for now in range(int(turn.max(initial=-1)) + 1):
        chosen = order[turn == now]
        where = places[chosen]
        for x, new in zip(flat, fold(*(x[where] for x in flat), *(v[chosen] for v in values)), strict=True):
            x[where] = new
