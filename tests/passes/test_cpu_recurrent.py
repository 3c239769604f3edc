"""The CPU's rules for recurrent steps: what they make, that they compute the same, when they hold back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ir import Builder, Graph, Module, TensorType, evaluate, parse
from lamina.passes import explain, run_pipeline

STEP = """\
module @net

func @main(%x: f32[2,3], %h: f32[2,1], %c: f32[2,1], %w: f32[3,4], %u: f32[1,4]) -> (f32[2,1], f32[2,1]) {
  %0, %1 = lstm_step(%x, %h, %c, %w, %u) {bias=false} : f32[2,1], f32[2,1] @cell
  return %0, %1
}
"""

STEP_BY_ONE_TANH = """\
module @net

func @main(%x: f32[2,3], %h: f32[2,1], %c: f32[2,1], %w: f32[3,4], %u: f32[1,4]) -> (f32[2,1], f32[2,1]) {
  %0 = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[0]} : f32[2,4] @cell
  %1 = dot_general(%h, %u) {lhs_contract=[1], rhs_contract=[0]} : f32[2,4] @cell
  %2 = add(%0, %1) : f32[2,4] @cell
  %3 = constant {value=f32[4] [0.5,0.5,1.0,0.5]} : f32[4] @cell
  %4 = broadcast_in_dim(%3) {shape=[2,4], dims=[1]} : f32[2,4] @cell
  %5 = constant {value=f32[4] [0.5,0.5,0.0,0.5]} : f32[4] @cell
  %6 = broadcast_in_dim(%5) {shape=[2,4], dims=[1]} : f32[2,4] @cell
  %7 = multiply(%2, %4) : f32[2,4] @cell
  %8 = tanh(%7) : f32[2,4] @cell
  %9 = multiply(%8, %4) : f32[2,4] @cell
  %10 = add(%9, %6) : f32[2,4] @cell
"""


def scan(length=16, batch=1, features=16, reverse="true"):
    """A masked scan of a simple cell with 2 units, reading ``[length, batch, features]``."""
    state, steps = f"f32[{batch},2]", f"f32[{length},{batch},2]"
    return f"""\
module @net

func @main(%w: f32[{features},2], %u: f32[2,2], %h: {state}, %x: f32[{length},{batch},{features}], \
%m: i1[{length},{batch}]) -> ({state}, {steps}) {{
  %0, %1 = scan(%w, %u, %h, %x, %m) {{consts=2, carries=1, length={length}, reverse={reverse}}} : {state}, {steps} @rnn
    region body(%a: f32[{features},2], %b: f32[2,2], %c: {state}, %d: f32[{batch},{features}], %e: i1[{batch}]) \
-> ({state}, {state}) {{
      %2 = dot_general(%d, %a) {{lhs_contract=[1], rhs_contract=[0]}} : {state} @rnn/cell
      %3 = dot_general(%c, %b) {{lhs_contract=[1], rhs_contract=[0]}} : {state} @rnn/cell
      %4 = add(%2, %3) : {state} @rnn/cell
      %5 = tanh(%4) : {state} @rnn/cell
      %6 = broadcast_in_dim(%e) {{shape=[{batch},2], dims=[0]}} : i1[{batch},2] @rnn
      %7 = select(%6, %5, %c) : {state} @rnn
      return %7, %5
    }}
  return %0, %1
}}
"""


def rewritten(module, *off):
    after, (record,) = run_pipeline(module, ",".join(["cpu", *(f"-{name}" for name in off)]), verify=True)
    return after, [fired.rule for fired in record.fired]


def draw_arrays(module, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 2, v.shape).astype(bool) if v.dtype == bool else rng.normal(size=v.shape).astype(v.dtype)
        for v in module.main.inputs
    ]


def assert_close_results(before, after, arrays):
    """A gate is rounded to within eps, and its errors reach the next steps: a few eps of the largest state."""
    for want, got in zip(evaluate(before, *arrays)[0], evaluate(after, *arrays)[0], strict=True):
        assert got.dtype == want.dtype
        eps = np.finfo(want.dtype).eps
        np.testing.assert_allclose(got, want, rtol=0, atol=64 * eps * max(1, np.abs(want).max(initial=0)))


def test_a_step_has_one_tanh_for_all_gates():
    before = parse(STEP)
    after, fired = rewritten(before)
    assert fired == ["lstm_by_one_tanh"]
    assert str(after).startswith(STEP_BY_ONE_TANH)
    assert [n.op.name for n in after.main.nodes].count("tanh") == 2  # the gates', and that of the state
    assert "logistic" not in str(after)
    assert_close_results(before, after, draw_arrays(before))


@settings(max_examples=20)
@given(
    st.sampled_from(["f32", "f64"]), *[st.integers(1, n) for n in (3, 4, 3)], st.booleans(), st.booleans()
)  # fmt: skip
def test_steps_of_any_size(dtype, batch, inputs, units, bias, gates):
    graph = Graph()
    shapes = [(batch, inputs), (batch, units), (batch, units), (inputs, 4 * units), (units, 4 * units)]
    operands = [graph.add_input(TensorType(dtype, s)) for s in [*shapes, *[(4 * units,)] * bias]]
    graph.outputs = list(Builder(graph).lstm_step(*operands, bias=bias, gates=gates))
    before = Module({"main": graph})
    after, fired = rewritten(before)
    assert fired == ["lstm_by_one_tanh"]
    assert_close_results(before, after, draw_arrays(before))


def test_gates_far_out_and_what_is_not_finite():
    """Closed gates are 0, open ones 1, and NaN and infinities of the state come through as they do by the meaning."""
    before = parse(STEP)
    after, _ = rewritten(before)
    x, h = np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32)
    w, u = np.zeros((3, 4), np.float32), np.zeros((1, 4), np.float32)
    w[0] = [-200, 200, 1, 200]
    for first, state in [(1, 0.25), (-1, 0.25), (1, np.inf), (1, np.nan), (np.nan, 1)]:
        x[:, 0] = first
        arrays = [x, h, np.full((2, 1), state, np.float32), w, u]
        for want, got in zip(evaluate(before, *arrays)[0], evaluate(after, *arrays)[0]):
            np.testing.assert_allclose(got, want, atol=1e-7)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_narrow_floats_keep_their_roundings(dtype):
    module = parse(STEP.replace("f32", dtype))
    assert rewritten(module)[1] == []
    assert any("narrower" in miss.reason for miss in explain(module, "lstm_by_one_tanh"))


def test_inputs_leave_the_loop():
    before = parse(scan())
    after, fired = rewritten(before)
    assert fired == ["inputs_in_chunks"]
    (outer,) = [n for n in after.main.nodes if n.op.name == "scan"]
    body = outer.regions[0]
    assert [n.op.name for n in body.nodes] == ["dot_general", "scan"]
    assert body.nodes[0].result.shape == (16, 1, 2) and outer.attributes["length"] == 1  # all 16 steps of one row
    inner = body.nodes[-1]
    assert [n.op.name for n in inner.regions[0].nodes] == ["dot_general", "add", "tanh", "broadcast_in_dim", "select"]
    assert outer.attributes["reverse"] and inner.attributes["reverse"] and inner.attributes["length"] == 16
    assert {str(n.location) for n in inner.regions[0].nodes} == {"rnn/cell", "rnn"}
    assert_close_results(before, after, draw_arrays(before))


@settings(max_examples=20)
@given(st.sampled_from([8, 16, 27, 40, 64]), st.integers(1, 3), st.sampled_from([16, 20]), st.booleans())
def test_chunks_of_any_length(length, batch, features, reverse):
    before = parse(scan(length, batch, features, str(reverse).lower()))
    after, fired = rewritten(before)
    assert fired == ["inputs_in_chunks"]
    assert_close_results(before, after, draw_arrays(before))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (scan(37), "no divisor"),
        (scan(16, 200), "rows a step are at most"),
        (scan(features=8), "fewer than 16"),
        (scan().replace("add(%2, %3)", "add(%2, %c)"), "added to another product"),
        (scan().replace("return %7, %5", "return %7, %2"), "added to another product"),
        (scan("T"), "open"),
    ],
)
def test_refusals_say_why(text, reason):
    module = parse(text)
    assert rewritten(module)[1] == []
    assert any(reason in miss.reason for miss in explain(module, "inputs_in_chunks"))


def test_rules_can_be_switched_off():
    assert rewritten(parse(STEP), "lstm_by_one_tanh")[1] == []
    assert rewritten(parse(scan()), "inputs_in_chunks")[1] == []


# What depends on a step's slices alone.


SLOPES = """\
module @net

func @main(%w: f32[2,2], %h: f32[3,2], %x: f32[4,3,2], %y: f32[4,3,2]) -> (f32[3,2], f32[4,3,2]) {
  %0, %1 = scan(%w, %h, %x, %y) {consts=1, carries=1, length=4, reverse=true} : f32[3,2], f32[4,3,2] @rnn
    region body(%a: f32[2,2], %c: f32[3,2], %d: f32[3,2], %e: f32[3,2]) -> (f32[3,2], f32[3,2]) {
      %2 = constant {value=f32[] 1.0} : f32[] @rnn
      %3 = broadcast_in_dim(%2) {shape=[3,2], dims=[]} : f32[3,2] @rnn
      %4 = tanh(%d) : f32[3,2] @rnn
      %5 = multiply(%4, %4) : f32[3,2] @rnn
      %6 = subtract(%3, %5) : f32[3,2] @rnn
      %7 = multiply(%6, %e) : f32[3,2] @rnn
      %8 = multiply(%c, %7) : f32[3,2] @rnn
      %9 = subtract(%3, %8) : f32[3,2] @rnn
      %10 = dot_general(%9, %a) {lhs_contract=[1], rhs_contract=[0]} : f32[3,2] @rnn
      return %10, %8
    }
  return %0, %1
}
"""

SLOPES_BEFORE = """\
  %0 = constant {value=f32[] 1.0} : f32[] @rnn
  %1 = broadcast_in_dim(%0) {shape=[3,2], dims=[]} : f32[3,2] @rnn
  %2 = tanh(%x) : f32[4,3,2] @rnn
  %3 = multiply(%2, %2) : f32[4,3,2] @rnn
  %4 = broadcast_in_dim(%1) {shape=[4,3,2], dims=[1,2]} : f32[4,3,2] @rnn
  %5 = subtract(%4, %3) : f32[4,3,2] @rnn
  %6 = multiply(%5, %y) : f32[4,3,2] @rnn
  %7, %8 = scan(%w, %h, %6) {consts=1, carries=1, length=4, reverse=true} : f32[3,2], f32[4,3,2] @rnn
"""


def test_what_slices_alone_decide_is_computed_before_the_loop():
    before = parse(SLOPES)
    after, fired = rewritten(before)
    assert fired == ["steps_before_the_loop"]
    assert SLOPES_BEFORE in str(after), str(after)
    inner = next(n for n in after.main.nodes if n.op.name == "scan").regions[0]
    assert [n.op.name for n in inner.nodes] == ["constant", "broadcast_in_dim", "multiply", "subtract", "dot_general"]
    for want, got in zip(*(evaluate(m, *draw_arrays(before))[0] for m in (before, after)), strict=True):
        np.testing.assert_array_equal(got, want)  # the same operations on the same numbers


def test_a_loop_that_would_read_more_is_left():
    """For two slices three values would cross into the loop."""
    text = SLOPES.replace("multiply(%c, %7)", "multiply(%c, %5)").replace("subtract(%3, %8)", "subtract(%7, %8)")
    module = parse(text.replace("return %10, %8", "return %10, %4"))
    assert rewritten(module)[1] == []
    assert any("read more" in miss.reason for miss in explain(module, "steps_before_the_loop"))


def test_the_gradient_of_an_lstm_has_a_short_loop():
    from lamina import Spec, keras, trace
    from lamina.frontend.transforms import gradients_of

    layer = keras.layers.LSTM(3)
    layer.build((None, 16, 5))
    module = trace(
        lambda x: gradients_of(lambda: (keras.ops.sum(layer(x)), None), layer.trainable_variables)[2], Spec((2, 16, 5))
    )
    after, _ = run_pipeline(module, "O2,target_cpu", verify=True, target="cpu")
    forward, back = (n for n in after.main.nodes if n.op.name == "scan")
    assert back.attributes["reverse"] and not forward.attributes["reverse"]
    kinds = [n.op.name for n in back.regions[0].nodes]
    assert sorted(kinds) == ["add", "concatenate", "dot_general", "multiply", "multiply", "multiply"], kinds
    # The loop gives its states once, and its gates: what a step starts with is what the one before ended with.
    assert sorted(v.shape[1:] for v in forward.results[2:]) == [(2, 3), (2, 3), (2, 12)]
