"""Batching of elementwise ops, ops that move elements, random bits and activations is a loop over the batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import CASES
from transform_checks import graph_of, run

from lamina.ir import OPS, binary_region
from lamina.ir.dims import symbol
from lamina.ir.types import is_complex, is_float
from lamina.passes.vectorize import vectorize

#: Sums over an axis are made in another order where the axis lies elsewhere.
SUMMED = {"softmax", "log_softmax", "logsumexp", "sparsemax"}
SHAPED = {
    *("constant", "iota", "dim_value", "reshape", "transpose", "broadcast_in_dim", "match_shape", "reverse", "slice"),
    *("pad", "concatenate", "dynamic_slice", "dynamic_update_slice", "bitcast_convert", "select", "clamp"),
    *("threefry_bits", "threefry_split", "threefry_fold_in", "dropout_bits"),
}
TRAINING = {"stop_gradient", "dropout", "glu"}
NAMES = sorted({name for name, op in OPS.items() if op.elementwise} | SHAPED | TRAINING | SUMMED)
#: Those whose rule changes more than a shape get more draws.
EXAMPLES = dict.fromkeys(("pad", "select", "clamp", "dynamic_slice", "dynamic_update_slice", "dropout"), 40)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_a_loop(name):
    @settings(max_examples=EXAMPLES.get(name, 12))
    @given(CASES[name], st.data())
    def check(case, data):
        graph, inputs = case
        batched = [data.draw(st.booleans()) for _ in inputs]
        if inputs and not any(batched):
            batched[data.draw(st.integers(0, len(inputs) - 1))] = True
        size = data.draw(st.integers(1, 3))
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        given_ = [
            np.stack([_shuffled(rng, x) for _ in range(size)]) if m else x for m, x in zip(batched, inputs, strict=True)
        ]
        results = run(vectorize(graph, batched, size, [True] * len(graph.outputs)), *given_)
        for i in range(size):
            one = run(graph, *(x[i] if m else x for m, x in zip(batched, given_, strict=True)))
            for many, expected in zip(results, one, strict=True):
                _assert_same(many[i], expected, name)

    check()


def _shuffled(rng, x):
    return rng.permutation(x.ravel()).reshape(x.shape)


def _assert_same(found, expected, name):
    assert found.dtype == expected.dtype and found.shape == expected.shape
    if name in SUMMED:
        eps = 2.0**-7 if expected.dtype.itemsize == 2 else 1e-5
        np.testing.assert_allclose(found.astype("f8"), expected.astype("f8"), rtol=eps, atol=eps)
    elif is_float(expected.dtype) or is_complex(expected.dtype):
        wide = "c16" if is_complex(expected.dtype) else "f8"
        np.testing.assert_array_equal(found.astype(wide), expected.astype(wide))
    else:
        np.testing.assert_array_equal(found, expected)


def test_nothing_is_stretched_that_need_not_be():
    """What is the same for all stays so: a scalar bound, a padding value, a window's place."""
    x, s, i = np.zeros((3, 4)), np.float64(0), np.int32(0)

    def names(build, arrays, batched):
        return [n.op.name for n in vectorize(graph_of(build, arrays), batched, 5).nodes]

    assert names(lambda b, x, s: b.clamp(s, x, s), [x, s], (True, False)) == ["clamp"]
    assert names(lambda b, p, x: b.select(p, x, x), [np.True_, x], (False, True)) == ["select"]
    assert names(lambda b, x, s: b.pad(x, s, low=(1, 0), high=(0, 0), interior=(0, 1)), [x, s], (True, False)) == [
        "pad"
    ]
    window = names(lambda b, x, i: b.dynamic_slice(x, i, i, sizes=(2, 2)), [x, i], (True, False))
    assert window == ["constant", "dynamic_slice"]
    assert "scan" not in names(lambda b, x, i: b.dynamic_slice(x, i, i, sizes=(2, 2)), [x, i], (True, True))


def test_each_key_draws_its_own_bits_in_one_node():
    key = np.array([[1, 2], [3, 4]], np.uint32)
    graph = graph_of(lambda b, k: b.threefry_bits(k, shape=(3,)), [key[0]])
    many = vectorize(graph, (True,), 2)
    assert [n.op.name for n in many.nodes] == ["threefry_bits"]
    for words, bits in zip(key, run(many, key)[0], strict=True):
        np.testing.assert_array_equal(bits, run(graph, words)[0])


def test_dropout_of_one_seed_has_one_mask():
    x, seed = np.ones((4, 20), np.float32), np.array([1, 2], np.uint32)
    graph = graph_of(lambda b, x, s: b.dropout(x, s, rate=0.5), [x[0], seed])
    one = run(graph, x[0], seed)[0]
    same = run(vectorize(graph, (True, False), 4), x, seed)[0]
    np.testing.assert_array_equal(same, np.stack([one] * 4))
    own = run(vectorize(graph, (False, True), 4), x[0], np.arange(8, dtype=np.uint32).reshape(4, 2))[0]
    assert len({row.tobytes() for row in own}) == 4


def test_symbolic_sizes():
    n, m = symbol("N"), symbol("M")

    def build(b, x, value, place):
        y = b.pad(x, value, low=(1, 0), high=(0, 2), interior=(0, 0))
        y = b.dynamic_update_slice(y, b.slice(y, start=(0, 0), limit=(n, 2), strides=(1, 1)), place, place)
        return b.softmax(b.reshape(y, shape=(4 * (n + 1),)), axis=0)

    x, value, place = np.arange(6.0).reshape(3, 2), np.arange(4.0), np.array([0, 1, 9, -1], np.int32)
    graph = graph_of(build, [x, value[0], place[0]], [(n, 2), (), ()])
    many = vectorize(graph, (False, True, True), m)
    assert many.outputs[0].shape == (m, 4 * (n + 1))
    for i, row in enumerate(run(many, x, value, place)[0]):
        np.testing.assert_allclose(row, run(graph, x, value[i], place[i])[0], rtol=1e-12)


def test_collectives_count_past_the_batch():
    x, pair = np.zeros((2, 4)), ((0, 1),)
    add = [binary_region("add", "f64")]
    for name, attributes, moved in [
        ("all_reduce", {}, {}),
        ("all_gather", {"axis": 1}, {"axis": 2}),
        ("reduce_scatter", {"axis": 0}, {"axis": 1}),
        ("all_to_all", {"split_axis": 1, "concat_axis": 0, "split_count": 2}, {"split_axis": 2, "concat_axis": 1}),
    ]:
        regions = add if "reduce" in name else ()
        graph = graph_of(lambda b, x, n=name, a=attributes, r=regions: b.emit(n, [x], {**a, "groups": pair}, r)[0], [x])
        (node,) = vectorize(graph, (True,), 3).nodes
        assert node.op.name == name
        assert {key: node.attributes[key] for key in moved} == moved
        assert node.result.shape == (3, *graph.outputs[0].shape)
