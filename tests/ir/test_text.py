"""Printing and parsing: what the text says, that it reads back equal, and that no text does harm."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import CASES
from strategies import SIZES, any_bits, arrays_for, modules

from lamina.ir import (
    Builder,
    Frame,
    Graph,
    Guard,
    Location,
    Module,
    TensorType,
    Update,
    clone_module,
    constants_of,
    difference,
    equal,
    evaluate,
    parse,
    print_module,
    symbol,
    verify,
)
from lamina.ir.dims import max_dim, min_dim
from lamina.ir.errors import ParseError
from lamina.ir.literals import array_text, digest, raw_bytes
from lamina.ir.types import ELEMENT_TYPES, TokenType, bit_width, is_integer

N, M = symbol("N"), symbol("M")

GOLDEN = """\
module @"my model"

func @main(%x: f32[N,8]) -> (probabilities: f32[N,4], f32[3,100]) {
  inputs {"features": 0}
  outputs [0, (1, none)]
  guard N >= 1 "no empty batch" @softmax
  param %dense/kernel: f32[8,4]
  %0 = dot_general(%x, %dense/kernel) {lhs_contract=[1], rhs_contract=[0]} : f32[N,4] @dense
  %1 = constant {value=f32[] -0.0} : f32[] @dense
  %2 = reduce(%0, %1) {axes=[1]} : f32[N] @dense
    region body(%3: f32[], %4: f32[]) -> (f32[]) {
      %5 = add(%3, %4) : f32[] @dense
      return %5
    }
  %6 = broadcast_in_dim(%2) {shape=[N,4], dims=[0]} : f32[N,4] @dense @"a b"
  %x#1 = logistic(%6) : f32[N,4]
  %7 = constant {value=f32[3,100] sha256:5635c103aca527a883054d69096408de [0.0,1.0,2.0,...]} : f32[3,100]
  %8 = constant {value=i32[2,2] [[1,2],[3,-4]]} : i32[2,2]
  %9 = constant {value=f32[8,4] splat(0.5)} : f32[8,4]
  update %dense/kernel = %9
  return %x#1, %7
}
"""


def golden_module():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (N, 8)), "x")
    kernel = graph.add_parameter("dense/kernel", TensorType("f32", (8, 4)), key=object())
    b = Builder(graph, location=Location(("dense",), (Frame("model.py", 3, "call"),)))
    y = b.dot_general(x, kernel.value, lhs_contract=(1,), rhs_contract=(0,))
    y = b.reduce_with("add", y, (1,), -0.0)
    with b.at(Location(("dense", "a b"))):
        y = b.broadcast_in_dim(y, shape=(N, 4), dims=(0,))
    with b.at(Location()):
        y = b.logistic(y)
        y.name = "x"
        large = b.constant(np.arange(300, dtype=np.float32).reshape(3, 100))
        b.constant(np.array([[1, 2], [3, -4]], np.int32))
        half = b.constant(np.full((8, 4), 0.5, np.float32))
    graph.outputs, graph.output_names = [y, large], ["probabilities", ""]
    graph.in_structure, graph.out_structure = {"features": 0}, [0, (1, None)]
    graph.guards.append(Guard(">=", N, 1, "no empty batch", Location(("softmax",))))
    graph.updates.append(Update(kernel, half))
    return Module({"main": graph}, "my model")


def module_of(*outputs, graph=None):
    graph = graph or Graph()
    graph.outputs = list(outputs)
    return Module({"main": graph})


def assert_reads_back(module):
    """Text with digests and text in full both read back equal, and print the same again."""
    text, constants = str(module), constants_of(module)
    back = parse(text, constants)
    assert difference(module, back) is None
    assert str(back) == text
    full = print_module(module, full=True)
    assert difference(module, parse(full)) is None
    assert "sha256:" not in full


def test_text_of_a_small_model():
    module = golden_module()
    assert str(module) == GOLDEN
    assert difference(parse(GOLDEN, constants_of(module)), module) is None


def test_comments_and_line_breaks_mean_nothing():
    module = golden_module()
    text = "# a header\n" + GOLDEN.replace(" = ", "\n=  # comment %x\n").replace(", ", ",")
    assert equal(parse(text, constants_of(module)), module)


def test_graph_prints_as_main_and_modules_need_no_header():
    graph = golden_module().main
    assert str(graph).startswith("func @main(%x: f32[N,8])")
    back = parse(str(graph), constants_of(graph))
    assert back.name == "main"
    assert equal(back.main, graph)


@settings(max_examples=150)
@given(modules(max_nodes=20))
def test_random_modules_read_back(module):
    assert_reads_back(module)
    verify(parse(str(module), constants_of(module)))


@settings(max_examples=25)
@given(modules())
def test_what_reads_back_means_the_same(module):
    inputs, parameters = arrays_for(module)
    expected, expected_updates = evaluate(module, *inputs, parameters=parameters, dims=SIZES)
    back = parse(str(module), constants_of(module))
    results, updates = evaluate(back, *inputs, parameters=parameters, dims=SIZES)
    assert [raw_bytes(r) for r in results] == [raw_bytes(r) for r in expected]
    assert {k: raw_bytes(v) for k, v in updates.items()} == {k: raw_bytes(v) for k, v in expected_updates.items()}


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=3)
@given(data=st.data())
def test_every_op_reads_back(name, data):
    graph, _ = data.draw(CASES[name])
    assert_reads_back(Module({"main": graph}))


# Constants


SMALL_FLOATS = [n for n, d in ELEMENT_TYPES.items() if d.itemsize <= 2 and not is_integer(d) and n != "i1"]


@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_every_bit_pattern_of_a_small_float_reads_back(name):
    dtype = ELEMENT_TYPES[name]
    bits = np.arange(1 << bit_width(dtype), dtype=f"u{dtype.itemsize}")
    b = Builder()
    for chunk in np.split(bits, max(len(bits) // 64, 1)):
        b.constant(chunk.view(dtype))
    module = module_of(graph=b.graph)
    assert "sha256" not in str(module)
    assert difference(parse(str(module)), module) is None


@pytest.mark.parametrize("name", sorted(ELEMENT_TYPES))
@settings(max_examples=20)
@given(st.integers(0, 2**20), st.sampled_from([(), (1,), (3, 2), (0,), (2, 0), (4, 4, 4), (5, 13), (1, 1, 1)]))
def test_constants_of_any_bits_read_back(name, seed, shape):
    array = any_bits(np.random.default_rng(seed), ELEMENT_TYPES[name], shape)
    graph = Graph()
    assert_reads_back(module_of(Builder(graph).constant(array), graph=graph))


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.float32(0.1), "f32[] 0.1"),
        (np.float64(0.1), "f64[] 0.1"),
        (np.array([np.inf, -np.inf, np.nan, -0.0], np.float32), "f32[4] [inf,-inf,nan,-0.0]"),
        (np.array([0x7FC00001, 0xFFC00000], np.uint32).view(np.float32), "f32[2] [nan(0x7fc00001),nan(0xffc00000)]"),
        (np.array([1.5, 1e30]).astype(ELEMENT_TYPES["bf16"]), "bf16[2] [1.5,1e+30]"),
        (np.array([[7], [-8]]).astype(ELEMENT_TYPES["i4"]), "i4[2,1] [[7],[-8]]"),
        (np.array([1.5 - 2j], np.complex64), "c64[1] [(1.5,-2.0)]"),
        (np.array([True, False]), "i1[2] [true,false]"),
        (np.zeros((0, 3), np.int8), "i8[0,3] []"),
        (np.full((1000, 1000), -1, np.int64), "i64[1000,1000] splat(-1)"),
        (np.full(2, np.nan), "f64[2] splat(nan)"),
        (np.array([0.0, -0.0]), "f64[2] [0.0,-0.0]"),
    ],
)
def test_text_of_constants(array, text):
    assert array_text(np.asarray(array)) == text


def test_constants_up_to_64_elements_are_written_out():
    assert "sha256" not in array_text(np.arange(64.0))
    assert array_text(np.arange(65.0)) == f"f64[65] {digest(np.arange(65.0))} [0.0,1.0,2.0,...]"


def test_digest_tells_type_shape_and_bits_apart():
    zeros = np.zeros(100, np.float32)
    others = [zeros.view(np.int32), zeros.reshape(10, 10), -zeros, np.zeros(101, np.float32)]
    assert len({digest(a) for a in [zeros, *others]}) == 5


def test_int_text_reads_as_float_and_values_round_once():
    # Halfway cases of float32: the decimal is rounded to the nearest float32 as Python and NumPy read it.
    module = parse("func @main() -> (f32[3]) { %0 = constant {value=f32[3] [1, 16777217, 1e999]} : f32[3] return %0 }")
    value = module.main.nodes[0].attributes["value"]
    np.testing.assert_array_equal(value, np.array([1, 16777216, np.inf], np.float32))


def test_missing_constant_is_named():
    with pytest.raises(ParseError, match=r"line 17: .*abbreviates.*constants=\{'sha256:5635c103.*constants_of"):
        parse(GOLDEN)


@pytest.mark.parametrize("array", [np.zeros(300, np.float32), np.zeros((3, 100)), np.ones((3, 100), np.float32)])
def test_wrong_constant_is_refused(array):
    with pytest.raises(ParseError, match=r"digest|expected an array of type"):
        parse(GOLDEN, {"sha256:5635c103aca527a883054d69096408de": array})


# Names, types, attributes, structures


ODD_NAMES = st.sampled_from(["x", "", "0", "x#1", "a b", 'q"\\', "ü", "a.b/c-d:0", "\n"])


@given(st.lists(ODD_NAMES | st.text(max_size=4), max_size=8))
def test_names_read_back(names):
    graph = Graph()
    for name in names:
        graph.add_input(TensorType("f32"), name)
    graph.output_names = list(names)
    assert_reads_back(module_of(*graph.inputs, graph=graph))


def test_input_and_parameter_names_may_differ_from_hints():
    graph = Graph()
    x, w = graph.add_input(TensorType("f32"), "x"), graph.add_parameter("w", TensorType("f32"))
    x.name, w.value.name = "hint", ""
    graph.outputs = [x, w.value]
    assert str(graph) == (
        'func @main(%hint "x": f32[]) -> (f32[], f32[]) {\n  param %0 "w": f32[]\n  return %hint, %0\n}\n'
    )
    assert_reads_back(Module({"main": graph}))


_LEAVES = st.sampled_from([N, M, N + 1, 2 * N, 3, 0, -1])
DIMS = st.recursive(
    _LEAVES,
    lambda d: st.one_of(
        st.tuples(d, d).map(lambda p: p[0] + p[1]),
        st.tuples(d, d).map(lambda p: p[0] * p[1]),
        st.tuples(d, d).map(lambda p: p[0] - p[1]),
        st.tuples(d, st.integers(1, 5)).map(lambda p: p[0] // p[1]),
        st.tuples(d, d).map(lambda p: max_dim(*p)),
        st.tuples(d, d).map(lambda p: min_dim(*p)),
    ),
    max_leaves=6,
)


@given(DIMS, DIMS)
def test_dimensions_read_back(left, right):
    graph = Graph(guards=[Guard("==", left, right)])
    if not isinstance(left, int):
        graph.outputs = [graph.add_input(TensorType("f32", (left, 2)), "x")]
    assert_reads_back(Module({"main": graph}))


STRUCTURES = st.recursive(
    st.none() | st.integers(0, 9),
    lambda s: st.one_of(
        st.lists(s, max_size=3),
        st.lists(s, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3) | st.integers(-2, 2), s, max_size=3),
    ),
    max_leaves=8,
)


@given(STRUCTURES, STRUCTURES)
def test_structures_read_back(inputs, outputs):
    assert_reads_back(Module({"main": Graph(in_structure=inputs, out_structure=outputs)}))


def test_attributes_of_kind_any_keep_their_types():
    graph = Graph()
    x, w = (graph.add_input(TensorType("f32", shape)) for shape in ((1, 1, 5), (1, 1, 2)))
    b = Builder(graph)
    y = b.convolution(
        x,
        w,
        strides=[1],
        padding=[(0, 0)],
        lhs_dilation=[1],
        rhs_dilation=[1],
        lhs_spec=[0, 1, 2],
        rhs_spec=[0, 1, 2],
        out_spec=[0, 1, 2],
        reversal=[True],
    )
    graph.nodes[-1].attributes["reversal"] = (True, 1, 1.0, "s", None, N + 1, ((),), math.inf, -2, -0.0, math.nan)
    assert_reads_back(module_of(y, graph=graph))


def test_sharding_and_tokens_read_back():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (8, N), sharding=("data", None, (2, 4))), "x")
    graph.outputs = [x, graph.add_input(TokenType(), "order")]
    assert 'x: f32[8,N] sharding(["data",none,[2,4]])' in str(graph)
    assert "%order: token" in str(graph)
    assert_reads_back(Module({"main": graph}))


def test_call_writes_its_result_types_once():
    callee = Graph()
    callee.outputs = [callee.add_input(TensorType("f32", (N,)), "x")]
    graph = Graph()
    x = graph.add_input(TensorType("f32", (N,)), "x")
    y = Builder(graph).call(x, callee="helper", results=[x.type])
    module = module_of(y, graph=graph)
    module.functions["helper"] = callee
    assert '%0 = call(%x) {callee="helper"} : f32[N]\n' in str(module)
    assert_reads_back(module)


# Equality


def _change(path, change):
    module = golden_module()
    change(module)
    assert not equal(module, golden_module()), path
    return difference(golden_module(), module)


def _set(target, name, value):
    setattr(target, name, value)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("module name", lambda m: _set(m, "name", "other")),
        ("functions", lambda m: m.functions.update(other=Graph())),
        ("attribute lhs_contract", lambda m: m.main.nodes[0].attributes.update(lhs_contract=(0,))),
        ("attribute lhs_contract", lambda m: m.main.nodes[0].attributes.update(lhs_contract=(True,))),
        ("attribute value", lambda m: m.main.nodes[1].attributes.update(value=np.float32(0.0).reshape(()))),
        ("layers", lambda m: _set(m.main.nodes[3], "location", Location(("dense",)))),
        ("operand 0", lambda m: m.main.nodes[4].operands.__setitem__(0, m.main.nodes[0].result)),
        ("number of operands", lambda m: m.main.nodes[4].operands.append(m.main.nodes[0].result)),
        ("number of nodes", lambda m: m.main.nodes.pop()),
        ("region 0: node 0 (add): op", lambda m: _set(m.main.nodes[2].regions[0].nodes[0], "op", m.main.nodes[0].op)),
        ("number of regions", lambda m: m.main.nodes[2].regions.clear()),
        ("name of result 0", lambda m: _set(m.main.nodes[0].result, "name", "y")),
        ("type of result 0", lambda m: _set(m.main.nodes[0].result, "type", TensorType("f32", (M, 4)))),
        ("type of input 0", lambda m: _set(m.main.inputs[0], "type", TensorType("f16", (N, 8)))),
        ("input names", lambda m: _set(m.main, "input_names", ["y"])),
        ("output names", lambda m: _set(m.main, "output_names", [])),
        ("input structure", lambda m: _set(m.main, "in_structure", (0,))),
        ("output structure", lambda m: _set(m.main, "out_structure", [0, [1, None]])),
        ("guards", lambda m: m.main.guards.clear()),
        ("guards", lambda m: m.main.guards.__setitem__(0, Guard(">=", N, 1, "no empty batch"))),
        ("parameters", lambda m: _set(m.main.parameters[0], "name", "dense/bias")),
        ("output 0", lambda m: m.main.outputs.reverse()),
        ("number of updates", lambda m: m.main.updates.clear()),
        ("update of dense/kernel", lambda m: _set(m.main.updates[0], "value", m.main.parameters[0].value)),
    ],
)
def test_difference_names_what_differs(what, change):
    assert what in _change(what, change)


def test_frames_and_keys_do_not_count():
    module = golden_module()
    module.main.nodes[0].location = Location(("dense",), (Frame("elsewhere.py", 9, "f"),))
    module.main.parameters[0].key = "another"
    assert equal(module, golden_module())


def test_nan_payloads_and_zero_signs_count():
    def module(value):
        return module_of(Builder(graph := Graph()).constant(value), graph=graph)

    quiet, other = np.uint32(0x7FC00000).view(np.float32), np.uint32(0x7FC00001).view(np.float32)
    assert equal(module(quiet), module(quiet))
    assert not equal(module(quiet), module(other))
    assert not equal(module(np.float32(0.0)), module(np.float32(-0.0)))


@settings(max_examples=25)
@given(modules())
def test_clones_are_equal(module):
    assert difference(clone_module(module), module) is None


# What is not IR


def main(body, inputs="%x: f32[2]", outputs=""):
    return f"func @main({inputs}) -> ({outputs}) {{\n  {body}\n  return }}"


def constant(text):
    return main(f"%0 = constant {{value={text}}} : f32[]")


@pytest.mark.parametrize(
    ("text", "message", "shown"),
    [
        ("", "expected 'func @main', found the end of the text", ""),
        ("func @f() -> () { return }", "expected 'func @main'", ""),
        (main("", "%x: f32[N"), "expected a type such as f32[N,3], found 'f32'", "f32[N)"),
        (main("", "%x: f33[2]"), "expected a type", "f33[2]"),
        (main("", "%x: f32[N*]"), "expected a dimension", "]"),
        (main("", "%x: f32[N//0]"), "not a dimension", "N//0"),
        (main("", "%x: f32[-1]"), "a dimension is an integer >= 0", "f32[-1]"),
        (main("%0 = tanhh(%x) : f32[]"), "no op 'tanhh'; did you mean tanh", "tanhh(%x)"),
        (main("%0 = tanh(%y) : f32[]"), "%y is not defined before it is used", "%y)"),
        (main("%x = tanh(%x) : f32[]"), "%x is defined twice", "%x = tanh"),
        (main("%0 = tanh(%x)"), "1 results are named, 0 types are given", "tanh(%x)"),
        (main("%0 = tanh(%x) {axis=1} : f32[]"), "tanh has no attribute 'axis'", "axis=1"),
        (main("%0 = argmax(%x) {axis=one} : i32[]"), "expected an integer, found 'one'", "one}"),
        (main("%0 = transpose(%x) : f32[2]"), "transpose needs the attribute", "transpose(%x)"),
        (main("", outputs="f32[2]"), "it returns ()", "(f32[2])"),
        (main("update %x = %x"), "%x is not a parameter", "%x = %x"),
        (main("guard N > 2"), "expected '==', '!=', '>=' or '<', found '>'", "> 2"),
        ("func @main() -> () { return", "expected '}', found the end of the text", ""),
        ('func @main("x: f32[2]) -> () { return }', "expected a value such as %x, found '\"'", '"x: f32'),
        (
            main("%0 = remat(%x) : f32[2] region body(%y: f32[2]) -> (f32[2]) { return %x }"),
            "a region sees no outer values",
            "%x }",
        ),
        (constant("i8[] 300"), "300 does not fit i8", "i8[] 300"),
        (constant("f32[2] [1]"), "expected ','", "]} :"),
        (constant("f32[N] [1]"), "a constant has a static type", "f32[N] [1]"),
        (constant("f32[99999,99999] splat(0)"), "a splat has from 2 to", "f32[99999"),
        (constant('i1[2] base64 "AAI="'), "a byte of a bool", "i1[2] base64"),
        (constant('i8[2] base64 "AA=="'), "takes 2 bytes, these are 1", "i8[2] base64"),
        (main("") + " func @main() -> () { return }", "'main' is defined twice", "@main() -> () { return }"),
    ],
)
def test_errors_show_the_place(text, message, shown):
    with pytest.raises(ParseError) as caught:
        parse(text)
    head, line, caret = str(caught.value).split("\n")
    assert message in head
    at = caret.index("^")
    assert line[at:].startswith(shown)
    number = int(head.removeprefix("line ").partition(":")[0])
    assert line.strip() in text.split("\n")[number - 1]


@pytest.mark.parametrize(
    "text",
    [
        "func @main(%x: f32[" + "(" * 5000 + "N" + ")" * 5000 + "]) -> () { return }",
        "func @main(%x: f32[" + "-" * 5000 + "N]) -> () { return } x",
        "func @main(%x: f32[N" + "//M" * 5000 + "]) -> () { return }",
        "func @main(%x: f32[" + "max(" * 500 + "N" + ",M)" * 500 + "]) -> () { return }",
        "func @main(%x: f32[" + "*".join(["(A+B+C+D+E+F+G+H)"] * 20) + "]) -> () { return }",
        "func @main(%x: f32[9" + "*9999999999999999999999999" * 500 + "]) -> () { return }",
        "func @main(%x: f32[" + "9" * 6000 + "]) -> () { return }",
        "func @main() -> () { inputs " + "(" * 5000 + ")" * 5000 + " return }",
        "func @main() -> () { %0 = constant {value=f32[" + "1," * 3000 + "1] " + "[" * 3000 + "} : f32[] return }",
        "func @main() -> () { " + "%0 = remat : f32[] region () -> () { " * 3000 + "}" * 3000,
        "func @main() -> () { %0 = constant {value=f32[9999999999999] [1]} : f32[] return }",
        "func @main() -> () { %0 = constant {value=f32[0,99999999999999999999999] []} : f32[] return }",
    ],
    ids=lambda text: text[:40] + str(len(text)),
)
def test_hostile_text_is_refused(text):
    with pytest.raises(ParseError):
        parse(text)


_SNIPPETS = [
    "%x",
    "%0",
    "}",
    "{",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    "->",
    "f32[N]",
    "f32[",
    "@",
    '"',
    "#",
    "=",
    "-",
    "%",
    "...",
    "sha256:00",
    "nan(0x1)",
    "splat(",
    'base64 "',
    "1e9",
    "99999999999",
    "N//0",
    "max(",
    "return",
    "region",
    "func",
    "none",
    "update",
    "guard",
    "inputs",
    "token",
    "sharding(",
    "\n",
    "\0",
    "\u2028",
    "²",
    "\\",
]


@settings(max_examples=300)
@given(modules(max_nodes=6), st.data())
def test_damaged_text_gives_a_module_or_a_parse_error(module, data):
    text = print_module(module, full=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 20)) | st.just(len(text)))
        new = data.draw(st.sampled_from(["", text[at:end] * 2, *_SNIPPETS]) | st.text(max_size=3))
        text = text[:at] + new + text[end:]
    try:
        module = parse(text)
    except ParseError as error:
        assert str(error).startswith("line ")
    else:
        assert equal(parse(print_module(module, full=True)), module)
