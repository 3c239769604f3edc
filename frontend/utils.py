"""``keras.utils``: helpers of Keras programs."""

from .names import clear_session
from .registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from .saving.serialization import deserialize_keras_object, serialize_keras_object
from .seed import set_random_seed

__all__ = ["CustomObjectScope", "clear_session", "custom_object_scope", "deserialize_keras_object",
           "get_custom_objects",
           "get_registered_name", "get_registered_object", "register_keras_serializable", "serialize_keras_object",
           "set_random_seed"]  # fmt: skip
