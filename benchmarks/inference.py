"""Inference at batch 32: a model compiled by lamina against Keras-JAX's, both jitted, with equal weights and inputs.

python benchmarks/inference.py [--batch 32] [--turns 60] [--pipeline O2]
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import numpy as np
from common import compare, report
from models import MODELS, inputs, keras_inference, pair

import lamina


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--pipeline", default="O2")
    options = parser.parse_args()
    rows = []
    for name in MODELS:
        model, reference = pair(name)
        x = jax.device_put(inputs(name, options.batch))
        compiled = lamina.compile(model, pipeline=options.pipeline)
        infer, weights = keras_inference(reference)
        jitted = jax.jit(infer)
        a, b = np.asarray(compiled(x)), np.asarray(jitted(*weights, x))
        error = float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
        assert error < 1e-5, f"{name}: outputs differ by {error:.1e}, so their times say nothing"
        rows.append(
            (
                name,
                compare(
                    lambda: compiled(x).block_until_ready(),  # noqa: B023
                    lambda: jitted(*weights, x).block_until_ready(),  # noqa: B023
                    options.turns,
                ),
            )
        )
    report(f"inference, batch {options.batch}, {options.pipeline}", rows, ("lamina", "Keras-JAX"), goal=1.05)


if __name__ == "__main__":
    main()
