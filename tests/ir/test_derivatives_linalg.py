"""Derivatives and batching of Fourier transforms and matrix factorizations are JAX's."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from transform_checks import assert_batching, assert_derivatives, graph_of, run

from lamina.ir import symbol
from lamina.ir.errors import DifferentiationError
from lamina.passes.differentiate import vjp
from lamina.passes.vectorize import vectorize

# Float64 against float64. Factorizations of well-conditioned matrices: rtol 1e-8, for their second derivatives multiply
# several inverses.
RTOL = 1e-8


def draw(*shape, seed=0, complex_=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex_ else x


def definite(*shape, complex_=False):
    x = draw(*shape, complex_=complex_) / 2
    return x @ x.conj().swapaxes(-1, -2) + 2 * np.eye(shape[-1])


@pytest.mark.parametrize("kind", ["FFT", "IFFT", "RFFT", "IRFFT"])
@pytest.mark.parametrize("length", [(4,), (5,), (1,), (2,), (3, 4), (2, 3, 5)])
def test_fft(kind, length):
    shape = (*length[:-1], length[-1] // 2 + 1) if kind == "IRFFT" else length
    x = draw(2, *shape, complex_=kind != "RFFT")

    def build(b, x):
        return b.fft(x, kind=kind, length=length)

    def oracle(x):
        return lax.fft(x, kind, length)

    assert_derivatives(build, oracle, [x])
    assert_batching(build, [x])


@pytest.mark.parametrize("kind", ["FFT", "RFFT", "IRFFT"])
def test_fft_of_open_length(kind):
    n = symbol("N")
    shape = (n // 2 + 1,) if kind == "IRFFT" else (n,)
    x = draw(4 if kind == "IRFFT" else 6, complex_=kind != "RFFT")
    if kind == "IRFFT":  # n is not to be told from n // 2 + 1
        with pytest.raises(Exception, match="N"):
            assert_derivatives(lambda b, x: b.fft(x, kind=kind, length=(n,)), jnp.fft.irfft, [x], shapes=[shape])
        return
    oracle = getattr(jnp.fft, kind.lower())
    assert_derivatives(lambda b, x: b.fft(x, kind=kind, length=(n,)), oracle, [x], shapes=[shape])


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("lower", [True, False])
def test_cholesky_of_what_is_read(lower, complex_):
    a = definite(2, 3, 3, complex_=complex_)
    a = np.tril(a) + 9 * np.triu(a, 1) if lower else np.triu(a) + 9 * np.tril(a, -1)  # not read

    def build(b, a):
        return b.cholesky(a, lower=lower)

    def oracle(a):
        part = jnp.tril(a) if lower else jnp.conj(jnp.triu(a)).swapaxes(-1, -2)
        below = jnp.tril(part, -1)
        diagonal = jnp.real(jnp.diagonal(part, axis1=-2, axis2=-1))[..., None] * jnp.eye(3)
        factor = jnp.linalg.cholesky(below + diagonal + jnp.conj(below).swapaxes(-1, -2))
        return factor if lower else jnp.conj(factor).swapaxes(-1, -2)

    assert_derivatives(build, oracle, [a], rtol=RTOL)


def test_cholesky_of_a_batch():
    a = np.stack([definite(3, 3), 2 * definite(3, 3), np.eye(3)])
    many = vectorize(graph_of(lambda b, a: b.cholesky(a), [a[0]]), [True], 3, [True])
    np.testing.assert_allclose(run(many, a)[0], np.linalg.cholesky(a), rtol=1e-12)


def test_cholesky_of_open_size():
    assert_derivatives(
        lambda b, a: b.cholesky(b.multiply(b.add(a, b.transpose(a, permutation=(1, 0))), b.full_like(a, 0.5))),
        jnp.linalg.cholesky,
        [definite(4, 4)],
        shapes=[(symbol("N"), symbol("N"))],
        rtol=RTOL,
    )


@pytest.mark.parametrize(("left", "lower", "unit"), list(itertools.product([True, False], repeat=3)))
def test_triangular_solve(left, lower, unit):
    for transpose in ("NO_TRANSPOSE", "TRANSPOSE", "ADJOINT"):
        complex_ = transpose == "ADJOINT"  # of real matrices that is TRANSPOSE
        a = draw(2, 3, 3, complex_=complex_) / 2 + 2 * np.eye(3)
        right = draw(2, *((3, 2) if left else (2, 3)), seed=1, complex_=complex_)

        def build(b, a, right, transpose=transpose):
            return b.triangular_solve(a, right, left_side=left, lower=lower, unit_diagonal=unit, transpose=transpose)

        def oracle(a, right, transpose=transpose):
            return lax.linalg.triangular_solve(
                a,
                right,
                left_side=left,
                lower=lower,
                unit_diagonal=unit,
                transpose_a=transpose != "NO_TRANSPOSE",
                conjugate_a=transpose == "ADJOINT",
            )

        assert_derivatives(build, oracle, [a, right], rtol=RTOL, second=lower)
        if not unit:
            assert_batching(build, [a, right], size=2)
            assert_batching(build, [a[0], right[0]], size=2)


def test_triangular_solve_of_open_size():
    n, k = symbol("N"), symbol("K")
    a, right = draw(3, 3) / 2 + 2 * np.eye(3), draw(3, 2, seed=1)
    assert_derivatives(
        lambda b, a, r: b.triangular_solve(a, r),
        lambda a, r: lax.linalg.triangular_solve(a, r, left_side=True, lower=True),
        [a, right],
        shapes=[(n, n), (n, k)],
        rtol=RTOL,
    )


@pytest.mark.parametrize(
    ("shape", "full", "complex_"),
    [
        ((3, 3), False, True),
        ((4, 3), False, True),
        ((4, 3), True, False),
        ((4, 2), True, True),
        ((3, 5), False, False),
        ((2, 2, 3), True, True),
        ((2, 4, 2), False, False),
    ],
)
def test_qr(shape, full, complex_):
    a = draw(*shape, complex_=complex_)

    def build(b, a):
        return b.qr(a, full=full)

    def oracle(a):
        return tuple(jnp.linalg.qr(a, mode="complete" if full else "reduced"))

    assert_derivatives(build, oracle, [a], rtol=RTOL)
    assert_batching(build, [a])


def test_qr_of_unknown_proportions_says_so():
    graph = graph_of(lambda b, a: b.qr(a), [draw(3, 3)], [(symbol("M"), symbol("N"))])
    with pytest.raises(DifferentiationError, match="more rows or columns"):
        vjp(graph, [True], [True, True])
