"""Pipelines as text, what running one records, and who is blamed when a pass breaks the graph."""

import gc
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import modules

from lamina.ir import Builder, clone_module, difference, parse, verify
from lamina.ir.errors import PassError
from lamina.ir.graph import Value
from lamina.passes import (
    LEVELS,
    PASSES,
    RULES,
    Option,
    Pass,
    Pipeline,
    explain,
    format_records,
    parse_pipeline,
    register,
    run_pipeline,
)
from lamina.passes.manager import PROPERTIES

TEXT = """
    func @main(%x: f32[N,3]) -> (f32[N,3]) {
      %0 = negate(%x) : f32[N,3] @a
      %1 = negate(%0) : f32[N,3] @b
      %2 = relu(%1) : f32[N,3] @activation
      return %2
    }"""


@pytest.fixture
def new_pass():
    """``register`` for passes that are taken out of the table again."""
    before = set(PASSES)

    def enter(name, run, **fields):
        return register(Pass(name, "a pass of the tests", run, **fields))

    yield enter
    for name in set(PASSES) - before:
        del PASSES[name]


# Text.


@pytest.mark.parametrize(
    "text",
    [
        "",
        "simplify",
        "simplify,decompose",
        "simplify{fold_limit=64}",
        "decompose{keep=softmax+gelu}",
        "simplify{fold_limit=64,rounds=2},decompose{keep=relu}",
        "simplify,-add_zero",
        "simplify,-add_zero,-dead_code",
    ],
)
def test_a_pipeline_reads_back_as_written(text):
    pipeline = parse_pipeline(text)
    assert str(pipeline) == text
    assert parse_pipeline(str(pipeline)) == pipeline


def test_spaces_mean_nothing():
    spaced = parse_pipeline("  simplify { fold_limit = 64 } , decompose ")
    assert spaced == parse_pipeline("simplify{fold_limit=64},decompose")


def test_options_have_the_types_of_their_defaults():
    steps = parse_pipeline("simplify{fold_limit=64},decompose{keep=softmax+gelu}").steps
    assert dict(steps[0].options) == {"fold_limit": 64}
    assert dict(steps[1].options) == {"keep": ("softmax", "gelu")}


@pytest.mark.parametrize("level", ["O0", "O1", "O2", "O3"])
def test_levels_are_pipelines(level):
    pipeline = parse_pipeline(level)
    assert pipeline == parse_pipeline(LEVELS[level])
    assert {s.name for s in pipeline.steps} <= PASSES.keys()


def test_levels_combine_with_passes_and_switches():
    pipeline = parse_pipeline("O1,simplify,-double_negate")
    assert pipeline.steps == (*parse_pipeline("O1").steps, *parse_pipeline("simplify").steps)
    assert pipeline.off == {"double_negate"}


def test_a_whole_pass_is_switched_off_by_name():
    assert [s.name for s in parse_pipeline("O2,-simplify").steps] == [
        s.name for s in parse_pipeline("O2").steps if s.name != "simplify"
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("simplfy", ["no pass 'simplfy'", "did you mean simplify", "decompose"]),
        ("nonsense_here", ["no pass 'nonsense_here'", "There are:", "simplify", "O2"]),
        ("O9", ["no pass 'O9'", "O2"]),
        ("simplify,-ad_zero", ["no rule or pass to switch off 'ad_zero'", "add_zero"]),
        ("simplify{fold_limt=3}", ["no option of simplify 'fold_limt'", "fold_limit"]),
        ("simplify{fold_limit=many}", ["simplify{fold_limit}", "expected int", "'many'"]),
        ("simplify{fold_limit}", ["needs a value", "fold_limit="]),
        ("O2{rounds=1}", ["whole pipeline", "simplify"]),
        ("simplify;decompose", ["does not read at", "separated by commas"]),
        ("simplify{fold_limit=3", ["does not read at"]),
        ("simplify,,decompose", ["does not read at"]),
    ],
)
def test_what_does_not_read_says_why(text, parts):
    with pytest.raises(PassError) as error:
        parse_pipeline(text)
    for part in parts:
        assert part in str(error.value), str(error.value)


def test_options_with_choices_name_them(new_pass):
    new_pass("choosy", lambda module, context: False, options={"data": Option("nhwc", "layout", ("nhwc", "nchw"))})
    assert dict(parse_pipeline("choosy{data=nchw}").steps[0].options) == {"data": "nchw"}
    with pytest.raises(PassError, match=r"choosy\{data\}: expected one of nhwc, nchw; received 'chwn'"):
        parse_pipeline("choosy{data=chwn}")


def test_options_that_are_not_given_have_their_default(new_pass):
    seen = []
    new_pass(
        "looks",
        lambda module, context: seen.append((context["size"], context["exact"], context.target)),
        options={"size": Option(7, "a size"), "exact": Option(True, "a switch")},
    )
    run_pipeline(parse(TEXT), "looks,looks{size=-3,exact=false}", target="gpu")
    assert seen == [(7, True, "gpu"), (-3, False, "gpu")]


@given(st.text(alphabet="simplfyO2{}=,-+ \n", max_size=30))
@settings(max_examples=200)
def test_any_text_is_a_pipeline_or_a_pass_error(text):
    try:
        pipeline = parse_pipeline(text)
    except PassError:
        return
    assert isinstance(pipeline, Pipeline) and parse_pipeline(str(pipeline)) == pipeline


# Running.


def test_a_record_says_what_a_pass_did():
    module, (first, second) = run_pipeline(parse(TEXT), "simplify,decompose", keep_graphs=True)
    assert (first.name, first.nodes_before, first.nodes_after, first.changed) == ("simplify", 3, 1, True)
    assert first.seconds >= 0
    (fired,) = first.fired
    assert (fired.rule, fired.count, fired.layers) == ("double_negate", 1, (("b", 1),))
    assert fired.source == RULES["double_negate"].source and "passes/rules/algebra.py:" in fired.source
    assert difference(first.before, parse(TEXT)) is None
    assert difference(first.after, second.before) is None
    assert difference(second.after, module) is None
    assert [f.rule for f in second.fired] == ["relu"]


def test_graphs_are_kept_only_on_request():
    _, (record,) = run_pipeline(parse(TEXT), "simplify")
    assert record.before is record.after is None


def test_a_pass_that_changes_nothing_says_so():
    module, records = run_pipeline(parse(TEXT), "simplify,simplify")
    assert [r.changed for r in records] == [True, False]
    assert records[1].fired == () and records[1].nodes_before == records[1].nodes_after == 1
    assert [n.op.name for n in module.main.nodes] == ["relu"]


@given(modules(), st.sampled_from(["", "O0", "O1", "O2", "O3"]))
@settings(max_examples=80)
def test_records_are_honest_and_the_input_is_left_alone(module, pipeline):
    original = clone_module(module)
    result, records = run_pipeline(module, pipeline, verify=True, keep_graphs=True)
    assert difference(original, module) is None
    assert len(records) == len(parse_pipeline(pipeline).steps)
    for record in records:
        if not record.changed:
            assert difference(record.before, record.after) is None, record.name
        assert bool(record.fired) <= record.changed, record.name
    verify(result)


def test_an_empty_pipeline_is_a_copy():
    module = parse(TEXT)
    copy, records = run_pipeline(module, "")
    assert records == [] and copy is not module and difference(copy, module) is None


def test_records_as_a_table():
    _, records = run_pipeline(parse(TEXT), "simplify,simplify")
    head, first, second = format_records(records)
    assert head == ("pass", "ms", "nodes", "rules")
    assert first[0] == "simplify" and first[2:] == ("3 -> 1", "double_negate x1 (b)")
    assert second[2:] == ("1", "no change")


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_garbage_collector_is_left_as_it_was(new_pass, on, fails):
    seen = []

    def look(module, context):
        seen.append(gc.isenabled())
        if fails:
            raise PassError("no")

    new_pass("looks", look)
    (gc.enable if on else gc.disable)()
    try:
        with pytest.raises(PassError) if fails else nullcontext():
            run_pipeline(parse(TEXT), "looks")
        assert seen == [False] and gc.isenabled() == on
    finally:
        gc.enable()


# Blame.


def break_order(module, context):
    module.main.nodes.reverse()
    return True


def test_the_guilty_pass_is_named_with_those_before_it(new_pass):
    new_pass("breaks_order", break_order)
    with pytest.raises(PassError) as error:
        run_pipeline(parse(TEXT), "decompose,breaks_order,simplify", verify=True)
    text = str(error.value)
    assert "pass breaks_order broke the graph" in text
    assert "decompose" in text.split("broke the graph", 1)[1].splitlines()[0], text
    assert "^^^" in text and "not defined in this graph before it is used" in text


def test_without_verify_nobody_looks(new_pass):
    new_pass("breaks_order", break_order)
    module, _ = run_pipeline(parse(TEXT), "breaks_order")
    assert module.main.nodes[0].op.name == "relu"


def test_a_module_that_was_wrong_before_blames_no_pass():
    module = parse(TEXT)
    module.main.nodes.reverse()
    with pytest.raises(PassError, match="wrong before the first pass"):
        run_pipeline(module, "simplify", verify=True)


def test_a_broken_graph_that_is_copied_is_found_without_verify_too(new_pass):
    new_pass("breaks_order", break_order)
    with pytest.raises(PassError, match=r"pass breaks_order broke the graph \(passes before it: decompose\)"):
        run_pipeline(parse(TEXT), "decompose,breaks_order", keep_graphs=True)
    module = parse(TEXT)
    module.main.nodes.reverse()
    with pytest.raises(PassError, match=r"wrong before the first pass:(.|\n)*not defined in this graph before"):
        run_pipeline(module, "simplify")


def test_an_error_inside_a_pass_is_named(new_pass):
    def fails(module, context):
        b = Builder(module.main)
        b.add(module.main.inputs[0], b.constant(1.0, "f32"))

    new_pass("adds_scalar", fails)
    with pytest.raises(PassError, match=r"pass adds_scalar failed: ShapeError: "):
        run_pipeline(parse(TEXT), "simplify,adds_scalar")


def test_a_promise_is_checked(new_pass):
    new_pass("promises", lambda module, context: False, establishes=("primitive",))
    with pytest.raises(PassError, match="pass promises promises a module that is primitive"):
        run_pipeline(parse(TEXT), "promises", verify=True)


def test_a_kept_property_is_checked(new_pass):
    def back(module, context):
        (value,) = module.main.outputs
        module.main.outputs = [Builder(module.main).relu(value)]
        return True

    new_pass("composes", back, keeps=("primitive",))
    run_pipeline(parse(TEXT), "composes", verify=True)  # it was not primitive before
    with pytest.raises(PassError, match=r"composes .*primitive"):
        run_pipeline(parse(TEXT), "decompose,composes", verify=True)


def test_the_signature_is_checked(new_pass):
    def drop_output(module, context):
        module.main.outputs = module.main.outputs * 2
        return True

    new_pass("doubles", drop_output, keeps=("signature",))
    with pytest.raises(PassError, match="doubles changed the inputs, outputs, parameters or updates"):
        run_pipeline(parse(TEXT), "doubles", verify=True)


def test_a_requirement_is_checked(new_pass):
    new_pass("wants_primitives", lambda module, context: False, requires=("primitive",))
    run_pipeline(parse(TEXT), "decompose,wants_primitives")
    with pytest.raises(PassError, match="wants_primitives requires a module that is primitive"):
        run_pipeline(parse(TEXT), "wants_primitives")


def test_a_foreign_value_is_found(new_pass):
    def foreign(module, context):
        module.main.outputs = [Value(v.type) for v in module.main.outputs]
        return True

    new_pass("replaces_output", foreign)
    with pytest.raises(PassError, match="pass replaces_output broke the graph"):
        run_pipeline(parse(TEXT), "replaces_output", verify=True)


def test_a_pass_name_is_taken_once():
    with pytest.raises(PassError, match="'simplify' is registered twice"):
        register(PASSES["simplify"])


# The tables.


def test_every_pass_says_what_it_does():
    for one in PASSES.values():
        assert one.meaning and "\n" not in one.meaning
        assert set(one.requires) | set(one.establishes) <= PROPERTIES.keys()
        assert set(one.keeps) <= PROPERTIES.keys() | {"signature"}
        assert all(option.meaning for option in one.options.values())


def test_every_rule_belongs_to_a_pass():
    owned = {r.name for p in PASSES.values() for r in p.rules}
    assert owned == RULES.keys()


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_has_a_switch(name):
    assert parse_pipeline(f"O2,-{name}").off == {name}


def test_explain_says_why_a_rule_left_a_node():
    module = parse("""
        func @main(%x: f32[]) -> (f32[]) {
          %0 = constant {value=f32[] 0.0} : f32[]
          %1 = add(%x, %0) : f32[] @dense
          return %1
        }""")
    (miss,) = explain(module, "add_zero")
    assert miss.location.layers == ("dense",) and "-0.0" in miss.reason
    assert len(module.main.nodes) == 2
    with pytest.raises(PassError, match="no rule 'add_zeros'; did you mean add_zero"):
        explain(module, "add_zeros")
