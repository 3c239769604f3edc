"""StableHLO programs as files: text, MLIR bytecode, or a portable artifact of a stated version; and back, to be run."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from ..ir.errors import ArgumentError, LaminaError, UnsupportedError
from ..ir.graph import Module, clone_module
from ..ir.location import UNKNOWN, Location
from ..ir.types import TensorType
from . import stablehlo as emission
from .mlir import context, ir, parse_program, run_passes, stablehlo, string, tensor_type

FORMATS = ("text", "bytecode", "artifact")
#: What CHLO's ops become, so that a reader needs to know StableHLO alone.
_PLAIN = "func.func(chlo-legalize-to-stablehlo,shape-legalize-to-stablehlo)"
_REFINE = (
    "stablehlo-refine-arguments{{types={types}}},stablehlo-refine-shapes,canonicalize,"
    "func.func(stablehlo-canonicalize-dynamism)"
)


#: Marks an argument whose value stands in the safetensors file beside the program, under the argument's name.
BESIDE = "lamina.beside"


def program(module: Module, beside: bool = False) -> ir.Module:
    """A module as a StableHLO program whose arguments (parameters, then inputs) and results (outputs, then the next
    values of parameters) say their names.

    They stand in the attributes ``jax.arg_info`` and ``jax.result_info``, as in what JAX writes. Operations say their
    layers, and not where they stand in whose Python. Errors as :func:`stablehlo.emit`.

    Args:
        beside: mark the parameters as :data:`BESIDE`.
    """
    module = clone_module(module)
    for node in module.walk():
        node.location = Location(node.location.layers) if node.location.layers else UNKNOWN
    made = emission.emit(module)
    main = module.main
    arguments = [p.name for p in main.parameters] + _filled(main.input_names, len(main.inputs))
    results = _filled(main.output_names, len(main.outputs)) + [u.parameter.name for u in main.updates]
    with made.context:
        operation = _main(made)
        taken = [{"jax.arg_info": string(name)} if name else {} for name in arguments]
        for told in taken[: len(main.parameters) if beside else 0]:
            told[BESIDE] = string("safetensors")  # VHLO has no unit attributes
        given = [{"jax.result_info": string(name or f"result[{i}]")} for i, name in enumerate(results)]
        for attribute, all_told in (("arg_attrs", taken), ("res_attrs", given)):
            operation.attributes[attribute] = ir.ArrayAttr.get([ir.DictAttr.get(told) for told in all_told])
        if main.symbols:
            made.operation.attributes["jax.uses_shape_polymorphism"] = ir.BoolAttr.get(True)
    run_passes(made, _PLAIN)
    _drop_casts(made)
    return made


def _drop_casts(made: ir.Module) -> None:
    """Drop the conversions to MLIR's ``index`` and back that the passes leave around sizes."""
    casts: list[Any] = []

    def collect(operation: Any) -> Any:
        if operation.name == "builtin.unrealized_conversion_cast":
            casts.append(operation)
        return ir.WalkResult.ADVANCE

    made.operation.walk(collect)
    for cast in casts:
        source = cast.operands[0].owner
        if getattr(source, "name", "") == cast.name and source.operands[0].type == cast.results[0].type:
            cast.results[0].replace_all_uses_with(source.operands[0])
    for cast in reversed(casts):
        if not list(cast.results[0].uses):
            cast.erase()


def beside(made: ir.Module) -> dict[int, str]:
    """Number and name of each argument of a program that is marked as :data:`BESIDE`, by number."""
    operation = _main(made)
    told = operation.attributes.get("arg_attrs", [])
    return {i: ir.StringAttr(own["jax.arg_info"]).value for i, own in enumerate(told) if BESIDE in own}


def result_names(made: ir.Module) -> list[str]:
    """What the results of a program are called, the next values of parameters among them; as :func:`program` writes."""
    operation = _main(made)
    return [ir.StringAttr(own["jax.result_info"]).value for own in operation.attributes["res_attrs"]]


def _main(made: ir.Module) -> Any:
    return next(o for o in made.body.operations if o.attributes["sym_name"] == string("main"))


def _filled(names: Sequence[str], count: int) -> list[str]:
    """``names``, or empty ones where there are none."""
    return [*names, *[""] * (count - len(names))]


def encode(made: ir.Module, format: str, version: str) -> bytes:
    """A program as the bytes of a file.

    Args:
        format: one of :data:`FORMATS`.
        version: StableHLO's, for an artifact: the oldest that is to read it.

    Raises:
        ArgumentError: no such format or version. UnsupportedError: the version has no form for an op.
    """
    if format not in FORMATS:
        raise ArgumentError(f"format should be one of {', '.join(FORMATS)}, received {format!r}")
    if format == "text":
        return str(made.operation.get_asm(enable_debug_info=True)).encode()
    if format == "bytecode":
        written = io.BytesIO()
        made.operation.write_bytecode(written)
        return written.getvalue()
    return _artifact(made, version)


def newest_version() -> str:
    """StableHLO's version here."""
    return str(stablehlo.get_current_version())


def _artifact(made: ir.Module, version: str) -> bytes:
    oldest, newest = stablehlo.get_minimum_version(), stablehlo.get_current_version()
    if not _is_version(version) or not _numbers(oldest) <= _numbers(version) <= _numbers(newest):
        raise ArgumentError(f"version should be one of StableHLO's from {oldest} to {newest}, received {version!r}")
    said: list[str] = []

    def hear(diagnostic: ir.Diagnostic) -> bool:
        op = re.search(r"operation '(?:vhlo\.)?(\w+?)(?:_v\d+)?'", diagnostic.message)
        what = "a type of the arguments or results" if op and op[1] == "func" else f"{op[1]}" if op else ""
        said.append(f"{what} (at {diagnostic.location})" if what else diagnostic.message)
        return True  # and nobody prints it

    with context() as current:
        copy = parse_program(encode(made, "bytecode", version))
        run_passes(copy, f"stablehlo-compatibility-expander{{target={version}}}")
        try:
            handler: Any = current.attach_diagnostic_handler(hear)
            with handler:
                return bytes(stablehlo.serialize_portable_artifact(copy, version))
        except (ValueError, ir.MLIRError) as error:
            raise UnsupportedError(
                f"StableHLO {version} has no form for {said[0] if said else error}; take a newer version (up to "
                f"version={newest!r}), or format='text'"
            ) from None


def _is_version(text: object) -> bool:
    return isinstance(text, str) and len(parts := text.split(".")) == 3 and all(p.isdigit() for p in parts)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def refined(source: bytes, types: Sequence[TensorType]) -> ir.Module:
    """Read a program, and make it one for arguments of these concrete types.

    Raises:
        ParseError: it is no StableHLO. ArgumentError: it doesn't take such arguments.
    """
    with context():
        made = parse_program(source)
        operation = _main(made)
        given = [tensor_type(t) for t in types]
        if list(operation.type.inputs) == given:
            return made
        try:
            run_passes(made, _REFINE.format(types=",".join(map(str, given))))
        except LaminaError as error:
            taken = ", ".join(map(str, operation.type.inputs))
            raise ArgumentError(f"the program takes {taken}, received {', '.join(map(str, types))}: {error}") from None
    return made
