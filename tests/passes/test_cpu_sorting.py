"""The CPU's rules for sorting: one array of integers instead of floats or of several arrays, in the same order."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meaning import same_bits
from strategies import any_bits

import lamina
from lamina.ir import Builder, Graph, Module, TensorType, evaluate, symbol
from lamina.ir.literals import raw_bytes
from lamina.ir.types import is_float
from lamina.passes import explain, run_pipeline
from lamina.passes.rules.cpu.sorting import FEWEST


def sorting(dtypes, shape, axis=-1, key=0, direction="LT", total_order=True, positions=()):
    """A module that sorts arrays of ``dtypes`` by the one numbered ``key``; those in ``positions`` are iotas."""
    graph = Graph()
    b = Builder(graph)
    xs = [
        b.iota(dtype=TensorType(d).dtype, shape=shape, axis=axis % len(shape))
        if i in positions
        else graph.add_input(TensorType(d, shape))
        for i, d in enumerate(dtypes)
    ]
    region = Graph()
    pairs = [(region.add_input(TensorType(d)), region.add_input(TensorType(d))) for d in dtypes]
    total_order = total_order and is_float(pairs[key][0].dtype)
    region.outputs = [Builder(region).compare(*pairs[key], direction=direction, total_order=total_order)]
    graph.outputs = list(b.emit("sort", xs, {"axis": axis % len(shape)}, [region]))
    return Module({"main": graph})


def after_cpu(module, *off):
    after, (record,) = run_pipeline(module, ",".join(["cpu", *(f"-{name}" for name in off)]), verify=True)
    return after, {f.rule for f in record.fired}


def inputs_of(module, seed, few=False):
    """Arrays of any bits, or of few different values so that most are equal."""
    rng = np.random.default_rng(seed)
    arrays = [any_bits(rng, v.type.dtype, v.type.shape) for v in module.main.inputs]
    return [a if not few else a.reshape(-1)[:3][rng.integers(0, 3, a.shape)] for a in arrays]


def assert_equal_to_the_last_bit(before, after, inputs):
    """NaNs of other bits are other elements here: a sort moves what there is."""
    for a, b in zip(evaluate(before, *inputs)[0], evaluate(after, *inputs)[0], strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and raw_bytes(a) == raw_bytes(b)


FLOATS = ["f64", "f32", "f16", "bf16", "f8e4m3fn", "f8e5m2"]
#: Shapes that are worth it, as to the number of elements, and an axis.
SHAPES = st.sampled_from([((FEWEST,), 0), ((1, 300), 1), ((5, 60), 1), ((80, 4), 0), ((3, 40, 3), 1), ((300, 1), 1)])


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(FLOATS), st.sampled_from(["LT", "GT"]), st.booleans(), st.integers(0, 2**32 - 1))
def test_floats_in_total_order_sort_as_integers(where, dtype, direction, few, seed):
    shape, axis = where
    module = sorting([dtype], shape, axis, direction=direction)
    after, fired = after_cpu(module)
    assert fired == {"sort_as_integers"}
    (node,) = (n for n in after.main.nodes if n.op.name == "sort")
    assert node.result.dtype.kind == "i"
    assert_equal_to_the_last_bit(module, after, inputs_of(module, seed, few))


@settings(max_examples=100, deadline=None)
@given(
    SHAPES,
    st.sampled_from(["f32", "f16", "bf16", "f8e5m2", "i8", "ui8", "i16", "ui16", "i32", "ui32", "i1"]),
    st.lists(st.sampled_from(["f32", "i64", "i1", "bf16", "ui32"]), max_size=2),
    st.sampled_from(["LT", "GT"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_arrays_sorted_together_keep_their_order(where, key, others, direction, total_order, few, seed):
    shape, axis = where
    place = len(others) // 2
    dtypes = [*others[:place], key, *others[place:], "i32"]
    module = sorting(dtypes, shape, axis, place, direction, total_order, positions=[len(dtypes) - 1])
    after, fired = after_cpu(module)
    assert fired == {"sort_packed"}
    (node,) = (n for n in after.main.nodes if n.op.name == "sort")
    assert len(node.operands) == 1 and node.result.dtype.kind == "i"
    assert_equal_to_the_last_bit(module, after, inputs_of(module, seed, few))


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.sampled_from(["f32", "bf16", "f16"]), st.sampled_from(["LT", "GT"]), st.integers(0, 2**32 - 1))
def test_one_array_of_floats_under_a_plain_comparison_keeps_equal_ones_in_order(where, dtype, direction, seed):
    shape, axis = where
    module = sorting([dtype], shape, axis, direction=direction, total_order=False)
    after, fired = after_cpu(module)
    assert fired == {"sort_packed"}
    assert_equal_to_the_last_bit(module, after, inputs_of(module, seed, few=seed % 2 == 0))


def test_positions_need_no_fetching():
    after, _ = after_cpu(sorting(["f32", "i32"], (2, 200), positions=[1]), "sort_as_integers")
    names = [n.op.name for n in after.main.nodes]
    assert names.count("gather") == 1  # of the keys
    module = sorting(["f32", "i32"], (2, 200), positions=[1])
    module.main.outputs = module.main.outputs[1:]
    after, _ = after_cpu(module)
    assert "gather" not in [n.op.name for n in after.main.nodes]


@pytest.mark.parametrize(("dtype", "length", "width"), [("bf16", 300, 32), ("ui16", 40000, 64), ("i16", 40000, 32)])
def test_key_and_position_share_the_narrowest_integer_that_holds_both(dtype, length, width):
    after, _ = after_cpu(sorting([dtype, "i32"], (length,), positions=[1]))
    (node,) = (n for n in after.main.nodes if n.op.name == "sort")
    assert node.result.dtype == np.dtype(f"int{width}")


@pytest.mark.parametrize(
    ("module", "rule", "why"),
    [
        (sorting(["f64", "i32"], (300,)), "sort_packed", "do not fit into 64 bits"),
        (sorting(["f32"], (4, 5)), "sort_as_integers", "fewer than"),
        (sorting(["f32", "i32"], (4, 5)), "sort_packed", "fewer than"),
        (sorting(["f32"], (0, 5)), "sort_as_integers", "fewer than"),
        (sorting(["f32"], (symbol("N"), 500)), "sort_as_integers", "open dimension"),
        (sorting(["f32"], (300,), total_order=False), "sort_as_integers", "of different bits"),
    ],
    ids=["wide keys", "few", "few together", "nothing", "open", "plain comparison"],
)
def test_what_is_left_alone_says_why(module, rule, why):
    assert rule not in after_cpu(module)[1]
    (miss,) = explain(module, rule)
    assert why in miss.reason


def test_another_comparator_is_left_alone():
    module = sorting(["f32", "i32"], (300,))
    region = module.main.nodes[-1].regions[0]
    b = Builder(region)
    region.outputs = [b.and_(region.outputs[0], b.compare(*region.inputs[2:], direction="LT"))]
    assert after_cpu(module)[1] == set()
    (miss,) = explain(module, "sort_packed")
    assert "not one comparison" in miss.reason


def test_rules_can_be_switched_off():
    for name, module in (
        ("sort_as_integers", sorting(["f32"], (300,))),
        ("sort_packed", sorting(["i8", "f32"], (300,))),
    ):
        assert str(after_cpu(module, name)[0]) == str(module)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32", "uint32", "int8", "bool"])
@pytest.mark.parametrize("axis", [0, 1])
def test_compiled_programs_sort_as_meant(dtype, axis):
    """64-bit integers inside a program need no 64-bit mode, which is off here."""
    assert not jax.config.jax_enable_x64
    type_ = TensorType(dtype, (30, 20))
    x = any_bits(np.random.default_rng(0), type_.dtype, (30, 20))
    ops = lamina.keras.ops
    compiled = lamina.compile(lambda x: (ops.sort(x, axis), ops.argsort(x, axis)), lamina.Spec(x.shape, dtype))
    assert ("xi64>" in compiled.stablehlo()) == (type_.dtype.itemsize == 4)
    got = [np.asarray(a) for a in compiled(x)]
    meant, _ = lamina.evaluate(compiled.graph, x)
    assert all(same_bits(a, b) for a, b in zip(got, meant, strict=True))
    x = x.astype(np.float32) if is_float(x.dtype) else x  # NumPy knows how to order these
    np.testing.assert_array_equal(got[1], np.argsort(x, axis=axis, kind="stable"))


def test_compiled_sort_of_special_values():
    row = [np.nan, 0.0, -0.0, np.inf, -np.inf, -np.nan, 1e-40, 1.0] * 40
    x = np.array([row], np.float32)
    ops = lamina.keras.ops
    values, places = (
        np.asarray(a) for a in lamina.compile(lambda x: (ops.sort(x), ops.argsort(x)), lamina.Spec(x.shape))(x)
    )
    np.testing.assert_array_equal(values[0], np.sort(x[0]))
    assert np.signbit(values[0, 40:120]).tolist() == [True] * 40 + [False] * 40  # -0 before 0
    assert np.isnan(values[0, -80:]).all()
    nan = np.isnan(x[0, places[0]])
    assert nan[-80:].all() and not nan[:-80].any()
    assert (np.diff(places[0, -80:]) > 0).all()  # NaNs keep their order
