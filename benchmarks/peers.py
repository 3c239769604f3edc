"""One peer in a process of its own, as the suite starts it: build a model, run it once, time calls when asked.

Messages are lines of JSON. Each peer has the fastest way its documentation gives for many calls of one model on arrays
that are already on the device, and keeps the threads it takes by itself.
"""

import gc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: ``(x, weights) -> (call, to_numpy)``: one inference that is done when it returns, and its result as an array.
Prepared = tuple[Callable[[], Any], Callable[[Any], np.ndarray]]


@dataclass(frozen=True)
class Peer:
    """Something that runs models.

    Attributes:
        what: what is timed.
        backend: Keras's backend; None for lamina.
        needs: packages.
        prepare: ``(model's name, x, weights) -> Prepared``.
    """

    what: str
    backend: str | None
    needs: tuple[str, ...]
    prepare: Callable[[str, np.ndarray, list[np.ndarray]], Prepared]

    @property
    def missing(self) -> list[str]:
        return [package for package in self.needs if importlib.util.find_spec(package) is None]


def _keras(name: str, weights: list[np.ndarray]) -> Any:
    import keras
    from models import MODELS

    model = MODELS[name].build(keras)
    model.set_weights(weights)
    return model


def _lamina(name: str, x: np.ndarray, weights: list[np.ndarray]) -> Prepared:
    import jax
    from models import MODELS

    import lamina
    from lamina import keras

    model = MODELS[name].build(keras)
    model.set_weights(weights)
    compiled, array = lamina.compile(model), jax.device_put(x)
    return lambda: compiled(array).block_until_ready(), np.asarray


def _keras_jax(name: str, x: np.ndarray, weights: list[np.ndarray]) -> Prepared:
    import jax
    from models import keras_inference

    infer, state = keras_inference(_keras(name, weights))
    jitted, array = jax.jit(infer), jax.device_put(x)
    return lambda: jitted(*state, array).block_until_ready(), np.asarray


def _keras_tensorflow(name: str, x: np.ndarray, weights: list[np.ndarray], jit_compile: bool = False) -> Prepared:
    import tensorflow as tf

    model, tensor = _keras(name, weights), tf.constant(x)

    @tf.function(jit_compile=jit_compile)
    def infer(x: Any) -> Any:
        return model(x, training=False)

    # A tf.function returns when its result is there: TensorFlow runs eager calls on the CPU synchronously.
    return lambda: infer(tensor), lambda result: result.numpy()


def _keras_torch(name: str, x: np.ndarray, weights: list[np.ndarray], compiled: bool = False) -> Prepared:
    import torch

    model, tensor = _keras(name, weights), torch.from_numpy(x)
    infer = torch.compile(model) if compiled else model

    def call() -> Any:
        with torch.inference_mode():
            return infer(tensor, training=False)

    return call, lambda result: result.numpy()


def _keras_tensorflow_jit(name: str, x: np.ndarray, weights: list[np.ndarray]) -> Prepared:
    return _keras_tensorflow(name, x, weights, jit_compile=True)


def _keras_torch_compiled(name: str, x: np.ndarray, weights: list[np.ndarray]) -> Prepared:
    return _keras_torch(name, x, weights, compiled=True)


PEERS = {
    "lamina": Peer("lamina.compile", None, ("jax",), _lamina),
    "keras-jax": Peer("jax.jit of stateless_call", "jax", ("keras", "jax"), _keras_jax),
    "keras-tf": Peer("tf.function", "tensorflow", ("keras", "tensorflow"), _keras_tensorflow),
    "keras-tf-jit": Peer("tf.function(jit_compile=True)", "tensorflow", ("keras", "tensorflow"), _keras_tensorflow_jit),
    "keras-torch": Peer("the model under inference_mode", "torch", ("keras", "torch"), _keras_torch),
    "torch-compile": Peer(
        "torch.compile of the Keras model under inference_mode", "torch", ("keras", "torch"), _keras_torch_compiled
    ),
}


def timed(call: Callable[[], Any], calls: int) -> float:
    """Mean seconds of ``calls`` calls, after one that is not counted: others ran since the last turn."""
    call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def serve(peer: Peer, name: str, data: str, say: Callable[[dict[str, Any]], None]) -> None:
    """Say the output, then answer ``{"calls": k}`` with seconds until the input ends."""
    with np.load(data) as arrays:
        x, weights = arrays["x"], [arrays[f"w{i}"] for i in range(len(arrays) - 1)]
    start = time.perf_counter()
    call, to_numpy = peer.prepare(name, x, weights)
    output = to_numpy(call())
    first = time.perf_counter() - start
    np.save(f"{data}.{os.getpid()}.npy", output)
    for _ in range(3):
        call()
    gc.collect()
    gc.disable()
    say({"output": f"{data}.{os.getpid()}.npy", "first": first, "versions": versions(peer)})
    for line in sys.stdin:
        say({"seconds": timed(call, json.loads(line)["calls"])})


def versions(peer: Peer) -> dict[str, str]:
    return {package: sys.modules[package].__version__ for package in peer.needs}


def main() -> None:
    peer, name, data = PEERS[sys.argv[1]], sys.argv[2], sys.argv[3]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not come between the answers

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")

    try:
        serve(peer, name, data, say)
    except Exception as error:  # the suite names it and goes on without this peer
        say({"failed": f"{type(error).__name__}: {error}".splitlines()[0]})
        raise


if __name__ == "__main__":
    main()
