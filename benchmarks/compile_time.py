"""Time from a built model to StableHLO: lamina's trace, passes and emission against Keras-JAX's trace and lower.

python benchmarks/compile_time.py [--batch 32] [--turns 9]
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
from common import compare, report
from models import MODELS, inputs, keras_inference, pair

import lamina


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--pipeline", default="O2")
    options = parser.parse_args()
    rows = []
    for name in MODELS:
        model, reference = pair(name)
        x = inputs(name, options.batch)

        def ours() -> str:
            return lamina.compile(model, pipeline=options.pipeline).stablehlo(N=options.batch)  # noqa: B023

        def theirs() -> str:
            infer, weights = keras_inference(reference)  # noqa: B023
            return jax.jit(infer).lower(*weights, x).as_text()  # noqa: B023

        rows.append((name, compare(ours, theirs, options.turns, calls=1, warm_up=1)))
    report(f"model to StableHLO, batch {options.batch}, {options.pipeline}", rows, ("lamina", "Keras-JAX"), goal=1.0)


if __name__ == "__main__":
    main()
