"""Random valid modules for properties: printing, passes, targets, derivatives.

``modules()`` is a hypothesis strategy of modules, built node by node; ``arrays_for(module)`` gives inputs and
parameters to run one on. The symbols are ``N`` and ``M``; the guards hold for the sizes in ``SIZES``.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lamina.ir import Builder, Graph, Guard, Location, Module, TensorType, Update, Value, binary_region, symbol
from lamina.ir.dims import Dim, DimLike, free_symbols
from lamina.ir.types import BOOL, ELEMENT_TYPES, F32, I32, bit_width, is_complex, is_float, is_integer, is_unsigned

#: The sizes that ``arrays_for`` gives the symbols.
SIZES = {"N": 3, "M": 2}
N, M = symbol("N"), symbol("M")
_GUARDS = [
    Guard(">=", N, 1, "no empty batch"),
    Guard("!=", N, M),
    Guard("<", M, N, "", Location(("encoder/dense_1",))),
    Guard("==", 2 * N, 3 * M, 'said "so"', Location(("a", "b c"))),
]
_LAYERS = ["conv2d", "encoder/dense_1", "block:0/norm", 'odd name \\ "quoted"', "größe"]
_NAMES = ["x", "x", "y", "seed:0", "kernel_1/.part-2", "7", 'with "quotes"', "tab\tand\nnewline", "größe"]
_MOST_ELEMENTS = 200  # at SIZES: a node that makes more is not built, so that evaluation stays quick


def modules(max_nodes: int = 12, plain: bool = False) -> st.SearchStrategy[Module]:
    """Valid modules with up to about ``max_nodes`` nodes in main, regions not counted.

    Args:
        plain: float32, int32 and bool only, finite constants, unremarkable names: for comparing results; else every
            element type, NaN payloads, odd names and constants of all sizes.
    """
    return st.composite(lambda draw: _Maker(draw, plain).module(max_nodes))()


def arrays_for(
    module: Module, seed: int = 0, sizes: Mapping[str, int] | None = None
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Inputs, and parameters by name, of the types of ``module``'s main graph; floats in [-2, 2)."""
    rng, values = np.random.default_rng(seed), dict(SIZES if sizes is None else sizes)
    inputs = [random_array(rng, v.type.substitute(values)) for v in module.main.inputs]
    return inputs, {p.name: random_array(rng, p.type.substitute(values)) for p in module.main.parameters}


def random_array(rng: np.random.Generator, type_: TensorType) -> np.ndarray:
    """Small finite values of a static type."""
    if type_.dtype == BOOL:
        return rng.random(type_.shape) < 0.5
    if is_integer(type_.dtype):
        return rng.integers(0, 8, type_.shape).astype(type_.dtype)
    values = rng.uniform(-2, 2, type_.shape)
    if is_complex(type_.dtype):
        values = values + 1j * rng.uniform(-2, 2, type_.shape)
    return np.asarray(values).astype(type_.dtype)


def any_bits(rng: np.random.Generator, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """Elements of any bits: every NaN, both zeros, infinities."""
    if dtype == BOOL:
        return rng.random(shape) < 0.5
    if is_integer(dtype) and bit_width(dtype) < 8:
        half = 2 ** (bit_width(dtype) - 1)
        return rng.integers(*((0, 2 * half) if is_unsigned(dtype) else (-half, half)), shape).astype(dtype)
    if bit_width(dtype) < 8:
        return rng.integers(0, 2 ** bit_width(dtype), shape).astype(np.uint8).view(dtype)
    part = np.dtype(f"u{dtype.itemsize // 2 if is_complex(dtype) else dtype.itemsize}")
    count = int(np.prod(shape, dtype=int)) * (dtype.itemsize // part.itemsize)
    bits = rng.integers(0, np.iinfo(part).max, count, part, endpoint=True)
    if not is_integer(dtype):  # all ones in the exponent half the time
        bits[rng.random(count) < 0.5] |= part.type((1 << (8 * part.itemsize - 1)) - (1 << (2 * part.itemsize - 1)))
    return bits.view(dtype).reshape(shape)


class _Maker:
    """Builds one module; ``values`` are what the next node may take."""

    def __init__(self, draw: Callable[[Any], Any], plain: bool) -> None:
        self.draw = draw
        self.plain = plain
        self.graph = Graph()
        self.b = Builder(self.graph)
        self.values: list[Value] = []
        self.functions: dict[str, Graph] = {}

    # Choices

    def pick(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def int(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.int(0, 2**20))

    def value(self, fits: Callable[[Value], bool] = lambda v: True) -> Value:
        """A value that fits, of the last or first ones; a new parameter (f32[2,3] or f32[]) where none does."""
        fitting = [v for v in self.values[-8:] + self.values[:3] if fits(v)]
        if fitting:
            return self.pick(fitting)
        new = self.parameter(TensorType(F32, (2, 3)))
        return new if fits(new) else self.parameter(TensorType(F32))

    def float(self, low: int = 0) -> Value:
        return self.value(lambda v: is_float(v.dtype) and v.dtype.itemsize > 1 and v.rank >= low)

    def vector(self) -> Value:
        return self.float(1)

    def like(self, x: Value) -> Value:
        """A value of ``x``'s type: another one, itself, or a constant."""
        same = [v for v in self.values if v.type == x.type]
        return self.pick(same) if self.int(0, 2) else self.b.full_like(x, 1)

    def dims(self, *more: DimLike) -> list[DimLike]:
        """2 and 3, and those of ``more`` whose symbols the inputs fix."""
        known = set(self.graph.symbols)
        return [2, 3, *(d for d in more if free_symbols(d) <= known)]

    # The module

    def module(self, max_nodes: int) -> Module:
        for _ in range(self.int(1, 3)):
            self.input()
        for _ in range(self.int(0, 2)):
            self.parameter(TensorType(F32, self.pick([(), (3,), (2, 3)])))
        wanted = self.int(1, max_nodes)
        for _ in range(2 * wanted):
            if len(self.graph.nodes) >= wanted:
                break
            with self.somewhere():
                self.step()
        self.interface()
        name = "main" if self.plain else self.pick(["main", "model", "my model", "7"])
        return Module({"main": self.graph, **self.functions}, name)

    def input(self) -> None:
        shape = self.pick([(N, 3), (N, 3), (2, 3), (N,), (N, M, 2), (), (3, N)])
        dtype = (
            self.pick([F32, F32, F32, I32, BOOL])
            if self.plain
            else ELEMENT_TYPES[self.pick(["f32", "f32", "i32", "i1", "f16", "bf16", "f64", "ui8", "c64"])]
        )
        self.values.append(self.graph.add_input(TensorType(dtype, shape), f"x{len(self.graph.inputs)}"))
        if not self.plain and self.int(0, 5) == 0:  # a name is the caller's, a hint the printer's: they may differ
            self.graph.input_names[-1] = self.pick(["", "other name", "x"])

    def parameter(self, type_: TensorType) -> Value:
        layer = "dense" if self.plain else self.pick(["dense", "odd layer"])
        parameter = self.graph.add_parameter(f"{layer}/w{len(self.graph.parameters)}", type_, key=object())
        self.values.append(parameter.value)
        return parameter.value

    def somewhere(self) -> AbstractContextManager[Builder]:
        layers = self.draw(st.lists(st.sampled_from(_LAYERS[:2] if self.plain else _LAYERS), max_size=2))
        return self.b.at(Location(tuple(layers)))

    def step(self) -> None:
        """One of the rules below. What is too large is taken back."""
        before = len(self.graph.nodes)
        results = self.pick(_RULES)(self)
        results = [results] if isinstance(results, Value) else list(results)
        if any(_elements(r.type) > _MOST_ELEMENTS for r in results):
            del self.graph.nodes[before:]
            return
        if not self.plain and self.int(0, 2) == 0:
            results[-1].name = self.pick(_NAMES)
        self.values += results

    def interface(self) -> None:
        """Outputs, their names and structures, updates, guards."""
        graph = self.graph
        graph.outputs = [self.pick(self.values[-5:]) for _ in range(self.int(1, 3))]
        if self.int(0, 1):
            graph.output_names = [self.pick(["", "probabilities", "a b"]) for _ in graph.outputs]
        ins, outs = list(range(len(graph.inputs))), list(range(len(graph.outputs)))
        graph.in_structure = self.pick([None, tuple(ins), ({"a": ins[0], "key two": [None, tuple(ins[1:])]},)])
        graph.out_structure = self.pick([None, outs, {7: tuple(outs), "none": None}])
        known = set(graph.symbols)
        guards = [g for g in _GUARDS if free_symbols(g.left, g.right) <= known]
        graph.guards = self.draw(st.lists(st.sampled_from(guards), max_size=2)) if guards else []
        for parameter in graph.parameters:
            fitting = [v for v in self.values if v.type == parameter.type]
            if self.int(0, 1):
                graph.updates.append(Update(parameter, self.pick(fitting)))

    # One rule for each kind of node

    def unary(self) -> Value:
        ops = ("tanh", "exponential", "negate", "abs", "logistic", "sine", "floor", "relu", "silu", "softplus")
        return self.b.emit(self.pick(ops), [self.float()])[0]

    def binary(self) -> Value:
        x = self.float()
        return self.b.emit(self.pick(["add", "subtract", "multiply", "maximum", "minimum"]), [x, self.like(x)])[0]

    def integer(self) -> Value:
        x = self.value(lambda v: v.dtype == I32 or is_float(v.dtype))
        x = x if x.dtype == I32 else self.b.convert(x, dtype=I32)
        op = self.pick(["add", "multiply", "xor", "and"])
        return self.b.emit(op, [x, self.b.full_like(x, self.int(-3, 3))])[0]

    def choose(self) -> Value:
        x = self.float()
        y = self.like(x)
        return self.b.select(self.b.compare(x, y, direction=self.pick(["LT", "GE", "EQ"])), x, y)

    def convert(self) -> Value:
        kinds = ["f32", "i32"] if self.plain else ["f32", "i32", "f64", "bf16", "f16", "ui8"]
        return self.b.convert(self.value(lambda v: not is_complex(v.dtype)), dtype=ELEMENT_TYPES[self.pick(kinds)])

    def constant(self) -> Value:
        rng, shape = self.rng(), self.pick([(), (3,), (2, 3), (0, 2), (1, 1, 1)])
        if self.plain:
            return self.b.constant(random_array(rng, TensorType(self.pick([F32, I32, BOOL]), shape)))
        dtype = ELEMENT_TYPES[self.pick(sorted(ELEMENT_TYPES))]
        array = any_bits(rng, dtype, self.pick([shape, (5, 14), (100,)]))
        splat = array.size and self.int(0, 4) == 0
        return self.b.constant(np.broadcast_to(array.flat[0], array.shape) if splat else array)

    def reshape(self) -> Value:
        x = self.value()
        return self.b.reshape(x, shape=self.pick([(x.type.size,), (1, *x.shape), (*x.shape, 1)]))

    def transpose(self) -> Value:
        x = self.value()
        return self.b.transpose(x, permutation=self.draw(st.permutations(range(x.rank))))

    def broadcast(self) -> Value:
        x = self.value(lambda v: v.rank < 3)
        return self.b.broadcast_in_dim(
            x, shape=(self.pick(self.dims(N, M, N // 2, N + M)), *x.shape), dims=tuple(range(1, x.rank + 1))
        )

    def slice(self) -> Value:
        x = self.vector()
        if x.shape[-1] not in (1, 2, 3):
            return self.b.reverse(x, axes=(x.rank - 1,))
        return self.b.slice(x, start=[0] * x.rank, limit=(*x.shape[:-1], 1), strides=[1] * x.rank)

    def pad(self) -> Value:
        x = self.vector()
        fill, zeros = self.b.constant(0.5, x.dtype), [0] * x.rank
        return self.b.pad(x, fill, low=zeros, high=[*zeros[1:], self.int(0, 2)], interior=zeros)

    def concatenate(self) -> Value:
        x = self.vector()
        return self.b.concatenate(x, self.like(x), axis=self.int(0, x.rank - 1))

    def counted(self) -> Value:
        if self.int(0, 1):
            return self.b.iota(dtype=I32, shape=(self.pick(self.dims(N)), 2), axis=self.int(0, 1))
        return self.b.dim_value(dim=self.pick(self.dims(N, N * M + 1, N // 2, 2 * N - M)), dtype=I32)

    def reduced(self) -> Value:
        x = self.vector()
        axes = self.draw(st.sets(st.integers(0, x.rank - 1), max_size=x.rank))
        op = self.pick(["reduce", "reduce_sum", "reduce_max", "reduce_mean"])
        if op == "reduce":
            return self.b.reduce_with("add", x, sorted(axes), 0.0)
        return self.b.emit(op, [x], {"axes": sorted(axes), "keepdims": bool(self.int(0, 1))})[0]

    def along(self) -> Value:
        x = self.vector()
        op = self.pick(["softmax", "log_softmax", "cumsum", "argmax"])
        return self.b.emit(op, [x], {"axis": self.int(0, x.rank - 1)})[0]

    def dot(self) -> Value:
        x = self.vector()
        return self.b.dot_general(x, self.like(x), lhs_contract=(x.rank - 1,), rhs_contract=(x.rank - 1,))

    def sorted(self) -> tuple[Value, ...]:
        x = self.vector()
        region = Graph()
        a, b, _, _ = (region.add_input(TensorType(x.dtype)) for _ in range(4))
        region.outputs = [Builder(region).compare(a, b, direction=self.pick(["LT", "GT"]))]
        return self.b.sort(x, self.like(x), axis=x.rank - 1, regions=[region])

    def branch(self) -> Value:
        x = self.float()
        if self.int(0, 1):
            index, count = self.b.constant(self.int(-1, 3), I32), 3
        else:
            index, count = self.b.constant(bool(self.int(0, 1))), 2
        branches = [_function(op, x.type) for op in ("tanh", "negate", "abs")[:count]]
        return self.b.cond(index, x, regions=branches)

    def loop(self) -> Value:
        """``for i in range(3): carry = op(carry)``."""
        x, scalar = self.float(), TensorType(I32)
        condition, body = Graph(), Graph()
        for region in (condition, body):
            for type_ in (scalar, scalar, x.type):
                region.add_input(type_)
        b = Builder(condition)
        condition.outputs = [b.compare(condition.inputs[1], condition.inputs[0], direction="LT")]
        b, (_, i, carry) = Builder(body), body.inputs
        i.name = "i"
        body.outputs = [b.add(i, b.constant(1, I32)), b.tanh(carry)]
        bound, start = self.b.constant(self.int(0, 3), I32), self.b.constant(0, I32)
        return self.b.while_(bound, start, x, consts=1, regions=[condition, body])[1]

    def scan(self) -> tuple[Value, ...]:
        """A running sum along the first axis, and its steps."""
        x = self.vector()
        step = x.type.with_shape(x.shape[1:])
        body = Graph()
        carry, item = body.add_input(step, "carry"), body.add_input(step, "item")
        total = Builder(body, location=Location(("cell",))).add(carry, item)
        body.outputs = [total, total]
        start = self.b.full(step.shape, 0, x.dtype)
        return self.b.scan(start, x, carries=1, length=x.shape[0], reverse=bool(self.int(0, 1)), regions=[body])

    def wrapped(self) -> Value:
        x = self.float()
        if self.int(0, 1):
            return self.b.remat(x, regions=[_function("tanh", x.type)])
        name = self.pick(string.ascii_lowercase[:3])
        return self.b.composite(x, name=f"my.{name}", attrs='{"a": 1}', regions=[_function("negate", x.type)])

    def called(self) -> Value:
        x = self.float()
        if any(isinstance(d, Dim) and d not in (N, M) for d in x.shape):  # a function's symbols come from its inputs
            return self.b.negate(x)
        name = f"helper_{len(self.functions)}" if self.plain else self.pick(["helper", "odd helper", "8"])
        function = self.functions.get(name)
        if function is not None and function.inputs[0].type != x.type:
            return self.b.negate(x)
        if function is None:
            self.functions[name] = function = _function(self.pick(["tanh", "softplus"]), x.type)
        return self.b.call(x, callee=name, results=[v.type for v in function.outputs])

    def windows(self) -> Value:
        x = self.vector()
        window = [1] * (x.rank - 1) + [self.int(1, 2)]
        ones = [1] * x.rank
        return self.b.reduce_window(
            x,
            self.b.constant(0, x.dtype),
            window=window,
            strides=ones,
            base_dilation=ones,
            window_dilation=ones,
            padding=[(0, 1)] * x.rank,
            regions=[binary_region("add", x.dtype)],
        )

    def rare(self) -> Value:
        x = self.float()
        rule = self.pick(["barrier", "clamp", "layer_norm", "precision"])
        if rule == "barrier":
            return self.b.optimization_barrier(x)
        if rule == "clamp":
            return self.b.clamp(self.b.constant(-1, x.dtype), x, self.b.constant(1, x.dtype))
        if rule == "layer_norm" and x.rank:
            return self.b.layer_norm(x, axes=(x.rank - 1,), epsilon=1e-3, scale=False, center=False)
        return self.b.reduce_precision(x, exponent_bits=5, mantissa_bits=4)


_RULES = [
    _Maker.unary,
    _Maker.unary,
    _Maker.binary,
    _Maker.binary,
    _Maker.integer,
    _Maker.choose,
    _Maker.convert,
    _Maker.constant,
    _Maker.reshape,
    _Maker.transpose,
    _Maker.broadcast,
    _Maker.slice,
    _Maker.pad,
    _Maker.concatenate,
    _Maker.counted,
    _Maker.reduced,
    _Maker.along,
    _Maker.dot,
    _Maker.sorted,
    _Maker.branch,
    _Maker.loop,
    _Maker.scan,
    _Maker.wrapped,
    _Maker.called,
    _Maker.windows,
    _Maker.rare,
]


def _function(op: str, type_: TensorType) -> Graph:
    """``x -> op(x)``."""
    graph = Graph()
    x = graph.add_input(type_)
    graph.outputs = list(Builder(graph).emit(op, [x]))
    return graph


def _elements(type_: TensorType) -> int:
    size = type_.substitute(SIZES).size
    assert isinstance(size, int)
    return size
