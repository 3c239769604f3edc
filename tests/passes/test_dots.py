"""The step merge_dots of the pass fold: narrow dots on one value become one; others stay."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_running import assert_same_results, optimized

from lamina.ir import Builder, Graph, Module, TensorType, Update, verify
from lamina.passes import run_pipeline

# Each column is the same sum as before, of at most 24 products of numbers up to 2 * 2, perhaps in another order.
ULPS = 32

HEADS = """\
module @net

func @main(%x: f32[N,T,6]) -> (f32[N,T,2,4], f32[N,T,8]) {
  param %query/kernel: f32[6,2,4]
  param %key/kernel: f32[8,6]
  %0 = dot_general(%x, %query/kernel) {lhs_batch=[], rhs_batch=[], lhs_contract=[2], rhs_contract=[0]} : \
f32[N,T,2,4] @query
  %1 = dot_general(%x, %key/kernel) {lhs_batch=[], rhs_batch=[], lhs_contract=[2], rhs_contract=[1]} : f32[N,T,8] @key
  return %0, %1
}
"""

MERGED = """\
module @net

func @main(%x: f32[N,T,6]) -> (f32[N,T,2,4], f32[N,T,8]) {
  param %query/kernel: f32[6,2,4]
  param %key/kernel: f32[8,6]
  %0 = reshape(%query/kernel) {shape=[6,8]} : f32[6,8] @query @key
  %1 = transpose(%key/kernel) {permutation=[1,0]} : f32[6,8] @query @key
  %2 = concatenate(%0, %1) {axis=1} : f32[6,16] @query @key
  %3 = dot_general(%x, %2) {lhs_contract=[2], rhs_contract=[0]} : f32[N,T,16] @query @key
  %4 = slice(%3) {start=[0,0,0], limit=[N,T,8], strides=[1,1,1]} : f32[N,T,8] @query @key
  %5 = reshape(%4) {shape=[N,T,2,4]} : f32[N,T,2,4] @query @key
  %6 = slice(%3) {start=[0,0,8], limit=[N,T,16], strides=[1,1,1]} : f32[N,T,8] @query @key
  return %5, %6
}
"""


def test_two_dots_become_one():
    before, after, (record,) = optimized(HEADS, "fold")
    assert str(after) == MERGED
    assert [(f.rule, f.count) for f in record.fired] == [("merge_dots", 1)]
    assert_same_results(before, after, {"N": 2, "T": 3}, ULPS)


def test_with_prepare_one_kernel_is_put_together_once():
    before, after, _ = optimized(HEADS, "O2")
    ops = [n.op.name for n in after.main.nodes]
    assert ops == ["dot_general", "slice", "reshape", "slice"]
    (parameter,) = after.main.parameters
    assert parameter.type == TensorType("f32", (6, 16))
    assert_same_results(before, after, {"N": 2, "T": 3}, ULPS)


def test_the_step_can_be_switched_off():
    before, after, (record,) = optimized(HEADS, "fold,-merge_dots")
    assert str(before) == str(after) and not record.changed


def network(columns, dtype="f32", rank=2, contracted=1, late=False, update=False, chain=False):
    """Dots of ``x`` with kernels of so many columns; ``late``: kernels computed from parameters, just before each."""
    graph = Graph()
    b = Builder(graph)
    sizes = (3, 5, 4)[:rank]
    x = graph.add_input(TensorType(dtype, sizes), "x")
    inner = sizes[rank - contracted :]
    for i, count in enumerate(columns):
        parameter = graph.add_parameter(f"kernel{i}", TensorType(dtype, (*inner, count)))
        kernel = parameter.value
        if late:
            kernel = b.multiply(b.tanh(kernel), kernel)
        if update and i == 0:
            graph.updates = [Update(parameter, b.negate(parameter.value))]
        y = b.dot_general(x, kernel, lhs_contract=range(rank - contracted, rank), rhs_contract=range(contracted))
        graph.outputs.append(b.tanh(y))
        if chain and i == len(columns) // 2:
            x = graph.outputs[-1]
            inner = x.shape[-1:]
            contracted, rank = 1, x.rank
    module = Module({"main": graph})
    verify(module)
    return module


def fold(module):
    after, (record,) = run_pipeline(module, "fold", verify=True)
    return after, sum(f.count for f in record.fired)


def dots(module):
    return [n.result.shape[-1] for n in module.main.nodes if n.op.name == "dot_general"]


@pytest.mark.parametrize(
    ("columns", "left"),
    [
        ((8, 8), [16]),
        ((4, 4, 4, 4), [16]),
        ((16, 16, 4), [32, 4]),
        ((1, 1), [1, 1]),  # matrix times vector: nothing gained
        ((64, 64, 64), [64, 64, 64]),
        ((16, 20), [16, 20]),
        ((8,), [8]),
    ],
)
def test_widths_for_which_it_pays(columns, left):
    before = network(columns)
    after, _ = fold(before)
    assert dots(after) == left
    assert_same_results(before, after, ulps=ULPS)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_narrow_floats_stay(dtype):
    after, fired = fold(network((8, 8), dtype=dtype))
    assert not fired and dots(after) == [8, 8]


def test_a_kernel_that_the_program_changes_stays():
    before = network((8, 8, 8), update=True)
    after, _ = fold(before)
    assert dots(after) == [8, 16]
    assert_same_results(before, after, ulps=ULPS)


def test_a_kernel_from_an_input_stays():
    graph = Graph()
    b = Builder(graph)
    x, kernel = (graph.add_input(TensorType("f32", (4, 4)), name) for name in "xk")
    fixed = graph.add_parameter("fixed", TensorType("f32", (4, 4))).value
    graph.outputs = [b.dot_general(x, k, lhs_contract=(1,), rhs_contract=(0,)) for k in (kernel, fixed)]
    _, fired = fold(Module({"main": graph}))
    assert not fired


def test_other_contractions_stay_apart():
    graph = Graph()
    b = Builder(graph)
    x = graph.add_input(TensorType("f32", (4, 4)), "x")
    kernels = [graph.add_parameter(name, TensorType("f32", (4, 8))).value for name in "ab"]
    graph.outputs = [b.dot_general(x, k, lhs_contract=(i,), rhs_contract=(0,)) for i, k in enumerate(kernels)]
    _, fired = fold(Module({"main": graph}))
    assert not fired


def test_kernels_computed_after_the_first_dot_come_before_the_merged_one():
    before = network((8, 8, 8), late=True)
    after, fired = fold(before)
    assert fired == 1 and dots(after) == [24]
    assert sum(n.op.name == "tanh" for n in after.main.nodes) == 6, "copied, and the old ones dropped"
    assert_same_results(before, after, ulps=ULPS)


@settings(max_examples=40, deadline=None)
@given(
    columns=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    rank=st.integers(1, 3),
    contracted=st.integers(1, 3),
    late=st.booleans(),
    chain=st.booleans(),
)
def test_equal_results(columns, rank, contracted, late, chain):
    before = network(columns, rank=rank, contracted=min(contracted, rank), late=late, chain=chain)
    after, _ = fold(before)
    assert_same_results(before, after, ulps=ULPS)
