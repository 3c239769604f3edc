"""Derivatives and batching of gather, scatter, sort, top_k, take and one_hot are JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from op_draw import region
from transform_checks import assert_batching, assert_derivatives, graph_of, run

from lamina.ir import binary_region, symbol
from lamina.ir.errors import DifferentiationError
from lamina.passes.differentiate import jvp, vjp

# Float64 against float64: rtol 1e-9 (the default of the checks) leaves room for sums in another order.


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def ops_of(graph):
    return [node.op.name for node in graph.nodes]


# Each: shapes of the operand and the updates, indices (some out of range), JAX's numbers and those of the op.
def _case(shape, indices, offsets, collapsed, mapped, sizes, batching=((), ()), vector_dim=-1, dtype=np.int32):
    indices = np.asarray(indices, dtype)
    return shape, indices, offsets, collapsed, mapped, sizes, batching, vector_dim % (indices.ndim + 1)


CASES = {
    "rows": _case((5, 3), [[1], [-1], [4], [1], [9]], (1,), (0,), (0,), (1, 3), vector_dim=1),
    "cells": _case((5, 3), [[0, 1], [4, 2], [0, 1], [7, 1], [1, -2]], (), (0, 1), (0, 1), (1, 1), vector_dim=1),
    "turned": _case((5, 3), [[1, 0], [2, 4], [0, 3]], (), (0, 1), (1, 0), (1, 1), vector_dim=1),
    "windows": _case((5, 4), [[0, 1], [3, 2], [4, 0], [1, 2]], (0, 2), (), (0, 1), (2, 3), vector_dim=1),
    "columns": _case((5, 4), [[0, 4, 1], [2, 9, 0]], (0,), (1,), (1,), (3, 1), vector_dim=2),
    "own rows": _case((3, 4), [[0, 2], [3, 3], [1, 8]], (), (1,), (1,), (1, 1), ((0,), (0,)), vector_dim=2),
    "tiny indices": _case((5, 3), [[1], [3], [200]], (1,), (0,), (0,), (1, 3), vector_dim=1, dtype=np.uint8),
}


def with_vectors(indices, vector_dim):
    """Indices as JAX takes them: vectors last."""
    return indices[..., None] if vector_dim == indices.ndim else np.moveaxis(indices, vector_dim, -1)


def gather(case):
    shape, indices, offsets, collapsed, mapped, sizes, (x_batch, i_batch), vector_dim = case

    def build(b, x, indices):
        return b.gather(
            x,
            indices,
            offset_dims=offsets,
            collapsed_slice_dims=collapsed,
            operand_batching_dims=x_batch,
            start_indices_batching_dims=i_batch,
            start_index_map=mapped,
            index_vector_dim=vector_dim,
            slice_sizes=sizes,
        )

    def oracle(x, indices):
        numbers = lax.GatherDimensionNumbers(offsets, collapsed, mapped, x_batch, i_batch)
        vectors = with_vectors(indices, vector_dim)
        return lax.gather(x, vectors, numbers, sizes, mode=lax.GatherScatterMode.CLIP)

    return build, oracle, [draw(*shape), indices]


@pytest.mark.parametrize("name", CASES)
def test_gather(name):
    build, oracle, arrays = gather(CASES[name])
    assert_derivatives(build, oracle, arrays)
    assert_batching(build, arrays)


def test_gather_with_vectors_first():
    indices = np.array([[0, 4, 7], [1, 2, 0]])

    def build(b, x, indices):
        return b.gather(
            x,
            indices,
            offset_dims=(),
            collapsed_slice_dims=(0, 1),
            start_index_map=(0, 1),
            index_vector_dim=0,
            slice_sizes=(1, 1),
        )

    def oracle(x, indices):
        numbers = lax.GatherDimensionNumbers((), (0, 1), (0, 1))
        return lax.gather(x, indices.T, numbers, (1, 1), mode=lax.GatherScatterMode.CLIP)

    assert_derivatives(build, oracle, [draw(5, 3), indices])
    assert_batching(build, [draw(5, 3), indices])


def test_gather_from_an_open_axis():
    build, oracle, (x, indices) = gather(CASES["rows"])
    assert_derivatives(build, oracle, [x, indices], shapes=[(symbol("N"), 3), (symbol("K"), 1)])
    build, oracle, (x, indices) = gather(CASES["cells"])
    assert_derivatives(build, oracle, [x, indices], shapes=[(symbol("N"), 3), (symbol("K"), 2)])


def set_(dtype="f64"):
    return region([(dtype, ())] * 2, lambda b, x, y: y)


REGIONS = {
    "set": (lax.scatter, set_),
    "add": (lax.scatter_add, lambda: binary_region("add", "f64")),
    "multiply": (lax.scatter_mul, lambda: binary_region("multiply", "f64")),
    "maximum": (lax.scatter_max, lambda: binary_region("maximum", "f64")),
    "minimum": (lax.scatter_min, lambda: binary_region("minimum", "f64")),
}


def scatter(case, how, unique=False):
    shape, indices, offsets, collapsed, mapped, _, (x_batch, i_batch), vector_dim = case
    if unique:  # no place twice
        indices = indices[:2]
    function, body = REGIONS[how]

    def build(b, x, indices, updates):
        return b.scatter(
            x,
            indices,
            updates,
            update_window_dims=offsets,
            inserted_window_dims=collapsed,
            input_batching_dims=x_batch,
            scatter_indices_batching_dims=i_batch,
            scatter_dims_to_operand_dims=mapped,
            index_vector_dim=vector_dim,
            unique_indices=unique,
            regions=[body()],
        )

    def oracle(x, indices, updates):
        numbers = lax.ScatterDimensionNumbers(offsets, collapsed, mapped, x_batch, i_batch)
        vectors = with_vectors(indices, vector_dim)
        mode = lax.GatherScatterMode.FILL_OR_DROP
        return function(x, vectors, updates, numbers, unique_indices=unique, mode=mode)

    taken = np.asarray(gather((*case[:1], indices, *case[2:]))[1](np.zeros(shape), indices))
    return build, oracle, [draw(*shape), indices, draw(*taken.shape, seed=1)]


@pytest.mark.parametrize("how", ["set", "add", "maximum"])
@pytest.mark.parametrize("name", CASES)
def test_scatter(name, how):
    build, oracle, arrays = scatter(CASES[name], how)
    if how != "maximum":
        assert_derivatives(build, oracle, arrays)
    elif name in ("rows", "cells"):
        # JAX's rule for extrema takes places out of range for the nearest ones in it.
        _, indices, updates = arrays
        inside = ((indices >= 0) & (indices < [arrays[0].shape[: indices.shape[1]]])).all(-1).reshape(-1)
        assert_derivatives(build, oracle, [arrays[0], indices[inside], updates[inside]], second=False)
    assert_batching(build, arrays)


@pytest.mark.parametrize("name", ["rows", "cells", "windows"])
@pytest.mark.parametrize("how", ["set", "multiply", "minimum"])
def test_scatter_to_distinct_places(name, how):
    build, oracle, arrays = scatter(CASES[name], how, unique=True)
    if how == "minimum":
        return assert_derivatives(build, oracle, [arrays[0], abs(arrays[1]), arrays[2]], second=False)
    assert_derivatives(build, oracle, arrays)
    assert_batching(build, arrays)


def test_scatter_into_an_open_axis():
    for how in ("set", "add"):
        build, oracle, arrays = scatter(CASES["rows"], how)
        shapes = [(symbol("N"), 3), (symbol("K"), 1), (symbol("K"), 3)]
        assert_derivatives(build, oracle, arrays, shapes=shapes)


def test_equal_extrema_of_a_scatter_share():
    x, indices = np.array([1.0, 2.0, 3.0]), np.array([[0], [0], [1], [1]])
    updates = np.array([2.0, 2.0, 2.0, 1.0])
    case = _case((3,), indices, (), (0,), (0,), (1,), vector_dim=1)
    build, oracle, _ = scatter(case, "maximum")
    assert_derivatives(build, oracle, [x, indices, updates], second=False)


def test_a_scatter_without_a_derivative_says_so():
    build, _, arrays = scatter(CASES["rows"], "multiply")
    with pytest.raises(DifferentiationError, match="unique_indices=True"):
        vjp(graph_of(build, arrays), [False, False, True], [True])
    assert "scatter" in ops_of(vjp(graph_of(build, arrays), [True, False, False], [True]))  # fine in the array itself


# sort and top_k


def less(keys, others=(), direction="LT"):
    types = [(d, ()) for d in (*keys, *others) for _ in range(2)]
    return region(types, lambda b, x, y, *_: b.compare(x, y, direction=direction, total_order=True))


@pytest.mark.parametrize(("axis", "shape"), [(0, (5, 2)), (1, (2, 7)), (1, (2, 1, 3))])
def test_sort(axis, shape):
    def build(b, x):
        return b.sort(x, axis=axis, regions=[less(["f64"])])

    assert_derivatives(build, lambda x: jnp.sort(x, axis=axis), [draw(*shape)])
    assert_batching(build, [draw(*shape)])


def test_sort_of_several_arrays():
    def build(b, key, x):
        positions = b.iota(dtype="i32", shape=key.shape, axis=1)
        return b.sort(key, x, positions, axis=1, regions=[less(["f64"], ["f64", "i32"])])[:2]

    def oracle(key, x):
        return lax.sort((key, x), dimension=1, num_keys=1, is_stable=True)

    ties = np.array([[1.0, 0, 1, 0, 2], [0, 0, 0, 1, -1]])
    for key in (draw(2, 5), ties):
        assert_derivatives(build, lambda *v: tuple(oracle(*v)), [key, draw(2, 5, seed=1)])
    graph = graph_of(build, [ties, ties])
    assert ops_of(jvp(graph, [True, True])).count("sort") == 1  # positions are sorted with the rest already
    assert_batching(build, [draw(2, 5), draw(2, 5, seed=1)])


def test_sort_along_an_open_axis():
    def build(b, x):
        return b.sort(x, axis=0, regions=[less(["f64"], direction="GT")])

    assert_derivatives(build, lambda x: -jnp.sort(-x, axis=0), [draw(5, 2)], shapes=[(symbol("N"), 2)])


@pytest.mark.parametrize("k", [0, 1, 3])
def test_top_k(k):
    assert_derivatives(lambda b, x: b.top_k(x, k=k)[0], lambda x: lax.top_k(x, k)[0], [draw(2, 5)])
    assert_batching(lambda b, x: b.top_k(x, k=k), [draw(2, 5)])


# Composites.


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [np.array([0, -1, 2, 0]), np.array([[2, 1], [0, 0]], np.uint8), np.array(1)])
def test_take(axis, indices):
    x = draw(3, 4, 3)

    def build(b, x, indices):
        return b.take(x, indices, axis=axis)

    assert_derivatives(build, lambda x, i: jnp.take(x, i, axis=axis, mode="fill"), [x, indices])
    assert_batching(build, [x, indices])


def test_what_is_taken_out_of_range_gives_nothing_back():
    x, indices = draw(3, 2), np.array([5, 0, -4, -1])
    graph = graph_of(lambda b, x, i: b.take(x, i, axis=0), [x, indices])
    back = vjp(graph, [True, False], [True])
    np.testing.assert_array_equal(run(back, x, indices, np.ones((4, 2)))[1], [[1, 1], [0, 0], [1, 1]])
    assert ops_of(back).count("scatter") == 1 and "gather" not in ops_of(back)  # a lookup goes back as one scatter
    _, moved = run(jvp(graph, [True, False]), x, indices, np.ones((3, 2)))
    np.testing.assert_array_equal(moved, [[0, 0], [1, 1], [0, 0], [1, 1]])


def test_take_from_an_open_axis():
    assert_derivatives(
        lambda b, x, i: b.take(x, i, axis=0),
        lambda x, i: jnp.take(x, i, axis=0, mode="fill"),
        [draw(4, 2), np.array([1, -1, 1])],
        shapes=[(symbol("N"), 2), (symbol("K"),)],
    )


def test_one_hot():
    indices = np.array([[0, 3], [2, 9]])
    for axis in (-1, 0, 1):
        assert_batching(lambda b, i, axis=axis: b.one_hot(i, depth=4, axis=axis, dtype="f64"), [indices])
    assert_derivatives(
        lambda b, i, x: b.multiply(b.one_hot(i, depth=4, dtype="f64"), x),
        lambda i, x: jax.nn.one_hot(i, 4, dtype=jnp.float64) * x,
        [indices, draw(2, 2, 4)],
    )
