"""The rule driver: what it hands to rules, what becomes of what they return, and what it refuses."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ir import Builder, Graph, Location, Module, TensorType, Update, difference, evaluate, parse, verify
from lamina.ir.errors import PassError
from lamina.passes import RULES, NoMatch, RuleSet, rewrite, rule
from lamina.passes.patterns import op, scalar, scalar_of
from lamina.passes.rewrite import Log, drop_dead


@pytest.fixture
def new_rule():
    """``rule`` for rules that are taken out of the table again."""
    before = set(RULES)
    yield rule
    for name in set(RULES) - before:
        del RULES[name]


def rewritten(text, *rules, **options):
    module = parse(text)
    log = Log(**options)
    rewrite(module.main, RuleSet(rules), log)
    verify(module)
    return module, log


def assert_text(module, expected):
    assert difference(module, parse(expected)) is None, f"{module}\n{difference(module, parse(expected))}"


CHAIN = """
    func @main(%x: f32[2]) -> (f32[2]) {
      %0 = tanh(%x) : f32[2] @a
      %1 = tanh(%0) : f32[2] @b
      %2 = tanh(%1) : f32[2] @c
      return %2
    }"""


def test_a_replacement_stands_where_the_node_stood(new_rule):
    @new_rule("tanh")
    def tanh_to_two(r, node):
        """tanh is sine of cosine, here."""
        return r.sine(r.cosine(node.operands[0]))

    module, log = rewritten(CHAIN, tanh_to_two)
    assert_text(
        module,
        """
        func @main(%x: f32[2]) -> (f32[2]) {
          %0 = cosine(%x) : f32[2] @a
          %1 = sine(%0) : f32[2] @a
          %2 = cosine(%1) : f32[2] @b
          %3 = sine(%2) : f32[2] @b
          %4 = cosine(%3) : f32[2] @c
          %5 = sine(%4) : f32[2] @c
          return %5
        }""",
    )
    assert log.fired["tanh_to_two"] == {"a": 1, "b": 1, "c": 1}


def test_a_pattern_binds_operands_and_nodes(new_rule):
    @new_rule(op("tanh", op("tanh", "x", bind="inner"), bind="outer"))
    def two_tanh(r, x, inner, outer):
        """Two tanh are a sine, here."""
        assert inner is outer.operands[0].producer and r.node is outer
        return r.sine(x)

    module, _ = rewritten(CHAIN, two_tanh)
    assert_text(
        module,
        """
        func @main(%x: f32[2]) -> (f32[2]) {
          %0 = sine(%x) : f32[2] @b @a
          %1 = tanh(%0) : f32[2] @c
          return %1
        }""",
    )


@pytest.mark.parametrize("swapped", [False, True])
def test_commutative_operands_match_in_either_order(new_rule, swapped):
    @new_rule(op("add", op("negate", "x"), scalar(lambda n: n > 1, "n")))
    def add_number(r, x, n):
        """-x + n is n - x for numbers above 1."""
        return r.subtract(r.full_like(x, n), x)

    operands = "%1, %0" if swapped else "%0, %1"
    module, log = rewritten(
        f"""
        func @main(%x: f32[]) -> (f32[]) {{
          %0 = negate(%x) : f32[]
          %1 = constant {{value=f32[] 2.0}} : f32[]
          %2 = add({operands}) : f32[]
          return %2
        }}""",
        add_number,
    )
    assert [n.op.name for n in module.main.nodes] == ["constant", "subtract"]
    assert log.fired.keys() == {"add_number"}


def test_one_name_twice_is_one_value(new_rule):
    @new_rule(op("subtract", "x", "x"))
    def same_operands(r, x):
        """x - x, found."""
        return r.abs(x)

    module, _ = rewritten(
        """
        func @main(%x: f32[], %y: f32[]) -> (f32[], f32[]) {
          %0 = subtract(%x, %y) : f32[]
          %1 = subtract(%y, %y) : f32[]
          return %0, %1
        }""",
        same_operands,
    )
    assert [n.op.name for n in module.main.nodes] == ["subtract", "abs"]


def test_once_matches_single_uses_only(new_rule):
    @new_rule(op("negate", op("tanh", "x", once=True)))
    def single(r, x):
        """-tanh(x) is tanh(-x)."""
        return r.tanh(r.negate(x))

    used_twice, _ = rewritten(
        """
        func @main(%x: f32[]) -> (f32[], f32[]) {
          %0 = tanh(%x) : f32[]
          %1 = negate(%0) : f32[]
          return %1, %0
        }""",
        single,
    )
    assert [n.op.name for n in used_twice.main.nodes] == ["tanh", "negate"]
    used_once, _ = rewritten(
        """
        func @main(%x: f32[]) -> (f32[]) {
          %0 = tanh(%x) : f32[]
          %1 = negate(%0) : f32[]
          return %1
        }""",
        single,
    )
    assert [n.op.name for n in used_once.main.nodes] == ["negate", "tanh"]


def test_outputs_and_updates_count_as_uses(new_rule):
    counts = {}

    @new_rule("tanh")
    def count_uses(r, node):
        """Notes how often the result is used."""
        counts[node.location.layers[0]] = (r.single_use(node.result), len(r.users(node.result)))

    rewritten(
        """
        func @main(%x: f32[]) -> (f32[], f32[]) {
          param %w: f32[]
          %0 = tanh(%x) : f32[] @output
          %1 = tanh(%w) : f32[] @both
          %2 = tanh(%x) : f32[] @node
          %3 = negate(%2) : f32[]
          update %w = %1
          return %0, %1
        }""",
        count_uses,
    )
    assert counts == {"output": (True, 0), "both": (False, 0), "node": (True, 1)}


def test_outputs_and_updates_are_replaced(new_rule):
    @new_rule("negate")
    def negate_is_nothing(r, node):
        """-x is x, here."""
        return node.operands[0]

    module, _ = rewritten(
        """
        func @main(%x: f32[]) -> (f32[], f32[]) {
          param %w: f32[]
          %0 = negate(%x) : f32[]
          %1 = negate(%0) : f32[]
          update %w = %1
          return %1, %0
        }""",
        negate_is_nothing,
    )
    graph = module.main
    assert graph.outputs == [graph.inputs[0]] * 2 and graph.updates[0].value is graph.inputs[0]
    assert not graph.nodes


def test_a_node_with_several_results_is_replaced_whole(new_rule):
    @new_rule("top_k")
    def top_of_one(r, node):
        """The only element is the greatest."""
        x = node.operands[0]
        return (x, r.constant(np.zeros(1, np.int32))) if x.shape == (1,) else None

    module, _ = rewritten(
        """
        func @main(%x: f32[1]) -> (f32[1], i32[1]) {
          %0, %1 = top_k(%x) {k=1} : f32[1], i32[1]
          return %0, %1
        }""",
        top_of_one,
    )
    assert [n.op.name for n in module.main.nodes] == ["constant"]
    assert module.main.outputs[0] is module.main.inputs[0]


def test_rules_apply_inside_regions(new_rule):
    @new_rule(op("negate", op("negate", "x")))
    def twice(r, x):
        """Two signs are none."""
        return x

    module, log = rewritten(
        """
        func @main(%x: f32[]) -> (f32[]) {
          %0 = remat(%x) : f32[]
            region body(%1: f32[]) -> (f32[]) {
              %2 = remat(%1) : f32[]
                region body(%3: f32[]) -> (f32[]) {
                  %4 = negate(%3) : f32[]
                  %5 = negate(%4) : f32[] @deep
                  return %5
                }
              return %2
            }
          return %0
        }""",
        twice,
    )
    assert log.fired["twice"] == {"deep": 1}
    assert [n.op.name for n in module.walk()] == ["remat", "remat"]


def test_dead_operands_go_with_the_node_but_not_effects(new_rule):
    @new_rule("negate")
    def to_zero(r, node):
        """-x is 0, here."""
        return r.full_like(node.result, 0)

    module, _ = rewritten(
        """
        func @main(%x: f32[]) -> (f32[]) {
          %0 = custom_call(%x) {target="log", has_side_effect=true} : f32[]
          %1 = tanh(%0) : f32[]
          %2 = negate(%1) : f32[]
          return %2
        }""",
        to_zero,
    )
    assert [n.op.name for n in module.main.nodes] == ["custom_call", "constant"]


def test_what_a_rule_builds_and_does_not_use_goes(new_rule):
    @new_rule("negate")
    def wasteful(r, node):
        """Builds more than it returns."""
        r.sine(r.tanh(node.operands[0]))
        return r.abs(node.operands[0])

    @new_rule("tanh")
    def says_no_late(r, node):
        """Builds, then says no."""
        r.sine(node.operands[0])
        return NoMatch("not today")

    module, _ = rewritten(
        """
        func @main(%x: f32[]) -> (f32[]) {
          %0 = tanh(%x) : f32[]
          %1 = negate(%0) : f32[]
          return %1
        }""",
        wasteful,
        says_no_late,
    )
    assert [n.op.name for n in module.main.nodes] == ["tanh", "abs"]


def test_a_new_chance_for_users_of_what_changed(new_rule):
    """A rule that fits only after another one fired, in whatever order they are visited."""

    @new_rule("cosine")
    def cosine_to_negate(r, node):
        """cos x is -x, here."""
        return r.negate(node.operands[0])

    @new_rule(op("negate", op("negate", "x")))
    def cancel(r, x):
        """Two signs are none."""
        return x

    text = """
        func @main(%x: f32[]) -> (f32[]) {
          %0 = cosine(%x) : f32[]
          %1 = cosine(%0) : f32[]
          %2 = cosine(%1) : f32[]
          %3 = cosine(%2) : f32[]
          return %3
        }"""
    for rules in ((cosine_to_negate, cancel), (cancel, cosine_to_negate)):
        module, _ = rewritten(text, *rules)
        assert not module.main.nodes


def test_the_first_rule_that_applies_wins(new_rule):
    @new_rule("tanh")
    def first(r, node):
        """tanh is sine, here."""
        return r.sine(node.operands[0])

    @new_rule("*")
    def second(r, node):
        """tanh is cosine, here."""
        return r.cosine(node.operands[0]) if node.op.name == "tanh" else None

    assert rewritten(CHAIN, first, second)[1].fired.keys() == {"first"}
    assert rewritten(CHAIN, second, first)[1].fired.keys() == {"second"}


def test_explain_says_why_a_rule_did_not_apply(new_rule):
    @new_rule("tanh", "negate")
    def only_vectors(r, node):
        """Vectors alone."""
        return NoMatch("it is no vector") if node.result.rank != 1 else None

    _, log = rewritten(
        """
        func @main(%x: f32[2,2], %y: f32[2]) -> (f32[2,2], f32[2]) {
          %0 = tanh(%x) : f32[2,2] @dense
          %1 = negate(%y) : f32[2]
          return %0, %1
        }""",
        only_vectors,
        explain=True,
    )
    assert [(m.rule, m.node, m.reason) for m in log.misses] == [
        ("only_vectors", "tanh", "it is no vector"),
        ("only_vectors", "negate", "the pattern does not fit"),
    ]
    assert "dense" in str(log.misses[0])


def test_a_result_of_another_type_is_refused(new_rule):
    @new_rule("tanh")
    def wrong_type(r, node):
        """tanh of f32 is an integer, here."""
        return r.convert(node.operands[0], dtype="i32")

    with pytest.raises(PassError, match=r"wrong_type \(.*test_rewrite.py:\d+\).*f32\[2\].*i32\[2\]"):
        rewritten(CHAIN, wrong_type)


def test_too_few_results_are_refused(new_rule):
    @new_rule("top_k")
    def forgets_one(r, node):
        """The values alone."""
        return node.operands[0]

    with pytest.raises(PassError, match="forgets_one"):
        rewritten(
            """
            func @main(%x: f32[1]) -> (f32[1]) {
              %0, %1 = top_k(%x) {k=1} : f32[1], i32[1]
              return %0
            }""",
            forgets_one,
        )


def test_rules_that_undo_each_other_are_named(new_rule):
    @new_rule("sine")
    def there(r, node):
        """sine to cosine."""
        return r.cosine(node.operands[0])

    @new_rule("cosine")
    def and_back(r, node):
        """cosine to sine."""
        return r.sine(node.operands[0])

    with pytest.raises(PassError, match=r"do not come to an end.*(there.*and_back|and_back.*there)"):
        rewritten("func @main(%x: f32[]) -> (f32[]) {\n %0 = sine(%x) : f32[]\n return %0\n}", there, and_back)


def sharded_chain(last):
    """``last(tanh(x))``, whose result is laid over devices."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", (8, 2)), "x")
    result = last(Builder(graph), Builder(graph).tanh(x))
    result.type = TensorType("f32", (8, 2), sharding=("data", None))
    graph.outputs = [result]
    return Module({"main": graph})


def test_a_new_value_takes_over_the_sharding_of_the_old():
    module = sharded_chain(lambda b, x: b.subtract(b.full_like(x, -0.0), x))
    assert rewrite(module.main, RuleSet([RULES["subtract_from_zero"]]))
    verify(module)
    assert [n.op.name for n in module.main.nodes] == ["tanh", "negate"]
    assert module.main.outputs[0].type.sharding == ("data", None)


@pytest.mark.parametrize("of_operand, fires", [(None, False), (("data", None), True), ((None, "model"), False)])
def test_a_rule_does_not_apply_where_a_sharding_would_be_lost(of_operand, fires):
    module = sharded_chain(lambda b, x: b.multiply(x, b.full_like(x, 1)))
    module.main.nodes[0].result.type = TensorType("f32", (8, 2), sharding=of_operand)
    log = Log(explain=True)
    assert rewrite(module.main, RuleSet([RULES["times_one"]]), log) == fires
    verify(module)
    assert module.main.outputs[0].type.sharding == ("data", None)
    assert fires or "laid over the devices" in log.misses[0].reason


def test_an_error_in_a_rule_names_rule_and_node(new_rule):
    @new_rule("tanh")
    def adds_two_shapes(r, node):
        """Adds what does not fit."""
        return r.add(node.operands[0], r.constant(1.0, "f32"))

    with pytest.raises(PassError, match=r"rule adds_two_shapes .*test_rewrite.py.*failed at .*tanh"):
        rewritten(CHAIN, adds_two_shapes)


def test_a_rule_name_is_taken_once(new_rule):
    def named_alike(r, node):
        """Nothing."""

    new_rule("tanh")(named_alike)
    with pytest.raises(PassError, match=r"named_alike.*declared twice"):
        new_rule("sine")(named_alike)


def test_rules_know_their_meaning_and_source():
    for one in RULES.values():
        path, line = one.source.rsplit(":", 1)
        assert path.endswith(".py") and int(line) > 0
        assert one.meaning and one.meaning != one.name and "\n" not in one.meaning


def test_locations_of_all_that_went_are_kept(new_rule):
    @new_rule(op("add", op("multiply", "x", "y", once=True), "z"))
    def fuse(r, x, y, z):
        """x * y + z is atan2(x, y), here."""
        return r.atan2(x, y)

    module, _ = rewritten(
        """
        func @main(%x: f32[], %y: f32[]) -> (f32[]) {
          %0 = tanh(%y) : f32[] @activation
          %1 = multiply(%x, %y) : f32[] @scale
          %2 = add(%1, %0) : f32[] @bias
          return %2
        }""",
        fuse,
    )
    (node,) = module.main.nodes
    assert set(node.location.layers) == {"activation", "scale", "bias"}


def test_a_name_survives_where_the_new_value_has_none(new_rule):
    @new_rule("tanh")
    def to_sine(r, node):
        """tanh is sine, here."""
        return r.sine(node.operands[0])

    module, _ = rewritten(
        """
        func @main(%x: f32[]) -> (f32[]) {
          %hidden = tanh(%x) : f32[]
          return %hidden
        }""",
        to_sine,
    )
    assert module.main.outputs[0].name == "hidden"


def test_a_name_goes_to_an_older_value_without_one(new_rule):
    @new_rule("negate")
    def sign_is_nothing(r, node):
        """-x is x, here."""
        return node.operands[0]

    module, _ = rewritten(
        """
        func @main(%x: f32[]) -> (f32[], f32[]) {
          %0 = tanh(%x) : f32[]
          %logits = negate(%0) : f32[]
          %other = negate(%x) : f32[]
          return %logits, %other
        }""",
        sign_is_nothing,
    )
    assert [v.name for v in module.main.outputs] == ["logits", "x"]


def test_scalars_are_seen_through_shapes():
    graph = Graph()
    x = graph.add_input(TensorType("f32"), "x")
    b = Builder(graph)
    two = b.constant(2.0, "f32")
    assert scalar_of(two) == 2.0
    assert scalar_of(b.transpose(b.reshape(b.full((2, 3), 2.0, "f32"), shape=(3, 2)), permutation=(1, 0))) == 2.0
    assert scalar_of(b.constant([2.0, 2.0], "f32")) is None
    assert scalar_of(x) is None and scalar_of(b.negate(two)) is None


def test_drop_dead_keeps_what_is_used():
    graph = Graph()
    x = graph.add_input(TensorType("f32"), "x")
    w = graph.add_parameter("w", TensorType("f32"))
    b = Builder(graph, location=Location(("layer",)))
    kept = b.tanh(x)
    b.sine(b.cosine(kept))
    graph.outputs = [kept]
    graph.updates = [Update(w, b.negate(x))]
    log = Log()
    assert drop_dead(graph, log)
    assert [n.op.name for n in graph.nodes] == ["tanh", "negate"]
    assert log.fired == {"dead_code": {"layer": 2}}
    assert not drop_dead(graph)


@given(
    st.lists(
        st.tuples(st.sampled_from(["negate", "abs", "add"]), st.integers(0, 5), st.integers(0, 5)),
        min_size=1,
        max_size=25,
    ),
    st.lists(st.integers(0, 30), min_size=1, max_size=3),
)
@settings(max_examples=80)
def test_uses_stay_right_through_many_rewrites(steps, outputs):
    """After any sequence of rewrites the graph is in order and means the same."""
    graph = Graph()
    values = [graph.add_input(TensorType("i32", (2,)), name) for name in "xy"]
    b = Builder(graph)
    for name, i, j in steps:
        operands = [values[-1 - i % len(values)], values[-1 - j % len(values)]][: 2 if name == "add" else 1]
        values.append(b.emit(name, operands)[0])
    graph.outputs = [values[i % len(values)] for i in outputs]
    module = Module({"main": graph})
    inputs = [np.array([3, -4], np.int32), np.array([-5, 7], np.int32)]
    before, _ = evaluate(module, *inputs)
    rewrite(
        graph,
        RuleSet(
            [
                RULES[n]
                for n in (
                    "double_negate",
                    "abs_of_sign",
                    "add_negated",
                    "subtract_negated",
                    "subtract_self",
                    "add_zero",
                )
            ]
        ),
    )
    verify(module)
    after, _ = evaluate(module, *inputs)
    assert all(itertools.starmap(np.array_equal, zip(before, after, strict=True)))
