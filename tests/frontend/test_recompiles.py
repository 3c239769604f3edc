"""One trace for all sizes; a warning where XLA compiles for one size after another; memory that does not grow."""

import gc
import tracemalloc
import warnings

import jax
import keras as reference
import numpy as np
import pytest

import lamina
from lamina import Spec, keras, ops
from lamina.compiled import _TRACES
from lamina.ir.errors import LaminaError, RecompileWarning
from lamina.passes.ready import KEPT


def ones(*shape):
    return np.ones(shape, np.float32)


# One trace

IMAGE, SEQUENCE, TOKENS = (None, None, 3), (None, 6), (None,)
SHAPES = {IMAGE: [(1, 8, 8, 3), (2, 9, 13, 3)], SEQUENCE: [(2, 5, 6), (1, 8, 6)], TOKENS: [(2, 5), (1, 9)]}
NAMED = {IMAGE: (None, "H", "W", 3), SEQUENCE: (None, None, 6), TOKENS: (None, "T")}


def stack(shape, *layers):
    """A maker of a Sequential model from the module that is given, Keras's or ours."""
    dtype = "int32" if shape == TOKENS else "float32"

    def make(k):
        return k.Sequential([k.Input(shape, dtype=dtype), *(layer(k.layers) for layer in layers)])

    return make


def residual(k):
    x = k.Input(IMAGE)
    return k.Model(x, k.layers.Add()([x, k.layers.Conv2D(3, 3, padding="same")(x)]))


def u_net(k):
    x = k.Input(IMAGE)
    y = k.layers.Conv2D(4, 3, padding="same", strides=2)(x)
    return k.Model(x, k.layers.Concatenate()([x, k.layers.UpSampling2D(2)(y)]))


def attends(k):
    x = k.Input(SEQUENCE)
    scores = k.ops.softmax(k.ops.matmul(x, k.ops.transpose(x, (0, 2, 1))))
    return k.Model(x, k.ops.matmul(scores, x))


def attention_layers(k):
    x = k.Input(SEQUENCE)
    return k.Model(x, k.layers.Attention()([k.layers.MultiHeadAttention(2, 3)(x, x), x]))


QUICK = {
    "convolutions": stack(
        IMAGE,
        lambda k: k.Conv2D(4, 3, padding="same", strides=2, activation="relu"),
        lambda k: k.BatchNormalization(),
        lambda k: k.DepthwiseConv2D(2, padding="same", strides=2),
        lambda k: k.GlobalAveragePooling2D(),
        lambda k: k.Dense(2),
    ),
    "sequence": stack(
        SEQUENCE,
        lambda k: k.Conv1D(4, 3, padding="causal", dilation_rate=2),
        lambda k: k.LayerNormalization(),
        lambda k: k.MaxPooling1D(2),
        lambda k: k.Dense(3, activation="gelu"),
    ),
    "embedding": stack(
        TOKENS, lambda k: k.Embedding(10, 4, mask_zero=True), lambda k: k.GlobalAveragePooling1D(), lambda k: k.Dense(2)
    ),
}
LONG = {
    "pooling": stack(
        IMAGE,
        lambda k: k.MaxPooling2D(3, strides=2, padding="same"),
        lambda k: k.AveragePooling2D(2),
        lambda k: k.Flatten(),
    ),
    "transposed": stack(IMAGE, lambda k: k.Conv2DTranspose(4, 3, strides=2, padding="same"), lambda k: k.Cropping2D(2)),
    "recurrent": stack(SEQUENCE, lambda k: k.Bidirectional(k.LSTM(3, return_sequences=True)), lambda k: k.GRU(2)),
    "attention": attention_layers,
    "residual": residual,
    "valid convolution": stack(IMAGE, lambda k: k.Conv2D(4, 3)),
    "stride 3": stack(IMAGE, lambda k: k.Conv2D(4, 4, padding="same", strides=3)),
    "dilated": stack(IMAGE, lambda k: k.Conv2D(4, 3, padding="same", dilation_rate=2)),
    "separable": stack(IMAGE, lambda k: k.SeparableConv2D(4, 3, padding="same")),
    "transposed, valid": stack(IMAGE, lambda k: k.Conv2DTranspose(4, 3, strides=2)),
    "average pooling": stack(IMAGE, lambda k: k.AveragePooling2D(3, strides=2, padding="same")),
    "global maximum": stack(IMAGE, lambda k: k.GlobalMaxPooling2D(keepdims=True)),
    "resized": stack(IMAGE, lambda k: k.UpSampling2D(2, interpolation="bilinear"), lambda k: k.ZeroPadding2D(1)),
    "group normalization": stack(IMAGE, lambda k: k.Conv2D(4, 1), lambda k: k.GroupNormalization(2)),
    "normalizations": stack(IMAGE, lambda k: k.UnitNormalization(), lambda k: k.RMSNormalization()),
    "rearranged": stack(IMAGE, lambda k: k.Permute((2, 1, 3)), lambda k: k.Reshape((-1, 3)), lambda k: k.Softmax()),
    "transposed 1-D": stack(SEQUENCE, lambda k: k.Conv1DTranspose(4, 3, padding="same", strides=2)),
    "1-D shapes": stack(
        SEQUENCE,
        lambda k: k.UpSampling1D(3),
        lambda k: k.Cropping1D((1, 2)),
        lambda k: k.AveragePooling1D(2, padding="same"),
    ),
    "time distributed": stack(SEQUENCE, lambda k: k.TimeDistributed(k.Dense(3)), lambda k: k.SimpleRNN(2)),
    "einsum": stack(SEQUENCE, lambda k: k.EinsumDense("btc,cd->btd", output_shape=(None, 4), bias_axes="d")),
    "attention by ops": attends,
}


def pair(make):
    reference.utils.set_random_seed(0)
    theirs, ours = make(reference), make(keras)
    ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
    return ours, theirs


def drawn(shape, dtype):
    rng = np.random.default_rng(0)
    return rng.integers(0, 10, shape).astype(dtype) if dtype == "int32" else rng.standard_normal(shape).astype(dtype)


def check_one_trace_serves(make, named, shapes=None):
    """Outputs for several shapes from one trace: those of Keras, and those of a trace made for the shape."""
    ours, theirs = pair(make)
    shape = ours.input.shape[1:]
    dtype = ours.input.dtype
    compiled = lamina.compile(ours, *([Spec(NAMED[shape], dtype)] if named else []))
    for sizes in shapes or SHAPES[shape]:
        x = drawn(sizes, dtype)
        result, expected = np.asarray(compiled(x)), np.asarray(theirs(x))
        assert result.shape == expected.shape
        # f32 sums of at most 100 terms in another order
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
        alone = np.asarray(lamina.compile(ours, Spec(sizes, dtype))(x))
        np.testing.assert_allclose(result, alone, rtol=1e-6, atol=1e-6 * np.abs(alone).max())
    assert len(compiled._programs) == 1


@pytest.mark.parametrize("make", QUICK.values(), ids=QUICK)
def test_one_trace_serves_all_sizes(make):
    check_one_trace_serves(make, named=False)


@pytest.mark.long
@pytest.mark.parametrize("named", [False, True], ids=["input", "spec"])
@pytest.mark.parametrize("make", [*QUICK.values(), *LONG.values()], ids=[*QUICK, *LONG])
def test_one_trace_serves_all_sizes_of_every_layer(make, named):
    check_one_trace_serves(make, named)


@pytest.mark.long
def test_one_trace_serves_all_sizes_that_two_paths_agree_on():
    check_one_trace_serves(u_net, named=True, shapes=[(1, 8, 8, 3), (2, 12, 16, 3)])


def test_sizes_on_which_two_paths_disagree_are_an_error():
    compiled = lamina.compile(u_net(keras))
    with pytest.raises(LaminaError, match="concatenate"):
        compiled(ones(1, 9, 9, 3))


def test_sizes_have_the_names_of_the_spec():
    net = stack(IMAGE, lambda k: k.Conv2D(4, 3, padding="same", strides=2))(keras)
    compiled = lamina.compile(net, Spec((None, "H", "W", 3)))
    assert str(compiled.graph.main.inputs[0].type) == "f32[N,H,W,3]"
    assert "f32[4,5,7,4]" in compiled.hlo(N=4, H=10, W=13)


def test_flattened_open_sizes_do_not_fit_dense():
    net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(LaminaError, match=r"(?s)dense.*(known|defined|integer)"):
        lamina.compile(net, Spec((None, "H", "W", 3)))


def test_a_trace_that_assumes_sizes_serves_those_quickly_and_others_too():
    def halves(x):
        return x[: x.shape[0] // 2] + x[x.shape[0] // 2 :]  # assumes an even size

    compiled = lamina.compile(halves, Spec(("A",)))
    for n in (4, 6, 4):
        np.testing.assert_array_equal(compiled(np.arange(n, dtype=np.float32)).shape, (n // 2,))
    assert len(compiled._programs) == 1


def test_traces_for_each_size_are_bounded():
    compiled = lamina.compile(lambda x: sum(x[i] for i in range(x.shape[0])), Spec(("A",)))
    compiled._by_shape |= dict.fromkeys(range(_TRACES))
    assert float(compiled(ones(3))) == 3
    assert len(compiled._by_shape) == _TRACES


# The warning


def called_with_sizes(call, sizes):
    """The RecompileWarnings of calls with arrays of these sizes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in sizes:
            call(ones(1, n, 2))
    return [w for w in caught if issubclass(w.category, RecompileWarning)]


def test_a_loop_over_shapes_warns_once_and_says_what_to_do():
    net = keras.Sequential([keras.Input((None, 2)), keras.layers.ReLU()], name="net")
    compiled = lamina.compile(net, Spec((None, "T", 2)))
    found = called_with_sizes(compiled, range(1, 36))
    assert len(found) == 1
    message = str(found[0].message)
    assert "'net' was compiled for 32 sets of sizes" in message
    assert "T had 32 sizes (1, 2, 3, 4, 5, ..., 32)" in message
    assert "Pad T to a few sizes" in message
    assert found[0].filename == __file__
    assert compiled._programs[0]._ready._made.cache_info().currsize <= KEPT  # and no more is kept of each


@pytest.mark.long
def test_200_shapes_warn_once():
    compiled = lamina.compile(lambda x: x * 5, Spec((None, "T", 2)))
    assert len(called_with_sizes(compiled, range(1, 201))) == 1
    assert compiled._programs[0]._ready._made.cache_info().currsize <= KEPT


def test_a_few_shapes_do_not_warn():
    compiled = lamina.compile(lambda x: x * 3, Spec((None, "T", 2)))
    assert called_with_sizes(compiled, [*range(1, 32)] * 2) == []


def test_traces_for_each_size_warn():
    compiled = lamina.compile(lambda x: x * len(range(x.shape[1])), Spec((1, "T", 2)))
    found = called_with_sizes(compiled, range(1, 34))
    assert len(found) == 1
    assert "Pad T" in str(found[0].message)


def test_jit_warns():
    @lamina.jit
    def twice(x):
        return x + x

    found = called_with_sizes(twice, range(1, 34))
    assert len(found) == 1
    assert "jit of 'twice'" in str(found[0].message)
    assert "axis 1 of array 0 had 32 sizes" in str(found[0].message)
    assert "lamina.compile" in str(found[0].message)


def test_an_eager_layer_warns():
    found = called_with_sizes(keras.layers.ReLU(name="probe"), range(1, 34))
    assert len(found) == 1
    assert "Layer 'probe'" in str(found[0].message)


# Memory


def growth(step, calls, warm_up=50):
    """How many jax arrays, Python objects and bytes of Python memory ``calls`` calls leave behind."""
    for i in range(warm_up):
        step(i)
    counts = []
    tracemalloc.start()
    try:
        for _ in range(2):
            gc.collect()
            counts.append((len(jax.live_arrays()), len(gc.get_objects()), tracemalloc.get_traced_memory()[0]))
            if len(counts) == 1:
                for i in range(calls):
                    step(i)
    finally:
        tracemalloc.stop()
    return tuple(after - before for before, after in zip(*counts, strict=True))


def trained():
    net = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2),
        ]
    )
    return net, ones(2, 6, 6, 2)


def compiled_calls():
    net, x = trained()
    compiled = lamina.compile(net)
    return lambda i: compiled(x)


def training_calls():
    net, x = trained()
    compiled = lamina.compile(net, training=True)
    return lambda i: compiled(x)


def model_calls():
    net, x = trained()
    return lambda i: net(x, training=i % 2 == 0)


def layer_calls():
    layer, x = keras.layers.Dense(3), ones(2, 5)
    return lambda i: layer(x)


def op_calls():
    x = ones(2, 5)
    return lambda i: ops.add(ops.tanh(x), i / 7)


def updates():
    net, x = trained()
    compiled = lamina.compile(net)
    assert compiled.prepare is not None
    kernel = net.layers[0].kernel
    values = [np.full(kernel.shape, v, np.float32) for v in (0.5, 1.0)]

    def step(i):
        kernel.assign(values[i % 2])
        compiled(x)

    return step


def models():
    def step(i):
        net, x = trained()
        lamina.compile(net)(x)

    return step


def check_no_growth(make, calls):
    arrays, objects, memory = growth(make(), calls)
    assert arrays <= 0
    assert objects < calls / 10  # a leak leaves at least one object a call
    assert memory < 64 * calls


@pytest.mark.parametrize("make", [compiled_calls, updates])
def test_calls_leave_nothing_behind(make):
    check_no_growth(make, 300)


@pytest.mark.long
@pytest.mark.parametrize(
    "make", [compiled_calls, training_calls, model_calls, layer_calls, op_calls, updates], ids=lambda f: f.__name__
)
def test_2000_calls_leave_nothing_behind(make):
    check_no_growth(make, 2000)


@pytest.mark.long
def test_models_that_are_made_again_leave_nothing_behind():
    arrays, objects, _ = growth(models(), 60, warm_up=5)
    assert arrays <= 0
    assert objects < 60 * 40  # a model and its graphs are thousands of objects
