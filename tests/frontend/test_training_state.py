"""Training's state: compile configs, files, clones, what is compiled, and that memory does not grow."""

import copy
import gc
import weakref
from pathlib import Path
from typing import Any

import jax
import keras as theirs
import numpy as np
import pytest
from model_pairs import plain
from training_pairs import assert_same_logs, pair

from lamina import keras as ours
from lamina.ir.errors import ArgumentError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(20, 4)).astype("float32")
Y = RNG.normal(size=(20, 2)).astype("float32")


def build(k: Any) -> Any:
    model = k.Sequential([k.Input((4,)), k.layers.Dense(3, activation="tanh"), k.layers.Dense(2)])
    model.compile(k.optimizers.Adam(0.01, name="adam"), "mse", metrics=["mae"], loss_weights=None)
    return model


def test_compile_config_is_that_of_keras() -> None:
    mine, other = pair(build)
    assert plain(mine.get_compile_config()) == plain(other.get_compile_config())


def test_the_summary_counts_the_state_of_the_optimizer() -> None:
    texts = []
    for model in pair(build):
        model.optimizer.build(model.trainable_variables)
        lines: list[str] = []
        model.summary(print_fn=lines.append)
        texts.append("\n".join(lines).split("Total params")[1])
    assert texts[0].split() == texts[1].split()
    assert "Optimizer params: 48" in texts[0]


@pytest.mark.parametrize("writer", ["ours", "theirs"])
def test_files_restore_training(tmp_path: Path, writer: str) -> None:
    mine, other = pair(build)
    saved = mine if writer == "ours" else other
    saved.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    saved.save(tmp_path / "model.keras")
    for library in (ours, theirs):
        loaded = library.models.load_model(tmp_path / "model.keras")
        assert loaded.compiled
        assert_same_logs(
            loaded.evaluate(X, Y, verbose=0, return_dict=True), saved.evaluate(X, Y, verbose=0, return_dict=True)
        )
        history = loaded.fit(X, Y, epochs=1, batch_size=8, shuffle=False, verbose=0).history
        if library is ours:
            expected = history
        else:  # the optimizer goes on where it stopped, in both
            assert_same_logs(history, expected)
    assert not ours.models.load_model(tmp_path / "model.keras", compile=False).compiled


def test_clones_have_weights_of_their_own() -> None:
    mine = build(ours)
    clone = ours.models.clone_model(mine)
    assert clone.compiled
    assert plain(clone.get_compile_config()) == plain(mine.get_compile_config())
    before = mine.get_weights()
    clone.set_weights(before)
    clone.fit(X, Y, verbose=0)
    for now, then in zip(mine.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_clone_functions_equal_keras() -> None:
    def make(k: Any) -> Any:
        x = k.Input((4,), name="x")
        hidden = k.layers.Dense(3, name="hidden")(x)
        return k.Model(x, [k.ops.relu(hidden) * 2, k.layers.Dense(2, name="out")(hidden)])

    def clone(k: Any, model: Any) -> Any:
        def wide(layer: Any) -> Any:
            config = layer.get_config()
            return type(layer).from_config({**config, "units": 5} if config.get("units") == 3 else config)

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = layer(*args, **kwargs)
            return k.layers.Dropout(0.5)(outputs) if isinstance(layer, k.layers.Dense) else outputs

        return k.models.clone_model(model, clone_function=wide if k is ours else None, call_function=call)

    found = clone(ours, make(ours))
    assert [w.shape for w in found.weights] == [(4, 5), (5,), (5, 2), (2,)]
    assert sum(isinstance(layer, ours.layers.Dropout) for layer in found.layers) == 2
    with pytest.raises(ArgumentError, match="call_function"):
        ours.models.clone_model(build(ours), call_function=lambda layer, x: layer(x))


def test_a_nested_model_is_cloned_layer_by_layer() -> None:
    inner = ours.Sequential([ours.Input((4,)), ours.layers.Dense(3)], name="inner")
    x = ours.Input((4,))
    model = ours.Model(x, ours.layers.Add()([inner(x), inner(x * 2)]))
    seen: list[str] = []

    def clone(layer: Any) -> Any:
        seen.append(type(layer).__name__)
        return type(layer).from_config(layer.get_config())

    copied = ours.models.clone_model(model, clone_function=clone, recursive=True)
    assert seen.count("Dense") == 1  # the inner model is used twice, and is one model in the clone
    copied.set_weights(model.get_weights())
    np.testing.assert_allclose(copied.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)


def test_a_deep_copy_trains_alone() -> None:
    mine = build(ours)
    mine.fit(X, Y, verbose=0)
    before = mine.get_weights()
    twin = copy.deepcopy(mine)
    twin.fit(X, Y, verbose=0)
    for now, then in zip(mine.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert any((a != b).any() for a, b in zip(twin.get_weights(), before, strict=True))


def executables(call: Any) -> int:
    """How many programs XLA compiles during a call."""
    count = 0

    def listen(event: str, duration: float, **kwargs: Any) -> None:
        nonlocal count
        count += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        call()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return count


def test_what_is_compiled_is_compiled_once() -> None:
    mine = ours.Sequential([ours.Input((4,)), ours.layers.Dense(13, activation="tanh"), ours.layers.Dense(2)])
    mine.compile(ours.optimizers.Adam(0.01), "mse", metrics=["mae"])  # sizes of no other test: equal models share
    settings = {"batch_size": 8, "shuffle": False, "verbose": 0}  # batches of 8, 8 and 4
    assert executables(lambda: mine.fit(X, Y, **settings)) > 0
    assert executables(lambda: mine.fit(X, Y, epochs=3, **settings)) == 0
    mine.evaluate(X, Y, batch_size=8, verbose=0)
    assert executables(lambda: mine.evaluate(X, Y, batch_size=8, verbose=0)) == 0
    mine.compile(ours.optimizers.Adam(0.01), "mse", metrics=["mae"])
    assert executables(lambda: mine.fit(X, Y, **settings)) == 0, "compile() with the same settings"


def test_one_trace_serves_all_sizes() -> None:
    traced: list[int] = []

    class Counting(ours.layers.Layer):
        def call(self, x: Any) -> Any:
            traced.append(1)
            return x

    model = ours.Sequential([ours.Input((4,)), Counting(), ours.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=8, verbose=0)
    count = len(traced)
    for size in (1, 3, 5):
        model.train_on_batch(X[:size], Y[:size])
    assert len(traced) == count


def test_python_that_needs_the_batch_size_is_traced_for_each() -> None:
    class Halves(ours.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * len([None for _ in range(x.shape[0])])

    model = ours.Sequential([ours.layers.Dense(2), Halves()])
    model.compile("sgd", "mse")
    first = model.test_on_batch(X[:8], Y[:8])
    expected = np.mean((8 * (X[:8] @ model.get_weights()[0]) - Y[:8]) ** 2)
    np.testing.assert_allclose(first, expected, rtol=1e-4)
    expected = np.mean((3 * (X[:3] @ model.get_weights()[0]) - Y[:3]) ** 2)
    np.testing.assert_allclose(model.test_on_batch(X[:3], Y[:3]), expected, rtol=1e-4)


def test_arrays_read_before_a_step_stay_good() -> None:
    mine = build(ours)
    kernel = mine.weights[0]
    value, array = kernel.value, kernel.numpy()
    before = np.array(array)
    mine.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(np.asarray(value), before)
    np.testing.assert_array_equal(array, before)
    assert np.abs(kernel.numpy() - before).max() > 0


def test_models_are_collected() -> None:
    mine = build(ours)
    mine.fit(X, Y, verbose=0)
    gone = weakref.ref(mine)
    del mine
    gc.collect()
    assert gone() is None


def live_bytes() -> int:
    gc.collect()
    return sum(a.nbytes for a in jax.live_arrays())


@pytest.mark.long
def test_memory_does_not_grow() -> None:
    mine = build(ours)
    mine.fit(X, Y, epochs=2, batch_size=1, verbose=0)
    mine.predict(X, verbose=0)
    before = live_bytes(), len(gc.get_objects())
    mine.fit(X, Y, epochs=100, batch_size=1, verbose=0)  # 2,000 steps
    for _ in range(2000):
        mine.predict(X, verbose=0)
    del mine.history
    after = live_bytes(), len(gc.get_objects())
    assert after[0] <= before[0]
    assert after[1] - before[1] < 1000
