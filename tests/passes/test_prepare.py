"""The pass prepare: what moves, what stays, and that the two parts together give what the whole gave."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_running import assert_same_results, optimized, run

from lamina.ir import Builder, Graph, Module, TensorType, Update, parse, verify
from lamina.passes import is_prepared, run_pipeline, split_prepared
from lamina.passes.rewrite import drop_dead

SCALED_KERNEL = """\
module @net

func @main(%x: f32[N,8]) -> (f32[N,4]) {
  param %dense/kernel: f32[8,4]
  param %bn/gamma: f32[4]
  %0 = broadcast_in_dim(%bn/gamma) {shape=[8,4], dims=[1]} : f32[8,4] @bn
  %1 = multiply(%dense/kernel, %0) : f32[8,4] @bn
  %2 = dot_general(%x, %1) {lhs_contract=[1], rhs_contract=[0]} : f32[N,4] @dense
  return %2
}
"""

SCALED_KERNEL_AFTER = """\
module @net

func @main(%x: f32[N,8]) -> (f32[N,4]) {
  param %prepared/dense/kernel: f32[8,4]
  %0 = dot_general(%x, %prepared/dense/kernel) {lhs_contract=[1], rhs_contract=[0]} : f32[N,4] @dense
  return %0
}

func @prepare() -> ("prepared/dense/kernel": f32[8,4]) {
  param %dense/kernel: f32[8,4]
  param %bn/gamma: f32[4]
  %0 = broadcast_in_dim(%bn/gamma) {shape=[8,4], dims=[1]} : f32[8,4] @bn
  %1 = multiply(%dense/kernel, %0) : f32[8,4] @bn
  return %1
}
"""


def test_a_computation_on_parameters_moves():
    before, after, (record,) = optimized(SCALED_KERNEL, "prepare")
    assert str(after) == SCALED_KERNEL_AFTER
    assert record.changed and [(f.rule, f.layers) for f in record.fired] == [("prepare", (("bn", 1),))]
    assert after.main.parameters[0].key == ("prepared", 0)
    assert_same_results(before, after, {"N": 3})


def test_split_prepared_takes_the_function_out():
    before, after, _ = optimized(SCALED_KERNEL, "prepare")
    graph, rest = split_prepared(after)
    assert graph is after.functions["prepare"] and list(rest.functions) == ["main"]
    assert list(after.functions) == ["main", "prepare"], "the module itself stays"
    assert split_prepared(before) == (None, before)


def test_prepared_parameters_keep_the_identity_of_the_original_ones():
    module = parse(SCALED_KERNEL)
    keys = [object(), object()]
    for parameter, key in zip(module.main.parameters, keys, strict=True):
        parameter.key = key
    after, _ = run_pipeline(module, "prepare", verify=True)
    assert [p.key for p in after.functions["prepare"].parameters] == keys
    assert [p.key for p in module.main.parameters] == keys and list(module.functions) == ["main"]


STAYS = {
    "reshape": "%0 = reshape(%w) {shape=[1,8]} : f32[1,8]",
    "broadcast": "%0 = broadcast_in_dim(%w) {shape=[4,8], dims=[1]} : f32[4,8]",
    "transpose of ones": "%0 = reshape(%w) {shape=[8,1]} : f32[8,1]\n"
    " %1 = transpose(%0) {permutation=[1,0]} : f32[1,8]",
    "barrier": "%0 = optimization_barrier(%w) : f32[8]",
    "device": "%0 = partition_id : ui32[]",
    "constant": "%0 = constant {value=f32[] 2.0} : f32[]",
}


@pytest.mark.parametrize("body", STAYS.values(), ids=STAYS)
def test_views_and_what_needs_a_place_stay(body):
    type_, name = body.rsplit(" : ", 1)[1], "%1" if "\n" in body else "%0"
    text = f"func @main() -> ({type_}) {{\n param %w: f32[8]\n {body}\n return {name}\n}}"
    before, after, (record,) = optimized(text, "prepare")
    assert str(after) == str(before) and not record.changed


MOVES = {
    "transpose": ("transpose(%w) {permutation=[1,0]}", "f32[3,8]"),
    "reverse": ("reverse(%w) {axes=[0]}", "f32[8,3]"),
    "narrower type": ("convert(%w) {dtype=bf16}", "bf16[8,3]"),
    "slice": ("slice(%w) {start=[0,0], limit=[8,1], strides=[1,1]}", "f32[8,1]"),
    "concatenation": ("concatenate(%w, %w) {axis=1}", "f32[8,6]"),
    "composite": ("softmax(%w)", "f32[8,3]"),
}


@pytest.mark.parametrize(("call", "type_"), MOVES.values(), ids=MOVES)
def test_what_costs_something_moves(call, type_):
    text = f"func @main() -> ({type_}) {{\n param %w: f32[8,3]\n %0 = {call} : {type_}\n return %0\n}}"
    before, after, _ = optimized(text, "prepare")
    assert is_prepared(after) and not after.main.nodes and after.main.parameters[0].name == "prepared/w"
    assert_same_results(before, after)


def test_what_is_behind_a_view_moves_and_the_view_stays():
    text = """\
func @main(%x: f32[4,8]) -> (f32[4,8]) {
  param %w: f32[8]
  %0 = exponential(%w) : f32[8]
  %1 = broadcast_in_dim(%0) {shape=[4,8], dims=[1]} : f32[4,8]
  %2 = add(%x, %1) : f32[4,8]
  return %2
}
"""
    before, after, _ = optimized(text, "prepare")
    assert [n.op.name for n in after.main.nodes] == ["broadcast_in_dim", "add"]
    assert [n.op.name for n in after.functions["prepare"].nodes] == ["exponential"]
    assert_same_results(before, after)


def test_nothing_grows_beyond_twice_its_parameters():
    text = """\
func @main() -> (f32[8,8]) {
  param %a: f32[8]
  param %b: f32[8]
  %0 = negate(%a) : f32[8]
  %1 = broadcast_in_dim(%0) {shape=[8,8], dims=[0]} : f32[8,8]
  %2 = broadcast_in_dim(%b) {shape=[8,8], dims=[1]} : f32[8,8]
  %3 = multiply(%1, %2) : f32[8,8]
  return %3
}
"""
    before, after, _ = optimized(text, "prepare")
    assert [n.op.name for n in after.main.nodes] == ["broadcast_in_dim", "broadcast_in_dim", "multiply"]
    assert [p.name for p in after.main.parameters] == ["b", "prepared/a"]
    assert_same_results(before, after)
    larger, _ = run_pipeline(before, "prepare{growth=4}", verify=True)
    assert not larger.main.nodes and [p.name for p in larger.main.parameters] == ["prepared/a"]
    assert_same_results(before, larger)


def constants(b, w):
    return b.constant([1, 2, 3, 4], "f32")


def stretched(b, w):
    return b.broadcast_in_dim(w, shape=(4,), dims=(0,))


def itself(b, w):
    return w


@pytest.mark.parametrize(
    "start, size, each_needed, left, prepared",
    [
        (constants, 4, False, 10_002, 0),
        (stretched, 1, False, 10_002, 0),  # larger than growth allows, all along
        (itself, 4, False, 1, 1),
        (itself, 4, True, 10_001, 10_000),
    ],
)
def test_long_chains(start, size, each_needed, left, prepared):
    """Of 10,000 nodes: what stays and what moves is found in one go over the graph."""
    graph = Graph()
    b, x = Builder(graph), graph.add_input(TensorType("f32", (4,)), "x")
    value = start(b, graph.add_parameter("w", TensorType("f32", (size,))).value)
    for _ in range(10_000):
        value = b.negate(value)
        if each_needed:
            graph.outputs.append(b.add(x, value))
    graph.outputs.append(b.add(x, value))
    before = Module({"main": graph})
    after, _ = run_pipeline(before, "prepare")
    names = ["prepared/w", *(f"prepared/w_{i}" for i in range(1, prepared))][:prepared]
    assert len(after.main.nodes) == left
    assert [p.name for p in after.main.parameters if p.name != "w"] == names
    assert_same_results(before, after)


def test_the_limit_is_that_of_all_parameters_behind_a_value_each_counted_once():
    text = """\
func @main() -> (f32[3], f32[6]) {
  param %a: f32[1]
  param %b: f32[1]
  %0 = add(%a, %b) : f32[1]
  %1 = concatenate(%0, %a, %b) {axis=0} : f32[3]
  %2 = concatenate(%1, %1) {axis=0} : f32[6]
  return %1, %2
}
"""
    before, after, _ = optimized(text, "prepare")
    assert [n.op.name for n in after.main.nodes] == ["concatenate"], "6 > 2 * (1 + 1) stays, 3 moves"
    assert [p.name for p in after.main.parameters] == ["prepared/a"]
    assert_same_results(before, after)


def test_updated_parameters_and_what_comes_from_them_stay():
    text = """\
func @main(%x: f32[4]) -> (f32[4]) {
  param %state: f32[4]
  param %w: f32[4]
  %0 = multiply(%state, %w) : f32[4]
  %1 = negate(%w) : f32[4]
  %2 = add(%x, %0) : f32[4]
  %3 = add(%2, %1) : f32[4]
  update %state = %3
  return %3
}
"""
    before, after, _ = optimized(text, "prepare")
    assert [p.name for p in after.main.parameters] == ["state", "w", "prepared/w"]
    assert [n.op.name for n in after.functions["prepare"].nodes] == ["negate"]
    assert_same_results(before, after)


def test_an_updated_parameter_stays_where_its_next_value_is_prepared():
    text = """\
func @main() -> () {
  param %average: f32[4]
  param %w: f32[4]
  %0 = negate(%w) : f32[4]
  update %average = %0
  return
}
"""
    before, after, _ = optimized(text, "prepare")
    assert [p.name for p in after.main.parameters] == ["average", "prepared/w"]
    assert_same_results(before, after)


def test_a_value_needed_here_and_behind_another_is_computed_once():
    text = """\
func @main() -> (f32[4], f32[4]) {
  param %w: f32[4]
  %0 = exponential(%w) : f32[4]
  %1 = negate(%0) : f32[4]
  return %0, %1
}
"""
    before, after, _ = optimized(text, "prepare")
    assert [p.name for p in after.main.parameters] == ["prepared/w", "prepared/w_1"]
    assert [n.op.name for n in after.functions["prepare"].nodes] == ["exponential", "negate"]
    assert_same_results(before, after)


def test_all_wanted_results_of_a_node_move_together():
    text = """\
func @main() -> (f32[6], i32[6]) {
  param %w: f32[8]
  %0, %1 = top_k(%w) {k=6} : f32[6], i32[6]
  return %0, %1
}
"""
    before, after, _ = optimized(text, "prepare")
    assert not after.main.nodes and len(after.main.parameters) == 2
    assert_same_results(before, after)


def test_a_region_moves_with_its_node_and_a_call_does_not():
    text = """\
func @main() -> (f32[4], f32[4]) {
  param %w: f32[4,5]
  %zero = constant {value=f32[] 0.0} : f32[]
  %0 = reduce(%w, %zero) {axes=[1]} : f32[4]
    region body(%a: f32[], %b: f32[]) -> (f32[]) {
      %c = add(%a, %b) : f32[]
      return %c
    }
  %1 = call(%0) {callee="prepare"} : f32[4]
  return %0, %1
}
func @prepare(%x: f32[4]) -> (f32[4]) {
  %0 = negate(%x) : f32[4]
  return %0
}
"""
    before, after, _ = optimized(text, "prepare")
    assert [n.op.name for n in after.main.nodes] == ["call"]
    assert list(after.functions) == ["main", "prepare_1", "prepare"], "a function of that name makes way"
    assert_same_results(before, after)
    assert split_prepared(before) == (None, before), "a function that is merely called prepare is the program's own"


def test_a_second_run_adds_to_the_first():
    _, once, _ = optimized(SCALED_KERNEL, "prepare")
    main = once.main
    b = Builder(main, nodes=[])
    flipped = b.reverse(main.parameters[0].value, axes=(0,))
    main.nodes[:0] = b.nodes
    main.nodes[-1].operands[1] = flipped
    verify(once)
    twice, (record,) = run_pipeline(once, "prepare", verify=True)
    assert record.changed and [p.name for p in twice.main.parameters] == ["prepared/dense/kernel_1"]
    assert twice.main.parameters[0].key == ("prepared", 0)
    assert [n.op.name for n in twice.functions["prepare"].nodes] == ["broadcast_in_dim", "multiply", "reverse"]
    again, (record,) = run_pipeline(twice, "prepare", verify=True)
    assert not record.changed and str(again) == str(twice)
    inputs = [np.ones((2, 8), np.float32)]
    parameters = {"dense/kernel": np.arange(32, dtype=np.float32).reshape(8, 4), "bn/gamma": np.ones(4, np.float32)}
    assert [o.tolist() for o in run(twice, inputs, parameters)[0]] == [[[112, 120, 128, 136]] * 2]


def test_symbolic_values_stay():
    text = """\
func @main(%x: f32[N]) -> (f32[N]) {
  param %w: f32[]
  %0 = broadcast_in_dim(%w) {shape=[N], dims=[]} : f32[N]
  %1 = exponential(%0) : f32[N]
  return %1
}
"""
    before, after, (record,) = optimized(text, "prepare")
    assert not record.changed and str(after) == str(before)


@st.composite
def graphs(draw):
    """Elementwise and shape ops on an input, a constant and parameters, of which some are updated."""
    graph = Graph()
    square = TensorType("f32", (3, 3))
    values = [graph.add_input(square, "x")]
    values += [graph.add_parameter(f"p{i}", square).value for i in range(3)]
    b = Builder(graph)
    values.append(b.constant(np.full((3, 3), 2, np.float32)))
    for _ in range(draw(st.integers(1, 10))):
        pick = st.sampled_from(values)
        kind = draw(st.sampled_from(["add", "maximum", "negate", "transpose", "reshape"]))
        if kind in ("add", "maximum"):
            values.append(b.emit(kind, [draw(pick), draw(pick)])[0])
        elif kind == "negate":
            values.append(b.negate(draw(pick)))
        elif kind == "transpose":
            values.append(b.transpose(draw(pick), permutation=(1, 0)))
        else:
            flat = b.reshape(draw(pick), shape=(9,))
            values.append(b.reshape(flat, shape=(3, 3)))
    graph.outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    for p in graph.parameters:
        if draw(st.booleans()):
            graph.updates.append(Update(p, draw(st.sampled_from(values))))
    return Module({"main": graph})


@given(graphs())
@settings(max_examples=60)
def test_the_two_parts_give_what_the_whole_gave(module):
    after, (record,) = run_pipeline(module, "prepare", verify=True)
    assert_same_results(module, after)
    assert record.changed == is_prepared(after)
    fixed = {p.value for p in after.main.parameters} - {u.parameter.value for u in after.main.updates}
    drop_dead(after.main)
    left = [n for n in after.main.nodes if all(v in fixed for v in n.operands) and n.operands]
    assert all(n.op.name == "reshape" for n in left), "only views of parameters are left"
