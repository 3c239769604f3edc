"""Element types: their names, promotion compared with Keras over all pairs and triples, and dtype policies."""

import itertools

import jax.numpy as jnp
import keras
import ml_dtypes
import numpy as np
import pytest

from lamina.frontend import dtypes
from lamina.frontend.names import clear_session
from lamina.frontend.saving import deserialize_keras_object, serialize_keras_object
from lamina.ir.errors import ArgumentError, DTypeError

OPERANDS = [*dtypes.ALLOWED_DTYPES, None, int, float, bool, complex]


@pytest.fixture(autouse=True)
def _defaults():
    yield
    dtypes.set_floatx("float32")
    dtypes.set_epsilon(1e-7)
    dtypes.set_image_data_format("channels_last")
    clear_session(free_memory=False)
    keras.config.set_floatx("float32")


def outcome(function, *args):
    try:
        return function(*args)
    except ValueError:
        return "refused"


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("floatx", ["float32", "float16", "bfloat16", "float64"])
def test_promotion_is_keras(count, floatx):
    keras.config.set_floatx(floatx)
    dtypes.set_floatx(floatx)
    operands = itertools.product(OPERANDS, repeat=count)
    wrong = [
        args for args in operands if outcome(dtypes.result_type, *args) != outcome(keras.backend.result_type, *args)
    ]
    assert wrong == []


def test_promotion_by_meaning():
    assert dtypes.result_type("int32", "float16") == "float16"
    assert dtypes.result_type("int8", "uint8") == "int16"
    assert dtypes.result_type("uint8", int) == "uint8"  # a Python number takes the array's type
    assert dtypes.result_type("int32", float) == "float32"
    assert dtypes.result_type("bfloat16", "float16") == "float32"
    assert dtypes.result_type("float64", "int64") == "float32"  # never 64 bits


def test_float8_says_to_cast():
    with pytest.raises(ArgumentError, match="cast it first"):
        dtypes.result_type("float8_e4m3fn", "float32")


class Tf:
    name = "bfloat16"


class Torch:
    def __repr__(self):
        return "torch.float16"


@pytest.mark.parametrize(
    "given, name",
    [
        (np.float32, "float32"),
        (np.dtype("int8"), "int8"),
        (np.bool_, "bool"),
        (jnp.bfloat16, "bfloat16"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (np.dtype(ml_dtypes.float8_e5m2), "float8_e5m2"),
        (jnp.zeros(1, "uint8").dtype, "uint8"),
        (Tf(), "bfloat16"),
        (Torch(), "float16"),
        (int, "int32"),
        (float, "float32"),
        (bool, "bool"),
        (complex, "complex64"),
        (str, "string"),
        ("int", "int32"),
        (None, "float32"),
        *((name, name) for name in dtypes.ALLOWED_DTYPES),
    ],
)
def test_names(given, name):
    assert dtypes.standardize_dtype(given) == name
    assert keras.backend.standardize_dtype(given) == name


@pytest.mark.parametrize("given", ["float31", "float", 3, [], {}, object(), "torch.float32x", b"float32", np.void])
def test_no_type(given):
    with pytest.raises(ArgumentError, match="is not an element type; known types: bool, "):
        dtypes.standardize_dtype(given)


@pytest.mark.parametrize("name", dtypes.ALLOWED_DTYPES)
def test_kinds_are_keras(name):
    assert dtypes.is_float(name) == keras.backend.is_float_dtype(name)
    assert dtypes.is_int(name) == keras.backend.is_int_dtype(name)


def test_settings():
    dtypes.set_floatx("float16")
    dtypes.set_epsilon(1e-3)
    dtypes.set_image_data_format("Channels_First")
    assert (dtypes.floatx(), dtypes.epsilon(), dtypes.image_data_format()) == ("float16", 1e-3, "channels_first")
    assert dtypes.standardize_dtype(None) == "float16"
    with pytest.raises(ArgumentError, match="'int32'"):
        dtypes.set_floatx("int32")
    with pytest.raises(ArgumentError, match="'nchw'"):
        dtypes.set_image_data_format("nchw")


@pytest.mark.parametrize(
    "name", ["float32", "float16", "bfloat16", "float64", "int8", "mixed_float16", "mixed_bfloat16"]
)
def test_policy_is_keras(name):
    ours, theirs = dtypes.DTypePolicy(name), keras.DTypePolicy(name)
    assert (ours.name, ours.compute_dtype, ours.variable_dtype) == (
        theirs.name,
        theirs.compute_dtype,
        theirs.variable_dtype,
    )
    assert repr(ours) == repr(theirs)
    assert serialize_keras_object(ours) == keras.saving.serialize_keras_object(theirs)
    assert deserialize_keras_object(serialize_keras_object(ours)) == ours
    assert ours == dtypes.FloatDTypePolicy(name) and hash(ours) == hash(dtypes.FloatDTypePolicy(name))
    assert ours != name


def test_policy_of_a_layer_argument():
    mixed = dtypes.DTypePolicy("mixed_float16")
    assert dtypes.get_policy(mixed) is mixed
    assert dtypes.get_policy("mixed_float16") == mixed
    assert dtypes.get_policy(serialize_keras_object(mixed)) == mixed
    assert dtypes.get_policy({"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}) == mixed
    assert dtypes.get_policy(np.float16) == dtypes.DTypePolicy("float16")
    assert dtypes.get_policy(None) == dtypes.DTypePolicy("float32")


def test_global_policy():
    dtypes.set_dtype_policy("mixed_bfloat16")
    assert dtypes.dtype_policy().compute_dtype == "bfloat16" and dtypes.DTypePolicy().name == "mixed_bfloat16"
    dtypes.set_dtype_policy(dtypes.DTypePolicy("float16"))
    assert dtypes.dtype_policy().variable_dtype == "float16"
    clear_session(free_memory=False)
    dtypes.set_floatx("bfloat16")
    assert dtypes.dtype_policy().name == "bfloat16"  # until it is first asked for, it follows floatx


def test_wrong_policies():
    with pytest.raises(ArgumentError, match="'mixed_float8' is no dtype policy: expected"):
        dtypes.DTypePolicy("mixed_float8")
    with pytest.raises(DTypeError, match="must be a string such as 'mixed_float16', got 16"):
        dtypes.DTypePolicy(16)
    with pytest.raises(ArgumentError, match="got 16"):
        dtypes.set_dtype_policy(16)
