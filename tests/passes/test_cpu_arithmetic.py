"""The CPU's rules for gelu, layer normalization and products of bfloat16."""

import functools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from meaning import assert_same_meaning

import lamina
from lamina.ir import Builder, Graph, Module, TensorType, evaluate, parse
from lamina.ir.types import ELEMENT_TYPES
from lamina.passes import explain, run_pipeline

EPS = float(np.finfo(np.float32).eps)

GELU = """\
module @net

func @main(%x: f32[4]) -> (f32[4]) {
  %0 = gelu(%x) {approximate=false} : f32[4] @mlp
  return %0
}
"""

GELU_AFTER = """\
module @net

func @main(%x: f32[4]) -> (f32[4]) {
  %0 = constant {value=f32[] 1.0} : f32[] @mlp
  %1 = broadcast_in_dim(%0) {shape=[4], dims=[]} : f32[4] @mlp
  %2 = constant {value=f32[] 0.70710677} : f32[] @mlp
  %3 = broadcast_in_dim(%2) {shape=[4], dims=[]} : f32[4] @mlp
  %4 = multiply(%x, %3) : f32[4] @mlp
  %5 = erf(%4) : f32[4] @mlp
  %6 = add(%1, %5) : f32[4] @mlp
  %7 = constant {value=f32[] 0.5} : f32[] @mlp
  %8 = broadcast_in_dim(%7) {shape=[4], dims=[]} : f32[4] @mlp
  %9 = multiply(%x, %8) : f32[4] @mlp
  %10 = multiply(%9, %6) : f32[4] @mlp
  return %10
}
"""


def after_cpu(module, *off):
    after, (record,) = run_pipeline(module, ",".join(["cpu", *(f"-{name}" for name in off)]), verify=True)
    return after, {f.rule for f in record.fired}


def test_gelu_is_written_with_erf():
    after, fired = after_cpu(parse(GELU))
    assert str(after) == str(parse(GELU_AFTER)) and fired == {"gelu_through_erf"}
    assert str(after_cpu(parse(GELU), "gelu_through_erf")[0]) == str(parse(GELU))


@functools.cache
def compiled_gelu():
    return lamina.compile(parse(GELU))


@settings(max_examples=100)
@given(arrays(np.float32, 4, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_gelu_stays_within_4_eps_of_its_argument(x):
    module, compiled = parse(GELU), compiled_gelu()
    (want,), _ = evaluate(module, x)
    for got in (evaluate(after_cpu(module)[0], x)[0][0], np.asarray(compiled(x)[0])):
        # Below the smallest normal number XLA may give 0.
        assert np.all(np.abs(got - want) <= 4 * EPS * np.abs(x) + np.finfo(np.float32).tiny)


def test_gelu_of_special_values():
    x = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    module = parse(GELU)
    with np.errstate(invalid="ignore"):
        (want,), _ = evaluate(module, x)
        (got,), _ = evaluate(after_cpu(module)[0], x)
    np.testing.assert_array_equal(got, want)
    assert np.signbit(got[3]) == np.signbit(want[3])
    np.testing.assert_array_equal(np.asarray(compiled_gelu()(x)[0]), want)
    far = np.array([-1e30, -100, 100, 1e30], np.float32)
    np.testing.assert_array_equal(np.asarray(compiled_gelu()(far)[0]), np.maximum(far, 0))


@pytest.mark.parametrize("dtype", ["f64", "bf16", "f16"])
def test_gelu_of_other_types_stays(dtype):
    module = parse(GELU.replace("f32[4]", f"{dtype}[4]"))
    assert after_cpu(module)[1] == set()
    (miss,) = explain(module, "gelu_through_erf")
    assert "precision of float32" in miss.reason


def product(left, right, element="bf16", **attributes):
    graph = Graph()
    x, y = graph.add_input(TensorType(element, left)), graph.add_input(TensorType(element, right))
    graph.outputs = [Builder(graph).dot_general(x, y, **attributes)]
    return Module({"main": graph})


MATRICES = {"lhs_contract": (1,), "rhs_contract": (0,)}
BATCHED = {"lhs_batch": (0,), "rhs_batch": (0,), "lhs_contract": (2,), "rhs_contract": (2,)}


@pytest.mark.parametrize(
    ("left", "right", "attributes"),
    [
        ((128, 128), (128, 64), MATRICES),
        ((2, 64, 128), (2, 64, 128), BATCHED),
        ((128, 128), (128, 64), {**MATRICES, "dtype": ELEMENT_TYPES["bf16"]}),
    ],
    ids=["matrices", "batched", "typed"],
)
def test_bfloat16_products_are_made_in_float32(left, right, attributes):
    module = product(left, right, **attributes)
    after, fired = after_cpu(module)
    assert fired == {"bfloat16_product_in_float32"}
    assert [(n.op.name, n.result.dtype.name) for n in after.main.nodes] == [
        ("dot_general", "float32"),
        ("convert", "bfloat16"),
    ]
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=s).astype(ELEMENT_TYPES["bf16"]) for s in (left, right)]
    assert_same_meaning(module, after, xs, {})
    xs[0].reshape(-1)[:3] = [np.nan, np.inf, -np.inf]
    with np.errstate(invalid="ignore"):
        assert_same_meaning(module, after, xs, {})


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (product((8, 8), (8, 8), **MATRICES), "fewer than"),
        (product((128, 128), (128, 128), lhs_contract=(0,), rhs_contract=(0,)), "last dimension"),
    ],
    ids=["small", "leading"],
)
def test_other_products_stay_and_say_why(module, why):
    assert after_cpu(module)[1] == set()
    (miss,) = explain(module, "bfloat16_product_in_float32")
    assert why in miss.reason


@pytest.mark.parametrize(
    "module",
    [product((128, 128), (128, 64), "f32", **MATRICES), product((128, 128), (128, 64), "f16", **MATRICES)],
    ids=["float32", "float16"],
)
def test_products_of_other_types_stay(module):
    assert after_cpu(module)[1] == set()


def test_a_product_that_asks_for_float32_is_left():
    graph = Graph()
    x, y = graph.add_input(TensorType("bf16", (128, 128))), graph.add_input(TensorType("bf16", (128, 64)))
    graph.outputs = [Builder(graph).dot_general(x, y, **MATRICES, dtype=ELEMENT_TYPES["f32"])]
    assert after_cpu(Module({"main": graph}))[1] == set()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([((4, 6), (1,)), ((2, 3, 5), (-1, 0)), ((1, 1), (0,)), ((3, 8, 4), (1,))]),
    st.sampled_from(["f32", "f64", "f16", "bf16"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_layer_norm_scales_distances(where, dtype, scale, center, seed):
    (shape, axes), rng = where, np.random.default_rng(seed)
    kept = [shape[i] for i in sorted(a % len(shape) for a in axes)]
    graph = Graph()
    types = [TensorType(dtype, shape), *[TensorType(dtype, kept)] * (scale + center)]
    values = [graph.add_input(t) for t in types]
    graph.outputs = [Builder(graph).layer_norm(*values, axes=axes, scale=scale, center=center)]
    module = Module({"main": graph})
    after, fired = after_cpu(module)
    assert fired == {"layer_norm_by_distance"}
    xs = [rng.uniform(-2, 2, t.shape).astype(t.dtype) for t in types]
    (want,), _ = evaluate(module, *xs)
    (got,), _ = evaluate(after, *xs)
    assert got.dtype == want.dtype
    # Both round a few times at the magnitude of x / sqrt(epsilon) at most; narrow types once more, at the end.
    eps = float(ml_dtypes.finfo(want.dtype).eps)
    bound = 8 * min(eps, EPS) * 2 / np.sqrt(1e-3) * 2 + eps * np.abs(want.astype("f8"))
    assert np.all(np.abs(got.astype("f8") - want.astype("f8")) <= bound)


def test_layer_norm_of_what_is_not_finite_is_nan_in_its_row_alone():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 3)))
    graph.outputs = [Builder(graph).layer_norm(x, axes=(1,), scale=False, center=False)]
    module = Module({"main": graph})
    rows = np.array([[1, np.nan, 2], [np.inf, 0, 0], [-np.inf, np.inf, 1], [1, 1, 1]], np.float32)
    with np.errstate(invalid="ignore"):
        want, got = (evaluate(m, rows)[0][0] for m in (module, after_cpu(module)[0]))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(got[3], np.zeros(3, np.float32))
