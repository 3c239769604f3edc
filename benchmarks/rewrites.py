"""What single rules and passes gain: the same graph through O2 without and with each, run in turns on the CPU.

python benchmarks/rewrites.py [--turns 40] [--only convolution]
"""

import argparse
import importlib
from pathlib import Path

import jax
import numpy as np
from common import Ratio, compare, report

from lamina.compiler import Program
from lamina.ir import Module, TensorType

#: The files rewrites_*.py, each with CASES: name to what leaves the rule out, and the graph.
TOPICS = sorted(path.stem.removeprefix("rewrites_") for path in Path(__file__).parent.glob("rewrites_*.py"))


class Weight:
    """What a parameter is bound to here: an array that never changes."""

    def __init__(self, type_: TensorType, generator: np.random.Generator) -> None:
        self._value = jax.numpy.asarray(generator.uniform(0.01, 0.1, type_.shape).astype(type_.dtype))
        self._version = 0

    def _set(self, array: object) -> None:
        raise TypeError("this weight never changes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--only", action="append", choices=TOPICS, metavar="TOPIC", help=", ".join(TOPICS))
    options = parser.parse_args()
    for topic in options.only or TOPICS:
        cases = importlib.import_module(f"rewrites_{topic}").CASES
        rows = [(name, measured(build(), without, options.turns)) for name, (without, build) in cases.items()]
        report(f"{topic}: the pipeline O2 without and with a rule or pass", rows, ("without", "with"))


def measured(module: Module, without: str, turns: int) -> Ratio:
    """The time of ``module`` after the pipeline ``without``, and after O2."""
    generator = np.random.default_rng(0)
    for parameter in module.main.parameters:
        parameter.key = Weight(parameter.type, generator)
    inputs = [_random(value.type, generator) for value in module.main.inputs]
    plain, full = Program(module, without), Program(module, "O2")
    return compare(lambda: jax.block_until_ready(plain(*inputs)), lambda: jax.block_until_ready(full(*inputs)), turns)


def _random(type_: TensorType, generator: np.random.Generator) -> jax.Array:
    values = generator.normal(size=type_.shape) * (1 if type_.dtype.kind in "fV" else 100)
    return jax.numpy.asarray(values.astype(type_.dtype))


if __name__ == "__main__":
    main()
