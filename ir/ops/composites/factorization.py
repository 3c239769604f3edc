"""LU factorization, and what it gives: the solutions of linear equations and determinants.

All take batches of matrices, in the last two dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...batching import linalg as batching
from ...builder import Builder
from ...derivatives import linalg as derivatives
from ...derivatives.linalg import diagonal, lu_parity, permuted, unpermuted
from ...dims import min_dim, same
from ...errors import ShapeError
from ...graph import Graph, Value
from ...opdef import Attribute, Call, composite
from ...types import I32, TensorType, element_type, is_complex
from ..checks import allowed_types, same_dtype
from .rules import dim_scalar, expect_operands


def _matrices(c: Call, type_: TensorType, square: bool = False) -> None:
    allowed_types(c, type_, "fc")
    if type_.rank < 2 or (square and same(*type_.shape[-2:]) is False):
        kind = "square matrices" if square else "matrices"
        raise ShapeError(f"{c.op.name}: expected {kind} in the last two dimensions, received {type_}")


def _infer_lu(c: Call, *types: TensorType) -> tuple[TensorType, ...]:
    expect_operands(c, types, "a")
    (a,) = types
    _matrices(c, a)
    *batch, m, n = a.shape
    return a, TensorType(I32, (*batch, min_dim(m, n))), TensorType(I32, (*batch, m))


@composite(
    "lu",
    "P a = L U by elimination with partial pivoting: L below the diagonal (its own is 1) and U from it on, in one "
    "matrix; the row that each row was exchanged with in turn; and P, as the rows of a in their new order. The pivot "
    "is the first largest element, of complex numbers by |re| + |im|; a column of zeros is passed over (LAPACK: getrf; "
    "jax.lax.linalg.lu)",
    _infer_lu,
    jvp=derivatives.lu_jvp,
    batch=batching.elementwise,
)
def _lu(b: Builder, c: Call, a: Value) -> tuple[Value, ...]:
    *batch, m, n = a.shape
    count, axis = min_dim(m, n), len(batch)
    order = b.iota(dtype=I32, shape=(*batch, m), axis=axis)
    pivots = b.iota(dtype=I32, shape=(*batch, count), axis=axis)
    state = b.constant(0, I32), a, pivots, order
    if same(count, 0) is True:
        return state[1:]
    test, body = Graph(), Graph()
    k, *_ = [test.add_input(v.type) for v in state]
    inside = Builder(test, location=b.location)
    test.outputs = [inside.compare(k, dim_scalar(inside, count, I32), direction="LT")]
    k, *values = [body.add_input(v.type) for v in state]
    inside = Builder(body, location=b.location)
    body.outputs = [inside.add(k, inside.constant(1, I32)), *_eliminate(inside, k, *values)]
    return b.emit("while", state, {"consts": 0}, (test, body))[1:]


def _eliminate(b: Builder, k: Value, a: Value, pivots: Value, order: Value) -> tuple[Value, Value, Value]:
    """Exchange row ``k`` with that of the pivot, and make column ``k`` zero below it: the factors stay there."""
    *batch, m, n = a.shape
    axes, axis = tuple(range(len(batch))), len(batch)
    rows = b.iota(dtype=I32, shape=(*batch, m, 1), axis=axis)
    columns = b.iota(dtype=I32, shape=(*batch, 1, n), axis=axis + 1)

    def where(index: Value, direction: str, place: Value) -> Value:
        return b.compare(
            index, b.broadcast_in_dim(place, shape=index.shape, dims=axes[: place.rank]), direction=direction
        )

    column = b.reshape(_line(b, a, axis + 1, k), shape=(*batch, m, 1))
    size = _size(b, column)
    size = b.select(where(rows, "GE", k), size, b.full_like(size, -1))
    pivot = b.argmax(b.reshape(size, shape=(*batch, m)), axis=axis)
    at_k, at_pivot, below = where(rows, "EQ", k), where(rows, "EQ", pivot), where(rows, "GT", k)

    def two_rows(x: Value) -> tuple[Value, Value]:
        """Rows ``k`` and ``pivot``."""
        first = b.reshape(_line(b, x, axis, k), shape=(*batch, 1, x.shape[-1]))
        return first, permuted(b, x, b.reshape(pivot, shape=(*batch, 1)))

    def exchanged(x: Value, first: Value, second: Value) -> Value:
        first, second, is_first, is_second = (_stretched(b, v, x) for v in (first, second, at_k, at_pivot))
        return b.select(is_first, second, b.select(is_second, first, x))

    top = permuted(b, column, b.reshape(pivot, shape=(*batch, 1)))
    divisor = b.select(b.compare(top, b.full_like(top, 0), direction="NE"), top, b.full_like(top, 1))
    factor = b.divide(exchanged(column, *two_rows(column)), _stretched(b, divisor, column))
    first, second = two_rows(a)
    moved = exchanged(a, first, second)
    less = b.subtract(moved, b.multiply(_stretched(b, factor, a), _stretched(b, second, a)))
    after, at_column, below = (_stretched(b, v, a) for v in (where(columns, "GT", k), where(columns, "EQ", k), below))
    a = b.select(b.and_(below, after), less, b.select(b.and_(below, at_column), _stretched(b, factor, a), moved))

    order = b.reshape(order, shape=(*batch, m, 1))
    order = b.reshape(exchanged(order, *two_rows(order)), shape=(*batch, m))
    turn = where(b.iota(dtype=I32, shape=pivots.shape, axis=axis), "EQ", k)
    return a, b.select(turn, b.broadcast_in_dim(pivot, shape=pivots.shape, dims=axes), pivots), order


def _line(b: Builder, x: Value, axis: int, k: Value) -> Value:
    """Place ``k`` of an axis, which is no dimension any more; a slice would have to be of an axis that is not empty."""
    sizes = [min_dim(d, 1) if i == axis else d for i, d in enumerate(x.shape)]
    return b.gather(
        x,
        b.reshape(k, shape=(1,)),
        offset_dims=range(x.rank - 1),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
        index_vector_dim=0,
        slice_sizes=sizes,
    )


def _stretched(b: Builder, x: Value, like: Value) -> Value:
    """A row or column of matrices, or a number for each, to the shape of ``like``."""
    return b.broadcast_in_dim(x, shape=like.shape, dims=tuple(range(like.rank)))


def _size(b: Builder, x: Value) -> Value:
    return b.add(b.abs(b.real(x)), b.abs(b.imag(x))) if is_complex(x.dtype) else b.abs(x)


def _infer_lu_solve(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "a", "lu", "permutation", "b")
    a, factors, order, right = types
    _matrices(c, a, square=True)
    same_dtype(c, a, factors, right)
    *batch, n, _ = a.shape
    if order.dtype != I32 or _differ(order.shape, (*batch, n)) or _differ(factors.shape, a.shape):
        raise ShapeError(
            f"{c.op.name}: expected lu and permutation as lu gives them of {a}, received {factors}, {order}"
        )
    if right.rank != a.rank or _differ(right.shape[:-1], (*batch, n)):
        raise ShapeError(f"{c.op.name}: expected b of the batch dimensions and rows of {a}, received {right}")
    return right


def _differ(received: Sequence[object], expected: Sequence[object]) -> bool:
    return len(received) != len(expected) or any(
        same(p, q) is False  # type: ignore[arg-type]
        for p, q in zip(received, expected, strict=True)
    )


@composite(
    "lu_solve",
    "The x with a x = b, or with the transpose of a, by the factors that lu gives of a: its derivative is that of a "
    "alone, since they are a's (LAPACK: getrs; jax.scipy.linalg.lu_solve)",
    _infer_lu_solve,
    attributes={"transpose": Attribute("bool", False)},
    jvp=derivatives.lu_solve_jvp,
    transpose=derivatives.lu_solve_transpose,
    batch=batching.lu_solve,
)
def _lu_solve(b: Builder, c: Call, a: Value, factors: Value, order: Value, right: Value) -> Value:
    def solved(right: Value, lower: bool) -> Value:
        kind = "TRANSPOSE" if c["transpose"] else "NO_TRANSPOSE"
        return b.triangular_solve(factors, right, lower=lower, unit_diagonal=lower, transpose=kind)

    if not c["transpose"]:
        return solved(solved(permuted(b, right, order), True), False)
    return unpermuted(b, solved(solved(right, False), True), order)


def _infer_det(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "a")
    _matrices(c, types[0], square=True)
    return types[0].with_shape(types[0].shape[:-2])


@composite(
    "det",
    "The determinant of square matrices: the product of their pivots, with the sign of the permutation "
    "(jax.numpy.linalg.det)",
    _infer_det,
    jvp=derivatives.det_jvp,
    batch=batching.elementwise,
)
def _det(b: Builder, c: Call, a: Value) -> Value:
    factors, pivots, _ = b.lu(a)
    return b.multiply(b.reduce_prod(diagonal(b, factors), axes=(a.rank - 2,)), lu_parity(b, pivots, a.dtype))


def _infer_slogdet(c: Call, *types: TensorType) -> tuple[TensorType, TensorType]:
    sign = _infer_det(c, *types)
    real = {element_type("c64"): "f32", element_type("c128"): "f64"}.get(sign.dtype, sign.dtype)
    return sign, TensorType(real, sign.shape)


@composite(
    "slogdet",
    "The determinant of square matrices as its sign and the logarithm of its absolute value (jax.numpy.linalg.slogdet)",
    _infer_slogdet,
    jvp=derivatives.slogdet_jvp,
    batch=batching.elementwise,
)
def _slogdet(b: Builder, c: Call, a: Value) -> tuple[Value, Value]:
    factors, pivots, _ = b.lu(a)
    pivot, last = diagonal(b, factors), (a.rank - 2,)
    sign = b.multiply(b.reduce_prod(b.sign(pivot), axes=last), lu_parity(b, pivots, a.dtype))
    return sign, b.reduce_sum(b.log(b.abs(pivot)), axes=last)
