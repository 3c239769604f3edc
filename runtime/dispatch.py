"""Calling programs through ``jax.jit``: one jax primitive whose lowering inlines StableHLO that the program emits.

That costs a call nothing over ``jax.jit`` itself, and gives placement, donation, sharding, asynchronous dispatch and
composition with other jax code. The primitive knows no graph: a :class:`Program` tells it all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any

import jax
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import SingleDeviceSharding

from ..ir.errors import UnsupportedError
from .devices import find_device


def _as_is(flat: list[Any]) -> Any:
    return flat


@dataclass(frozen=True)
class Convention:
    """How the arguments of a call become flat arrays, and flat outputs its result.

    Args:
        pack: ``(args) -> flat list of arrays``, run while jax traces a call.
        unpack: ``flat list -> result``, run while jax traces a call.
        restore: undoes ``pack``.
        key: equal keys mean conventions that do the same.
    """

    pack: Callable[[tuple], list[Any]] = list
    unpack: Callable[[list[Any]], Any] = _as_is
    restore: Callable[[list[Any]], Sequence[Any]] = _as_is
    key: Hashable = None


@dataclass(frozen=True, eq=False)
class Program:
    """What the primitive has to know of a program.

    Args:
        key: equal keys mean equal programs; whatever makes the emitted code differ is in it.
        result_types: ``(abstract values of the arguments) -> jax.ShapeDtypeStruct of each result``.
        emit: ``(lowering rule context, MLIR values of the arguments) -> MLIR values of the results``.
        name: what profiles and HLO modules call it.
        wide: an argument or a result has 64-bit elements (see :func:`needs_x64`), which jax takes only while x64 is on.
    """

    key: Hashable
    result_types: Callable[[Sequence[Any]], Sequence[jax.ShapeDtypeStruct]]
    emit: Callable[[Any, Sequence[Any]], Sequence[Any]]
    name: str = "lamina"
    wide: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


lamina_call = Primitive("lamina_call")
lamina_call.multiple_results = True


@lamina_call.def_abstract_eval
def _result_avals(*avals: Any, program: Program) -> list[Any]:
    return [jax.core.ShapedArray(t.shape, t.dtype) for t in program.result_types(avals)]


def _lower(ctx: Any, *arguments: Any, program: Program) -> list[Any]:
    return list(program.emit(ctx, arguments))


mlir.register_lowering(lamina_call, _lower)


@lamina_call.def_impl
def _run_now(*arrays: Any, program: Program) -> list[jax.Array]:
    with jax.disable_jit(False):  # where the user disabled it, jax would come back here for ever
        return jitted(program)(*arrays)


def _refuse(transform: str, ours: str) -> Callable[..., Any]:
    def rule(*_: Any, program: Program, **__: Any) -> Any:
        raise UnsupportedError(
            f"{transform} cannot look inside the compiled program {program.name!r}; use {ours} on the "
            f"function or model before it is compiled"
        )

    return rule


batching.primitive_batchers[lamina_call] = _refuse("jax.vmap", "lamina.vmap")
ad.primitive_jvps[lamina_call] = _refuse("jax.grad", "lamina.grad")


def jitted(program: Program, donate: Sequence[int] = (), device: str | jax.Device | None = None) -> Callable[..., Any]:
    """A function of arrays (NumPy or jax) that compiles ``program`` at its first call and returns a list of arrays.

    Args:
        donate: positions of arguments whose memory the results may take; they are gone after the call.
        device: where it runs, as in :func:`~lamina.runtime.devices.find_device`; None: where its arguments are.

    The result is what ``jax.jit`` returns, so that it has ``lower(...)`` too; one with 64-bit arguments or results is
    wrapped so that it runs with x64 on, whatever the user's global setting, which is not touched.
    """

    def call(*arrays: Any) -> list[Any]:
        return lamina_call.bind(*arrays, program=program)

    call.__name__ = call.__qualname__ = program.name
    placement = {} if device is None else {"in_shardings": SingleDeviceSharding(find_device(device))}
    compiled = jax.jit(call, donate_argnums=tuple(donate), **placement)  # type: ignore[call-overload]
    return with_x64(compiled) if program.wide else compiled


def needs_x64(*dtypes: Any) -> bool:
    """Whether jax would narrow an array of one of these element types while x64 is off."""
    return any(np.dtype(d).name in ("float64", "int64", "uint64", "complex128") for d in dtypes)


def x64(wide: bool) -> Any:
    """A context in which jax takes 64-bit arrays as they are, for this thread only; does nothing where not ``wide``."""
    return jax.enable_x64(True) if wide else nullcontext()


def with_x64(compiled: Any) -> Callable[..., Any]:
    """A function that calls another with x64 on."""

    @wraps(compiled)
    def call(*arrays: Any) -> Any:
        with jax.enable_x64(True):
            return compiled(*arrays)

    def lower(*arrays: Any) -> Any:
        with jax.enable_x64(True):
            return compiled.lower(*arrays)

    if hasattr(compiled, "lower"):
        call.lower = lower  # type: ignore[attr-defined]
    return call
