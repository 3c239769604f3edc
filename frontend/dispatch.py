"""How a public op runs: traced into the current graph, recorded in a functional model, or compiled and run at once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.tree_util import tree_flatten

from ..compiler import Program
from ..ir import TensorType
from ..ir.types import element_type, numpy_dtype, static_shape
from ..runtime.dispatch import Convention
from ..runtime.recompiles import Sizes, sizes_of
from .devices import current_device
from .distribution.current import distribution
from .distribution.tensors import mesh_for
from .dtypes import epsilon, floatx, image_data_format
from .keras_tensor import KerasTensor, contains_keras_tensor
from .tensor import Tensor
from .trace import current_trace
from .tracing import trace_flat
from .variable import Variable

#: Programs that one cache of eager calls keeps.
_PROGRAMS = 4096
_ADVICE = (
    "lamina.compile(model, lamina.Spec((None, ...))) traces once for all sizes; XLA still compiles for each: pad "
    "{dims} to a few sizes (such as 32, 64, 128)"
)
_WIDE = (np.dtype("float64"), np.dtype("int64"), np.dtype("uint64"), np.dtype("complex128"))


def public_op(function: Callable[..., Any] | None = None, *, weak: bool = True) -> Any:
    """Make a function on traced tensors callable anywhere.

    The function itself always runs inside a trace: it turns its arguments into tensors (``convert.as_tensor``,
    ``promote``) and emits nodes. Called on a functional model's symbolic tensors it becomes an operation of that model;
    called on arrays it is compiled whole, once per shape, type and static arguments, and returns ``jax.Array``.

    Args:
        weak: whether a Python float among the arguments may enter as an input, so that another one needs no other
            program; False for a function that needs its value (``@public_op(weak=False)``).
    """
    if function is None:
        return functools.partial(public_op, weak=weak)

    @functools.wraps(function)
    def op(*args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return run_eagerly(function, args, kwargs, weak=weak, op=op)
        if contains_keras_tensor(args) or (kwargs and contains_keras_tensor(kwargs)):
            return _recorded(op, args, kwargs)
        return function(*args, **kwargs)

    op.traced = function  # type: ignore[attr-defined]
    return op


class WeakTensor(Tensor):
    """A Python number that reached an eager op as an input: its type yields in promotion, its value is not compiled
    in."""

    __slots__ = ("python_type",)

    def __init__(self, tensor: Tensor, python_type: type) -> None:
        super().__init__(tensor.value, tensor.trace)
        self.python_type = python_type


class EagerCache:
    """Compiled programs of eager calls, by what the trace depended on; the oldest goes where there are too many.

    Args:
        layer: the name of the layer whose calls are kept, if they are one layer's: it is warned about where it is
            compiled for one size after another.
    """

    def __init__(self, layer: str | None = None) -> None:
        self.programs: dict[Any, Program] = {}
        self.lock = threading.Lock()
        self._layer = layer
        self._sizes = None if layer is None else Sizes(f"Layer {layer!r}, called on arrays,", _ADVICE)

    def add(self, key: Any, found: Program) -> Program:
        """Keep what was compiled for ``key``, or give what another thread compiled first."""
        if self._sizes is not None:
            main = found.graph.main
            self._sizes.add(sizes_of([static_shape(v.type) for v in main.inputs]))
        with self.lock:
            found = self.programs.setdefault(key, found)
            if len(self.programs) > _PROGRAMS:
                del self.programs[next(iter(self.programs))]
        return found

    def clear(self) -> None:
        with self.lock:
            self.programs.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return (EagerCache, (self._layer,))  # the copy of a layer, by copy or pickle, starts with an empty one


_cache = EagerCache()


def run_eagerly(
    function: Callable[..., Any],
    args: tuple,
    kwargs: dict[str, Any],
    extra_key: Any = None,
    cache: EagerCache = _cache,
    weak: bool = True,
    op: Callable[..., Any] | None = None,
) -> Any:
    """Compile ``function(*args, **kwargs)`` whole (or find it compiled) and run it on the arrays among the arguments.

    Args:
        extra_key: what else the trace depends on (hashable).
        cache: where the program is kept.
        weak: pass Python numbers as inputs, so that another number needs no other program.
        op: what a functional model records where symbolic tensors are among the arguments.
    """
    leaves, tree = tree_flatten((args, kwargs))
    kinds = [_KINDS[type(leaf)] for leaf in leaves]
    if kinds.count("jax") == len(kinds):
        arrays, roles = leaves, tuple([("array", leaf.shape, leaf.dtype) for leaf in leaves])
    elif op is not None and "symbolic" in kinds:
        return _recorded(op, args, kwargs)
    else:
        weak = weak and float in kinds and not any(isinstance(x, jax.Array) and x.dtype in _WIDE for x in leaves)
        roles = tuple([_role(leaf, weak) for leaf in leaves])
        arrays = [_input(leaf, role) for leaf, role in zip(leaves, roles, strict=True) if role[0] != "static"]
    key: Any = (function, tree, roles, extra_key, floatx(), epsilon(), image_data_format(), current_device())
    key = key if distribution() is None else (*key, distribution())
    try:
        program = cache.programs.get(key)
    except TypeError:  # an argument that cannot be hashed: nothing to look up
        key, program = None, None
    if program is None:
        program = _compile(function, tree, leaves, roles)
        if key is not None:
            program = cache.add(key, program)
    return program(*arrays)


class _Kinds(dict[type, Any]):
    """What an argument's class makes it; asked for each argument of each call, so classes are looked at once."""

    def __missing__(self, cls: type) -> Any:
        kind: Any = "other"
        if issubclass(cls, jax.Array):
            kind = "jax"
        elif issubclass(cls, KerasTensor):
            kind = "symbolic"
        elif cls is float:
            kind = float
        self[cls] = kind
        return kind


_KINDS = _Kinds()


def _recorded(op: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    from .operation import record_operation

    return record_operation(op, args, kwargs)


def _role(leaf: Any, weak: bool) -> tuple[Any, ...]:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic) and not isinstance(leaf, np.bool_):  # a flag, mostly
        return ("array", leaf.shape, _narrow(leaf))
    if isinstance(leaf, Variable):
        return ("array", leaf.shape, np.dtype(element_type(leaf.dtype)))
    if weak and type(leaf) is float:
        return ("weak", float)
    if isinstance(leaf, slice):
        return ("static", "slice", leaf.start, leaf.stop, leaf.step)
    return ("static", type(leaf), leaf.hex() if isinstance(leaf, float) else leaf)  # tells -0.0 and knows NaN


def _narrow(leaf: Any) -> np.dtype:
    """NumPy's 64-bit arrays enter as 32-bit, as in Keras on JAX; 64-bit jax arrays were asked for and stay."""
    dtype = numpy_dtype(leaf.dtype)
    if isinstance(leaf, jax.Array) or dtype not in _WIDE:
        return dtype
    return np.dtype({"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}[dtype.name])


def _input(leaf: Any, role: tuple[Any, ...]) -> Any:
    if isinstance(leaf, Variable):
        return leaf.value
    if role[0] == "weak":
        return np.float32(leaf)
    if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype != role[2]:
        return np.asarray(leaf).astype(role[2])
    return leaf


def _compile(function: Callable[..., Any], tree: Any, leaves: list[Any], roles: Sequence[tuple]) -> Program:
    dynamic = [i for i, role in enumerate(roles) if role[0] != "static"]
    types = [TensorType("float32") if roles[i][0] == "weak" else TensorType(roles[i][2], roles[i][1]) for i in dynamic]

    def call(tensors: list[Tensor]) -> Any:
        full = list(leaves)
        for i, tensor in zip(dynamic, tensors, strict=True):
            full[i] = WeakTensor(tensor, roles[i][1]) if roles[i][0] == "weak" else tensor
        args, kwargs = jax.tree.unflatten(tree, full)
        return function(*args, **kwargs)

    name = getattr(function, "__name__", type(function).__name__)
    module, out_tree = trace_flat(call, types, name=name)
    convention = Convention(unpack=functools.partial(jax.tree.unflatten, out_tree), key=("flat", out_tree))
    return Program(module, pipeline="O1", convention=convention, mesh=mesh_for(module))
