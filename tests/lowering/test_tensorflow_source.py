"""The text that leaves for TensorFlow: readable, and of nothing but tf ops."""

import ast

import numpy as np
import pytest
import tensorflow as tf

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export.tf_function import instance, write
from lamina.ir import Builder, Graph, Module, TensorType, Update
from lamina.lowering.source import attribute_paths
from lamina.lowering.tensorflow.library import HELPERS, helper_text
from lamina.lowering.tensorflow.source import tensorflow_source

GOLDEN = '''"""small, as TensorFlow."""

import tensorflow as tf


class Small(tf.Module):
    def __init__(self, arrays):
        super().__init__(name='small')
        self.hidden = tf.Module()
        self.hidden.kernel = tf.Variable(arrays['hidden/kernel'], name='hidden/kernel')
        self.hidden.bias = tf.Variable(arrays['hidden/bias'], name='hidden/bias')
        self.norm = tf.Module()
        self.norm.gamma = tf.Variable(arrays['norm/gamma'], name='norm/gamma')
        self.norm.beta = tf.Variable(arrays['norm/beta'], name='norm/beta')

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, 'features')], autograph=False)
    def __call__(self, features):
        # hidden
        t = features @ self.hidden.kernel
        t_1 = tf.nn.bias_add(t, self.hidden.bias)
        t_2 = tf.nn.relu(t_1)
        # norm
        mean, variance = tf.nn.moments(t_2, [1], keepdims=True)
        t_3 = tf.nn.batch_normalization(t_2, mean, variance, self.norm.beta, self.norm.gamma, 0.001)
        # classes
        t_4 = tf.nn.softmax(t_3)
        return t_4
'''


def small():
    features = keras.Input((4,), name="features")
    x = keras.layers.Dense(3, activation="relu", name="hidden")(features)
    x = keras.layers.LayerNormalization(name="norm")(x)
    return keras.Model(features, keras.layers.Softmax(name="classes")(x), name="small")


def test_the_text_of_a_small_model():
    assert write(lamina.trace(small())).text == GOLDEN


def test_the_text_is_all_that_tensorflow_needs():
    model = small()
    module = lamina.trace(model)
    namespace = {}
    exec(write(module).text, namespace)  # what we wrote a line above
    made = namespace["Small"]({p.name: p.key.numpy() for p in module.main.parameters})
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(made(x), np.asarray(model(x)), rtol=1e-5, atol=1e-6)  # sums of four products


def test_updates_see_the_values_from_before():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (2,)), "x")
    a, b = (graph.add_parameter(name, TensorType("f32", (2,))) for name in ("a", "b"))
    graph.outputs = [a.value, Builder(graph).add(x, b.value)]
    graph.updates = [Update(a, b.value), Update(b, a.value)]
    source = tensorflow_source(Module({"main": graph}))
    arrays = {"a": np.float32([1, 2]), "b": np.float32([3, 4])}
    made = instance(source, arrays)
    first, total = made(tf.zeros(2))
    np.testing.assert_array_equal(first, arrays["a"])
    np.testing.assert_array_equal(total, arrays["b"])
    np.testing.assert_array_equal(made.a.numpy(), arrays["b"])
    np.testing.assert_array_equal(made.b.numpy(), arrays["a"])


def test_constants_stand_in_the_text_while_they_are_small():
    table = np.arange(200, dtype=np.float32).reshape(10, 20)

    def f(x):
        return x + ops.convert_to_tensor(table) + ops.convert_to_tensor(np.float32([1, 2] * 5))[:, None]

    source = write(lamina.trace(f, Spec((10, 20))))
    assert [c.shape for c in source.constants.values()] == [(10, 20)]
    made = instance(source, source.constants)
    np.testing.assert_array_equal(made(table), 2 * table + np.float32([1, 2] * 5)[:, None])


@pytest.mark.parametrize("structure", [lambda x, y: {"a": x, "b": (y, [x])}, lambda x, y: [y], lambda x, y: (y, x)])
def test_results_have_the_structure_of_the_function(structure):
    def f(x, y):
        return structure(x + y, x - y)

    made = lamina.export(f, target="tf_function", specs=(Spec((2,)), Spec((2,))))
    x, y = np.float32([1, 2]), np.float32([10, 20])
    found, expected = made(x, y), f(x, y)
    tf.nest.assert_same_structure(found, expected)
    for ours, want in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(ours, want)


def test_parameters_stand_where_their_names_say():
    names = ["dense/kernel", "dense", "name", "class/lambda", "a b/0", "dense/kernel/deep", "a_b/_0"]
    paths = attribute_paths(names, ("name", "variables"))
    assert paths["dense/kernel"] == ("dense", "kernel")
    assert len(set(paths.values())) == len(names)
    leaves, folders = set(paths.values()), {p[:i] for p in paths.values() for i in range(1, len(p))}
    assert not leaves & folders
    for path in leaves:
        ast.parse(f"self.{'.'.join(path)}")
        assert "name" not in path


def test_a_helper_brings_all_that_it_uses():
    for name in HELPERS:
        text = helper_text([name])
        assert f"def {name}(" in text or f"{name} = " in text
        defined = {n for n in HELPERS if f"def {n}(" in text or f"\n{n} = " in f"\n{text}"}
        used = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)} & HELPERS.keys()
        assert used <= defined | {name}
