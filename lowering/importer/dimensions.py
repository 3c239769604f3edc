"""Shape arithmetic: values of small integer tensors that are known while importing, as dimensions.

A program with open dimensions (``?``) computes shapes: ``get_dimension_size``, arithmetic, ``concatenate``; the
result is an operand of a ``dynamic_`` operation. Such values are followed here, element by element, so that shapes
become symbolic dimensions. What can't be followed is not known, and matters only where a shape depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from ...ir.dims import Dim, DimLike, bounds, free_symbols, max_dim, min_dim, substitute, symbol
from ...ir.graph import Value
from ...ir.types import BOOL, is_integer
from .reading import Source

#: Most elements of a tensor that is followed.
_MOST = 64


class Relation(NamedTuple):
    """A comparison that depends on symbols: ``left relation right``."""

    relation: str
    left: DimLike
    right: DimLike


class Known:
    """Arrays (of dimensions, of booleans and relations) that values are known to hold."""

    def __init__(self) -> None:
        self._arrays: dict[Value, np.ndarray] = {}
        #: Least values of symbols that the program asserts.
        self.least: dict[str, int] = {}
        #: Remainders, and the bounds that they stay below.
        self.remainders: dict[DimLike, int] = {}

    def of(self, value: Any) -> np.ndarray | None:
        """What a value holds, as an array of objects, or None."""
        if not isinstance(value, Value) or value.rank > 2:
            return None
        found = self._arrays.get(value)
        if found is None and value.producer is not None and value.producer.op.name == "constant":
            array = value.producer.attributes["value"]
            if array.size <= _MOST and (is_integer(array.dtype) or array.dtype == BOOL):
                found = self._arrays[value] = _objects(array)
        return found

    def dims(self, value: Any) -> tuple[DimLike, ...] | None:
        """What a vector of sizes holds, or None where an element is not known."""
        array = self.of(value)
        if array is None or not all(isinstance(d, int | Dim) for d in array.reshape(-1)):
            return None
        return tuple(array.reshape(-1))

    def note(self, array: np.ndarray, value: Value) -> None:
        """Remember what a value holds."""
        self._arrays[value] = array

    def copy(self, value: Value, other: Value) -> None:
        """What is known of a value is known of another."""
        if value in self._arrays:
            self._arrays[other] = self._arrays[value]

    def bounds(self, dim: DimLike) -> tuple[float, float]:
        """Least and greatest value, with what the program asserts."""
        if dim in self.remainders:
            return 0, self.remainders[dim] - 1
        shifted = {name: symbol(name) + self.least[name] for name in free_symbols(dim) if name in self.least}
        return bounds(substitute(dim, shifted))

    def decide(self, relation: str, left: DimLike, right: DimLike) -> bool | Relation:
        """Whether a comparison holds for all values of the symbols, or for none; else the comparison."""
        low, high = self.bounds(left - right)
        if left in self.remainders and isinstance(right, int):
            low, high = -right, self.remainders[left] - 1 - right
        answer = {
            "EQ": True if low == high == 0 else False if low > 0 or high < 0 else None,
            "NE": False if low == high == 0 else True if low > 0 or high < 0 else None,
            "GE": True if low >= 0 else False if high < 0 else None,
            "GT": True if low > 0 else False if high <= 0 else None,
            "LE": True if high <= 0 else False if low > 0 else None,
            "LT": True if high < 0 else False if low >= 0 else None,
        }[relation]
        return Relation(relation, left, right) if answer is None else answer


def _objects(array: np.ndarray) -> np.ndarray:
    made = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        made[place] = bool(array[place]) if array.dtype == BOOL else int(array[place])
    return made


class _Unknown(Exception):
    """An element that can't be followed."""


def fold(known: Known, source: Source, operands: Sequence[Any]) -> np.ndarray | None:
    """What the result of an operation holds, from what its operands hold; None where that is not known."""
    rule = _FOLDS.get(source.name)
    if rule is None:
        return None
    arrays = [known.of(o) for o in operands]
    if any(a is None for a in arrays) and source.name not in _PARTIAL:
        return None
    try:
        result = rule(known, source, operands, *arrays)
    except _Unknown:
        return None
    if result is None or result.size > _MOST or result.ndim > 2 or not _fits(result, source.dtype()):
        return None
    return result


def _fits(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether no element wraps in the type that the program computes in."""
    if not is_integer(dtype):
        return True
    limits = ml_dtypes.iinfo(dtype)
    return all(limits.min <= v <= limits.max for v in array.reshape(-1) if isinstance(v, int))


def _each(function: Callable[..., Any]) -> Callable[..., np.ndarray | None]:
    """A fold that goes through the elements."""

    def rule(known: Known, source: Source, operands: Sequence[Any], *arrays: np.ndarray) -> np.ndarray | None:
        shape = max((a.shape for a in arrays), key=len)
        made = np.empty(shape, object)
        for place in np.ndindex(shape):
            made[place] = function(known, *(a[place] if a.shape else a[()] for a in arrays))
        return made

    return rule


def _number(*values: Any) -> None:
    if not all(isinstance(v, int | Dim) and not isinstance(v, bool) for v in values):
        raise _Unknown


def _arithmetic(function: Callable[..., Any]) -> Callable[..., np.ndarray | None]:
    def element(known: Known, *values: Any) -> Any:
        _number(*values)
        return function(known, *values)

    return _each(element)


def _divide(known: Known, a: DimLike, b: DimLike) -> DimLike:
    """Division that cuts toward zero, where that is known to be rounding down."""
    if b == 0 or known.bounds(b)[0] < 0 or known.bounds(a)[0] < 0:
        if isinstance(a, int) and isinstance(b, int) and b:
            return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        raise _Unknown
    return a // b


def _remainder(known: Known, a: DimLike, b: DimLike) -> DimLike:
    rest = a - b * _divide(known, a, b)
    if isinstance(rest, Dim) and isinstance(b, int):
        known.remainders[rest] = abs(b)
    return rest


def _sign(known: Known, a: DimLike) -> DimLike:
    low, high = known.bounds(a)
    if low > 0:
        return 1
    if low >= 0:
        return min_dim(a, 1)
    if high < 0:
        return -1
    raise _Unknown


def _and(known: Known, a: Any, b: Any) -> Any:
    if a is False or b is False:
        return False
    if a is True or b is True:
        return b if a is True else a
    if isinstance(a, int | Dim) and isinstance(b, int) and not isinstance(a, bool):
        return a & b if isinstance(a, int) else _unknown()
    raise _Unknown


def _or(known: Known, a: Any, b: Any) -> Any:
    if a is True or b is True:
        return True
    if a is False or b is False:
        return b if a is False else a
    raise _Unknown


def _unknown() -> Any:
    raise _Unknown


def _compare(known: Known, source: Source, operands: Sequence[Any], a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    relation = source.enum("comparison_direction")

    def element(known: Known, left: Any, right: Any) -> Any:
        if isinstance(left, bool) and isinstance(right, bool) and relation in ("EQ", "NE"):
            return (left == right) == (relation == "EQ")
        _number(left, right)
        return known.decide(relation, left, right)

    return _each(element)(known, source, operands, a, b)


def _select(known: Known, chosen: Any, a: Any, b: Any) -> Any:
    if isinstance(chosen, bool):
        return a if chosen else b
    if a == b and type(a) is type(b):
        return a
    if isinstance(chosen, Relation) and {chosen.left, chosen.right} == {a, b}:
        smaller = chosen.relation in ("LT", "LE")
        if chosen.relation in ("LT", "LE", "GT", "GE"):
            return (min_dim if smaller == (a == chosen.left) else max_dim)(a, b)
    raise _Unknown


def _convert(known: Known, value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _convert_fold(known: Known, source: Source, operands: Sequence[Any], a: np.ndarray) -> np.ndarray | None:
    target = source.dtype()
    if not is_integer(target) or any(isinstance(v, Relation) for v in a.reshape(-1)):
        return None
    return _each(_convert)(known, source, operands, a)


def _reshape(
    known: Known, source: Source, operands: Sequence[Any], a: np.ndarray | None, *rest: Any
) -> np.ndarray | None:
    shape = source.shape()
    if a is None:
        return None
    return a.reshape(shape) if None not in shape and len(shape) <= 2 else None  # type: ignore[arg-type]


def _concatenate(known: Known, source: Source, operands: Sequence[Any], *arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays, source.integer("dimension"))


def _slice(known: Known, source: Source, operands: Sequence[Any], a: np.ndarray) -> np.ndarray | None:
    if a.ndim != 1:
        return None
    (start,), (limit,), (step,) = (source.ints(n) for n in ("start_indices", "limit_indices", "strides"))
    return a[start:limit:step]


def _broadcast(known: Known, source: Source, operands: Sequence[Any], a: np.ndarray, *rest: Any) -> np.ndarray | None:
    shape = source.shape()
    if a.ndim or None in shape or int(np.prod(shape)) > _MOST:  # type: ignore[arg-type]
        return a if a.shape == shape else None
    return np.broadcast_to(a, shape).copy()  # type: ignore[arg-type]


def _dimension_size(known: Known, source: Source, operands: Sequence[Any], *rest: Any) -> np.ndarray:
    made = np.empty((), object)
    made[()] = operands[0].shape[source.integer("dimension")]
    return made


def _iota(known: Known, source: Source, operands: Sequence[Any], *rest: Any) -> np.ndarray | None:
    shape = source.shape()
    if len(shape) != 1 or shape[0] is None or shape[0] > _MOST or not is_integer(source.dtype()):
        return None
    return _objects(np.arange(shape[0]))


def _reduce(known: Known, source: Source, operands: Sequence[Any], *arrays: np.ndarray) -> np.ndarray | None:
    """The product or sum of a vector of sizes."""
    names = [op.operation.name for op in source.regions[0].blocks[0].operations]
    if len(arrays) != 2 or len(names) != 2 or arrays[0].ndim != 1 or names[0] not in _BINARY:
        return None
    total = arrays[1][()]
    for value in arrays[0]:
        _number(total, value)
        total = _BINARY[names[0]](known, total, value)
    made = np.empty((), object)
    made[()] = total
    return made


_BINARY: dict[str, Callable[..., Any]] = {
    "stablehlo.add": lambda known, a, b: a + b,
    "stablehlo.subtract": lambda known, a, b: a - b,
    "stablehlo.multiply": lambda known, a, b: a * b,
    "stablehlo.maximum": lambda known, a, b: max_dim(a, b),
    "stablehlo.minimum": lambda known, a, b: min_dim(a, b),
    "stablehlo.divide": _divide,
    "stablehlo.remainder": _remainder,
}
_FOLDS: dict[str, Callable[..., np.ndarray | None]] = {
    **{name: _arithmetic(rule) for name, rule in _BINARY.items()},
    "stablehlo.negate": _arithmetic(lambda known, a: -a),
    "stablehlo.sign": _arithmetic(_sign),
    "stablehlo.abs": _arithmetic(lambda known, a: max_dim(a, -a)),
    "stablehlo.clamp": _arithmetic(lambda known, low, a, high: min_dim(max_dim(a, low), high)),
    "stablehlo.and": _each(_and),
    "stablehlo.or": _each(_or),
    "stablehlo.compare": _compare,
    "stablehlo.select": _each(_select),
    "stablehlo.convert": _convert_fold,
    "stablehlo.reshape": _reshape,
    "stablehlo.dynamic_reshape": _reshape,
    "stablehlo.concatenate": _concatenate,
    "stablehlo.slice": _slice,
    "stablehlo.broadcast_in_dim": _broadcast,
    "stablehlo.broadcast": _broadcast,
    "stablehlo.get_dimension_size": _dimension_size,
    "stablehlo.iota": _iota,
    "stablehlo.reduce": _reduce,
}
_PARTIAL = ("stablehlo.get_dimension_size", "stablehlo.iota", "stablehlo.dynamic_reshape")
