"""StableHLO files, with weights inside, beside them or as arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...ir import Module, Node, TensorType, Value
from ...ir.errors import ArgumentError
from ...ir.graph import clone_module
from ...ir.opdef import OPS
from ...lowering import portable
from ...lowering.stablehlo import check_runs
from ...passes import run_pipeline
from ...runtime import safetensors
from ...runtime.files import write_beside
from ...runtime.pjrt import Executable, compile_and_load
from .parameters import parameter_arrays

#: What a graph goes through before it is written; whoever reads it optimizes for himself.
PIPELINE = "simplify"
WEIGHTS = ("inside", "beside", "arguments")
_BY_SUFFIX = {".mlirbc": "bytecode"}


def save(
    module: Module, path: Path, *, format: str | None = None, version: str = "1.0.0", weights: str = "inside"
) -> None:
    """Write a module as StableHLO.

    Args:
        path: the file. With ``weights="beside"`` a safetensors file of its stem stands beside it.
        format: ``text``, ``bytecode``, or ``artifact``, which newer releases read as well; by default ``bytecode``
            where the path ends in ``.mlirbc``, else ``text``.
        version: of StableHLO, for an artifact.
        weights: ``inside``, as constants; ``beside``, where :func:`lamina.load`
            finds them; or ``arguments``, for the caller to give. Weights that are no
            constants are the first arguments, in the graph's order. State that a call changes (random seeds,
            batch-norm statistics in training) always is an argument, and its next value a result after the outputs.

    Raises:
        ArgumentError: no such option. UnsupportedError: an op has no form in StableHLO, or none with open dimensions or
            in the version.
    """
    text = program(module, format or _BY_SUFFIX.get(path.suffix, "text"), version, weights)
    if weights == "beside":
        stored = safetensors.encode(parameter_arrays(module))
        write_beside(path.with_suffix(".safetensors"), lambda file: file.write(stored))
    write_beside(path, lambda file: file.write(text))


def runner(
    module: Module, *, format: str = "text", version: str = "1.0.0", weights: str = "inside"
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """A function of flat input arrays that gives the flat outputs of what :func:`save` writes, read back and compiled
    by XLA for the shapes of the inputs."""
    check_runs(module.main)
    source = program(module, format, version, weights)
    arrays = parameter_arrays(module)
    given = [arrays[p.name] for p in _as_written(module, weights).main.parameters]
    made: dict[tuple[TensorType, ...], Executable] = {}

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        arguments = [*given, *map(np.asarray, inputs)]
        types = tuple(TensorType(a.dtype, a.shape) for a in arguments)
        if types not in made:
            made[types] = compile_and_load(portable.refined(source, types))
        results = made[types].run(*arguments)
        return [np.asarray(r) for r in results[: len(module.main.outputs)]]

    return run


def program(module: Module, format: str, version: str, weights: str) -> bytes:
    """The bytes of the file; arguments and errors as of :func:`save`."""
    written, _ = run_pipeline(_as_written(module, weights), PIPELINE)
    return portable.encode(portable.program(written, weights == "beside"), format, version)


def _as_written(module: Module, weights: str) -> Module:
    if weights not in WEIGHTS:
        raise ArgumentError(f"weights should be one of {', '.join(WEIGHTS)}, received {weights!r}")
    return with_constants(module) if weights == "inside" else clone_module(module)


def with_constants(module: Module) -> Module:
    """A copy whose parameters are constants, but for those that it updates."""
    arrays = parameter_arrays(module)
    copy = clone_module(module)
    main = copy.main
    updated = {u.parameter.value for u in main.updates}
    fixed = [p for p in main.parameters if p.value not in updated]
    constants = [Node(OPS["constant"], [], {"value": arrays[p.name]}, [], [p.type]) for p in fixed]
    new: dict[Value, Value] = {p.value: c.result for p, c in zip(fixed, constants)}
    for node in main.nodes:
        node.operands = [new.get(o, o) for o in node.operands]
    main.nodes = constants + main.nodes
    main.outputs = [new.get(v, v) for v in main.outputs]
    for update in main.updates:
        update.value = new.get(update.value, update.value)
    main.parameters = [p for p in main.parameters if p.value in updated]
    return copy
