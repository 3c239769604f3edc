"""What the training loops take beside the compiled steps: ``fit``, ``predict`` and ``predict_on_batch``.

python benchmarks/fit.py [--turns 40] [--batches 200]

Also what an epoch takes whose batches take as long to make as a step: that of the slower of both, if they overlap.

The model is a small Dense one, for which the loop is most of the time. What ``fit`` adds to the bare step: an epoch of
NumPy arrays, silent, against as many calls of the model's own ``train_function`` on batches that lie on the device; the
same of Keras on JAX beside it. All take turns within one process.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from common import compare, in_turns, ratio_of, report, seconds

import lamina

#: Seconds that ``fit`` may add to a batch.
ADDED = 0.15e-3
#: The time of an epoch over that of its steps, at most, where making a batch takes as long as a step.
FED = 1.25
#: lamina's time for predictions over Keras's, at most.
SHARE = 1 / 3
BATCH = 32


def small(k: Any) -> Any:
    """A Dense model with fixed weights, compiled."""
    model = k.Sequential([k.Input((8,)), k.layers.Dense(16, activation="relu"), k.layers.Dense(1)])
    draw = np.random.default_rng(1)
    model.set_weights([draw.normal(0, 0.5, w.shape).astype(np.float32) for w in model.get_weights()])
    model.compile(k.optimizers.Adam(1e-3), k.losses.MeanSquaredError())
    return model


def examples(count: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.standard_normal((count, 8)).astype(np.float32), draw.standard_normal((count, 1)).astype(np.float32)


def lamina_steps(model: Any, batches: list[Any]) -> Callable[[], None]:
    """An epoch of bare steps, done when the last loss is there."""
    function = model.make_train_function()

    def run() -> None:
        for batch in batches:
            logs = function([batch])
        logs["loss"].block_until_ready()

    return run


def keras_steps(model: Any, batches: list[Any]) -> Callable[[], None]:
    """The same on Keras: its function takes the state and gives it back."""
    model.make_train_function()
    function = model.train_function
    lists = ("trainable_variables", "non_trainable_variables", "metrics_variables")
    groups = [getattr(model, name) for name in lists]
    groups.insert(2, model.optimizer.variables)

    def run() -> None:
        state = tuple([v.value for v in group] for group in groups)
        for batch in batches:
            logs, state = function(state, iter([batch]))
        logs["loss"].block_until_ready()
        for group, values in zip(groups, state, strict=True):  # the old arrays were donated
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)

    return run


def fitting(count: int, turns: int) -> None:
    """Print what ``fit`` and bare steps take for each batch of an epoch of ``count``, and what ``fit`` adds."""
    x, y = examples(count * BATCH)
    batches = [jax.device_put((x[i : i + BATCH], y[i : i + BATCH])) for i in range(0, len(x), BATCH)]
    sides: list[Callable[[], object]] = []
    for k, steps in ((lamina.keras, lamina_steps), (keras, keras_steps)):
        model = small(k)
        model.fit(x, y, batch_size=BATCH, verbose=0)
        sides += [partial(model.fit, x, y, batch_size=BATCH, verbose=0), steps(model, batches)]
    fit, bare, their_fit, their_bare = np.asarray(in_turns(sides, turns, calls=1)) / count
    rows = [("fit", ratio_of(fit, their_fit)), ("bare step", ratio_of(bare, their_bare))]
    report(f"a batch of {BATCH} in an epoch of {count} batches", rows, ("lamina", "Keras-JAX"))
    for name, whole, step in (("lamina", fit, bare), ("Keras-JAX", their_fit, their_bare)):
        added, (low, high) = np.median(whole) - np.median(step), np.percentile(whole - step, [10, 90])
        text = f"  fit of {name:<9}  adds {added * 1e6:.1f} us ({low * 1e6:.1f} to {high * 1e6:.1f})"
        if name == "lamina":
            met = "met" if added <= ADDED else "within the spread" if low <= ADDED else "missed"
            text += f"   goal {seconds(ADDED)}: {met}"
        print(text)


class Watch(lamina.keras.callbacks.Callback):
    """Waits for each step's loss."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        float(logs["loss"])


def feeding(count: int, turns: int) -> None:
    """Print what an epoch takes over its bare steps where the source takes as long, with and without a callback that
    waits for each step. The source sleeps: what it computes itself would take cores from the steps."""
    k = lamina.keras
    model = k.Sequential(
        [k.Input((512,)), *[k.layers.Dense(512, activation="relu") for _ in range(3)], k.layers.Dense(1)]
    )
    model.compile(k.optimizers.SGD(1e-3), k.losses.MeanSquaredError())
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((256, 512)).astype(np.float32), draw.standard_normal((256, 1)).astype(np.float32)
    model.fit(x, y, batch_size=256, verbose=0)
    bare = lamina_steps(model, [(x, y)] * count)
    step = float(np.median(in_turns([bare], turns, calls=1))) / count

    def source() -> Iterator[Any]:
        for _ in range(count + 1):
            time.sleep(step)
            yield x, y

    def fed(callbacks: list[Any]) -> None:
        model.fit(source(), steps_per_epoch=count, verbose=0, callbacks=callbacks)

    alone, watched, steps = in_turns([partial(fed, []), partial(fed, [Watch()]), bare], turns, calls=1)
    rows = [("fit", ratio_of(alone, steps)), ("fit with a callback that waits", ratio_of(watched, steps))]
    report(f"an epoch of {count} batches, each made in {seconds(step)}", rows, ("epoch", "its steps"), goal=FED)


def predictions(turns: int) -> None:
    """Print the times of predictions against Keras's."""
    ours, theirs = small(lamina.keras), small(keras)
    rows = []
    for size in (BATCH, 10 * BATCH):
        x, _ = examples(size)
        a, b = ours.predict(x, verbose=0), theirs.predict(x, verbose=0)
        error = float(np.abs(a - b).max() / np.abs(b).max())
        assert error < 1e-5, f"predictions differ by {error:.1e}, so their times say nothing"
        ratio = compare(lambda: ours.predict(x, verbose=0), lambda: theirs.predict(x, verbose=0), turns)  # noqa: B023
        rows.append((f"predict, {size} examples", ratio))
    x, _ = examples(BATCH)
    rows.append(
        ("predict_on_batch", compare(lambda: ours.predict_on_batch(x), lambda: theirs.predict_on_batch(x), turns))
    )
    report("predictions of a small model from NumPy arrays", rows, ("lamina", "Keras-JAX"), goal=round(SHARE, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--batches", type=int, default=200)
    options = parser.parse_args()
    fitting(options.batches, options.turns)
    feeding(min(options.batches, 40), max(1, options.turns // 4))
    predictions(options.turns)


if __name__ == "__main__":
    main()
