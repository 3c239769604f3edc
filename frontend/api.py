"""``lamina.trace``, ``lamina.compile`` and ``lamina.jit``: from functions and models to modules and compiled
programs."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..compiled import Compiled
from ..compiler import Program
from ..ir import Graph, Module, TensorType
from ..ir.dims import DimLike, parse_dim, symbol
from ..ir.errors import ArgumentError, DTypeError, IntegerDimError, LaminaError
from ..ir.types import element_type
from ..runtime.dispatch import Convention
from ..runtime.recompiles import Sizes, sizes_of
from .dtypes import floatx, image_data_format
from .keras_tensor import KerasTensor, contains_keras_tensor
from .layer import Layer, _training
from .model import Model
from .tensor import Tensor
from .trace import current_trace
from .tracing import index_nest, trace_flat

#: Programs that one :func:`jit` keeps; the oldest goes first.
_JITTED = 1024
_JIT_ADVICE = (
    "One trace serves all sizes with lamina.compile(f, lamina.Spec((None, ...))); XLA still compiles for each: pad "
    "{dims} to a few sizes (such as 32, 64, 128)"
)
_NARROW = {"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}


class Spec:
    """Shape and type of an input that is not there yet.

    Args:
        shape: integers; None for a symbolic dimension, or its name or expression (``"N"``, ``"2*T"``). The leading
            Nones of all specs are one dimension ``N``; another None is a dimension of its own.
        dtype: element type, 64-bit ones included.
        name: name of the input.
    """

    def __init__(
        self, shape: Sequence[int | str | DimLike | None] = (), dtype: Any = "float32", name: str | None = None
    ) -> None:
        if isinstance(shape, int | str) or shape is None:
            raise ArgumentError(f"Spec: shape is a tuple such as (None, 28, 28), received {shape!r}")
        self.shape = tuple(shape)
        self.dtype = element_type(dtype)
        self.name = name

    def type(self, index: int) -> TensorType:
        """The IR type of the ``index``-th input."""
        return TensorType(self.dtype, [self._dim(d, axis, index) for axis, d in enumerate(self.shape)])

    def _dim(self, dim: Any, axis: int, index: int) -> DimLike:
        if dim is None:
            return symbol("N" if axis == 0 else f"D{index}_{axis}" if index else f"D{axis}")
        return parse_dim(dim) if isinstance(dim, str) else dim

    def __repr__(self) -> str:
        return f"Spec({self.shape}, {self.dtype.name!r}" + (f", name={self.name!r})" if self.name else ")")


def trace(f: Any, *specs: Any, **static: Any) -> Module:
    """Trace a function, layer or model to a module.

    Args:
        f: a callable of tensors, a Layer or a Model.
        specs: a :class:`Spec`, an array, or a nest of them, for each argument; a functional model needs none.
        static: keyword arguments that are passed on as they are, such as ``training=True``.

    Returns:
        The module; Variables that ``f`` reads are its parameters.

    Raises:
        ShapeError, DTypeError, ArgumentError: ``f`` does not take such inputs. TracingError: Python needed a value
        that is known only when the program runs. IntegerDimError: it needed the integer of a symbolic dimension.
    """
    return Traceable(f, specs, static).trace()[0]


class Traceable:
    """A callable with the specs of its inputs."""

    def __init__(self, f: Any, specs: Sequence[Any], static: Mapping[str, Any]) -> None:
        if not callable(f):
            raise DTypeError(f"expected a function, a layer or a model, received {f!r}")
        if not specs and isinstance(f, Model):
            specs = (_model_specs(f),)
        self.f = f
        self.static = dict(static)
        self.tree: Any
        self.specs, self.tree = jax.tree.flatten(tuple(specs), is_leaf=_is_spec)
        self.types = [_as_spec(s).type(i) for i, s in enumerate(self.specs)]
        self.names = _input_names(f, tuple(specs))
        self.name = str(getattr(f, "name", None) or getattr(f, "__name__", type(f).__name__))

    def _check_arguments(self) -> None:
        """Say so where the callable takes another number of arguments than there are specs."""
        try:
            signature = inspect.signature(self.f.call if isinstance(self.f, Layer) else self.f)
        except (TypeError, ValueError):
            return  # a callable that does not tell
        own = {k: v for k, v in self.static.items() if k != "training" or not isinstance(self.f, Layer)}
        try:
            signature.bind(*jax.tree.unflatten(self.tree, self.specs), **own)
        except TypeError as error:
            raise ArgumentError(
                f"{self.name} takes {signature}; received specs for {self.tree.num_leaves} inputs"
                f"{', static ' + ', '.join(self.static) if self.static else ''}: {error}"
            ) from None

    def trace(self, hints: Mapping[str, int] | None = None) -> tuple[Module, Any]:
        """The module, and the tree of the results."""
        self._check_arguments()
        if isinstance(self.f, Layer) and not self.f.built:
            self._build()
        module, tree = trace_flat(self._call, self.types, self.names, self.name, hints)
        module.main.in_structure = index_nest(jax.tree.unflatten(self.tree, range(len(self.types))))
        module.main.output_names = _output_names(self.f, len(module.main.outputs))
        return module, tree

    def _call(self, tensors: list[Tensor]) -> Any:
        args = jax.tree.unflatten(self.tree, tensors)
        token = _training.set(None)
        try:
            return self.f(*args, **self.static)
        finally:
            _training.reset(token)

    def _build(self) -> None:
        """Build an unbuilt layer outside the trace, by symbolic tensors of the specs' shapes."""
        tensors = [KerasTensor([d if isinstance(d, int) else None for d in t.shape], t.dtype.name) for t in self.types]
        args = jax.tree.unflatten(self.tree, tensors)
        self.f.compute_output_shape(*jax.tree.map(lambda t: t.shape, args)) if not isinstance(
            self.f, Model
        ) else self.f(*args)

    def flatten(self, args: tuple) -> list[Any]:
        """Arguments of a call as a flat list, checked against the specs' structure."""
        leaves, tree = jax.tree.flatten(args)
        if tree != self.tree and not _same_but_for_lists(tree, self.tree):
            raise ArgumentError(
                f"{self.name}: the arguments should have the structure {_shown_tree(self.tree)}, as the specs "
                f"have; received {_shown_tree(tree)}"
            )
        return leaves

    def program(self, hints: Mapping[str, int] | None = None, **options: Any) -> Program:
        """Trace and optimize."""
        module, out_tree = self.trace(hints)
        convention = Convention(
            pack=self.flatten,
            unpack=functools.partial(jax.tree.unflatten, out_tree),
            restore=functools.partial(jax.tree.unflatten, self.tree),
            key=(self.tree, out_tree),
        )
        return Program(module, convention=convention, **options)


def compile(
    f: Any,
    *specs: Any,
    device: str | None = None,
    target: str | None = None,
    pipeline: str = "O2",
    donate: Sequence[int] = (),
    verify: bool = False,
    keep_graphs: bool = False,
    cache: bool = True,
    **static: Any,
) -> Compiled:
    """Trace, optimize and compile a function, layer, model or module.

    Args:
        f, specs, static: as in :func:`trace`; a Module or Graph is taken as it is.
        device: where it runs: ``"cpu"``, ``"gpu:0"``, ``"tpu"``; None for jax's default device.
        target: what the passes optimize for; the device's platform by default.
        pipeline: text of passes; ``"O0"`` to ``"O3"`` name usual ones, ``"O2,-fold_batch_norm"`` switches a rule off.
        donate: positions of arguments whose memory the results may take; they are gone after the call.
        verify: check the graph after each pass.
        keep_graphs: keep the graph before and after each pass in ``.records``.
        cache: whether executables are taken from the disk cache, and kept there; see docs/artifacts.md.

    Returns:
        A :class:`Compiled`. XLA compiles at the first call with each new set of shapes.
    """
    options: dict[str, Any] = {
        "pipeline": pipeline,
        "device": device,
        "target": target,
        "donate": donate,
        "verify": verify,
        "keep_graphs": keep_graphs,
        "cache": cache,
    }
    if isinstance(f, Graph):
        f = Module({"main": f})
    if isinstance(f, Module):
        return _compile_module(f, options)
    source = Traceable(f, specs, static)
    named = [(f"input {n or i}", t) for i, (n, t) in enumerate(zip(source.names, source.types, strict=True))]

    def retrace(dims: Mapping[str, int]) -> Program:
        return source.program(hints=dims, **options)

    try:
        return Compiled(source.program(**options), retrace, named, source.flatten)
    except IntegerDimError as error:
        return Compiled(None, retrace, named, source.flatten, why=error)


def _compile_module(module: Module, options: dict[str, Any]) -> Compiled:
    from ..ir import verify

    unbound = [p.name for p in module.main.parameters if not hasattr(p.key, "_version")]
    if unbound:
        raise ArgumentError(
            f"the module's parameters {', '.join(unbound)} are bound to no Variable, so it can't be run; pass "
            "the model itself, or evaluate(module, ..., parameters={...})"
        )
    verify(module)
    program, flatten = _module_program(module, options)
    return Compiled(program, None, _named_types(module), flatten)


def compile_modules(
    modules: Sequence[Module], specs: Sequence[tuple[str, TensorType]], why: LaminaError | None = None, **options: Any
) -> Compiled:
    """Several traces of one function, each for some of its sizes, as one compiled program.

    Args:
        specs: name and type of each input, for all sizes.
        why: says why no trace serves all sizes.
        options: as of :class:`Program`.
    """
    made = [_module_program(module, options) for module in modules]
    (first, flatten), *_ = made
    compiled = Compiled(None if why else first, None, specs, flatten, why)
    compiled._programs = [program for program, _ in made]
    return compiled


def _named_types(module: Module) -> list[tuple[str, TensorType]]:
    names = module.main.input_names
    return [(f"input {n or i}", v.type) for i, (n, v) in enumerate(zip(names, module.main.inputs, strict=True))]


def _module_program(module: Module, options: Mapping[str, Any]) -> tuple[Program, Callable[[tuple], list[Any]]]:
    """A program that takes and gives the nests that a module says; and what makes its arguments flat."""
    structure = module.main.in_structure
    if structure is None:
        structure = tuple(range(len(module.main.inputs)))
    tree: Any = jax.tree.structure(structure)
    order = jax.tree.leaves(structure)
    out = module.main.out_structure if module.main.out_structure is not None else tuple(range(len(module.main.outputs)))

    def flatten(args: tuple) -> list[Any]:
        leaves, given = jax.tree.flatten(args)
        if given != tree and not _same_but_for_lists(given, tree):
            raise ArgumentError(
                f"{module.name}: the arguments should have the structure {_shown_tree(tree)}; received "
                f"{_shown_tree(given)}"
            )
        return [leaf for _, leaf in sorted(zip(order, leaves, strict=True), key=lambda pair: pair[0])]

    convention = Convention(
        pack=flatten,
        unpack=lambda flat: jax.tree.map(lambda i: flat[i], out),
        restore=lambda flat: jax.tree.map(lambda i: flat[i], structure),
        key=("module", tree, tuple(order), jax.tree.structure(out), tuple(jax.tree.leaves(out))),
    )
    return Program(module, convention=convention, **options), flatten


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
        device, pipeline: as in :func:`compile`.

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
        avals = tuple((np.shape(x), _dtype(x)) for x in leaves)
        static = (*kept.items(), *sorted(named.items()))
        kinds = tuple(type(value) for _, value in static)  # 1 equals True
        key = (tree, avals, static, kinds, floatx(), image_data_format())
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
        return Program(module, donate=donate, convention=convention, **self._options)

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


def _dtype(x: Any) -> np.dtype:
    if isinstance(x, jax.Array):
        return np.dtype(x.dtype)
    if isinstance(x, bool | int | float | complex):
        return np.dtype({bool: "bool", int: "int32", float: "float32", complex: "complex64"}[type(x)])
    dtype = np.dtype(getattr(x, "dtype", None) or np.asarray(x).dtype)
    if dtype.kind in "OUSmM":
        raise DTypeError(
            f"jit takes arrays and nests of them, received {x!r}; name it in static_argnums or static_argnames"
        )
    return np.dtype(_NARROW.get(dtype.name, dtype)) if dtype.name in _NARROW else dtype


def _is_spec(x: Any) -> bool:
    return isinstance(x, Spec | KerasTensor | jax.ShapeDtypeStruct)


def _as_spec(x: Any) -> Spec:
    if isinstance(x, Spec):
        return x
    if isinstance(x, KerasTensor):
        return Spec(x.shape, x.dtype, x.name)
    if isinstance(x, jax.ShapeDtypeStruct):
        return Spec(x.shape, x.dtype)
    if isinstance(x, bool | int | float | complex | np.ndarray | np.generic | jax.Array):
        return Spec(np.shape(x), _dtype(x))
    raise DTypeError(
        f"expected a Spec, an array, or a nest of them, received {x!r}; "
        "pass other arguments by keyword, they are static"
    )


def _model_specs(model: Model) -> Any:
    inputs = getattr(model, "input", None) if hasattr(model, "inputs") else None
    if inputs is None:
        raise ArgumentError(
            f"the shapes of the inputs of model {model.name!r} are not known; give specs, such as "
            "lamina.Spec((None, 28, 28, 1))"
        )
    any_batch = getattr(model, "_any_batch", False)

    def spec(tensor: KerasTensor) -> Spec:
        shape = (None, *tensor.shape[1:]) if any_batch else tensor.shape
        return Spec(shape, tensor.dtype, tensor.history[0].name)  # type: ignore[index]

    return jax.tree.map(spec, inputs)


def _input_names(f: Any, specs: tuple) -> list[str]:
    """A name for each leaf: the spec's own, the model's input's, or the parameter's with the path inside it."""
    try:
        parameters = [
            p.name
            for p in inspect.signature(f.call if isinstance(f, Layer) else f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    names = []
    for i, spec in enumerate(specs):
        base = parameters[i] if i < len(parameters) else f"input_{i}"
        for path, leaf in jax.tree_util.tree_flatten_with_path(spec, is_leaf=_is_spec)[0]:
            own = leaf.name if isinstance(leaf, Spec | KerasTensor) else None
            inner = "".join(f"_{getattr(k, 'key', getattr(k, 'idx', getattr(k, 'name', '')))}" for k in path)
            names.append(own or base + inner)
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        seen[name] = seen.get(name, -1) + 1
        names[i] = f"{name}_{seen[name]}" if seen[name] else name
    return names


def _output_names(f: Any, count: int) -> list[str]:
    names = (
        list(getattr(f, "output_names", []))
        if isinstance(f, Model) and getattr(f, "built", False) and hasattr(f, "inputs")
        else []
    )
    return names if len(names) == count and len(set(names)) == count else [""] * count


def _same_but_for_lists(given: Any, expected: Any) -> bool:
    """Whether two trees differ only where one has a list and the other a tuple, which models take for each other."""
    if given.num_leaves != expected.num_leaves:
        return False
    plain = [_as_lists(jax.tree.unflatten(tree, range(tree.num_leaves))) for tree in (given, expected)]
    return plain[0] == plain[1]


def _as_lists(nest: Any) -> Any:
    if isinstance(nest, dict):
        return {key: _as_lists(value) for key, value in nest.items()}
    return [_as_lists(value) for value in nest] if isinstance(nest, list | tuple) else nest


def _shown_tree(tree: Any) -> str:
    text = str(tree).removeprefix("PyTreeDef(").removesuffix(")")
    if len(text) <= 120:
        return text
    return f"{text[:120]}... of {tree.num_leaves} leaves (a list of numbers? pass np.asarray(x))"


__all__ = ["Compiled", "Spec", "compile", "jit", "trace"]
