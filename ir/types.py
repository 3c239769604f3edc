"""Types of values: an element type and a shape whose dimensions may be symbolic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from .dims import Dim, DimLike, free_symbols, substitute
from .errors import DTypeError, ShapeError
from .sharding import Sharding

_ML = {
    "bf16": "bfloat16",
    "f8e4m3fn": "float8_e4m3fn",
    "f8e5m2": "float8_e5m2",
    "f8e4m3b11fnuz": "float8_e4m3b11fnuz",
    "f8e4m3fnuz": "float8_e4m3fnuz",
    "f8e5m2fnuz": "float8_e5m2fnuz",
    "f8e4m3": "float8_e4m3",
    "f8e3m4": "float8_e3m4",
    "f8e8m0fnu": "float8_e8m0fnu",
    "f6e2m3fn": "float6_e2m3fn",
    "f6e3m2fn": "float6_e3m2fn",
    "f4e2m1fn": "float4_e2m1fn",
    "i4": "int4",
    "ui4": "uint4",
    "i2": "int2",
    "ui2": "uint2",
}
#: Bits of the types that take less than the byte they are held in.
_BITS = {"i1": 1, "i2": 2, "ui2": 2, "i4": 4, "ui4": 4, "f4e2m1fn": 4, "f6e2m3fn": 6, "f6e3m2fn": 6}
_NUMPY = {
    "i1": "bool",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "c64": "complex64",
    "c128": "complex128",
    **{f"{s}{b}": f"{n}int{b}" for s, n in (("i", ""), ("ui", "u")) for b in (8, 16, 32, 64)},
}

#: Element types by their text name (MLIR's, with ``c64`` for complex<f32>).
ELEMENT_TYPES: dict[str, np.dtype] = {
    **{short: np.dtype(name) for short, name in _NUMPY.items()},
    **{short: np.dtype(getattr(ml_dtypes, name)) for short, name in _ML.items()},
}
_SHORT = {dtype: short for short, dtype in ELEMENT_TYPES.items()}
_BY_NAME = {dtype.name: dtype for dtype in _SHORT}

BOOL = ELEMENT_TYPES["i1"]
F32 = ELEMENT_TYPES["f32"]
F64 = ELEMENT_TYPES["f64"]
BF16 = ELEMENT_TYPES["bf16"]
F16 = ELEMENT_TYPES["f16"]
I32 = ELEMENT_TYPES["i32"]
I64 = ELEMENT_TYPES["i64"]
UI32 = ELEMENT_TYPES["ui32"]


def element_type(name: object) -> np.dtype:
    """The element type called ``name``: a text name (``f32``), a NumPy name, a NumPy dtype or scalar type.

    Raises :class:`DTypeError` for anything lamina has no element type for.
    """
    if isinstance(name, np.dtype) and name in _SHORT:
        return name
    if isinstance(name, str):
        found = ELEMENT_TYPES.get(name) or _BY_NAME.get(name)
        if found is not None:
            return found
    dtype = numpy_dtype(name)
    if dtype not in _SHORT:
        raise _no_type(name)
    return dtype


def numpy_dtype(name: object) -> np.dtype:
    """NumPy's dtype of a name, dtype or scalar type, whether or not it is an element type.

    Raises :class:`DTypeError` for what NumPy does not know, such as the type of jax's random keys.
    """
    try:
        return np.dtype(name)  # type: ignore[call-overload]
    except TypeError:
        raise _no_type(name) from None


def _no_type(name: object) -> DTypeError:
    if str(name).startswith("key<"):
        return DTypeError(
            f"{name} is the type of jax's random keys, which are no tensors; pass jax.random.key_data(key), of uint32, "
            "and inside a function for jax turn it back by jax.random.wrap_key_data"
        )
    return DTypeError(f"{name!r} is no element type; expected one of {', '.join(sorted(_BY_NAME))}")


def short_name(dtype: np.dtype) -> str:
    """The text name of an element type: ``f32``, ``bf16``, ``ui8``, ``i1`` ..."""
    return _SHORT[dtype]


def is_float(dtype: np.dtype) -> bool:
    """True for every real floating-point type, bfloat16 and those of 8 bits and less included."""
    return dtype.kind == "f" or short_name(dtype).startswith(("bf", "f8", "f6", "f4"))


def is_integer(dtype: np.dtype) -> bool:
    """True for signed and unsigned integers of every width; not for bool."""
    return dtype.kind in "iu" or short_name(dtype) in ("i4", "ui4", "i2", "ui2")


def is_unsigned(dtype: np.dtype) -> bool:
    """True for unsigned integers."""
    return short_name(dtype).startswith("ui")


def is_complex(dtype: np.dtype) -> bool:
    """True for complex64 and complex128."""
    return dtype.kind == "c"


def bit_width(dtype: np.dtype) -> int:
    """Bits an element takes: 4 for int4, 1 for bool, else 8 per byte."""
    return _BITS.get(short_name(dtype), dtype.itemsize * 8)


def has_ordered_bits(dtype: np.dtype) -> bool:
    """Whether the bits of a float type are a sign and a magnitude that fill its bytes, so that integers order them."""
    return bit_width(dtype) >= 8 and short_name(dtype) != "f8e8m0fnu"


class TensorType:
    """An element type and a shape: ``f32[N,64]``. Immutable and hashable.

    Args:
        dtype: anything :func:`element_type` takes.
        shape: dimensions, each an integer >= 0 or a symbolic :class:`Dim`.
        sharding: the axes of the device mesh that each dimension is split over: a name, a tuple of names, or None where
            the dimension is whole on every device: ``("data", None)``. None where nothing is said.
    """

    __slots__ = ("_hash", "dtype", "shape", "sharding")

    def __init__(self, dtype: object, shape: Iterable[DimLike] = (), sharding: Sharding | None = None) -> None:
        self.dtype = element_type(dtype)
        self.shape = tuple(d if isinstance(d, Dim) else _size(d) for d in shape)
        self.sharding = sharding
        self._hash = hash((self.dtype, self.shape))

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> DimLike:
        """Number of elements."""
        product: DimLike = 1
        for dim in self.shape:
            product = product * dim
        return product

    @property
    def is_static(self) -> bool:
        """True where no dimension is symbolic."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def symbols(self) -> set[str]:
        return free_symbols(*self.shape)

    def with_shape(self, shape: Iterable[DimLike]) -> TensorType:
        return TensorType(self.dtype, shape)

    def with_dtype(self, dtype: object) -> TensorType:
        return TensorType(dtype, self.shape, self.sharding)

    def substitute(self, values: Mapping[str, DimLike]) -> TensorType:
        """The same type with symbols replaced."""
        if self.is_static:
            return self
        return TensorType(self.dtype, (substitute(d, values) for d in self.shape), self.sharding)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TensorType)
            and self.dtype == other.dtype
            and self.shape == other.shape
            and self.sharding == other.sharding
        )

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return f"{short_name(self.dtype)}[{','.join(map(str, self.shape))}]"

    __repr__ = __str__


def same_type(a: TensorType, b: TensorType) -> bool:
    """Whether two types have one element type and one shape. Sharding is not compared: inference says nothing of it."""
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        return a.dtype == b.dtype and a.shape == b.shape
    return a == b


def _size(dim: object) -> int:
    try:
        size = int(dim.__index__())  # type: ignore[attr-defined]
    except AttributeError:
        raise ShapeError(f"a dimension is an integer or a symbolic expression, received {dim!r}") from None
    if size < 0:
        raise ShapeError(f"a dimension is an integer >= 0, received {size}")
    return size


def has_tangent(type_: TensorType) -> bool:
    """Whether values of a type have derivatives: those of float and complex types do."""
    return is_float(type_.dtype) or is_complex(type_.dtype)


def lowest(dtype: np.dtype) -> Any:
    """The identity of ``maximum``: -inf, the least integer, False."""
    if dtype == BOOL:
        return False
    if is_integer(dtype):
        return ml_dtypes.iinfo(dtype).min
    return -np.inf if _has_infinity(dtype) else ml_dtypes.finfo(dtype).min


def highest(dtype: np.dtype) -> Any:
    """The identity of ``minimum``: inf, the greatest integer, True."""
    if dtype == BOOL:
        return True
    if is_integer(dtype):
        return ml_dtypes.iinfo(dtype).max
    return np.inf if _has_infinity(dtype) else ml_dtypes.finfo(dtype).max


def _has_infinity(dtype: np.dtype) -> bool:
    """False for the float8 types whose greatest bit patterns are finite."""
    return bool(np.isinf(np.array(np.inf, dtype)))


def static_shape(type_: TensorType) -> tuple[int, ...]:
    """The shape of a type without symbolic dimensions. Raises :class:`ShapeError` where it has some."""
    if not type_.is_static:
        raise ShapeError(f"expected integer dimensions, received {type_}; give its symbols values")
    return tuple(int(d) for d in type_.shape)  # type: ignore[arg-type]


class TokenType:
    """The type of a value that only orders effects."""

    __slots__ = ()
    shape: tuple[int, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenType)

    def __hash__(self) -> int:
        return hash(TokenType)

    def __str__(self) -> str:
        return "token"

    __repr__ = __str__
