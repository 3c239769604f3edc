"""The safetensors format: named arrays, their types and shapes in a JSON header, no code.

Written out here, since it is small, so that arrays of every element type can be stored: those that the format has no
name for are bytes of the same memory (``U8`` with one more axis), and read back by whoever knows their type.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from ..ir.errors import FileFormatError

_TYPES: dict[str, np.dtype] = {
    **{f"{k}{bits}": np.dtype(f"{n}{bits}") for k, n in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    **{f"F{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "BOOL": np.dtype(bool),
    "C64": np.dtype(np.complex64),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_MOST_HEADER = 100 << 20  # as in the format's own library
_MOST_AXES = 64  # NumPy's


def encode(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a file with these arrays, in this order, as it is the same for equal arrays."""
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        stored = _NAMES.get(array.dtype)
        shape = list(array.shape) if stored is not None else [*array.shape, array.dtype.itemsize]
        header[name] = {"dtype": stored or "U8", "shape": shape, "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # so that arrays are aligned
    return b"".join([struct.pack("<Q", len(head)), head, *parts])


def decode(data: bytes | memoryview, what: str) -> dict[str, np.ndarray]:
    """The arrays of a file, which share its memory. No more is taken than the bytes that are there.

    Args:
        what: the file, for messages.

    Raises:
        FileFormatError: it is no such file, or its header says what can't be.
    """
    view = memoryview(data)
    if len(view) < 8:
        raise FileFormatError(f"{what} is no safetensors file: it has {len(view)} bytes")
    (length,) = struct.unpack_from("<Q", view)
    if length > min(len(view) - 8, _MOST_HEADER):
        raise FileFormatError(f"{what}: its header should have {length:,} bytes, and the file has {len(view):,}")
    try:
        header = json.loads(bytes(view[8 : 8 + length]).decode())
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{what}: its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise FileFormatError(f"{what}: its header should be a JSON object, got {type(header).__name__}")
    body = view[8 + length :]
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    arrays = {name: _array(entry, body, f"{what}: {name}") for name, entry in entries.items()}
    at = 0
    for start, end in sorted(entry["data_offsets"] for entry in entries.values()):
        if start != at:
            raise FileFormatError(f"{what}: its arrays overlap, or leave bytes between them")
        at = end
    if at != len(body):
        raise FileFormatError(f"{what}: it has {len(body) - at:,} bytes that belong to no array")
    return arrays


def of_type(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array that was read, in its element type where the format has no name for that."""
    if dtype in _NAMES or array.dtype != np.uint8 or array.shape[-1:] != (dtype.itemsize,):
        return array
    return array.view(dtype)[..., 0]


def _array(entry: Any, body: memoryview, what: str) -> np.ndarray:
    if not isinstance(entry, dict) or entry.get("dtype") not in _TYPES:
        raise FileFormatError(f"{what} should say one of the types {', '.join(_TYPES)}, got {entry!r:.80}")
    dtype = _TYPES[entry["dtype"]]
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not _are_sizes(shape) or len(shape) > _MOST_AXES:
        raise FileFormatError(f"{what}: its shape should be a list of sizes, got {shape!r:.80}")
    if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= len(body):
        raise FileFormatError(
            f"{what}: its place should be two offsets within {len(body):,} bytes, got {offsets!r:.80}"
        )
    needed = math.prod(shape) * dtype.itemsize
    if needed != offsets[1] - offsets[0]:
        raise FileFormatError(
            f"{what}: an array of {entry['dtype']}{shape} takes {needed:,} bytes, and {offsets[1] - offsets[0]:,} are "
            "stored"
        )
    array = np.frombuffer(body[offsets[0] : offsets[1]], np.uint8)
    if dtype == np.bool_ and (array > 1).any():
        raise FileFormatError(f"{what}: a byte of a bool is 0 or 1")
    return array.view(dtype).reshape(shape)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)
