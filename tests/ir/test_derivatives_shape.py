"""Derivatives of ops that move elements, of random bits and of collectives: what comes back goes where it came from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from op_draw import Draw
from transform_checks import assert_derivatives, graph_of, run

from lamina.ir import Builder, binary_region
from lamina.ir.dims import symbol
from lamina.ir.errors import DifferentiationError
from lamina.passes.differentiate import jvp, vjp


def draw(shape, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else np.asarray(x)).astype(dtype)


def op(name, **attributes):
    return lambda b, *xs: b.emit(name, xs, attributes)[0]


def square(build):
    """What follows ``build`` is not linear, so that second derivatives pass through it."""

    def squared(b, *xs):
        y = build(b, *xs)
        return b.multiply(y, y)

    return squared


def check(build, oracle, *arrays, **options):
    assert_derivatives(square(build), lambda *xs: oracle(*xs) ** 2, arrays, **options)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_elements_elsewhere(dtype):
    x = draw((2, 3, 4), dtype=dtype)
    check(op("reshape", shape=(4, 6)), lambda x: x.reshape(4, 6), x)
    check(op("transpose", permutation=(2, 0, 1)), lambda x: x.transpose(2, 0, 1), x)
    check(op("reverse", axes=(0, 2)), lambda x: x[::-1, :, ::-1], x)
    check(op("match_shape", shape=(2, 3, 4)), lambda x: x, x)


@pytest.mark.parametrize(
    ("shape", "to", "dims"),
    [
        ((), (2, 3), ()),
        ((3,), (2, 3), (1,)),
        ((3,), (3, 2), (0,)),
        ((2, 3), (2, 3), (0, 1)),
        ((2, 3), (3, 4, 2), (2, 0)),
        ((1, 3), (2, 3), (0, 1)),
        ((3, 1), (2, 5, 3), (2, 1)),
        ((1, 1), (1, 4), (1, 0)),
        ((2, 0), (2, 3, 0), (0, 2)),
        ((1,), (0,), (0,)),
    ],
)
def test_broadcast(shape, to, dims):
    check(op("broadcast_in_dim", shape=to, dims=dims), lambda x: _broadcast(x, to, dims), draw(shape))


def _broadcast(x, to, dims):
    order = np.argsort(dims).tolist()
    aligned = [1] * len(to)
    for size, target in zip(x.shape, dims, strict=True):
        aligned[target] = size
    return jnp.broadcast_to(jnp.transpose(x, order).reshape(aligned), to)


@settings(max_examples=12)  # each draw is a shape that JAX compiles for
@given(st.data())
def test_slice(data):
    d = Draw(data.draw)
    shape = d.shape(0, 3)
    limit = [d.int(0, n) for n in shape]
    start, strides = [d.int(0, n) for n in limit], [d.int(1, 3) for _ in shape]
    check(
        op("slice", start=start, limit=limit, strides=strides),
        lambda x: lax.slice(x, start, limit, strides),
        draw(shape),
    )


@settings(max_examples=12)  # each draw is a shape that JAX compiles for
@given(st.data())
def test_pad(data):
    d = Draw(data.draw)
    shape = d.shape(0, 2)
    interior = [d.int(0, 2) for _ in shape]
    low = [d.int(-1, 3) for _ in shape]
    high = [max(d.int(-1, 3), -lo - (n + max(0, n - 1) * gap)) for n, lo, gap in zip(shape, low, interior, strict=True)]
    config = list(zip(low, high, interior, strict=True))
    check(
        op("pad", low=low, high=high, interior=interior),
        lambda x, value: lax.pad(x, value, config),
        draw(shape),
        draw((), 1),
        moving=d.pick((True, True), (True, False)),
    )


def test_pad_by_constants_comes_back_as_one_slice():
    graph = graph_of(lambda b, x: b.pad(x, b.constant(0.0), low=(1, 2), high=(0, 3), interior=(0, 1)), [draw((3, 4))])
    names = [n.op.name for n in vjp(graph, (True,), (True,)).nodes]
    assert [name for name in names if name != "constant"] == ["pad", "slice"]


def test_a_padding_value_gets_the_sum_of_what_is_padded():
    x, value = draw((3, 4)), draw((), 1)
    graph = graph_of(op("pad", low=(1, -1), high=(0, 3), interior=(2, 0)), [x, value])
    y, back = run(vjp(graph, (False, True), (True,)), x, value, np.ones((8, 6)))
    np.testing.assert_allclose(back, (y == value).sum(), rtol=1e-12)


@pytest.mark.parametrize("moving", [(True, True, True), (False, True, False), (True, False, True)])
@pytest.mark.parametrize("axis", [0, 1])
def test_concatenate(axis, moving):
    arrays = [draw((2, 3), 0), draw((2, 3), 1), draw((2, 3), 2)]
    check(op("concatenate", axis=axis), lambda *xs: jnp.concatenate(xs, axis), *arrays, moving=moving)


@pytest.mark.parametrize("starts", [(0, 1), (2, -7), (9, 9)])
def test_dynamic_windows(starts):
    x, places = draw((4, 5)), [np.int32(s) for s in starts]
    check(op("dynamic_slice", sizes=(2, 3)), lambda x, i, j: lax.dynamic_slice(x, (i, j), (2, 3)), x, *places)
    for moving in ((True, True), (True, False), (False, True)):
        check(
            op("dynamic_update_slice"),
            lambda x, u, i, j: lax.dynamic_update_slice(x, u, (i, j)),
            x,
            draw((2, 3), 1),
            *places,
            moving=(*moving, False, False),
        )


def test_symbolic_sizes():
    n = symbol("N")

    def build(b, x):
        y = b.concatenate(x, b.reverse(x, axes=(0,)), axis=0)  # 2N rows
        y = b.slice(y, start=(1, 0), limit=(2 * n, 3), strides=(2, 2))  # N rows
        y = b.pad(y, b.constant(1.0), low=(0, n), high=(1, 0), interior=(1, 0))
        y = b.reshape(b.transpose(y, permutation=(1, 0)), shape=((n + 2) * (2 * n),))
        return b.broadcast_in_dim(b.multiply(y, y), shape=(n, (n + 2) * (2 * n)), dims=(1,))

    def oracle(x):
        size = x.shape[0]
        y = lax.slice(jnp.concatenate([x, x[::-1]]), (1, 0), (2 * size, 3), (2, 2))
        y = lax.pad(y, 1.0, ((0, 1, 1), (size, 0, 0)))
        return jnp.broadcast_to(y.T.reshape(-1) ** 2, (size, (size + 2) * 2 * size))

    assert_derivatives(build, oracle, [draw((3, 3))], shapes=[(n, 3)])


def test_a_dimension_as_a_number_has_no_tangent():
    n = symbol("N")

    def build(b, x):
        return b.multiply(x, b.broadcast_to(b.astype(b.dim_value(dim=n), x.dtype), x.shape))

    assert_derivatives(build, lambda x: x * x.shape[0], [draw((4,))], shapes=[(n,)])


# Random bits and dropout.


def test_random_bits_do_not_move():
    """Bits of a number are drawn by no float, so what they are multiplied with gets all of the derivative."""
    key = np.array([3, 4], np.uint32)

    def build(b, x, key):
        bits = b.threefry_bits(b.threefry_fold_in(key, b.constant(5, "ui32")), shape=x.shape)
        return b.multiply(x, b.astype(bits, x.dtype))

    x = draw((5,))
    graph = graph_of(build, [x, key])
    y, back = run(vjp(graph, (True, False), (True,)), x, key, np.ones_like(x))
    np.testing.assert_allclose(back, y / x, rtol=1e-15)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_dropout_draws_its_mask_again(rate):
    x, seed = np.abs(draw((50,))) + 1, np.array([5, 6], np.uint32)
    graph = graph_of(op("dropout", rate=rate), [x, seed])
    back = vjp(graph, (True, False), (True,))
    # No mask is kept: the way back is the same op on the same seed, whose only other operand is the cotangent.
    assert [n.op.name for n in back.nodes] == ["dropout", "dropout"]
    y, ct = run(back, x, seed, np.ones_like(x))
    np.testing.assert_allclose(ct, y / x, rtol=1e-15)
    if rate == 0.3:
        assert set(np.unique(ct)) == {0.0, 1 / 0.7}
    twice = vjp(graph_of(square(op("dropout", rate=rate)), [x, seed]), (True, False), (True,))
    np.testing.assert_allclose(run(twice, x, seed, np.ones_like(x))[1], 2 * y * y / x, rtol=1e-14)


def test_stop_gradient():
    check(
        lambda b, x: b.multiply(x, b.stop_gradient(b.exponential(x))),
        lambda x: x * lax.stop_gradient(jnp.exp(x)),
        draw((3,)),
    )


# Collectives. On one device each is the identity; where cotangents go is seen in the graph.

PAIR = ((0, 1), (2, 3))
ADD = {"regions": [binary_region("add", "f64")]}
COLLECTIVES = {
    "all_reduce": ({}, "all_reduce", {"groups": PAIR}),
    "all_gather": ({"axis": 1}, "reduce_scatter", {"axis": 1, "groups": PAIR}),
    "reduce_scatter": ({"axis": 1}, "all_gather", {"axis": 1, "groups": PAIR}),
    "all_to_all": (
        {"split_axis": 1, "concat_axis": 0, "split_count": 2},
        "all_to_all",
        {"split_axis": 0, "concat_axis": 1, "split_count": 2, "groups": PAIR},
    ),
}


def collective(name, **attributes):
    regions = ADD["regions"] if "reduce" in name else ()
    return lambda b, x: b.emit(name, [x], attributes, regions)[0]


@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives_between_devices(name):
    attributes, back_name, back = COLLECTIVES[name]
    x = draw((2, 4))
    graph = graph_of(collective(name, groups=PAIR, **attributes), [x])
    pulled = vjp(graph, (True,), (True,))
    assert [n.op.name for n in pulled.nodes] == [name, back_name]
    assert dict(pulled.nodes[1].attributes) == back
    assert pulled.outputs[-1].type == graph.inputs[0].type
    pushed = jvp(graph, (True,))
    assert [n.op.name for n in pushed.nodes] == [name, name]


def test_collectives_of_one_device():
    x = draw((2, 4))
    for name, (attributes, *_) in COLLECTIVES.items():
        alone = {**attributes, "groups": ((0,),)} | ({"split_count": 1} if name == "all_to_all" else {})
        check(collective(name, **alone), lambda x: x, x)


def test_a_permutation_comes_back_the_other_way():
    x = draw((3,))
    graph = graph_of(op("collective_permute", pairs=((0, 1), (1, 2))), [x])
    assert vjp(graph, (True,), (True,)).nodes[1].attributes["pairs"] == ((1, 0), (2, 1))
    check(op("collective_permute", pairs=((0, 0),)), lambda x: x, x)


def test_only_sums_between_devices_have_a_derivative():
    def greatest(b: Builder, x):
        return b.all_reduce(x, regions=[binary_region("maximum", "f64")])

    with pytest.raises(DifferentiationError, match="all_reduce has a derivative where it adds, received maximum"):
        jvp(graph_of(greatest, [draw((3,))]), (True,))


def test_jax_agrees_that_a_sum_of_devices_comes_back_as_one():
    """``psum`` under ``pmap`` of one device is the identity, and so is its derivative."""
    x = draw((1, 3), dtype=np.float32)
    total = jax.vmap(lambda x: lax.psum(x, "i") ** 2, axis_name="i")
    (theirs,) = jax.vjp(total, x)[1](np.ones_like(x))
    graph = graph_of(lambda b, x: square(collective("all_reduce"))(b, x), [x.astype(np.float64)])
    (_, ours) = run(vjp(graph, (True,), (True,)), x.astype(np.float64), np.ones(x.shape))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
