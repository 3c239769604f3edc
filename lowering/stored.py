"""Traced modules as members of a ``.lamina`` file, and back: text, large constants, and the same as StableHLO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir.errors import FileFormatError, LaminaError, UnsupportedError
from ..ir.graph import Graph, Module
from ..ir.parser import parse
from ..ir.text import constants_of, print_graph, print_module
from ..ir.types import TensorType
from ..ir.verify import verify
from . import portable

#: Targets of custom calls that a file may name: they compute on their operands alone. Others may be anything, a
#: pointer into memory among it.
_HARMLESS_CALLS = ("lapack_",)


@dataclass
class Stored:
    """Modules as they go into a file.

    Attributes:
        members: texts and StableHLO, by the member's name.
        constants: by digest, those that the texts abbreviate.
        weights: by a name that is unique in the file, what a parameter is bound to.
        graphs: for each module, what the manifest says: names of members and weights, as plain data.
    """

    members: dict[str, bytes] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    graphs: list[dict[str, Any]] = field(default_factory=list)


def store(modules: Sequence[Module]) -> Stored:
    """Modules of one program, which share what their parameters are bound to.

    Raises :class:`UnsupportedError` where arguments or results are nests that text can't write.
    """
    stored = Stored()
    names: dict[int, str] = {}
    for i, module in enumerate(modules):
        for what, structure in (("arguments", module.main.in_structure), ("results", module.main.out_structure)):
            _check_structure(structure, f"the {what} of {module.name!r}")
        text, program = f"graph.{i}.txt", f"program.{i}.mlirbc"
        stored.members[text] = print_module(module).encode()
        stored.constants |= constants_of(module)
        entry: dict[str, Any] = {"text": text, "weights": [], "trainable": []}
        for parameter in module.main.parameters:
            name = names.setdefault(id(parameter.key), _unused(parameter.name, stored.weights))
            stored.weights[name] = parameter.key
            entry["weights"].append(name)
            entry["trainable"].append(bool(getattr(parameter.key, "trainable", False)))
        try:
            stored.members[program] = portable.encode(portable.program(module), "artifact", portable.newest_version())
            entry["program"] = program
        except LaminaError as error:
            entry["no_program"] = str(error)
        stored.graphs.append(entry)
    return stored


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}#{number}"
    return found


def _check_structure(structure: Any, what: str) -> None:
    if isinstance(structure, dict):
        inner = list(structure.values())
    elif isinstance(structure, list | tuple):
        inner = list(structure)
    elif structure is None or isinstance(structure, int):
        return
    else:
        raise UnsupportedError(
            f"{what} hold a {type(structure).__name__}; a file keeps nests of dicts, lists and tuples: give or return "
            "one of these"
        )
    for part in inner:
        _check_structure(part, what)


def specs_text(specs: Sequence[tuple[str, TensorType]]) -> str:
    """Names and types as text, for :func:`specs_of`."""
    graph = Graph()
    for name, type_ in specs:
        graph.add_input(type_, name)
    return print_graph(graph)


def specs_of(text: Any, what: str) -> list[tuple[str, TensorType]]:
    """Undo :func:`specs_text`. Raises :class:`FileFormatError`."""
    graph = _parsed(text, {}, what).main
    return [(name, value.type) for name, value in zip(graph.input_names, graph.inputs)]


def restore(
    graphs: Any, members: Mapping[str, bytes], constants: Mapping[str, np.ndarray], what: str
) -> list[tuple[Module, list[str], list[bool]]]:
    """Modules of a file, checked; with the name of each parameter's weight, and whether training changes it.

    Raises :class:`FileFormatError` for whatever :func:`store` does not write.
    """
    if not isinstance(graphs, list) or not graphs:
        raise FileFormatError(f"{what}: its manifest names no graphs")
    found = []
    for entry in graphs:
        text = members.get(entry.get("text", "")) if isinstance(entry, dict) else None
        if text is None:
            raise FileFormatError(f"{what}: its manifest names a graph that is not there: {entry!r:.80}")
        module = _parsed(text, constants, what)
        count = len(module.main.parameters)
        weights, trainable = entry.get("weights"), entry.get("trainable")
        if not _are(str, weights, count) or not _are(bool, trainable, count):
            raise FileFormatError(f"{what}: {entry['text']} has {count} parameters, the manifest names other weights")
        found.append((module, weights, trainable))
    return found


def _are(kind: type, values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(v) is kind for v in values)


def _parsed(text: Any, constants: Mapping[str, np.ndarray], what: str) -> Module:
    try:
        module = parse(text.decode() if isinstance(text, bytes) else text, constants)
        verify(module)
    except (LaminaError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{what}: its graph is not what this version of lamina reads: {error}") from None
    for node in module.walk():
        target = node.attributes.get("target", "") if node.op.name == "custom_call" else None
        if target is not None and not target.startswith(_HARMLESS_CALLS):
            raise FileFormatError(f"{what}: its graph calls {target!r}, which may be any code of this process; refused")
    return module
