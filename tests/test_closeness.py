"""The comparison that other tests stand on finds what is wrong and lets through what rounding explains."""

import numpy as np
import pytest
from closeness import SCALED, SUMS, ULP, assert_close
from op_cases import use

from lamina.ir import OPS, evaluate

X = np.array([0.5, -0.0, 3.0, np.nan, np.inf], np.float32)


def results_of(case):
    return evaluate(case[0], *case[1])[0]


def test_every_bound_is_of_an_op():
    assert {*ULP, *SUMS, *SCALED} <= set(OPS)
    assert not SUMS & {*ULP, *SCALED} and not set(ULP) & set(SCALED)


@pytest.mark.parametrize("name", ["tanh", "negate", "relu"])
def test_the_meaning_itself_is_close(name):
    case = use(name, X)
    assert_close(*case, results_of(case))


def test_an_error_within_the_bound_is_let_through_and_a_larger_one_found():
    case = use("tanh", X[:1])
    exact = results_of(case)[0]
    step = np.spacing(exact)
    assert_close(*case, [exact + 4 * step])
    with pytest.raises(AssertionError, match=r"tanh: 1 of 1 elements"):
        assert_close(*case, [exact + 7 * step])


@pytest.mark.parametrize(("place", "value"), [(1, -0.0), (0, -0.5000001), (3, 1.0), (4, -3e38), (2, np.nan)])
def test_an_exact_op_has_no_room(place, value):
    """The sign of zero, one unit in the last place, a number for NaN, a number for infinity, NaN for a number."""
    case = use("negate", X)
    wrong = results_of(case)[0].copy()
    wrong[place] = value
    with pytest.raises(AssertionError, match=rf"at \({place},\)"):
        assert_close(*case, [wrong])


def test_a_sum_may_be_off_by_what_its_terms_allow():
    x = np.array([1e4, -1e4, 1.0], np.float32)
    case = use("reduce_sum", x, axes=(0,))
    assert_close(*case, [np.float32(1.005)])
    with pytest.raises(AssertionError, match="reduce_sum"):
        assert_close(*case, [np.float32(1.1)])


def test_a_wrong_type_or_shape_is_found():
    case = use("negate", X)
    exact = results_of(case)[0]
    with pytest.raises(AssertionError, match="element type float64"):
        assert_close(*case, [exact.astype(np.float64)])
    with pytest.raises(AssertionError, match=r"shape \(1, 5\)"):
        assert_close(*case, [exact[None]])
    with pytest.raises(AssertionError, match="2 results"):
        assert_close(*case, [exact, exact])
