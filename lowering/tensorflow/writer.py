"""TensorFlow's names and literals, and the writer that its rules write with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...ir.dims import Dim, DimLike
from ...ir.errors import UnsupportedError
from ...ir.graph import Node, Value
from ...ir.types import is_complex, is_float, short_name
from ..source import Language, Writer, constant_number
from .library import HELPERS

_NAMES = {
    "i1": "bool",
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "f8e4m3fn": "dtypes.experimental.float8_e4m3fn",
    "f8e5m2": "dtypes.experimental.float8_e5m2",
    "c64": "complex64",
    "c128": "complex128",
    **{f"{s}{bits}": f"{n}int{bits}" for s, n in (("i", ""), ("ui", "u")) for bits in (8, 16, 32, 64)},
}

#: Element types that TensorFlow has no kernels for, and why.
UNSUPPORTED_TYPES: dict[str, str] = {
    **dict.fromkeys(
        ("f8e4m3b11fnuz", "f8e4m3fnuz", "f8e5m2fnuz"),
        "TensorFlow has the type, and no kernel that converts it; convert to float8_e4m3fn or float8_e5m2 before",
    ),
    **dict.fromkeys(
        ("f8e4m3", "f8e3m4", "f8e8m0fnu", "f6e2m3fn", "f6e3m2fn", "f4e2m1fn"),
        "TensorFlow does not compute with such a type; convert to float8_e4m3fn or wider before",
    ),
    **dict.fromkeys(
        ("i4", "ui4", "i2", "ui2"),
        "TensorFlow has the type, and kernels for next to nothing; convert to int8 before",
    ),
}

#: How many elements a tensor may have that stands in the source.
_LITERAL = 16


def tf_type(dtype: np.dtype) -> str:
    """``tf.float32``. Raises :class:`UnsupportedError` for a type that TensorFlow cannot compute with."""
    name = short_name(dtype)
    if name in UNSUPPORTED_TYPES:
        raise UnsupportedError(f"{dtype.name} has no form in TensorFlow: {UNSUPPORTED_TYPES[name]}")
    return f"tf.{_NAMES[name]}"


def plain_number(value: Any) -> str:
    """A Python number's text."""
    value = value.item() if isinstance(value, np.generic | np.ndarray) else value
    if isinstance(value, complex):
        return f"complex({plain_number(value.real)}, {plain_number(value.imag)})"
    return f"float('{value}')" if isinstance(value, float) and not np.isfinite(value) else repr(value)


def number_text(array: np.ndarray) -> str:
    """A Python number that becomes this element where TensorFlow expects one of its type."""
    if is_float(array.dtype):
        return plain_number(float(array))
    if array.dtype == np.uint64 and int(array) >= 2**63:
        return literal(array)
    return plain_number(array if is_complex(array.dtype) or array.dtype == np.bool_ else int(array))


def _nested(array: np.ndarray) -> str:
    if array.ndim == 0:
        return plain_number(
            float(array) if is_float(array.dtype) else array if array.dtype.kind in "bc" else int(array)
        )
    return f"[{', '.join(map(_nested, array))}]"


def literal(array: np.ndarray) -> str:
    """A tensor's text."""
    if array.size == 0:
        return f"tf.zeros({list(array.shape)}, {tf_type(array.dtype)})"
    return f"tf.constant({_nested(array)}, {tf_type(array.dtype)})"


def small_literal(array: np.ndarray) -> str | None:
    """A tensor's text; None where it is too large for one."""
    type_ = tf_type(array.dtype)
    if "experimental" in type_:
        plain = small_literal(array.astype(np.float32))
        return None if plain is None else f"tf.cast({plain}, {type_})"
    if array.size and array.ndim and _is_uniform(array):
        return f"tf.fill({list(array.shape)}, {literal(array.reshape(-1)[0])})"
    return literal(array) if array.size <= _LITERAL else None


def _is_uniform(array: np.ndarray) -> bool:
    first = array.reshape(-1)[:1]
    return array.size > 1 and array.tobytes() == first.tobytes() * array.size


def is_number(text: str) -> bool:
    """Whether a text is a plain Python number and no tensor."""
    return re.match(r"-?[\d(]|float\(|complex\(|-?nan|-?inf|True\b|False\b", text) is not None


def tensor(text: str, dtype: np.dtype) -> str:
    """A tensor of ``dtype`` from a text that may be a plain number."""
    return f"tf.constant({text}, {tf_type(dtype)})" if is_number(text) else text


def cast(text: str, dtype: np.dtype) -> str:
    """``text`` as ``dtype``."""
    return f"tf.cast({text}, {tf_type(dtype)})"


def known_number(value: Value) -> np.ndarray | None:
    """The one number that a value holds everywhere, where that is known."""
    made = value.producer
    if made is not None and made.op.name in ("broadcast_in_dim", "reshape"):
        return known_number(made.operands[0])
    if made is not None and made.op.name == "constant" and value.rank:
        array = made.attributes["value"]
        return array.reshape(-1)[0] if array.size == 1 or (array.size and _is_uniform(array)) else None
    return constant_number(value)


class TensorFlowWriter(Writer):
    """Writes plain tf ops; remembers which functions of library.py they call.

    ``projected`` has, for a recurrent step, the text of its input's part of the gates, where that was computed before;
    ``recurrent_biases`` that of the bias of its other part, where that was cut out before.
    ``lite``: write what TensorFlow Lite's converter takes, where that is not what is best for TensorFlow.
    """

    def __init__(self, language: Language, taken: Iterable[str] = (), indent: int = 1, lite: bool = False) -> None:
        super().__init__(language, {"tf", "np", *HELPERS, *taken}, indent)
        self.helpers: dict[str, None] = {}
        self.lite = lite
        self.projected: dict[Node, str] = {}
        self.recurrent_biases: dict[Node, str] = {}

    def helper(self, name: str) -> str:
        """The name of a function of library.py, which the source is to contain."""
        assert name in HELPERS, name
        self.helpers[name] = None
        return name

    def shape(self, dims: Iterable[DimLike]) -> str:
        """``[N, 4]``."""
        return f"[{', '.join(self.dims(dims))}]"

    def reshaped(self, text: str, dims: Sequence[DimLike]) -> str:
        """A reshape whose one open size, where there is one, is left to TensorFlow."""
        is_open = [isinstance(d, Dim) for d in dims]
        if sum(is_open) == 1 and 0 not in dims:
            return f"tf.reshape({text}, [{', '.join('-1' if o else str(d) for d, o in zip(dims, is_open))}])"
        return f"tf.reshape({text}, {self.shape(dims)})"
