"""Time from a built model to StableHLO: lamina's trace, passes and emission against Keras-JAX's trace and lower.

python benchmarks/compile_time.py [--training] [--models mlp tcn] [--batch 32] [--turns 9] [--pipeline O2]
                                  [--nodes 10000]

What is compiled is inference, or a whole training step (in the pipeline that ``fit`` takes). The batch is concrete and
both texts have locations, so that both sides do the same work. One thread does it all, so times are the process's own.
Last, what a graph of many nodes takes through O3; not with ``--training``.
"""

import argparse
import os
import statistics
import time

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
from common import Ratio, compare, report, seconds
from models import MODELS, chosen, inputs, keras_inference, keras_training, pair, targets, training_of

import lamina
from lamina import ops

NODES_GOAL = 2.0


def measured(name: str, batch: int, turns: int, pipeline: str) -> Ratio:
    model, reference = pair(name)
    x = inputs(name, batch)

    def ours() -> str:
        return lamina.compile(model, pipeline=pipeline).stablehlo(N=batch)

    def theirs() -> str:
        infer, weights = keras_inference(reference)
        return jax.jit(infer).lower(*weights, x).as_text(debug_info=True)

    return compare(ours, theirs, turns, calls=1, warm_up=1, clock=time.process_time)


def measured_training(name: str, batch: int, turns: int) -> Ratio:
    model, reference = pair(name)
    data = inputs(name, batch), targets(name, model, batch)
    loss, optimizer = training_of(name, lamina.keras)
    model.compile(optimizer, loss)
    model.train_on_batch(*data)  # builds what the first batch builds
    leaves, tree = jax.tree.flatten(data)
    of_keras = training_of(name, keras)
    keras_training(reference, *of_keras)  # builds the optimizer

    def ours() -> str:
        return model.make_train_function(force=True).one.program(leaves, tree).stablehlo(N=batch)

    def theirs() -> str:
        step, state = keras_training(reference, *of_keras)
        return jax.jit(step, donate_argnums=0).lower(state, *data).as_text(debug_info=True)

    return compare(ours, theirs, turns, calls=1, warm_up=1, clock=time.process_time)


def chain(nodes: int) -> object:
    """A function whose trace has so many nodes, none of which the passes can remove."""

    def chained(x):
        for _ in range(nodes // 2):
            x = ops.tanh(x * x)
        return x

    return chained


def many_nodes(nodes: int, turns: int) -> None:
    """Print what ``nodes`` nodes take through O3, tracing and emission apart."""
    spec = lamina.Spec((None, 8))
    times: dict[str, list[float]] = {"trace": [], "O3": [], "StableHLO": []}
    for _ in range(turns):
        start = time.process_time()
        lamina.trace(chain(nodes), spec)
        traced = time.process_time()
        compiled = lamina.compile(chain(nodes), spec, pipeline="O3")
        done = time.process_time()
        compiled.stablehlo(N=8)
        times["trace"].append(traced - start)
        times["O3"].append(sum(record.seconds for record in compiled.records))
        times["StableHLO"].append(time.process_time() - done)
    parts = ", ".join(f"{part} {seconds(statistics.median(t))}" for part, t in times.items())
    met = "met" if statistics.median(times["O3"]) <= NODES_GOAL else "missed"
    print(f"{nodes:,} nodes: {parts}   goal O3 <= {NODES_GOAL:g} s: {met}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", action="store_true", help="training steps; otherwise inference")
    parser.add_argument("--models", nargs="+", metavar="NAME", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--pipeline", default="O2")
    parser.add_argument("--nodes", type=int, default=10_000)
    options = parser.parse_args()
    if options.training:
        rows = [
            (name, measured_training(name, options.batch or model.batch, options.turns))
            for name, model in chosen(options.models).items()
        ]
        report("training step to StableHLO", rows, ("lamina", "Keras-JAX"), goal=1.0)
        return
    rows = [
        (name, measured(name, options.batch or model.batch, options.turns, options.pipeline))
        for name, model in chosen(options.models).items()
    ]
    report(f"model to StableHLO, {options.pipeline}", rows, ("lamina", "Keras-JAX"), goal=1.0)
    many_nodes(options.nodes, max(1, options.turns // 3))


if __name__ == "__main__":
    main()
