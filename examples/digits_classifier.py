"""Train a convolutional classifier of scikit-learn's handwritten digits, and look at what it gets wrong.

pip install 'lamina[examples]'
python examples/digits_classifier.py [--small] [--plots FOLDER]

Real Keras runs this file too: put `import keras` in place of `from lamina import keras`.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from lamina import keras


def build() -> keras.Model:
    image = keras.Input((8, 8, 1), name="image")
    x = image
    for filters in (32, 64):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="classes")(x), name="digits")


def load():
    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")[..., np.newaxis]
    return train_test_split(images, digits.target, test_size=0.25, random_state=0, stratify=digits.target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer epochs")
    parser.add_argument("--plots", type=Path, default=Path("plots"), help="folder for the plot")
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    x_train, x_test, y_train, y_test = load()
    model = build()
    model.summary()
    epochs = 6 if options.small else 30
    rate = keras.optimizers.schedules.CosineDecay(0.005, decay_steps=epochs * (len(x_train) // 64 + 1))
    model.compile(keras.optimizers.AdamW(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x_train, y_train, batch_size=64, epochs=epochs, validation_data=(x_test, y_test), verbose=2)

    probabilities = model.predict(x_test, verbose=0)
    predicted = probabilities.argmax(axis=1)
    print(f"test accuracy {np.mean(predicted == y_test):.1%} of {len(y_test)} images")
    wrong = np.flatnonzero(predicted != y_test)
    for i in wrong[:5]:
        print(f"a {y_test[i]}, taken for a {predicted[i]} with {probabilities[i].max():.0%}")
    shown = np.concatenate([wrong, np.flatnonzero(predicted == y_test)])[:10]
    titles = [f"{y_test[i]}, taken for {predicted[i]}" for i in shown]
    plot(options.plots, history.history, x_test[shown, :, :, 0], titles)


def plot(folder: Path, history, images, titles) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed")
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    curves, pictures = figure.subfigures(2, 1)
    axes = curves.subplots()
    for name in ("accuracy", "val_accuracy"):
        axes.plot(range(1, len(history[name]) + 1), history[name], label=name)
    axes.set(xlabel="epoch", ylabel="accuracy")
    axes.legend()
    for place, picture, title in zip(pictures.subplots(2, 5).flat, images, titles, strict=True):
        place.imshow(picture, cmap="gray_r")
        place.set_title(title, fontsize="small")
        place.axis("off")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "digits_classifier.png")
    print("plot:", folder / "digits_classifier.png")


if __name__ == "__main__":
    main()
