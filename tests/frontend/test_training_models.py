"""Layers and optimizers of all kinds train as in Keras on JAX: masks, statistics, penalties, mixed precision."""

from typing import Any

import numpy as np
from training_pairs import assert_same_logs, assert_trains_alike, pair

RNG = np.random.default_rng(0)
X = RNG.normal(size=(28, 6)).astype("float32")  # 3 batches of 8 and one of 4
Y = np.stack([X[:, 0] - X[:, 1], X[:, 2] * X[:, 3]], 1).astype("float32")


def dense(k: Any, optimizer: Any) -> Any:
    model = k.Sequential([k.Input((6,)), k.layers.Dense(8, activation="tanh"), k.layers.Dense(2)])
    model.compile(optimizer, "mse")
    return model


def test_masks_reach_the_loss() -> None:
    def build(k: Any) -> Any:
        model = k.Sequential(
            [
                k.Input((5,), dtype="int32"),
                k.layers.Embedding(10, 4, mask_zero=True),
                k.layers.LSTM(6, return_sequences=True),
                k.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        return model

    tokens = RNG.integers(0, 10, size=(24, 5))
    tokens[:, 3:] = 0
    assert_trains_alike(build, tokens, RNG.normal(size=(24, 5, 1)).astype("float32"))


def test_masks_with_weights_of_steps_and_metrics() -> None:
    def build(k: Any) -> Any:
        x = k.Input((5, 3))
        hidden = k.layers.GRU(4, return_sequences=True)(k.layers.Masking()(x))
        model = k.Model(x, k.layers.Dense(2, activation="softmax")(hidden))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
        return model

    steps = RNG.normal(size=(24, 5, 3)).astype("float32")
    steps[::2, 3:] = 0
    weights = np.linspace(0.5, 2, 24 * 5).reshape(24, 5).astype("float32")
    labels = RNG.integers(0, 2, size=(24, 5))
    assert_trains_alike(build, steps, labels, sample_weight=weights, validation_data=(steps, labels))


def test_batch_normalization_moves_its_averages() -> None:
    def build(k: Any) -> Any:
        model = k.Sequential([k.Input((6,)), k.layers.Dense(8), k.layers.BatchNormalization(), k.layers.Dense(2)])
        model.compile("sgd", "mse", metrics=["mse"])
        return model

    mine, _ = assert_trains_alike(build, X, Y, validation_split=0.2)
    moving = next(w for w in mine.weights if w.path.endswith("moving_mean"))
    assert np.abs(moving.numpy()).max() > 0


def test_regularizers_of_weights_and_activity() -> None:
    def build(k: Any) -> Any:
        model = k.Sequential(
            [
                k.Input((6,)),
                k.layers.Dense(8, kernel_regularizer="l2", bias_regularizer="l1", activity_regularizer="l2"),
                k.layers.ActivityRegularization(l1=0.01),
                k.layers.Dense(2),
            ]
        )
        model.compile("sgd", "mse")
        return model

    assert_trains_alike(build, X, Y, validation_split=0.2)


def test_frozen_layers_stay() -> None:
    def build(k: Any) -> Any:
        model = k.Sequential([k.Input((6,)), k.layers.Dense(8, activation="tanh"), k.layers.Dense(2)])
        model.layers[0].trainable = False
        model.compile("adam", "mse")
        return model

    before = pair(build)[0].layers[0].get_weights()
    mine, _ = assert_trains_alike(build, X, Y)
    for now, then in zip(mine.layers[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_constraints_and_accumulated_gradients() -> None:
    def build(k: Any) -> Any:
        model = k.Sequential([k.Input((6,)), k.layers.Dense(2, kernel_constraint=k.constraints.MaxNorm(0.5))])
        model.compile(k.optimizers.Adam(0.01, gradient_accumulation_steps=2, clipnorm=1.0), "mse")
        return model

    assert_trains_alike(build, X, Y)


def test_moving_average_of_weights_ends_training() -> None:
    assert_trains_alike(lambda k: dense(k, k.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.8)), X, Y)


def test_learning_rate_schedule() -> None:
    def build(k: Any) -> Any:
        return dense(k, k.optimizers.SGD(k.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5)))

    assert_trains_alike(build, X, Y)


def test_mixed_bfloat16() -> None:
    def build(k: Any) -> Any:
        layer = k.layers.Dense(8, activation="tanh", dtype="mixed_bfloat16")
        model = k.Sequential([k.Input((6,)), layer, k.layers.Dense(2, dtype="float32")])
        model.compile("sgd", "mse")
        return model

    # bfloat16 has 8 bits of mantissa: products may round to neighbours
    mine, other = pair(build)
    settings = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}
    found, expected = mine.fit(X, Y, **settings), other.fit(X, Y, **settings)
    assert_same_logs(found.history, expected.history, rtol=2e-2)
    assert all(w.dtype == "float32" for w in mine.weights)


def test_mixed_float16_scales_the_loss() -> None:
    def build(k: Any) -> Any:
        old = k.config.dtype_policy()
        k.config.set_dtype_policy("mixed_float16")
        try:
            model = k.Sequential([k.Input((6,)), k.layers.Dense(2)])
        finally:
            k.config.set_dtype_policy(old)
        model.compile("sgd", "mse")
        return model

    mine, other = pair(build)
    assert type(mine.optimizer).__name__ == "LossScaleOptimizer"
    settings = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
    found, expected = mine.fit(X, Y, **settings), other.fit(X, Y, **settings)
    assert_same_logs(found.history, expected.history, rtol=1e-2)  # float16 has 11 bits of mantissa
    mine.compile("sgd", "mse", auto_scale_loss=False)
    assert type(mine.optimizer).__name__ == "SGD"


def test_unbuilt_models_are_built_from_the_data() -> None:
    def build(k: Any) -> Any:
        model = k.Sequential([k.layers.Dense(8, activation="tanh"), k.layers.Dense(2)])
        model.compile("adam", "mse", metrics=["mae"])
        return model

    assert_trains_alike(build, X, Y)


def test_subclassed_model() -> None:
    def build(k: Any) -> Any:
        class Net(k.Model):
            def __init__(self) -> None:
                super().__init__()
                self.hidden = k.layers.Dense(8, activation="relu")
                self.out = k.layers.Dense(2)

            def call(self, x: Any, training: bool = False) -> Any:
                return self.out(self.hidden(x))

        model = Net()
        model.compile("adam", "mse", metrics=["mae"])
        return model

    assert_trains_alike(build, X, Y, validation_split=0.2)
