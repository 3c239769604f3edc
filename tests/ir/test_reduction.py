"""reduce, reduce_window, select_and_scatter against NumPy and XLA."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from lamina.ir import Builder, Graph, TensorType, binary_region, evaluate, symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError
from lamina.ir.regions import simple_region

BF16 = ml_dtypes.bfloat16
N = symbol("N")


def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (0, 2), (2, 0), (0, 1, 2)])
def test_sum_over_axes(run_op, axes):
    x = rng().standard_normal((3, 4, 5)).astype(np.float32)
    result = run_op("reduce", x, np.float32(1.5), axes=axes, regions=[binary_region("add", "f32")])
    # n*eps*sum|x| with n <= 60
    np.testing.assert_allclose(result, x.astype(np.float64).sum(axis=axes) + 1.5, atol=60 * 1.2e-7 * np.abs(x).sum())
    assert result.dtype == np.float32


@pytest.mark.parametrize(
    ("op", "numpy", "initial"),
    [
        ("maximum", np.max, -(2**31)),
        ("minimum", np.min, 2**31 - 1),
        ("add", np.sum, 0),
        ("multiply", np.prod, 1),
        ("and", np.bitwise_and.reduce, -1),
        ("or", np.bitwise_or.reduce, 0),
        ("xor", np.bitwise_xor.reduce, 0),
    ],
)
def test_integers_reduce_exactly(run_op, op, numpy, initial):
    x = rng().integers(-9, 9, (4, 6), dtype=np.int32)
    result = run_op("reduce", x, np.int32(initial), axes=(1,), regions=[binary_region(op, "i32")])
    np.testing.assert_array_equal(result, numpy(x, axis=1))


def test_integer_sum_wraps(run_op):
    x = np.array([2**31 - 1, 1], np.int32)
    assert run_op("reduce", x, np.int32(0), axes=(0,), regions=[binary_region("add", "i32")]) == -(2**31)


@pytest.mark.parametrize(
    ("op", "initial", "expected"),
    [
        ("add", False, [False, True, True]),
        ("multiply", True, [False, False, True]),
        ("maximum", False, [False, True, True]),
        ("minimum", True, [False, False, True]),
        ("or", False, [False, True, True]),
        ("and", True, [False, False, True]),
        ("xor", False, [False, True, False]),
    ],
)
def test_bool_reduce(run_op, op, initial, expected):
    x = np.array([[0, 0], [1, 0], [1, 1]], np.bool_)
    result = run_op("reduce", x, np.bool_(initial), axes=(1,), regions=[binary_region(op, "i1")])
    np.testing.assert_array_equal(result, expected)


def test_nan_propagates_through_maximum(run_op):
    x = np.array([[1, np.nan, 2], [3, 2, 1]], np.float32)
    result = run_op("reduce", x, np.float32(-np.inf), axes=(1,), regions=[binary_region("maximum", "f32")])
    np.testing.assert_array_equal(result, [np.nan, 3])


@pytest.mark.parametrize("dtype", [np.float16, BF16])
def test_narrow_floats_accumulate_in_float32(run_op, dtype):
    x = np.ones(5000, dtype)  # 2049 is no float16, so a float16 accumulator would stay at 2048
    result = run_op("reduce", x, dtype(0), axes=(0,), regions=[binary_region("add", dtype)])
    assert result.dtype == dtype
    assert result == dtype(5000)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_reduce_gives_the_initial_value(run_op, shape):
    result = run_op(
        "reduce", np.zeros(shape, np.float32), np.float32(4), axes=(0,), regions=[binary_region("add", "f32")]
    )
    np.testing.assert_array_equal(result, np.full(shape[1], 4, np.float32))


def argmax_region(region):
    def rule(b, best, best_at, x, at):
        wins = b.or_(
            b.compare(x, best, direction="GT"),
            b.and_(b.compare(x, best, direction="EQ"), b.compare(at, best_at, direction="LT")),
        )
        return b.select(wins, x, best), b.select(wins, at, best_at)

    return region(["f32", "i32", "f32", "i32"], rule)


def test_two_operands_argmax_with_ties(run_op, region):
    x = rng().integers(0, 4, (5, 17)).astype(np.float32)
    at = np.broadcast_to(np.arange(17, dtype=np.int32), x.shape)
    best, where = run_op(
        "reduce", x, at, np.float32(-np.inf), np.int32(2**31 - 1), axes=(1,), regions=[argmax_region(region)]
    )
    np.testing.assert_array_equal(best, x.max(1))
    np.testing.assert_array_equal(where, x.argmax(1))


def test_region_of_many_nodes_keeps_the_order(run_op, region):
    # (a, b) -> b where b != 0 else a: the last that is not zero; associative, not commutative.
    last = region(["i32", "i32"], lambda b, x, y: b.select(b.compare(y, b.constant(0, "i32"), direction="NE"), y, x))
    x = np.array([[1, 0, 3, 0, 0], [0, 0, 0, 0, 0], [0, 5, 0, 0, 6]], np.int32)
    np.testing.assert_array_equal(run_op("reduce", x, np.int32(9), axes=(1,), regions=[last]), [3, 9, 6])


def test_region_that_is_not_elementwise_runs_per_element(run_op, region):
    def rule(b, x, y):
        return b.reshape(b.add(b.reshape(x, shape=(1,)), b.reshape(y, shape=(1,))), shape=())

    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    np.testing.assert_array_equal(
        run_op("reduce", x, np.int32(0), axes=(1,), regions=[region(["i32"] * 2, rule)]), [3, 12]
    )


def test_four_bit_integers(run_op):
    x = np.array([1, 2, -3], ml_dtypes.int4)
    assert run_op("reduce", x, ml_dtypes.int4(0), axes=(0,), regions=[binary_region("maximum", "i4")]) == 2


def test_simple_region_recognises(region):
    assert simple_region(binary_region("add", "f32")) == "add"
    assert simple_region(region(["f32", "f32"], lambda b, x, y: b.maximum(y, x))) == "maximum"
    assert simple_region(region(["f32", "f32"], lambda b, x, y: b.add(x, x))) is None
    assert simple_region(region(["f32", "f32"], lambda b, x, y: b.subtract(x, y))) is None
    assert simple_region(region(["f32", "f32"], lambda b, x, y: x)) is None


def test_reduce_with_symbolic_dimension():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (N, 3, N + 1)))
    y = Builder(graph).reduce_with("add", x, (0, 1), 0)
    graph.outputs = [y]
    assert y.type == TensorType("f32", (N + 1,))
    (result,), _ = evaluate(graph, np.ones((2, 3, 3), np.float32))
    np.testing.assert_array_equal(result, [6, 6, 6])


def test_reduce_errors(infer, region):
    x, s = TensorType("f32", (2, 3)), TensorType("f32")
    add = [binary_region("add", "f32")]
    with pytest.raises(ArgumentError, match="reduce: expected arrays followed by as many initial values"):
        infer("reduce", x, axes=(0,), regions=add)
    with pytest.raises(ArgumentError, match=r"axes in 0\.\.1 for rank 2, received 2"):
        infer("reduce", x, s, axes=(2,), regions=add)
    with pytest.raises(ArgumentError, match=r"axes that differ.*\(1, 1\)"):
        infer("reduce", x, s, axes=(1, 1), regions=add)
    with pytest.raises(DTypeError, match=r"initial value i32\[\] .* f32\[2,3\]"):
        infer("reduce", x, TensorType("i32"), axes=(0,), regions=add)
    with pytest.raises(ShapeError, match=r"a scalar, received f32\[1\]"):
        infer("reduce", x, TensorType("f32", (1,)), axes=(0,), regions=add)
    with pytest.raises(ShapeError, match=r"shape of the first, f32\[2,3\]; received f32\[3,2\]"):
        infer("reduce", x, TensorType("f32", (3, 2)), s, s, axes=(0,), regions=add)
    with pytest.raises(ArgumentError, match=r"expected 1 regions \(body\), received 0"):
        infer("reduce", x, s, axes=(0,))
    with pytest.raises(DTypeError, match=r"region 'body' takes \(i32\[\], i32\[\]\); expected \(f32\[\], f32\[\]\)"):
        infer("reduce", x, s, axes=(0,), regions=[binary_region("add", "i32")])
    with pytest.raises(ArgumentError, match=r"region 'body' returns \(f32\[\], f32\[\]\); expected \(f32\[\]\)"):
        infer("reduce", x, s, axes=(0,), regions=[region(["f32", "f32"], lambda b, p, q: (p, q))])


windows = st.fixed_dictionaries(
    {
        "size": st.tuples(st.integers(0, 6), st.integers(1, 6)),
        "window": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "base_dilation": st.tuples(st.integers(1, 3), st.integers(1, 2)),
        "window_dilation": st.tuples(st.integers(1, 2), st.integers(1, 3)),
        "padding": st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
    }
)


def reference_reduce_window(x, initial, window, strides, base_dilation, window_dilation, padding):
    """The maximum over every window, element by element."""

    def extent(n, d):
        return (n - 1) * d + 1 if n else 0

    out = []
    for n, w, s, b, v, (low, high) in zip(
        x.shape, window, strides, base_dilation, window_dilation, padding, strict=True
    ):
        out.append(max(0, (extent(n, b) + low + high - extent(w, v)) // s + 1))
    result = np.full(out, initial, x.dtype)
    for place in np.ndindex(*out):
        for tap in np.ndindex(*window):
            index = []
            for p, t, n, s, b, v, (low, _) in zip(
                place, tap, x.shape, strides, base_dilation, window_dilation, padding, strict=True
            ):
                at = p * s + t * v - low
                index.append(at // b if at >= 0 and at % b == 0 and at // b < n else None)
            if None not in index:
                result[place] = max(result[place], x[tuple(index)])
    return result


@given(windows)
def test_reduce_window_is_its_definition(case):
    size = case.pop("size")
    x = np.random.default_rng(0).integers(-50, 50, size, dtype=np.int32)
    graph = Graph()
    values = [graph.add_input(TensorType("i32", size)), graph.add_input(TensorType("i32"))]
    # One graph for the fast path, one whose region is not recognised.
    plain = binary_region("maximum", "i32")
    odd = Graph()
    a, b = odd.add_input(TensorType("i32")), odd.add_input(TensorType("i32"))
    builder = Builder(odd)
    odd.outputs = [builder.select(builder.compare(a, b, direction="GT"), a, b)]
    for body in (plain, odd):
        graph.outputs += Builder(graph).emit("reduce_window", values, case, [body])
    (first, second), _ = evaluate(graph, x, np.int32(-99))
    expected = reference_reduce_window(x, -99, **case)
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second, expected)


@pytest.mark.parametrize("padding", [((-1, 2),), ((0, -2),), ((-2, -1),), ((3, 3),)])
def test_reduce_window_sum_as_xla(run_op, padding):
    x = rng().standard_normal((8,)).astype(np.float32)
    attributes = {"window": (3,), "strides": (2,), "base_dilation": (2,), "window_dilation": (2,)}
    result = run_op(
        "reduce_window", x, np.float32(0), padding=padding, regions=[binary_region("add", "f32")], **attributes
    )
    padded = lax.pad(x, np.float32(0), [(padding[0][0], padding[0][1], 1)])
    expected = lax.reduce_window(padded, np.float32(0), lax.add, (3,), (2,), "VALID", window_dilation=(2,))
    np.testing.assert_allclose(result, expected, atol=3 * 1.2e-7 * np.abs(x).sum())


def test_reduce_window_of_float16_accumulates_wide(run_op):
    x = np.ones((4096,), np.float16)
    result = run_op(
        "reduce_window",
        x,
        np.float16(0),
        window=(4096,),
        strides=(1,),
        base_dilation=(1,),
        window_dilation=(1,),
        padding=((0, 0),),
        regions=[binary_region("add", "f16")],
    )
    np.testing.assert_array_equal(result, [4096])


def test_reduce_window_two_operands(run_op, region):
    x = rng().integers(0, 5, (12,)).astype(np.float32)
    at = np.arange(12, dtype=np.int32)
    best, where = run_op(
        "reduce_window",
        x,
        at,
        np.float32(-np.inf),
        np.int32(2**31 - 1),
        window=(4,),
        strides=(4,),
        base_dilation=(1,),
        window_dilation=(1,),
        padding=((0, 0),),
        regions=[argmax_region(region)],
    )
    np.testing.assert_array_equal(best, x.reshape(3, 4).max(1))
    np.testing.assert_array_equal(where, x.reshape(3, 4).argmax(1) + [0, 4, 8])


def test_cumulative_sum_with_a_symbolic_window():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (N,)))
    b = Builder(graph)
    y = b.reduce_window(
        x,
        b.constant(0, "f32"),
        window=(N,),
        strides=(1,),
        base_dilation=(1,),
        window_dilation=(1,),
        padding=((N - 1, 0),),
        regions=[binary_region("add", "f32")],
    )
    assert y.type == TensorType("f32", (N,))
    graph.outputs = [y]
    for n in (0, 1, 5):
        (result,), _ = evaluate(graph, np.ones(n, np.float32))
        np.testing.assert_array_equal(result, np.arange(1, n + 1))


def test_reduce_window_shapes_and_errors(infer):
    add, s = [binary_region("add", "f32")], TensorType("f32")
    ones = {"base_dilation": (1, 1), "window_dilation": (1, 1)}
    (result,) = infer(
        "reduce_window",
        TensorType("f32", (N, 7)),
        s,
        window=(2, 3),
        strides=(2, 2),
        padding=((0, 0), (1, 0)),
        regions=add,
        **ones,
    )
    assert result == TensorType("f32", (N // 2, 3))
    (result,) = infer(
        "reduce_window",
        TensorType("f32", (2, 7)),
        s,
        window=(3, 1),
        strides=(1, 1),
        padding=((0, 0), (0, 0)),
        regions=add,
        **ones,
    )
    assert result == TensorType("f32", (0, 7))
    with pytest.raises(ArgumentError, match=r"reduce_window: expected 2 values in 'window'.*received \(2,\)"):
        infer(
            "reduce_window",
            TensorType("f32", (2, 7)),
            s,
            window=(2,),
            strides=(2, 2),
            padding=((0, 0), (1, 0)),
            regions=add,
            **ones,
        )
    with pytest.raises(ArgumentError, match=r"'strides' of at least 1, received \(0, 1\)"):
        infer(
            "reduce_window",
            TensorType("f32", (2, 7)),
            s,
            window=(2, 2),
            strides=(0, 1),
            padding=((0, 0), (1, 0)),
            regions=add,
            **ones,
        )


def select_regions(region, dtype="f32", direction="GE"):
    return [region([dtype, dtype], lambda b, x, y: b.compare(x, y, direction=direction)), binary_region("add", dtype)]


@pytest.mark.parametrize(
    ("window", "strides", "padding"), [((2, 2), (2, 2), "VALID"), ((3, 3), (1, 1), "SAME"), ((3, 2), (2, 1), "SAME")]
)
def test_select_and_scatter_is_the_gradient_of_max_pooling(run_op, region, window, strides, padding):
    x = rng().permutation(42).reshape(6, 7).astype(np.float32)  # no ties

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)

    y, vjp = jax.vjp(pool, x)
    g = rng().integers(-8, 8, y.shape).astype(np.float32)
    pads = lax.padtype_to_pads(x.shape, window, strides, padding)
    result = run_op(
        "select_and_scatter",
        x,
        g,
        np.float32(0),
        window=window,
        strides=strides,
        padding=pads,
        regions=select_regions(region),
    )
    np.testing.assert_array_equal(result, vjp(g)[0])


def test_select_and_scatter_ties_padding_and_initial_value(run_op, region):
    # GE keeps the first of equals; a window that lies in padding alone selects nothing.
    x = np.array([-5, -5, -7, -7], np.float32)
    g = np.array([9, 1, 2, 9], np.float32)
    result = run_op(
        "select_and_scatter",
        x,
        g,
        np.float32(0.5),
        window=(2,),
        strides=(2,),
        padding=((2, 2),),
        regions=select_regions(region),
    )
    np.testing.assert_array_equal(result, [1.5, 0.5, 2.5, 0.5])


def test_select_and_scatter_errors(infer, region):
    x, s = TensorType("f32", (4,)), TensorType("f32")
    attributes = {"window": (2,), "strides": (2,), "padding": ((0, 0),)}
    assert infer("select_and_scatter", x, TensorType("f32", (2,)), s, regions=select_regions(region), **attributes) == [
        x
    ]
    with pytest.raises(ShapeError, match=r"the windows over f32\[4\] are f32\[2\], received the source f32\[3\]"):
        infer("select_and_scatter", x, TensorType("f32", (3,)), s, regions=select_regions(region), **attributes)
    with pytest.raises(ArgumentError, match="expected 2 regions"):
        infer("select_and_scatter", x, TensorType("f32", (2,)), s, regions=select_regions(region)[:1], **attributes)
