"""Derivatives of graphs as graphs: what they look like, and that they are right where ops have regions."""

import numpy as np
import pytest

from lamina.ir import Builder, Graph, Module, evaluate, parse, verify
from lamina.ir.errors import DifferentiationError
from lamina.passes import run_pipeline
from lamina.passes.differentiate import jvp, vjp
from lamina.passes.vectorize import vectorize

SQUARES = """module @squares

func @main(%x: f64[3], %y: f64[3]) -> (f64[3]) {
  inputs (0, 1)
  outputs 0
  %0 = multiply(%x, %y) : f64[3] @product
  %1 = tanh(%0) : f64[3] @bend
  return %1
}
"""


def shown(graph: Graph) -> str:
    """The lines of a graph's nodes after `simplify`, which drops what is not needed."""
    verify(Module({"main": graph}))
    module, _ = run_pipeline(Module({"main": graph}), "simplify", verify=True)
    return "\n".join(line.strip() for line in str(module.main).splitlines() if "=" in line or "return" in line)


def test_forward_mode_carries_tangents_along():
    assert (
        shown(jvp(parse(SQUARES).main, [True, False]))
        == """\
%1 = multiply(%x, %y) : f64[3] @product
%2 = multiply(%0, %y) : f64[3] @product
%3 = tanh(%1) : f64[3] @bend
%4 = constant {value=f64[] 1.0} : f64[] @bend
%5 = broadcast_in_dim(%4) {shape=[3], dims=[]} : f64[3] @bend
%6 = multiply(%3, %3) : f64[3] @bend
%7 = subtract(%5, %6) : f64[3] @bend
%8 = multiply(%2, %7) : f64[3] @bend
return %3, %8"""
    )


def test_reverse_mode_goes_back_from_the_last_node_and_keeps_layers():
    assert (
        shown(vjp(parse(SQUARES).main, [True, True], [True]))
        == """\
%1 = multiply(%x, %y) : f64[3] @product
%2 = tanh(%1) : f64[3] @bend
%3 = constant {value=f64[] 1.0} : f64[] @bend
%4 = broadcast_in_dim(%3) {shape=[3], dims=[]} : f64[3] @bend
%5 = multiply(%2, %2) : f64[3] @bend
%6 = subtract(%4, %5) : f64[3] @bend
%7 = multiply(%0, %6) : f64[3] @bend
%8 = multiply(%7, %x) : f64[3] @product
%9 = multiply(%7, %y) : f64[3] @product
return %2, %9, %8"""
    )


def test_the_graph_itself_stays_as_it_is():
    graph = parse(SQUARES).main
    before = str(graph)
    jvp(graph, [True, True])
    vjp(graph, [True, True], [True])
    vectorize(graph, [True, False], 5)
    assert str(graph) == before


def test_vectorize_moves_nothing_that_is_the_same_for_the_batch():
    graph = vectorize(parse(SQUARES).main, [False, False], 5)
    assert [v.shape for v in graph.outputs] == [(3,)]
    graph = vectorize(parse(SQUARES).main, [True, False], 5)
    assert [v.shape for v in graph.outputs] == [(5, 3)]
    assert [n.op.name for n in graph.nodes] == ["broadcast_in_dim", "multiply", "tanh"]


def scan_graph() -> Graph:
    """A recurrence whose weight is a constant of the loop; one of its carries is an integer."""
    body = Graph()
    b = Builder(body)
    w, h, count, x = (body.add_input(t) for t in map(_type, ((3, 3), (2, 3), "i32", (2, 3))))
    z = b.dot_general(h, w, lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=())
    new = b.tanh(b.add(z, b.multiply(x, x)))
    body.outputs = [new, b.add(count, b.constant(1, "i32")), b.multiply(new, h)]
    graph = Graph()
    given = [graph.add_input(_type(s)) for s in ((3, 3), (2, 3), (4, 2, 3))]
    b = Builder(graph)
    start = b.constant(0, "i32")
    h, count, ys = b.scan(given[0], given[1], start, given[2], consts=1, carries=2, length=4, regions=[body])
    graph.outputs = [h, ys, count]
    return graph


def _type(shape):
    from lamina.ir.types import TensorType

    return TensorType("i32") if shape == "i32" else TensorType("f64", shape)


def _differences(graph: Graph, arrays, directions, step=1e-6):
    plus = evaluate(graph, *(a + step * d for a, d in zip(arrays, directions)))[0]
    minus = evaluate(graph, *(a - step * d for a, d in zip(arrays, directions)))[0]
    return [(p - m) / (2 * step) for p, m in zip(plus, minus) if p.dtype.kind == "f"]


def assert_right(graph: Graph) -> None:
    """jvp against central differences in float64 (their error is about 1e-9 here), vjp against jvp."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=v.shape) for v in graph.inputs]
    directions = [rng.normal(size=v.shape) for v in graph.inputs]
    floats = [v.dtype.kind == "f" for v in graph.outputs]
    forward = jvp(graph, [True] * len(arrays))
    verify(Module({"main": forward}))
    found = evaluate(forward, *arrays, *directions)[0]
    values, tangents = found[: len(floats)], found[len(floats) :]
    for got, wanted in zip(tangents, _differences(graph, arrays, directions), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-7)
    back = vjp(graph, [True] * len(arrays), floats)
    verify(Module({"main": back}))
    cotangents = [rng.normal(size=v.shape) for v, f in zip(graph.outputs, floats) if f]
    results = evaluate(back, *arrays, *cotangents)[0]
    for a, b in zip(values, results):
        np.testing.assert_array_equal(a, b)
    left = sum(np.vdot(ct, t) for ct, t in zip(cotangents, tangents, strict=True))
    right = sum(np.vdot(ct, d) for ct, d in zip(results[len(floats) :], directions, strict=True))
    np.testing.assert_allclose(left, right, rtol=1e-10)


def test_scan():
    assert_right(scan_graph())
    assert_right(vjp(scan_graph(), [True, True, True], [True, True, False]))  # the second derivative


@pytest.mark.parametrize("again", [False, True])
def test_remat(again):
    region = parse(SQUARES).main
    graph = Graph()
    x, y = (graph.add_input(v.type) for v in region.inputs)
    graph.outputs = [Builder(graph).remat(x, y, again=again, regions=[region])]
    assert_right(graph)
    back = vjp(graph, [True, True], [True])
    kinds = [(n.op.name, n.attributes.get("again")) for n in back.nodes]
    assert kinds == [("remat", again), ("remat", True)], "the second time is a region of its own"


def test_on_the_cpu_what_is_computed_again_is_computed_in_a_branch():
    graph = Graph()
    region = parse(SQUARES).main
    x, y = (graph.add_input(v.type) for v in region.inputs)
    graph.outputs = [Builder(graph).remat(x, y, regions=[region])]
    before = Module({"main": vjp(graph, [True, True], [True])})
    after, records = run_pipeline(before, "target_cpu", verify=True, target="cpu")
    assert [fired.rule for r in records for fired in r.fired].count("remat_in_a_branch") == 1
    assert [n.op.name for n in after.main.nodes if n.regions] == ["remat", "cond"]
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=3), np.array([np.nan, -0.0, np.inf]), np.zeros(3)):
        arrays = [rng.normal(size=3), rng.normal(size=3), values]
        for a, b in zip(evaluate(before, *arrays)[0], evaluate(after, *arrays)[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_while_has_no_reverse_derivative():
    condition, body, graph = Graph(), Graph(), Graph()
    x = condition.add_input(_type(()))
    condition.outputs = [Builder(condition).compare(x, Builder(condition).constant(9.0, "f64"), direction="LT")]
    x = body.add_input(_type(()))
    body.outputs = [Builder(body).multiply(x, x)]
    graph.outputs = [Builder(graph).while_(graph.add_input(_type(())), regions=[condition, body])]
    value, slope = evaluate(jvp(graph, [True]), np.float64(2.0), np.float64(1.0))[0]
    assert (float(value), float(slope)) == (16.0, 32.0)
    with pytest.raises(DifferentiationError, match=r"while has no derivative.*ops\.scan"):
        vjp(graph, [True], [True])


def test_an_op_without_derivative_is_named_with_its_layer():
    graph = parse("""module @m

func @main(%x: f32[2]) -> (f32[2]) {
  inputs (0)
  outputs 0
  %0 = custom_call(%x) {target="mystery", results=[f32[2]]} : f32[2] @encoder/secret
  return %0
}
""").main
    for call in (lambda: jvp(graph, [True]), lambda: vjp(graph, [True], [True])):
        with pytest.raises(DifferentiationError, match=r"(?s)custom_call has no derivative.*encoder/secret"):
            call()
