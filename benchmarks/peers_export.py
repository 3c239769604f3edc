"""The peers of export.py: files that lamina wrote, run by torch and TensorFlow alone, and real Keras on the same two.

As a script it is what the suite starts (see peers.py), or with ``--write`` what writes a file: in a process of its own,
so that those that are timed import neither lamina nor JAX.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import peers
from peers import Peer, Prepared


def exported(name: str, weights: list[np.ndarray], file: str) -> Path:
    """The path of a file (or folder) that lamina exports the model to."""
    folder = Path(tempfile.mkdtemp(prefix="lamina-export-"))
    np.savez(folder / "weights.npz", *weights)
    command = [sys.executable, __file__, "--write", name, str(folder / "weights.npz"), str(folder / file)]
    subprocess.run(command, check=True)
    return folder / file


def write(name: str, weights: str, path: str) -> None:
    from models import MODELS

    import lamina
    from lamina import keras

    model = MODELS[name].build(keras)
    with np.load(weights) as arrays:
        model.set_weights([arrays[key] for key in arrays.files])
    lamina.export(model, path)


def _torchscript(name: str, weights: list[np.ndarray], x: np.ndarray) -> Prepared:
    import torch

    model, tensor = torch.jit.load(exported(name, weights, "model.pt")).eval(), torch.from_numpy(x)

    def call() -> Any:
        with torch.inference_mode():
            return model(tensor)

    return Prepared(call, lambda result: result.numpy())


def _saved_model(name: str, weights: list[np.ndarray], x: np.ndarray) -> Prepared:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(exported(name, weights, "model")))
    serve, tensor = loaded.signatures["serving_default"], tf.constant(x)
    ((argument, _),) = serve.structured_input_signature[1].items()

    def call() -> Any:
        (result,) = serve(**{argument: tensor}).values()
        return result

    return Prepared(call, lambda result: result.numpy())


PEERS = {
    "torchscript": Peer("TorchScript that lamina wrote, under inference_mode", None, ("torch",), _torchscript),
    "saved_model": Peer("SavedModel that lamina wrote, serving_default", None, ("tensorflow",), _saved_model),
    **{name: peers.PEERS[name] for name in ("keras-torch", "keras-tf")},
}

if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write(*sys.argv[2:])
    else:
        peers.main(PEERS)
