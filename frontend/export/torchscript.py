"""TorchScript: a ``.pt`` file for ``torch.jit.load``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...ir import Module
from ..saving.archive import write_beside
from .torch_module import Owned, checked_weights, flat_runner, import_torch, quiet, scripted_module


def build(module: Module, *, weights: str = "parameters") -> Any:
    """The ``torch.jit.ScriptModule`` of a module.

    Args:
        weights: ``parameters`` (they are in ``state_dict`` under the weights' paths with dots, and train) or
            ``constants`` (parts of the program, which torch then folds).

    Raises:
        UnsupportedError: an op has no form; the message names it and its layer. ArgumentError: a parameter has no
            value, or there is no such way to hold weights.
    """
    return _scripted(Owned(module, checked_weights("torchscript", weights)))


def _scripted(owned: Owned) -> Any:
    torch = import_torch()
    scripted = scripted_module(owned)
    if owned.persistent:
        return scripted
    with quiet():
        return torch.jit.freeze(scripted)


def save(module: Module, path: Path, *, weights: str = "parameters") -> None:
    """Write a module; ``torch.jit.load`` runs it with torch alone. In the file its source lies as ``source.py``.

    Arguments and errors as :func:`build`; nothing is written where it raises.
    """
    torch = import_torch()
    owned = Owned(module, checked_weights("torchscript", weights))
    scripted = _scripted(owned)

    def write(file: Any) -> None:
        with quiet():
            torch.jit.save(scripted, file, _extra_files={"source.py": owned.source.text})

    write_beside(path, write)


def runner(module: Module, *, weights: str = "parameters") -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """The scripted module as a function of flat arrays. Arguments and errors as :func:`build`."""
    owned = Owned(module, checked_weights("torchscript", weights))
    return flat_runner(owned, _scripted(owned))
