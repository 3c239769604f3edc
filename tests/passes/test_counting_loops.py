"""The pass counting_loops: loops that only count become scans; others stay."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from pass_running import assert_same_results, optimized

from lamina.ir import evaluate, parse
from lamina.passes import run_pipeline

# A carry that counts, one that adds up the rows of %x, and one that gets a row in each turn.
LOOP = """\
module @loop

func @main(%x: f32[5,3], %start: f32[3]) -> (f32[3], f32[5,3]) {
  %0 = constant {value=i32[] 0} : i32[]
  %1 = constant {value=f32[] 0.0} : f32[]
  %2 = broadcast_in_dim(%1) {shape=[5,3], dims=[]} : f32[5,3]
  %3, %4, %5 = while(%x, %0, %start, %2) {consts=1} : i32[], f32[3], f32[5,3]
    region cond(%6: f32[5,3], %7: i32[], %8: f32[3], %9: f32[5,3]) -> (i1[]) {
      %10 = constant {value=i32[] 5} : i32[]
      %11 = compare(%7, %10) {direction="LT"} : i1[]
      return %11
    }
    region body(%12: f32[5,3], %13: i32[], %14: f32[3], %15: f32[5,3]) -> (i32[], f32[3], f32[5,3]) {
      %16 = constant {value=i32[] 0} : i32[]
      %17 = dynamic_slice(%12, %13, %16) {sizes=[1,3]} : f32[1,3]
      %18 = reshape(%17) {shape=[3]} : f32[3]
      %19 = add(%14, %18) : f32[3]
      %20 = broadcast_in_dim(%14) {shape=[1,3], dims=[1]} : f32[1,3]
      %21 = dynamic_update_slice(%15, %20, %13, %16) : f32[5,3]
      %22 = constant {value=i32[] 1} : i32[]
      %23 = add(%13, %22) : i32[]
      return %23, %19, %21
    }
  return %4, %5
}
"""

SCAN = """\
module @loop

func @main(%x: f32[5,3], %start: f32[3]) -> (f32[3], f32[5,3]) {
  %0, %1 = scan(%start, %x) {carries=1, length=5} : f32[3], f32[5,3]
    region body(%2: f32[3], %3: f32[3]) -> (f32[3], f32[3]) {
      %4 = reshape(%3) {shape=[1,3]} : f32[1,3]
      %5 = reshape(%4) {shape=[3]} : f32[3]
      %6 = add(%2, %5) : f32[3]
      %7 = broadcast_in_dim(%2) {shape=[1,3], dims=[1]} : f32[1,3]
      %8 = reshape(%7) {shape=[3]} : f32[3]
      return %6, %8
    }
  return %0, %1
}
"""


def test_a_counting_loop_becomes_a_scan():
    before, after, (record,) = optimized(LOOP, "counting_loops")
    assert str(after) == SCAN
    assert [(f.rule, f.count) for f in record.fired] == [("counting_loop", 1)]
    assert_same_results(before, after)


def _backwards(text: str) -> str:
    """The loop of :data:`LOOP` from the last row to the first."""
    return text.replace(
        "      %17 = dynamic_slice(%12, %13, %16)",
        "      %last = constant {value=i32[] 4} : i32[]\n"
        "      %place = subtract(%last, %13) : i32[]\n"
        "      %17 = dynamic_slice(%12, %place, %16)",
    ).replace("%20, %13, %16)", "%20, %place, %16)")


def test_a_loop_that_goes_backwards_is_a_reverse_scan():
    before, after, _ = optimized(_backwards(LOOP), "counting_loops")
    (scan,) = [n for n in after.walk() if n.op.name == "scan"]
    assert scan.attributes["reverse"]
    assert_same_results(before, after)


def test_steps_and_starts_other_than_one():
    text = LOOP.replace("value=i32[] 0} : i32[]\n  %1", "value=i32[] -3} : i32[]\n  %1").replace(
        "      %22 = constant {value=i32[] 1}", "      %22 = constant {value=i32[] 2}"
    )
    before, after, _ = optimized(text, "counting_loops")
    # -3, -1, 1, 3: four turns, whose slices are not those of all rows, so that the arrays stay whole.
    (scan,) = [n for n in after.walk() if n.op.name == "scan"]
    assert scan.attributes["length"] == 4 and scan.operands[scan.attributes["consts"] :]
    assert "dynamic_update_slice" in {n.op.name for n in after.walk()}
    assert_same_results(before, after)


def test_a_limit_that_is_a_dimension():
    text = (
        LOOP.replace("5,3", "N,3")
        .replace("%10 = constant {value=i32[] 5} : i32[]", "%10 = dim_value {dim=N} : i32[]")
    )  # fmt: skip
    before, after, _ = optimized(text, "counting_loops")
    (scan,) = [n for n in after.walk() if n.op.name == "scan"]
    assert str(scan.attributes["length"]) == "N"
    for size in (0, 1, 4):
        assert_same_results(before, after, {"N": size})


@pytest.mark.parametrize(
    "old_new",
    [
        ('direction="LT"', 'direction="NE"'),
        ("%10 = constant {value=i32[] 5} : i32[]", "%10 = convert(%7) {dtype=i32} : i32[]"),
        ("%22 = constant {value=i32[] 1}", "%22 = constant {value=i32[] -1}"),
        ("%10 = constant {value=i32[] 5}", "%10 = constant {value=i32[] 2147483647}"),
    ],
    ids=["another comparison", "no limit", "downwards", "may wrap"],
)
def test_other_loops_stay(old_new):
    old, new = old_new
    assert old in LOOP
    after, _ = run_pipeline(parse(LOOP.replace(old, new)), "counting_loops", verify=True, target="cpu")
    names = {n.op.name for n in after.walk()}
    assert "while" in names and "scan" not in names


def test_rows_that_are_used_otherwise_stay_whole():
    """A carry whose earlier rows are read, and an array of which two slices are taken, one elsewhere."""
    text = LOOP.replace(
        "      %18 = reshape(%17)",
        "      %again = dynamic_slice(%15, %16, %16) {sizes=[1,3]} : f32[1,3]\n"
        "      %first = dynamic_slice(%12, %16, %16) {sizes=[1,3]} : f32[1,3]\n"
        "      %both = add(%again, %first) : f32[1,3]\n"
        "      %more = add(%both, %17) : f32[1,3]\n"
        "      %18 = reshape(%more)",
    )
    before, after, _ = optimized(text, "counting_loops")
    (scan,) = [n for n in after.walk() if n.op.name == "scan"]
    assert (scan.attributes["consts"], scan.attributes["carries"], len(scan.operands)) == (1, 3, 4)
    assert_same_results(before, after)


def test_it_can_be_switched_off():
    after, _ = run_pipeline(parse(LOOP), "counting_loops,-counting_loop", target="cpu")
    assert str(after) == LOOP


def test_two_counters_and_the_smaller_limit():
    """As TensorFlow writes its loops."""
    text = """\
module @loop

func @main(%x: f32[]) -> (f32[], i32[]) {
  %0 = constant {value=i32[] 0} : i32[]
  %1, %2, %3 = while(%0, %0, %x) : i32[], i32[], f32[]
    region cond(%4: i32[], %5: i32[], %6: f32[]) -> (i1[]) {
      %7 = constant {value=i32[] 4} : i32[]
      %8 = compare(%4, %7) {direction="LT"} : i1[]
      %9 = constant {value=i32[] 9} : i32[]
      %10 = compare(%9, %5) {direction="GT"} : i1[]
      %11 = and(%8, %10) : i1[]
      return %11
    }
    region body(%12: i32[], %13: i32[], %14: f32[]) -> (i32[], i32[], f32[]) {
      %15 = constant {value=i32[] 1} : i32[]
      %16 = add(%12, %15) : i32[]
      %17 = constant {value=i32[] 3} : i32[]
      %18 = add(%13, %17) : i32[]
      %19 = add(%14, %14) : f32[]
      return %16, %18, %19
    }
  return %3, %2
}
"""
    before, after, _ = optimized(text, "counting_loops")
    (scan,) = [n for n in after.walk() if n.op.name == "scan"]
    assert scan.attributes["length"] == 3 and len(scan.results) == 1
    assert_same_results(before, after)


def test_scans_come_back_from_the_whiles_they_are_lowered_to():
    """Out to StableHLO, where a scan is a while, and in again."""
    import lamina

    def cell(w, x):
        return jax.lax.scan(lambda h, y: (jax.numpy.tanh(h @ w + y), h), jax.numpy.zeros(3), x, reverse=True)

    from lamina.lowering.stablehlo import emit

    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((3, 3)).astype(np.float32), rng.standard_normal((6, 3)).astype(np.float32)
    module = lamina.from_jax(cell, w, x)
    back = lamina.from_stablehlo(str(emit(module)))
    assert {n.op.name for n in back.walk()} >= {"scan"} and "while" not in {n.op.name for n in back.walk()}
    for a, b in zip(evaluate(module, w, x)[0], evaluate(back, w, x)[0], strict=True):
        np.testing.assert_array_equal(a, b)
