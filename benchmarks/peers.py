"""One peer in a process of its own, as the suite starts it: build a model, run it once, time calls when asked.

The peers here infer; those of peers_training.py train. Messages are lines of JSON. Each peer has the fastest way its
documentation gives for many calls of one model on arrays that are already on the device, and keeps the threads it takes
by itself.
"""

import gc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Prepared:
    """What can be timed.

    Attributes:
        call: done when it returns.
        to_numpy: its result as an array.
        check: what all peers must agree on, an array; called once, before anything is timed. None: a call's result.
    """

    call: Callable[[], Any]
    to_numpy: Callable[[Any], np.ndarray]
    check: Callable[[], np.ndarray] | None = None

    def checked(self) -> np.ndarray:
        return self.check() if self.check is not None else self.to_numpy(self.call())


@dataclass(frozen=True)
class Peer:
    """Something that runs models.

    Attributes:
        what: what is timed.
        backend: Keras's backend; None for lamina.
        needs: packages.
        prepare: ``(model's name, weights, x) -> Prepared``; for training ``(model's name, weights, x, y)``.
    """

    what: str
    backend: str | None
    needs: tuple[str, ...]
    prepare: Callable[..., Prepared]

    @property
    def missing(self) -> list[str]:
        return [package for package in self.needs if importlib.util.find_spec(package) is None]


def keras_model(name: str, weights: list[np.ndarray]) -> Any:
    import keras
    from models import MODELS

    model = MODELS[name].build(keras)
    model.set_weights(weights)
    return model


def _lamina(name: str, weights: list[np.ndarray], x: np.ndarray) -> Prepared:
    import jax
    from models import MODELS

    import lamina
    from lamina import keras

    model = MODELS[name].build(keras)
    model.set_weights(weights)
    compiled, array = lamina.compile(model), jax.device_put(x)
    return Prepared(lambda: compiled(array).block_until_ready(), np.asarray)


def _keras_jax(name: str, weights: list[np.ndarray], x: np.ndarray) -> Prepared:
    import jax
    from models import keras_inference

    infer, state = keras_inference(keras_model(name, weights))
    jitted, array = jax.jit(infer), jax.device_put(x)
    return Prepared(lambda: jitted(*state, array).block_until_ready(), np.asarray)


def _keras_tensorflow(name: str, weights: list[np.ndarray], x: np.ndarray, jit_compile: bool = False) -> Prepared:
    import tensorflow as tf

    model, tensor = keras_model(name, weights), tf.constant(x)

    @tf.function(jit_compile=jit_compile)
    def infer(x: Any) -> Any:
        return model(x, training=False)

    # A tf.function returns when its result is there: TensorFlow runs eager calls on the CPU synchronously.
    return Prepared(lambda: infer(tensor), lambda result: result.numpy())


def torch_for_keras() -> tuple[Any, Any, Callable[[], None]]:
    """torch in the precision that jax is told, the device that Keras runs it on, and what waits for that device."""
    import torch

    full = os.environ.get("JAX_DEFAULT_MATMUL_PRECISION", "highest") in ("highest", "float32")
    torch.set_float32_matmul_precision("highest" if full else "high")
    torch.backends.cudnn.allow_tf32 = not full
    if torch.cuda.is_available():
        return torch, torch.device("cuda"), torch.cuda.synchronize
    return torch, torch.device("cpu"), lambda: None


def _keras_torch(name: str, weights: list[np.ndarray], x: np.ndarray, compiled: bool = False) -> Prepared:
    torch, device, wait = torch_for_keras()
    model, tensor = keras_model(name, weights), torch.from_numpy(x).to(device)
    infer = torch.compile(model) if compiled else model

    def call() -> Any:
        with torch.inference_mode():
            result = infer(tensor, training=False)
        wait()
        return result

    return Prepared(call, lambda result: result.cpu().numpy())


def _keras_tensorflow_jit(name: str, weights: list[np.ndarray], x: np.ndarray) -> Prepared:
    return _keras_tensorflow(name, weights, x, jit_compile=True)


def _keras_torch_compiled(name: str, weights: list[np.ndarray], x: np.ndarray) -> Prepared:
    return _keras_torch(name, weights, x, compiled=True)


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


def timed(call: Callable[[], Any], calls: int) -> tuple[float, Any]:
    """Mean seconds of ``calls`` calls, after one that is not counted: others ran since the last turn. And a result."""
    call()
    start = time.perf_counter()
    for _ in range(calls):
        result = call()
    return (time.perf_counter() - start) / calls, result


def serve(peer: Peer, name: str, data: str, say: Callable[[dict[str, Any]], None]) -> None:
    """Say what is to be compared, then answer ``{"calls": k}`` with seconds until the input ends."""
    with np.load(data) as arrays:
        weights, batch = ([arrays[key] for key in arrays.files if key[0] == part] for part in "wb")
    start = time.perf_counter()
    prepared = peer.prepare(name, weights, *batch)
    output = prepared.checked()
    first = time.perf_counter() - start
    np.save(f"{data}.{os.getpid()}.npy", output)
    for _ in range(3):
        prepared.call()
    gc.collect()
    gc.disable()
    say({"output": f"{data}.{os.getpid()}.npy", "first": first, "versions": versions(peer)})
    for line in sys.stdin:
        took, result = timed(prepared.call, json.loads(line)["calls"])
        if not np.isfinite(prepared.to_numpy(result)).all():
            raise ArithmeticError("what it computes is no longer finite")
        say({"seconds": took})


def versions(peer: Peer) -> dict[str, str]:
    return {package: sys.modules[package].__version__ for package in peer.needs}


def main(peers: Mapping[str, Peer]) -> None:
    peer, name, data = peers[sys.argv[1]], sys.argv[2], sys.argv[3]
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
    main(PEERS)
