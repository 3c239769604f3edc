"""The pass recognize: formulas written out become composites, near misses stay, and the results are equal."""

import math

import numpy as np
import pytest
from pass_running import assert_same_results

from lamina.ir import Builder, Graph, Module, TensorType, binary_region, symbol, verify
from lamina.passes import explain, run_pipeline

N = symbol("N")
C = math.sqrt(0.5)


def traced(formula, shape=(N, 6), dtype="f32", weights=0):
    """The module of ``formula(b, x, *weights)``; weights have the shape of the last dimension."""
    graph = Graph()
    b = Builder(graph)
    x = graph.add_input(TensorType(dtype, shape), "x")
    parameters = [graph.add_parameter(f"w{i}", TensorType(dtype, shape[-1:])).value for i in range(weights)]
    graph.outputs = [formula(b, x, *parameters)]
    module = Module({"main": graph})
    verify(module)
    return module


def ops(module):
    return [n.op.name for n in module.main.nodes]


def k(b, x, value):
    return b.full_like(x, value)


def by_hand(b, x, op, axes, keepdims=False, then=lambda y: y):
    """A reduction as primitives: reduce, then the dimensions back as 1 or at once to the full shape."""
    start = {"maximum": -np.inf, "add": 0}[op]
    y = then(b.reduce(x, b.constant(start, x.dtype), axes=axes, regions=[binary_region(op, x.dtype)]))
    if not keepdims:
        return b.expand(y, x.shape, axes)
    kept = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    return b.broadcast_to(b.reshape(y, shape=kept), x.shape)


def softmax(b, x, axis=1, keepdims=False, log=False):
    top = by_hand(b, x, "maximum", (axis,), keepdims)
    shifted = b.subtract(x, top)
    weights = b.exponential(shifted)
    if log:
        return b.subtract(shifted, by_hand(b, weights, "add", (axis,), keepdims, b.log))
    return b.divide(weights, by_hand(b, weights, "add", (axis,), keepdims))


def softmax_of_composites(b, x):
    top = b.maximum(b.reduce_max(x, axes=(-1,), keepdims=True), b.full((N, 1), -np.inf, "f32"))
    weights = b.exponential(b.subtract(x, b.broadcast_to(b.stop_gradient(top), x.shape)))
    return b.divide(weights, b.broadcast_to(b.reduce_sum(weights, axes=(-1,), keepdims=True), x.shape))


def tanh_gelu(b, x, cube):
    inner = b.multiply(k(b, x, math.sqrt(2 / math.pi)), b.add(x, cube))
    return b.multiply(b.multiply(k(b, x, 0.5), x), b.add(k(b, x, 1), b.tanh(inner)))


# name: formula, the composite it is, and how many eps of the largest magnitude the results may differ.
ACTIVATIONS = {
    "relu": (lambda b, x: b.maximum(k(b, x, 0), x), "relu", 0),
    "relu6": (lambda b, x: b.minimum(b.maximum(x, k(b, x, 0)), k(b, x, 6)), "relu6", 0),
    "relu6 by clamp": (lambda b, x: b.clamp(b.constant(0, x.dtype), x, b.constant(6, x.dtype)), "relu6", 0),
    "leaky relu by select": (
        lambda b, x: b.select(b.compare(x, k(b, x, 0), direction="GE"), x, b.multiply(k(b, x, 0.25), x)),
        "leaky_relu",
        0,
    ),
    "leaky relu by maximum": (lambda b, x: b.maximum(b.multiply(x, k(b, x, 0.1)), x), "leaky_relu", 0),
    "logistic": (lambda b, x: b.divide(k(b, x, 1), b.add(k(b, x, 1), b.exponential(b.negate(x)))), "logistic", 4),
    "silu": (lambda b, x: b.multiply(b.logistic(x), x), "silu", 0),
    "silu by division": (lambda b, x: b.divide(x, b.add(b.exponential(b.negate(x)), k(b, x, 1))), "silu", 4),
    "gelu": (
        lambda b, x: b.multiply(
            b.multiply(x, k(b, x, 0.5)), b.add(k(b, x, 1), b.erf(b.divide(x, k(b, x, math.sqrt(2)))))
        ),
        "gelu",
        4,
    ),
    "gelu, half last": (
        lambda b, x: b.multiply(b.multiply(x, b.add(b.erf(b.multiply(x, k(b, x, C))), k(b, x, 1))), k(b, x, 0.5)),
        "gelu",
        4,
    ),
    "gelu, half inside": (
        lambda b, x: b.multiply(b.multiply(k(b, x, 0.5), b.add(b.erf(b.multiply(k(b, x, C), x)), k(b, x, 1))), x),
        "gelu",
        4,
    ),
    "gelu by erfc": (
        lambda b, x: b.multiply(b.multiply(k(b, x, 0.5), x), b.erfc(b.multiply(b.negate(x), k(b, x, C)))),
        "gelu",
        0,
    ),
    "gelu by erfc of a negated product": (
        lambda b, x: b.multiply(x, b.multiply(k(b, x, 0.5), b.erfc(b.negate(b.multiply(x, k(b, x, C)))))),
        "gelu",
        4,
    ),
    "gelu by tanh": (
        lambda b, x: tanh_gelu(b, x, b.multiply(k(b, x, 0.044715), b.multiply(x, b.multiply(x, x)))),
        "gelu",
        4,
    ),
    "gelu by tanh and power": (
        lambda b, x: tanh_gelu(b, x, b.multiply(k(b, x, 0.044715), b.power(x, k(b, x, 3)))),
        "gelu",
        4,
    ),
}


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
@pytest.mark.parametrize(("formula", "name", "ulps"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations(formula, name, ulps, dtype):
    before = traced(formula, dtype=dtype)
    after, (record,) = run_pipeline(before, "recognize", verify=True)
    assert ops(after) == [name] and record.changed
    assert_same_results(before, after, {"N": 50}, ulps)


def test_the_tanh_form_of_gelu_is_the_approximate_one():
    forms = {}
    for name in ("gelu", "gelu by tanh"):
        after, _ = run_pipeline(traced(ACTIVATIONS[name][0]), "recognize", verify=True)
        forms[name] = after.main.nodes[0].attributes["approximate"]
    assert forms == {"gelu": False, "gelu by tanh": True}


SOFTMAX = {
    "softmax": (softmax, "softmax"),
    "along the first axis": (lambda b, x: softmax(b, x, 0), "softmax"),
    "kept dimensions": (lambda b, x: softmax(b, x, keepdims=True), "softmax"),
    "composites": (softmax_of_composites, "softmax"),
    "log softmax": (lambda b, x: softmax(b, x, log=True), "log_softmax"),
    "log softmax along the first axis": (lambda b, x: softmax(b, x, 0, log=True), "log_softmax"),
}


@pytest.mark.parametrize("prefix", ["", "simplify,"])
@pytest.mark.parametrize(("formula", "name"), SOFTMAX.values(), ids=SOFTMAX)
def test_softmax(formula, name, prefix):
    before = traced(formula)
    after, _ = run_pipeline(before, f"{prefix}recognize", verify=True)
    assert ops(after) == [name]
    assert_same_results(before, after, {"N": 5})


def test_log_softmax_whose_log_is_taken_of_the_stretched_sum():
    """Simplify takes the log before the sum is stretched."""

    def formula(b, x):
        shifted = b.subtract(x, by_hand(b, x, "maximum", (1,)))
        return b.subtract(shifted, b.log(by_hand(b, b.exponential(shifted), "add", (1,))))

    before = traced(formula)
    after, _ = run_pipeline(before, "simplify,recognize", verify=True)
    assert ops(after) == ["log_softmax"]
    assert_same_results(before, after, {"N": 5})


def test_the_decomposition_of_softmax_is_recognised():
    """Round trip: what decompose makes of the composites, recognize undoes."""
    for name in ("softmax", "log_softmax", "relu", "relu6", "silu", "gelu", "leaky_relu"):
        options = {"gelu": {"approximate": False}, "leaky_relu": {"negative_slope": 0.25}}.get(name, {})
        before = traced(lambda b, x, name=name, options=options: b.emit(name, [x], options)[0])
        after, _ = run_pipeline(before, "decompose,recognize", verify=True)
        assert ops(after) == [name]
        assert_same_results(before, after, {"N": 5})


def mean(b, x, axes, how):
    if how == "composite":
        return b.reduce_mean(x, axes=axes)
    total = b.reduce_sum(x, axes=axes)
    count = math.prod(x.shape[a] for a in axes) + (how == "one too many")
    how = how.replace("one too many", "divide")
    return b.divide(total, k(b, total, count)) if how == "divide" else b.multiply(k(b, total, 1 / count), total)


def norm(b, x, gamma=None, beta=None, axes=(1,), how="composite", variance="square", root="rsqrt", rms=False):
    rows = x if rms else b.subtract(x, b.expand(mean(b, x, axes, how), x.shape, axes))
    if variance == "square":
        spread = mean(b, b.multiply(rows, rows), axes, how)
    elif variance == "power":
        spread = mean(b, b.power(rows, k(b, rows, 2)), axes, how)
    else:
        spread = b.reduce_variance(x, axes=axes)
    spread = b.add(spread, k(b, spread, 1e-3))
    if root == "rsqrt":
        y = b.multiply(rows, b.expand(b.rsqrt(spread), x.shape, axes))
    elif root == "sqrt":
        y = b.divide(rows, b.expand(b.sqrt(spread), x.shape, axes))
    else:
        y = b.multiply(b.expand(b.divide(k(b, spread, 1), b.sqrt(spread)), x.shape, axes), rows)
    y = y if gamma is None else b.multiply(y, b.broadcast_to(gamma, x.shape))
    return y if beta is None else b.add(b.broadcast_to(beta, x.shape), y)


@pytest.mark.parametrize("root", ["rsqrt", "sqrt", "one over sqrt"])
@pytest.mark.parametrize("variance", ["square", "power", "composite"])
@pytest.mark.parametrize("how", ["composite", "divide", "multiply"])
def test_layer_norm(how, variance, root):
    before = traced(lambda b, x, gamma, beta: norm(b, x, gamma, beta, (1,), how, variance, root), weights=2)
    for pipeline in ("recognize", "simplify,recognize"):
        after, _ = run_pipeline(before, pipeline, verify=True)
        (node,) = after.main.nodes
        assert node.op.name == "layer_norm" and node.attributes["scale"] and node.attributes["center"]
        assert node.attributes["axes"] == (1,) and node.attributes["epsilon"] == pytest.approx(1e-3)
        assert_same_results(before, after, {"N": 5}, 16)


@pytest.mark.parametrize("weights", [0, 1])
@pytest.mark.parametrize(
    ("how", "variance", "root"),
    [("composite", "square", "rsqrt"), ("divide", "power", "sqrt"), ("multiply", "square", "one over sqrt")],
)
def test_rms_norm(how, variance, root, weights):
    before = traced(
        lambda b, x, *gamma: norm(b, x, *gamma, how=how, variance=variance, root=root, rms=True), weights=weights
    )
    after, _ = run_pipeline(before, "recognize", verify=True)
    assert ops(after) == ["rms_norm"] and after.main.nodes[0].attributes["scale"] == bool(weights)
    assert_same_results(before, after, {"N": 5}, 8)


def test_layer_norm_over_several_axes_and_without_a_shift():
    before = traced(lambda b, x: norm(b, x, axes=(1, 2)), (2, 3, 4))
    after, _ = run_pipeline(before, "recognize", verify=True)
    assert ops(after) == ["layer_norm"] and after.main.nodes[0].attributes["axes"] == (1, 2)
    assert_same_results(before, after, None, 16)


def test_a_mean_over_a_symbolic_dimension():
    def formula(b, x):
        count = b.convert(b.dim_value(dim=N), dtype="f32")

        def average(v):
            total = b.reduce_sum(v, axes=(0,))
            return b.divide(total, b.broadcast_to(count, total.shape))

        rows = b.subtract(x, b.expand(average(x), x.shape, (0,)))
        spread = average(b.multiply(rows, rows))
        inverse = b.rsqrt(b.add(spread, k(b, spread, 1e-3)))
        return b.multiply(rows, b.expand(inverse, x.shape, (0,)))

    before = traced(formula)
    after, _ = run_pipeline(before, "recognize", verify=True)
    assert ops(after) == ["layer_norm"]
    assert_same_results(before, after, {"N": 5}, 16)


def other_sum(b, x):
    """The sum is along another axis than the maximum."""
    weights = b.exponential(b.subtract(x, by_hand(b, x, "maximum", (0,))))
    return b.divide(weights, by_hand(b, weights, "add", (1,)))


def other_stretch(b, x):
    """A square array whose column sums divide its columns' rows: the sums are stretched along the wrong axis."""
    weights = b.exponential(b.subtract(x, by_hand(b, x, "maximum", (1,))))
    total = b.reduce_sum(weights, axes=(1,))
    return b.divide(weights, b.broadcast_in_dim(total, shape=x.shape, dims=(1,)))


def no_maximum(b, x):
    weights = b.exponential(x)
    return b.divide(weights, by_hand(b, weights, "add", (1,)))


def flat(b, x):
    weights = b.exponential(b.subtract(x, by_hand(b, x, "maximum", (0, 1))))
    return b.divide(weights, by_hand(b, weights, "add", (0, 1)))


NEAR_MISSES = {
    "softmax along two axes": (other_sum, "same axes"),
    "softmax stretched wrongly": (other_stretch, "does not fit"),
    "softmax that may overflow": (no_maximum, "overflow"),
    "softmax over all": (flat, "several axes"),
    "gelu of something else": (
        lambda b, x: b.multiply(b.multiply(x, k(b, x, 0.5)), b.add(k(b, x, 1), b.erf(b.multiply(x, k(b, x, 0.7))))),
        None,
    ),
    "a third of gelu": (
        lambda b, x: b.multiply(b.multiply(x, k(b, x, 0.3)), b.add(k(b, x, 1), b.erf(b.multiply(x, k(b, x, C))))),
        None,
    ),
    "leaky relu that turns around": (
        lambda b, x: b.select(b.compare(x, k(b, x, 0), direction="LT"), x, b.multiply(k(b, x, 0.25), x)),
        "chosen",
    ),
    "a steep leaky relu": (lambda b, x: b.maximum(x, b.multiply(x, k(b, x, 1.5))), "slope"),
    "maximum with another number": (lambda b, x: b.maximum(x, k(b, x, 0.5)), None),
    "x times the logistic of y": (lambda b, x: b.multiply(x, b.logistic(b.negate(x))), None),
    "variance along another axis": (
        lambda b, x: b.multiply(
            b.subtract(x, b.expand(b.reduce_mean(x, axes=(1,)), x.shape, (1,))),
            b.expand(b.rsqrt(b.add(b.reduce_variance(x, axes=(0,)), b.full((6,), 1e-3, "f32"))), x.shape, (0,)),
        ),
        "same axes",
    ),
    "a mean of too few": (lambda b, x: norm(b, x, how="one too many"), "mean square"),
}
RULES = ["recognize_softmax", "recognize_gelu", "recognize_leaky_relu", "recognize_norm"]


@pytest.mark.parametrize(("formula", "reason"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_near_misses_stay(formula, reason):
    before = traced(formula, (6, 6))
    after, (record,) = run_pipeline(before, "recognize", verify=True)
    assert not record.changed and str(after) == str(before)
    if reason:
        assert any(reason in miss.reason for name in RULES for miss in explain(before, name))


def test_sums_of_narrow_floats_stay():
    for formula in (softmax, norm):
        before = traced(formula, dtype="bf16")
        after, (record,) = run_pipeline(before, "recognize", verify=True)
        assert not record.changed and str(after) == str(before)


def test_what_a_derivative_needs_stays():
    """The scale factor has a second use: a norm beside it would be computed twice."""

    def formula(b, x):
        y = norm(b, x)
        return b.multiply(y, y.producer.operands[1])

    before = traced(formula)
    after, (record,) = run_pipeline(before, "recognize", verify=True)
    assert not record.changed and str(after) == str(before)


def test_a_rule_can_be_switched_off():
    before = traced(ACTIVATIONS["relu"][0])
    after, (record,) = run_pipeline(before, "recognize,-recognize_relu", verify=True)
    assert not record.changed and "maximum" in ops(after)


def test_formulas_inside_regions_are_recognised():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4,)), "x")
    body = Graph()
    inner = Builder(body)
    v = body.add_input(TensorType("f32", (4,)))
    body.outputs = [inner.maximum(v, inner.full_like(v, 0))]
    graph.outputs = [Builder(graph).remat(x, regions=[body])]
    before = Module({"main": graph})
    after, _ = run_pipeline(before, "recognize", verify=True)
    assert [n.op.name for n in after.main.nodes[0].regions[0].nodes] == ["relu"]
    assert_same_results(before, after)
