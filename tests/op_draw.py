"""Drawing uses of ops by hypothesis: choices, arrays full of the values that break things, graphs of one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from lamina.ir import Builder, Graph, TensorType, element_type
from lamina.ir.types import bit_width, is_complex, is_float, is_integer, is_unsigned

Case = tuple[Graph, list[np.ndarray]]
CASES: dict[str, st.SearchStrategy[Case]] = {}

FLOATS = ("f32", "f32", "f64", "f16", "bf16")  # f32 twice: it is what matters most
INTEGERS = ("i32", "i8", "i16", "i64", "ui8", "ui16", "ui32", "ui64")
SIGNED = ("i32", "i8", "i16", "i64")
COMPLEX = ("c64", "c128")
ANY = (FLOATS, INTEGERS, COMPLEX, ("i1",))
SMALL = ("i4", "ui4", "f8e4m3fn", "f8e5m2")


class Draw:
    """What a case draws from: choices by hypothesis (they shrink), arrays from a seed that hypothesis chose."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**31)))

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def int(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def bool(self) -> bool:
        return self.draw(st.booleans())

    def dtype(self, *families: Sequence[str]) -> np.dtype:
        return element_type(self.pick(*(name for names in families for name in names)))

    def shape(self, low: int = 0, high: int = 3, least: int = 0, most: int = 5) -> tuple[int, ...]:
        """A shape of ``low`` to ``high`` dimensions; without zeros in most draws, since nothing is computed then."""
        shape = tuple(self.int(max(least, 1), most) for _ in range(self.int(low, high)))
        if shape and least == 0 and self.int(0, 7) == 0:
            axis = self.int(0, len(shape) - 1)
            shape = (*shape[:axis], 0, *shape[axis + 1 :])
        return shape

    def wild(self, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
        """Any value but subnormals, special ones often."""
        if is_complex(dtype):
            result = np.empty(shape, dtype)
            result.real, result.imag = (self.wild(result.real.dtype, shape) for _ in range(2))
            return result
        if is_float(dtype):
            return _mix(self.rng, self._floats(dtype, shape, spread=6), _special_floats(dtype))
        if is_integer(dtype):
            width, low = bit_width(dtype), 0 if is_unsigned(dtype) else -(2 ** (bit_width(dtype) - 1))
            wide = np.uint64 if low == 0 else np.int64
            any_value = self.rng.integers(low, low + 2**width - 1, shape, wide, endpoint=True)
            ends = np.array([low, low + 2**width - 1, 0, 1, 2, 3, *([-1, -2] if low else [5, 7])], wide)
            return _mix(self.rng, any_value, ends, 0.5).astype(dtype)
        return self.rng.random(shape) < 0.5

    def tame(self, dtype: np.dtype, shape: Sequence[int], low: float = -2, high: float = 2) -> np.ndarray:
        """Finite values between ``low`` and ``high``."""
        if is_complex(dtype):
            return (self.rng.uniform(low, high, shape) + 1j * self.rng.uniform(low, high, shape)).astype(dtype)
        if is_float(dtype):
            return self.rng.uniform(low, high, shape).astype(dtype)
        if is_integer(dtype):
            return self.rng.integers(0 if is_unsigned(dtype) else int(low), int(high), shape, endpoint=True).astype(
                dtype
            )
        return self.rng.random(shape) < 0.5

    def _floats(self, dtype: np.dtype, shape: Sequence[int], spread: float) -> np.ndarray:
        limits = ml_dtypes.finfo(dtype)
        largest = min(spread, float(np.log10(float(limits.max))))
        size = 10 ** self.rng.uniform(max(-spread, np.log10(float(limits.smallest_normal)) + 0.5), largest, shape)
        return (size * self.rng.choice([-1, 1], shape)).astype(dtype)


def _special_floats(dtype: np.dtype) -> np.ndarray:
    limits = ml_dtypes.finfo(dtype)
    finite = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.0, 3.0, float(limits.max), float(limits.min)]
    has_infinity = np.isinf(np.array(np.inf, np.float64).astype(dtype))
    return np.array([*finite, np.nan, *([np.inf, -np.inf] if has_infinity else [])]).astype(dtype)


def _mix(rng: np.random.Generator, common: np.ndarray, special: np.ndarray, share: float = 0.3) -> np.ndarray:
    chosen = special[rng.integers(0, len(special), common.shape)].astype(common.dtype)
    return np.where(rng.random(common.shape) < share, chosen, common)


def use(name: str, /, *arrays: np.ndarray, regions: Sequence[Graph] = (), **attributes: Any) -> Case:
    """A graph of one node on inputs, and the inputs."""
    graph = Graph()
    values = [graph.add_input(TensorType(a.dtype, a.shape), f"x{i}") for i, a in enumerate(arrays)]
    graph.outputs = list(Builder(graph).emit(name, values, attributes, regions))
    return graph, list(arrays)


def region(inputs: Sequence[tuple[object, Sequence[int]]], rule: Callable[..., Any]) -> Graph:
    """The region ``rule(builder, *values)`` on inputs of given element type and shape."""
    graph = Graph()
    values = [graph.add_input(TensorType(dtype, shape)) for dtype, shape in inputs]
    results = rule(Builder(graph), *values)
    graph.outputs = list(results) if isinstance(results, tuple) else [results]
    return graph


def case(*names: str) -> Callable[[Callable[[Draw, str], Case]], Callable[[Draw, str], Case]]:
    """Enter ``rule(d, name)`` as the case of each op of ``names``."""

    def enter(rule: Callable[[Draw, str], Case]) -> Callable[[Draw, str], Case]:
        for name in names:
            CASES[name] = st.composite(lambda draw, name=name: rule(Draw(draw), name))()
        return rule

    return enter
