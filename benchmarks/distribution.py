"""What a distribution adds to a step: of one device over none; and steps of eight host devices, for the record.

python benchmarks/distribution.py [--turns 40] [--batches 100]

The eight devices are threads of one CPU: their times say what splitting costs there, not what devices of their own
would gain. All sides take turns within one process.
"""

import argparse
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

COUNT = 8
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={COUNT}"

import numpy as np
from common import in_turns, ratio_of, seconds

from lamina import keras

#: The time under a distribution of one device over that under none, at most, where the spread does not hold 1.
SLOWEST = 1.05
BATCH = 64


def distributions() -> dict[str, Any]:
    """None; one device; eight, that split data, weights, or both."""
    d = keras.distribution

    def parts(shape: tuple[int, int]) -> Any:
        layouts = d.LayoutMap(d.DeviceMesh(shape, ("batch", "model")))
        layouts[".*up/kernel"], layouts[".*up/bias"] = (None, "model"), ("model",)
        layouts[".*down/kernel"] = ("model", None)
        return d.ModelParallel(layout_map=layouts)

    return {
        "none": None,
        "one device": d.DataParallel(devices=["cpu:0"]),
        f"data over {COUNT}": d.DataParallel(),
        f"weights over {COUNT}": parts((1, COUNT)),
        f"{COUNT // 2} by 2": parts((COUNT // 2, 2)),
    }


def sides(distribution: Any, batches: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """An epoch of ``fit``, and as many bare steps, of a small model, where Python is most of the time."""
    layers = keras.layers
    draw = np.random.default_rng(0)
    x, y = (draw.standard_normal((BATCH * batches, size)).astype(np.float32) for size in (16, 1))

    def within() -> Any:
        return nullcontext() if distribution is None else distribution.scope()

    with within():
        up, down = layers.Dense(64, activation="relu", name="up"), layers.Dense(1, name="down")
        model = keras.Sequential([keras.Input((16,)), up, down])
        model.compile("adam", "mse")

    def fit() -> None:
        with within():
            model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)

    def steps() -> None:
        with within():
            function = model.make_train_function()
            for _ in range(batches):
                logs = function([(x[:BATCH], y[:BATCH])])
            logs["loss"].block_until_ready()

    return fit, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--batches", type=int, default=100, help="of an epoch")
    options = parser.parse_args()
    made = {name: sides(chosen, options.batches) for name, chosen in distributions().items()}
    for what, place in (("fit", 0), ("bare steps", 1)):
        times = in_turns([both[place] for both in made.values()], options.turns, calls=1)
        print(f"{what}, {options.batches} steps of {BATCH} rows")
        for name, own in zip(made, times, strict=True):
            ratio = ratio_of(own, times[0])
            print(f"  {name:<16} {seconds(ratio.ours / options.batches):>8} a step, x{ratio} of none")
        ratio = ratio_of(times[1], times[0])
        met = ratio.ratio <= SLOWEST or ratio.low <= 1
        print(f"  one device over none: {ratio}, goal {SLOWEST} or within the spread: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
