"""The CPU's rules for what derivatives are made of: equal results, the forms they choose, refusals with reasons."""

import numpy as np
import pytest
from convolutions import assert_same_results, convolution, ops, rewritten
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ir import Builder, Graph, Module, TensorType, evaluate, verify
from lamina.ir.builder import binary_region
from lamina.passes import explain, run_pipeline
from lamina.passes.differentiate import vjp

# Sums in another order: a few roundings of float32, of sums of the sizes of their terms.
EPS = float(np.finfo(np.float32).eps)


def module_of(build, *types):
    graph = Graph()
    values = [graph.add_input(TensorType(*t)) for t in types]
    result = build(Builder(graph), *values)
    graph.outputs = list(result) if isinstance(result, tuple) else [result]
    module = Module({"main": graph})
    verify(module)
    return module


def both(before, after, *arrays):
    return evaluate(before, *arrays)[0][0], evaluate(after, *arrays)[0][0]


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# Products over the first axes.


def weight_gradient(x, y, count, dtype="f32"):
    axes = tuple(range(count))
    return module_of(lambda b, *v: b.dot_general(*v, lhs_contract=axes, rhs_contract=axes), (dtype, x), (dtype, y))


@pytest.mark.parametrize(("x", "y", "count"), [((64, 256), (64, 128), 1), ((4, 16, 256), (4, 16, 2, 64), 2)])
def test_weight_gradients_sum_over_the_last_axis(x, y, count):
    module = weight_gradient(x, y, count)
    after, fired = rewritten(module)
    assert fired == ["first_axis_made_last"]
    assert [n for n in ops(after) if n != "reshape"] == ["transpose", "optimization_barrier", "dot_general"]
    want, got = both(module, after, normal(*x), normal(*y, seed=1))
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * EPS * 64)


def weight_gradient_of_computed(rows, width, columns, also=True, right=0):
    """A weight's gradient whose left factor is a sum, the right one its double ``right`` times.

    ``also``: the left factor is a result too.
    """

    def build(b, x, z, y):
        factor = b.add(x, z)
        for _ in range(right):
            y = b.add(y, y)
        product = b.dot_general(factor, y, lhs_contract=(0,), rhs_contract=(0,))
        return (product, factor) if also else product

    return module_of(build, ("f32", (rows, width)), ("f32", (rows, width)), ("f32", (rows, columns)))


@pytest.mark.parametrize(("columns", "right"), [(64, 0), (2, 3), (1, 0)])
def test_the_factor_that_takes_more_to_compute_comes_last(columns, right):
    module = weight_gradient_of_computed(4096, 64, columns, right=right)
    after, fired = rewritten(module)
    assert fired == ["computed_factor_last"]
    assert ops(after)[-3:] == ["dot_general", "optimization_barrier", "transpose"]
    assert [v.shape for v in after.main.nodes[-3].operands] == [(4096, columns), (4096, 64)]
    want, got = both(module, after, normal(4096, 64), normal(4096, 64, seed=1), normal(4096, columns, seed=2))
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * EPS * np.abs(want).max())


def test_the_gradient_of_a_pointwise_kernel_reads_a_depthwise_result_once():
    def build(b, x, depthwise, pointwise):
        last = {"lhs_spec": (0, 2, 1), "rhs_spec": (2, 1, 0), "out_spec": (0, 2, 1)}
        usual = {"strides": (1,), "lhs_dilation": (1,), "rhs_dilation": (1,), **last}
        y = b.convolution(x, depthwise, padding=((1, 1),), feature_groups=16, **usual)
        return b.convolution(y, pointwise, padding=((0, 0),), **usual)

    graph = module_of(build, ("f32", (64, 256, 16)), ("f32", (3, 1, 16)), ("f32", (1, 16, 16))).main
    back = vjp(graph, (False, False, True), (True,))
    module, _ = run_pipeline(Module({"main": back}), "simplify")
    after, fired = rewritten(module)
    assert "computed_factor_last" in fired
    arrays = [normal(64, 256, 16), normal(3, 1, 16, seed=1), normal(1, 16, 16, seed=2), normal(64, 256, 16, seed=3)]
    for want, got in zip(evaluate(module, *arrays)[0], evaluate(after, *arrays)[0], strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=64 * EPS * np.abs(want).max())


# Kernel gradients of depthwise convolutions: batch, image, channels; groups; kernel; filters of each group.


def kernel_gradient(x, w, **attributes):
    """The gradient in the kernel of a convolution with channels last; ``x`` and ``w`` as the graph has them."""
    spatial = len(x) - 2
    last = (0, spatial + 1, *range(1, spatial + 1))
    ones = (1,) * spatial
    specs = {"lhs_spec": last, "out_spec": last, "rhs_spec": (spatial + 1, spatial, *range(spatial))}
    usual = {"strides": ones, "padding": ((0, 0),) * spatial, "lhs_dilation": ones, "rhs_dilation": ones}
    graph = module_of(lambda b, *v: b.convolution(*v, **{**usual, **specs, **attributes}), ("f32", x), ("f32", w)).main
    back = vjp(graph, (False, True), (True,))
    back.outputs, back.output_names = back.outputs[1:], [""]
    module = Module({"main": back})
    module, _ = run_pipeline(module, "simplify")
    return module


DEPTHWISE = {
    "3x3": ((2, 6, 5, 4), (3, 3, 1, 4), {"padding": ((1, 1), (1, 1))}),
    "strides": ((2, 7, 6, 4), (3, 2, 1, 4), {"strides": (2, 3), "padding": ((0, 1), (1, 0))}),
    "dilated": ((2, 9, 4), (3, 1, 4), {"rhs_dilation": (2,), "padding": ((4, 0),)}),
    "cropped": ((2, 9, 4), (2, 1, 4), {"padding": ((-1, -2),)}),
    "filters": ((2, 5, 3), (3, 1, 6), {}),
    "transposed": ((2, 5, 3), (3, 1, 3), {"lhs_dilation": (2,), "padding": ((2, 1),)}),
    "3-D": ((1, 4, 3, 5, 2), (2, 2, 3, 1, 2), {}),
    "first channels": (
        (2, 3, 6),
        (3, 1, 4),
        {"lhs_spec": (0, 1, 2), "rhs_spec": (0, 1, 2), "out_spec": (0, 1, 2), "padding": ((1, 2),)},
    ),
    "another order": (
        (6, 2, 3),
        (1, 4, 3),
        {"lhs_spec": (1, 2, 0), "rhs_spec": (2, 0, 1), "out_spec": (2, 0, 1), "padding": ((1, 2),)},
    ),
}


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_kernel_gradients_are_sums(name):
    x, w, attributes = DEPTHWISE[name]
    groups = x[attributes.get("lhs_spec", (0, len(x) - 1))[1]]
    module = kernel_gradient(x, w, feature_groups=groups, **attributes)
    assert ops(module) == ["convolution"]
    after, fired = rewritten(module)
    assert fired == ["batch_groups_as_sums"] and "convolution" not in ops(after)
    assert_same_results_of(module, after)


def assert_same_results_of(before, after):
    arrays = [normal(*v.shape, seed=i) for i, v in enumerate(before.main.inputs)]
    want, got = both(before, after, *arrays)
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=64 * EPS * max(1.0, float(np.abs(want).max())))


def test_kernel_gradients_of_wide_groups_are_made_apart():
    module = kernel_gradient((8, 20, 20, 16), (3, 3, 8, 32), feature_groups=2)
    after, fired = rewritten(module)
    assert fired == ["batch_groups_apart"] and ops(after).count("convolution") == 2
    assert_same_results_of(module, after)


def test_batch_groups_as_sums_of_narrow_floats():
    """bfloat16 is summed in float32: 256 ones and one more are 257, which rounds to 256, and 300 are 300."""
    module = convolution((1, 300, 1), (1, 300, 1), "bf16", batch_groups=1)
    assert "batch groups" in explain(module, "batch_groups_as_sums")[0].reason
    module = convolution((2, 1, 300), (2, 1, 300), "bf16", batch_groups=2)
    after, fired = rewritten(module)
    assert fired == ["batch_groups_as_sums"]
    ones = [np.ones(v.shape, v.dtype) for v in module.main.inputs]
    want, got = both(module, after, *ones)
    np.testing.assert_array_equal(got, want)
    assert got.astype(np.float32).ravel().tolist() == [300, 300]


# Windows with one place.


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1)])
def test_kernel_gradients_of_pointwise_convolutions_are_products(strides):
    module = kernel_gradient((2, 5, 6, 3), (1, 1, 3, 4), strides=strides)
    after, fired = rewritten(module)
    assert fired == ["whole_window_as_product"] and "convolution" not in ops(after)
    assert_same_results_of(module, after)


def test_a_kernel_as_large_as_the_image_is_a_product():
    module = convolution((2, 3, 4, 5), (6, 3, 4, 5), lhs_spec=(0, 1, 2, 3), rhs_spec=(0, 1, 2, 3))
    after, fired = rewritten(module)
    assert fired == ["whole_window_as_product"]
    assert_same_results(module, after)


# Gradients of max pooling.


def pool_gradient(shape, window, strides, padding=None, dtype="f32", select="GE"):
    region = Graph()
    scalars = [region.add_input(TensorType(dtype)) for _ in range(2)]
    region.outputs = [Builder(region).compare(*scalars, direction=select)]
    padding = padding or ((0, 0),) * len(shape)
    count = [(d + low + high - k) // s + 1 for d, k, s, (low, high) in zip(shape, window, strides, padding)]

    def build(b, x, g):
        return b.select_and_scatter(
            x,
            g,
            b.constant(0, x.dtype),
            window=window,
            strides=strides,
            padding=padding,
            regions=[region, binary_region("add", x.dtype)],
        )

    return module_of(build, (dtype, shape), (dtype, count))


POOLS = {
    "tiles": ((2, 4, 6, 3), (1, 2, 3, 1), (1, 2, 3, 1)),
    "a rest": ((2, 5, 7, 3), (1, 2, 3, 1), (1, 2, 3, 1)),
    "overlapping": ((2, 7, 6, 2), (1, 3, 3, 1), (1, 2, 2, 1)),
    "padded": ((2, 7, 6, 2), (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0))),
    "gaps": ((2, 9, 2), (1, 2, 1), (1, 4, 1)),
    "one axis padded": ((2, 6, 5, 1), (1, 2, 2, 1), (1, 2, 2, 1), ((0, 0), (0, 0), (1, 0), (0, 0))),
    "channels first": ((2, 3, 6), (1, 1, 3), (1, 1, 2), ((0, 0), (0, 0), (1, 1))),
}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (name, values)
        for name, case in POOLS.items()
        for values in ("normal", "ties", "nan", "least")
        if len(case) == 3 or values in ("normal", "ties")  # else padding may be chosen, and the cotangent dropped
    ],
)
def test_max_pool_gradients_choose_the_same_places(name, values):
    """Also among equal elements and, without padding, where there are NaNs or only the least value."""
    module = pool_gradient(*POOLS[name])
    after, fired = rewritten(module)
    assert fired == ["max_pool_gradient_by_places"] and "select_and_scatter" not in ops(after)
    types = [v.shape for v in module.main.inputs]
    x = normal(*types[0])
    x = {"normal": x, "ties": np.round(x), "nan": np.where(x > 0.5, np.nan, x), "least": np.full_like(x, -np.inf)}[
        values
    ]
    # Cotangents are small integers, so that their sums are exact in any order.
    g = np.random.default_rng(1).integers(1, 9, types[1]).astype(np.float32)
    want, got = both(module, after, x, g)
    np.testing.assert_array_equal(got, want)
    assert np.count_nonzero(want) > 0


@settings(max_examples=30)
@given(st.data())
def test_any_max_pool_gradient(data):
    shape = [data.draw(st.integers(3, 8)) for _ in range(2)]
    window = [data.draw(st.integers(1, 3)) for _ in range(2)]
    strides = [data.draw(st.integers(2, 4)) for _ in range(2)]
    padding = [(data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k - 1))) for k in window]
    module = pool_gradient((2, *shape), (1, *window), (1, *strides), ((0, 0), *padding), "i32")
    after, fired = rewritten(module)
    assert fired == ["max_pool_gradient_by_places"]
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-3, 3, v.shape).astype(np.int32) for v in module.main.inputs]
    want, got = both(module, after, *arrays)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("rule", "module", "reason"),
    [
        ("first_axis_made_last", weight_gradient((64, 64), (64, 128), 1), "wider than high"),
        ("first_axis_made_last", weight_gradient((8, 128), (8, 128), 1), "it is small"),
        ("first_axis_made_last", weight_gradient((8192, 128), (8192, 64), 1), "copying"),
        ("first_axis_made_last", weight_gradient((64, 256), (64, 128), 1, "f64"), "not of float32"),
        ("computed_factor_last", weight_gradient((8192, 64), (8192, 64), 1), "is not computed"),
        ("computed_factor_last", weight_gradient_of_computed(64, 64, 2), "fewer than"),
        ("computed_factor_last", weight_gradient_of_computed(4096, 64, 64, also=False), "nothing else reads"),
        ("computed_factor_last", weight_gradient_of_computed(4096, 64, 64, right=1), "as much to compute"),
        ("batch_groups_as_sums", kernel_gradient((2, 5, 4), (3, 2, 4), feature_groups=2), "wider than one"),
        ("batch_groups_as_sums", kernel_gradient((1, 200, 2), (122, 1, 2), feature_groups=2), "more than 121"),
        ("batch_groups_apart", kernel_gradient((2, 5, 4), (3, 2, 4), feature_groups=2), "less than"),
        ("whole_window_as_product", kernel_gradient((2, 5, 4), (2, 4, 4)), "more than one place"),
        ("whole_window_as_product", convolution((2, 3, 4), (6, 3, 6), padding=((1, 1),)), "padded"),
        ("max_pool_gradient_by_places", pool_gradient((2, 5, 2), (1, 2, 1), (1, 1, 1)), "overlap"),
        ("max_pool_gradient_by_places", pool_gradient((2, 5, 2), (1, 2, 1), (1, 2, 1), None, "f32", "LE"), "greatest"),
    ],
)
def test_refusals_say_why(rule, module, reason):
    assert any(reason in miss.reason for miss in explain(module, rule))
