"""Counted operations and bytes: by hand, and as XLA counts them on the CPU for what it runs as one operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import Spec, ops
from lamina.passes.cost import cost


def counted(f, *shapes, dtype="float32"):
    compiled = lamina.compile(f, *[Spec(s, dtype) for s in shapes], target="gpu", cache=False)
    return cost(compiled.specialized())


def by_xla(f, *shapes):
    """XLA's own count of the program as jax writes it, before it is optimized."""
    lowered = jax.jit(f).lower(*[jax.ShapeDtypeStruct(s, "float32") for s in shapes])
    return lowered.cost_analysis()


@pytest.mark.parametrize(
    ("equation", "a", "b"),
    [("mk,kn->mn", (8, 5), (5, 7)), ("bmk,bkn->bmn", (3, 8, 5), (3, 5, 7)), ("abk,kcd->abcd", (2, 3, 4), (4, 5, 6))],
)
def test_products_as_xla_counts_them(equation, a, b):
    found = counted(lambda x, y: ops.einsum(equation, x, y), a, b)
    expected = by_xla(lambda x, y: jnp.einsum(equation, x, y), a, b)
    assert found.flops == expected["flops"] == sum(found.products.values())
    out = np.einsum(equation, np.zeros(a), np.zeros(b)).size
    assert found.bytes == 4 * (np.prod(a) + np.prod(b) + out)


@pytest.mark.parametrize(
    ("shape", "kernel", "strides", "padding", "dilation", "groups"),
    [
        ((2, 9, 9, 3), (3, 3, 3, 4), 1, "valid", 1, 1),
        ((2, 9, 9, 3), (3, 3, 3, 4), 1, "same", 1, 1),
        ((2, 10, 9, 3), (3, 2, 3, 4), 2, "same", 1, 1),
        ((1, 16, 16, 2), (3, 3, 2, 6), 1, "same", 3, 1),
        ((2, 8, 8, 6), (3, 3, 2, 6), 1, "same", 1, 3),
    ],
)
def test_convolutions_as_xla_counts_them(shape, kernel, strides, padding, dilation, groups):
    def ours(x, k):
        return ops.conv(x, k, strides, padding, dilation_rate=dilation, data_format="channels_last")

    def theirs(x, k):
        return jax.lax.conv_general_dilated(
            x, k, (strides,) * 2, padding.upper(), rhs_dilation=(dilation,) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
        )  # fmt: skip

    assert counted(ours, shape, kernel).flops == by_xla(theirs, shape, kernel)["flops"]


def test_a_convolution_of_a_dilated_image_skips_the_holes():
    def ours(x, k):
        return ops.conv_transpose(x, k, 2, "valid", data_format="channels_last")

    # each of 5*5 places of the image meets each of 3*3 places of the kernel
    assert counted(ours, (1, 5, 5, 2), (3, 3, 4, 2)).flops == 2 * 25 * 9 * 2 * 4


def test_elementwise_and_reductions():
    found = counted(lambda x: ops.sum(ops.exp(x) * 2.0, axis=1), (8, 16))
    assert (found.elementwise, found.transcendentals, found.products) == (8 * 16 + 8 * 15, 8 * 16, {})
    assert found.bytes == 4 * (8 * 16 + 8)  # the exponential and the product are fused with the sum


def test_what_is_fused_reads_its_sources_once():
    found = counted(lambda x, y: (x + y, x * y), (64,), (64,))
    assert found.bytes == 4 * 4 * 64


def test_a_slice_reads_what_it_gives():
    assert counted(lambda x: ops.sum(x[:2]), (64, 4)).bytes == 4 * (2 * 4 + 1)


def test_a_loop_counts_as_often_as_it_runs():
    def rnn(x, w):
        return ops.scan(lambda h, step: (ops.tanh(step + h @ w),) * 2, ops.zeros((2, 8)), x)[1]

    found = counted(rnn, (10, 2, 8), (8, 8))
    assert sum(found.products.values()) == 10 * 2 * 2 * 8 * 8
    assert found.transcendentals == 10 * 2 * 8
    assert found.open_loops == 0


def test_a_loop_of_unknown_length_counts_once_and_says_so():
    found = counted(lambda x: ops.while_loop(lambda y: ops.sum(y) < 100.0, lambda y: y @ y, x), (4, 4))
    assert sum(found.products.values()) == 2 * 4 * 4 * 4
    assert found.open_loops == 1


def test_only_the_costlier_branch_counts():
    def branches(x):
        return ops.cond(ops.sum(x) > 0, lambda: x @ x, lambda: x)

    assert sum(counted(branches, (4, 4)).products.values()) == 2 * 4 * 4 * 4


def test_products_are_told_apart_by_element_type():
    found = counted(lambda x: x @ x, (4, 4), dtype="bfloat16")
    assert found.products == {("bfloat16", "default"): 128}
