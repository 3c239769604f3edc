"""Functions with a derivative of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from ...ir.errors import ArgumentError, ShapeError, TracingError
from ...ir.types import TensorType, is_complex, is_float
from ..convert import as_tensor, cast
from ..tensor import Tensor
from ..trace import Region, all_captures, current_trace, require_trace, trace_region
from . import building as b


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function a derivative of its own.

    Args:
        f: takes tensors, returns its result and a function that takes the result's cotangents (one for each tensor of
            the result, of its type) and returns a cotangent for each argument: one tensor, or a tuple of them.

    Returns:
        The function that returns the result alone. What ``f`` uses from outside of its arguments counts as constant.
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)[0] if current_trace() is None else _traced(functools.partial(f, **kwargs), args)

    return wrapped


def _traced(f: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    leaves, structure = jax.tree.flatten(args)
    tensors = [as_tensor(leaf) for leaf in leaves]
    types = [t.value.type for t in tensors]
    found: dict[str, Any] = {}

    def primal(*values: Tensor) -> Any:
        return _parts(f(*jax.tree.unflatten(structure, values)))[0]

    def forward(*values: Tensor) -> Any:
        result, gradient = _parts(f(*jax.tree.unflatten(structure, values)))
        outputs = [as_tensor(leaf) for leaf in jax.tree.leaves(result)]
        cotangents = [o.value.type for o in outputs if _has_tangent(o.value.type)]
        # A region inside this one: what the derivative needs from here is what it captures.
        found["backward"] = trace_region(lambda *given: _cotangents(gradient, given, types), cotangents)
        found["residuals"] = all_captures([found["backward"]])
        trace = require_trace()
        return [*outputs, *(Tensor(value, trace) for value in found["residuals"])]

    regions = [trace_region(body, types) for body in (primal, forward)]
    _no_assignments([*regions, found["backward"]])
    captured = all_captures(regions)
    backward = found["backward"].close(found["residuals"])
    trace = require_trace()
    held = [Tensor(value, trace) for value in captured]
    graphs = [region.close(captured) for region in regions]
    # What was captured is constant: its cotangents, which come first, are zero.
    with found["backward"].trace.active():
        zeros = [b.filled(v.type.shape, 0, v.type.dtype.name).value for v in captured if _has_tangent(v.type)]
    backward.outputs[:0] = zeros
    results = trace.emit("custom_vjp", (*held, *tensors), {}, [*graphs, backward])
    return jax.tree.unflatten(regions[0].structure, results)


def _has_tangent(type_: TensorType) -> bool:
    return is_float(type_.dtype) or is_complex(type_.dtype)


def _parts(result: Any) -> tuple[Any, Callable[..., Any]]:
    if not isinstance(result, tuple | list) or len(result) != 2 or not callable(result[1]):
        raise ArgumentError(
            f"custom_gradient: the function must return (result, gradient function), received {result!r}"
        )
    return result[0], result[1]


def _cotangents(gradient: Callable[..., Any], given: tuple[Tensor, ...], types: list[TensorType]) -> list[Tensor]:
    """What the gradient function returns, one tensor for each float argument."""
    result = gradient(*given)
    leaves = list(result) if isinstance(result, tuple | list) else [result]
    wanted = [i for i, type_ in enumerate(types) if _has_tangent(type_)]
    if len(leaves) == len(types) != len(wanted):
        leaves = [leaves[i] for i in wanted]
    if len(leaves) != len(wanted):
        raise ArgumentError(
            f"custom_gradient: the gradient function must return {len(wanted)} cotangents, one for each "
            f"float argument; received {len(leaves)}"
        )
    return [_like_argument(leaf, types[i], i) for leaf, i in zip(leaves, wanted)]


def _like_argument(leaf: Any, type_: TensorType, i: int) -> Tensor:
    tensor = b.filled(type_.shape, 0, type_.dtype.name) if leaf is None else cast(as_tensor(leaf), type_.dtype.name)
    if b.shape_of(tensor) != type_.shape:
        raise ShapeError(
            f"custom_gradient: the cotangent of argument {i} must have its shape {b.text(type_.shape)}, received "
            f"{tensor!r}"
        )
    return tensor


def _no_assignments(regions: list[Region]) -> None:
    for region in regions:
        if region.written:
            raise TracingError(
                "custom_gradient: the function must not assign to Variables, it assigns to "
                f"{', '.join(v.path for v in region.written)}"
            )
