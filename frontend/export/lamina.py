"""``.lamina`` files: graph and weights in one file, which :func:`lamina.load` runs without the model's Python."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ...ir import Module
from ..api import compile


def save(module: Module, path: Path) -> None:
    """Write a module. Executables are not in it: ``lamina.compile(f).save(path)`` adds those that there are.

    Raises :class:`ArgumentError` where a weight is bound to no Variable, or the file can't be written.
    """
    compile(module).save(path)


def runner(module: Module) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """A function of flat input arrays that runs the program from its file."""
    from ..saving.compiled import load_compiled

    with tempfile.TemporaryDirectory() as folder:
        save(module, Path(folder) / "program.lamina")
        program = load_compiled(Path(folder) / "program.lamina")
    given, returned = module.main.in_structure, module.main.out_structure

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        arguments = inputs if given is None else jax.tree.map(lambda i: inputs[i], given)
        leaves = jax.tree.leaves(program(*arguments))
        order = range(len(leaves)) if returned is None else jax.tree.leaves(returned)
        by_place = dict(zip(order, leaves, strict=True))
        return [np.asarray(by_place[i]) for i in range(len(leaves))]

    return run
