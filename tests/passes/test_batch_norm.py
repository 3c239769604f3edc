"""The rule fold_batch_norm: inference batch norm goes into the kernel and bias before it, or stays and says why."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_running import arrays_of, assert_same_results, optimized, run

from lamina.ir import Builder, Graph, Module, TensorType, Update, parse, verify
from lamina.passes import explain, run_pipeline

# One more rounding of each kernel element and another order of the same sums: a few eps of the largest result.
ULPS = 32

CONV = """\
module @net

func @main(%x: f32[N,5,5,3]) -> (f32[N,5,5,4]) {
  param %conv/kernel: f32[3,3,3,4]
  param %conv/bias: f32[4]
  param %bn/mean: f32[4]
  param %bn/variance: f32[4]
  param %bn/gamma: f32[4]
  param %bn/beta: f32[4]
  %0 = convolution(%x, %conv/kernel) {strides=[1,1], padding=[[1,1],[1,1]], lhs_dilation=[1,1], rhs_dilation=[1,1], \
lhs_spec=[0,3,1,2], rhs_spec=[3,2,0,1], out_spec=[0,3,1,2]} : f32[N,5,5,4] @conv
  %1 = broadcast_in_dim(%conv/bias) {shape=[N,5,5,4], dims=[3]} : f32[N,5,5,4] @conv
  %2 = add(%0, %1) : f32[N,5,5,4] @conv
  %3 = batch_norm(%2, %bn/mean, %bn/variance, %bn/gamma, %bn/beta) : f32[N,5,5,4] @bn
  return %3
}
"""

CONV_FOLDED = """\
module @net

func @main(%x: f32[N,5,5,3]) -> (f32[N,5,5,4]) {
  param %conv/kernel: f32[3,3,3,4]
  param %conv/bias: f32[4]
  param %bn/mean: f32[4]
  param %bn/variance: f32[4]
  param %bn/gamma: f32[4]
  param %bn/beta: f32[4]
  %0 = constant {value=f32[] 0.001} : f32[] @bn @conv
  %1 = broadcast_in_dim(%0) {shape=[4], dims=[]} : f32[4] @bn @conv
  %2 = add(%bn/variance, %1) : f32[4] @bn @conv
  %3 = rsqrt(%2) : f32[4] @bn @conv
  %4 = multiply(%bn/gamma, %3) : f32[4] @bn @conv
  %5 = subtract(%conv/bias, %bn/mean) : f32[4] @bn @conv
  %6 = multiply(%5, %4) : f32[4] @bn @conv
  %7 = add(%bn/beta, %6) : f32[4] @bn @conv
  %8 = broadcast_in_dim(%4) {shape=[3,3,3,4], dims=[3]} : f32[3,3,3,4] @bn @conv
  %9 = multiply(%conv/kernel, %8) : f32[3,3,3,4] @bn @conv
  %10 = convolution(%x, %9) {strides=[1,1], padding=[[1,1],[1,1]], lhs_dilation=[1,1], rhs_dilation=[1,1], \
lhs_spec=[0,3,1,2], rhs_spec=[3,2,0,1], out_spec=[0,3,1,2]} : f32[N,5,5,4] @bn @conv
  %11 = broadcast_in_dim(%7) {shape=[N,5,5,4], dims=[3]} : f32[N,5,5,4] @bn @conv
  %12 = add(%10, %11) : f32[N,5,5,4] @bn @conv
  return %12
}
"""


def test_convolution_bias_and_batch_norm_become_convolution_and_bias():
    before, after, (record,) = optimized(CONV, "fold")
    assert str(after) == CONV_FOLDED
    assert [(f.rule, f.layers) for f in record.fired] == [("fold_batch_norm", (("bn", 1),))]
    assert_same_results(before, after, {"N": 2}, ULPS)


def test_with_prepare_only_convolution_and_bias_run():
    before, after, _ = optimized(CONV, "fold,simplify,prepare")
    assert [n.op.name for n in after.main.nodes] == ["convolution", "broadcast_in_dim", "add"]
    assert [p.name for p in after.main.parameters] == ["prepared/bn/beta", "prepared/conv/kernel"]
    assert_same_results(before, after, {"N": 2}, ULPS)


def test_the_rule_can_be_switched_off():
    before, after, (record,) = optimized(CONV, "fold,-fold_batch_norm")
    assert str(before) == str(after) and not record.changed


WEIGHTS = ["mean", "variance", "gamma", "beta"]


def network(
    kind="conv", bias="vector", scale=True, center=True, dtype="f32", first=False, groups=1, multiplier=1, epsilon=1e-3
):
    """``batch_norm(linear(x, kernel) + bias)``: a convolution, its transpose, or a dense layer on 3 dimensions."""
    graph = Graph()
    channels, features = 4, 4 * multiplier
    size = (2, 5, 6)
    b = Builder(graph)

    def parameter(name, *shape):
        return graph.add_parameter(name, TensorType(dtype, shape)).value

    if kind == "dense":
        x = graph.add_input(TensorType(dtype, (*size, channels)), "x")
        y = b.dot_general(x, parameter("kernel", channels, features), lhs_contract=(3,), rhs_contract=(0,))
        axis = 3
    else:
        spec = (0, 1, 2, 3) if first else (0, 3, 1, 2)
        shape = (2, channels, 5, 6) if first else (2, 5, 6, channels)
        x = graph.add_input(TensorType(dtype, shape), "x")
        y = b.convolution(
            x,
            parameter("kernel", 3, 3, channels // groups, features),
            strides=(1, 1),
            padding=((1, 1), (2, 0)),
            lhs_dilation=(2, 2) if kind == "transpose" else (1, 1),
            rhs_dilation=(1, 1),
            lhs_spec=spec,
            rhs_spec=(3, 2, 0, 1),
            out_spec=spec,
            feature_groups=groups,
        )
        axis = spec[1]
    if bias == "vector":
        y = b.add(y, b.broadcast_in_dim(parameter("bias", features), shape=y.shape, dims=(axis,)))
    elif bias == "stretched":  # [1, C, 1, 1]
        thin = tuple(features if i == axis else 1 for i in range(4))
        y = b.add(b.broadcast_in_dim(parameter("bias", *thin), shape=y.shape, dims=(0, 1, 2, 3)), y)
    names = ["mean", "variance", *["gamma"] * scale, *["beta"] * center]
    weights = [parameter(name, features) for name in names]
    graph.outputs = [
        b.batch_norm(y, *weights, axis=axis - 4 if first else axis, epsilon=epsilon, scale=scale, center=center)
    ]
    module = Module({"main": graph})
    verify(module)
    return module


@given(
    kind=st.sampled_from(["conv", "transpose", "dense"]),
    bias=st.sampled_from(["none", "vector", "stretched"]),
    scale=st.booleans(),
    center=st.booleans(),
    dtype=st.sampled_from(["f32", "f64"]),
    first=st.booleans(),
    groups=st.sampled_from([1, 2, 4]),
    multiplier=st.sampled_from([1, 2]),
    epsilon=st.sampled_from([1e-3, 1e-5, 0.0]),
)
@settings(max_examples=60)
def test_every_linear_layer_folds_and_keeps_its_results(**options):
    if options["kind"] == "dense":
        options["groups"] = 1
    before = network(**options)
    after, records = run_pipeline(before, "fold,simplify,decompose,simplify,prepare", verify=True)
    assert [f.rule for f in records[0].fired] == ["fold_batch_norm"]
    ops = [n.op.name for n in after.main.nodes]
    assert "multiply" not in ops and "batch_norm" not in ops and "rsqrt" not in ops
    assert_same_results(before, after, None, ULPS)


def reasons(module):
    return [miss.reason for miss in explain(module, "fold_batch_norm")]


def test_two_users_of_the_convolution_keep_it():
    module = network(bias="none")
    module.main.outputs.append(module.main.nodes[0].result)
    _, (record,) = run_pipeline(module, "fold", verify=True)
    assert not record.changed and "single use" in reasons(module)[0]


@pytest.mark.parametrize("name", ["kernel", "bias", *WEIGHTS])
def test_what_training_updates_is_not_folded(name):
    module = network()
    parameter = next(p for p in module.main.parameters if p.name == name)
    module.main.updates.append(Update(parameter, parameter.value))
    _, (record,) = run_pipeline(module, "fold", verify=True)
    assert not record.changed and "stay the same" in reasons(module)[0]


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_narrow_floats_are_not_folded(dtype):
    module = network(dtype=dtype)
    _, (record,) = run_pipeline(module, "fold", verify=True)
    assert not record.changed and "accuracy" in reasons(module)[0]


def test_another_axis_than_the_features_is_not_folded():
    text = CONV.replace("%bn/gamma, %bn/beta)", "%bn/gamma, %bn/beta) {axis=1}")
    for name in ("mean", "variance", "gamma", "beta"):
        text = text.replace(f"param %bn/{name}: f32[4]", f"param %bn/{name}: f32[5]")
    _, _, (record,) = optimized(text, "fold")
    assert not record.changed
    lines = text.replace("batch_norm(%2", "batch_norm(%0").splitlines()
    without_bias = "\n".join(line for line in lines if not line.lstrip().startswith(("%1", "%2")))
    assert "not a dimension that the kernel gives" in reasons(parse(without_bias))[0]


def test_a_bias_for_each_place_is_not_folded():
    text = CONV.replace("param %conv/bias: f32[4]", "param %conv/bias: f32[5,4]").replace("dims=[3]", "dims=[2,3]")
    _, _, (record,) = optimized(text, "fold")
    assert not record.changed


def test_statistics_of_the_batch_are_not_folded():
    text = """\
func @main(%x: f32[6,3]) -> (f32[6,4]) {
  param %kernel: f32[3,4]
  %0 = dot_general(%x, %kernel) {lhs_contract=[1], rhs_contract=[0]} : f32[6,4]
  %1 = reduce_mean(%0) {axes=[0]} : f32[4]
  %2 = reduce_variance(%0) {axes=[0]} : f32[4]
  %3 = batch_norm(%0, %1, %2) {scale=false, center=false} : f32[6,4]
  return %3
}
"""
    before, after, (record,) = optimized(text, "fold")
    assert not record.changed and str(after) == str(before)


def test_large_means_lose_no_more_than_they_did_before():
    """Against float64: folding is as accurate as batch norm after the layer, also where the mean is large."""
    module = network("dense")
    inputs, parameters = arrays_of(module.main)
    parameters["mean"] = (parameters["mean"] * 100).astype(np.float32)
    wide = [x.astype(np.float64) for x in inputs], {k: v.astype(np.float64) for k, v in parameters.items()}
    exact = run(network("dense", dtype="f64"), *wide)[0][0]
    plain = run(module, inputs, parameters)[0][0]
    folded = run(run_pipeline(module, "fold,prepare", verify=True)[0], inputs, parameters)[0][0]
    bound = 8 * np.finfo(np.float32).eps * np.abs(exact).max()
    assert np.abs(plain - exact).max() < bound and np.abs(folded - exact).max() < bound
