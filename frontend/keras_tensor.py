"""Symbolic tensors of functional models, as ``Input`` makes them and layers return them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..ir.errors import TracingError
from .dtypes import standardize_dtype
from .names import auto_name
from .registry import builtin
from .tensor import TensorOperators


@builtin("keras")
class KerasTensor(TensorOperators):
    """A tensor that a functional model will compute: shape (None where open), type, and the operation it comes from.

    Args:
        shape: sizes; None for a dimension that is known only at the call.
        dtype: element type.
        name: its name.

    ``history`` is ``(operation, node index, output index)`` once an operation has produced it.
    """

    def __init__(
        self,
        shape: Sequence[int | None],
        dtype: Any = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
        ragged_rank: int | None = None,
        row_splits_dtype: Any = None,
    ) -> None:
        self._shape = tuple(None if d is None else int(d) for d in shape)
        self._dtype = standardize_dtype(dtype)
        self.name = name or auto_name("keras_tensor")
        self.sparse = bool(sparse)
        self.ragged = bool(ragged)
        self.history: tuple[Any, int, int] | None = None

    @property
    def shape(self) -> tuple[int | None, ...]:
        return self._shape

    @property
    def dtype(self) -> str:
        return self._dtype

    @property
    def ndim(self) -> int:
        return len(self._shape)

    rank = ndim

    @property
    def T(self) -> Any:
        from . import ops

        return ops.transpose(self)

    def reshape(self, new_shape: Any) -> Any:
        from . import ops

        return ops.reshape(self, new_shape)

    def squeeze(self, axis: Any = None) -> Any:
        from . import ops

        return ops.squeeze(self, axis)

    def _no_value(self, what: str) -> TracingError:
        return TracingError(
            f"{self!r} is a symbolic tensor of a functional model and has no {what}. Wrap the computation "
            "in a Layer, or use functions of keras.ops, which functional models can record"
        )

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise self._no_value("value; NumPy functions can't take it")

    def __jax_array__(self) -> Any:
        raise self._no_value("value; JAX functions can't take it")

    def __bool__(self) -> bool:
        raise self._no_value("truth value")

    def __int__(self) -> int:
        raise self._no_value("integer value")

    __index__ = __int__

    def __float__(self) -> float:
        raise self._no_value("float value")

    def __iter__(self) -> Any:
        raise self._no_value("elements to iterate over")

    def __len__(self) -> int:
        raise self._no_value("length")

    def __repr__(self) -> str:
        return (
            f"<KerasTensor shape={self._shape}, dtype={self._dtype}, sparse={self.sparse}, "
            f"ragged={self.ragged}, name={self.name}>"
        )


def is_keras_tensor(x: Any) -> bool:
    """Whether ``x`` is a symbolic tensor of a functional model."""
    return isinstance(x, KerasTensor)


def contains_keras_tensor(nest: Any) -> bool:
    """Whether a nest of tuples, lists and dicts holds a symbolic tensor."""
    if isinstance(nest, KerasTensor):
        return True
    if isinstance(nest, tuple | list):
        return any(contains_keras_tensor(item) for item in nest)
    if isinstance(nest, dict):
        return any(contains_keras_tensor(item) for item in nest.values())
    return False


def keras_tensors(nest: Any) -> list[KerasTensor]:
    """The symbolic tensors in a nest, in order."""
    if isinstance(nest, KerasTensor):
        return [nest]
    items: Iterable[Any] = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, tuple | list) else ()
    return [tensor for item in items for tensor in keras_tensors(item)]
