"""Programs of other frameworks as modules: ``from_jax``, ``from_tf`` and ``from_keras``."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..compiled import Compiled
from ..ir import Module, TensorType
from ..ir.dims import Atom, DimLike
from ..ir.errors import ArgumentError, DTypeError, LaminaError, ShapeError, UnsupportedError
from ..ir.graph import Update, Value, clone_node
from ..ir.types import element_type
from ..lowering.importer import import_module
from ..lowering.mlir import context, parse_program
from ..passes import run_pipeline
from ..passes.inline import match_symbols
from .api import Spec, _as_spec, _input_names, _is_spec, static_keywords, trace
from .convert import as_tensor
from .regions import run_on_arrays
from .tensor import Tensor
from .trace import current_trace, require_trace
from .tracing import index_nest
from .variable import Variable


def from_jax(f: Callable[..., Any], *specs: Any, **static: Any) -> Module:
    """Import a function of JAX: what ``jax.jit(f)`` would run, as a module.

    Args:
        f: a function of nests of arrays, traceable by ``jax.jit``.
        specs: for each argument a :class:`lamina.Spec`, an array, a ``jax.ShapeDtypeStruct``, or a nest of them.
            Symbolic dimensions stay symbolic; JAX takes them for 1 or more, and so does the module.
        static: keyword arguments that are passed on as they are.

    Returns:
        The module: its inputs have the names of ``f``'s arguments, its structure is theirs and that of what ``f``
        returns. Arrays that ``f`` closes over are constants. It is what JAX lowers for the CPU, whatever devices
        there are.

    Raises:
        UnsupportedError: the function does what lamina's programs can't, such as calling back into Python. Errors of
        JAX's own where it can't trace ``f``.
    """
    _check_callable("from_jax", f)
    name = str(getattr(f, "__name__", type(f).__name__))
    keywords = static_keywords(static)
    module, results = _from_jax(lambda *args: f(*args, **keywords), specs, name)
    _describe(module, _input_names(f, specs), specs, results)
    return module


def _check_callable(name: str, f: Any) -> None:
    if not callable(f):
        raise DTypeError(f"{name} takes a function, received {f!r}")


def _from_jax(
    f: Callable[..., Any], specs: Any, name: str, parameters: Mapping[int, tuple[str, Any]] | None = None
) -> tuple[Module, Any]:
    """The module of a function of JAX, and its results as a nest of their numbers."""
    leaves, tree = jax.tree.flatten(specs, is_leaf=_is_spec)
    types = [_as_spec(s).type(i) for i, s in enumerate(leaves)]
    jitted: Any = jax.jit(f, keep_unused=True)
    with _wide(types), _static_arguments_explained(name):
        arguments = jax.tree.unflatten(tree, _structs(types))
        if all(t.is_static for t in types):
            lowered = jitted.trace(*arguments).lower(lowering_platforms=("cpu",))
            out: Any = jax.tree.structure(lowered.out_info)
            program = lowered.compiler_ir("stablehlo")
            with program.context:
                module = import_module(program, name=name, types=types, parameters=parameters)
        else:
            exported = jax.export.export(jitted, platforms=("cpu",), disabled_checks=_Any())(*arguments)
            out = exported.out_tree
            with context():
                program = parse_program(exported.mlir_module_serialized)
                module = import_module(program, name=name, types=types, parameters=parameters)
    return module, jax.tree.unflatten(out, range(out.num_leaves))


def _describe(module: Module, names: Sequence[str], arguments: Any, results: Any) -> None:
    """Give the main graph names and structures; ``results`` holds numbers of outputs."""
    main = module.main
    main.input_names = list(names)
    for value, name in zip(main.inputs, names, strict=True):
        value.name = name
    tree: Any = jax.tree.structure(arguments, is_leaf=_is_spec)
    main.in_structure = index_nest(jax.tree.unflatten(tree, range(tree.num_leaves)))
    main.out_structure = index_nest(results)


def make_updates(module: Module, updated: Mapping[int, str]) -> None:
    """Make updates of outputs: number of an output -> name of the parameter whose next value it is."""
    main = module.main
    parameters = {p.name: p for p in main.parameters}
    main.updates = [Update(parameters[name], main.outputs[i]) for i, name in updated.items()]
    kept = [i for i in range(len(main.outputs)) if i not in updated]
    main.outputs = [main.outputs[i] for i in kept]
    main.output_names = [main.output_names[i] for i in kept]
    main.out_structure = 0 if len(kept) == 1 else tuple(range(len(kept)))


def _wide(types: Sequence[TensorType]) -> Any:
    """JAX with 64-bit types, where one is asked for."""
    wide = any(t.dtype.itemsize == (16 if t.dtype.kind == "c" else 8) for t in types)
    return jax.enable_x64(True) if wide else nullcontext()


@contextmanager
def _static_arguments_explained(name: str) -> Iterator[None]:
    """Say what to do where JAX meets a tensor for what ``jax.jit`` was told is static."""
    try:
        yield
    except ValueError as error:
        if "Non-hashable static arguments" not in str(error):
            raise
        raise ArgumentError(
            f"{name} is jitted with static arguments, and specs are of tensors; pass what is static by keyword: "
            "from_jax(f, lamina.Spec((3,)), n=2)"
        ) from error


class _Any(list):
    """All checks of jax.export: it guards programs that are kept, not those that are imported at once."""

    def __contains__(self, check: object) -> bool:
        return True


# Modules inside programs.


def call_module(module: Module | Compiled, *args: Any) -> Any:
    """Apply a module to arrays or, inside a trace, to tensors: so that ``lamina.grad``, layers and other functions
    can use what was imported.

    Args:
        module: its parameters are bound to Variables, if it has any. Of a compiled program the traced module is meant.
        args: as the module's structure says.

    Returns:
        A nest of the module's structure. Inside a trace Variables that it updates have their new values from here on.
    """
    if not isinstance(module, Module | Compiled):
        raise DTypeError(f"call_module takes a module or a compiled program, received {module!r}")
    if current_trace() is None:
        return run_on_arrays(lambda *inner: call_module(module, *inner), args, {})
    module = module.graph if isinstance(module, Compiled) else module
    inlined, _ = run_pipeline(module, "inline{all=true}")
    main, trace = inlined.main, require_trace()
    structure = main.in_structure if main.in_structure is not None else tuple(range(len(main.inputs)))
    leaves, tree = jax.tree.flatten(args)
    expected: Any = jax.tree.structure(structure)
    if tree != expected:
        raise ArgumentError(f"{module.name}: the arguments should have the structure {expected}, received {tree}")
    tensors = [as_tensor(leaf) for leaf in leaves]
    places = jax.tree.leaves(structure)
    given = {main.inputs[i]: t for i, t in zip(places, tensors)}
    dims = match_symbols([v.type for v in main.inputs], [given[v].value.type for v in main.inputs], module.name)
    new: dict[Value, Value] = {v: trace.take(t) for v, t in given.items()}
    new.update((p.value, trace.take(trace.read(p.key))) for p in main.parameters)
    for node in main.nodes:
        trace.builder.nodes.append(clone_node(node, [new[o] for o in node.operands], new, dims))
    for update in main.updates:
        trace.write(update.parameter.key, Tensor(new[update.value], trace))
    results = [Tensor(new[v], trace) for v in main.outputs]
    out = main.out_structure if main.out_structure is not None else tuple(range(len(results)))
    return jax.tree.map(lambda i: results[i], out)


# Dimensions, in JAX's words.


def _structs(types: Sequence[TensorType]) -> list[jax.ShapeDtypeStruct]:
    """What JAX traces with; all symbolic dimensions of one scope."""
    texts = [",".join(_dim_text(d) for d in t.shape) for t in types]
    scope = jax.export.SymbolicScope()
    shapes = [jax.export.symbolic_shape(text, scope=scope) if text else () for text in texts]
    return [jax.ShapeDtypeStruct(shape, t.dtype) for shape, t in zip(shapes, types)]


def _dim_text(dim: DimLike) -> str:
    if isinstance(dim, int):
        return str(dim)
    return " + ".join("*".join([str(c), *map(_atom_text, atoms)]) for atoms, c in dim.terms)


def _atom_text(atom: Atom) -> str:
    if atom.kind == "symbol":
        return str(atom.args[0])
    a, b = map(_dim_text, atom.args)
    return f"{'floordiv' if atom.kind == 'floordiv' else atom.kind}({a}, {b})"


# TensorFlow.


def from_tf(f: Any, *specs: Any, **static: Any) -> Module:
    """Import a ``tf.function``: what TensorFlow compiles of it, as a module.

    Args:
        f: a ``tf.function``, or a function that becomes one.
        specs: for each argument a :class:`lamina.Spec`, a ``tf.TensorSpec``, an array, or a nest of them; none where
            the function has a signature of its own. Shapes are static: TensorFlow compiles for one set of shapes.
        static: keyword arguments that are passed on as they are.

    Returns:
        The module. ``tf.Variable``s that the function reads are its parameters, under their names, with their present
        values as Variables; those that it assigns are updated. Constants that it closes over are constants.

    Raises:
        UnsupportedError: TensorFlow is not installed, or can't compile the function. ShapeError: a shape is open.
    """
    _check_callable("from_tf", f)
    return _from_tf(_tensorflow(), f, specs, static_keywords(static), {})


def _from_tf(tf: Any, f: Any, specs: Any, static: Mapping[str, Any], paths: Mapping[int, str]) -> Module:
    """``paths``: names of Variables by the id of their handles, where they have others than TensorFlow's."""
    name = _name_of(f)
    leaves, tree = jax.tree.flatten(specs, is_leaf=lambda x: _is_spec(x) or isinstance(x, tf.TensorSpec))
    arguments = jax.tree.unflatten(tree, [_tf_spec(tf, s, i) for i, s in enumerate(leaves)])
    if not specs and getattr(f, "input_signature", None) is not None:
        arguments = tuple(f.input_signature)
    is_function = hasattr(f, "get_concrete_function")
    function = tf.function(lambda *args: f(*args, **static), jit_compile=True, autograph=not is_function)
    concrete = function.get_concrete_function(*arguments)
    wanted = [t for t in concrete.inputs if not t.shape.is_fully_defined() and t.dtype != tf.resource]
    if wanted:
        shown = ", ".join(f"{t.name.partition(':')[0]} {t.shape}" for t in wanted)
        raise ShapeError(
            f"from_tf: TensorFlow compiles for static shapes, received {shown}; give each dimension a size"
        )
    try:
        text = function.experimental_get_compiler_ir(*arguments)(stage="stablehlo")
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise UnsupportedError(f"TensorFlow can't compile {name}: {error}") from None
    parameters = _captured(concrete, paths)
    with context():
        program = parse_program(text)
        aliases = _aliases(program)
        module = import_module(program, name=name, parameters=parameters)
    make_updates(module, {output: parameters[place][0] for output, place in aliases.items()})
    count = len(concrete.outputs)
    if len(module.main.outputs) != count:
        raise UnsupportedError(
            f"TensorFlow compiled {name} to {len(module.main.outputs)} results of {count}: an output that is a "
            "constant is left "
            "out; make it one of what depends on the inputs"
        )
    names = [t.name.partition(":")[0] for t in concrete.inputs[: len(module.main.inputs)]]
    numbers = iter(range(count))
    results = tf.nest.map_structure(lambda x: None if x is None else next(numbers), concrete.structured_outputs)
    _describe(
        module, names, jax.tree.map(lambda _: _LEAF, arguments, is_leaf=lambda x: isinstance(x, tf.TensorSpec)), results
    )
    return module


_LEAF = jax.ShapeDtypeStruct((), np.float32)


def _captured(concrete: Any, paths: Mapping[int, str]) -> dict[int, tuple[str, Any]]:
    """What a function has beside its inputs, by place: name and Variable."""
    captured = list(concrete.captured_inputs)
    first = len(concrete.inputs) - len(captured)
    variables = {id(v.handle): v for v in concrete.variables}
    parameters: dict[int, tuple[str, Any]] = {}
    for place, tensor in enumerate(captured, first):
        variable = variables.get(id(tensor))
        given = f"constant_{place - first}" if variable is None else variable.name.partition(":")[0]
        value = (tensor if variable is None else variable).numpy()
        key = variable_of(paths.get(id(tensor), given), value)
        parameters[place] = (_fresh(key.path, parameters), key)
    return parameters


def _aliases(program: Any) -> dict[int, int]:
    """Numbers of outputs that are next values of arguments, as TensorFlow notes it."""
    attributes = program.operation.attributes
    if "mhlo.input_output_alias" not in attributes:
        return {}
    text = str(attributes["mhlo.input_output_alias"])
    found = re.findall(r"parameter_number = (\d+)[^}]*\}, output_index = array<i64: (\d+)>", text)
    return {int(output): int(place) for place, output in found}


def _name_of(f: Any) -> str:
    python = getattr(f, "python_function", f)
    return str(getattr(python, "__name__", type(f).__name__))


def _tf_spec(tf: Any, spec: Any, index: int) -> Any:
    if isinstance(spec, tf.TensorSpec):
        return spec
    if isinstance(spec, tf.Tensor | tf.Variable):
        return tf.TensorSpec(spec.shape, spec.dtype)
    known = _as_spec(spec)
    shape = [d if isinstance(d, int) else None for d in known.type(index).shape]
    return tf.TensorSpec(shape, known.dtype.name, name=known.name)


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError:
        raise UnsupportedError("TensorFlow is not installed: pip install 'lamina[tensorflow]'") from None
    return tensorflow


def variable_of(path: str, value: np.ndarray) -> Variable:
    """A Variable of a path that holds an array."""
    made = Variable(value, dtype=element_type(value.dtype).name, name=path.rsplit("/", 1)[-1])
    made.path = path
    return made


def _fresh(name: str, taken: Mapping[int, tuple[str, Any]]) -> str:
    names = {n for n, _ in taken.values()}
    number, result = 0, name
    while result in names:
        number += 1
        result = f"{name}_{number}"
    return result


# Keras.


def from_keras(model: Any, *specs: Any, training: bool = False) -> Module:
    """Import a model of Keras, whatever its backend.

    The model is written as a ``.keras`` file and built again of lamina's own layers, which keeps layers, names and
    composites. Where lamina lacks a layer (one of the user's own), what the backend makes of the whole model is
    imported instead: through JAX or TensorFlow, in primitives.

    Args:
        model: a built ``keras.Model``.
        specs: a :class:`lamina.Spec` (or nest of them) for each argument; by default the model's inputs, with an open
            batch. Through TensorFlow all sizes are needed.
        training: whether it is called in training mode; then states such as moving means are updated.

    Returns:
        The module. Weights are parameters under their Keras paths, bound to Variables with copies of their values.

    Raises:
        UnsupportedError: lamina lacks a layer, and the backend is one of which there is no other way in (torch).
    """
    keras = _keras_of(model)
    try:
        return _rebuilt(model, specs, training)
    except LaminaError as error:
        backend = keras.backend.backend()
        if backend not in ("jax", "tensorflow"):
            raise UnsupportedError(
                f"{model.name!r} can't be built of lamina's layers, and there is no way in through Keras's {backend} "
                f"backend; use Keras on JAX or TensorFlow, or pass the class to custom_object_scope: {error}"
            ) from error
    specs = specs or _model_specs(model)
    return (_through_jax if backend == "jax" else _through_tensorflow)(model, specs, training)


def _keras_of(model: Any) -> Any:
    """The keras package that a model is of."""
    package = sys.modules.get("keras")
    if package is None or not isinstance(model, package.Model):
        raise ArgumentError(
            f"from_keras takes a keras.Model, received {type(model).__name__}; lamina's own models need none"
        )
    if not model.built:
        raise ArgumentError(
            f"from_keras: {model.name!r} is not built, so that it has no weights; call it on data first"
        )
    return package


def _rebuilt(model: Any, specs: Any, training: bool) -> Module:
    from .saving.models import load_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        own = load_model(path, compile=False)
    return trace(own, *specs, training=training)


def _model_specs(model: Any) -> tuple[Any, ...]:
    """The model's inputs, with an open batch."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise ArgumentError(
            f"the shapes of the inputs of {model.name!r} are not known; give specs, such as lamina.Spec((None, 28))"
        )
    structure = getattr(model, "_inputs_struct", inputs[0] if len(inputs) == 1 else inputs)
    return (jax.tree.map(lambda t: Spec(t.shape, t.dtype), structure),)


def _through_jax(model: Any, specs: Any, training: bool) -> Module:
    """Keras's stateless call, with the weights as parameters."""
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    count, first = len(variables), len(model.trainable_variables)
    parameters: dict[int, tuple[str, Any]] = {}
    for i, v in enumerate(variables):
        key = variable_of(v.path, np.asarray(v.value))
        parameters[i] = (_fresh(v.path, parameters), key)

    def call(weights: Any, *inputs: Any) -> Any:
        result, state = model.stateless_call(weights[:first], weights[first:], *inputs, training=training)
        return result, state

    weights = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]
    module, (results, state) = _from_jax(call, (weights, *specs), model.name, parameters)
    changed = {i: parameters[first + k][0] for k, i in enumerate(state)}
    _keep_changes(module, changed)
    _describe(module, _input_names(model.call, specs), specs, results)
    assert len(parameters) == count
    return module


def _keep_changes(module: Module, updated: Mapping[int, str]) -> None:
    """Outputs that are next values of parameters become updates; those that are the values themselves go."""
    values = {p.name: p.value for p in module.main.parameters}
    same = {i for i, name in updated.items() if module.main.outputs[i] is values[name]}
    make_updates(module, updated)
    module.main.updates = [u for u, i in zip(module.main.updates, updated) if i not in same]


def _through_tensorflow(model: Any, specs: Any, training: bool) -> Module:
    tf = _tensorflow()
    paths = {id(v.value.handle): v.path for v in model.variables}
    module = _from_tf(tf, model, specs, {"training": training}, paths)
    module.name = model.name
    return module
