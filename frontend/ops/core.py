"""Conversion, types and shapes: what keras.ops says about tensors rather than computes."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np

from ...ir.errors import ArgumentError
from ...ir.types import element_type
from ..convert import as_tensor, emit
from ..convert import cast as converted
from ..dispatch import public_op
from ..dtypes import standardize_dtype
from ..keras_tensor import is_keras_tensor
from ..tensor import Tensor
from ..variable import Variable
from . import building as b


@public_op(weak=False)
def cast(x: Any, dtype: Any) -> Tensor:
    """``x`` converted to ``dtype``."""
    return as_tensor(x, dtype)


@public_op(weak=False)
def saturate_cast(x: Any, dtype: Any) -> Tensor:
    """``x`` converted to ``dtype``, limited to what it holds (of bool: 0 and 1, so that what is negative is False)."""
    x, name = as_tensor(x), standardize_dtype(dtype)
    if x.dtype in (name, "bool") or b.is_complex(x) or name.startswith("complex"):
        return converted(x, name)
    low, high = (_nearest(limit, x, bool(i)) for i, limit in enumerate(_limits(name)))
    return converted(emit("clamp", b.scalar(low, x.dtype), x, b.scalar(high, x.dtype)), name)


def _limits(dtype: str) -> tuple[Any, Any]:
    if dtype == "bool":
        return 0, 1
    info = ml_dtypes.finfo if not dtype.startswith(("int", "uint")) else ml_dtypes.iinfo
    limits = info(element_type(dtype))
    return limits.min, limits.max


def _nearest(limit: Any, x: Tensor, upper: bool) -> Any:
    """A limit of another type in the type of ``x``: not beyond it, and not beyond what ``x`` holds."""
    own = x.value.type.dtype
    least, most = _limits(x.dtype)
    limit = (
        max(float(least), min(float(limit), float(most)))
        if not b.is_int(x)
        else int(max(int(least), min(int(most), float(limit))))
    )
    rounded = np.asarray(limit).astype(own)
    if b.is_float(x) and (float(rounded) > float(limit) if upper else float(rounded) < float(limit)):
        rounded = np.nextafter(rounded, own.type(0))
    return rounded


@public_op(weak=False)
def convert_to_tensor(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> Tensor:
    """``x`` (a number, list, array, Variable or tensor) as a tensor, of ``dtype`` where given."""
    if sparse or ragged:
        raise ArgumentError("convert_to_tensor: there are no sparse or ragged tensors here")
    return as_tensor(x, dtype)


@public_op(weak=False)
def array(x: Any, dtype: Any = None) -> Tensor:
    """As :func:`convert_to_tensor`."""
    return as_tensor(x, dtype)


@public_op(weak=False)
def copy(x: Any) -> Tensor:
    """``x`` (tensors never change, so that a copy is the tensor)."""
    return as_tensor(x)


@public_op(weak=False)
def stop_gradient(variable: Any) -> Tensor:
    """``variable`` as it is, taken for a constant by derivatives."""
    return emit("stop_gradient", as_tensor(variable))


@public_op(weak=False)
def view_as_real(x: Any) -> Tensor:
    """A complex tensor as real and imaginary parts along a new last axis."""
    x = as_tensor(x)
    if not b.is_complex(x):
        raise ArgumentError(f"view_as_real: expected a complex tensor, received {x!r}")
    shape = (*b.shape_of(x), 1)
    return b.concatenate([b.reshape(emit(op, x), shape) for op in ("real", "imag")], x.ndim)


@public_op(weak=False)
def view_as_complex(x: Any) -> Tensor:
    """Real and imaginary parts along the last axis as a complex tensor."""
    x = as_tensor(x)
    if not x.ndim or b.shape_of(x)[-1] != 2:
        raise ArgumentError(f"view_as_complex: expected a last axis of 2, received {x!r}")
    x = x if x.dtype in ("float32", "float64") else converted(x, "float32")
    return emit("complex", *(b.reshape(b.cut(x, x.ndim - 1, i, i + 1), b.shape_of(x)[:-1]) for i in (0, 1)))


# These answer at once, in any mode.


def convert_to_numpy(x: Any) -> np.ndarray:
    """The value as a NumPy array. Raises :class:`TracingError` for a traced tensor, which has none yet."""
    return np.asarray(x.value if isinstance(x, Variable) else x)


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a tensor: a ``jax.Array``, or one that is being traced."""
    return isinstance(x, jax.Array | Tensor)


def shape(x: Any) -> tuple[Any, ...]:
    """The shape: integers, symbolic dimensions while tracing, None for what a functional model leaves open."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def ndim(x: Any) -> int:
    """The number of dimensions."""
    return len(shape(x))


def size(x: Any) -> Any:
    """The number of elements; None where a functional model leaves it open."""
    product: Any = 1
    for dim in shape(x):
        if dim is None:
            return None
        product = product * dim
    return product


def dtype(x: Any) -> str:
    """The name of the element type."""
    if hasattr(x, "dtype") and (is_tensor(x) or is_keras_tensor(x) or isinstance(x, Variable)):
        return standardize_dtype(x.dtype)
    return convert_to_tensor(x).dtype.name
