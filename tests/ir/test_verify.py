"""Verification: valid modules pass, and each broken rule is named, at its place in the text."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from op_cases import CASES
from strategies import modules

from lamina.ir import (
    Builder,
    Graph,
    Guard,
    Location,
    Module,
    OpDef,
    Parameter,
    TensorType,
    Update,
    Value,
    clone_module,
    equal,
    parse,
    print_module,
    symbol,
    verify,
)
from lamina.ir.errors import VerificationError
from lamina.ir.types import F32

N = symbol("N")
VECTOR = TensorType("f32", (N, 4))


def small_module():
    """main: a parameter with an update, a reduce with its region, a call; helper: tanh."""
    helper = Graph()
    helper.outputs = [Builder(helper).tanh(helper.add_input(VECTOR, "h"))]
    graph = Graph()
    x = graph.add_input(VECTOR, "x")
    w = graph.add_parameter("w", TensorType("f32", (4,)))
    b = Builder(graph, location=Location(("dense",)))
    y = b.add(x, b.broadcast_to(w.value, VECTOR.shape))
    total = b.reduce_with("add", y, (0,), 0.0)
    z = b.call(y, callee="helper", results=[VECTOR])
    graph.outputs = [z, b.softmax(z, axis=1)]
    graph.updates = [Update(w, total)]
    graph.in_structure, graph.out_structure = (0,), {"z": 0, "p": [1]}
    graph.guards = [Guard(">=", N, 1)]
    return Module({"main": graph, "helper": helper})


def node(module, op, function="main"):
    return next(n for n in module.functions[function].nodes if n.op.name == op)


@settings(max_examples=50)
@given(modules(max_nodes=20))
def test_random_modules_are_valid(module):
    verify(module)
    verify(clone_module(module))
    verify(module.main)


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=3)
@given(data=st.data())
def test_uses_of_every_op_are_valid(name, data):
    graph, _ = data.draw(CASES[name])
    verify(graph)


def test_small_module_is_valid():
    verify(small_module())


def swap_first_nodes(m):
    m.main.nodes[0], m.main.nodes[1] = m.main.nodes[1], m.main.nodes[0]


def use_outer_value(m):
    region = node(m, "reduce").regions[0]
    region.nodes[0].operands[1] = m.main.parameters[0].value


def call_itself(m):
    helper = m.functions["helper"]
    helper.outputs = [Builder(helper).call(helper.outputs[0], callee="main2", results=[VECTOR])]
    m.functions["main2"] = other = Graph()
    other.outputs = [Builder(other).call(other.add_input(VECTOR), callee="helper", results=[VECTOR])]


def retype(value, type_):
    value.type = type_


def take_parameter(m):
    helper = m.functions["helper"]
    helper.add_parameter("w", VECTOR)


def region_parameter(m):
    node(m, "reduce").regions[0].add_parameter("w", VECTOR)


# What is done to the module, what the message says, and how the marked line begins.
BROKEN = [
    (
        swap_first_nodes,
        "operand 1, %1: f32[N,4], is not defined in this graph before it is used (it is a result of broadcast_in_dim)",
        "%0 = add(%x, %1)",
    ),
    (use_outer_value, "operand 1, %w: f32[4], is not defined in this graph before it is used", "%6 = add(%4, %w)"),
    (lambda m: m.main.nodes.append(m.main.nodes[0]), "%0: f32[N,4] is defined twice", "%0 = broadcast_in_dim"),
    (lambda m: m.main.inputs.append(m.main.inputs[0]), "%x: f32[N,4] is defined twice", "func @main"),
    (
        lambda m: setattr(node(m, "add").result, "producer", None),
        "%1: f32[N,4] says that another node, or none, produces it",
        "%1 = add",
    ),
    (lambda m: setattr(m.main.inputs[0], "producer", m.main.nodes[0]), "%x: f32[N,4] says that another", "func @main"),
    # Types
    (
        lambda m: retype(node(m, "add").result, TensorType("f32", (N, 5))),
        "result 0 says f32[N,5], add of these operands gives f32[N,4]",
        "%1 = add",
    ),
    (lambda m: retype(node(m, "softmax").result, TensorType("f16", (N, 4))), "result 0 says f16[N,4]", "%8 = softmax"),
    (lambda m: retype(node(m, "add").result, None), "%1: None has no type", "%1 = add"),
    (lambda m: retype(m.main.inputs[0], "f32[N,4]"), "%x: f32[N,4] has no type", "func @main"),
    (lambda m: node(m, "add").operands.pop(), "add takes 2 operands, received 1", "%1 = add(%x)"),
    (lambda m: node(m, "softmax").operands.append(m.main.inputs[0]), "softmax", "%8 = softmax(%7, %x)"),
    (lambda m: node(m, "add").operands.__setitem__(1, m.main.parameters[0].value), "add", "%1 = add(%x, %w)"),
    (lambda m: retype(m.main.parameters[0].value, TensorType("f32", (4, 4))), "broadcast_in_dim", "%0 = broadcast_in"),
    (lambda m: setattr(node(m, "add"), "results", ()), "add has 1 results, this node 0", "add(%x, %0)"),
    # Ops, attributes and regions
    (lambda m: setattr(node(m, "add"), "op", OpDef("mystery", "")), "mystery is not a declared op", "%1 = mystery"),
    (lambda m: node(m, "softmax").attributes.update(axis=7), "axis", "%8 = softmax"),
    (lambda m: node(m, "softmax").attributes.update(axis=1.0), "'axis' should be int, it is 1.0 (float)", "%8 = soft"),
    (lambda m: node(m, "softmax").attributes.update(axis=True), "'axis' should be int, it is true (bool)", "%8 = soft"),
    (lambda m: node(m, "softmax").attributes.update(axes=1), "softmax has no attribute 'axes'", "%8 = softmax"),
    (lambda m: node(m, "softmax").attributes.clear(), "softmax lacks the attribute 'axis'", "%8 = softmax"),
    (lambda m: node(m, "constant").attributes.update(value=[0.0]), "'value' should be array", "%2 = constant"),
    (lambda m: node(m, "constant").attributes.update(value=np.array("a")), "'value' should be array", "%2 = constant"),
    (
        lambda m: node(m, "broadcast_in_dim").attributes.update(dims=[1]),
        "'dims' should be ints, it is [1] (list)",
        "%0 = broadcast_in_dim",
    ),
    (lambda m: node(m, "reduce").regions.clear(), "reduce takes 1 regions (body), this has 0", "%3 = reduce"),
    (lambda m: node(m, "add").regions.append(Graph()), "add takes 0 regions (none), this has 1", "%1 = add"),
    (region_parameter, "a region has no parameters", "region body("),
    (lambda m: node(m, "reduce").regions[0].outputs.clear(), "region 'body' returns ()", "%3 = reduce"),
    # Outputs, parameters, updates, guards
    (
        lambda m: m.main.outputs.append(Value(VECTOR, name="nobody")),
        "the output %nobody: f32[N,4] is not a value of this graph",
        "return %7, %8, %nobody",
    ),
    (lambda m: m.main.outputs.append(m.functions["helper"].outputs[0]), "is not a value of this graph", "return"),
    (lambda m: m.main.parameters.append(Parameter("w", Value(VECTOR))), "two parameters are named 'w'", 'param %0 "w"'),
    (
        lambda m: setattr(m.main.updates[0], "value", m.main.inputs[0]),
        "'w' has the type f32[4], its next value f32[N,4]",
        "update %w = %x",
    ),
    (lambda m: setattr(m.main.updates[0], "value", Value(VECTOR)), "the next value of 'w' is not a value", "update %w"),
    (
        lambda m: setattr(m.main.updates[0], "parameter", Parameter("v", m.main.inputs[0])),
        "the update is of 'v', which is not a parameter",
        "update %x",
    ),
    (
        lambda m: m.main.updates.append(Update(m.main.parameters[0], m.main.updates[0].value)),
        "'w' is updated twice",
        "update %w = %3",
    ),
    (
        lambda m: m.main.guards.append(Guard(">", N, 2)),
        "a guard compares two dimensions by one of == != >= <",
        "guard N > 2",
    ),
    # Names and structures
    (lambda m: m.main.input_names.clear(), "there are 1 inputs and 0 input names", "func @main"),
    (lambda m: setattr(m.main, "output_names", ["a"]), "there are 2 outputs and 1 output names", "func @main"),
    (lambda m: setattr(m.main, "in_structure", (0, 1)), "has the index 1; there are 1 inputs", "func @main"),
    (lambda m: setattr(m.main, "in_structure", (0, 0)), "each of the 1 inputs should be there once", "func @main"),
    (lambda m: setattr(m.main, "in_structure", ()), "each of the 1 inputs should be there once", "func @main"),
    (lambda m: setattr(m.main, "out_structure", {"a": -1}), "the output structure has the index -1", "func @main"),
    (lambda m: setattr(m.main, "out_structure", [True]), "the output structure holds True", "func @main"),
    # Calls
    (
        lambda m: node(m, "call").attributes.update(callee="nobody"),
        "the module has no function 'nobody'; it has main, helper",
        "%7 = call",
    ),
    (
        lambda m: retype(m.functions["helper"].inputs[0], TensorType("f32", (N, 5))),
        "the function 'helper' takes (f32[N,5]), the call has (f32[N,4])",
        "%7 = call",
    ),
    (
        lambda m: m.functions["helper"].outputs.append(m.functions["helper"].inputs[0]),
        "the function 'helper' returns (f32[N,4], f32[N,4]), the call has (f32[N,4])",
        "%7 = call",
    ),
    (
        lambda m: node(m, "call").operands.append(m.main.inputs[0]),
        "the function 'helper' takes (f32[N,4]), the call has (f32[N,4], f32[N,4])",
        "%7 = call",
    ),
    (take_parameter, "the function 'helper' has parameters or updates", "%7 = call"),
    (call_itself, "the functions are recursive: helper -> main2 -> helper", "%1 = call(%0)"),
]


@pytest.mark.parametrize(("damage", "message", "line"), BROKEN, ids=[case[1][:40] for case in BROKEN])
def test_broken_rule_is_named_and_marked(damage, message, line):
    module = small_module()
    damage(module)
    with pytest.raises(VerificationError) as caught:
        verify(module)
    head, *shown = str(caught.value).split("\n")
    assert head.startswith("function ")
    assert message in head
    mark = next(i for i, text in enumerate(shown) if "^^^" in text)
    assert shown[mark - 1].strip().startswith(line)
    assert shown[mark].strip().removeprefix("^^^ ") in head
    assert len(shown) <= 25


def test_message_names_layer_and_op():
    module = small_module()
    node(module, "softmax").result.type = TensorType("f32", (4,))
    with pytest.raises(VerificationError, match="function main, softmax at dense: result 0 says"):
        verify(module)


def test_long_graphs_are_shown_around_the_mark():
    graph = Graph()
    x = y = graph.add_input(VECTOR, "x")
    b = Builder(graph)
    for _ in range(100):
        y = b.add(y, x)
    graph.outputs = [y]
    graph.nodes[50].result.type = TensorType("f32")
    with pytest.raises(VerificationError) as caught:
        verify(graph)
    shown = str(caught.value).split("\n")[1:]
    assert len(shown) == 24
    assert shown[0].strip() == shown[-1].strip() == "..."
    assert [text.split(" ")[4] for text in shown[1:12]] == [f"%{i}" for i in range(40, 51)]


def test_callee_symbols_stand_for_the_operands_dimensions():
    module = small_module()
    for size in (3, 2 * N + 1):
        graph = Graph()
        x = graph.add_input(TensorType("f32", (size, 4)))
        graph.outputs = [Builder(graph).call(x, callee="helper", results=[x.type])]
        verify(Module({"main": graph, "helper": module.functions["helper"]}))
        graph.nodes[0].result.type = VECTOR
        graph.nodes[0].attributes["results"] = (VECTOR,)
        with pytest.raises(VerificationError, match="the function 'helper' returns"):
            verify(Module({"main": graph, "helper": module.functions["helper"]}))


def test_a_graph_alone_is_not_asked_what_it_calls():
    verify(small_module().main)


def test_a_module_needs_main():
    with pytest.raises(VerificationError, match="no function 'main'"):
        verify(Module({"f": Graph()}, "m"))


def test_equal_uses_of_a_composite_are_told_apart_by_attributes_and_types():
    """Inference is remembered per op, attributes and operand types; a wrong type after a right one is found."""
    graph = Graph()
    x, y = graph.add_input(VECTOR), graph.add_input(TensorType("f32", (3,)))
    b = Builder(graph)
    for _ in range(2):
        b.relu(x), b.relu(y)
    verify(graph)
    graph.nodes[3].results[0].type = VECTOR
    with pytest.raises(VerificationError, match=r"result 0 says f32\[N,4\], relu of these operands gives f32\[3\]"):
        verify(graph)


def damage_somewhere(module, nodes, values, draw):
    victim, value = draw(st.sampled_from(nodes)), draw(st.sampled_from(values))
    match draw(st.sampled_from(["operand", "drop", "type", "attribute", "region", "results", "order"])):
        case "operand" if victim.operands:
            victim.operands[draw(st.integers(0, len(victim.operands) - 1))] = value
        case "drop" if victim.operands:
            victim.operands.pop()
        case "type" if victim.results:
            victim.results[-1].type = value.type
        case "attribute" if victim.attributes:
            name = draw(st.sampled_from(sorted(victim.attributes)))
            odd = [None, 1, -1, (1,), "x", 0.5, N, (N, (1, 2)), np.zeros(3), np.zeros(100), F32]
            victim.attributes[name] = draw(st.sampled_from(odd))
        case "region" if victim.regions:
            region = draw(st.sampled_from(victim.regions))
            region.outputs = draw(st.lists(st.sampled_from(values), max_size=2))
        case "results":
            victim.results = victim.results[1:]
        case "order":
            module.main.nodes = draw(st.permutations(module.main.nodes))


@settings(max_examples=150)
@given(modules(max_nodes=10), st.data())
def test_random_damage_never_breaks_the_verifier(module, data):
    """Whatever is rewired, the answer is silence or a VerificationError, never another exception."""
    nodes = list(module.walk())
    assume(nodes)
    values = [*module.main.inputs, *(r for n in nodes for r in n.results)]
    for _ in range(data.draw(st.integers(1, 3))):
        damage_somewhere(module, nodes, values, data.draw)
    try:
        verify(module)
    except VerificationError as error:
        assert "^^^" in str(error)
    else:  # what passes can be written and read
        assert equal(parse(print_module(module, full=True)), module)
