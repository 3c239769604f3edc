"""Whole pipelines: every level keeps the meaning of random modules and of a network, on every way to the target."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import SIZES, arrays_for, modules

from lamina.ir import Builder, Graph, Location, Module, TensorType, Update, equal, evaluate, symbol
from lamina.passes import LEVELS, explain, format_records, run_pipeline, run_target, specialize, split_prepared

N = symbol("N")
EVERY_LEVEL = ("O0", "O1", "O2", "O3")


def f32(*shape):
    return TensorType("f32", shape)


def network():
    """A channels-first network: convolutions with batch_norm, a residual, a squeeze-and-excite gate, a dense layer."""
    graph = Graph()
    b = Builder(graph)

    def weight(name, *shape):
        return graph.add_parameter(name, f32(*shape)).value

    def convolution(x, name, features, size, bias=True):
        with b.at(Location((name,))):
            edge = size // 2
            kernel = weight(f"{name}/kernel", size, size, x.shape[1], features)
            y = b.convolution(
                x,
                kernel,
                strides=(1, 1),
                padding=((edge, edge),) * 2,
                lhs_dilation=(1, 1),
                rhs_dilation=(1, 1),
                lhs_spec=(0, 1, 2, 3),
                rhs_spec=(3, 2, 0, 1),
                out_spec=(0, 1, 2, 3),
            )
            if not bias:
                return y
            vector = b.reshape(weight(f"{name}/bias", features), shape=(1, features, 1, 1))
            return b.add(y, b.broadcast_to(vector, y.shape))

    def normalized(x, name):
        with b.at(Location((name,))):
            parts = [weight(f"{name}/{part}", x.shape[1]) for part in ("mean", "variance", "gamma", "beta")]
            return b.relu(b.batch_norm(x, *parts, axis=1))

    x = graph.add_input(f32(N, 3, 8, 8), "image")
    x = normalized(convolution(x, "stem", 8, 3), "stem_norm")
    x = b.max_pool(x, window=(1, 1, 2, 2), strides=(1, 1, 2, 2), padding=((0, 0),) * 4)
    x = b.add(x, normalized(convolution(x, "body", 8, 3, bias=False), "body_norm"))
    gate = b.logistic(convolution(b.reduce_mean(x, axes=(2, 3), keepdims=True), "gate", 8, 1))
    x = b.multiply(x, b.broadcast_to(gate, x.shape))
    x = b.concatenate(x, b.silu(convolution(x, "wide", 4, 3)), axis=1)
    flat = b.reshape(x, shape=(N, 12 * 4 * 4))
    logits = b.dot_general(
        flat, weight("dense/kernel", 192, 10), lhs_batch=(), rhs_batch=(), lhs_contract=(1,), rhs_contract=(0,)
    )
    graph.outputs, graph.output_names = [b.softmax(logits, axis=-1)], ["probabilities"]
    return Module({"main": graph}, "network")


def example(module):
    """An image batch and parameters of a usual size; variances are positive."""
    rng = np.random.default_rng(0)
    parameters = {p.name: rng.normal(0, 0.3, p.type.shape).astype(np.float32) for p in module.main.parameters}
    for name in parameters:
        if name.endswith("variance"):
            parameters[name] = np.abs(parameters[name]) + np.float32(0.5)
    return rng.normal(size=(2, 3, 8, 8)).astype(np.float32), parameters


def run(module, image, parameters):
    """Evaluate a module and, before it, the function that prepares its parameters."""
    prepare, module = split_prepared(module)
    prepared = []
    if prepare is not None:
        prepared, _ = evaluate(prepare, parameters={p.name: parameters[p.name] for p in prepare.parameters})
    given = {
        p.name: prepared[p.key[1]] if isinstance(p.key, tuple) else parameters[p.name] for p in module.main.parameters
    }
    (output,), _ = evaluate(module, image, parameters=given)
    return output


def ops(module):
    return [node.op.name for node in module.main.nodes]


@pytest.mark.parametrize("level", EVERY_LEVEL)
def test_a_network_keeps_its_results(level):
    module = network()
    image, parameters = example(module)
    optimized, _ = run_pipeline(module, level, verify=True)
    # Probabilities: folded kernels round differently, by some eps (1.2e-7) of values of about 1.
    np.testing.assert_allclose(run(optimized, image, parameters), run(module, image, parameters), rtol=0, atol=2e-6)


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_a_channels_first_network_is_transposed_at_its_edges_only(level):
    optimized, _ = run_pipeline(network(), level, verify=True)
    names = ops(optimized)
    assert names.count("transpose") == 2
    assert names[0] == "transpose"  # the image
    assert names[names.index("reshape", names.index("concatenate")) - 1] == "transpose"  # before flattening
    specs = {n.attributes["lhs_spec"] for n in optimized.walk() if n.op.name == "convolution"}
    assert specs == {(0, 3, 1, 2)}


def test_folding_leaves_no_trace_of_batch_norm_in_what_runs():
    prepare, main = split_prepared(run_pipeline(network(), "O2", verify=True)[0])
    assert "rsqrt" not in ops(main)
    assert [n.op.name for n in prepare.nodes].count("rsqrt") == 2
    assert not any("norm" in p.name and not p.name.startswith("prepared/") for p in main.main.parameters)


def test_a_rule_is_switched_off_in_a_level():
    module = network()
    image, parameters = example(module)
    optimized, records = run_pipeline(module, "O2,-fold_batch_norm,-layout", verify=True)
    assert "fold_batch_norm" not in {f.rule for r in records for f in r.fired}
    assert "layout" not in {r.name for r in records}
    assert "transpose" not in ops(optimized)
    np.testing.assert_allclose(run(optimized, image, parameters), run(module, image, parameters), rtol=0, atol=2e-6)


def test_a_specialized_module_goes_on_to_its_target():
    module = network()
    image, parameters = example(module)
    optimized, _ = run_pipeline(module, "O2,-prepare", verify=True)
    ready, records = run_target(specialize(optimized, {"N": 2}), "cpu", verify=True)
    assert [r.name for r in records] == ["cpu", "decompose{final=true}", "simplify{rounds=1}"]
    assert not any(n.op.is_composite for n in ready.walk())
    assert all(r.type.is_static for n in ready.walk() for r in n.results)
    np.testing.assert_allclose(run(ready, image, parameters), run(module, image, parameters), rtol=0, atol=2e-6)


def test_a_target_without_rules_here_gets_the_module_as_it_is():
    module = network()
    assert run_target(module, "torch") == (module, [])


def test_explain_names_layer_and_reason():
    assert explain(network(), "fold_batch_norm") == []  # both fold
    trained = network()
    kernel = next(p for p in trained.main.parameters if p.name == "stem/kernel")
    trained.main.updates.append(Update(kernel, kernel.value))
    (miss,) = explain(trained, "fold_batch_norm")
    assert miss.location.layers == ("stem_norm",)
    assert "not parameters that stay the same" in miss.reason


def test_records_say_where_rules_fired():
    _, records = run_pipeline(network(), "O2")
    rows = format_records(records)
    assert rows[0] == ("pass", "ms", "nodes", "rules")
    assert [row[0] for row in rows[1:]] == LEVELS["O2"].split(",")
    fold = next(row for row in rows if row[0] == "fold")
    assert fold[3] == "fold_batch_norm x2 (stem_norm, body_norm)"
    assert next(row for row in rows if row[0] == "recognize")[3] == "no change"


@settings(max_examples=60)
@given(modules(max_nodes=20, plain=True))
def test_every_level_keeps_the_meaning_of_random_modules(module):
    inputs, parameters = arrays_for(module)
    dims = {name: SIZES[name] for name in module.main.symbols}
    outputs, updates = evaluate(module, *inputs, parameters=parameters, dims=dims)
    for level in EVERY_LEVEL:
        optimized, _ = run_pipeline(module, f"{level},-prepare", verify=True)
        outputs_after, updates_after = evaluate(optimized, *inputs, parameters=parameters, dims=dims)
        assert updates.keys() == updates_after.keys()
        for x, y in [*zip(outputs, outputs_after, strict=True), *((updates[k], updates_after[k]) for k in updates)]:
            if x.dtype.kind == "f":
                # Recognised composites compute in another order: some eps (1.2e-7) of values of about 1.
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(x, y)


@settings(max_examples=40)
@given(modules(max_nodes=20))
def test_a_level_is_the_same_every_time(module):
    first, _ = run_pipeline(module, "O3")
    second, _ = run_pipeline(module, "O3")
    assert equal(first, second)


def test_ten_thousand_nodes():
    graph = Graph()
    b = Builder(graph)
    x = graph.add_input(f32(N, 16), "x")
    layers = 0
    while len(graph.nodes) < 10_000:
        layers += 1
        kernel = graph.add_parameter(f"dense_{layers}/kernel", f32(16, 16)).value
        bias = graph.add_parameter(f"dense_{layers}/bias", f32(16)).value
        with b.at(Location((f"dense_{layers}",))):
            y = b.dot_general(x, kernel, lhs_batch=(), rhs_batch=(), lhs_contract=(1,), rhs_contract=(0,))
            y = b.add(y, b.broadcast_to(b.reshape(bias, shape=(1, 16)), y.shape))
            y = b.multiply(b.gelu(y, approximate=False), b.full_like(y, 1))
            x = b.add(x, b.negate(b.negate(y)))
    graph.outputs, graph.output_names = [x], ["y"]
    optimized, records = run_pipeline(Module({"main": graph}), "O3", verify=True)
    assert records[0].nodes_before >= 10_000
    fired = {f.rule: f.count for f in records[0].fired}
    assert fired["double_negate"] == fired["times_one"] == fired["broadcast_of_reshape"] == layers
    assert ops(optimized).count("dot_general") == layers
