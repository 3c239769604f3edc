"""``lamina.compile(..., target="gpu:h100x8")``: programs for chips that are not there, to look at and to take along."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from ..compiled import Compiled
from ..compiler import Program
from ..ir import TensorType
from ..ir.errors import ArgumentError, DeviceError, IntegerDimError, LaminaError
from ..ir.sharding import Sharding
from ..ir.types import static_shape
from ..lowering.ahead import emit_ahead
from ..lowering.precision import precision_of
from ..passes.cost import Cost, cost
from ..runtime import hlo as read
from ..runtime.ahead import Built, build, check_installed
from ..runtime.roofline import Roofline, roofline
from ..runtime.targets import Target, parse_target
from .distribution.current import distribution

_BATCH = "batch"


@dataclass(frozen=True)
class Layout:
    """How a program is laid over a target's devices.

    Attributes:
        mesh: the size of each axis, major first; empty for one device.
        batch: the axis that the first dimension of inputs is split over; None: inputs are whole on each device.
    """

    mesh: Mapping[str, int]
    batch: str | None

    def of_inputs(self, types: Sequence[TensorType]) -> list[Sharding | None]:
        """The layouts of a program's inputs: those that have the batch's size as their first dimension are split.

        Raises :class:`ArgumentError` where the batch can't be split evenly.
        """
        shapes = [static_shape(t) for t in types]
        size = next((shape[0] for shape in shapes if shape), None)
        parts = 1 if self.batch is None else self.mesh[self.batch]
        if size is not None and size % parts:
            raise ArgumentError(
                f"a batch of {size} can't be split evenly over {parts} devices; give a multiple of {parts}"
            )
        return [(self.batch, *[None] * (len(s) - 1)) if s and s[0] == size else None for s in shapes]


def layout_over(target: Target, program: Program) -> Layout:
    """The layout of a program over a target: that of the distribution that is set, or that its Variables have, with the
    target's devices in place of those of the mesh; else batches split over all devices.

    Raises :class:`ArgumentError` where the mesh is of another number of devices.
    """
    chosen = distribution()
    if chosen is not None:
        sizes = dict(zip(chosen.device_mesh.axis_names, chosen.device_mesh.shape, strict=True))
        batch = chosen.batch_dim_name
    else:
        laid_out = (getattr(p.key._value, "sharding", None) for p in program.graph.main.parameters)
        mesh = next((s.mesh for s in laid_out if isinstance(s, NamedSharding)), None)
        sizes = {_BATCH: target.count} if mesh is None else dict(mesh.shape)
        batch = next(iter(sizes))
    devices = math.prod(sizes.values())
    if devices != target.count:
        raise ArgumentError(
            f"{program.graph.name} is laid over a mesh of {sizes}, {devices} devices, and {target.name} has "
            f"{target.count}; give a target of as many, or build the model under another distribution"
        )
    return Layout(sizes, batch) if devices > 1 else Layout({}, None)


class Ahead(Compiled):
    """A model, function or training step compiled for chips that need not be there.

    It can't be called; everything XLA makes for the chip can be looked at, for concrete dimensions (``N=32``). XLA
    compiles at the first look at each, in a process of its own.

    Args:
        target: what it is compiled for.
        others: as of :class:`Compiled`.
    """

    def __init__(self, target: Target, program: Program | None, *others: Any, **named: Any) -> None:
        super().__init__(program, *others, **named)
        self.target = target
        self._built: dict[tuple[int, tuple[tuple[str, int], ...]], Built] = {}

    def _first_call(self, *args: Any, **keywords: Any) -> Any:
        raise DeviceError(
            f"{self._name} is compiled for {self.target.name}, {self.target.chip.description}, to be looked at and "
            "saved; to run it here, compile it without target="
        )

    @property
    def _name(self) -> str:
        return self._programs[0].graph.name if self._programs else "this program"

    @property
    def device(self) -> jax.Device:
        raise DeviceError(f"{self._name} is compiled for {self.target.name}, which is not there")

    def built(self, **dims: int) -> Built:
        """What XLA made: HLO, bytes of memory, the executable, and how long it took.

        Raises:
            ArgumentError: a dimension is missing or unknown, or can't be split over the devices.
            DeviceError: the program does not fit into the chip's memory. UnsupportedError: XLA can't compile it.
        """
        program, chosen = self._chosen(dims)
        key = (id(program), tuple(sorted(chosen.items())))
        if key not in self._built:
            self._built[key] = build(self.target, self._bytecode(program, chosen), program.graph.name)
        return self._built[key]

    def _chosen(self, dims: Mapping[str, int]) -> tuple[Program, dict[str, int]]:
        program = self._program(dims)
        return program, program._all_dims(dims)

    def _bytecode(self, program: Program, dims: Mapping[str, int]) -> bytes:
        layout = layout_over(self.target, program)
        module = program.specialized(dims)
        layouts = layout.of_inputs([v.type for v in module.main.inputs]) if layout.mesh else ()
        return emit_ahead(module, layout.mesh, layouts, program._given, program.donate)

    def hlo(self, **dims: int) -> str:
        """XLA's optimized HLO of one device."""
        return self.built(**dims).hlo

    def memory(self, **dims: int) -> dict[str, int]:
        """Bytes on each device: ``arguments``, ``outputs``, ``temporaries``, ``aliased`` (counted in both of the first
        two), ``code``, and of all these together ``total``; and the chip's ``limit``, where it is known."""
        found = dict(self.built(**dims).memory)
        found["total"] = sum(found.values()) - 2 * found["aliased"]
        return found if self.target.chip.memory is None else {**found, "limit": self.target.chip.memory}

    def fits(self, **dims: int) -> bool | None:
        """Whether each device's memory holds the program; None where the chip's is not known."""
        try:
            found = self.memory(**dims)
        except DeviceError:  # XLA itself says that it does not
            return False
        return found["total"] <= found["limit"] if "limit" in found else None

    def cost(self, **dims: int) -> dict[str, float]:
        """What one run costs each device: ``flops``, ``bytes accessed`` (at least), ``transcendentals``.

        It is counted from the graph (:mod:`lamina.passes.cost`), evenly for all devices: XLA does not tell for GPUs,
        and counts loops once. What XLA says is ``built(...).cost``.
        """
        found = self._cost(dims)
        return {
            "flops": found.flops / self.target.count,
            "bytes accessed": self._moved(found, dims),
            "transcendentals": found.transcendentals / self.target.count,
        }

    def _cost(self, dims: Mapping[str, int]) -> Cost:
        program, chosen = self._chosen(dims)
        return cost(program.specialized(chosen), precision_of)

    def _moved(self, found: Cost, dims: Mapping[str, int]) -> float:
        """The bytes that each device reads and writes: its share, and all arguments and outputs that it has."""
        memory = self.built(**dims).memory
        return max(found.bytes / self.target.count, memory["arguments"] + memory["outputs"])

    def collectives(self, **dims: int) -> list[read.Collective]:
        """What the devices exchange, with bytes."""
        return read.collectives(self.hlo(**dims))

    def custom_calls(self, **dims: int) -> dict[str, int]:
        """How many calls of libraries there are, by target: ``{"__cublas$gemm": 2}``."""
        return read.custom_calls(self.hlo(**dims))

    def fusions(self, **dims: int) -> dict[str, int]:
        """How many fused kernels there are, by kind."""
        return read.fusions(self.hlo(**dims))

    def roofline(self, **dims: int) -> Roofline:
        """An estimate of the time of one run; see :class:`~lamina.runtime.roofline.Roofline`."""
        found = self._cost(dims)
        products = {kind: count / self.target.count for kind, count in found.products.items()}
        others = (found.elementwise + found.transcendentals) / self.target.count
        return roofline(self.target, products, others, self._moved(found, dims), self.collectives(**dims))

    def executable(self, **dims: int) -> bytes:
        """XLA's executable for the chip, as PJRT serializes it."""
        return self.built(**dims).code

    def describe(self, **dims: int) -> dict[str, Any]:
        """All of it but HLO and executable, as plain data."""
        memory, cost, time = self.memory(**dims), self.cost(**dims), self.roofline(**dims)
        return {
            "target": self.target.name,
            "dims": {name: int(size) for name, size in dims.items()},
            "devices": self.target.count,
            "memory": memory,
            "fits": self.fits(**dims),
            "cost": cost,
            "collectives": [asdict(c) for c in self.collectives(**dims)],
            "custom_calls": self.custom_calls(**dims),
            "fusions": self.fusions(**dims),
            "roofline": asdict(time),
            "seconds": self.built(**dims).seconds,
        }

    def save(self, path: str | os.PathLike[str], executables: bool = True, **dims: int) -> None:
        """Write a ``.lamina`` file, which :func:`lamina.load` runs on what is there.

        Args:
            path: the file.
            executables: add for each set of sizes that was compiled: the executable, its HLO, and :meth:`describe`.
            dims: sizes to compile for first.

        Raises as :meth:`Compiled.save`.
        """
        if executables and (dims or (self._programs and not self._programs[0].optimized.main.symbols)):
            self.built(**dims)
        super().save(path, executables)

    def _executables(self) -> dict[str, bytes]:
        members = {}
        for i, ((_, dims), made) in enumerate(self._built.items()):
            members[f"ahead/{i}.json"] = json.dumps(self.describe(**dict(dims)), indent=1).encode()
            members[f"ahead/{i}.hlo"] = made.hlo.encode()
            members[f"ahead/{i}.bin"] = made.code
        return members

    def _stored_target(self) -> None:
        return None


def compile_ahead(
    name: str,
    make: Callable[..., Program],
    specs: Sequence[tuple[str, TensorType]],
    flatten: Callable[[tuple], list[Any]] = list,
) -> Ahead:
    """What ``lamina.compile`` returns for a target that need not be there.

    Args:
        name: of the target.
        make: ``(hints=None, target=...) -> Program``.
        specs, flatten: as of :class:`Compiled`.

    Raises:
        ArgumentError: no such target. UnsupportedError: its compiler is not installed.
    """
    target = parse_target(name)
    check_installed(target)

    def program(hints: Mapping[str, int] | None = None) -> Program:
        made = make(hints, target=target.platform, device=None, cache=False)
        layout_over(target, made)
        return made

    try:
        return Ahead(target, program(), program, specs, flatten)
    except IntegerDimError as error:
        return Ahead(target, None, program, specs, flatten, why=error)


def training_step(model: Any, specs: Sequence[Any], name: str, **options: Any) -> Ahead:
    """The training step of a compiled model, for a target that need not be there.

    Args:
        model: after ``compile(optimizer=..., loss=...)``.
        specs: of ``x``, ``y`` and perhaps ``sample_weight``, each a Spec or a nest of them.
        name: of the target.
        options: as of :class:`Program`.
    """
    from .api import types_of
    from .training.functions import StepFunction
    from .training.steps import TRAIN, Steps

    if not isinstance(model, Steps):
        raise ArgumentError(f"training_step=True: expected a model, received {model!r}")
    if not 1 <= len(specs) <= 3:
        raise ArgumentError(
            f"training_step=True: give specs of x, y and perhaps sample_weight, received {len(specs)} of them"
        )
    model._assert_compile_called("train_step")
    types, tree = types_of(specs[0] if len(specs) == 1 else tuple(specs))
    function = StepFunction(model, "train_step", TRAIN)
    sample = [np.zeros([d if isinstance(d, int) else 1 for d in t.shape], t.dtype) for t in types]
    model._build_for(function, lambda: jax.tree.unflatten(tree, sample))

    def make(hints: Mapping[str, int] | None = None, **more: Any) -> Program:
        return function.one.traced(types, tree, hints, mesh=None, **options, **more)

    try:
        return compile_ahead(name, make, [(f"array {i} of the batch", t) for i, t in enumerate(types)])
    except LaminaError:
        model._renew_compiled()  # what was settled by a batch that fits nothing
        raise


def compile_named(subject: Any, target: str, y: str | None = None, **options: Any) -> Ahead:
    """What ``lamina compile`` compiles.

    Args:
        subject: a model, function or module.
        y: type of the targets, such as ``int32[N]``: compile the training step.
        options: as of :func:`lamina.compile`.

    Raises :class:`ArgumentError` for a target that is no chip, a program that is compiled already, or a wrong type.
    """
    from .api import _model_specs
    from .api import compile as compile_

    parse_target(target)
    if isinstance(subject, Compiled):
        subject = subject.graph
    if y is None:
        return compile_(subject, target=target, **options)  # type: ignore[return-value]
    if not hasattr(subject, "train_step"):
        raise ArgumentError(f"--training-step: a model that was compiled with a loss is expected, received {subject!r}")
    specs = (_model_specs(subject), spec_of(y))
    return compile_(subject, *specs, target=target, training_step=True, **options)  # type: ignore[return-value]


def report(program: Ahead, **dims: int) -> str:
    """What :meth:`Ahead.describe` says, as text for people."""
    found = program.describe(**dims)
    memory, cost = found["memory"], found["cost"]
    sizes = ", ".join(f"{name}={size}" for name, size in dims.items())
    fits = {True: "fits", False: "does not fit", None: "the chip's memory is not known"}[found["fits"]]
    limit = f" of {_bytes(memory['limit'])}" if "limit" in memory else ""
    parts = ", ".join(f"{name} {_bytes(memory[name])}" for name in ("arguments", "outputs", "temporaries", "code"))
    exchanged = [
        f"  {c['count']} {c['kind']} of {_bytes(c['bytes'])}" + (f", {c['times']} times" if c["times"] > 1 else "")
        for c in found["collectives"]
    ]
    lines = [
        f"{program.graph.name}({sizes}) for {program.target.name}: {program.target.chip.description}, "
        f"{found['devices']} device{'s'[: found['devices'] > 1]}; XLA took {found['seconds']:.1f} s",
        f"memory per device: {_bytes(memory['total'])}{limit}, {fits} ({parts}, {_bytes(memory['aliased'])} shared)",
        f"cost per device: {cost['flops']:.4g} FLOPs, {cost['transcendentals']:.4g} transcendentals, "
        f"{_bytes(cost['bytes accessed'])} moved",
        "fusions: " + (", ".join(f"{n} {kind}" for kind, n in found["fusions"].items()) or "none"),
        "custom calls: " + (", ".join(f"{n} {target}" for target, n in found["custom_calls"].items()) or "none"),
        "collectives:" + (" none" if not exchanged else ""),
        *exchanged,
        str(program.roofline(**dims)),
    ]
    return "\n".join(lines)


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count:.0f} B"


def spec_of(text: str) -> Any:
    """The Spec that text such as ``int32[N]`` or ``float32[N,10]`` names. Raises :class:`ArgumentError` for other."""
    from .api import Spec

    match = re.fullmatch(r"\s*([a-z]\w*)\[([\w\s,*+/-]*)\]\s*", text)
    if match is None:
        raise ArgumentError(f"{text!r} is no element type and shape, such as int32[N] or float32[N,10]")
    dims = [d.strip() for d in match[2].split(",")] if match[2].strip() else []
    return Spec([int(d) if d.isdigit() else d for d in dims], match[1])
