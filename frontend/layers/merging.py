"""Several tensors to one: sums, products, extremes, concatenation, dot products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from .. import ops
from ..convert import as_tensor, emit, match_shape, promote
from ..dispatch import public_op
from ..registry import builtin
from ..tensor import Tensor
from .base import BuiltinLayer


class Merge(BuiltinLayer):
    """Base of the layers that take a list of tensors, which broadcast after the batch axis."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def _merge(self, inputs: Sequence[Any]) -> Any:
        """What the layer makes of tensors of one rank."""
        raise TypeError(f"{type(self).__name__} must define _merge(self, inputs)")

    def build(self, input_shape: Any) -> None:
        """Check that the shapes fit."""
        self.compute_output_shape(self._shapes(input_shape))

    def _shapes(self, input_shape: Any) -> list[tuple[int | None, ...]]:
        if not isinstance(input_shape, list | tuple) or not input_shape or not isinstance(input_shape[0], list | tuple):
            raise ArgumentError(f"{self._who} takes a list of tensors, received shapes {input_shape}")
        return [tuple(shape) for shape in input_shape]

    def call(self, inputs: Any) -> Any:
        """Merge a list of tensors; those of lower rank get axes of size 1 after the batch."""
        if not isinstance(inputs, list | tuple):
            raise ArgumentError(f"{self._who} takes a list of tensors, received {inputs!r}")
        rank = max(len(x.shape) for x in inputs)
        return self._merge([_with_rank(x, rank) for x in inputs])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape that all broadcast to; a ShapeError where they do not."""
        shapes = self._shapes(input_shape)
        batches = {shape[0] for shape in shapes if shape} - {None}
        if len(batches) > 1:
            raise ShapeError(f"{self._who}: the inputs have different batch sizes, shapes {shapes}")
        rest = shapes[0][1:]
        for shape in shapes[1:]:
            rest = self._broadcast(rest, shape[1:], shapes)
        return (batches.pop() if batches else None, *rest)

    def _broadcast(self, a: tuple, b: tuple, shapes: Any) -> tuple[int | None, ...]:
        a, b = ((1,) * (max(len(a), len(b)) - len(s)) + s for s in (a, b))
        merged: list[int | None] = []
        for i, j in zip(a, b, strict=True):
            if i is not None and j is not None and i != j and 1 not in (i, j):
                raise ShapeError(f"{self._who}: the shapes {shapes} do not broadcast")
            merged.append(None if i is None or j is None else j if i == 1 else i)
        return tuple(merged)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where any of the inputs counts; None where one of them has no mask."""
        masks = self._masks(inputs, mask)
        if masks is None or any(m is None for m in masks):
            return None
        merged = masks[0]
        for m in masks[1:]:
            merged = ops.logical_or(merged, m)
        return merged

    def _masks(self, inputs: Any, mask: Any) -> list[Any] | None:
        if mask is not None and (not isinstance(mask, list | tuple) or len(mask) != len(inputs)):
            raise ArgumentError(f"{self._who}: expected a mask for each of {len(inputs)} inputs, received {mask!r}")
        return None if mask is None else list(mask)


def _with_rank(x: Any, rank: int) -> Any:
    missing = rank - len(x.shape)
    return ops.expand_dims(x, tuple(range(1, missing + 1))) if missing else x


def _spread_mask(x: Any) -> Any:
    """The mask of a traced tensor, stretched to its shape; None where it has none."""
    mask = getattr(x, "keras_mask", None)
    return None if mask is None else ops.broadcast_to(ops.expand_dims(mask, -1), x.shape)


def _set_mask(x: Any, mask: Any) -> Any:
    if mask is not None and isinstance(x, Tensor):
        x.keras_mask = ops.any(mask, axis=-1)
    return x


def _in_turn(op: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    merged = inputs[0]
    for x in inputs[1:]:
        merged = op(merged, x)
    return merged


@builtin("keras.layers")
class Add(Merge):
    """The sum of the inputs."""

    def _merge(self, inputs: Sequence[Any]) -> Any:
        return _in_turn(ops.add, inputs)


@builtin("keras.layers")
class Subtract(Merge):
    """The first of two inputs less the second."""

    def build(self, input_shape: Any) -> None:
        """Check that there are two inputs, whose shapes fit."""
        shapes = self._shapes(input_shape)
        if len(shapes) != 2:
            raise ArgumentError(f"{self._who} takes 2 inputs, received {len(shapes)} of shapes {shapes}")
        super().build(input_shape)

    def _merge(self, inputs: Sequence[Any]) -> Any:
        return ops.subtract(inputs[0], inputs[1])


@builtin("keras.layers")
class Multiply(Merge):
    """The product of the inputs; masked places count as 1, and are 0 where all inputs are masked."""

    def _merge(self, inputs: Sequence[Any]) -> Any:
        masks = [_spread_mask(x) for x in inputs]
        factors = [
            x if mask is None else ops.where(mask, x, ops.cast(1, x.dtype))
            for x, mask in zip(inputs, masks, strict=True)
        ]
        product = _in_turn(ops.multiply, factors)
        if any(mask is None for mask in masks):
            return product
        mask = _in_turn(ops.logical_or, masks)
        return _set_mask(ops.where(mask, product, ops.cast(0, product.dtype)), mask)


@builtin("keras.layers")
class Average(Merge):
    """The mean of the inputs."""

    def _merge(self, inputs: Sequence[Any]) -> Any:
        return ops.divide(_in_turn(ops.add, inputs), len(inputs))


class _Extreme(Merge):
    """An extreme of the inputs; masked places do not count."""

    def _of_two(self, op: Callable[..., Any], inputs: Sequence[Any]) -> Any:
        merged, merged_mask = inputs[0], _spread_mask(inputs[0])
        for x in inputs[1:]:
            mask = _spread_mask(x)
            x = x if mask is None else ops.where(mask, x, merged)
            merged = merged if merged_mask is None else ops.where(merged_mask, merged, x)
            both = mask is not None and merged_mask is not None
            merged_mask = ops.logical_or(merged_mask, mask) if both else None
            merged = op(merged, x)
        return _set_mask(merged, merged_mask)


@builtin("keras.layers")
class Maximum(_Extreme):
    """The greatest of the inputs, place by place."""

    def _merge(self, inputs: Sequence[Any]) -> Any:
        return self._of_two(ops.maximum, inputs)


@builtin("keras.layers")
class Minimum(_Extreme):
    """The least of the inputs, place by place."""

    def _merge(self, inputs: Sequence[Any]) -> Any:
        return self._of_two(ops.minimum, inputs)


@builtin("keras.layers")
class Concatenate(Merge):
    """The inputs one after another along ``axis``; their other sizes must be equal."""

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(axis=axis)

    def call(self, inputs: Any) -> Any:
        """Join a list of tensors."""
        if not isinstance(inputs, list | tuple):
            raise ArgumentError(f"{self._who} takes a list of tensors, received {inputs!r}")
        return ops.concatenate(list(inputs), axis=self.axis)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The first shape, with the sizes along ``axis`` added up."""
        shapes = self._shapes(input_shape)
        rank = len(shapes[0])
        self._in_range(self.axis, shapes[0])
        place = self.axis % rank
        for i in range(rank):
            sizes = {s[i] for s in shapes if len(s) == rank} - {None}
            if any(len(s) != rank for s in shapes) or (i != place and len(sizes) > 1):
                raise ShapeError(
                    f"{self._who}: the inputs' shapes must be equal except along axis {self.axis}, received {shapes}"
                )
        joined = [s[place] for s in shapes]
        total = None if None in joined else sum(d for d in joined if d is not None)
        return (*shapes[0][:place], total, *shapes[0][place + 1 :])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks one after another; an input without a mask counts everywhere."""
        masks = self._masks(inputs, mask)
        if masks is None or all(m is None for m in masks):
            return None
        spread = []
        for x, m in zip(inputs, masks, strict=True):
            if m is None:
                m = ops.ones_like(x, dtype="bool")
            elif len(m.shape) < len(x.shape):
                m = ops.broadcast_to(ops.expand_dims(m, -1), x.shape)
            spread.append(m)
        return ops.any(ops.concatenate(spread, axis=self.axis), axis=-1)


@public_op(weak=False)
def batch_dot(x: Any, y: Any, axes: Sequence[int]) -> Tensor:
    """Sums of products over ``axes[0]`` of ``x`` and ``axes[1]`` of ``y``, for each index of axis 0, the batch."""
    x, y = promote(as_tensor(x), as_tensor(y))
    left, right = axes
    fitting = list(y.value.type.shape)
    fitting[0], fitting[right] = x.value.type.shape[0], x.value.type.shape[left]
    y = match_shape(y, fitting, "Dot: the batch sizes, and those of the axes summed over, must be equal")
    result = emit("dot_general", x, y, lhs_batch=(0,), rhs_batch=(0,), lhs_contract=(left,), rhs_contract=(right,))
    return ops.expand_dims(result, 1) if result.ndim == 1 else result


@builtin("keras.layers")
class Dot(Merge):
    """Sums of products of two inputs over one axis of each, for each index of the batch.

    Args:
        axes: the axis, or one of each input; axis 0 is the batch.
        normalize: divide both by their norms along these axes before, which gives cosines.
    """

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = axes if isinstance(axes, list | tuple) else [axes]
        right = len(given) == (2 if isinstance(axes, list | tuple) else 1)
        if not right or any(not isinstance(axis, int) for axis in given):
            raise self._wrong("axes", axes, "an integer or two")
        self._keep(axes=axes, normalize=normalize)

    def _places(self, shapes: Sequence[Sequence[Any]]) -> list[int]:
        """The axes counted from the front."""
        if len(shapes) != 2:
            raise ArgumentError(f"{self._who} takes 2 inputs, received {len(shapes)} of shapes {list(shapes)}")
        axes = [self.axes] * 2 if isinstance(self.axes, int) else self.axes
        for axis, shape in zip(axes, shapes, strict=True):
            self._in_range(axis, shape)
        places = [axis % len(shape) for axis, shape in zip(axes, shapes, strict=True)]
        if 0 in places or any(len(shape) < 2 for shape in shapes):
            raise ShapeError(f"{self._who}: axes={self.axes} must not name the batch, axis 0, of shapes {list(shapes)}")
        return places

    def call(self, inputs: Any) -> Any:
        """Multiply and sum a list of two tensors."""
        left, right = self._places([x.shape for x in inputs])
        x, y = inputs
        if self.normalize:
            x, y = ops.normalize(x, axis=left), ops.normalize(y, axis=right)
        return batch_dot(x, y, (left, right))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The first shape and then the second, without the batch and the axes summed over."""
        shapes = self._shapes(input_shape)
        left, right = self._places(shapes)
        sizes = shapes[0][left], shapes[1][right]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ShapeError(
                f"{self._who}: axis {left} of the first input and axis {right} of the second must have "
                f"one size, received shapes {shapes[0]} and {shapes[1]}"
            )
        rest = [d for i, d in enumerate(shapes[0]) if i != left]
        rest += [d for i, d in enumerate(shapes[1]) if i not in (0, right)]
        return tuple(rest if len(rest) > 1 else [*rest, 1])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None."""
        return None


def _functional(cls: type[Merge]) -> Callable[..., Any]:
    """The function that makes the layer and applies it: ``add(inputs, **kwargs)``."""

    def merge(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return cls(*args, **kwargs)(inputs)

    merge.__name__ = merge.__qualname__ = cls.__name__.lower()
    merge.__doc__ = f"Apply a new ``{cls.__name__}`` layer, made with the further arguments, to a list of tensors."
    return merge


add, subtract, multiply, average = map(_functional, (Add, Subtract, Multiply, Average))
maximum, minimum, concatenate = map(_functional, (Maximum, Minimum, Concatenate))


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """Apply a new ``Dot`` layer to a list of two tensors."""
    return Dot(axes, **kwargs)(inputs)
