"""keras.ops.nn, linalg and Fourier transforms: every op against real Keras, by rows; symbolic sizes; mistakes."""

import keras as real
import numpy as np
import pytest
from ops_parity import Row, array, assert_same, check, meaning, row, with_eager

import lamina
from lamina import Spec, ops
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError

x23, x234 = array(2, 3), array(2, 3, 4)
special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 20.0, -20.0, 0.5], "float32")
NARROW = ("float16", "bfloat16")
PLAIN = (
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "swish",
    "softplus",
    "softsign",
    "log_sigmoid",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "tanh_shrink",
    "sparse_plus",
    "sparse_sigmoid",
    "selu",
    "elu",
    "celu",
    "gelu",
    "leaky_relu",
    "soft_shrink",
    "hard_shrink",
    "squareplus",
)

ACTIVATIONS = [
    *(row(n, x234) for n in PLAIN),
    *(row(n, array(2, 3, dtype=d)) for n in PLAIN for d in NARROW),
    *(row(n, special) for n in PLAIN if n not in ("squareplus", "tanh_shrink", "softsign", "sparse_plus")),
    row("gelu", x23, approximate=False),
    row("elu", x23, alpha=0.5),
    row("celu", x23, alpha=2.0),
    row("leaky_relu", x23, negative_slope=0.1),
    row("threshold", x23, 0.5, -1.0),
    row("soft_shrink", x23, threshold=1.0),
    row("hard_shrink", x23, 1.0),
    row("squareplus", x23, b=2),
    row("glu", x234),
    row("glu", array(2, 4), axis=1),
    row("softmax", x234),
    row("softmax", x234, axis=1),
    row("softmax", x234, axis=(0, 2)),
    row("softmax", x234, axis=None),
    row("log_softmax", x234),
    row("log_softmax", x234, axis=(1, 2)),
    row("sparsemax", x23),
    row("sparsemax", x234, axis=1),
    *(row(n, array(3, 5, dtype=d)) for n in ("softmax", "log_softmax") for d in NARROW),
    row("softmax", special[3:]),
    row("relu", array(3, dtype="int32")),
    row("polar", array(3, low=0), array(3)),
]

image, image3 = array(2, 7, 8, 4), array(1, 4, 5, 6, 2)
CONVOLUTIONS = [
    *(
        row("conv", image, array(3, 2, 4, 6), strides=s, padding=p, dilation_rate=d)
        for s, p, d in ((1, "valid", 1), (2, "same", 1), ((1, 2), "valid", 1), (1, "same", 2))
    ),
    row("conv", array(2, 9, 3), array(4, 3, 5), strides=2, padding="same"),
    row("conv", image3, array(2, 2, 3, 2, 3), padding="same"),
    row("conv", image, array(3, 3, 2, 6), padding="same"),
    row("conv", image.transpose(0, 3, 1, 2).copy(), array(3, 2, 4, 6), 2, "same", data_format="channels_first"),
    row("conv", array(1, 5, 5, 2, dtype="float16"), array(3, 3, 2, 2, dtype="float16")),
    row("depthwise_conv", image, array(3, 3, 4, 2), padding="same"),
    row("depthwise_conv", image, array(2, 2, 4, 1), strides=2),
    row("depthwise_conv", image.transpose(0, 3, 1, 2).copy(), array(3, 3, 4, 2), data_format="channels_first"),
    row("separable_conv", image, array(3, 3, 4, 2), array(1, 1, 8, 5), padding="same"),
    *(
        row("conv_transpose", image, array(k, k, 3, 4), strides=s, padding=p, output_padding=o, dilation_rate=d)
        for k, s, p, o, d in (
            (3, 1, "valid", None, 1),
            (3, 2, "same", None, 1),
            (2, 3, "valid", None, 1),
            (3, 2, "same", 1, 1),
            (4, 2, "same", None, 1),
            (3, 1, "same", None, 2),
        )
    ),
    row("conv_transpose", array(2, 5, 3), array(3, 2, 3), strides=2, padding="same"),
    row(
        "conv_transpose",
        image.transpose(0, 3, 1, 2).copy(),
        array(3, 3, 3, 4),
        strides=2,
        padding="valid",
        data_format="channels_first",
    ),
    *(row(n, image, 2, strides=2, padding=p) for n in ("max_pool", "average_pool") for p in ("valid", "same")),
    *(row(n, image, (3, 2), strides=(2, 1), padding="same") for n in ("max_pool", "average_pool")),
    *(
        row(n, image.transpose(0, 3, 1, 2).copy(), 2, 2, data_format="channels_first")
        for n in ("max_pool", "average_pool")
    ),
    row("max_pool", array(2, 7, 3), 3, 2),
    row("average_pool", image3, 2, 2, padding="same"),
    row("average_pool", array(1, 4, 4, 1, dtype="float16"), 2, 2),
    *(row(n, image, (2, 4)) for n in ("adaptive_average_pool", "adaptive_max_pool")),
    row("adaptive_average_pool", array(2, 8, 3), 3),
    row("adaptive_max_pool", array(2, 3, 5, 5), 2, data_format="channels_first"),
    row("unfold", array(1, 2, 5, 6), 2),
    row("unfold", array(1, 2, 5, 6), (2, 3), 1, 1, 2),
    row("fold", array(1, 8, 12), (4, 5), 2),
    row("fold", array(2, 12, 9), (4, 5), (2, 3), padding=1, stride=2),
    row("extract_sequences", array(2, 11), 4, 3),
]

scores, classes = array(4, 5), np.array([0, 4, 2, 1], "int32")
probabilities = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
targets = np.eye(5, dtype="float32")[classes]
q, k, v = array(2, 3, 4, 5), array(2, 6, 4, 5, seed=1), array(2, 6, 4, 5, seed=2)
NETWORKS = [
    row("batch_normalization", image, array(4), array(4, low=0.5, seed=1), -1),
    row("batch_normalization", image, array(4), array(4, low=0.5), 3, array(4), array(4, seed=2), 1e-5),
    row("batch_normalization", image, array(7), array(7, low=0.5), 1, scale=array(7)),
    row("layer_normalization", x234),
    row("layer_normalization", x234, array(4), array(4, seed=1)),
    row("layer_normalization", x234, array(3, 4), array(3, 4, seed=1), axis=(1, 2), epsilon=1e-3),
    row("layer_normalization", x234, array(3), axis=1),
    row("layer_normalization", array(4, 8, dtype="float16")),
    row("rms_normalization", x234),
    row("rms_normalization", x234, array(4)),
    row("rms_normalization", x234, axis=(1, 2)),
    row("normalize", x234),
    row("normalize", x234, axis=0),
    row("normalize", x234, order=1),
    row("normalize", x234, order=3),
    row("normalize", np.zeros((2, 2), "float32")),
    row("one_hot", classes, 5),
    row("one_hot", np.array([[1, -1], [7, 0]], "int32"), 3, axis=1),
    row("one_hot", classes, 5, dtype="int32"),
    row("multi_hot", np.array([[0, 2], [1, 1]], "int32"), 4),
    row("multi_hot", classes, 5),
    row("binary_crossentropy", targets, probabilities),
    row("binary_crossentropy", targets, scores, from_logits=True),
    row("categorical_crossentropy", targets, probabilities),
    row("categorical_crossentropy", targets, scores, from_logits=True),
    row("categorical_crossentropy", targets.T.copy(), probabilities.T.copy(), axis=0),
    row("sparse_categorical_crossentropy", classes, probabilities),
    row("sparse_categorical_crossentropy", classes[:, None], scores, from_logits=True),
    row("psnr", x23, x23 + 0.1, 3.0),
    row("dot_product_attention", q, k, v),
    row("dot_product_attention", q, k, v, scale=0.3),
    row("dot_product_attention", k, k, v, is_causal=True),
    row("dot_product_attention", q, k, v, bias=array(2, 1, 3, 6)),
    row("dot_product_attention", q, k, v, mask=array(2, 1, 3, 6, dtype="bool")),
    row("dot_product_attention", q, k[:, :, :2].copy(), v[:, :, :2].copy()),
    row("dot_product_attention", *(t.astype("float16") for t in (q, k, v))),
    row("cdist", x23, array(4, 3)),
    row("segment_sum", x23, np.array([1, 0], "int32"), 3),
    row("segment_max", x234, np.array([1, 1], "int32"), 2),
    row("segment_min", x23, np.array([0, 5], "int32"), 2),
    row("segment_prod", x23, np.array([0, -1], "int32"), 2),
    row("segment_sum", array(4, dtype="int32"), np.array([0, 0, 2, 2], "int32"), 3, sorted=True),
]

labels = np.array([[1, 2, 2], [3, 1, 0]], "int32")
speech = array(2, 7, 5)
NETWORKS += [
    row("ctc_loss", labels, speech, np.array([3, 2], "int32"), np.array([7, 5], "int32")),
    row("ctc_loss", labels, speech, np.array([1, 2], "int32"), np.array([7, 7], "int32"), mask_index=4),
    row("ctc_decode", speech, np.array([7, 5], "int32")),
    row("ctc_decode", speech, np.array([7, 5], "int32"), merge_repeated=False, mask_index=2),
]

square = array(4, 4) + 4 * np.eye(4, dtype="float32")
spd = (square @ square.T).astype("float32")
batch = array(2, 3, 3) + np.float32([[0, 4, 0], [0, 0, 4], [4, 0, 0]])
signal = array(2, 32)
LINALG = [
    row("cholesky", spd),
    row("cholesky", spd, upper=True),
    row("cholesky_inverse", np.linalg.cholesky(spd)),
    row("solve_triangular", np.triu(square), array(4, 2)),
    row("solve_triangular", np.tril(square), array(4), lower=True),
    row("qr", array(5, 3), units=4),
    row("qr", array(3, 5), mode="complete", units=4),
    row("det", square),
    row("det", batch, units=4),
    row("slogdet", batch),
    row("logdet", spd),
    row("solve", square, array(4, 2)),
    row("solve", batch, array(2, 3, 1), units=4),
    row("inv", batch, units=4),
    row("inv", square),
    row("lu_factor", batch[0], units=4),
    *(row("norm", x23, ord=o) for o in (None, "fro", 1, -1, np.inf, -np.inf)),
    *(row("norm", x234, ord=o, axis=1) for o in (None, 0, 1, 2, 3, np.inf, -np.inf)),
    row("norm", x234),
    row("norm", x234, axis=(0, 2), keepdims=True),
    row("norm", x234, ord=1, axis=(2, 0)),
    row("norm", array(3, dtype="int32")),
    row("fft", (signal, array(2, 32, seed=1))),
    row("fft2", (array(3, 4), array(3, 4, seed=1))),
    row("ifft2", (array(3, 4), array(3, 4, seed=1))),
    row("rfft", signal),
    row("rfft", signal, 20),
    row("rfft", signal, 40),
    row("irfft", (array(2, 9), array(2, 9, seed=1))),
    row("irfft", (array(2, 9), array(2, 9, seed=1)), 12),
    row("stft", signal, 8, 4, 8),
    row("stft", signal, 8, 4, 16, window="hamming"),
    row("stft", signal, 8, 3, 8, window=None, center=False),
    row("istft", (array(2, 9, 5), array(2, 9, 5, seed=1)), 8, 4, 8),
    row("istft", (array(2, 9, 5), array(2, 9, 5, seed=1)), 8, 2, 8, length=14),
    row("view_as_complex", array(3, 2)),
    row("view_as_real", array(3, dtype="complex64")),
]

picture = array(2, 4, 5, 3, low=0, high=1)
first = picture.transpose(0, 3, 1, 2).copy()
IMAGES = [
    *(
        row("image.resize", picture, size, m, antialias=a)
        for m in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
        for size, a in (((3, 7), False), ((2, 3), True))
    ),
    row("image.resize", first, (6, 5), data_format="channels_first"),
    row("image.resize", picture[0], (6, 6), crop_to_aspect_ratio=True),
    row("image.resize", picture, (6, 6), pad_to_aspect_ratio=True, fill_value=2.0),
    *(row("image.resize", array(1, 4, 5, 3, dtype=d, low=0, high=99), (3, 7)) for d in ("uint8", "int32", "float16")),
    row("image.rgb_to_grayscale", picture),
    row("image.rgb_to_grayscale", first, data_format="channels_first"),
    row("image.rgb_to_grayscale", array(2, 2, 3, dtype="uint8", low=0, high=255)),
    row("image.rgb_to_hsv", picture),
    row("image.rgb_to_hsv", first, data_format="channels_first"),
    row("image.rgb_to_hsv", np.float32([[[0, 0, 0], [1, 1, 1], [0.5, 0, 0.5]]])),
    row("image.hsv_to_rgb", picture),
    row("image.pad_images", picture, 1, 2, 3, 4),
    row("image.pad_images", picture, 1, 2, target_height=9, target_width=8),
    row("image.crop_images", picture, 1, 1, 1, 2),
    row(
        "image.crop_images",
        first,
        bottom_cropping=1,
        left_cropping=1,
        target_height=2,
        target_width=3,
        data_format="channels_first",
    ),
    row("image.extract_patches", picture, 2),
    row("image.extract_patches", picture, (2, 3), strides=1, padding="same"),
    row("image.extract_patches_3d", array(1, 4, 4, 4, 2), 2),
]

ROWS = [*ACTIVATIONS, *CONVOLUTIONS, *NETWORKS, *LINALG, *IMAGES]


@pytest.mark.parametrize(("case", "eager"), with_eager(ROWS), ids=[str(r) for r in ROWS])
def test_like_keras(case: Row, eager):
    check(case, eager)


SYMBOLIC = {
    "conv same": lambda x: ops.conv(x, np.ones((3, 3, 2, 3), "float32"), padding="same"),
    "conv valid": lambda x: ops.conv(x, np.ones((3, 2, 2, 3), "float32"), strides=2),
    "conv same by 2": lambda x: ops.conv(x, np.ones((3, 3, 2, 3), "float32"), strides=2, padding="same"),
    "conv_transpose": lambda x: ops.conv_transpose(x, np.ones((3, 3, 3, 2), "float32"), strides=2, padding="same"),
    "max_pool": lambda x: ops.max_pool(x, 2),
    "average_pool": lambda x: ops.average_pool(x, 2, padding="same"),
    "layer_normalization": lambda x: ops.layer_normalization(x, np.ones(2, "float32"), np.ones(2, "float32")),
    "softmax": lambda x: ops.softmax(x, axis=(1, 2)),
    "attention": lambda x: ops.dot_product_attention(x, x, x, is_causal=True),
    "crossentropy": lambda x: ops.sparse_categorical_crossentropy(ops.argmax(x, -1), x, from_logits=True),
    "normalize": lambda x: ops.normalize(x, axis=1),
    "rfft": lambda x: ops.rfft(x[:, :, 0, 0]),
    "unfold": lambda x: ops.unfold(ops.transpose(x, (0, 3, 1, 2)), 2),
    "extract_sequences": lambda x: ops.extract_sequences(x[:, :, 0, 0], 3, 2),
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_symbolic_sizes_are_traced_once(name):
    function = SYMBOLIC[name]
    module = lamina.trace(function, Spec(("N", "H", "W", 2)))
    for shape in ((1, 5, 6, 2), (3, 8, 4, 2)):
        x = array(*shape)
        outputs, _ = lamina.evaluate(module, x)
        assert_same(outputs, meaning(function, x), what=f"{name} at {shape}")


def test_graphs_keep_the_composites():
    module = lamina.trace(lambda x: ops.gelu(ops.layer_normalization(ops.softmax(x))), Spec((None, 4)))
    assert [n.op.name for n in module.main.nodes] == ["softmax", "layer_norm", "gelu"]


MISTAKES = [
    (
        lambda x: ops.conv(x, np.ones((3, 3, 3, 3), "float32")),
        ShapeError,
        "conv: the kernel's input channels must divide",
    ),
    (lambda x: ops.conv(x, np.ones((3, 3), "float32")), ShapeError, "conv: expected a kernel of rank 4"),
    (lambda x: ops.conv(x, np.ones((9, 9, 2, 3), "float32")), ShapeError, "conv: a kernel of extent 9.*does not fit"),
    (lambda x: ops.conv(x, np.ones((3, 3, 2, 3), "float32"), padding="full"), ArgumentError, "conv: expected padding"),
    (lambda x: ops.max_pool(x, (2, 2, 2)), ArgumentError, "max_pool: expected pool_size"),
    (
        lambda x: ops.depthwise_conv(x, np.ones((3, 3, 5, 1), "float32")),
        ShapeError,
        "depthwise_conv: the kernel.*for 5 channels",
    ),
    (lambda x: ops.layer_normalization(x, np.ones(3, "float32")), ShapeError, "layer_normalization: weights for axes"),
    (lambda x: ops.softmax(x, axis=7), ShapeError, "axis=7 is out of range"),
    (lambda x: ops.categorical_crossentropy(x, x[..., :1]), ShapeError, "categorical_crossentropy: target and output"),
    (lambda x: ops.dot_product_attention(x[0], x, x), ShapeError, "expected query of shape"),
    (lambda x: ops.cholesky(x[0, 0]), ShapeError, "cholesky: matrices must be square"),
    (lambda x: ops.fft((x, x[0])), ShapeError, "fft: real and imaginary parts"),
    (lambda x: ops.softmax(x > 0), DTypeError, "softmax: expected numbers"),
    (lambda x: ops.norm(x, ord=2), ArgumentError, "norm: ord=2 is not supported for 4 axes"),
    (lambda x: ops.image.resize(x, (2, 2), "cubic"), ArgumentError, "resize: expected interpolation"),
    (lambda x: ops.image.pad_images(x, 1, 1), ArgumentError, "pad_images: give exactly two of top_padding"),
    (lambda x: ops.multi_hot(x), ArgumentError, "multi_hot: expected num_classes"),
]


@pytest.mark.parametrize(("function", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_are_explained(function, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        lamina.trace(function, Spec((1, 5, 4, 2)))


def test_every_name_is_kerass():
    own = {"divmod", "mish"}
    assert set(ops.__all__) - own <= set(dir(real.ops))
