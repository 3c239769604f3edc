"""Control flow: cond, switch, loops, scan.

On arrays these run as Python does, step by step. While tracing they become ops with regions: what a region uses from
outside becomes an operand, and a Variable that it writes becomes a carry, or a further result of a branch.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ...ir.dims import Dim, DimLike
from ...ir.errors import ArgumentError, DTypeError, ShapeError, TracingError
from ...ir.types import TensorType
from ..convert import as_tensor, cast, dtype_of, emit, match_shape, promoted
from ..dispatch import EagerCache, run_eagerly
from ..keras_tensor import contains_keras_tensor
from ..tensor import Tensor, is_scalar, plain_dims
from ..trace import Region, all_captures, current_trace, require_trace, trace_region
from ..variable import Variable
from . import building as b


def _recordable(function: Callable[..., Any]) -> Any:
    """Called on symbolic tensors of a functional model, it becomes an operation of that model."""

    @functools.wraps(function)
    def op(*args: Any, **kwargs: Any) -> Any:
        if contains_keras_tensor(args) or contains_keras_tensor(kwargs):
            from ..operation import record_operation

            return record_operation(op, args, kwargs)
        return function(*args, **kwargs)

    op.traced = function  # type: ignore[attr-defined]
    return op


# Branches.


@_recordable
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """What ``true_fn()`` returns where ``pred`` holds, else what ``false_fn()`` returns.

    A predicate that is known picks one function at once. A traced one makes both part of the program: they must return
    tensors of the same types in the same nest. Variables that either assigns are updated by the branch that runs.
    """
    if not _is_traced(pred):
        return true_fn() if bool(np.asarray(pred)) else false_fn()
    index = as_tensor(pred)
    if index.ndim:
        raise ShapeError(
            f"cond: expected a predicate without dimensions, received {index!r}; reduce it with ops.any or "
            "ops.all, or choose elementwise with ops.where"
        )
    return _branch(b.as_bool(index), [true_fn, false_fn], (), "cond")


@_recordable
def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """What ``branches[index](*operands)`` returns; an index out of range is clamped."""
    if not branches:
        raise ArgumentError("switch: expected at least one branch, received none")
    if not _is_traced(index):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    place = as_tensor(index)
    if place.ndim or not b.is_int(place):
        raise ShapeError(f"switch: expected an integer index without dimensions, received {place!r}")
    place = emit("clamp", b.scalar(0, "int32"), cast(place, "int32"), b.scalar(len(branches) - 1, "int32"))
    return _branch(place, branches, operands, "switch")


def _is_traced(x: Any) -> bool:
    return isinstance(x, Tensor) or (isinstance(x, Variable) and current_trace() is not None)


def _branch(index: Tensor, branches: Sequence[Callable[..., Any]], operands: Sequence[Any], op: str) -> Any:
    numbers: list[list[bool]] = []  # for each branch which of its outputs are Python numbers, whose types yield

    def body(branch: Callable[..., Any]) -> Callable[[], Any]:
        def run() -> Any:
            result = branch(*operands)
            numbers.append([is_scalar(leaf) for leaf in jax.tree.leaves(result)])
            return result

        return run

    regions = [trace_region(body(branch), []) for branch in branches]
    dtypes = _common_types(regions, numbers, op)
    variables = list(dict.fromkeys(v for region in regions for v in region.written))
    for region in regions:
        region.outputs = _converted(region, dtypes)
        for variable in variables:  # a branch that leaves it alone passes on what it held
            region.trace.read(variable)
    captured = all_captures(regions)
    trace = require_trace()
    held = [Tensor(value, trace) for value in captured]
    results = trace.emit("cond", (index, *held), {}, [region.close(captured, variables) for region in regions])
    count = len(dtypes)
    for variable, result in zip(variables, results[count:]):
        trace.write(variable, result)
    return jax.tree.unflatten(regions[0].structure, results[:count])


def _common_types(regions: Sequence[Region], numbers: Sequence[Sequence[bool]], op: str) -> list[str]:
    """The element type of each output of the branches, which must agree in everything else."""
    first = regions[0]
    for region in regions[1:]:
        if region.structure != first.structure:
            raise ArgumentError(
                f"{op}: all branches must return the same nest, received {first.structure} and {region.structure}"
            )
    found = []
    for i, name in enumerate(_leaf_names(first.structure)):
        outputs = [region.outputs[i] for region in regions]
        received = " and ".join(repr(o) for o in outputs)
        if len({b.shape_of(o) for o in outputs}) != 1:
            raise ShapeError(f"{op}: output{name} must have one shape in all branches, received {received}")
        strong = {o.dtype for o, weak in zip(outputs, numbers) if not weak[i]}
        if len(strong) > 1:
            raise DTypeError(
                f"{op}: output{name} must have one element type in all branches, received {received}; cast one of them"
            )
        found.append(promoted(*strong, *(_yielding(o) for o, weak in zip(outputs, numbers) if weak[i])))
    return found


def _yielding(x: Tensor) -> Any:
    """What a Python number brings to promotion."""
    return "bool" if x.dtype == "bool" else int if b.is_int(x) else float


def _converted(region: Region, dtypes: Sequence[str]) -> list[Tensor]:
    with region.trace.active():
        return [cast(output, dtype) for output, dtype in zip(region.outputs, dtypes)]


def _leaf_names(structure: Any) -> list[str]:
    nest = jax.tree.unflatten(structure, range(structure.num_leaves))
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(nest)[0]]


# Loops.


class _Carry:
    """The values that a loop carries: their nest, tensors before the loop, and which were Python numbers."""

    def __init__(self, nest: Any, op: str) -> None:
        leaves, self.structure = jax.tree.flatten(nest)
        self.numbers = [is_scalar(leaf) for leaf in leaves]
        self.tensors = [as_tensor(leaf) for leaf in leaves]
        self.names = _leaf_names(self.structure)
        self.op = op

    @property
    def types(self) -> list[TensorType]:
        return [t.value.type for t in self.tensors]

    def nest(self, leaves: Sequence[Any]) -> Any:
        return jax.tree.unflatten(self.structure, leaves)

    def checked(self, result: Any) -> list[Tensor]:
        """What a step returned, of the carry's types. Raises with the carry's name where a type has changed."""
        leaves, structure = jax.tree.flatten(result)
        _same_nest(self.structure, structure, self.op)
        return [
            self._same(i, as_tensor(leaf) if not is_scalar(leaf) else as_tensor(leaf, self.tensors[i].dtype))
            for i, leaf in enumerate(leaves)
        ]

    def _same(self, i: int, new: Tensor) -> Tensor:
        old = self.tensors[i]
        name = f"carry{self.names[i]}" if self.names[i] else "the carry"
        if new.dtype != old.dtype:
            if self.numbers[i]:
                raise _Widen(i, promoted(new.dtype, dtype_of(0 if b.is_int(old) else 0.0)))
            raise DTypeError(
                f"{self.op}: {name} starts as {old!r} and is {new!r} after a step; a loop carries one type: cast "
                "the first value or the step's result"
            )
        if new.ndim != old.ndim:
            raise ShapeError(
                f"{self.op}: {name} starts as {old!r} and is {new!r} after a step; a loop carries one shape"
            )
        return match_shape(new, b.shape_of(old), f"{self.op}: {name} must keep its shape")


class _Widen(Exception):
    """A carry that began as a Python number has another type after a step: begin with that type."""

    def __init__(self, index: int, dtype: str) -> None:
        super().__init__(index, dtype)
        self.index = index
        self.dtype = dtype


def _same_nest(before: Any, after: Any, op: str) -> None:
    if before != after:
        raise ArgumentError(f"{op}: a step must return the nest that it takes; it takes {before} and returns {after}")


def _settled(carry: _Carry, trace_step: Callable[[Sequence[Variable]], Region]) -> tuple[Region, list[Variable]]:
    """Trace a step until the carries' types and the Variables it writes are known to be complete."""
    variables: list[Variable] = []
    while True:
        try:
            region = trace_step(variables)
        except _Widen as change:
            carry.tensors[change.index] = cast(carry.tensors[change.index], change.dtype)
            carry.numbers[change.index] = False
            continue
        more = [v for v in region.written if not any(v is known for known in variables)]
        if not more:
            return region, variables
        variables += more


@_recordable
def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: Any = None
) -> Any:
    """Apply ``body`` to the loop's variables while ``cond`` holds, at most ``maximum_iterations`` times.

    Args:
        cond: takes the variables, returns a bool without dimensions.
        body: takes the variables, returns as many of the same types.
        loop_vars: a tuple or list of (nests of) tensors, or one of them.

    Raises:
        DTypeError, ShapeError: a variable has another type or shape after a step; the message names it.
    """
    several = isinstance(loop_vars, tuple | list)
    values = tuple(loop_vars) if several else (loop_vars,)
    if current_trace() is None:
        return _while_in_python(cond, body, values, several, maximum_iterations)
    carry = _Carry(values, "while_loop")
    limited = maximum_iterations is not None
    counter = [b.scalar(0, "int32")] if limited else []

    def step(*tensors: Tensor) -> Any:
        result = body(*carry.nest(tensors[: len(carry.tensors)]))
        counted = [b.add(t, 1) for t in tensors[len(carry.tensors) :]]
        return [*carry.checked(_as_tuple(result, several, len(values), "while_loop")), *counted]

    def holds(*tensors: Tensor) -> Tensor:
        answer = as_tensor(cond(*carry.nest(tensors[: len(carry.tensors)])))
        if answer.ndim:
            raise ShapeError(
                f"while_loop: cond must return a bool without dimensions, received {answer!r}; use ops.any or ops.all"
            )
        answer = b.as_bool(answer)
        if limited:
            most = as_tensor(maximum_iterations, "int32")
            answer = emit("and", answer, b.compare("LT", tensors[-1], most))
        return answer

    def types() -> list[TensorType]:
        return carry.types + [t.value.type for t in counter]

    region, variables = _settled(carry, lambda known: trace_region(step, types(), known))
    condition = trace_region(holds, types(), variables)
    if condition.written:
        raise TracingError(
            "while_loop: cond must not assign to Variables, it assigns to "
            f"{', '.join(v.path for v in condition.written)}"
        )
    results = _emit_loop("while", [condition, region], [*carry.tensors, *counter], variables, {})
    found = carry.nest(results[: len(carry.tensors)])
    return found if several else found[0]


def _as_tuple(result: Any, several: bool, count: int, op: str) -> tuple[Any, ...]:
    if not several:
        return (result,)
    if not isinstance(result, tuple | list) or len(result) != count:
        raise ArgumentError(f"{op}: a step must return {count} variables, received {result!r}")
    return tuple(result)


def _while_in_python(
    cond: Callable[..., Any], body: Callable[..., Any], values: tuple[Any, ...], several: bool, most: Any
) -> Any:
    from .core import convert_to_tensor

    state = jax.tree.map(convert_to_tensor, values)
    turns = 0
    while (most is None or turns < int(most)) and bool(cond(*state)):
        after = _as_tuple(body(*state), several, len(values), "while_loop")
        state = _same_types(state, after, values, "while_loop")
        turns += 1
    return state if several else state[0]


def _same_types(before: Any, after: Any, first: Any, op: str) -> Any:
    """The state after a step of a loop that runs in Python, which must keep its types as a compiled one must."""
    from .core import convert_to_tensor

    old, structure = jax.tree.flatten(before)
    new, other = jax.tree.flatten(after)
    _same_nest(structure, other, op)
    names, numbers = _leaf_names(structure), [is_scalar(leaf) for leaf in jax.tree.leaves(first)]
    results = []
    for name, was, now, number in zip(names, old, new, numbers):
        now = convert_to_tensor(now, dtype=was.dtype.name if is_scalar(now) else None)
        if now.shape != was.shape or (now.dtype != was.dtype and not number):
            kind = DTypeError if now.shape == was.shape else ShapeError
            raise kind(
                f"{op}: carry{name} starts as {was.dtype.name}{was.shape} and is {now.dtype.name}{now.shape} after a "
                "step; a loop carries one type and shape"
            )
        results.append(now)
    return jax.tree.unflatten(structure, results)


def _emit_loop(
    op: str,
    regions: Sequence[Region],
    carries: Sequence[Tensor],
    variables: Sequence[Variable],
    attributes: dict[str, Any],
) -> tuple[Tensor, ...]:
    """Emit ``while``: the last region is the step. Writes the Variables back; returns the carries."""
    trace = require_trace()
    captured = all_captures(regions)
    held = [Tensor(value, trace) for value in captured]
    state = [*carries, *(trace.read(v) for v in variables)]
    *conditions, step = regions
    graphs = [c.close(captured) for c in conditions] + [step.close(captured, variables)]
    results = trace.emit(op, (*held, *state), {"consts": len(held), **attributes}, graphs)
    for variable, result in zip(variables, results[len(carries) :]):
        trace.write(variable, result)
    return results[: len(carries)]


@_recordable
def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Apply ``f`` to a carry and to each slice of ``xs`` along the first axis in turn.

    Args:
        f: ``(carry, x) -> (carry, y)``.
        init: the first carry, a nest of tensors.
        xs: a nest of tensors of one length, or None.
        length: the number of steps; needed where there are no ``xs``.
        reverse: go from the last slice to the first.
        unroll: accepted, as a hint of no effect here.

    Returns:
        The last carry, and the ``y`` of all steps stacked.
    """
    if not isinstance(unroll, bool) and (not isinstance(unroll, int) or unroll < 1):
        raise ArgumentError(f"scan: expected unroll as a positive integer or bool, received {unroll!r}")
    steps = _length(xs, length)
    if current_trace() is None:
        return _scan_in_python(f, init, xs, steps, reverse)
    carry = _Carry(init, "scan")
    leaves, xs_structure = jax.tree.flatten(xs)
    slices = [
        match_shape(t, (steps, *b.shape_of(t)[1:]), "scan: all of xs must have one length")
        for t in [as_tensor(leaf) for leaf in leaves]
    ]
    count = len(carry.tensors)
    structure: list[Any] = [None]

    def step(*tensors: Tensor) -> Any:
        result = f(carry.nest(tensors[:count]), jax.tree.unflatten(xs_structure, tensors[count:]))
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise ArgumentError(f"scan: f must return (carry, y), received {result!r}")
        ys, structure[0] = jax.tree.flatten(result[1])
        return [*carry.checked(result[0]), *(as_tensor(y) for y in ys)]

    def types() -> list[TensorType]:
        return carry.types + [t.value.type.with_shape(b.shape_of(t)[1:]) for t in slices]

    region, variables = _settled(carry, lambda known: trace_region(step, types(), known))
    results = _emit_scan(region, carry.tensors, slices, variables, steps, reverse)
    return carry.nest(results[:count]), jax.tree.unflatten(structure[0], results[count:])


def _emit_scan(
    region: Region,
    carries: Sequence[Tensor],
    slices: Sequence[Tensor],
    variables: Sequence[Variable],
    length: DimLike,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """Emit ``scan``, whose carries are the tensors, then the Variables. Returns carries and stacked results."""
    trace = require_trace()
    captured = all_captures([region])
    held = [Tensor(value, trace) for value in captured]
    state = [*carries, *(trace.read(v) for v in variables)]
    graph = region.close(captured, variables)
    # close() left [captured, carries, slices, Variables] -> [carries, ys, Variables]; Variables belong behind carries.
    first, count, total = len(held), len(carries), len(variables)
    _tail_to(graph.inputs, first + count, total)
    _tail_to(graph.input_names, first + count, total)
    _tail_to(graph.outputs, count, total)
    attributes = {"consts": first, "carries": count + total, "length": length, "reverse": bool(reverse)}
    results = trace.emit("scan", (*held, *state, *slices), attributes, [graph])
    for variable, result in zip(variables, results[count : count + total]):
        trace.write(variable, result)
    return results[:count] + results[count + total :]


def _tail_to(values: list[Any], place: int, count: int) -> None:
    """Move the last ``count`` items to ``place``."""
    first = len(values) - count
    values[place:] = values[first:] + values[place:first]


def _length(xs: Any, length: Any) -> DimLike:
    leaves = jax.tree.leaves(xs)
    if any(not np.ndim(leaf) if not hasattr(leaf, "shape") else not len(leaf.shape) for leaf in leaves):
        raise ShapeError("scan: xs must have a first axis to go along, received a tensor without dimensions")
    sizes = [plain_dims(leaf.shape[0] if hasattr(leaf, "shape") else len(leaf)) for leaf in leaves]
    if length is not None:
        steps = plain_dims(length) if isinstance(length, Dim) else b.int_arg(length, "scan", "length")
        sizes.insert(0, steps)
    if not sizes:
        raise ArgumentError("scan: expected xs or length")
    if any(isinstance(s, int) and isinstance(sizes[0], int) and s != sizes[0] for s in sizes):
        raise ShapeError(f"scan: all of xs must have one length, received {', '.join(str(s) for s in sizes)}")
    return sizes[0]


def _scan_in_python(f: Callable[[Any, Any], Any], init: Any, xs: Any, steps: DimLike, reverse: bool) -> tuple[Any, Any]:
    from .core import convert_to_tensor
    from .rearranging import stack

    assert isinstance(steps, int)
    carry = jax.tree.map(convert_to_tensor, init)
    arrays = jax.tree.map(convert_to_tensor, xs)
    if not steps:
        return _no_steps(f, carry, arrays)
    ys: list[Any] = [None] * steps
    for i in reversed(range(steps)) if reverse else range(steps):
        after, ys[i] = f(carry, jax.tree.map(operator.itemgetter(i), arrays))
        carry = _same_types(carry, after, init, "scan")
    return carry, jax.tree.map(lambda *parts: stack(parts), *ys)


def _no_steps(f: Callable[[Any, Any], Any], carry: Any, arrays: Any) -> tuple[Any, Any]:
    """A scan over nothing: the type of what would have been stacked is found by tracing."""
    return run_eagerly(lambda c, x: scan(f, c, x, 0), (carry, arrays), {}, cache=EagerCache())


@_recordable
def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """Apply ``body_fun(i, value)`` for i from ``lower`` below ``upper``; returns the last value."""
    if current_trace() is None:
        from .core import convert_to_tensor

        value = jax.tree.map(convert_to_tensor, init_val)
        for i in range(int(lower), int(upper)):
            value = _same_types(value, body_fun(i, value), init_val, "fori_loop")
        return value
    if isinstance(lower, Tensor) or isinstance(upper, Tensor):
        first, last = (cast(as_tensor(bound), "int32") for bound in (lower, upper))
        return while_loop(
            lambda i, _: b.compare("LT", i, last), lambda i, value: (b.add(i, 1), body_fun(i, value)), (first, init_val)
        )[1]
    low, high = (plain_dims(v) if isinstance(v, Dim) else b.int_arg(v, "fori_loop", "a bound") for v in (lower, upper))
    count = high - low
    if isinstance(count, int) and count <= 0:
        return jax.tree.map(as_tensor, init_val)

    def step(state: tuple[Tensor, Any], _: None) -> Any:
        return (b.add(state[0], 1), body_fun(*state)), None

    return scan(step, (b.dim_tensor(low, "int32"), init_val), length=count)[0][1]


@_recordable
def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """``f`` of each slice of ``xs`` along the first axis, stacked."""
    return scan(lambda _, x: ((), f(x)), (), xs)[1]


@_recordable
def associative_scan(f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """The results of an associative ``f`` on the elements up to each along ``axis``, in about log2(n) steps.

    Args:
        f: combines two nests of tensors elementwise along ``axis``.
        elems: a nest of tensors of one known size along ``axis``.
        reverse: from the last element backwards.
    """
    if current_trace() is None:
        return run_eagerly(lambda nest: associative_scan(f, nest, reverse, axis), (elems,), {}, cache=EagerCache())
    leaves, structure = jax.tree.flatten(elems)
    tensors = [as_tensor(leaf) for leaf in leaves]
    if not tensors:
        raise ArgumentError("associative_scan: expected at least one tensor, received none")
    axes = [axis % t.ndim if t.ndim else 0 for t in tensors]
    sizes = {
        b.static_dim(b.shape_of(t)[a], "associative_scan", f"the size of axis {axis}") for t, a in zip(tensors, axes)
    }
    if len(sizes) != 1:
        raise ShapeError(
            f"associative_scan: all tensors must have one size along axis {axis}, received {sorted(sizes)}"
        )

    def combine(left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
        result = f(jax.tree.unflatten(structure, left), jax.tree.unflatten(structure, right))
        return [as_tensor(leaf) for leaf in jax.tree.leaves(result)]

    def parts(ts: list[Tensor], start: int, limit: int, stride: int = 1) -> list[Tensor]:
        return [b.cut(t, a, start, limit, stride) for t, a in zip(ts, axes)]

    def run(ts: list[Tensor], n: int) -> list[Tensor]:
        """Pairs are combined, scanned, and give the odd places; one more step gives the even ones."""
        if n < 2:
            return ts
        half = n // 2
        odd = run(combine(parts(ts, 0, 2 * half - 1, 2), parts(ts, 1, 2 * half, 2)), half)
        even = parts(ts, 0, 1)
        if n > 2:
            rest = combine(parts(odd, 0, (n - 1) // 2), parts(ts, 2, n, 2))
            even = [b.concatenate([e, r], a) for e, r, a in zip(even, rest, axes)]
        return [_interleaved(e, o, a, n) for e, o, a in zip(even, odd, axes)]

    if reverse:
        tensors = [emit("reverse", t, axes=(a,)) for t, a in zip(tensors, axes)]
    results = run(tensors, sizes.pop())
    if reverse:
        results = [emit("reverse", t, axes=(a,)) for t, a in zip(results, axes)]
    return jax.tree.unflatten(structure, results)


def _interleaved(even: Tensor, odd: Tensor, axis: int, n: int) -> Tensor:
    """Elements 0, 2, 4 ... and 1, 3, 5 ... in their places."""
    shape = list(b.shape_of(even))
    if n % 2:
        odd = b.pad_with(odd, 0, [0] * odd.ndim, [1 if i == axis else 0 for i in range(odd.ndim)])
    wide = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
    both = b.concatenate([b.reshape(even, wide), b.reshape(odd, wide)], axis + 1)
    joined = b.reshape(both, [*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]])
    return b.cut(joined, axis, 0, n)
