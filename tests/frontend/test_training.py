"""``fit``, ``evaluate``, ``predict`` and their kin give what Keras on JAX gives from the same seed."""

from typing import Any

import numpy as np
import pytest
from training_pairs import assert_same_logs, assert_trains_alike, pair

from lamina import keras as ours

RNG = np.random.default_rng(0)
X = RNG.normal(size=(44, 6)).astype("float32")  # 5 batches of 8 and one of 4
Y = np.stack([X[:, 0] - X[:, 1], X[:, 2] * X[:, 3]], 1).astype("float32")
CLASSES = (X[:, 0] + 0.5 * X[:, 1] > 0).astype("int32") + (X[:, 2] > 0.5).astype("int32")


def dense(k: Any, **options: Any) -> Any:
    model = k.Sequential([k.Input((6,)), k.layers.Dense(8, activation="tanh"), k.layers.Dense(2)])
    model.compile(**{"optimizer": "adam", "loss": "mse", "metrics": ["mae"], **options})
    return model


def classifier(k: Any, **options: Any) -> Any:
    model = k.Sequential([k.Input((6,)), k.layers.Dense(8, activation="relu"), k.layers.Dense(3, activation="softmax")])
    settings = {"optimizer": k.optimizers.SGD(0.1, momentum=0.9), "loss": "sparse_categorical_crossentropy"}
    model.compile(**{**settings, "metrics": ["accuracy"], "weighted_metrics": ["accuracy"], **options})
    return model


def two_outputs(k: Any, **options: Any) -> Any:
    inputs = {"a": k.Input((3,), name="a"), "b": k.Input((3,), name="b")}
    joined = k.layers.Concatenate()([inputs["a"], inputs["b"]])
    hidden = k.layers.Dense(8, activation="relu")(joined)
    outputs = {
        "value": k.layers.Dense(2, name="value")(hidden),
        "kind": k.layers.Dense(3, activation="softmax", name="kind")(hidden),
    }
    model = k.Model(inputs, outputs)
    settings = {
        "optimizer": "rmsprop",
        "loss": {"value": "mse", "kind": "sparse_categorical_crossentropy"},
        "loss_weights": {"value": 0.5, "kind": 2.0},
        "metrics": {"value": ["mae"], "kind": ["accuracy"]},
    }
    model.compile(**{**settings, **options})
    return model


TWO_X = {"a": X[:, :3], "b": X[:, 3:]}
TWO_Y = {"value": Y, "kind": CLASSES}


def test_single_output() -> None:
    mine, other = assert_trains_alike(dense, X, Y)
    assert_same_logs(
        mine.evaluate(X, Y, verbose=0, return_dict=True), other.evaluate(X, Y, verbose=0, return_dict=True)
    )
    np.testing.assert_allclose(mine.predict(X, verbose=0), other.predict(X, verbose=0), rtol=1e-4, atol=1e-5)


def test_classes_with_metrics() -> None:
    assert_trains_alike(classifier, X, CLASSES)


def test_validation_data_and_frequency() -> None:
    assert_trains_alike(dense, X, Y, validation_data=(X[:10], Y[:10]), validation_freq=2, epochs=4)


def test_validation_split() -> None:
    assert_trains_alike(dense, X, Y, validation_split=0.25, validation_batch_size=5)


def test_validation_with_weights() -> None:
    weights = np.linspace(0.5, 2, 10).astype("float32")
    assert_trains_alike(classifier, X, CLASSES, validation_data=(X[:10], CLASSES[:10], weights))


def test_initial_epoch_and_steps() -> None:
    assert_trains_alike(dense, X, Y, initial_epoch=1, epochs=4, steps_per_epoch=3)


def test_shuffled_order_is_that_of_keras() -> None:
    assert_trains_alike(dense, X, Y, shuffle=True)


def test_sample_weight() -> None:
    assert_trains_alike(classifier, X, CLASSES, sample_weight=np.linspace(0, 3, len(X)).astype("float32"))


def test_class_weight() -> None:
    assert_trains_alike(classifier, X, CLASSES, class_weight={0: 1.0, 1: 3.0, 2: 0.5})


def test_several_outputs() -> None:
    mine, other = assert_trains_alike(two_outputs, TWO_X, TWO_Y, validation_split=0.2)
    found, expected = (m.predict(TWO_X, verbose=0) for m in (mine, other))
    assert sorted(found) == ["kind", "value"]
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-5)


def test_several_outputs_with_weights_for_each() -> None:
    weights = {"value": np.linspace(0, 1, len(X)).astype("float32"), "kind": np.ones(len(X), "float32")}
    assert_trains_alike(two_outputs, TWO_X, TWO_Y, sample_weight=weights)


def test_list_of_outputs_one_loss() -> None:
    def build(k: Any) -> Any:
        x = k.Input((6,))
        hidden = k.layers.Dense(4, activation="tanh")(x)
        model = k.Model(x, [k.layers.Dense(2, name="p")(hidden), k.layers.Dense(2, name="q")(hidden)])
        model.compile("sgd", loss=["mse", "mae"], loss_weights=[1.0, 0.3], metrics=[["mae"], ["mse"]])
        return model

    assert_trains_alike(build, X, [Y, Y[:, ::-1].copy()])


def test_one_batch_at_a_time() -> None:
    mine, other = pair(classifier)
    for start in (0, 8, 40):
        batch = slice(start, start + 8)
        found = mine.train_on_batch(X[batch], CLASSES[batch], return_dict=True)
        assert_same_logs(found, other.train_on_batch(X[batch], CLASSES[batch], return_dict=True))
    found = mine.train_on_batch(X[:8], CLASSES[:8], class_weight={0: 2.0})
    np.testing.assert_allclose(found, other.train_on_batch(X[:8], CLASSES[:8], class_weight={0: 2.0}), rtol=1e-4)
    weights = np.arange(8, dtype="float32")
    found = mine.test_on_batch(X[:8], CLASSES[:8], sample_weight=weights)
    np.testing.assert_allclose(found, other.test_on_batch(X[:8], CLASSES[:8], sample_weight=weights), rtol=1e-4)
    np.testing.assert_allclose(mine.predict_on_batch(X[:8]), other.predict_on_batch(X[:8]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("steps", [3, 100])
def test_several_steps_in_one_execution(steps: int) -> None:
    assert_trains_alike(lambda k: dense(k, steps_per_execution=steps), X, Y, validation_split=0.2)


def test_several_steps_predict_all_rows() -> None:
    one, several = dense(ours), dense(ours, steps_per_execution=3)
    several.set_weights(one.get_weights())
    np.testing.assert_allclose(
        several.predict(X, batch_size=8, verbose=0), one.predict(X, batch_size=8, verbose=0), rtol=1e-6, atol=1e-7
    )


def test_run_eagerly() -> None:
    models = []
    for eager in (False, True):
        ours.utils.set_random_seed(1)
        models.append(dense(ours, run_eagerly=eager))
    found = [m.fit(X[:20], Y[:20], epochs=2, batch_size=8, shuffle=False, verbose=0).history for m in models]
    assert_same_logs(*found)
    assert_same_logs(*(m.evaluate(X, Y, verbose=0, return_dict=True) for m in models))
    np.testing.assert_allclose(*(m.predict(X, verbose=0) for m in models), rtol=1e-5, atol=1e-6)


def test_generator_of_batches() -> None:
    def batches() -> Any:
        while True:
            for start in range(0, 40, 8):
                yield X[start : start + 8], Y[start : start + 8]

    mine, other = pair(dense)
    settings = {"epochs": 2, "steps_per_epoch": 5, "shuffle": False, "verbose": 0}
    found, expected = mine.fit(batches(), **settings), other.fit(batches(), **settings)
    assert_same_logs(found.history, expected.history)


def test_predict_joins_batches_of_other_structures() -> None:
    x = ours.Input((6,))
    model = ours.Model(x, {"sum": ours.ops.sum(x, -1), "pair": [x * 2, x + 1]})
    found = model.predict(X, batch_size=8, verbose=0)
    np.testing.assert_allclose(found["sum"], X.sum(-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["pair"][0], X * 2, rtol=1e-6)
    assert isinstance(found["pair"][1], np.ndarray)
    found["sum"][0] = 0  # an array of the caller's own
