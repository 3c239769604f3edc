"""The pass `simplify`: each rule alone on readable graphs, the meaning bit for bit, duplicates and dead code."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meaning import any_arrays, assert_same_meaning
from strategies import any_bits, arrays_for, modules

from lamina.ir import Builder, Graph, Module, TensorType, clone_module, difference, parse, symbol, verify
from lamina.ir.types import ELEMENT_TYPES, is_complex
from lamina.passes import PASSES, run_pipeline

GOLDEN = Path(__file__).parent / "golden"
SIMPLIFY = PASSES["simplify"]
SWITCHES = [*(r.name for r in SIMPLIFY.rules), *SIMPLIFY.steps]


def golden(name):
    """The entries of a golden file: rule, what is shown, text before, text after (``unchanged``: as before)."""
    text = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    for entry in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
        head, body = entry.split("\n", 1)
        rule, about = head.split(": ", 1)
        before, after = body.split("\n--\n")
        yield pytest.param(rule, before, before if after.strip() == "unchanged" else after, id=f"{rule}: {about}")


CASES = [case for name in ("algebra", "shapes", "constants", "control") for case in golden(name)]


def simplify(program, *off, options=""):
    """The simplified module and its record."""
    module = parse(program) if isinstance(program, str) else program
    text = ",".join([f"simplify{options}", *(f"-{name}" for name in off)])
    result, (record,) = run_pipeline(module, text, verify=True)
    return result, record


def all_but(*names):
    return [name for name in SWITCHES if name not in names]


def fired(record):
    return {f.rule: f.count for f in record.fired}


# Each rule alone.


@pytest.mark.parametrize(("rule", "before", "after"), CASES)
def test_rule(rule, before, after):
    result, record = simplify(before, *all_but(rule))
    assert difference(result, parse(after)) is None, f"{result}\n{difference(result, parse(after))}"
    assert record.changed == (before is not after)
    assert set(fired(record)) == ({rule} if record.changed else set())


@pytest.mark.parametrize(("rule", "before", "after"), [c for c in CASES if c.values[1] is not c.values[2]])
def test_rule_keeps_the_meaning_for_any_bits(rule, before, after):
    module, result = parse(before), parse(after)
    for seed in range(3):
        assert_same_meaning(module, result, *any_arrays(module, seed))


@pytest.mark.parametrize(("rule", "before", "after"), CASES)
def test_rule_is_switched_off_by_name(rule, before, after):
    result, record = simplify(before, *SWITCHES)
    assert difference(result, parse(before)) is None
    assert not record.changed and not record.fired
    _, others = simplify(before, rule)
    assert rule not in fired(others)


def test_every_rule_has_an_example():
    shown = {case.values[0] for case in CASES if case.values[1] is not case.values[2]}
    assert shown == {r.name for r in SIMPLIFY.rules}


@pytest.mark.parametrize(
    "middle", ["i1", "i8", "ui8", "i16", "i32", "ui32", "i64", "f16", "bf16", "f32", "f64", "c64", "f8e5m2"]
)
def test_conversions_through_a_type_are_one_only_where_it_is_exact(middle):
    """Every source and target type around ``middle``: whatever the rule does, the bits stay."""
    rng = np.random.default_rng(0)
    for source in ELEMENT_TYPES.values():
        graph = Graph()
        x = graph.add_input(TensorType(source, (40,)), "x")
        b = Builder(graph)
        if is_complex(source):
            continue
        y = b.convert(x, dtype=ELEMENT_TYPES[middle])
        graph.outputs = [b.convert(y, dtype=t) for t in ELEMENT_TYPES.values()]
        module = Module({"main": graph})
        result, _ = simplify(module)
        array = any_bits(rng, source, (40,))
        array[:4] = np.array([0, 1, 2, 3]).astype(source)
        assert_same_meaning(module, result, [array], {})


# The whole pass.


@given(modules(), st.integers(0, 3))
@settings(max_examples=150)
def test_simplify_keeps_the_meaning_bit_for_bit(module, seed):
    result, record = simplify(module)
    verify(result)
    assert_same_meaning(module, result, *arrays_for(module, seed))
    assert record.nodes_after == sum(1 for _ in result.walk())


@given(modules(plain=True), st.sampled_from(SWITCHES))
@settings(max_examples=60)
def test_a_switched_off_rule_never_fires(module, name):
    result, record = simplify(module, name)
    assert name not in fired(record)
    assert_same_meaning(module, result, *arrays_for(module))


@given(modules())
@settings(max_examples=60)
def test_simplify_has_nothing_left_to_do(module):
    once, _ = simplify(module)
    twice, record = simplify(once)
    assert not record.changed, str(fired(record))
    assert difference(once, twice) is None


@given(modules())
@settings(max_examples=40)
def test_the_input_is_left_as_it_is(module):
    before = clone_module(module)
    simplify(module)
    assert difference(before, module) is None


def test_equal_nodes_are_merged_and_keep_every_layer():
    result, record = simplify(
        """
        func @main(%x: f32[3], %y: f32[3]) -> (f32[3], f32[3]) {
          %0 = add(%x, %y) : f32[3] @a
          %1 = add(%y, %x) : f32[3] @b
          %2 = tanh(%0) : f32[3]
          %3 = tanh(%1) : f32[3]
          return %2, %3
        }""",
        *all_but("common_subexpression"),
    )
    assert (
        difference(
            result,
            parse("""
        func @main(%x: f32[3], %y: f32[3]) -> (f32[3], f32[3]) {
          %0 = add(%x, %y) : f32[3] @a @b
          %1 = tanh(%0) : f32[3]
          return %1, %1
        }"""),
        )
        is None
    ), str(result)
    assert fired(record) == {"common_subexpression": 2}


def test_constants_are_equal_by_bits_alone():
    graph = Graph()
    b = Builder(graph)
    values = [0.0, -0.0, np.nan, np.float32(0), np.nan]
    graph.outputs = [b.constant(v, "f32") for v in values] + [b.constant(0, "i32"), b.constant(False)]
    result, _ = simplify(Module({"main": graph}), *all_but("common_subexpression"))
    outputs = result.main.outputs
    assert len(result.main.nodes) == 5
    assert outputs[0] is outputs[3] and outputs[2] is outputs[4]


def test_regions_are_compared_by_what_they_do():
    text = """
        func @main(%x: f32[3]) -> (f32[], f32[], f32[]) {
          %0 = constant {value=f32[] 0.0} : f32[]
          %1 = reduce(%x, %0) {axes=[0]} : f32[]
            region body(%a: f32[], %b: f32[]) -> (f32[]) {
              %c = add(%a, %b) : f32[]
              return %c
            }
          %2 = reduce(%x, %0) {axes=[0]} : f32[]
            region body(%d: f32[], %e: f32[]) -> (f32[]) {
              %f = add(%d, %e) : f32[]
              return %f
            }
          %3 = reduce(%x, %0) {axes=[0]} : f32[]
            region body(%g: f32[], %h: f32[]) -> (f32[]) {
              %i = maximum(%g, %h) : f32[]
              return %i
            }
          return %1, %2, %3
        }"""
    outputs = simplify(text)[0].main.outputs
    assert outputs[0] is outputs[1] and outputs[0] is not outputs[2]


def test_random_ops_with_one_seed_are_one_and_with_two_are_two():
    graph = Graph()
    b = Builder(graph)
    seeds = [graph.add_input(TensorType("ui32", (2,)), name) for name in "st"]
    graph.outputs = [b.dropout_bits(seed, shape=(4,)) for seed in (*seeds, seeds[0])]
    outputs = simplify(Module({"main": graph}))[0].main.outputs
    assert outputs[0] is outputs[2] and outputs[0] is not outputs[1]


def test_dead_code_goes_but_not_what_updates_and_effects_need():
    text = """
        func @main(%x: f32[2]) -> (f32[2]) {
          param %count: f32[2]
          %0 = tanh(%x) : f32[2]
          %1 = sine(%0) : f32[2]
          %2 = add(%count, %x) : f32[2]
          %3 = custom_call(%x) {target="print", has_side_effect=true} : f32[2]
          %4 = custom_call(%x) {target="sum"} : f32[2]
          update %count = %2
          return %x
        }"""
    result, record = simplify(text, *all_but("dead_code"))
    assert [n.op.name for n in result.main.nodes] == ["add", "custom_call"]
    assert result.main.nodes[1].attributes["target"] == "print"
    assert result.main.updates[0].value is result.main.nodes[0].result
    assert fired(record) == {"dead_code": 3}


def test_dead_results_inside_a_region_go():
    result, _ = simplify("""
        func @main(%p: i1[], %x: f32[]) -> (f32[]) {
          %0 = cond(%p, %x) : f32[]
            region branches(%1: f32[]) -> (f32[]) {
              %2 = tanh(%1) : f32[]
              return %1
            }
            region branches(%3: f32[]) -> (f32[]) {
              %4 = negate(%3) : f32[]
              return %4
            }
          return %0
        }""")
    assert [n.op.name for n in result.walk()] == ["cond", "negate"]


def test_an_update_that_becomes_the_parameter_itself_is_kept():
    result, _ = simplify("""
        func @main(%x: f32[]) -> (f32[]) {
          param %w: f32[]
          %0 = constant {value=f32[] 1.0} : f32[]
          %1 = multiply(%w, %0) : f32[]
          update %w = %1
          return %1
        }""")
    (update,) = result.main.updates
    assert update.value is update.parameter.value is result.main.outputs[0]


def test_names_go_to_what_takes_the_place():
    result, _ = simplify("""
        func @main(%x: f32[], %y: f32[]) -> (f32[]) {
          %0 = negate(%y) : f32[]
          %difference = add(%x, %0) : f32[]
          return %difference
        }""")
    assert result.main.outputs[0].name == "difference"


def test_calls_are_simplified_inside_too():
    result, record = simplify("""
        func @main(%x: f32[2]) -> (f32[2]) {
          %0 = call(%x) {callee="twice"} : f32[2]
          return %0
        }
        func @twice(%a: f32[2]) -> (f32[2]) {
          %0 = negate(%a) : f32[2]
          %1 = negate(%0) : f32[2]
          return %1
        }""")
    assert not result.functions["twice"].nodes
    assert fired(record)["double_negate"] == 1


@pytest.mark.parametrize(("limit", "folded"), [(11, False), (12, True)])
def test_constants_are_folded_up_to_a_size(limit, folded):
    graph = Graph()
    b = Builder(graph)
    graph.outputs = [b.negate(b.constant(np.arange(12), "f32"))]
    result, _ = simplify(Module({"main": graph}), options=f"{{fold_limit={limit}}}")
    assert [n.op.name for n in result.main.nodes] == (["constant"] if folded else ["constant", "negate"])


def test_a_symbolic_size_inside_a_region_is_not_folded():
    graph = Graph()
    graph.add_input(TensorType("f32", (symbol("N"),)), "x")
    b = Builder(graph)
    branches = []
    for size in (symbol("N"), 3):
        branch = Graph()
        i = branch.add_input(TensorType("i32"))
        inner = Builder(branch)
        branch.outputs = [inner.add(i, inner.dim_value(dim=size))]
        branches.append(branch)
    graph.outputs = [b.cond(b.constant(True), b.constant(1, "i32"), regions=branches)]
    module = Module({"main": graph})
    result, _ = simplify(module)
    assert not any(n.op.name == "cond" for n in result.walk())
    assert_same_meaning(module, result, *arrays_for(module))


def test_gradient_stops_stay():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (2,)), "x")
    graph.outputs = [Builder(graph).stop_gradient(x)]
    assert [n.op.name for n in simplify(Module({"main": graph}))[0].main.nodes] == ["stop_gradient"]
