"""What users call: one compiled model or function for all sizes of its symbolic dimensions, or a trace for each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .compiler import PAD, Program
from .ir import Graph, Module, TensorType
from .ir.binding import bind_symbols, broken_guard
from .ir.errors import ArgumentError, DTypeError, GuardError, LaminaError, TracingError
from .ir.types import element_type, static_shape
from .lowering.stored import specs_text, store
from .passes import Record
from .runtime import artifact, placement, safetensors
from .runtime.devices import are_apart
from .runtime.options import is_refusal
from .runtime.recompiles import Sizes

#: Traces, and sets of shapes looked up, that a :class:`Compiled` keeps where no trace serves all sizes.
_TRACES = 256


class Compiled:
    """A compiled model or function: call it as the original.

    One trace serves every size of its symbolic dimensions. Where Python needed an integer or compared an open
    dimension, the trace holds for some sizes only; ``retrace`` then makes another for the sizes of the call.

    Args:
        program: made from the symbolic trace, or None where Python needed integers (``why`` then says where).
        retrace: ``(sizes of symbols) -> Program``; None where the module came without its Python.
        specs: name, type of each input, to bind symbols before there is a program.
        flatten: ``args -> flat list of arrays``.

    Calling takes arguments as the original does; arrays may be NumPy's, jax's, or anything with DLPack, results are
    ``jax.Array``. A NumPy array that is 64-byte aligned is read in place by the CPU: do not overwrite it before the
    result is ready. ``np.asarray(result)`` shares the result's memory on the CPU and is read-only.
    """

    # A slot: looking up a method on each call would cost 2% of a small one.
    __slots__ = ("__call__", "__dict__", "__weakref__")
    __call__: Callable[..., Any]

    def __init__(
        self,
        program: Program | None,
        retrace: Callable[[Mapping[str, int]], Program] | None = None,
        specs: Sequence[tuple[str, TensorType]] = (),
        flatten: Callable[[tuple], list[Any]] = list,
        why: LaminaError | None = None,
    ) -> None:
        self._programs: list[Program] = [program] if program is not None else []
        self._retrace = retrace
        self._specs = list(specs)
        self._flatten = flatten
        self._by_shape: dict[Any, Program] = {}
        self._sizes = Sizes("A function that is traced for each set of sizes", PAD)
        self._lock = threading.RLock()
        self.why_per_shape = why
        self._open = program is None or bool(program.graph.main.guards)
        self.__call__ = self._first_call

    def _first_call(self, *args: Any, **keywords: Any) -> Any:
        """Look up what equal programs share, and from now on call that."""
        if not self._programs:
            self.__call__ = _takes_any_array(self._call_by_shape, self._call_by_shape)
        else:
            again = self._call_again if self._open else self._programs[0]
            self.__call__ = _takes_any_array(self._programs[0].call, again)
        return self.__call__(*args, **keywords)

    def _call_again(self, *args: Any) -> Any:
        """Call what serves these sizes after the first trace refused, which it does at each new set of sizes only."""
        program = self._program_for(args)
        if program is not self._programs[0]:
            self.__call__ = _takes_any_array(self._call_by_shape, self._call_by_shape)
        return program(*args)

    def _call_by_shape(self, *args: Any) -> Any:
        return self._program_for(args)(*args)

    def _program_for(self, args: tuple) -> Program:
        shapes = tuple(np.shape(x) for x in self._flatten(args))
        program = self._by_shape.get(shapes)
        if program is None:
            with self._lock:
                program = self._by_shape[shapes] = self._find(shapes)
                if len(self._by_shape) > _TRACES:
                    del self._by_shape[next(iter(self._by_shape))]
        return program

    def _find(self, shapes: Sequence[tuple[int, ...]]) -> Program:
        """The program whose assumptions hold for these shapes, traced now if there is none."""
        if len(shapes) != len(self._specs):
            raise ArgumentError(f"expected {len(self._specs)} arrays, received {len(shapes)}")
        dims = bind_symbols([(n, t, s) for (n, t), s in zip(self._specs, shapes, strict=True)])
        broken = None
        for program in self._programs:
            broken = next((b for g in program.graph.main.guards if (b := broken_guard(g, dims))), None)
            if broken is None:
                return program
        if self._retrace is None:
            raise GuardError(broken or "no trace serves these sizes")
        made = self._retrace(dims)
        self._sizes.add(dims)
        self._programs.append(made)
        if len(self._programs) > _TRACES:
            del self._programs[1]  # the first may be the one for all sizes that no assumption excludes
        return made

    def _program(self, dims: Mapping[str, int] | None = None) -> Program:
        if dims and self._open:
            types = [t.substitute(dims) for _, t in self._specs]
            if all(t.is_static for t in types):
                return self._find([static_shape(t) for t in types])
        if not self._programs:
            raise GuardError(
                f"there is no trace for all sizes: {self.why_per_shape}\nName the sizes, such as T=8, or call it once"
            )
        return self._programs[0]

    @property
    def graph(self) -> Module:
        """The traced module."""
        return self._program().graph

    @property
    def optimized(self) -> Module:
        """The module after the passes that run on symbolic shapes."""
        return self._program().optimized

    @property
    def prepare(self) -> Graph | None:
        """What runs on parameters alone, once and again after they change; None where nothing does."""
        return self._program().prepare

    @property
    def records(self) -> list[Record]:
        """What each pass did."""
        return self._program().records

    @property
    def device(self) -> jax.Device:
        return self._program().device

    def specialized(self, **dims: int) -> Module:
        """The module that is lowered for concrete dimensions."""
        program = self._program(dims)
        return program.specialized(program._all_dims(dims))

    def save(self, path: str | os.PathLike[str], executables: bool = True) -> None:
        """Write it as a ``.lamina`` file, which :func:`lamina.load` runs without the Python that it was traced from.

        Args:
            path: the file. It appears whole or not at all, and replaces what was there.
            executables: add what XLA compiled so far, for this user on this kind of machine.

        Raises:
            ArgumentError: it can't be written. GuardError: it was traced for no sizes yet.
            UnsupportedError: its arguments or results are nests of classes that a file can't name.
        """
        if not self._programs:
            self._program()  # says why there is no trace
        first = self._programs[0]
        stored = store([p.graph for p in self._programs])
        members = {
            **stored.members,
            "constants.safetensors": safetensors.encode(stored.constants),
            "weights.safetensors": safetensors.encode({n: placement.read(b._value) for n, b in stored.weights.items()}),
        }
        if executables:
            members |= self._executables()
        manifest = {
            "lamina": artifact.version(),
            "model": first.graph.name,
            "pipeline": first.pipeline,
            "donate": first.donate,
            "target": self._stored_target(),
            "why": str(self.why_per_shape) if self.why_per_shape else None,
            "specs": specs_text(self._specs),
            "graphs": stored.graphs,
        }
        artifact.write(Path(path), members, manifest)

    def _executables(self) -> dict[str, bytes]:
        """What XLA compiled, as members of a ``.lamina`` file."""
        return artifact.signed({key: entry for p in self._programs for key, entry in p.executables().items()})

    def _stored_target(self) -> str | None:
        """What a file says that the passes optimize for; None for the device that it is loaded on."""
        first = self._programs[0]
        return first.target if first.target != first.device.platform else None

    def stablehlo(self, **dims: int) -> str:
        """StableHLO text, with layers as locations: for concrete dimensions (``N=32``), or with open ones (``?``)."""
        return self._program(dims).stablehlo(**dims)

    def hlo(self, **dims: int) -> str:
        """XLA's optimized HLO for concrete dimensions."""
        return self._program(dims).compile_for(**dims).as_text()

    def cost(self, **dims: int) -> dict[str, float]:
        """XLA's estimate for concrete dimensions: ``flops``, ``bytes accessed``, ``transcendentals``."""
        analysis = self._program(dims).compile_for(**dims).cost_analysis() or {}
        return {k: float(v) for k, v in analysis.items() if k in ("flops", "bytes accessed", "transcendentals")}

    def memory(self, **dims: int) -> dict[str, int]:
        """Bytes for concrete dimensions: ``arguments``, ``outputs``, ``temporaries``, ``aliased``, ``code``."""
        stats = self._program(dims).compile_for(**dims).memory_analysis()
        return {
            "arguments": stats.argument_size_in_bytes,
            "outputs": stats.output_size_in_bytes,
            "temporaries": stats.temp_size_in_bytes,
            "aliased": stats.alias_size_in_bytes,
            "code": stats.generated_code_size_in_bytes,
        }


def _takes_any_array(call: Callable[..., Any], program: Callable[..., Any]) -> Callable[..., Any]:
    """``call``, and where that fails ``program``: on arrays taken over by DLPack if jax does not know an argument's
    class, and else to say what is wrong in its own names."""

    def compiled(*args: Any, **keywords: Any) -> Any:
        if keywords:
            raise ArgumentError(
                f"a compiled program takes arrays by place, received {next(iter(keywords))!r} by keyword; give static "
                "keywords such as training=True to lamina.compile"
            )
        try:
            return call(*args)
        except (TypeError, ValueError, LaminaError) as error:
            known = jax.tree.map(_known_array, args)
            same = all(a is b for a, b in zip(jax.tree.leaves(known), jax.tree.leaves(args), strict=True))
            ours = isinstance(error, LaminaError) or is_refusal(error) or are_apart(error)
            if same and (call is program or not ours):
                raise
        return program(*known)

    return compiled


def _known_array(x: Any) -> Any:
    """An array that jax knows. Raises :class:`DTypeError` for what is no array."""
    if isinstance(x, jax.Array | bool | int | float | complex):
        return x
    if isinstance(x, np.ndarray | np.generic):
        element_type(x.dtype)
        return x
    if getattr(x, "is_traced", False):  # even where its value is known: a derivative would end here, as zero
        raise _no_array(x)
    if hasattr(x, "__dlpack__"):
        return jax.dlpack.from_dlpack(x)
    if hasattr(x, "__array__"):
        try:
            return np.asarray(x)
        except TracingError:
            raise _no_array(x) from None
    raise DTypeError(f"expected an array, received {x!r} of type {type(x).__name__}")


def _no_array(x: Any) -> TracingError:
    return TracingError(
        f"a compiled program runs on arrays, received {x!r}, which is being traced; inside a traced or differentiated "
        "function or a functional model call the function or model that was compiled, or apply its graph: "
        "lamina.call_module(compiled, x)"
    )
