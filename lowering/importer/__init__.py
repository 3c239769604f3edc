"""From StableHLO to a graph: text, bytecode and portable artifacts as modules that go everywhere.

:func:`from_stablehlo` is the way in for users, :func:`import_module` for what has an MLIR module at hand. The walk is
in ``scope.py``; each other file has a table of rules, one for each operation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...ir.dims import DimLike, symbol
from ...ir.errors import ArgumentError, FileFormatError, ParseError, UnsupportedError
from ...ir.graph import Graph, Guard, Module
from ...ir.types import TensorType
from ...ir.verify import verify
from ...passes import run_pipeline
from ...passes.inline import drop_uncalled
from ...passes.rewrite import drop_dead
from ..mlir import context, ir, parse_program
from . import (
    chlo,
    collectives,
    control,
    custom_calls,
    dynamic,
    elementwise,
    linear_algebra,
    normalization,
    random,
    random_bits,
    shape,
    structured,
)
from .reading import dtype_of, shape_of
from .scope import Equation, Importer, Rule, Scope, renamed

__all__ = ["RULES", "contents", "from_stablehlo", "import_module"]

#: One row for each operation.
RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **shape.RULES,
    **dynamic.RULES,
    **structured.RULES,
    **control.RULES,
    **linear_algebra.RULES,
    **normalization.RULES,
    **collectives.RULES,
    **chlo.RULES,
    **random.RULES,
    **random_bits.RULES,
    **custom_calls.RULES,
}


def from_stablehlo(source: str | bytes | os.PathLike[str], *, entry: str = "main", name: str | None = None) -> Module:
    """Import a StableHLO program.

    Args:
        source: text; MLIR bytecode or a portable artifact as bytes; or the path of a file with one of these (a
        ``Path``,
            or a string that names one).
        entry: the function that becomes the module's main one; where there is none of that name and only one public
            function, that one.
        name: name of the module; the program's own by default.

    Returns:
        The module. Open dimensions (``?``) are symbolic: ``N`` where all inputs share one, else such as ``D1_0`` for
        axis 0 of input 1.

    Raises:
        FileNotFoundError: there is no such file. ParseError: it is no valid StableHLO. UnsupportedError: the program
        uses what lamina's programs can't do; the message names the operation and its line.
    """
    with context():
        return import_module(parse_program(contents(source)), entry=entry, name=name)


def contents(source: str | bytes | os.PathLike[str]) -> str | bytes:
    """The text or bytes of a program; arguments and errors as of :func:`from_stablehlo`."""
    if isinstance(source, bytes | bytearray | memoryview):
        return _given(bytes(source), "the program")
    if isinstance(source, str) and ("\n" in source or "{" in source or not source.strip()):
        return _given(source, "the program")
    if not isinstance(source, str | os.PathLike):
        raise ArgumentError(
            f"from_stablehlo takes text, bytes or a path, received {type(source).__name__}; of what jax lowered, pass "
            "str(lowered.compiler_ir('stablehlo'))"
        )
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {os.fspath(source)!r}, and it is no text of a program")
    data = _given(path.read_bytes(), f"the file {os.fspath(source)!r}")
    if data.startswith(b"ML\xefR"):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FileFormatError(f"{os.fspath(path)!r} is neither StableHLO text nor MLIR bytecode") from None


def _given(data: Any, what: str) -> Any:
    """``data``, text or bytes, where there is some."""
    if not data.strip():
        raise ParseError(f"{what} is empty; expected StableHLO as text, MLIR bytecode or a portable artifact")
    return data


def import_module(
    program: Any,
    *,
    entry: str = "main",
    name: str | None = None,
    types: Sequence[TensorType] | None = None,
    parameters: Mapping[int, tuple[str, Any]] | None = None,
) -> Module:
    """Import an MLIR module of StableHLO, in its context.

    Args:
        program: the ``jax.extend.mlir.ir.Module``.
        entry, name: as of :func:`from_stablehlo`.
        types: the types of the arguments, where these know symbols better than ``?``.
        parameters: number of an argument -> name and key of the parameter that it becomes.

    Errors as :func:`from_stablehlo`.
    """
    symbols: dict[str, DimLike] = {}
    for _ in range(_MOST_EQUATIONS):
        try:
            return _imported(Importer(program, RULES, symbols), entry, name, types, parameters or {})
        except Equation as found:
            _settle(symbols, found)
    raise UnsupportedError("the program's open dimensions do not settle; give them static sizes")


_MOST_EQUATIONS = 256


def _settle(symbols: dict[str, DimLike], found: Equation) -> None:
    from ...ir.dims import substitute

    for name in symbols:
        symbols[name] = substitute(symbols[name], {found.name: found.value})
    symbols[found.name] = found.value


def _imported(
    importer: Importer,
    entry: str,
    name: str | None,
    types: Sequence[TensorType] | None,
    parameters: Mapping[int, tuple[str, Any]],
) -> Module:
    function = importer.definition(_entry(importer, entry))
    block = function.operation.regions[0].blocks[0]
    graph = Graph()
    scope = Scope(importer, graph)
    given = [a.type for a in block.arguments]
    if types is None:
        types = _open_types(given)
    elif len(types) != len(given):
        raise ArgumentError(f"expected {len(given)} types of arguments, received {len(types)}")
    names = _argument_names(function, block)
    for index, (argument, type) in enumerate(zip(block.arguments, types)):
        type = type.substitute(importer.symbols)
        if index in parameters:
            scope.bind([argument], [graph.add_parameter(parameters[index][0], type, parameters[index][1]).value])
        else:
            scope.bind([argument], [graph.add_input(type, names[index])])
    graph.outputs = scope.plain(scope.block(block))
    renamed(graph, [v.name for v in graph.inputs], _result_names(function, len(graph.outputs)))
    graph.in_structure = tuple(range(len(graph.inputs)))
    graph.out_structure = 0 if len(graph.outputs) == 1 else tuple(range(len(graph.outputs)))
    graph.guards = _distinct(importer.guards)
    module = Module({"main": graph, **importer.graphs}, name or _name(importer))
    for part in module.functions.values():
        drop_dead(part)
    module, _ = run_pipeline(module, "inline,counting_loops")
    drop_uncalled(module)
    verify(module)
    return module


def _entry(importer: Importer, entry: str) -> str:
    if entry in importer.definitions:
        return entry
    public = [n for n, op in importer.definitions.items() if not _is_private(op)]
    if entry == "main" and len(public) == 1:
        return public[0]
    raise ArgumentError(
        f"the program has no function {entry!r}; it has {', '.join(importer.definitions) or 'none'}: pass one as entry"
    )


def _is_private(function: Any) -> bool:
    attributes = function.operation.attributes
    return "sym_visibility" in attributes and ir.StringAttr(attributes["sym_visibility"]).value == "private"


def _open_types(given: Sequence[Any]) -> list[TensorType]:
    """Our types; each open dimension is a symbol of its own, which is ``N`` if it is the only one."""
    for type in given:
        if not isinstance(type, ir.RankedTensorType):
            raise UnsupportedError(
                f"an argument of the program is {type}; lamina's programs take tensors of known rank"
            )
    count = sum(d is None for t in given for d in shape_of(t))
    types = []
    for index, type in enumerate(given):
        dims: list[DimLike] = []
        for axis, d in enumerate(shape_of(type)):
            dims.append(symbol("N" if count == 1 else f"D{index}_{axis}") if d is None else d)
        types.append(TensorType(dtype_of(type), dims))
    return types


_INFO = re.compile(r"[^0-9A-Za-z_]+")


def _argument_names(function: Any, block: Any) -> list[str]:
    """Names that the program gives its arguments, as identifiers that differ."""
    attributes = function.operation.attributes
    own = list(attributes["arg_attrs"]) if "arg_attrs" in attributes else [{}] * len(block.arguments)
    names = []
    for given, argument in zip(own, block.arguments):
        location = argument.location
        text = given["jax.arg_info"].value if "jax.arg_info" in given else ""
        if not text and isinstance(location, ir.NameLoc):
            text = location.name_str
        names.append(_INFO.sub("_", text).strip("_"))
    return _different(names)


def _result_names(function: Any, count: int) -> list[str]:
    attributes = function.operation.attributes
    own = list(attributes["res_attrs"]) if "res_attrs" in attributes else []
    names = [r["jax.result_info"].value.removeprefix("result") if "jax.result_info" in r else "" for r in own]
    names = _different([_INFO.sub("_", n).strip("_") for n in names])
    return names if len(names) == count and all(not n or n.isidentifier() for n in names) else [""] * count


def _different(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        if name and name[0].isdigit():
            name = f"_{name}"
        seen[name] = seen.get(name, -1) + 1
        result.append(f"{name}_{seen[name]}" if name and seen[name] else name)
    return result


def _name(importer: Importer) -> str:
    attributes = importer.module.operation.attributes
    name = ir.StringAttr(attributes["sym_name"]).value if "sym_name" in attributes else ""
    return re.sub(r"^jit_", "", name) or "main"


def _distinct(guards: Sequence[Guard]) -> list[Guard]:
    return list({str(g): g for g in guards}.values())
