"""The overhead of a call: a compiled function of five small arrays against ``jax.jit`` of the same function.

python benchmarks/overhead.py [--turns 200] [--calls 200]
"""

import argparse

import jax
import numpy as np
from common import compare, report

import lamina


def combine(a, b, c, d, e):
    return a * b + c * d + e


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    numpy_arrays = [draw.standard_normal((8, 8)).astype(np.float32) for _ in range(5)]
    device_arrays = [jax.device_put(x) for x in numpy_arrays]
    compiled = lamina.compile(combine, *(lamina.Spec((8, 8)) for _ in range(5)))
    jitted = jax.jit(combine)
    rows = [
        (kind, compare(lambda: compiled(*arrays), lambda: jitted(*arrays), options.turns, options.calls))  # noqa: B023
        for kind, arrays in (("device arrays", device_arrays), ("NumPy arrays", numpy_arrays))
    ]
    report("call overhead, five f32[8,8]", rows, ("lamina", "jax.jit"), goal=1.05)


if __name__ == "__main__":
    main()
