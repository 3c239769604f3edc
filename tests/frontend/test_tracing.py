"""Tracing functions: what Python on traced tensors means, what becomes a parameter, an update, a guard, an error."""

import copy
import gc
import threading
import weakref

import jax
import numpy as np
import pytest

import lamina
from lamina import Spec, keras, ops
from lamina.ir import equal
from lamina.ir.errors import ArgumentError, DTypeError, GuardError, IntegerDimError, ShapeError, TracingError


def ones(*shape):
    return np.ones(shape, "float32")


def test_a_function_becomes_a_module_that_parses_back():
    module = lamina.trace(lambda x, y: {"sum": x + y, "pair": [x * 2, y]}, Spec((None, 3)), Spec((None, 3)))
    assert [str(v.type) for v in module.main.inputs] == ["f32[N,3]", "f32[N,3]"]
    assert module.main.out_structure == {"pair": [0, 1], "sum": 2}
    assert equal(lamina.parse(str(module)), module)


def test_inputs_are_named_by_specs_then_by_parameters():
    module = lamina.trace(lambda a, b: a + b["x"], Spec((2,), name="first"), {"x": Spec((2,))})
    assert module.main.input_names == ["first", "b_x"]


def test_variables_become_named_parameters_and_assignments_updates():
    counter = keras.Variable(np.float32(1.0), name="counter")

    def count(x):
        counter.assign(counter + 1.0)
        return x * counter

    module = lamina.trace(count, Spec((None,)))
    assert [p.name for p in module.main.parameters] == ["counter"]
    assert [u.parameter.name for u in module.main.updates] == ["counter"]
    assert float(counter.numpy()) == 1.0, "tracing changes nothing"
    outputs, updates = lamina.evaluate(module, ones(2), parameters={"counter": np.float32(4)})
    np.testing.assert_array_equal(outputs[0], [5, 5])
    assert updates["counter"] == 5
    compiled = lamina.compile(count, Spec((None,)))
    np.testing.assert_array_equal(compiled(ones(2)), [2, 2])
    np.testing.assert_array_equal(compiled(ones(1)), [3])
    assert float(counter.numpy()) == 3.0


def test_a_parameter_follows_its_variable():
    w = keras.Variable(ones(3), name="w")
    compiled = lamina.compile(lambda x: x * (w * 2.0), Spec((None, 3)))
    np.testing.assert_array_equal(compiled(ones(1, 3)), [[2, 2, 2]])
    w.assign(np.array([1, 2, 3], "float32"))
    np.testing.assert_array_equal(compiled(ones(1, 3)), [[2, 4, 6]])


@pytest.mark.parametrize(
    "misuse, what",
    [
        (lambda x: x if x[0] > 0 else -x, "ops.where or ops.cond"),
        (lambda x: x * float(x[0]), "ops.cast"),
        (lambda x: x + np.asarray(x), "lamina.ops in place of NumPy"),
        (lambda x: [x for _ in range(int(x[0]))], "ops.cast"),
    ],
)
def test_python_that_needs_a_value_names_the_line_and_the_way_out(misuse, what):
    with pytest.raises(TracingError) as caught:
        lamina.trace(misuse, Spec((3,)))
    assert what in str(caught.value)
    assert "test_tracing.py" in str(caught.value)


def test_a_tensor_cannot_outlive_its_trace():
    kept = []
    lamina.trace(lambda x: kept.append(x) or x, Spec((3,)))
    with pytest.raises(TracingError, match="another trace"):
        lamina.trace(lambda y: y + kept[0], Spec((3,)))


def test_sizes_named_apart_meet_by_a_guard():
    compiled = lamina.compile(lambda x, y: x + y, Spec(("N", 3)), Spec(("M", 3)))
    assert [str(g) for g in compiled.graph.main.guards] in (["N == M"], ["M == N"])
    np.testing.assert_array_equal(compiled(ones(4, 3), ones(4, 3)), 2 * ones(4, 3))
    with pytest.raises((GuardError, ShapeError)) as caught:
        compiled(ones(4, 3), ones(5, 3))
    assert "4" in str(caught.value) and "5" in str(caught.value)


def test_leading_nones_are_one_dimension():
    compiled = lamina.compile(lambda x, y: x + y, Spec((None, 3)), Spec((None, 3)))
    with pytest.raises(ShapeError, match="N=4"):
        compiled(ones(4, 3), ones(5, 3))


def test_an_open_comparison_is_decided_by_the_call_and_guarded():
    traced = []

    def f(x):
        traced.append(x.shape)
        return x * 2 if x.shape[0] > 3 else -x

    compiled = lamina.compile(f, Spec((None,)))
    for size in (5, 2, 3, 7, 1):
        expected = 2 * ones(size) if size > 3 else -ones(size)
        np.testing.assert_array_equal(compiled(ones(size)), expected)
    assert len(traced) == 2, "one trace for each outcome"


def test_python_that_needs_an_integer_pins_the_dimension():
    def running_sum(x):
        total, steps = 0.0, []
        for t in range(x.shape[1]):
            total = total + x[:, t]
            steps.append(total)
        return ops.stack(steps, axis=1)

    with pytest.raises(IntegerDimError, match="T"):
        lamina.trace(running_sum, Spec((None, "T")))
    compiled = lamina.compile(running_sum, Spec((None, "T")))
    for n, t in ((2, 3), (5, 3), (2, 4)):
        np.testing.assert_array_equal(compiled(ones(n, t)), np.cumsum(ones(n, t), 1))
    assert "test_tracing.py" in str(compiled.why_per_shape)
    assert [str(v.type) for v in compiled._program({"N": 2, "T": 3}).graph.main.inputs] == ["f32[N,T]"]


def test_symbolic_sizes_compute():
    compiled = lamina.compile(lambda x: (ops.reshape(x, (x.shape[0] * x.shape[1],)), x / x.shape[0]), Spec((None, "T")))
    flat, scaled = compiled(ones(2, 3))
    assert flat.shape == (6,)
    np.testing.assert_allclose(scaled, ones(2, 3) / 2)
    assert compiled(ones(0, 3))[0].shape == (0,)


def test_wrong_inputs_are_clear_errors():
    compiled = lamina.compile(lambda x, y: x @ y, Spec((None, 3)), Spec((3, 2)))
    with pytest.raises(ShapeError, match="rank 2"):
        compiled(ones(3), ones(3, 2))
    with pytest.raises(ShapeError, match="axis 1 should be 3"):
        compiled(ones(5, 4), ones(3, 2))
    with pytest.raises(ArgumentError, match="structure"):
        compiled(ones(5, 3))
    with pytest.raises(DTypeError, match="expected f32"):
        compiled(ones(5, 3).astype("complex64"), ones(3, 2))
    with pytest.raises(DTypeError, match="expected i32"):
        lamina.compile(lambda i: i + 1, Spec((2,), "int32"))(ones(2))
    with pytest.raises(ShapeError, match=r"matmul|dot"):
        lamina.trace(lambda x, y: x @ y, Spec((2, 3)), Spec((4, 2)))
    np.testing.assert_allclose(compiled(np.ones((5, 3)), np.ones((3, 2), "int8")), 3 * ones(5, 2))


def test_errors_name_the_layer_and_line():
    class Wrong(keras.layers.Layer):
        def call(self, x):
            return ops.matmul(x, ops.ones((7, 2)))

    with pytest.raises(ShapeError) as caught:
        lamina.trace(Wrong(name="wrong"), Spec((None, 3)))
    assert "wrong" in str(caught.value) and "test_tracing.py" in str(caught.value)


def test_64_bit_types_are_real_where_asked_for():
    before = jax.config.jax_enable_x64
    compiled = lamina.compile(lambda x: x * 0.1, Spec((None,), "float64"))
    result = compiled(np.array([1.0, 3.0]))
    assert result.dtype == "float64"
    np.testing.assert_array_equal(np.asarray(result), np.array([1.0, 3.0]) * 0.1)
    assert jax.config.jax_enable_x64 == before


def test_jit_traces_once_for_each_shape_and_static_argument():
    traces = []

    @lamina.jit(static_argnames="power")
    def f(x, power=2):
        traces.append(power)
        return {"y": x**power}

    for _ in range(2):
        np.testing.assert_allclose(f(2 * ones(2))["y"], 4)
        np.testing.assert_allclose(f(2 * ones(2), power=3)["y"], 8)
    assert traces == [2, 3]


def test_jit_inside_a_trace_is_part_of_it():
    inner = lamina.jit(lambda x: x + 1)
    module = lamina.trace(lambda x: inner(x) * 2, Spec((None,)))
    assert [n.op.name for n in module.main.nodes if n.op.name in ("add", "multiply")] == ["add", "multiply"]


def test_donated_arguments_are_gone():
    compiled = lamina.compile(lambda x: x + 1, Spec((64,)), donate=(0,))
    x = jax.numpy.ones(64)
    compiled(x)
    assert x.is_deleted()


def test_threads_trace_and_call_at_once():
    results = {}

    def work(i):
        compiled = lamina.compile(lambda x: x * i, Spec((None, 2)))
        results[i] = np.asarray(compiled(ones(i + 1, 2)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(6):
        np.testing.assert_array_equal(results[i], i * ones(i + 1, 2))


def test_an_absent_device_lists_those_present():
    with pytest.raises(lamina.LaminaError, match="present: cpu"):
        lamina.compile(lambda x: x, Spec((2,)), device="tpu:3")


def test_dims_must_be_known_and_given():
    compiled = lamina.compile(lambda x: x + 1, Spec((None,)))
    with pytest.raises(ArgumentError, match="N=32"):
        compiled.hlo()
    with pytest.raises(ArgumentError, match="no dimension 'K'"):
        compiled.stablehlo(K=3)
    assert "tensor<5xf32>" in compiled.stablehlo(N=5)


def test_eager_ops_return_jax_arrays_and_take_python_numbers_weakly():
    x = jax.numpy.ones(3, "bfloat16")
    result = ops.multiply(x, 0.5)
    assert isinstance(result, jax.Array) and result.dtype == "bfloat16"
    assert ops.add(np.ones(2), 1).dtype == "float32"


def test_eager_programs_do_not_multiply_with_numbers():
    from lamina.frontend.dispatch import _cache

    x = jax.numpy.ones(5)
    ops.multiply(x, 0.25)
    count = len(_cache.programs)
    for value in (0.5, 0.75, 1.25):
        assert float(ops.multiply(x, value)[0]) == value
    assert len(_cache.programs) == count


def test_array_methods_of_traced_tensors():
    x = np.arange(6, dtype="float32").reshape(2, 3)
    for f in (
        lambda a: a.sum(),
        lambda a: np.sum(a, axis=1),
        lambda a: a.mean(axis=1),
        lambda a: a.max(0, keepdims=True),
        lambda a: a.min(),
        lambda a: a.transpose(),
        lambda a: a.transpose(1, 0),
        lambda a: a[None].squeeze(0),
    ):
        np.testing.assert_allclose(lamina.compile(f, Spec((None, 3)))(x), f(x), rtol=1e-6)


def test_errors_skip_frames_of_numpy():
    with pytest.raises(TracingError, match=r"test_tracing.py:\d+"):
        lamina.trace(lambda x: np.std(x), Spec((3,)))


def test_another_number_of_arguments_is_a_clear_error():
    with pytest.raises(ArgumentError, match=r"takes \(x, y\); received specs for 1 inputs"):
        lamina.trace(lambda x, y: x + y, Spec((3,)))


def test_a_misspelled_argument_of_a_layer_names_the_nearest():
    with pytest.raises(ArgumentError, match="did you mean 'use_bias'"):
        keras.layers.Dense(3, use_bais=False)


def test_a_list_of_numbers_is_said_to_be_none_array():
    compiled = lamina.compile(lambda x: x, Spec((100,)))
    with pytest.raises(ArgumentError, match=r"pass np\.asarray"):
        compiled([1.0] * 100)


def test_a_compiled_program_inside_a_trace_says_what_to_call():
    compiled = lamina.compile(lambda x: x * 2, Spec((None, 3)))
    with pytest.raises(TracingError, match=r"runs on arrays, received <Tensor .* call the function or model that was"):
        lamina.trace(lambda x: compiled(x) + 1, Spec((None, 3)))
    with pytest.raises(TracingError, match="runs on arrays, received <KerasTensor"):
        compiled(keras.Input((3,)))


def test_a_compiled_program_takes_no_keywords():
    compiled = lamina.compile(keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5)]))
    with pytest.raises(ArgumentError, match="'training' by keyword; give static keywords"):
        compiled(ones(2, 3), training=True)


def test_lists_and_tuples_stand_for_each_other_in_calls():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    compiled = lamina.compile(keras.Model([a, b], a - 2 * b))
    np.testing.assert_array_equal(compiled((5 * ones(2, 3), ones(2, 3))), 3 * ones(2, 3))
    with pytest.raises(ArgumentError, match="should have the structure"):
        compiled(ones(2, 3), ones(2, 3))
    with pytest.raises(ArgumentError, match="should have the structure"):
        compiled(([ones(2, 3)], ones(2, 3)))


def test_jit_static_arguments_by_place_name_and_type():
    def f(x, double):
        return x * 2 if double is True else x

    for given in ({"static_argnums": 1}, {"static_argnums": -1}, {"static_argnames": "double"}):
        jitted = lamina.jit(f, **given)
        found = [float(y[0]) for y in (jitted(ones(1), 1), jitted(ones(1), True), jitted(ones(1), double=True))]
        assert found == [1, 2, 2], given
    with pytest.raises(ArgumentError, match="no argument -3; the function takes x, double"):
        lamina.jit(f, static_argnums=-3)


def test_jit_takes_part_in_functional_models():
    x = keras.Input((3,))
    model = keras.Model(x, lamina.jit(lambda x: x * 2 + 1)(x))
    np.testing.assert_array_equal(model(ones(2, 3)), 3 * ones(2, 3))


def test_a_variable_keeps_no_tracer_of_jax():
    layer = keras.layers.BatchNormalization()
    layer(ones(2, 3))
    before = layer.moving_mean.numpy()
    with pytest.raises(TracingError, match=r"can't be assigned inside jax.jit .* use lamina.jit"):
        jax.jit(lambda x: layer(x, training=True))(ones(2, 3))
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


def test_eager_programs_follow_the_default_types():
    assert ops.zeros((2,)).dtype == "float32"
    keras.config.set_floatx("float16")
    try:
        assert ops.zeros((2,)).dtype == "float16"
    finally:
        keras.config.set_floatx("float32")


def test_a_dropped_model_frees_its_weights():
    def used_and_dropped():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
        lamina.compile(model)(ones(2, 3))
        model(ones(2, 3))
        return [weakref.ref(v) for v in model.weights]

    references = used_and_dropped()
    gc.collect()
    assert [r() for r in references] == [None] * 6


def test_making_a_layer_recompiles_no_other():
    traces = []

    def activation(x):
        traces.append(x)
        return x

    layer = keras.layers.Dense(2, activation=activation)
    layer(ones(2, 3))
    count = len(traces)
    keras.layers.Dense(2)(ones(2, 3))
    layer(ones(2, 3))
    assert len(traces) == count
    layer.use_bias = False
    layer(ones(2, 3))
    assert len(traces) > count


def test_a_copied_model_is_its_own():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    before = np.asarray(model(ones(2, 3)))
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(twin(ones(2, 3)), before)
    twin.layers[0].kernel.assign(np.zeros((3, 2)))
    np.testing.assert_array_equal(twin(ones(2, 3)), np.zeros((2, 2)))
    np.testing.assert_array_equal(model(ones(2, 3)), before)


def test_a_numpy_bool_serves_as_flag():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(1 - 2**-20, seed=1)])
    assert np.asarray(model(ones(4, 3), training=np.True_)).max() == 0
    np.testing.assert_array_equal(model(ones(4, 3), training=np.False_), ones(4, 3))
    assert ops.add(np.True_, np.int32(1)) == 2


def test_a_size_may_be_compared_in_python():
    module = lamina.trace(lambda x, y: x if x.shape[0] == 4 else y, Spec(("N",)), Spec(("M",)))
    assert [str(g) for g in module.main.guards] == ["N != 4"]
    assert module.main.outputs == [module.main.inputs[1]]
    module = lamina.trace(lambda x, y: x if x.shape[0] != y.shape[0] else x + y, Spec(("N",)), Spec(("M",)))
    assert [str(g) for g in module.main.guards] == ["N != M"]
