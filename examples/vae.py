"""A variational autoencoder (Kingma and Welling, 2014) that learns to draw digits.

The encoder gives each image a normal distribution over two numbers; a layer draws from it, and adds how far it is from
the standard one to the loss; the decoder makes an image of what was drawn. Afterwards the decoder draws from any two
numbers.

pip install 'lamina[examples]'
python examples/vae.py [--small] [--plots FOLDER]

Real Keras runs this file too: put `import keras` in place of `from lamina import keras`.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from lamina import keras

ops = keras.ops
PIXELS = 64
LATENT = 2


class Sampling(keras.layers.Layer):
    """Draws ``mean + exp(log_variance / 2) * noise``, and adds the divergence from the standard normal to the loss."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, mean, log_variance):
        divergence = 0.5 * ops.sum(ops.exp(log_variance) + ops.square(mean) - 1.0 - log_variance, axis=-1)
        self.add_loss(ops.mean(divergence))
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


def likelihood(image, logits):
    """How unlikely the image's pixels are, as chances of ink, summed over an image."""
    return ops.sum(ops.binary_crossentropy(image, logits, from_logits=True), axis=-1)


def build():
    image = keras.Input((PIXELS,), name="image")
    x = keras.layers.Dense(128, activation="relu")(image)
    x = keras.layers.Dense(64, activation="relu")(x)
    mean = keras.layers.Dense(LATENT, name="mean")(x)
    log_variance = keras.layers.Dense(LATENT, name="log_variance")(x)
    encoder = keras.Model(image, [mean, log_variance], name="encoder")

    point = keras.Input((LATENT,), name="point")
    x = keras.layers.Dense(64, activation="relu")(point)
    x = keras.layers.Dense(128, activation="relu")(x)
    decoder = keras.Model(point, keras.layers.Dense(PIXELS, name="logits")(x), name="decoder")

    drawn = Sampling(name="sampling")(*encoder(image))
    return encoder, decoder, keras.Model(image, decoder(drawn), name="vae")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer epochs")
    parser.add_argument("--plots", type=Path, default=Path("plots"), help="folder for the plot")
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    digits = load_digits()
    images = (digits.data / 16.0).astype("float32")
    train, test = images[:1500], images[1500:]

    encoder, decoder, vae = build()
    vae.compile(keras.optimizers.Adam(0.003), likelihood)
    history = vae.fit(train, train, batch_size=64, epochs=20 if options.small else 150, verbose=0).history["loss"]
    print(f"loss of an image (unlikelihood + divergence): {history[0]:.1f} -> {history[-1]:.1f}")
    print(f"the same on images it has not seen: {vae.evaluate(test, test, verbose=0):.1f}")

    # The classes were never told; that neighbours in the plane are mostly of one class shows what it has found.
    points, _ = encoder.predict(images, verbose=0)
    neighbours = KNeighborsClassifier(7).fit(points[:1500], digits.target[:1500])
    print(f"digits told by their place in the plane: {neighbours.score(points[1500:], digits.target[1500:]):.1%}")

    mean, _ = encoder.predict(test[:10], verbose=0)
    again = chances(decoder, mean)
    error = np.sqrt(np.mean((again - test[:10]) ** 2)) / np.sqrt(np.mean((train.mean(axis=0) - test[:10]) ** 2))
    print(f"error of ten images drawn again: {error:.2f} of what the mean image has")
    axis = np.linspace(-2.0, 2.0, 10)
    grid = np.array([(x, y) for y in axis[::-1] for x in axis], "float32")
    plot(options.plots, points, digits.target, test[:10], again, chances(decoder, grid))


def chances(decoder: keras.Model, points):
    """The decoder's images of points, each pixel from 0 to 1."""
    return 1.0 / (1.0 + np.exp(-decoder.predict(points, verbose=0)))


def plot(folder: Path, points, classes, originals, again, drawn) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed")
        return
    from matplotlib.figure import Figure

    def sheet(images, columns):
        """Images side by side, in rows."""
        framed = np.pad(images.reshape(-1, columns, 8, 8), [(0, 0), (0, 0), (1, 1), (1, 1)])
        return framed.transpose(0, 2, 1, 3).reshape(-1, columns * 10)

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    plane, pairs, grid = figure.subplots(1, 3)
    colours = plane.scatter(*points.T, c=classes, cmap="tab10", s=4)
    figure.colorbar(colours, ax=plane)
    plane.set(title="places of the images")
    pairs.imshow(sheet(np.stack([originals, again], axis=1).reshape(-1, PIXELS), 4), cmap="gray_r")
    pairs.set(title="images, and drawn again")
    grid.imshow(sheet(drawn, 10), cmap="gray_r")
    grid.set(title="drawn from the plane")
    for axes in (pairs, grid):
        axes.axis("off")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "vae.png")
    print("plot:", folder / "vae.png")


if __name__ == "__main__":
    main()
