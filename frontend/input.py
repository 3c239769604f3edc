"""``Input``: where a functional model begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.errors import ArgumentError
from . import dtypes
from .keras_tensor import KerasTensor
from .layer import Layer
from .registry import builtin


@builtin("keras.layers")
class InputLayer(Layer):
    """The layer behind an ``Input``.

    Args:
        shape: shape without the batch dimension; None for open dimensions.
        batch_size: the batch dimension, or None.
        dtype: element type; the default float type by default.
        batch_shape: the whole shape, in place of ``shape`` and ``batch_size``.
        input_tensor: a symbolic tensor to use.
        optional: whether the input may be None.
    """

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: KerasTensor | None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name)
        if "input_shape" in kwargs:
            shape = kwargs.pop("input_shape")
        if kwargs:
            raise ArgumentError(f"InputLayer has no argument {next(iter(kwargs))!r}")
        if sparse or ragged:
            raise ArgumentError("Input: sparse and ragged tensors are not supported; pass a dense one")
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.shape, dtype or input_tensor.dtype
        if shape is not None and batch_shape is not None:
            raise ArgumentError("Input takes shape or batch_shape, not both")
        if shape is None and batch_shape is None:
            raise ArgumentError("Input needs a shape: keras.Input((28, 28, 1)), without the batch dimension")
        if batch_shape is None:
            batch_shape = (batch_size, *_as_shape(shape))
        self.batch_shape = _as_shape(batch_shape)
        self._input_dtype = dtypes.standardize_dtype(dtype)
        self.optional = optional
        self.sparse = self.ragged = False
        self.supports_masking = True
        self.built = True
        output = (
            input_tensor
            if input_tensor is not None
            else KerasTensor(self.batch_shape, self._input_dtype, name=self.name)
        )
        self._add_node((), {}, output)

    def call(self) -> Any:
        """An input computes nothing."""
        raise ArgumentError(f"the input {self.name!r} is no computation; call the model")

    @property
    def dtype(self) -> str:
        return self._input_dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "sparse": self.sparse,
            "ragged": self.ragged,
            "name": self.name,
            "optional": self.optional,
        }


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: KerasTensor | None = None,
    optional: bool = False,
    **kwargs: Any,
) -> KerasTensor:
    """A symbolic tensor that a functional model takes as input.

    Args:
        shape: shape without the batch dimension; None for open dimensions.
        batch_size: the batch dimension where it is fixed.
        dtype: element type; the default float type by default.
        batch_shape: the whole shape, in place of ``shape`` and ``batch_size``.
        name: name of the input.
        tensor: a symbolic tensor to use instead of a new one.
        optional: whether the model may be given None for it.
    """
    layer = InputLayer(
        shape=shape,
        batch_size=batch_size,
        dtype=dtype,
        sparse=sparse,
        ragged=ragged,
        batch_shape=batch_shape,
        name=name,
        input_tensor=tensor,
        optional=optional,
        **kwargs,
    )
    return layer.output


def _as_shape(shape: Any) -> tuple[int | None, ...]:
    if isinstance(shape, int):
        shape = (shape,)
    try:
        dims = tuple(None if d is None else int(d.__index__()) for d in shape)
    except (TypeError, AttributeError):
        raise ArgumentError(f"Input: a shape is a tuple of integers and None, received {shape!r}") from None
    if any(d is not None and d < 0 for d in dims):
        raise ArgumentError(f"Input: a dimension is an integer >= 0 or None, received {shape!r}")
    return dims
