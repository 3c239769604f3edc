"""The pipeline on one page: passes, then lowering, then runtime.

A traced module is optimized once, on symbolic shapes. Each concrete set of shapes it is called with is then
specialised, lowered to StableHLO and compiled by XLA; ``jax.jit``'s own cache keeps the executables.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import jax
import numpy as np

from .ir import Graph, Module, TensorType
from .ir.binding import bind_symbols, broken_guard, check_guards, graph_types
from .ir.errors import ArgumentError, DTypeError, GuardError, LaminaError, TracingError
from .ir.types import element_type, is_complex, is_float, short_name, static_shape
from .lowering import stablehlo
from .passes import Record, run_pipeline, run_target, specialize, split_prepared
from .runtime import dispatch
from .runtime.devices import find_device
from .runtime.errors import xla_errors

_numbers = itertools.count()  # tells programs apart for good, as id() would not once one is gone


class Binding(Protocol):
    """What a parameter is bound to: a Variable, seen from below."""

    _value: Any
    _version: int

    def _set(self, array: Any) -> None: ...


class Program:
    """One traced module, optimized and ready to run on flat arrays.

    Calling it takes one array for each input and returns a list with one ``jax.Array`` for each output; parameters are
    read from the Variables they are bound to, and state updates are written back to them.

    Args:
        module: what was traced. A parameter's ``key`` is the Variable it is bound to.
        pipeline: text of passes, such as ``"O2"``.
        device: where it runs, by name; None for jax's default.
        target: what the passes optimize for; by default the device's platform.
        donate: positions of inputs whose memory the outputs may take.
        pack: ``(args) -> flat list of arrays``, run while jax traces a call.
        unpack: ``flat list -> result``, run while jax traces a call.
        verify: check the graph after each pass.
        keep_graphs: keep the graph before and after each pass in the records.
    """

    def __init__(
        self,
        module: Module,
        pipeline: str = "O2",
        device: str | jax.Device | None = None,
        target: str | None = None,
        donate: Sequence[int] = (),
        pack: Callable[..., Any] | None = None,
        unpack: Callable[..., Any] | None = None,
        verify: bool = False,
        keep_graphs: bool = False,
    ) -> None:
        self.graph = module
        self._number = next(_numbers)
        self.device = find_device(device)
        self.target = target or self.device.platform
        optimized, self.records = run_pipeline(
            module, pipeline, verify=verify, keep_graphs=keep_graphs, target=self.target
        )
        self.prepare, self.optimized = split_prepared(optimized)
        self._bindings: list[Binding] = [p.key for p in module.main.parameters]
        self._updated: list[Binding] = [u.parameter.key for u in module.main.updates]
        self._pack = pack or (lambda args: list(args))
        self._unpack = unpack or (lambda flat: flat)
        self._specialized = _Specializations(self.optimized, self.target)
        self._lock = threading.Lock()
        values = [*module.main.inputs, *(p.value for p in module.main.parameters), *module.main.results]
        self._wide = dispatch.needs_x64(*(v.type.dtype for v in values))
        self._prepared: dict[int, Any] = {}
        self._versions: tuple[int, ...] | None = None
        self._parameters: tuple[Any, ...] = ()
        self._run_prepare = self._jit_prepare() if self.prepare is not None else None
        placement: dict[str, Any] = {}
        if device is not None:
            placement = {"in_shardings": jax.sharding.SingleDeviceSharding(self.device)}
        self._takes_parameters = bool(self.optimized.main.parameters)
        donated = tuple(i + self._takes_parameters for i in donate)
        body = self._with_parameters if self._takes_parameters else self._without_parameters
        named = _named(body, module.name)
        self._jitted = jax.jit(named, donate_argnums=donated, **placement)
        #: The whole call, for programs without state: what ``jax.jit`` returns, with nothing around it.
        self.direct = None if self._takes_parameters or self._updated or self._wide else self._jitted

    def __call__(self, *args: Any) -> Any:
        """Run on arrays; the result is what ``unpack`` makes of the outputs."""
        if self.direct is not None:
            return self.direct(*args)
        if self._wide:
            with dispatch.x64(True):
                return self._run(*args)
        return self._run(*args)

    def _run(self, *args: Any) -> Any:
        if not self._takes_parameters:
            return self._jitted(*args)
        result = self._jitted(self.parameter_values(), *args)
        if not self._updated:
            return result
        result, new = result
        for binding, array in zip(self._updated, new, strict=True):
            binding._set(array)
        return result

    # Parameters

    def parameter_values(self) -> tuple[Any, ...]:
        """The arrays of the optimized graph's parameters now; prepared ones are computed again only after a change."""
        versions = tuple([b._version for b in self._bindings])
        if versions != self._versions:
            with self._lock:
                if self._run_prepare is not None:
                    prepared = self._run_prepare([b._value for b in self._bindings])
                    self._prepared = dict(enumerate(prepared))
                self._parameters = tuple(self._parameter_value(p.key) for p in self.optimized.main.parameters)
                self._versions = versions
        return self._parameters

    def _parameter_value(self, key: Any) -> Any:
        if isinstance(key, tuple) and key[0] == "prepared":
            return self._prepared[key[1]]
        return key._value

    def _jit_prepare(self) -> Callable[..., Any]:
        assert self.prepare is not None
        graph, _ = run_target(Module({"main": self.prepare}, "prepare"), self.target)
        place = {id(b): i for i, b in enumerate(self._bindings)}
        order = [place[id(p.key)] for p in self.prepare.parameters]

        def ready(dims: Mapping[str, int]) -> Module:
            return graph

        self._prepare_ready = ready  # what is given to jax holds it weakly
        program = self._dispatchable(ready, graph, "prepare")

        def run(values: list[Any]) -> Any:
            with dispatch.x64(self._wide):
                return jitted([values[i] for i in order])

        jitted = jax.jit(lambda values: dispatch.lamina_call.bind(*values, program=program))
        return run

    # Calling through jax.jit. These run while jax traces, once for each new set of shapes.

    def _without_parameters(self, *args: Any) -> Any:
        outputs, _ = self._bind((), args)
        return self._unpack(outputs)

    def _with_parameters(self, parameters: tuple[Any, ...], *args: Any) -> Any:
        outputs, new = self._bind(parameters, args)
        return (self._unpack(outputs), new) if self._updated else self._unpack(outputs)

    def _bind(self, parameters: Sequence[Any], args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        main = self.optimized.main
        arrays = fit_inputs(self.graph.main, self._pack(args))
        results = dispatch.lamina_call.bind(*parameters, *arrays, program=self._program)
        count = len(main.outputs)
        return list(results[:count]), list(results[count:])

    @cached_property
    def _program(self) -> dispatch.Program:
        return self._dispatchable(self._specialized, self.optimized, self.graph.name)

    def _dispatchable(
        self, specialized: Callable[[Mapping[str, int]], Module], module: Module, name: str
    ) -> dispatch.Program:
        main = module.main
        types = [p.type for p in main.parameters] + [v.type for v in main.inputs]
        results = [v.type for v in main.results]
        # jax's caches keep what they were given long after its last use; that must not keep a model and its weights.
        held = weakref.ref(specialized)

        def dims_of(avals: Sequence[Any]) -> dict[str, int]:
            return bind_symbols(
                [(f"argument {i}", t, a.shape) for i, (t, a) in enumerate(zip(types, avals, strict=True))]
            )

        def result_types(avals: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
            dims = dims_of(avals)
            return [_struct(t.substitute(dims)) for t in results]

        def emit(ctx: Any, operands: Sequence[Any]) -> Sequence[Any]:
            alive = held()
            if alive is None:
                raise LaminaError(f"the compiled program {name!r} is gone; keep it as long as what jax made of it")
            ready = alive(dims_of(ctx.avals_in))
            return stablehlo.emit_into(ctx, ready.main, operands, ready.functions)

        return dispatch.Program(
            key=(self._number, name), result_types=result_types, emit=emit, name=name, wide=self._wide
        )

    # Looking inside

    def specialized(self, dims: Mapping[str, int]) -> Module:
        """The module that is lowered for concrete dimensions: optimized, specialised, target rules applied,
        primitive."""
        return self._specialized(dims)

    def stablehlo(self, **dims: int) -> str:
        """StableHLO text, with layers as locations: for concrete dimensions (``N=32``), or with open ones (``?``)."""
        module = stablehlo.emit(self.specialized(self._all_dims(dims) if dims else {}))
        return str(module.operation.get_asm(enable_debug_info=True, use_local_scope=True))

    def lower(self, **dims: int) -> Any:
        """``jax.stages.Lowered`` for concrete dimensions."""
        chosen = self._all_dims(dims)
        main = self.optimized.main
        structs = [_struct(v.type.substitute(chosen)) for v in self.graph.main.inputs]
        parameters = tuple(_struct(p.type.substitute(chosen)) for p in main.parameters)
        args = self._restore_args(structs)
        with dispatch.x64(self._wide):
            return self._jitted.lower(parameters, *args) if parameters else self._jitted.lower(*args)

    def compile_for(self, **dims: int) -> Any:
        """``jax.stages.Compiled`` for concrete dimensions."""
        lowered = self.lower(**dims)
        with xla_errors(f"compiling {self.graph.name}"), dispatch.x64(self._wide):
            return lowered.compile()

    #: Undoes ``pack`` for :meth:`lower`; whoever passes ``pack`` sets it.
    _restore_args: Callable[[list[Any]], Sequence[Any]] = staticmethod(lambda flat: flat)

    def _all_dims(self, dims: Mapping[str, int]) -> dict[str, int]:
        symbols = self.optimized.main.symbols
        unknown = [d for d in dims if d not in symbols]
        if unknown:
            raise ArgumentError(f"the program has no dimension {unknown[0]!r}; it has {', '.join(symbols) or 'none'}")
        missing = [s for s in symbols if s not in dims]
        if missing:
            raise ArgumentError(f"concrete shapes are needed here: give {', '.join(f'{s}=32' for s in missing)}")
        for name, size in dims.items():
            if not isinstance(size, int | np.integer) or size < 0:
                raise ArgumentError(f"dimension {name} should be an integer >= 0, received {size!r}")
        check_guards(self.graph.main.guards, dims)
        return {name: int(size) for name, size in dims.items()}


class _Specializations:
    """An optimized module made ready to lower, for each set of dimensions."""

    def __init__(self, module: Module, target: str) -> None:
        self._module = module
        self._target = target
        self._ready: dict[Hashable, Module] = {}

    def __call__(self, dims: Mapping[str, int]) -> Module:
        key = tuple(sorted(dims.items()))
        if key not in self._ready:
            module = specialize(self._module, dims) if dims else self._module
            self._ready[key] = run_target(module, self._target)[0]
        return self._ready[key]


def fit_inputs(graph: Graph, arrays: Sequence[Any]) -> list[Any]:
    """Check arrays against a graph's inputs, and convert element types where nothing but precision can be lost.

    Raises:
        ArgumentError: their number is wrong. ShapeError: a rank or dimension is. DTypeError: a conversion would change
            kind (float to integer, complex to float). GuardError: the dimensions break an assumption of the trace.
    """
    if len(arrays) != len(graph.inputs):
        names = ", ".join(f"{n}: {t}" for n, t in graph_types(graph)[: len(graph.inputs)])
        raise ArgumentError(f"expected {len(graph.inputs)} arrays ({names}), received {len(arrays)}")
    fitted = []
    named = []
    for (name, type_), array in zip(graph_types(graph), arrays, strict=False):
        dtype = np.dtype(getattr(array, "dtype", None) or np.result_type(array))
        if dtype != type_.dtype:
            if not _converts(dtype, type_.dtype):
                raise DTypeError(
                    f"{name}: expected {short_name(type_.dtype)}, {type_}; received {dtype}. "
                    f"Convert it first: x.astype({type_.dtype.name!r})"
                )
            array = jax.numpy.asarray(array).astype(type_.dtype)
        fitted.append(array)
        named.append((name, type_, np.shape(array)))
    check_guards(graph.guards, bind_symbols(named))
    return fitted


def _converts(source: np.dtype, target: np.dtype) -> bool:
    """Whether an array of ``source`` may stand where ``target`` is expected: bool < integer < float < complex."""

    def kind(dtype: np.dtype) -> int:
        return 3 if is_complex(dtype) else 2 if is_float(dtype) else 0 if dtype.kind == "b" else 1

    return source.kind not in "OUSmM" and kind(source) <= kind(target)


def _takes_any_array(call: Callable[..., Any]) -> Callable[..., Any]:
    """``call``, and where jax does not know an argument's class, ``call`` on that array taken over by DLPack."""

    def compiled(*args: Any, **keywords: Any) -> Any:
        if keywords:
            raise ArgumentError(
                f"a compiled program takes arrays by place, received {next(iter(keywords))!r} by keyword; give static "
                "keywords such as training=True to lamina.compile"
            )
        try:
            return call(*args)
        except (TypeError, ValueError):  # jax's refusals, and ours, which are raised again below
            known = jax.tree.map(_known_array, args)
            if all(a is b for a, b in zip(jax.tree.leaves(known), jax.tree.leaves(args), strict=True)):
                raise
        return call(*known)

    return compiled


def _known_array(x: Any) -> Any:
    """An array that jax knows. Raises :class:`DTypeError` for what is no array."""
    if isinstance(x, jax.Array | bool | int | float | complex):
        return x
    if isinstance(x, np.ndarray | np.generic):
        element_type(x.dtype)
        return x
    if hasattr(x, "__dlpack__"):
        return jax.dlpack.from_dlpack(x)
    if hasattr(x, "__array__"):
        try:
            return np.asarray(x)
        except TracingError:
            raise TracingError(
                f"a compiled program runs on arrays, received {x!r}, which has no value yet; inside a traced function "
                "or a functional model call the function or model that was compiled"
            ) from None
    raise DTypeError(f"expected an array, received {x!r} of type {type(x).__name__}")


def _struct(type_: TensorType) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(type_.shape, type_.dtype)


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return function(*args)

    call.__name__ = call.__qualname__ = "".join(c if c.isalnum() or c == "_" else "_" for c in name) or "main"
    return call


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
        self._programs = [program] if program is not None else []
        self._retrace = retrace
        self._specs = list(specs)
        self._flatten = flatten
        self._by_shape: dict[Any, Program] = {}
        self._lock = threading.RLock()
        self.why_per_shape = why
        self._open = program is None or bool(program.graph.main.guards)
        call: Callable[..., Any] = self._call_by_shape
        if program is not None and not self._open:
            call = program.direct or program
        self.__call__ = _takes_any_array(call)

    def _call_by_shape(self, *args: Any) -> Any:
        flat = self._flatten(args)
        shapes = tuple(np.shape(x) for x in flat)
        if shapes not in self._by_shape:
            with self._lock:
                self._by_shape[shapes] = self._find(shapes)
        return self._by_shape[shapes](*args)

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
        self._programs.append(self._retrace(dims))
        return self._programs[-1]

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
