"""Initializers give Keras's bits; and by meaning: variance, orthogonality, fans."""

import inspect
import random

import jax
import keras
import numpy as np
import pytest

from lamina.frontend import constraints, initializers, regularizers, seed
from lamina.frontend.names import clear_session
from lamina.frontend.saving import deserialize_keras_object, serialize_keras_object
from lamina.ir.errors import ArgumentError, ShapeError

MAKERS = [
    ("Zeros", {}),
    ("Ones", {}),
    ("Constant", {"value": 2.7}),
    ("Constant", {"value": -3}),
    ("RandomNormal", {"mean": 0.5, "stddev": 2.0, "seed": 1}),
    ("TruncatedNormal", {"mean": -1.0, "stddev": 0.3, "seed": 2}),
    ("RandomUniform", {"minval": -2.0, "maxval": 3.0, "seed": 3}),
    ("VarianceScaling", {"seed": 4}),
    ("VarianceScaling", {"scale": 0.1, "mode": "fan_out", "distribution": "uniform", "seed": 5}),
    ("VarianceScaling", {"scale": 3, "mode": "fan_avg", "distribution": "Untruncated_Normal", "seed": 6}),
    ("VarianceScaling", {"distribution": "normal", "seed": 7}),
    ("GlorotUniform", {"seed": 8}),
    ("GlorotNormal", {"seed": 9}),
    ("HeUniform", {"seed": 10}),
    ("HeNormal", {"seed": 11}),
    ("LecunUniform", {"seed": 2**32 - 1}),
    ("LecunNormal", {"seed": 0}),
]
SHAPES = [(), (5,), (3, 4), (4, 0), (3, 3, 2, 5)]
FLOATS = ["float32", "float16", "bfloat16", None]


def both(name, config):
    return getattr(initializers, name)(**config), getattr(keras.initializers, name)(**config)


def assert_same_bits(ours, theirs):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name, config", MAKERS)
def test_bits_are_keras(name, config, dtype):
    ours, theirs = both(name, config)
    for shape in SHAPES:
        assert_same_bits(ours(shape, dtype), theirs(shape, dtype))


@pytest.mark.parametrize("name, config", MAKERS)
def test_float64_is_what_keras_gives_where_jax_has_64_bits(name, config):
    ours, theirs = both(name, config)
    values = ours((3, 4), "float64")
    with jax.enable_x64(True):
        assert_same_bits(values, theirs((3, 4), "float64"))
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("name, config", MAKERS[:4])
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_are_keras(name, config, dtype):
    if config.get("value") == -3 and dtype == "uint8":
        config = {"value": 3}
    ours, theirs = both(name, config)
    assert_same_bits(ours((2, 3), dtype), theirs((2, 3), dtype))


@pytest.mark.parametrize("name, config", [("Identity", {"gain": 1.5}), ("Orthogonal", {"gain": 0.5, "seed": 3})])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (6, 2)])
def test_matrices_are_keras(name, config, shape):
    ours, theirs = both(name, config)
    assert_same_bits(ours(shape), theirs(shape))


def test_orthogonal_of_a_convolution_kernel():
    ours, theirs = both("Orthogonal", {"gain": 2.0, "seed": 5})
    kernel = ours((3, 3, 2, 4), "float32")
    assert_same_bits(kernel, theirs((3, 3, 2, 4), "float32"))
    matrix = np.asarray(kernel).reshape(18, 4)
    # 18 products of float32 and one QR; 1e-5 is some 40 eps of the gain's square.
    np.testing.assert_allclose(matrix.T @ matrix, 4.0 * np.eye(4), atol=1e-5)


@pytest.mark.parametrize("side", ["real", "imag"])
@pytest.mark.parametrize(
    "window, scaling, periodic",
    [
        ("hann", "density", False),
        ("hamming", "spectrum", True),
        (None, None, False),
        (np.arange(8.0) + 1, "density", False),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_stft_is_keras(side, window, scaling, periodic, dtype):
    ours, theirs = both("STFT", {"side": side, "window": window, "scaling": scaling, "periodic": periodic})
    assert_same_bits(ours((8, 1, 5), dtype), theirs((8, 1, 5), dtype))


def test_stft_by_meaning():
    kernel = np.asarray(initializers.STFT("real", window=None)((8, 1, 5)))[:, 0]
    expected = np.fft.rfft(np.eye(8)).real  # row t: the transform of an impulse at time t
    np.testing.assert_allclose(kernel, expected, atol=2e-6)  # float32 angles up to 8 pi: 25 eps


def test_a_seed_generator_gives_other_values_each_time():
    ours, theirs = both("GlorotUniform", {"seed": None})
    ours.seed, theirs.seed = seed.SeedGenerator(7), keras.random.SeedGenerator(7)
    drawn = [ours((2, 3)) for _ in range(3)]
    for values in drawn:
        assert_same_bits(values, theirs((2, 3)))
    assert not np.array_equal(drawn[0], drawn[1])


def test_an_integer_or_no_seed_gives_the_same_values_each_time():
    random.seed(1)
    initializer = initializers.HeNormal()
    np.testing.assert_array_equal(initializer((3,)), initializer((3,)))
    random.seed(1)
    assert initializers.HeNormal().seed == initializer.seed == random.Random(1).randint(1, int(1e9))


def test_variance_is_scale_over_fan():
    values = np.asarray(initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal", seed=1)((100, 400)))
    # 40,000 draws: the standard error of the variance is sqrt(2 / 40,000), 0.7 %; four of them allowed.
    assert values.var() == pytest.approx(2.0 / 100, rel=0.03)


@pytest.mark.parametrize("shape, fans", [((), (1, 1)), ((7,), (7, 7)), ((3, 4), (3, 4)), ((3, 5, 2, 4), (30, 60))])
def test_fans(shape, fans):
    assert initializers.compute_fans(shape) == fans


def test_fans_of_named_axes_are_keras():
    config = {"seed": 1, "input_axes": [0, 1], "output_axes": [2]}
    ours, theirs = both("GlorotUniform", config)
    assert_same_bits(ours((2, 3, 4)), theirs((2, 3, 4)))
    assert ours.get_config() == theirs.get_config()
    assert initializers.compute_fans((2, 3, 4), [0, 1], [2]) == (6, 4)


@pytest.mark.parametrize("name, config", [*MAKERS, ("Orthogonal", {}), ("STFT", {"side": "imag"})])
def test_configs_are_keras(name, config):
    ours, theirs = both(name, config)
    written = serialize_keras_object(ours)
    assert written == keras.saving.serialize_keras_object(theirs) == initializers.serialize(ours)
    again = deserialize_keras_object(written)
    assert type(again) is type(ours) and again.get_config() == ours.get_config()
    assert ours.clone().get_config() == ours.get_config()


def test_identity_keeps_its_gain():
    # Keras leaves the gain out of the config; what we write, it reads.
    written = serialize_keras_object(initializers.Identity(gain=2.0))
    assert written["config"] == {"gain": 2.0}
    for loaded in (deserialize_keras_object(written), keras.saving.deserialize_keras_object(written)):
        np.testing.assert_array_equal(loaded((2, 2)), [[2, 0], [0, 2]])


def test_config_with_a_seed_generator_is_keras():
    ours = initializers.HeUniform(seed=seed.SeedGenerator(3, name="source"))
    theirs = keras.initializers.HeUniform(seed=keras.random.SeedGenerator(3, name="source"))
    written = serialize_keras_object(ours)
    assert written == keras.saving.serialize_keras_object(theirs)
    assert_same_bits(deserialize_keras_object(written)((4,)), theirs((4,)))


def test_constant_array_round_trip():
    again = initializers.deserialize(initializers.serialize(initializers.Constant(np.array([1.5, 2.5]))))
    np.testing.assert_array_equal(again((3, 2)), [[1.5, 2.5]] * 3)


@pytest.mark.parametrize("name", sorted(initializers.ALL_OBJECTS))
def test_every_name_means_keras_class(name):
    found = initializers.get(name)
    expected = keras.src.initializers.ALL_OBJECTS_DICT[name]
    assert type(found).__name__ == expected.__name__
    assert type(initializers.get({"class_name": name, "config": {}})) is type(found)


def test_every_public_name_of_keras_is_there():
    names = {name for name in dir(keras.initializers) if not name.startswith("_")}
    classes = {name for name in names if inspect.isclass(getattr(keras.initializers, name))}
    assert classes <= set(initializers.ALL_OBJECTS)
    assert names <= set(dir(initializers))
    assert initializers.glorot_uniform is initializers.GlorotUniform


@pytest.mark.parametrize("module, theirs", [(regularizers, keras.regularizers), (constraints, keras.constraints)])
def test_every_public_name_of_regularizers_and_constraints_is_there(module, theirs):
    assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(module))
    assert module.get(None) is None


def test_get_takes_what_layers_take():
    assert initializers.get(None) is None
    assert isinstance(initializers.get(initializers.Ones), initializers.Ones)
    ones = initializers.Ones()
    assert initializers.get(ones) is ones
    assert initializers.get(len) is len
    values = initializers.get(np.arange(6.0).reshape(2, 3))
    assert_same_bits(values((2, 3), "float16"), np.arange(6, dtype="float16").reshape(2, 3))
    with pytest.raises(ShapeError, match=r"has shape \(2, 3\), but \(3, 2\) is needed"):
        values((3, 2))


def test_seeds_follow_set_random_seed_as_in_keras():
    keras.utils.set_random_seed(123)
    theirs = [keras.initializers.GlorotUniform()((2, 2)), keras.initializers.RandomNormal()((2, 2))]
    seed.set_random_seed(123)
    ours = [initializers.GlorotUniform()((2, 2)), initializers.RandomNormal()((2, 2))]
    for one, other in zip(ours, theirs):
        assert_same_bits(one, other)


def test_errors_say_what_to_do():
    with pytest.raises(ArgumentError, match="did you mean 'glorot_uniform'"):
        initializers.get("glorot_unifrom")
    with pytest.raises(ArgumentError, match="3 is no initializer: expected a name such as"):
        initializers.get(3)
    with pytest.raises(ArgumentError, match="scale must be positive, got -1"):
        initializers.VarianceScaling(-1)
    with pytest.raises(ArgumentError, match="'fan'"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ArgumentError, match="'cauchy'"):
        initializers.VarianceScaling(distribution="cauchy")
    with pytest.raises(ArgumentError, match="seed must be an integer, a SeedGenerator or None, got 'x'"):
        initializers.GlorotUniform(seed="x")
    with pytest.raises(ShapeError, match="two dims"):
        initializers.Identity()((3,))
    with pytest.raises(ShapeError, match="two dims or more"):
        initializers.Orthogonal()((3,))
    with pytest.raises(ArgumentError, match="no window 'square'"):
        initializers.STFT(window="square")
    with pytest.raises(TypeError, match="Initializer must define __call__"):
        initializers.Initializer()((3,))


def test_names_of_generators():
    clear_session(free_memory=False)
    assert [seed.SeedGenerator(1).name for _ in range(2)] == ["seed_generator", "seed_generator_1"]
