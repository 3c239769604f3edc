"""Random functions and seed generators give Keras's bits."""

import random
import threading

import jax
import keras
import numpy as np
import pytest

from lamina.frontend import names, random_eager, seed
from lamina.frontend.saving import deserialize_keras_object, serialize_keras_object
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError

FLOATS = ["float32", "float16", "bfloat16", None]
SHAPES = [(), (7,), (3, 0), (2, 3, 4)]


def assert_same_bits(ours, theirs):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("normal", {}),
        ("normal", {"mean": 3.0, "stddev": 0.1}),
        ("truncated_normal", {"mean": -2.0, "stddev": 5.0}),
        ("uniform", {}),
        ("uniform", {"minval": -3, "maxval": 7.5}),
        ("gamma", {"alpha": 0.3}),
        ("beta", {"alpha": 0.5, "beta": 2.0}),
        ("binomial", {"counts": 9.0, "probabilities": 0.3}),
    ],
)
def test_floats_are_keras(name, arguments, dtype):
    slow = name in ("gamma", "beta", "binomial")  # seconds of compilation for each shape
    for number, shape in enumerate(SHAPES[1:2] if slow else SHAPES):
        key = seed.draw_seed(number)
        ours = getattr(random_eager, name)(key, shape, dtype=dtype, **arguments)
        assert_same_bits(ours, getattr(keras.random, name)(shape, dtype=dtype, seed=number, **arguments))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
def test_integers_are_keras(dtype):
    ours = random_eager.randint(seed.draw_seed(5), (50,), 3, 100, dtype)
    assert_same_bits(ours, keras.random.randint((50,), 3, 100, dtype, seed=5))
    assert int(ours.min()) >= 3 and int(ours.max()) < 100


@pytest.mark.parametrize("name, arguments", [("normal", {}), ("uniform", {}), ("truncated_normal", {"mean": 1.0})])
def test_float64_is_what_keras_gives_where_jax_has_64_bits(name, arguments):
    ours = getattr(random_eager, name)(seed.draw_seed(3), (5,), dtype="float64", **arguments)
    with jax.enable_x64(True):
        assert_same_bits(ours, getattr(keras.random, name)((5,), dtype="float64", seed=3, **arguments))
    assert ours.dtype == "float64" and not jax.config.jax_enable_x64


def test_int64():
    ours = random_eager.randint(seed.draw_seed(3), (5,), 2**40, 2**41, "int64")
    with jax.enable_x64(True):
        assert_same_bits(ours, keras.random.randint((5,), 2**40, 2**41, "int64", seed=3))


def test_parameters_may_be_arrays():
    alpha, counts = np.array([[0.5], [2.0]], "float32"), np.array([3.0, 9.0, 20.0], "float32")
    key = seed.draw_seed(2)
    assert_same_bits(random_eager.beta(key, (2, 3), alpha, counts), keras.random.beta((2, 3), alpha, counts, seed=2))
    ours = random_eager.binomial(key, (2, 3), counts, [[0.1], [0.9]])
    assert_same_bits(ours, keras.random.binomial((2, 3), counts, [[0.1], [0.9]], seed=2))


@pytest.mark.parametrize("dtype", ["int32", "int8", "float32"])
def test_categorical_is_keras(dtype):
    logits = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 1e-9]], "float32"))
    ours = random_eager.categorical(seed.draw_seed(4), logits, 20, dtype)
    assert_same_bits(ours, keras.random.categorical(logits, 20, dtype, seed=4))
    assert set(np.asarray(ours[1]).tolist()) == {0, 1}  # the third has a probability of 1e-9


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_shuffle_is_keras(axis):
    x = np.arange(24).reshape(4, 6).astype("int32")
    ours = random_eager.shuffle(seed.draw_seed(6), x, axis)
    assert_same_bits(ours, keras.random.shuffle(x, axis, seed=6))
    np.testing.assert_array_equal(np.sort(ours, axis), x)


@pytest.mark.parametrize("given", [0, 7, 2**31, 2**32 - 1])
def test_integer_seeds_are_keras(given):
    theirs = keras.src.random.seed_generator.draw_seed(given)
    assert_same_bits(seed.draw_seed(given), theirs)
    assert_same_bits(seed.draw_seed(np.uint32(given)), theirs)


def test_generator_is_keras():
    ours, theirs = seed.SeedGenerator(11), keras.random.SeedGenerator(11)
    for ordered in (True, True, False, False, True):
        assert_same_bits(ours.next(ordered), theirs.next(ordered))
    assert_same_bits(ours.state.value, theirs.state.value)
    assert (tuple(ours.state.shape), ours.state.dtype, ours.state.trainable) == ((2,), "uint32", False)
    assert ours.state.path == f"{ours.name}/seed_generator_state"


def test_global_generator_is_keras():
    keras.utils.set_random_seed(9)
    theirs = [keras.random.normal((3,)) for _ in range(3)]
    seed.set_random_seed(9)
    for values in theirs:
        assert_same_bits(random_eager.normal(seed.draw_seed(None), (3,)), values)


def test_set_random_seed_fixes_everything():
    def draw():
        seed.set_random_seed(5)
        return random.random(), float(np.random.random()), np.asarray(seed.draw_seed(None)).tolist()

    assert draw() == draw()


def test_clear_session_makes_the_global_generator_anew():
    first = seed.global_seed_generator()
    assert seed.global_seed_generator() is first
    names.clear_session(free_memory=False)
    assert seed.global_seed_generator() is not first


def test_generator_config_is_keras():
    ours, theirs = seed.SeedGenerator(3, name="source"), keras.random.SeedGenerator(3, name="source")
    written = serialize_keras_object(ours)
    assert written == keras.saving.serialize_keras_object(theirs)
    assert_same_bits(deserialize_keras_object(written).next(), theirs.next())


def test_a_key_is_its_own_seed():
    key = seed.draw_seed(3)
    assert seed.draw_seed(key) is key


def test_threads_never_draw_the_same_seed():
    generator, drawn = seed.SeedGenerator(1), []

    def draw():
        for _ in range(50):
            drawn.append(tuple(np.asarray(generator.next()).tolist()))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 200


@pytest.mark.parametrize("given", [-1, 2**32])
def test_seed_out_of_range(given):
    with pytest.raises(ArgumentError, match=r"from 0 to 2\*\*32 - 1, got"):
        seed.draw_seed(given)
    with pytest.raises(ArgumentError, match=r"from 0 to 2\*\*32 - 1, got"):
        seed.SeedGenerator(given)


def test_errors_say_what_is_wrong():
    key = seed.draw_seed(1)
    with pytest.raises(ArgumentError, match="an integer, a SeedGenerator or None, got 'x'"):
        seed.draw_seed("x")
    with pytest.raises(ArgumentError, match=r"integer or None, got 1\.5"):
        seed.SeedGenerator(1.5)
    with pytest.raises(ArgumentError, match="got '5'"):
        seed.set_random_seed("5")
    with pytest.raises(DTypeError, match=r"uniform makes floats: dtype must be one of .*, got 'int32'"):
        random_eager.uniform(key, (2,), dtype="int32")
    with pytest.raises(DTypeError, match="randint makes integers"):
        random_eager.randint(key, (2,), 0, 5, "float32")
    with pytest.raises(ShapeError, match="a tuple of integers, got 3"):
        random_eager.normal(key, 3)
    with pytest.raises(ShapeError, match=r"no negative dims"):
        random_eager.normal(key, (2, -1))
    with pytest.raises(ShapeError, match=r"must have shape \(batch, classes\), got \(3,\)"):
        random_eager.categorical(key, np.zeros(3), 2)
