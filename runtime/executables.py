"""Executables for the calls of a program: found in memory, read from the disk cache, or compiled by jax.

An executable is found by a key over all that it depends on: the program, the types of a call, the options of the
compiler, the versions of jax and of lamina's own code, and the processor. So one that is found fits.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.backend import get_default_device
from jax.sharding import SingleDeviceSharding

from . import pjrt
from .disk_cache import disk_cache, give_up

#: Compiling quicker than this, in seconds, takes no longer than reading a file.
LEAST_SECONDS = 0.01
#: What decides the code that is made of a graph, from the package's root.
_CODE = ("__init__.py", "compiler.py", "ir", "passes", "lowering", "runtime")
_ARRAYS = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


@dataclass(frozen=True)
class Identity:
    """What tells a program from all others, in this and in other processes.

    Args:
        digest: text that is equal for programs of which jax and XLA make the same code, given equal types.
        in_tree: the structure (``jax.tree``) of the arguments of a call.
        out_tree: that of its result.
        device: where it runs; None: where its arguments are.
    """

    digest: str
    in_tree: Any
    out_tree: Any
    device: jax.Device | None = None


class _Place(NamedTuple):
    """The executable that a call needs, and the device that it runs on; ``committed``: whether its results stay."""

    key: str
    device: jax.Device
    committed: bool


class Executables:
    """The executables of one program.

    Args:
        identity: what tells the program.
        on_disk: whether they are read from the disk cache and written to it.
    """

    def __init__(self, identity: Identity, on_disk: bool = True) -> None:
        self._identity = identity
        self._store = disk_cache if on_disk else lambda: None
        self._loaded: dict[tuple[str, jax.Device], pjrt.Loaded] = {}

    def calling(self, jitted: Any) -> Callable[..., Any]:
        """What ``jax.jit`` made, with executables that are found in place of those that would be compiled. A call costs
        the same."""

        def miss(*args: Any) -> tuple[Any, Any, bool]:
            if not pjrt.is_plain_call():
                return jitted(*args), None, False
            flat, tree = jax.tree.flatten(args)
            place = self._place(flat, tree)
            found = self._find(place) if place is not None else None
            if found is not None and place is not None:
                result = jax.tree.unflatten(self._identity.out_tree, pjrt.run(found, flat, place.committed))
            else:
                start = time.perf_counter()
                found = pjrt.loaded_of(jitted.lower(*args).compile())
                seconds = time.perf_counter() - start
                result = jitted(*args)
                if place is not None and found.device == place.device:
                    self._keep(place, found, seconds)
            return result, pjrt.quick_call(found, result, len(flat)), False

        return pjrt.quick_function(jitted.__name__, jitted.__wrapped__, miss)

    def entries(self) -> dict[str, bytes]:
        """The executables in memory as entries of the disk cache, by key."""
        found = {key: (made, pjrt.serialize(made)) for (key, _), made in self._loaded.items()}
        return {key: encode(made, code) for key, (made, code) in found.items() if code is not None}

    def _place(self, flat: Sequence[Any], tree: Any) -> _Place | None:
        """Which executable a call needs; None for one that no other process could have made, or that is wrong."""
        identity = self._identity
        if tree != identity.in_tree or not all(isinstance(x, _ARRAYS) for x in flat):
            return None
        arrays = [x for x in flat if isinstance(x, jax.Array)]
        if jax.process_count() > 1 or not all(isinstance(x.sharding, SingleDeviceSharding) for x in arrays):
            return None
        devices = {d for x in arrays if x.committed for d in x.devices()}
        if identity.device is not None:
            devices.add(identity.device)
        if len(devices) > 1:
            return None
        device = devices.pop() if devices else get_default_device()
        committed = identity.device is not None or any(x.committed for x in arrays)
        types = [str(jax.typeof(x)) for x in flat]
        precision = getattr(jax.config, "jax_default_matmul_precision")  # noqa: B009 (the stubs lack it)
        said = repr((identity.digest, types, precision, pjrt.environment(device), code_digest()))
        return _Place(hashlib.sha256(said.encode()).hexdigest(), device, committed)

    def _find(self, place: _Place) -> pjrt.Loaded | None:
        known = self._loaded.get((place.key, place.device))
        store = self._store() if known is None else None
        if store is None:
            return known
        try:
            entry = store.get(place.key)
        except OSError as error:
            give_up(store, error)
            return None
        made = decode(entry, place.device) if entry is not None else None
        if made is not None:
            self._loaded[place.key, place.device] = made
        elif entry is not None:
            store.remove(place.key)
        return made

    def _keep(self, place: _Place, made: pjrt.Loaded, seconds: float) -> None:
        """Remember an executable, and write it to disk where compiling it took its time."""
        self._loaded[place.key, place.device] = made
        store = self._store()
        code = pjrt.serialize(made) if store is not None and seconds >= LEAST_SECONDS else None
        if store is not None and code is not None:
            store.put_or_give_up(place.key, encode(made, code))


def encode(made: pjrt.Loaded, code: bytes) -> bytes:
    """An entry: what is to be known of an executable, and its code."""
    results = [(shape, dtype.name) for shape, dtype in made.results]
    head = json.dumps({"kept": made.kept, "results": results}).encode()
    return struct.pack("<I", len(head)) + head + code


def decode(entry: bytes, device: jax.Device) -> pjrt.Loaded | None:
    """Load the executable of an entry; None where it is none, or XLA refuses it."""
    try:
        (length,) = struct.unpack_from("<I", entry)
        head = json.loads(entry[4 : 4 + length])
        kept, results = head["kept"], head["results"]
    except (struct.error, ValueError, TypeError, KeyError):
        return None
    return pjrt.deserialize(entry[4 + length :], kept, results, device)


@cache
def code_digest() -> str:
    """What changes when lamina's own code does: names, sizes and times of its files."""
    root = str(Path(__file__).resolve().parent.parent)
    said: list[tuple[str, int, int]] = []

    def add(folder: str, names: Container[str] | None = None) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == "__pycache__" or (names is not None and entry.name not in names):
                    continue
                if entry.is_dir():
                    add(entry.path)
                elif entry.name.endswith(".py"):
                    found = entry.stat()
                    said.append((entry.path[len(root) :], found.st_size, found.st_mtime_ns))

    add(root, _CODE)
    return hashlib.sha256(repr(sorted(said)).encode()).hexdigest()
