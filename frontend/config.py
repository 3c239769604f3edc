"""``keras.config``: global settings."""

from .dtypes import (
    dtype_policy,
    epsilon,
    floatx,
    image_data_format,
    set_dtype_policy,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)


def backend() -> str:
    """The array library underneath: ``"jax"``."""
    return "jax"


__all__ = ["backend", "dtype_policy", "epsilon", "floatx", "image_data_format", "set_dtype_policy", "set_epsilon",
           "set_floatx", "set_image_data_format"]  # fmt: skip
