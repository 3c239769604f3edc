"""The pass inline: bodies in place of calls, symbols of the function in those of the caller, results the same."""

import pytest
from pass_running import assert_same_results, optimized

from lamina.ir import parse
from lamina.ir.errors import PassError
from lamina.passes import run_pipeline

CALLS = """\
module @m

func @main(%x: f32[N,4]) -> (f32[2*N,4]) {
  param %w: f32[4]
  %0 = concatenate(%x, %x) {axis=0} : f32[2*N,4] @top
  %1 = call(%0, %w) {callee="scaled"} : f32[2*N,4] @block
  %2 = call(%1, %w) {callee="scaled"} : f32[2*N,4] @block_1
  return %2
}

func @scaled(%a: f32[M,K], %b: f32[K]) -> (f32[M,K]) {
  guard M >= 1 "no empty batch"
  %0 = broadcast_in_dim(%b) {shape=[M,K], dims=[1]} : f32[M,K] @stretch
  %1 = multiply(%a, %0) : f32[M,K]
  return %1
}
"""

INLINED = """\
module @m

func @main(%x: f32[N,4]) -> (f32[2*N,4]) {
  guard 2*N >= 1 "no empty batch"
  param %w: f32[4]
  %0 = concatenate(%x, %x) {axis=0} : f32[2*N,4] @top
  %1 = broadcast_in_dim(%w) {shape=[2*N,4], dims=[1]} : f32[2*N,4] @block @stretch
  %2 = multiply(%0, %1) : f32[2*N,4] @block
  %3 = broadcast_in_dim(%w) {shape=[2*N,4], dims=[1]} : f32[2*N,4] @block_1 @stretch
  %4 = multiply(%2, %3) : f32[2*N,4] @block_1
  return %4
}
"""


def test_bodies_take_the_place_of_calls():
    before, after, (record,) = optimized(CALLS, "inline")
    assert str(after) == INLINED
    assert [(f.rule, f.layers) for f in record.fired] == [("scaled", (("block", 1), ("block_1", 1)))]
    assert_same_results(before, after, {"N": 2})


def test_large_functions_called_often_stay_unless_all_are_wanted():
    before, after, (record,) = optimized(CALLS, "inline{limit=1}")
    assert not record.changed and str(after) == str(before)
    every, _ = run_pipeline(before, "inline{limit=1,all=true}", verify=True)
    assert str(every) == INLINED


def test_a_function_called_once_is_inlined_whatever_its_size():
    text = CALLS.replace('  %2 = call(%1, %w) {callee="scaled"} : f32[2*N,4] @block_1\n', "").replace(
        "return %2", "return %1"
    )
    before, after, _ = optimized(text, "inline{limit=0}")
    assert list(after.functions) == ["main"] and len(after.main.nodes) == 3
    assert_same_results(before, after, {"N": 2})


NESTED = """\
func @main(%x: f32[3], %y: f32[3]) -> (f32[3], f32[3], f32[3]) {
  %0, %1 = call(%x, %y) {callee="swap"} : f32[3], f32[3]
  %2 = call(%0) {callee="twice"} : f32[3]
  %3 = subtract(%2, %1) : f32[3]
  return %3, %1, %2
}

func @twice(%x: f32[3]) -> (f32[3]) {
  %0 = call(%x) {callee="more"} : f32[3]
  %1 = call(%0) {callee="more"} : f32[3]
  return %1
}

func @more(%x: f32[3]) -> (f32[3]) {
  %0 = exponential(%x) : f32[3]
  return %0
}

func @swap(%x: f32[3], %y: f32[3]) -> (f32[3], f32[3]) {
  return %y, %x
}
"""


def test_functions_that_call_and_functions_that_return_what_they_take():
    before, after, _ = optimized(NESTED, "inline")
    assert list(after.functions) == ["main"]
    assert [n.op.name for n in after.main.nodes] == ["exponential", "exponential", "subtract"]
    assert_same_results(before, after)


def test_calls_inside_regions_and_guards_reach_the_function():
    text = """\
func @main(%x: f32[N,4]) -> (f32[N,4]) {
  %0 = remat(%x) : f32[N,4] @block
    region body(%1: f32[N,4]) -> (f32[N,4]) {
      %2 = call(%1) {callee="f"} : f32[N,4]
      return %2
    }
  return %0
}

func @f(%x: f32[M,4]) -> (f32[M,4]) {
  guard M >= 2 "two rows"
  %0 = negate(%x) : f32[M,4]
  return %0
}
"""
    before, after, _ = optimized(text, "inline")
    (node,) = after.main.nodes
    assert [n.op.name for n in node.regions[0].nodes] == ["negate"]
    assert [str(g) for g in after.main.guards] == ["N >= 2"] and not node.regions[0].guards
    assert_same_results(before, after, {"N": 2})


def test_updates_take_what_was_inlined():
    text = """\
func @main() -> () {
  param %state: f32[3]
  %0 = call(%state) {callee="f"} : f32[3]
  update %state = %0
  return
}

func @f(%x: f32[3]) -> (f32[3]) {
  %0 = negate(%x) : f32[3]
  return %0
}
"""
    before, after, _ = optimized(text, "inline")
    assert [n.op.name for n in after.main.nodes] == ["negate"]
    assert_same_results(before, after)


def test_functions_in_a_circle_are_refused_by_name():
    text = NESTED.replace("%0 = exponential(%x)", '%0 = call(%x) {callee="twice"}')
    with pytest.raises(PassError, match=r"in a circle: main -> twice -> more -> twice"):
        run_pipeline(parse(text), "inline")


def test_a_module_without_calls_stays():
    before, after, (record,) = optimized(INLINED, "inline")
    assert not record.changed and str(after) == str(before)
