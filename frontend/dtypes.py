"""Element types by their Keras names, how they promote, the default ones, and the dtype policies of layers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.errors import ArgumentError, DTypeError
from .names import on_clear_session
from .registry import builtin

FLOATS = ("bfloat16", "float16", "float32", "float64")
FLOAT8S = ("float8_e4m3fn", "float8_e5m2")
INTS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
COMPLEXES = ("complex64", "complex128")
ALLOWED_DTYPES = ("bool", *INTS, *FLOATS, *FLOAT8S, *COMPLEXES, "string")

# Python's types, and the one string alias Keras knows.
_PYTHON_TYPES: dict[Any, str] = {
    bool: "bool",
    int: "int32",
    float: "float32",
    complex: "complex64",
    str: "string",
    "int": "int32",
}

# Which types come next above each. "int" and "float" are Python's numbers: they adopt the type of the array they meet.
_NEXT_ABOVE = {
    "bool": ("int",),
    "int": ("uint8", "int8", "complex64"),
    "uint8": ("int16", "uint16"),
    "uint16": ("int32", "uint32"),
    "uint32": ("int64", "uint64"),
    "uint64": ("float",),
    "int8": ("int16",),
    "int16": ("int32",),
    "int32": ("int64",),
    "int64": ("float",),
    "float": ("bfloat16", "float16"),
    "bfloat16": ("float32",),
    "float16": ("float32",),
    "float32": ("float64", "complex64"),
    "float64": ("complex128",),
    "complex64": ("complex128",),
    "complex128": (),
}

# Promotion never makes a 64-bit type, as in JAX.
_TO_32_BITS = {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}


@dataclass
class _Settings:
    floatx: str = "float32"
    epsilon: float = 1e-7
    image_data_format: str = "channels_last"
    policy: DTypePolicy | None = None  # fixed when first asked for


def floatx() -> str:
    """Return the name of the default float type."""
    return _settings.floatx


def set_floatx(value: str) -> None:
    """Set the default float type: ``"bfloat16"``, ``"float16"``, ``"float32"`` or ``"float64"``."""
    if value not in FLOATS:
        raise ArgumentError(f"floatx must be one of {', '.join(FLOATS)}, got {value!r}")
    _settings.floatx = str(value)


def epsilon() -> float:
    """Return the small number that losses and metrics add to keep away from zero."""
    return _settings.epsilon


def set_epsilon(value: float) -> None:
    """Set the number that ``epsilon()`` returns."""
    _settings.epsilon = value


def image_data_format() -> str:
    """Return where image layers look for channels by default: ``"channels_last"`` or ``"channels_first"``."""
    return _settings.image_data_format


def set_image_data_format(data_format: str) -> None:
    """Set the default place of the channels: ``"channels_last"`` or ``"channels_first"``."""
    _settings.image_data_format = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None) -> str:
    """Return ``data_format`` in small letters, or the default one for None; an ArgumentError for anything else."""
    if data_format is None:
        return image_data_format()
    name = str(data_format).lower()
    if name not in ("channels_last", "channels_first"):
        raise ArgumentError(f"data_format must be 'channels_last' or 'channels_first', got {data_format!r}")
    return name


def standardize_dtype(dtype: Any) -> str:
    """Return Keras's name of an element type.

    Args:
        dtype: a name, a NumPy, ml_dtypes or jax.numpy type, ``int``, ``float``, ``bool``, ``complex`` or ``str``, a
            dtype of PyTorch or TensorFlow (known by their names), or None for the default float type.

    Returns:
        A name such as ``"float32"``.

    Raises:
        ArgumentError: there is no such type.
    """
    if type(dtype) is str and dtype in ALLOWED_DTYPES:  # the usual case, kept quick
        return dtype
    if dtype is None:
        return floatx()
    name = _dtype_name(dtype)
    if name not in ALLOWED_DTYPES:
        raise ArgumentError(f"{dtype!r} is not an element type; known types: {', '.join(ALLOWED_DTYPES)}")
    return name


def _dtype_name(dtype: Any) -> Any:
    try:
        dtype = _PYTHON_TYPES.get(dtype, dtype)
    except TypeError:  # not hashable: the error is the caller's, who has a better message
        return None
    if isinstance(dtype, str):
        return dtype
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
    return name or str(dtype).removeprefix("torch.")


def is_float(dtype: Any) -> bool:
    """Whether the type is a real floating-point type, float8 included."""
    return standardize_dtype(dtype) in (*FLOATS, *FLOAT8S)


def is_int(dtype: Any) -> bool:
    """Whether the type is an integer type, signed or not; bool is none."""
    return standardize_dtype(dtype) in INTS


def result_type(*dtypes: Any) -> str:
    """Return the type of an operation on operands of the given types, by Keras's promotion rules.

    The types form a lattice; the result is the least type above all operands. ``int`` and ``float`` (Python's types,
    not names) stand for Python numbers and yield to array types of their kind. 64-bit results become 32-bit.

    Args:
        dtypes: what ``standardize_dtype`` accepts. None counts as the default float type.

    Returns:
        A type name; the default float type for no operands.

    Raises:
        ArgumentError: a float8 type (which promotes to nothing: cast it) or no element type.
    """
    if not dtypes:
        return floatx()
    names = tuple(standardize_dtype(dtype) for dtype in dtypes)
    weak = tuple(dtype is int or dtype is float for dtype in dtypes)
    return _promote(names, weak, floatx())


@functools.lru_cache(4096)
def _promote(names: tuple[str, ...], weak: tuple[bool, ...], default_float: str) -> str:
    for name in names:
        if name in FLOAT8S:
            raise ArgumentError(f"{name} does not promote to other types: cast it first. Received: {', '.join(names)}")
    if all(weak):
        result = _least_above(frozenset(names))
        result = "float" if result in FLOATS else "int"
    elif len(set(names)) == 1:
        result = names[0]
    else:
        kinds = ((name.rstrip("0123456789") if is_weak else name) for name, is_weak in zip(names, weak))
        result = _least_above(frozenset(kinds))
    if result in ("int", "float"):  # nothing but Python numbers (and bools): as wide as the default float
        result += default_float[-2:]
    return _TO_32_BITS.get(result, result)


@functools.cache
def _at_or_above(name: str) -> frozenset[str]:
    return frozenset({name}).union(*(_at_or_above(above) for above in _NEXT_ABOVE[name]))


@functools.cache
def _least_above(names: frozenset[str]) -> str:
    for name in sorted(names):
        if name not in _NEXT_ABOVE:
            raise ArgumentError(f"{name} takes no part in type promotion. Received: {', '.join(sorted(names))}")
    common = frozenset.intersection(*(_at_or_above(name) for name in names))
    return next(name for name in sorted(common) if _at_or_above(name) >= common)


_MIXED = {"mixed_float16": ("float16", "float32"), "mixed_bfloat16": ("bfloat16", "float32")}


@builtin("keras", aliases=("keras.dtype_policies.DTypePolicy", "keras.mixed_precision.DTypePolicy"))
class DTypePolicy:
    """What types a layer computes in and keeps its variables in.

    Args:
        name: an element type, used for both, or ``"mixed_float16"`` or ``"mixed_bfloat16"``: computation in that type,
            variables in float32. None stands for the global policy.

    Raises:
        DTypeError: ``name`` is not a string.
        ArgumentError: it names no policy.
    """

    def __init__(self, name: str | None = None) -> None:
        if name is None:
            name = dtype_policy().name
        if not isinstance(name, str):
            raise DTypeError(f"a dtype policy's name must be a string such as 'mixed_float16', got {name!r}")
        self._name = name
        self._compute_dtype, self._variable_dtype = _MIXED.get(name) or _same_twice(name)

    @property
    def name(self) -> str:
        """The policy's name."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """The type that layers compute in."""
        return self._compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The type that layers keep their variables in."""
        return self._variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """How weights are quantized; None, as these policies do not quantize."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """Make a policy from what ``get_config`` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self._name}">'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)


@builtin("keras", aliases=("keras.dtype_policies.FloatDTypePolicy",))
class FloatDTypePolicy(DTypePolicy):
    """Another name of DTypePolicy, which older files use."""


def _same_twice(name: str) -> tuple[str, str]:
    try:
        dtype = standardize_dtype(name)
    except ArgumentError as error:
        raise ArgumentError(
            f"{name!r} is no dtype policy: expected a type such as 'float32', 'mixed_float16' or 'mixed_bfloat16'"
        ) from error
    return dtype, dtype


def set_dtype_policy(policy: str | DTypePolicy) -> None:
    """Set the policy of layers that are given none."""
    if not isinstance(policy, str | DTypePolicy):
        raise ArgumentError(f"expected a DTypePolicy or the name of one, such as 'mixed_float16', got {policy!r}")
    _settings.policy = DTypePolicy(policy) if isinstance(policy, str) else policy


def dtype_policy() -> DTypePolicy:
    """Return the global policy. The first call fixes it to the default float type, unless it was set before."""
    if _settings.policy is None:
        _settings.policy = DTypePolicy(floatx())
    return _settings.policy


def get_policy(identifier: Any) -> DTypePolicy:
    """Return the policy that a layer's ``dtype`` argument means.

    Args:
        identifier: a policy, its name, its serialized config, an element type, or None for the global policy.

    Raises:
        ArgumentError: it is none of these.
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, Mapping):
        from .saving.serialization import deserialize_keras_object  # serialization builds on this module

        policy = deserialize_keras_object(identifier, module_objects=_POLICIES)
        if not isinstance(policy, DTypePolicy):
            raise ArgumentError(f"expected the config of a DTypePolicy, got {identifier!r}")
        return policy
    return DTypePolicy(identifier if isinstance(identifier, str) else standardize_dtype(identifier))


_POLICIES = {cls.__name__: cls for cls in (DTypePolicy, FloatDTypePolicy)}
_settings = _Settings()


@on_clear_session
def _forget_policy() -> None:
    _settings.policy = None
