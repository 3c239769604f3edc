"""The values of a module's parameters."""

from __future__ import annotations

import numpy as np

from ...ir import Module
from ...ir.errors import ArgumentError


def parameter_arrays(module: Module) -> dict[str, np.ndarray]:
    """The arrays that the parameters of ``module`` are bound to, by name.

    A parameter's ``key`` is a Variable, or the array itself. Raises :class:`ArgumentError` for one that is bound to
    nothing, as in a module that was parsed.
    """
    return {p.name: _array(p.name, p.key) for p in module.main.parameters}


def _array(name: str, key: object) -> np.ndarray:
    if isinstance(key, np.ndarray):
        return key
    if hasattr(key, "numpy"):
        array: np.ndarray = key.numpy()
        return array
    raise ArgumentError(f"the parameter {name} has no value; trace the model it belongs to, or set its key to an array")
