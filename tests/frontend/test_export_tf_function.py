"""tf.functions: the models of the suite, gradients, variables that train and are named as Keras names them, state."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export import tf_function
from lamina.frontend.export.parameters import parameter_arrays
from lamina.ir import Builder, Graph, Module, TensorType
from lamina.ir.errors import ArgumentError, UnsupportedError
from lamina.ir.location import Location

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from models import MODELS, inputs, weights_of

# A model's outputs and gradients: float32 sums over at most a few hundred products in another order, layer after layer.
RELATIVE = 1e-5


def some(names, *quick):
    """Names as parameters, those but ``quick`` for the long run."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.long) for name in names]


def suite_model(name):
    model = MODELS[name].build(keras)
    model.set_weights(weights_of(model))
    return model


def assert_near(actual, expected, bound=RELATIVE):
    assert np.shape(actual) == np.shape(expected)
    assert np.abs(np.asarray(actual) - expected).max() <= bound * np.abs(expected).max()


@pytest.mark.parametrize("name", some(MODELS, "mlp"))
def test_models_of_the_suite(name):
    model = suite_model(name)
    run = tf_function.runner(lamina.trace(model))
    for batch in (1, 3):
        x = inputs(name, batch)
        assert_near(run([x])[0], np.asarray(model(x)))


@pytest.mark.parametrize("name", some(("mlp", "transformer"), "mlp"))
def test_training_mode_drops_the_same_and_assigns_its_state(name):
    module = lamina.trace(suite_model(name), training=True)
    x, parameters = inputs(name, 3), dict(parameter_arrays(module))
    built = tf_function.make(module)
    for _ in range(2):  # the second call goes on from what the first one left
        outputs, updates = lamina.evaluate(module, x, parameters=parameters)
        assert_near(built.module(x).numpy(), outputs[0])
        assert updates
        for key, value in updates.items():
            held = built.variable(key).numpy()
            if value.dtype.kind == "u":
                np.testing.assert_array_equal(held, value)
            else:
                assert_near(held, value)
        parameters.update(updates)


def test_variables_are_trainable_where_kerass_are_and_have_its_names():
    model = suite_model("mlp")
    made = lamina.export(model, target="tf_function")
    trainable = {v.name.removesuffix(":0") for v in made.trainable_variables}
    assert trainable == {v.path for v in model.trainable_variables}
    assert {v.name.removesuffix(":0") for v in made.variables} == {
        v.path for v in model.variables if "seed" not in v.path
    }
    assert "bias_add" in made.source
    outer, layer, leaf = model.trainable_variables[0].path.split("/")
    np.testing.assert_array_equal(
        getattr(getattr(getattr(made, outer), layer), leaf), model.trainable_variables[0].numpy()
    )


@pytest.mark.parametrize("name", some(MODELS, "mlp"))
def test_gradients_are_laminas(name):
    model = suite_model(name)
    x = inputs(name, 2)
    made = lamina.export(model, target="tf_function")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(made(tf.constant(x))))
    variables = {v.name.removesuffix(":0"): v for v in made.trainable_variables}
    found = dict(zip(variables, tape.gradient(loss, list(variables.values())), strict=True))

    def of_weights(weights):
        outputs, _ = model.stateless_call(weights, [v.value for v in model.non_trainable_variables], x)
        return ops.sum(ops.square(outputs))

    expected = lamina.grad(of_weights)([v.value for v in model.trainable_variables])
    largest = max(float(np.abs(np.asarray(g)).max()) for g in expected)
    for variable, gradient in zip(model.trainable_variables, expected, strict=True):
        ours = tf.convert_to_tensor(found[variable.path]).numpy()
        # Sums over all positions of an image or sequence, of numbers of both signs: to the largest of all gradients.
        assert np.abs(ours - np.asarray(gradient)).max() <= 2e-5 * largest, variable.path


def test_a_custom_gradient_goes_along():
    @ops.custom_gradient
    def doubled_slope(x):
        def gradient(upstream):
            return upstream * 20.0

        return x * x, gradient

    made = lamina.export(lambda x: doubled_slope(x) + x, target="tf_function", specs=Spec((3,)))
    x = tf.constant([1.0, 2.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = made(x)
    np.testing.assert_array_equal(y, [2, 6, 12])
    np.testing.assert_array_equal(tape.gradient(y, x), [21, 21, 21])


def test_control_flow_is_tensorflows_own():
    def f(x, n):
        def step(i, total):
            return i + 1, ops.cond(ops.sum(total) > 10.0, lambda: total * 0.5, lambda: total + x)

        return ops.while_loop(lambda i, total: i < n, step, (0, x))[1]

    made = lamina.export(f, target="tf_function", specs=(Spec((None, 2)), Spec((), "int32")))
    assert "tf.while_loop(" in made.source and "tf.cond(" in made.source
    module = lamina.trace(f, Spec((None, 2)), Spec((), "int32"))
    for rows, count in ((1, 3), (4, 9)):
        x = np.random.default_rng(rows).uniform(0, 2, (rows, 2)).astype(np.float32)
        expected = lamina.evaluate(module, x, np.int32(count))[0][0]
        assert_near(made(x, np.int32(count)).numpy(), expected)


def test_the_exact_program_has_xlas_results():
    model = suite_model("mlp")
    x = inputs("mlp", 3)
    made = lamina.export(model, target="tf_function", exact=True)
    assert "xla.call_module" in made.source
    assert_near(made(x).numpy(), np.asarray(model(x)))
    assert {v.name.removesuffix(":0") for v in made.trainable_variables} == {v.path for v in model.trainable_variables}


def test_an_op_that_tensorflow_lacks_is_refused_by_layer():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4,)), "x")
    builder = Builder(graph, location=Location(("block/mystery",)))
    graph.outputs = [builder.custom_call(x, target="theirs", results=[x.type])]
    with pytest.raises(UnsupportedError, match=r"custom_call .* block/mystery.*exact=True"):
        lamina.export(Module({"main": graph}), target="tf_function")


def test_a_tf_function_has_no_file(tmp_path):
    with pytest.raises(ArgumentError, match="returned"):
        lamina.export(suite_model("mlp"), tmp_path / "model", target="tf_function")
    assert list(tmp_path.iterdir()) == []
