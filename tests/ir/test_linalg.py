"""fft, cholesky, triangular_solve and qr against NumPy and jax.lax.linalg."""

import ml_dtypes
import numpy as np
import pytest
from jax import lax

from lamina.ir import TensorType, symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError

N = symbol("N")


def random(shape, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def close(result, expected, bound):
    """max|a-b| <= bound * max|b|, element types equal to what was asked."""
    expected = np.asarray(expected)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max(initial=0) <= bound * max(1e-30, np.abs(expected).max(initial=0))


# One rounding of an exact value for the single types; the double types go through NumPy's own double transforms.
BOUNDS = {"complex64": 2.4e-7, "float32": 2.4e-7, "complex128": 1e-14, "float64": 1e-14}


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("length", [(7,), (4, 7), (3, 4, 7)])
def test_fft_and_its_inverse(run_op, dtype, length):
    x = random((2, 3, 4, 7), dtype)
    axes = tuple(range(-len(length), 0))
    result = run_op("fft", x, kind="FFT", length=length)
    assert result.dtype == dtype
    close(result, np.fft.fftn(x.astype(np.complex128), axes=axes), BOUNDS[dtype])
    close(run_op("fft", result, kind="IFFT", length=length), x, 8 * BOUNDS[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [(6,), (7,), (4, 6), (3, 4, 7), (1,)])
def test_real_fft_and_its_inverse(run_op, dtype, length):
    x = random((2, *length), dtype)
    axes = tuple(range(-len(length), 0))
    result = run_op("fft", x, kind="RFFT", length=length)
    assert result.dtype == {"float32": np.complex64, "float64": np.complex128}[dtype]
    close(result, np.fft.rfftn(x.astype(np.float64), axes=axes), BOUNDS[dtype])
    back = run_op("fft", result, kind="IRFFT", length=length)
    assert back.dtype == dtype
    close(back, x, 8 * BOUNDS[dtype])


def test_inverse_real_fft_as_xla(run_op):
    x = random((3, 4), "complex64")  # not the transform of a real signal: the imaginary parts of the ends do not count
    for length in ((6,), (7,)):
        close(run_op("fft", x, kind="IRFFT", length=length), lax.fft(x, "irfft", length), 1e-6)


def test_fft_of_nothing(run_op):
    assert run_op("fft", np.zeros((0, 4), np.complex64), kind="FFT", length=(4,)).shape == (0, 4)
    assert run_op("fft", np.zeros((0, 4), np.float32), kind="RFFT", length=(4,)).shape == (0, 3)


def test_fft_types_and_errors(infer):
    assert infer("fft", TensorType("f32", (N, 2 * N)), kind="RFFT", length=(2 * N,)) == [TensorType("c64", (N, N + 1))]
    assert infer("fft", TensorType("c64", (N, 5)), kind="IRFFT", length=(8,)) == [TensorType("f32", (N, 8))]
    with pytest.raises(ArgumentError, match="kind should be one of FFT, IFFT, RFFT, IRFFT, received 'fft'"):
        infer("fft", TensorType("c64", (4,)), kind="fft", length=(4,))
    with pytest.raises(DTypeError, match=r"RFFT takes f32 or f64, received c64\[4\]"):
        infer("fft", TensorType("c64", (4,)), kind="RFFT", length=(4,))
    with pytest.raises(ShapeError, match=r"FFT of length \(5,\) takes \(5,\) as last dimensions, received c64\[4\]"):
        infer("fft", TensorType("c64", (4,)), kind="FFT", length=(5,))
    with pytest.raises(ArgumentError, match="the last 1 to 3 dimensions"):
        infer("fft", TensorType("c64", (4,)), kind="FFT", length=())


def positive_definite(shape, dtype):
    a = random(shape, dtype)
    return (a @ np.swapaxes(a, -1, -2).conj() + shape[-1] * np.eye(shape[-1])).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("lower", [True, False])
def test_cholesky_reads_one_triangle(run_op, dtype, lower):
    a = positive_definite((2, 3, 5, 5), dtype)
    spoiled = np.where(np.tri(5, dtype=bool) if lower else np.tri(5, dtype=bool).T, a, np.nan)
    result = run_op("cholesky", spoiled.astype(dtype), lower=lower)
    factor = np.linalg.cholesky(a.astype(np.complex128))
    close(result, factor if lower else np.swapaxes(factor, -1, -2).conj(), 1e-6)
    assert (result == (np.tril(result) if lower else np.triu(result))).all()


def test_cholesky_of_a_matrix_that_is_not_positive_definite_is_nan(run_op):
    a = np.stack([np.eye(3), -np.eye(3), np.ones((3, 3))]).astype(np.float32)
    result = run_op("cholesky", a)
    np.testing.assert_array_equal(result[0], np.eye(3))
    np.testing.assert_array_equal(np.isnan(result[1:]).all(axis=(1, 2)), [True, True])
    expected = np.isnan(np.asarray(lax.linalg.cholesky(a)))
    np.testing.assert_array_equal(np.isnan(np.tril(result)), expected)


def test_cholesky_shapes_and_errors(run_op, infer):
    assert run_op("cholesky", np.zeros((2, 0, 0), np.float32)).shape == (2, 0, 0)
    assert run_op("cholesky", np.full((1, 1), 4, ml_dtypes.bfloat16)) == 2
    assert infer("cholesky", TensorType("f32", (N, N))) == [TensorType("f32", (N, N))]
    with pytest.raises(ShapeError, match=r"cholesky: expected square matrices .* received f32\[3,4\]"):
        infer("cholesky", TensorType("f32", (3, 4)))
    with pytest.raises(DTypeError, match=r"cholesky: expected an element type that is float, complex; received"):
        infer("cholesky", TensorType("i32", (3, 3)))


@pytest.mark.parametrize("dtype", ["float32", "complex64", "float64"])
@pytest.mark.parametrize("left_side", [True, False])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transpose", ["NO_TRANSPOSE", "TRANSPOSE", "ADJOINT"])
@pytest.mark.parametrize("unit_diagonal", [True, False])
def test_triangular_solve(run_op, dtype, left_side, lower, transpose, unit_diagonal):
    a = random((2, 4, 4), dtype) / 4 + 2 * np.eye(4, dtype=dtype)
    b = random((2, 4, 3) if left_side else (2, 3, 4), dtype, seed=1)
    triangle = np.tri(4, dtype=bool) if lower else np.tri(4, dtype=bool).T
    spoiled = np.where(triangle & ~(np.eye(4, dtype=bool) & unit_diagonal), a, np.nan).astype(dtype)
    x = run_op(
        "triangular_solve",
        spoiled,
        b,
        left_side=left_side,
        lower=lower,
        transpose=transpose,
        unit_diagonal=unit_diagonal,
    )
    assert x.dtype == dtype
    op = np.where(triangle, a, 0)
    if unit_diagonal:
        op[:, range(4), range(4)] = 1
    if transpose != "NO_TRANSPOSE":
        op = np.swapaxes(op, -1, -2)
    op = op.conj() if transpose == "ADJOINT" else op
    close(op @ x if left_side else x @ op, b, 1e-5 if dtype != "float64" else 1e-12)


def test_triangular_solve_of_a_singular_matrix_divides_by_zero(run_op):
    a, b = np.array([[1, 0], [1, 0]], np.float32), np.array([[1], [3]], np.float32)
    result = run_op("triangular_solve", a, b)
    np.testing.assert_array_equal(result, [[1], [np.inf]])
    np.testing.assert_array_equal(result, lax.linalg.triangular_solve(a, b, left_side=True, lower=True))


def test_triangular_solve_errors(infer):
    a = TensorType("f32", (N, 4, 4))
    assert infer("triangular_solve", a, TensorType("f32", (N, 4, 2))) == [TensorType("f32", (N, 4, 2))]
    with pytest.raises(ShapeError, match=r"dimension -1 of the right side should be 4, as in f32\[N,4,4\]"):
        infer("triangular_solve", a, TensorType("f32", (N, 4, 2)), left_side=False)
    with pytest.raises(ShapeError, match="batch dimensions"):
        infer("triangular_solve", a, TensorType("f32", (4, 2)))
    with pytest.raises(
        ArgumentError, match="transpose should be one of NO_TRANSPOSE, TRANSPOSE, ADJOINT, received 'T'"
    ):
        infer("triangular_solve", a, TensorType("f32", (N, 4, 2)), transpose="T")
    with pytest.raises(DTypeError, match="one element type"):
        infer("triangular_solve", a, TensorType("f64", (N, 4, 2)))


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (3, 5), (1, 1)])
@pytest.mark.parametrize("full", [True, False])
def test_qr_as_lapack(run_op, dtype, shape, full):
    a = random(shape, dtype)
    q, r = run_op("qr", a, full=full)
    assert q.dtype == r.dtype == dtype
    expected_q, expected_r = lax.linalg.qr(a, full_matrices=full)
    close(q @ r, a, 2e-6)
    close(r, expected_r, 2e-6)
    k = min(shape[-2:])
    close(q[..., :k], np.asarray(expected_q)[..., :k], 4e-6)
    close(
        np.swapaxes(q, -1, -2).conj() @ q, np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], *[q.shape[-1]] * 2)), 2e-6
    )


def test_qr_shapes_and_errors(run_op, infer):
    assert infer("qr", TensorType("f32", (N, 5, 3))) == [TensorType("f32", (N, 5, 3)), TensorType("f32", (N, 3, 3))]
    assert infer("qr", TensorType("f32", (5, 3)), full=True) == [TensorType("f32", (5, 5)), TensorType("f32", (5, 3))]
    q, r = run_op("qr", np.zeros((2, 0, 3), np.float32))
    assert (q.shape, r.shape) == ((2, 0, 0), (2, 0, 3))
    with pytest.raises(ShapeError, match=r"qr: expected matrices in the last two dimensions, received f32\[3\]"):
        infer("qr", TensorType("f32", (3,)))
