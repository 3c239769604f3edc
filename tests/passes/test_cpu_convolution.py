"""The CPU's rules for convolutions: what each one makes, and that it computes the same."""

import numpy as np
import pytest
from convolutions import assert_same_results, convolution, ops, rewritten
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ir import Module, TensorType, evaluate, parse
from lamina.passes import explain, run_pipeline
from lamina.passes.rules.cpu import convolution as rules

CAUSAL = """\
module @net

func @main(%x: f32[2,6,3], %w: f32[2,1,3]) -> (f32[2,6,3]) {
  %0 = convolution(%x, %w) {strides=[1], padding=[[2,0]], lhs_dilation=[1], rhs_dilation=[2], lhs_spec=[0,2,1], \
rhs_spec=[2,1,0], out_spec=[0,2,1], feature_groups=3} : f32[2,6,3] @conv
  return %0
}
"""

CAUSAL_SHIFTED = """\
module @net

func @main(%x: f32[2,6,3], %w: f32[2,1,3]) -> (f32[2,6,3]) {
  %0 = constant {value=f32[] 0.0} : f32[] @conv
  %1 = pad(%x, %0) {low=[0,2,0], high=[0,0,0], interior=[0,0,0]} : f32[2,8,3] @conv
  %2 = reshape(%w) {shape=[2,3]} : f32[2,3] @conv
  %3 = slice(%1) {start=[0,0,0], limit=[2,6,3], strides=[1,1,1]} : f32[2,6,3] @conv
  %4 = slice(%2) {start=[0,0], limit=[1,3], strides=[1,1]} : f32[1,3] @conv
  %5 = broadcast_in_dim(%4) {shape=[2,6,3], dims=[1,2]} : f32[2,6,3] @conv
  %6 = multiply(%3, %5) : f32[2,6,3] @conv
  %7 = slice(%1) {start=[0,2,0], limit=[2,8,3], strides=[1,1,1]} : f32[2,6,3] @conv
  %8 = slice(%2) {start=[1,0], limit=[2,3], strides=[1,1]} : f32[1,3] @conv
  %9 = broadcast_in_dim(%8) {shape=[2,6,3], dims=[1,2]} : f32[2,6,3] @conv
  %10 = multiply(%7, %9) : f32[2,6,3] @conv
  %11 = add(%6, %10) : f32[2,6,3] @conv
  return %11
}
"""


def test_a_depthwise_convolution_becomes_shifted_products():
    before = parse(CAUSAL)
    after, fired = rewritten(before)
    assert fired == ["narrow_groups_as_shifts"]
    assert str(after) == CAUSAL_SHIFTED
    assert_same_results(before, after)


@st.composite
def convolutions(draw, channels: tuple[int, int], groups: tuple[int, int], dtypes: tuple[str, ...] = ("f32",)):
    """Convolutions of any specification with few elements."""
    spatial = draw(st.integers(0, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(spatial))

    count, inner, filters = draw(st.integers(*groups)), draw(st.integers(*channels)), draw(st.integers(1, 3))
    specs = {f"{side}_spec": tuple(draw(st.permutations(range(spatial + 2)))) for side in ("lhs", "rhs", "out")}
    kernel, sizes = each(1, 3), each(1, 6)
    steps = {name: each(1, 2) for name in ("strides", "lhs_dilation", "rhs_dilation")}
    padding = tuple((draw(st.integers(-1, 3)), draw(st.integers(-1, 3))) for _ in range(spatial))
    if any(d * (n - 1) + 1 + sum(p) < 0 for n, d, p in zip(sizes, steps["lhs_dilation"], padding)):
        padding = ((0, 0),) * spatial
    return convolution(
        (draw(st.integers(1, 2)), count * inner, *sizes),
        (count * filters, inner, *kernel),
        draw(st.sampled_from(dtypes)),
        padding=padding,
        feature_groups=count,
        reversal=draw(st.sampled_from([None, tuple(i % 2 == 0 for i in range(spatial))])),
        **steps,
        **specs,
    )


def assert_equal_after(module: Module, expected: str) -> None:
    after, fired = rewritten(module)
    if module.main.outputs[0].type.size == 0:
        assert fired == []
    else:
        assert fired == [expected]
    assert_same_results(module, after)


@settings(max_examples=60)
@given(convolutions(channels=(1, 1), groups=(2, 4), dtypes=("f32", "f64", "bf16", "f16", "i8", "u8", "i64", "c64")))
def test_depthwise_convolutions_of_any_form(module):
    assert_equal_after(module, "narrow_groups_as_shifts")


@settings(max_examples=30)
@given(convolutions(channels=(2, 4), groups=(2, 3)))
def test_narrow_groups_of_any_form(module):
    assert_equal_after(module, "narrow_groups_as_shifts")


@settings(max_examples=30)
@given(convolutions(channels=(17, 18), groups=(2, 3), dtypes=("f32", "bf16", "i32")))
def test_wide_groups_of_any_form(module):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "LEAST_WORK", 0)
        after, fired = rewritten(module)
    taps = [module.main.inputs[1].shape[i] for i in module.main.nodes[0].attributes["rhs_spec"][2:]]
    assert ("wide_groups_apart" in fired) == (module.main.outputs[0].type.size != 0 and max(taps, default=1) > 1)
    assert_same_results(module, after)


def test_wide_groups_become_a_convolution_each():
    module = convolution((2, 40, 14, 14), (60, 20, 3, 3), feature_groups=2)
    after, fired = rewritten(module)
    assert fired == ["wide_groups_apart"]
    assert ops(after) == ["slice", "slice", "convolution", "slice", "slice", "convolution", "concatenate"]
    assert [n.attributes["feature_groups"] for n in after.main.nodes if n.op.name == "convolution"] == [1, 1]


@settings(max_examples=40)
@given(st.data())
def test_kernels_of_one_become_a_product(data):
    spatial = data.draw(st.integers(0, 3))
    sizes = tuple(data.draw(st.integers(1, 5)) for _ in range(spatial))
    module = convolution(
        (2, 3, *sizes),
        (4, 3, *[1] * spatial),
        data.draw(st.sampled_from(["f32", "bf16", "i8"])),
        **{f"{side}_spec": tuple(data.draw(st.permutations(range(spatial + 2)))) for side in ("lhs", "rhs", "out")},
    )
    after, fired = rewritten(module)
    assert fired == ["pointwise_as_product"]
    assert "convolution" not in ops(after)
    assert_same_results(module, after)


@settings(max_examples=30)
@given(st.data())
def test_windows_that_do_not_overlap_become_a_product(data):
    spatial = data.draw(st.integers(1, 3))
    kernel = tuple(data.draw(st.integers(1, 3)) for _ in range(spatial))
    sizes = tuple(data.draw(st.integers(1, 4)) for _ in range(spatial))
    module = convolution(
        (2, 20, *sizes),
        (3, 20, *kernel),
        data.draw(st.sampled_from(["f32", "bf16", "i32"])),
        lhs_dilation=kernel,
        padding=tuple((k - 1, k - 1) for k in kernel),
        reversal=data.draw(st.sampled_from([None, tuple(i % 2 == 0 for i in range(spatial))])),
        **{f"{side}_spec": tuple(data.draw(st.permutations(range(spatial + 2)))) for side in ("lhs", "rhs", "out")},
    )
    after, fired = rewritten(module)
    assert fired == ["apart_windows_as_product" if max(kernel) > 1 else "pointwise_as_product"]
    assert_same_results(module, after)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_narrow_floats_are_summed_in_float32(dtype):
    # 2048 + 1 is not a float16, and 256 + 1 no bfloat16: a sum in the narrow type would lose every 1.
    module = convolution((1, 2, 9), (2, 1, 9), dtype, feature_groups=2)
    after, _ = rewritten(module)
    x = np.ones((1, 9, 2), TensorType(dtype).dtype)
    x[0, 0] = {"f16": 2048, "bf16": 256}[dtype]
    (got,), _ = evaluate(after, x, np.ones((9, 1, 2), x.dtype))
    (want,), _ = evaluate(module, x, np.ones((9, 1, 2), x.dtype))
    np.testing.assert_array_equal(got, want)
    assert float(got[0, 0, 0]) == {"f16": 2056, "bf16": 264}[dtype]


def test_integers_wrap_as_before():
    module = convolution((1, 2, 3), (2, 1, 3), "i8", feature_groups=2)
    after, _ = rewritten(module)
    x, w = np.full((1, 3, 2), 100, np.int8), np.full((3, 1, 2), -101, np.int8)
    (got,), _ = evaluate(after, x, w)
    assert got.tolist() == [[[(3 * 100 * -101 + 128) % 256 - 128] * 2]]


def test_infinities_and_padding_make_the_same_nans():
    """A padding of zeros is multiplied: 0 * inf is NaN at the edges, where the kernel is infinite."""
    module = convolution((1, 2, 4), (2, 1, 3), feature_groups=2, padding=((1, 1),))
    after, _ = rewritten(module)
    x = np.array([[[1, np.nan], [np.inf, 2], [3, -np.inf], [4, 5]]], np.float32)
    w = np.array([[[np.inf, 1]], [[1, 2]], [[1, 0]]], np.float32)
    for before, now in zip(evaluate(module, x, w)[0], evaluate(after, x, w)[0]):
        assert np.isnan(before).any() and np.isinf(before).any()
        np.testing.assert_array_equal(now, before)


def test_result_type_of_the_convolution_is_kept():
    module = convolution((1, 2, 4), (2, 1, 3), "bf16", feature_groups=2, dtype=np.float32)
    after, fired = rewritten(module)
    assert fired == ["narrow_groups_as_shifts"]
    assert_same_results(module, after)


@pytest.mark.parametrize(
    ("rule", "module", "reason"),
    [
        ("narrow_groups_as_shifts", convolution((1, 2, 200), (2, 1, 122), feature_groups=2), "more than 121 terms"),
        ("narrow_groups_as_shifts", convolution((1, 34, 4), (2, 17, 2), feature_groups=2), "more than 16 input"),
        ("narrow_groups_as_shifts", convolution((2, 2, 4), (2, 2, 2), batch_groups=2), "batch groups"),
        ("narrow_groups_as_shifts", convolution((0, 2, 4), (2, 1, 2), feature_groups=2), "nothing to sum"),
        ("wide_groups_apart", convolution((1, 40, 9), (4, 20, 3), feature_groups=2), "less than 262144 products"),
        ("wide_groups_apart", convolution((1, 130, 2), (65, 2, 2), feature_groups=65), "more than 64"),
        ("wide_groups_apart", convolution((1, 40, 2), (4, 20, 1), feature_groups=2), "a kernel of 1"),
        ("pointwise_as_product", convolution((1, 2, 4), (4, 2, 2)), "larger than 1"),
        ("pointwise_as_product", convolution((1, 2, 4), (4, 2, 1), strides=(2,)), "strides"),
        ("pointwise_as_product", convolution((1, 2, 4), (4, 2, 1), padding=((1, 0),)), "padded"),
        ("apart_windows_as_product", convolution((1, 20, 4), (4, 20, 3), lhs_dilation=(2,)), "overlap"),
    ],
)
def test_refusals_say_why(rule, module, reason):
    assert any(reason in miss.reason for miss in explain(module, rule))


def test_open_sizes_are_left_alone():
    text = CAUSAL.replace("f32[2,6,3]", "f32[N,6,3]")
    _, fired = rewritten(parse(text))
    assert fired == []
    assert "open" in explain(parse(text), "narrow_groups_as_shifts")[0].reason


@pytest.mark.parametrize(
    ("rule", "module"),
    [
        ("narrow_groups_as_shifts", convolution((1, 2, 4), (2, 1, 2), feature_groups=2)),
        ("wide_groups_apart", convolution((2, 40, 14, 14), (60, 20, 3, 3), feature_groups=2)),
        ("pointwise_as_product", convolution((1, 2, 4), (3, 2, 1))),
        ("apart_windows_as_product", convolution((1, 2, 4), (3, 2, 2), lhs_dilation=(2,), padding=((1, 1),))),
    ],
)
def test_rules_can_be_switched_off(rule, module):
    assert rewritten(module)[1] == [rule]
    after, _ = run_pipeline(module, f"cpu,-{rule}", verify=True)
    assert ops(after) == ["convolution"]
