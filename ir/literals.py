"""How values are written in text so that they read back bit for bit: floats, element lists, digests, raw bytes."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Sequence

import ml_dtypes
import numpy as np

from .types import BOOL, TensorType, bit_width, is_complex, is_integer, is_unsigned, short_name

#: Constants of at most this many elements are written out; longer ones by digest, unless all elements are the same.
INLINE_ELEMENTS = 64
#: The most elements ``splat(...)`` stands for: text of a few bytes must not ask for memory without bound.
SPLAT_ELEMENTS = 1 << 24
_PREVIEW = 3


def raw_bytes(array: np.ndarray) -> bytes:
    """The elements as stored, row by row; unused bits of narrow types are brought to one form."""
    if array.dtype == BOOL:
        array = array != 0
    elif _is_small_integer(array.dtype):
        array = array.astype(np.int8)
    elif bit_width(array.dtype) < 8:
        array = np.ascontiguousarray(array).view(np.uint8) & (2 ** bit_width(array.dtype) - 1)
    return array.tobytes()


def _is_small_integer(dtype: np.dtype) -> bool:
    return is_integer(dtype) and bit_width(dtype) < 8


def same_array(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have one element type, one shape and the same bits, those of NaN and zero signs included."""
    return a is b or (a.dtype == b.dtype and a.shape == b.shape and raw_bytes(a) == raw_bytes(b))


def digest(array: np.ndarray) -> str:
    """``sha256:`` and 32 hexadecimal digits over element type, shape and bits."""
    sha = hashlib.sha256(f"{_type_text(array)}\n".encode())
    sha.update(raw_bytes(array))
    return f"sha256:{sha.hexdigest()[:32]}"


def is_splat(array: np.ndarray) -> bool:
    """Whether all of several elements have the same bits."""
    if array.size < 2:
        return False
    flat = array.reshape(-1)
    few = raw_bytes(flat[:16])
    size = array.dtype.itemsize
    if few != few[:size] * (len(few) // size):
        return False
    data = raw_bytes(flat)
    return data == data[:size] * array.size


def is_abbreviated(array: np.ndarray) -> bool:
    """Whether :func:`array_text` writes the digest in place of the elements."""
    return array.size > INLINE_ELEMENTS and not (array.size <= SPLAT_ELEMENTS and is_splat(array))


def array_text(array: np.ndarray, full: bool = False) -> str:
    """Write an array: ``f32[2] [1.0,2.5]``, ``f32[64] splat(0.0)``, ``f32[99] sha256:... [0.1,0.2,0.3,...]``.

    Args:
        full: in place of a digest write all bytes, as base64.
    """
    head, flat = _type_text(array), array.reshape(-1)
    if is_abbreviated(array):
        if full:
            return f'{head} base64 "{base64.b64encode(raw_bytes(array)).decode()}"'
        return f"{head} {digest(array)} [{','.join(element_texts(flat[:_PREVIEW]))},...]"
    if is_splat(array):
        return f"{head} splat({element_texts(flat[:1])[0]})"
    return f"{head} {_nested(element_texts(flat), array.shape)}"


def _type_text(array: np.ndarray) -> str:
    return str(TensorType(array.dtype, array.shape))


def _nested(texts: Sequence[str], shape: Sequence[int]) -> str:
    if not shape:
        return texts[0]
    if not texts:
        return "[]"
    step = len(texts) // shape[0]
    return "[" + ",".join(_nested(texts[i : i + step], shape[1:]) for i in range(0, len(texts), step)) + "]"


def float_text(value: float) -> str:
    """A Python float: its shortest text, ``inf``, ``nan``, or ``nan(0x...)`` for another NaN than Python's."""
    if math.isnan(value):
        bits = struct.unpack("<Q", struct.pack("<d", value))[0]
        return "nan" if bits == 0x7FF8000000000000 else f"nan({bits:#x})"
    return repr(value)


def element_texts(flat: np.ndarray) -> list[str]:
    """The text of each element of a one-dimensional array; :func:`array_from_values` reads the same bits from them."""
    dtype = flat.dtype
    if dtype == BOOL:
        return ["true" if x else "false" for x in flat]
    if is_integer(dtype):
        return [str(int(x)) for x in flat]
    if is_complex(dtype):
        parts = element_texts(np.ascontiguousarray(flat).view(_part(dtype)))
        return [f"({re},{im})" for re, im in zip(parts[::2], parts[1::2], strict=True)]
    if dtype.name in ("float16", "float32", "float64"):
        texts = [str(x) for x in flat]  # NumPy's shortest
    else:
        texts = [str(float(f"{float(x):.4g}")) for x in flat]  # four digits tell bfloat16 and float8 apart
    bits, back = _bits(flat), _bits(_round(np.array([float(t) for t in texts], np.float64), dtype))
    for i in np.flatnonzero(bits != back):  # another NaN, or a text that rounding by way of float64 does not bring back
        texts[i] = f"nan({int(bits[i]):#x})" if texts[i] == "nan" else repr(float(flat[i]))
    return texts


def _part(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"float{dtype.itemsize * 4}")


def _bits(flat: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(flat).view(f"u{flat.dtype.itemsize}")


def _round(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(all="ignore"):
        return values.astype(dtype)


class NaNBits(int):
    """Stands for the NaN of these bits in :func:`array_from_values`."""


def array_from_values(dtype: np.dtype, shape: Sequence[int], values: Sequence[bool | int | float]) -> np.ndarray:
    """The array that :func:`element_texts` wrote.

    Args:
        values: one for each element, row by row (two for a complex one); a single element fills any shape.

    Raises:
        ValueError: a value does not fit the element type, or the shape is more than NumPy takes.
    """
    if is_complex(dtype):
        flat = _floats(_part(dtype), values).view(dtype)
    elif dtype == BOOL:
        flat = np.array(values, dtype)
    elif is_integer(dtype):
        limits = ml_dtypes.iinfo(dtype)
        wrong = [v for v in values if not limits.min <= v <= limits.max]
        if wrong:
            raise ValueError(f"{wrong[0]} does not fit {short_name(dtype)}")
        flat = np.array(values, np.uint64 if is_unsigned(dtype) else np.int64).astype(dtype)
    else:
        flat = _floats(dtype, values)
    return np.broadcast_to(flat.reshape(()), shape).copy() if len(flat) == 1 else flat.reshape(shape)


def _floats(dtype: np.dtype, values: Sequence[float]) -> np.ndarray:
    flat = _round(np.array([0.0 if isinstance(v, NaNBits) else float(v) for v in values], np.float64), dtype)
    bits = flat.view(f"u{dtype.itemsize}")
    for i, value in enumerate(values):
        if isinstance(value, NaNBits):
            if value >> (8 * dtype.itemsize):
                raise ValueError(f"{int(value):#x} has more bits than {short_name(dtype)}")
            bits[i] = int(value)
    return flat


def array_from_base64(dtype: np.dtype, shape: Sequence[int], text: str) -> np.ndarray:
    """The array whose :func:`raw_bytes` are ``text`` in base64. Raises ValueError where they do not fit."""
    data = base64.b64decode(text, validate=True)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(f"{TensorType(dtype, shape)} takes {expected} bytes, these are {len(data)}")
    if dtype == BOOL and data.strip(b"\0\1"):
        raise ValueError("a byte of a bool is 0 or 1")
    if _is_small_integer(dtype):
        small = np.frombuffer(data, np.int8)
        return array_from_values(dtype, [small.size], small.tolist()).reshape(shape)
    return np.frombuffer(data, dtype).reshape(shape)
