"""The pass `decompose`: composites become primitives everywhere, mean the same, and keep place and name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meaning import assert_same_meaning
from op_cases import CASES
from strategies import arrays_for, modules

from lamina.ir import OPS, Builder, Graph, Module, TensorType, difference, parse, verify
from lamina.ir.errors import PassError
from lamina.passes import run_pipeline

COMPOSITES = sorted(name for name, op in OPS.items() if op.is_composite)


def decompose(program, options=""):
    module = parse(program) if isinstance(program, str) else program
    result, (record,) = run_pipeline(module, f"decompose{options}", verify=True)
    return result, record


def composites_in(module):
    return {node.op.name for node in module.walk() if node.op.is_composite}


def test_sharded_results_stay_sharded():
    result, _ = decompose("""
        func @main(%x: f32[8,3]) -> (f32[8,3]) {
          %0 = relu6(%x) : f32[8,3] sharding(["data",none])
          %1 = reshape(%x) {shape=[8,3]} : f32[8,3]
          %2 = relu(%1) : f32[8,3] sharding([none,"model"])
          %3 = add(%0, %2) : f32[8,3]
          return %3
        }""")
    left, right = result.main.outputs[0].producer.operands
    assert (left.type.sharding, right.type.sharding) == (("data", None), (None, "model"))


def test_a_composite_becomes_its_decomposition_at_its_place():
    result, record = decompose("""
        func @main(%x: f32[N,3]) -> (f32[N,3]) {
          %0 = tanh(%x) : f32[N,3] @before
          %activated = relu(%0) : f32[N,3] @dense/relu
          %1 = negate(%activated) : f32[N,3] @after
          return %1
        }""")
    assert (
        difference(
            result,
            parse("""
        func @main(%x: f32[N,3]) -> (f32[N,3]) {
          %0 = tanh(%x) : f32[N,3] @before
          %1 = constant {value=f32[] 0.0} : f32[] @dense/relu
          %2 = broadcast_in_dim(%1) {shape=[N,3], dims=[]} : f32[N,3] @dense/relu
          %activated = maximum(%0, %2) : f32[N,3] @dense/relu
          %3 = negate(%activated) : f32[N,3] @after
          return %3
        }"""),
        )
        is None
    ), str(result)
    (fired,) = record.fired
    assert (fired.rule, fired.count, fired.layers) == ("relu", 1, (("dense/relu", 1),))
    assert record.changed and (record.nodes_before, record.nodes_after) == (3, 5)


def test_composites_inside_a_decomposition_are_decomposed_too():
    result, _ = decompose("""
        func @main(%x: f32[N,3]) -> (f32[N,3]) {
          %0 = softmax(%x) {axis=1} : f32[N,3] @probabilities
          return %0
        }""")
    assert not composites_in(result)
    assert all(node.location.layers == ("probabilities",) for node in result.main.nodes)


def test_functions_and_regions_are_decomposed():
    result, record = decompose("""
        func @main(%p: i1[], %x: f32[3]) -> (f32[3]) {
          %0 = cond(%p, %x) : f32[3]
            region branches(%1: f32[3]) -> (f32[3]) {
              %2 = remat(%1) : f32[3]
                region body(%3: f32[3]) -> (f32[3]) {
                  %4 = relu(%3) : f32[3] @deep
                  return %4
                }
              return %2
            }
            region branches(%5: f32[3]) -> (f32[3]) {
              return %5
            }
          %6 = call(%0) {callee="f"} : f32[3]
          return %6
        }
        func @f(%a: f32[3]) -> (f32[3]) {
          %0 = silu(%a) : f32[3]
          return %0
        }""")
    assert not composites_in(result)
    assert {f.rule for f in record.fired} == {"relu", "silu"}


def test_updates_and_outputs_follow():
    result, _ = decompose("""
        func @main(%x: f32[]) -> (f32[], f32[]) {
          param %w: f32[]
          %0 = relu(%x) : f32[]
          update %w = %0
          return %0, %0
        }""")
    graph = result.main
    assert graph.outputs[0] is graph.outputs[1] is graph.updates[0].value is graph.nodes[-1].result


def test_an_identity_disappears():
    result, _ = decompose("""
        func @main(%x: f32[]) -> (f32[]) {
          %0 = stop_gradient(%x) : f32[]
          return %0
        }""")
    assert not result.main.nodes and result.main.outputs == result.main.inputs
    assert result.main.inputs[0].name == "x"


@pytest.mark.parametrize(
    ("keep", "left"), [("softmax", {"softmax"}), ("softmax+relu", {"softmax", "relu"}), ("gelu", set())]
)
def test_named_composites_stay(keep, left):
    result, record = decompose(
        """
        func @main(%x: f32[N,3]) -> (f32[N,3]) {
          %0 = softmax(%x) {axis=1} : f32[N,3]
          %1 = relu(%0) : f32[N,3]
          return %1
        }""",
        f"{{keep={keep}}}",
    )
    assert composites_in(result) == left
    assert record.changed == (left != {"softmax", "relu"})


def test_a_composite_inside_a_decomposition_stays_where_it_is_kept():
    text = """
        func @main(%x: f32[N,3]) -> (f32[N,3]) {
          %0 = log_softmax(%x) {axis=1} : f32[N,3]
          return %0
        }"""
    inner = composites_in(decompose(text, "{keep=reduce_max+reduce_sum+logsumexp+stop_gradient}")[0])
    assert "log_softmax" not in inner
    assert inner <= {"reduce_max", "reduce_sum", "logsumexp", "stop_gradient"}


def test_an_unknown_composite_to_keep_is_named():
    with pytest.raises(PassError, match=r"keep=add.*no such composite"):
        decompose("func @main(%x: f32[]) -> (f32[]) {\n return %x\n}", "{keep=add}")


def test_a_module_without_composites_is_left_as_it_is():
    text = """
        func @main(%x: f32[]) -> (f32[]) {
          %0 = tanh(%x) : f32[]
          return %0
        }"""
    result, record = decompose(text)
    assert difference(result, parse(text)) is None and not record.changed and record.fired == ()


@given(modules(), st.integers(0, 3))
@settings(max_examples=120)
def test_decompose_keeps_the_meaning_bit_for_bit(module, seed):
    result, _ = decompose(module, "{final=true}")
    assert not composites_in(result)
    assert_same_meaning(module, result, *arrays_for(module, seed))


@pytest.mark.parametrize("name", sorted(set(COMPOSITES) & set(CASES)))
def test_each_composite_means_its_decomposition(name):
    """Equal bits where the op's meaning is its decomposition; equal types where it has a rule of its own."""

    @given(CASES[name])
    @settings(max_examples=4)
    def check(case):
        graph, inputs = case
        module = Module({"main": graph})
        result, _ = decompose(module, "{final=true}")  # those too that rules of a target start from
        verify(result)
        assert not composites_in(result)
        if OPS[name].evaluate is None:
            assert_same_meaning(module, result, inputs, {})
        else:
            assert [v.type for v in result.main.outputs] == [v.type for v in graph.outputs]

    check()


def test_a_failing_decomposition_names_the_node():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (2,)), "x")
    graph.outputs = [Builder(graph).softmax(x, axis=0)]
    graph.nodes[0].attributes["axis"] = 5
    with pytest.raises(PassError, match=r"pass decompose: .*softmax"):
        run_pipeline(Module({"main": graph}), "decompose")
