"""Eager calls of layers and ops on arrays, against Keras on JAX.

python benchmarks/eager.py [--turns 60] [--calls 50] [NAME ...]
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from common import compare, report

import lamina


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def small(k):
    return k.Sequential([k.layers.Dense(16, activation="relu"), k.layers.Dropout(0.5), k.layers.Dense(4)])


def operation(name):
    """An op, as something made from the module."""
    return lambda k: lambda x: getattr(k.ops, name)(x, x)


#: name: what is called, made from the module; the input; keywords of the call.
CASES = {
    "Dense": (lambda k: k.layers.Dense(16), normal(8, 16), {}),
    "LayerNormalization": (lambda k: k.layers.LayerNormalization(), normal(8, 16), {}),
    "Conv2D": (lambda k: k.layers.Conv2D(4, 3), normal(2, 8, 8, 3), {}),
    "MaxPooling2D": (lambda k: k.layers.MaxPooling2D(), normal(2, 8, 8, 3), {}),
    "Dropout": (lambda k: k.layers.Dropout(0.5), normal(8, 16), {}),
    "Dropout, training": (lambda k: k.layers.Dropout(0.5), normal(8, 16), {"training": True}),
    "BatchNormalization": (lambda k: k.layers.BatchNormalization(), normal(8, 16), {}),
    "BatchNormalization, training": (lambda k: k.layers.BatchNormalization(), normal(8, 16), {"training": True}),
    "ReLU": (lambda k: k.layers.ReLU(), normal(8, 16), {}),
    "Flatten": (lambda k: k.layers.Flatten(), normal(8, 4, 4), {}),
    "Embedding": (lambda k: k.layers.Embedding(10, 4), np.arange(12, dtype=np.int32).reshape(3, 4) % 10, {}),
    "Sequential": (small, normal(8, 16), {}),
    "Sequential, training": (small, normal(8, 16), {"training": True}),
    "ops.add": (operation("add"), normal(8, 16), {}),
    "ops.matmul": (operation("matmul"), normal(16, 16), {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    rows = []
    for name in options.names or CASES:
        make, array, keywords = CASES[name]
        ours, theirs = make(lamina.keras), make(keras)
        for kind, x in (("", jax.device_put(array)), (" (NumPy)", array)):
            ratio = compare(
                lambda: ours(x, **keywords),  # noqa: B023
                lambda: theirs(x, **keywords),  # noqa: B023
                options.turns,
                options.calls,
            )
            rows.append((name + kind, ratio))
    report("eager calls", rows, ("lamina", "Keras"), goal=1.0)


if __name__ == "__main__":
    main()
