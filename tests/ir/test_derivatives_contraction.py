"""Derivatives and batching of dot_general and convolution are JAX's, and stay what they are derived from."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_checks import assert_batching, assert_derivatives, graph_of, run

from lamina.ir.dims import symbol
from lamina.passes.differentiate import vjp
from lamina.passes.vectorize import vectorize


def draw(shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


# dot_general: shapes, and axes as (lhs contract, rhs contract, lhs batch, rhs batch).

DOTS = {
    "matrices": ((3, 4), (4, 5), ((1,), (0,), (), ())),
    "first axes": ((4, 3), (4, 5), ((0,), (0,), (), ())),
    "both transposed": ((4, 3), (5, 4), ((0,), (1,), (), ())),
    "dense on a sequence": ((2, 3, 4), (4, 5), ((2,), (0,), (), ())),
    "batched": ((2, 3, 4), (2, 4, 5), ((2,), (1,), (0,), (0,))),
    "batch behind": ((3, 4, 2), (4, 2, 5), ((1,), (0,), (2,), (1,))),
    "two batches, exchanged": ((2, 3, 4, 5), (3, 2, 5, 6), ((3,), (2,), (0, 1), (1, 0))),
    "two contracted, exchanged": ((2, 3, 4), (4, 3, 5), ((1, 2), (1, 0), (), ())),
    "heads": ((2, 5, 3, 4), (2, 6, 3, 4), ((3,), (3,), (0, 2), (0, 2))),
    "outer product": ((2,), (3,), ((), (), (), ())),
    "inner product": ((3,), (3,), ((0,), (0,), (), ())),
    "vector and matrix": ((3,), (4, 3), ((0,), (1,), (), ())),
    "nothing to sum": ((2, 0), (0, 3), ((1,), (0,), (), ())),
    "elementwise": ((2, 3), (2, 3), ((), (), (0, 1), (0, 1))),
}


def dot(axes, **attributes):
    names = ("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch")
    return lambda b, x, y: b.dot_general(x, y, **dict(zip(names, axes)), **attributes)


def jax_dot(axes, **attributes):
    return lambda x, y: jax.lax.dot_general(x, y, (axes[:2], axes[2:]), **attributes)


@pytest.mark.parametrize("name", DOTS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_dot_general_derivatives(name, dtype):
    x, y, axes = DOTS[name]
    assert_derivatives(dot(axes), jax_dot(axes), [draw(x, dtype), draw(y, dtype, 1)])


@pytest.mark.parametrize("moving", [(True, False), (False, True)])
def test_dot_general_of_one_moving_factor(moving):
    axes = ((2,), (1,), (0,), (0,))
    assert_derivatives(dot(axes), jax_dot(axes), [draw((2, 3, 4)), draw((2, 4, 5), seed=1)], moving)


def test_dot_general_with_a_wider_result():
    """The other factor is widened, and the cotangent rounded once to the factor's type: float32 has 24 bits."""
    axes = ((1,), (0,), (), ())
    arrays = [draw((3, 4), np.float32), draw((4, 5), np.float32, 1)]
    assert_derivatives(
        dot(axes, dtype=np.float64),
        jax_dot(axes, preferred_element_type=np.float64),
        arrays,
        rtol=4 * 2.0**-24,
    )


@pytest.mark.parametrize("name", DOTS)
def test_dot_general_batching(name):
    x, y, axes = DOTS[name]
    assert_batching(dot(axes), [draw(x), draw(y, seed=1)])


def test_dense_layer_needs_no_transposes():
    """Of ``x w`` the weights' gradient is one product, ``x^T g``, and the input's ``g w^T`` another."""
    graph = graph_of(dot(((2,), (0,), (), ())), [draw((2, 3, 4)), draw((4, 5))])
    assert [n.op.name for n in vjp(graph, (True, True), (True,)).nodes] == ["dot_general"] * 3


def test_batched_dots_are_one_dot():
    graph = graph_of(dot(((1,), (0,), (), ())), [draw((3, 4)), draw((4, 5))])
    assert [n.op.name for n in vectorize(graph, (True, True), 7).nodes] == ["dot_general"]
    assert [n.op.name for n in vectorize(graph, (True, False), 7).nodes] == ["dot_general"]


def test_dot_general_of_open_sizes():
    n = symbol("N")
    axes = ((1,), (0,), (), ())
    assert_derivatives(dot(axes), jax_dot(axes), [draw((3, 4)), draw((4, 5), seed=1)], shapes=[(n, 4), (4, 5)])


# convolution


def conv(**attributes):
    def build(b, x, w):
        return b.convolution(x, w, **attributes)

    def oracle(x, w):
        a = attributes
        if a.get("reversal"):
            w = jax.lax.rev(w, [axis for axis, r in zip(a["rhs_spec"][2:], a["reversal"]) if r])
        return jax.lax.conv_general_dilated(
            x,
            w,
            a["strides"],
            a["padding"],
            a["lhs_dilation"],
            a["rhs_dilation"],
            jax.lax.ConvDimensionNumbers(a["lhs_spec"], a["rhs_spec"], a["out_spec"]),
            a.get("feature_groups", 1),
            a.get("batch_groups", 1),
        )

    return build, oracle


def usual(spatial, **changes):
    last = (0, spatial + 1, *range(1, spatial + 1))
    ones = (1,) * spatial
    return {
        "strides": ones,
        "padding": ((0, 0),) * spatial,
        "lhs_dilation": ones,
        "rhs_dilation": ones,
        "lhs_spec": last,
        "rhs_spec": (spatial + 1, spatial, *range(spatial)),
        "out_spec": last,
        **changes,
    }


CONVOLUTIONS = {
    "same": ((2, 5, 6, 2), (3, 3, 2, 4), usual(2, padding=((1, 1), (1, 1)))),
    "strides": ((2, 7, 6, 2), (3, 2, 2, 4), usual(2, strides=(2, 3), padding=((1, 0), (0, 2)))),
    "dilated kernel": ((1, 9, 2), (3, 2, 3), usual(1, rhs_dilation=(2,), padding=((4, 0),))),
    "transposed": ((2, 4, 4, 3), (3, 3, 3, 2), usual(2, lhs_dilation=(2, 2), padding=((2, 1), (1, 2)))),
    "cropped": ((2, 7, 2), (2, 2, 3), usual(1, padding=((-1, -2),))),
    "cropped, strided, dilated": (
        (1, 9, 2),
        (2, 2, 3),
        usual(1, padding=((-2, 1),), strides=(2,), lhs_dilation=(2,), rhs_dilation=(3,)),
    ),
    "depthwise": ((2, 5, 5, 4), (3, 3, 1, 4), usual(2, feature_groups=4, padding=((1, 1), (1, 1)))),
    "depthwise, strided": (
        (2, 6, 5, 4),
        (3, 3, 1, 4),
        usual(2, feature_groups=4, padding=((0, 1), (1, 1)), strides=(2, 2)),
    ),
    "depth multiplier": ((2, 5, 3), (3, 1, 6), usual(1, feature_groups=3)),
    "groups": ((2, 5, 6), (2, 3, 4), usual(1, feature_groups=2, strides=(2,))),
    "groups, channels first": (
        (2, 6, 5),
        (4, 3, 2),
        usual(1, feature_groups=2, lhs_spec=(0, 1, 2), rhs_spec=(0, 1, 2), out_spec=(0, 1, 2)),
    ),
    "batch groups": ((4, 5, 3), (2, 3, 6), usual(1, batch_groups=2, padding=((1, 0),))),
    "batch groups, strided": ((6, 7, 2), (3, 2, 3), usual(1, batch_groups=3, strides=(2,), rhs_dilation=(2,))),
    "reversed": ((1, 5, 4, 2), (3, 2, 2, 3), usual(2, reversal=(True, False), padding=((1, 1), (0, 1)))),
    "no spatial dimension": ((3, 4), (4, 5), usual(0)),
    "windows do not fit": ((1, 2, 2), (3, 2, 3), usual(1)),
    "one tap, strides": ((2, 5, 5, 3), (1, 1, 3, 4), usual(2, strides=(2, 2))),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_derivatives(name):
    x, w, attributes = CONVOLUTIONS[name]
    assert_derivatives(*conv(**attributes), [draw(x), draw(w, seed=1)])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_batching(name):
    x, w, attributes = CONVOLUTIONS[name]
    assert_batching(conv(**attributes)[0], [draw(x), draw(w, seed=1)], size=2)


def test_batching_by_nothing():
    x, w, attributes = CONVOLUTIONS["depthwise"]
    graph = graph_of(conv(**attributes)[0], [draw(x), draw(w)])
    (result,) = run(vectorize(graph, (True, True), 0), np.zeros((0, *x)), np.zeros((0, *w)))
    assert result.shape == (0, 2, 5, 5, 4)


@st.composite
def convolutions(d):
    spatial = d(st.integers(1, 2))
    each = lambda *among: [d(st.sampled_from(among)) for _ in range(spatial)]  # noqa: E731
    groups, batch_groups = d(st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2)]))
    inner, filters, batch = d(st.integers(1, 2)), d(st.integers(1, 2)) * groups * batch_groups, batch_groups
    sizes, kernel = each(3, 4, 6), each(1, 2, 3)
    specs = [tuple(d(st.permutations(range(spatial + 2)))) for _ in range(3)]
    shapes = []
    for spec, roles in zip(specs, ([batch, inner * groups, *sizes], [filters, inner, *kernel])):
        shapes.append(tuple(size for _, size in sorted(zip(spec, roles))))
    return (
        *shapes,
        {
            "strides": tuple(each(1, 2, 3)),
            "padding": tuple(zip(each(-1, 0, 1, 2), each(-1, 0, 1, 3))),
            "lhs_dilation": tuple(each(1, 2)),
            "rhs_dilation": tuple(each(1, 2)),
            "lhs_spec": specs[0],
            "rhs_spec": specs[1],
            "out_spec": specs[2],
            "feature_groups": groups,
            "batch_groups": batch_groups,
            "reversal": tuple(each(True, False)),
        },
    )


@settings(max_examples=15)
@given(convolutions())
def test_any_convolution(case):
    x, w, attributes = case
    assert_derivatives(*conv(**attributes), [draw(x), draw(w, seed=1)], second=False)
    assert_batching(conv(**attributes)[0], [draw(x), draw(w, seed=1)], size=2)


def nodes_of(name, moving):
    x, w, attributes = CONVOLUTIONS[name]
    graph = graph_of(conv(**attributes)[0], [draw(x), draw(w)])
    nodes = vjp(graph, moving, (True,)).nodes[1:]  # the first is the convolution itself
    return [n for n in nodes if n.op.name == "convolution"], [n.op.name for n in nodes if n.op.name != "convolution"]


def test_derivative_of_a_depthwise_convolution_is_depthwise():
    (node,), others = nodes_of("depthwise", (True, False))
    assert node.attributes["feature_groups"] == 4 and others == ["reverse"]


def test_kernel_gradient_of_a_depthwise_convolution_groups_the_batch():
    (node,), others = nodes_of("depthwise", (False, True))
    assert node.attributes["batch_groups"] == 4 and node.attributes["feature_groups"] == 1 and others == []
    assert node.result.shape == (3, 3, 1, 4)


@pytest.mark.parametrize("shapes", [[("N", 7, 6, 2), (3, 3, 2, 4)], [(2, "N", "M", 2), (3, 3, 2, 4)]])
def test_convolution_of_open_sizes(shapes):
    build, oracle = conv(**usual(2, padding=((1, 1), (1, 0)), strides=(2, 1), rhs_dilation=(1, 2)))
    arrays = [draw((2, 7, 6, 2)), draw((3, 3, 2, 4), seed=1)]
    open_shapes = [tuple(symbol(d) if isinstance(d, str) else d for d in shape) for shape in shapes]
    assert_derivatives(build, oracle, arrays, shapes=open_shapes)
