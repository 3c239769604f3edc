"""One classifier of tumours, built in three ways: Sequential, functional, and subclassed with a layer of its own.

From the same seed all three start from the same weights, see the same batches, and end at the same answers.

pip install 'lamina[examples]'
python examples/mlp_three_ways.py [--small] [--plots FOLDER]

Real Keras runs this file too: put `import keras` in place of `from lamina import keras`.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from lamina import keras

FEATURES = 30


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def functional() -> keras.Model:
    inputs = keras.Input((FEATURES,))
    x = keras.layers.Dense(32, activation="relu")(inputs)
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(16, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))


class Hidden(keras.layers.Layer):
    """``relu(x @ kernel + bias)``: what Dense does, written by hand."""

    def __init__(self, units: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.units = units
        # An initializer draws its seed when it is made: here, as Dense does, so that the order of seeds is the same.
        self.initializer = keras.initializers.GlorotUniform()

    def build(self, input_shape) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer=self.initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, x):
        return keras.ops.relu(keras.ops.matmul(x, self.kernel) + self.bias)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first = Hidden(32)
        self.dropout = keras.layers.Dropout(0.2)
        self.second = Hidden(16)
        self.answer = keras.layers.Dense(1, activation="sigmoid")

    def call(self, x, training=False):
        x = self.dropout(self.first(x), training=training)
        return self.answer(self.second(x))


def load():
    """Features with mean 0 and deviation 1 and answers, of tumours to train and to test on."""
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    mean, deviation = x_train.mean(axis=0), x_train.std(axis=0)
    scaled = [((part - mean) / deviation).astype("float32") for part in (x_train, x_test)]
    return scaled[0], y_train.astype("float32")[:, np.newaxis], scaled[1], y_test.astype("float32")[:, np.newaxis]


def train(build, epochs: int):
    """Build and train from seed 0; returns the losses of the epochs, the test accuracy and the probabilities."""
    keras.utils.set_random_seed(0)
    x_train, y_train, x_test, y_test = load()
    model = build()
    model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x_train, y_train, batch_size=32, epochs=epochs, verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return history.history["loss"], accuracy, model.predict(x_test, verbose=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few epochs only")
    parser.add_argument("--plots", type=Path, default=Path("plots"), help="folder for the plot")
    options = parser.parse_args()

    found = {}
    for build in (sequential, functional, Subclassed):
        found[build.__name__] = losses, accuracy, _ = train(build, epochs=8 if options.small else 40)
        print(f"{build.__name__:<11} loss {losses[0]:.3f} -> {losses[-1]:.3f}, test accuracy {accuracy:.1%}")

    probabilities = [each[2] for each in found.values()]
    difference = max(float(np.max(np.abs(p - probabilities[0]))) for p in probabilities)
    print(f"largest difference of a probability: {difference:.1e}")
    plot(options.plots, {name: each[0] for name, each in found.items()})


def plot(folder: Path, curves) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed")
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for width, (name, losses) in zip((6, 3, 1), curves.items(), strict=True):  # they lie on each other
        axes.plot(range(1, len(losses) + 1), losses, linewidth=width, label=name)
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "mlp_three_ways.png")
    print("plot:", folder / "mlp_three_ways.png")


if __name__ == "__main__":
    main()
