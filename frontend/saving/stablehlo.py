"""StableHLO files with their weights beside them."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import numpy as np

from ...ir import Module
from ...ir.errors import FileFormatError
from ...ir.types import has_tangent
from ...lowering import portable
from ...lowering.importer import contents, import_module
from ...lowering.mlir import context, parse_program
from ...runtime import safetensors
from ..importing import make_updates, variable_of


def load_stablehlo(path: Path) -> Module:
    """The module of a StableHLO file.

    Arguments that are marked as standing beside it (as an export with ``weights="beside"`` does) become parameters,
    bound to Variables with the values of the safetensors file of its name; results that are their next values become
    updates.

    Raises:
        FileNotFoundError: there is no such file, or none of the weights. FileFormatError: the weights do not fit.
        Others as :func:`lamina.from_stablehlo`.
    """
    with context():
        program = parse_program(contents(path))
        names = portable.beside(program)
        if not names:
            return import_module(program)
        module = import_module(program, parameters={i: (name, None) for i, name in names.items()})
        results = portable.result_names(program)
    arrays = _arrays(path, module)
    updated = _next_values(results, arrays)
    for parameter in module.main.parameters:
        parameter.key = variable_of(parameter.name, arrays[parameter.name])
        parameter.key.trainable = has_tangent(parameter.type) and parameter.name not in updated.values()
    make_updates(module, updated)
    return module


def _arrays(path: Path, module: Module) -> dict[str, np.ndarray]:
    """The values of the module's parameters, by name."""
    beside = path.with_suffix(".safetensors")
    if not beside.is_file():
        raise FileNotFoundError(
            f"there is no file {str(beside)!r} with the weights of {str(path)!r}; keep the two together. "
            "lamina.from_stablehlo reads the program alone, which then takes them as arguments"
        )
    stored = safetensors.decode(beside.read_bytes(), str(beside))
    arrays = {}
    for parameter in module.main.parameters:
        name, type_ = parameter.name, parameter.type
        if name not in stored:
            raise FileFormatError(f"{beside} has no {name}, which {path} takes; export both again")
        array = safetensors.of_type(stored[name], type_.dtype)
        if array.dtype != type_.dtype or array.shape != type_.shape:
            shown = f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
            raise FileFormatError(f"{beside}: {name} is {shown}, and {path} takes {type_}; export both again")
        arrays[name] = array.copy()
    return arrays


def _next_values(results: list[str], names: Container[str]) -> dict[int, str]:
    """Number and name of the results that are next values of parameters: the last ones."""
    found: dict[int, str] = {}
    for i, name in reversed(list(enumerate(results))):
        if name not in names or name in found.values():
            break
        found[i] = name
    return dict(sorted(found.items()))
