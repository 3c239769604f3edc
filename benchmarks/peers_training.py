"""The peers for training steps, as the suite starts them: see peers.py.

A step is forward in training mode, the loss, backward and Adam's update; it is done when the loss is there. Each peer
has what its documentation gives for loops of one's own: the batch is on the device, weights and the optimizer's state
stay there. Before anything is timed, all say the loss of the weights they were given and those of the first steps.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from models import MODELS, keras_training, training_of
from peers import Peer, Prepared, keras_model, main, torch_for_keras

#: So many steps are compared.
STEPS = 3


def _prepared(inferred: Callable[[], Any], step: Callable[[], Any], alone: Callable[[], Any] | None = None) -> Prepared:
    """A step with what is compared before it is timed.

    Args:
        inferred: the loss in inference mode.
        step: trains and returns the loss.
        alone: a step whose loss is that of its batch, where ``step`` returns another one.
    """

    def check() -> np.ndarray:
        return np.array([float(inferred()), *(float((alone or step)()) for _ in range(STEPS))])

    return Prepared(step, lambda loss: np.asarray(float(loss)), check)


def _lamina(name: str, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> Prepared:
    import jax

    from lamina import keras

    model = MODELS[name].build(keras)
    model.set_weights(weights)
    loss, optimizer = training_of(name, keras)
    model.compile(optimizer, loss)
    batch = jax.device_put((x, y))
    function, batches = model.make_train_function(), [batch]
    # What fit calls for each batch. Its loss is the mean over the batches of an epoch.
    return _prepared(
        lambda: model.test_on_batch(*batch),
        lambda: function(batches)["loss"].block_until_ready(),
        lambda: model.train_on_batch(*batch),
    )


def _keras_jax(name: str, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> Prepared:
    import jax
    import keras

    model = keras_model(name, weights)
    loss, optimizer = training_of(name, keras)
    step, state = keras_training(model, loss, optimizer)
    jitted = jax.jit(step, donate_argnums=0)
    x, y = jax.device_put((x, y))

    def call() -> Any:
        nonlocal state
        value, state = jitted(state, x, y)
        return value.block_until_ready()

    return _prepared(lambda: loss(y, model(x, training=False)), call)


def _keras_tensorflow(
    name: str, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, jit_compile: bool = False
) -> Prepared:
    import keras
    import tensorflow as tf

    model = keras_model(name, weights)
    loss, optimizer = training_of(name, keras)
    optimizer.build(model.trainable_variables)
    batch = tf.constant(x), tf.constant(y)

    @tf.function(jit_compile=jit_compile)
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        optimizer.apply(tape.gradient(value, model.trainable_weights), model.trainable_weights)
        return value

    # A tf.function returns when its result is there: TensorFlow runs eager calls on the CPU synchronously.
    return _prepared(lambda: loss(batch[1], model(batch[0], training=False)), lambda: step(*batch))


def _keras_torch(
    name: str, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, compiled: bool = False
) -> Prepared:
    import keras

    torch, device, wait = torch_for_keras()
    model = keras_model(name, weights)
    loss, optimizer = training_of(name, keras)
    optimizer.build(model.trainable_variables)
    forward = torch.compile(model) if compiled else model
    inputs, labels = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)

    def inferred() -> Any:
        with torch.no_grad():
            return loss(labels, model(inputs, training=False))

    def step() -> Any:
        value = loss(labels, forward(inputs, training=True))
        model.zero_grad()
        value.backward()
        trainable = list(model.trainable_weights)
        gradients = [v.value.grad for v in trainable]
        with torch.no_grad():
            optimizer.apply(gradients, trainable)
        wait()
        return value.detach()

    return _prepared(inferred, step)


def _keras_tensorflow_jit(name: str, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> Prepared:
    return _keras_tensorflow(name, weights, x, y, jit_compile=True)


def _keras_torch_compiled(name: str, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> Prepared:
    return _keras_torch(name, weights, x, y, compiled=True)


PEERS = {
    "lamina": Peer("the model's train_function, as fit calls it", None, ("jax",), _lamina),
    "keras-jax": Peer(
        "jax.jit of stateless_call, jax.value_and_grad and stateless_apply, its state donated",
        "jax", ("keras", "jax"), _keras_jax,
    ),
    "keras-tf": Peer(
        "tf.function of GradientTape and optimizer.apply", "tensorflow", ("keras", "tensorflow"), _keras_tensorflow
    ),
    "keras-tf-jit": Peer(
        "the same with jit_compile=True", "tensorflow", ("keras", "tensorflow"), _keras_tensorflow_jit
    ),
    "keras-torch": Peer("loss.backward and optimizer.apply", "torch", ("keras", "torch"), _keras_torch),
    "torch-compile": Peer(
        "the same with torch.compile of the Keras model", "torch", ("keras", "torch"), _keras_torch_compiled
    ),
}  # fmt: skip


if __name__ == "__main__":
    main(PEERS)
