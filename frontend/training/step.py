"""A function of one batch, as executables: one trace for all batch sizes, state that stays on the device."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...compiled import Compiled
from ...compiler import Program
from ...ir import TensorType
from ...ir.dims import DimLike, symbol
from ...ir.errors import DTypeError, IntegerDimError
from ...ir.types import element_type
from ...runtime.dispatch import Convention
from ...runtime.recompiles import Sizes, sizes_of
from ..devices import current_device
from ..distribution.current import distribution
from ..distribution.strategies import Distribution
from ..distribution.tensors import mesh_for, place_batch, sharding_of
from ..dtypes import floatx
from ..ops.control import scan
from ..tensor import Tensor
from ..trace import require_trace
from ..tracing import trace_flat
from .shares import agree_on_program

#: Sets of shapes whose programs a step keeps; the oldest goes first.
_PROGRAMS = 1024
_ADVICE = "pad {dims} to a few sizes (such as 32, 64, 128), and mask what was added"
#: NumPy's 64-bit arrays enter as 32-bit, as in Keras on JAX.
_NARROW = {"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}


class Step:
    """What is done with a batch: a Python function that reads and assigns Variables, compiled when it is called.

    The first axis of all arrays of a batch is one symbolic dimension, so that a short last batch needs no other trace;
    XLA compiles once for each size. Where Python needs the number, it is traced for each.

    Args:
        body: takes a batch, a nest of tensors; returns a nest of tensors.
        name: what profiles call it.
        join: if given, it takes several batches stacked along a new first axis, and runs them in a loop on the device;
            ``join`` makes the result of the stacked ones.
        updates: whether it changes most of what it reads: then nothing is prepared from Variables beforehand.
    """

    def __init__(
        self, body: Callable[[Any], Any], name: str, join: Callable[[Any], Any] | None = None, updates: bool = True
    ) -> None:
        self._body = body
        self._name = name
        self._join = join
        self._updates = updates
        self._compiled: dict[Any, Compiled] = {}
        self._known: dict[Any, Program] = {}
        self._sizes = Sizes(f"{name!r}", _ADVICE)
        self._home: jax.Device | None = None  # where the Variables that it reads stay
        self._brings = False  # whether its device has a memory of its own
        self._whole: Any = None  # shapes of the last batch, where it was not split over the mesh
        self._warned = False

    def __call__(self, batch: Any) -> Any:
        """Run on a nest of arrays; the result is a nest of ``jax.Array``, and Variables have their new values."""
        return self.run(*self.place(batch))

    def run(self, leaves: list[Any], tree: Any) -> Any:
        """Run on a batch that :meth:`place` has brought where it belongs."""
        return self.program(leaves, tree)(*leaves)

    def place(self, batch: Any) -> tuple[list[Any], Any]:
        """The leaves and the structure of a batch, laid over the mesh, or on their way to the device that the step last
        ran on. A CPU reads NumPy's arrays where they are.
        """
        leaves, tree = jax.tree.flatten(batch)
        chosen = distribution()
        if chosen is not None and chosen.device_mesh.devices.size > 1:
            leaves = [place_batch(x, chosen, 1 if self._join else 0) for x in leaves]
            self._warn_of_whole(leaves, chosen)
        elif self._brings:
            leaves = jax.device_put(leaves, self._home)
        return leaves, tree

    def begin(self) -> None:
        """Be about to run on another source of batches."""
        self._whole = None

    def _warn_of_whole(self, leaves: Sequence[Any], chosen: Distribution) -> None:
        """Warn, once, of batches that each device computes as a whole. A short one at the end of an epoch is alone."""
        axis = 1 if self._join else 0
        sizes = [x.shape[axis] for x in leaves if x.ndim > axis]
        split = chosen.num_model_replicas == 1 or not sizes or any(any(sharding_of(x) or ()) for x in leaves)
        shapes = None if split else [x.shape for x in leaves]
        if shapes is not None and shapes == self._whole and not self._warned:
            self._warned = True
            parts = chosen.num_model_replicas
            warnings.warn(
                f"{self._name}: batches of {sizes[0]} can't be split evenly over "
                f"{parts} devices along {chosen.batch_dim_name!r}, so that each device computes all of it, which takes "
                f"as long as on one. Choose a batch size that is a multiple of {parts}",
                stacklevel=2,
            )
        self._whole = shapes

    def program(self, leaves: Sequence[Any], tree: Any) -> Program:
        """What runs on arrays like ``leaves``, traced now if there is none yet."""
        key = (distribution(), current_device(), tree, *[(x.shape, x.dtype) for x in leaves])
        program = self._known.get(key)
        if program is None:
            program = self._known[key] = self._find(leaves, tree)
            agree_on_program(self._name, program)
            self._home, self._brings = program.home, program.device.platform != "cpu"
            if len(self._known) > _PROGRAMS:
                del self._known[next(iter(self._known))]
        return program

    def trace(self, leaves: Sequence[Any], tree: Any) -> None:
        """Run the Python function on tensors that have the values of ``leaves``, and compile nothing."""
        types = [TensorType(_dtype(x), x.shape) for x in leaves]

        def call(tensors: list[Tensor]) -> Any:
            trace = require_trace()
            trace.known.update((t.value, jnp.asarray(x)) for t, x in zip(tensors, leaves, strict=True))
            trace.reads_values = True
            return self._body(jax.tree.unflatten(tree, tensors))

        trace_flat(call, types, name=self._name)

    def _find(self, leaves: Sequence[Any], tree: Any) -> Program:
        types = self._types(leaves)
        key = (distribution(), current_device(), tree, tuple(types), floatx())
        if key not in self._compiled:
            self._sizes.add(sizes_of([[d for d in t.shape if isinstance(d, int)] for t in types]))
            if len(self._compiled) >= _PROGRAMS:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[key] = self._compile(types, tree)
        return self._compiled[key]._program_for(tuple(leaves))

    def _types(self, leaves: Sequence[Any]) -> list[TensorType]:
        """The arrays' types with the batch's size open, where all agree on it."""
        axis = 1 if self._join else 0
        sizes = {x.shape[axis] for x in leaves if len(x.shape) > axis}
        found = []
        for x in leaves:
            shape: list[DimLike] = list(x.shape)
            if self._join:
                shape[0] = symbol("K")
            if len(shape) > axis and len(sizes) == 1:
                shape[axis] = symbol("N")
            found.append(TensorType(_dtype(x), shape, sharding_of(x)))
        return found

    def _compile(self, types: Sequence[TensorType], tree: Any) -> Compiled:
        def program(hints: Mapping[str, int] | None = None) -> Program:
            return self.traced(types, tree, hints)

        named = [(f"array {i} of the batch", t) for i, t in enumerate(types)]
        try:
            return Compiled(program(), program, named, list)
        except IntegerDimError as error:
            return Compiled(None, program, named, list, why=error)

    def traced(
        self, types: Sequence[TensorType], tree: Any, hints: Mapping[str, int] | None = None, **options: Any
    ) -> Program:
        """The program for batches of one structure and these types; ``options`` as of :class:`Program`."""

        def call(tensors: list[Tensor]) -> Any:
            batch = jax.tree.unflatten(tree, tensors)
            if self._join is None:
                return self._body(batch)
            return self._join(scan(lambda _, each: ((), self._body(each)), (), batch)[1])

        names = [f"batch_{i}" for i in range(len(types))]
        module, out = trace_flat(call, types, names, self._name, hints)
        convention = Convention(unpack=functools.partial(jax.tree.unflatten, out), key=("flat", out))
        pipeline = "O2,-prepare" if self._updates else "O2"
        options = {"pipeline": pipeline, "mesh": mesh_for(module, whole=True), **options}
        return Program(module, convention=convention, donate_state=True, **options)


def stackable(batches: Sequence[Any]) -> list[list[Any]]:
    """Consecutive batches in groups of equal structure, shapes and types."""
    groups: list[list[Any]] = []
    last = None
    for batch in batches:
        leaves, tree = jax.tree.flatten(batch)
        key = (tree, *[(x.shape, x.dtype) for x in leaves])
        if key != last:
            groups.append([])
        groups[-1].append(batch)
        last = key
    return groups


def stack(batches: Sequence[Any]) -> Any:
    """Batches of equal structure as one, along a new first axis."""
    return jax.tree.map(lambda *parts: np.stack([np.asarray(p) for p in parts]), *batches)


def _dtype(x: Any) -> Any:
    dtype = np.dtype(x.dtype)
    if dtype.kind in "OUSmM":
        raise DTypeError(f"a batch holds an array of {dtype}, expected numbers or bools; convert it before training")
    name = dtype.name
    return element_type(name if isinstance(x, jax.Array) else _NARROW.get(name, name))
