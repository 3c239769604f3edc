"""``keras.backend``: what third-party code asks of it."""

from .config import backend, epsilon, floatx, image_data_format, set_epsilon, set_floatx, set_image_data_format
from .dtypes import is_float as is_float_dtype
from .dtypes import is_int as is_int_dtype
from .dtypes import result_type, standardize_dtype
from .keras_tensor import is_keras_tensor
from .names import clear_session, get_uid
from .variable import Variable

__all__ = ["Variable", "backend", "clear_session", "epsilon", "floatx", "get_uid", "image_data_format",
           "is_float_dtype",
           "is_int_dtype", "is_keras_tensor", "result_type", "set_epsilon", "set_floatx", "set_image_data_format",
           "standardize_dtype"]  # fmt: skip
