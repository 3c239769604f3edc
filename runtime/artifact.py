"""The ``.lamina`` file, as far as it needs no graph: a zip of uncompressed members, whose comment is a checksum of all.

::

    manifest.json              what the file is, and the SHA-256 and size of every other member
    graph.0.txt                a traced graph's text; another one for each further trace
    program.0.mlirbc           the same as a portable StableHLO artifact, where it has such a form
    weights.safetensors        what parameters hold
    constants.safetensors      large constants, which the text names by digest
    executables/<key>          entries of the disk cache, signed by the user who wrote them
    ahead/0.json, .hlo, .bin   of a program for chips that were not there: what is known of it, XLA's optimized HLO and
                               executable; another three for each further set of sizes

The file is read once, and its checksum compared before anything in it is looked at; whoever changes a file on purpose
can make the checksum fit, so that what is in it is not believed either. Executables are machine code: they are taken
only where their signature is of this user's own secret, which is in the cache's folder and never leaves it.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.metadata
import io
import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..ir.errors import FileFormatError
from .disk_cache import disk_cache, give_up
from .files import write_beside

FORMAT = 1
MANIFEST = "manifest.json"
_EXECUTABLES = "executables/"
_CHECKSUM = 64  # hexadecimal digits of a SHA-256
_NAME = re.compile(
    r"manifest\.json|(graph|program)\.\d{1,6}\.(txt|mlirbc)|(weights|constants)\.safetensors|executables/[0-9a-f]{64}"
    r"|ahead/\d{1,6}\.(json|hlo|bin)"
)
_MAC = hashlib.sha256().digest_size


def version() -> str:
    """Lamina's, as it is installed."""
    try:
        return importlib.metadata.version("lamina")
    except importlib.metadata.PackageNotFoundError:  # a checkout that is imported where it lies
        return "not installed"


def write(path: Path, members: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write a file. It appears whole or not at all, and is the same for equal contents.

    Args:
        members: by name.
        manifest: plain data for JSON; ``format`` and ``members`` are added.

    Raises :class:`ArgumentError` where it can't be written.
    """
    told = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()}
    head = json.dumps({"format": FORMAT, **manifest, "members": told}, indent=1, ensure_ascii=False).encode()
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: head, **members}.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # its date is the same, always
        archive.comment = b"0" * _CHECKSUM
    whole = stored.getbuffer()[:-_CHECKSUM]
    digest = hashlib.sha256(whole).hexdigest().encode()

    def fill(file: BinaryIO) -> None:
        file.write(whole)
        file.write(digest)

    write_beside(path, fill)


def read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a file: its manifest, and its members by name.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is no such file, is damaged, truncated or was changed, or is of a newer format.
    """
    name = os.fspath(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {name!r}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot read {name}: {error.strerror or error}") from None
    _check_whole(data, name)
    members = _members(data, name)
    manifest = _manifest(members.pop(MANIFEST), name)
    told = manifest["members"]
    if told.keys() != members.keys():
        raise FileFormatError(f"{name}: its manifest names other members than it has; refused")
    for member, found in members.items():
        entry = told[member]
        if not isinstance(entry, dict) or entry.get("sha256") != hashlib.sha256(found).hexdigest():
            raise FileFormatError(f"{name}: {member} is not what the manifest says it is; refused")
    return manifest, members


def _check_whole(data: bytes, name: str) -> None:
    if not data.startswith(b"PK"):
        raise FileFormatError(f"{name} is no .lamina file: it is {'empty' if not data else 'no zip archive'}")
    view = memoryview(data)
    if len(data) < _CHECKSUM or hashlib.sha256(view[:-_CHECKSUM]).hexdigest().encode() != data[-_CHECKSUM:]:
        raise FileFormatError(
            f"{name} is damaged, truncated, or was changed after it was written: its checksum does not fit"
        )


def _members(data: bytes, name: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_infos(infos, len(data), name)
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError) as error:
        raise FileFormatError(f"{name} is no good zip archive: {error}") from None


def _check_infos(infos: list[zipfile.ZipInfo], length: int, name: str) -> None:
    """Say so where members are of other kinds than we write, before any of their bytes are taken."""
    names = [info.filename for info in infos]
    if len(set(names)) != len(names) or MANIFEST not in names:
        raise FileFormatError(f"{name} has {'no' if MANIFEST not in names else 'several'} {MANIFEST}, or members twice")
    for info in infos:
        if not _NAME.fullmatch(info.filename):
            raise FileFormatError(f"{name} has a member {info.filename!r:.80}, which no .lamina file has; refused")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise FileFormatError(f"{name}: {info.filename} is compressed, as in no .lamina file; refused")
    if sum(info.file_size for info in infos) > length:
        raise FileFormatError(f"{name}: its members should have more bytes than the file; refused")


def _manifest(data: bytes, name: str) -> dict[str, Any]:
    try:
        manifest = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{name}: {MANIFEST} is not JSON: {error}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("members"), dict):
        raise FileFormatError(f"{name}: {MANIFEST} should be a JSON object with members")
    if manifest.get("format") != FORMAT:
        raise FileFormatError(
            f"{name} is of format {manifest.get('format')!r:.40}, written by lamina {manifest.get('lamina')!r:.40}; "
            f"this version reads format {FORMAT}"
        )
    return manifest


def signed(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    """Entries of the disk cache as members, for :func:`accept`; none where there is no cache, and so no secret."""
    secret = _secret()
    if secret is None:
        return {}
    return {f"{_EXECUTABLES}{key}": _signature(secret, key, entry) + entry for key, entry in entries.items()}


def accept(members: Mapping[str, bytes]) -> int:
    """Put the executables among a file's members into the disk cache, those that this user signed; return how many
    these are. Programs look for them there, and take what fits."""
    secret, store = _secret(), disk_cache()
    if secret is None or store is None:
        return 0
    count = 0
    for name, data in members.items():
        key, entry = name.removeprefix(_EXECUTABLES), data[_MAC:]
        if key != name and hmac.compare_digest(data[:_MAC], _signature(secret, key, entry)):
            count += 1
            if not store.has(key):
                store.put_or_give_up(key, entry)
    return count


def _secret() -> bytes | None:
    store = disk_cache()
    if store is None:
        return None
    try:
        return store.secret()
    except OSError as error:
        give_up(store, error)
        return None


def _signature(secret: bytes, key: str, entry: bytes) -> bytes:
    return hmac.digest(secret, key.encode() + entry, "sha256")
