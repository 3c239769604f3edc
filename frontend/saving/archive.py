"""The ``.keras`` file: a zip of ``config.json``, ``metadata.json`` and ``model.weights.h5``.

What a file says about itself is not believed: sizes are compared with what is stored, and nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...ir.errors import ArgumentError, FileFormatError
from ...runtime.files import write_beside
from .weights import Weights, write_weights

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

# A member may be this many times larger than its compressed form, once it is larger than the floor. Keras does not
# compress members.
BOMB_FLOOR = 256 << 20
MAX_EXPANSION = 100

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass
class KerasFile:
    """What a ``.keras`` file holds. Close it, or use it in a ``with`` statement.

    Attributes:
        config: config of the model, for ``deserialize_keras_object``.
        metadata: Keras's version and the date.
        weights: arrays by path, such as ``"layers/dense/vars/0"``.
    """

    config: dict[str, Any]
    metadata: dict[str, Any]
    weights: Weights

    def close(self) -> None:
        """Close the weights."""
        self.weights.close()

    def __enter__(self) -> KerasFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_keras(path: str | Path) -> KerasFile:
    """Open a ``.keras`` file and check all of it.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is no such archive, is damaged or incomplete, or holds something that is refused.
    """
    name = os.fspath(path)
    with _open_zip(Path(path), name) as archive:
        members = _members(archive, name)
        config = _json_object(_read(archive, members[CONFIG], name), f"{CONFIG} in {name}")
        metadata = _json_object(_read(archive, members[METADATA], name), f"{METADATA} in {name}")
        stored_weights = io.BytesIO(_read(archive, members[WEIGHTS], name))
    for key, kind in (("class_name", str), ("config", dict)):
        if not isinstance(config.get(key), kind):
            raise FileFormatError(
                f"{CONFIG} in {name} is not the config of a model: its {key!r} must be a JSON "
                f"{'string' if kind is str else 'object'}, got {config.get(key, 'nothing')!r:.80}"
            )
    return KerasFile(config, metadata, Weights(stored_weights, f"{WEIGHTS} in {name}"))


def open_weights(path: str | Path) -> Weights:
    """Open a ``.weights.h5`` or other HDF5 file and check all of it; errors as for ``open_keras``."""
    return Weights(Path(path), os.fspath(path))


def write_keras(
    path: str | Path,
    config: Mapping[str, Any],
    metadata: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    names: Mapping[str, str] | None = None,
) -> None:
    """Write a ``.keras`` file. It appears whole or not at all.

    Args:
        path: ends in ``.keras``.
        config: config of the model, as ``serialize_keras_object`` returned it.
        metadata: such as ``{"keras_version": "3.15.1", "date_saved": "2026-01-31@12:00:00"}``.
        weights: array by path, such as ``"layers/dense/vars/0"``.
        names: layer name by owner path, such as ``{"layers/dense": "dense", "": "sequential"}``.

    Raises:
        ArgumentError: the path has another ending, cannot be written, or the config is not of JSON's types.
    """
    if Path(path).suffix != ".keras":
        raise ArgumentError(f"the file's name must end in '.keras', got {os.fspath(path)!r}")
    try:
        texts = {METADATA: json.dumps(metadata), CONFIG: json.dumps(config)}
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"the config is not of JSON's types: {error}") from error
    stored_weights = io.BytesIO()
    write_weights(stored_weights, weights, names or {})

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for member, text in texts.items():
                archive.writestr(zipfile.ZipInfo(member), text)
            archive.writestr(zipfile.ZipInfo(WEIGHTS), stored_weights.getbuffer())

    write_beside(Path(path), write)


def _open_zip(path: Path, name: str) -> zipfile.ZipFile:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {name!r}")
    if path.is_dir():
        raise FileFormatError(f"{name} is a folder; expected a .keras file")
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FileFormatError(f"cannot read {name}: {error.strerror or error}") from error
    if start == _HDF5_SIGNATURE:
        raise FileFormatError(f"{name} is an HDF5 file, not a .keras archive: give it a name that ends in .h5")
    if not start.startswith(b"PK"):
        raise FileFormatError(f"{name} is not a .keras file: it is {'empty' if not start else 'no zip archive'}")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise FileFormatError(f"{name} is a truncated or damaged zip archive: {error}") from error


def _members(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise FileFormatError(f"{name} has several members of one name; refused")
    missing = [member for member in (CONFIG, METADATA, WEIGHTS) if member not in members]
    if missing:
        other = sorted(member for member in members if member.startswith("model.weights."))
        hint = f" Its weights are in {other[0]}: save it again with weights_format='h5'." if other else ""
        raise FileFormatError(f"{name} is not a whole .keras file: it lacks {', '.join(missing)}.{hint}")
    return members


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    if info.file_size > BOMB_FLOOR and info.file_size > MAX_EXPANSION * info.compress_size:
        raise FileFormatError(
            f"{name}: {info.filename} would take {info.file_size:,} bytes, of which only {info.compress_size:,} are "
            "stored; refused"
        )
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise FileFormatError(f"{name}: {info.filename} is damaged or truncated: {error}") from error
    except RuntimeError as error:  # encrypted, or (NotImplementedError is one) an unknown compression
        raise FileFormatError(f"{name}: {info.filename} cannot be read: {error}") from error


def _json_object(text: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{what} must be a JSON object, got {type(value).__name__}")
    return value
