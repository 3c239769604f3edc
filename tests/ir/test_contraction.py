"""dot_general and convolution: against NumPy and XLA, accumulation and wrapping, and what does not fit."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from lamina.ir.builder import Builder
from lamina.ir.dims import evaluate_dim, max_dim, symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError
from lamina.ir.evaluate import evaluate
from lamina.ir.graph import Graph
from lamina.ir.ops.contraction import conv_size
from lamina.ir.types import TensorType

N, M, T = symbol("N"), symbol("M"), symbol("T")


def run(op, *arrays, **attributes):
    """The op's value on arrays, by the evaluator."""
    graph = Graph()
    values = [graph.add_input(TensorType(a.dtype, a.shape)) for a in arrays]
    graph.outputs = list(Builder(graph).emit(op, values, attributes))
    (result,), _ = evaluate(graph, *arrays)
    assert TensorType(result.dtype, result.shape) == graph.outputs[0].type
    return result


def infer(op, *types, **attributes):
    graph = Graph()
    return Builder(graph).emit(op, [graph.add_input(t) for t in types], attributes)[0].type


def f32(*shape):
    return TensorType("f32", shape)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_sums_close(ours, theirs, magnitude, terms, eps=2.0**-23):
    """Sums of products in another order: terms * eps * sum of |products| bounds each side's error."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.all(np.abs(ours - theirs) <= 2 * max(terms, 1) * eps * np.asarray(magnitude, np.float64) + 1e-37)


# dot_general.


@given(st.data())
def test_dot_general_is_einsum(data):
    """Any batch, contracted and free dimensions, in any order, zero sizes included."""
    letters = data.draw(st.permutations("abcdef"))
    size = {letter: data.draw(st.integers(0, 3)) for letter in letters}
    batch, contract = letters[: data.draw(st.integers(0, 2))], letters[2 : 2 + data.draw(st.integers(0, 2))]
    left = data.draw(st.permutations([*batch, *contract, *letters[4 : 4 + data.draw(st.integers(0, 1))]]))
    right = data.draw(st.permutations([*batch, *contract, *letters[5 : 5 + data.draw(st.integers(0, 1))]]))
    out = [*batch, *(c for c in left if c not in batch + contract), *(c for c in right if c not in batch + contract)]
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-4, 5, [size[c] for c in side]).astype(np.float32) for side in (left, right))
    result = run(
        "dot_general",
        x,
        y,
        lhs_batch=[left.index(c) for c in batch],
        rhs_batch=[right.index(c) for c in batch],
        lhs_contract=[left.index(c) for c in contract],
        rhs_contract=[right.index(c) for c in contract],
    )
    expected = np.einsum(f"{''.join(left)},{''.join(right)}->{''.join(out)}", x, y)
    np.testing.assert_array_equal(result, expected)  # small integers: exact in any order


MATMUL = {"lhs_contract": (1,), "rhs_contract": (0,)}


def test_matmul_is_that_of_xla():
    x, y = normal(17, 33), normal(33, 9, seed=1)
    expected = lax.dot_general(x, y, (((1,), (0,)), ((), ())), precision="highest")
    assert_sums_close(run("dot_general", x, y, **MATMUL), expected, np.abs(x) @ np.abs(y), 33)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_accumulate_in_float32_and_round_once(dtype):
    x, y = (np.ones(shape, np.float32).astype(dtype) for shape in ((2, 5000), (5000, 3)))
    expected = np.full((2, 3), 5000, np.float32)  # adding in the narrow type would stop at 2048 or 256
    np.testing.assert_array_equal(run("dot_general", x, y, **MATMUL), expected.astype(dtype))
    np.testing.assert_array_equal(run("dot_general", x, y, **MATMUL, dtype="f32"), expected)


def test_float8_to_a_wider_result():
    x = np.array([[1.5, 2]], ml_dtypes.float8_e4m3fn)
    assert run("dot_general", x, x.T.copy(), **MATMUL, dtype="f32").tolist() == [[6.25]]
    assert run("dot_general", x, x.T.copy(), **MATMUL).dtype == x.dtype


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_integers_wrap(dtype):
    high, low = np.iinfo(dtype).max, np.iinfo(dtype).min
    x, y = np.array([[high, high, low], [3, low, high]], dtype), np.array([[high], [high], [high]], dtype)
    exact = [[sum(int(a) * int(b) for a, b in zip(row, y[:, 0], strict=True))] for row in x]
    bits = np.iinfo(dtype).bits
    expected = [[(v - int(low)) % 2**bits + int(low) for v in row] for row in exact]
    assert run("dot_general", x, y, **MATMUL).tolist() == expected


def test_narrow_integers_with_a_wider_result():
    x = np.full((1, 100), 127, np.int8)
    assert run("dot_general", x, x.T.copy(), **MATMUL, dtype="i32").tolist() == [[100 * 127 * 127]]
    four = np.array([[7, -8]], ml_dtypes.int4)
    assert run("dot_general", four, four.T.copy(), **MATMUL, dtype="i32").tolist() == [[113]]
    assert run("dot_general", four, four.T.copy(), **MATMUL).tolist() == [[1]]  # 113 mod 16


def test_bool_and_complex():
    x = np.array([[True, False], [False, False]])
    assert run("dot_general", x, x, **MATMUL).tolist() == [[True, False], [False, False]]
    many = np.ones((1, 256), bool)  # a count that wraps to 0 in eight bits
    assert run("dot_general", many, many.T.copy(), **MATMUL).tolist() == [[True]]
    z = np.array([[1 + 2j, 3j]], np.complex64)
    np.testing.assert_allclose(run("dot_general", z, z.T.copy(), **MATMUL), z @ z.T, rtol=1e-6)


def test_infinities_and_nan_spread_without_warnings():
    x = np.array([[np.inf, 1], [np.nan, 1], [3e38, 3e38]], np.float32)
    y = np.array([[0], [1]], np.float32)
    result = run("dot_general", x, y, **MATMUL)
    assert np.isnan(result[:2]).all()
    assert run("dot_general", x[2:], np.full((2, 1), 2, np.float32), **MATMUL).tolist() == [[np.inf]]


def test_an_empty_contraction_is_zero():
    np.testing.assert_array_equal(run("dot_general", normal(2, 0), normal(0, 3), **MATMUL), np.zeros((2, 3)))


def test_dot_with_symbols():
    assert infer("dot_general", f32(N, T, 64), f32(64, M), lhs_contract=(2,), rhs_contract=(0,)) == f32(N, T, M)
    both = {"lhs_batch": (0,), "rhs_batch": (0,), "lhs_contract": (2,), "rhs_contract": (1,)}
    assert infer("dot_general", f32(N, T, 8), f32(N, 8, T), **both) == f32(N, T, T)
    assert infer("dot_general", f32(2, 3), f32(3, 4), **MATMUL, dtype="f64") == TensorType("f64", (2, 4))


# convolution.


def attributes(rank, **changes):
    """Plain convolution of [N, C, *S] with [O, I, *K]."""
    order = tuple(range(rank))
    ones = (1,) * (rank - 2)
    plain = {
        "strides": ones,
        "padding": ((0, 0),) * (rank - 2),
        "lhs_dilation": ones,
        "rhs_dilation": ones,
        "lhs_spec": order,
        "rhs_spec": order,
        "out_spec": order,
    }
    return {**plain, **changes}


def xla_convolution(x, w, a, **extra):
    numbers = lax.ConvDimensionNumbers(a["lhs_spec"], a["rhs_spec"], a["out_spec"])
    return np.asarray(
        lax.conv_general_dilated(
            x,
            w,
            a["strides"],
            a["padding"],
            a["lhs_dilation"],
            a["rhs_dilation"],
            numbers,
            a.get("feature_groups", 1),
            a.get("batch_groups", 1),
            precision="highest",
            **extra,
        )
    )


@st.composite
def convolutions(draw):
    spatial = draw(st.integers(0, 2))
    groups, batch_groups = draw(st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2)]))
    kernel = [draw(st.integers(1, 3)) for _ in range(spatial)]
    a = attributes(
        spatial + 2,
        strides=[draw(st.integers(1, 3)) for _ in kernel],
        padding=[(draw(st.integers(-1, 3)), draw(st.integers(-1, 3))) for _ in kernel],
        lhs_dilation=[draw(st.integers(1, 2)) for _ in kernel],
        rhs_dilation=[draw(st.integers(1, 2)) for _ in kernel],
        lhs_spec=tuple(draw(st.permutations(range(spatial + 2)))),
        rhs_spec=tuple(draw(st.permutations(range(spatial + 2)))),
        out_spec=tuple(draw(st.permutations(range(spatial + 2)))),
        feature_groups=groups,
        batch_groups=batch_groups,
    )
    in_features = draw(st.integers(1, 2))
    x_sizes = [batch_groups * draw(st.integers(1, 2)), groups * in_features, *(draw(st.integers(2, 6)) for _ in kernel)]
    w_sizes = [groups * batch_groups * draw(st.integers(1, 2)), in_features, *kernel]
    shapes = []
    for sizes, spec in ((x_sizes, a["lhs_spec"]), (w_sizes, a["rhs_spec"])):
        shape = [0] * len(sizes)
        for axis, size in zip(spec, sizes, strict=True):
            shape[axis] = size
        shapes.append(shape)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return *(rng.integers(-3, 4, shape).astype(np.float32) for shape in shapes), a


@settings(max_examples=60)
@given(convolutions())
def test_convolution_is_that_of_xla(case):
    x, w, a = case
    np.testing.assert_array_equal(run("convolution", x, w, **a), xla_convolution(x, w, a))  # small integers: exact


NHWC = {"lhs_spec": (0, 3, 1, 2), "rhs_spec": (3, 2, 0, 1), "out_spec": (0, 3, 1, 2)}


def test_convolution_of_real_sizes():
    x, w = normal(2, 16, 15, 8), normal(3, 3, 8, 12, seed=1)
    a = attributes(4, strides=(2, 1), padding=((1, 1), (0, 2)), **NHWC)
    magnitude = run("convolution", np.abs(x), np.abs(w), **a)
    assert_sums_close(run("convolution", x, w, **a), xla_convolution(x, w, a), magnitude, 72)


def test_depthwise_convolution_of_three_spatial_dimensions():
    x, w = normal(2, 4, 5, 6, 7), normal(8, 1, 2, 3, 2, seed=1)
    a = attributes(5, feature_groups=4, rhs_dilation=(2, 1, 3))
    magnitude = run("convolution", np.abs(x), np.abs(w), **a)
    assert_sums_close(run("convolution", x, w, **a), xla_convolution(x, w, a), magnitude, 12)


def test_reversal_flips_the_kernel():
    x, w = normal(1, 2, 7, 6), normal(3, 2, 3, 2, seed=1)
    plain = attributes(4, padding=((1, 0), (0, 1)))
    np.testing.assert_array_equal(
        run("convolution", x, w, **plain, reversal=(True, False)), run("convolution", x, w[:, :, ::-1].copy(), **plain)
    )
    np.testing.assert_array_equal(
        run("convolution", x, w, **plain, reversal=(False, False)), run("convolution", x, w, **plain)
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_convolution_of_halves_accumulates_in_float32(dtype):
    x, w = np.ones((1, 5000, 1), np.float32).astype(dtype), np.ones((1, 5000, 1), np.float32).astype(dtype)
    assert run("convolution", x, w, **attributes(3)) == np.float32(5000).astype(dtype)
    assert run("convolution", x, w, **attributes(3), dtype="f32") == 5000


def test_convolution_of_integers():
    x, w = np.full((1, 2, 3), 127, np.int8), np.full((1, 2, 2), 127, np.int8)
    assert run("convolution", x, w, **attributes(3), dtype="i32").ravel().tolist() == [4 * 127**2] * 2
    assert run("convolution", x, w, **attributes(3)).ravel().tolist() == [4] * 2  # 64516 mod 256


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "changes", "out_shape"),
    [
        ((0, 2, 5), (3, 2, 3), {}, (0, 3, 3)),
        ((2, 2, 5), (0, 2, 3), {}, (2, 0, 3)),
        ((2, 0, 5), (3, 0, 3), {}, (2, 3, 3)),
        ((2, 2, 0), (3, 2, 3), {"padding": ((2, 2),)}, (2, 3, 2)),
        ((2, 2, 0), (3, 2, 1), {"lhs_dilation": (3,), "padding": ((1, 1),)}, (2, 3, 2)),
        ((2, 2, 2), (3, 2, 3), {}, (2, 3, 0)),
        ((2, 2, 2), (3, 2, 3), {"rhs_dilation": (4,), "strides": (2,)}, (2, 3, 0)),
        ((2, 2, 4), (3, 2, 2), {"padding": ((-1, -2),)}, (2, 3, 0)),
    ],
)
def test_convolution_without_elements(x_shape, w_shape, changes, out_shape):
    x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    a = attributes(3, **changes)
    result = run("convolution", x, w, **a)
    assert result.shape == out_shape
    assert not result.any()
    assert xla_convolution(x, w, a).shape == out_shape


def test_convolution_with_symbols():
    w = f32(8, 3, 3, 3)
    assert infer("convolution", f32(N, 3, T, 10), w, **attributes(4, padding=((1, 1), (0, 0)))) == f32(N, 8, T, 8)
    strided = infer("convolution", f32(N, 3, T, 10), w, **attributes(4, strides=(2, 2), padding=((1, 1), (0, 0))))
    assert strided == f32(N, 8, (T - 1) // 2 + 1, 4)
    dilated = infer("convolution", f32(N, 3, T, 10), w, **attributes(4, lhs_dilation=(2, 1), padding=((2, 2), (1, 1))))
    assert dilated == f32(N, 8, max_dim(0, 2 * T - 1) + 2, 10)
    grouped = infer("convolution", f32(4 * N, 2, 5), f32(8, 2, 3), **attributes(3, batch_groups=4))
    assert grouped == f32(N, 8, 3)
    # A kernel's gradient convolves the input with the output's gradient: its window has symbolic sizes.
    kernel = infer("convolution", f32(3, N, T + 2), f32(8, N, T), **attributes(3))
    assert kernel == f32(3, 8, 3)


@given(
    st.integers(0, 9), st.integers(1, 4), st.integers(1, 3), st.integers(-1, 3), st.integers(1, 3), st.integers(1, 3)
)
def test_symbolic_sizes_are_the_concrete_ones(size, window, stride, pad, base, dilation):
    symbolic = conv_size(T, window, stride, (pad, pad), base, dilation)
    concrete = conv_size(size, window, stride, (pad, pad), base, dilation)
    assert max(evaluate_dim(symbolic, {"T": size}), 0) == concrete


def test_convolution_of_a_symbolic_batch_evaluates():
    graph = Graph()
    x, w = graph.add_input(f32(N, 2, T)), graph.add_input(f32(3, 2, 2))
    graph.outputs = [Builder(graph).convolution(x, w, **attributes(3))]
    a, b = normal(2, 2, 6), normal(3, 2, 2, seed=1)
    np.testing.assert_array_equal(evaluate(graph, a, b)[0][0], run("convolution", a, b, **attributes(3)))


# Errors.


def _dot(left, right, error, message, **changes):
    return "dot_general", (left, right), {**MATMUL, **changes}, error, message


def _conv(x, w, error, message, **changes):
    return "convolution", (x, w), attributes(x.rank, **changes), error, message


@pytest.mark.parametrize(
    ("op", "types", "attributes", "error", "message"),
    [
        _dot(
            f32(2, 3),
            f32(4, 5),
            ShapeError,
            r"contract dimensions, axis 1 of f32\[2,3\] is 3 and axis 0 of f32\[4,5\] is 4",
        ),
        _dot(f32(2, N), f32(M, 5), ShapeError, "is N and axis 0 of .* is M"),
        _dot(f32(2, 3), TensorType("f64", (3, 5)), DTypeError, r"one element type, received f32\[2,3\], f64\[3,5\]"),
        _dot(f32(2, 3), f32(3, 5), ArgumentError, "as many lhs_contract as rhs_contract", rhs_contract=()),
        _dot(f32(2, 3), f32(3, 5), ArgumentError, "lhs_batch and lhs_contract in 0..1", lhs_contract=(2,)),
        _dot(f32(2, 3), f32(3, 5), ArgumentError, "differ", lhs_batch=(1,), rhs_batch=(1,)),
        _dot(
            f32(2, 3), f32(3, 5), ArgumentError, "precision default, high, highest; received 'best'", precision="best"
        ),
        _dot(f32(2, 3), f32(3, 5), DTypeError, "result type of the operands' kind, f32; received i32", dtype="i32"),
        ("dot_general", (f32(2, 3),), MATMUL, ArgumentError, "dot_general takes 2 operands, received 1"),
        _conv(
            f32(1, 3, 8), f32(4, 2, 3), ShapeError, r"f32\[1,3,8\] has 3 features and the kernel f32\[4,2,3\] takes 2"
        ),
        _conv(f32(1, N, 8), f32(4, 2, 3), ShapeError, "has N features"),
        _conv(
            f32(1, 4, 8), f32(3, 2, 3), ShapeError, "output features that 2 groups divide, received 3", feature_groups=2
        ),
        _conv(f32(3, 2, 8), f32(4, 2, 3), ShapeError, "batch that 2 groups divide, received 3", batch_groups=2),
        _conv(f32(4, 4, 8), f32(4, 2, 3), ArgumentError, "one of them 1", feature_groups=2, batch_groups=2),
        _conv(f32(1, 2, 8), f32(4, 2, 3), ArgumentError, "'strides', one for each spatial dimension", strides=(1, 1)),
        _conv(f32(1, 2, 8), f32(4, 2, 3), ArgumentError, "'strides' of at least 1", strides=(0,)),
        _conv(f32(1, 2, 8), f32(4, 2, 3), ArgumentError, "'reversal', one for each", reversal=(True, True)),
        _conv(f32(1, 2, 8), f32(4, 2, 3), ArgumentError, "out_spec a permutation of 0..2", out_spec=(0, 1, 1)),
        _conv(f32(1, 2, 8), f32(4, 2), ShapeError, r"of one rank >= 2, received f32\[1,2,8\], f32\[4,2\]"),
        _conv(f32(1, 2, 8), TensorType("f16", (4, 2, 3)), DTypeError, "one element type"),
    ],
)
def test_errors_say_what_was_received_and_expected(op, types, attributes, error, message):
    with pytest.raises(error, match=message):
        infer(op, *types, **attributes)
