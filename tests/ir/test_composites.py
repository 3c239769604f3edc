"""Composites against ``jax.nn``, ``jax.numpy`` and Keras, whose numbers they promise."""

import jax
import jax.numpy as jnp
import keras
import ml_dtypes
import numpy as np
import pytest

from lamina.ir import Builder, evaluate
from lamina.ir.errors import ArgumentError, DTypeError, LaminaError, ShapeError
from lamina.ir.types import TensorType, element_type

FLOATS = ["f32", "f16", "bf16"]


def run(op, *arrays, **attributes):
    """The composite on arrays, by the IR's evaluator."""
    b = Builder()
    operands = [b.graph.add_input(TensorType(a.dtype, a.shape)) for a in arrays]
    result = getattr(b, op)(*operands, **attributes)
    b.graph.outputs = [result]
    (value,), _ = evaluate(b.graph, *arrays)
    assert TensorType(value.dtype, value.shape) == result.type
    return value


def as_double(x):
    return np.asarray(x).astype(np.float64)


def assert_close(ours, theirs, units=8.0, floor=1.0):
    """Same type and shape, same NaN and infinities, and the rest within ``units`` eps of its magnitude, or of ``floor``
    where that is larger."""
    theirs = np.asarray(theirs)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    eps = float(ml_dtypes.finfo(ours.dtype).eps)
    a, b = as_double(ours), as_double(theirs)
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite], b[~finite])
    error = np.abs(np.where(finite, a, 0) - np.where(finite, b, 0))
    allowed = units * eps * np.maximum(np.where(finite, np.abs(b), 0), floor)
    assert (error <= allowed).all(), f"ours {a[error > allowed]}, theirs {b[error > allowed]}"


def assert_same(ours, theirs):
    """Same type, shape and values, bit for bit but for the sign of zero and of NaN."""
    theirs = np.asarray(theirs)
    assert ours.dtype == theirs.dtype
    wide = np.complex128 if ours.dtype.kind == "c" else np.float64
    np.testing.assert_array_equal(ours.astype(wide), theirs.astype(wide))


def normal(shape, dtype="f32", seed=0, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(element_type(dtype))


def special_values(dtype):
    """Random values, those around the corners of the formulas, and NaN and infinities."""
    corners = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.0,
        -1.0,
        2.5,
        -2.5,
        3.0,
        -3.0,
        6.0,
        100.0,
        -100.0,
        1e-4,
        -1e-4,
        np.nan,
        np.inf,
        -np.inf,
    ]
    return np.concatenate([normal(200, dtype, scale=3.0), np.array(corners).astype(element_type(dtype))])


def case_name(value):
    return str(value) if isinstance(value, (str, dict)) else ""


def magnitude(x):
    return np.maximum(1.0, np.nan_to_num(np.abs(as_double(x)), posinf=1.0))


ACTIVATIONS = [
    ("relu", {}, jax.nn.relu),
    ("relu6", {}, jax.nn.relu6),
    ("leaky_relu", {}, lambda x: jax.nn.leaky_relu(x, 0.2)),
    ("leaky_relu", {"negative_slope": 0.01}, jax.nn.leaky_relu),
    ("elu", {}, jax.nn.elu),
    ("elu", {"alpha": 0.3}, lambda x: jax.nn.elu(x, 0.3)),
    ("selu", {}, jax.nn.selu),
    ("celu", {}, jax.nn.celu),
    ("celu", {"alpha": 2.0}, lambda x: jax.nn.celu(x, 2.0)),
    ("gelu", {"approximate": True}, lambda x: jax.nn.gelu(x, True)),
    ("gelu", {"approximate": False}, lambda x: jax.nn.gelu(x, False)),
    ("silu", {}, jax.nn.silu),
    ("softplus", {}, jax.nn.softplus),
    ("softsign", {}, jax.nn.soft_sign),
    ("log_sigmoid", {}, jax.nn.log_sigmoid),
    ("hard_sigmoid", {}, jax.nn.hard_sigmoid),
    ("hard_silu", {}, jax.nn.hard_silu),
    ("hard_tanh", {}, jax.nn.hard_tanh),
    ("mish", {}, jax.nn.mish),
    ("tanh_shrink", {}, keras.ops.tanh_shrink),
    ("soft_shrink", {}, keras.ops.soft_shrink),
    ("soft_shrink", {"threshold": 1.0}, lambda x: keras.ops.soft_shrink(x, 1.0)),
    ("hard_shrink", {}, keras.ops.hard_shrink),
    ("hard_shrink", {"threshold": 1.0}, lambda x: keras.ops.hard_shrink(x, 1.0)),
    ("threshold", {"threshold": 1.0, "value": -7.0}, lambda x: keras.ops.threshold(x, 1.0, -7.0)),
    ("squareplus", {}, jax.nn.squareplus),
    ("squareplus", {"b": 1.0}, lambda x: jax.nn.squareplus(x, 1.0)),
    ("sparse_plus", {}, jax.nn.sparse_plus),
    ("sparse_sigmoid", {}, jax.nn.sparse_sigmoid),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op, attributes, reference", ACTIVATIONS, ids=case_name)
def test_activation_equals_jax(op, attributes, reference, dtype):
    # At most about 8 roundings in a formula; an intermediate of size |x| or 1 may cancel, hence the floor.
    x = special_values(dtype)
    assert_close(run(op, x, **attributes), reference(jnp.asarray(x)), floor=magnitude(x))


@pytest.mark.parametrize("op", ["relu", "relu6"])
def test_relu_takes_integers(op):
    x = np.arange(-3, 9, dtype=np.int32)
    np.testing.assert_array_equal(run(op, x), np.clip(x, 0, 6 if op == "relu6" else None))


@pytest.mark.parametrize("dtype", FLOATS)
def test_logaddexp_equals_jax(dtype):
    x, y = special_values(dtype), special_values(dtype)[::-1].copy()
    assert_close(run("logaddexp", x, y), jnp.logaddexp(x, y), floor=np.maximum(magnitude(x), magnitude(y)))


def rows(dtype):
    """Ordinary rows; rows of large values, of ties, and rows with infinities and NaN."""
    x = normal((9, 7), dtype, seed=1, scale=3.0)
    x[1] += 1000
    x[2] = 2.5
    x[3, 2], x[4, 2] = -np.inf, np.inf
    x[5] = -np.inf
    x[6] = np.inf
    x[7, 3] = np.nan
    return x


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_softmax_equals_jax(op, axis, dtype):
    # exp, sum and division round once each; log_softmax subtracts values of up to the row's range.
    x = rows(dtype)
    assert_close(run(op, x, axis=axis), getattr(jax.nn, op)(x, axis=axis), floor=1.0 if op == "softmax" else 16.0)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_softmax_of_nothing(op, shape):
    assert run(op, np.zeros(shape, np.float32)).shape == shape


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axes, keepdims", [((0,), False), ((-1,), True), ((0, 1), False), ((), False)])
def test_logsumexp_equals_jax(axes, keepdims, dtype):
    x = rows(dtype)
    expected = jax.nn.logsumexp(x, axis=axes, keepdims=keepdims)
    assert_close(run("logsumexp", x, axes=axes, keepdims=keepdims), expected, floor=4.0)


def test_logsumexp_of_nothing_is_minus_infinity():
    assert run("logsumexp", np.zeros((0,), np.float32), axes=(0,)) == -np.inf


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [0, -1])
def test_sparsemax_equals_keras(axis, dtype):
    # Cumulative sums of 6 values of size up to 3 in the type itself.
    x = normal((5, 6), dtype, seed=2)
    x[1, 3] = np.nan
    assert_close(run("sparsemax", x, axis=axis), keras.ops.sparsemax(x, axis=axis), units=16, floor=6.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_glu_equals_jax(axis, dtype):
    x = normal((4, 6), dtype)
    assert_close(run("glu", x, axis=axis), jax.nn.glu(x, axis=axis))


REDUCTIONS = [
    ("reduce_sum", jnp.sum),
    ("reduce_prod", jnp.prod),
    ("reduce_max", jnp.max),
    ("reduce_min", jnp.min),
    ("reduce_mean", keras.ops.mean),
    ("reduce_variance", keras.ops.var),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "axes, keepdims", [((0,), False), ((1, 2), True), ((-1, 0), False), ((0, 1, 2), True), ((), True)]
)
@pytest.mark.parametrize("op, reference", REDUCTIONS, ids=[name for name, _ in REDUCTIONS])
def test_reduction_equals_jax(op, reference, axes, keepdims, dtype):
    # Accumulated in f32 and rounded once: 2 eps of the type, and for f32 the error of summing 60 values of size 1.
    x = normal((3, 4, 5), dtype, seed=3)
    ours = run(op, x, axes=axes, keepdims=keepdims)
    theirs = reference(jnp.asarray(x), axis=axes, keepdims=keepdims)
    assert_close(ours, theirs, units=2, floor=60.0 if dtype == "f32" else 0.01)


@pytest.mark.parametrize("op, reference", REDUCTIONS, ids=[name for name, _ in REDUCTIONS])
def test_reduction_of_special_values(op, reference):
    x = np.array([[1, np.nan, 2], [np.inf, 1, 2], [-np.inf, np.inf, 0], [-0.0, 0.0, -0.0]], np.float32)
    assert_close(run(op, x, axes=(1,)), reference(jnp.asarray(x), axis=1))


def test_narrow_sums_accumulate_in_f32():
    x = np.full((4096,), 0.1, ml_dtypes.bfloat16)
    assert abs(float(run("reduce_sum", x, axes=(0,))) - 4096 * float(x[0])) <= 2.0  # one rounding at 410
    large = np.full((64,), 60000, np.float16)
    assert run("reduce_mean", large, axes=(0,)) == np.float16(60000)  # the sum alone would overflow


@pytest.mark.parametrize(
    "op, expected",
    [
        ("reduce_sum", 0),
        ("reduce_prod", 1),
        ("reduce_max", -np.inf),
        ("reduce_min", np.inf),
        ("reduce_mean", np.nan),
        ("reduce_variance", np.nan),
    ],
)
def test_reduction_of_nothing(op, expected):
    np.testing.assert_array_equal(run(op, np.zeros((0, 2), np.float32), axes=(0,)), np.full(2, expected, np.float32))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8])
def test_integer_reductions(dtype):
    x = np.array([[100, 3, 7], [90, 5, 7]], dtype)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(run("reduce_sum", x, axes=(0,)), np.sum(x, 0, dtype=dtype))
        np.testing.assert_array_equal(run("reduce_prod", x, axes=(0,)), np.prod(x, 0, dtype=dtype))
    np.testing.assert_array_equal(run("reduce_max", x, axes=(0,)), x.max(0))
    np.testing.assert_array_equal(run("reduce_min", x, axes=(0,)), x.min(0))
    nothing = np.zeros((0,), dtype)
    assert run("reduce_max", nothing, axes=(0,)) == np.iinfo(dtype).min
    assert run("reduce_min", nothing, axes=(0,)) == np.iinfo(dtype).max


def test_reductions_of_bool():
    x = np.array([[True, False], [True, True]])
    for op, expected in (
        ("reduce_any", x.any(0)),
        ("reduce_max", x.any(0)),
        ("reduce_all", x.all(0)),
        ("reduce_min", x.all(0)),
    ):
        np.testing.assert_array_equal(run(op, x, axes=(0,)), expected)


def test_greatest_of_a_type_without_infinity():
    x = np.array([-448.0, 1.5], ml_dtypes.float8_e4m3fn)
    assert run("reduce_max", x[:1], axes=(0,)) == x[0]
    assert run("reduce_min", x, axes=(0,)) == x[0]


def test_complex_sum_and_mean():
    x = (normal((4, 3)) + 1j * normal((4, 3), seed=1)).astype(np.complex64)
    np.testing.assert_allclose(run("reduce_sum", x, axes=(0,)), x.sum(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run("reduce_mean", x, axes=(0,)), x.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [*FLOATS, "i32", "ui8", "i1"])
@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_argmax_equals_jax(op, dtype):
    x = normal((8, 6), seed=5, scale=4.0)
    if dtype in FLOATS:
        x[1] = 3.0  # ties: the first wins
        x[2, 4] = np.nan
        x[3, [1, 4]] = np.nan  # the first NaN wins
        x[4] = -np.inf
        x[5] = np.inf
        x[6] = [0.0, -0.0, 0.0, -0.0, 0.0, -0.0]
    x = np.abs(x).astype(element_type(dtype)) if dtype == "ui8" else x.astype(element_type(dtype))
    for axis in (0, 1, -1):
        expected = getattr(np, op)(x.astype(np.float32), axis=axis)
        np.testing.assert_array_equal(run(op, x, axis=axis), expected)
        np.testing.assert_array_equal(np.asarray(getattr(jnp, op)(x, axis=axis)), expected)


def test_argmax_index_type():
    assert run("argmax", normal((3, 2)), axis=0, dtype="i64").dtype == np.int64


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "axes, scale, center",
    [
        ((-1,), True, True),
        ((1, 2), True, True),
        ((2, 1), True, False),
        ((1,), False, True),
        ((0, 2), False, False),
        ((1,), True, True),
    ],
)
def test_layer_norm_equals_keras(axes, scale, center, dtype):
    x = normal((4, 6, 8), dtype, seed=6, scale=2.0)
    shape = [x.shape[a] for a in sorted(a % 3 for a in axes)]
    gamma, beta = (normal(shape, "f32", seed=s) for s in (7, 8))
    weights = [w for w, there in ((gamma, scale), (beta, center)) if there]
    theirs = keras.ops.layer_normalization(
        x, gamma if scale else None, beta if center else None, axis=list(axes), epsilon=1e-3
    )
    ours = run("layer_norm", x, *weights, axes=axes, epsilon=1e-3, scale=scale, center=center)
    assert_close(ours, theirs, units=4, floor=8.0 if dtype == "f32" else 0.01)


def test_layer_norm_equals_the_keras_layer():
    layer = keras.layers.LayerNormalization(axis=[1, 2])
    layer.build((None, 3, 4))
    layer.set_weights([normal((3, 4), seed=1), normal((3, 4), seed=2)])
    x = normal((5, 3, 4))
    ours = run("layer_norm", x, *layer.get_weights(), axes=(1, 2), epsilon=layer.epsilon)
    assert_close(ours, layer(x), floor=8.0)


@pytest.mark.parametrize("axis, dtype", [(-1, "f32"), (1, "f16"), (-1, "bf16")])
@pytest.mark.parametrize("scale, center", [(True, True), (True, False), (False, True), (False, False)])
def test_batch_norm_equals_the_keras_layer(axis, scale, center, dtype):
    x = normal((4, 5, 6), dtype, seed=9)
    size = x.shape[axis]
    policy = {"f32": "float32", "f16": "mixed_float16", "bf16": "mixed_bfloat16"}[dtype]
    layer = keras.layers.BatchNormalization(axis=axis, scale=scale, center=center, dtype=policy)
    layer.build(x.shape)
    weights = [normal(size, seed=s) for s in range(scale + center)]
    mean, variance = normal(size, seed=11), np.abs(normal(size, seed=12))
    layer.set_weights([*weights, mean, variance])
    ours = run("batch_norm", x, mean, variance, *weights, axis=axis, epsilon=1e-3, scale=scale, center=center)
    # Small variances make inverse scales of up to 30: the terms that cancel are that large.
    assert_close(ours, layer(x, training=False), units=4, floor=30.0 if dtype == "f32" else 1.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axes, scale", [((-1,), True), ((-1,), False), ((1, 2), True), ((0,), False)])
def test_rms_norm_equals_keras(axes, scale, dtype):
    x = normal((4, 6, 8), dtype, seed=13)
    weights = [normal([x.shape[a] for a in axes], seed=14)] if scale else []
    theirs = keras.ops.rms_normalization(x, weights[0] if scale else None, axis=list(axes), epsilon=1e-6)
    assert_close(run("rms_norm", x, *weights, axes=axes, epsilon=1e-6, scale=scale), theirs, units=4)


def same_padding(size, window, stride):
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "window, strides, padding",
    [((2, 2), (2, 2), "valid"), ((3, 2), (1, 2), "same"), ((3, 3), (2, 2), "same"), ((1, 4), (1, 3), "same")],
)
def test_pooling_equals_keras(window, strides, padding, dtype):
    x = normal((2, 7, 8, 3), dtype, seed=15)
    x[0, 0, 0, 0], x[1, 3, 3, 1] = np.nan, -np.inf
    pairs = [(0, 0)] * 4
    if padding == "same":
        pairs[1:3] = [same_padding(*each) for each in zip(x.shape[1:3], window, strides)]
    options = {"window": (1, *window, 1), "strides": (1, *strides, 1), "padding": pairs}
    theirs = keras.ops.max_pool(x, window, strides, padding)
    assert_same(run("max_pool", x, **options), theirs)
    # Up to 9 values of size 3 are added in the type itself.
    assert_close(run("avg_pool", x, **options), keras.ops.average_pool(x, window, strides, padding), units=9, floor=3.0)


def test_padding_counts_as_zeros_where_asked():
    x = np.array([[2.0, 4.0, 6.0]], np.float32)
    options = {"window": (1, 2), "strides": (1, 1), "padding": ((0, 0), (1, 1))}
    np.testing.assert_array_equal(run("avg_pool", x, **options, count_padding=True), [[1, 3, 5, 3]])
    np.testing.assert_array_equal(run("avg_pool", x, **options), [[2, 3, 5, 6]])


def test_max_pool_of_integers_pads_with_the_least():
    x = np.array([[-5, -3, -9]], np.int8)
    ours = run("max_pool", x, window=(1, 3), strides=(1, 2), padding=((0, 0), (1, 1)))
    np.testing.assert_array_equal(ours, [[-3, -3]])


CUMULATIVE = [
    ("cumsum", jax.lax.cumsum),
    ("cumprod", jax.lax.cumprod),
    ("cummax", jax.lax.cummax),
    ("cummin", jax.lax.cummin),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("op, reference", CUMULATIVE, ids=[name for name, _ in CUMULATIVE])
def test_cumulative_equals_jax(op, reference, reverse, dtype):
    # 9 values; JAX adds in another order, and in the type itself.
    x = normal((9, 4), dtype, seed=16)
    x[4, 1], x[3, 2] = np.nan, np.inf
    for axis in (0, 1):
        ours = run(op, x, axis=axis, reverse=reverse)
        assert_close(ours, reference(jnp.asarray(x), axis=axis, reverse=reverse), units=9, floor=4.0)


def test_cumulative_of_integers_and_of_nothing():
    x = np.array([3, -1, 4, -1, 5], np.int32)
    np.testing.assert_array_equal(run("cumsum", x, axis=-1), np.cumsum(x))
    np.testing.assert_array_equal(run("cummin", x, axis=0), np.minimum.accumulate(x))
    np.testing.assert_array_equal(run("cummax", x, axis=0, reverse=True), [5, 5, 5, 5, 5])
    assert run("cumsum", np.zeros((2, 0), np.float32), axis=1).shape == (2, 0)


@pytest.mark.parametrize("x_dtype", [*FLOATS, "i32", "ui8", "i1", "c64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_equals_keras(axis, x_dtype):
    x = (np.arange(24).reshape(3, 4, 2) % 5).astype(element_type(x_dtype))
    size = x.shape[axis]
    indices = np.array([[0, size - 1, -1], [-size, size, -size - 1]], np.int32)
    assert_same(run("take", x, indices, axis=axis), keras.ops.take(x, indices, axis=axis))
    scalar = np.array(1, np.int32)
    np.testing.assert_array_equal(run("take", x, scalar, axis=axis), np.take(x, 1, axis))


def test_take_with_narrow_and_unsigned_indices():
    x = normal((300, 2))
    np.testing.assert_array_equal(run("take", x, np.array([-1, 127, -128], np.int8), axis=0), x[[-1, 127, -128]])
    np.testing.assert_array_equal(run("take", x, np.array([255, 7], np.uint8), axis=0), x[[255, 7]])
    ours = run("take", x, np.array([299, 300, 2**32 - 1], np.uint32), axis=0)
    np.testing.assert_array_equal(ours, [x[299], [np.nan] * 2, [np.nan] * 2])


def test_take_nothing():
    nothing = np.zeros((0,), np.int32)
    assert run("take", normal((3, 2)), nothing, axis=1).shape == (3, 0)
    assert run("take", np.zeros((0, 2), np.float32), nothing, axis=0).shape == (0, 2)


@pytest.mark.parametrize("axis", [-1, 0, 1, -3])
@pytest.mark.parametrize("dtype", ["f32", "bf16", "i32", "i1"])
def test_one_hot_equals_keras(axis, dtype):
    indices = np.array([[0, 2, 4], [-1, 5, 3]], np.int32)
    theirs = keras.ops.one_hot(indices, 5, axis=axis, dtype=element_type(dtype).name)
    assert_same(run("one_hot", indices, depth=5, axis=axis, dtype=dtype), theirs)


def test_one_hot_of_narrow_indices_does_not_wrap():
    ours = run("one_hot", np.array([-1, 3], np.int8), depth=300, dtype="f32")
    assert ours.sum() == 1 and ours[1, 3] == 1


SEED = np.array([123, 456], np.uint32)


@pytest.mark.parametrize("dtype", FLOATS)
def test_dropout_keeps_by_its_bits_and_scales(dtype):
    x = normal((64, 64), dtype) + element_type(dtype).type(5)
    x[0, 0] = np.inf
    rate = 0.3
    ours = run("dropout", x, SEED, rate=rate)
    kept = run("dropout_bits", SEED, shape=x.shape) >= np.uint32(round(rate * 2**32))
    assert abs(kept.mean() - (1 - rate)) < 0.03  # 4 standard deviations of 4096 draws
    assert (ours[~kept] == 0).all()
    assert_close(ours[kept], (x / element_type(dtype).type(1 - rate))[kept], units=2)


def test_dropout_at_the_ends():
    x = normal((5, 5))
    np.testing.assert_array_equal(run("dropout", x, SEED, rate=0.0), x)
    np.testing.assert_array_equal(run("dropout", x, SEED, rate=1.0), np.zeros_like(x))


@pytest.mark.parametrize("dtype", [*FLOATS, "i32", "i1", "c64"])
def test_stop_gradient_is_the_identity(dtype):
    x = np.arange(4).astype(element_type(dtype))
    np.testing.assert_array_equal(run("stop_gradient", x), x)


ATTENTION = [
    {},
    {"scale": 0.5},
    {"causal": True},
    {"mask": (2, 4, 3, 5)},
    {"mask": (1, 1, 3, 5)},
    {"bias": (2, 1, 3, 5)},
    {"bias": (1, 4, 1, 5), "mask": (2, 1, 1, 5), "causal": True},
]


@pytest.mark.parametrize("groups, dtype", [(4, "f32"), (2, "f32"), (1, "f32"), (4, "f16"), (2, "bf16")])
@pytest.mark.parametrize("options", ATTENTION, ids=str)
def test_attention_equals_jax(options, groups, dtype):
    query = normal((2, 3, 4, 8), dtype, seed=20)
    key, value = (normal((2, 5, groups, 8), dtype, seed=s) for s in (21, 22))
    bias = normal(options["bias"], dtype, seed=23) if "bias" in options else None
    mask = normal(options["mask"], seed=24) > 0 if "mask" in options else None
    theirs = jax.nn.dot_product_attention(
        query, key, value, bias, mask, scale=options.get("scale"), is_causal=options.get("causal", False)
    )
    ours = run(
        "attention",
        query,
        key,
        value,
        *(each for each in (bias, mask) if each is not None),
        scale=options.get("scale"),
        causal=options.get("causal", False),
        bias=bias is not None,
        mask=mask is not None,
    )
    # Weights round once, then a mean of 5 values of size 3; f32 also has the error of the logits.
    assert_close(ours, theirs, units=8, floor=3.0)


def test_attention_where_nothing_may_be_attended_to_is_the_mean():
    query, key, value = (normal((1, 2, 1, 4), seed=s) for s in range(3))
    ours = run("attention", query, key, value, np.zeros((1, 1, 2, 2), np.bool_), mask=True)
    assert_close(ours, np.broadcast_to(value.mean(1, keepdims=True), value.shape))


def test_attention_equals_keras_with_another_value_depth_and_low_rank_mask():
    query, key = normal((2, 3, 2, 4)), normal((2, 5, 2, 4), seed=1)
    value, mask = normal((2, 5, 2, 6), seed=2), normal((3, 5), seed=3) > 0
    logits = np.einsum("btnh,bsnh->bnts", query, key) / 2
    weights = jax.nn.softmax(np.where(mask, logits, -1e30), axis=-1)
    assert_close(run("attention", query, key, value, mask, mask=True), jnp.einsum("bnts,bsnh->btnh", weights, value))


LSTM = ["f32[3,16]", "f32[4,16]", "f32[16]"]
GRU = ["f32[3,12]", "f32[4,12]", "f32[2,12]"]
REFUSED = [
    ("relu", ["i1[3]"], {}, DTypeError, "convert it first"),
    ("silu", ["i32[3]"], {}, DTypeError, "received operand i32[3]"),
    ("relu", ["f32[3]", "f32[3]"], {}, ArgumentError, "takes 1 operand (x), received 2: f32[3], f32[3]"),
    ("softmax", ["f32[3,4]"], {"axis": 2}, ArgumentError, "expected axis in -2..1 for rank 2, received 2"),
    ("glu", ["f32[3,5]"], {}, ShapeError, "even"),
    ("glu", ["f32[N]"], {}, ShapeError, "2*N"),
    ("reduce_sum", ["i1[3]"], {"axes": (0,)}, DTypeError, "received operand i1[3]"),
    ("reduce_sum", ["f32[3]"], {"axes": (0, -1)}, ArgumentError, "none named twice"),
    ("reduce_mean", ["i32[3]"], {"axes": (0,)}, DTypeError, "convert it first"),
    ("reduce_any", ["f32[3]"], {"axes": (0,)}, DTypeError, "bool"),
    ("argmax", ["f32[0]"], {"axis": 0}, ShapeError, "at least one element along axis 0"),
    ("argmax", ["f32[3]"], {"axis": 0, "dtype": "f32"}, DTypeError, "integer type for indices"),
    ("layer_norm", ["f32[3,4]", "f32[3]", "f32[4]"], {"axes": (1,)}, ShapeError, "expected gamma of shape [4]"),
    ("layer_norm", ["f32[3,4]"], {"axes": (1,)}, ArgumentError, "(x, gamma, beta)"),
    ("layer_norm", ["f32[3,4]"], {"axes": (), "scale": False, "center": False}, ShapeError, "at least one axis"),
    (
        "batch_norm",
        ["f32[3,4]", "f32[4]", "f32[3]"],
        {"scale": False, "center": False},
        ShapeError,
        "expected variance of shape [4]",
    ),
    (
        "max_pool",
        ["f32[3,4]"],
        {"window": (2,), "strides": (1, 1), "padding": ((0, 0),) * 2},
        ArgumentError,
        "'window'",
    ),
    ("avg_pool", ["f32[3]"], {"window": (2,), "strides": (0,), "padding": ((0, 0),)}, ArgumentError, "'strides'"),
    ("max_pool", ["f32[3]"], {"window": (2,), "strides": (1,), "padding": ((-1, 0),)}, ArgumentError, "'padding'"),
    ("take", ["f32[3]", "f32[2]"], {"axis": 0}, DTypeError, "received indices f32[2]"),
    ("take", ["f32[0]", "i32[2]"], {"axis": 0}, ShapeError, "no elements to take"),
    ("one_hot", ["i32[2]"], {"depth": -1, "dtype": "f32"}, ArgumentError, "depth >= 0"),
    ("dropout", ["f32[2]", "ui32[3]"], {"rate": 0.5}, ShapeError, "expected seed of shape [2]"),
    ("dropout", ["f32[2]", "ui32[2]"], {"rate": 1.5}, ArgumentError, "received 1.5"),
    ("attention", ["f32[2,3,4]"] * 3, {}, ShapeError, "[batch, time, heads, depth]"),
    ("attention", ["f32[2,3,4,8]", "f32[2,5,3,8]", "f32[2,5,3,8]"], {}, ShapeError, "multiple of key heads"),
    ("attention", ["f32[2,3,4,8]", "f32[2,5,4,8]", "f32[2,5,4,8]", "f32[2,4,3,5]"], {"mask": True}, DTypeError, "bias"),
    (
        "attention",
        ["f32[2,3,4,8]", "f32[2,5,4,8]", "f32[2,5,4,8]", "i1[2,4,3,6]"],
        {"mask": True},
        ShapeError,
        "[2,4,3,5]",
    ),
    ("attention", ["f32[2,3,4,N]", "f32[2,5,4,N]", "f32[2,5,4,8]"], {}, ShapeError, "give scale"),
    ("lstm_step", ["f32[2,3]"] * 5, {}, ArgumentError, "(x, h, c, kernel, recurrent_kernel, bias)"),
    ("lstm_step", ["f32[2,3]", "f32[2,4]", "f32[3,4]", *LSTM], {}, ShapeError, "expected c of shape [2,4]"),
    (
        "lstm_step",
        ["f32[N,3]", "f32[N,4]", "f32[N,4]", "f32[3,12]", *LSTM[1:]],
        {},
        ShapeError,
        "kernel of shape [3,16]",
    ),
    ("lstm_step", ["f32[2,3]", "f16[2,4]", "f32[2,4]", *LSTM], {}, DTypeError, "f16[2,4]"),
    ("lstm_step", ["i32[2,3]"] * 6, {}, DTypeError, "type that is float"),
    ("gru_step", ["f32[2,3]", "f32[4]", *GRU], {}, ShapeError, "h of shape [batch, size]"),
    (
        "gru_step",
        ["f32[2,3]", "f32[2,4]", "f32[3,12]", "f32[5,12]", GRU[2]],
        {},
        ShapeError,
        "recurrent_kernel of shape [4",
    ),
    ("gru_step", ["f32[2,3]", "f32[2,4]", *GRU[:2], "f32[12]"], {}, ShapeError, "expected bias of shape [2,12]"),
    ("gru_step", ["f32[2,3]", "f32[2,4]", *GRU], {"bias": False}, ArgumentError, "takes 4 operands"),
]


def parse_type(text):
    from lamina.ir.dims import parse_dim

    dtype, _, shape = text.rstrip("]").partition("[")
    return TensorType(dtype, map(parse_dim, filter(None, shape.split(","))))


@pytest.mark.parametrize("op, types, attributes, error, message", REFUSED, ids=case_name)
def test_what_is_refused_says_what_was_received_and_expected(op, types, attributes, error, message):
    b = Builder()
    operands = [b.graph.add_input(parse_type(t)) for t in types]
    with pytest.raises(LaminaError) as caught:
        b.emit(op, operands, attributes)
    assert type(caught.value) is error
    assert message in str(caught.value) and op in str(caught.value)
