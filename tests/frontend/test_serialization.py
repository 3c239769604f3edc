"""Objects to configs and back: Keras's format exactly, and nothing of a hostile config runs."""

import copy
import json
import os
import re
import subprocess
import warnings

import jax.numpy as jnp
import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.frontend import registry
from lamina.frontend.dtypes import DTypePolicy
from lamina.frontend.initializers import GlorotUniform, Zeros
from lamina.frontend.saving import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from lamina.frontend.saving.serialization import ConfigError, in_safe_mode, object_sharing_scope, safe_mode_scope
from lamina.ir.errors import ArgumentError, FileFormatError


@pytest.fixture(autouse=True)
def _own_registry():
    ours = copy.copy(get_custom_objects())
    theirs = copy.copy(keras.saving.get_custom_objects())
    yield
    get_custom_objects().clear()
    get_custom_objects().update(ours)
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(theirs)


class Scale:
    """A layer-like class of a user's."""

    def __init__(self, factor=1.0, inner=None):
        self.factor, self.inner, self.built, self.compiled = factor, inner, False, None

    def get_config(self):
        return {"factor": self.factor, "inner": serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(config["factor"], deserialize_keras_object(config["inner"]))

    def get_build_config(self):
        return {"input_shape": (None, 3)} if self.built else None

    def build_from_config(self, config):
        self.shape = config["input_shape"]

    def get_compile_config(self):
        return self.compiled

    def compile_from_config(self, config):
        self.optimizer = config["optimizer"]


def double(x):
    return 2 * x


def through_json(value):
    return json.loads(json.dumps(value))


PLAIN = [
    None,
    3,
    2.5,
    "text",
    True,
    [1, [2, None]],
    (1, (2.0, "x")),
    {"a": (1, 2), "b": {"c": None}},
    slice(1, None, 2),
    slice(None),
    Ellipsis,
    b"bytes",
    np.float32(1.5),
    np.int8(3),
    np.array(7),
    np.arange(6, dtype="int16").reshape(2, 3),
    np.array([1.5, 2.5], ml_dtypes.bfloat16),
    np.array([True, False]),
    [slice(0, 2), Ellipsis, {"k": np.ones(2)}],
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_values_are_written_as_keras_does(value):
    written = serialize_keras_object(value)
    assert written == keras.saving.serialize_keras_object(value)
    ours, theirs = (
        deserialize_keras_object(through_json(written)),
        keras.saving.deserialize_keras_object(through_json(written)),
    )
    assert type(ours) is type(theirs)
    np.testing.assert_equal(ours, theirs)


def test_tensors_are_written_as_keras_does():
    value = jnp.array([[1.0, 2.5]], "bfloat16")
    written = serialize_keras_object(value)
    assert written == keras.saving.serialize_keras_object(value)
    loaded = deserialize_keras_object(through_json(written))
    assert loaded.dtype == "bfloat16" and loaded.tolist() == value.tolist()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_what_json_can_hold_comes_back(value):
    assert deserialize_keras_object(through_json(serialize_keras_object(value))) == value


@given(
    st.recursive(
        json_values,
        lambda inner: st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("class_name", "config", "module", "registered_name", "value", "shared_object_id"), inner
            ),
        ),
        max_leaves=15,
    )
)
def test_no_config_ends_in_another_error(config):
    with object_sharing_scope():
        try:
            deserialize_keras_object({"class_name": "__numpy__", "config": config})
            deserialize_keras_object(config)
        except FileFormatError:
            pass
    assert in_safe_mode()


def test_objects_of_the_user():
    scale = Scale(2.0, GlorotUniform(seed=1))
    written = serialize_keras_object(scale)
    assert written == {
        "module": Scale.__module__,
        "class_name": "Scale",
        "config": {"factor": 2.0, "inner": serialize_keras_object(GlorotUniform(seed=1))},
        "registered_name": "Scale",
    }
    assert keras.saving.serialize_keras_object(scale) == written
    loaded = deserialize_keras_object(through_json(written), custom_objects={"Scale": Scale})
    assert (loaded.factor, type(loaded.inner)) == (2.0, GlorotUniform)


def test_build_and_compile_configs():
    scale = Scale()
    scale.built, scale.compiled = True, {"optimizer": "adam"}
    written = serialize_keras_object(scale)
    assert written["build_config"] == {"input_shape": (None, 3)} and written["compile_config"] == {"optimizer": "adam"}
    assert written == keras.saving.serialize_keras_object(scale)
    loaded = deserialize_keras_object(through_json(written), {"Scale": Scale})
    assert (loaded.built, loaded.shape, loaded.optimizer, loaded.compiled) == (True, [None, 3], "adam", True)


def test_registered_classes():
    decorated = register_keras_serializable("shop", "Ruler")(Scale)
    keras.saving.register_keras_serializable("shop", "Ruler")(Scale)
    try:
        assert decorated is Scale
        assert get_registered_name(Scale) == "shop>Ruler" and get_registered_object("shop>Ruler") is Scale
        written = serialize_keras_object(Scale(3.0))
        assert written["registered_name"] == "shop>Ruler"
        assert written == keras.saving.serialize_keras_object(Scale(3.0))
        assert deserialize_keras_object(through_json(written)).factor == 3.0
        get_custom_objects().clear()
        # The plain name serves too when the class is passed by hand.
        assert deserialize_keras_object(written, {"Scale": Scale}).factor == 3.0
        with pytest.raises(ConfigError):
            deserialize_keras_object(written)
    finally:
        registry._registered_names.pop(Scale)
        keras.src.saving.object_registration.GLOBAL_CUSTOM_NAMES.pop(Scale)


def test_registering_needs_get_config():
    with pytest.raises(ArgumentError, match=r"cannot register the class object: it has no get_config\(\) method"):
        register_keras_serializable()(object)


def test_functions():
    written = serialize_keras_object(double)
    assert written == {
        "module": "builtins",
        "class_name": "function",
        "config": "double",
        "registered_name": "function",
    }
    assert written == keras.saving.serialize_keras_object(double)
    assert deserialize_keras_object(through_json(written), {"double": double}) is double
    assert deserialize_keras_object("double", {"double": double}) is double
    register_keras_serializable("shop")(double)
    try:
        assert serialize_keras_object(double)["config"] == "shop>double"
        assert deserialize_keras_object(serialize_keras_object(double)) is double
        assert deserialize_keras_object(written) is double  # Keras 3.6 left the package out
    finally:
        registry._registered_names.pop(double)


def test_builtin_functions_by_bare_name():
    def relu_like(x):
        return x

    try:
        registry.register_builtin(relu_like, "keras.activations", "relu_like")
        config = {"module": "builtins", "class_name": "function", "config": "relu_like", "registered_name": "function"}
        assert deserialize_keras_object(config) is relu_like
        with pytest.raises(ConfigError, match="claims to be 'shop>x', registered by a user, and the built-in"):
            deserialize_keras_object({**config, "registered_name": "shop>x"})
        with pytest.raises(ArgumentError, match=re.escape("'keras.activations.relu_like' already stands for")):
            registry.register_builtin(double, "keras.activations", "relu_like")
    finally:
        del registry._builtins["keras.activations.relu_like"], registry._public_names[relu_like]


def test_private_modules_of_keras():
    config = {"module": "keras.src.initializers.constant_initializers", "class_name": "Zeros", "config": {}}
    assert isinstance(deserialize_keras_object(config), Zeros)
    assert registry.find_builtin("keras.src.layers.zeros", "Zeros") is None


def test_scopes_nest_and_end():
    config = {"module": None, "class_name": "Scale", "config": {"factor": 1, "inner": None}, "registered_name": "Scale"}

    class Other(Scale):
        pass

    with CustomObjectScope({"Scale": Other}):
        with custom_object_scope({"double": double}):
            assert type(deserialize_keras_object(config)) is Other
            assert type(deserialize_keras_object(config, {"Scale": Scale})) is Scale
            assert get_registered_object("double") is double
        assert get_registered_object("double") is None
    with pytest.raises(ConfigError):
        deserialize_keras_object(config)
    with pytest.raises(ArgumentError, match="custom_objects must be a dict"):
        CustomObjectScope([Scale])


def test_scope_reaches_nested_objects():
    inner = serialize_keras_object(Scale(5.0))
    config = {
        "module": None,
        "class_name": "Scale",
        "config": {"factor": 1, "inner": inner},
        "registered_name": "Scale",
    }
    assert deserialize_keras_object(config, {"Scale": Scale}).inner.factor == 5.0


def test_shared_objects_stay_shared():
    policy = DTypePolicy("mixed_float16")
    with object_sharing_scope():
        written = serialize_keras_object({"a": policy, "b": policy, "c": DTypePolicy("float32")})
    assert written["a"]["shared_object_id"] == written["b"]["shared_object_id"]
    assert "shared_object_id" not in written["c"]
    with object_sharing_scope():
        loaded = deserialize_keras_object(through_json(written))
    assert loaded["a"] is loaded["b"] and loaded["a"] == policy
    assert "shared_object_id" not in serialize_keras_object([policy, policy])[1]


def test_unknown_class_says_what_to_pass():
    config = {
        "module": "shop.layers",
        "class_name": "GlorotUnifrom",
        "config": {},
        "registered_name": "shop>GlorotUnifrom",
    }
    with pytest.raises(ConfigError) as error:
        deserialize_keras_object(config)
    message = str(error.value)
    assert "unknown class 'shop>GlorotUnifrom' (of module 'shop.layers')" in message
    assert 'custom_objects={"shop>GlorotUnifrom": GlorotUnifrom}' in message
    assert "@register_keras_serializable" in message and "The nearest name known is 'GlorotUniform'" in message
    assert isinstance(error.value, FileFormatError) and isinstance(error.value, TypeError)


def test_unknown_function_says_what_to_pass():
    config = {"module": "builtins", "class_name": "function", "config": "my_act", "registered_name": "function"}
    with pytest.raises(ConfigError, match=re.escape("unknown function 'my_act'")) as error:
        deserialize_keras_object(config)
    assert 'custom_objects={"my_act": my_act}' in str(error.value)


def lambda_config():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return through_json(keras.saving.serialize_keras_object(lambda x: x + 1))


def test_lambdas_are_refused_unless_asked_for():
    config = lambda_config()
    with pytest.raises(ConfigError, match="lambda as bytecode, which could do anything when it runs, so it is refused"):
        deserialize_keras_object(config)
    with pytest.raises(ConfigError, match="refused"):
        deserialize_keras_object({"a": [config]}, custom_objects={"Scale": Scale})
    assert deserialize_keras_object(config, safe_mode=False)(2) == 3
    with safe_mode_scope(True), pytest.raises(ConfigError, match="refused"):
        deserialize_keras_object(config, safe_mode=False)  # the outermost call decides


def test_lambdas_are_written_with_a_warning_and_come_back():
    offset = 5
    with pytest.warns(UserWarning, match="a lambda is saved as bytecode"):
        config = through_json(serialize_keras_object(lambda x, y=2: x + y + offset))
    assert deserialize_keras_object(config, safe_mode=False)(1) == 8
    with pytest.raises(ConfigError, match="'__lambda__' cannot be read: not the bytecode of a function"):
        deserialize_keras_object(
            {"class_name": "__lambda__", "config": {"value": ["AAAA", None, None]}}, safe_mode=False
        )


class Unsaved:
    pass


class Strange:
    def get_config(self):
        return [1]


def test_objects_that_cannot_be_saved():
    with pytest.raises(ConfigError, match=r"of type Unsaved: its class has no get_config\(\) method"):
        serialize_keras_object({"x": Unsaved()})
    with pytest.raises(ConfigError, match=re.escape("get_config() of Strange must return a dict, but it returned [1]")):
        serialize_keras_object(Strange())


ATTACKS = {
    "imports a module": {"module": "os", "class_name": "system", "config": {"command": "touch owned"}},
    "function of a module": {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "function",
    },
    "function of builtins": {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "eval",
    },
    "class of subprocess": {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "owned"]}},
    "keras gadget": {
        "module": "keras.utils",
        "class_name": "function",
        "config": "get_file",
        "registered_name": "get_file",
    },
    "turns safety off": {
        "module": "keras.config",
        "class_name": "function",
        "config": "enable_unsafe_deserialization",
        "registered_name": "enable_unsafe_deserialization",
    },
    "private module of keras": {"module": "keras.src.utils.file_utils", "class_name": "get_file", "config": {}},
    "our own module": {"module": "lamina.frontend.saving.bytecode", "class_name": "load_lambda", "config": {}},
    "torch pickle": {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASV"}},
    "SavedModel from elsewhere": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/x"}},
    "spoofs a built-in": {
        "module": "keras.initializers",
        "class_name": "Zeros",
        "config": {},
        "registered_name": "shop>Zeros",
    },
    "inner config is a list": {"module": "keras.initializers", "class_name": "Zeros", "config": [1]},
    "inner config is a string": {"module": "keras.initializers", "class_name": "Zeros", "config": "x"},
    "config with foreign keys": {"module": "keras.initializers", "class_name": "Ones", "config": {"__class__": "x"}},
    "class name is a list": {"module": "keras.initializers", "class_name": ["Zeros"], "config": {}},
    "module is a dict": {"module": {}, "class_name": "Zeros", "config": {}},
    "registered name is a number": {"module": "keras", "class_name": "Zeros", "config": {}, "registered_name": 1},
    "shared id is a list": {
        "module": "keras.initializers",
        "class_name": "Zeros",
        "config": {},
        "shared_object_id": [],
    },
    "typespec": {"module": "tensorflow", "class_name": "__typespec__", "config": [], "spec_name": "TensorSpec"},
    "array of objects": {"class_name": "__numpy__", "config": {"value": [{}], "dtype": "object"}},
    "array of an odd type": {"class_name": "__numpy__", "config": {"value": ["x"], "dtype": "float32"}},
    "ragged array": {"class_name": "__numpy__", "config": {"value": [[1], [2, 3]], "dtype": "float32"}},
    "overflow": {"class_name": "__numpy__", "config": {"value": [300], "dtype": "uint8"}},
    "array without type": {"class_name": "__tensor__", "config": {"value": [1]}},
    "slice of objects": {"class_name": "__slice__", "config": {"start": {}, "stop": None, "step": None}},
    "bytes of a number": {"class_name": "__bytes__", "config": {"value": 3}},
    "function name is a dict": {"module": "builtins", "class_name": "function", "config": {}},
    "special without config": {"class_name": "__slice__", "config": None},
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused(name, monkeypatch, tmp_path):
    def never(*args, **kwargs):
        raise AssertionError("the config ran something")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", never)
    monkeypatch.setattr(subprocess, "Popen", never)
    monkeypatch.setattr("importlib.import_module", never)
    for config in (ATTACKS[name], {"layers": [ATTACKS[name]]}):
        with pytest.raises(ConfigError if "__numpy__" not in str(config) else FileFormatError):
            deserialize_keras_object(config)
    assert in_safe_mode() and not list(tmp_path.iterdir())


def test_deep_nesting_is_an_error_of_ours():
    config = {}
    for _ in range(20_000):
        config = [config]
    with pytest.raises(ConfigError, match="nested too deeply"):
        deserialize_keras_object(config)
