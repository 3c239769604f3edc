"""What compiling again costs: an equal model made again, a new batch size, and the fingerprint by which equals meet.

python benchmarks/recompiles.py [--turns 10]
"""

import argparse
import gc
import itertools
import os
import time
import warnings

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from common import ratio_of, report, seconds

import lamina
from lamina.compiler import SHARED
from lamina.ir.errors import RecompileWarning
from lamina.ir.fingerprint import fingerprint


def model(k):
    return k.Sequential(
        [
            k.Input((8, 8, 3)),
            k.layers.Conv2D(4, 3, padding="same"),
            k.layers.BatchNormalization(),
            k.layers.ReLU(),
            k.layers.GlobalAveragePooling2D(),
            k.layers.Dense(10, activation="softmax"),
        ]
    )


def ones(batch):
    return np.ones((batch, 8, 8, 3), np.float32)


def first_call(k):
    """Seconds that the first call of a model takes, which is made, traced and compiled for it."""
    net, x = model(k), ones(4)
    start = time.perf_counter()
    jax.block_until_ready(compiled(net)(x))
    return time.perf_counter() - start


def compiled(net):
    """The model as a compiled function of its input."""
    if not isinstance(net, keras.Model):
        return lamina.compile(net)
    weights = [v.value for v in net.trainable_variables], [v.value for v in net.non_trainable_variables]
    jitted = jax.jit(lambda trainable, rest, x: net.stateless_call(trainable, rest, x, training=False)[0])
    return lambda x: jitted(*weights, x)


def anew():
    """As :func:`first_call` of lamina, in a process that has compiled no equal model."""
    SHARED.clear()
    gc.collect()
    return first_call(lamina.keras)


def in_turns(ours, theirs, turns):
    """The ratio of what two callables return, asked in turns."""
    times = [(ours(), theirs()) for _ in range(turns)]
    return ratio_of(*zip(*times, strict=True))


def timed(call, batches):
    """Seconds that a call with a batch size that is new takes."""

    def run():
        x = ones(next(batches))
        start = time.perf_counter()
        jax.block_until_ready(call(x))
        return time.perf_counter() - start

    return run


def of_10_000_nodes(turns):
    """Seconds of processor time that the fingerprint of a graph takes, and its number of nodes."""

    def f(x):
        for i in range(2500):
            x = lamina.ops.tanh(lamina.ops.reshape(lamina.ops.transpose(x * np.float32(i)), (8, 8)))
        return x

    module = lamina.trace(f, lamina.Spec((8, 8)))
    times = []
    for _ in range(turns):
        start = time.process_time()
        fingerprint(module)
        times.append(time.process_time() - start)
    return min(times), sum(1 for _ in module.walk())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore", RecompileWarning)
    first_call(lamina.keras), first_call(keras)
    turns = options.turns
    again = in_turns(lambda: first_call(lamina.keras), anew, turns)
    report("the first call, lamina's own", [("an equal model made again", again)], ("shared", "anew"))
    rows = [
        ("a new model", in_turns(anew, lambda: first_call(keras), turns)),
        ("an equal model made again", in_turns(lambda: first_call(lamina.keras), lambda: first_call(keras), turns)),
    ]
    ours, theirs = compiled(model(lamina.keras)), compiled(model(keras))
    ours(ones(1)), theirs(ones(1))
    sizes = (itertools.count(50), itertools.count(50))
    rows.append(("a new batch size", in_turns(timed(ours, sizes[0]), timed(theirs, sizes[1]), turns)))
    report("until the first result", rows, ("lamina", "Keras-JAX"), goal=1.05)
    took, nodes = of_10_000_nodes(options.turns)
    print(f"fingerprint of {nodes} nodes: {seconds(took)}")


if __name__ == "__main__":
    main()
