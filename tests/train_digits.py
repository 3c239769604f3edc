"""Trains the classifier that `lamina demo` loads, with real Keras 3, and writes frontend/data/digits.keras.

The file has to come from Keras itself, so that loading it proves something. Not a test; run it to make the file anew:

    python tests/train_digits.py
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

SEED = 7
TARGET = Path(__file__).resolve().parent.parent / "frontend" / "data" / "digits.keras"
SIZE_LIMIT = 300_000
LEAST_ACCURACY = 0.985


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """Returns the 1,797 digits: images float32 (1797, 8, 8, 1) in [0, 1], labels int64 (1797,)."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]
    return images, digits.target


def build_classifier() -> keras.Model:
    """Returns an untrained conv classifier: (N, 8, 8, 1) images to (N, 10) class probabilities."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", name="conv_1"),
            layers.BatchNormalization(name="norm_1"),
            layers.Activation("relu", name="relu_1"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(32, 3, padding="same", use_bias=False, name="conv_2"),
            layers.BatchNormalization(name="norm_2"),
            layers.ReLU(name="relu_2"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )


def without_training_state(model: keras.Model) -> keras.Model:
    """Returns `model` as it was before compile(): its file carries no optimizer slots, which weigh twice the model."""
    bare = keras.Sequential.from_config(model.get_config())
    bare.set_weights(model.get_weights())
    return bare


def main() -> None:
    keras.utils.set_random_seed(SEED)
    images, labels = load_images()
    model = build_classifier()
    model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, batch_size=64, epochs=25, verbose=2)

    model = without_training_state(model)
    accuracy = float(np.mean(model.predict(images, verbose=0).argmax(axis=-1) == labels))
    if accuracy <= LEAST_ACCURACY:
        raise SystemExit(f"accuracy {accuracy:.2%} is not above {LEAST_ACCURACY:.1%}; {TARGET.name} is left as it was")

    TARGET.parent.mkdir(parents=True, exist_ok=True)
    draft = TARGET.with_name("draft.keras")
    model.save(draft)
    size = draft.stat().st_size
    if size >= SIZE_LIMIT:
        draft.unlink()
        raise SystemExit(f"the file would have {size:,} bytes, over {SIZE_LIMIT:,}; {TARGET.name} is left as it was")
    draft.replace(TARGET)
    print(f"{TARGET.name}: accuracy {accuracy:.2%} over {len(labels):,} images, {size:,} bytes")


if __name__ == "__main__":
    main()
