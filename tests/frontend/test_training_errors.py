"""What bad input to training gets, and that the model keeps its last good weights."""

import os
import signal
from typing import Any

import numpy as np
import pytest

from lamina import keras
from lamina.ir.errors import ArgumentError, LaminaError, ShapeError

RNG = np.random.default_rng(4)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = RNG.normal(size=(32, 2)).astype("float32")


def model(**options: Any) -> Any:
    keras.utils.set_random_seed(2)
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    made.compile(**{"optimizer": "sgd", "loss": "mse", **options})
    return made


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_not_compiled(method: str) -> None:
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ArgumentError, match=r"must call `compile\(\)`"):
        getattr(made, method)(X, Y)
    assert made.predict(X, verbose=0).shape == (32, 2)


def test_unknown_names_suggest_the_nearest() -> None:
    for argument, wrong, near in (
        ("loss", "mean_squared_eror", "mean_squared_error"),
        ("optimizer", "addam", "adam"),
    ):
        with pytest.raises(LaminaError, match=f"did you mean '{near}'"):
            made = model(**{argument: wrong})
            made.train_on_batch(X, Y)


def test_a_compile_that_fails_changes_nothing() -> None:
    made = model()
    before = made.optimizer, made.loss
    with pytest.raises(LaminaError):
        made.compile("no_such_optimizer", "mae")
    assert (made.optimizer, made.loss) == before
    with pytest.raises(ArgumentError, match="steps_per_execution"):
        made.compile("sgd", "mse", steps_per_execution=0)


def test_labels_of_the_wrong_shape_then_right() -> None:
    made = model(metrics=["accuracy"])
    before = made.get_weights()
    with pytest.raises(ShapeError, match=r"3"):
        made.fit(X, np.ones((32, 3), "float32"), verbose=0)
    for now, then in zip(made.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert np.isfinite(made.fit(X, Y, verbose=0).history["loss"][0])


def test_inputs_of_the_wrong_shape() -> None:
    with pytest.raises(ShapeError):
        model().fit(X[:, :3], Y, verbose=0)
    with pytest.raises(ShapeError, match="number of samples"):
        model().fit(X, Y[:5], verbose=0)


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict", "train_on_batch", "generator"])
def test_empty_data(call: str) -> None:
    made = model()
    x, y = X[:0], Y[:0]
    with pytest.raises(LaminaError):
        if call == "predict":
            made.predict(x, verbose=0)
        elif call == "generator":
            made.fit(iter(()), verbose=0, shuffle=False)
        elif call == "train_on_batch":
            made.train_on_batch(x, y)
        else:
            getattr(made, call)(x, y, verbose=0)
    assert all(np.isfinite(w).all() for w in made.get_weights())


def test_no_loss_to_train_on() -> None:
    made = model(loss=None, metrics=["mae"])
    with pytest.raises(ArgumentError, match="No loss to compute"):
        made.fit(X, Y, verbose=0)
    found = made.evaluate(X, Y, verbose=0, return_dict=True)  # metrics need no loss
    assert found["loss"] == 0
    np.testing.assert_allclose(found["mae"], np.abs(made.predict(X, verbose=0) - Y).mean(), rtol=1e-4)


def test_no_optimizer() -> None:
    with pytest.raises(ArgumentError, match="without an optimizer"):
        model(optimizer=None).train_on_batch(X, Y)


def test_sample_weight_along_with_class_weight() -> None:
    with pytest.raises(ArgumentError, match="class_weight"):
        model().train_on_batch(X, Y, sample_weight=np.ones(32), class_weight={0: 1.0})


class Raising(keras.callbacks.Callback):
    """Raises after a number of batches, and keeps the weights as they were then."""

    def __init__(self, error: BaseException | int, batch: int) -> None:
        super().__init__()
        self.error, self.batch = error, batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self.batch:
            self.seen = self.model.get_weights()
            if isinstance(self.error, int):
                os.kill(os.getpid(), self.error)
            else:
                raise self.error


@pytest.mark.parametrize("error", [RuntimeError("a callback's own"), signal.SIGINT])
def test_what_ends_training_early_keeps_the_last_weights(error: Any) -> None:
    made = model()
    callback = Raising(error, 2)
    with pytest.raises(RuntimeError if isinstance(error, RuntimeError) else KeyboardInterrupt):
        made.fit(X, Y, batch_size=4, epochs=3, verbose=0, callbacks=[callback])
    for now, then in zip(made.get_weights(), callback.seen, strict=True):
        np.testing.assert_array_equal(now, then)
    assert np.isfinite(made.fit(X, Y, verbose=0).history["loss"][0])  # and trains on


def test_a_generator_that_raises() -> None:
    def batches() -> Any:
        yield X[:8], Y[:8]
        yield X[8:16], Y[8:16]
        raise OSError("the disk is gone")

    made, same = model(), model()
    with pytest.raises(OSError, match="the disk is gone"):
        made.fit(batches(), verbose=0, shuffle=False)
    same.train_on_batch(X[:8], Y[:8])
    same.train_on_batch(X[8:16], Y[8:16])
    for a, b in zip(made.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_generator_that_ends_early() -> None:
    made = model()
    with pytest.warns(UserWarning, match="ran out of data"):
        history = made.fit(iter([(X[:8], Y[:8])] * 3), steps_per_epoch=2, epochs=4, verbose=0, shuffle=False)
    assert 1 <= len(history.epoch) <= 2


def test_nan_losses_train_on() -> None:
    made = model()
    x = X.copy()
    x[5] = np.nan
    history = made.fit(x, Y, epochs=2, batch_size=8, verbose=0, shuffle=False).history
    assert np.isnan(history["loss"]).all()


def test_layers_frozen_after_compile_warn() -> None:
    made = model()
    made.train_on_batch(X, Y)
    made.layers[0].trainable = False
    with pytest.warns(UserWarning, match="compile\\(\\) again"):
        made.fit(X, Y, verbose=0)


def test_the_state_of_a_step_is_checked() -> None:
    made = model()
    with pytest.raises(ArgumentError, match="the state of"):
        made.test_step(([], [], []), (X, Y))
