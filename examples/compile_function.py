"""Compile a function of arrays: one trace for every batch size, state in a Variable, the same values as NumPy.

python examples/compile_function.py
"""

import numpy as np

import lamina
from lamina import keras, ops

scale = keras.Variable(np.float32(1.0), name="scale")


def normalized(x):
    """Rows of ``x`` with mean 0 and deviation 1, times the current scale."""
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    deviation = ops.sqrt(ops.mean(centred * centred, axis=-1, keepdims=True) + 1e-6)
    return centred / deviation * scale


def main() -> None:
    compiled = lamina.compile(normalized, lamina.Spec((None, 4), name="rows"))
    print(compiled.graph)
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    print("two rows\n", compiled(rows), sep="")
    print("five rows, the same trace:", compiled(np.ones((5, 4), np.float32)).shape)
    scale.assign(10.0)
    print("after scale.assign(10)\n", compiled(rows), sep="")

    (meant,), _ = lamina.evaluate(compiled.graph, rows, parameters={"scale": np.float32(10.0)})
    difference = np.max(np.abs(meant - np.asarray(compiled(rows))))
    print("largest difference from the meaning in NumPy is below 1e-4:", bool(difference < 1e-4))


if __name__ == "__main__":
    main()
