"""Symbolic dimensions: integers that a trace does not know yet, with exact arithmetic.

A dimension is an ``int`` or a :class:`Dim`, an integer polynomial over *atoms*. An atom is a symbol (``N``, an
integer >= 0) or an operation that has no polynomial form (``T//2``, ``max(N, 3)``). Polynomials are kept in a normal
form, so structural equality is algebraic equality, and a result that is constant is a plain ``int`` again.

``a % b`` is ``a - b*(a//b)``, which keeps ``(a//b)*b + a%b == a`` exact.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Union

from .errors import ArgumentError, GuardError, ParseError

DimLike = Union[int, "Dim"]
_INFINITY = float("inf")


class Atom:
    """A symbol, or an operation on dimensions that no polynomial expresses."""

    __slots__ = ("args", "key", "kind")

    def __init__(self, kind: str, args: tuple) -> None:
        self.kind = kind  # "symbol", "floordiv", "max" or "min"
        self.args = args  # ("N",) or two dimensions
        self.key = args[0] if kind == "symbol" else f"{kind}({args[0]},{args[1]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        if self.kind == "symbol":
            return self.args[0]
        if self.kind == "floordiv":
            return f"{_wrap(self.args[0])}//{_wrap(self.args[1])}"
        return f"{self.kind}({self.args[0]},{self.args[1]})"


def _wrap(dim: DimLike) -> str:
    text = str(dim)
    return text if text.isidentifier() or text.isdigit() else f"({text})"


Monomial = tuple[Atom, ...]


class Dim:
    """An integer expression over symbols, in normal form; immutable and hashable.

    Supports ``+ - * // %`` with integers and other dimensions. ``==`` is algebraic equality. An order comparison that
    does not hold for all values of the symbols, or for none, raises :class:`GuardError`; use :func:`ge` to ask.
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __add__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        total = dict(self.terms)
        for monomial, coefficient in _terms(other):
            total[monomial] = total.get(monomial, 0) + coefficient
        return _normal(total)

    __radd__ = __add__

    def __neg__(self) -> DimLike:
        return self * -1

    def __sub__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        return self + (-1 * other)

    def __rsub__(self, other: DimLike) -> DimLike:
        return (-1 * self) + other

    def __mul__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        total: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                monomial = tuple(sorted(left + right, key=lambda atom: atom.key))
                total[monomial] = total.get(monomial, 0) + a * b
        return _normal(total)

    __rmul__ = __mul__

    def __floordiv__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        return _floordiv(self, other)

    def __rfloordiv__(self, other: DimLike) -> DimLike:
        return _floordiv(other, self)

    def __mod__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        return self - other * (self // other)

    def __rmod__(self, other: DimLike) -> DimLike:
        return other - self * (other // self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __ge__(self, other: DimLike) -> bool:
        return _decided(self, ">=", other, ge(self, other))

    def __gt__(self, other: DimLike) -> bool:
        return _decided(self, ">", other, ge(self, other + 1))

    def __le__(self, other: DimLike) -> bool:
        return _decided(self, "<=", other, ge(other, self))

    def __lt__(self, other: DimLike) -> bool:
        return _decided(self, "<", other, ge(other, self + 1))

    def __str__(self) -> str:
        parts = []
        for monomial, coefficient in self.terms:
            factors = [
                str(atom) if atom.kind != "floordiv" or (len(monomial) == 1 and coefficient == 1) else f"({atom})"
                for atom in monomial
            ]
            if not factors or abs(coefficient) != 1:
                factors.insert(0, str(abs(coefficient)))
            parts.append(("-" if coefficient < 0 else "+") + "*".join(factors))
        text = "".join(parts)
        return text[1:] if text.startswith("+") else text

    __repr__ = __str__


def _terms(dim: DimLike) -> Iterable[tuple[Monomial, int]]:
    return dim.terms if isinstance(dim, Dim) else (((), int(dim)),)


def _normal(terms: Mapping[Monomial, int]) -> DimLike:
    kept = {monomial: c for monomial, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    # Highest degree first, constants last: 2*N+1.
    return Dim(tuple(sorted(kept.items(), key=lambda t: (-len(t[0]), [atom.key for atom in t[0]]))))


def _atom(kind: str, *args: object) -> DimLike:
    return Dim((((Atom(kind, args),), 1),))


def symbol(name: str) -> Dim:
    """Return the dimension named ``name`` (an identifier), an unknown integer >= 0."""
    if not name.isidentifier() or name in ("max", "min"):
        raise ArgumentError(f"a symbolic dimension is named by an identifier such as 'N', received {name!r}")
    return Dim((((Atom("symbol", (name,)),), 1),))


def _decided(left: DimLike, relation: str, right: DimLike, truth: bool | None) -> bool:
    if truth is None:
        raise GuardError(f"whether {left} {relation} {right} depends on the values of its symbols")
    return truth


def _floordiv(left: DimLike, right: DimLike) -> DimLike:
    if isinstance(right, int):
        if right == 0:
            raise ZeroDivisionError(f"{left} // 0")
        if isinstance(left, int):
            return left // right
        if right < 0:
            return _floordiv(-left, -right)
        # (k*A + B) // k == A + B//k for integers: divide what divides exactly.
        whole = _normal({m: c // right for m, c in left.terms if c % right == 0 or not m})
        rest = _normal({m: (c if m else c % right) for m, c in left.terms if c % right})
        if isinstance(rest, int):
            return whole + rest // right
        return whole + _atom("floordiv", rest, right)
    exact = _divide_by_monomial(left, right)
    return exact if exact is not None else _atom("floordiv", left, right)


def _divide_by_monomial(left: DimLike, right: Dim) -> DimLike | None:
    """``left / right`` where ``right`` divides every term of ``left``, else None."""
    if left == right:
        return 1
    if len(right.terms) != 1:
        return None
    (divisor, d), result = right.terms[0], {}
    for monomial, c in _terms(left):
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % d:
            return None
        result[tuple(rest)] = c // d
    return _normal(result)


def max_dim(a: DimLike, b: DimLike) -> DimLike:
    """The larger of two dimensions, an expression where it depends on the symbols."""
    truth = ge(a, b)
    if truth is not None:
        return a if truth else b
    if ge(b, a):
        return b
    return _atom("max", *sorted((a, b), key=str))


def min_dim(a: DimLike, b: DimLike) -> DimLike:
    """The smaller of two dimensions, an expression where it depends on the symbols."""
    truth = ge(a, b)
    if truth is not None:
        return b if truth else a
    if ge(b, a):
        return a
    return _atom("min", *sorted((a, b), key=str))


def ge(a: DimLike, b: DimLike) -> bool | None:
    """Whether ``a >= b`` for all values of the symbols: True, False (never) or None (it depends)."""
    difference = a - b
    if isinstance(difference, int):
        return difference >= 0
    low, high = bounds(difference)
    if low >= 0:
        return True
    return False if high < 0 else None


def same(a: DimLike, b: DimLike) -> bool | None:
    """Whether ``a == b`` for all values of the symbols: True, False (never) or None (it depends)."""
    if a == b:
        return True
    difference = a - b
    if isinstance(difference, int):
        return difference == 0
    low, high = bounds(difference)
    return False if low > 0 or high < 0 else None


def bounds(dim: DimLike) -> tuple[float, float]:
    """The least and greatest value that interval arithmetic can promise (symbols range over 0 and up)."""
    low = high = 0.0
    for monomial, coefficient in _terms(dim):
        interval = (1.0, 1.0)
        for atom in monomial:
            interval = _times(interval, _atom_bounds(atom))
        interval = _times(interval, (coefficient, coefficient))
        low, high = low + interval[0], high + interval[1]
    return low, high


def _times(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    products = [0.0 if x == 0 or y == 0 else x * y for x in a for y in b]
    return min(products), max(products)


def _atom_bounds(atom: Atom) -> tuple[float, float]:
    if atom.kind == "symbol":
        return 0.0, _INFINITY
    (a, b), (c, d) = bounds(atom.args[0]), bounds(atom.args[1])
    if atom.kind == "max":
        return max(a, c), max(b, d)
    if atom.kind == "min":
        return min(a, c), min(b, d)
    if c <= 0:
        return -_INFINITY, _INFINITY
    low = a if a == -_INFINITY else min(a // c, a // d if d != _INFINITY else (0 if a >= 0 else -1))
    high = b if b == _INFINITY else max(b // c, b // d if d != _INFINITY else (0 if b >= 0 else -1))
    return low, high


def free_symbols(*dims: DimLike) -> set[str]:
    """The names of the symbols that occur in ``dims``."""
    found: set[str] = set()
    for dim in dims:
        for monomial, _ in _terms(dim):
            for atom in monomial:
                found |= {atom.args[0]} if atom.kind == "symbol" else free_symbols(*atom.args)
    return found


def substitute(dim: DimLike, values: Mapping[str, DimLike]) -> DimLike:
    """Replace symbols by ``values``; symbols that are not named stay."""
    if isinstance(dim, int):
        return dim
    total: DimLike = 0
    for monomial, coefficient in dim.terms:
        product: DimLike = coefficient
        for atom in monomial:
            product = product * _substitute_atom(atom, values)
        total = total + product
    return total


def _substitute_atom(atom: Atom, values: Mapping[str, DimLike]) -> DimLike:
    if atom.kind == "symbol":
        return values.get(atom.args[0], Dim((((atom,), 1),)))
    a, b = (substitute(arg, values) for arg in atom.args)
    if atom.kind == "floordiv":
        return a // b
    return max_dim(a, b) if atom.kind == "max" else min_dim(a, b)


def evaluate_dim(dim: DimLike, values: Mapping[str, int]) -> int:
    """The integer that ``dim`` is under ``values``. Raises :class:`GuardError` where a symbol has no value."""
    result = substitute(dim, values)
    if isinstance(result, Dim):
        missing = ", ".join(sorted(free_symbols(result)))
        raise GuardError(f"dimension {dim} needs a value for {missing}; given: {dict(values) or 'none'}")
    return result


_NODES = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}


def parse_dim(text: str) -> DimLike:
    """Read ``"N"``, ``"2*N+1"``, ``"max(T//2,3)"`` or an integer. Raises :class:`ParseError`."""
    try:
        return _from_ast(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, KeyError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise ParseError(f"not a dimension: {text!r}; expected an integer or an expression such as 2*N+1") from error


def _from_ast(node: ast.expr) -> DimLike:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError(node)
        case ast.Constant(value=int() as value):
            return value
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_from_ast(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _NODES[type(op)](_from_ast(left), _from_ast(right))
        case ast.Call(func=ast.Name(id=("max" | "min") as name), args=[left, right]):
            return (max_dim if name == "max" else min_dim)(_from_ast(left), _from_ast(right))
    raise ValueError(ast.dump(node))
