"""``lamina.jit``: functions that are compiled when they are called."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..compiler import Program
from ..ir import Module, TensorType
from ..ir.errors import ArgumentError
from ..runtime.dispatch import Convention
from ..runtime.recompiles import Sizes, sizes_of
from .convert import argument_dtype
from .devices import current_device
from .distribution.current import distribution
from .distribution.tensors import mesh_for
from .dtypes import floatx, image_data_format
from .keras_tensor import contains_keras_tensor
from .tensor import Tensor
from .trace import current_trace
from .tracing import trace_flat

#: Programs that one :func:`jit` keeps; the oldest goes first.
_JITTED = 1024
_JIT_ADVICE = (
    "One trace serves all sizes with lamina.compile(f, lamina.Spec((None, ...))); XLA still compiles for each: pad "
    "{dims} to a few sizes (such as 32, 64, 128)"
)


def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
    device: str | None = None,
    pipeline: str = "O2",
) -> Any:
    """Compile a function when it is called, once for each structure, shape and type of its arguments.

    Args:
        f: a function of nests of arrays; reads and assigns Variables freely.
        static_argnums, static_argnames: arguments that are passed on as they are (hashable); each value is compiled
        for. donate_argnums: arguments whose memory the results may take.
        device, pipeline: as in :func:`lamina.compile`.

    Inside a trace the function is traced into the surrounding program.
    """
    if f is None:
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate_argnums,
            device=device,
            pipeline=pipeline,
        )
    return Jitted(f, static_argnums, static_argnames, donate_argnums, {"device": device, "pipeline": pipeline})


class Jitted:
    """What :func:`jit` returns."""

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnums: Any,
        static_argnames: Any,
        donate_argnums: Any,
        options: dict[str, Any],
    ) -> None:
        functools.update_wrapper(self, f)
        self._f = f
        positions = _positional_names(f)
        self._static_argnums = _from_the_start(_as_tuple(static_argnums), positions)
        self._static_argnames = _as_tuple(static_argnames)
        self._donate_argnums = _from_the_start(_as_tuple(donate_argnums), positions)
        # An argument may be named static and passed by place, or the other way round.
        by_place = tuple(i for i, name in enumerate(positions) if name in self._static_argnames)
        by_name = tuple(name for i, name in enumerate(positions) if i in self._static_argnums)
        self._static_argnums += by_place
        self._static_argnames += by_name
        self._options = options
        self._compiled: dict[Any, Program] = {}
        self._sizes = Sizes(f"jit of {getattr(f, '__name__', 'a function')!r}", _JIT_ADVICE)
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is not None or contains_keras_tensor((args, kwargs)):
            return self._f(*args, **kwargs)
        kept = {i: a for i, a in enumerate(args) if i in self._static_argnums}
        named = {k: v for k, v in kwargs.items() if k in self._static_argnames}
        dynamic = tuple(None if i in kept else a for i, a in enumerate(args))
        leaves, tree = jax.tree.flatten((dynamic, {k: v for k, v in kwargs.items() if k not in named}))
        avals = tuple((np.shape(x), argument_dtype(x)) for x in leaves)
        static = (*kept.items(), *sorted(named.items()))
        kinds = tuple(type(value) for _, value in static)  # 1 equals True
        key = (tree, avals, static, kinds, floatx(), image_data_format(), current_device(), distribution())
        try:
            program = self._compiled.get(key)
        except TypeError as error:
            raise ArgumentError(f"jit: static arguments must be hashable: {error}") from None
        if program is None:
            self._sizes.add(sizes_of([shape for shape, _ in avals]))
            program = self._trace(tree, avals, kept, named, args)
            with self._lock:
                program = self._compiled.setdefault(key, program)
                if len(self._compiled) > _JITTED:
                    del self._compiled[next(iter(self._compiled))]
        return program(*leaves)

    def _trace(
        self, tree: Any, avals: Sequence[tuple], kept: dict[int, Any], named: dict[str, Any], args: tuple
    ) -> Program:
        def call(tensors: list[Tensor]) -> Any:
            dynamic, keywords = jax.tree.unflatten(tree, tensors)
            full = tuple(kept.get(i, a) for i, a in enumerate(dynamic))
            return self._f(*full, **keywords, **named)

        types = [TensorType(dtype, shape) for shape, dtype in avals]
        name = getattr(self._f, "__name__", "main")
        module, out_tree = trace_flat(call, types, name=name)
        donate = _leaf_positions(args, kept, self._donate_argnums)
        convention = Convention(unpack=functools.partial(jax.tree.unflatten, out_tree), key=("flat", out_tree))
        return Program(module, donate=donate, convention=convention, mesh=mesh_for(module), **self._options)

    def lower(self, *args: Any, **kwargs: Any) -> Module:
        """The module that is traced for these arguments."""
        self(*args, **kwargs)
        return next(reversed(self._compiled.values())).graph


def _as_tuple(value: Any) -> tuple:
    return (value,) if isinstance(value, int | str) else tuple(value)


def _positional_names(f: Callable[..., Any]) -> list[str]:
    """The names of the arguments that can be passed by place; none where ``f`` does not tell."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _from_the_start(argnums: tuple[int, ...], names: Sequence[str]) -> tuple[int, ...]:
    """Argument numbers without negative ones, which count from the last argument."""
    wrong = [n for n in argnums if n < -len(names)]
    if wrong:
        raise ArgumentError(f"jit: there is no argument {wrong[0]}; the function takes {', '.join(names) or 'none'}")
    return tuple(n if n >= 0 else n + len(names) for n in argnums)


def _leaf_positions(args: tuple, kept: dict[int, Any], argnums: Sequence[int]) -> tuple[int, ...]:
    positions: list[int] = []
    at = 0
    for i, arg in enumerate(args):
        count = 0 if i in kept else len(jax.tree.leaves(arg))
        if i in argnums:
            positions.extend(range(at, at + count))
        at += count
    return tuple(positions)
