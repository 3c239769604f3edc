"""Bytes by key in a folder of the user's: bounded, good for several processes at once, and after any of them is killed.

An entry is one file, written beside and renamed, with a checksum that is compared before the bytes are used. The folder
belongs to the user alone: what is in it is machine code that will run.

Environment: ``LAMINA_CACHE=0`` for no cache, ``LAMINA_CACHE_DIR`` for another folder, ``LAMINA_CACHE_SIZE`` for its
bound (``200M``, ``2G``; by default 512M).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..ir.errors import ArgumentError

DEFAULT_SIZE = 512 << 20
#: A file of a writer that is older than this, in seconds, is of one that was killed.
_ABANDONED = 3600
_MAGIC = b"lamina1\n"
_HEADER = len(_MAGIC) + hashlib.sha256().digest_size
_ENTRY, _WRITING = ".entry", ".writing"
_SECRET = "secret"
_KEY = re.compile(r"[0-9a-f]{64}")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class DiskCache:
    """Bytes by key in a folder.

    Args:
        folder: made, for the user alone, where it is missing.
        size: how many bytes the entries may take; those used longest ago go first.

    Raises:
        ArgumentError: the folder is not the user's alone. OSError: it can't be made.
    """

    def __init__(self, folder: str | Path, size: int = DEFAULT_SIZE) -> None:
        self.folder = Path(folder)
        self.size = size
        self._lock = threading.Lock()
        self._grown: int | None = None  # bytes there, as far as this process knows; None before it looked
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(self.folder)

    def get(self, key: str) -> bytes | None:
        """The bytes of ``key``; None where there is no entry, or a damaged one, which goes."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        payload = data[_HEADER:]
        if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : _HEADER] != hashlib.sha256(payload).digest():
            self.remove(key)
            return None
        with _may_be_gone():
            os.utime(path)  # what is used stays
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Keep bytes under a key, and drop those used longest ago where the bound is passed.

        What is larger than a quarter of the bound is not kept. Raises OSError where the folder can't be written.
        """
        length = _HEADER + len(payload)
        if length * 4 > self.size:
            return
        self._write(self._path(key), [_MAGIC, hashlib.sha256(payload).digest(), payload])
        with self._lock:
            self._grown = None if self._grown is None else self._grown + length
            if self._grown is None or self._grown > self.size:
                self._grown = self._trim()

    def put_or_give_up(self, key: str, payload: bytes) -> None:
        """:meth:`put`; a folder that can't be written is a warning, and the end of this cache."""
        try:
            self.put(key, payload)
        except OSError as error:
            give_up(self, error)

    def has(self, key: str) -> bool:
        """Whether there is an entry, which :meth:`get` may still find damaged."""
        return self._path(key).exists()

    def remove(self, key: str) -> None:
        """Drop an entry, if it is there."""
        with _may_be_gone():
            self._path(key).unlink()

    def secret(self) -> bytes:
        """32 random bytes that this folder keeps for its user, the same ones for all processes."""
        path = self.folder / _SECRET
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            found = b""
        if len(found) != 32:
            self._write(path, [secrets.token_bytes(32)], replace=bool(found))
            found = path.read_bytes()
        return found

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ArgumentError(f"a key is 64 hexadecimal digits, received {key!r}")
        return self.folder / f"{key}{_ENTRY}"

    def _write(self, path: Path, parts: list[bytes], replace: bool = True) -> None:
        """Write beside and rename; where not ``replace``, the file that another process made first stays."""
        beside = self.folder / f"{secrets.token_hex(16)}{_WRITING}"
        try:
            with open(beside, "xb", opener=_for_user) as file:
                for part in parts:
                    file.write(part)
            if replace:
                os.replace(beside, path)
            else:
                with _may_be_there():
                    os.link(beside, path)
        finally:
            with _may_be_gone():
                beside.unlink()

    def _trim(self) -> int:
        """Drop what was used longest ago until three quarters of the bound are left, where it is passed; return the
        bytes there."""
        entries: list[tuple[float, int, str]] = []
        now = time.time()
        with os.scandir(self.folder) as files:
            for file in files:
                with _may_be_gone():
                    found = file.stat(follow_symlinks=False)
                    if file.name.endswith(_ENTRY):
                        entries.append((found.st_mtime, found.st_size, file.path))
                    elif file.name.endswith(_WRITING) and now - found.st_mtime > _ABANDONED:
                        os.unlink(file.path)
        total = sum(size for _, size, _ in entries)
        if total <= self.size:
            return total
        for _, size, path in sorted(entries):
            if total * 4 <= self.size * 3:
                break
            with _may_be_gone():
                os.unlink(path)
            total -= size
        return total


def _for_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _may_be_gone() -> Iterator[None]:
    """Within the block a file may be missing: another process dropped it."""
    try:
        yield
    except FileNotFoundError:
        return


@contextmanager
def _may_be_there() -> Iterator[None]:
    """Within the block a file may be there already: another process made it."""
    try:
        yield
    except FileExistsError:
        return


def _check_private(folder: Path) -> None:
    """Raise :class:`ArgumentError` unless ``folder`` is a folder of the user's that nobody else gets into."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise ArgumentError(f"{os.fspath(folder)!r} is no folder")
    if os.name != "posix":
        return  # user folders are private there by access lists
    if found.st_uid != os.geteuid():
        raise ArgumentError(f"the folder {os.fspath(folder)!r} belongs to another user (id {found.st_uid})")
    if found.st_mode & 0o077:
        raise ArgumentError(
            f"others may get into the folder {os.fspath(folder)!r} (mode {found.st_mode & 0o777:o}), which holds code "
            f"that will run: chmod 700 it"
        )


def default_folder() -> Path:
    """Where the cache is, if ``LAMINA_CACHE_DIR`` does not say."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lamina"
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lamina"


def parse_size(text: str) -> int:
    """Bytes of ``"300"``, ``"200M"``, ``"2G"``. Raises :class:`ArgumentError`."""
    match = re.fullmatch(r"(\d{1,12})([KMG]?)B?", text.strip().upper())
    if match is None:
        raise ArgumentError(f"LAMINA_CACHE_SIZE should be a number of bytes such as 200M or 2G, received {text!r}")
    return int(match[1]) * _UNITS[match[2]]


_open: dict[tuple[str, str], DiskCache | None] = {}
_open_lock = threading.Lock()


def disk_cache() -> DiskCache | None:
    """The cache that the environment says; None where it says none, or it can't be had, which is a warning once."""
    if os.environ.get("LAMINA_CACHE", "1").strip().lower() in ("0", "off", "false", "no"):
        return None
    where = os.environ.get("LAMINA_CACHE_DIR", ""), os.environ.get("LAMINA_CACHE_SIZE", "")
    with _open_lock:
        if where not in _open:
            try:
                folder = Path(where[0]) if where[0] else default_folder()
                _open[where] = DiskCache(folder, parse_size(where[1]) if where[1] else DEFAULT_SIZE)
            except (OSError, RuntimeError, ArgumentError) as error:  # RuntimeError: there is no home
                _open[where] = None
                warn(error)
        return _open[where]


def warn(error: Exception) -> None:
    """Say that compiled programs are not kept, and why."""
    warnings.warn(
        f"compiled programs are not kept on disk: {error}. LAMINA_CACHE_DIR names another folder, LAMINA_CACHE=0 "
        "switches the cache off",
        stacklevel=2,
    )


def give_up(cache: DiskCache, error: Exception) -> None:
    """From now on there is no such cache in this process; warn once."""
    with _open_lock:
        for where, found in _open.items():
            if found is cache:
                _open[where] = None
    warn(error)
