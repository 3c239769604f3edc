"""A composite's type rule says what its decomposition gives, and decomposing before sizes are known changes nothing."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ir import OPS, Builder, Graph, evaluate, symbol
from lamina.ir.dims import substitute
from lamina.ir.opdef import Call, decompose, infer_types, normalize_attributes
from lamina.ir.types import TensorType

N, T = symbol("N"), symbol("T")
SIZES = [1, 2, 3, 4, N, T, 2 * N, N + 1]
COMPOSITES = sorted(name for name, op in OPS.items() if op.is_composite)

floats = st.sampled_from(["f32", "f16", "bf16", "f64"])
numbers = st.sampled_from(["f32", "bf16", "i32", "ui8"])
integers = st.sampled_from(["i32", "ui8", "i8", "i64", "ui32"])
dims = st.sampled_from(SIZES)


def shapes(least=0, most=4):
    return st.lists(dims, min_size=least, max_size=most).map(tuple)


def types(dtype=floats, least=0, most=4):
    return st.builds(TensorType, dtype, shapes(least, most))


def an_axis(rank):
    return st.integers(-rank, rank - 1)


def some_axes(draw, rank, least=0):
    axes = draw(st.lists(st.integers(0, rank - 1), unique=True, min_size=least, max_size=rank)) if rank else []
    return tuple(axis - rank if draw(st.booleans()) else axis for axis in axes)


def elementwise(dtype=floats, /, operands=1, **attributes):
    def example(draw):
        x = draw(types(dtype))
        return [x] * operands, {name: draw(value) for name, value in attributes.items()}

    return example


def along_axis(dtype=floats, /, **attributes):
    def example(draw):
        x = draw(types(dtype, least=1))
        return [x], {"axis": draw(an_axis(x.rank)), **{name: draw(value) for name, value in attributes.items()}}

    return example


def over_axes(dtype):
    def example(draw):
        x = draw(types(dtype))
        return [x], {"axes": some_axes(draw, x.rank), "keepdims": draw(st.booleans())}

    return example


def glu(draw):
    x = draw(types(least=1))
    axis = draw(an_axis(x.rank))
    shape = list(x.shape)
    shape[axis] = shape[axis] * 2
    return [x.with_shape(shape)], {"axis": axis}


def normalization(*flags):
    def example(draw):
        x = draw(types(least=1))
        axes = some_axes(draw, x.rank, least=1)
        given_flags = {flag: draw(st.booleans()) for flag in flags}
        weight = TensorType(draw(floats), [x.shape[a] for a in sorted(a % x.rank for a in axes)])
        return [x] + [weight] * sum(given_flags.values()), {"axes": axes, "epsilon": 1e-3, **given_flags}

    return example


def batch_norm(draw):
    x = draw(types(least=1))
    axis = draw(an_axis(x.rank))
    flags = {"scale": draw(st.booleans()), "center": draw(st.booleans())}
    weight = TensorType(draw(floats), [x.shape[axis]])
    return [x] + [weight] * (2 + sum(flags.values())), {"axis": axis, "epsilon": 1e-3, **flags}


def pool(dtype, /, **attributes):
    def example(draw):
        x = draw(types(dtype, least=1, most=3))
        window = [draw(st.integers(1, 3)) for _ in x.shape]
        edges = st.integers(0, 2)
        # The window fits whatever the sizes: a symbolic size is taken to leave it room.
        padding = [(draw(edges), w + draw(edges)) for w in window]
        strides = [draw(st.integers(1, 3)) for _ in x.shape]
        return [x], {
            "window": window,
            "strides": strides,
            "padding": padding,
            **{name: draw(value) for name, value in attributes.items()},
        }

    return example


def resize(draw):
    x = draw(types(least=1, most=3))
    # A size that stays is one that stays whatever the symbols: 7 and 8 are no other size here.
    shape = [draw(st.sampled_from([d, 2 * d, 3 * d, 7, 8])) for d in x.shape]
    method = st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"])
    return [x], {"shape": shape, "method": draw(method), "antialias": draw(st.booleans())}


def take(draw):
    x = draw(types(st.sampled_from(["f32", "bf16", "i32", "ui8", "i1", "c64"]), least=1, most=3))
    return [x, draw(types(integers, most=2))], {"axis": draw(an_axis(x.rank))}


def one_hot(draw):
    indices = draw(types(integers, most=2))
    return [indices], {
        "depth": draw(st.integers(0, 4)),
        "axis": draw(an_axis(indices.rank + 1)),
        "dtype": draw(st.sampled_from(["f32", "bf16", "i32", "i1"])),
    }


def dropout(draw):
    return [draw(types()), TensorType("ui32", (2,))], {"rate": draw(st.sampled_from([0.0, 0.25, 1.0]))}


def attention(draw):
    dtype = draw(floats)
    batch, time, source = draw(dims), draw(dims), draw(dims)
    groups = draw(st.sampled_from([1, 2, 3, N]))
    heads = groups if groups is N else groups * draw(st.sampled_from([1, 2]))
    depth, value_depth = draw(st.integers(1, 3)), draw(dims)
    attributes = {name: draw(st.booleans()) for name in ("causal", "bias", "mask")}
    operands = [
        TensorType(dtype, (batch, time, heads, depth)),
        TensorType(dtype, (batch, source, groups, depth)),
        TensorType(dtype, (batch, source, groups, value_depth)),
    ]
    for name, kind in (("bias", dtype), ("mask", "i1")):
        if attributes[name]:
            shape = [d if draw(st.booleans()) else 1 for d in (batch, heads, time, source)]
            operands.append(TensorType(kind, shape[draw(st.integers(0, 4)) :]))
    return operands, {"scale": draw(st.sampled_from([None, 0.5])), **attributes}


def recurrent_step(gates, states, biases):
    def example(draw):
        dtype, (batch, inputs, units), bias = draw(floats), draw(st.tuples(dims, dims, dims)), draw(st.booleans())
        width = gates * units
        shapes = [(batch, inputs), *[(batch, units)] * states, (inputs, width), (units, width)]
        return [TensorType(dtype, s) for s in shapes + [(*biases, width)] * bias], {"bias": bias, "gates": draw(flag)}

    return example


def matrices(draw, square=True):
    a = draw(types(least=2, most=4))
    return a.with_shape((*a.shape[:-1], a.shape[-2])) if square else a


def lu_solve(draw):
    a = matrices(draw)
    order = TensorType("i32", a.shape[:-1])
    return [a, a, order, a.with_shape((*a.shape[:-1], draw(dims)))], {"transpose": draw(flag)}


flag = st.booleans()
numeric = st.sampled_from(["f32", "bf16", "i32", "ui8", "c64"])
EXAMPLES = {
    **{
        name: elementwise()
        for name in (
            "elu",
            "selu",
            "celu",
            "leaky_relu",
            "silu",
            "softplus",
            "softsign",
            "log_sigmoid",
            "hard_sigmoid",
            "hard_silu",
            "hard_tanh",
            "mish",
            "tanh_shrink",
            "soft_shrink",
            "hard_shrink",
            "squareplus",
            "sparse_plus",
            "sparse_sigmoid",
        )
    },
    "relu": elementwise(numbers),
    "relu6": elementwise(numbers),
    "gelu": elementwise(approximate=flag),
    "polygamma": elementwise(order=st.integers(1, 4)),
    "threshold": elementwise(threshold=st.just(0.5), value=st.just(2.0)),
    "logaddexp": elementwise(operands=2),
    "stop_gradient": elementwise(st.sampled_from(["f32", "i32", "i1", "c64"])),
    **{name: along_axis() for name in ("softmax", "log_softmax", "sparsemax")},
    "glu": glu,
    "logsumexp": over_axes(floats),
    "reduce_sum": over_axes(numeric),
    "reduce_prod": over_axes(numeric),
    **{name: over_axes(st.sampled_from(["f32", "bf16", "i32", "ui8", "i1"])) for name in ("reduce_max", "reduce_min")},
    **{name: over_axes(st.just("i1")) for name in ("reduce_any", "reduce_all")},
    "reduce_mean": over_axes(st.sampled_from(["f32", "bf16", "c64"])),
    "reduce_variance": over_axes(floats),
    **{
        name: along_axis(st.sampled_from(["f32", "bf16", "i32", "i1"]), dtype=st.sampled_from(["i32", "i64"]))
        for name in ("argmax", "argmin")
    },
    "layer_norm": normalization("scale", "center"),
    "rms_norm": normalization("scale"),
    "batch_norm": batch_norm,
    "max_pool": pool(numbers),
    "avg_pool": pool(floats, count_padding=flag),
    **{name: along_axis(numeric, reverse=flag) for name in ("cumsum", "cumprod")},
    **{name: along_axis(numbers, reverse=flag) for name in ("cummax", "cummin")},
    "resize": resize,
    "take": take,
    "one_hot": one_hot,
    "dropout": dropout,
    "attention": attention,
    "lstm_step": recurrent_step(4, 2, ()),
    "gru_step": recurrent_step(3, 1, (2,)),
    "lu": lambda draw: ([matrices(draw, square=False)], {}),
    "lu_solve": lu_solve,
    **{name: lambda draw: ([matrices(draw)], {}) for name in ("det", "slogdet")},
    "pinv": lambda draw: ([matrices(draw, square=False).with_dtype("f32")], {"rcond": 1e-5}),
}


def inline(b, call, values):
    """Emit a composite's decomposition, and that of every composite in it."""
    scratch = Graph()
    operands = [scratch.add_input(v.type) for v in values]
    results = decompose(Builder(scratch), call, operands)
    new = dict(zip(operands, values))
    for node in scratch.nodes:
        inputs = [new[o] for o in node.operands]
        emit = inline if node.op.is_composite else lambda b, c, v: b.emit(c.op, v, dict(c.attributes), c.regions)
        new.update(zip(node.results, emit(b, Call(node.op, node.attributes, node.regions), inputs)))
    return [new[r] for r in results]


def an_array(rng, type_):
    shape = tuple(type_.shape)
    if type_.dtype == np.bool_:
        return rng.random(shape) < 0.5
    if type_.dtype.kind in "iu":
        return rng.integers(0, 5, shape).astype(type_.dtype)
    return (rng.random(shape) * 4 - 1).astype(type_.dtype)


def test_every_composite_has_examples():
    assert sorted(EXAMPLES) == COMPOSITES


@pytest.mark.parametrize("name", COMPOSITES)
@settings(max_examples=25)
@given(data=st.data())
def test_type_rule_equals_decomposition(name, data):
    operands, given_attributes = EXAMPLES[name](data.draw)
    op = OPS[name]
    assert op.infer is not None, "a composite's types should be known without decomposing it"
    call = Call(op, normalize_attributes(op, given_attributes))
    inferred = infer_types(call, operands)

    whole, parts = Graph(), Graph()
    inputs = [whole.add_input(t) for t in operands]
    whole.outputs = list(Builder(whole).emit(op, inputs, given_attributes))
    parts.outputs = inline(Builder(parts), call, [parts.add_input(t) for t in operands])
    assert tuple(v.type for v in parts.outputs) == inferred == tuple(v.type for v in whole.outputs)
    assert not any(node.op.is_composite for node in parts.nodes)

    # Decomposed while sizes were unknown, or at the sizes: the same primitives run, so the same bits come out; but for
    # cumulative reductions, which take blocks of an axis of known length: products of 4 floats in another order.
    sizes = {"N": data.draw(st.integers(1, 3)), "T": data.draw(st.integers(1, 4))}
    rng = np.random.default_rng(0)
    arrays = [an_array(rng, t.substitute(sizes)) for t in operands]
    if name == "dropout":
        arrays[1] = np.array([7, 8], np.uint32)
    expected, _ = evaluate(whole, *arrays, dims=sizes)
    received, _ = evaluate(parts, *arrays, dims=sizes)
    for got, wanted, type_ in zip(received, expected, inferred, strict=True):
        assert got.dtype == wanted.dtype == type_.dtype
        assert got.shape == tuple(substitute(d, sizes) for d in type_.shape)
        if got.dtype == ml_dtypes.bfloat16:
            got, wanted = got.astype(np.float32), wanted.astype(np.float32)
        if name in ("cumsum", "cumprod") and got.dtype.kind in "fcV":
            np.testing.assert_allclose(got, wanted, rtol=8 * float(ml_dtypes.finfo(type_.dtype).eps), atol=1e-6)
        else:
            np.testing.assert_array_equal(got, wanted)


def test_a_mean_over_a_symbolic_axis_divides_by_its_size():
    b = Builder()
    x = b.graph.add_input(TensorType("f32", (N, 2)))
    b.graph.outputs = [b.reduce_mean(x, axes=(0,))]
    parts = Builder()
    y = parts.graph.add_input(x.type)
    parts.graph.outputs = inline(parts, Call(OPS["reduce_mean"], {"axes": (0,), "keepdims": False}), [y])
    assert "dim_value" in {node.op.name for node in parts.graph.nodes}
    for size in (1, 2, 5):
        array = np.arange(2 * size, dtype=np.float32).reshape(size, 2)
        for graph in (b.graph, parts.graph):
            np.testing.assert_array_equal(evaluate(graph, array)[0][0], array.mean(0))


@pytest.mark.parametrize("name", ["cumsum", "softmax", "log_softmax"])
def test_no_elements_where_the_size_was_symbolic(name):
    graph = Graph()
    call = Call(OPS[name], normalize_attributes(OPS[name], {"axis": 0}))
    graph.outputs = inline(Builder(graph), call, [graph.add_input(TensorType("f32", (N,)))])
    assert evaluate(graph, np.zeros(0, np.float32))[0][0].shape == (0,)
