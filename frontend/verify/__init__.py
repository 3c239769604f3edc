"""``lamina.verify``: whether every target computes what a model means."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ...ir import Module, evaluate
from ...ir import verify as verify_graph
from ...ir.errors import ArgumentError, UnsupportedError
from ...ir.types import short_name
from ..api import Spec
from ..export.parameters import parameter_arrays
from ..export.subject import arguments, module_of, resolve
from ..model import Model
from .compare import difference
from .cut import with_updates_as_outputs
from .inputs import check_inputs, random_inputs
from .locate import locate
from .reference import evaluate_wide
from .report import Offender, OutputResult, Report, TargetResult
from .runners import DEFAULT, RUNNERS, Runner, bound_of, checked_bounds, find_runner, float_bound, run_checked

__all__ = ["Offender", "OutputResult", "Report", "TargetResult", "verify"]


def verify(
    f: Any,
    inputs: Any = None,
    targets: Sequence[str] | str | None = None,
    *,
    specs: Any = None,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
    bounds: Mapping[str, float] | float | None = None,
    **static: Any,
) -> Report:
    """Run a model by each target and compare with its meaning: NumPy on the graph with every float in 64 bits.

    The next values of state (statistics, seeds) are compared like outputs, and change nothing in the model.

    Args:
        f: a function, layer, model, module, graph, compiled program, or the path of a model.
        inputs: arrays, or Specs of which random ones are made, in a tuple where there are several arguments. None where
            ``f`` knows its inputs, or ``specs`` say them: they are random, integers in the range that the model indexes
            with them.
        targets: of ``numpy``, ``xla`` and those of :func:`lamina.export`; None: ``numpy``, ``xla``, ``torchscript``,
            ``tf_function`` and ``tflite``, as far as they are installed and can express the model.
        specs: as of :func:`lamina.export`: what ``f`` is traced for. With arrays as ``inputs`` these are what it is
            run on; the trace then has the specs' symbolic dimensions, and not the arrays' sizes.
        dims: sizes of symbolic dimensions of random inputs; 3 by default.
        seed: of random inputs.
        bounds: largest relative error of floats, for all targets or by name, in place of those of docs/export.md.
        static: keywords passed to ``f``, such as ``training=True``.

    Returns:
        A :class:`Report`: ``print(report)``, ``report.ok``, ``report.json()``.

    Raises:
        UnsupportedError: a target that was named can't express the model, or is not installed.
        ArgumentError, ShapeError, DTypeError: there is no such target, or inputs do not fit.
    """
    if not isinstance(seed, int) or seed < 0:
        raise ArgumentError(f"seed: expected an integer >= 0, received {seed!r}")
    given = checked_bounds(bounds)
    named = targets is not None
    chosen = [find_runner(n) for n in _names(targets)]
    for runner in chosen:
        if named and runner.missing is not None:
            raise UnsupportedError(f"{runner.name}: {runner.missing}")
    module, arrays = _prepare(f, inputs, specs, {} if dims is None else dims, seed, static)
    check = _Check(module, arrays, given)
    results = tuple(check.run(runner, named) for runner in chosen)
    made_of = seed if _is_random(inputs) else None
    return Report(module.name, check.types(), made_of, results, {k: repr(v) for k, v in static.items()})


def _names(targets: Sequence[str] | str | None) -> Sequence[str]:
    if targets is None:
        return DEFAULT
    if not isinstance(targets, str | Iterable):
        raise ArgumentError(f"targets: expected names such as 'xla' or ['xla', 'tflite'], received {targets!r}")
    names = [targets] if isinstance(targets, str) else list(dict.fromkeys(targets))
    if not names:
        raise ArgumentError(f"targets is empty, so that nothing would be compared; there are {', '.join(RUNNERS)}")
    return names


def _is_random(inputs: Any) -> bool:
    leaves = jax.tree.leaves(inputs, is_leaf=lambda x: isinstance(x, Spec))
    return not leaves or any(isinstance(leaf, Spec) for leaf in leaves)


def _prepare(
    f: Any, inputs: Any, specs: Any, dims: Mapping[str, int], seed: int, static: Mapping[str, Any]
) -> tuple[Module, list[np.ndarray]]:
    """The traced module and one array for each of its inputs."""
    subject, random = resolve(f), _is_random(inputs)
    if random and inputs is not None and specs is not None:
        raise ArgumentError("inputs are Specs, and specs are given, too; give arrays as inputs, or leave them out")
    knows = isinstance(subject, Module) or (isinstance(subject, Model) and hasattr(subject, "inputs"))
    if specs is None and (random or not knows):
        specs = inputs
    module = module_of(subject, specs, static)
    verify_graph(module)
    if random:
        return module, random_inputs(module, dims, seed)
    if dims:
        raise ArgumentError(f"dims are sizes for random inputs; the arrays given say what {', '.join(dims)} is")
    leaves = jax.tree.leaves(tuple(arguments(subject, inputs)))
    order = jax.tree.leaves(module.main.in_structure)
    if len(order) == len(leaves):
        leaves = [leaf for _, leaf in sorted(zip(order, leaves, strict=True), key=lambda pair: pair[0])]
    return module, check_inputs(module, leaves)


class _Check:
    """A module with inputs and the reference's results, which targets are compared with."""

    def __init__(self, module: Module, arrays: Sequence[np.ndarray], bounds: Mapping[str, float]) -> None:
        self.outputs = len(module.main.outputs)
        self.module, self.names = with_updates_as_outputs(module)
        self.arrays = arrays
        self.parameters = parameter_arrays(self.module)
        self.bounds = bounds
        outputs = self.module.main.outputs
        self.reference = evaluate_wide(self.module, arrays, self.parameters, outputs)
        self.own = evaluate(self.module, *arrays, parameters=self.parameters)[0]
        self.floats = float_bound(self.module)

    def types(self) -> dict[str, str]:
        """The concrete type of each input, by name."""
        names = [name or f"input_{i}" for i, name in enumerate(self.module.main.input_names)]
        return {name: _type(array) for name, array in zip(names, self.arrays, strict=True)}

    def run(self, runner: Runner, named: bool) -> TargetResult:
        """Compare what one target computes; it has to express the model where it was ``named``."""
        if runner.missing is not None:
            return TargetResult(runner.name, "not installed", message=runner.missing)
        start = time.perf_counter()
        try:
            results = run_checked(runner.runner(self.module), self.arrays, self.module)
        except UnsupportedError as error:
            if named:
                raise
            return TargetResult(runner.name, "unsupported", message=str(error))
        except Exception as error:  # other frameworks raise anything; the report says it, and is not ok
            return TargetResult(runner.name, "error", message=f"{type(error).__name__}: {error}")
        seconds = time.perf_counter() - start
        rows = tuple(self._compare(runner, i, result) for i, result in enumerate(results))
        if all(row.ok for row in rows):
            return TargetResult(runner.name, "passed", rows, seconds=seconds)
        offender, message = self._locate(runner)
        return TargetResult(runner.name, "failed", rows, offender, message, seconds)

    def _bound(self, runner: Runner, dtype: np.dtype) -> float:
        return bound_of(runner, dtype, self.floats, self.bounds)

    def _compare(self, runner: Runner, index: int, result: np.ndarray) -> OutputResult:
        found, own = difference(result, self.reference[index]), self.own[index]
        identical = result.shape == own.shape and result.tobytes() == own.tobytes()
        return OutputResult(
            self.names[index],
            _type(result),
            found.absolute,
            found.relative,
            found.ulp,
            self._bound(runner, result.dtype),
            identical,
            state=index >= self.outputs,
        )

    def _locate(self, runner: Runner) -> tuple[Offender | None, str]:
        try:
            found = locate(
                self.module, runner.runner, self.arrays, self.parameters, lambda dtype: self._bound(runner, dtype)
            )
        except (
            Exception
        ) as error:  # the report is of the outputs; a part of the graph may fail where the whole does not
            return None, f"where it begins is not known: a part of the graph fails with {type(error).__name__}: {error}"
        return found, "" if found else "it shows in the whole graph only: no part that is run alone is outside"


def _type(array: np.ndarray) -> str:
    return f"{short_name(array.dtype)}[{','.join(map(str, array.shape))}]"
