"""Control flow, scatter and slices, conversion: against Python loops and real Keras; Variables in regions; mistakes."""

import keras as real
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_parity import array, assert_same, check, meaning, row, with_eager

import lamina
from lamina import Spec, keras, ops
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError, TracingError

x23, x234, x4 = array(2, 3), array(2, 3, 4), array(4)
points = np.array([[0, 1], [1, 2], [0, 1]], "int32")

ROWS = [
    row("cast", x23, "int32"),
    row("cast", x23, "bool"),
    row("cast", array(3, dtype="int32"), "float16"),
    row("cast", x23 * 100, "uint8"),
    row("convert_to_tensor", x23),
    row("convert_to_tensor", [1.5, 2.5], dtype="float16"),
    row("convert_to_tensor", [1, 2]),
    *(
        row("saturate_cast", np.array([-1e9, -3.7, 0.0, 3.7, 1e9], "float32"), d)
        for d in ("int8", "uint8", "int32", "float16", "bool")
    ),
    row("saturate_cast", np.array([-300, -1, 5, 300], "int32"), "uint8"),
    row("stop_gradient", x23),
    row("slice", x234, (0, 1, 0), (2, 2, 3)),
    row("slice", x234, np.array([1, 2, 9], "int32"), (1, 1, 2)),
    row("slice", x23, (0, 1), (2, -1)),
    row("slice_update", x234, (0, 1, 1), np.ones((1, 2, 2), "float32")),
    row("slice_update", x23, np.array([1, 1], "int32"), np.zeros((1, 2), "float32")),
    row("scatter", points, np.array([1.0, 2.0, 4.0], "float32"), (2, 3)),
    row("scatter", np.array([[1], [0], [1]], "int32"), array(3, 2), (3, 2)),
    *(
        row("scatter_update", x23, points, np.array([1.0, 2.0, 4.0], "float32"), reduction=r)
        for r in ("add", "max", "min", "mul")
    ),
    row("scatter_update", x23, points[:2], np.array([7.0, 8.0], "float32")),
    row("scatter_update", x234, np.array([[1, 2]], "int32"), array(1, 4)),
    row("scatter_update", x4, np.array([[-1], [2]], "int32"), np.array([5.0, 6.0], "float32")),
]


@pytest.mark.parametrize(("case", "eager"), with_eager(ROWS), ids=[str(r) for r in ROWS])
def test_like_keras(case, eager):
    check(case, eager)


# Branches.


def test_a_known_predicate_picks_at_once():
    module = lamina.trace(lambda x: ops.cond(True, lambda: x + 1, lambda: x["wrong"]), Spec((2,)))
    assert [n.op.name for n in module.main.nodes if n.op.name != "constant"][-1] == "add"


def test_cond_runs_one_branch_and_captures_what_it_uses():
    def choose(x):
        big = ops.sum(x) > 1.0
        return ops.cond(big, lambda: {"y": x * 2, "z": 1}, lambda: {"y": -x, "z": 0})

    for x in (np.float32([1, 2]), np.float32([0, 0.5])):
        found = meaning(choose, x)
        expected = {"y": x * 2, "z": 1} if x.sum() > 1 else {"y": -x, "z": 0}
        np.testing.assert_array_equal(found["y"], expected["y"])
        assert found["z"] == expected["z"] and found["z"].dtype == np.int32
        compiled = lamina.compile(choose, Spec((None,)))
        np.testing.assert_array_equal(compiled(x)["y"], expected["y"])


def test_a_number_yields_to_the_other_branch():
    found = meaning(lambda x: ops.cond(x[0] > 0, lambda: x[1], lambda: 0.0), np.array([-1, 2], "float16"))
    assert found.dtype == np.float16 and found == 0


def test_assignments_in_branches_become_results():
    counter = keras.Variable(np.float32(0), name="counter")
    other = keras.Variable(np.float32(10), name="other")

    def run(x):
        before = ops.cond(x > 0, lambda: counter.assign(counter + x) * 1.0, lambda: other.assign(other - 1) * 0.0)
        return before, counter.value + 0

    compiled = lamina.compile(run, Spec(()))
    assert [float(v) for v in compiled(np.float32(3))] == [3, 3]
    assert [float(v) for v in compiled(np.float32(-3))] == [0, 3]
    assert float(counter.numpy()) == 3 and float(other.numpy()) == 9


def test_switch_clamps_its_index():
    branches = [lambda x: x, lambda x: x * 10, lambda x: x * 100]
    for index in (-4, 0, 1, 2, 7):
        found = meaning(lambda i, x: ops.switch(i, branches, x), np.array(index, "int32"), np.float32([2]))
        assert found[0] == 2 * 10 ** min(max(index, 0), 2)
        assert ops.switch(index, branches, np.float32(2)) == found[0]


# Loops.


@settings(max_examples=20)
@given(st.integers(0, 50), st.integers(1, 5), st.integers(0, 12) | st.none())
def test_while_loop_is_a_python_loop(start, step, most):
    def run(n):
        return ops.while_loop(
            lambda i, total: i < n,
            lambda i, total: (i + step, total + ops.cast(i, "float32")),
            (start, 0.0),
            maximum_iterations=most,
        )

    i, total, turns = start, 0.0, 0
    while i < 40 and (most is None or turns < most):
        i, total, turns = i + step, total + i, turns + 1
    found = meaning(run, np.array(40, "int32"))
    assert (found[0], found[1]) == (i, total) and found[0].dtype == np.int32 and found[1].dtype == np.float32
    eager = run(40)
    assert (int(eager[0]), float(eager[1])) == (i, total)


def test_while_loop_of_one_variable_and_captures():
    found = meaning(
        lambda x, limit: ops.while_loop(lambda y: ops.sum(y) < limit, lambda y: y + x, x),
        np.float32([1, 2]),
        np.float32(10),
    )
    np.testing.assert_array_equal(found, [4, 8])


def test_a_number_as_first_carry_takes_the_type_of_the_step():
    found = meaning(
        lambda x: ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v + x), (0, 0))[1], np.array(0.5, "float16")
    )
    assert found.dtype == np.float16 and found == 1.5
    found = meaning(
        lambda x: ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v + x), (0, 0))[1], np.array(0.5, "float32")
    )
    assert found.dtype == np.float32 and found == 1.5


def test_assignments_in_loops_become_carries():
    counter = keras.Variable(np.float32(1), name="counter")
    factor = keras.Variable(np.float32(2), name="factor")

    def step(i):
        counter.assign(counter * factor)
        return i + 1

    def run(n):
        return ops.while_loop(lambda i: i < n, step, 0), counter.value + 0

    assert [float(v) for v in lamina.compile(run, Spec((), "int32"))(np.int32(5))] == [5, 32]
    assert float(counter.numpy()) == 32 and float(factor.numpy()) == 2


def test_nested_loops_share_a_variable():
    counter = keras.Variable(np.float32(0), name="counter")

    def inner(i):
        counter.assign_add(1.0)
        return i + 1

    def run(n):
        return ops.fori_loop(0, n, lambda i, v: ops.while_loop(lambda j: j < 3, inner, 0) * 0 + v + i, 0)

    assert int(lamina.compile(run, Spec((), "int32"))(np.int32(4))) == 6
    assert float(counter.numpy()) == 12


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_kerass(reverse):
    def step(f):
        return lambda carry, x: ((carry[0] * 0.5 + x["a"], carry[1] + 1), {"y": carry[0] * x["b"], "n": carry[1]})

    init, xs = (np.float32([1, 2]), np.array(0, "int32")), {"a": array(5, 2), "b": array(5)}
    expected = real.ops.scan(step(real.ops), init, xs, reverse=reverse)
    assert_same(meaning(lambda i, x: ops.scan(step(ops), i, x, reverse=reverse), init, xs), expected)
    assert_same(ops.scan(step(ops), init, xs, reverse=reverse), expected)
    compiled = lamina.compile(
        lambda i, x: ops.scan(step(ops), i, x, reverse=reverse),
        (Spec((2,)), Spec((), "int32")),
        {"a": Spec(("T", 2)), "b": Spec(("T",))},
    )
    assert_same(compiled(init, xs), expected)


def test_scan_without_xs_and_with_a_variable():
    total = keras.Variable(np.float32(0), name="total")

    def step(carry, _):
        total.assign_add(carry)
        return carry + 1, carry * 10

    compiled = lamina.compile(lambda x: ops.scan(step, x, length=4), Spec(()))
    last, ys = compiled(np.float32(1))
    assert float(last) == 5 and float(total.numpy()) == 10
    np.testing.assert_array_equal(ys, [10, 20, 30, 40])


def test_fori_loop_and_map():
    assert (
        meaning(
            lambda n, x: ops.fori_loop(1, n, lambda i, v: v * ops.cast(i, "float32"), x),
            np.array(6, "int32"),
            np.float32(1),
        )
        == 120
    )
    module = lamina.trace(lambda x: ops.fori_loop(0, 3, lambda i, v: v + i, x), Spec((2,), "int32"))
    assert [n.op.name for n in module.main.nodes][-1] == "scan", "a loop of known length can be differentiated"
    np.testing.assert_array_equal(lamina.evaluate(module, np.array([1, 2], "int32"))[0][0], [4, 5])
    np.testing.assert_array_equal(
        meaning(lambda x: ops.map(lambda row: ops.sum(row) * 2, x), x23), meaning(lambda x: ops.sum(x, 1) * 2, x23)
    )
    np.testing.assert_array_equal(ops.map(lambda v: v * 2, x4), x4 * 2)
    module = lamina.trace(lambda x: ops.fori_loop(0, x.shape[0], lambda i, v: v + x[i], ops.zeros(3)), Spec((None, 3)))
    for n in (1, 4):
        x = array(n, 3)
        np.testing.assert_allclose(lamina.evaluate(module, x)[0][0], x.sum(0), rtol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_associative_scan_is_kerass(n, reverse):
    x = array(2, n)
    expected = real.ops.associative_scan(lambda a, c: a * c, x, reverse, 1)
    assert_same(meaning(lambda t: ops.associative_scan(lambda a, c: a * c, t, reverse, 1), x), expected)


# A derivative of its own.


def test_custom_gradient_is_an_op_with_forward_and_backward():
    scale = keras.Variable(np.float32(3), name="scale")

    @ops.custom_gradient
    def log1pexp(x):
        e = ops.exp(x)
        return ops.log(1 + e) * scale, lambda upstream: upstream * (1 - 1 / (1 + e)) * scale

    module = lamina.trace(log1pexp, Spec((None,)))
    node = next(n for n in module.main.nodes if n.op.name == "custom_vjp")
    x, cotangent = x4, np.float32([1, 2, 3, 4])
    outputs, _ = lamina.evaluate(module, x, parameters={"scale": np.float32(3)})
    np.testing.assert_allclose(outputs[0], 3 * np.log1p(np.exp(x)), rtol=1e-5)
    _, forward, backward = node.regions
    result, *residuals = lamina.evaluate(forward, np.float32(3), x)[0]
    np.testing.assert_array_equal(result, outputs[0])
    zero, gradient = lamina.evaluate(backward, *residuals, cotangent)[0]
    np.testing.assert_allclose(gradient, 3 * cotangent * (1 - 1 / (1 + np.exp(x))), rtol=1e-5)
    assert zero == 0, "what is captured counts as constant"
    np.testing.assert_allclose(log1pexp(x), outputs[0], rtol=1e-5)


def test_custom_gradient_must_give_a_cotangent_for_each_argument():
    f = ops.custom_gradient(lambda x, y: (x * y, lambda up: up * y))
    with pytest.raises(ArgumentError, match=r"must return 2 cotangents.*received 1"):
        lamina.trace(f, Spec((2,)), Spec((2,)))


# Questions that are answered at once.


def test_shapes_and_types_while_tracing():
    seen = {}

    def look(x):
        seen.update(shape=ops.shape(x), ndim=ops.ndim(x), size=ops.size(x), dtype=ops.dtype(x), tensor=ops.is_tensor(x))
        return x

    lamina.trace(look, Spec((None, 3)))
    assert str(seen["shape"]) == "(N, 3)" and seen["ndim"] == 2 and str(seen["size"]) == "3*N"
    assert seen["dtype"] == "float32" and seen["tensor"]
    assert not ops.is_tensor(np.ones(2)) and ops.is_tensor(ops.ones(2))
    assert isinstance(ops.convert_to_numpy(ops.ones(2)), np.ndarray)


# Mistakes.

MISTAKES = [
    (lambda x: ops.cond(x > 0, lambda: x, lambda: x), ShapeError, "cond: expected a predicate without dimensions"),
    (lambda x: ops.cond(x[0] > 0, lambda: x, lambda: x[0]), ShapeError, "cond: output must have one shape"),
    (
        lambda x: ops.cond(x[0] > 0, lambda: [x, x], lambda: [x, ops.cast(x, "int32")]),
        DTypeError,
        r"cond: output\[1\] must have one element type",
    ),
    (
        lambda x: ops.cond(x[0] > 0, lambda: x, lambda: (x, x)),
        ArgumentError,
        "cond: all branches must return the same nest",
    ),
    (
        lambda x: ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, ops.cast(v, "float16")), (0, x)),
        DTypeError,
        r"while_loop: carry\[1\] starts as .*f32\[2\].* and is .*f16\[2\].* after a step",
    ),
    (
        lambda x: ops.while_loop(lambda v: ops.sum(v) < 3, lambda v: ops.stack([v, v]), x),
        ShapeError,
        r"while_loop: carry\[0\].*one shape",
    ),
    (
        lambda x: ops.while_loop(lambda v: v < 3, lambda v: v, x),
        ShapeError,
        "while_loop: cond must return a bool without dimensions",
    ),
    (
        lambda x: ops.while_loop(lambda i, v: i < 3, lambda i, v: i, (0, x)),
        ArgumentError,
        "while_loop: a step must return 2 variables",
    ),
    (lambda x: ops.scan(lambda c, v: c, x, x), ArgumentError, r"scan: f must return \(carry, y\)"),
    (lambda x: ops.scan(lambda c, v: (c, v), x), ArgumentError, "scan: expected xs or length"),
    (lambda x: ops.scan(lambda c, v: (c, v), x, (x, x[:1])), ShapeError, "scan: all of xs must have one length"),
    (lambda x: ops.switch(x[0], [lambda: x]), ShapeError, "switch: expected an integer index"),
    (
        lambda x: ops.scatter_update(x, ops.cast(x[:, None], "int32"), x, reduction="mean"),
        ArgumentError,
        "scatter_update: expected reduction",
    ),
    (lambda x: ops.segment_sum(x, ops.cast(x, "int32")), ArgumentError, "segment_sum: num_segments must be given"),
    (lambda x: ops.convert_to_numpy(x), TracingError, "NumPy array"),
    (lambda x: ops.slice(x, (0, 0), (1, 1)), ShapeError, "slice: expected 1 start indices"),
]


@pytest.mark.parametrize(("function", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_are_explained(function, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        lamina.trace(function, Spec((2,)))


def test_a_loop_in_python_keeps_its_types_too():
    with pytest.raises(DTypeError, match=r"while_loop: carry\[0\] starts as float32"):
        ops.while_loop(lambda v: True, lambda v: ops.cast(v, "int32"), np.float32(1))


def test_the_condition_of_a_loop_must_not_assign():
    counter = keras.Variable(np.float32(0), name="counter")
    with pytest.raises(TracingError, match="cond must not assign to Variables, it assigns to counter"):
        lamina.trace(lambda x: ops.while_loop(lambda v: counter.assign(v) < 3, lambda v: v + 1, x), Spec(()))
