"""Matrix factorizations, said by other ops of the graph: ``(builder, call, *values) -> value or values``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..ir.builder import Builder
from ..ir.dims import DimLike
from ..ir.graph import Graph, Value
from ..ir.opdef import Call
from ..ir.types import F32, I32, bit_width, is_complex, static_shape
from .expansions import concrete


def cholesky(builder: Builder, call: Call, a: Value, factor: Value) -> Value:
    """``factor``, a target's own Cholesky, made what the op means: zero in the other triangle, NaN on failure."""
    shape = concrete(call, *a.shape)
    row, column = (builder.iota(dtype=I32, shape=shape, axis=len(shape) - i) for i in (2, 1))
    inside = builder.compare(row, column, direction="GE" if call["lower"] else "LE")
    factor = builder.select(inside, factor, builder.full_like(factor, 0))
    rank = factor.rank
    wrong = builder.reduce_with("or", builder.compare(factor, factor, direction="NE"), (rank - 2, rank - 1), False)
    return builder.select(builder.expand(wrong, shape, (rank - 2, rank - 1)), builder.full_like(factor, np.nan), factor)


class _Matrices:
    """Shorthand for batches of matrices ``[..., m, n]`` and vectors ``[..., m]`` in a graph."""

    def __init__(self, builder: Builder, batch: Sequence[DimLike], dtype: np.dtype) -> None:
        self.builder, self.batch, self.dtype = builder, tuple(batch), dtype
        self.axes = tuple(range(len(self.batch)))

    def index(self, size: DimLike) -> Value:
        """0, 1, 2 ... in each vector."""
        return self.builder.iota(dtype=I32, shape=(*self.batch, size), axis=len(self.batch))

    def spread(self, x: Value, shape: Sequence[DimLike]) -> Value:
        """A number for each matrix, at every place of it."""
        return self.builder.broadcast_in_dim(x, shape=tuple(shape), dims=tuple(range(x.rank)))

    def along(self, vector: Value, shape: Sequence[DimLike], axis: int) -> Value:
        """A vector for each matrix, along axis -2 or -1 of it."""
        return self.builder.broadcast_in_dim(vector, shape=tuple(shape), dims=(*self.axes, len(shape) + axis))

    def sum(self, vector: Value) -> Value:
        """The sum of each vector."""
        return self.builder.reduce_with("add", vector, (vector.rank - 1,), 0)

    def column(self, matrix: Value, place: Value) -> Value:
        """Column ``place`` of each matrix."""
        b, zero = self.builder, self.builder.constant(0, I32)
        size = matrix.shape[-2]
        taken = b.dynamic_slice(matrix, *[zero] * (matrix.rank - 1), place, sizes=(*self.batch, size, 1))
        return b.reshape(taken, shape=(*self.batch, size))

    def with_column(self, matrix: Value, vector: Value, place: Value) -> Value:
        """Column ``place`` of each matrix replaced."""
        b, zero = self.builder, self.builder.constant(0, I32)
        part = b.reshape(vector, shape=(*vector.shape, 1))
        return b.dynamic_update_slice(matrix, part, *[zero] * (matrix.rank - 1), place)

    def conjugate(self, x: Value) -> Value:
        """The complex conjugate."""
        b = self.builder
        return b.complex(b.real(x), b.negate(b.imag(x))) if is_complex(x.dtype) else x

    def reflected(self, matrix: Value, vector: Value, factor: Value) -> Value:
        """``(I - factor * v * v^H) @ matrix``."""
        b, rank = self.builder, matrix.rank
        row = b.dot_general(
            self.conjugate(vector),
            matrix,
            lhs_batch=self.axes,
            rhs_batch=self.axes,
            lhs_contract=(rank - 2,),
            rhs_contract=(rank - 2,),
            precision="highest",
        )
        outer = b.multiply(self.along(vector, matrix.shape, -2), self.along(row, matrix.shape, -1))
        return b.subtract(matrix, b.multiply(self.spread(factor, matrix.shape), outer))


def qr(builder: Builder, call: Call, a: Value) -> tuple[Value, ...]:
    """Householder reflections with LAPACK's signs, one column in each turn of a loop."""
    *batch, m, n = concrete(call, *a.shape)
    given, count = a.dtype, min(m, n)
    if bit_width(given) < 32:
        a = builder.astype(a, F32)
    width = m if call["full"] else count
    a, vectors, factors = reflections(builder, a)
    q = product_of_reflections(builder, vectors, factors, width)
    height = width if call["full"] else count
    r = builder.slice(a, start=(0,) * a.rank, limit=(*batch, height, n), strides=(1,) * a.rank)
    row, column = (builder.iota(dtype=I32, shape=(*batch, height, n), axis=len(batch) + i) for i in (0, 1))
    r = builder.select(builder.compare(row, column, direction="LE"), r, builder.full_like(r, 0))
    return builder.astype(q, given), builder.astype(r, given)


def reflections(builder: Builder, a: Value) -> tuple[Value, Value, Value]:
    """LAPACK's geqrf: ``a`` made upper triangular, the vectors ``[..., m, k]`` and the factors ``[..., 1, k]``."""
    *batch, m, n = static_shape(a.type)
    count = min(m, n)
    vectors = builder.full((*batch, m, count), 0, a.dtype)
    factors = builder.full((*batch, 1, count), 0, a.dtype)
    if not count:
        return a, vectors, factors
    a, vectors, factors = _loop(builder, count, (a, vectors, factors), _eliminate)
    return a, vectors, factors


def product_of_reflections(builder: Builder, vectors: Value, factors: Value, width: int) -> Value:
    """LAPACK's orgqr: the first ``width`` columns of the product of reflections."""
    *batch, m, count = static_shape(vectors.type)
    row, column = (builder.iota(dtype=I32, shape=(*batch, m, width), axis=len(batch) + i) for i in (0, 1))
    q = builder.astype(builder.compare(row, column, direction="EQ"), vectors.dtype)
    return _loop(builder, count, (q, vectors, factors), _apply)[0] if count else q


def _loop(
    builder: Builder, count: int, state: Sequence[Value], step: Callable[..., tuple[Value, ...]]
) -> tuple[Value, ...]:
    """``state = step(tools, i, *state)`` for i in 0..count-1; ``_apply`` counts down by itself."""
    carried = (builder.constant(0, I32), *state)
    test, body = Graph(), Graph()
    index, *_ = [test.add_input(v.type) for v in carried]
    inside = Builder(test, location=builder.location)
    test.outputs = [inside.compare(index, inside.constant(count, I32), direction="LT")]
    index, *values = [body.add_input(v.type) for v in carried]
    inside = Builder(body, location=builder.location)
    tools = _Matrices(inside, state[0].shape[:-2], state[0].dtype)
    body.outputs = [inside.add(index, inside.constant(1, I32)), *step(tools, index, *values)]
    return builder.emit("while", carried, {"consts": 0}, (test, body))[1:]


def _eliminate(tools: _Matrices, i: Value, a: Value, vectors: Value, factors: Value) -> tuple[Value, ...]:
    """Make column ``i`` zero below the diagonal by I - conj(t) v v^H; keep v and t."""
    b = tools.builder
    m = a.shape[-2]
    rows = tools.index(m)
    place = b.broadcast_to(i, rows.shape)
    zero = b.full((*tools.batch, m), 0, tools.dtype)
    column = tools.column(a, i)
    below = b.select(b.compare(rows, place, direction="GT"), column, zero)
    alpha = tools.sum(b.select(b.compare(rows, place, direction="EQ"), column, zero))
    beta, t, divisor, trivial = _reflection(b, tools, below, alpha)
    safe = b.select(trivial, b.full_like(divisor, 1), divisor)
    v = b.divide(below, tools.spread(safe, below.shape))
    v = b.select(b.compare(rows, place, direction="EQ"), b.full_like(v, 1), v)
    a = tools.reflected(a, v, tools.conjugate(t))
    keep = b.compare(rows, place, direction="LT")
    exact = b.select(b.compare(rows, place, direction="EQ"), tools.spread(beta, zero.shape), zero)
    a = tools.with_column(a, b.select(keep, tools.column(a, i), exact), i)
    return (a, tools.with_column(vectors, v, i), tools.with_column(factors, b.reshape(t, shape=(*t.shape, 1)), i))


def _reflection(b: Builder, tools: _Matrices, below: Value, alpha: Value) -> tuple[Value, Value, Value, Value]:
    """LAPACK's larfg: the new diagonal element, t, alpha - beta, and where there is nothing to do (t = 0)."""
    complex_ = is_complex(tools.dtype)
    real, imag = (b.real(alpha), b.imag(alpha)) if complex_ else (alpha, b.full_like(alpha, 0))
    zero = b.full_like(real, 0)
    size = b.reduce_with("maximum", b.abs(below), (below.rank - 1,), 0)
    scale = b.maximum(size, b.abs(alpha))
    trivial = b.and_(b.compare(size, zero, direction="EQ"), b.compare(imag, zero, direction="EQ"))
    unit = b.select(b.compare(scale, zero, direction="EQ"), b.full_like(scale, 1), scale)
    ratios = b.divide(b.abs(below), tools.spread(unit, below.shape))
    first = b.divide(b.abs(alpha), unit)
    norm = b.multiply(unit, b.sqrt(b.add(tools.sum(b.multiply(ratios, ratios)), b.multiply(first, first))))
    beta = b.select(b.compare(real, zero, direction="GE"), b.negate(norm), norm)
    safe = b.select(trivial, b.full_like(beta, 1), beta)
    t = b.divide(b.subtract(beta, real), safe)
    if complex_:
        t, beta = b.complex(t, b.negate(b.divide(imag, safe))), b.complex(beta, b.full_like(beta, 0))
    return b.select(trivial, alpha, beta), b.select(trivial, b.full_like(t, 0), t), b.subtract(alpha, beta), trivial


def _apply(tools: _Matrices, i: Value, q: Value, vectors: Value, factors: Value) -> tuple[Value, ...]:
    """Q = H_0 H_1 ...: applied to the identity from the last reflection to the first."""
    b = tools.builder
    back = b.subtract(b.constant(vectors.shape[-1] - 1, I32), i)
    t = b.reshape(tools.column(factors, back), shape=tools.batch)
    return tools.reflected(q, tools.column(vectors, back), t), vectors, factors
