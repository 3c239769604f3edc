"""From a module to the text of a ``tf.Module`` that owns its weights and has its main function as a tf.function."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.dims import Dim
from ...ir.errors import UnsupportedError
from ...ir.graph import Graph, Module, Value
from ...ir.opdef import OPS
from ..source import Language, Rule, attribute_paths
from . import composites, contraction, control, elementwise, indexing, linalg, recurrent, reduction, shape
from .library import helper_text, imports
from .writer import TensorFlowWriter, number_text, small_literal, tf_type

#: Ops that no program of plain tf ops says, and why. Whoever meets one is told this, and the op's place.
UNSUPPORTED: dict[str, str] = {
    "eig": "TensorFlow gives the eigenvalues in another order; use eigh where the matrix is symmetric",
    **dict.fromkeys(
        ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute", "partition_id"),
        "a tf.function runs on one device; export the model before it is partitioned",
    ),
    "custom_call": "only its own target knows what it does; write it as ops, or export with exact=True",
    "call": "calls are put in place before emission (the pass inline)",
}

#: One row for each op; a composite without a row is emitted as its decomposition.
RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **shape.RULES,
    **contraction.RULES,
    **reduction.RULES,
    **indexing.RULES,
    **linalg.RULES,
    **control.RULES,
    **composites.RULES,
    **recurrent.RULES,
}

LANGUAGE = Language(
    name="TensorFlow",
    rules=RULES,
    size=lambda tensor, axis: f"tf.shape({tensor})[{axis}]",
    number=number_text,
    literal=small_literal,
    reshape=lambda tensor, sizes: f"tf.reshape({tensor}, [{', '.join(sizes)}])",
    broadcasts=elementwise.BROADCASTS,
    numbers=elementwise.NUMBERS,
    extremes=("tf.maximum", "tf.minimum"),
)

#: Attributes that a tf.Module has of its own.
_TAKEN = (
    *("name", "name_scope", "variables", "trainable_variables", "non_trainable_variables", "submodules"),
    *("with_name_scope", "source", "call"),
)


@dataclass(frozen=True)
class Source:
    """The text of a class, and what its instances are made with.

    Attributes:
        text: Python that needs TensorFlow alone.
        class_name: of the ``tf.Module`` in it, whose constructor takes ``arrays``: name -> array, those of the
            parameters and of ``constants``.
        constants: arrays too large for the text, by name.
        paths: where each parameter stands: ``("dense", "kernel")`` is ``self.dense.kernel``.
        inputs: names of the arguments, in the order of the graph's inputs.
        outputs: names of the results, in the order of the graph's outputs.
    """

    text: str
    class_name: str
    constants: dict[str, np.ndarray]
    paths: dict[str, tuple[str, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def tensorflow_source(module: Module, trainable: Sequence[str] = (), lite: bool = False) -> Source:
    """Write the main function of a module without calls as TensorFlow.

    Args:
        trainable: names of the parameters that an optimizer is to train.
        lite: write what TensorFlow Lite's converter takes; state is not updated, since a TensorFlow Lite file has none.

    Raises:
        UnsupportedError: an op or element type has no form in plain tf ops; the message names the layer.
    """
    check(module.main)
    text = Text(module, trainable, lite)
    return text.finish(text.writer.function(module.main, [*text.variables, *text.inputs]))


class Text:
    """What stands around the body of a module's function: the class, its variables, the signature, the results.

    Attributes:
        writer: writes the body.
        inputs: texts of the inputs.
        variables: texts of the parameters.
    """

    def __init__(self, module: Module, trainable: Sequence[str] = (), lite: bool = False) -> None:
        graph = module.main
        self.module, self.trainable, self.lite = module, frozenset(trainable), lite
        self.paths = attribute_paths((p.name for p in graph.parameters), _TAKEN)
        self.writer = TensorFlowWriter(LANGUAGE, {path[0] for path in self.paths.values()}, indent=2, lite=lite)
        names = _names(graph.input_names, graph.inputs)
        self.inputs = [self.writer.fresh(name or f"x{i}") for i, name in enumerate(names)]
        self.variables = [f"self.{'.'.join(self.paths[p.name])}" for p in graph.parameters]

    def finish(self, results: Sequence[str], more_imports: Sequence[str] = ()) -> Source:
        """The whole source, given the texts of the graph's results."""
        graph, writer = self.module.main, self.writer
        self._return(results)
        helpers = helper_text(writer.helpers)
        class_name, name = _class_name(self.module.name), _clean(self.module.name)
        signature = ", ".join(_spec(n, value) for n, value in zip(self.inputs, graph.inputs))
        lines = [
            f'"""{name}, as TensorFlow."""',
            "",
            *imports(helpers),
            "import tensorflow as tf",
            *more_imports,
            *(["", "", helpers] if helpers else []),
            "",
            "",
            f"class {class_name}(tf.Module):",
            "    def __init__(self, arrays):",
            f"        super().__init__(name={name!r})",
            *(f"        {line}" for line in _variables(graph, self.paths, self.trainable)),
            *(f"        self.{n} = arrays[{n!r}]" for n in writer.constants),
            "",
            f"    @tf.function(input_signature=[{signature}], autograph=False)",
            f"    def __call__({', '.join(['self', *self.inputs])}):",
            *writer.lines,
            "",
        ]
        outputs = _unique(n or f"output_{i}" for i, n in enumerate(_names(graph.output_names, graph.outputs)))
        return Source("\n".join(lines), class_name, writer.constants, self.paths, tuple(self.inputs), tuple(outputs))

    def _return(self, results: Sequence[str]) -> None:
        """Assign the updates, all of them to values from before, and return the outputs."""
        graph, writer = self.module.main, self.writer
        # A result that is a variable is what that holds now, and not after its update.
        texts = [f"tf.convert_to_tensor({text})" if text.startswith("self.") else text for text in results]
        outputs, updates = texts[: len(graph.outputs)], texts[len(graph.outputs) :]
        if updates and not self.lite:
            outputs = [t if t.isidentifier() else writer.assign(t, "output") for t in outputs]
            updates = [t if t.isidentifier() else writer.assign(t, "next_value") for t in updates]
            for update, text in zip(graph.updates, updates):
                writer.line(f"self.{'.'.join(self.paths[update.parameter.name])}.assign({text})")
        writer.line(f"return {structured(graph.out_structure, outputs)}")


def check(graph: Graph) -> None:
    """Raise :class:`UnsupportedError` for the first node that cannot be said, before anything is written."""
    for node in graph.walk():
        reason = UNSUPPORTED.get(node.op.name)
        if reason is not None:
            raise UnsupportedError(f"the op {node.op.name} has no form in TensorFlow (at {node.location}): {reason}")
        for value in (*node.operands, *node.results):
            try:
                tf_type(value.dtype)
            except UnsupportedError as error:
                raise UnsupportedError(f"{node.op.name} (at {node.location}): {error}") from None


def structured(structure: Any, texts: Sequence[str]) -> str:
    """The text of a nest with a text at each index; without a structure a list, or the one text there is."""
    if structure is None:
        return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    if isinstance(structure, dict):
        return "{" + ", ".join(f"{k!r}: {structured(v, texts)}" for k, v in structure.items()) + "}"
    if isinstance(structure, list):
        return f"[{', '.join(structured(v, texts) for v in structure)}]"
    if isinstance(structure, tuple):
        inner = ", ".join(structured(v, texts) for v in structure)
        return f"({inner},)" if len(structure) == 1 else f"({inner})"
    return texts[structure]


def _names(names: Sequence[str], values: Sequence[Value]) -> list[str]:
    return [*names, *[""] * (len(values) - len(names))]


def _unique(names: Any) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name] - 1}")
    return unique


def tf_shape(value: Value) -> str:
    """``[None, 4]``."""
    return f"[{', '.join('None' if isinstance(d, Dim) else str(d) for d in value.shape)}]"


def _spec(name: str, value: Value) -> str:
    return f"tf.TensorSpec({tf_shape(value)}, {tf_type(value.dtype)}, {name!r})"


def _variables(graph: Graph, paths: dict[str, tuple[str, ...]], trainable: frozenset[str]) -> list[str]:
    lines, made = [], set()
    for p in graph.parameters:
        path = paths[p.name]
        for depth in range(1, len(path)):
            if path[:depth] not in made:
                made.add(path[:depth])
                lines.append(f"self.{'.'.join(path[:depth])} = tf.Module()")
        flag = "" if p.name in trainable else ", trainable=False"
        lines.append(f"self.{'.'.join(path)} = tf.Variable(arrays[{p.name!r}], name={p.name!r}{flag})")
    return lines


def _clean(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII) or "model"


def _class_name(name: str) -> str:
    words = re.split(r"[\W_]+", name, flags=re.ASCII)
    joined = "".join(w[:1].upper() + w[1:] for w in words if w)
    return joined if joined and not joined[0].isdigit() and joined not in _RESERVED else f"Model{joined}"


_RESERVED = frozenset(("None", "True", "False"))


def missing_rules() -> list[str]:
    """Ops that have neither a rule, nor a decomposition, nor a reason."""
    return [n for n, op in OPS.items() if n not in RULES and not op.is_composite and n not in UNSUPPORTED]
