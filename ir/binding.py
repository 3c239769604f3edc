"""Binding symbolic dimensions to the integers of concrete shapes, and checking what the trace assumed of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index

from .dims import Dim, DimLike, evaluate_dim, free_symbols, same, substitute
from .errors import ArgumentError, GuardError, ShapeError
from .graph import Graph, Guard
from .types import TensorType


def checked_sizes(dims: object) -> dict[str, DimLike]:
    """Sizes of symbols as a user gave them. Raises :class:`ArgumentError` where they are no ``{"N": 32}``."""
    if not isinstance(dims, Mapping):
        raise ArgumentError(f"expected sizes of symbolic dimensions such as {{'N': 32}}, received {dims!r}")
    sizes: dict[str, DimLike] = {}
    for name, size in dims.items():
        if not isinstance(size, Dim):
            try:
                size = index(size)
            except TypeError:
                raise ArgumentError(f"{name}={size!r}: a dimension is an integer >= 0") from None
            if size < 0:
                raise ArgumentError(f"{name}={size}: a dimension is >= 0")
        sizes[name] = size
    return sizes


def bind_symbols(
    named: Iterable[tuple[str, TensorType, Sequence[int]]], known: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Solve for the symbols of types from concrete shapes.

    Args:
        named: for each array a name for errors, its type and its shape.
        known: symbols that are fixed already.

    Returns:
        A value for every symbol. Raises :class:`ShapeError` where a rank or a dimension does not fit.
    """
    values = dict(known or {})
    origin = dict.fromkeys(values, "given")
    open_equations: list[tuple[str, TensorType, Sequence[int], int]] = []
    for name, type_, shape in named:
        if len(type_.shape) != len(shape):
            raise ShapeError(f"{name}: expected rank {len(type_.shape)}, {type_}; received shape {tuple(shape)}")
        for axis, (dim, size) in enumerate(zip(type_.shape, shape, strict=True)):
            symbols = free_symbols(dim)
            if len(symbols) == 1 and dim == _symbol_of(dim) and next(iter(symbols)) not in values:
                values[next(iter(symbols))] = size
                origin[next(iter(symbols))] = f"{name} axis {axis}"
            else:
                open_equations.append((name, type_, shape, axis))
    for name, type_, shape, axis in open_equations:
        _solve(type_.shape[axis], shape[axis], values)
        expected = substitute(type_.shape[axis], values)
        if isinstance(expected, Dim):
            unknown = ", ".join(sorted(free_symbols(expected)))
            raise ShapeError(
                f"{name}: axis {axis} is {type_.shape[axis]}, which size {shape[axis]} does not fix: expected "
                f"exactly one solution in whole numbers {unknown} >= 0; give {unknown} as a plain dimension, too"
            )
        if expected != shape[axis]:
            known_from = ", ".join(
                f"{s}={values[s]} (from {origin.get(s, 'an equation')})"
                for s in sorted(free_symbols(type_.shape[axis]))
            )
            raise ShapeError(
                f"{name}: expected {type_}, received shape {tuple(shape)}: axis {axis} should be "
                f"{expected}" + (f", since {known_from}" if known_from else "")
            )
    return values


def _symbol_of(dim: DimLike) -> DimLike | None:
    """``dim`` itself where it is a bare symbol."""
    if isinstance(dim, Dim) and len(dim.terms) == 1:
        ((monomial, coefficient),) = dim.terms
        if coefficient == 1 and len(monomial) == 1 and monomial[0].kind == "symbol":
            return dim
    return None


def _solve(dim: DimLike, size: int, values: dict[str, int]) -> None:
    """Fix the one unknown of a linear equation such as ``2*N+1 == 7``."""
    rest = substitute(dim, values)
    unknown = free_symbols(rest)
    if not isinstance(rest, Dim) or len(unknown) != 1:
        return
    if any(len(monomial) > 1 or atom.kind != "symbol" for monomial, _ in rest.terms for atom in monomial):
        return  # N*N, min(N, 3): no solution, or several
    name = next(iter(unknown))
    at_zero, at_one = evaluate_dim(rest, {name: 0}), evaluate_dim(rest, {name: 1})
    step = at_one - at_zero
    if step and (size - at_zero) % step == 0:
        solution = (size - at_zero) // step
        if solution >= 0 and evaluate_dim(rest, {name: solution}) == size:
            values[name] = solution


def check_guards(guards: Iterable[Guard], values: Mapping[str, int]) -> None:
    """Raise :class:`GuardError` for the first assumption that ``values`` break."""
    for guard in guards:
        broken = broken_guard(guard, values)
        if broken:
            raise GuardError(broken)


def broken_guard(guard: Guard, values: Mapping[str, int]) -> str | None:
    """What is wrong with ``guard`` under ``values``, or None where it holds."""
    left, right = evaluate_dim(guard.left, values), evaluate_dim(guard.right, values)
    holds = {"==": left == right, "!=": left != right, ">=": left >= right, "<": left < right}[guard.relation]
    if holds:
        return None
    given = ", ".join(f"{s}={values[s]}" for s in sorted(free_symbols(guard.left, guard.right)))
    return (
        f"the trace assumed {guard} ({guard.reason or 'a comparison in Python'}; {guard.location}), "
        f"but {given}; trace again with these sizes, or name the dimensions apart"
    )


def simplify_guards(guards: Iterable[Guard], values: Mapping[str, DimLike]) -> list[Guard]:
    """Guards with symbols replaced; those that hold for all values of the rest are dropped."""
    kept = []
    for g in guards:
        left, right = substitute(g.left, values), substitute(g.right, values)
        if not (g.relation == "==" and same(left, right)):
            kept.append(Guard(g.relation, left, right, g.reason, g.location))
    return kept


def graph_types(graph: Graph) -> list[tuple[str, TensorType]]:
    """Each input's and parameter's name for errors, and type."""
    inputs = [
        (f"input {name or index}", value.type)
        for index, (name, value) in enumerate(zip(graph.input_names, graph.inputs, strict=True))
    ]
    return inputs + [(f"parameter {p.name}", p.type) for p in graph.parameters]
