"""Bad input to layers: the error names layer and argument, says what was received and what is expected; Keras refuses
too, or it is said why not; and the layer is afterwards what it was before, so that right input works."""

import keras
import numpy as np
import pytest

import lamina
from lamina import keras as ours
from lamina.ir.errors import ArgumentError, LaminaError, ShapeError, TracingError, UnsupportedError

layers = ours.layers
IMAGE, SEQUENCE = (2, 7, 6, 4), (2, 9, 4)
ONLY_OURS = "only ours"  # what Keras lets pass, to fail later or to compute something that nobody asked for


def array(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def mask(*shape):
    return np.ones(shape, bool)


def of_shapes(shapes):
    return [array(*s) for s in shapes] if isinstance(shapes, list) else array(*shapes)


# Arguments of constructors: the layer, its config, the message, and whether Keras refuses as well.
ARGUMENTS = [
    ("Dense", {"units": -1}, "expected units to be a positive integer, received units=-1"),
    ("Dense", {"units": "3"}, "received units='3'"),
    ("Dense", {"units": True}, "received units=True", ONLY_OURS),
    ("Dense", {"units": 3, "activation": "rellu"}, "argument activation: .*'relu'"),
    ("Dense", {"units": 3, "kernel_initializer": "glorot"}, "argument kernel_initializer"),
    ("Dense", {"units": 3, "unknown": 1}, "has no argument 'unknown'"),
    ("Embedding", {"input_dim": 0, "output_dim": 2}, "input_dim=0"),
    ("Embedding", {"input_dim": 2, "output_dim": -2}, "output_dim=-2"),
    ("Conv1D", {"filters": 3, "kernel_size": 3, "strides": -1}, "expected strides to be an integer >= 1"),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "strides": (1, -2)}, r"or 2 of them, received strides=\(1, -2\)"),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "dilation_rate": 0}, "dilation_rate=0"),
    ("Conv2D", {"filters": 3, "kernel_size": (3, 3, 3)}, r"kernel_size=\(3, 3, 3\)"),
    ("Conv2D", {"filters": 3, "kernel_size": 2.5}, "kernel_size=2.5"),
    ("Conv2D", {"filters": -3, "kernel_size": 3}, "filters=-3"),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "groups": 0}, "groups=0"),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "groups": 2}, "expected filters to be a multiple of groups=2"),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "strides": 2, "dilation_rate": 2}, r"dilation_rate=\(2, 2\)"),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "data_format": "last"}, "data_format"),
    *(
        (name, config, "expected padding to be 'valid' or 'same', received padding='causal'", *more)
        for name, config, *more in [
            ("Conv2D", {"filters": 3, "kernel_size": 3, "padding": "causal"}),
            ("Conv3D", {"filters": 3, "kernel_size": 3, "padding": "causal"}),
            ("DepthwiseConv1D", {"kernel_size": 3, "padding": "causal"}),
            ("SeparableConv1D", {"filters": 3, "kernel_size": 3, "padding": "causal"}),
            ("Conv1DTranspose", {"filters": 3, "kernel_size": 3, "padding": "causal"}),
            ("MaxPooling1D", {"padding": "causal"}, ONLY_OURS),
        ]
    ),
    ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 0}, "depth_multiplier=0"),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": -1}, "strides=-1"),
    ("SeparableConv2D", {"filters": 3, "kernel_size": 3, "strides": 0}, "strides=0"),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": -1}, "strides=-1"),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "output_padding": -1}, "output_padding=-1"),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "output_padding": 1}, r"less than strides=\(1, 1\)"),
    ("MaxPooling2D", {"pool_size": 0}, "pool_size=0"),
    ("MaxPooling1D", {"strides": -1}, "strides=-1"),
    ("AveragePooling2D", {"pool_size": 2, "strides": (1, 0)}, r"strides=\(1, 0\)", ONLY_OURS),
    ("Dropout", {"rate": 1.5}, "expected rate to be a number from 0 to 1, received rate=1.5"),
    ("Dropout", {"rate": "a"}, "rate='a'"),
    ("Dropout", {"rate": 0.5, "noise_shape": (0, 1)}, "noise_shape"),
    ("AlphaDropout", {"rate": 0.5, "noise_shape": 3}, "noise_shape=3", ONLY_OURS),
    ("AlphaDropout", {"rate": 1.0}, "rate=1.0", ONLY_OURS),
    ("GaussianDropout", {"rate": 1}, "rate=1", ONLY_OURS),
    ("GaussianNoise", {"stddev": -1}, "stddev=-1"),
    ("BatchNormalization", {"axis": "last"}, "axis='last'"),
    ("BatchNormalization", {"momentum": "a"}, "momentum='a'"),
    ("BatchNormalization", {"renorm": True, "renorm_clipping": {"rmax": 1, "rmin": 2}}, "renorm_clipping"),
    ("LayerNormalization", {"epsilon": None}, "epsilon=None", ONLY_OURS),
    ("GroupNormalization", {"groups": 0}, "groups=0", ONLY_OURS),
    ("ReLU", {"negative_slope": -1}, "expected negative_slope to be a number >= 0"),
    ("ReLU", {"max_value": -1}, "max_value=-1"),
    ("LeakyReLU", {"negative_slope": None}, "negative_slope=None"),
    ("ELU", {"alpha": "a"}, "alpha='a'", ONLY_OURS),
    ("Reshape", {"target_shape": (-1, -1)}, "target_shape"),
    ("Permute", {"dims": (0, 1)}, "dims"),
    ("RepeatVector", {"n": 0}, "n=0", ONLY_OURS),
    ("ZeroPadding2D", {"padding": (1, 2, 3)}, "padding"),
    ("Cropping1D", {"cropping": (-1, 0)}, "cropping"),
    ("Dot", {"axes": "x"}, "axes='x'"),
    ("Dot", {"axes": (1, 2, 3)}, r"axes=\(1, 2, 3\)"),
]


@pytest.mark.parametrize("name, config, message, more", [(*a[:3], a[3:]) for a in ARGUMENTS], ids=str)
def test_wrong_arguments_are_named(name, config, message, more):
    with pytest.raises(ArgumentError, match=message) as error:
        getattr(layers, name)(name="my_layer", **config)
    assert name in str(error.value) or "data_format" in str(error.value)
    if ONLY_OURS not in more:
        with pytest.raises((ValueError, TypeError)):
            getattr(keras.layers, name)(name="my_layer", **config)


# Inputs that a fresh layer can't take: shapes, further keywords of the call, the message, and inputs that it can.
INPUTS = [
    ("Dense", {"units": 3}, (4,), {}, "rank 2 at least", (2, 4)),
    ("Dense", {"units": 3}, [(2, 4), (2, 4)], {}, "takes 1 input, received 2", (2, 4)),
    ("Conv2D", {"filters": 4, "kernel_size": 3}, (2, 4, 4), {}, r"rank 4, received shape \(2, 4, 4\)", IMAGE),
    ("Conv2D", {"filters": 4, "kernel_size": 5}, (2, 4, 4, 3), {}, r"kernel_size=\(5, 5\).*does not fit", IMAGE),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "groups": 2}, (2, 7, 6, 3), {}, "groups=2 do not divide the 3", IMAGE),
    ("Conv2DTranspose", {"filters": 4, "kernel_size": 3}, (2, 4, 4), {}, "rank 4", IMAGE),
    ("DepthwiseConv2D", {"kernel_size": 5}, (2, 4, 4, 3), {}, "does not fit", IMAGE),
    ("MaxPooling2D", {}, (2, 4, 4), {}, "rank 4", IMAGE),
    ("MaxPooling2D", {"pool_size": 7}, (2, 4, 4, 3), {}, r"pool_size=\(7, 7\) does not fit", (2, 7, 7, 4)),
    ("GlobalAveragePooling2D", {}, (2, 4, 4), {}, "rank 4", IMAGE),
    ("BatchNormalization", {"axis": 3}, (2, 3), {}, "axis 3 is out of range", IMAGE),
    ("LayerNormalization", {"axis": -4}, (2, 3), {}, "axis -4", IMAGE),
    ("LayerNormalization", {"axis": [1, -1]}, (2, 3), {}, r"axis=\[1, -1\] names an axis .* twice", IMAGE),
    ("RMSNormalization", {"axis": 2}, (2, 3), {}, "axis 2 is out of range", SEQUENCE),
    ("UnitNormalization", {"axis": 2}, (2, 3), {}, "axis=2 is out of range", SEQUENCE),
    ("GroupNormalization", {"groups": 3}, (2, 4), {}, "groups=3 do not divide the 4 channels", (2, 6)),
    ("Softmax", {"axis": 2}, (2, 3), {}, "axis=2 is out of range", SEQUENCE),
    ("PReLU", {"shared_axes": [2]}, (2, 3), {}, "axis 2 is out of range", SEQUENCE),
    ("Add", {}, [(2, 3), (3, 3)], {}, "different batch sizes", [(2, 3), (2, 3)]),
    ("Add", {}, [(2, 3), (2, 4)], {}, "do not broadcast", [(2, 3), (2, 3)]),
    ("Add", {}, (2, 3), {}, "takes a list of tensors", [(2, 3), (2, 3)]),
    ("Subtract", {}, [(2, 3)] * 3, {}, "takes 2 inputs, received 3", [(2, 3), (2, 3)]),
    ("Concatenate", {}, [(2, 3, 1), (2, 4, 1)], {}, "except along axis -1", [(2, 3, 1), (2, 3, 2)]),
    ("Concatenate", {"axis": 2}, [(2, 3), (2, 3)], {}, "axis 2 is out of range", [SEQUENCE, SEQUENCE]),
    ("Dot", {"axes": 1}, [(2, 3), (2, 4)], {}, "must have one size", [(2, 3), (2, 3)]),
    ("Dot", {"axes": 1}, [(2, 3)], {}, "takes 2 inputs, received 1", [(2, 3), (2, 3)]),
    ("Dot", {"axes": 0}, [(2, 3), (2, 3)], {}, "must not name the batch", None),
    ("Reshape", {"target_shape": (6,)}, (2, 5), {}, r"target_shape=\(6,\)", (2, 3, 2)),
    ("Permute", {"dims": (2, 1)}, (2, 3), {}, "rank 3", SEQUENCE),
    ("Cropping1D", {"cropping": 2}, (2, 4, 3), {}, "leaves nothing", SEQUENCE),
    ("SpatialDropout2D", {"rate": 0.5}, (3, 4, 4), {}, "rank 4", IMAGE),
    (
        "Dropout",
        {"rate": 0.5, "noise_shape": (2, 3)},
        (2, 4),
        {"training": True},
        r"noise_shape=\(2, 3\) does not",
        (2, 3),
    ),
    (
        "AlphaDropout",
        {"rate": 0.5, "noise_shape": (2, 3, 1)},
        (2, 3),
        {"training": True},
        r"noise_shape=\(2, 3, 1\)",
        SEQUENCE[:1] + (3, 4),
    ),
    # Masks
    ("Softmax", {}, (3, 4), {"mask": mask(3, 5)}, r"a mask of shape \(3, 4\).*received mask shape \(3, 5\)", (3, 4)),
    ("Softmax", {}, (3, 4), {"mask": mask(3, 4, 1)}, r"received mask shape \(3, 4, 1\)", (3, 4)),
    ("BatchNormalization", {}, SEQUENCE, {"mask": mask(2, 8)}, r"a mask of shape \(2, 9\).*\(2, 8\)", SEQUENCE),
    ("BatchNormalization", {}, SEQUENCE, {"mask": mask(*SEQUENCE)}, r"a mask of shape \(2, 9\)", SEQUENCE),
    *(
        ("GlobalAveragePooling1D", {}, SEQUENCE, {"mask": m}, r"a mask of shape \(2, 9\), batch and steps", SEQUENCE)
        for m in (mask(2, 8), mask(9), mask(3, 9), mask(*SEQUENCE))
    ),
]
# Keras computes something: it looks at this mask only in training, and gives pooled images without pixels.
KERAS_COMPUTES = {("BatchNormalization", (2, 8)), ("MaxPooling2D", "(2, 4, 4, 3)")}


@pytest.mark.parametrize("name, config, shapes, call, message, good", INPUTS, ids=str)
def test_wrong_inputs_are_named_and_leave_the_layer_as_it_was(name, config, shapes, call, message, good):
    layer = getattr(layers, name)(name="my_layer", **config)
    was_built = layer.built
    with pytest.raises((ShapeError, ArgumentError), match=f"(?s){message}") as error:
        layer(of_shapes(shapes), **call)
    assert "my_layer" in str(error.value)
    assert layer.built == was_built
    assert layer.weights == []
    if good is not None:
        rest = {k: v for k, v in call.items() if k != "mask"}
        assert np.isfinite(np.asarray(layer(of_shapes(good), **rest))).all()
        fresh = getattr(layers, name)(name="my_layer", **config)
        fresh(of_shapes(good), **rest)
        assert [w.path for w in layer.weights] == [w.path for w in fresh.weights]
    if (name, call["mask"].shape if "mask" in call else str(shapes)) not in KERAS_COMPUTES:
        with pytest.raises((ValueError, TypeError, IndexError)):
            getattr(keras.layers, name)(name="my_layer", **config)(of_shapes(shapes), **call)


# What a built layer can't take any more: first inputs, then others.
BUILT = [
    ("Dense", {"units": 3}, (2, 4), (2, 5), r"size 4 along axis -1, received shape \(2, 5\)"),
    ("Conv2D", {"filters": 3, "kernel_size": 3}, IMAGE, (2, 7, 6, 5), "size 4 along axis -1"),
    ("Conv2D", {"filters": 3, "kernel_size": 3}, IMAGE, (2, 2, 2, 4), "(?s)kernel of extent 3.*in layer my_layer"),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "data_format": "channels_first"}, IMAGE, (2, 5, 6, 4), "along axis 1"),
    ("DepthwiseConv2D", {"kernel_size": 3}, IMAGE, (2, 7, 6, 5), "size 4 along axis -1"),
    ("SeparableConv2D", {"filters": 3, "kernel_size": 3}, IMAGE, (2, 7, 6, 5), "size 4 along axis -1"),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3}, IMAGE, (2, 7, 6, 5), "size 4 along axis -1"),
    ("BatchNormalization", {}, (2, 4), (2, 4, 4), "rank 2"),
    ("BatchNormalization", {}, (2, 4), (2, 5), "size 4 along axis -1"),
    ("LayerNormalization", {}, (2, 4), (2, 5), "size 4 along axis -1"),
    ("LayerNormalization", {"axis": [1, 2]}, SEQUENCE, (2, 9), "rank 3 at least"),
    ("RMSNormalization", {}, (2, 4), (2, 5), "size 4 along axis -1"),
    ("GroupNormalization", {"groups": 2}, SEQUENCE, (2, 9, 6), "size 4 along axis -1"),
    ("PReLU", {"shared_axes": [1]}, SEQUENCE, (2, 9, 5), "size 4 along axis 2"),
    ("PReLU", {}, (2, 4), (2, 5), "(?s)4 and 5 differ.*in layer my_layer"),
    ("Add", {}, [(2, 3), (2, 3)], [(2, 3), (2, 4)], "(?s)3 and 4 differ.*in layer my_layer"),
    ("Concatenate", {}, [(2, 3), (2, 3)], [(2, 3), (3, 3)], "(?s)differ.*in layer my_layer"),
]


@pytest.mark.parametrize("name, config, first, then, message", BUILT, ids=str)
def test_a_built_layer_keeps_its_sizes(name, config, first, then, message):
    layer, theirs = (getattr(k.layers, name)(name="my_layer", **config) for k in (ours, keras))
    before = np.asarray(layer(of_shapes(first)))
    with pytest.raises(ShapeError, match=message) as error:
        layer(of_shapes(then))
    assert "my_layer" in str(error.value)
    np.testing.assert_array_equal(layer(of_shapes(first)), before)
    theirs(of_shapes(first))
    with pytest.raises((ValueError, TypeError, IndexError)):
        theirs(of_shapes(then))


def test_a_build_that_fails_half_way_leaves_nothing():
    def wrong(shape, dtype=None):
        raise ValueError("no values today")

    layer = layers.Dense(3, bias_initializer=wrong, name="my_layer")
    for _ in range(2):
        with pytest.raises(ValueError, match="no values today"):
            layer(array(2, 4))
        assert not layer.built
        assert layer.weights == []
    layer.bias_initializer = ours.initializers.Zeros()
    assert [w.path for w in layer.weights] == []
    assert layer(array(2, 5)).shape == (2, 3)
    assert [w.path for w in layer.weights] == ["my_layer/kernel", "my_layer/bias"]


def test_symbolic_inputs_meet_the_same_errors():
    layer = layers.BatchNormalization(name="my_layer")
    with pytest.raises(ShapeError, match=r"my_layer.*a mask of shape \(None, 9\).*\(None, 8\)"):
        layer(ours.Input((9, 4)), mask=ours.Input((8,), dtype="bool"))
    assert not layer.built
    with pytest.raises(ShapeError, match=r"my_layer.*last axis.*\(None, None\)"):
        layers.Dense(3, name="my_layer")(ours.Input((None,)))


def test_layers_inside_a_model_are_named_by_path():
    inner = ours.Sequential([ours.Input((4,)), layers.Softmax(axis=1, name="soft")], name="inner")
    inner.layers[-1].axis = 5
    with pytest.raises(LaminaError, match=r"(?s)axis=5 is out of range.*in layer inner/soft"):
        inner(array(2, 4))


INDICES = np.array([[-1, -3, -4, 0], [2, 3, 1000, -1000]], "int32")


def test_an_index_out_of_range_is_a_row_of_nan_as_in_keras():
    """Down to -input_dim they count from the end; all others are NaN: eagerly, compiled, in NumPy, in each type."""
    table = np.array([[1.0], [2.0], [3.0]], "float32")
    wanted = np.array([[3, 1, np.nan, 1], [3, np.nan, np.nan, np.nan]], "float32")[..., None]
    mine, theirs = (k.layers.Embedding(3, 1, weights=table) for k in (ours, keras))
    spec = lamina.Spec((None, 4), "int32")
    module = lamina.trace(mine, spec)
    meaning = lamina.evaluate(module, INDICES, parameters={p.name: p.key.numpy() for p in module.main.parameters})
    results = [mine(INDICES), lamina.compile(mine, spec)(INDICES), np.reshape(meaning[0], wanted.shape)]
    for got in (*results, theirs(INDICES)):
        np.testing.assert_array_equal(got, wanted)
    for dtype in ("uint8", "int8", "uint32", "float32"):
        given = INDICES.astype(dtype)
        np.testing.assert_array_equal(mine(given), theirs(given))
    with pytest.raises(ArgumentError, match=r"my_layer.*tensor of integers.*'text'"):
        layers.Embedding(3, 1, name="my_layer")("text")


def test_what_is_not_supported_says_so():
    with pytest.raises(UnsupportedError, match="lora_rank=2"):
        layers.Dense(3, lora_rank=2)
    with pytest.raises(ArgumentError, match="synchronized"):
        layers.BatchNormalization(synchronized=True)


def test_spectral_normalization_needs_a_kernel():
    layer = layers.SpectralNormalization(layers.ReLU(), name="my_layer")
    with pytest.raises(ArgumentError, match=r"my_layer.*a weight 'kernel' or 'embeddings', received a ReLU"):
        layer(array(2, 3))
    with pytest.raises(ValueError, match="kernel"):
        keras.layers.SpectralNormalization(keras.layers.ReLU())(array(2, 3))


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda x: ours.ops.matmul(x, np.ones((9, 2), np.float32)), ShapeError),
        (lambda x: x if x[0, 0] > 0 else -x, TracingError),
    ],
)
def test_an_error_inside_a_lambda_is_its_own(function, error):
    with pytest.raises(error, match="lambda"):
        ours.Sequential([ours.Input((4,)), layers.Lambda(function)])
