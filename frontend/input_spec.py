"""What a layer expects of its inputs, and the check of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ir.errors import ArgumentError, DTypeError, ShapeError
from .dtypes import standardize_dtype
from .registry import builtin
from .tensor import Tensor


@builtin("keras", aliases=("keras.layers.InputSpec",))
class InputSpec:
    """Rank, shape and type that a layer takes; what is None is not checked.

    Args:
        dtype: element type.
        shape: sizes, the batch's first; None for any.
        ndim: the rank.
        max_ndim: the greatest rank.
        min_ndim: the least rank.
        axes: sizes of some axes, by their numbers; negative ones count from the back.
        allow_last_axis_squeeze: a last axis of size 1 may be there or not.
        name: the key of this input where inputs are a dict.
        optional: None may be passed for the input.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = None if dtype is None else standardize_dtype(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = ndim if self.shape is None else len(self.shape)
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.name = name
        self.optional = optional
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        try:
            self.axes = {int(axis): size for axis, size in (axes or {}).items()}
        except (ValueError, TypeError, AttributeError):
            raise ArgumentError(f"InputSpec: axes must be a dict from axis number to size, received {axes!r}") from None
        greatest = self.ndim or self.max_ndim
        if self.axes and greatest is not None and max(self.axes) >= greatest:
            raise ArgumentError(f"InputSpec: axis {max(self.axes)} is out of range for rank {greatest}")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputSpec:
        """Make a spec from what ``get_config`` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")
        shown = [f"{name}={value}" for name in names if (value := getattr(self, name))]
        return f"InputSpec({', '.join(shown)})"


def assert_input_compatibility(input_spec: Any, inputs: Any, layer_name: str) -> None:
    """Check inputs against what their layer expects. Open and symbolic dimensions fit any size.

    Args:
        input_spec: an InputSpec, a nest of them (one for each tensor; None for an unchecked one), or None.
        inputs: a tensor or nest of tensors.
        layer_name: for messages.

    Raises:
        ShapeError, DTypeError or ArgumentError, naming the layer and the input.
    """
    if not input_spec:
        return
    specs = list(_leaves(input_spec))
    tensors = list(_leaves(_by_name(specs, inputs, layer_name)))
    if len(tensors) != len(specs):
        names = [spec.name for spec in specs if spec is not None and spec.name]
        hint = f"; pass a dict with the keys {', '.join(map(repr, names))}" if len(names) == len(specs) else ""
        raise ArgumentError(
            f"layer {layer_name!r} takes {len(specs)} input{'s' * (len(specs) != 1)}, received "
            f"{len(tensors)}: {', '.join(map(_shown, tensors))}{hint}"
        )
    for index, (spec, tensor) in enumerate(zip(specs, tensors, strict=True)):
        if spec is None or (tensor is None and spec.optional):
            continue
        which = "" if len(specs) == 1 else f" {spec.name!r}" if spec.name else f" {index}"
        _check(spec, tensor, f"layer {layer_name!r}: input{which}")


def _check(spec: InputSpec, x: Any, what: str) -> None:
    if not hasattr(x, "shape"):
        raise ArgumentError(f"{what} must be a tensor, received {x!r} of type {type(x).__name__}")
    shape = known_shape(x)
    received = f"received shape {shape}"
    if spec.ndim is not None and not spec.allow_last_axis_squeeze and len(shape) != spec.ndim:
        raise ShapeError(f"{what} must have rank {spec.ndim}, {received}")
    if spec.max_ndim is not None and len(shape) > spec.max_ndim:
        raise ShapeError(f"{what} must have rank {spec.max_ndim} at most, {received}")
    if spec.min_ndim is not None and len(shape) < spec.min_ndim:
        raise ShapeError(f"{what} must have rank {spec.min_ndim} at least, {received}")
    if spec.dtype is not None and standardize_dtype(x.dtype) != spec.dtype:
        raise DTypeError(f"{what} must have type {spec.dtype}, received {standardize_dtype(x.dtype)}")
    for axis, size in spec.axes.items():
        if size is not None and shape[axis] not in (size, None):
            raise ShapeError(f"{what} must have size {size} along axis {axis}, {received}")
    if spec.shape is not None:
        wanted = spec.shape
        if spec.allow_last_axis_squeeze:
            wanted, shape = (s[:-1] if s and s[-1] == 1 else s for s in (wanted, shape))
        if any(a is not None and b is not None and a != b for a, b in zip(wanted, shape, strict=False)):
            raise ShapeError(f"{what} must have shape {spec.shape}, {received}")


def known_shape(x: Any) -> tuple[int | None, ...]:
    """The shape of a tensor of any kind; None for dimensions that are open or symbolic."""
    shape = x.value.type.shape if isinstance(x, Tensor) else x.shape
    return tuple(d if isinstance(d, int) else None for d in shape)


def _by_name(specs: list[Any], inputs: Any, layer_name: str) -> Any:
    """Inputs in the order of the specs, where they are a dict and all specs have names."""
    if not isinstance(inputs, dict) or not all(spec is not None and spec.name for spec in specs):
        return inputs
    for spec in specs:
        if spec.name not in inputs:
            raise ArgumentError(
                f"layer {layer_name!r}: the input {spec.name!r} is missing; received a dict "
                f"with the keys "
                f"{', '.join(map(repr, inputs))}, expected {', '.join(repr(s.name) for s in specs)}"
            )
    return [inputs[spec.name] for spec in specs]


def _leaves(nest: Any) -> Iterable[Any]:
    if isinstance(nest, dict):
        nest = [nest[key] for key in sorted(nest)]
    if isinstance(nest, tuple | list):
        for item in nest:
            yield from _leaves(item)
    else:
        yield nest


def _shown(x: Any) -> str:
    return f"shape {known_shape(x)}" if hasattr(x, "shape") else repr(x)
