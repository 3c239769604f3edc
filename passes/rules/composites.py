"""Composites written out by hand are recognised, so that every target can use what it has for them.

Each rule says how equal the results are: the same bits, or within so many eps where a composite computes in another
order. Sums of narrow floats are left alone: a composite adds them up in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...ir.dims import DimLike
from ...ir.graph import Node, Value
from ...ir.types import bit_width, is_float
from ..patterns import Op, expanded, is_number, match_value, op, produced_by, reduction, scalar, scalar_of, without_ones
from ..rewrite import NoMatch, Rewriter, rule


def near(expected: float) -> Any:
    """A pattern for a constant that is ``expected`` rounded to its type."""
    return scalar(lambda number: _is_near(number, expected))


def _is_near(number: Any, expected: float) -> bool:
    dtype = np.asarray(number).dtype
    if not is_float(dtype):
        return False
    tolerance = 1e-2 if bit_width(dtype) < 32 else 1e-6
    return abs(float(number) - expected) <= tolerance * abs(expected)


def _matches(r: Rewriter, pattern: Op, value: Value, **known: Value) -> bool:
    return next(match_value(r, pattern, value, known), None) is not None


# Activations.


@rule(op("maximum", "x", 0.0))
def recognize_relu(r: Rewriter, x: Value) -> Value | None:
    """max(x, 0) is relu; the same bits."""
    return r.relu(x) if is_float(x.dtype) else None


@rule(op("minimum", op("relu", "x", once=True), 6), op("clamp", 0.0, "x", 6))
def recognize_relu6(r: Rewriter, x: Value) -> Value | None:
    """min(relu(x), 6) and clamp(0, x, 6) are relu6; the same bits."""
    return r.relu6(x) if is_float(x.dtype) else None


_SLOPE = scalar(lambda number: True, "slope")


@rule(
    op("select", op("compare", "x", 0.0, bind="test", once=True), "x", op("multiply", "x", _SLOPE, once=True)),
    op("maximum", "x", op("multiply", "x", _SLOPE, once=True)),
)
def recognize_leaky_relu(r: Rewriter, x: Value, slope: Any, test: Node | None = None) -> Value | NoMatch | None:
    """``x`` where x >= 0, else slope * x, or max(x, slope * x), is leaky_relu; the same bits."""
    if not is_float(x.dtype):
        return None
    if test is not None and (test.operands[0] is not x or test.attributes["direction"] not in ("GE", "GT")):
        return NoMatch("it is not chosen by x >= 0")
    if not 0 < float(slope) < 1:
        return NoMatch("the slope is not between 0 and 1")
    return r.leaky_relu(x, negative_slope=float(slope))


@rule(op("divide", 1, op("add", op("exponential", op("negate", "x"), once=True), 1, once=True)))
def recognize_logistic(r: Rewriter, x: Value) -> Value | None:
    """1 / (1 + exp(-x)) is logistic; within 4 eps."""
    return r.logistic(x) if is_float(x.dtype) else None


@rule(
    op("multiply", "x", op("logistic", "x", once=True)),
    op("divide", "x", op("add", op("exponential", op("negate", "x"), once=True), 1, once=True)),
)
def recognize_silu(r: Rewriter, x: Value) -> Value | NoMatch | None:
    """``x * logistic(x)`` is silu, the same bits; x / (1 + exp(-x)) within 4 eps."""
    if not is_float(x.dtype):
        return None
    return r.silu(x)


def _factors(r: Rewriter, value: Value, depth: int = 4) -> list[Value]:
    """What is multiplied to give ``value``, through products with a single use."""
    node = produced_by(value, "multiply")
    if node is None or not depth or (value is not r.node.result and not r.single_use(value)):
        return [value]
    return [f for operand in node.operands for f in _factors(r, operand, depth - 1)]


def _without_factor(factors: list[Value], expected: float) -> list[Value] | None:
    """The factors other than the constant ``expected``; None where there is not one such constant and no other."""
    numbers = [f for f in factors if scalar_of(f) is not None]
    if len(numbers) != 1 or not _is_near(scalar_of(numbers[0]), expected):
        return None
    return [f for f in factors if f is not numbers[0]]


@rule("multiply")
def recognize_gelu(r: Rewriter, node: Node) -> Value | None:
    """0.5 * x * (1 + erf(x / sqrt(2))), its erfc and its tanh form, in any order, are gelu; within 4 eps of |x|."""
    rest = _without_factor(_factors(r, node.result), 0.5)
    if rest is None or len(rest) != 2:
        return None
    for x, gate in (rest, rest[::-1]):
        if any(_matches(r, pattern, gate, x=x) for pattern in _ERF_GATES):
            return r.gelu(x, approximate=False)
        if _is_tanh_gate(r, gate, x):
            return r.gelu(x, approximate=True)
    return None


_ROOT_HALF = math.sqrt(0.5)
#: x / sqrt(2), and -x / sqrt(2).
_SCALED = (op("multiply", "x", near(_ROOT_HALF)), op("divide", "x", near(math.sqrt(2))))
_NEGATED = (
    op("multiply", op("negate", "x"), near(_ROOT_HALF)),
    op("divide", op("negate", "x"), near(math.sqrt(2))),
    op("multiply", "x", near(-_ROOT_HALF)),
    op("divide", "x", near(-math.sqrt(2))),
    *(op("negate", scaled) for scaled in _SCALED),
)
_ERF_GATES = (
    *(op("add", op("erf", scaled, once=True), 1, once=True) for scaled in _SCALED),
    *(op("erfc", negated, once=True) for negated in _NEGATED),
)


def _is_tanh_gate(r: Rewriter, value: Value, x: Value) -> bool:
    """Whether ``value`` is ``1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))``."""
    found = next(match_value(r, op("add", op("tanh", "inner", once=True), 1, once=True), value, {}), None)
    inner = _without_factor(_factors(r, found["inner"]), math.sqrt(2 / math.pi)) if found else None
    total = produced_by(inner[0], "add") if inner and len(inner) == 1 else None
    if total is None or x not in total.operands:
        return False
    cubic = total.operands[1 - total.operands.index(x)]
    cube = _without_factor(_factors(r, cubic), 0.044715)
    if cube is None:
        return False
    return cube == [x, x, x] or (len(cube) == 1 and _matches(r, op("power", "x", 3), cube[0], x=x))


# Reductions that are stretched back: softmax and the norms.


def _inner(value: Value) -> Value:
    """``value`` before steps that keep all elements: dimensions of 1 added or dropped, stop_gradient, max with -inf."""
    node = value.producer
    if node is None:
        return value
    kept = node.operands
    if node.op.name == "maximum":
        kept = [v for v in node.operands if not _is_minus_infinity(v)]
    elif node.op.name == "reshape":
        kept = [v for v in node.operands if without_ones(v.shape) == without_ones(value.shape)]
    elif node.op.name != "stop_gradient":
        return value
    return _inner(kept[0]) if len(kept) == 1 else value


def _is_minus_infinity(value: Value) -> bool:
    number = scalar_of(value)
    return number is not None and is_float(value.dtype) and is_number(number, -math.inf)


def _stretched(value: Value) -> Value | None:
    """What ``value`` was stretched from, without dimensions of 1 and such."""
    node = produced_by(value, "broadcast_in_dim")
    return None if node is None else _inner(node.operands[0])


def _reduced(value: Value, source: Value, fold: str) -> tuple[int, ...] | None:
    """The axes where ``value`` is ``source`` reduced by ``fold`` and stretched back to its shape, else None."""
    inner = _stretched(value)
    found = None if inner is None else _mean(inner) if fold == "mean" else reduction(inner)
    if found is None or found[0] != fold or found[1] is not source:
        return None
    return found[2] if expanded(value, source.shape, found[2]) is not None else None


def _mean(value: Value) -> tuple[str, Value, tuple[int, ...]] | None:
    """Read ``value`` as a mean: ``("mean", array, axes)``; a sum divided by the number of elements is one."""
    value = _inner(value)
    found = reduction(value)
    if found is not None:
        return found if found[0] == "mean" else None
    node = value.producer
    if node is None or node.op.name not in ("divide", "multiply"):
        return None
    for total, divisor in _divisions(node):
        found = reduction(_inner(total))
        if found is not None and found[0] == "add" and _is_count(divisor, node.op.name, found[1], found[2]):
            return "mean", found[1], found[2]
    return None


def _divisions(node: Node) -> Iterator[tuple[Value, Value]]:
    yield node.operands[0], node.operands[1]
    if node.op.name == "multiply":
        yield node.operands[1], node.operands[0]


def _is_count(value: Value, how: str, array: Value, axes: tuple[int, ...]) -> bool:
    """Whether dividing by (or multiplying with) ``value`` divides by the number of elements along ``axes``."""
    count: DimLike = math.prod(array.shape[a] for a in axes)
    number = scalar_of(value)
    if number is not None:
        return isinstance(count, int) and count > 0 and _is_near(number, count if how == "divide" else 1 / count)
    node = value.producer
    while node is not None and node.op.name in ("broadcast_in_dim", "convert"):
        node = node.operands[0].producer
    return how == "divide" and node is not None and node.op.name == "dim_value" and node.attributes["dim"] == count


def _is_wide(value: Value) -> bool:
    return is_float(value.dtype) and bit_width(value.dtype) >= 32


_NARROW = NoMatch("narrow floats: the composite rounds in other places")


def _less_its_maximum(value: Value) -> tuple[Value, tuple[int, ...]] | None:
    """``x`` and the axes where ``value`` is x less its maximum along them."""
    node = produced_by(value, "subtract")
    axes = None if node is None else _reduced(node.operands[1], node.operands[0], "maximum")
    return None if node is None or axes is None else (node.operands[0], axes)


@rule(op("divide", op("exponential", "distance", bind="weights"), "total"))
def recognize_softmax(r: Rewriter, weights: Node, distance: Value, total: Value) -> Value | NoMatch | None:
    """exp(x - max(x)) / sum(exp(x - max(x))) along an axis is softmax; the same bits."""
    axes = _reduced(total, weights.result, "add")
    if axes is None:
        return None
    found = _less_its_maximum(distance)
    if found is None:
        return NoMatch("without its maximum taken off first, exp may overflow, and softmax never does")
    return _along_one_axis(r, "softmax", found, axes)


@rule(op("subtract", "distance", op("broadcast_in_dim", bind="total", once=True)))
def recognize_log_softmax(r: Rewriter, distance: Value, total: Node) -> Value | NoMatch | None:
    """(x - max(x)) - log(sum(exp(x - max(x)))) along an axis is log_softmax; the same bits."""
    logarithm = produced_by(_inner(total.operands[0]), "log")
    summed = reduction(_inner(logarithm.operands[0])) if logarithm else None
    if summed is None or summed[0] != "add":
        return None
    weights, found = produced_by(summed[1], "exponential"), _less_its_maximum(distance)
    if weights is None or weights.operands[0] is not distance or found is None:
        return NoMatch("what is summed is not exp(x - max(x))")
    if expanded(total.result, distance.shape, summed[2]) is None:
        return NoMatch("the sum is stretched along other axes")
    return _along_one_axis(r, "log_softmax", found, summed[2])


def _along_one_axis(
    r: Rewriter, name: str, found: tuple[Value, tuple[int, ...]], axes: tuple[int, ...]
) -> Value | NoMatch:
    x, highest = found
    if not _is_wide(x):
        return _NARROW
    if axes != highest:
        return NoMatch("sum and maximum are not along the same axes")
    if len(axes) != 1:
        return NoMatch("it goes over several axes")
    return r.emit(name, [x], {"axis": axes[0]})[0]


_EPSILON = scalar(lambda number: float(number) >= 0, "epsilon")
#: Rows times 1 / sqrt(spread + epsilon), with the square root on either side. Where the factor has another use, such as
#: in a derivative, the norm would be computed beside it, not in its place.
_NORMALIZED = (
    op("multiply", "rows", op("broadcast_in_dim", "inverse", bind="stretch", once=True)),
    op("divide", "rows", op("broadcast_in_dim", "root", bind="stretch", once=True)),
)
_INVERSE = (op("rsqrt", op("add", "spread", _EPSILON)), op("divide", 1, op("sqrt", op("add", "spread", _EPSILON))))
_ROOT = (op("sqrt", op("add", "spread", _EPSILON)),)


@rule(*_NORMALIZED)
def recognize_norm(
    r: Rewriter, rows: Value, stretch: Node, inverse: Value | None = None, root: Value | None = None
) -> Value | NoMatch | None:
    """(x - mean) / sqrt(variance + epsilon) is layer_norm, x / sqrt(mean(x * x) + epsilon) rms_norm, without weights.

    Within a few eps of (1 + |mean| / deviation): layer_norm takes the mean off after scaling.
    """
    value, patterns = (inverse, _INVERSE) if inverse is not None else (root, _ROOT)
    assert value is not None
    found = next((f for p in patterns for f in match_value(r, p, _inner(value), {})), None)
    if found is None or not is_float(rows.dtype):
        return None
    spread, epsilon = found["spread"], float(found["epsilon"])
    if not _is_wide(rows):
        return _NARROW
    axes = _mean_square(spread, rows)
    if axes is not None and expanded(stretch.result, rows.shape, axes) is not None:
        x = _centered(rows, axes)
        if x is not None:
            return r.layer_norm(x, axes=axes, epsilon=epsilon, scale=False, center=False)
        return r.rms_norm(rows, axes=axes, epsilon=epsilon, scale=False)
    difference = produced_by(rows, "subtract")
    variance = produced_by(_inner(spread), "reduce_variance")
    if difference is None or variance is None or variance.operands[0] is not difference.operands[0]:
        return NoMatch("the divisor comes neither from the variance nor from the mean square")
    x = variance.operands[0]
    axes = tuple(sorted(a % x.rank for a in variance.attributes["axes"]))
    if _centered(rows, axes) is not x or expanded(stretch.result, x.shape, axes) is None:
        return NoMatch("mean and variance are not along the same axes")
    return r.layer_norm(x, axes=axes, epsilon=epsilon, scale=False, center=False)


def _mean_square(value: Value, rows: Value) -> tuple[int, ...] | None:
    """The axes where ``value`` is the mean of the square of ``rows``."""
    found = _mean(value)
    square = found[1].producer if found else None
    if found is None or square is None:
        return None
    if square.op.name == "multiply" and square.operands == [rows, rows]:
        return found[2]
    if square.op.name == "power" and square.operands[0] is rows:
        number = scalar_of(square.operands[1])
        return found[2] if number is not None and is_number(number, 2) else None
    return None


def _centered(rows: Value, axes: tuple[int, ...]) -> Value | None:
    """``x`` where ``rows`` is x less its mean along ``axes``."""
    node = produced_by(rows, "subtract")
    if node is None or _reduced(node.operands[1], node.operands[0], "mean") != axes:
        return None
    return node.operands[0]


@rule(
    op("multiply", op("layer_norm", "x", bind="norm", once=True), "gamma"),
    op("multiply", op("rms_norm", "x", bind="norm", once=True), "gamma"),
)
def norm_scale(r: Rewriter, x: Value, norm: Node, gamma: Value) -> Value | None:
    """layer_norm or rms_norm without weights, times gamma along its axes, is the norm with gamma; within 2 eps."""
    if norm.attributes["scale"] or norm.attributes.get("center"):
        return None
    weight = _weight(gamma, norm)
    return None if weight is None else r.emit(norm.op, [x, weight], {**norm.attributes, "scale": True})[0]


@rule(op("add", op("layer_norm", bind="norm", once=True), "beta"))
def layer_norm_shift(r: Rewriter, norm: Node, beta: Value) -> Value | None:
    """layer_norm without a shift, plus beta along its axes, is layer_norm with beta; within 2 eps."""
    weight = None if norm.attributes["center"] else _weight(beta, norm)
    return None if weight is None else r.layer_norm(*norm.operands, weight, **{**norm.attributes, "center": True})


def _weight(value: Value, norm: Node) -> Value | None:
    """The weight of the shape of the norm's axes that was stretched to give ``value``."""
    shape, axes = norm.result.shape, sorted(a % norm.result.rank for a in norm.attributes["axes"])
    node = produced_by(value, "broadcast_in_dim")
    if node is None or scalar_of(value) is not None:
        return None
    source, dims = node.operands[0], list(node.attributes["dims"])
    return source if dims == axes and source.shape == tuple(shape[a] for a in axes) else None


RULES = [
    recognize_relu,
    recognize_relu6,
    recognize_leaky_relu,
    recognize_logistic,
    recognize_silu,
    recognize_gelu,
    recognize_softmax,
    recognize_log_softmax,
    recognize_norm,
    norm_scale,
    layer_norm_shift,
]
