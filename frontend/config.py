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
from .training.progress import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
)


def backend() -> str:
    """The array library underneath: ``"jax"``."""
    return "jax"


__all__ = [
    "backend", "disable_interactive_logging", "dtype_policy", "enable_interactive_logging", "epsilon",
    "floatx", "image_data_format", "is_interactive_logging_enabled", "set_dtype_policy", "set_epsilon",
    "set_floatx", "set_image_data_format",
]  # fmt: skip
