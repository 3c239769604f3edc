"""Time from a built model to its first result, in fresh processes: with an empty disk cache, and with what the process
before left in it; and from a `.lamina` file.

python benchmarks/start.py [--training] [--models mlp lstm] [--turns 5]

What is counted: tracing, passes, lowering, XLA (or reading its executable), moving weights, the first call. What a
later call takes is taken off, since it is no part of starting. What is not counted: importing, building the model,
making the inputs. A turn is a cold process and a warm one, so that what disturbs the machine disturbs both. The goal is
that the warm start takes at most 15% of the cold one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 0.15
DEFAULT = ["mlp", "lstm", "resnet_block", "transformer"]


def seconds_to_result(call):
    """What the first call takes more than a later one."""
    import jax

    times = []
    for _ in range(4):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return times[0] - min(times[1:])


def child(name: str, how: str, file: str) -> None:
    """Run one start in this process, and print its seconds."""
    import jax
    from models import MODELS, inputs, targets, training_of, weights_of

    import lamina
    from lamina import keras

    assert lamina.compile and lamina.load  # names are imported when they are first used, which is not counted
    x = inputs(name, MODELS[name].batch)
    jax.block_until_ready(jax.device_put(x))  # the backend is there
    state = {}
    if how == "load":

        def call():
            if "program" not in state:
                state["program"] = lamina.load(file)
            return state["program"](x)

    else:
        model = MODELS[name].build(keras)
        model.set_weights(weights_of(model))
        if how == "training":
            y = targets(name, model, MODELS[name].batch)
            loss, optimizer = training_of(name, keras)
            model.compile(optimizer, loss)

            def call():
                return model.train_on_batch(x, y)

        else:

            def call():
                if "program" not in state:
                    state["program"] = lamina.compile(model)
                return state["program"](x)

    taken = seconds_to_result(call)
    if how == "inference":
        state["program"].save(file)
    print(json.dumps(taken))


def start(name: str, how: str, cache: Path) -> float:
    """The seconds of a start in a process of its own."""
    environment = {**os.environ, "LAMINA_CACHE": "1", "LAMINA_CACHE_DIR": str(cache)}
    command = [sys.executable, __file__, "--child", name, how, str(cache / "program.lamina")]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured(name: str, training: bool, turns: int) -> dict[str, list[float]]:
    """Seconds of each kind of start, turn by turn."""
    found: dict[str, list[float]] = {"cold": [], "warm": []} | ({} if training else {"load": []})
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            for kind in found:
                how = kind if kind == "load" else "training" if training else "inference"
                found[kind].append(start(name, how, Path(folder)))
    return found


def report(name: str, found: dict[str, list[float]]) -> None:
    """One line: the median of each kind, and the ratio to cold with its spread."""
    parts = [f"cold {statistics.median(found['cold']) * 1e3:7.0f} ms"]
    for kind, times in found.items():
        if kind != "cold":
            ratios = [t / cold for t, cold in zip(times, found["cold"])]
            ratio = statistics.median(ratios)
            spread = f"{min(ratios):.1%} to {max(ratios):.1%}"
            met = "met" if ratio <= GOAL else "missed"
            parts.append(f"{kind} {statistics.median(times) * 1e3:6.0f} ms  {ratio:5.1%} ({spread}) {met}")
    print(f"  {name:16} " + "   ".join(parts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", action="store_true", help="the first training step; otherwise inference")
    parser.add_argument("--models", nargs="+", metavar="NAME", default=DEFAULT)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--child", nargs=3, metavar=("NAME", "HOW", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    print(f"start of {'a training step' if options.training else 'inference'}, goal {GOAL:.0%} of cold")
    for name in options.models:
        report(name, measured(name, options.training, options.turns))


if __name__ == "__main__":
    main()
