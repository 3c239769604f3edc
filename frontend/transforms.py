"""Function transforms: derivatives, vectorization, rematerialization, as ``jax`` names and means them.

Inside a trace the function is traced as a region, its graph transformed (``passes/differentiate/``,
``passes/vectorize/``) and written into the trace. Called on arrays, a transformed function is traced, compiled and run
at once; while it is traced its tensors have values (``frontend/values.py``), so that Python may print them and branch
on them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..ir import TensorType
from ..ir.dims import DimLike
from ..ir.errors import ArgumentError, DTypeError, ShapeError
from ..ir.types import has_tangent
from ..passes import differentiate, vectorize
from .convert import as_tensor
from .nests import Nest, axes_of, is_leaf_array
from .ops import building as b
from .regions import Traced, run_on_arrays, trace_function
from .tensor import Tensor
from .trace import current_trace, require_trace
from .variable import Variable

Argnums = int | Sequence[int]


def _anywhere(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function on traced tensors be called on arrays too."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if current_trace() is not None:
            return function(*args, **kwargs)
        return run_on_arrays(function, args, kwargs)

    return call


def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the value of ``f`` and its gradient.

    Args:
        f: returns a real scalar; with ``has_aux`` a pair of it and anything else.
        argnums: the arguments to differentiate by, nests of float arrays: one number, or several.
        has_aux: whether ``f`` returns a pair.

    Returns:
        A function of the arguments of ``f`` that returns ``(value, gradient)``, or ``((value, aux), gradient)``. The
        gradient has the structure of the argument, or is a tuple of one for each of ``argnums``.

    Raises:
        ShapeError: ``f`` returns no scalar. DTypeError: ``f`` returns no real float, or an argument has none.
        DifferentiationError: there is no derivative, naming the op and where.
    """

    def gradient(*args: Any, **kwargs: Any) -> Any:
        chosen = _numbers(argnums, len(args), "value_and_grad")
        moving, traced = _trace_by(f, args, kwargs, chosen, has_aux, "grad")
        _check_scalar(traced, f)
        given = [True, *[False] * (len(traced.graph.outputs) - 1)]
        results = traced.splice(
            differentiate.vjp(traced.graph, traced.flags(len(moving.leaves)), given), [_one(traced)]
        )
        value, rest = traced.unflatten(results)
        gradients = moving.unflatten(results[len(traced.graph.outputs) :])
        found = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        return ((value, rest), found) if has_aux else (value, found)

    return functools.wraps(f)(_anywhere(gradient))


def grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the gradient of ``f``; with ``has_aux`` a pair of it and what else ``f`` returns.

    Arguments and errors as in :func:`value_and_grad`.
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def gradients_of(
    body: Callable[[], tuple[Any, Any]], variables: Sequence[Variable], scale: Any = None
) -> tuple[Any, Any, list[Any]]:
    """The gradient of what ``body`` computes by Variables.

    Args:
        body: returns a real scalar, and a nest of anything else. It may assign to Variables.
        variables: float Variables.
        scale: what the gradient is multiplied by, a scalar; 1 by default.

    Returns:
        The scalar, the nest, and a gradient for each Variable (zeros where the scalar does not depend on it).
    """
    if current_trace() is None:
        return run_on_arrays(lambda: gradients_of(body, variables, scale), (), {})
    wrong = [v.path for v in variables if not has_tangent(TensorType(v._dtype, v.shape))]
    if wrong:
        raise DTypeError(f"there is no gradient by Variable {wrong[0]!r}, whose type is not float")
    traced = trace_function(lambda: body(), [], variables)
    _check_scalar(traced, body)
    given = [True, *[False] * (len(traced.graph.outputs) - 1)]
    graph = differentiate.vjp(traced.graph, traced.flags(0, variables=True), given)
    seed = _one(traced) if scale is None else as_tensor(scale, _dtype(traced))
    results = traced.splice(graph, [seed])
    value, aux = traced.unflatten(results)
    return value, aux, results[len(traced.graph.outputs) :]


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """The result of ``f`` and its derivative along a direction (forward mode).

    Args:
        f: the function.
        primals: its arguments, nests of arrays.
        tangents: a direction for each, of the same structure, shapes and types; None for none.
        has_aux: whether ``f`` returns a pair, whose second part is not differentiated.

    Returns:
        ``(result, tangent of the result)``; with ``has_aux`` also what ``f`` returned beside.
    """
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list) or len(primals) != len(tangents):
        raise ArgumentError("jvp: primals and tangents are tuples of one length, one entry for each argument")
    return _jvp(f, has_aux, tuple(primals), tuple(tangents))


def _jvp(f: Callable[..., Any], has_aux: bool, primals: tuple, tangents: tuple) -> Any:
    if current_trace() is None:
        return run_on_arrays(functools.partial(_jvp, f, has_aux), (primals, tangents), {})
    nest = Nest(primals)
    directions = _like_nest(nest, tangents, "jvp: tangents")
    moves = [t is not None and has_tangent(x.value.type) for t, x in zip(directions, nest.leaves, strict=True)]
    traced = trace_function(_paired(f, has_aux), nest.leaves, call=nest.call)
    graph = differentiate.jvp(traced.graph, [*[False] * traced.held, *moves])
    results = traced.splice(graph, [t for t, m in zip(directions, moves, strict=True) if m and t is not None])
    count = len(traced.graph.outputs)
    moved = iter(results[count:])
    out_tangents = [next(moved) if has_tangent(v.type) else None for v in traced.graph.outputs]
    value, aux = traced.unflatten(results)
    derivative, _ = traced.unflatten(
        [b.like(r, 0) if t is None else t for r, t in zip(results, out_tangents, strict=False)], final=False
    )
    return (value, derivative, aux) if has_aux else (value, derivative)


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The result of ``f``, and the function that takes its cotangents to those of the arguments (reverse mode).

    Args:
        f: the function.
        primals: its arguments, nests of float arrays.
        has_aux: whether ``f`` returns a pair, whose second part is not differentiated.

    Returns:
        ``(result, function)``, with ``has_aux`` also what ``f`` returned beside. The function takes a cotangent of the
        structure of the result and returns a tuple with one for each argument. It runs ``f`` again: in a program the
        compiler merges that with the first time.
    """

    @_anywhere
    def forward(*args: Any) -> Any:
        return _paired(f, has_aux)(*args)

    def backward(cotangent: Any) -> Any:
        return _anywhere(functools.partial(_pull, f, has_aux))(primals, cotangent)

    value, aux = forward(*primals)
    return (value, backward, aux) if has_aux else (value, backward)


def _pull(f: Callable[..., Any], has_aux: bool, primals: tuple, cotangent: Any) -> tuple:
    moving, traced = _trace_by(f, primals, {}, list(range(len(primals))), has_aux, "vjp")
    outputs = traced.value_types()
    given = _like_types(traced, cotangent, outputs)
    floats = [has_tangent(t) for t in outputs]
    flags = [*floats, *[False] * (len(traced.graph.outputs) - len(outputs))]
    graph = differentiate.vjp(traced.graph, traced.flags(len(moving.leaves)), flags)
    results = traced.splice(graph, [ct for ct, g in zip(given, floats, strict=True) if g])
    return tuple(moving.unflatten(results[len(traced.graph.outputs) :]))


def vmap(
    f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None
) -> Callable[..., Any]:
    """The function that applies ``f`` to each element of a batch at once.

    Args:
        f: takes and returns nests of arrays. It may read Variables; it may assign only what is the same for the batch.
        in_axes: the batch dimension of each argument: an integer, None for an argument that is the same for all, or a
            nest of them that begins as the arguments do. Keyword arguments have it first.
        out_axes: where results have it, likewise; None for a result that is the same for all.
        axis_size: the size of the batch, where no argument tells.

    Raises:
        ShapeError: sizes differ, or an axis is not there.
    """

    def batched(*args: Any, **kwargs: Any) -> Any:
        nest = Nest((args, kwargs))
        axes = axes_of(in_axes, args, kwargs)
        has = [axis is not None for axis in axes]
        leaves = [_first(x, axis, "vmap") for x, axis in zip(nest.leaves, axes, strict=True)]
        size = _batch_size(leaves, has, axis_size)
        types = [x.value.type.with_shape(b.shape_of(x)[1:]) if h else x.value.type for x, h in zip(leaves, has)]
        traced = trace_function(lambda *a, **k: (f(*a, **k), None), leaves, call=nest.call_both, types=types)
        outputs = traced.value_types()
        wanted = [axis is not None for axis in axes_of(out_axes, *traced.value_structure(), name="out_axes")]
        made, flags = vectorize.batch(traced.graph, [*[False] * traced.held, *has], size)
        flags_out = flags[: len(outputs)]
        if any(f and not w for f, w in zip(flags_out, wanted, strict=True)):
            raise ShapeError("vmap: out_axes is None for a result that differs within the batch")
        traced.check_written(flags[len(outputs) :], "vmap")
        vectorize.force(made, flags, [*wanted, *[False] * (len(flags) - len(wanted))], size)
        results = traced.splice(made, [])
        places = axes_of(out_axes, *traced.value_structure(), name="out_axes")
        moved = [y if not axis else b.move_axis(y, 0, axis % y.ndim) for y, axis in zip(results, places, strict=False)]
        value, _ = traced.unflatten([*moved, *results[len(outputs) :]])
        return value

    return functools.wraps(f)(_anywhere(batched))


def jacobian(
    f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, mode: str = "reverse"
) -> Callable[..., Any]:
    """The function that returns all partial derivatives of ``f``.

    Args:
        f: takes and returns nests of float arrays.
        argnums, has_aux: as in :func:`value_and_grad`.
        mode: ``"reverse"``, one pass for each element of the result, all at once; ``"forward"``, one for each element
            of the arguments: better where these are fewer.

    Returns:
        A function that returns, for each array of the result (in its structure), a derivative by each array of the
        argument (in its structure) of shape ``result.shape + argument.shape``.
    """
    if mode not in ("reverse", "forward"):
        raise ArgumentError(f"jacobian: mode is 'reverse' or 'forward', received {mode!r}")

    def derivative(*args: Any, **kwargs: Any) -> Any:
        chosen = _numbers(argnums, len(args), "jacobian")
        moving, traced = _trace_by(f, args, kwargs, chosen, has_aux, "jacobian")
        outputs = traced.value_types()
        for type_ in outputs:
            if not has_tangent(type_):
                raise DTypeError(f"jacobian: the result should be float, {_name(f)} returned {type_}")
        rows = _jacobian_rows(traced, moving, outputs, forward=mode == "forward")
        _, aux = traced.unflatten(traced.results)
        by_output = [_by_argument(moving.unflatten(row), argnums) for row in rows]
        result, _ = traced.unflatten([*by_output, *traced.results[len(outputs) :]], final=False)
        return (result, aux) if has_aux else result

    return functools.wraps(f)(_anywhere(derivative))


def _by_argument(parts: Sequence[Any], argnums: Argnums) -> Any:
    return parts[0] if isinstance(argnums, int) else tuple(parts)


def _jacobian_rows(traced: Traced, moving: Nest, outputs: Sequence[TensorType], forward: bool) -> list[list[Tensor]]:
    """For each output a derivative by each moving leaf, of shape output + leaf."""
    inputs = [x.value.type for x in moving.leaves]
    sources, targets = (inputs, outputs) if forward else (outputs, inputs)
    flags = traced.flags(len(inputs))
    extra = [False] * (len(traced.graph.outputs) - len(outputs))
    if forward:
        graph = differentiate.jvp(traced.graph, flags)
    else:
        graph = differentiate.vjp(traced.graph, flags, [*[True] * len(outputs), *extra])
    count = _total(sources)
    batched = [*[False] * len(traced.graph.inputs), *[True] * len(sources)]
    out = [*[False] * len(traced.graph.outputs), *[True] * (len(graph.outputs) - len(traced.graph.outputs))]
    made = vectorize.vectorize(graph, batched, count, out)
    results = traced.splice(made, _unit_directions(sources, count))
    traced.results = results[: len(traced.graph.outputs)]
    found = results[len(traced.graph.outputs) :][: len(targets)]
    rows: list[list[Tensor]] = []
    at: DimLike = 0
    for source in sources:
        size = b.size_of(source.shape)
        rows.append([b.reshape(b.cut(x, 0, at, at + size), (*source.shape, *b.shape_of(x)[1:])) for x in found])
        at = at + size
    if not forward:
        return rows
    return [[_swapped(rows[j][i], inputs[j].rank) for j in range(len(inputs))] for i in range(len(outputs))]


def _swapped(x: Tensor, first: int) -> Tensor:
    """``x`` with its first ``first`` dimensions after the others."""
    return b.transpose(x, [*range(first, x.ndim), *range(first)])


def _total(types: Sequence[TensorType]) -> DimLike:
    total: DimLike = 0
    for type_ in types:
        total = total + b.size_of(type_.shape)
    return total


def _unit_directions(types: Sequence[TensorType], count: DimLike) -> list[Tensor]:
    """For each type ``count`` arrays of it; over all types the k-th has a one at its k-th element."""
    found = []
    at: DimLike = 0
    for type_ in types:
        size = b.size_of(type_.shape)
        row = b.iota((count, size), 0)
        column = b.add(b.iota((count, size), 1), b.filled((count, size), b.dim_tensor(at, "int32"), "int32"))
        ones = b.compare("EQ", row, column)
        found.append(b.reshape(as_tensor(ones, type_.dtype.name), (count, *type_.shape)))
        at = at + size
    return found


def hessian(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the second derivatives of ``f``: forward mode over reverse mode.

    Arguments as in :func:`jacobian`. For a scalar function of an array of shape ``s`` the result has shape ``s + s``.
    """
    return jacobian(jacobian(f, argnums, has_aux, "reverse"), argnums, has_aux, "forward")


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose derivative computes inner values again and does not keep them (rematerialization).

    That trades time for memory: of the calls of ``f`` only arguments and results are kept for the way back.
    """

    return functools.wraps(f)(rematerialized(f))


def rematerialized(
    f: Callable[..., Any], wanted: Callable[[Sequence[TensorType]], bool] | None = None
) -> Callable[..., Any]:
    """As :func:`remat`; ``wanted`` may say no when it sees the types of the results."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return f(*args, **kwargs)
        nest = Nest((args, kwargs))
        traced = trace_function(lambda *a, **k: (f(*a, **k), None), nest.leaves, call=nest.call_both)
        if wanted is None or wanted(traced.value_types()):
            results = list(require_trace().emit("remat", traced.operands, {}, [traced.graph]))
        else:
            results = traced.splice(traced.graph, [])
        value, _ = traced.unflatten(results)
        return value

    return wrapped


# What these share.


def _paired(f: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        result = f(*args, **kwargs)
        if not has_aux:
            return result, None
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise ArgumentError(
                f"has_aux: {_name(f)} should return a pair (value, aux), received {type(result).__name__}"
            )
        return result[0], result[1]

    return call


def _trace_by(
    f: Callable[..., Any], args: tuple, kwargs: dict[str, Any], chosen: Sequence[int], has_aux: bool, name: str
) -> tuple[Nest, Traced]:
    """Trace ``f``, with the leaves of the chosen arguments as the last inputs; others are captured."""
    moving = Nest([args[i] for i in chosen])
    for leaf in moving.leaves:
        if not has_tangent(leaf.value.type):
            raise DTypeError(
                f"{name}: the arguments to differentiate by should be float, received {leaf!r}; convert them, or "
                "choose others with argnums"
            )

    def call(g: Callable[..., Any], tensors: Sequence[Tensor]) -> Any:
        full = list(args)
        for i, value in zip(chosen, moving.unflatten(tensors), strict=True):
            full[i] = value
        return g(*full, **kwargs)

    return moving, trace_function(_paired(f, has_aux), moving.leaves, call=call)


def _numbers(argnums: Argnums, count: int, name: str) -> list[int]:
    chosen = [argnums] if isinstance(argnums, int) else list(argnums)
    for i in chosen:
        if not -count <= i < count:
            raise ArgumentError(f"{name}: argnums={i}, but there are {count} arguments by place")
    return [i % count for i in chosen]


def _check_scalar(traced: Traced, f: Callable[..., Any]) -> None:
    types = traced.value_types()
    if len(types) != 1 or types[0].shape:
        shown = ", ".join(map(str, types)) or "nothing"
        raise ShapeError(
            f"the gradient is of a function that returns one scalar; {_name(f)} returned {shown}. Reduce it with "
            "ops.sum or ops.mean, or use lamina.jacobian"
        )
    if not has_tangent(types[0]) or types[0].dtype.kind == "c":
        raise DTypeError(f"the gradient is of a function that returns a real float; {_name(f)} returned {types[0]}")


def _name(f: Callable[..., Any]) -> str:
    return str(getattr(f, "__name__", None) or getattr(f, "name", None) or type(f).__name__)


def _dtype(traced: Traced) -> str:
    return traced.value_types()[0].dtype.name


def _one(traced: Traced) -> Tensor:
    return b.scalar(1, _dtype(traced))


def _first(x: Tensor, axis: int | None, name: str) -> Tensor:
    if axis is None:
        return x
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{name}: in_axes={axis}, but an argument has {x.ndim} dimensions: {x!r}")
    return b.move_axis(x, axis % x.ndim, 0)


def _batch_size(leaves: Sequence[Tensor], has: Sequence[bool], axis_size: int | None) -> DimLike:
    sizes: list[DimLike] = [b.shape_of(x)[0] for x, h in zip(leaves, has, strict=True) if h]
    if axis_size is not None:
        sizes.append(axis_size)
    if not sizes:
        raise ArgumentError("vmap: no argument has a batch dimension; give axis_size, or in_axes that are not None")
    for other in sizes[1:]:
        require_trace().require_equal(sizes[0], other, "vmap: arguments have batches of one size")
    return sizes[0]


def _like_nest(nest: Nest, given: Any, what: str) -> list[Tensor | None]:
    """Leaves of ``given`` for those of ``nest``, checked; a None stands for a whole part."""
    leaves = nest.match(given, what)
    found: list[Tensor | None] = []
    for leaf, x in zip(leaves, nest.leaves, strict=True):
        if leaf is None or not has_tangent(x.value.type):
            found.append(None)
            continue
        found.append(_fitting(leaf, x.value.type, what))
    return found


def _like_types(traced: Traced, given: Any, types: Sequence[TensorType]) -> list[Tensor]:
    leaves = traced.match_value(given)
    return [_fitting(leaf, t, "vjp: the cotangent") for leaf, t in zip(leaves, types, strict=True)]


def _fitting(leaf: Any, type_: TensorType, what: str) -> Tensor:
    tensor = as_tensor(leaf, type_.dtype.name) if not is_leaf_array(leaf) else as_tensor(leaf)
    if b.shape_of(tensor) != type_.shape or tensor.value.type.dtype != type_.dtype:
        raise ShapeError(f"{what} should be {type_}, received {tensor.value.type}")
    return tensor


__all__ = ["grad", "gradients_of", "hessian", "jacobian", "jvp", "remat", "value_and_grad", "vjp", "vmap"]
