"""Every op in TensorFlow gives what the NumPy meaning gives, on random shapes and types.

The emitted functions run eagerly here: tracing would take most of the time. Whole models are traced in
tests/frontend/test_export_tf_function.py.
"""

import closeness
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from op_cases import CASES, ELSEWHERE
from op_draw import region, use

import lamina
from lamina import keras
from lamina.frontend.export.tf_function import flat_outputs, instance, to_numpy, write
from lamina.ir import OPS, Builder, Graph, Module, TensorType, binary_region, evaluate, symbol
from lamina.ir.errors import UnsupportedError
from lamina.ir.location import Location
from lamina.lowering.tensorflow.source import RULES, UNSUPPORTED, missing_rules, tensorflow_source
from lamina.lowering.tensorflow.writer import UNSUPPORTED_TYPES

QUICK, LONG = 5, 60
#: tf.abs of a complex number is two units off, on which the quotient stands.
ROOMIER = {"sign": 6}


def run(graph, arrays, lite=False):
    """The outputs of a graph without parameters, as TensorFlow, eagerly."""
    source = tensorflow_source(Module({"main": graph}), lite=lite)
    made = instance(source, source.constants)
    function = type(made).__dict__["__call__"].python_function
    found = function(made, *(tf.constant(a) for a in arrays))
    return [to_numpy(x) for x in flat_outputs(None, found, len(graph.outputs))]


def check(case):
    graph, arrays = case
    used = {value.dtype for node in graph.walk() for value in (*node.operands, *node.results)}
    lacking = {np.dtype(t) for t in used} & {TensorType(name).dtype for name in UNSUPPORTED_TYPES}
    if lacking:
        with pytest.raises(UnsupportedError, match="has no form in TensorFlow"):
            run(graph, arrays)
        return
    closeness.assert_close(graph, arrays, run(graph, arrays))


def sweep(name, examples, monkeypatch):
    for op, bound in ROOMIER.items():
        monkeypatch.setitem(closeness.ULP, op, bound)
    options = {"phases": [Phase.generate], "database": None, "suppress_health_check": list(HealthCheck)}
    settings(max_examples=examples, **options)(given(CASES[name])(check))()


@pytest.mark.parametrize("name", sorted(CASES.keys() - UNSUPPORTED.keys()))
def test_tensorflow_agrees_with_the_meaning(name, monkeypatch):
    sweep(name, QUICK, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(CASES.keys() - UNSUPPORTED.keys()))
def test_tensorflow_agrees_with_the_meaning_on_many_cases(name, monkeypatch):
    sweep(name, LONG, monkeypatch)


def test_no_op_without_a_form_or_a_reason():
    assert missing_rules() == []
    assert [name for name in (*RULES, *UNSUPPORTED) if name not in OPS] == []
    assert not RULES.keys() & UNSUPPORTED.keys()
    assert {name for name in ELSEWHERE if name not in UNSUPPORTED} == set()


@pytest.mark.parametrize("name", sorted(UNSUPPORTED.keys() - {"call"}))
def test_what_has_no_form_is_refused_by_op_layer_and_way_out(name):
    attributes = {
        "all_reduce": {"groups": ((0,),)},
        "all_gather": {"groups": ((0,),), "axis": 0},
        "reduce_scatter": {"groups": ((0,),), "axis": 0},
        "all_to_all": {"groups": ((0,),), "split_axis": 0, "concat_axis": 1, "split_count": 1},
        "collective_permute": {"pairs": ((0, 0),)},
        "custom_call": {"target": "theirs", "results": [TensorType("f32", (4, 2))]},
    }.get(name, {})
    regions = [binary_region("add", "f32")] if name in ("all_reduce", "reduce_scatter") else []
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 4)), "x")
    builder = Builder(graph, location=Location(("block/dense",)))
    graph.outputs = list(builder.emit(name, () if name == "partition_id" else (x,), attributes, regions))
    with pytest.raises(UnsupportedError, match=rf"{name} has no form in TensorFlow \(at block/dense\): \w+"):
        tensorflow_source(Module({"main": graph}))


def convolution_text(x, w, **attributes):
    rank = len(x)
    spec = (0, rank - 1, *range(1, rank - 1))
    ones = (1,) * (rank - 2)
    given = {
        "strides": ones,
        "padding": ((0, 0),) * (rank - 2),
        "lhs_dilation": ones,
        "rhs_dilation": ones,
        "lhs_spec": spec,
        "rhs_spec": (rank - 1, rank - 2, *range(rank - 2)),
        "out_spec": spec,
        **attributes,
    }
    rng = np.random.default_rng(0)
    graph, arrays = use("convolution", *(rng.normal(size=s).astype(np.float32) for s in (x, w)), **given)
    closeness.assert_close(graph, arrays, run(graph, arrays))
    return tensorflow_source(Module({"main": graph})).text


@pytest.mark.parametrize(
    "x, w, attributes, call",
    [
        ((2, 8, 8, 3), (3, 3, 3, 4), {"padding": ((1, 1), (1, 1))}, "tf.nn.conv2d(x0, x1, [1, 1], 'SAME')"),
        ((2, 8, 8, 3), (3, 3, 3, 4), {"strides": (2, 2)}, "tf.nn.conv2d(x0, x1, [2, 2], 'VALID')"),
        ((2, 8, 8, 4), (3, 3, 1, 4), {"feature_groups": 4}, "tf.nn.depthwise_conv2d("),
        ((2, 8, 4), (3, 1, 8), {"feature_groups": 4, "padding": ((2, 0),)}, "tf.nn.depthwise_conv2d("),
        ((2, 8, 4), (3, 4, 5), {"rhs_dilation": (2,), "padding": ((4, 0),)}, "tf.nn.conv1d("),
        ((2, 4, 4, 3), (2, 2, 3, 4), {"lhs_dilation": (2, 2), "padding": ((1, 1),) * 2}, "tf.nn.conv2d_transpose("),
        ((2, 4, 4, 3), (3, 3, 3, 4), {"lhs_dilation": (2, 2), "padding": ((2, 1),) * 2}, "'SAME')"),
        ((2, 4, 4, 4, 2), (2, 2, 2, 2, 3), {}, "tf.nn.conv3d(x0, x1, [1, 1, 1, 1, 1], 'VALID')"),
        ((1, 3, 3, 3, 3, 2), (2, 2, 2, 2, 2, 3), {}, "convolve(x0, x1"),
    ],
)
def test_convolutions_use_the_kernel_made_for_them(x, w, attributes, call):
    assert call in convolution_text(x, w, **attributes)


def test_a_region_that_nobody_named_is_written_as_a_function():
    pick = region([("f32", ())] * 2, lambda b, x, y: b.select(b.compare(b.abs(x), b.abs(y), direction="GE"), x, y))
    rng = np.random.default_rng(1)
    x, zero = rng.normal(size=(3, 5)).astype(np.float32), np.float32(0)
    windows = {"window": (1, 3), "strides": (1, 1), "base_dilation": (1, 1), "window_dilation": (1, 1)}
    for graph, arrays in (
        use("reduce", x, zero, axes=(1,), regions=[pick]),
        use("reduce_window", x, zero, **windows, padding=((0, 0), (1, 1)), regions=[pick]),
    ):
        closeness.assert_close(graph, arrays, run(graph, arrays))
        assert "def body(a, a_1):" in tensorflow_source(Module({"main": graph})).text
    # One that has ops on whole tensors runs element by element.
    longer = region(
        [("f32", ())] * 2, lambda b, x, y: b.reduce_max(b.concatenate(*_vectors(b, x, y), axis=0), axes=(0,))
    )
    graph, arrays = use("reduce", x, np.float32(-np.inf), axes=(0,), regions=[longer])
    np.testing.assert_array_equal(run(graph, arrays)[0], x.max(0))


def _vectors(b, *scalars):
    return [b.reshape(s, shape=(1,)) for s in scalars]


def test_a_comparator_that_nobody_named_sorts_by_exchange():
    by_size = region([("f32", ())] * 2, lambda b, x, y: b.compare(b.abs(x), b.abs(y), direction="LT"))
    x = np.random.default_rng(2).normal(size=(3, 9)).astype(np.float32)
    for axis in (0, 1):
        graph, arrays = use("sort", x, axis=axis, regions=[by_size])
        np.testing.assert_array_equal(run(graph, arrays)[0], evaluate(graph, x)[0][0])


@pytest.mark.parametrize("fold", ["multiply", "subtract"])
def test_updates_to_one_place_are_folded_in_order(fold):
    x = np.arange(1, 6, dtype=np.float32)
    places, updates = np.array([[1], [3], [1], [9], [1]], np.int32), np.array([2, 3, 5, 7, 11], np.float32)
    graph, arrays = use(
        "scatter",
        x,
        places,
        updates,
        update_window_dims=(),
        inserted_window_dims=(0,),
        scatter_dims_to_operand_dims=(0,),
        index_vector_dim=1,
        regions=[binary_region(fold, "f32")],
    )
    np.testing.assert_array_equal(run(graph, arrays)[0], evaluate(graph, *arrays)[0][0])


def open_graph(build, *types):
    graph = Graph()
    values = [graph.add_input(t, f"x{i}") for i, t in enumerate(types)]
    made = build(Builder(graph), *values)
    graph.outputs = list(made) if isinstance(made, tuple) else [made]
    return graph


N, M = symbol("N"), symbol("M")
OPEN = {
    "reshape": lambda b, x: b.reshape(x, shape=(2 * N, 3)),
    "iota": lambda b, x: b.add(b.iota(dtype="f32", shape=x.shape, axis=0), x),
    "sizes": lambda b, x: b.broadcast_in_dim(b.dim_value(dim=N * N // 2 + 1, dtype="f32"), shape=(N, 2), dims=()),
    "pad": lambda b, x: b.pad(x, b.constant(1.0, "f32"), low=(N, 0), high=(0, 1), interior=(1, 0)),
    "slice": lambda b, x: b.slice(x, start=(N // 2, 0), limit=(N, 6), strides=(1, 2)),
    "cumsum": lambda b, x: b.cumsum(x, axis=0, reverse=True),
    "cummax": lambda b, x: b.cummax(x, axis=0),
    "mean": lambda b, x: b.reduce_mean(x, axes=(0,), keepdims=True),
    "dropout": lambda b, x: b.dropout(x, b.constant([3, 4], "ui32"), rate=0.5),
    "sort": lambda b, x: b.sort(
        x, axis=0, regions=[region([("f32", ())] * 2, lambda c, p, q: c.compare(p, q, direction="LT"))]
    ),
    "dot": lambda b, x: b.dot_general(x, x, lhs_contract=(1,), rhs_contract=(1,)),
    "resize": lambda b, x: b.resize(x, shape=(2 * N, 6), method="bilinear"),
    "take": lambda b, x: b.take(x, b.constant([0, -1, 99], "i32"), axis=0),
    "softmax": lambda b, x: b.softmax(x, axis=0),
}


@pytest.mark.parametrize("name", OPEN)
def test_open_sizes(name):
    graph = open_graph(OPEN[name], TensorType("f32", (N, 6)))
    for size in (2, 5):
        x = np.random.default_rng(size).normal(size=(size, 6)).astype(np.float32)
        expected = evaluate(graph, x)[0]
        for ours, want in zip(run(graph, [x]), expected, strict=True):
            assert ours.shape == want.shape
            # Sums of a few products of normal numbers.
            np.testing.assert_allclose(ours, want, rtol=1e-5, atol=1e-6)


def test_padding_that_is_same_for_every_size_is_called_so():
    def f(x):
        x = keras.ops.conv(x, np.ones((3, 3, 2, 4), np.float32), strides=2, padding="same")
        return keras.ops.max_pool(x, 2, strides=2, padding="same")

    module = lamina.trace(f, lamina.Spec((None, None, None, 2)))
    source = write(module)
    assert "'SAME')" in source.text and "pad(" not in source.text
    made = instance(source, source.constants)
    for shape in ((2, 7, 5, 2), (1, 8, 6, 2)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(made(x), lamina.evaluate(module, x)[0][0], rtol=1e-5, atol=1e-5)  # sums of 18


def test_a_size_that_no_input_has_is_asked_for():
    graph = open_graph(lambda b, x: b.dim_value(dim=M), TensorType("f32", (N,)))
    with pytest.raises(UnsupportedError, match="no input has M alone in a dimension"):
        tensorflow_source(Module({"main": graph}))
