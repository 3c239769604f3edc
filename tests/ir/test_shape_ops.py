"""Ops that make, move and cut elements: against NumPy and XLA, and what they say about shapes that do not fit."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from lamina.ir.builder import Builder
from lamina.ir.dims import max_dim, symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError
from lamina.ir.evaluate import evaluate
from lamina.ir.graph import Graph
from lamina.ir.types import TensorType

N, M, T = symbol("N"), symbol("M"), symbol("T")


def run(op, *arrays, **attributes):
    """The op's value on arrays, by the evaluator."""
    arrays = [np.asarray(a) for a in arrays]
    graph = Graph()
    values = [graph.add_input(TensorType(a.dtype, a.shape)) for a in arrays]
    graph.outputs = list(Builder(graph).emit(op, values, attributes))
    (result,), _ = evaluate(graph, *arrays)
    assert TensorType(result.dtype, result.shape) == graph.outputs[0].type
    return result


def run_symbolic(op, type_, array, **attributes):
    """The op's value where its operand's type has symbols."""
    graph = Graph()
    x = graph.add_input(type_)
    graph.outputs = list(Builder(graph).emit(op, [x], attributes))
    return evaluate(graph, array)[0][0]


def infer(op, *types, **attributes):
    graph = Graph()
    return Builder(graph).emit(op, [graph.add_input(t) for t in types], attributes)[0].type


def f32(*shape):
    return TensorType("f32", shape)


def counting(*shape):
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


# constant, iota, dim_value.


@pytest.mark.parametrize(
    "value",
    [
        np.float16(2.5),
        np.zeros((0, 3), np.int8),
        np.array([1j]),
        np.array(True),
        np.array([-8, 7], ml_dtypes.int4),
        np.array([1.5], ml_dtypes.bfloat16),
    ],
)
def test_constant(value):
    result = run("constant", value=value)
    assert result.dtype == value.dtype
    np.testing.assert_array_equal(result, value)


def test_a_constant_does_not_follow_its_source():
    source = np.ones(3, np.float32)
    graph = Graph()
    graph.outputs = [Builder(graph).constant(source)]
    source[:] = 7
    np.testing.assert_array_equal(evaluate(graph)[0][0], [1, 1, 1])


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i8", "ui64", "c64", "f16"])
@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((2, 3), 0), ((2, 3), 1), ((0, 3), 1), ((3, 0), 0)])
def test_iota_is_that_of_xla(dtype, shape, axis):
    element = TensorType(dtype).dtype
    expected = np.broadcast_to(
        np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape
    )
    result = run("iota", dtype=dtype, shape=shape, axis=axis)
    assert result.dtype == element
    np.testing.assert_array_equal(result, expected.astype(element))


def test_iota_past_the_range_of_its_type():
    np.testing.assert_array_equal(run("iota", dtype="i8", shape=(300,), axis=0), np.asarray(lax.iota(np.int8, 300)))
    np.testing.assert_array_equal(
        run("iota", dtype="bf16", shape=(300,), axis=0).astype(np.float32),
        np.asarray(lax.iota(ml_dtypes.bfloat16, 300)).astype(np.float32),
    )


def test_dim_value_and_symbolic_iota():
    graph = Graph()
    graph.add_input(f32(N, 2))
    b = Builder(graph)
    graph.outputs = [
        b.dim_value(dim=2 * N + 1),
        b.dim_value(dim=N, dtype="f32"),
        b.iota(dtype="i32", shape=(N,), axis=0),
        b.dim_value(dim=7),
    ]
    outputs, _ = evaluate(graph, np.zeros((4, 2), np.float32))
    assert [o.tolist() for o in outputs] == [9, 4.0, [0, 1, 2, 3], 7]
    assert [o.dtype.name for o in outputs] == ["int32", "float32", "int32", "int32"]


def test_dim_value_of_an_unknown_symbol():
    graph = Graph()
    graph.outputs = [Builder(graph).dim_value(dim=N)]
    with pytest.raises(ArgumentError, match="the value of N is not known"):
        evaluate(graph)
    assert evaluate(graph, dims={"N": 3})[0][0] == 3


# reshape, transpose, broadcast_in_dim, match_shape, reverse.


@pytest.mark.parametrize(
    ("before", "after"), [((2, 6), (3, 4)), ((6,), (1, 6, 1)), ((1,), ()), ((0, 3), (5, 0)), ((), (1, 1))]
)
def test_reshape(before, after):
    np.testing.assert_array_equal(run("reshape", counting(*before), shape=after), counting(*before).reshape(after))


def test_reshape_with_symbols():
    assert infer("reshape", f32(N, 3, 4), shape=(N, 12)) == f32(N, 12)
    assert infer("reshape", f32(N, T), shape=(N * T,)) == f32(N * T)
    assert infer("reshape", f32(N, 6), shape=(M, 3)) == f32(M, 3)  # undecided: the run decides
    x = counting(2, 6)
    np.testing.assert_array_equal(run_symbolic("reshape", f32(N, 6), x, shape=(2 * N, 3)), x.reshape(4, 3))


def test_reshape_that_the_run_refuses():
    with pytest.raises(ShapeError, match=r"reshape: expected 15 elements for \[5,3\], received 12"):
        run_symbolic("reshape", f32(N, 6), counting(2, 6), shape=(5, 3))


@given(st.permutations(range(4)))
def test_transpose(permutation):
    x = counting(2, 1, 3, 0 + 2)
    np.testing.assert_array_equal(run("transpose", x, permutation=permutation), np.transpose(x, permutation))


def test_transpose_with_symbols():
    assert infer("transpose", f32(N, 3, T), permutation=(2, 0, 1)) == f32(T, N, 3)
    assert run("transpose", np.float32(3), permutation=()) == 3


@pytest.mark.parametrize(
    ("before", "after", "dims"),
    [
        ((3,), (2, 3), (1,)),
        ((3,), (3, 2), (0,)),
        ((2, 3), (3, 4, 2), (2, 0)),
        ((1, 3), (5, 3), (0, 1)),
        ((), (2, 2), ()),
        ((1,), (0, 4), (1,)),
        ((0, 1), (0, 3), (0, 1)),
        ((1, 1), (1, 1), (1, 0)),
    ],
)
def test_broadcast_in_dim_is_that_of_xla(before, after, dims):
    x = counting(*before)
    np.testing.assert_array_equal(
        run("broadcast_in_dim", x, shape=after, dims=dims), np.asarray(lax.broadcast_in_dim(x, after, dims))
    )


def test_broadcast_with_symbols():
    assert infer("broadcast_in_dim", f32(1, T), shape=(N, T, M), dims=(0, 1)) == f32(N, T, M)
    assert infer("broadcast_in_dim", f32(N), shape=(N,), dims=(0,)) == f32(N)


def test_match_shape():
    assert infer("match_shape", f32(M, 3), shape=(N, 3)) == f32(N, 3)
    graph = Graph()
    graph.add_input(f32(N))
    x = graph.add_input(f32(M))
    graph.outputs = [Builder(graph).match_shape(x, shape=(N,))]
    np.testing.assert_array_equal(evaluate(graph, counting(3), counting(3))[0][0], counting(3))
    with pytest.raises(ShapeError, match=r"match_shape: expected shape \[3\], received \[4\]"):
        evaluate(graph, counting(3), counting(4))


@pytest.mark.parametrize("axes", [(), (0,), (1,), (1, 0)])
def test_reverse(axes):
    np.testing.assert_array_equal(run("reverse", counting(2, 3), axes=axes), np.flip(counting(2, 3), axes))
    assert run("reverse", counting(0, 3), axes=axes).shape == (0, 3)


# slice, pad, concatenate, dynamic_slice, dynamic_update_slice.


@given(st.data())
def test_slice(data):
    shape = data.draw(st.lists(st.integers(0, 6), max_size=3))
    start = [data.draw(st.integers(0, d)) for d in shape]
    limit = [data.draw(st.integers(low, d)) for low, d in zip(start, shape, strict=True)]
    strides = [data.draw(st.integers(1, 4)) for _ in shape]
    x = counting(*shape)
    expected = x[tuple(slice(*s) for s in zip(start, limit, strides, strict=True))]
    np.testing.assert_array_equal(run("slice", x, start=start, limit=limit, strides=strides), expected)


def test_slice_with_symbols():
    assert infer("slice", f32(N, T), start=(0, 1), limit=(N, T), strides=(1, 2)) == f32(N, T // 2)
    assert infer("slice", f32(N), start=(N - 2,), limit=(N,), strides=(1,)) == f32(2)
    x = counting(5)
    np.testing.assert_array_equal(run_symbolic("slice", f32(N), x, start=(1,), limit=(N,), strides=(2,)), x[1::2])
    with pytest.raises(ArgumentError, match="slice: expected 0 <= start <= limit <= 1"):
        run_symbolic("slice", f32(N), counting(1), start=(N - 2,), limit=(N,), strides=(1,))


@given(st.data())
def test_pad_is_that_of_xla(data):
    shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=2))
    interior = [data.draw(st.integers(0, 2)) for _ in shape]
    stretched = [n + max(n - 1, 0) * i for n, i in zip(shape, interior, strict=True)]
    low = [data.draw(st.integers(-3, 3)) for _ in shape]
    high = [data.draw(st.integers(max(-3, -n - lo), 3)) for n, lo in zip(stretched, low, strict=True) if -n - lo <= 3]
    if len(high) != len(shape):
        return
    x, value = counting(*shape) + 1, np.float32(-1)
    expected = lax.pad(x, value, list(zip(low, high, interior, strict=True)))
    np.testing.assert_array_equal(run("pad", x, value, low=low, high=high, interior=interior), np.asarray(expected))


def test_pad_with_symbols():
    scalar = f32()
    assert infer("pad", f32(N), scalar, low=(1,), high=(2,), interior=(0,)) == f32(N + 3)
    assert infer("pad", f32(N), scalar, low=(0,), high=(0,), interior=(1,)) == f32(max_dim(0, 2 * N - 1))
    assert infer("pad", f32(N + 1), scalar, low=(0,), high=(0,), interior=(1,)) == f32(2 * N + 1)
    assert infer("pad", f32(N), scalar, low=(0,), high=(T - N,), interior=(0,)) == f32(T)


def test_pad_of_other_types():
    x = np.array([1, 2], ml_dtypes.int4)
    assert run("pad", x, np.array(-8, ml_dtypes.int4), low=(1,), high=(0,), interior=(1,)).tolist() == [-8, 1, -8, 2]
    assert run("pad", np.array([True]), np.array(False), low=(1,), high=(1,), interior=(0,)).tolist() == [
        False,
        True,
        False,
    ]


def test_concatenate():
    parts = [counting(2, 3), counting(2, 0), counting(2, 1)]
    np.testing.assert_array_equal(run("concatenate", *parts, axis=1), np.concatenate(parts, 1))
    np.testing.assert_array_equal(run("concatenate", parts[0], axis=0), parts[0])
    half = np.array([1.5], ml_dtypes.bfloat16)
    assert run("concatenate", half, half, axis=0).dtype == half.dtype
    assert infer("concatenate", f32(N, T), f32(N, 2), f32(N, T), axis=1) == f32(N, 2 * T + 2)


@pytest.mark.parametrize("starts", [(0, 0), (1, 2), (5, -3), (-1, 9)])
@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint32, np.int64])
def test_dynamic_slices_clamp(starts, dtype):
    x, update = counting(4, 5), -np.ones((2, 3), np.float32)
    with np.errstate(all="ignore"):
        indices = np.array(starts, np.int64).astype(dtype)
    places = [min(max(int(i), 0), n - k) for i, n, k in zip(indices, x.shape, update.shape, strict=True)]
    window = tuple(slice(p, p + k) for p, k in zip(places, update.shape, strict=True))
    np.testing.assert_array_equal(run("dynamic_slice", x, *indices, sizes=(2, 3)), x[window])
    expected = x.copy()
    expected[window] = update
    np.testing.assert_array_equal(run("dynamic_update_slice", x, update, *indices), expected)
    assert x[0, 1] == 1  # the operand stays


def test_dynamic_slices_of_nothing():
    assert run("dynamic_slice", counting(3), np.int32(7), sizes=(0,)).shape == (0,)
    np.testing.assert_array_equal(run("dynamic_update_slice", counting(3), counting(0), np.int32(1)), counting(3))
    assert run("dynamic_slice", np.float32(2), sizes=()) == 2


def test_dynamic_slices_with_symbols():
    i = TensorType("i32")
    assert infer("dynamic_slice", f32(N, T), i, i, sizes=(1, T)) == f32(1, T)
    assert infer("dynamic_update_slice", f32(N, T), f32(M, T), i, i) == f32(N, T)


# Errors.

I32 = TensorType("i32")


@pytest.mark.parametrize(
    ("op", "types", "attributes", "error", "message"),
    [
        (
            "iota",
            (),
            {"dtype": "i1", "shape": (2,), "axis": 0},
            DTypeError,
            "iota: expected an element type that is integer",
        ),
        (
            "iota",
            (),
            {"dtype": "f32", "shape": (2,), "axis": 1},
            ArgumentError,
            "expected axis in 0..0 for rank 1, received 1",
        ),
        ("iota", (), {"dtype": "f32", "shape": (-2,), "axis": 0}, ShapeError, "iota: expected dimensions >= 0"),
        ("dim_value", (), {"dim": N, "dtype": "i1"}, DTypeError, "dim_value"),
        ("reshape", (f32(2, 3),), {"shape": (4,)}, ShapeError, r"f32\[2,3\] has 6 elements, the shape \[4\] has 4"),
        ("reshape", (f32(2 * N + 1),), {"shape": (0,)}, ShapeError, r"has 2\*N\+1 elements"),
        ("reshape", (f32(6),), {"shape": (-1,)}, ShapeError, "expected dimensions >= 0"),
        (
            "transpose",
            (f32(2, 3),),
            {"permutation": (0, 0)},
            ArgumentError,
            r"permutation of 0..1 for f32\[2,3\], received",
        ),
        ("transpose", (f32(2, 3),), {"permutation": (0,)}, ArgumentError, "permutation"),
        (
            "broadcast_in_dim",
            (f32(2),),
            {"shape": (3,), "dims": (0,)},
            ShapeError,
            r"axis 0 of \[3\]; expected size 1 or 3",
        ),
        (
            "broadcast_in_dim",
            (f32(N),),
            {"shape": (M,), "dims": (0,)},
            ShapeError,
            "assert that they are equal with match_shape",
        ),
        ("broadcast_in_dim", (f32(2),), {"shape": (2,), "dims": (1,)}, ArgumentError, "expected dims in 0..0"),
        ("broadcast_in_dim", (f32(2, 2),), {"shape": (2, 2), "dims": (0, 0)}, ArgumentError, "dims that differ"),
        ("broadcast_in_dim", (f32(2),), {"shape": (2,), "dims": ()}, ArgumentError, "expected 1 values in 'dims'"),
        ("match_shape", (f32(2),), {"shape": (3,)}, ShapeError, r"f32\[2\] cannot have the shape \[3\]"),
        ("match_shape", (f32(N),), {"shape": (N, 1)}, ShapeError, "cannot have the shape"),
        ("reverse", (f32(2),), {"axes": (-1,)}, ArgumentError, "expected axes in 0..0 for rank 1, received -1"),
        ("slice", (f32(5),), {"start": (2,), "limit": (6,), "strides": (1,)}, ArgumentError, "start 2, limit 6"),
        (
            "slice",
            (f32(5),),
            {"start": (3,), "limit": (2,), "strides": (1,)},
            ArgumentError,
            "0 <= start <= limit <= 5",
        ),
        ("slice", (f32(N),), {"start": (0,), "limit": (N + 1,), "strides": (1,)}, ArgumentError, r"limit N\+1"),
        ("slice", (f32(5),), {"start": (0,), "limit": (5,), "strides": (0,)}, ArgumentError, "'strides' of at least 1"),
        ("slice", (f32(5),), {"start": (0, 0), "limit": (5,), "strides": (1,)}, ArgumentError, "1 values in 'start'"),
        (
            "pad",
            (f32(2), f32(1)),
            {"low": (0,), "high": (0,), "interior": (0,)},
            ShapeError,
            r"scalar padding value, received f32\[1\]",
        ),
        ("pad", (f32(2), I32), {"low": (0,), "high": (0,), "interior": (0,)}, DTypeError, "one element type"),
        (
            "pad",
            (f32(2), f32()),
            {"low": (-3,), "high": (0,), "interior": (0,)},
            ShapeError,
            r"would have the shape \[-1\]",
        ),
        (
            "pad",
            (f32(2), f32()),
            {"low": (0,), "high": (0,), "interior": (-1,)},
            ArgumentError,
            "'interior' of at least 0",
        ),
        ("concatenate", (), {"axis": 0}, ArgumentError, "takes one operand or more"),
        (
            "concatenate",
            (f32(2, 3), f32(3, 3)),
            {"axis": 1},
            ShapeError,
            r"all dimensions but axis 1, received f32\[2,3\], f32\[3,3\]",
        ),
        ("concatenate", (f32(N, 3), f32(M, 3)), {"axis": 1}, ShapeError, "axis 1"),
        ("concatenate", (f32(2), f32(2, 1)), {"axis": 0}, ShapeError, "concatenate"),
        ("concatenate", (f32(), f32()), {"axis": 0}, ArgumentError, "a scalar has none"),
        ("dynamic_slice", (f32(3, 3), I32), {"sizes": (1, 1)}, ArgumentError, "expected 2 start indices and 2 sizes"),
        (
            "dynamic_slice",
            (f32(3), f32()),
            {"sizes": (1,)},
            ArgumentError,
            r"start indices that are integer scalars, received f32",
        ),
        ("dynamic_slice", (f32(3), TensorType("i32", (1,))), {"sizes": (1,)}, ArgumentError, "integer scalars"),
        (
            "dynamic_slice",
            (f32(3, 3), I32, TensorType("i64")),
            {"sizes": (1, 1)},
            DTypeError,
            "one element type, received i32, i64",
        ),
        ("dynamic_slice", (f32(3), I32), {"sizes": (4,)}, ShapeError, "expected a size in 0..3 along axis 0"),
        ("dynamic_update_slice", (f32(3), f32(4), I32), {}, ShapeError, "expected a size in 0..3"),
        ("dynamic_update_slice", (f32(3), I32, I32), {}, DTypeError, "one element type"),
        ("dynamic_update_slice", (f32(3),), {}, ArgumentError, "takes an operand, an update and start indices"),
    ],
)
def test_errors_say_what_was_received_and_expected(op, types, attributes, error, message):
    with pytest.raises(error, match=message):
        infer(op, *types, **attributes)
