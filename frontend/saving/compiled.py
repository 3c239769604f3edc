"""``.lamina`` files: compiled programs that run without the Python they were traced from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ...compiled import Compiled
from ...ir import Module, Parameter, TensorType
from ...ir.errors import FileFormatError, GuardError, LaminaError
from ...lowering.stored import restore, specs_of
from ...runtime import artifact, safetensors
from ..api import compile_modules
from ..variable import Variable


def load_compiled(path: str | Path) -> Compiled:
    """Load a ``.lamina`` file.

    Executables in it are used where this user wrote them on a machine and with versions like these; else, and for
    other sizes than it holds, XLA compiles as ever.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is damaged, was changed, or holds what no such file holds.
    """
    name = os.fspath(path)
    manifest, members = artifact.read(Path(path))
    arrays = {kind: _arrays(members, kind, name) for kind in ("constants", "weights")}
    variables: dict[tuple[str, TensorType], Variable] = {}
    modules = []
    for module, weights, trainable in restore(manifest.get("graphs"), members, arrays["constants"], name):
        for parameter, weight, trained in zip(module.main.parameters, weights, trainable, strict=True):
            key = (weight, parameter.type)
            if key not in variables:
                variables[key] = _variable(parameter, arrays["weights"].get(weight), weight, trained, name)
            parameter.key = variables[key]
        modules.append(module)
    compiled = _compiled(modules, manifest, name)
    artifact.accept(members)
    return compiled


def _arrays(members: Mapping[str, bytes], kind: str, name: str) -> dict[str, np.ndarray]:
    member = f"{kind}.safetensors"
    if member not in members:
        raise FileFormatError(f"{name} has no {member}")
    return safetensors.decode(members[member], f"{member} in {name}")


def _variable(parameter: Parameter, stored: np.ndarray | None, weight: str, trainable: bool, name: str) -> Variable:
    type_: TensorType = parameter.type
    if stored is None:
        raise FileFormatError(f"{name} has no weight {weight!r}")
    stored = safetensors.of_type(stored, type_.dtype)
    if stored.dtype != type_.dtype or stored.shape != type_.shape:
        raise FileFormatError(f"{name}: {weight} should be {type_}, the file has {stored.dtype.name}{stored.shape}")
    with jax.enable_x64(True):
        array = jax.device_put(stored, may_alias=False)
    made = Variable(array, dtype=type_.dtype.name, trainable=trainable, name=weight.rpartition("/")[2])
    made.path = weight
    return made


def _compiled(modules: list[Module], manifest: Mapping[str, Any], name: str) -> Compiled:
    pipeline, donate, target, why = (manifest.get(k) for k in ("pipeline", "donate", "target", "why"))
    if not isinstance(pipeline, str) or not isinstance(donate, list) or not all(type(i) is int for i in donate):
        raise FileFormatError(f"{name}: its manifest should have a pipeline and the numbers of donated inputs")
    if not isinstance(target, str | None) or not isinstance(why, str | None):
        raise FileFormatError(f"{name}: its manifest should have a target and a reason that are texts or null")
    specs = specs_of(manifest.get("specs"), name)
    try:
        return compile_modules(
            modules, specs, GuardError(why) if why else None, pipeline=pipeline, donate=donate, target=target
        )
    except LaminaError as error:
        raise FileFormatError(f"{name}: what it holds can't be compiled: {error}") from error
