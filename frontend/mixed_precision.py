"""``keras.mixed_precision``: element types of computation and of weights."""

from .dtypes import DTypePolicy, dtype_policy, set_dtype_policy
from .dtypes import DTypePolicy as Policy
from .dtypes import dtype_policy as global_policy
from .dtypes import set_dtype_policy as set_global_policy
from .optimizers import LossScaleOptimizer

__all__ = [
    "DTypePolicy", "LossScaleOptimizer", "Policy", "dtype_policy", "global_policy", "set_dtype_policy",
    "set_global_policy",
]  # fmt: skip
