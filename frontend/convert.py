"""From what users pass to tensors of the trace: arrays, numbers, Variables; promotion; broadcasting with guards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..ir.dims import Dim, DimLike, ge
from ..ir.errors import DTypeError, ShapeError, TracingError
from ..ir.types import element_type, numpy_dtype
from .dtypes import result_type, standardize_dtype
from .tensor import Tensor, is_scalar, plain_dims
from .trace import require_trace

_NARROW = {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}


def as_tensor(x: Any, dtype: Any = None) -> Tensor:
    """``x`` as a tensor of the current trace, converted to ``dtype`` where given.

    Python numbers, lists and NumPy's 64-bit arrays become 32-bit, as in Keras on JAX, unless ``dtype`` says otherwise.
    Raises :class:`TracingError` for what is no tensor.
    """
    trace = require_trace()
    name = None if dtype is None else standardize_dtype(dtype)
    if isinstance(x, Tensor):
        tensor = x if x.trace is trace else Tensor(trace.take(x), trace)
    elif hasattr(x, "_read_dtype"):  # a Variable; its module builds on this one
        tensor = x.value
    elif isinstance(x, Dim):
        tensor = trace.emit("dim_value", (), {"dim": plain_dims(x), "dtype": "int32"})[0]
    else:
        return trace.constant(as_array(x, name))
    return tensor if name is None else cast(tensor, name)


def as_array(x: Any, dtype: str | None = None) -> np.ndarray:
    """A NumPy array of what is concrete. Lists that hold traced tensors are a clear error."""
    if type(x).__name__ == "KerasTensor":
        raise TracingError(
            f"{x!r} stands for a tensor of a functional model and has no value; call the model on data instead"
        )
    if isinstance(x, list | tuple) and any(isinstance(leaf, Tensor) for leaf in x):
        raise TracingError("a list that holds traced tensors is no tensor; use ops.stack to make it one")
    array = np.asarray(x)
    if array.dtype == object or array.dtype.kind in "USmM":
        raise DTypeError(f"cannot make a tensor of {x!r}")
    if dtype is None:
        dtype = standardize_dtype(None) if is_scalar(x) and isinstance(x, float) else array.dtype.name
        dtype = _NARROW.get(dtype, dtype)
    return array.astype(element_type(dtype))


def cast(x: Tensor, dtype: Any) -> Tensor:
    """``x`` converted to ``dtype``; itself where it has it already."""
    name = standardize_dtype(dtype)
    return x if x.dtype == name else require_trace().emit("convert", (x,), {"dtype": name})[0]


def dtype_of(x: Any) -> Any:
    """What ``x`` brings to type promotion: a type name, or Python's ``int``/``float`` for a number that yields."""
    if isinstance(x, bool | np.bool_):
        return "bool"
    if isinstance(x, Dim):
        return int
    if is_scalar(x):
        return "complex64" if isinstance(x, complex) else type(x)
    if hasattr(x, "python_type"):  # a Python number that entered an eager op as an input
        return x.python_type
    if hasattr(x, "dtype"):
        name = standardize_dtype(x.dtype)
        return name if isinstance(x, Tensor) else _NARROW.get(name, name)
    return as_array(x).dtype.name


def promoted(*dtypes: Any) -> str:
    """Keras's promotion of types, except that 64-bit tensors, which only exist where asked for, stay 64-bit."""
    wide = [d for d in dtypes if isinstance(d, str) and d in _NARROW]
    result = result_type(*dtypes)
    if wide:
        from .dtypes import FLOATS, INTS

        for name in wide:
            same_kind = (name in FLOATS) == (result in FLOATS) and (name in INTS) == (result in INTS)
            if same_kind and _NARROW[name] == result:
                return name
            if same_kind and name in INTS and result in INTS:
                return name if name != "uint64" or "int64" not in wide else "int64"
    return result


def promote(*xs: Any) -> list[Tensor]:
    """All of ``xs`` as tensors of their common type."""
    dtype = promoted(*(dtype_of(x) for x in xs))
    return [as_tensor(x, dtype) for x in xs]


def promote_float(*xs: Any) -> list[Tensor]:
    """As :func:`promote`, and integers and bools become the default float type."""
    dtype = promoted(*(dtype_of(x) for x in xs), float)
    return [as_tensor(x, dtype) for x in xs]


def broadcast_dims(a: DimLike, b: DimLike, reason: str) -> DimLike:
    """The dimension that two broadcast to; an open ``a == b`` becomes a guard."""
    if a == b:
        return a
    if a == 1:
        return b
    if b == 1:
        return a
    require_trace().require_equal(a, b, reason)
    return a if isinstance(a, int) or not isinstance(b, int) else b


def broadcast_shapes(shapes: Sequence[Sequence[DimLike]], what: str = "operands") -> tuple[DimLike, ...]:
    """NumPy's rule over several shapes. Raises :class:`ShapeError` where they do not fit."""
    rank = max((len(s) for s in shapes), default=0)
    result: list[DimLike] = [1] * rank
    reason = f"{what} of shapes {' and '.join(_shown(s) for s in shapes)} must broadcast"
    for shape in shapes:
        for i, dim in enumerate(shape, rank - len(shape)):
            result[i] = broadcast_dims(result[i], dim, reason)
    return tuple(result)


def _shown(shape: Sequence[DimLike]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def broadcast_to(x: Tensor, shape: Sequence[DimLike]) -> Tensor:
    """``x`` stretched to ``shape`` by NumPy's rule; dimensions that a guard made equal are renamed."""
    trace = require_trace()
    target = tuple(plain_dims(tuple(shape)))
    own = x.value.type.shape
    if own == target:
        return x
    first = len(target) - len(own)
    if first < 0:
        raise ShapeError(f"cannot broadcast shape {_shown(own)} to {_shown(target)}")
    # N under the guard N == M: first say that it is M, then stretch.
    renamed = tuple(t if d != 1 and d != t else d for d, t in zip(own, target[first:], strict=True))
    x = match_shape(x, renamed)
    if renamed == target:
        return x
    return trace.emit("broadcast_in_dim", (x,), {"shape": target, "dims": tuple(range(first, len(target)))})[0]


def at_least(a: DimLike, b: DimLike) -> bool:
    """Whether ``a >= b``; where the symbols leave it open it is taken to hold, or to be what it is at the call that is
    being traced for, and kept as a guard."""
    a, b = plain_dims(a), plain_dims(b)
    known = ge(a, b)
    return require_trace().assume(">=", a, b, expected=True) if known is None else known


def match_shape(x: Tensor, shape: Sequence[DimLike], reason: str = "the shapes must be equal") -> Tensor:
    """``x`` under the assumption that its shape is ``shape``; open questions become guards."""
    trace = require_trace()
    target = tuple(plain_dims(tuple(shape)))
    own = x.value.type.shape
    if own == target:
        return x
    if len(own) != len(target):
        raise ShapeError(f"{reason}: shapes {_shown(own)} and {_shown(target)} differ in rank")
    for a, b in zip(own, target, strict=True):
        trace.require_equal(a, b, reason)
    return trace.emit("match_shape", (x,), {"shape": target})[0]


def broadcast(*xs: Tensor, what: str = "operands") -> list[Tensor]:
    """All of ``xs`` stretched to their common shape."""
    shape = broadcast_shapes([x.value.type.shape for x in xs], what)
    return [broadcast_to(x, shape) for x in xs]


def elementwise(op: str, *xs: Any, **attributes: Any) -> Tensor:
    """Promote, broadcast, and emit one elementwise op."""
    tensors = broadcast(*promote(*xs), what=op)
    return require_trace().emit(op, tensors, attributes)[0]


def emit(op: str, *operands: Tensor, **attributes: Any) -> Tensor:
    """Emit a single-result op of the current trace."""
    return require_trace().emit(op, operands, attributes)[0]


def normalize_axis(axis: int, rank: int, name: str = "axis") -> int:
    """A non-negative axis. Raises :class:`ShapeError` outside of ``-rank .. rank-1``."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{name}={axis} is out of range for a tensor of rank {rank}")
    return axis % rank if rank else 0


def normalize_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """``None`` (all), one axis or several, as a sorted tuple of non-negative ones without repetition."""
    if axis is None:
        return tuple(range(rank))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    found = tuple(normalize_axis(int(a), rank) for a in axes)
    if len(set(found)) != len(found):
        raise ShapeError(f"axis={axis} names a dimension twice")
    return tuple(sorted(found))


def argument_dtype(x: Any) -> np.dtype:
    """The type that an array or a Python number is traced as; NumPy's 64-bit ones enter as 32-bit, as in Keras.

    Raises :class:`DTypeError` where it is neither.
    """
    if isinstance(x, jax.Array):
        return numpy_dtype(x.dtype)
    if isinstance(x, bool | int | float | complex):
        return np.dtype({bool: "bool", int: "int32", float: "float32", complex: "complex64"}[type(x)])
    dtype = np.dtype(getattr(x, "dtype", None) or np.asarray(x).dtype)
    if dtype.kind in "OUSmM":
        raise DTypeError(
            f"jit takes arrays and nests of them, received {x!r}; name it in static_argnums or static_argnames"
        )
    return np.dtype(_NARROW.get(dtype.name, dtype)) if dtype.name in _NARROW else dtype
