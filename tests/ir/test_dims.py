"""Dimensions: their arithmetic is that of integers, for every value of the symbols."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lamina.ir.dims import (
    Dim,
    bounds,
    evaluate_dim,
    free_symbols,
    ge,
    max_dim,
    min_dim,
    parse_dim,
    same,
    substitute,
    symbol,
)
from lamina.ir.errors import ArgumentError, GuardError, ParseError

NAMES = ("N", "M", "T")
VALUES = st.fixed_dictionaries({name: st.integers(0, 12) for name in NAMES})


# An expression is kept twice: as a Dim, and as a Python function of the symbols' values.


def _leaf():
    constants = st.integers(-6, 6).map(lambda c: (c, lambda values: c))
    symbols = st.sampled_from(NAMES).map(lambda name: (symbol(name), lambda values: values[name]))
    return symbols | constants


def _combine(children):
    binary = {
        "+": (lambda a, b: a + b, lambda a, b: a + b),
        "-": (lambda a, b: a - b, lambda a, b: a - b),
        "*": (lambda a, b: a * b, lambda a, b: a * b),
        "max": (max_dim, max),
        "min": (min_dim, min),
    }

    def both(name, left, right):
        on_dims, on_integers = binary[name]
        return on_dims(left[0], right[0]), lambda values: on_integers(left[1](values), right[1](values))

    def by_constant(operation, left, k):
        if operation == "//":
            return left[0] // k, lambda values: left[1](values) // k
        return left[0] % k, lambda values: left[1](values) % k

    pairs = st.builds(both, st.sampled_from(sorted(binary)), children, children)
    divided = st.builds(by_constant, st.sampled_from(["//", "%"]), children, st.sampled_from([-3, -2, -1, 1, 2, 3, 4]))
    return pairs | divided


EXPRESSIONS = st.recursive(_leaf(), _combine, max_leaves=6)


@given(EXPRESSIONS, VALUES)
def test_arithmetic_equals_integer_arithmetic(expression, values):
    dim, meaning = expression
    assert evaluate_dim(dim, values) == meaning(values)


@given(EXPRESSIONS)
def test_text_reads_back_equal(expression):
    dim, _ = expression
    assert parse_dim(str(dim)) == dim
    assert not isinstance(dim, Dim) or hash(parse_dim(str(dim))) == hash(dim)


@given(EXPRESSIONS, EXPRESSIONS, VALUES)
def test_decided_comparisons_hold_for_all_values(left, right, values):
    (a, a_meaning), (b, b_meaning) = left, right
    x, y = a_meaning(values), b_meaning(values)
    assert ge(a, b) in (None, x >= y)
    assert same(a, b) in (None, x == y)
    if a == b:
        assert x == y


@given(EXPRESSIONS, VALUES)
def test_bounds_hold(expression, values):
    dim, meaning = expression
    low, high = bounds(dim)
    assert low <= meaning(values) <= high


@given(EXPRESSIONS, EXPRESSIONS, VALUES)
def test_division_by_a_dimension(left, right, values):
    (a, a_meaning), (b, b_meaning) = left, right
    assume(b_meaning(values) != 0)
    assert evaluate_dim(a // b, values) == a_meaning(values) // b_meaning(values)
    assert evaluate_dim(a % b, values) == a_meaning(values) % b_meaning(values)


@given(EXPRESSIONS, EXPRESSIONS)
def test_quotient_and_remainder_give_the_dividend(left, right):
    a, b = left[0], right[0]
    assume(b != 0)
    assert (a // b) * b + a % b == a


@given(EXPRESSIONS, EXPRESSIONS, VALUES)
def test_substituting_a_dimension_is_composition(outer, inner, values):
    (a, a_meaning), (b, b_meaning) = outer, inner
    assume(b_meaning(values) >= 0)  # as every symbol's value
    replaced = substitute(a, {"N": b})
    assert evaluate_dim(replaced, values) == a_meaning({**values, "N": b_meaning(values)})


@given(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS)
def test_ring_laws_are_structural(first, second, third):
    a, b, c = first[0], second[0], third[0]
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) + c == a + (b + c)
    assert (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0


N, M, T = map(symbol, NAMES)


def test_constant_results_are_plain_integers():
    assert isinstance(N - N, int)
    assert N - N == 0
    assert isinstance((2 * N) // N, int)
    assert (N + 3) - N == 3
    assert (4 * N + 2) % 2 == 0


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (2 * N + 1, "2*N+1"),
        (T // 2, "T//2"),
        ((N + 1) // 2, "(N+1)//2"),
        ((2 * N + 3) // 2, "N+1"),
        (max_dim(N, 3), "max(3,N)"),
        (-N, "-N"),
        (N * N, "N*N"),
        (2 * (T // 2), "2*(T//2)"),
    ],
)
def test_text(dim, text):
    assert str(dim) == text


def test_exact_division():
    assert (6 * N) // 3 == 2 * N
    assert (6 * N + 5) // 3 == 2 * N + 1
    assert (N * M) // M == N
    assert (N * M + M) // M == N + 1


def test_comparisons_that_are_decided():
    assert ge(N, 0) is True
    assert ge(N + 1, 1) is True
    assert ge(-1 * N, 1) is False
    assert ge(N, M) is None
    assert same(N, N + 1) is False
    assert same(N, M) is None
    assert same(N + 1, 0) is False
    assert N + 1 > N
    assert N <= 2 * N


def test_undecided_order_raises():
    with pytest.raises(GuardError, match="N >= 3 depends on the values"):
        bool(N >= 3)


def test_missing_value_is_named():
    with pytest.raises(GuardError, match="needs a value for M"):
        evaluate_dim(N + M, {"N": 2})


def test_free_symbols_reach_into_operations():
    assert free_symbols(max_dim(N, T // 2), M * 2, 5) == {"N", "T", "M"}


@pytest.mark.parametrize("text", ["", "N+", "f(N)", "N.x", "1.5", "True", "N/2", "N//0", "max(N)", "'N'", "N M"])
def test_what_is_no_dimension(text):
    with pytest.raises(ParseError, match="not a dimension"):
        parse_dim(text)


@pytest.mark.parametrize("name", ["", "2N", "a b", "max", "min"])
def test_bad_symbol_names(name):
    with pytest.raises(ArgumentError, match="identifier"):
        symbol(name)


def test_division_by_zero():
    with pytest.raises(ZeroDivisionError):
        N // 0
