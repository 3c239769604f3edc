"""Programs of JAX, TensorFlow and Keras as modules that run, update and can be differentiated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import lamina
from lamina.ir.errors import ArgumentError, ShapeError, UnsupportedError

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


# JAX.


def test_arrays_that_are_closed_over_are_constants():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    module = lamina.from_jax(lambda x: x @ table, lamina.Spec((None, 4)))
    assert not module.main.parameters
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(lamina.compile(module)(x), x @ table)


def test_static_arguments():
    module = lamina.from_jax(lambda x, power: x**power, np.float32([1, 2, 3]), power=3)
    assert np.asarray(lamina.compile(module)(np.float32([1, 2, 3]))).tolist() == [1, 8, 27]


def test_what_calls_back_into_python_is_refused_by_its_target():
    def noisy(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((3,), "float32"), x)

    module = lamina.from_jax(noisy, lamina.Spec((3,)))
    with pytest.raises(UnsupportedError, match="callback"):
        lamina.evaluate(module, np.zeros(3, np.float32))


def test_errors_of_jax_are_its_own():
    with pytest.raises(TypeError):
        lamina.from_jax(lambda x: x @ np.ones((5, 5), np.float32), lamina.Spec((2, 3)))


# Modules inside programs.


def test_an_imported_module_in_a_function_of_ones_own():
    imported = lamina.from_jax(lambda x, w: jax.numpy.tanh(x @ w), lamina.Spec((None, 3)), lamina.Spec((3, 3)))
    compiled = lamina.compile(
        lambda x, w: lamina.call_module(imported, x, w) * 2, lamina.Spec((None, 3)), lamina.Spec((3, 3))
    )
    x, w = np.ones((2, 3), np.float32), np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(compiled(x, w), 2 * np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(lamina.call_module(imported, x, w), np.tanh(x), rtol=1e-6)
    with pytest.raises(ArgumentError, match="the arguments should have the structure"):
        lamina.call_module(imported, x)


# TensorFlow.


def test_a_function_with_variables_and_a_loop(tf):
    weight = tf.Variable(np.full((3, 4), 0.5, np.float32), name="weight")
    offset = tf.constant(np.arange(4, dtype=np.float32))

    @tf.function
    def step(x, y):
        z = tf.nn.relu(tf.matmul(x, weight)) + offset + y
        for _ in tf.range(3):
            z = z * 0.5
        weight.assign_add(tf.ones_like(weight))
        return {"z": z, "pair": (tf.reduce_sum(z), None)}

    module = lamina.from_tf(step, lamina.Spec((2, 3), name="x"), tf.TensorSpec((), tf.float32, name="y"))
    assert module.main.input_names == ["x", "y"]
    assert [p.name for p in module.main.parameters] == ["weight", "constant_1"]
    assert [u.parameter.name for u in module.main.updates] == ["weight"]
    assert "while" not in {n.op.name for n in module.walk()}
    x = np.ones((2, 3), np.float32)
    result, expected = lamina.compile(module)(x, np.float32(2)), step(x, 2.0)
    np.testing.assert_allclose(result["z"], expected["z"], rtol=1e-6)
    np.testing.assert_allclose(result["pair"][0], expected["pair"][0], rtol=1e-6)
    assert result["pair"][1] is None
    np.testing.assert_allclose(module.main.parameters[0].key.numpy(), weight.numpy())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("softmax", (2, 5)),
        ("conv", (1, 5, 5, 2)),
        *(
            pytest.param(name, shape, marks=pytest.mark.long)
            for name, shape in (("top_k", (2, 5)), ("rfft", (8,)), ("max_pool", (1, 4, 4, 2)), ("sort", (5,)))
        ),
    ],
)
def test_functions_of_tensorflow(tf, name, shape):
    functions = {
        "softmax": tf.nn.softmax,
        "top_k": lambda x: tf.math.top_k(x, 2),
        "rfft": tf.signal.rfft,
        "max_pool": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
        "sort": tf.sort,
        "conv": lambda x: tf.nn.conv2d(x, tf.ones((3, 3, 2, 4)), 1, "SAME"),
    }
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    module = lamina.from_tf(functions[name], lamina.Spec(shape))
    results = jax.tree.leaves(lamina.compile(module)(x))
    for result, expected in zip(results, tf.nest.flatten(functions[name](tf.constant(x))), strict=True):
        np.testing.assert_allclose(np.asarray(result), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_open_shapes_and_what_xla_lacks_are_refused(tf):
    with pytest.raises(ShapeError, match="static shapes, received x"):
        lamina.from_tf(lambda x: x + 1, lamina.Spec((None, 2), name="x"))
    with pytest.raises(UnsupportedError, match="TensorFlow can't compile"):
        lamina.from_tf(tf.strings.as_string, lamina.Spec((2,)))


def test_tensorflow_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'lamina\[tensorflow\]'"):
        lamina.from_tf(lambda x: x, lamina.Spec((2,)))


# Keras.


def test_what_is_no_model_of_keras():
    with pytest.raises(ArgumentError, match=r"from_keras takes a keras\.Model, received function"):
        lamina.from_keras(test_what_is_no_model_of_keras)


def test_a_model_that_is_not_built():
    import keras

    with pytest.raises(ArgumentError, match="is not built"):
        lamina.from_keras(keras.Sequential([keras.layers.Dense(2)]))


@pytest.mark.parametrize(
    "backend", ["jax", *(pytest.param(b, marks=pytest.mark.long) for b in ("tensorflow", "torch"))]
)
def test_models_of_keras(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(TESTS / "keras_importing.py")], env=environment, capture_output=True, text=True
    )
    assert done.stdout.endswith("imported\n"), done.stderr[-2000:]


def test_nothing_is_imported_before_it_is_used():
    code = (
        "import sys, lamina; lamina.from_stablehlo; lamina.from_jax; "
        "print([m for m in ('torch', 'tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
