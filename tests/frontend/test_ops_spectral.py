"""eigh, eig, svd and what is made of them: against jax.numpy.linalg, and their derivatives against differences."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import Spec, keras, ops
from lamina.ir.errors import DifferentiationError, DTypeError, ShapeError, UnsupportedError


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def symmetric(*shape, seed=0):
    x = draw(*shape, seed=seed)
    return x + np.swapaxes(x, -1, -2)


def leading(vectors):
    """The first element of each column of nearly the greatest size."""
    size = np.abs(vectors)
    place = (size >= 0.99 * size.max(-2, keepdims=True)).argmax(-2)
    return np.take_along_axis(vectors, place[..., None, :], -2)


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (1, 1)])
def test_eigh(shape):
    x = symmetric(*shape)
    values, vectors = map(np.asarray, ops.eigh(x))
    close(values, jnp.linalg.eigh(x)[0])
    close(x @ vectors, vectors * values[..., None, :])
    assert (leading(vectors) > 0).all()
    close(ops.eigh(draw(*shape))[0], jnp.linalg.eigh(draw(*shape))[0])  # made symmetric


def test_the_sign_of_elements_of_one_size_is_the_first_one_s():
    values, vectors = ops.eigh(np.float32([[2, 1], [1, 2]]))
    close(values, [1, 3])
    close(vectors, np.float32([[1, 1], [-1, 1]]) / np.sqrt(2))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4)])
@pytest.mark.parametrize("full", [True, False])
def test_svd(shape, full):
    x, k = draw(*shape), min(shape[-2:])
    u, s, v = map(np.asarray, ops.svd(x, full_matrices=full))
    assert [a.shape for a in (u, s, v)] == [a.shape for a in jnp.linalg.svd(x, full_matrices=full)]
    close(s, jnp.linalg.svd(x, compute_uv=False))
    close(ops.svd(x, compute_uv=False), s)
    close((u[..., :k] * s[..., None, :]) @ v[..., :k, :], x)
    close(np.swapaxes(u, -1, -2) @ u, np.broadcast_to(np.eye(u.shape[-1]), (*shape[:-2], *[u.shape[-1]] * 2)))
    close(v @ np.swapaxes(v, -1, -2), np.broadcast_to(np.eye(v.shape[-2]), (*shape[:-2], *[v.shape[-2]] * 2)))
    assert (leading(u[..., :k]) > 0).all()


def test_eig():
    x = draw(2, 4, 4)
    values, vectors = map(np.asarray, ops.eig(x))
    assert values.dtype == vectors.dtype == np.complex64
    close(np.sort_complex(values), np.sort_complex(jnp.linalg.eig(x)[0]))
    close(x @ vectors, vectors * values[..., None, :])
    close(leading(vectors).imag, 0)
    assert (leading(vectors).real > 0).all()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4)])
def test_pinv_and_rank(shape):
    x = draw(*shape)
    x[..., -1] = x[..., 0]  # one less than full where there are no more columns than rows
    close(ops.pinv(x), jnp.linalg.pinv(x))
    close(ops.pinv(x, rcond=0.5), jnp.linalg.pinv(x, rcond=0.5))
    for tol in (None, 1.0):
        found = ops.matrix_rank(x, tol)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, jnp.linalg.matrix_rank(x, tol))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
@pytest.mark.parametrize("right", [(), (2,)])
def test_lstsq(shape, right):
    a, b = draw(*shape), draw(shape[0], *right, seed=1)
    close(ops.lstsq(a, b), jnp.linalg.lstsq(a, b)[0])
    close(ops.lstsq(a, b, rcond=0.5), jnp.linalg.lstsq(a, b, rcond=0.5)[0])


# Derivatives


def total(values):
    return sum(ops.sum(ops.sin(x) + x * x * x) for x in jax.tree.leaves(values))


SMOOTH = {
    "eigh": (lambda x: total(ops.eigh(x)), symmetric(4, 4)),
    "eigh of a batch": (lambda x: total(ops.eigh(x)), symmetric(2, 3, 3)),
    "svd, tall": (lambda x: total(ops.svd(x, full_matrices=False)), draw(5, 3)),
    "svd, wide": (lambda x: total(ops.svd(x, full_matrices=False)), draw(2, 3, 5)),
    "pinv, tall": (lambda x: total(ops.pinv(x)), draw(5, 3)),
    "pinv, wide": (lambda x: total(ops.pinv(x)), draw(3, 5)),
    "lstsq": (lambda x: total(ops.lstsq(x, draw(5, 2, seed=1))), draw(5, 3)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_against_differences(name):
    f, x = SMOOTH[name]
    with jax.enable_x64(True):
        x = jnp.asarray(x, "float64")
        way = jnp.asarray(symmetric(*x.shape, seed=2) if name.startswith("eigh") else draw(*x.shape, seed=2), "float64")
        step = 1e-6
        expected = (f(x + step * way) - f(x - step * way)) / (2 * step)
        _, forward = lamina.jvp(f, (x,), (way,))
        gradient = np.asarray(lamina.grad(f)(x))
    np.testing.assert_allclose(forward, expected, rtol=1e-6)
    np.testing.assert_allclose((gradient * np.asarray(way)).sum(), expected, rtol=1e-6)


@pytest.mark.long
def test_second_derivatives_of_pinv_and_eigenvalues():
    for own, theirs, x in (
        (lambda x: ops.sum(ops.pinv(x) ** 3), lambda x: jnp.sum(jnp.linalg.pinv(x) ** 3), draw(4, 2)),
        (lambda x: ops.sum(ops.eigh(x)[0] ** 3), lambda x: jnp.sum(jnp.linalg.eigh(x)[0] ** 3), symmetric(3, 3)),
    ):
        close(lamina.hessian(own)(x), jax.hessian(theirs)(x), 2e-3)


def test_equal_values_have_derivatives_and_their_vectors_none():
    x = np.eye(3, dtype=np.float32)
    f = lamina.grad(lambda x: ops.sum(ops.svd(x, compute_uv=False) ** 3))
    close(f(x), jax.grad(lambda x: jnp.sum(jnp.linalg.svd(x, compute_uv=False) ** 3))(x))
    assert not np.isfinite(np.asarray(lamina.grad(lambda x: ops.sum(ops.eigh(x)[1] ** 3))(x))).all()
    with pytest.raises(DifferentiationError, match="eig"):
        lamina.grad(lambda x: ops.sum(ops.real(ops.eig(x)[0])))(draw(3, 3))


# Elsewhere


def test_vmap_narrow_floats_and_symbolic_inputs():
    x = symmetric(3, 4, 4)
    close(lamina.vmap(lambda a: ops.eigh(a)[1])(x), ops.eigh(x)[1])
    values, vectors = ops.eigh(x.astype(jnp.bfloat16))
    assert values.dtype == vectors.dtype == jnp.bfloat16
    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, ops.linalg.svd(inputs, full_matrices=False)[1])
    close(model(x), ops.svd(x, compute_uv=False))


def test_targets():
    f = lamina.trace(lambda x: (ops.eigh(x), ops.svd(x, full_matrices=False), ops.pinv(x)), Spec((3, 3)))
    assert lamina.verify(f, [symmetric(3, 3)], ["numpy", "xla", "torchscript", "tf_function", "stablehlo"]).ok
    f = lamina.trace(ops.eig, Spec((3, 3)))
    assert lamina.verify(f, [draw(3, 3)], ["numpy", "xla", "torchscript"]).ok
    with pytest.raises(UnsupportedError, match=r"eig has no form in TensorFlow.*in another order"):
        lamina.verify(f, [draw(3, 3)], "tf_function")


ANOTHER_PROCESS = """
import sys
import numpy as np
import lamina
x = np.float32([[2, 1], [1, 2]])
if sys.argv[1] == "first":
    compiled = lamina.compile(lamina.ops.eigh, lamina.Spec((2, 2)))
    compiled(x)
    compiled.save(sys.argv[2] + "/m.lamina")
    lamina.export(lamina.ops.eigh, sys.argv[2] + "/m.mlir", specs=lamina.Spec((2, 2)))
elif sys.argv[1] == "again":
    print(lamina.compile(lamina.ops.eigh, lamina.Spec((2, 2)))(x)[0])
elif sys.argv[1] == "artifact":
    print(lamina.load(sys.argv[2] + "/m.lamina")(x)[0])
else:
    print(lamina.compile(lamina.load(sys.argv[2] + "/m.mlir"), cache=False)(x)[0])
"""


@pytest.mark.long
def test_a_process_that_lowered_nothing_runs_lapack_s_functions(tmp_path):
    environment = {**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}

    def run(what):
        command = [sys.executable, "-c", ANOTHER_PROCESS, what, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run("first")
    assert [run(what) for what in ("again", "artifact", "program")] == ["[1. 3.]"] * 3


def test_not_a_number_gives_such():
    x = np.full((3, 3), np.nan, np.float32)
    module = lamina.trace(lambda x: (ops.eigh(x), ops.svd(x)), Spec((3, 3)))
    for results in (lamina.evaluate(module, x)[0], jax.tree.leaves(lamina.compile(module)(x))):
        assert np.isnan(np.asarray(results[0])).all() and np.isnan(np.asarray(results[3])).all()


def test_open_sizes_and_wrong_operands():
    compiled = lamina.compile(ops.eigh, Spec((None, 3, 3)))
    for batch in (1, 4):
        close(compiled(symmetric(batch, 3, 3))[0], jnp.linalg.eigh(symmetric(batch, 3, 3))[0])
    with pytest.raises(ShapeError, match="eigh: matrices must be square"):
        ops.eigh(draw(2, 3))
    with pytest.raises(ShapeError, match="svd: expected matrices in the last two axes"):
        ops.svd(draw(3))
    with pytest.raises(ShapeError, match="lstsq: rows of both sides must be equal"):
        ops.lstsq(draw(3, 2), draw(4))
    with pytest.raises(DTypeError, match=r"eigh takes f32 or f64, received c64\[3,3\]"):
        ops.eigh(draw(3, 3).astype(np.complex64))


def test_jvp_is_an_op_too():
    primal, tangent = ops.jvp(lambda x: x**3, (np.float32(2),), (np.float32(1),))
    assert (float(primal), float(tangent)) == (8, 12)
    (_, tangent, aux) = ops.linalg.jvp(lambda x: (x**3, x), (np.float32(2),), (np.float32(1),), has_aux=True)
    assert (float(tangent), float(aux)) == (12, 2)
