"""Derivatives and batching of reductions over axes and windows, and of cumulative ones, are JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from op_draw import region
from transform_checks import assert_batching, assert_derivatives, graph_of, run

from lamina.ir import binary_region, symbol
from lamina.ir.derivatives.regions import choosing, comparison
from lamina.ir.errors import DifferentiationError
from lamina.passes.differentiate import jvp, vjp

# Float64 against float64: rtol 1e-9 (the default of the checks) leaves room for sums in another order.


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def with_zeros(x, count):
    x = x.copy()
    x.reshape(-1)[np.random.default_rng(1).permutation(x.size)[:count]] = 0
    return x


def ties(*shape):
    return np.random.default_rng(2).integers(0, 3, shape).astype(np.float64)


def ops_of(graph):
    return [node.op.name for node in graph.nodes]


SUMS = {
    "reduce_sum": jnp.sum,
    "reduce_mean": jnp.mean,
    "reduce_prod": jnp.prod,
    "reduce_max": jnp.max,
    "reduce_min": jnp.min,
    "reduce_variance": jnp.var,
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize(("axes", "keepdims"), [((-1,), True), ((0, 2), False)])
def test_composites(name, axes, keepdims):
    x = draw(3, 4, 2)

    def build(b, x):
        return b.emit(name, (x,), {"axes": axes, "keepdims": keepdims})[0]

    assert_derivatives(build, lambda x: SUMS[name](x, axis=axes, keepdims=keepdims), [x])
    assert_batching(build, [x])


@pytest.mark.parametrize("name", SUMS)
def test_composites_over_an_open_axis(name):
    shapes = [(symbol("N"), 3)]
    second = name != "reduce_prod"  # whose derivative is made of products of open length
    assert_derivatives(
        lambda b, x: b.emit(name, (x,), {"axes": (0,)})[0],
        lambda x: SUMS[name](x, axis=0),
        [draw(4, 3)],
        shapes=shapes,
        second=second,
    )


@pytest.mark.parametrize("name", ["reduce_max", "reduce_min"])
def test_equal_extrema_have_equal_shares(name):
    x = ties(5, 4)
    assert_derivatives(
        lambda b, x: b.emit(name, (x,), {"axes": (0,)})[0], lambda x: SUMS[name](x, axis=0), [x], second=False
    )


@pytest.mark.parametrize("zeros", [1, 5])
def test_products_with_zeros(zeros):
    x = with_zeros(draw(3, 4), zeros)
    for axes in ((0,), (0, 1)):
        assert_derivatives(
            lambda b, x, axes=axes: b.reduce_prod(x, axes=axes), lambda x, axes=axes: jnp.prod(x, axis=axes), [x]
        )


def test_a_sum_s_transpose_is_a_broadcast_and_its_composite_stays():
    graph = graph_of(lambda b, x: b.reduce_sum(x, axes=(0,)), [draw(3, 2)])
    assert ops_of(jvp(graph, [True])) == ["reduce_sum", "reduce_sum"]
    assert ops_of(vjp(graph, [True], [True])) == ["reduce_sum", "broadcast_in_dim"]


def test_a_mean_of_narrow_floats_counts_in_f32():
    import ml_dtypes

    x = np.zeros(257, ml_dtypes.bfloat16)  # bfloat16 has no 257
    graph = vjp(graph_of(lambda b, x: b.reduce_mean(x, axes=(0,)), [x]), [True], [True])
    (_, ct) = run(graph, x, np.array(1, x.dtype))
    assert (ct == np.array(1 / 257, x.dtype)).all()


@pytest.mark.parametrize("name", ["argmax", "argmin", "reduce_any"])
def test_choices_do_not_move(name):
    if name == "reduce_any":
        x = draw(3, 4) > 0
        assert_batching(lambda b, x: b.reduce_any(x, axes=(1,)), [x])
        return

    def build(b, x):
        return b.add(b.astype(b.emit(name, (x,), {"axis": 1})[0], "f64"), b.reduce_sum(x, axes=(1,)))

    chosen = getattr(jnp, name)
    assert_derivatives(build, lambda x: chosen(x, axis=1) + x.sum(1), [draw(3, 4)])
    assert_batching(lambda b, x: b.emit(name, (x,), {"axis": -1})[0], [draw(3, 4)])


# The op reduce.


def reduce(op, axes):
    def build(b, x, start):
        return b.reduce(x, start, axes=axes, regions=[binary_region(op, x.dtype)])

    return build


FOLDS = {"add": jnp.sum, "multiply": jnp.prod, "maximum": jnp.max, "minimum": jnp.min}


@pytest.mark.parametrize("op", FOLDS)
@pytest.mark.parametrize("start", [0.3, 9.0, -9.0])
def test_initial_values_move_too(op, start):
    combine = {"add": jnp.add, "multiply": jnp.multiply, "maximum": jnp.maximum, "minimum": jnp.minimum}[op]
    assert_derivatives(reduce(op, (1,)), lambda x, s: combine(FOLDS[op](x, axis=1), s), [draw(3, 4), np.array(start)])
    assert_batching(reduce(op, (1,)), [draw(3, 4), np.array(start)])


def logaddexp():
    return region([("f64", ())] * 2, lambda b, x, y: b.logaddexp(x, y))


@pytest.mark.parametrize("length", [0, 1, 5])
def test_any_region_is_folded_two_by_two(length):
    def build(b, x, start):
        return b.reduce(x, start, axes=(0,), regions=[logaddexp()])

    def oracle(x, start):
        return jax.nn.logsumexp(jnp.concatenate([x, jnp.broadcast_to(start, (1, 2))]), axis=0)

    assert_derivatives(build, oracle, [draw(length, 2), np.array(0.5)])


def test_several_arrays_with_indices():
    """Complex numbers as pairs, multiplied; an integer beside counts."""

    def times(b, x, y, n, u, v, m):
        real = b.subtract(b.multiply(x, u), b.multiply(y, v))
        return real, b.add(b.multiply(x, v), b.multiply(y, u)), b.add(n, m)

    body = region([("f64", ()), ("f64", ()), ("i32", ())] * 2, times)

    def build(b, x, y):
        n = b.full(x.shape, 1, "i32")
        starts = b.constant(1.0, "f64"), b.constant(0.0, "f64"), b.constant(0, "i32")
        re, im, count = b.reduce(x, y, n, *starts, axes=(0, 2), regions=[body])
        return b.multiply(re, b.astype(count, "f64")), im

    def oracle(x, y):
        z = jnp.prod(x + 1j * y, axis=(0, 2))
        return z.real * 6, z.imag

    assert_derivatives(build, oracle, [draw(3, 2, 2), draw(3, 2, 2, seed=1)])
    assert_batching(build, [draw(3, 2, 2), draw(3, 2, 2, seed=1)])


def test_any_region_over_an_open_axis_goes_forward_only():
    x, start, dx, dstart = draw(4, 2), np.array(0.5), draw(4, 2, seed=3), np.array(2.0)
    graph = graph_of(lambda b, *v: b.reduce(*v, axes=(0,), regions=[logaddexp()]), [x, start], [(symbol("N"), 2), ()])
    got = run(jvp(graph, [True, True]), x, start, dx, dstart)

    def oracle(x, start):
        return jax.nn.logsumexp(jnp.concatenate([x, jnp.broadcast_to(start, (1, 2))]), axis=0)

    with jax.enable_x64(True):
        want = jax.jvp(oracle, (x, start), (dx, dstart))
    for a, w in zip(got, want, strict=True):
        np.testing.assert_allclose(a, w, rtol=1e-12)
    with pytest.raises(DifferentiationError, match="give the axis a known length"):
        vjp(graph, [True, True], [True])


# Windows.

WINDOWS = {
    "overlapping": {"window": (3, 2), "strides": (2, 1), "padding": ((1, 0), (0, 1))},
    "apart": {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))},
    "with gaps": {"window": (1, 2), "strides": (2, 3), "padding": ((0, 0), (1, 1))},
    "dilated": {"window": (2, 2), "strides": (1, 2), "padding": ((0, 0), (1, 1)), "window_dilation": (2, 1)},
    "base dilated": {"window": (2, 3), "strides": (1, 2), "padding": ((1, 0), (0, 0)), "base_dilation": (2, 3)},
}


def windowed(op, initial, window_dilation=(1, 1), base_dilation=(1, 1), **how):
    def build(b, x):
        return b.reduce_window(
            x,
            b.constant(initial, x.dtype),
            **how,
            window_dilation=window_dilation,
            base_dilation=base_dilation,
            regions=[binary_region(op, x.dtype)],
        )

    return build


def slices_of(x, initial, window, strides, padding, window_dilation=(1, 1), base_dilation=(1, 1)):
    """Windows as JAX takes them out: those of a convolution, in the last dimension, padding as ``initial``."""
    config = [(lo, hi, d - 1) for (lo, hi), d in zip(padding, base_dilation, strict=True)]
    x = lax.pad(x, jnp.asarray(initial, x.dtype), config)
    parts = []
    counts = [(n - (w - 1) * d - 1) // s + 1 for n, w, d, s in zip(x.shape, window, window_dilation, strides)]
    for place in np.ndindex(*window):
        start = [p * d for p, d in zip(place, window_dilation)]
        limit = [p + (n - 1) * s + 1 for p, n, s in zip(start, counts, strides)]
        parts.append(lax.slice(x, start, limit, strides))
    return jnp.stack(parts, -1)


@pytest.mark.parametrize("how", WINDOWS)
def test_sums_of_windows(how):
    build = windowed("add", 0, **WINDOWS[how])
    assert_derivatives(build, lambda x: slices_of(x, 0, **WINDOWS[how]).sum(-1), [draw(5, 4)])
    assert_batching(build, [draw(5, 4)])


@pytest.mark.parametrize("how", WINDOWS)
@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_greatest_elements_of_windows(how, op):
    initial = -np.inf if op == "maximum" else np.inf
    choose = jnp.argmax if op == "maximum" else jnp.argmin  # the first of equal ones

    def oracle(x):
        parts = slices_of(x, initial, **WINDOWS[how])
        return jnp.take_along_axis(parts, choose(parts, -1)[..., None], -1)[..., 0]

    build = windowed(op, initial, **WINDOWS[how])
    for x in (draw(5, 4), ties(5, 4)):
        # What is padding has no tangent in either, so that a window of padding alone stays at the initial value.
        assert_derivatives(build, oracle, [x])
    assert_batching(build, [draw(5, 4)])


@pytest.mark.parametrize("how", ["overlapping", "dilated", "base dilated"])
def test_windows_with_any_region(how):
    assert_derivatives(
        windowed("multiply", 1, **WINDOWS[how]),
        lambda x: slices_of(x, 1, **WINDOWS[how]).prod(-1),
        [with_zeros(draw(5, 4), 3)],
    )
    assert_derivatives(
        windowed("maximum", 0.25, **WINDOWS[how]),  # an initial value that counts
        lambda x: jnp.maximum(slices_of(x, 0.25, **WINDOWS[how]).max(-1), 0.25),
        [draw(5, 4)],
    )


def test_pooling_is_select_and_scatter_and_its_derivative_a_reduction_of_pairs():
    graph = graph_of(windowed("maximum", -np.inf, **WINDOWS["overlapping"]), [draw(5, 4)])
    back = vjp(graph, [True], [True])
    assert [n for n in ops_of(back) if n != "constant"] == ["reduce_window", "select_and_scatter"]
    twice = vjp(back, [False, True], [False, True])
    assert [n for n in ops_of(twice) if n != "constant"] == ["reduce_window", "select_and_scatter", "reduce_window"]


def test_forward_twice_through_pooling():
    graph = graph_of(
        lambda b, x: windowed("maximum", -np.inf, **WINDOWS["overlapping"])(b, b.multiply(x, x)), [draw(5, 4)]
    )
    x, dx = draw(5, 4), draw(5, 4, seed=4)
    twice = jvp(jvp(graph, [True]), [True, False])

    def oracle(x):
        return lax.reduce_window(x * x, -jnp.inf, lax.max, (3, 2), (2, 1), ((1, 0), (0, 1)))

    with jax.enable_x64(True):
        want = jax.jvp(lambda x: jax.jvp(oracle, (x,), (dx,)), (x,), (dx,))
    got = run(twice, x, dx, dx)
    for a, w in zip(got, [*want[0], *want[1]], strict=True):
        np.testing.assert_allclose(a, w, rtol=1e-12)


def test_windows_over_open_dimensions():
    for op, initial, fold in (("add", 0.0, lax.add), ("maximum", -np.inf, lax.max)):
        for how in ("overlapping", "apart"):

            def oracle(x, fold=fold, initial=initial, how=how):
                w = WINDOWS[how]
                return lax.reduce_window(x, initial, fold, w["window"], w["strides"], w["padding"])

            assert_derivatives(
                windowed(op, initial, **WINDOWS[how]), oracle, [draw(5, 4)], shapes=[(symbol("N"), symbol("M"))]
            )


def test_a_window_of_open_size_without_a_transpose_says_so():
    graph = graph_of(lambda b, x: b.cumprod(x, axis=0), [draw(4)], [(symbol("N"),)])
    with pytest.raises(DifferentiationError, match="known sizes"):
        vjp(graph, [True], [True])


@pytest.mark.parametrize("direction", ["GE", "LE"])
def test_select_and_scatter(direction):
    how = {"window": (3, 2), "strides": (2, 1), "padding": ((1, 1), (0, 1))}
    x, source = draw(5, 4), draw(3, 4, seed=1)

    def build(b, x, source, start):
        regions = [comparison(direction, x.dtype), binary_region("add", x.dtype)]
        return b.select_and_scatter(x, source, start, **how, regions=regions)

    fold, initial = (lax.max, -jnp.inf) if direction == "GE" else (lax.min, jnp.inf)

    def oracle(x, source, start):
        pooled = lambda x: lax.reduce_window(x, initial, fold, how["window"], how["strides"], how["padding"])  # noqa: E731
        return jax.vjp(pooled, x)[1](source)[0] + start

    assert_derivatives(build, oracle, [x, source, np.array(0.5)], moving=[False, True, True])
    assert_batching(build, [x, source, np.array(0.5)])


def test_select_and_scatter_that_can_not_be_differentiated_says_so():
    x, source = draw(4), draw(2)
    how = {"window": (2,), "strides": (2,), "padding": ((0, 0),)}

    def build(select, scatter):
        return lambda b, x, s: b.select_and_scatter(
            x, s, b.constant(0, "f64"), **how, regions=[comparison(select, "f64"), binary_region(scatter, "f64")]
        )

    with pytest.raises(DifferentiationError, match="scatter region adds"):
        jvp(graph_of(build("GE", "maximum"), [x, source]), [False, True])
    with pytest.raises(DifferentiationError, match="GE or LE"):
        vjp(graph_of(build("GT", "add"), [x, source]), [False, True], [True])


def test_a_region_that_chooses_is_recognised():
    from lamina.ir.derivatives.regions import chosen_by

    assert chosen_by(choosing("GE", "f32")) == "GE" and chosen_by(choosing("LE", "f32")) == "LE"
    assert chosen_by(choosing("GT", "f32")) is None and chosen_by(binary_region("add", "f32")) is None


# Cumulative reductions.


def cumulative(name, axis, reverse):
    return lambda b, x: b.emit(name, (x,), {"axis": axis, "reverse": reverse})[0]


CUMULATIVE = {"cumsum": lax.cumsum, "cumprod": lax.cumprod, "cummax": lax.cummax, "cummin": lax.cummin}


@pytest.mark.parametrize("name", CUMULATIVE)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("axis", "shape"), [(0, (3, 2)), (-1, (2, 11)), (0, (0, 2))])
def test_cumulative(name, reverse, axis, shape):
    x = draw(*shape)
    if name == "cumprod":
        x = with_zeros(x, 2)
    oracle = lambda x: CUMULATIVE[name](x, axis=axis % 2, reverse=reverse)  # noqa: E731
    assert_derivatives(cumulative(name, axis, reverse), oracle, [x])
    assert_batching(cumulative(name, axis, reverse), [x])


@pytest.mark.parametrize("name", ["cumsum", "cummax", "cummin"])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumulative_over_an_open_axis(name, reverse):
    oracle = lambda x: CUMULATIVE[name](x, axis=0, reverse=reverse)  # noqa: E731
    assert_derivatives(cumulative(name, 0, reverse), oracle, [draw(5, 2)], shapes=[(symbol("N"), 2)])


def test_a_cumulative_sum_goes_back_as_one():
    graph = graph_of(cumulative("cumsum", 0, False), [draw(20)])
    back = vjp(graph, [True], [True])
    assert ops_of(back) == ["cumsum", "cumsum"] and back.nodes[1].attributes["reverse"]


def test_equal_greatest_elements_so_far_give_to_the_last():
    x = np.array([1.0, 3.0, 3.0, 2.0, 3.0])
    back = vjp(graph_of(cumulative("cummax", 0, False), [x]), [True], [True])
    np.testing.assert_array_equal(run(back, x, np.ones(5))[1], [1, 1, 2, 0, 1])
