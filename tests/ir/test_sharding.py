"""Shardings in types, and the op that asks for one: meaning, derivative, batching, what passes leave of it."""

import numpy as np
import pytest

from lamina.ir import Builder, Graph, Module, TensorType, evaluate, parse
from lamina.ir.dims import symbol
from lamina.ir.errors import ShapeError
from lamina.ir.sharding import axes_of, check_sharding, splits
from lamina.passes import differentiate, run_pipeline
from lamina.passes.vectorize import vectorize

N = symbol("N")
SIZES = {"batch": 4, "model": 2}
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def constraints(graph):
    return [n.result.type.sharding for n in graph.walk() if n.op.name == "sharding_constraint"]


def squares():
    """The sum of squares of an input that is laid out before."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 3)), "x")
    b = Builder(graph)
    laid_out = b.sharding_constraint(x, sharding=("batch", None))
    graph.outputs = [b.reduce_sum(b.multiply(laid_out, laid_out), axes=(0, 1))]
    return graph


@pytest.mark.parametrize(
    ("entry", "axes"), [(None, ()), ("batch", ("batch",)), (("batch", "model"), ("batch", "model")), ((), ())]
)
def test_the_axes_of_an_entry(entry, axes):
    assert axes_of(entry) == axes


def test_a_sharding_is_plain_data():
    assert check_sharding(["batch", None, ["model", "seq"]], 3) == ("batch", None, ("model", "seq"))


@pytest.mark.parametrize(
    ("sharding", "says"),
    [
        (("batch",), "an entry for each of 2 dimensions"),
        (("batch", 3), "names axes of the mesh"),
        (("batch", ""), "names axes of the mesh"),
        (("batch", "batch"), "over an axis"),
        ((("batch", "model"), "model"), "over an axis"),
    ],
)
def test_a_sharding_that_is_none_is_an_error(sharding, says):
    with pytest.raises((ShapeError, TypeError), match=says):
        check_sharding(sharding, 2)


@pytest.mark.parametrize(
    ("shape", "sharding", "expected"),
    [
        ((8, 3), ("batch", None), True),
        ((6, 3), ("batch", None), False),
        ((8, 4), (("batch", "model"), None), True),
        ((4, 4), (("batch", "model"), None), False),
        ((N, 3), ("batch", None), True),
        ((N, 3), ("batch", "model"), False),
        ((), (), True),
    ],
)
def test_whether_sizes_can_be_split(shape, sharding, expected):
    assert splits(shape, sharding, SIZES) is expected


def test_the_constraint_is_the_identity_and_its_type_says_the_layout():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (N, 3)), "x")
    y = Builder(graph).sharding_constraint(x, sharding=["batch", None])
    graph.outputs = [y]
    assert y.type == TensorType("f32", (N, 3), ("batch", None))
    np.testing.assert_array_equal(evaluate(graph, X)[0][0], X)
    module = Module({"main": graph})
    assert 'sharding(["batch",none])' in str(module)
    assert str(parse(str(module))) == str(module)


def test_a_constraint_that_does_not_fit_the_rank_is_an_error():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 3)), "x")
    with pytest.raises(ShapeError, match="an entry for each of 2 dimensions"):
        Builder(graph).sharding_constraint(x, sharding=("batch",))


def test_what_comes_back_is_laid_out_like_what_went_in():
    graph = squares()
    seed = TensorType("f32", ())
    gradient = differentiate.vjp(graph, [True], [True])
    assert gradient.inputs[-1].type == seed
    assert constraints(gradient) == [("batch", None)] * 2
    np.testing.assert_allclose(evaluate(gradient, X, np.float32(1))[0][-1], 2 * X)
    forward = differentiate.jvp(graph, [True])
    assert constraints(forward) == [("batch", None)] * 2


def test_a_new_dimension_in_front_is_whole():
    mapped = vectorize(squares(), [True], 5, [True])
    assert constraints(mapped) == [(None, "batch", None)]
    many = np.stack([X + i for i in range(5)])
    np.testing.assert_allclose(evaluate(mapped, many)[0][0], [(x * x).sum() for x in many])


def test_passes_keep_constraints_and_merge_equal_ones():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 3)), "x")
    b = Builder(graph)
    one, same, other = (
        b.sharding_constraint(x, sharding=s) for s in (("batch", None), ("batch", None), (None, "batch"))
    )
    graph.outputs = [b.add(b.add(one, same), other)]
    for pipeline in ("O1", "O2", "O3"):
        optimized, _ = run_pipeline(Module({"main": graph}), pipeline, verify=True, target="cpu")
        assert sorted(map(str, constraints(optimized))) == ["('batch', None)", "(None, 'batch')"]
        np.testing.assert_allclose(evaluate(optimized.main, X)[0][0], 3 * X)


def test_other_ops_say_nothing_of_layouts():
    """XLA propagates what inputs and constraints say."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 3), ("batch", None)), "x")
    assert Builder(graph).tanh(x).type.sharding is None
