"""``keras.utils``: helpers of Keras programs."""

from .dtypes import standardize_dtype
from .keras_tensor import is_keras_tensor
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
from .training.data import (
    PyDataset,
    pack_x_y_sample_weight,
    split_dataset,
    timeseries_dataset_from_array,
    unpack_x_y_sample_weight,
)
from .training.data.arrange import normalize, pad_sequences, to_categorical
from .training.progress import (
    Progbar,
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
)

Sequence = PyDataset

__all__ = ["CustomObjectScope", "Progbar", "PyDataset", "Sequence", "clear_session", "custom_object_scope",
           "deserialize_keras_object", "disable_interactive_logging", "enable_interactive_logging",
           "get_custom_objects", "get_registered_name", "get_registered_object", "is_interactive_logging_enabled",
           "is_keras_tensor", "normalize", "pack_x_y_sample_weight", "pad_sequences", "register_keras_serializable",
           "serialize_keras_object", "set_random_seed", "split_dataset", "standardize_dtype",
           "timeseries_dataset_from_array", "to_categorical", "unpack_x_y_sample_weight"]  # fmt: skip
