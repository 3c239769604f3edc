"""gather, scatter, sort and top_k against NumPy and XLA."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from lamina.ir import Builder, Graph, TensorType, binary_region, evaluate, symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError

N = symbol("N")
MODE = lax.GatherScatterMode


@st.composite
def layouts(draw):
    """Dimension numbers that gather and scatter share, with arrays that fit them."""
    rank = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    roles = [draw(st.sampled_from(("window", "window", "collapsed", "batching"))) for _ in range(rank)]
    sizes = tuple(draw(st.integers(0, n)) if role == "window" else 1 for n, role in zip(shape, roles, strict=True))
    batching = [d for d in range(rank) if roles[d] == "batching"]
    mapped = draw(st.permutations([d for d in range(rank) if d not in batching and draw(st.booleans())]))
    free = [draw(st.integers(0, 3)) for _ in range(draw(st.integers(0, 1)))]
    batch = draw(st.permutations([("free", n) for n in free] + [("batching", d) for d in batching]))
    batch_shape = tuple(n if kind == "free" else shape[n] for kind, n in batch)
    indices_batching = tuple(
        next(i for i, (kind, n) in enumerate(batch) if kind == "batching" and n == d) for d in batching
    )
    window = [d for d in range(rank) if roles[d] == "window"]
    total = len(batch_shape) + len(window)
    offsets = tuple(sorted(draw(st.permutations(range(total)))[: len(window)]))
    seed = draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    indices = rng.integers(-2, 6, (*batch_shape, len(mapped)), dtype=np.int32)
    return {
        "shape": shape,
        "sizes": sizes,
        "window": window,
        "batching": tuple(batching),
        "mapped": tuple(mapped),
        "collapsed": tuple(d for d in range(rank) if roles[d] == "collapsed"),
        "indices": indices,
        "offsets": offsets,
        "indices_batching": indices_batching,
        "vector_dim": draw(st.integers(0, len(batch_shape))),
        "rng": rng,
    }


def vector_dim_moved(case):
    """Indices with the index vectors along another dimension, and the batching dimensions that follow from it."""
    at = case["vector_dim"]
    return np.moveaxis(case["indices"], -1, at), tuple(d + (d >= at) for d in case["indices_batching"])


@settings(max_examples=60)
@given(layouts())
def test_gather_as_xla(case):
    x = case["rng"].integers(0, 100, case["shape"], dtype=np.int32)
    numbers = lax.GatherDimensionNumbers(
        case["offsets"], case["collapsed"], case["mapped"], case["batching"], case["indices_batching"]
    )
    expected = lax.gather(x, case["indices"], numbers, case["sizes"], mode=MODE.CLIP)
    indices, batching = vector_dim_moved(case)
    graph = Graph()
    values = [graph.add_input(TensorType("i32", a.shape)) for a in (x, indices)]
    graph.outputs = list(
        Builder(graph).emit(
            "gather",
            values,
            {
                "offset_dims": case["offsets"],
                "collapsed_slice_dims": case["collapsed"],
                "operand_batching_dims": case["batching"],
                "start_indices_batching_dims": batching,
                "start_index_map": case["mapped"],
                "index_vector_dim": case["vector_dim"],
                "slice_sizes": case["sizes"],
            },
        )
    )
    (result,), _ = evaluate(graph, x, indices)
    np.testing.assert_array_equal(result, expected)


SCATTERS = {"add": lax.scatter_add, "multiply": lax.scatter_mul, "maximum": lax.scatter_max, "minimum": lax.scatter_min}


@settings(max_examples=60)
@given(layouts(), st.sampled_from(sorted(SCATTERS)))
def test_scatter_as_xla(case, op):
    x = case["rng"].integers(-9, 9, case["shape"], dtype=np.int32)
    batch = list(case["indices"].shape[:-1])
    window = [case["sizes"][d] for d in case["window"]]
    update_shape = [window.pop(0) if i in case["offsets"] else batch.pop(0) for i in range(len(batch) + len(window))]
    updates = case["rng"].integers(-9, 9, update_shape, dtype=np.int32)
    numbers = lax.ScatterDimensionNumbers(
        case["offsets"], case["collapsed"], case["mapped"], case["batching"], case["indices_batching"]
    )
    expected = SCATTERS[op](x, case["indices"], updates, numbers, mode=MODE.FILL_OR_DROP)
    indices, batching = vector_dim_moved(case)
    graph = Graph()
    values = [graph.add_input(TensorType("i32", a.shape)) for a in (x, indices, updates)]
    graph.outputs = list(
        Builder(graph).emit(
            "scatter",
            values,
            {
                "update_window_dims": case["offsets"],
                "inserted_window_dims": case["collapsed"],
                "input_batching_dims": case["batching"],
                "scatter_indices_batching_dims": batching,
                "scatter_dims_to_operand_dims": case["mapped"],
                "index_vector_dim": case["vector_dim"],
            },
            [binary_region(op, "i32")],
        )
    )
    (result,), _ = evaluate(graph, x, indices, updates)
    np.testing.assert_array_equal(result, expected)


ROWS = {"offset_dims": (1,), "collapsed_slice_dims": (0,), "start_index_map": (0,), "index_vector_dim": 1}
PUT_ROWS = {
    "update_window_dims": (1,),
    "inserted_window_dims": (0,),
    "scatter_dims_to_operand_dims": (0,),
    "index_vector_dim": 1,
}
PUT_SCALARS = {
    "update_window_dims": (),
    "inserted_window_dims": (0,),
    "scatter_dims_to_operand_dims": (0,),
    "index_vector_dim": 1,
}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.int64])
def test_index_types(run_op, dtype):
    x = np.arange(600, dtype=np.float32).reshape(300, 2)
    indices = np.array([0, 5, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
    result = run_op("gather", x, indices, slice_sizes=(1, 2), **ROWS)
    np.testing.assert_array_equal(result, x[[0, 5, min(299, np.iinfo(dtype).max), 0]])
    added = run_op(
        "scatter", x, indices, np.ones((4, 2), np.float32), regions=[binary_region("add", "f32")], **PUT_ROWS
    )
    where = [int(i) for i in indices if 0 <= int(i) < 300]
    expected = x.copy()
    np.add.at(expected, where, 1)
    np.testing.assert_array_equal(added, expected)


def test_gather_from_an_empty_array_and_with_no_indices(run_op):
    x = np.zeros((0, 3), np.float32)
    assert run_op("gather", x, np.zeros((0,), np.int32), slice_sizes=(0, 3), **ROWS).shape == (0, 3)
    assert run_op(
        "gather", np.ones((4, 3), np.float32), np.zeros((0,), np.int32), slice_sizes=(1, 3), **ROWS
    ).shape == (0, 3)


def test_symbolic_gather(infer):
    (result,) = infer("gather", TensorType("f32", (N, 64)), TensorType("i32", (N + 1,)), slice_sizes=(1, 64), **ROWS)
    assert result == TensorType("f32", (N + 1, 64))
    graph = Graph()
    x, i = graph.add_input(TensorType("f32", (N, 2))), graph.add_input(TensorType("i32", (2,)))
    graph.outputs = [Builder(graph).gather(x, i, slice_sizes=(1, 2), **ROWS)]
    (result,), _ = evaluate(graph, np.arange(6, dtype=np.float32).reshape(3, 2), np.array([2, 0], np.int32))
    np.testing.assert_array_equal(result, [[4, 5], [0, 1]])


def test_gather_errors(infer):
    x, i = TensorType("f32", (5, 3)), TensorType("i32", (4,))
    good = {**ROWS, "slice_sizes": (1, 3)}
    with pytest.raises(DTypeError, match=r"gather: indices should be integers, received f32\[4\]"):
        infer("gather", x, TensorType("f32", (4,)), **good)
    with pytest.raises(ShapeError, match=r"slice size 4 is outside \[0, 3\], the size of dimension 1 of f32\[5,3\]"):
        infer("gather", x, i, **{**good, "slice_sizes": (1, 4)})
    with pytest.raises(ShapeError, match="dimension 0 is collapsed or batching, so its slice size should be at most 1"):
        infer("gather", x, i, **{**good, "slice_sizes": (2, 3)})
    with pytest.raises(ArgumentError, match=r"offset_dims should name 1 result dimensions in order, received \(0, 1\)"):
        infer("gather", x, i, **{**good, "offset_dims": (0, 1)})
    with pytest.raises(ShapeError, match=r"an index vector has 1 entries .* but 2 operand dimensions are indexed"):
        infer("gather", x, i, **{**good, "start_index_map": (0, 1)})
    with pytest.raises(ArgumentError, match=r"index_vector_dim should be in \[0, 1\]"):
        infer("gather", x, i, **{**good, "index_vector_dim": 2})
    with pytest.raises(ArgumentError, match="gather takes 2 operands, received 1"):
        infer("gather", x, **good)
    with pytest.raises(ArgumentError, match="should pair up"):
        infer(
            "gather",
            x,
            i,
            **{**good, "collapsed_slice_dims": (), "start_index_map": (1,), "operand_batching_dims": (0,)},
        )


def test_scatter_applies_duplicates_in_order(run_op, region):
    x, indices = np.array([10, 20], np.int32), np.array([0, 1, 0, 0, 7], np.int32)
    updates = np.array([1, 2, 3, 4, 5], np.int32)
    replace = region(["i32", "i32"], lambda b, old, new: new)
    np.testing.assert_array_equal(run_op("scatter", x, indices, updates, regions=[replace], **PUT_SCALARS), [4, 2])
    keep = region(["i32", "i32"], lambda b, old, new: old)
    np.testing.assert_array_equal(run_op("scatter", x, indices, updates, regions=[keep], **PUT_SCALARS), x)
    shifted = region(["i32", "i32"], lambda b, old, new: b.add(b.multiply(old, b.constant(10, "i32")), new))
    np.testing.assert_array_equal(
        run_op("scatter", x, indices, updates, regions=[shifted], **PUT_SCALARS), [10134, 202]
    )


def test_scatter_of_several_arrays(run_op, region):
    def rule(b, x, y, u, v):
        return b.add(x, u), b.maximum(y, b.convert(u, dtype="f32"))

    indices = np.array([1, 1, 2], np.int32)
    first, second = run_op(
        "scatter",
        np.zeros(3, np.int32),
        np.full(3, 0.5, np.float32),
        indices,
        np.array([1, 2, 3], np.int32),
        np.zeros(3, np.float32),
        regions=[region(["i32", "f32", "i32", "f32"], rule)],
        **PUT_SCALARS,
    )
    np.testing.assert_array_equal(first, [0, 3, 3])
    np.testing.assert_array_equal(second, [0.5, 2, 3])


def test_scatter_errors(infer, region):
    x, i, add = TensorType("f32", (5, 3)), TensorType("i32", (4,)), [binary_region("add", "f32")]
    with pytest.raises(DTypeError, match=r"updates i32\[4,3\] should have the element type of their array f32\[5,3\]"):
        infer("scatter", x, i, TensorType("i32", (4, 3)), regions=add, **PUT_ROWS)
    with pytest.raises(ShapeError, match=r"with the dimensions \(4\) of the indices .* received f32\[3,3\]"):
        infer("scatter", x, i, TensorType("f32", (3, 3)), regions=add, **PUT_ROWS)
    with pytest.raises(ShapeError, match=r"is a window in an array .* should be at most 3"):
        infer("scatter", x, i, TensorType("f32", (4, 4)), regions=add, **PUT_ROWS)
    with pytest.raises(ArgumentError, match="scatter: expected arrays, indices and as many updates as arrays"):
        infer("scatter", x, i, regions=add, **PUT_ROWS)
    with pytest.raises(DTypeError, match="region 'body' takes"):
        infer("scatter", x, i, TensorType("f32", (4, 3)), regions=[binary_region("add", "i32")], **PUT_ROWS)


def comparator(region, dtype, direction, total_order=False):
    return [region([dtype, dtype], lambda b, x, y: b.compare(x, y, direction=direction, total_order=total_order))]


def total_order_comparator(region, dtype):
    """As JAX writes it: -0 and NaNs made equal, then a total order; not recognised, so sorted by exchange."""

    def rule(b, x, y):
        def plain(v):
            v = b.select(b.compare(v, b.constant(0, dtype), direction="EQ"), b.constant(0, dtype), v)
            return b.select(b.compare(v, v, direction="NE"), b.constant(np.nan, dtype), v)

        return b.compare(plain(x), plain(y), direction="LT", total_order=True)

    return [region([dtype, dtype], rule)]


SPECIAL = np.array([[3, np.nan, -0.0, 0.0, -np.inf, 1, np.inf, -1, 0.0, -0.0, 3], [0] * 11], np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_sort_of_floats_is_stable_with_nan_last(run_op, region, dtype):
    x, position = SPECIAL.astype(dtype), np.broadcast_to(np.arange(11, dtype=np.int32), SPECIAL.shape)
    expected = np.argsort(SPECIAL, axis=1, kind="stable")
    two = region([dtype, dtype, "i32", "i32"], lambda b, x, y, i, j: b.compare(x, y, direction="LT"))
    result, order = run_op("sort", x, position, axis=1, regions=[two])
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_array_equal(result.astype(np.float32), np.take_along_axis(SPECIAL, expected, 1))
    general = run_op("sort", x, axis=1, regions=total_order_comparator(region, dtype))
    np.testing.assert_array_equal(general.astype(np.float32), np.take_along_axis(SPECIAL, expected, 1))
    np.testing.assert_array_equal(np.signbit(general), np.signbit(np.take_along_axis(SPECIAL, expected, 1)))


def test_descending_sort_is_stable_with_nan_last(run_op, region):
    position = np.broadcast_to(np.arange(11, dtype=np.int32), SPECIAL.shape)
    two = region(["f32", "f32", "i32", "i32"], lambda b, x, y, i, j: b.compare(y, x, direction="LT"))  # x > y
    _, order = run_op("sort", SPECIAL, position, axis=1, regions=[two])
    np.testing.assert_array_equal(order, np.argsort(-SPECIAL, axis=1, kind="stable"))


def test_total_order_sort(run_op, region):
    x = np.array([np.nan, 0.0, -0.0, np.inf, -np.nan, -np.inf, 1], np.float32)
    result = run_op("sort", x, axis=0, regions=comparator(region, "f32", "LT", total_order=True))
    np.testing.assert_array_equal(result, [np.nan, -np.inf, -0.0, 0.0, 1, np.inf, np.nan])
    np.testing.assert_array_equal(np.signbit(result), [True, True, True, False, False, False, False])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.bool_, ml_dtypes.int4, ml_dtypes.uint4])
@pytest.mark.parametrize("direction", ["LT", "GT"])
def test_sort_of_integers(run_op, region, dtype, direction):
    x = np.random.default_rng(3).integers(0, 8 if dtype is not np.bool_ else 2, (6, 2)).astype(dtype)
    if dtype in (np.int8, np.int32):
        x[0, 0], x[1, 0] = np.iinfo(dtype).min, np.iinfo(dtype).max
    if dtype is np.uint64:
        x[0, 0] = 2**64 - 1
    expected = np.array([sorted(column, key=int, reverse=direction == "GT") for column in x.T.tolist()], dtype).T
    np.testing.assert_array_equal(run_op("sort", x, axis=0, regions=comparator(region, dtype, direction)), expected)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_lexicographic_sort_is_stable(pairs):
    x = np.array(pairs, np.int32).reshape(-1, 2)
    body = Graph()
    a, b, c, d, _, _ = (body.add_input(TensorType("i32")) for _ in range(6))
    w = Builder(body)
    body.outputs = [
        w.or_(w.compare(a, b, direction="LT"), w.and_(w.compare(a, b, direction="EQ"), w.compare(c, d, direction="GT")))
    ]
    graph = Graph()
    values = [graph.add_input(TensorType("i32", (len(pairs),))) for _ in range(3)]
    graph.outputs = list(Builder(graph).emit("sort", values, {"axis": 0}, [body]))
    (first, second, order), _ = evaluate(graph, x[:, 0], x[:, 1], np.arange(len(pairs), dtype=np.int32))
    expected = sorted(range(len(pairs)), key=lambda i: (pairs[i][0], -pairs[i][1]))
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_array_equal(np.stack([first, second], -1), x[expected].reshape(-1, 2))


def test_sort_errors(infer, region):
    x = TensorType("f32", (N, 3))
    less = comparator(region, "f32", "LT")
    assert infer("sort", x, axis=0, regions=less) == [x]
    with pytest.raises(ArgumentError, match=r"sort: expected axis in 0\.\.1 for rank 2, received 2"):
        infer("sort", x, axis=2, regions=less)
    with pytest.raises(
        ArgumentError, match=r"region 'comparator' takes \(f32\[\], f32\[\]\); expected \(f32\[\], f32\[\], i32"
    ):
        infer("sort", x, TensorType("i32", (N, 3)), axis=0, regions=less)
    with pytest.raises(DTypeError, match=r"region 'comparator' returns \(f32\[\]\); expected \(i1\[\]\)"):
        infer("sort", x, axis=0, regions=[binary_region("add", "f32")])
    with pytest.raises(ShapeError, match=r"shape of the first, f32\[N,3\]; received f32\[3,3\]"):
        infer("sort", x, TensorType("f32", (3, 3)), axis=0, regions=less)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int32])
@pytest.mark.parametrize("k", [0, 1, 4, 11])
def test_top_k_as_xla(run_op, dtype, k):
    x = np.array(SPECIAL)
    x[1, 4], x[1, 7] = -np.nan, 5
    x = x.astype(dtype) if dtype is not np.int32 else np.random.default_rng(1).integers(-3, 3, (2, 11), dtype=np.int32)
    values, indices = run_op("top_k", x, k=k)
    expected_values, expected_indices = lax.top_k(jnp.asarray(x), k)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(values.astype(np.float32), np.asarray(expected_values).astype(np.float32))


def test_top_k_errors(infer):
    types = infer("top_k", TensorType("f32", (N, N)), k=2)
    assert types == [TensorType("f32", (N, 2)), TensorType("i32", (N, 2))]
    with pytest.raises(ShapeError, match=r"top_k: .* received k=4 for f32\[2,3\]"):
        infer("top_k", TensorType("f32", (2, 3)), k=4)
    with pytest.raises(DTypeError, match="complex numbers have no order"):
        infer("top_k", TensorType("c64", (3,)), k=1)


def test_embedding_gradient(run_op):
    indices = np.random.default_rng(5).integers(0, 7, (50,), dtype=np.int32)
    g = np.random.default_rng(6).standard_normal((50, 3)).astype(np.float32)
    result = run_op(
        "scatter", np.zeros((7, 3), np.float32), indices, g, regions=[binary_region("add", "f32")], **PUT_ROWS
    )
    expected = jax.grad(lambda t: jnp.vdot(t[indices], g))(jnp.zeros((7, 3)))
    np.testing.assert_allclose(result, expected, atol=50 * 1.2e-7 * np.abs(g).sum())
