"""Models to files and back, in Keras's formats: ``.keras`` for the whole, ``.weights.h5`` for the weights."""

from __future__ import annotations

import datetime
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.errors import ArgumentError, FileFormatError, UnsupportedError
from ..layer import Layer
from ..variable import Variable
from .serialization import (
    deserialize_keras_object,
    object_sharing_scope,
    safe_mode_scope,
    serialize_keras_object,
)

if TYPE_CHECKING:  # what reads HDF5 is imported when a file is read
    from ..model import Model
    from .state import Owner
    from .weights import Weights

#: Files that are no ``.keras`` file, by their ending: what they are, and what reads them.
_OTHERS = {
    ".lamina": ("a compiled program", "lamina.load"),
    ".mlir": ("a StableHLO program", "lamina.load"),
    ".mlirbc": ("a StableHLO program", "lamina.load"),
    ".h5": ("a file of weights, or a model of Keras 2", "model.load_weights('name.weights.h5')"),
    ".hdf5": ("a file of weights, or a model of Keras 2", "h5py"),
    ".pt": ("a TorchScript module", "torch.jit.load"),
    ".pt2": ("a program of torch.export", "torch.export.load"),
    ".pth": ("a file of torch's", "torch.load"),
    ".tflite": ("a TensorFlow Lite model", "the Interpreter of ai-edge-litert (or tf.lite)"),
    ".pb": ("a graph of TensorFlow's", "tf.saved_model.load, given the folder of a SavedModel,"),
    ".onnx": ("an ONNX model", "onnxruntime"),
    ".safetensors": ("a file of weights alone", "safetensors"),
    ".npz": ("a file of arrays", "numpy.load"),
    ".npy": ("an array", "numpy.load"),
}


_READS = {
    "load": ".keras, .lamina, .mlir and .mlirbc files",
    "load_model": "'.keras' files",
}


def load(path: str | Path, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Load what a file holds: from ``.keras`` a Model, from ``.lamina`` a compiled program, from ``.mlir`` and
    ``.mlirbc`` (StableHLO: text, bytecode or a portable artifact) a Module.

    Args:
        path: the file. The weights of a StableHLO program that was exported with ``weights="beside"`` are read from
            the ``.safetensors`` file of its name, and are its parameters.
        custom_objects: name to class or function, for a model that uses the user's own.

    A Module is run by ``lamina.compile(module)``, or by ``lamina.evaluate`` in NumPy.

    Raises:
        FileNotFoundError: there is no such file.
        UnsupportedError: its ending says that it is of a kind that lamina does not read; the message says what does.
        FileFormatError: the file is damaged, was changed, or holds what is refused. ParseError: it is no valid
            StableHLO.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"load: expected a path, received {path!r}")
    if Path(path).suffix == ".lamina":
        from .compiled import load_compiled

        return load_compiled(path)
    if Path(path).suffix in (".mlir", ".mlirbc"):
        from .stablehlo import load_stablehlo

        return load_stablehlo(Path(path))
    _refuse_other_kinds(path, "load")
    return load_model(path, custom_objects=custom_objects)


def load_model(
    filepath: str | Path, custom_objects: Mapping[str, Any] | None = None, compile: bool = True, safe_mode: bool = True
) -> Model:
    """Load a model from a ``.keras`` file, as this package and Keras 3 write it.

    Args:
        filepath: the file.
        custom_objects: name to class or function, for what is neither built in nor registered.
        compile: set it up for training as it was when it was saved, with the optimizer's state.
        safe_mode: whether Python bytecode in the file (from a lambda) is refused.

    Raises:
        FileNotFoundError: there is no such file.
        UnsupportedError: the file is of another kind.
        FileFormatError: it is no zip archive, is truncated, or its config or weights are not what they should be.
    """
    from ..model import Model
    from ..variable import values_follow
    from .archive import open_keras

    _refuse_other_kinds(filepath, "load_model")
    name = os.fspath(filepath)
    with open_keras(filepath) as file:
        config = {k: v for k, v in file.config.items() if compile or k != "compile_config"}
        with object_sharing_scope(), safe_mode_scope(safe_mode), values_follow():
            model = deserialize_keras_object(config, custom_objects=custom_objects, safe_mode=safe_mode)
        if not isinstance(model, Model):
            raise FileFormatError(f"{name} holds a {type(model).__name__}, not a model")
        _read_state(model, file.weights, name, skip_mismatch=False)
    return model


def save_model(model: Layer, filepath: str | Path, overwrite: bool = True) -> None:
    """Write a model, its config, its weights and its optimizer's state, as a ``.keras`` file, which appears whole or
    not at all.

    Args:
        model: the model; build it first, or there are no weights to write.
        filepath: ends in ``.keras``.
        overwrite: whether a file of that name may be replaced.

    Raises:
        ArgumentError: the name has another ending, the file is there and ``overwrite`` is False, or it can't be
            written.
    """
    from .. import version
    from .archive import write_keras

    _check_target(filepath, overwrite)
    if not model.built:
        warnings.warn(
            f"{model.name!r} is not built, so that it has no weights yet; call it on data before saving it",
            stacklevel=3,
        )
    with object_sharing_scope():
        config = serialize_keras_object(model)
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    write_keras(filepath, config, {"keras_version": version(), "date_saved": now}, *_written_state(model))


def save_weights(model: Layer, filepath: str | Path, overwrite: bool = True) -> None:
    """Write a model's weights as a ``.weights.h5`` file, which appears whole or not at all.

    Args:
        model: a model that is built.
        filepath: ends in ``.weights.h5``.
        overwrite: whether a file of that name may be replaced.

    Raises:
        ArgumentError: the name has another ending, the file is there and ``overwrite`` is False, it can't be
            written, or the model is not built.
    """
    from ...runtime.files import write_beside
    from .weights import write_weights

    if not os.fspath(filepath).endswith(".weights.h5"):
        raise ArgumentError(f"the name of a file of weights must end in '.weights.h5', got {os.fspath(filepath)!r}")
    _check_target(filepath, overwrite)
    _check_built(model, "save")
    weights, names = _written_state(model)

    def write(file: Any) -> None:
        import io

        stored = io.BytesIO()
        write_weights(stored, weights, names)
        file.write(stored.getbuffer())

    write_beside(Path(filepath), write)


def load_weights(model: Layer, filepath: str | Path, skip_mismatch: bool = False) -> None:
    """Read a model's weights from a ``.weights.h5`` or ``.keras`` file. Where any do not fit, nothing changes.

    Args:
        model: a model that is built, of the structure of the one that was saved.
        filepath: the file.
        skip_mismatch: leave layers whose weights do not fit as they are, with a warning.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: the name has another ending, or the model is not built.
        FileFormatError: the file is damaged, or holds other weights than the model has.
    """
    from .archive import open_keras, open_weights

    name = os.fspath(filepath)
    if not name.endswith((".weights.h5", ".keras")):
        raise ArgumentError(f"load_weights reads '.weights.h5' and '.keras' files, got {name!r}")
    _check_built(model, "load")
    if name.endswith(".keras"):
        with open_keras(filepath) as file:
            _read_state(model, file.weights, name, skip_mismatch)
    else:
        with open_weights(filepath) as weights:
            _read_state(model, weights, name, skip_mismatch)


def _refuse_other_kinds(path: str | Path, function: str) -> None:
    name, suffix = os.fspath(path), Path(path).suffix.lower()
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {name!r}")
    if Path(path).is_dir():
        if not (Path(path) / "saved_model.pb").exists():
            raise FileFormatError(f"{name!r} is a folder, and no SavedModel; {function} reads a '.keras' file")
        kind, reader = "a TensorFlow SavedModel", "tf.saved_model.load"
    elif suffix in _OTHERS:
        kind, reader = _OTHERS[suffix]
    else:
        return
    raise UnsupportedError(
        f"{function}: {name!r} is {kind} by its name, which {reader} reads; {function} reads {_READS[function]}"
    )


def _check_target(path: str | Path, overwrite: bool) -> None:
    if not overwrite and Path(path).exists():
        raise ArgumentError(f"there is a file {os.fspath(path)!r} already; pass overwrite=True to replace it")


def _check_built(model: Layer, doing: str) -> None:
    if not model.built:
        raise ArgumentError(
            f"{model.name!r} is not built, so that it has no weights to {doing}; call it on data or build() it"
        )


def _written_state(model: Layer) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by path and names by owner path, for the writer."""
    from ..optimizers.optimizer import Optimizer
    from .state import owners

    weights: dict[str, np.ndarray] = {}
    names: dict[str, str] = {}
    for owner in owners(model):
        if isinstance(owner.layer, Layer | Optimizer):
            store: dict[str, Any] = {}
            owner.layer.save_own_variables(store)
            prefix = f"{owner.path}/vars" if owner.path else "vars"
            weights.update((f"{prefix}/{key}", np.asarray(value)) for key, value in store.items())
            names[owner.path] = owner.layer.name
    return weights, names


class _Group(Mapping[str, np.ndarray]):
    """A layer's or an optimizer's arrays in a file, as ``load_own_variables`` takes them."""

    def __init__(self, weights: Weights, owner: str) -> None:
        self._weights = weights
        self._prefix = f"{owner}/vars/" if owner else "vars/"
        self._keys = [p.removeprefix(self._prefix) for p in weights if p.startswith(self._prefix)]

    def __getitem__(self, key: str) -> np.ndarray:
        return self._weights[self._prefix + key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _read_state(model: Layer, weights: Weights, name: str, skip_mismatch: bool) -> None:
    """Have all layers and optimizers read their variables. Unless ``skip_mismatch``, one that does not fit leaves all
    as they were."""
    from .state import owners

    before = [(v, v._value) for owner in owners(model) for v in owner.variables()]
    try:
        wrong, skipped = _read_layers(model, weights)
    except FileFormatError:
        _restore(before)
        raise
    if skipped:
        warnings.warn(
            f"{name} holds nothing at {', '.join(skipped)}; the layers in these containers keep the weights they have",
            stacklevel=4,
        )
    if not wrong:
        return
    shown = "\n  ".join(wrong[:10]) + (f"\n  and {len(wrong) - 10} more" if len(wrong) > 10 else "")
    if skip_mismatch:
        warnings.warn(f"these weights in {name} do not fit, and are skipped:\n  {shown}", stacklevel=4)
        return
    _restore(before)
    raise FileFormatError(f"the weights in {name} do not fit model {model.name!r}, which is left as it was:\n  {shown}")


def _read_layers(model: Layer, weights: Weights) -> tuple[list[str], list[str]]:
    """What did not fit, and the containers in containers that the file, as of Keras before 3.13, does not have."""
    from ..optimizers.optimizer import Optimizer
    from .state import owners

    wrong: list[str] = []
    skipped: dict[str, None] = {}
    for owner in owners(model):
        if not isinstance(owner.layer, Layer | Optimizer):
            continue
        missing = next((c for c in owner.containers if not weights.has_group(c)), None)
        if missing is None:
            wrong.extend(_read_layer(owner, weights))
        elif owner.variables():
            skipped[missing] = None
    return wrong, list(skipped)


def _read_layer(owner: Owner, weights: Weights) -> list[str]:
    """Have a layer read its weights; where they do not fit it keeps its own, and what is wrong is returned."""
    layer: Any = owner.layer
    before = [(v, v._value) for v in owner.variables()]
    try:
        layer.load_own_variables(_Group(weights, owner.path))
    except FileFormatError:
        raise
    except Exception as error:  # a user's load_own_variables may raise anything
        _restore(before)
        what = f"no array {error}" if isinstance(error, KeyError) else str(error)
        which = f"layer {layer.path!r}" if isinstance(layer, Layer) else layer.name
        return [f"{owner.path or 'the model itself'} ({which}): {what}"]
    return []


def _restore(before: list[tuple[Variable, Any]]) -> None:
    for variable, value in before:
        if variable._value is not value:
            variable._set(value)
