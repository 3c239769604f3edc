"""A module as a TensorFlow SavedModel, which TensorFlow loads and serves without lamina."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...ir import Module
from ...ir.errors import ArgumentError, DTypeError
from .subject import module_of
from .tf_function import Built, flat_outputs, make, to_numpy

SERVING = "serving_default"


def save(
    module: Module,
    path: Path,
    *,
    exact: bool = False,
    signatures: Mapping[str, Any] | None = None,
    version: int | None = None,
    warmup: Sequence[Any] | None = None,
) -> None:
    """Write a SavedModel.

    Args:
        path: the folder. It appears whole or not at all, and replaces what was there.
        exact: hold the StableHLO program itself in place of plain ops; see :func:`.tf_function.build`.
        signatures: further signatures, name -> module (or what can be traced to one), beside ``serving_default``, which
            is the module's own. Parameters that are one Variable of Keras are one variable here, too.
        version: write to ``path/<version>``, where TensorFlow Serving looks for it; other versions stay.
        warmup: arrays for the inputs, in order. TensorFlow Serving runs the model on them before it serves.

    Raises:
        UnsupportedError: an op has no form in plain tf ops. ArgumentError: an option has a wrong value.
    """
    import tensorflow as tf

    if version is not None and (not isinstance(version, int) or isinstance(version, bool) or version < 0):
        raise ArgumentError(f"saved_model: expected a version of 0 or more, received {version!r}")
    main = make(module, exact)
    others = {name: module_of(f) for name, f in (signatures or {}).items()}
    for name in others:
        if not name.isidentifier() or name == SERVING:
            raise ArgumentError(
                f"saved_model: expected names of signatures that are identifiers, and not {SERVING}, which is the "
                f"model's own; received {name!r}"
            )
    built = {name: make(m, exact) for name, m in others.items()}
    for other in built.values():
        share_variables(main, other)
    records = _warmup_record(module, main, warmup) if warmup is not None else None
    served = {SERVING: signature(main), **{name: signature(b) for name, b in built.items()}}
    root = main.module
    if built:
        root.signature_modules = {name: b.module for name, b in built.items()}  # whose variables are saved
    with folder_beside(path if version is None else path / str(version)) as folder:
        tf.saved_model.save(root, str(folder), signatures=served)
        if records is not None:
            extra = folder / "assets.extra"
            extra.mkdir()
            with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as file:
                file.write(records)


def signature(built: Built) -> Any:
    """The function of a built module that gives its outputs by name."""
    import tensorflow as tf

    specs, function = built.specs, built.module
    structure, names = built.structure, built.outputs

    @tf.function(input_signature=specs, autograph=False)
    def serve(*inputs: Any) -> dict[str, Any]:
        return dict(zip(names, flat_outputs(structure, function(*inputs), len(names))))

    return serve


def share_variables(main: Built, other: Built) -> None:
    """Have ``other`` use the variables of ``main`` for parameters that are bound to the same thing."""
    owned = {id(key): main.variable(name) for name, key in main.keys.items() if key is not None}
    for name, key in other.keys.items():
        if id(key) in owned:
            other.set_variable(name, owned[id(key)])


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``path`` at the end of the block, and is gone where that fails.

    Raises:
        ArgumentError: the place cannot be written to, or is a folder of other things.
    """
    if path.exists() and not path.is_dir():
        raise ArgumentError(f"cannot write the folder {str(path)!r}: there is a file of that name")
    if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").exists():
        raise ArgumentError(
            f"cannot write {str(path)!r}: that folder holds no SavedModel, and what it holds would be lost; name "
            "another, or a file such as model.pt for another target"
        )
    beside, old = (path.with_name(f".{path.name}.{uuid.uuid4().hex}.{kind}") for kind in ("tmp", "old"))
    made_parent = not path.parent.exists()
    try:
        path.parent.mkdir(exist_ok=True)
        try:
            beside.mkdir()
            yield beside
            if path.exists():
                os.replace(path, old)
            os.replace(beside, path)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            if old.exists() and not path.exists():
                os.replace(old, path)
            if made_parent:
                shutil.rmtree(path.parent, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ArgumentError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def _warmup_record(module: Module, built: Built, warmup: Sequence[Any]) -> bytes:
    """A request as TensorFlow Serving logs it: PredictionLog.predict_log.request.inputs."""
    import tensorflow as tf

    arrays = [np.asarray(x) for x in warmup]
    types = [v.type for v in module.main.inputs]
    if len(arrays) != len(types):
        raise ArgumentError(f"saved_model: warmup takes {len(types)} arrays, received {len(arrays)}")
    for array, type_, spec in zip(arrays, types, built.specs):
        if array.dtype != type_.dtype or not spec.shape.is_compatible_with(array.shape):
            raise DTypeError(
                f"saved_model: expected warmup of {type_} for {spec.name}, received {array.dtype} {array.shape}"
            )
    request = _field(1, _field(3, SERVING.encode()))  # model_spec.signature_name
    for spec, array in zip(built.specs, arrays):
        entry = _field(1, spec.name.encode()) + _field(2, tf.make_tensor_proto(array).SerializeToString())
        request += _field(2, entry)  # an entry of the map `inputs`
    return _field(6, _field(1, request))  # predict_log.request


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes of a protocol buffer; the messages themselves come with TensorFlow Serving only."""
    length, digits = len(content), bytearray([number << 3 | 2])
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    digits.append(length)
    return bytes(digits) + content


def runner(module: Module, *, exact: bool = False) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """A function of flat input arrays that runs a SavedModel of the module, loaded again."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        save(module, Path(folder) / "model", exact=exact)
        loaded = tf.saved_model.load(str(Path(folder) / "model"))
    serve = loaded.signatures[SERVING]
    built = make(module, exact)
    inputs, outputs = [spec.name for spec in built.specs], built.outputs

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = serve(**{name: tf.convert_to_tensor(x) for name, x in zip(inputs, arrays)})
        assert loaded is not None  # its variables live as long as it does
        return [to_numpy(found[name]) for name in outputs]

    return run
