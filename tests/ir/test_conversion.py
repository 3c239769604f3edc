"""Comparison, selection and conversion: the NumPy meaning against XLA on special values."""

import jax
import ml_dtypes
import numpy as np
import pytest
from jax import lax

from lamina.ir.builder import Builder
from lamina.ir.evaluate import evaluate
from lamina.ir.graph import Graph
from lamina.ir.types import ELEMENT_TYPES, TensorType, bit_width, is_float, is_integer, is_unsigned

NAN, INF = np.nan, np.inf
FLOATS = ["f16", "bf16", "f32", "f64"]


def run(op, *arrays, **attributes):
    """The op's value on arrays, by the evaluator."""
    arrays = [np.asarray(a) for a in arrays]
    graph = Graph()
    values = [graph.add_input(TensorType(a.dtype, a.shape)) for a in arrays]
    graph.outputs = list(Builder(graph).emit(op, values, attributes))
    (result,), _ = evaluate(graph, *arrays)
    assert TensorType(result.dtype, result.shape) == graph.outputs[0].type
    return result


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


def limits(dtype):
    width = bit_width(ELEMENT_TYPES[dtype])
    return (0, 2**width - 1) if is_unsigned(ELEMENT_TYPES[dtype]) else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)


def interesting(dtype):
    low, high = limits(dtype)
    width = bit_width(ELEMENT_TYPES[dtype])
    candidates = [low, low + 1, -7, -2, -1, 0, 1, 2, 3, 5, width - 1, width, width + 1, high // 3, high - 1, high]
    return sorted({c for c in candidates if low <= c <= high})


# compare, select, clamp.


@pytest.mark.parametrize("direction", ["EQ", "NE", "LT", "LE", "GT", "GE"])
def test_compare_follows_ieee(direction):
    values = np.array([NAN, -INF, -1, -0.0, 0.0, 1, INF], np.float32)
    x, y = np.meshgrid(values, values)
    python = {
        "EQ": np.equal,
        "NE": np.not_equal,
        "LT": np.less,
        "LE": np.less_equal,
        "GT": np.greater,
        "GE": np.greater_equal,
    }[direction]
    for dtype in ("f32", "bf16", "f16", "f8e5m2"):
        with np.errstate(invalid="ignore"):
            expected = python(x, y)
        np.testing.assert_array_equal(
            run("compare", x.astype(ELEMENT_TYPES[dtype]), y.astype(ELEMENT_TYPES[dtype]), direction=direction),
            expected,
        )


@pytest.mark.parametrize("dtype", FLOATS)
def test_total_order(dtype):
    ordered = array([-NAN, -INF, -1, -0.0, 0.0, 1, INF, NAN], dtype)
    ordered[0], ordered[-1] = np.copysign(array([NAN, NAN], dtype), array([-1, 1], dtype))
    place = np.arange(len(ordered))
    for direction, f in (("LT", np.less), ("EQ", np.equal), ("GE", np.greater_equal)):
        result = run(
            "compare",
            np.repeat(ordered[:, None], 8, 1),
            np.repeat(ordered[None], 8, 0),
            direction=direction,
            total_order=True,
        )
        np.testing.assert_array_equal(result, f(place[:, None], place[None]))


def test_compare_integers_bool_and_complex():
    assert run("compare", np.int64(2**62 + 1), np.int64(2**62), direction="GT")
    assert run("compare", np.uint64(2**64 - 1), np.uint64(1), direction="GT")
    assert run("compare", np.array(False), np.array(True), direction="LT")
    assert run("compare", np.complex64(1 + 2j), np.complex64(1 + 3j), direction="NE")
    int4 = np.array([-8, 7], ml_dtypes.int4)
    np.testing.assert_array_equal(run("compare", int4, int4[::-1], direction="LT"), [True, False])


def test_select():
    a, b = np.array([1, 2, 3], np.float32), np.array([4, 5, NAN], np.float32)
    np.testing.assert_array_equal(run("select", np.array([True, False, True]), a, b), [1, 5, 3])
    np.testing.assert_array_equal(run("select", np.array(False), a, b), b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_clamp_is_that_of_xla(dtype):
    x = array([NAN, -INF, -2, -0.0, 0.5, 2, INF], dtype)
    for low, high in ((-1, 1), (1, -1), (NAN, 1), (0.0, NAN)):
        lo, hi = array(low, dtype), array(high, dtype)
        expected = xla(lambda lo, x, hi: lax.clamp(lo, x, hi), lo, x, hi)
        assert_equal(run("clamp", lo, x, hi), expected, (low, high))
        assert_equal(run("clamp", np.full_like(x, lo), x, np.full_like(x, hi)), expected, (low, high))


# convert and bitcast_convert.

#: XLA does not run those of 2 and 6 bits; f4e2m1fn, without NaN and infinity, gets other numbers for these there.
CONVERTIBLE = [n for n in ELEMENT_TYPES if n not in ("i4", "ui4", "i2", "ui2", "f6e2m3fn", "f6e3m2fn", "f4e2m1fn")]


def source_values(dtype):
    element = ELEMENT_TYPES[dtype]
    if dtype == "i1":
        return np.array([False, True])
    if is_integer(element):
        wide = np.uint64 if is_unsigned(element) else np.int64
        return np.array(interesting(dtype), wide).astype(element)
    values = [
        NAN,
        INF,
        -INF,
        0.0,
        -0.0,
        0.49,
        0.5,
        -0.5,
        -1.5,
        2.5,
        127,
        128,
        129.9,
        -128.5,
        -129,
        255.9,
        256,
        300.7,
        448,
        464,
        465,
        32767.5,
        65504,
        65520,
        1e5,
        -1e5,
        2**31 - 1,
        2.0**31,
        -(2.0**31),
        3e9,
        -3e9,
        2.0**53 + 2,
        2.0**63,
        -(2.0**63),
        2.0**64,
        1e19,
        1e30,
        1 + 2.0**-4 + 2.0**-40,
        1 + 2.0**-8 + 2.0**-40,
        1 + 2.0**-11 + 2.0**-40,
    ]
    with np.errstate(all="ignore"):
        return np.array(values).astype(element)


@pytest.mark.parametrize("source", CONVERTIBLE)
def test_convert_is_that_of_xla(source):
    x = source_values(source)
    targets = [t for t in CONVERTIBLE if not (source.startswith("c") and t == "i1")]

    def convert(x, target):
        from_real = source.startswith("c") and not target.startswith("c")
        return lax.convert_element_type(lax.real(x) if from_real else x, ELEMENT_TYPES[target])

    theirs = xla(lambda x: [convert(x, target) for target in targets], x)
    for target, expected in zip(targets, theirs, strict=True):
        assert_equal(run("convert", x, dtype=target), expected, target)


def test_convert_to_four_bits():
    assert run("convert", np.array([-9, 8, 100, 7], np.int32), dtype="i4").tolist() == [7, -8, 4, 7]
    assert run("convert", np.array([-9, 8, 100, 7], np.int32), dtype="ui4").tolist() == [7, 8, 4, 7]
    x = np.array([-9.5, 7.6, 8, 100, NAN, -INF, -0.9], np.float32)
    assert run("convert", x, dtype="i4").tolist() == [-8, 7, 7, 7, 0, -8, 0]
    assert run("convert", x, dtype="ui4").tolist() == [0, 7, 8, 15, 0, 0, 0]
    assert run("convert", np.array([-8, 7], ml_dtypes.int4), dtype="f32").tolist() == [-8, 7]


def test_convert_complex_to_bool_asks_both_parts():
    np.testing.assert_array_equal(run("convert", np.array([0, 1j, 1], np.complex64), dtype="i1"), [False, True, True])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("f32", "i32"),
        ("f32", "ui8"),
        ("ui8", "f32"),
        ("f64", "f16"),
        ("bf16", "ui16"),
        ("i64", "i32"),
        ("i8", "f8e5m2"),
    ],
)
def test_bitcast_is_that_of_xla_and_goes_back(source, target):
    ratio = max(1, bit_width(ELEMENT_TYPES[target]) // bit_width(ELEMENT_TYPES[source]))
    octets = np.random.default_rng(0).integers(0, 255, (3, ratio * ELEMENT_TYPES[source].itemsize), dtype=np.uint8)
    x = octets.view(ELEMENT_TYPES[source]).reshape((3, ratio) if ratio > 1 else (3,))
    result = run("bitcast_convert", x, dtype=target)
    expected = xla(lambda x: lax.bitcast_convert_type(x, ELEMENT_TYPES[target]), x)
    assert result.tobytes() == expected.tobytes()
    assert result.shape == expected.shape
    assert run("bitcast_convert", result, dtype=source).tobytes() == x.tobytes()


def test_bitcast_of_four_bits():
    x = np.array([0x21, 0xF8], np.uint8)
    assert run("bitcast_convert", x, dtype="i4").tolist() == [[1, 2], [-8, -1]]
    assert run("bitcast_convert", x, dtype="ui4").tolist() == [[1, 2], [8, 15]]
    nibbles = run("bitcast_convert", x, dtype="ui4")
    assert run("bitcast_convert", nibbles, dtype="ui8").tolist() == x.tolist()
    assert run("bitcast_convert", nibbles, dtype="i4").tolist() == [[1, 2], [-8, -1]]
    assert run("bitcast_convert", nibbles.reshape(4), dtype="ui16").tolist() == 0xF821


# reduce_precision.


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize(("exponent", "mantissa"), [(5, 10), (8, 7), (5, 2), (4, 3), (5, 0), (2, 1), (11, 52), (8, 23)])
def test_reduce_precision_is_that_of_xla(dtype, exponent, mantissa):
    values = [
        1.0000001,
        1.5,
        2.5,
        3.0,
        3.5,
        3.4e38,
        70000,
        65519,
        65520,
        1e-40,
        1e-7,
        6e-8,
        3e-5,
        -1e-9,
        448,
        464,
        465,
        0.0,
        -0.0,
        INF,
        -INF,
        NAN,
        -3.2e-2,
        0.3,
        -0.7,
    ]
    x = array(values, dtype)
    x = x[~((np.abs(x.astype(np.float64)) < float(ml_dtypes.finfo(x.dtype).tiny)) & (x.astype(np.float64) != 0))]
    assert_equal(
        run("reduce_precision", x, exponent_bits=exponent, mantissa_bits=mantissa),
        xla(lambda x: lax.reduce_precision(x, exponent, mantissa), x),
    )


def test_reduce_precision_keeps_subnormals_of_the_same_exponent():
    x = np.array([1e-40, 1e-45], np.float32)
    assert run("reduce_precision", x, exponent_bits=8, mantissa_bits=23).tolist() == x.tolist()


def test_convert_and_bitcast_of_no_elements():
    assert run("convert", np.zeros((0, 2), np.float32), dtype="i8").shape == (0, 2)
    assert run("bitcast_convert", np.zeros((0, 4), np.uint8), dtype="f32").shape == (0,)
    assert run("bitcast_convert", np.zeros((0,), np.float32), dtype="ui8").shape == (0, 4)
