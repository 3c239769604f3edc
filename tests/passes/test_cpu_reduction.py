"""The CPU's rules for positions of extremes and cumulative windows: what they emit, and that the meaning stays."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meaning import assert_same_meaning, same_bits
from strategies import any_bits

import lamina
from lamina.ir import Builder, Graph, Module, TensorType, binary_region, evaluate, parse, symbol
from lamina.passes import explain, run_pipeline, specialize

ARGMAX = """\
module @net

func @main(%x: f32[3,4]) -> (i32[3]) {
  %0 = argmax(%x) {axis=-1} : i32[3] @best
  return %0
}
"""

ARGMAX_AFTER = """\
module @net

func @main(%x: f32[3,4]) -> (i32[3]) {
  %0 = constant {value=f32[] -inf} : f32[] @best
  %1 = reduce(%x, %0) {axes=[1]} : f32[3] @best
    region body(%2: f32[], %3: f32[]) -> (f32[]) {
      %4 = maximum(%2, %3) : f32[] @best
      return %4
    }
  %5 = broadcast_in_dim(%1) {shape=[3,4], dims=[0]} : f32[3,4] @best
  %6 = compare(%x, %5) {direction="EQ"} : i1[3,4] @best
  %7 = compare(%x, %x) {direction="NE"} : i1[3,4] @best
  %8 = or(%6, %7) : i1[3,4] @best
  %9 = iota {dtype=i32, shape=[3,4], axis=1} : i32[3,4] @best
  %10 = constant {value=i32[] 2147483647} : i32[] @best
  %11 = broadcast_in_dim(%10) {shape=[3,4], dims=[]} : i32[3,4] @best
  %12 = select(%8, %9, %11) : i32[3,4] @best
  %13 = constant {value=i32[] 2147483647} : i32[] @best
  %14 = reduce(%12, %13) {axes=[1]} : i32[3] @best
    region body(%15: i32[], %16: i32[]) -> (i32[]) {
      %17 = minimum(%15, %16) : i32[] @best
      return %17
    }
  return %14
}
"""


def module_of(build, *types):
    """A module whose outputs are what ``build(builder, *inputs)`` returns."""
    graph = Graph()
    inputs = [graph.add_input(t) for t in types]
    result = build(Builder(graph), *inputs)
    graph.outputs = list(result) if isinstance(result, tuple) else [result]
    return Module({"main": graph})


def after_cpu(module, *off):
    """The module after the CPU's rules, checked after the pass, and the names of the rules that fired."""
    after, (record,) = run_pipeline(module, ",".join(["cpu", *(f"-{name}" for name in off)]), verify=True)
    return after, {f.rule for f in record.fired}


def test_argmax_is_the_first_position_of_the_maximum_or_of_nan():
    after, fired = after_cpu(parse(ARGMAX))
    assert str(after) == str(parse(ARGMAX_AFTER)) and fired == {"position_by_extreme"}
    assert str(after_cpu(parse(ARGMAX), "position_by_extreme")[0]) == str(parse(ARGMAX))


SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3).flatmap(
    lambda shape: st.tuples(st.just(tuple(shape)), st.integers(-len(shape), len(shape) - 1))
)


@settings(max_examples=60)
@given(
    SHAPES,
    st.sampled_from(["argmax", "argmin"]),
    st.sampled_from(["f64", "f32", "f16", "bf16", "f8e4m3fn", "f8e5m2", "i8", "ui8", "i1"]),
    st.sampled_from(["i32", "ui8", "i64"]),
    st.integers(0, 2**32 - 1),
)
def test_positions_stay_the_same_for_any_bits(where, op, dtype, index, seed):
    (shape, axis), type_ = where, TensorType(dtype, where[0])
    module = module_of(lambda b, x: b.emit(op, (x,), {"axis": axis, "dtype": TensorType(index).dtype})[0], type_)
    after, fired = after_cpu(module)
    assert fired == {"position_by_extreme"}
    assert_same_meaning(module, after, [any_bits(np.random.default_rng(seed), type_.dtype, shape)], {})


@pytest.mark.parametrize(
    ("row", "best", "worst"),
    [
        ([1, 3, 3, 2], 1, 0),
        ([1, np.nan, 3, np.nan], 1, 1),
        ([-0.0, 0.0, -0.0], 0, 0),
        ([-np.inf, -np.inf], 0, 0),
        ([np.inf, np.inf, np.nan], 2, 2),
        ([7], 0, 0),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_compiled_positions_of_special_values(row, best, worst, dtype):
    x = np.array([row] * 3).astype(dtype)
    ops = lamina.keras.ops
    compiled = lamina.compile(lambda x: (ops.argmax(x, -1), ops.argmin(x, -1)), lamina.Spec(x.shape, dtype))
    most, least = (np.asarray(a).tolist() for a in compiled(x))
    assert most == [best] * 3 and least == [worst] * 3


def test_a_batch_of_nothing_has_no_positions():
    module = module_of(lambda b, x: b.argmax(x, axis=1), TensorType("f32", (0, 3)))
    after, _ = after_cpu(module)
    assert evaluate(after, np.zeros((0, 3), np.float32))[0][0].shape == (0,)


@pytest.mark.parametrize("dtype", ["i16", "i32", "ui64"])
def test_positions_of_wider_integers_are_left_to_xla(dtype):
    module = module_of(lambda b, x: b.argmax(x, axis=0), TensorType(dtype, (4,)))
    assert after_cpu(module)[1] == set()
    (miss,) = explain(module, "position_by_extreme")
    assert "wider integers" in miss.reason


# Cumulative reductions. The decomposition of an open length, a window over it, is what the blocks have to equal.

OPEN = {"cumsum": "add", "cumprod": "multiply", "cummax": "maximum", "cummin": "minimum"}


def cumulative(op, dtype, shape, axis, reverse):
    """The composite on static shapes, and the same as a window."""
    type_ = TensorType(dtype, shape)
    blocks = module_of(lambda b, x: b.emit(op, (x,), {"axis": axis, "reverse": reverse})[0], type_)
    open_shape = tuple(symbol("N") if i == axis else d for i, d in enumerate(shape))
    window = module_of(
        lambda b, x: b.emit(op, (x,), {"axis": axis, "reverse": reverse})[0], TensorType(dtype, open_shape)
    )
    window, _ = run_pipeline(window, "decompose")
    assert [n.op.name for n in window.main.nodes if n.op.name != "constant"][-1] == "reduce_window"
    return blocks, specialize(window, {"N": shape[axis]})


CUMULATIVE = st.tuples(
    st.sampled_from(sorted(OPEN)),
    st.lists(st.integers(0, 3), min_size=0, max_size=2),
    st.sampled_from([1, 2, 7, 8, 9, 16, 17, 64, 65, 80]),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=60, deadline=None)
@given(CUMULATIVE, st.sampled_from(["i8", "ui8", "i32", "ui64"]))
def test_cumulative_integers_are_exact_and_wrap(drawn, dtype):
    op, others, length, place, reverse, seed = drawn
    axis = min(place, len(others))
    shape = (*others[:axis], length, *others[axis:])
    blocks, window = cumulative(op, dtype, shape, axis, reverse)
    rewritten, fired = after_cpu(window)
    assert fired == ({"cumulative_in_blocks"} if length > 1 else set())
    x = any_bits(np.random.default_rng(seed), TensorType(dtype).dtype, shape)
    (want,), _ = evaluate(window, x)
    for module in (blocks, rewritten):
        (got,), _ = evaluate(module, x)
        assert same_bits(got, want)


@settings(max_examples=60, deadline=None)
@given(CUMULATIVE, st.sampled_from(["f32", "bf16", "f16", "f64"]))
def test_cumulative_floats_are_close_and_extremes_exact(drawn, dtype):
    op, others, length, place, reverse, seed = drawn
    axis = min(place, len(others))
    shape = (*others[:axis], length, *others[axis:])
    blocks, window = cumulative(op, dtype, shape, axis, reverse)
    rewritten, _ = after_cpu(window)
    rng, element = np.random.default_rng(seed), TensorType(dtype).dtype
    if op in ("cummax", "cummin"):
        x = any_bits(rng, element, shape)
        (want,), _ = evaluate(window, x)
        assert all(same_bits(evaluate(m, x)[0][0], want) for m in (blocks, rewritten))
        return
    x = (rng.uniform(-1, 1, shape) if op == "cumsum" else rng.uniform(0.9, 1.1, shape)).astype(element)
    (want,), _ = evaluate(window, x)
    # Sums in another order: n * eps * sum|x|. Products: n roundings of eps each. One more to the element type.
    eps = float(ml_dtypes.finfo(max(element, np.dtype("f4"), key=lambda t: t.itemsize)).eps)
    size = length if op == "cumsum" else float(np.abs(want.astype("f8")).max(initial=1))
    bound = 2 * length * eps * size + float(ml_dtypes.finfo(element).eps) * np.abs(want.astype("f8"))
    for module in (blocks, rewritten):
        (got,), _ = evaluate(module, x)
        assert got.dtype == element and got.shape == shape
        assert np.all(np.abs(got.astype("f8") - want.astype("f8")) <= bound)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [5, 8, 100])
def test_what_is_not_finite_reaches_only_what_comes_after(special, reverse, length):
    for place in (0, length // 3, length - 1):
        x = np.ones((2, length), np.float32)
        x[1, place] = special
        compiled = lamina.compile(
            module_of(lambda b, x: b.cumsum(x, axis=1, reverse=reverse), TensorType("f32", x.shape))
        )
        got = np.asarray(compiled(x)[0])
        ahead = got[:, ::-1] if reverse else got
        first = length - 1 - place if reverse else place
        counted = np.arange(1, length + 1, dtype=np.float32)
        np.testing.assert_array_equal(ahead[0], counted)
        np.testing.assert_array_equal(ahead[1, :first], counted[:first])
        np.testing.assert_array_equal(ahead[1, first:], np.full(length - first, special, np.float32))


def test_opposite_infinities_are_nan_from_where_they_meet():
    x = np.array([1, np.inf, 1, -np.inf, 1], np.float32)
    np.testing.assert_array_equal(
        np.asarray(lamina.compile(lamina.keras.ops.cumsum, lamina.Spec((5,)))(x)), [1, np.inf, np.inf, np.nan, np.nan]
    )


def test_narrow_floats_are_summed_wide_and_rounded_once():
    x = np.full(4096, 0.25, np.float16)
    got = np.asarray(lamina.compile(lamina.keras.ops.cumsum, lamina.Spec((4096,), "float16"))(x))
    np.testing.assert_array_equal(got, (np.arange(1, 4097) * 0.25).astype(np.float16))


def test_an_open_length_compiles_to_blocks_too():
    compiled = lamina.compile(lambda x: lamina.keras.ops.cumsum(x, -1), lamina.Spec((None, None)))
    for length in (1, 8, 30):
        x = np.arange(2 * length, dtype=np.float32).reshape(2, length)
        np.testing.assert_array_equal(np.asarray(compiled(x)), np.cumsum(x, -1))
    assert "reduce_window" not in compiled.stablehlo(**dict.fromkeys(compiled.optimized.main.symbols, 30))


def window_of(window, padding, op="add", start=0.0, strides=(1,), shape=(9,), dtype="f32"):
    def build(b, x):
        ones = (1,) * len(shape)
        return b.reduce_window(
            x,
            b.constant(start, dtype),
            window=window,
            strides=strides,
            base_dilation=ones,
            window_dilation=ones,
            padding=padding,
            regions=[binary_region(op, dtype)],
        )

    return module_of(build, TensorType(dtype, shape))


@pytest.mark.parametrize(
    "module",
    [
        window_of((3,), ((2, 0),)),
        window_of((9,), ((4, 4),)),
        window_of((9,), ((8, 0),), strides=(2,)),
        window_of((9,), ((8, 0),), start=1.0),
        window_of((9,), ((8, 0),), op="maximum", start=0.0),
    ],
    ids=["shorter", "centred", "strided", "from one", "maximum from zero"],
)
def test_other_windows_stay(module):
    after, fired = after_cpu(module)
    assert not fired and str(after) == str(module)


@pytest.mark.parametrize(
    ("op", "start", "dtype"),
    [("and", -1, "i32"), ("or", 0, "ui8"), ("xor", 0, "i32"), ("or", False, "i1"), ("and", True, "i1")],
)
def test_windows_of_bits_are_cumulative_as_well(op, start, dtype):
    module = window_of((9,), ((8, 0),), op=op, start=start, dtype=dtype)
    after, fired = after_cpu(module)
    assert fired == {"cumulative_in_blocks"}
    x = any_bits(np.random.default_rng(0), TensorType(dtype).dtype, (9,))
    assert_same_meaning(module, after, [x], {})
