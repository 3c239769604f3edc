"""What tests/frontend/test_devices.py looks at, in a process whose CPU counts as four devices: prints JSON."""

import json
import threading

import jax
import numpy as np

import lamina
from lamina import keras
from lamina.ir.errors import LaminaError

DEVICES = jax.devices("cpu")
X = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
Y = X[:, :1]


def where(*arrays):
    """The devices of arrays, by number."""
    return sorted({device.id for array in arrays for device in array.devices()})


def model(name="model"):
    keras.utils.set_random_seed(3)
    layers = [keras.Input((4,)), keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    return keras.Sequential(layers, name=name)


def refused(call):
    try:
        call()
    except LaminaError as error:
        return f"{type(error).__name__}: {error}"
    return "taken"


def scopes():
    seen = {"outside": where(keras.ops.ones(2))}
    with keras.device("cpu:1"):
        seen["inside"] = where(keras.ops.ones(2), keras.ops.sin(X), keras.random.normal((2,)))
        with keras.device("CPU:2"):
            seen["nested"] = where(keras.ops.ones(2))
            thread = threading.Thread(target=lambda: seen.update(thread=where(keras.ops.ones(2))))
            thread.start()
            thread.join()
        seen["after"] = where(keras.ops.ones(2))
        with keras.device(DEVICES[3]):
            seen["by jax.Device"] = where(keras.ops.ones(2))
    try:
        with keras.device("cpu:3"):
            raise KeyError
    except KeyError:
        seen["after an error"] = where(keras.ops.ones(2))
    return seen


def training():
    here = model("here")
    with keras.device("cpu:1"):
        there = model("there")
        seen = {"variables": where(*[v.value for v in there.variables])}
    for each in (here, there):
        each.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    losses = [m.fit(X, Y, batch_size=4, epochs=3, verbose=0, shuffle=False).history["loss"] for m in (here, there)]
    seen["losses equal"] = losses[0] == losses[1]
    seen["after fit"] = where(*[v.value for v in (*there.variables, *there.optimizer.variables)])
    seen["predictions equal"] = bool((here.predict(X, verbose=0) == there.predict(X, verbose=0)).all())
    seen["called"] = where(there(X))
    there.layers[0].set_weights([w + 1 for w in there.layers[0].get_weights()])
    seen["after set_weights"] = where(*[v.value for v in there.variables])
    seen["metrics"] = where(*[v.value for metric in there.metrics for v in metric.variables])
    return seen


def compiled():
    with keras.device("cpu:1"):
        there = model()
    by_variables = lamina.compile(there)
    with keras.device("cpu:2"):
        by_scope, square = lamina.compile(model()), lamina.compile(lambda x: x * x, lamina.Spec((None,)))
        follows = lamina.jit(lambda x: x + 1)
    own = lamina.compile(model(), device="cpu:3")
    far = jax.device_put(X, DEVICES[2])
    seen = {
        "by variables": [by_variables.device.id, *where(by_variables(X))],
        "by scope": [by_scope.device.id, *where(by_scope(X), square(X[0]))],
        "by device": [own.device.id, *where(own(X), own(jax.device_put(X, DEVICES[1])))],
        "jit outside": where(follows(X)),
        "input elsewhere": where(by_variables(far)),
        "equal there": bool((np.asarray(by_variables(far)) == np.asarray(by_variables(X))).all()),
        "predict elsewhere": there.predict(far, verbose=0).shape,
    }
    first, second = own._programs[0].parameter_values(), own._programs[0].parameter_values()
    seen["parameters brought"] = where(*first)
    seen["parameters brought once"] = all(a is b for a, b in zip(first, second, strict=True))
    same = lamina.compile(lambda x: x, lamina.Spec((None, 4)))
    on_one = jax.device_put(X, DEVICES[1])
    with jax.transfer_guard("disallow"):
        seen["input there already"] = where(by_variables(on_one), same(on_one))
    return seen


def errors():
    with keras.device("cpu:1"):
        first = keras.layers.Dense(3, name="first")
        first.build((None, 4))
        a = keras.Variable(np.ones(3, np.float32))
    with keras.device("cpu:2"):
        second = keras.layers.Dense(3, name="second")
        second.build((None, 3))
        b = keras.Variable(np.ones(3, np.float32))
    both = keras.Sequential([keras.Input((4,)), first, second])
    both.compile("sgd", "mse")
    add = lamina.compile(lambda x, y: x + y, lamina.Spec((3,)), lamina.Spec((3,)))
    return {
        "absent": refused(lambda: keras.device("gpu:5")),
        "no name": refused(lambda: keras.device(123)),
        "model": refused(lambda: lamina.compile(both)),
        "call": refused(lambda: both(X)),
        "fit": refused(lambda: both.fit(X, np.ones((8, 3)), verbose=0)),
        "ops": refused(lambda: a + b),
        "inputs": refused(lambda: add(a.value, b.value)),
        "Variable keeps its device": [where(a.value), where(a.assign(np.zeros(3))), where(a.value)],
    }


if __name__ == "__main__":
    print(json.dumps({f.__name__: f() for f in (scopes, training, compiled, errors)}))
