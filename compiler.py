"""The pipeline on one page: passes, then lowering, then runtime.

A traced module is optimized once, on symbolic shapes. Each concrete set of shapes it is called with is then
specialised, lowered to StableHLO and compiled by XLA; ``jax.jit``'s own cache keeps the executables.
"""

from __future__ import annotations

import copy
import itertools
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from .ir import Graph, Module, Parameter, TensorType
from .ir.binding import bind_symbols, check_guards, graph_types
from .ir.errors import ArgumentError, DTypeError, LaminaError
from .ir.fingerprint import fingerprint
from .ir.sharding import splits
from .ir.types import is_complex, is_float, numpy_dtype, short_name, static_shape
from .lowering import stablehlo
from .passes import RULES, Ready, parse_pipeline, run_pipeline, split_prepared
from .runtime import dispatch, placement
from .runtime.devices import are_apart, find_device, home_of, put_on
from .runtime.dispatch import Convention
from .runtime.errors import xla_errors
from .runtime.executables import Executables, Identity
from .runtime.interrupts import uninterrupted
from .runtime.options import compiler_options, is_refusal
from .runtime.recompiles import Sizes
from .runtime.shared import Shared, Table

_numbers = itertools.count()  # tells programs apart for good, as id() would not once one is gone
#: What equal programs share; see :attr:`Program._shared`.
SHARED: Table[Any] = Table()
#: Executables have constants built in: programs with more bytes of them are not kept for those to come.
_KEPT_CONSTANTS = 1 << 20
PAD = (
    "Pad {dims} to a few sizes (such as 32, 64, 128; the last batch to the size of the others) and cut the result, or "
    "keep to one size"
)


class Binding(Protocol):
    """What a parameter is bound to: a Variable, seen from below."""

    _version: int

    @property
    def _value(self) -> Any: ...

    def _take(self) -> Any: ...

    def _set(self, array: Any, own: bool = False) -> None: ...


def _positions(donate: object, count: int) -> tuple[int, ...]:
    """The numbers of inputs that are given away."""
    if isinstance(donate, list | tuple) and all(type(i) is int and 0 <= i < count for i in donate):
        return tuple(donate)
    raise ArgumentError(
        f"donate: expected positions of inputs from 0 to {count - 1}, such as (0,); received {donate!r}"
    )


class Program:
    """One traced module, optimized and ready to run on flat arrays.

    Calling it takes one array for each input and returns a list with one ``jax.Array`` for each output; parameters are
    read from the Variables they are bound to, and state updates are written back to them.

    Args:
        module: what was traced. A parameter's ``key`` is the Variable it is bound to.
        pipeline: text of passes, such as ``"O2"``.
        device: where it runs, by name; None for where its Variables were put, or jax's default.
        target: what the passes optimize for; by default the device's platform.
        donate: positions of inputs whose memory the outputs may take.
        donate_state: let the next values of Variables take the memory of those before where that saves a copy: an
            optimizer's state stays where it is. Arrays that anybody read from a Variable are copied first, so they
            stay good.
        convention: what a call takes and gives, if not flat lists.
        verify: check the graph after each pass.
        keep_graphs: keep the graph before and after each pass in the records.
        cache: whether its executables are taken from the disk cache, and kept there.
        mesh: the devices that it is partitioned over by the shardings in the graph, where no Variable is laid over a
            mesh, which then is the one. A program that is given a device has none.

    Attributes:
        home: the device that its Variables stay on, or that it was given; None where jax may move all.
    """

    def __init__(
        self,
        module: Module,
        pipeline: str = "O2",
        device: str | jax.Device | None = None,
        target: str | None = None,
        donate: Sequence[int] = (),
        donate_state: bool = False,
        convention: Convention | None = None,
        verify: bool = False,
        keep_graphs: bool = False,
        cache: bool = True,
        mesh: Mesh | None = None,
    ) -> None:
        self.graph = module
        self.pipeline = pipeline
        self.donate = _positions(donate, len(module.main.inputs))
        self.cache = cache
        self._splits = True
        self.mesh = None if device is not None else self._mesh_of(module, mesh)
        if self.mesh is None and device is None:
            self.home = home_of((p.name, p.key._value) for p in module.main.parameters)
        else:
            self.home = find_device(device) if self.mesh is None else self.mesh.devices.flat[0]
        self.device = find_device(self.home)
        self.target = target or self.device.platform
        optimized, self.records = run_pipeline(
            module, pipeline, verify=verify, keep_graphs=keep_graphs, target=self.target
        )
        self.prepare, self.optimized = split_prepared(optimized)
        off = frozenset(parse_pipeline(pipeline).off & RULES.keys())
        self._ready = Ready(self.optimized, self.target, off)
        self._updated: list[Binding] = [u.parameter.key for u in module.main.updates]
        self._convention = convention or Convention()
        values = [*module.main.inputs, *(p.value for p in module.main.parameters), *module.main.results]
        self._wide = dispatch.needs_x64(*(v.type.dtype for v in values))
        self._placed = None if device is None else self.device
        self._parameters: _Parameters | None = None
        if self.optimized.main.parameters:
            ready = Ready(Module({"main": self.prepare}, "prepare"), self.target, off) if self.prepare else None
            bindings = [p.key for p in module.main.parameters]
            self._parameters = _Parameters(
                bindings, self.optimized.main.parameters, ready, self._wide, cache, self.mesh, self._placed
            )
        #: Which parameters of the optimized graph are given away, by place.
        self._given = self._state() if donate_state else ()
        before = (self._parameters is not None) + bool(self._given)
        self._donated = ((0,) if self._given else ()) + tuple(i + before for i in donate)

    @staticmethod
    def _mesh_of(module: Module, mesh: Mesh | None) -> Mesh | None:
        """The mesh that Variables are laid over, or ``mesh`` where only the graph has shardings."""
        found = placement.mesh_of((p.name, p.key._value) for p in module.main.parameters)
        if found is not None or mesh is None:
            return found
        values = itertools.chain(module.main.inputs, (r for node in module.walk() for r in node.results))
        return mesh if any(v.type.sharding is not None for v in values) else None

    def _state(self) -> tuple[int, ...]:
        """The updated parameters whose memory XLA writes in place: those that only elementwise operations read.

        One that is read otherwise, as a kernel is by the products of the backward pass, XLA would copy first, and back
        at the end.
        """
        updated = {id(b) for b in self._updated}
        elsewhere = {o for n in self.optimized.main.nodes if not n.op.elementwise for o in n.operands}
        parameters = enumerate(self.optimized.main.parameters)
        return tuple(i for i, p in parameters if id(p.key) in updated and p.value not in elsewhere)

    def __call__(self, *args: Any) -> Any:
        """Run on arrays; the result is what ``unpack`` makes of the outputs."""
        try:
            return self.call(*args)
        except LaminaError:
            if self._shared.owner() is self:
                raise
        except ValueError as error:
            if are_apart(error):
                return self._call_on_mesh(args) if self.mesh is not None else self.call(*self._brought(args))
            if not is_refusal(error):
                raise
            return self._calling(self._shared, nested=True)(*args)
        return self._calling(self._own)(*args)  # fails again, in this program's own names

    def _brought(self, args: tuple) -> Any:
        """Arguments brought to where the parameters are. Raises :class:`DeviceError` where arrays are on several."""
        names = [p.name for p in self.optimized.main.parameters]
        home = home_of(zip(names, self.parameter_values(), strict=True))
        if home is None:
            home = home_of((f"input {i}", x) for i, x in enumerate(jax.tree.leaves(args)))
        return args if home is None else jax.tree.map(lambda x: put_on(x, home), args)

    def _call_on_mesh(self, args: tuple) -> Any:
        """Call on arrays that are elsewhere, laid out otherwise, or that can't be split evenly."""
        arrays = fit_inputs(self.graph.main, self._convention.pack(args))
        program = self if self._divides([np.shape(x) for x in arrays]) else self._unsplit
        brought = [
            placement.put(x, program._of_input(v.type)) for x, v in zip(arrays, self.graph.main.inputs, strict=True)
        ]
        return program.call(*self._convention.restore(brought))

    def _divides(self, shapes: Sequence[Sequence[int]]) -> bool:
        """Whether inputs of these shapes can be split as they are to be."""
        if self.mesh is None:
            return True
        layouts = [v.type.sharding or (None,) * v.rank for v in self.graph.main.inputs]
        return all(splits(s, layout, self.mesh.shape) for s, layout in zip(shapes, layouts, strict=True))

    @cached_property
    def _unsplit(self) -> Program:
        """The same program for inputs that are whole on every device, as their sizes can't be split evenly."""
        found = copy.copy(self)
        for name in ("call", "_shared", "_own"):
            found.__dict__.pop(name, None)
        found._splits = False
        return found

    @cached_property
    def call(self) -> Callable[..., Any]:
        """The quickest way to call it; for programs without state what ``jax.jit`` returned, with nothing around it.

        It is for those who keep the program too. An error in it may name the layers of an equal program.
        """
        return self._calling(self._shared)

    def _calling(self, shared: Shared[Program], nested: bool = False) -> Callable[..., Any]:
        jitted = shared.nested if nested else shared.call
        if self._parameters is None:
            return dispatch.with_x64(jitted) if self._wide else jitted
        parameters, updated = self._parameters.values, self._updated

        def run(*args: Any) -> Any:
            return jitted(parameters(), *args)

        def run_and_update(*args: Any) -> Any:
            with uninterrupted():
                result, new = jitted(parameters(), *args)
                for binding, array in zip(updated, new, strict=True):
                    binding._set(array, own=True)
            return result

        given = [self.optimized.main.parameters[i].key for i in self._given]
        kept = self._parameters.without(self._given)

        def run_and_donate(*args: Any) -> Any:
            with uninterrupted():
                result, new = jitted(tuple([b._take() for b in given]), kept(), *args)
                for binding, array in zip(updated, new, strict=True):
                    binding._set(array, own=True)
            return result

        chosen = run_and_donate if given else run_and_update if updated else run
        return dispatch.with_x64(chosen) if self._wide else chosen

    def executables(self) -> dict[str, bytes]:
        """What XLA compiled so far, for any sizes, as entries of the disk cache by key."""
        found = [self._shared.executables]
        if self._parameters is not None and self.prepare is not None:
            found.append(self._parameters._shared.executables)
        return {key: entry for each in found if each is not None for key, entry in each.entries().items()}

    def parameter_values(self) -> tuple[Any, ...]:
        """The arrays of the optimized graph's parameters now; prepared ones are computed again only after a change."""
        return self._parameters.values() if self._parameters is not None else ()

    # Calling through jax.jit

    @cached_property
    def _shared(self) -> Shared[Program]:
        """The jitted function that this program has in common with all equal ones."""
        constants = (n.attributes["value"] for n in self.optimized.walk() if n.op.name == "constant")
        keep = sum(value.nbytes for value in constants) <= _KEPT_CONSTANTS
        key = self._key()
        sizes = Sizes(f"{self.graph.name!r}", PAD)
        return SHARED.join(key, self, lambda: self._share(key, sizes), keep)

    @cached_property
    def _own(self) -> Shared[Program]:
        """A jitted function of its own, to look at: its code names this program's layers."""
        shared = self._share(("own", next(_numbers)), None)
        shared.join(self)
        return shared

    def _key(self) -> Hashable:
        """Equal keys mean programs for which jax and XLA do the same."""
        called = Graph(inputs=self.graph.main.inputs, guards=self.graph.main.guards)
        try:
            digest = fingerprint(Module({**self.optimized.functions, "": called}))
            key = (
                digest, self._convention.key, self._donated, self._given, self.target, self._ready.off, self._placed,
                self.cache, self.mesh, self._splits,
            )  # fmt: skip
            hash(key)
        except TypeError:  # an attribute, or static data in a pytree, that can't be compared
            return ("alone", next(_numbers))
        return key

    def _share(self, key: Hashable, sizes: Sizes | None) -> Shared[Program]:
        options = {"xla_options": dict(compiler_options(self.device.platform)), **self._placement()}
        build = _jitted(
            key, self.optimized.main, self.graph.name, self._wide, self.mesh, donate_argnums=self._donated, **options
        )
        if self.mesh is not None:
            return Shared(self.graph.name, build, sizes)
        told = (key, self._donated, self._given, self.target, sorted(self._ready.off), options["xla_options"])
        executables = _executables(told, self.optimized, *self._trees(), self.cache, self._placed)
        return Shared(self.graph.name, build, sizes, executables)

    def _placement(self) -> dict[str, Any]:
        """Where ``jax.jit`` is to have the arguments and the updates."""
        if self.mesh is None:
            return {} if self._placed is None else {"in_shardings": SingleDeviceSharding(self._placed)}
        parameters = [self._laid_out(p.type) for p in self.optimized.main.parameters]
        arguments = self._arranged(
            parameters,
            [self._of_input(v.type) if v.type.sharding is not None else None for v in self.graph.main.inputs],
        )
        updates = [self._laid_out(u.parameter.type) for u in self.graph.main.updates]
        return {"in_shardings": arguments, "out_shardings": (None, updates) if updates else None}

    def _laid_out(self, type_: TensorType) -> NamedSharding | None:
        """Where an array of this type is; None where XLA decides."""
        assert self.mesh is not None
        return None if type_.sharding is None else NamedSharding(self.mesh, PartitionSpec(*type_.sharding))

    def _of_input(self, type_: TensorType) -> NamedSharding:
        """Where an input is brought to."""
        assert self.mesh is not None
        return NamedSharding(self.mesh, PartitionSpec(*(type_.sharding or ()) if self._splits else ()))

    def _arranged(self, parameters: Sequence[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments that ``jax.jit``'s function takes, of what stands for parameters and inputs."""
        given = [p for i, p in enumerate(parameters) if i in self._given]
        kept = [p for i, p in enumerate(parameters) if i not in self._given]
        state = (tuple(given), tuple(kept)) if given else (tuple(kept),) if kept else ()
        return (*state, *self._convention.restore(list(inputs)))

    def _trees(self) -> tuple[Any, Any]:
        """The arguments that ``jax.jit``'s function takes and its result, with places in the graph for arrays."""
        main = self.optimized.main
        arguments = self._arranged(range(len(main.parameters)), range(len(main.inputs)))
        result = self._convention.unpack(list(range(len(main.outputs))))
        updates = list(range(len(self._updated)))
        return arguments, (result, updates) if updates else result

    def traced(self, program: dispatch.Program, *args: Any) -> Any:
        """What ``jax.jit`` traces, once for each new set of shapes."""
        parameters: Sequence[Any] = ()
        if self._parameters is not None:
            if self._given:
                given, kept, *args = args  # type: ignore[assignment]
                parameters = _merged(self._given, given, kept)
            else:
                parameters, *args = args  # type: ignore[assignment]
        main = self.optimized.main
        arrays = fit_inputs(self.graph.main, self._convention.pack(tuple(args)))
        results = dispatch.lamina_call.bind(*parameters, *arrays, program=program)
        count = len(main.outputs)
        result = self._convention.unpack(list(results[:count]))
        return (result, list(results[count:])) if self._updated else result

    # Looking inside

    def specialized(self, dims: Mapping[str, int]) -> Module:
        """The module that is lowered for concrete dimensions: optimized, specialised, target rules applied,
        primitive."""
        return self._ready.specialized(dims)

    def stablehlo(self, **dims: int) -> str:
        """StableHLO text, with layers as locations: for concrete dimensions (``N=32``), or with open ones (``?``)."""
        module = stablehlo.emit(self.specialized(self._all_dims(dims) if dims else {}), _sizes(self.mesh))
        return str(module.operation.get_asm(enable_debug_info=True, use_local_scope=True))

    def lower(self, **dims: int) -> Any:
        """``jax.stages.Lowered`` for concrete dimensions."""
        chosen = self._all_dims(dims)
        main = self.optimized.main
        types = [v.type.substitute(chosen) for v in self.graph.main.inputs]
        if self._splits and not self._divides([static_shape(t) for t in types]):
            return self._unsplit.lower(**dims)
        structs = [_struct(t) for t in types]
        parameters = [_struct(p.type.substitute(chosen)) for p in main.parameters]
        if self.mesh is not None:  # what was prepared is laid out as XLA chose
            arrays = self.parameter_values()
            parameters = [p.update(sharding=x.sharding) for p, x in zip(parameters, arrays, strict=True)]
        jitted: Any = self._own.jitted
        with dispatch.x64(self._wide):
            return jitted.lower(*self._arranged(parameters, structs))

    def compile_for(self, **dims: int) -> Any:
        """``jax.stages.Compiled`` for concrete dimensions."""
        lowered = self.lower(**dims)
        with xla_errors(f"compiling {self.graph.name}"), dispatch.x64(self._wide):
            return lowered.compile()

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


class _Parameters:
    """The arrays of a program's parameters: Variables' values, or prepared from them.

    Args:
        bindings: what the parameters of the traced module are bound to.
        parameters: those of the optimized graph.
        ready: the function ``prepare``, if there is one.
        wide: whether 64-bit types are among them.
        cache, mesh: as of the program.
        device: where they are brought to, once; None: nowhere.
    """

    def __init__(
        self,
        bindings: Sequence[Binding],
        parameters: Sequence[Parameter],
        ready: Ready | None,
        wide: bool,
        cache: bool,
        mesh: Mesh | None = None,
        device: jax.Device | None = None,
    ) -> None:
        self._bindings = list(bindings)
        self._keys = [p.key for p in parameters]
        self._ready = ready
        self._wide = wide
        self._cache = cache
        self._mesh = mesh
        self._device = device
        self._lock = threading.Lock()
        self._versions: tuple[int, ...] | None = None
        self._values: tuple[Any, ...] = ()

    def values(self) -> tuple[Any, ...]:
        """The arrays now; prepared ones are computed again only after a change."""
        versions = tuple([b._version for b in self._bindings])
        if versions != self._versions:
            with self._lock:
                prepared = self._prepare() if self._ready is not None else ()
                values = [prepared[k[1]] if isinstance(k, tuple) else k._value for k in self._keys]
                self._values = tuple(self._placed(values))
                self._versions = versions
        return self._values

    def without(self, given: Sequence[int]) -> Callable[[], tuple[Any, ...]]:
        """What :meth:`values` gives but for some, by place; the Variables of these are not looked at."""
        if not given:
            return self.values
        left = set(given)
        taken = {id(self._keys[i]) for i in given}
        rest = _Parameters.__new__(_Parameters)
        rest.__dict__ = dict(self.__dict__)
        rest._keys = [k for i, k in enumerate(self._keys) if i not in left]
        rest._bindings = [b for b in self._bindings if id(b) not in taken]
        return rest.values

    def _placed(self, values: Sequence[Any]) -> Sequence[Any]:
        return values if self._device is None else [put_on(v, self._device) for v in values]

    def _prepare(self) -> Sequence[Any]:
        assert self._ready is not None
        needed = self._placed([p.key._value for p in self._ready.module.main.parameters])
        with dispatch.x64(self._wide):
            return self._shared.call(*needed)

    def specialized(self, dims: Mapping[str, int]) -> Module:
        assert self._ready is not None
        return self._ready.specialized(dims)

    def traced(self, program: dispatch.Program, *arrays: Any) -> list[Any]:
        """What ``jax.jit`` traces of ``prepare``."""
        return dispatch.lamina_call.bind(*arrays, program=program)

    @cached_property
    def _shared(self) -> Shared[_Parameters]:
        ready = self._ready
        assert ready is not None
        key: Hashable
        try:
            key = ("prepare", fingerprint(ready.module), ready.target, ready.off, self._cache, self._mesh)
        except TypeError:
            key = ("alone", next(_numbers))
        main = ready.module.main
        build = _jitted(key, main, "prepare", self._wide, self._mesh)
        if self._mesh is not None:
            return SHARED.join(key, self, lambda: Shared("prepare", build))
        told = (key, ready.target, sorted(ready.off))
        places = tuple(range(len(main.parameters))), list(range(len(main.outputs)))
        executables = _executables(told, ready.module, *places, self._cache)
        return SHARED.join(key, self, lambda: Shared("prepare", build, executables=executables))


def _sizes(mesh: Mesh | None) -> Mapping[str, int] | None:
    """The size of each axis of a mesh."""
    return None if mesh is None else mesh.shape


def _merged(places: Sequence[int], given: Sequence[Any], kept: Sequence[Any]) -> list[Any]:
    """The parameters in order, of those given away, which stand at ``places``, and the others."""
    by_place = dict(zip(places, given, strict=True))
    rest = iter(kept)
    return [by_place[i] if i in by_place else next(rest) for i in range(len(given) + len(kept))]


def _jitted(
    key: Hashable,
    main: Graph,
    name: str,
    wide: bool,
    mesh: Mesh | None = None,
    xla_options: Any = None,
    **options: Any,
) -> Callable[[Shared[Any], bool], Callable[..., Any]]:
    """What makes the jitted function that owners of ``key`` share. Inside another one it has no ``xla_options``.

    jax's caches keep what they were given long after its last use. That must not keep a model and its weights, so
    nothing here holds a graph.
    """
    types = [p.type for p in main.parameters] + [v.type for v in main.inputs]
    results = [v.type for v in main.results]

    def dims_of(avals: Sequence[Any]) -> dict[str, int]:
        return bind_symbols([(f"argument {i}", t, a.shape) for i, (t, a) in enumerate(zip(types, avals, strict=True))])

    def result_types(avals: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
        dims = dims_of(avals)
        return [_struct(t.substitute(dims)) for t in results]

    def build(shared: Shared[Any], nested: bool) -> Callable[..., Any]:
        held = weakref.ref(shared)

        def alive() -> Shared[Any]:
            found = held()
            if found is None:
                raise LaminaError(f"the compiled program {name!r} is gone; keep it as long as what jax made of it")
            return found

        def emit(ctx: Any, operands: Sequence[Any]) -> Sequence[Any]:
            shared, dims = alive(), dims_of(ctx.avals_in)
            ready = shared.owner().specialized(dims)
            if dims and shared.sizes is not None:
                shared.sizes.add(dims)
            return stablehlo.emit_into(ctx, ready.main, operands, ready.functions, _sizes(mesh))

        program = dispatch.Program(key=key, result_types=result_types, emit=emit, name=name, wide=wide)

        def call(*args: Any) -> Any:
            return alive().owner().traced(program, *args)

        call.__name__ = call.__qualname__ = "".join(c if c.isalnum() or c == "_" else "_" for c in name) or "main"
        return jax.jit(call, compiler_options=None if nested else xla_options, **options)

    return build


def _executables(
    told: tuple[Any, ...], module: Module, arguments: Any, result: Any, cache: bool, device: jax.Device | None = None
) -> Executables | None:
    """Where the executables of a program are found, in this process and others; None where it can't be told there.

    Args:
        told: its key, then what else decides the code, as plain data.
        arguments, result: nests of a call, with places in the graph in the place of arrays.
    """
    key, *more = told
    digest = key[1] if key[0] == "prepare" else key[0]
    if digest in ("alone", "own") or any(node.op.name == "custom_call" for node in module.walk()):
        return None  # its key means nothing elsewhere; the function that it calls may not be there
    orders = jax.tree.leaves(arguments), jax.tree.leaves(result)
    trees = jax.tree.structure(arguments), jax.tree.structure(result)
    return Executables(Identity(repr((digest, more, orders)), *trees, device), cache)


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
        dtype = numpy_dtype(getattr(array, "dtype", None) or np.result_type(array))
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


def _struct(type_: TensorType) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(type_.shape, type_.dtype)
