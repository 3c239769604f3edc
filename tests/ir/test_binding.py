"""Binding symbols to concrete shapes, and checking what a trace assumed of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ir.binding import bind_symbols, broken_guard, check_guards, simplify_guards
from lamina.ir.dims import evaluate_dim, max_dim, min_dim, symbol
from lamina.ir.errors import GuardError, ShapeError
from lamina.ir.graph import Guard
from lamina.ir.types import F32, TensorType

N, M, T = symbol("N"), symbol("M"), symbol("T")


def bind(*pairs, known=None):
    return bind_symbols([(f"input {i}", TensorType(F32, t), s) for i, (t, s) in enumerate(pairs)], known)


def test_symbols_take_the_sizes():
    assert bind(((N, 3), (5, 3)), ((T, N), (0, 5))) == {"N": 5, "T": 0}


def test_an_expression_is_solved_when_linear():
    assert bind(((2 * N + 1,), (7,))) == {"N": 3}
    assert bind(((N + M, N), (7, 3))) == {"N": 3, "M": 4}


def test_an_expression_before_its_symbol():
    assert bind(((N * M, T // 2), (12, 3)), ((N, M, T), (3, 4, 7))) == {"N": 3, "M": 4, "T": 7}


def test_known_values_are_checked():
    assert bind(((N,), (4,)), known={"N": 4, "M": 9}) == {"N": 4, "M": 9}
    with pytest.raises(
        ShapeError, match=r"input 0: expected f32\[N\], received shape \(5,\).*should be 4.*N=4 \(from given\)"
    ):
        bind(((N,), (5,)), known={"N": 4})


@given(st.fixed_dictionaries({name: st.integers(0, 9) for name in "NMT"}))
def test_shapes_of_given_sizes_bind_back(sizes):
    types = [(N, M + N, 3), (2 * M, T), (max_dim(N, T), (T + 1) // 2)]
    shapes = [tuple(evaluate_dim(d, sizes) for d in t) for t in types]
    assert bind(*zip(types, shapes, strict=True)) == sizes


def test_wrong_rank():
    with pytest.raises(ShapeError, match=r"input 0: expected rank 2, f32\[N,3\]; received shape \(5,\)"):
        bind(((N, 3), (5,)))


def test_wrong_size_names_what_fixed_the_symbol():
    with pytest.raises(ShapeError, match=r"input 1: .*axis 0 should be 5, since N=5 \(from input 0 axis 0\)"):
        bind(((N,), (5,)), ((N,), (6,)))


def test_wrong_static_size():
    with pytest.raises(ShapeError, match="axis 1 should be 3"):
        bind(((N, 3), (5, 4)))


@pytest.mark.parametrize(("dim", "size"), [(2 * N + 1, 6), (N + 5, 3), (min_dim(N, 3), 3), (T // 2, 1), (N * N, 4)])
def test_equations_without_one_linear_solution(dim, size):
    with pytest.raises(ShapeError, match=f"which size {size} does not fix"):
        bind(((dim,), (size,)))


def test_a_symbol_that_nothing_fixes():
    with pytest.raises(ShapeError, match=r"axis 0 is M\+N, which size 5 does not fix: .* M, N >= 0"):
        bind(((N + M,), (5,)))


@pytest.mark.parametrize(
    ("guard", "good", "bad"),
    [
        (Guard("==", N, M), {"N": 2, "M": 2}, {"N": 2, "M": 3}),
        (Guard("!=", N, 1), {"N": 2}, {"N": 1}),
        (Guard(">=", N, 3), {"N": 3}, {"N": 2}),
        (Guard("<", N, 2 * M), {"N": 3, "M": 2}, {"N": 4, "M": 2}),
    ],
)
def test_guards(guard, good, bad):
    assert broken_guard(guard, good) is None
    check_guards([guard], good)
    with pytest.raises(GuardError, match="the trace assumed"):
        check_guards([guard], bad)


def test_a_broken_guard_says_why_and_with_what():
    guard = Guard("==", N, M, "adding x and y")
    assert "N == M (adding x and y" in broken_guard(guard, {"N": 2, "M": 3})
    assert "M=3, N=2" in broken_guard(guard, {"N": 2, "M": 3})


def test_simplified_guards_keep_what_still_depends():
    guards = [Guard("==", N, M), Guard(">=", T, 2), Guard("==", N, 4)]
    kept = simplify_guards(guards, {"N": 4, "M": 4})
    assert [str(g) for g in kept] == ["T >= 2"]


def test_simplified_guards_keep_what_is_broken():
    kept = simplify_guards([Guard("==", N, M)], {"N": 4, "M": 5})
    with pytest.raises(GuardError):
        check_guards(kept, {})
