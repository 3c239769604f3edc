"""Threefry bits are exactly jax.random's."""

import jax
import numpy as np
import pytest

from lamina.ir import Builder, Graph, TensorType, evaluate, symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError

KEYS = [(0, 0), (0, 42), (2**32 - 1, 2**31), (123456789, 987654321)]


def key_of(words):
    return np.array(words, np.uint32)


@pytest.fixture(autouse=True)
def partitionable():
    """The generator that current JAX uses by default."""
    with jax.threefry_partitionable(True):
        yield


@pytest.mark.parametrize("words", KEYS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (0, 4), (2, 3, 4)])
def test_bits_are_those_of_jax(run_op, words, dtype, shape):
    result = run_op("threefry_bits", key_of(words), shape=shape, dtype=dtype)
    with jax.enable_x64(True):
        expected = jax.random.bits(key_of(words), shape, dtype)
    assert result.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("words", KEYS)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_split_is_that_of_jax(run_op, words, count):
    result = run_op("threefry_split", key_of(words), count=count)
    np.testing.assert_array_equal(result, jax.random.split(key_of(words), count))


@pytest.mark.parametrize("words", KEYS)
@pytest.mark.parametrize("data", [0, 1, 7, 2**31, 2**32 - 1])
def test_fold_in_is_that_of_jax(run_op, words, data):
    result = run_op("threefry_fold_in", key_of(words), np.uint32(data))
    np.testing.assert_array_equal(result, jax.random.fold_in(key_of(words), np.uint32(data)))


def test_known_answers(run_op):
    """The published test vectors of Threefry-2x32-20 (Random123's kat_vectors)."""
    from lamina.ir.ops.random import threefry2x32

    for key, counter, expected in [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]:
        words = threefry2x32(key_of(key), *(np.array([c], np.uint32) for c in counter))
        assert tuple(int(w[0]) for w in words) == expected


def test_symbolic_shape():
    n = symbol("N")
    graph = Graph()
    key, x = graph.add_input(TensorType("ui32", (2,))), graph.add_input(TensorType("f32", (n,)))
    bits = Builder(graph).threefry_bits(key, shape=(n, 2), dtype="ui32")
    mask = Builder(graph).dropout_bits(key, shape=(n, 2))
    assert bits.type == mask.type == TensorType("ui32", (n, 2))
    graph.outputs = [bits, mask]
    (result, other), _ = evaluate(graph, key_of((1, 2)), np.zeros(3, np.float32))
    np.testing.assert_array_equal(result, jax.random.bits(key_of((1, 2)), (3, 2), "uint32"))
    assert other.shape == (3, 2)
    assert x.type.shape == (n,)


def test_errors(infer):
    key = TensorType("ui32", (2,))
    with pytest.raises(DTypeError, match=r"threefry_bits: expected ui32\[2\], received i32\[2\]"):
        infer("threefry_bits", TensorType("i32", (2,)), shape=(3,), dtype="ui32")
    with pytest.raises(ShapeError, match=r"dropout_bits: expected ui32\[2\], received ui32\[4\]"):
        infer("dropout_bits", TensorType("ui32", (4,)), shape=(3,))
    with pytest.raises(DTypeError, match="dtype should be ui8, ui16, ui32 or ui64, received float32"):
        infer("threefry_bits", key, shape=(3,), dtype="f32")
    with pytest.raises(ArgumentError, match="count should be at least 0, received -1"):
        infer("threefry_split", key, count=-1)
    with pytest.raises(
        DTypeError, match=r"threefry_fold_in: expected ui32\[2\], ui32\[\], received ui32\[2\], i32\[\]"
    ):
        infer("threefry_fold_in", key, TensorType("i32"))
    with pytest.raises(ArgumentError, match="threefry_split takes 1 operand, received 2"):
        infer("threefry_split", key, key, count=2)
