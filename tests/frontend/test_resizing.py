"""Resizing in layers and ops: symbolic sizes from one trace, the exact nearest element, integers, dicts, mistakes."""

import keras as real
import numpy as np
import pytest

import lamina
from lamina import Spec, ops
from lamina import keras as ours
from lamina.ir.errors import ArgumentError, ShapeError, UnsupportedError

METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
# Weights are rounded to float32, and sums of up to 10 x 10 terms taken in another order: some units of 6e-8.
CLOSE = {"rtol": 0, "atol": 2e-5}


def array(*shape, dtype="float32", low=-2, high=2):
    return np.random.default_rng(0).uniform(low, high, shape).astype(dtype)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("method", METHODS)
def test_up_sampling_of_any_size_is_one_trace(method, layout):
    options = {"size": (2, 3), "interpolation": method, "data_format": layout}
    last = layout == "channels_last"
    open_shape = ("N", "H", "W", 3) if last else ("N", 3, "H", "W")
    compiled = lamina.compile(ours.layers.UpSampling2D(**options), Spec(open_shape))
    theirs = real.layers.UpSampling2D(**options)
    for n, h, w in ((1, 5, 4), (2, 3, 8)):
        x = array(*((n, h, w, 3) if last else (n, 3, h, w)))
        np.testing.assert_allclose(np.asarray(compiled(x)), np.asarray(theirs(x)), **CLOSE)


@pytest.mark.parametrize("method", METHODS)
def test_symbolic_sizes_to_a_known_one_are_one_trace(method):
    module = lamina.trace(lambda x: ops.image.resize(x, (6, 7), method, antialias=True), Spec((None, "H", "W", 2)))
    assert [node.op.name for node in module.main.nodes] == ["resize"]
    for h, w in ((3, 9), (12, 7)):
        x = array(2, h, w, 2)
        (got,), _ = lamina.evaluate(module, x)
        np.testing.assert_allclose(got, np.asarray(real.ops.image.resize(x, (6, 7), method, antialias=True)), **CLOSE)


@pytest.mark.parametrize(("size", "target"), [(14, 49), (82, 41), (5, 15), (15, 5), (7, 3), (3, 7), (9, 1), (49, 14)])
def test_the_nearest_element_is_exact(size, target):
    """Between two elements it is the later one: floor((j + 1/2) * size / target) without rounding.

    JAX computes that in float32, where XLA's division rounds 49/49 below 1: its own result is another for 14 to 49 and
    82 to 41.
    """
    places = (2 * np.arange(target) + 1) * size // (2 * target)
    x = np.arange(size, dtype=np.float32).reshape(1, size, 1, 1)
    got = np.asarray(ops.image.resize(x, (target, 1), "nearest"))
    np.testing.assert_array_equal(got.ravel(), places)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "bfloat16"])
@pytest.mark.parametrize("layer", ["Resizing", "CenterCrop"])
def test_eager_calls_give_keras_types(layer, dtype):
    x = array(1, 5, 4, 3, low=0, high=99).astype("float32" if dtype == "bfloat16" else dtype)
    x = real.ops.cast(x, dtype)
    mine, theirs = (np.asarray(getattr(k.layers, layer)(3, 6)(x)) for k in (ours, real))
    assert mine.dtype == theirs.dtype
    # An integer halfway between two may be rounded either way.
    np.testing.assert_allclose(mine.astype("float32"), theirs.astype("float32"), rtol=2**-8, atol=1)


def test_images_masks_and_labels_in_a_dict():
    images, masks, labels = array(2, 4, 6, 3), np.arange(48, dtype="float32").reshape(2, 4, 6, 1), np.arange(2)
    given = {"images": images, "segmentation_masks": masks, "labels": labels}
    mine = ours.layers.Resizing(2, 9)(dict(given))
    theirs = real.layers.Resizing(2, 9)(dict(given))
    assert mine.keys() == theirs.keys()
    for name in given:
        np.testing.assert_allclose(np.asarray(mine[name]), np.asarray(theirs[name]), **CLOSE)


def test_a_single_image_is_cropped_without_a_batch():
    x = array(5, 6, 2)
    for size in ((3, 4), (7, 4)):
        mine, theirs = (np.asarray(k.layers.CenterCrop(*size)(x)) for k in (ours, real))
        np.testing.assert_allclose(mine, theirs, **CLOSE)


MISTAKES = [
    (lambda x: ours.layers.UpSampling2D(2, interpolation="cubic"), ArgumentError, "interpolation.*'cubic'"),
    (lambda x: ours.layers.UpSampling1D(0), ArgumentError, "size.*positive integer.*size=0"),
    (lambda x: ours.layers.Resizing(0, 3), ArgumentError, "height.*height=0"),
    (lambda x: ours.layers.Resizing(3, 3, fill_mode="wrap"), ArgumentError, "fill_mode.*'wrap'"),
    (lambda x: ours.layers.Resizing(3, 3)({"images": x, "bounding_boxes": x}), UnsupportedError, "bounding boxes"),
    (lambda x: ours.layers.AdaptiveMaxPooling2D((2, 0)), ArgumentError, r"output_size=\(2, 0\)"),
    (
        lambda x: ours.layers.AdaptiveAveragePooling1D(2)(ours.Input((None, 3))),
        ShapeError,
        "each spatial size must be known",
    ),
    (lambda x: ops.image.resize(x, (0, 3)), ArgumentError, r"size as \(height, width\)"),
    (lambda x: ops.image.resize(x[:, :0], (2, 3)), ShapeError, "no elements to make 2 of"),
    (lambda x: ops.image.resize(x[0, 0], (2, 3)), ShapeError, "rank 3.*rank 4"),
    (
        lambda x: lamina.trace(
            lambda y: ops.image.resize(y, (2, 3), crop_to_aspect_ratio=True), Spec((1, "H", "W", 3))
        ),
        ShapeError,
        "must be a known integer",
    ),
]


@pytest.mark.parametrize(("attempt", "error", "message"), MISTAKES, ids=[m[2][:30] for m in MISTAKES])
def test_mistakes_are_explained(attempt, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        attempt(array(1, 4, 5, 3))
