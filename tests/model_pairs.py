"""Models that real Keras and lamina build from the same lines, and how their configs and outputs are compared."""

import json

import keras as real
import numpy as np

from lamina import keras as ours
from lamina.frontend.names import clear_session

# A model's outputs: float32 sums over at most a few hundred products, in another order.
RELATIVE = 1e-5


def start():
    """Automatic names begin anew in both, so that equal lines give equal names."""
    real.backend.clear_session(free_memory=False)
    clear_session(free_memory=False)


def both(build):
    """What ``build(keras)`` makes with real Keras and with ours."""
    start()
    return build(real), build(ours)


def plain(config):
    """A config as JSON holds it, without the numbers of shared objects (Keras's are addresses)."""

    def strip(value):
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k != "shared_object_id"}
        return [strip(v) for v in value] if isinstance(value, list) else value

    return strip(json.loads(json.dumps(config)))


def config_of(model):
    """The model's config, as its file has it."""
    return plain(json.loads(model.to_json()))


def copy_weights(source, target):
    target.set_weights([np.asarray(w) for w in source.get_weights()])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def assert_close(actual, expected):
    """Equal structure, and values equal up to ``RELATIVE`` of the largest."""
    if isinstance(expected, dict):
        assert set(actual) == set(expected)
        for key in expected:
            assert_close(actual[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e)
    else:
        a, e = np.asarray(actual), np.asarray(expected)
        assert a.shape == e.shape and a.dtype == e.dtype
        assert np.abs(a - e).max(initial=0) <= RELATIVE * np.abs(e).max(initial=0)


# The models. Each takes the ``keras`` to build with.


def mlp(keras):
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.25),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def convolutional(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12, 12, 1), name="image"),
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(6, 3, activation="gelu"),
            layers.GlobalAveragePooling2D(),
            layers.LayerNormalization(),
            layers.Reshape((3, 2)),
            layers.Flatten(),
            layers.Dense(5),
        ],
        name="convolutional",
    )


def several(keras):
    """Two inputs, two outputs in a dict, a shared layer, ops, an input used twice."""
    layers = keras.layers
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(4, name="shared")
    x = shared(a) + shared(b) * 2.0
    x = layers.Concatenate()([x, a])
    y = keras.ops.relu(x[:, 1:])
    y = keras.ops.sum(y, axis=-1, keepdims=True)
    return keras.Model([a, b], {"first": layers.Dense(2)(x), "second": y}, name="several")


def nested(keras):
    """A functional model and a Sequential inside a functional model, the inner one used twice."""
    layers = keras.layers
    inner_in = keras.Input((6,), name="inner_in")
    inner = keras.Model(inner_in, layers.Dense(6, activation="tanh")(inner_in), name="inner")
    tail = keras.Sequential([keras.Input((6,)), layers.Dense(3), layers.Dropout(0.5)], name="tail")
    x = keras.Input((6,), name="x")
    return keras.Model(x, tail(layers.Add()([inner(x), inner(inner(x))])), name="outer")


def dict_inputs(keras):
    layers = keras.layers
    inputs = {"left": keras.Input((3,), name="left"), "right": keras.Input((3,), name="right")}
    x = layers.Multiply()([inputs["left"], inputs["right"]])
    return keras.Model(inputs, [layers.Dense(2)(x), layers.Subtract()([inputs["left"], x])], name="from_dict")


def residual(keras):
    """Depths that differ between branches."""
    layers = keras.layers
    x = keras.Input((6,), name="x")
    y = layers.Dense(6, activation="relu", name="one")(x)
    y = layers.Dense(6, name="two")(y)
    z = layers.Add(name="sum")([x, y])
    w = layers.Dense(6, name="short")(x)
    return keras.Model(x, [layers.Dense(2, name="out")(z), layers.Maximum(name="high")([w, z])], name="residual")


INPUTS = {
    mlp: lambda n: draw(n, 8),
    convolutional: lambda n: draw(n, 12, 12, 1),
    several: lambda n: [draw(n, 4), draw(n, 4, seed=1)],
    nested: lambda n: draw(n, 6),
    dict_inputs: lambda n: {"left": draw(n, 3), "right": draw(n, 3, seed=1)},
    residual: lambda n: draw(n, 6),
}
MODELS = list(INPUTS)
