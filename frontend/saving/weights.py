"""Weights in HDF5, as Keras lays them out: a tree of groups, and in each group ``vars`` the arrays 0, 1, 2...

A file is checked as a whole before anything in it is read. HDF5 can refer to other files and declare arrays far larger
than what is stored; weights need neither, so both are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import ml_dtypes
import numpy as np

from ...ir.errors import FileFormatError

# What is declared may exceed what is stored this many times, once it is larger than the floor.
BOMB_FLOOR = 256 << 20
MAX_EXPANSION = 1000
MAX_DEPTH = 64

# Types that HDF5 knows only as so many opaque bytes; an attribute of the dataset has the name.
_OPAQUE = {name: np.dtype(getattr(ml_dtypes, name)) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}


class Weights(Mapping[str, np.ndarray]):
    """The arrays of an HDF5 file by their paths, such as ``"layers/dense/vars/0"``. Each look-up reads the array anew.

    Close it, or use it in a ``with`` statement.

    Args:
        source: path of the file, or an open binary file.
        name: what messages call the file.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is not HDF5, is damaged, or holds something that is refused.
    """

    def __init__(self, source: str | Path | BinaryIO, name: str) -> None:
        if isinstance(source, str | Path) and not Path(source).exists():
            raise FileNotFoundError(f"there is no file {str(source)!r}")
        self._name = name
        try:
            self._file = h5py.File(source, "r")
        except (OSError, ValueError, RuntimeError) as error:
            raise FileFormatError(f"{name} is not an HDF5 file, or is truncated: {error}") from error
        try:
            self._datasets, self._groups = _checked(self._file, name)
        except FileFormatError:
            self._file.close()
            raise
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            self._file.close()
            raise FileFormatError(f"{name} is a damaged HDF5 file: {error}") from error

    def __getitem__(self, path: str) -> np.ndarray:
        dataset = self._datasets[path]
        try:
            array = np.asarray(dataset[()])
        except (OSError, ValueError, RuntimeError) as error:
            raise FileFormatError(f"{self._name}: the array {path!r} is damaged: {error}") from error
        opaque = _opaque_type(dataset)
        return array if opaque is None else array.view(opaque)

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of an array without reading it."""
        return self._datasets[path].shape

    def has_group(self, path: str) -> bool:
        """Whether there is a group, such as ``"layers/dense"``, with or without arrays."""
        return path in self._groups

    def variables(self, owner: str) -> list[np.ndarray]:
        """Return the arrays of a layer in order: those of ``owner/vars``; an empty path means the model itself.

        Raises:
            FileFormatError: they are not numbered 0, 1, 2...
        """
        prefix = f"{owner}/vars/" if owner else "vars/"
        names = [path.removeprefix(prefix) for path in self._datasets if path.startswith(prefix)]
        missing = [str(number) for number in range(len(names)) if str(number) not in names]
        if missing:
            raise FileFormatError(
                f"{self._name}: the arrays in {prefix!r} must be numbered from 0, but are {', '.join(sorted(names))}"
            )
        return [self[f"{prefix}{number}"] for number in range(len(names))]

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of a group or array; the empty path means the whole file."""
        item = self._file if not path else self._datasets.get(path, self._groups.get(path))
        if item is None:
            raise KeyError(path)
        return dict(item.attrs)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _checked(file: h5py.File, name: str) -> tuple[dict[str, h5py.Dataset], dict[str, h5py.Group]]:
    """Return all datasets and groups by path, having checked that each is plain and lies in this file."""
    datasets: dict[str, h5py.Dataset] = {}
    groups: dict[str, h5py.Group] = {}
    seen = set()
    todo = [("", file["/"])]
    while todo:
        path, group = todo.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen or path.count("/") > MAX_DEPTH:
            raise FileFormatError(f"{name}: the group {path!r} occurs twice, or is nested too deeply")
        seen.add(address)
        groups[path] = group
        for key in group:
            where = f"{path}/{key}" if path else key
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise FileFormatError(f"{name}: {where!r} is a {type(link).__name__}; links are refused")
            item = group[key]
            if isinstance(item, h5py.Group):
                todo.append((where, item))
            elif isinstance(item, h5py.Dataset):
                _check_dataset(item, name, where)
                datasets[where] = item
            else:
                raise FileFormatError(f"{name}: {where!r} is neither a group nor an array")
    _check_size(name, "all arrays together", sum(map(_declared, datasets.values())), _stored(datasets.values()))
    return dict(sorted(datasets.items())), groups


def _check_dataset(dataset: h5py.Dataset, name: str, path: str) -> None:
    if dataset.external:
        raise FileFormatError(f"{name}: the array {path!r} lies in another file ({dataset.external[0][0]!r}); refused")
    if dataset.is_virtual:
        raise FileFormatError(f"{name}: the array {path!r} is a virtual dataset, made of other files; refused")
    if dataset.shape is None or (dataset.dtype.kind not in "biufc" and _opaque_type(dataset) is None):
        raise FileFormatError(f"{name}: {path!r} holds no numbers but {dataset.dtype}")
    plist = dataset.id.get_create_plist()
    for number in (plist.get_filter(index)[0] for index in range(plist.get_nfilters())):
        if number > h5py.h5z.FILTER_SCALEOFFSET and number != h5py.h5z.FILTER_LZF:
            raise FileFormatError(f"{name}: the array {path!r} needs an HDF5 plugin (filter {number}); refused")
    _check_size(name, f"the array {path!r}", _declared(dataset), _stored([dataset]))


def _declared(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def _stored(datasets: Any) -> int:
    """Return the bytes stored for all of them; those that share storage count once."""
    return sum({h5py.h5o.get_info(each.id).addr: each.id.get_storage_size() for each in datasets}.values())


def _check_size(name: str, what: str, declared: int, stored: int) -> None:
    if declared > BOMB_FLOOR and declared > MAX_EXPANSION * stored:
        raise FileFormatError(f"{name}: {what} would take {declared:,} bytes, but only {stored:,} are stored; refused")


def _opaque_type(dataset: h5py.Dataset) -> np.dtype | None:
    """Return the type of a dataset whose elements are opaque to HDF5, or None where there is no such type."""
    named = dataset.attrs.get("dtype") if dataset.dtype.kind == "V" else None
    dtype = _OPAQUE.get(named) if isinstance(named, str) else None
    return dtype if dtype is not None and dtype.itemsize == dataset.dtype.itemsize else None


def write_weights(target: str | Path | BinaryIO, weights: Mapping[str, np.ndarray], names: Mapping[str, str]) -> None:
    """Write arrays as Keras does.

    Args:
        target: path, or a binary file open for reading and writing.
        weights: array by path, such as ``"layers/dense/vars/0"``.
        names: layer name by owner path, such as ``{"layers/dense": "dense"}``; each gets a group ``vars``, if only an
            empty one.
    """
    with h5py.File(target, "w") as file:
        for owner, name in names.items():
            file.require_group(f"{owner}/vars" if owner else "vars").attrs["name"] = name
        for path, value in weights.items():
            array = np.asarray(value)
            if array.dtype.name in _OPAQUE:
                opaque = array.view(f"V{array.itemsize}")
                file.create_dataset(path, data=opaque).attrs["dtype"] = array.dtype.name
            else:
                file.create_dataset(path, data=array)
