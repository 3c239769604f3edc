"""The suite's models compiled for GPUs and TPUs that are not there: what docs/ahead_of_time.md shows.

python benchmarks/ahead.py [--models mlp tcn] [--targets gpu:h100 tpu:v5e-2x2] [--write docs/ahead_of_time.md]

For each model, its inference and its training step: how long XLA takes here, memory on each device, what the devices
exchange, calls of libraries, floating-point operations of each device. TPUs multiply by bfloat16, as they do unless
asked for more; GPUs by float32.
"""

import argparse
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
from models import MODELS, batch_specs, chosen, training_of

import lamina
from lamina import keras

TARGETS = ("gpu:h100", "gpu:h100x8", "tpu:v5e-2x2")
HEAD = ("model", "target", "XLA", "memory", "collectives", "custom calls", "MFLOPs", "estimate")
TABLE = re.compile(r"(?<=<!-- benchmarks/ahead.py writes this -->\n).*?(?=<!-- up to here -->)", re.DOTALL)


def precision(target: str) -> AbstractContextManager[Any]:
    """The precision that float32 is multiplied with."""
    return jax.default_matmul_precision("bfloat16") if target.startswith("tpu") else nullcontext()


def compiled(name: str, target: str, training: bool) -> Any:
    """A model's inference or training step for a target."""
    model = MODELS[name].build(keras)
    if not training:
        return lamina.compile(model, target=target)
    loss, optimizer = training_of(name, keras)
    model.compile(optimizer=optimizer, loss=loss)
    return lamina.compile(model, *batch_specs(name, model), target=target, training_step=True)


def rows(names: list[str], targets: list[str]) -> Iterator[tuple[str, ...]]:
    """What is shown of each program."""
    for name in names:
        for training in (False, True):
            for target in targets:
                with precision(target):
                    program = compiled(name, target, training)
                    found = program.describe(N=MODELS[name].batch)
                    estimate = str(program.roofline(N=MODELS[name].batch)).partition(":")[0].removeprefix("estimated ")
                yield (
                    f"{name}, training" if training else name,
                    target,
                    f"{found['seconds']:.1f} s",
                    f"{found['memory']['total'] / 1e6:.1f} MB",
                    ", ".join(f"{c['count']} {c['kind']}, {c['bytes'] / 1e6:.2f} MB" for c in found["collectives"]),
                    ", ".join(f"{n} `{called.strip('_')}`" for called, n in found["custom_calls"].items()),
                    f"{found['cost']['flops'] / 1e6:,.0f}",
                    estimate,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), metavar="CHIP")
    parser.add_argument("--write", type=Path, metavar="PATH", help="a document, whose table is replaced")
    options = parser.parse_args()
    lines = [HEAD, ["---"] * len(HEAD)]
    for row in rows(list(chosen(options.models)), options.targets):
        lines.append(row)
        print(" | ".join(row), flush=True)
    if options.write is not None:
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(TABLE.sub(lambda _: table, text), encoding="utf-8")


if __name__ == "__main__":
    main()
