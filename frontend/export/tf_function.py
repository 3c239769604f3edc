"""A module as a ``tf.Module`` whose call is a tf.function of plain ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from ...ir import Module
from ...ir.errors import ArgumentError
from ...ir.graph import clone_module
from ...lowering.tensorflow.source import Source, tensorflow_source
from ...passes import run_pipeline
from .parameters import parameter_arrays

#: What a graph goes through before it is written: composites keep their names, convolutions are channels-last.
PIPELINE = "inline{all=true},simplify,recognize,layout{data=nhwc}"


@dataclass(frozen=True)
class Built:
    """A module as TensorFlow.

    Attributes:
        module: the ``tf.Module``.
        specs: a ``tf.TensorSpec`` for each input, with its name.
        outputs: names of the outputs.
        structure: the nest that a call gives, as ``Graph.out_structure``.
        paths: where the variable of each parameter stands.
        keys: what each parameter is bound to in lamina.
    """

    module: Any
    specs: tuple[Any, ...]
    outputs: tuple[str, ...]
    structure: Any
    paths: dict[str, tuple[str, ...]]
    keys: dict[str, Any]

    def variable(self, name: str) -> Any:
        """The ``tf.Variable`` of a parameter."""
        return reduce(getattr, self.paths[name], self.module)

    def set_variable(self, name: str, variable: Any) -> None:
        """Put another variable in the place of a parameter's; before the function is traced."""
        *outer, last = self.paths[name]
        setattr(reduce(getattr, outer, self.module), last, variable)


def build(module: Module, *, exact: bool = False) -> Any:
    """The module as a callable ``tf.Module``.

    Args:
        exact: run the StableHLO program itself (XlaCallModule), with exactly its results, in place of plain ops; it has
            no gradient.

    Returns:
        A ``tf.Module`` that owns a ``tf.Variable`` for each parameter, by its Keras name (``f.dense.kernel``),
        trainable or not as in Keras. Calling it takes the inputs in order, or by name, and gives what the model gives;
        state that a call changes is assigned. ``f.source`` is its text.

    Raises:
        UnsupportedError: an op has no form in plain tf ops.
    """
    return make(module, exact).module


def make(module: Module, exact: bool = False, lite: bool = False) -> Built:
    """The module as TensorFlow, and what there is to know about it. Raises as :func:`build`."""
    source = write_exact(module) if exact else write(module, lite)
    made = instance(source, {**parameter_arrays(module), **source.constants})
    keys = {p.name: p.key for p in module.main.parameters}
    specs = tuple(vars(type(made))["__call__"].input_signature)
    return Built(made, specs, source.outputs, module.main.out_structure, source.paths, keys)


def write(module: Module, lite: bool = False) -> Source:
    """The text of a module as TensorFlow, or as what TensorFlow Lite's converter takes."""
    prepared, _ = run_pipeline(clone_module(module), PIPELINE)
    return tensorflow_source(prepared, trainable(module), lite)


def write_exact(module: Module) -> Source:
    """The text of a module that calls its StableHLO program."""
    from ...lowering.tensorflow.exact import exact_source

    return exact_source(module, trainable(module))


def trainable(module: Module) -> list[str]:
    """Names of the parameters that are Keras's trainable variables."""
    return [p.name for p in module.main.parameters if getattr(p.key, "trainable", False)]


def instance(source: Source, arrays: dict[str, Any]) -> Any:
    """Run the text that we wrote, and make one of its class."""
    namespace: dict[str, Any] = {}
    exec(compile(source.text, f"<{source.class_name} by lamina>", "exec"), namespace)
    made = namespace[source.class_name](arrays)
    made.source = source.text
    return made


def save(module: Module, path: Path, *, exact: bool = False) -> None:
    """Raise :class:`ArgumentError`: a tf.function has no file of its own."""
    raise ArgumentError(
        f"export: a tf_function is returned, and not written to {str(path)!r}; leave the path out, or use "
        "target='saved_model'"
    )


def runner(module: Module, *, exact: bool = False) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """A function of flat input arrays that runs the tf.function and gives the flat outputs."""
    import tensorflow as tf

    built = make(module, exact)

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = built.module(*(tf.convert_to_tensor(x) for x in inputs))
        return [to_numpy(x) for x in flat_outputs(built.structure, found, len(built.outputs))]

    return run


def to_numpy(tensor: Any) -> np.ndarray:
    """An eager tensor as an array (``np.asarray`` fails on a scalar bfloat16)."""
    return np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)


def flat_outputs(structure: Any, found: Any, count: int) -> list[Any]:
    """What a call gave, in the order of the graph's outputs."""
    if structure is None:
        return [found] if count == 1 else list(found)
    flat: list[Any] = [None] * count

    def place(nest: Any, part: Any) -> None:
        if isinstance(nest, dict):
            for key, inner in nest.items():
                place(inner, part[key])
        elif isinstance(nest, list | tuple):
            for inner, value in zip(nest, part):
                place(inner, value)
        elif nest is not None:
            flat[nest] = part

    place(structure, found)
    return flat
