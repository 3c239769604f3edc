"""Import a model from Keras on the backend that KERAS_BACKEND names, and compare: run by test_importing.py, one process
for each backend, since Keras has one for good."""

from __future__ import annotations

import keras
import numpy as np

import lamina


@keras.saving.register_keras_serializable("tests")
class Waves(keras.layers.Layer):
    """A layer that lamina has not."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        return keras.ops.sin(x) * self.scale


def model(custom: bool) -> keras.Model:
    layers = [
        keras.Input((6, 6, 2)),
        keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
        keras.layers.BatchNormalization(name="norm"),
        *([Waves(name="waves")] if custom else []),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(3, name="dense"),
    ]
    return keras.Sequential(layers, name="net")


def compare(net: keras.Model, module: lamina.Module, training: bool = False) -> None:
    """The imported program gives what Keras gives, and updates what Keras updates."""
    x = np.random.default_rng(0).standard_normal((4, 6, 6, 2)).astype(np.float32)
    result = lamina.compile(module)(x)
    expected = keras.ops.convert_to_numpy(net(x, training=training))
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-5, atol=1e-5)
    paths = {v.path: keras.ops.convert_to_numpy(v.value) for v in net.variables}
    for parameter in module.main.parameters:
        (path,) = [p for p in paths if p.endswith(parameter.name)]
        np.testing.assert_allclose(parameter.key.numpy(), paths[path], rtol=1e-5, atol=1e-6, err_msg=path)


def main() -> None:
    keras.utils.set_random_seed(0)
    backend = keras.backend.backend()
    net = model(custom=False)
    module = lamina.from_keras(net)
    assert any("norm" in layer for node in module.walk() for layer in node.location.layers)
    compare(net, module)
    net = model(custom=True)
    spec = lamina.Spec((4, 6, 6, 2)) if backend == "tensorflow" else lamina.Spec((None, 6, 6, 2))
    if backend == "torch":
        try:
            lamina.from_keras(net, spec)
        except lamina.LaminaError as error:
            assert "there is no way in through Keras's torch backend" in str(error) and "Waves" in str(error)
        else:
            raise AssertionError("a layer of the user's own can't come from torch")
        return
    module = lamina.from_keras(net, spec)
    assert not module.main.updates
    compare(net, module)
    module = lamina.from_keras(net, spec, training=True)
    assert sorted(u.parameter.name.rsplit("/", 1)[-1] for u in module.main.updates) == [
        "moving_mean",
        "moving_variance",
    ]
    compare(net, module, training=True)


if __name__ == "__main__":
    main()
    print("imported")
