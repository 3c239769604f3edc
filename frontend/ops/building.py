"""What the ops are written with: small helpers that emit one or two nodes of the current trace."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.builder import binary_region
from ...ir.dims import Dim, DimLike
from ...ir.errors import ArgumentError, ShapeError, TracingError
from ...ir.types import element_type
from ..convert import as_tensor, broadcast_to, emit, match_shape, promote_float, promoted
from ..dtypes import FLOAT8S, FLOATS, INTS
from ..tensor import Tensor, plain_dims
from ..trace import require_trace

Shape = tuple[DimLike, ...]


def shape_of(x: Tensor) -> Shape:
    """The dimensions as the IR has them: comparing them records nothing."""
    return x.value.type.shape


def is_float(x: Tensor) -> bool:
    """Whether the element type is a real floating-point type."""
    return x.dtype in FLOATS or x.dtype in FLOAT8S


def is_int(x: Tensor) -> bool:
    """Whether the element type is an integer type; bool is none."""
    return x.dtype in INTS


def is_complex(x: Tensor) -> bool:
    """Whether the element type is complex."""
    return x.dtype.startswith("complex")


def as_float(x: Any) -> Tensor:
    """``x`` as a tensor of a float (or complex) type: integers and bools become the default float type."""
    return promote_float(x)[0]


def as_bool(x: Any) -> Tensor:
    """``x`` as a tensor of bools: what is not zero is True."""
    return as_tensor(x, "bool")


def no_bool(x: Any) -> Tensor:
    """``x`` as a tensor; bools become int32, in which they can be counted."""
    tensor = as_tensor(x)
    return as_tensor(tensor, "int32") if tensor.dtype == "bool" else tensor


def scalar(value: Any, dtype: Any) -> Tensor:
    """A constant without dimensions; of a number beyond the type's range an infinity."""
    with np.errstate(over="ignore"):
        return require_trace().constant(np.asarray(value).astype(element_type(dtype)))


def filled(shape: Sequence[DimLike], value: Any, dtype: Any) -> Tensor:
    """A tensor that holds one scalar everywhere."""
    return broadcast_to(value if isinstance(value, Tensor) else scalar(value, dtype), shape)


def like(x: Tensor, value: Any) -> Tensor:
    """A tensor of the type of ``x`` that holds one number everywhere."""
    return filled(shape_of(x), value, x.dtype)


def compare(direction: str, a: Tensor, b: Any) -> Tensor:
    """``a direction b`` for tensors of one type, or a number in place of ``b``."""
    return emit("compare", a, b if isinstance(b, Tensor) else like(a, b), direction=direction)


def select(condition: Tensor, on_true: Any, on_false: Any) -> Tensor:
    """Elementwise choice between tensors of one type; one of them may be a number."""
    if not isinstance(on_true, Tensor):
        on_true = like(on_false, on_true)
    if not isinstance(on_false, Tensor):
        on_false = like(on_true, on_false)
    return emit("select", condition, on_true, on_false)


def add(a: Tensor, b: Any) -> Tensor:
    """The sum of tensors of one type, or of a tensor and a number."""
    return emit("add", a, b if isinstance(b, Tensor) else like(a, b))


def subtract(a: Tensor, b: Any) -> Tensor:
    """The difference of tensors of one type, or of a tensor and a number."""
    return emit("subtract", a, b if isinstance(b, Tensor) else like(a, b))


def multiply(a: Tensor, b: Any) -> Tensor:
    """The product of tensors of one type, or of a tensor and a number."""
    return emit("multiply", a, b if isinstance(b, Tensor) else like(a, b))


def divide(a: Tensor, b: Any) -> Tensor:
    """The quotient of tensors of one type, or of a tensor and a number."""
    return emit("divide", a, b if isinstance(b, Tensor) else like(a, b))


def iota(shape: Sequence[DimLike], axis: int, dtype: Any = "int32") -> Tensor:
    """0, 1, 2, ... along ``axis``."""
    return emit("iota", shape=tuple(shape), axis=axis, dtype=dtype)


def reshape(x: Tensor, shape: Sequence[DimLike]) -> Tensor:
    """``x`` under another shape; itself where it has it."""
    target = tuple(plain_dims(tuple(shape)))
    return x if target == shape_of(x) else emit("reshape", x, shape=target)


def transpose(x: Tensor, permutation: Sequence[int]) -> Tensor:
    """``x`` with its axes permuted; itself where nothing moves."""
    order = tuple(permutation)
    return x if order == tuple(range(len(order))) else emit("transpose", x, permutation=order)


def spread(x: Tensor, shape: Sequence[DimLike], axes: Sequence[int]) -> Tensor:
    """``x``, whose dimensions are ``axes`` of ``shape``, stretched to ``shape``."""
    return emit("broadcast_in_dim", x, shape=tuple(shape), dims=tuple(axes))


def along(x: Tensor, rank: int, axis: int) -> Tensor:
    """A vector as a tensor of ``rank`` whose other dimensions are 1."""
    return reshape(x, [shape_of(x)[0] if i == axis else 1 for i in range(rank)])


def square_matrices(x: Any, op: str) -> Tensor:
    """``x`` as float matrices in the last two axes, which are square. Raises :class:`ShapeError` where they are not."""
    x = as_float(x)
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected square matrices in the last two axes, received {x!r}")
    return match_shape(x, (*shape_of(x)[:-1], shape_of(x)[-2]), f"{op}: matrices must be square")


def transposed(x: Tensor) -> Tensor:
    """Matrices with their two axes exchanged."""
    return transpose(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


def move_axis(x: Tensor, source: int, destination: int) -> Tensor:
    """``x`` with one axis (counted from the front) moved to another place."""
    order = [i for i in range(x.ndim) if i != source]
    order.insert(destination, source)
    return transpose(x, order)


def cut(x: Tensor, axis: int, start: DimLike, limit: DimLike, stride: int = 1) -> Tensor:
    """The elements from ``start`` up to ``limit`` along one axis."""
    shape = shape_of(x)
    return emit(
        "slice",
        x,
        start=[start if i == axis else 0 for i in range(len(shape))],
        limit=[limit if i == axis else d for i, d in enumerate(shape)],
        strides=[stride if i == axis else 1 for i in range(len(shape))],
    )


def pad_with(x: Tensor, value: Any, low: Sequence[DimLike], high: Sequence[DimLike]) -> Tensor:
    """``x`` with constant edges."""
    fill = value if isinstance(value, Tensor) else scalar(value, x.dtype)
    return emit("pad", x, fill, low=tuple(low), high=tuple(high), interior=(0,) * x.ndim)


def reduce(op: str, x: Tensor, axes: Sequence[int], keepdims: bool = False) -> Tensor:
    """One of the IR's reductions (``reduce_sum`` ...); nothing to do for no axes."""
    return emit(op, x, axes=tuple(axes), keepdims=keepdims) if axes else x


def reduce_by(op: str, x: Tensor, axes: Sequence[int], initial: Any) -> Tensor:
    """Reduce by a binary op from a start value."""
    region = binary_region(op, x.value.type.dtype)
    return require_trace().emit("reduce", (x, scalar(initial, x.dtype)), {"axes": tuple(axes)}, [region])[0]


def concatenate(xs: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors of one type one after another; itself where there is one."""
    return xs[0] if len(xs) == 1 else emit("concatenate", *xs, axis=axis)


def dim_tensor(dim: DimLike, dtype: Any) -> Tensor:
    """A dimension as a scalar tensor."""
    return as_tensor(plain_dims(dim), dtype)


def size_of(shape: Sequence[DimLike], axes: Sequence[int] | None = None) -> DimLike:
    """The product of the dimensions, or of those that ``axes`` name."""
    product: DimLike = 1
    for axis in range(len(shape)) if axes is None else axes:
        product = product * shape[axis]
    return product


def concrete(x: Any) -> np.ndarray | None:
    """The value of what is known while tracing (numbers, lists, arrays), else None."""
    if isinstance(x, Tensor) or hasattr(x, "_read_dtype") or isinstance(x, Dim):
        return None
    if isinstance(x, list | tuple) and any(concrete(item) is None for item in x):
        return None
    return np.asarray(x)


def int_arg(x: Any, op: str, name: str) -> int:
    """An argument that must be an integer while tracing. A symbolic dimension is pinned."""
    if isinstance(x, Tensor):
        raise TracingError(f"{op}: {name} must be known while tracing, received {x!r}; pass a Python integer")
    try:
        return operator.index(x)
    except TypeError:
        raise ArgumentError(f"{op}: expected {name} to be an integer, received {x!r}") from None


def int_args(x: Any, op: str, name: str) -> tuple[int, ...]:
    """One integer or several, as a tuple."""
    if isinstance(x, tuple | list | np.ndarray):
        return tuple(int_arg(item, op, name) for item in x)
    return (int_arg(x, op, name),)


def dims_arg(shape: Any, op: str, name: str = "shape") -> Shape:
    """A shape argument: one dimension or several, integers or symbolic ones."""
    if isinstance(shape, Tensor):
        raise TracingError(
            f"{op}: {name} must be known while tracing, received {shape!r}; take it from x.shape or "
            "ops.shape(x), whose entries may be symbolic"
        )
    items = shape if isinstance(shape, tuple | list | np.ndarray) else (shape,)
    return tuple(plain_dims(d) if isinstance(d, Dim) else int_arg(d, op, name) for d in items)


def static_dim(dim: DimLike, op: str, why: str) -> int:
    """A dimension that must be an integer. Raises :class:`ShapeError` for a symbolic one."""
    if isinstance(dim, Dim):
        raise ShapeError(f"{op}: {why} must be a known integer, received the symbolic dimension {dim}")
    return dim


def result_dtype(*dtypes: Any) -> str:
    """Keras's promotion of type names and of Python's ``int`` and ``float``."""
    return promoted(*dtypes)


def text(shape: Sequence[DimLike]) -> str:
    """A shape as messages show it."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
