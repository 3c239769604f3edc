"""Steps that users write, in both styles; stateless calls; losses and metrics that layers add."""

from collections.abc import Callable
from typing import Any

import keras as theirs
import numpy as np
import pytest
from training_pairs import assert_same_logs, assert_same_weights, assert_trains_alike, pair

import lamina
from lamina import keras as ours
from lamina.ir.errors import ArgumentError

RNG = np.random.default_rng(3)
X = RNG.normal(size=(20, 6)).astype("float32")
Y = (X[:, :2] * X[:, 2:4]).astype("float32")
FIT = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}


def layers(k: Any) -> list[Any]:
    return [k.Input((6,)), k.layers.Dense(8, activation="tanh"), k.layers.Dense(2)]


def plain(k: Any) -> Any:
    model = k.Sequential(layers(k))
    model.compile("adam", "mse")
    return model


def subclass(k: Any, methods: dict[str, Any]) -> Any:
    """A Sequential of a class with these methods, compiled."""
    model = type("Mine", (k.Sequential,), methods)(layers(k))
    model.compile("adam", "mse")
    return model


def same_as_default(methods: dict[str, Any], **fit: Any) -> Any:
    """A model with overridden steps that should train as the default ones do. Returns its history."""
    ours.utils.set_random_seed(1)
    default = plain(ours)
    ours.utils.set_random_seed(1)
    mine = subclass(ours, methods)
    expected = default.fit(X, Y, **{**FIT, **fit})
    found = mine.fit(X, Y, **{**FIT, **fit})
    assert_same_weights(mine, default, rtol=1e-6, atol=1e-7)
    return mine, found.history, expected.history


def stateful(self: Any, data: Any) -> dict[str, Any]:
    x, y = data
    loss, grads = self.compute_gradients(lambda: self.compute_loss(y=y, y_pred=self(x, training=True)))
    self.optimizer.apply(grads, self.trainable_variables)
    return {"batch_loss": loss}


def stateless(self: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    trainable, others, optimizer_variables, metrics_variables = state
    x, y = data

    def loss_of(trainable: Any) -> tuple[Any, Any]:
        y_pred, new = self.stateless_call(trainable, others, x, training=True)
        loss, _ = self.stateless_compute_loss(trainable, new, metrics_variables, x=x, y=y, y_pred=y_pred)
        return loss, new

    (loss, others), grads = lamina.value_and_grad(loss_of, has_aux=True)(trainable)
    trainable, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, grads, trainable)
    return {"batch_loss": loss}, (trainable, others, optimizer_variables, metrics_variables)


@pytest.mark.parametrize("step", [stateful, stateless])
@pytest.mark.parametrize("eager", [False, True])
def test_a_step_of_the_users(step: Callable[..., Any], eager: bool) -> None:
    ours.utils.set_random_seed(1)
    default = plain(ours)
    ours.utils.set_random_seed(1)
    mine = subclass(ours, {"train_step": step})
    mine.compile("adam", "mse", run_eagerly=eager)
    default.fit(X, Y, **FIT)
    logs = mine.fit(X, Y, **FIT).history
    assert list(logs) == ["batch_loss"]
    assert_same_weights(mine, default, rtol=1e-5, atol=1e-6)


def test_super_of_a_step_in_both_styles() -> None:
    def with_state(self: Any, state: Any, data: Any) -> Any:
        logs, state = ours.Sequential.train_step(self, state, data)
        return {**logs, "twice": logs["loss"] * 2}, state

    def without(self: Any, data: Any) -> Any:
        logs = ours.Sequential.train_step(self, data)
        return {**logs, "twice": logs["loss"] * 2}

    for method in (with_state, without):
        _, found, expected = same_as_default({"train_step": method})
        np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-6)
        np.testing.assert_allclose(found["twice"], np.multiply(expected["loss"], 2), rtol=1e-6)


def test_step_of_the_users_in_a_loop_on_the_device() -> None:
    ours.utils.set_random_seed(1)
    default = plain(ours)
    ours.utils.set_random_seed(1)
    mine = subclass(ours, {"train_step": stateful})
    mine.compile("adam", "mse", steps_per_execution=2)
    default.fit(X, Y, **FIT)
    mine.fit(X, Y, **FIT)
    assert_same_weights(mine, default, rtol=1e-5, atol=1e-6)


def test_jax_style_steps_equal_keras() -> None:
    def build(k: Any) -> Any:
        def test_step(self: Any, state: Any, data: Any) -> Any:
            logs, state = k.Sequential.test_step(self, state, data)
            return {**logs, "constant": k.ops.convert_to_tensor(3.0)}, state

        def predict_step(self: Any, state: Any, data: Any) -> Any:
            outputs, others = k.Sequential.predict_step(self, state, data)
            return outputs + 1, others

        return subclass(k, {"test_step": test_step, "predict_step": predict_step})

    mine, other = assert_trains_alike(build, X, Y, validation_data=(X, Y))
    found = mine.evaluate(X, Y, verbose=0, return_dict=True)
    assert_same_logs(found, other.evaluate(X, Y, verbose=0, return_dict=True))
    np.testing.assert_allclose(mine.predict(X, verbose=0), other.predict(X, verbose=0), rtol=1e-3, atol=1e-5)


def test_compute_loss_with_and_without_the_argument_training() -> None:
    def build(k: Any) -> Any:
        def compute_loss(self: Any, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
            return k.ops.mean(k.ops.abs(y - y_pred)) + k.ops.mean(k.ops.square(x)) * 0.1

        return subclass(k, {"compute_loss": compute_loss})

    assert_trains_alike(build, X, Y)


def test_metrics_in_attributes_are_reset_and_reported() -> None:
    def build(k: Any) -> Any:
        def compute_metrics(self: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            self.spread.update_state(k.ops.max(y_pred) - k.ops.min(y_pred))
            return k.Sequential.compute_metrics(self, x, y, y_pred, sample_weight)

        model = subclass(k, {"compute_metrics": compute_metrics})
        model.spread = k.metrics.Mean(name="spread")
        return model

    mine, other = assert_trains_alike(build, X, Y, validation_data=(X, Y))
    assert mine.metrics_names == other.metrics_names == ["loss", "spread"]
    assert len(mine.metrics_variables) == len(other.metrics_variables)
    assert not set(map(id, mine.metrics_variables)) & set(map(id, mine.variables))


def penalized(k: Any, count: int) -> Any:
    class Penalty(k.layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(k.ops.mean(k.ops.square(x)) * 0.1)
            self.add_loss([k.ops.sum(k.ops.abs(x)) * 1e-3])
            return x

    model = k.Sequential([k.Input((6,)), k.layers.Dense(2), *(Penalty() for _ in range(count))])
    model.compile("sgd", "mse")
    return model


def test_losses_added_in_call() -> None:
    mine, other = assert_trains_alike(lambda k: penalized(k, 1), X, Y, validation_data=(X, Y))
    mine(X), other(X)
    assert len(mine.losses) == len(other.losses) == 2  # those of the last call alone
    np.testing.assert_allclose(np.asarray(mine.losses), np.asarray(other.losses), rtol=1e-3)


def test_losses_added_by_several_layers() -> None:
    """By NumPy: Keras tells layers' losses apart by ``id``, which a freed tracer may share, and loses some at times."""
    model = penalized(ours, 2)
    kernel, bias = (w.numpy() for w in model.weights)
    predicted = X @ kernel + bias
    added = [0.1 * np.mean(predicted**2), 1e-3 * np.abs(predicted).sum()] * 2
    loss = model.evaluate(X, Y, batch_size=len(X), verbose=0)
    np.testing.assert_allclose(loss, np.mean((predicted - Y) ** 2) + sum(added), rtol=1e-5)
    model(X)
    np.testing.assert_allclose(np.asarray(model.losses), added, rtol=1e-5)


def test_training_on_added_losses_alone() -> None:
    def build(k: Any) -> Any:
        model = k.Sequential([k.Input((6,)), k.layers.Dense(2, activity_regularizer="l2")])
        model.compile("sgd")
        return model

    assert_trains_alike(build, X)


@pytest.mark.parametrize("k", [ours, theirs])
def test_losses_of_eager_calls(k: Any) -> None:
    model = k.Sequential(
        [k.Input((6,)), k.layers.Dense(3, activity_regularizer="l2", kernel_regularizer=k.regularizers.L2(0.5))]
    )
    for _ in range(2):
        y = np.asarray(model(X))
        activity, weights = (float(v) for v in model.losses)
        np.testing.assert_allclose(activity, 0.01 * np.sum(y**2) / len(X), rtol=1e-5)
        np.testing.assert_allclose(weights, 0.5 * np.sum(model.get_weights()[0] ** 2), rtol=1e-5)


def test_stateless_call_changes_nothing() -> None:
    def build(k: Any) -> Any:
        return k.Sequential(
            [k.Input((6,)), k.layers.Dense(3, activity_regularizer="l2"), k.layers.BatchNormalization()]
        )

    mine, other = pair(build)
    before = mine.get_weights()
    results = []
    for model in (mine, other):
        trainable = [np.asarray(v) + 0.5 for v in model.trainable_variables]
        others = [np.asarray(v) for v in model.non_trainable_variables]
        results.append(model.stateless_call(trainable, others, X, training=True, return_losses=True))
    for found, expected in zip(*results, strict=True):
        for a, b in zip(*map(lamina_leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for now, then in zip(mine.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    with pytest.raises(ArgumentError, match="trainable_variables must hold one tensor for each of its 4"):
        mine.stateless_call([], [], X)


def lamina_leaves(nest: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in (nest if isinstance(nest, list | tuple) else [nest])]


def test_run_eagerly_has_real_arrays() -> None:
    seen: list[float] = []

    class Looking(ours.layers.Layer):
        def call(self, x: Any) -> Any:
            if ours.ops.max(x) > 1e6:  # Python may branch on values
                raise AssertionError("no such values in the data")
            seen.append(float(ours.ops.mean(x)))
            return x

    model = ours.Sequential([ours.Input((6,)), ours.layers.Dense(2)])
    model.build((None, 6))
    net = _Net(model, Looking)
    net.compile("sgd", "mse", run_eagerly=True)
    net.fit(X, Y, epochs=1, batch_size=10, verbose=0)
    assert len(seen) >= 2
    assert all(np.isfinite(seen))


class _Net(ours.Model):
    def __init__(self, inner: Any, look: Any) -> None:
        super().__init__()
        self.inner, self.look = inner, look()

    def call(self, x: Any) -> Any:
        return self.look(self.inner(x))


def test_run_eagerly_keeps_masks() -> None:
    class Masked(ours.Model):
        def __init__(self) -> None:
            super().__init__()
            self.mask, self.out = ours.layers.Masking(), ours.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.out(self.mask(x))

    x, y = RNG.normal(size=(6, 5, 3)).astype("float32"), RNG.normal(size=(6, 5, 1)).astype("float32")
    x[::2, 3:] = 0
    results = []
    for eager in (False, True):
        ours.utils.set_random_seed(1)
        model = Masked()
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=eager)
        logs = model.fit(x, y, epochs=2, verbose=0, shuffle=False).history
        results.append(
            {**logs, **{f"val_{k}": v for k, v in model.evaluate(x, y, verbose=0, return_dict=True).items()}}
        )
    assert_same_logs(*results)


def test_without_anything_to_train() -> None:
    def build(k: Any) -> Any:
        model = k.Sequential(layers(k))
        model.trainable = False
        model.compile("sgd", "mse")
        return model

    mine = build(ours)
    before = mine.get_weights()
    found = mine.fit(X, Y, **FIT).history["loss"]
    np.testing.assert_allclose(found, [np.mean((mine.predict(X, verbose=0) - Y) ** 2)] * 2, rtol=1e-4)
    for now, then in zip(mine.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
