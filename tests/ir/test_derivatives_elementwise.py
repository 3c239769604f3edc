"""Derivatives of elementwise ops are JAX's: to third order, at ties and edges, and of complex numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax import lax
from transform_checks import assert_derivatives, graph_of, run

from lamina.ir.dims import symbol
from lamina.ir.errors import ArgumentError
from lamina.ir.opdef import OPS
from lamina.passes.differentiate import jvp, vjp

# name: JAX's function, and where it is smooth
UNARY = {
    "abs": (lax.abs, 0.2, 2),
    "negate": (lax.neg, -2, 2),
    "exponential": (lax.exp, -2, 2),
    "exponential_minus_one": (lax.expm1, -2, 2),
    "log": (lax.log, 0.2, 3),
    "log_plus_one": (lax.log1p, -0.7, 2),
    "sqrt": (lax.sqrt, 0.2, 3),
    "rsqrt": (lax.rsqrt, 0.2, 3),
    "cbrt": (lax.cbrt, 0.2, 3),
    "sine": (lax.sin, -3, 3),
    "cosine": (lax.cos, -3, 3),
    "tan": (lax.tan, -1.2, 1.2),
    "tanh": (lax.tanh, -2, 2),
    "logistic": (lax.logistic, -4, 4),
    "sinh": (lax.sinh, -2, 2),
    "cosh": (lax.cosh, -2, 2),
    "asin": (lax.asin, -0.8, 0.8),
    "acos": (lax.acos, -0.8, 0.8),
    "atan": (lax.atan, -2, 2),
    "asinh": (lax.asinh, -2, 2),
    "acosh": (lax.acosh, 1.2, 3),
    "atanh": (lax.atanh, -0.8, 0.8),
    "erf": (lax.erf, -2, 2),
    "erfc": (lax.erfc, -2, 2),
    "erf_inv": (lax.erf_inv, -0.8, 0.8),
    "lgamma": (lax.lgamma, -2.9, -2.1),
    "digamma": (lax.digamma, 0.5, 6),
}
COMPLEX = set(UNARY) - {"cbrt", "erf", "erfc", "erf_inv", "lgamma", "digamma"}
#: Rounded, counted or compared: there is no slope.
FLAT = ("sign", "floor", "ceil", "round_nearest_even", "round_nearest_afz", "next_after", "bitcast_convert")
BINARY = {
    "add": lax.add,
    "subtract": lax.sub,
    "multiply": lax.mul,
    "divide": lax.div,
    "remainder": lax.rem,
    "power": lax.pow,
    "maximum": lax.max,
    "minimum": lax.min,
    "atan2": lax.atan2,
    "complex": lax.complex,
}


def draw(low, high, shape=(2, 3), seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, shape)
    return (x + 1j * rng.uniform(low, high, shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def op(name, **attributes):
    return lambda b, *xs: b.emit(name, xs, attributes)[0]


def slopes(build, x, order):
    """The value and the first ``order`` derivatives of a function of one number, at each number of ``x``."""
    graph = graph_of(build, [x])
    moving = [True]
    for _ in range(order):
        graph, moving = jvp(graph, moving), [*moving, False]
    return run(graph, x, *[np.ones_like(x)] * order)[-1]


def jax_slope(function, order):
    for _ in range(order):
        function = jax.grad(function)
    return jax.vmap(function)


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_a_real_number(name):
    function, low, high = UNARY[name]
    assert_derivatives(op(name), function, [draw(low, high)])


@pytest.mark.parametrize("name", sorted(set(UNARY) - {"abs", "negate"}))
def test_third_derivatives(name):
    function, low, high = UNARY[name]
    x = draw(low, high, (5,))
    with jax.enable_x64(True):
        expected = jax_slope(function, 3)(x)
    # The recursion of polygamma in JAX and ours differ by what their sums round.
    np.testing.assert_allclose(slopes(op(name), x, 3), expected, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(COMPLEX))
def test_functions_of_a_complex_number(name):
    assert_derivatives(op(name), UNARY[name][0], [draw(0.3, 0.9, dtype=np.complex128)])


def test_every_function_of_one_operand_is_there():
    others = {"not", "popcnt", "count_leading_zeros", "real", "imag", "reduce_precision", "convert", "is_finite"}
    two = {*BINARY, "and", "or", "xor", "compare", "shift_left", "shift_right_logical", "shift_right_arithmetic"}
    primitives = {name for name, o in OPS.items() if o.elementwise and not o.is_composite}
    assert primitives - two == set(UNARY) | set(FLAT) - {"bitcast_convert"} | others


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("moving", [(True, True), (True, False), (False, True)])
def test_functions_of_two_real_numbers(name, moving):
    assert_derivatives(op(name), BINARY[name], [draw(0.3, 2), draw(0.3, 2, seed=1)], moving)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power"])
def test_functions_of_two_complex_numbers(name):
    arrays = [draw(0.3, 2, dtype=np.complex128), draw(0.3, 2, seed=1, dtype=np.complex128)]
    assert_derivatives(op(name), BINARY[name], arrays)


def test_remainder_keeps_the_sign_of_its_first_operand():
    assert_derivatives(op("remainder"), lax.rem, [draw(-9, 9, seed=2), draw(0.3, 2, seed=3)])
    assert_derivatives(op("remainder"), lax.rem, [draw(-9, 9, seed=2), -draw(0.3, 2, seed=3)])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, 2.5])
def test_power_of_a_constant(exponent):
    x = draw(0.3, 2)
    assert_derivatives(lambda b, x: b.power(x, b.full_like(x, exponent)), lambda x: x**exponent, [x])


def test_squares_of_negative_numbers_and_zero():
    x = np.array([-2.0, -0.5, 0, 3])
    for exponent, slope in ((0, 0 * x), (1, 0 * x + 1), (2, 2 * x), (3, 3 * x * x)):
        found = slopes(lambda b, x, e=exponent: b.power(x, b.full_like(x, e)), x, 1)
        np.testing.assert_allclose(found, slope, rtol=1e-15)


# Ties and edges: the derivative at each of these numbers is JAX's.

EDGES = np.array([0.0, -0.0, 1, -1, 2, -3, np.inf, -np.inf, np.nan])
EDGED = [
    "abs",
    "sqrt",
    "rsqrt",
    "log",
    "exponential",
    "tanh",
    "logistic",
    "erf",
    "erfc",
    "asin",
    "atan",
    "cbrt",
    "log_plus_one",
]


@pytest.mark.parametrize("name", EDGED)
def test_at_edges(name):
    with jax.enable_x64(True):
        expected = jax_slope(UNARY[name][0], 1)(EDGES)
    np.testing.assert_allclose(slopes(op(name), EDGES, 1), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["maximum", "minimum", "atan2", "divide"])
def test_at_ties(name):
    x = np.array([0.0, 1, 1, 2, np.inf, np.nan, 1, -1])
    y = np.array([0.0, 1, 2, 1, np.inf, 1, np.nan, 0])
    graph = graph_of(op(name), [x, y])
    ours = run(vjp(graph, (True, True), (True,)), x, y, np.ones_like(x))[1:]
    with jax.enable_x64(True):
        theirs = jax.vmap(jax.grad(BINARY[name], (0, 1)))(x, y)
    for a, b in zip(ours, theirs, strict=True):
        # y = 0: JAX multiplies by y^-2 where the quotient is divided once more; both are infinite.
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_abs_of_complex_zero_has_a_zero_derivative():
    x = np.array([0j, 3 + 4j])
    graph = graph_of(op("abs"), [x])
    (_, back) = run(vjp(graph, (True,), (True,)), x, np.ones(2))
    with jax.enable_x64(True):
        np.testing.assert_allclose(back, jax.grad(lambda z: jnp.abs(z).sum())(x), rtol=1e-12)


@pytest.mark.parametrize("name", FLAT)
def test_flat_functions_have_no_slope(name):
    x, y = draw(-2, 2), draw(-2, 2, seed=1)
    attributes = {"dtype": "f64"} if name == "bitcast_convert" else {}
    arrays = [x, y] if name == "next_after" else [x]
    graph = graph_of(op(name, **attributes), arrays)
    pushed = run(jvp(graph, [True] * len(arrays)), *arrays, *arrays)
    pulled = run(vjp(graph, [True] * len(arrays), [True]), *arrays, x)
    np.testing.assert_array_equal(pushed[1], np.zeros_like(x))
    for found in pulled[1:]:
        np.testing.assert_array_equal(found, np.zeros_like(x))


def test_a_comparison_takes_no_tangent_along():
    def smaller(b, x, y):
        return b.multiply(x, b.astype(b.compare(x, y, direction="LT"), x.dtype))

    assert_derivatives(smaller, lambda x, y: x * (x < y), [draw(-1, 1), draw(-1, 1, seed=1)])


# Complex numbers and their parts, conversions.


def test_parts_of_complex_numbers():
    z = draw(-2, 2, dtype=np.complex128)
    for name, function in (("real", jnp.real), ("imag", jnp.imag)):
        assert_derivatives(op(name), function, [z])
        assert_derivatives(op(name), function, [z.real])
    assert_derivatives(
        lambda b, z: b.multiply(z, b.complex(b.real(z), b.negate(b.imag(z)))), lambda z: z * jnp.conj(z), [z]
    )


@pytest.mark.parametrize(
    ("source", "target"), [("f8", "f4"), ("f4", "f8"), ("f8", "c16"), ("c16", "f8"), ("c16", "c8"), ("f4", "f4")]
)
def test_conversions(source, target):
    x = draw(-2, 2, dtype=np.dtype(source))
    # A cotangent is rounded on its way back: float32 has 24 bits.
    assert_derivatives(
        op("convert", dtype=np.dtype(target)), lambda x: _converted(x, np.dtype(target)), [x], rtol=2.0**-22
    )


def _converted(x, dtype):
    return lax.convert_element_type(jnp.real(x) if dtype.kind == "f" else x, dtype)


def test_integers_have_no_tangents():
    x = draw(-9, 9)

    def through_integers(b, x):
        return b.add(x, b.convert(b.convert(x, dtype="i32"), dtype="f64"))

    graph = graph_of(through_integers, [x])
    np.testing.assert_array_equal(run(vjp(graph, (True,), (True,)), x, x)[1], x)


def test_reduce_precision_rounds_what_goes_back():
    assert_derivatives(
        op("reduce_precision", exponent_bits=8, mantissa_bits=7),
        lambda x: lax.reduce_precision(x, 8, 7),
        [draw(-2, 2)],
    )


# select and clamp.


@pytest.mark.parametrize("moving", [(False, True, True), (False, True, False), (False, False, True)])
@pytest.mark.parametrize("predicate", [np.array([[True, False, True]] * 2), np.bool_(False)])
def test_select(predicate, moving):
    arrays = [np.asarray(predicate), draw(-1, 1), draw(-1, 1, seed=1)]
    assert_derivatives(op("select"), lambda p, x, y: lax.select(jnp.broadcast_to(p, x.shape), x, y), arrays, moving)


@pytest.mark.parametrize("scalar", [True, False])
@pytest.mark.parametrize("moving", [(True, True, True), (False, True, False), (True, False, True)])
def test_clamp(scalar, moving):
    x = np.array([[-2.0, -1, 0.5], [1, 3, -3]])  # at the bounds too
    low, high = (np.float64(v) if scalar else np.full_like(x, v) for v in (-1, 1))
    oracle = lambda low, x, high: lax.clamp(jnp.broadcast_to(low, x.shape), x, jnp.broadcast_to(high, x.shape))  # noqa: E731
    assert_derivatives(op("clamp"), oracle, [np.asarray(low), x, np.asarray(high)], moving)


# polygamma, and symbolic sizes.


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_polygamma_is_that_of_scipy_and_its_recursion(order, dtype):
    x = np.array([1e-3, 0.3, 0.5, 1, 1.5, 5, 50, 1e4, 0, np.inf], dtype)
    # Some tens of roundings of terms of one sign.
    rtol = 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        run(graph_of(op("polygamma", order=order), [x]), x)[0], scipy.special.polygamma(order, x), rtol=rtol
    )
    # Below 0, psi(x) = psi(x + n) less the terms between, whose size is what rounding is measured by.
    x = np.array([-0.3, -1.75, -8.4, -20.2], dtype)
    found = run(graph_of(op("polygamma", order=order), [x]), x)[0]
    for value, number in zip(found, x.astype(np.float64), strict=True):
        steps = number + np.arange(np.ceil(-number))
        terms = (-1.0) ** order * scipy.special.factorial(order) * steps ** (-order - 1.0)
        expected = scipy.special.polygamma(order, steps[-1] + 1) - terms.sum()
        assert abs(value - expected) <= 4 * rtol * max(np.abs(terms).sum(), abs(expected))


def test_polygamma_names_the_orders_it_has():
    with pytest.raises(ArgumentError, match=r"polygamma: expected an order in 1..16, received 0"):
        graph_of(op("polygamma", order=0), [draw(1, 2)])


def test_symbolic_sizes():
    n = symbol("N")

    def build(b, x, y):
        return b.multiply(b.tanh(b.power(x, y)), b.select(b.compare(x, y, direction="LT"), b.log(x), b.atan2(x, y)))

    def oracle(x, y):
        return jnp.tanh(x**y) * jnp.where(x < y, jnp.log(x), jnp.arctan2(x, y))

    assert_derivatives(build, oracle, [draw(0.3, 2), draw(0.3, 2, seed=1)], shapes=[(n, 3), (n, 3)])


def test_what_a_derivative_costs():
    """Results are used again: the derivative of tanh has four nodes beside its constants, that of relu a selection."""
    x = draw(-1, 1)
    names = [n.op.name for n in jvp(graph_of(op("tanh"), [x]), (True,)).nodes]
    assert names.count("tanh") == 1 and set(names) == {"tanh", "constant", "broadcast_in_dim", "multiply", "subtract"}
    names = [n.op.name for n in vjp(graph_of(op("exponential"), [x]), (True,), (True,)).nodes]
    assert names == ["exponential", "multiply"]
