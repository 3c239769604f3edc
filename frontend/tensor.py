"""Traced tensors: values of the graph being built, with Python's operators and Keras's indexing."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import Dim, Value
from ..ir.dims import DimLike, ge, same
from ..ir.errors import TracingError

if TYPE_CHECKING:
    from .trace import Trace


class TensorOperators:
    """Python's operators in terms of ``ops``, for every class that stands for a tensor."""

    __slots__ = ()
    __array_priority__ = 1000  # NumPy arrays leave the operator to us
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Any:
        return _ops().add(self, other)

    def __radd__(self, other: Any) -> Any:
        return _ops().add(other, self)

    def __sub__(self, other: Any) -> Any:
        return _ops().subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return _ops().subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return _ops().multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return _ops().multiply(other, self)

    def __matmul__(self, other: Any) -> Any:
        return _ops().matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _ops().matmul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return _ops().true_divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _ops().true_divide(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _ops().floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _ops().floor_divide(other, self)

    def __divmod__(self, other: Any) -> Any:
        return _ops().divmod(self, other)

    def __mod__(self, other: Any) -> Any:
        return _ops().mod(self, other)

    def __rmod__(self, other: Any) -> Any:
        return _ops().mod(other, self)

    def __pow__(self, other: Any) -> Any:
        return _ops().power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return _ops().power(other, self)

    def __neg__(self) -> Any:
        return _ops().negative(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return _ops().absolute(self)

    def __invert__(self) -> Any:
        return _ops().logical_not(self) if str(self.dtype) == "bool" else _ops().bitwise_not(self)  # type: ignore[attr-defined]

    def __and__(self, other: Any) -> Any:
        return _logical_or_bits(self, other, "and")

    def __rand__(self, other: Any) -> Any:
        return _logical_or_bits(other, self, "and")

    def __or__(self, other: Any) -> Any:
        return _logical_or_bits(self, other, "or")

    def __ror__(self, other: Any) -> Any:
        return _logical_or_bits(other, self, "or")

    def __xor__(self, other: Any) -> Any:
        return _logical_or_bits(self, other, "xor")

    def __rxor__(self, other: Any) -> Any:
        return _logical_or_bits(other, self, "xor")

    def __lshift__(self, other: Any) -> Any:
        return _ops().left_shift(self, other)

    def __rlshift__(self, other: Any) -> Any:
        return _ops().left_shift(other, self)

    def __rshift__(self, other: Any) -> Any:
        return _ops().right_shift(self, other)

    def __rrshift__(self, other: Any) -> Any:
        return _ops().right_shift(other, self)

    def __lt__(self, other: Any) -> Any:
        return _ops().less(self, other)

    def __le__(self, other: Any) -> Any:
        return _ops().less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return _ops().greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return _ops().greater_equal(self, other)

    def __eq__(self, other: Any) -> Any:
        return NotImplemented if other is None else _ops().equal(self, other)

    def __ne__(self, other: Any) -> Any:
        return NotImplemented if other is None else _ops().not_equal(self, other)

    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Any:
        return _ops().get_item(self, index)

    def __round__(self, ndigits: int = 0) -> Any:
        return _ops().round(self, decimals=ndigits or 0)


@cache
def _name(dtype: np.dtype) -> str:
    return dtype.name  # NumPy makes the text anew each time


def _ops() -> Any:
    from . import ops

    return ops


def _logical_or_bits(x: Any, y: Any, what: str) -> Any:
    tensor: Any = x if isinstance(x, TensorOperators) else y
    family = "logical" if str(tensor.dtype) == "bool" else "bitwise"
    return getattr(_ops(), f"{family}_{what}")(x, y)


class Tensor(TensorOperators):
    """A value of the graph that is being traced.

    ``shape`` is a tuple of integers and symbolic dimensions, ``dtype`` a Keras type name. Numbers can't be read from
    it: ``if x > 0``, ``float(x)`` and ``np.asarray(x)`` raise :class:`TracingError` with the user's line.
    """

    __slots__ = ("keras_mask", "trace", "value")
    #: For those who know no tracer, as compiled programs do.
    is_traced = True

    def __init__(self, value: Value, trace: Trace) -> None:
        self.value = value
        self.trace = trace
        self.keras_mask: Any = None

    @property
    def shape(self) -> tuple[Any, ...]:
        return tuple(TracedDim(d.terms) if isinstance(d, Dim) else d for d in self.value.type.shape)

    @property
    def dtype(self) -> str:
        return _name(self.value.type.dtype)

    @property
    def ndim(self) -> int:
        return self.value.rank

    rank = ndim

    @property
    def size(self) -> Any:
        size = self.value.type.size
        return TracedDim(size.terms) if isinstance(size, Dim) else size

    @property
    def T(self) -> Any:
        return _ops().transpose(self)

    def reshape(self, *shape: Any) -> Any:
        return _ops().reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int | Dim) else shape)

    def astype(self, dtype: Any) -> Any:
        return _ops().cast(self, dtype)

    # dtype and out are what NumPy's functions of the same names pass along.

    def sum(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Any:
        total = _ops().sum(self, axis=axis, keepdims=keepdims)
        return total if dtype is None else _ops().cast(total, dtype)

    def mean(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Any:
        mean = _ops().mean(self, axis=axis, keepdims=keepdims)
        return mean if dtype is None else _ops().cast(mean, dtype)

    def max(self, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
        return _ops().max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
        return _ops().min(self, axis=axis, keepdims=keepdims)

    def squeeze(self, axis: Any = None) -> Any:
        return _ops().squeeze(self, axis)

    def transpose(self, *axes: Any) -> Any:
        return _ops().transpose(self, (axes[0] if len(axes) == 1 else axes) if axes else None)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a tensor without dimensions")
        return int(self.shape[0])

    def __iter__(self) -> Any:
        if not self.ndim:
            raise TypeError("iteration over a tensor without dimensions")
        return iter([self[i] for i in range(self.shape[0])])

    def __bool__(self) -> bool:
        return bool(_value(self, "the truth of", "use ops.where or ops.cond for a choice, ops.while_loop for a loop"))

    def __int__(self) -> int:
        return int(_value(self, "the integer value of", "use ops.cast(x, 'int32')"))

    __index__ = __int__

    def __float__(self) -> float:
        return float(_value(self, "the float value of", "use ops.cast(x, 'float32')"))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        value = _value(self, "the NumPy array of", "use lamina.ops in place of NumPy functions")
        return np.asarray(value, *args, **kwargs)

    def numpy(self) -> Any:
        """Its value as a NumPy array, where the program runs at once on arrays."""
        return np.asarray(_value(self, "the NumPy array of", "call the function outside of trace, compile or jit"))

    def __repr__(self) -> str:
        return f"<Tensor {self.value.type}>"

    def __str__(self) -> str:
        value = _known(self)
        return repr(self) if value is None else str(value)

    def __format__(self, spec: str) -> str:
        value = _known(self) if spec else None
        return str(self) if value is None else format(np.asarray(value).item() if not value.shape else value, spec)


def _known(tensor: Tensor) -> Any:
    from .values import value_of

    return value_of(tensor)


def _value(tensor: Tensor, what: str, way_out: str) -> Any:
    value = _known(tensor)
    if value is None:
        raise _concrete_needed(tensor, what, way_out)
    return value


def _concrete_needed(tensor: Tensor, what: str, way_out: str) -> TracingError:
    from .trace import user_frame

    frame = user_frame()
    where = f"\n  at {frame}" if frame else ""
    return TracingError(
        f"Python asked for {what} {tensor!r}, which is known only when the program runs; {way_out}{where}"
    )


class TracedDim(Dim):
    """A symbolic dimension as user code sees it: a comparison that the symbols leave open becomes a guard of the trace,
    and Python that needs an integer pins the dimension."""

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return _traced(Dim.__add__(self, other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return _traced(Dim.__sub__(self, other))

    def __rsub__(self, other: Any) -> Any:
        return _traced(Dim.__rsub__(self, other))

    def __mul__(self, other: Any) -> Any:
        return _traced(Dim.__mul__(self, other))

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return _traced(Dim.__mul__(self, -1))

    def __floordiv__(self, other: Any) -> Any:
        return _traced(Dim.__floordiv__(self, other))

    def __rfloordiv__(self, other: Any) -> Any:
        return _traced(Dim.__rfloordiv__(self, other))

    def __mod__(self, other: Any) -> Any:
        return _traced(Dim.__mod__(self, other))

    def __rmod__(self, other: Any) -> Any:
        return _traced(Dim.__rmod__(self, other))

    def __truediv__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, TensorOperators) else float(self) / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / float(self)

    def __pow__(self, exponent: int) -> Any:
        result: Any = 1
        for _ in range(exponent):
            result = self * result
        return result

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, int | Dim):
            return NotImplemented
        known = same(plain_dims(self), plain_dims(other))
        return _assume("==", self, other) if known is None else known

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = Dim.__hash__

    def __ge__(self, other: Any) -> bool:
        known = ge(self, other)
        return _assume(">=", self, other) if known is None else known

    def __gt__(self, other: Any) -> bool:
        return self >= other + 1

    def __le__(self, other: Any) -> bool:
        return not self >= other + 1

    def __lt__(self, other: Any) -> bool:
        return not self >= other

    def __bool__(self) -> bool:
        return self != 0

    def __index__(self) -> int:
        from .trace import require_trace

        return require_trace().pin(plain_dims(self))

    __int__ = __index__

    def __float__(self) -> float:
        return float(self.__index__())


def _traced(dim: Any) -> Any:
    return TracedDim(dim.terms) if isinstance(dim, Dim) else dim


def _assume(relation: str, left: DimLike, right: DimLike) -> bool:
    from .trace import require_trace

    return require_trace().assume(relation, plain_dims(left), plain_dims(right))


def plain_dims(value: Any) -> Any:
    """The same nest of tuples with user-facing dimensions replaced by the IR's, which record nothing when compared."""
    if isinstance(value, TracedDim):
        return Dim(value.terms)
    if isinstance(value, tuple | list):
        return tuple(plain_dims(v) for v in value)
    return value


def is_scalar(x: Any) -> bool:
    """Whether ``x`` is a Python number, whose type yields to that of the tensor it meets."""
    return isinstance(x, bool | int | float | complex) and not isinstance(x, np.generic)
