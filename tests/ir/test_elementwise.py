"""Elementwise ops: their NumPy meaning against XLA on special values, and against plain Python and NumPy."""

import jax
import ml_dtypes
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from lamina.ir.builder import Builder
from lamina.ir.dims import symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError
from lamina.ir.evaluate import evaluate
from lamina.ir.graph import Graph
from lamina.ir.opdef import OPS
from lamina.ir.types import ELEMENT_TYPES, TensorType, bit_width, is_float, is_integer, is_unsigned

N, M = symbol("N"), symbol("M")
NAN, INF = np.nan, np.inf


def run(op, *arrays, **attributes):
    """The op's value on arrays, by the evaluator."""
    arrays = [np.asarray(a) for a in arrays]
    graph = Graph()
    values = [graph.add_input(TensorType(a.dtype, a.shape)) for a in arrays]
    graph.outputs = list(Builder(graph).emit(op, values, attributes))
    (result,), _ = evaluate(graph, *arrays)
    assert TensorType(result.dtype, result.shape) == graph.outputs[0].type
    return result


def infer(op, *types, **attributes):
    graph = Graph()
    return Builder(graph).emit(op, [graph.add_input(t) for t in types], attributes)[0].type


def array(values, dtype):
    with np.errstate(all="ignore"):
        return np.array(values, np.float64).astype(ELEMENT_TYPES[dtype])


def xla(function, *arrays):
    """The result of XLA on the CPU, 64-bit types kept."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(function)(*arrays))


def assert_equal(ours, theirs, what=""):
    """Equal values, NaN where NaN, signs of zeros included."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    wide_ours, wide_theirs = (a.astype(np.float64) if is_float(a.dtype) else a for a in (ours, theirs))
    np.testing.assert_array_equal(wide_ours, wide_theirs, str(what))
    if is_float(ours.dtype):
        number = ~np.isnan(wide_ours)
        np.testing.assert_array_equal(np.signbit(wide_ours)[number], np.signbit(wide_theirs)[number], str(what))


def assert_close(ours, theirs, ulps, what="", absolute=0):
    """Within ``ulps`` units in the last place, and ``absolute`` of those of 1; subnormals may be zero."""
    assert ours.dtype == theirs.dtype
    info = ml_dtypes.finfo(ours.dtype)
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    np.testing.assert_array_equal(a[~finite], b[~finite], str(what))
    eps = float(info.eps)
    bound = ulps * eps * np.abs(a[finite]) + absolute * eps + float(info.tiny)
    error = np.abs(a[finite] - b[finite])
    assert np.all(error <= bound), (what, a[finite][error > bound], b[finite][error > bound])


SPECIAL = [
    0.0,
    -0.0,
    1,
    -1,
    0.5,
    -0.5,
    1.5,
    -1.5,
    2.5,
    -2.5,
    0.25,
    1e-3,
    -1e-3,
    3,
    -3,
    7.25,
    20,
    -20,
    88,
    -88,
    120,
    -120,
    1e4,
    -1e4,
    INF,
    -INF,
    NAN,
]
FLOATS = ["f16", "bf16", "f32", "f64"]

UNARY = {
    "abs": lax.abs,
    "negate": lax.neg,
    "sign": lax.sign,
    "exponential": lax.exp,
    "exponential_minus_one": lax.expm1,
    "log": lax.log,
    "log_plus_one": lax.log1p,
    "sqrt": lax.sqrt,
    "rsqrt": lax.rsqrt,
    "cbrt": lax.cbrt,
    "sine": lax.sin,
    "cosine": lax.cos,
    "tan": lax.tan,
    "tanh": lax.tanh,
    "sinh": lax.sinh,
    "cosh": lax.cosh,
    "asin": lax.asin,
    "acos": lax.acos,
    "atan": lax.atan,
    "asinh": lax.asinh,
    "acosh": lax.acosh,
    "atanh": lax.atanh,
    "logistic": lax.logistic,
    "erf": lax.erf,
    "erfc": lax.erfc,
    "erf_inv": lax.erf_inv,
    "lgamma": lax.lgamma,
    "digamma": lax.digamma,
    "floor": lax.floor,
    "ceil": lax.ceil,
    "round_nearest_even": lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
    "round_nearest_afz": lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
    "is_finite": lax.is_finite,
}
EXACT = {"abs", "negate", "sign", "sqrt", "floor", "ceil", "round_nearest_even", "round_nearest_afz", "is_finite"}
# Where XLA's own formula misses by more than 8 units in the last place (ours is rounded from float64): sinh and cosh go
# through exp(x + log(1/2)), whose argument is rounded, |x| < 128.
ULPS = {"sinh": 128, "cosh": 128}
# lgamma and digamma have zeros (1, 2, 1.46...), where XLA's error is small beside the terms it adds only.
ABSOLUTE = {"lgamma": 8, "digamma": 8}


@pytest.mark.parametrize("dtype", FLOATS)
def test_unary_functions_on_special_values(dtype):
    x = array(SPECIAL, dtype)
    theirs = xla(lambda x: {name: f(x) for name, f in UNARY.items()}, x)
    for name, expected in theirs.items():
        if name in EXACT:
            assert_equal(run(name, x), expected, name)
        else:
            assert_close(run(name, x), expected, ULPS.get(name, 8), name, ABSOLUTE.get(name, 0))


def test_every_unary_function_is_compared():
    others = {"not", "popcnt", "count_leading_zeros", "real", "imag", "reduce_precision", "convert"}
    declared = {
        name for name, op in OPS.items() if _is_primitive_elementwise(op) and name not in others and _arity(name) == 1
    }
    assert declared == set(UNARY)


def _is_primitive_elementwise(op):
    return op.elementwise and not op.is_composite


def _arity(name):
    try:
        infer(name, TensorType("f32", (2,)))
    except (ArgumentError, DTypeError):
        return 2
    return 1


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("erf", scipy.special.erf),
        ("erfc", scipy.special.erfc),
        ("erf_inv", scipy.special.erfinv),
        ("lgamma", scipy.special.gammaln),
        ("digamma", scipy.special.digamma),
    ],
)
def test_special_functions_in_float64(name, reference):
    x = np.concatenate([np.linspace(-0.999, 0.999, 401), [1e-300, -1e-12, 1 - 1e-16]])
    if name != "erf_inv":
        x = np.concatenate([x, np.linspace(-9.9, 9.9, 199), np.geomspace(10, 1e15, 60)])
    x = x[np.isfinite(reference(x))]
    expected = reference(x)
    # Near a zero of the function only an absolute error is small: 4e-15 for values of the order of 1.
    np.testing.assert_allclose(run(name, x), expected, rtol=1e-13, atol=4e-15 if name in ("lgamma", "digamma") else 0)


def test_erf_inv_inverts_erf_to_the_last_places():
    y = np.linspace(-5.5, 5.5, 221)
    # erf(y) rounds to a neighbour of 1, so what is compared is erf of both.
    x = run("erf", y)
    x = x[np.abs(x) < 1]
    np.testing.assert_allclose(run("erf", run("erf_inv", x)), x, rtol=4e-16, atol=0)


# Binary ops on floats.

BINARY = {
    "add": lax.add,
    "subtract": lax.sub,
    "multiply": lax.mul,
    "divide": lax.div,
    "remainder": lax.rem,
    "power": lax.pow,
    "maximum": lax.max,
    "minimum": lax.min,
    "atan2": lax.atan2,
    "next_after": lax.nextafter,
}


@pytest.mark.parametrize("dtype", FLOATS)
def test_binary_functions_on_special_values(dtype):
    values = [0.0, -0.0, 1, -1, 0.5, -2.5, 3, -3, 100, INF, -INF, NAN]
    x, y = (g.ravel() for g in np.meshgrid(array(values, dtype), array(values, dtype)))
    theirs = xla(lambda x, y: {name: f(x, y) for name, f in BINARY.items()}, x, y)
    for name, expected in theirs.items():
        if name in ("power", "atan2"):
            assert_close(run(name, x, y), expected, 8, name)
        elif name == "next_after":
            # XLA's smallest steps from zero are subnormal, which its own comparison may flush: bits are compared.
            np.testing.assert_array_equal(_bits(run(name, x, y)), _bits(expected))
        else:
            assert_equal(run(name, x, y), expected, name)


def _bits(x):
    x = np.where(np.isnan(x.astype(np.float64)), np.array(NAN, x.dtype), x)
    return x.view(f"u{x.dtype.itemsize}")


@pytest.mark.parametrize("dtype", ["f8e4m3fn", "f8e5m2", "f8e4m3b11fnuz", "f8e4m3fnuz", "f8e5m2fnuz"])
def test_float8_rounds_once_from_float32(dtype):
    everything = np.arange(256, dtype=np.uint8).view(ELEMENT_TYPES[dtype])
    x, y = everything[:, None] + np.zeros_like(everything), np.broadcast_to(everything, (256, 256))
    with np.errstate(all="ignore"):
        for name, f in (("add", np.add), ("multiply", np.multiply)):
            expected = f(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)
            assert_equal(run(name, x, y), expected, name)


def test_next_after_agrees_with_numpy_in_float16():
    x = np.arange(0, 2**16, 7, dtype=np.uint16).view(np.float16)
    x = x[~np.isnan(x)]
    for toward in (INF, -INF, 0.0, 1.0):
        y = np.full_like(x, toward)
        with np.errstate(all="ignore"):
            expected = np.nextafter(x, y)
        np.testing.assert_array_equal(_bits(run("next_after", x, y)), _bits(expected))


@given(st.floats(width=16), st.floats(width=16))
def test_maximum_and_minimum_order_zeros_and_let_nan_win(a, b):
    larger, smaller = (float(run(op, np.float16(a), np.float16(b))) for op in ("maximum", "minimum"))
    if np.isnan(a) or np.isnan(b):
        assert np.isnan(larger) and np.isnan(smaller)
    else:
        ordered = sorted([a, b], key=lambda v: (v, not np.signbit(v)))
        assert_equal(np.array([smaller, larger]), np.array(ordered))


# Integers.

INTEGERS = [name for name, dtype in ELEMENT_TYPES.items() if is_integer(dtype)]


def limits(dtype):
    width = bit_width(ELEMENT_TYPES[dtype])
    return (0, 2**width - 1) if is_unsigned(ELEMENT_TYPES[dtype]) else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)


def wrap(value, dtype):
    low, _ = limits(dtype)
    return (value - low) % 2 ** bit_width(ELEMENT_TYPES[dtype]) + low


def truncated(a, b):
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def integer_meaning(op, a, b, dtype):
    """What the op gives for Python integers, before wrapping."""
    width = bit_width(ELEMENT_TYPES[dtype])
    shift = b % 2**width
    bits = a % 2**width
    signed = bits - 2**width if bits >= 2 ** (width - 1) else bits
    power = 0
    if op == "power":
        power = pow(a, b, 2**width) if b >= 0 else {1: 1, -1: -1 if b % 2 else 1}.get(a, 0)
    return {
        "add": a + b,
        "subtract": a - b,
        "multiply": a * b,
        "maximum": max(a, b),
        "minimum": min(a, b),
        "and": a & b,
        "or": a | b,
        "xor": a ^ b,
        "divide": truncated(a, b) if b else -1,
        "remainder": a - b * truncated(a, b) if b else a,
        "power": power,
        "shift_left": bits << shift if shift < width else 0,
        "shift_right_logical": bits >> shift,
        "shift_right_arithmetic": signed >> shift,
    }[op]


INTEGER_OPS = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "remainder",
    "power",
    "maximum",
    "minimum",
    "and",
    "or",
    "xor",
    "shift_left",
    "shift_right_logical",
    "shift_right_arithmetic",
]
LAX_INTEGER_OPS = {
    "divide": lax.div,
    "remainder": lax.rem,
    "shift_left": lax.shift_left,
    "add": lax.add,
    "multiply": lax.mul,
    "shift_right_logical": lax.shift_right_logical,
    "shift_right_arithmetic": lax.shift_right_arithmetic,
}


def interesting(dtype):
    low, high = limits(dtype)
    width = bit_width(ELEMENT_TYPES[dtype])
    candidates = [low, low + 1, -7, -2, -1, 0, 1, 2, 3, 5, width - 1, width, width + 1, high // 3, high - 1, high]
    return sorted({c for c in candidates if low <= c <= high})


def integer_pairs(dtype):
    values = interesting(dtype)
    pairs = [(a, b) for a in values for b in values]
    wide = np.uint64 if is_unsigned(ELEMENT_TYPES[dtype]) else np.int64
    return pairs, *(np.array(side, wide).astype(ELEMENT_TYPES[dtype]) for side in zip(*pairs, strict=True))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_arithmetic_is_that_of_python_integers_wrapped(dtype):
    pairs, x, y = integer_pairs(dtype)
    for op in INTEGER_OPS:
        expected = [wrap(integer_meaning(op, a, b, dtype), dtype) for a, b in pairs]
        assert [int(v) for v in run(op, x, y)] == expected, op


@pytest.mark.parametrize("dtype", [d for d in INTEGERS if "4" not in d or "64" in d])
def test_integer_arithmetic_is_that_of_xla(dtype):
    _, x, y = integer_pairs(dtype)
    theirs = xla(lambda x, y: {name: f(x, y) for name, f in LAX_INTEGER_OPS.items()}, x, y)
    for name, expected in theirs.items():
        assert_equal(run(name, x, y), expected, name)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_unary(dtype):
    width = bit_width(ELEMENT_TYPES[dtype])
    values = interesting(dtype)
    x = np.array(values, np.uint64 if is_unsigned(ELEMENT_TYPES[dtype]) else np.int64).astype(ELEMENT_TYPES[dtype])
    meaning = {
        "negate": lambda v: -v,
        "not": lambda v: ~v,
        "abs": abs,
        "sign": lambda v: (v > 0) - (v < 0),
        "popcnt": lambda v: (v % 2**width).bit_count(),
        "count_leading_zeros": lambda v: width - (v % 2**width).bit_length(),
    }
    for op, f in meaning.items():
        assert [int(v) for v in run(op, x)] == [wrap(f(v), dtype) for v in values], op


def test_bool_arithmetic():
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    for op, expected in {
        "add": a | b,
        "multiply": a & b,
        "maximum": a | b,
        "minimum": a & b,
        "and": a & b,
        "or": a | b,
        "xor": a ^ b,
    }.items():
        np.testing.assert_array_equal(run(op, a, b), expected, op)
    np.testing.assert_array_equal(run("not", a), ~a)


# Complex numbers.

COMPLEX = np.array([1 + 2j, -1.5 + 0.25j, -0.5 - 2j, 3j, 2.5, 0.1 - 0.1j], np.complex64)


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("negate", np.negative),
        ("exponential", np.exp),
        ("exponential_minus_one", np.expm1),
        ("log", np.log),
        ("log_plus_one", np.log1p),
        ("sqrt", np.sqrt),
        ("rsqrt", lambda z: z**-0.5),
        ("cbrt", lambda z: z ** (1 / 3)),
        ("sine", np.sin),
        ("cosine", np.cos),
        ("tan", np.tan),
        ("tanh", np.tanh),
        ("sinh", np.sinh),
        ("cosh", np.cosh),
        ("asin", np.arcsin),
        ("acos", np.arccos),
        ("atan", np.arctan),
        ("asinh", np.arcsinh),
        ("acosh", np.arccosh),
        ("atanh", np.arctanh),
        ("logistic", lambda z: 1 / (1 + np.exp(-z))),
        ("sign", lambda z: z / abs(z)),
    ],
)
def test_complex_unary(name, f):
    expected = f(COMPLEX.astype(np.complex128))
    np.testing.assert_allclose(run(name, COMPLEX), expected, rtol=4e-7)
    np.testing.assert_allclose(run(name, COMPLEX.astype(np.complex128)), expected, rtol=1e-14)


def test_complex_parts():
    np.testing.assert_allclose(run("abs", COMPLEX), np.abs(COMPLEX), rtol=2e-7)
    np.testing.assert_array_equal(run("real", COMPLEX), COMPLEX.real)
    np.testing.assert_array_equal(run("imag", COMPLEX), COMPLEX.imag)
    np.testing.assert_array_equal(run("complex", COMPLEX.real, COMPLEX.imag), COMPLEX)
    assert run("complex", np.float64(1), np.float64(INF)).tolist() == complex(1, INF)
    assert run("imag", np.float32(3)) == 0
    assert run("sign", np.complex64(0)) == 0


def test_complex_binary():
    other = COMPLEX[::-1]
    for name, f in (
        ("add", np.add),
        ("subtract", np.subtract),
        ("multiply", np.multiply),
        ("divide", np.divide),
        ("power", np.power),
    ):
        expected = f(COMPLEX.astype(np.complex128), other.astype(np.complex128))
        np.testing.assert_allclose(run(name, COMPLEX, other), expected, rtol=1e-6, err_msg=name)
    x, y = np.array([1, -2.0]), np.array([0.5, 3])
    np.testing.assert_allclose(
        run("atan2", y.astype(np.complex64), x.astype(np.complex64)), np.arctan2(y, x), rtol=1e-6
    )
    assert run("power", np.complex64(0), np.complex64(0)) == 1


# Shapes and types.


def test_no_elements_and_scalars():
    for op in OPS.values():
        if not _is_primitive_elementwise(op) or op.attributes:
            continue
        for family in ("f32", "i32", "i1", "c64"):
            for count in (1, 2):
                try:
                    scalar = infer(op.name, *[TensorType(family)] * count)
                except (DTypeError, ArgumentError):
                    continue
                empty, one = np.zeros((0, 3), ELEMENT_TYPES[family]), np.ones((), ELEMENT_TYPES[family])
                assert run(op.name, *[empty] * count).shape == (0, 3)
                assert run(op.name, *[one] * count).dtype == scalar.dtype


def test_symbolic_shapes_pass_through():
    x = TensorType("f32", (N, 2 * M + 1))
    assert infer("add", x, TensorType("f32", (N, M + 1 + M))) == x
    assert infer("compare", x, x, direction="LT") == TensorType("i1", x.shape)
    assert infer("convert", x, dtype="bf16") == TensorType("bf16", x.shape)
    assert infer("select", TensorType("i1"), x, x) == x
    assert infer("clamp", TensorType("f32"), x, TensorType("f32")) == x
    assert infer("bitcast_convert", x, dtype="ui8") == TensorType("ui8", (*x.shape, 4))


F32_3, F32_4 = TensorType("f32", (3,)), TensorType("f32", (4,))


@pytest.mark.parametrize(
    ("op", "types", "attributes", "error", "message"),
    [
        ("add", (F32_3, F32_4), {}, ShapeError, r"add: .*equal shape, received f32\[3\], f32\[4\]; broadcast first"),
        ("add", (F32_3, TensorType("f32")), {}, ShapeError, "broadcast first"),
        ("add", (TensorType("f32", (N,)), TensorType("f32", (M,))), {}, ShapeError, "assert it with match_shape"),
        (
            "add",
            (F32_3, TensorType("f16", (3,))),
            {},
            DTypeError,
            r"add: .*one element type, received f32\[3\], f16\[3\]",
        ),
        ("add", (F32_3,), {}, ArgumentError, r"add takes 2 operands, received 1: f32\[3\]"),
        (
            "tanh",
            (TensorType("i32", (3,)),),
            {},
            DTypeError,
            r"tanh: .*float, complex; received operand i32\[3\]; convert",
        ),
        ("and", (F32_3, F32_3), {}, DTypeError, "and: expected an element type that is integer, bool"),
        ("subtract", (TensorType("i1"), TensorType("i1")), {}, DTypeError, "subtract: expected"),
        ("floor", (TensorType("c64"),), {}, DTypeError, "floor: expected an element type that is float"),
        ("erf", (TensorType("c64"),), {}, DTypeError, "erf: expected"),
        ("complex", (TensorType("f16"), TensorType("f16")), {}, DTypeError, "expected float32 or float64 parts"),
        ("next_after", (TensorType("f8e5m2"),) * 2, {}, DTypeError, "expected 16 bits or more"),
        ("compare", (F32_3, F32_3), {"direction": "lt"}, ArgumentError, "expected direction EQ, NE.*received 'lt'"),
        ("compare", (TensorType("c64"),) * 2, {"direction": "LT"}, DTypeError, "complex numbers have no order"),
        ("compare", (TensorType("i32"),) * 2, {"direction": "LT", "total_order": True}, DTypeError, "total_order"),
        ("select", (F32_3, F32_3, F32_3), {}, DTypeError, r"predicate of type bool, received f32\[3\]"),
        ("select", (TensorType("i1", (4,)), F32_3, F32_3), {}, ShapeError, "select: expected operands of equal shape"),
        ("select", (TensorType("i1", (3,)), F32_3, F32_4), {}, ShapeError, "select: expected operands of equal shape"),
        ("clamp", (F32_4, F32_3, F32_4), {}, ShapeError, r"clamp: .*shape of f32\[3\], received f32\[4\], f32\[4\]"),
        ("clamp", (TensorType("i32"), F32_3, TensorType("i32")), {}, DTypeError, "clamp"),
        ("reduce_precision", (F32_3,), {"exponent_bits": 0, "mantissa_bits": 3}, ArgumentError, "exponent_bits >= 1"),
        ("convert", (F32_3,), {}, ArgumentError, "convert needs the attribute 'dtype'"),
        ("convert", (F32_3,), {"dtype": "f33"}, DTypeError, "'f33' is no element type"),
        (
            "bitcast_convert",
            (TensorType("ui8", (3,)),),
            {"dtype": "f32"},
            ShapeError,
            r"last dimension of 4, received ui8\[3\]",
        ),
        ("bitcast_convert", (TensorType("ui8"),), {"dtype": "f32"}, ShapeError, "last dimension of 4"),
        ("bitcast_convert", (TensorType("i1"),), {"dtype": "ui8"}, DTypeError, "use convert"),
        ("bitcast_convert", (TensorType("c64"),), {"dtype": "f64"}, DTypeError, "complex converts to complex only"),
    ],
)
def test_errors_say_what_was_received_and_expected(op, types, attributes, error, message):
    with pytest.raises(error, match=message):
        infer(op, *types, **attributes)
