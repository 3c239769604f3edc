"""Models to time, written once: each builder takes a Keras-like module, real Keras (any backend) or lamina's."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Benchmark:
    """A model to time.

    Attributes:
        build: ``keras module -> model``.
        shape: one example's shape.
        batch: the batch size that the suite times.
        loss: name of the loss that it is trained by, a class in ``keras.losses``.
        vocabulary: inputs are int32 below this; None: float32.
        drops: whether training drops units at random, so that each peer's losses go their own way.
    """

    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    batch: int
    loss: str
    vocabulary: int | None = None
    drops: bool = False


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


def lstm(keras: Any) -> Any:
    """128 steps of 64 features to one number: two LSTMs, the first returning its sequence."""
    layers = keras.layers
    return keras.Sequential([
        keras.Input((128, 64)),
        layers.LSTM(128, return_sequences=True),
        layers.LSTM(128),
        layers.Dense(1),
    ])  # fmt: skip


def gru_bidirectional(keras: Any) -> Any:
    """96 steps of 32 features to four numbers: a GRU over both directions, and one over its sequence."""
    layers = keras.layers
    return keras.Sequential([
        keras.Input((96, 32)),
        layers.Bidirectional(layers.GRU(64, return_sequences=True)),
        layers.GRU(64),
        layers.Dense(4),
    ])  # fmt: skip


def tcn(keras: Any) -> Any:
    """256 steps of 16 features to one number: residual blocks of 1-D convolutions, ever more dilated and causal."""
    layers = keras.layers

    def spread(x: Any, dilation: int) -> Any:
        if dilation == 1:
            return layers.DepthwiseConv1D(3, padding="same")(x)
        return layers.Conv1D(64, 3, padding="causal", dilation_rate=dilation)(x)

    steps = keras.Input((256, 16))
    x = layers.Conv1D(64, 1)(steps)
    for dilation in (1, 2, 4, 8, 16):
        inner = layers.LayerNormalization()(spread(x, dilation))
        inner = layers.Activation("relu")(inner)
        inner = layers.SeparableConv1D(64, 3, padding="same")(inner)
        x = layers.Add()([x, inner])
    return keras.Model(steps, layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))


def mobilenet_block(keras: Any) -> Any:
    """56x56 colour images to 10 classes: a stem and five inverted residuals around depthwise convolutions."""
    layers = keras.layers

    def normed(x: Any, activation: bool = True) -> Any:
        x = layers.BatchNormalization()(x)
        return layers.Activation("relu6")(x) if activation else x

    def pointwise(x: Any, filters: int) -> Any:
        return layers.Conv2D(filters, 1, use_bias=False)(x)

    image = keras.Input((56, 56, 3))
    x = normed(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(image))
    for filters, strides in ((24, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        width = x.shape[-1]
        inner = normed(pointwise(x, 6 * width))
        inner = normed(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(inner))
        inner = normed(pointwise(inner, filters), activation=False)
        x = layers.Add()([x, inner]) if strides == 1 and width == filters else inner
    return keras.Model(image, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


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


def unet(keras: Any) -> Any:
    """64x64 colour images to a mask: two levels down by pooling, and up again, one bilinear and one transposed."""
    layers = keras.layers

    def conv(x: Any, filters: int) -> Any:
        return layers.Conv2D(filters, 3, padding="same", activation="relu")(x)

    image = keras.Input((64, 64, 3))
    whole = conv(image, 16)
    half = conv(layers.MaxPooling2D()(whole), 32)
    quarter = conv(layers.MaxPooling2D()(half), 64)
    x = layers.UpSampling2D(2, interpolation="bilinear")(quarter)
    x = conv(layers.Concatenate()([x, half]), 32)
    x = layers.Conv2DTranspose(16, 2, strides=2, padding="same")(x)
    mask = layers.Conv2D(1, 1, activation="sigmoid")(layers.Concatenate()([x, whole]))
    return keras.Model(image, mask)


def transformer(keras: Any) -> Any:
    """64 tokens to 8 classes: four encoder blocks of self-attention, normalized after each sum."""
    layers = keras.layers
    tokens = keras.Input((64,), dtype="int32")
    x = layers.Embedding(1000, 128)(tokens)
    for _ in range(4):
        attended = layers.MultiHeadAttention(4, 32, dropout=0.1)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        inner = layers.Dropout(0.1)(layers.Dense(512, activation="gelu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dense(128)(inner)]))
    return keras.Model(tokens, layers.Dense(8, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


CLASSES, NUMBERS = "SparseCategoricalCrossentropy", "MeanSquaredError"

MODELS = {
    "mlp": Benchmark(mlp, (256,), 256, CLASSES, drops=True),
    "lstm": Benchmark(lstm, (128, 64), 32, NUMBERS),
    "gru_bidirectional": Benchmark(gru_bidirectional, (96, 32), 32, NUMBERS),
    "tcn": Benchmark(tcn, (256, 16), 32, NUMBERS),
    "mobilenet_block": Benchmark(mobilenet_block, (56, 56, 3), 16, CLASSES),
    "resnet_block": Benchmark(resnet_block, (56, 56, 3), 16, CLASSES),
    "unet": Benchmark(unet, (64, 64, 3), 8, NUMBERS),
    "transformer": Benchmark(transformer, (64,), 16, CLASSES, vocabulary=1000, drops=True),
}


def chosen(names: list[str] | None) -> dict[str, Benchmark]:
    """The models of these names, or all."""
    unknown = set(names or ()) - set(MODELS)
    if unknown:
        raise SystemExit(f"no model {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    return {name: MODELS[name] for name in names or MODELS}


def inputs(name: str, batch: int) -> np.ndarray:
    """Inputs from a fixed seed: normal float32, or int32 tokens."""
    model, draw = MODELS[name], np.random.default_rng(0)
    shape = (batch, *model.shape)
    if model.vocabulary is not None:
        return draw.integers(0, model.vocabulary, shape).astype(np.int32)
    return draw.standard_normal(shape).astype(np.float32)


def targets(name: str, model: Any, batch: int) -> np.ndarray:
    """Targets from a fixed seed: int32 classes, or normal float32 of the output's shape."""
    draw, shape = np.random.default_rng(2), model.output_shape[1:]
    if MODELS[name].loss == CLASSES:
        return draw.integers(0, shape[-1], batch).astype(np.int32)
    return draw.standard_normal((batch, *shape)).astype(np.float32)


def batch_specs(name: str, model: Any) -> tuple[Any, Any]:
    """Inputs and targets of any batch size, as ``lamina.Spec``."""
    from lamina import Spec

    benchmark = MODELS[name]
    x = Spec((None, *benchmark.shape), "float32" if benchmark.vocabulary is None else "int32")
    return x, Spec((None,), "int32") if benchmark.loss == CLASSES else Spec(model.output_shape)


def training_of(name: str, keras: Any) -> tuple[Any, Any]:
    """What a model is trained by: its loss and Adam."""
    return getattr(keras.losses, MODELS[name].loss)(), keras.optimizers.Adam(1e-3)


def weights_of(model: Any) -> list[np.ndarray]:
    """Weights from a fixed seed that keep activations near 1, none of them 0 or 1, which would hide one left out."""
    draw = np.random.default_rng(1)

    def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if "kernel" in name:
            depthwise = len(shape) > 2 and shape[-1] == 1
            return draw.normal(0, (2 / math.prod(shape[: -2 if depthwise else -1])) ** 0.5, shape)
        if name == "embeddings":
            return draw.normal(0, 1, shape)
        around = 1.0 if name in ("gamma", "moving_variance") else 0.0
        return around + draw.uniform(-0.2, 0.2, shape)

    return [weight(v.name, tuple(v.shape)).astype(np.float32) for v in model.weights]


def pair(name: str) -> tuple[Any, Any]:
    """The model on lamina and on Keras with JAX, with equal weights."""
    import keras as real

    from lamina import keras as ours

    model, theirs = MODELS[name].build(ours), MODELS[name].build(real)
    weights = weights_of(model)
    model.set_weights(weights)
    theirs.set_weights(weights)
    return model, theirs


def keras_inference(model: Any) -> tuple[Any, tuple[Any, Any]]:
    """Keras-JAX's inference as a function of (trainable, other, x), for ``jax.jit``; and its weights."""

    def infer(trainable: Any, other: Any, x: Any) -> Any:
        return model.stateless_call(trainable, other, x, training=False)[0]

    return infer, ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables])


def keras_training(model: Any, loss: Any, optimizer: Any) -> tuple[Any, tuple[Any, Any, Any]]:
    """Keras-JAX's training step as a function of (state, x, y), for ``jax.jit`` with the state donated; and the state.

    It is what Keras's guide to training loops in JAX makes, and returns the loss and the new state.
    """
    import jax

    optimizer.build(model.trainable_variables)

    def loss_of(trainable: Any, other: Any, x: Any, y: Any) -> tuple[Any, Any]:
        predicted, other = model.stateless_call(trainable, other, x, training=True)
        return loss(y, predicted), other

    differentiated = jax.value_and_grad(loss_of, has_aux=True)

    def step(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        trainable, other, of_optimizer = state
        (value, other), gradients = differentiated(trainable, other, x, y)
        trainable, of_optimizer = optimizer.stateless_apply(of_optimizer, gradients, trainable)
        return value, (trainable, other, of_optimizer)

    lists = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    return step, tuple([v.value for v in each] for each in lists)
