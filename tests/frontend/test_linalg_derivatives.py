"""Derivatives of what is made by LU factorization, through XLA, are those of ``jax``."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
import pytest

import lamina
from lamina import Spec, ops

# Float32 results of matrices whose condition is below 10; second derivatives multiply up to four inverses: 1e-4 of the
# largest element.
TOLERANCE = 1e-4


def matrices(*shape, seed=0):
    a = np.random.default_rng(seed).normal(size=shape) / 2 + 2 * np.eye(shape[-1])
    return np.roll(a, 1, -2).astype("float32")


def close(got, want):
    want = np.asarray(want)
    assert np.shape(got) == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE * np.abs(want).max(initial=1))


RIGHT = np.random.default_rng(5).normal(size=(4, 2)).astype("float32")
FUNCTIONS = {
    "inv": (ops.inv, jnp.linalg.inv),
    "solve": (lambda a: ops.solve(a, RIGHT[: a.shape[-1]]), lambda a: jnp.linalg.solve(a, RIGHT[: a.shape[-1]])),
    "solve_vector": (
        lambda a: ops.solve(a, a[..., 0] * RIGHT[0, 0]),
        lambda a: jnp.linalg.solve(a, a[..., 0] * RIGHT[0, 0]),
    ),
    "det": (ops.det, jnp.linalg.det),
    "logdet": (ops.logdet, lambda a: jnp.linalg.slogdet(a)[1]),
    "slogdet": (lambda a: ops.sum(ops.stack(ops.slogdet(a))), lambda a: sum(jnp.linalg.slogdet(a))),
    "lu_factor": (lambda a: ops.lu_factor(a)[0], lambda a: jax.scipy.linalg.lu_factor(a)[0]),
}


@pytest.mark.parametrize(("name", "size"), [*((name, 4) for name in FUNCTIONS), *(("det", n) for n in (1, 2, 3))])
def test_first_and_second_derivatives(name, size):
    ours, theirs = FUNCTIONS[name]
    a, da = matrices(size, size), matrices(size, size, seed=1)

    def loss(f, math):
        return lambda a: math.sum(math.sin(f(a)))

    close(ours(a), theirs(a))
    close(lamina.grad(loss(ours, ops))(a), jax.grad(loss(theirs, jnp))(a))
    value, moved = lamina.jvp(ours, (a,), (da,))
    wanted, wanted_moved = jax.jvp(theirs, (a,), (da,))
    close(value, wanted)
    close(moved, wanted_moved)
    close(lamina.hessian(loss(ours, ops))(a), jax.hessian(loss(theirs, jnp))(a))


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "lu_factor"])
def test_batches_are_each_matrix(name):
    ours, theirs = FUNCTIONS[name]
    a = matrices(2, 3, 4, 4)
    close(lamina.vmap(lamina.vmap(ours))(a), jax.vmap(jax.vmap(theirs))(a))
    want = jax.vmap(jax.grad(lambda a: jnp.sum(jnp.sin(theirs(a)))))(a[0])
    close(lamina.vmap(lamina.grad(lambda a: ops.sum(ops.sin(ours(a)))))(a[0]), want)
    if name != "slogdet":
        close(lamina.grad(lambda a: ops.sum(ops.sin(ours(a))))(a[0]), want)


def test_both_sides_of_solve():
    a, right = matrices(3, 4, 4), np.stack([RIGHT] * 3)
    got = lamina.grad(lambda a, b: ops.sum(ops.solve(a, b) ** 2), argnums=(0, 1))(a, right)
    want = jax.grad(lambda a, b: jnp.sum(jnp.linalg.solve(a, b) ** 2), argnums=(0, 1))(a, right)
    for g, w in zip(got, want, strict=True):
        close(g, w)
    close(lamina.vmap(ops.solve, in_axes=(None, 0))(a[0], right), np.linalg.solve(a[:1], right))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_determinant_of_a_singular_matrix_moves_by_its_cofactors(size):
    a = matrices(size, size)
    a[0] = a[1:].sum(0)
    u, s, v = np.linalg.svd(a.astype("float64"))
    cofactors = np.linalg.det(u) * np.linalg.det(v) * np.prod(s[:-1]) * np.outer(u[:, -1], v[-1])
    close(lamina.grad(ops.det)(a), cofactors)
    close(jax.grad(jnp.linalg.det)(a), cofactors)


def test_columns_of_zeros():
    """Three by three and smaller are polynomials; in larger ones a pivot before the last is zero: no derivative."""
    a = np.float32([[0, 1], [0, 0]])
    np.testing.assert_array_equal(lamina.grad(ops.det)(a), [[0, 0], [-1, 0]])
    a = np.diag(np.float32([0, 1, 2, 3]))
    np.testing.assert_array_equal(lamina.grad(ops.det)(a), jax.grad(jnp.linalg.det)(a))


def test_a_singular_matrix_has_no_logarithm():
    a = np.ones((4, 4), "float32")
    sign, logarithm = ops.slogdet(a)
    assert (sign, logarithm) == (0, -np.inf)
    assert not np.isfinite(lamina.grad(ops.logdet)(a)).any()


def test_one_factorization_serves_both_ways():
    """The solution and its gradients, or a determinant and its own, share one loop."""
    for f in (lambda a: ops.sum(ops.inv(a)), ops.logdet, ops.det):
        compiled = lamina.compile(lamina.value_and_grad(f), Spec((4, 4)))
        assert [node.op.name for node in compiled.specialized().main.walk()].count("while") == 1


def test_open_sizes():
    step = lamina.compile(lamina.value_and_grad(lambda a: ops.sum(ops.inv(a)) + ops.logdet(a)), Spec(("N", "N")))
    for size in (1, 3):
        a = matrices(size, size)
        value, gradient = step(a)
        wanted = jax.value_and_grad(lambda a: jnp.sum(jnp.linalg.inv(a)) + jnp.linalg.slogdet(a)[1])(a)
        close(value, wanted[0])
        close(gradient, wanted[1])
    value, gradient = step(np.zeros((0, 0), "float32"))
    assert value == 0 and gradient.shape == (0, 0)


def test_complex_matrices():
    rng = np.random.default_rng(3)
    a = (matrices(4, 4) + 1j * rng.normal(size=(4, 4)) / 3).astype("complex64")
    for name in ("inv", "det", "lu_factor"):
        ours, theirs = FUNCTIONS[name]
        close(ours(a), theirs(a))
    close(ops.slogdet(a)[0], jnp.linalg.slogdet(a)[0])
    got = lamina.grad(lambda a: ops.sum(ops.real(ops.inv(a))) + ops.logdet(a))(a)
    close(got, jax.grad(lambda a: jnp.sum(jnp.real(jnp.linalg.inv(a))) + jnp.linalg.slogdet(a)[1])(a))
