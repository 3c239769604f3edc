"""``lamina.trace`` and ``lamina.compile``: from functions and models to modules and compiled programs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from ..runtime.targets import is_target
from .convert import argument_dtype
from .devices import current_device
from .distribution.current import distribution
from .distribution.tensors import mesh_for, split_inputs
from .keras_tensor import KerasTensor
from .layer import Layer, _training
from .model import Model
from .tensor import Tensor
from .tracing import index_nest, trace_flat


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
        if isinstance(shape, str) or not isinstance(shape, Iterable):
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
        self.static = static_keywords(static)
        self.tree: Any
        self.split = False  # whether inputs are split over the mesh of the distribution that is set
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
            bound = signature.bind(*jax.tree.unflatten(self.tree, self.specs), **own)
        except TypeError as error:
            raise ArgumentError(
                f"{self.name} takes {signature}; received specs for {self.tree.num_leaves} inputs"
                f"{', static ' + ', '.join(self.static) if self.static else ''}: {error}"
            ) from None
        if isinstance(self.f, Layer) and bound.arguments.get("training") is not None:
            takes = ", ".join(list(signature.parameters)[: list(bound.arguments).index("training")])
            raise ArgumentError(
                f"{self.name} takes {takes}, received specs for {len(bound.args)} arguments. Several inputs of one "
                "argument go in a list or dict: [Spec(...), Spec(...)]; training is a keyword: training=True"
            )

    def trace(self, hints: Mapping[str, int] | None = None) -> tuple[Module, Any]:
        """The module, and the tree of the results."""
        self._check_arguments()
        if isinstance(self.f, Layer) and not self.f.built:
            self._build()
        module, tree = trace_flat(self._call, self.types, self.names, self.name, hints)
        module.main.in_structure = index_nest(jax.tree.unflatten(self.tree, range(len(self.types))))
        if not any(module.main.output_names):
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
        self.f(*jax.tree.unflatten(self.tree, tensors))

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
        chosen = distribution()
        if self.split and chosen is not None:
            split_inputs(module, chosen)
        convention = Convention(
            pack=self.flatten,
            unpack=functools.partial(jax.tree.unflatten, out_tree),
            restore=functools.partial(jax.tree.unflatten, self.tree),
            key=(self.tree, out_tree),
        )
        return Program(
            module, convention=convention, **{"mesh": mesh_for(module, isinstance(self.f, Model)), **options}
        )


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
    training_step: bool = False,
    **static: Any,
) -> Compiled:
    """Trace, optimize and compile a function, layer, model or module.

    Args:
        f, specs, static: as in :func:`trace`; a Module or Graph is taken as it is.
        device: where it runs: ``"cpu"``, ``"gpu:0"``, ``"tpu"``; by default that of a surrounding ``keras.device``, or
            where the Variables were put, or jax's default device. Inputs and Variables are brought there.
        target: what the passes optimize for; the device's platform by default. ``"gpu:h100"``, ``"gpu:h100x8"`` or
            ``"tpu:v5e-2x2"`` compiles for chips that need not be there; see docs/ahead_of_time.md.
        pipeline: text of passes; ``"O0"`` to ``"O3"`` name usual ones, ``"O2,-fold_batch_norm"`` switches a rule off.
        donate: positions of arguments whose memory the results may take; they are gone after the call.
        verify: check the graph after each pass.
        keep_graphs: keep the graph before and after each pass in ``.records``.
        cache: whether executables are taken from the disk cache, and kept there; see docs/artifacts.md.
        training_step: for chips that need not be there: compile what ``fit`` does with a batch; ``specs`` are then of
            ``x``, ``y`` and perhaps ``sample_weight``.

    Returns:
        A :class:`Compiled`. XLA compiles at the first call with each new set of shapes. For chips that need not be
        there an :class:`~lamina.frontend.ahead.Ahead`.
    """
    options: dict[str, Any] = {
        "pipeline": pipeline,
        "device": device or current_device(),
        "target": target,
        "donate": donate,
        "verify": verify,
        "keep_graphs": keep_graphs,
        "cache": cache,
    }
    if isinstance(f, Graph):
        f = Module({"main": f})
    if is_target(target):
        return _compile_ahead(f, specs, static, target, device, training_step, options)
    if training_step:
        raise ArgumentError("training_step=True is for targets such as 'gpu:h100'; here, fit compiles the step itself")
    if isinstance(f, Module):
        return _compile_module(f, options)
    source = Traceable(f, specs, static)
    source.split = options["device"] is None
    named = [(f"input {n or i}", t) for i, (n, t) in enumerate(zip(source.names, source.types, strict=True))]

    def retrace(dims: Mapping[str, int]) -> Program:
        return source.program(hints=dims, **options)

    try:
        return Compiled(source.program(**options), retrace, named, source.flatten)
    except IntegerDimError as error:
        return Compiled(None, retrace, named, source.flatten, why=error)


def _compile_ahead(
    f: Any,
    specs: Sequence[Any],
    static: Mapping[str, Any],
    target: Any,
    device: Any,
    training_step: bool,
    options: dict[str, Any],
) -> Compiled:
    from . import ahead

    if device is not None:
        raise ArgumentError(f"device={device!r} says where a program runs; target={target!r} need not be there")
    if training_step:
        kept = {name: options[name] for name in ("verify", "keep_graphs")}
        return ahead.training_step(f, specs, target, pipeline=f"{options['pipeline']},-prepare", **kept)
    if isinstance(f, Module):
        _check_bound(f)
        structured = f

        def of_module(hints: Mapping[str, int] | None = None, **more: Any) -> Program:
            return _module_program(structured, {**options, **more})[0]

        return ahead.compile_ahead(target, of_module, _named_types(f))
    source = Traceable(f, specs, static)
    named = [(f"input {n or i}", t) for i, (n, t) in enumerate(zip(source.names, source.types, strict=True))]

    def of_source(hints: Mapping[str, int] | None = None, **more: Any) -> Program:
        return source.program(hints, **{**options, **more})

    return ahead.compile_ahead(target, of_source, named, source.flatten)


def types_of(specs: Any) -> tuple[list[TensorType], Any]:
    """The types of a nest of specs or arrays, and its structure."""
    leaves, tree = jax.tree.flatten(specs, is_leaf=_is_spec)
    return [_as_spec(s).type(i) for i, s in enumerate(leaves)], tree


def _compile_module(module: Module, options: dict[str, Any]) -> Compiled:
    _check_bound(module)
    program, flatten = _module_program(module, options)
    return Compiled(program, None, _named_types(module), flatten)


def _check_bound(module: Module) -> None:
    """Verify a module, and that each of its parameters is bound to a Variable."""
    from ..ir import verify

    unbound = [p.name for p in module.main.parameters if not hasattr(p.key, "_version")]
    if unbound:
        raise ArgumentError(
            f"the module's parameters {', '.join(unbound)} are bound to no Variable, so it can't be run; pass "
            "the model itself, or evaluate(module, ..., parameters={...})"
        )
    verify(module)


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
    chosen = distribution()
    if chosen is not None and options.get("device") is None:
        split_inputs(module, chosen)
    return Program(module, convention=convention, **{"mesh": mesh_for(module), **options}), flatten


def _is_spec(x: Any) -> bool:
    return isinstance(x, Spec | KerasTensor | jax.ShapeDtypeStruct)


def static_keywords(static: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords that reach what is traced as they are. Raises :class:`ArgumentError` where one is a Spec."""
    for name, value in static.items():
        if any(map(_is_spec, jax.tree.leaves(value, is_leaf=_is_spec))):
            raise ArgumentError(
                f"{name}={value!r}: keywords are passed on as they are; give specs by position, in the order of the "
                "function's arguments"
            )
    return dict(static)


def _as_spec(x: Any) -> Spec:
    if isinstance(x, Spec):
        return x
    if isinstance(x, KerasTensor):
        return Spec(x.shape, x.dtype, x.name)
    if isinstance(x, jax.ShapeDtypeStruct):
        return Spec(x.shape, x.dtype)
    if isinstance(x, bool | int | float | complex | np.ndarray | np.generic | jax.Array):
        return Spec(np.shape(x), argument_dtype(x))
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
    """A name for each leaf: the spec's own, the functional model's input's, the keys of a dict that is the only
    argument, or the parameter's with the path inside it."""
    layers = _input_layers(f, specs)
    try:
        parameters = [
            p.name
            for p in inspect.signature(f.call if isinstance(f, Layer) else f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for i, spec in enumerate(specs):
        base = parameters[i] if i < len(parameters) else f"input_{i}"
        for path, leaf in jax.tree_util.tree_flatten_with_path(spec, is_leaf=_is_spec)[0]:
            own = leaf.name if isinstance(leaf, Spec | KerasTensor) else None
            inner = [str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", "")))) for k in path]
            alone = len(specs) == 1 and isinstance(spec, Mapping)
            names.append(own or (layers[len(names)] if layers else "_".join(inner if alone else [base, *inner])))
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        seen[name] = seen.get(name, -1) + 1
        names[i] = f"{name}_{seen[name]}" if seen[name] else name
    return names


def _input_layers(f: Any, specs: tuple) -> list[str]:
    """The names of a functional model's inputs, where the specs have their structure; else none."""
    inputs = getattr(f, "input", None) if isinstance(f, Model) and f.built and hasattr(f, "inputs") else None
    if inputs is None or len(specs) != 1:
        return []
    given, own = (jax.tree.structure(nest, is_leaf=_is_spec) for nest in (specs[0], inputs))
    if not _same_but_for_lists(given, own):
        return []
    return [str(tensor.history[0].name) for tensor in jax.tree.leaves(inputs)]


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


__all__ = ["Compiled", "Spec", "compile", "trace"]
