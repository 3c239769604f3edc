"""Stateless calls: for a while Variables hold values that were passed in; what is assigned to them does not last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..ir.errors import ArgumentError
from .convert import as_tensor
from .dispatch import EagerCache, run_eagerly
from .trace import current_trace, require_trace
from .variable import Variable, autocast


@contextmanager
def holding(variables: Sequence[Variable], values: Sequence[Any]) -> Iterator[None]:
    """Within the block each Variable holds the value given for it; afterwards what it held before.

    What was assigned meanwhile is read, before the block ends, by :func:`held`.
    """
    with _holding_arrays(variables, values) if current_trace() is None else _holding_tensors(variables, values):
        yield


@contextmanager
def _holding_tensors(variables: Sequence[Variable], values: Sequence[Any]) -> Iterator[None]:
    trace = require_trace()
    before = [(v, trace.variables.get(v), v in trace.written) for v in variables]
    try:
        with autocast(None):
            for variable, value in zip(variables, values, strict=True):
                tensor = as_tensor(value, variable._dtype)
                variable._check_shape(tensor.value.type.shape)
                trace.variables[variable] = trace.take(tensor)
        yield
    finally:
        for variable, held_value, written in before:
            if held_value is None:
                trace.variables.pop(variable, None)
            else:
                trace.variables[variable] = held_value
            if not written:
                trace.written.pop(variable, None)


@contextmanager
def _holding_arrays(variables: Sequence[Variable], values: Sequence[Any]) -> Iterator[None]:
    before = [v._value for v in variables]
    try:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        yield
    finally:
        for variable, array in zip(variables, before, strict=True):
            variable._set(array)


def held(variables: Sequence[Variable]) -> list[Any]:
    """What the Variables hold at this point of the trace, as tensors of their own types."""
    with autocast(None):
        return [v.value for v in variables]


def stateless(
    body: Callable[..., Any],
    variables: Sequence[Variable],
    values: Sequence[Any],
    args: tuple = (),
    kwargs: dict[str, Any] | None = None,
    cache: EagerCache | None = None,
    key: Any = None,
) -> tuple[Any, list[Any]]:
    """Run ``body(*args, **kwargs)`` while ``variables`` hold ``values``.

    Args:
        body: reads and assigns the Variables.
        variables, values: what holds what.
        args, kwargs: its arguments.
        cache, key: outside of a trace it is compiled: where the program is kept, and what it depends on besides the
            arguments.

    Returns:
        What ``body`` returned, and what the Variables hold after it. The Variables themselves are as before.
    """

    def run(values: Sequence[Any], args: tuple, kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
        with holding(variables, values):
            result = body(*args, **kwargs)
            return result, held(variables)

    if current_trace() is not None:
        return run(values, args, kwargs or {})
    call = _Keyed(run, key) if key is not None else run
    return run_eagerly(call, (list(values), args, kwargs or {}), {}, cache=cache or EagerCache(), weak=False)


class _Keyed:
    """A function that equals others made with an equal key, so that a cache finds what was compiled for them."""

    def __init__(self, function: Callable[..., Any], key: Any) -> None:
        self.function = function
        self.key = key
        self.__name__ = getattr(function, "__name__", "stateless")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def check_values(what: str, variables: Sequence[Variable], values: Sequence[Any], owner: str) -> None:
    """Raise :class:`ArgumentError` where there is not one value for each Variable."""
    if len(values) != len(variables):
        raise ArgumentError(
            f"{owner}: {what} must hold one tensor for each of its {len(variables)} {what.replace('_', ' ')}, received "
            f"{len(values)}"
        )
