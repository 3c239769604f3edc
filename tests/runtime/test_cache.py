"""Equal programs share one compiled function; each still shows its own names; neither models nor weights are kept."""

import gc
import re
import threading
import warnings
import weakref

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import modules

import lamina
from lamina import compiler, keras, ops
from lamina.ir import clone_module, parse
from lamina.ir.errors import GuardError, LaminaError, RecompileWarning, ShapeError
from lamina.ir.fingerprint import fingerprint
from lamina.runtime.recompiles import Sizes
from lamina.runtime.shared import Bounded, Shared, Table


@pytest.fixture
def compilations(monkeypatch):
    """Grows by a name for each graph that is emitted inside a call, which is once for each compilation."""
    found = []
    emit = compiler.stablehlo.emit_into

    def counted(ctx, graph, operands, *rest):
        found.append(len(graph.nodes))
        return emit(ctx, graph, operands, *rest)

    monkeypatch.setattr(compiler.stablehlo, "emit_into", counted)
    compiler.SHARED.clear()
    gc.collect()
    return found


def model(units=4, activation="relu", **names):
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(units, activation=activation, **names), keras.layers.Dense(2)]
    )


def ones(*shape):
    return np.ones(shape, np.float32)


def by_hand(net, x):
    a, b, c, d = net.get_weights()
    return np.maximum(x @ a + b, 0) @ c + d


def test_equal_models_share_one_compilation(compilations):
    first, second = model(name="left"), model(name="right")
    one, two = lamina.compile(first), lamina.compile(second)
    np.testing.assert_allclose(one(ones(5, 3)), by_hand(first, ones(5, 3)), rtol=1e-5)
    count = len(compilations)
    assert count >= 1
    np.testing.assert_allclose(two(ones(5, 3)), by_hand(second, ones(5, 3)), rtol=1e-5)
    assert len(compilations) == count
    assert not np.array_equal(one(ones(5, 3)), two(ones(5, 3)))  # each has its own weights


def test_another_shape_is_compiled_once_for_both(compilations):
    one, two = lamina.compile(model()), lamina.compile(model())
    one(ones(5, 3)), two(ones(5, 3))
    count = len(compilations)
    two(ones(6, 3))
    assert len(compilations) == count + 1
    one(ones(6, 3))
    assert len(compilations) == count + 1


def test_each_shows_its_own_layers():
    one, two = lamina.compile(model(name="left")), lamina.compile(model(name="right"))
    one(ones(5, 3)), two(ones(5, 3))
    for compiled, own, other in ((one, "left", "right"), (two, "right", "left")):
        for text in (compiled.hlo(N=5), compiled.stablehlo(N=5)):
            assert own in text
            assert other not in text


def test_a_model_made_again_is_not_compiled_again(compilations):
    def build_and_run():
        return np.asarray(lamina.compile(model())(ones(4, 3)))

    build_and_run()
    count = len(compilations)
    for _ in range(3):
        gc.collect()
        build_and_run()
    assert len(compilations) == count


def test_prepare_is_shared_too(compilations):
    def build():
        net = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 2), keras.layers.BatchNormalization()])
        return lamina.compile(net)

    one, two = build(), build()
    assert one.prepare is not None
    one(ones(1, 4, 4, 2))
    count = len(compilations)
    two(ones(1, 4, 4, 2))
    assert len(compilations) == count


@pytest.mark.parametrize(
    "other",
    [
        lambda: lamina.compile(model(units=5)),
        lambda: lamina.compile(model(activation="tanh")),
        lambda: lamina.compile(model(), lamina.Spec((None, 3), "float16")),
        lambda: lamina.compile(model(), device="cpu:0"),
        lambda: lamina.compile(model(), donate=(0,)),
    ],
    ids=["units", "activation", "dtype", "device", "donate"],
)
@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_what_differs_is_compiled(compilations, other):
    lamina.compile(model())(ones(2, 3))
    count = len(compilations)
    other()(ones(2, 3))
    assert len(compilations) > count


def test_pipelines_that_give_one_graph_share(compilations):
    for pipeline in ("O0", "O2", "O3"):
        lamina.compile(lambda x: ops.tanh(x) + 3, lamina.Spec((3,)), pipeline=pipeline)(ones(3))
    assert len(compilations) == 1


def test_constants_tell_functions_apart(compilations):
    def times(value):
        return lamina.compile(lambda x: x * value, lamina.Spec((3,)))

    large = np.arange(3, dtype=np.float32)
    for value, expected in ((2.0, 2.0), (-0.0, -0.0), (0.0, 0.0), (large, large), (large + 1, large + 1)):
        result = np.asarray(times(value)(ones(3)))
        np.testing.assert_array_equal(result, np.broadcast_to(np.float32(expected), 3))
        np.testing.assert_array_equal(np.signbit(result), np.signbit(np.broadcast_to(np.float32(expected), 3)))
    assert len(compilations) == 5


def test_structures_of_arguments_and_results_tell_functions_apart():
    spec = lamina.Spec((2,))
    x, y = ones(2), 2 * ones(2)
    as_dict = lamina.compile(lambda a, b: {"sum": a + b, "difference": a - b}, spec, spec)
    as_tuple = lamina.compile(lambda a, b: (a + b, a - b), spec, spec)
    of_dict = lamina.compile(lambda d: (d["a"] + d["b"], d["a"] - d["b"]), {"a": spec, "b": spec})
    assert set(as_dict(x, y)) == {"sum", "difference"}
    assert isinstance(as_tuple(x, y), tuple)
    np.testing.assert_array_equal(of_dict({"a": x, "b": y})[1], [-1, -1])
    with pytest.raises(LaminaError, match="structure"):
        of_dict(x, y)


def test_state_stays_with_its_own_model(compilations):
    def counter():
        count = keras.Variable(0.0)

        def step(x):
            count.assign(count + 1.0)
            return x + count

        return count, lamina.compile(step, lamina.Spec(()))

    (first, one), (second, two) = counter(), counter()
    assert [float(one(0.0)), float(one(0.0)), float(two(0.0))] == [1.0, 2.0, 1.0]
    assert (float(first), float(second)) == (2.0, 1.0)
    assert len(compilations) == 1


def test_jitted_functions_and_eager_layers_share(compilations):
    lamina.jit(lambda x: ops.tanh(x) * 7)(ones(3))
    keras.layers.Dense(5)(ones(2, 9))
    count = len(compilations)
    lamina.jit(lambda y: ops.tanh(y) * 7)(ones(3))
    keras.layers.Dense(5)(ones(2, 9))
    assert len(compilations) == count


def test_errors_name_the_program_that_was_called():
    def made(name):
        net = keras.Sequential([keras.Input((3,), name=f"{name}_input"), keras.layers.Dense(2)])
        return lamina.compile(net)

    one, two = made("one"), made("two")
    one(ones(1, 3)), two(ones(1, 3))
    for compiled, name in ((one, "one_input"), (two, "two_input")):
        with pytest.raises(ShapeError, match=name):
            compiled(ones(1, 4))


def test_broken_assumptions_name_the_program_that_was_called():
    def made(name):
        module = lamina.trace(lambda x: x + ones(4), lamina.Spec(("A",), name=name))
        return lamina.compile(module)

    one, two = made("first"), made("second")
    one(ones(4)), two(ones(4))
    with pytest.raises((GuardError, ShapeError)):
        two(ones(3))


def test_a_shared_program_outlives_the_model_that_made_it(compilations):
    one, two = lamina.compile(model(name="gone")), lamina.compile(model(name="here"))
    one(ones(2, 3)), two(ones(2, 3))
    del one
    gc.collect()
    two(ones(3, 3))  # traced and emitted by what is left
    assert "here" in two.hlo(N=3)


def test_the_table_keeps_no_weights():
    def used_and_dropped():
        net = model()
        lamina.compile(net)(ones(2, 3))
        return [weakref.ref(v) for v in net.weights]

    references = used_and_dropped()
    gc.collect()
    assert [r() for r in references] == [None] * 4


def test_large_constants_are_not_kept():
    table = np.arange(1 << 19, dtype=np.float32)  # 2 MiB
    before = len(compiler.SHARED._recent)
    lamina.compile(lambda x: x + table, lamina.Spec(()))(1.0)
    assert len(compiler.SHARED._recent) == before
    lamina.compile(lambda x: x + table[:9], lamina.Spec(()))(1.0)
    assert len(compiler.SHARED._recent) == before + 1


def test_threads_may_call_equal_models_at_once():
    models = [model() for _ in range(6)]
    compiled = [lamina.compile(net) for net in models]
    barrier = threading.Barrier(6)
    results = [None] * 6

    def run(i):
        barrier.wait()
        results[i] = np.asarray(compiled[i](ones(7, 3)))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(c._programs[0]._shared) for c in compiled}) == 1
    for net, result in zip(models, results, strict=True):
        np.testing.assert_allclose(result, by_hand(net, ones(7, 3)), rtol=1e-5)  # f32 sums of 4 terms


def test_inside_jax_jit_programs_are_told_apart():
    one, two = lamina.compile(model()), lamina.compile(model())
    x = ones(2, 3)
    both = jax.jit(lambda x: (one(x), two(x)))(x)
    np.testing.assert_allclose(both[0], one(x), rtol=1e-6)
    np.testing.assert_allclose(both[1], two(x), rtol=1e-6)


def test_a_rule_of_the_target_can_be_left_out():
    module = lamina.trace(keras.layers.DepthwiseConv2D(3), lamina.Spec((None, 8, 8, 4)))
    target, rule = "cpu", "narrow_groups_as_shifts"
    with_rule = lamina.compile(module, target=target).specialized(N=2)
    without = lamina.compile(module, target=target, pipeline=f"O2,-{rule}").specialized(N=2)
    assert "convolution" in {node.op.name for node in without.walk()}
    assert "convolution" not in {node.op.name for node in with_rule.walk()}


# The fingerprint


@settings(max_examples=40, deadline=None)
@given(modules())
def test_equal_modules_have_one_fingerprint(module):
    assert fingerprint(clone_module(module)) == fingerprint(module)
    assert fingerprint(parse(str(module), lamina.ir.constants_of(module))) == fingerprint(module)


@settings(max_examples=40, deadline=None)
@given(modules(), st.randoms(use_true_random=False))
def test_a_changed_module_has_another(module, random):
    before = fingerprint(module)
    changed = clone_module(module)
    nodes = [n for n in changed.main.nodes if n.results]
    if not nodes:
        return
    node = random.choice(nodes)
    node.attributes = {**node.attributes, "more": 1}
    assert fingerprint(changed) != before


def test_names_layers_and_weights_are_no_part_of_it():
    one, two = lamina.trace(model(name="a")), lamina.trace(model(name="b"))
    assert str(one) != str(two)
    assert fingerprint(one) == fingerprint(two)


@pytest.mark.parametrize(
    "a, b",
    [(1, True), (1, 1.0), (0.0, -0.0), ((1, 2), (12,)), ((1, (2,)), ((1, 2),)), ((1,), [1]), ("1", 1), (None, "None")],
)
def test_attributes_that_python_takes_for_equal_differ(a, b):
    def made(value):
        module = lamina.trace(lambda x: x + 1, lamina.Spec(()))
        module.main.nodes[-1].attributes = {"a": value}
        return fingerprint(module)

    assert made(a) != made(b)
    assert made(a) == made(a)


def test_what_is_no_data_has_no_fingerprint():
    module = lamina.trace(lambda x: x + 1, lamina.Spec(()))
    module.main.nodes[-1].attributes = {"a": object()}
    with pytest.raises(TypeError, match="no fingerprint"):
        fingerprint(module)


# The table


def test_bounded_keeps_what_was_used_last():
    bounded = Bounded(2)
    assert [bounded.get(k, lambda k=k: k * 10) for k in (1, 2, 1, 3)] == [10, 20, 10, 30]
    made = []
    bounded.get(1, lambda: made.append("1 again"))
    assert made == []
    bounded.get(2, lambda: made.append("2 again"))
    assert made == ["2 again"]
    assert len(bounded) == 2


class Owner:
    pass


def test_the_table_gives_one_to_all_owners_of_a_key():
    table = Table(kept=1)
    a, b, c = Owner(), Owner(), Owner()
    one = table.join("k", a, lambda: Shared("one", lambda shared, nested: lambda: 1))
    assert table.join("k", b, lambda: Shared("two", lambda shared, nested: lambda: 2)) is one
    assert table.join("other", c, lambda: Shared("three", lambda shared, nested: lambda: 3)) is not one
    assert one.owner() is a
    del a
    gc.collect()
    assert one.owner() is b


def test_the_table_forgets_what_nobody_uses():
    table = Table(kept=1)
    first = weakref.ref(table.join("k", Owner(), lambda: Shared("one", lambda shared, nested: lambda: 1)))
    gc.collect()
    assert first() is not None  # among those kept
    with pytest.raises(LaminaError, match="'one' is gone"):
        first().owner()
    table.join("other", Owner(), lambda: Shared("two", lambda shared, nested: lambda: 2))
    gc.collect()
    assert first() is None


# The warning


def test_sizes_warn_once_and_name_what_varies():
    sizes = Sizes("'net'", "Pad {dims}.", limit=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in (1, 2, 2, 1):
            sizes.add({"N": 8, "T": n})
    message = re.escape("'net' was compiled for 3 sets of sizes") + r".*T had 3 sizes \(1, 2, 3\)\. Pad T\.$"
    with pytest.warns(RecompileWarning, match=message) as record:
        for n in range(3, 60):
            sizes.add({"N": 8, "T": n})
    assert len(record) == 1
    assert record[0].filename == __file__
