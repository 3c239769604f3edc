"""The same model and the same logs for the callbacks of both libraries."""

import io
import sys
import types
import warnings

import keras
import numpy as np

from lamina import keras as ours

X = np.random.RandomState(0).rand(24, 3).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def model_of(module, **compiled):
    """A small compiled model, equal in both libraries."""
    module.utils.set_random_seed(7)
    model = module.Sequential([module.layers.Input((3,)), module.layers.Dense(1, name="out")], name="small")
    model.compile(**{"optimizer": module.optimizers.SGD(0.1, momentum=0.9), "loss": "mse", **compiled})
    return model


def fit(module, callbacks, epochs=4, model=None, **kwargs):
    model = model or model_of(module)
    kwargs = {"batch_size": 8, "verbose": 0, "shuffle": False, **kwargs}
    return model, model.fit(X, Y, epochs=epochs, callbacks=callbacks, **kwargs).history


def assert_close(mine, theirs):
    """Equal up to the rounding of a few float32 steps."""
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-5, atol=1e-7)


class StandIn:
    """A model as far as callbacks that follow a quantity see it."""

    def __init__(self):
        self.stop_training = False
        self.optimizer = types.SimpleNamespace(learning_rate=0.5, name="sgd")
        self.metrics = []
        self.weights = 0

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


def drive(callback, values, name="val_loss"):
    """Epochs with these values; what was to be seen after each."""
    model, seen = StandIn(), []
    callback.set_model(model)
    callback.set_params({"epochs": len(values)})
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        model.weights = epoch + 1
        callback.on_epoch_begin(epoch)
        logs = {"loss": 0.0} if value is None else {"loss": 0.0, name: value}
        callback.on_epoch_end(epoch, logs)
        seen.append((logs, float(model.optimizer.learning_rate), model.stop_training))
        if model.stop_training:
            break
    callback.on_train_end()
    return seen, model.weights


def both_driven(make, values, name="val_loss"):
    """Drive both libraries' callbacks; they must do, print and warn the same."""
    found = []
    for module in (ours, keras):
        out, stdout = io.StringIO(), sys.stdout
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sys.stdout = out
            try:
                result = drive(make(module.callbacks), values, name)
            finally:
                sys.stdout = stdout
        found.append((result, out.getvalue(), len(caught)))
    assert found[0] == found[1]
    return found[0]


def weights_equal(model, weights):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights))
