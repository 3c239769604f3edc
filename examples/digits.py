"""Load a `.keras` file, compile it, and classify handwritten digits, as NumPy and JAX programs would use it.

pip install 'lamina[demo]'
python examples/digits.py [digits.keras]
"""

import sys
from pathlib import Path

import jax
import numpy as np
from sklearn.datasets import load_digits

import lamina


def main() -> None:
    packaged = Path(lamina.__file__).parent / "frontend" / "data" / "digits.keras"
    model = lamina.load(sys.argv[1] if len(sys.argv) > 1 else packaged)
    classify = lamina.compile(model)

    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[..., np.newaxis]
    probabilities = np.asarray(classify(images))
    predicted = probabilities.argmax(axis=1)
    print(f"{np.mean(predicted == digits.target):.1%} of {len(images)} images are right")

    doubtful = np.argsort(probabilities.max(axis=1))[:3]
    for i in doubtful:
        print(f"image {i}: a {digits.target[i]}, taken for a {predicted[i]} with {probabilities[i].max():.0%}")

    @jax.jit
    def most_likely(batch):
        """A compiled model is a function that other jax programs may call."""
        return jax.numpy.argmax(classify(batch), axis=1)

    print("within jax.jit the answers are the same:", bool(np.array_equal(most_likely(images), predicted)))


if __name__ == "__main__":
    main()
