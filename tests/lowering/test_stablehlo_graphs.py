"""Whole graphs as StableHLO: signature, functions, locations that reach optimized HLO, collectives, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from op_cases import region

from lamina.ir import (
    Builder,
    Graph,
    Location,
    Module,
    TensorType,
    Update,
    binary_region,
    clone_module,
    evaluate,
    symbol,
)
from lamina.ir.errors import ArgumentError, DTypeError, LaminaError, ParseError, UnsupportedError, VerificationError
from lamina.ir.location import Frame
from lamina.ir.opdef import OPS
from lamina.lowering.mlir import context, ir
from lamina.lowering.stablehlo import LOWERINGS, emit, emit_into, parse
from lamina.runtime.dispatch import Program, jitted
from lamina.runtime.pjrt import compile_and_load

RNG = np.random.default_rng(3)


def dense(rows=4):
    """A model of two layers, with a counter that each run increments."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", (rows, 3)), "x")
    w = graph.add_parameter("kernel", TensorType("f32", (3, 5))).value
    count = graph.add_parameter("count", TensorType("i32"))
    b = Builder(graph)
    with b.at(Location(("model/dense_1",), (Frame("user.py", 12, "call"),))):
        y = b.dot_general(x, w, lhs_contract=(1,), rhs_contract=(0,))
    with b.at(Location(("model/norm", "model/scale"))):
        y = b.tanh(y)
    graph.outputs = [b.softmax(y, axis=1)]
    graph.updates = [Update(count, b.add(count.value, b.constant(1, "i32")))]
    return Module({"main": graph}, "model")


def arrays(rows=4):
    return {"kernel": RNG.normal(size=(3, 5)).astype(np.float32), "count": np.int32(7)}, RNG.normal(
        size=(rows, 3)
    ).astype(np.float32)


def run(module, *values):
    return [np.asarray(v) for v in compile_and_load(emit(module)).run(*map(np.asarray, values))]


def program_of(graph, key, functions=None):
    return Program(
        key,
        lambda avals: [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in graph.results],
        lambda ctx, values: emit_into(ctx, graph, values, functions),
    )


def test_every_op_has_a_row_or_a_decomposition():
    assert [name for name, op in OPS.items() if name not in LOWERINGS and not op.is_composite] == []
    assert [name for name in LOWERINGS if name not in OPS] == []


def test_main_takes_parameters_then_inputs_and_returns_outputs_then_updates():
    module, (parameters, x) = dense(), arrays()
    text = str(emit(module))
    assert "module @model" in text
    assert (
        "@main(%arg0: tensor<3x5xf32>, %arg1: tensor<i32>, %arg2: tensor<4x3xf32>) -> (tensor<4x5xf32>, tensor<i32>)"
        in text
    )
    y, count = run(module, *parameters.values(), x)
    (expected,), updates = evaluate(module, x, parameters=parameters)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    assert count == updates["count"] == 8


def test_optimized_hlo_names_the_layers_and_the_users_line():
    parameters, x = arrays()
    standalone = compile_and_load(emit(dense())).hlo()
    graph = dense().main
    inlined = jitted(program_of(graph, "dense")).lower(*parameters.values(), x).compile().as_text()
    for text in (standalone, inlined):
        assert "model/dense_1/dot_general" in text
        assert "model/norm+model/scale/tanh" in text  # merged layers are joined
        assert "user.py" in text and "line=12" in text


def test_nodes_inside_a_region_take_the_layer_of_the_node_around_them():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 3)), "x")
    step = region([("f32", (3,))] * 2, lambda b, carry, row: (b.add(carry, b.sine(row)),))
    with Builder(graph).at(Location(("recurrent",))) as b:
        graph.outputs = [b.scan(x and b.full((3,), 0.0, "f32"), x, carries=1, length=4, regions=[step])]
    text = emit(Module({"main": graph})).operation.get_asm(enable_debug_info=True)
    assert 'loc("recurrent/sine"' in text


def test_a_symbolic_graph_is_open_and_its_specialisation_runs():
    module = dense(symbol("N"))
    assert "tensor<?x" in str(emit(module))
    parameters, x = arrays(6)
    y, _ = run(clone_module(module, {"N": 6}), *parameters.values(), x)
    np.testing.assert_allclose(y, evaluate(module, x, parameters=parameters)[0][0], rtol=1e-6, atol=1e-6)


def test_a_symbol_that_no_argument_has_is_refused():
    graph = Graph()
    n = symbol("N")
    Builder(graph).dim_value(dim=n)
    graph.outputs = [graph.nodes[0].result]
    with pytest.raises(UnsupportedError, match="no argument has N"):
        emit(Module({"main": graph}))


def test_called_functions_become_private_ones_emitted_once():
    body = region([("f32", (3,))], lambda b, x: b.multiply(x, x))
    graph = Graph()
    x = graph.add_input(TensorType("f32", (3,)), "x")
    b = Builder(graph)
    once = b.call(x, callee="square", results=[x.type])
    graph.outputs = [b.call(once, callee="square", results=[x.type])]
    module = Module({"main": graph, "square": body})
    text = str(emit(module))
    assert text.count("func.func private @square") == 1 and text.count("call @square") == 2
    given = RNG.normal(size=3).astype(np.float32)
    np.testing.assert_allclose(run(module, given)[0], given**4, rtol=1e-6)
    # Inside jax, beside a function of jax's own that has the name already.
    program = program_of(graph, "calls", module.functions)

    @jax.jit
    def square(v):
        return v + 1

    both = jax.jit(lambda v: jitted(program)(square(v))[0])
    np.testing.assert_allclose(both(given), (given + 1) ** 4, rtol=1e-5)
    with pytest.raises(ArgumentError, match="no function 'square'"):
        emit(Module({"main": graph}))


def test_a_composite_is_emitted_under_its_name_and_inlined_by_xla():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (3,)), "x")
    body = region([("f32", (3,))], lambda b, x: b.add(x, x))
    graph.outputs = [Builder(graph).composite(x, name="my.twice", attrs="{k = 2 : i64}", regions=[body])]
    text = str(emit(Module({"main": graph})))
    assert 'stablehlo.composite "my.twice"' in text and "k = 2 : i64" in text
    np.testing.assert_array_equal(run(Module({"main": graph}), np.ones(3, np.float32))[0], [2, 2, 2])
    graph.nodes[0].attributes["attrs"] = "{k = "
    with pytest.raises(ParseError, match=r"my\.twice"):
        emit(Module({"main": graph}))


def test_random_keys_and_bits_are_those_of_jax():
    graph = Graph()
    key = graph.add_input(TensorType("ui32", (2,)), "key")
    b = Builder(graph)
    bits = [b.threefry_bits(key, shape=(3, 5), dtype=t) for t in ("ui8", "ui16", "ui32", "ui64")]
    graph.outputs = [*bits, b.threefry_split(key, count=3), b.threefry_fold_in(key, b.constant(9, "ui32"))]
    with jax.threefry_partitionable(True), jax.enable_x64(True):
        theirs = jax.random.key(12345)
        expected = [jax.random.bits(theirs, (3, 5), t) for t in (jnp.uint8, jnp.uint16, jnp.uint32, jnp.uint64)]
        expected += [jax.random.key_data(k) for k in (jax.random.split(theirs, 3), jax.random.fold_in(theirs, 9))]
        expected = [np.asarray(e) for e in expected]
        data = np.asarray(jax.random.key_data(theirs))
    for ours, want in zip(run(Module({"main": graph}), data), expected, strict=True):
        assert ours.dtype == want.dtype
        np.testing.assert_array_equal(ours, want)


def test_ops_of_chlo_compile_inside_jax_too():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (6,)), "x")
    b = Builder(graph)
    names = [
        "sinh",
        "cosh",
        "asin",
        "acos",
        "atan",
        "asinh",
        "acosh",
        "atanh",
        "erf",
        "erfc",
        "erf_inv",
        "lgamma",
        "digamma",
    ]
    graph.outputs = [*(b.emit(name, (x,))[0] for name in names), b.next_after(x, b.full_like(x, 1)), *b.top_k(x, k=2)]
    given = np.array([-0.9, -0.4, 0.1, 0.5, 0.7, 0.99], np.float32)
    results = jitted(program_of(graph, "chlo"))(given)
    for ours, expected in zip(results, evaluate(graph, given)[0], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=3e-6, atol=5e-6)  # XLA's lgamma is the worst


def test_a_scan_in_a_scan_counts_every_step():
    """Rows of a matrix summed by an inner scan, totals by an outer one."""
    add = region([("i32", ())] * 2, lambda b, carry, x: (b.add(carry, x), b.add(carry, x)))

    def row_step(b, carry, row):
        total, partial = b.scan(carry, row, carries=1, length=4, reverse=True, regions=[add])
        return total, partial

    graph = Graph()
    x = graph.add_input(TensorType("i32", (3, 4)), "x")
    b = Builder(graph)
    graph.outputs = list(
        b.scan(b.constant(0, "i32"), x, carries=1, length=3, regions=[region([("i32", ()), ("i32", (4,))], row_step)])
    )
    given = np.arange(12, dtype=np.int32).reshape(3, 4)
    total, partial = run(Module({"main": graph}), given)
    assert total == given.sum()
    np.testing.assert_array_equal(partial[:, ::-1].reshape(-1), np.cumsum(given[:, ::-1].reshape(-1)))


COLLECTIVES = {
    "all_reduce": {"groups": ((0,),), "regions": [binary_region("add", "f32")]},
    "all_gather": {"groups": ((0,),), "axis": 0},
    "reduce_scatter": {"groups": ((0,),), "axis": 0, "regions": [binary_region("add", "f32")]},
    "all_to_all": {"groups": ((0,),), "split_axis": 0, "concat_axis": 1, "split_count": 1},
    "collective_permute": {"pairs": ((0, 0),)},
}


@pytest.mark.parametrize("name", COLLECTIVES)
def test_a_collective_of_one_device_is_the_identity(name):
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 2)), "x")
    attributes = dict(COLLECTIVES[name])
    regions = attributes.pop("regions", ())
    graph.outputs = list(Builder(graph).emit(name, (x,), attributes, regions))
    given = RNG.normal(size=(4, 2)).astype(np.float32)
    (expected,), _ = evaluate(graph, given)
    np.testing.assert_array_equal(run(Module({"main": graph}), given)[0], expected)


def test_the_partition_of_one_device_is_0():
    graph = Graph()
    graph.outputs = [Builder(graph).partition_id()]
    assert run(Module({"main": graph}))[0] == 0


@pytest.mark.parametrize("version", [2, 4])
def test_a_custom_call_keeps_its_target_and_configuration(version):
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4,)), "x")
    config = "text" if version == 2 else "{eps = 1.0 : f32}"
    graph.outputs = [
        Builder(graph).custom_call(
            x, target="their_target", backend_config=config, api_version=version, results=[x.type], has_side_effect=True
        )
    ]
    text = str(emit(Module({"main": graph})))
    assert "@their_target" in text and "has_side_effect = true" in text
    assert ("eps = 1.0" in text) if version == 4 else ('"text"' in text)


def test_a_wrong_graph_is_an_error_of_ours_that_names_op_and_layer():
    module = dense()
    node = next(n for n in module.main.nodes if n.op.name == "tanh")
    node.result.type = TensorType("f32", (4, 6))
    with pytest.raises(VerificationError, match=r"tanh(?s:.*)model/norm \+ model/scale"):
        emit(module)
    parameters, x = arrays()
    with pytest.raises(VerificationError, match="tanh"):
        jitted(program_of(module.main, "wrong"))(*parameters.values(), x)


def test_values_that_do_not_fit_the_graph_are_refused_by_name():
    parameters, x = arrays()
    program = program_of(dense().main, "fits")
    with pytest.raises(DTypeError, match=r"input x: expected f32\[4,3\], received f32\[4,2\]"):
        jitted(program)(*parameters.values(), x[:, :2])
    with pytest.raises(ArgumentError, match=r"expected 3 values .*received 2"):
        jitted(program)(*parameters.values())


def test_text_and_bytecode_are_read_back():
    module = emit(dense())
    assert str(parse(str(module))) == str(module)
    with pytest.raises(LaminaError, match="no valid MLIR"):
        parse("func.func public @main(%a: tensor<2xf32>) -> tensor<3xf32> { return %a : tensor<2xf32> }")


def test_emission_leaves_no_context_behind():
    emit(dense())
    with context():
        assert ir.Context.current is not None
    assert ir.Context.current is None
