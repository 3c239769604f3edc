"""LU factorization, solving with it and determinants: values, derivatives and batching are those of ``jax``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from transform_checks import assert_batching, assert_derivatives, graph_of, run

from lamina.ir import Builder, symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError
from lamina.ir.types import TensorType
from lamina.passes.differentiate import vjp
from lamina.passes.vectorize import vectorize

N, M = symbol("N"), symbol("M")
# Float64 against float64, well-conditioned matrices: second derivatives multiply several inverses.
RTOL = 1e-8


def draw(*shape, seed=0, complex_=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex_ else x


def well(*shape, complex_=False):
    """Well-conditioned matrices whose rows have to be exchanged."""
    a = draw(*shape, complex_=complex_) / 2 + 2 * np.eye(shape[-2], shape[-1])
    return np.roll(a, 1, -2)


def inverse_by_lu(b, a, right, transpose=False):
    factors, _, order = b.lu(a)
    return b.lu_solve(a, factors, order, right, transpose=transpose)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 5), (2, 2, 5, 3), (1, 1), (2, 0, 3), (3, 0)])
def test_factors_are_lapacks(shape, complex_):
    a = draw(*shape, complex_=complex_)
    factors, pivots, order = run(graph_of(lambda b, a: b.lu(a), [a]), a)
    m, n = shape[-2:]
    k = min(m, n)
    lower, upper = np.tril(factors[..., :k], -1) + np.eye(m, k), np.triu(factors[..., :k, :])
    np.testing.assert_allclose(lower @ upper, np.take_along_axis(a, order[..., None], -2), rtol=1e-12, atol=1e-12)
    assert np.abs(lower).max(initial=0) <= (2**0.5 if complex_ else 1)
    if a.size:
        with jax.enable_x64(True):
            wanted = lax.linalg.lu(jnp.asarray(a))
        np.testing.assert_array_equal(pivots, wanted[1])
        np.testing.assert_array_equal(order, wanted[2])
        np.testing.assert_allclose(factors, wanted[0], rtol=1e-10, atol=1e-12)


def test_a_column_of_zeros_is_passed_over():
    a = np.array([[0.0, 2, 1], [0, 4, 3], [0, 1, 5]])
    factors, pivots, order = run(graph_of(lambda b, a: b.lu(a), [a]), a)
    with jax.enable_x64(True):
        wanted = lax.linalg.lu(jnp.asarray(a))
    for got, want in zip((factors, pivots, order), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-15)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (5, 3), (2, 3, 5), (1, 4)])
def test_derivatives_of_the_factors(shape, complex_):
    a = well(*shape, complex_=complex_)
    assert_derivatives(lambda b, a: b.lu(a)[0], lambda a: lax.linalg.lu(a)[0], [a], rtol=RTOL)
    assert_batching(lambda b, a: b.lu(a), [a])


@pytest.mark.parametrize(
    ("shape", "open_shape"), [((3, 3), (N, N)), ((4, 2), (N, M)), ((2, 4), (N, M)), ((2, 3), (2, N))]
)
def test_derivatives_of_the_factors_of_open_sizes(shape, open_shape):
    assert_derivatives(
        lambda b, a: b.lu(a)[0], lambda a: lax.linalg.lu(a)[0], [well(*shape)], shapes=[open_shape], rtol=RTOL
    )


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_solutions(transpose, complex_):
    a, right = well(2, 4, 4, complex_=complex_), draw(2, 4, 3, seed=1, complex_=complex_)

    def build(b, a, right):
        return inverse_by_lu(b, a, right, transpose)

    def oracle(a, right):
        return jnp.linalg.solve(a.swapaxes(-1, -2) if transpose else a, right)

    assert_derivatives(build, oracle, [a, right], rtol=RTOL)
    assert_derivatives(build, oracle, [a[0], right[0]], shapes=[(N, N), (N, M)], rtol=RTOL)
    assert_derivatives(build, oracle, [a, right], moving=[False, True], rtol=RTOL)
    factors, _, order = run(graph_of(lambda b, a: b.lu(a), [a]), a)
    for given in ([a, factors, order, right], [a[0], factors[0], order[0], right[0]]):
        solve = graph_of(lambda b, *xs: b.lu_solve(*xs, transpose=transpose), given)
        assert [node.op.name for node in solve.nodes] == ["lu_solve"]
    assert_batching(build, [a[0], right[0]], size=2)


def test_more_right_sides_stay_one_solve():
    a, right = well(3, 3), draw(5, 3, 2, seed=1)
    graph = vectorize(graph_of(inverse_by_lu, [a, right[0]]), [False, True], 5, [True])
    (solve,) = [node for node in graph.nodes if node.op.name == "lu_solve"]
    assert solve.result.type.shape == (3, 10)
    np.testing.assert_allclose(run(graph, a, right)[0], np.linalg.solve(a, right), rtol=1e-10)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 4, 4)])
def test_determinants(shape, complex_):
    a = well(*shape, complex_=complex_)
    assert_derivatives(lambda b, a: b.det(a), jnp.linalg.det, [a], rtol=RTOL)
    assert_derivatives(lambda b, a: b.slogdet(a), lambda a: tuple(jnp.linalg.slogdet(a)), [a], rtol=RTOL)
    for name in ("det", "slogdet"):
        assert_batching(lambda b, a, name=name: b.emit(name, [a]), [a])


def test_determinants_of_open_size():
    a = well(4, 4)
    assert_derivatives(lambda b, a: b.det(a), jnp.linalg.det, [a], shapes=[(N, N)], rtol=RTOL)
    assert_derivatives(
        lambda b, a: b.slogdet(a)[1], lambda a: jnp.linalg.slogdet(a)[1], [a], shapes=[(N, N)], rtol=RTOL
    )


def test_the_determinant_of_no_elements_is_1():
    a = np.zeros((2, 0, 0))
    assert run(graph_of(lambda b, a: b.det(a), [a]), a)[0].tolist() == [1, 1]
    assert [r.tolist() for r in run(graph_of(lambda b, a: b.slogdet(a), [a]), a)] == [[1, 1], [0, 0]]


def cofactors(a):
    """By minors: the meaning."""
    n = len(a)
    minor = [[np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)] for i in range(n)]
    return np.array(minor) * (-1.0) ** np.add.outer(range(n), range(n))


@pytest.mark.parametrize("rank", [4, 3, 2, 0])
def test_the_derivative_of_a_singular_matrix_is_its_cofactors(rank):
    """Exact small integers, so that pivots which are zero are found to be."""
    lower = np.tril(np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [-0.5, 0, 1, 0], [0.5, -0.5, 0.5, 1]]))
    upper = np.triu(np.array([[2.0, 1, 0, 3], [0, 4, 1, -2], [0, 0, 2, 1], [0, 0, 0, 3]]))
    upper[rank:] = 0
    a = (lower @ upper)[[2, 0, 3, 1]]
    assert_derivatives(lambda b, a: b.det(a), jnp.linalg.det, [a], rtol=1e-12, second=rank == 4)
    got = run(vjp(graph_of(lambda b, a: b.det(a), [a]), [True], [True]), a, np.array(1.0))[1]
    np.testing.assert_allclose(got, cofactors(a), atol=1e-12)


def test_errors():
    def infer(name, *types, **attributes):
        b = Builder()
        return [v.type for v in b.emit(name, [b.graph.add_input(t) for t in types], attributes)]

    a, order = TensorType("f32", (N, 3, 3)), TensorType("i32", (N, 3))
    assert infer("lu", TensorType("f32", (N, 5, 3))) == [
        TensorType("f32", (N, 5, 3)),
        TensorType("i32", (N, 3)),
        TensorType("i32", (N, 5)),
    ]
    with pytest.raises(ShapeError, match=r"lu: expected matrices in the last two dimensions, received f32\[3\]"):
        infer("lu", TensorType("f32", (3,)))
    with pytest.raises(DTypeError, match="float, complex; received"):
        infer("lu", TensorType("i32", (3, 3)))
    for name in ("det", "slogdet"):
        with pytest.raises(ShapeError, match=rf"{name}: expected square matrices in the last two .*f32\[2,3\]"):
            infer(name, TensorType("f32", (2, 3)))
    with pytest.raises(ArgumentError, match=r"lu_solve takes 4 operands \(a, lu, permutation, b\), received 2"):
        infer("lu_solve", a, a)
    with pytest.raises(ShapeError, match="lu and permutation as lu gives them"):
        infer("lu_solve", a, a, TensorType("i32", (N, 2)), a)
    with pytest.raises(ShapeError, match="b of the batch dimensions and rows"):
        infer("lu_solve", a, a, order, TensorType("f32", (N, 2, 3)))
    with pytest.raises(DTypeError):
        infer("lu_solve", a, a, order, TensorType("f64", (N, 3, 3)))
