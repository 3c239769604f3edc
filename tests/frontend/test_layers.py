"""Built-in layers beyond the parity table: the ops they emit, training, noise, masks through models, input specs."""

import json

import jax
import keras
import ml_dtypes
import numpy as np
import pytest

import lamina
import lamina.frontend.layers as layers
from lamina.frontend.input_spec import InputSpec, assert_input_compatibility
from lamina.frontend.tracing import trace_flat
from lamina.frontend.variable import Variable
from lamina.ir import TensorType, evaluate
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError

IMAGE, VOLUME, SEQUENCE = (2, 7, 6, 4), (2, 5, 6, 4, 3), (2, 9, 4)
FIRST = {"data_format": "channels_first"}
UNIT = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def both(name, config):
    return getattr(layers, name)(**config), getattr(keras.layers, name)(**config)


def inputs_for(shapes, seed=0):
    """Random inputs in the nest of ``shapes``."""
    rng = np.random.default_rng(seed)
    if isinstance(shapes, list):
        return [rng.normal(size=s).astype("float32") for s in shapes]
    return rng.normal(size=shapes).astype("float32")


def plain(config):
    """A config as JSON gives it back."""
    return json.loads(json.dumps(config))


def ops_of(layer, *shapes, **kwargs):
    """Names of the ops that a layer emits."""
    types = [TensorType("float32", s) for s in shapes]
    module, _ = trace_flat(lambda ts: layer(ts[0] if len(ts) == 1 else ts, **kwargs), types)
    return [node.op.name for node in module.main.nodes]


def test_graphs_keep_what_the_layers_mean():
    def emitted(name, config, shape):
        layer = getattr(layers, name)(**config)
        layer.build(shape)
        return [op for op in ops_of(layer, shape) if op not in ("broadcast_in_dim", "reshape")]

    assert emitted("Dense", {"units": 3, "activation": "relu"}, (2, 4)) == ["dot_general", "add", "relu"]
    assert emitted("Conv2D", {"filters": 3, "kernel_size": 3}, IMAGE) == ["convolution", "add"]
    assert emitted("Conv1D", {"filters": 3, "kernel_size": 3, "padding": "causal", "use_bias": False}, SEQUENCE) == [
        "convolution"
    ]
    assert emitted("BatchNormalization", {}, IMAGE) == ["batch_norm"]
    assert emitted("BatchNormalization", {"axis": 1, "dtype": "mixed_float16"}, IMAGE) == ["convert", "batch_norm"]
    assert emitted("LayerNormalization", {"axis": [1, 2]}, SEQUENCE) == ["layer_norm"]
    assert emitted("RMSNormalization", {}, SEQUENCE) == ["rms_norm"]
    assert emitted("MaxPooling2D", {}, IMAGE) == ["max_pool"]
    assert emitted("AveragePooling2D", {"pool_size": 2}, IMAGE) == ["avg_pool"]
    assert emitted("Dropout", {"rate": 0.5}, (2, 3)) == []
    dropout = layers.Dropout(0.5)
    assert ops_of(dropout, (2, 3), training=True).count("dropout") == 1


def test_embedding_is_keras():
    config = {"input_dim": 7, "output_dim": 3, "name": "it"}
    ours, theirs = both("Embedding", config)
    indices = np.array([[0, 3, 6], [1, 1, 5]], "int32")
    theirs(indices)
    ours(indices)
    ours.set_weights(theirs.get_weights())
    for dtype in ("int32", "uint8", "float32"):
        got = ours(indices.astype(dtype))
        np.testing.assert_array_equal(got, theirs(indices.astype(dtype)))
    assert plain(ours.get_config()) == plain(theirs.get_config())
    assert [w.path for w in ours.weights] == ["it/embeddings"]
    assert ours.compute_output_shape((None, 3)) == (None, 3, 3)
    given = layers.Embedding(2, 2, weights=np.eye(2), mask_zero=True)
    np.testing.assert_array_equal(given(np.array([1, 0])), np.eye(2)[::-1])
    np.testing.assert_array_equal(given.compute_mask(np.array([1, 0])), [True, False])


# Training


@pytest.mark.parametrize(
    "config, masked",
    [
        ({}, False),
        ({}, True),
        ({"momentum": 0.5, "axis": 1}, False),
        ({"scale": False}, True),
        ({"center": False, "scale": False}, False),
        ({"dtype": "mixed_float16"}, True),
        ({"renorm": True}, False),
        ({"renorm": True, "scale": False, "renorm_clipping": {"rmin": 0.5, "rmax": 1.2, "dmax": 0.3}}, True),
    ],
    ids=str,
)
def test_batch_normalization_trains_as_keras(config, masked):
    ours, theirs = both("BatchNormalization", {"name": "it", **config})
    mask = np.array([[1, 1, 0, 1, 0, 1], [1, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]], bool) if masked else None
    for step in range(3):
        x = 2 * inputs_for((3, 6, 4), seed=step) + 1
        got, wanted = ours(x, training=True, mask=mask), theirs(x, training=True, mask=mask)
        unit = UNIT["float16" if "dtype" in config else "float32"]
        wanted = np.asarray(wanted, "float32")
        np.testing.assert_allclose(np.asarray(got, "float32"), wanted, atol=16 * unit * np.max(np.abs(wanted)))
        assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)


def test_batch_normalization_by_the_rule():
    """The averages move by the momentum rule, and by nothing else."""
    layer = layers.BatchNormalization(momentum=0.75, center=False, scale=False)
    x = np.array([[1.0, 10.0], [3.0, 10.0]], "float32")
    y = layer(x, training=True)
    np.testing.assert_allclose(y, [[-1, 0], [1, 0]], atol=1e-3)  # epsilon is 1e-3 against a variance of 1
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.25 * np.array([2.0, 10.0]), rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.75 + 0.25 * np.array([1.0, 0.0]), rtol=1e-6)
    before = layer.get_weights()
    layer.trainable = False
    frozen = layer(x, training=True)
    np.testing.assert_allclose(frozen, layer(x), rtol=1e-6)
    np.testing.assert_array_equal(layer.get_weights(), before)


@pytest.mark.parametrize(
    "name, config, shape, kept_axes",
    [
        ("Dropout", {"rate": 0.25}, (64, 100), ()),
        ("Dropout", {"rate": 0.25, "noise_shape": (None, 1)}, (4000, 3), (1,)),
        ("SpatialDropout1D", {"rate": 0.25}, (64, 3, 100), (1,)),
        ("SpatialDropout2D", {"rate": 0.25, **FIRST}, (64, 100, 2, 3), (2, 3)),
    ],
)
def test_dropout_drops_its_share(name, config, shape, kept_axes):
    layer = getattr(layers, name)(seed=3, **config)
    x = np.ones(shape, "float32")
    first, second = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    decisions = first
    for axis in sorted(kept_axes, reverse=True):  # one decision for all of these
        assert (np.ptp(decisions, axis=axis) == 0).all()
        decisions = decisions.take(0, axis=axis)
    deviation = np.sqrt(0.25 * 0.75 / decisions.size)
    assert abs((decisions == 0).mean() - 0.25) < 4 * deviation
    assert (first != second).any(), "each call draws anew"
    again = getattr(layers, name)(seed=3, **config)
    np.testing.assert_array_equal(again(x, training=True), first)
    np.testing.assert_array_equal(layer(x, training=False), x)
    np.testing.assert_array_equal(layer(x), x)


def test_dropout_at_its_ends():
    x = inputs_for((3, 4))
    np.testing.assert_array_equal(layers.Dropout(0)(x, training=True), x)
    np.testing.assert_array_equal(layers.Dropout(1.0)(x, training=True), np.zeros_like(x))


@pytest.mark.parametrize(
    "name, config",
    [
        ("GaussianNoise", {"stddev": 0.5}),
        ("GaussianDropout", {"rate": 0.2}),
        ("AlphaDropout", {"rate": 0.3}),
        ("AlphaDropout", {"rate": 0.3, "noise_shape": (None, 1)}),
    ],
)
def test_noise_is_that_of_keras(name, config):
    """Their noise is jax.random's, bit for bit; only the arithmetic after it is rounded differently."""
    ours, theirs = both(name, {"seed": 5, **config})
    x = inputs_for((20, 30))
    for _ in range(2):
        wanted = np.asarray(theirs(x, training=True))
        np.testing.assert_allclose(ours(x, training=True), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ours(x), x)


def test_activity_and_weight_penalties_are_values_of_the_layer():
    layer = layers.Dense(2, kernel_regularizer="l2", use_bias=False, kernel_initializer="ones")
    layer(np.ones((1, 3), "float32"))
    np.testing.assert_allclose(layer.losses, [0.01 * 6], rtol=1e-6)


# Masks


def test_masks_pass_through_as_in_keras():
    x = inputs_for((2, 4, 3))
    x[0, 2:] = x[1, 0] = 0
    ours, theirs = layers.Masking(), keras.layers.Masking()
    pool, their_pool = layers.GlobalAveragePooling1D(), keras.layers.GlobalAveragePooling1D()
    np.testing.assert_array_equal(ours.compute_mask(x), theirs.compute_mask(x))
    module, _ = trace_flat(lambda ts: pool(ours(ts[0])), [TensorType("float32", x.shape)])
    (got,), _ = evaluate(module, x)
    np.testing.assert_allclose(got, their_pool(theirs(x)), rtol=1e-6)


@pytest.mark.parametrize("name", ["Add", "Multiply", "Maximum", "Minimum", "Average", "Concatenate"])
def test_merged_masks_are_keras(name):
    a, b = inputs_for([(2, 4, 3), (2, 4, 3)])
    a[0, 2:] = a[1, 0] = b[0, 0] = b[1, :2] = b[0, 3] = 0

    def run(module, pool_module):
        masking, merge = module.Masking(), getattr(module, name)()
        pool = pool_module.GlobalAveragePooling1D()
        return lambda x, y: pool(merge([masking(x), masking(y)]))

    traced, _ = trace_flat(lambda ts: run(layers, layers)(*ts), [TensorType("float32", a.shape)] * 2)
    (got,), _ = evaluate(traced, a, b)
    np.testing.assert_allclose(got, run(keras.layers, keras.layers)(a, b), rtol=1e-5, atol=1e-6)


def test_masks_pass_through_a_functional_model():
    """From where a mask starts (Embedding) to where it ends, through layers that pass it on, eagerly and compiled."""

    def build(k):
        i = k.Input((5,), dtype="int32")
        h = k.layers.Dropout(0.5)(k.layers.Embedding(9, 4, mask_zero=True)(i))
        a, b = k.layers.Dense(3)(h), k.layers.Dense(3)(h)
        h = k.layers.concatenate([k.layers.multiply([a, b]), k.layers.maximum([a, b])])
        return k.Model(i, k.layers.GlobalAveragePooling1D()(k.layers.BatchNormalization()(h)))

    ours, theirs = build(lamina.keras), build(keras)
    ours.set_weights(theirs.get_weights())
    x = np.array([[1, 2, 0, 0, 3], [4, 0, 0, 0, 0], [1, 1, 1, 1, 1]], "int32")
    compiled = lamina.compile(ours, lamina.Spec((None, 5), "int32"))
    for got in (ours(x), compiled(x)):
        np.testing.assert_allclose(got, theirs(x), rtol=1e-5, atol=1e-6)


def test_functional_forms_are_the_layers():
    x, y = inputs_for([(3, 4), (3, 4)])
    for name in ("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot"):
        np.testing.assert_allclose(getattr(layers, name)([x, y]), getattr(keras.layers, name)([x, y]), rtol=1e-5)
    np.testing.assert_allclose(layers.concatenate([x, y], axis=0), np.concatenate([x, y]))


def test_softmax_with_a_mask_is_keras():
    x, mask = inputs_for((2, 5)), np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool)
    np.testing.assert_allclose(layers.Softmax()(x, mask=mask), keras.layers.Softmax()(x, mask=mask), rtol=1e-6)


# InputSpec


@pytest.mark.parametrize(
    "spec, good, bad",
    [
        ({"ndim": 2}, (2, 3), (2, 3, 4)),
        ({"min_ndim": 2, "max_ndim": 3}, (2, 3, 4), (2,)),
        ({"max_ndim": 3}, (2, 3, 4), (2, 3, 4, 5)),
        ({"axes": {-1: 3, 0: None}}, (5, 3), (5, 4)),
        ({"shape": (None, 28, 28, 1), "allow_last_axis_squeeze": True}, (5, 28, 28), (5, 28, 27)),
        ({"shape": (None, 3)}, (5, 3), (5, 4)),
    ],
)
def test_input_spec_accepts_and_refuses(spec, good, bad):
    ours, theirs = InputSpec(**spec), keras.InputSpec(**spec)
    assert ours.get_config() == theirs.get_config()
    assert repr(ours) == repr(theirs)
    assert_input_compatibility(ours, np.zeros(good), "it")
    with pytest.raises(ShapeError, match=r"'it'.*received shape"):
        assert_input_compatibility(ours, np.zeros(bad), "it")


def test_input_spec_of_several_inputs():
    specs = [InputSpec(ndim=1, name="a"), InputSpec(ndim=2, name="b", optional=True)]
    one, two = np.zeros(1), np.zeros((1, 1))
    assert_input_compatibility(specs, {"b": two, "a": one}, "it")
    assert_input_compatibility(specs, [one, None], "it")
    with pytest.raises(ArgumentError, match="'b' is missing"):
        assert_input_compatibility(specs, {"a": one}, "it")
    with pytest.raises(ArgumentError, match="takes 2 inputs, received 1"):
        assert_input_compatibility(specs, [one], "it")
    with pytest.raises(ArgumentError, match="must be a tensor"):
        assert_input_compatibility(InputSpec(ndim=1), "text", "it")
    with pytest.raises(DTypeError, match="type int32"):
        assert_input_compatibility(InputSpec(dtype="int32"), one, "it")
    with pytest.raises(ArgumentError, match="axis 2"):
        InputSpec(ndim=2, axes={2: 3})


def test_weights_are_variables_that_share_nothing_with_their_initial_values():
    layer = layers.Dense(2)
    layer.build((None, 2))
    values = [np.ones((2, 2), "float32"), np.ones(2, "float32")]
    layer.set_weights(values)
    values[0][:] = 5
    assert isinstance(layer.kernel, Variable)
    assert (layer.kernel.numpy() == 1).all()
    assert isinstance(layer(np.ones((1, 2), ml_dtypes.bfloat16)), jax.Array)
