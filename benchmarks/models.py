"""Models to time, written once: each builder takes a Keras-like module, real Keras or lamina's."""

from collections.abc import Callable
from typing import Any

import numpy as np


def mlp(keras: Any) -> Any:
    """256 features to 10 classes: dense layers with both normalizations and dropout."""
    layers = keras.layers
    return keras.Sequential([
        keras.Input((256,)),
        layers.Dense(512, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.2),
        layers.Dense(512, activation="gelu"),
        layers.LayerNormalization(),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip


def resnet_block(keras: Any) -> Any:
    """56x56 colour images to 10 classes: a stem and four residual blocks, two of which change the width."""
    layers = keras.layers

    def conv(x: Any, filters: int, size: int, strides: int = 1, same: bool = True) -> Any:
        padding = "same" if same else "valid"
        x = layers.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False)(x)
        return layers.BatchNormalization()(x)

    image = keras.Input((56, 56, 3))
    x = layers.Activation("relu")(conv(image, 64, 7, 2))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for filters, strides in ((64, 1), (64, 1), (128, 2), (128, 1)):
        inner = layers.Activation("relu")(conv(x, filters, 3, strides))
        inner = conv(inner, filters, 3)
        if strides != 1 or x.shape[-1] != filters:
            x = conv(x, filters, 1, strides, same=False)
        x = layers.Activation("relu")(layers.Add()([x, inner]))
    classes = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, classes)


MODELS: dict[str, Callable[[Any], Any]] = {"mlp": mlp, "resnet_block": resnet_block}
INPUT_SHAPES = {"mlp": (256,), "resnet_block": (56, 56, 3)}


def inputs(name: str, batch: int) -> np.ndarray:
    """Normal float32 inputs from a fixed seed."""
    return np.random.default_rng(0).standard_normal((batch, *INPUT_SHAPES[name])).astype(np.float32)


def pair(name: str) -> tuple[Any, Any]:
    """The model on lamina and on Keras with JAX, with equal weights that are not the initial ones."""
    import keras as real

    from lamina import keras as ours

    theirs = MODELS[name](real)
    model = MODELS[name](ours)
    draw = np.random.default_rng(1)
    weights = [
        draw.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else draw.normal(0, 0.05, w.shape) for w in theirs.get_weights()
    ]
    theirs.set_weights([w.astype(np.float32) for w in weights])
    model.set_weights(theirs.get_weights())
    return model, theirs


def keras_inference(model: Any) -> tuple[Any, tuple[Any, Any]]:
    """Keras-JAX's inference as a function of (trainable, other, x), for ``jax.jit``; and its weights."""

    def infer(trainable: Any, other: Any, x: Any) -> Any:
        return model.stateless_call(trainable, other, x, training=False)[0]

    return infer, ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables])
