"""The pass layout: a channels-first network runs channels last, transposes stay at its edges, results are equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_running import assert_same_results, optimized

from lamina.ir import Builder, Graph, Module, TensorType, binary_region, parse, verify
from lamina.passes import run_pipeline

# Sums in another order: a few eps of the largest result.
ULPS = 32

ATTRIBUTES = "strides=[1,1], padding=[[1,1],[1,1]], lhs_dilation=[1,1], rhs_dilation=[1,1]"
FIRST = f"{{{ATTRIBUTES}, lhs_spec=[0,1,2,3], rhs_spec=[3,2,0,1], out_spec=[0,1,2,3]}}"
LAST = f"{{{ATTRIBUTES}, lhs_spec=[0,3,1,2], rhs_spec=[3,2,0,1], out_spec=[0,3,1,2]}}"

CNN = f"""\
module @cnn

func @main(%x: f32[N,3,8,8]) -> (f32[N,5]) {{
  param %a/kernel: f32[3,3,3,4]
  param %a/bias: f32[4]
  param %bn/mean: f32[4]
  param %bn/variance: f32[4]
  param %b/kernel: f32[3,3,4,6]
  param %dense/kernel: f32[6,5]
  %0 = convolution(%x, %a/kernel) {FIRST} : f32[N,4,8,8] @a
  %1 = broadcast_in_dim(%a/bias) {{shape=[N,4,8,8], dims=[1]}} : f32[N,4,8,8] @a
  %2 = add(%0, %1) : f32[N,4,8,8] @a
  %3 = relu(%2) : f32[N,4,8,8] @a
  %4 = batch_norm(%3, %bn/mean, %bn/variance) {{axis=1, scale=false, center=false}} : f32[N,4,8,8] @bn
  %5 = max_pool(%4) {{window=[1,1,2,2], strides=[1,1,2,2], padding=[[0,0],[0,0],[0,0],[0,0]]}} : f32[N,4,4,4] @pool
  %6 = convolution(%5, %b/kernel) {FIRST} : f32[N,6,4,4] @b
  %7 = relu(%6) : f32[N,6,4,4] @b
  %8 = reduce_mean(%7) {{axes=[2,3]}} : f32[N,6] @mean
  %9 = dot_general(%8, %dense/kernel) {{lhs_contract=[1], rhs_contract=[0]}} : f32[N,5] @dense
  return %9
}}
"""

CNN_LAST = f"""\
module @cnn

func @main(%x: f32[N,3,8,8]) -> (f32[N,5]) {{
  param %a/kernel: f32[3,3,3,4]
  param %a/bias: f32[4]
  param %bn/mean: f32[4]
  param %bn/variance: f32[4]
  param %b/kernel: f32[3,3,4,6]
  param %dense/kernel: f32[6,5]
  %0 = transpose(%x) {{permutation=[0,2,3,1]}} : f32[N,8,8,3] @a
  %1 = convolution(%0, %a/kernel) {LAST} : f32[N,8,8,4] @a
  %2 = broadcast_in_dim(%a/bias) {{shape=[N,8,8,4], dims=[3]}} : f32[N,8,8,4] @a
  %3 = add(%1, %2) : f32[N,8,8,4] @a
  %4 = relu(%3) : f32[N,8,8,4] @a
  %5 = batch_norm(%4, %bn/mean, %bn/variance) {{axis=3, scale=false, center=false}} : f32[N,8,8,4] @bn
  %6 = max_pool(%5) {{window=[1,2,2,1], strides=[1,2,2,1], padding=[[0,0],[0,0],[0,0],[0,0]]}} : f32[N,4,4,4] @pool
  %7 = convolution(%6, %b/kernel) {LAST} : f32[N,4,4,6] @b
  %8 = relu(%7) : f32[N,4,4,6] @b
  %9 = reduce_mean(%8) {{axes=[1,2]}} : f32[N,6] @mean
  %10 = dot_general(%9, %dense/kernel) {{lhs_contract=[1], rhs_contract=[0]}} : f32[N,5] @dense
  return %10
}}
"""


def transposes(module):
    return [n for n in module.main.nodes if n.op.name == "transpose"]


def test_a_channels_first_network_has_one_transpose_at_its_input():
    before, after, (record,) = optimized(CNN, "layout")
    assert str(after) == CNN_LAST
    assert [(f.rule, f.layers) for f in record.fired] == [("convolution_layout", (("a", 1), ("b", 1)))]
    assert_same_results(before, after, {"N": 2}, ULPS)


def test_a_channels_last_network_stays():
    _, after, _ = optimized(CNN, "layout")
    again, (record,) = run_pipeline(after, "layout", verify=True)
    assert not record.changed and str(again) == str(after)


def test_nchw_brings_a_channels_last_network_to_channels_first():
    before = parse(CNN)
    last, _ = run_pipeline(before, "layout", verify=True)
    first, (record,) = run_pipeline(last, "layout{data=nchw}", verify=True)
    assert record.changed and not transposes(first), "the program's own transpose of the input cancels"
    assert str(first) == str(run_pipeline(before, "simplify", verify=True)[0])


@pytest.mark.parametrize(
    ("target", "pipeline", "changed"),
    [
        ("cpu", "layout", True),
        ("gpu", "layout", False),
        ("torch", "layout", False),
        ("gpu", "layout{data=nhwc}", True),
        ("cpu", "layout{data=keep}", False),
        ("cpu", "layout{data=nchw}", False),
    ],
)
def test_the_target_chooses_unless_the_option_does(target, pipeline, changed):
    before, after, (record,) = optimized(CNN, pipeline, target)
    assert record.changed == changed and (str(before) == str(after)) != changed


def test_the_result_of_the_last_convolution_is_turned_back_once():
    text = f"""\
func @main(%x: f32[2,3,4,5]) -> (f32[2,4,4,5], f32[2,4,4,5]) {{
  param %w: f32[3,3,3,4]
  %0 = convolution(%x, %w) {FIRST} : f32[2,4,4,5] @conv
  %1 = relu(%0) : f32[2,4,4,5] @relu
  return %1, %1
}}
"""
    before, after, _ = optimized(text, "layout")
    assert [n.op.name for n in after.main.nodes] == ["transpose", "convolution", "relu", "transpose"]
    assert [n.location.layers for n in transposes(after)] == [("conv",), ("relu",)]
    assert_same_results(before, after, None, ULPS)


def test_the_programs_own_transposes_cancel():
    """Data that comes and goes channels last, turned around a channels-first convolution: nothing is left to turn."""
    text = f"""\
func @main(%x: f32[2,4,5,3]) -> (f32[2,4,5,4]) {{
  param %w: f32[3,3,3,4]
  %0 = transpose(%x) {{permutation=[0,3,1,2]}} : f32[2,3,4,5]
  %1 = convolution(%0, %w) {FIRST} : f32[2,4,4,5]
  %2 = transpose(%1) {{permutation=[0,2,3,1]}} : f32[2,4,5,4]
  return %2
}}
"""
    before, after, _ = optimized(text, "layout")
    assert [n.op.name for n in after.main.nodes] == ["convolution"]
    assert_same_results(before, after, None, ULPS)


def test_another_transpose_of_a_turned_value_is_one_transpose():
    text = f"""\
func @main(%x: f32[2,3,4,5]) -> (f32[5,4,4,2]) {{
  param %w: f32[3,3,3,4]
  %0 = convolution(%x, %w) {FIRST} : f32[2,4,4,5]
  %1 = transpose(%0) {{permutation=[3,2,1,0]}} : f32[5,4,4,2]
  return %1
}}
"""
    before, after, _ = optimized(text, "layout")
    assert [n.op.name for n in after.main.nodes] == ["transpose", "convolution", "transpose"]
    assert_same_results(before, after, None, ULPS)


def test_squeeze_and_excite_with_kept_dimensions_turns_nothing_but_the_input():
    text = f"""\
func @main(%x: f32[N,3,4,5]) -> (f32[N,4]) {{
  param %w: f32[3,3,3,4]
  param %dense: f32[4,4]
  %0 = convolution(%x, %w) {FIRST} : f32[N,4,4,5]
  %1 = reduce_mean(%0) {{axes=[2,3], keepdims=true}} : f32[N,4,1,1]
  %2 = reshape(%1) {{shape=[N,4]}} : f32[N,4]
  %3 = dot_general(%2, %dense) {{lhs_contract=[1], rhs_contract=[0]}} : f32[N,4]
  %4 = logistic(%1) : f32[N,4,1,1]
  %5 = broadcast_in_dim(%4) {{shape=[N,4,4,5], dims=[0,1,2,3]}} : f32[N,4,4,5]
  %6 = broadcast_in_dim(%3) {{shape=[N,4,4,5], dims=[0,1]}} : f32[N,4,4,5]
  %7 = multiply(%0, %5) : f32[N,4,4,5]
  %8 = multiply(%7, %6) : f32[N,4,4,5]
  %9 = reduce_max(%8) {{axes=[-1,-2]}} : f32[N,4]
  return %9
}}
"""
    before, after, _ = optimized(text, "layout")
    assert len(transposes(after)) == 1
    assert_same_results(before, after, {"N": 2}, ULPS)


def test_residual_connections_join_turned_values():
    """A value that is there plain is turned once, also where the convolution needs it, too."""
    text = f"""\
func @main(%x: f32[2,4,4,5]) -> (f32[2,4,4]) {{
  param %w: f32[3,3,4,4]
  %0 = convolution(%x, %w) {FIRST} : f32[2,4,4,5]
  %1 = add(%0, %x) : f32[2,4,4,5]
  %2 = convolution(%1, %w) {FIRST} : f32[2,4,4,5]
  %3 = add(%2, %1) : f32[2,4,4,5]
  %4 = concatenate(%3, %1) {{axis=1}} : f32[2,8,4,5]
  %5 = reduce_sum(%4) {{axes=[1]}} : f32[2,4,5]
  %6 = slice(%5) {{start=[0,0,1], limit=[2,4,5], strides=[1,1,1]}} : f32[2,4,4]
  return %6
}}
"""
    before, after, _ = optimized(text, "layout")
    assert len(transposes(after)) == 1
    assert_same_results(before, after, None, ULPS)


def test_flatten_sees_the_elements_in_their_order():
    text = f"""\
func @main(%x: f32[2,3,4,5]) -> (f32[2,80]) {{
  param %w: f32[3,3,3,4]
  %0 = convolution(%x, %w) {FIRST} : f32[2,4,4,5]
  %1 = reshape(%0) {{shape=[2,80]}} : f32[2,80]
  return %1
}}
"""
    before, after, _ = optimized(text, "layout")
    assert [n.op.name for n in after.main.nodes] == ["transpose", "convolution", "transpose", "reshape"]
    assert_same_results(before, after, None, ULPS)


def test_dropout_keeps_its_mask():
    """The mask goes by logical position: dropout works on the value as it was."""
    text = f"""\
func @main(%x: f32[2,3,4,5], %seed: ui32[2]) -> (f32[2,4,4,5]) {{
  param %w: f32[3,3,3,4]
  %0 = convolution(%x, %w) {FIRST} : f32[2,4,4,5]
  %1 = dropout(%0, %seed) {{rate=0.5}} : f32[2,4,4,5]
  return %1
}}
"""
    before, after, _ = optimized(text, "layout")
    assert_same_results(before, after, None, ULPS)


def test_the_kernels_gradient_reads_turned_operands():
    """A convolution of other specs names the dimensions of turned operands anew, and none is turned back."""
    text = f"""\
func @main(%x: f32[2,3,4,5]) -> (f32[3,3,3,4]) {{
  param %w: f32[3,3,3,4]
  %0 = convolution(%x, %w) {FIRST} : f32[2,4,4,5]
  %1 = relu(%x) : f32[2,3,4,5]
  %2 = convolution(%1, %0) {{{ATTRIBUTES}, lhs_spec=[1,0,2,3], rhs_spec=[1,0,2,3], out_spec=[2,3,0,1]}} : f32[3,3,3,4]
  return %2
}}
"""
    before, after, _ = optimized(text, "layout")
    gradient = after.main.nodes[-1]
    assert len(transposes(after)) == 1 and gradient.attributes["rhs_spec"] == (3, 0, 1, 2)
    assert_same_results(before, after, None, ULPS)


def test_one_dimensional_convolutions_turn_too():
    text = """\
func @main(%x: f32[2,3,9]) -> (f32[2,4]) {
  param %w: f32[3,3,4]
  %0 = convolution(%x, %w) {strides=[2], padding=[[1,0]], lhs_dilation=[1], rhs_dilation=[1], lhs_spec=[0,1,2], \
rhs_spec=[2,1,0], out_spec=[0,1,2]} : f32[2,4,4]
  %1 = reduce_mean(%0) {axes=[2]} : f32[2,4]
  return %1
}
"""
    before, after, _ = optimized(text, "layout")
    assert [n.op.name for n in after.main.nodes] == ["transpose", "convolution", "reduce_mean"]
    assert_same_results(before, after, None, ULPS)


def _follow(draw, b, x):
    """One step that keeps rank 4 and every size at least 1."""
    n, c, h, w = x.shape
    kind = draw(st.sampled_from(STEPS))
    if kind in ("relu", "logistic", "stop_gradient"):
        return b.emit(kind, [x])[0]
    if kind == "complex":
        return b.abs(b.complex(x, x))
    if kind in ("max_pool", "avg_pool"):
        window = (1, draw(st.integers(1, c)), draw(st.integers(1, h)), draw(st.integers(1, w)))
        return b.emit(
            kind,
            [x],
            {
                "window": window,
                "strides": (1, 1, draw(st.integers(1, 2)), 1),
                "padding": ((0, 0), (0, 0), (0, 1), (1, 0)),
            },
        )[0]
    if kind == "reduce_window":
        return b.reduce_window(
            x,
            b.constant(0, "f64"),
            window=(1, 1, 1, w),
            strides=(1, 1, 1, 1),
            base_dilation=(1, 1, 1, 1),
            window_dilation=(1, 1, 1, 1),
            padding=((0, 0), (0, 0), (0, 0), (w - 1, 0)),
            regions=[binary_region("add", "f64")],
        )
    if kind in ("cumsum", "softmax"):
        return b.emit(kind, [x], {"axis": draw(st.integers(-4, 3))})[0]
    if kind == "layer_norm":
        axes = draw(st.sampled_from([(1,), (-1,), (1, 2, 3)]))
        gamma = b.full([x.shape[a] for a in axes], 2, "f64")
        return b.layer_norm(x, gamma, axes=axes, center=False)
    if kind == "pad":
        return b.pad(x, b.constant(3, "f64"), low=(0, 1, 0, 0), high=(0, 0, 2, 0), interior=(0, 0, 0, 1))
    if kind == "slice":
        return b.slice(x, start=(0, c - 1, 0, 0), limit=(n, c, h, w), strides=(1, 1, 2, 1))
    if kind == "reverse":
        return b.reverse(x, axes=draw(st.sampled_from([(1,), (1, 3), (2,)])))
    if kind == "bias":
        vector = b.constant(np.arange(c, dtype=np.float64))
        return b.add(x, b.broadcast_in_dim(vector, shape=x.shape, dims=(1,)))
    if kind == "plane":  # a constant, and one of another order of axes
        plane = b.iota(dtype="f64", shape=(h, c), axis=draw(st.integers(0, 1)))
        return b.multiply(
            b.broadcast_in_dim(plane, shape=x.shape, dims=(2, 1)), b.constant(np.full(x.shape, 0.5, np.float64))
        )
    if kind == "iota":
        return b.add(x, b.iota(dtype="f64", shape=x.shape, axis=draw(st.integers(0, 3))))
    if kind == "clamp":
        return b.clamp(b.constant(-1, "f64"), x, b.constant(1, "f64"))
    if kind == "select":
        return b.select(b.compare(x, b.full_like(x, 0), direction="GT"), x, b.negate(x))
    if kind == "reduce":
        axis = draw(st.integers(0, 3))
        total = b.emit(draw(st.sampled_from(["reduce_max", "reduce_sum"])), [x], {"axes": (axis,)})[0]
        return b.subtract(x, b.expand(total, x.shape, (axis,)))
    if kind == "keepdims":
        total = b.reduce_mean(x, axes=draw(st.sampled_from([(2, 3), (1,), (0, -1)])), keepdims=True)
        return b.subtract(x, b.broadcast_to(total, x.shape))
    if kind == "transpose":
        return b.transpose(x, permutation=draw(st.sampled_from([(0, 2, 3, 1), (0, 3, 1, 2), (3, 2, 1, 0)])))
    if kind == "reshape":
        return b.reshape(b.reshape(x, shape=(n * c, h, w)), shape=(n, h, c, w))
    return _convolution(draw, b, x)


STEPS = (
    "relu",
    "logistic",
    "stop_gradient",
    "complex",
    "max_pool",
    "avg_pool",
    "reduce_window",
    "cumsum",
    "softmax",
    "layer_norm",
    "pad",
    "slice",
    "reverse",
    "bias",
    "plane",
    "iota",
    "clamp",
    "select",
    "reduce",
    "keepdims",
    "transpose",
    "reshape",
    "conv",
    "conv",
    "conv",
)


def _convolution(draw, b, x):
    spec = draw(st.sampled_from([(0, 1, 2, 3), (0, 1, 2, 3), (0, 3, 1, 2), (1, 0, 3, 2)]))
    channels = x.shape[spec[1]]
    groups = draw(st.sampled_from([1, channels]))
    kernel = b.graph.add_parameter(f"w{len(b.nodes)}", TensorType("f64", (2, 1, channels // groups, groups))).value
    return b.convolution(
        x,
        kernel,
        strides=(1, 1),
        padding=((1, 0), (0, 0)),
        lhs_dilation=(1, 1),
        rhs_dilation=(1, 1),
        lhs_spec=spec,
        rhs_spec=(3, 2, 0, 1),
        out_spec=spec,
        feature_groups=groups,
    )


@st.composite
def networks(draw):
    graph = Graph()
    b = Builder(graph)
    values = [graph.add_input(TensorType("f64", (2, 3, 4, 3)), "x")]
    for _ in range(draw(st.integers(1, 7))):
        x = draw(st.sampled_from(values[-2:]))
        y = _follow(draw, b, x)
        others = [v for v in values if v.shape == y.shape]
        if others and draw(st.booleans()):
            y = b.maximum(y, draw(st.sampled_from(others)))
        values.append(y)
    graph.outputs = [values[-1], draw(st.sampled_from(values))]
    module = Module({"main": graph})
    verify(module)
    return module


@given(networks(), st.sampled_from(["nhwc", "nchw"]))
@settings(max_examples=150)
def test_any_network_keeps_its_results(before, data):
    after, (record,) = run_pipeline(before, f"layout{{data={data}}}", verify=True)
    other = (0, 1, 2, 3) if data == "nhwc" else (0, 3, 1, 2)
    convolutions = [n for n in after.main.nodes if n.op.name == "convolution"]
    assert not any(n.attributes["lhs_spec"] == n.attributes["out_spec"] == other for n in convolutions)
    assert record.changed or str(after) == str(before)
    # Where axes are is what is tested, not rounding: float64, and a bound that no wrong axis meets.
    assert_same_results(before, after, None, 2**24, least=1)
