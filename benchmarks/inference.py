"""Inference within one process: a model compiled by lamina against Keras-JAX's, both jitted, equal weights and inputs.

python benchmarks/inference.py [--models mlp tcn] [--batch 32] [--turns 60] [--pipeline O2]

Quicker than suite.py, and free of what differs between processes; it knows Keras on JAX only.
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import numpy as np
from common import Ratio, compare, report
from models import MODELS, chosen, inputs, keras_inference, pair

import lamina


def measured(name: str, batch: int, turns: int, pipeline: str) -> Ratio:
    """Lamina's time and Keras-JAX's, of equal outputs."""
    model, reference = pair(name)
    x = jax.device_put(inputs(name, batch))
    compiled = lamina.compile(model, pipeline=pipeline)
    infer, weights = keras_inference(reference)
    jitted = jax.jit(infer)
    a, b = np.asarray(compiled(x)), np.asarray(jitted(*weights, x))
    error = float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
    assert error < 1e-5, f"{name}: outputs differ by {error:.1e}, so their times say nothing"
    return compare(
        lambda: compiled(x).block_until_ready(),
        lambda: jitted(*weights, x).block_until_ready(),
        turns,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--pipeline", default="O2")
    options = parser.parse_args()
    rows = [
        (name, measured(name, options.batch or model.batch, options.turns, options.pipeline))
        for name, model in chosen(options.models).items()
    ]
    report(f"inference, {options.pipeline}", rows, ("lamina", "Keras-JAX"), goal=1.05)


if __name__ == "__main__":
    main()
