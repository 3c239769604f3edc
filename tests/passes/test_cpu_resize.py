"""The CPU's rule for resizing: what it makes, that it computes the same, and where it leaves a matrix product."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ir import Builder, Graph, Module, TensorType, evaluate, parse, symbol, verify
from lamina.ir.types import element_type
from lamina.passes import explain, run_pipeline, specialize
from lamina.passes.differentiate import vjp

# Both forms round each axis once to the element type, weights and terms on the way to float32 or wider: a few units of
# the largest element, times the sizes of the weights (at most 1.6 for lanczos5), for two or three axes.
ULPS = 16
METHODS = ("bilinear", "bicubic", "lanczos3", "lanczos5")

DOUBLED = """\
module @net

func @main(%x: f32[3,2]) -> (f32[6,2]) {
  %0 = resize(%x) {shape=[6,2], method="bilinear"} : f32[6,2] @up
  return %0
}
"""

GATHER = (
    "{offset_dims=[1], collapsed_slice_dims=[0], start_index_map=[0], index_vector_dim=1, slice_sizes=[1,2], "
    "indices_are_sorted=true} : f32[6,2] @up"
)
DOUBLED_BY_SUMS = f"""\
module @net

func @main(%x: f32[3,2]) -> (f32[6,2]) {{
  %0 = constant {{value=i32[6] [0,0,0,1,1,1]}} : i32[6] @up
  %1 = gather(%x, %0) {GATHER}
  %2 = constant {{value=f32[6] [1.0,0.75,0.25,0.75,0.25,0.0]}} : f32[6] @up
  %3 = broadcast_in_dim(%2) {{shape=[6,2], dims=[0]}} : f32[6,2] @up
  %4 = multiply(%1, %3) : f32[6,2] @up
  %5 = constant {{value=i32[6] [1,1,1,2,2,2]}} : i32[6] @up
  %6 = gather(%x, %5) {GATHER}
  %7 = constant {{value=f32[6] [0.0,0.25,0.75,0.25,0.75,1.0]}} : f32[6] @up
  %8 = broadcast_in_dim(%7) {{shape=[6,2], dims=[0]}} : f32[6,2] @up
  %9 = multiply(%6, %8) : f32[6,2] @up
  %10 = add(%4, %9) : f32[6,2] @up
  return %10
}}
"""


def resize(old, new, method="bilinear", antialias=False, element="f32"):
    graph = Graph()
    x = graph.add_input(TensorType(element, old), "x")
    graph.outputs = [Builder(graph).resize(x, shape=new, method=method, antialias=antialias)]
    module = Module({"main": graph})
    verify(module)
    return module


def rewritten(module):
    """The module after the CPU's rules, and how often the rule fired."""
    after, (record,) = run_pipeline(module, "cpu", verify=True)
    return after, sum(fired.count for fired in record.fired if fired.rule == "resize_by_sums")


def ops(module):
    return [node.op.name for node in module.main.nodes]


def result(module, x):
    (value,), _ = evaluate(module, x)
    return value


def assert_same_results(before, after, seed=0):
    (type_,) = (v.type for v in before.main.inputs)
    x = np.random.default_rng(seed).uniform(-2, 2, type_.shape).astype(type_.dtype)
    want, got = result(before, x), result(after, x)
    assert got.dtype == want.dtype and got.shape == want.shape
    bound = ULPS * float(ml_dtypes.finfo(want.dtype).eps) * 2
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=0, atol=bound)


def test_twice_as_many_rows_are_sums_of_two():
    before = parse(DOUBLED)
    after, fired = rewritten(before)
    assert fired == 1
    assert str(after) == DOUBLED_BY_SUMS
    assert_same_results(before, after)


sizes = st.integers(1, 9)


@settings(max_examples=60)
@given(
    old=st.lists(sizes, min_size=2, max_size=4),
    data=st.data(),
    method=st.sampled_from(METHODS),
    antialias=st.booleans(),
    element=st.sampled_from(["f32", "f32", "f64", "f16", "bf16"]),
)
def test_equal_results_whatever_the_sizes(old, data, method, antialias, element):
    new = [data.draw(st.one_of(st.just(d), st.just(2 * d), sizes)) for d in old]
    before = resize(old, new, method, antialias, element)
    after, fired = rewritten(before)
    assert fired == ("resize" not in ops(after))
    assert_same_results(before, after)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "target", "antialias"), [(40, 80, False), (60, 45, False), (90, 60, True)])
def test_equal_results_on_long_axes(method, size, target, antialias):
    before = resize((size, 3), (target, 3), method, antialias)
    after, fired = rewritten(before)
    assert fired and "dot_general" not in ops(after)
    assert_same_results(before, after)


@settings(max_examples=40)
@given(
    place=st.tuples(st.integers(0, 4), st.integers(0, 5)),
    new=st.tuples(st.integers(1, 10), st.integers(1, 12)),
    method=st.sampled_from(METHODS),
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_what_is_not_finite_stays_on_its_lines(place, new, method, value):
    """It reaches every element that it has a weight in, and none outside the lines where the meaning allows it."""
    x = np.random.default_rng(0).uniform(1, 2, (5, 6, 2)).astype(np.float32)
    x[(*place, 0)] = value
    before = resize(x.shape, (*new, 2), method)
    after, _ = rewritten(before)
    alone = np.zeros_like(x)
    alone[(*place, 0)] = 1
    weighted = result(before, alone) != 0
    reached, allowed = ~np.isfinite(result(after, x)), ~np.isfinite(result(before, x))
    assert reached[weighted].all()
    assert not (reached & ~allowed).any()


def test_negative_zero_may_lose_its_sign_and_nothing_else():
    x = np.full((3, 2), -0.0, np.float32)
    for module in (parse(DOUBLED), rewritten(parse(DOUBLED))[0]):
        np.testing.assert_array_equal(result(module, x), np.zeros((6, 2), np.float32))


def test_steps_do_not_run_into_each_other():
    after, fired = rewritten(resize((1, 8, 8, 3), (1, 16, 4, 3)))
    assert fired == 1
    assert ops(after).count("optimization_barrier") == 1 and "dot_general" not in ops(after)
    first = next(node for node in after.main.nodes if node.op.name == "gather")
    assert first.result.shape == (1, 8, 4, 3), "what shrinks goes first"


def test_the_last_axis_stays_a_product():
    before = resize((2, 4, 8, 8), (2, 4, 16, 16))
    after, fired = rewritten(before)
    assert fired == 1
    assert ops(after)[:2] == ["constant", "dot_general"] and "transpose" not in ops(after)
    assert_same_results(before, after)


H = symbol("H")
MISSES = [
    (resize((4, 3), (8, 3), "nearest"), "need no weights"),
    (resize((H, 3), (2 * H, 3)), "known only with the sizes"),
    (resize((0, 4, 3), (0, 8, 3)), "no elements"),
    (resize((3, 4), (3, 8)), "as fast"),
    (resize((16, 4), (32, 4), "lanczos5"), "as fast"),
]


@pytest.mark.parametrize(("module", "reason"), MISSES, ids=[reason for _, reason in MISSES])
def test_where_it_does_not_apply(module, reason):
    assert rewritten(module)[1] == 0
    (miss,) = explain(module, "resize_by_sums")
    assert reason in miss.reason


@pytest.mark.parametrize("method", ["nearest", *METHODS])
def test_symbolic_sizes_are_rewritten_where_they_are_known(method):
    module = resize((2, H, 5, 3), (2, 2 * H, 8, 3), method)
    for size in (4, 9):
        known = specialize(module, {"H": size})
        after, records = run_pipeline(known, "target_cpu", verify=True)
        x = np.random.default_rng(0).uniform(-2, 2, (2, size, 5, 3)).astype(np.float32)
        (want,), _ = evaluate(module, x, dims={"H": size})
        np.testing.assert_allclose(result(after, x), want, rtol=0, atol=ULPS * 2**-22)
        fired = [f.rule for f in records[0].fired]
        assert fired == ([] if method == "nearest" else ["resize_by_sums"])
        assert not any(node.op.is_composite for node in after.main.nodes)


def test_a_resize_between_convolutions_follows_their_layout():
    text = """\
module @net

func @main(%x: f32[2,3,8,8]) -> (f32[2,4,16,16]) {
  param %a: f32[1,1,3,4]
  %0 = convolution(%x, %a) {strides=[1,1], padding=[[0,0],[0,0]], lhs_dilation=[1,1], rhs_dilation=[1,1], \
lhs_spec=[0,1,2,3], rhs_spec=[3,2,0,1], out_spec=[0,1,2,3]} : f32[2,4,8,8]
  %1 = resize(%0) {shape=[2,4,16,16], method="bilinear"} : f32[2,4,16,16]
  return %1
}
"""
    after, _ = run_pipeline(parse(text), "layout{data=nhwc}", verify=True)
    (node,) = (n for n in after.main.nodes if n.op.name == "resize")
    assert node.attributes["shape"] == (2, 16, 16, 4)
    parameters = {"a": np.random.default_rng(1).uniform(-1, 1, (1, 1, 3, 4)).astype(np.float32)}
    x = np.random.default_rng(0).uniform(-2, 2, (2, 3, 8, 8)).astype(element_type("f32"))
    (want,), _ = evaluate(parse(text), x, parameters=parameters)
    (got,), _ = evaluate(after, x, parameters=parameters)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


# Derivatives: products with matrices of known numbers.


def resize_gradient(*arguments):
    """The cotangent of what is resized, from that of the result."""
    back = vjp(resize(*arguments).main, (True,), (True,))
    cotangent = back.outputs[-1]
    back.outputs, back.output_names = [cotangent], [""]
    module, _ = run_pipeline(Module({"main": back}), "simplify", verify=True)
    return module


def gradients_of(module, x, cotangent):
    arrays = [a.astype(v.dtype) for a, v in zip((x, cotangent), module.main.inputs, strict=True)]
    return evaluate(module, *arrays)[0][0]


def summed(module):
    after, (record,) = run_pipeline(module, "cpu", verify=True)
    return after, [fired.rule for fired in record.fired]


@pytest.mark.parametrize("element", ["f32", "f64", "f16", "bf16"])
@pytest.mark.parametrize(
    ("old", "new", "method"),
    [
        ((2, 8, 6, 3), (2, 16, 12, 3), "bilinear"),
        ((2, 8, 6, 3), (2, 8, 15, 3), "bilinear"),
        ((2, 32, 30, 3), (2, 64, 9, 3), "bicubic"),
        ((48, 3), (96, 3), "lanczos3"),
    ],
)
def test_gradients_are_sums(old, new, method, element):
    before = resize_gradient(old, new, method, False, element)
    after, fired = summed(before)
    assert set(fired) == {"known_band_as_sums"}
    assert "dot_general" not in ops(after)
    draw = np.random.default_rng(0)
    x, cotangent = draw.uniform(-2, 2, old), draw.uniform(-2, 2, new)
    want, got = gradients_of(before, x, cotangent), gradients_of(after, x, cotangent)
    assert got.dtype == want.dtype and got.shape == want.shape
    # Each element takes part in several new ones; their weights together are at most twice the axes' ratio.
    bound = ULPS * float(ml_dtypes.finfo(want.dtype).eps) * 2 * 8
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=0, atol=bound)


def test_a_sum_is_taken_where_the_array_lies():
    """Two axes take two products, each of which turns the array; of the sums none does."""
    before = resize_gradient((2, 8, 6, 3), (2, 16, 12, 3))
    after = run_pipeline(before, "cpu,simplify")[0]
    assert ops(before).count("transpose") > 1 and "transpose" not in ops(after)


def product(matrix, x=(8, 3), dtype="f32", rows=0, first=False):
    graph = Graph()
    b = Builder(graph)
    value = graph.add_input(TensorType(dtype, x), "x")
    w = graph.add_input(TensorType(dtype, (8, 8)), "w") if matrix is None else b.constant(matrix, dtype)
    if first:
        graph.outputs = [b.dot_general(w, value, lhs_contract=(rows,), rhs_contract=(0,))]
    else:
        graph.outputs = [b.dot_general(value, w, lhs_contract=(0,), rhs_contract=(rows,))]
    return Module({"main": graph})


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("first", [False, True])
def test_a_constant_band_is_summed(rows, first):
    matrix = np.eye(8, k=1) + 3 * np.eye(8, k=-1)
    before = product(matrix, rows=rows, first=first)
    after, fired = summed(before)
    assert fired == ["known_band_as_sums"]
    assert_same_results(before, after)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (product(None), "follows from constants"),
        (product(np.ones((8, 8))), "takes much of the axis"),
        (product(np.zeros((8, 8))), "takes much of the axis"),
        (product(np.eye(8), dtype="i32"), "one type of floats"),
        (product(np.eye(8), x=(8, H)), "open"),
    ],
)
def test_where_a_product_stays(module, reason):
    assert any(reason in miss.reason for miss in explain(module, "known_band_as_sums"))
    assert not summed(module)[1]
