"""What ``lamina.verify`` can run a graph by, and how far each may be from the reference."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...compiler import Program
from ...ir import Module, Parameter, TensorType, clone_module, evaluate
from ...ir.errors import ArgumentError
from ...ir.types import is_complex, is_float, short_name
from ..export.parameters import parameter_arrays
from ..export.targets import TARGETS, Target

#: Runs a graph: flat inputs to flat outputs.
Run = Callable[[list[np.ndarray]], list[np.ndarray]]

#: Largest relative error (``max |a - b| / max |b|``) of a model whose narrowest float type is this one: some hundred
#: roundings to it. Integers and bool are exact.
BOUNDS = {"f64": 1e-12, "f32": 1e-5, "f16": 2e-2, "bf16": 1e-1}
_NARROWER = 1.0


@dataclass(frozen=True)
class Runner:
    """A way to run a graph.

    Attributes:
        name: what ``targets=`` takes.
        make: ``module -> Run``; None: that of the export target.
        target: the export target that it runs, if any.
        options: of the export target.
        bound: the least bound, where it computes on narrower numbers than the model does.
    """

    name: str
    make: Callable[[Module], Run] | None = None
    target: Target | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    bound: float = 0.0

    def runner(self, module: Module) -> Run:
        """What runs ``module``."""
        if self.make is not None:
            return self.make(module)
        assert self.target is not None
        run: Run = self.target.function("runner")(module, **self.options)
        return run

    @property
    def missing(self) -> str | None:
        """What to do where something that it needs is not installed; None where all is there."""
        return self.target.missing if self.target is not None else None


@dataclass
class _Held:
    """A parameter's array, in place of the Variable that :class:`Program` reads."""

    _value: np.ndarray
    _version: int = 0

    def _take(self) -> np.ndarray:
        return self._value

    def _set(self, array: Any, own: bool = False) -> None:
        self._value = array


def _numpy(module: Module) -> Run:
    arrays = parameter_arrays(module)
    return lambda inputs: evaluate(module, *inputs, parameters=arrays)[0]


def _xla(module: Module) -> Run:
    arrays = parameter_arrays(module)
    module = clone_module(module)
    module.main.parameters = [Parameter(p.name, p.value, _Held(arrays[p.name])) for p in module.main.parameters]
    program = Program(module)
    return lambda inputs: [np.asarray(result) for result in program(*inputs)]


RUNNERS: dict[str, Runner] = {
    r.name: r
    for r in (
        Runner("numpy", _numpy),
        Runner("xla", _xla),
        *(Runner(name, target=target) for name, target in TARGETS.items()),
        Runner("tflite_float16", target=TARGETS["tflite"], options={"quantize": "float16"}, bound=1e-2),
        Runner("tflite_int8", target=TARGETS["tflite"], options={"quantize": "int8"}, bound=1e-1),
    )
}
#: What is run where no targets are named; other forms of torch and TensorFlow hold the same source.
DEFAULT = ("numpy", "xla", "torchscript", "tf_function", "tflite")


def find_runner(name: str) -> Runner:
    """The runner of a name. Raises :class:`ArgumentError`, with near names, where there is none."""
    if name in RUNNERS:
        return RUNNERS[name]
    near = difflib.get_close_matches(str(name).lower().replace("-", "_"), RUNNERS, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ArgumentError(f"there is nothing {name!r} to verify by{hint} There are: {', '.join(RUNNERS)}")


def checked_bounds(bounds: object) -> dict[str, float]:
    """The bound of each runner for which there is one, from one for all or a mapping by name.

    Raises :class:`ArgumentError` where a bound is no number of 0 or more, or there is no such runner.
    """
    given = bounds if isinstance(bounds, Mapping) else {} if bounds is None else dict.fromkeys(RUNNERS, bounds)
    for name, bound in given.items():
        find_runner(name)
        if not isinstance(bound, int | float) or not bound >= 0:
            raise ArgumentError(f"bounds: expected a number >= 0 or one for each target by name, received {bounds!r}")
    return dict(given)


def float_bound(module: Module) -> float:
    """The bound of floats for a module, by the narrowest of its float types."""
    values = [*module.main.inputs, *(p.value for p in module.main.parameters)]
    values += [result for node in module.walk() for result in node.results]
    return max((_bound(v.type) for v in values if isinstance(v.type, TensorType)), default=0.0)


def _bound(type_: TensorType) -> float:
    if is_complex(type_.dtype):
        return BOUNDS["f64" if type_.dtype.itemsize == 16 else "f32"]
    return BOUNDS.get(short_name(type_.dtype), _NARROWER) if is_float(type_.dtype) else 0.0


def bound_of(runner: Runner, dtype: np.dtype, floats: float, given: Mapping[str, float]) -> float:
    """The bound of an output of element type ``dtype``: what was given for the runner, or its own."""
    if not (is_float(dtype) or is_complex(dtype)):
        return 0.0
    return given.get(runner.name, max(floats, runner.bound))


def run_checked(run: Run, inputs: Sequence[np.ndarray], module: Module) -> list[np.ndarray]:
    """Run on copies of the inputs, and see that there is a result of the right element type for each output."""
    results = [np.asarray(r) for r in run([np.array(x) for x in inputs])]
    expected = [v.dtype for v in module.main.outputs]
    received = [r.dtype for r in results]
    if received != expected:
        raise ArgumentError(
            f"expected results of {', '.join(map(short_name, expected))}; received {', '.join(map(str, received))}"
        )
    return results
