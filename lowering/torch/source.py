"""A module's source for torch: a method ``forward``, the helpers that it calls, and what the torch module must own."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir.errors import UnsupportedError
from ...ir.graph import Graph, Module, Node, Parameter, Value
from ...ir.types import is_float
from ...passes.manager import run_pipeline
from ..source import Language, Rule, attribute_paths
from . import (
    composites,
    contraction,
    control,
    elementwise,
    indexing,
    linalg,
    pooling,
    random,
    recurrent,
    reduction,
    shape,
)
from .library import HELPERS, helper_texts
from .writer import NAMES, TorchWriter, is_widened, number_text, torch_type

#: Ops that have no form here: why, and the way out.
UNSUPPORTED: dict[str, str] = {
    **dict.fromkeys(
        ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute", "partition_id"),
        "it speaks to other devices, and what leaves runs on one; export the program before it is partitioned",
    ),
    "custom_call": "its target alone knows what it does; say it by ops, or export to stablehlo",
    "call": "functions are put in place of their calls before, which a recursive one can't be; write it as a loop",
}


def _refused(name: str) -> Rule:
    def rule(writer: TorchWriter, node: Node, *operands: str) -> str:
        raise UnsupportedError(f"{name} has no form in torch: {UNSUPPORTED[name]}")

    return rule


#: One row for each op; a composite without a row is written as its decomposition.
RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **shape.RULES,
    **contraction.RULES,
    **reduction.RULES,
    **pooling.RULES,
    **indexing.RULES,
    **linalg.RULES,
    **random.RULES,
    **control.RULES,
    **composites.RULES,
    **recurrent.RULES,
    **{name: _refused(name) for name in UNSUPPORTED},
}

LANGUAGE = Language(
    name="torch",
    rules=RULES,
    size=lambda tensor, axis: f"{tensor}.shape[{axis}]",
    number=number_text,
    literal=lambda array: None,
    reshape=lambda tensor, sizes: f"{tensor}.reshape({', '.join(sizes)})",
    broadcasts=elementwise.BROADCASTS,
    numbers=elementwise.NUMBERS,
)

#: The passes before: composites stay, and parameters keep their names and shapes.
PIPELINE = "inline{all=true},simplify,recognize,layout{data=nchw}"

#: What modules and scripted modules of torch have already, so that no parameter can have its name.
RESERVED = frozenset(
    [
        "T_destination",
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "code",
        "code_with_constants",
        "compile",
        "copy",
        "copy_instance",
        "cpu",
        "cuda",
        "define",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "forward_magic_method",
        "get_buffer",
        "get_debug_state",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "graph",
        "graph_for",
        "half",
        "inlined_graph",
        "ipu",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "original_name",
        "parameters",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "save",
        "save_to_buffer",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "xpu",
        "zero_grad",
    ]
)


@dataclass(frozen=True)
class TorchSource:
    """What leaves.

    Attributes:
        text: TorchScript, which is Python too: methods of a module.
        paths: the parameters' places in the module, by their names.
        constants: arrays that the module owns beside, by the attribute's name.
        trained: names of the parameters that have a gradient: floats that are not updated, and whose Variable trains.
        orders: for some parameters, by name, the order of their axes in memory, outermost first, that suits their use.
        structure: the nest that ``forward`` returns, each leaf the number of an output.
        module: the module that was written.
    """

    text: str
    module: Module
    paths: Mapping[str, tuple[str, ...]]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    trained: frozenset[str] = frozenset()
    orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    structure: Any = None

    def flatten(self, returned: Any) -> list[Any]:
        """The outputs in the module's order, from what ``forward`` returned."""
        outputs: dict[int, Any] = {}
        _collect(self.structure, returned, outputs)
        return [outputs[i] for i in range(len(self.module.main.outputs))]


def write_source(module: Module) -> TorchSource:
    """The source of a traced module. Raises :class:`UnsupportedError` where an op has no form, with its layer."""
    module, _ = run_pipeline(module, PIPELINE)
    main = module.main
    paths = attribute_paths((p.name for p in main.parameters), {*RESERVED, *HELPERS, *NAMES})
    owned = [f"self.{'.'.join(paths[p.name])}" for p in main.parameters]
    writer = TorchWriter(LANGUAGE, {path[0] for path in paths.values()} | RESERVED)
    inputs = [writer.fresh(name or "x") for name in _input_names(main)]
    writer.device_of = (inputs or owned or [""])[0]
    writer.parameters = {p.value: p.name for p in main.parameters}
    updated = {u.parameter.value for u in main.updates}
    trained = {p for p in main.parameters if p.value not in updated and _trains(p)}
    writer.fixed = {p.value for p in main.parameters if p not in trained}
    for value, name in zip(main.inputs, inputs, strict=True):
        if is_widened(value.dtype) or value.dtype == np.uint64:
            writer.line(f"{name} = {name}.to({torch_type(value.dtype)})")
    results = writer.function(main, [*owned, *inputs])
    outputs, updates = results[: len(main.outputs)], results[len(main.outputs) :]
    outputs = [_apart(writer, v, text, updated) for v, text in zip(main.outputs, outputs, strict=True)]
    news = [
        _apart(writer, u.value, text, updated - {u.parameter.value})
        for u, text in zip(main.updates, updates, strict=True)
    ]
    for update, text in zip(main.updates, news, strict=True):
        writer.line(f"self.{'.'.join(paths[update.parameter.name])}.copy_({text}.detach())")
    structure = _structure(main.out_structure if main.out_structure is not None else tuple(range(len(outputs))))
    writer.line(f"return {_nest_text(structure, outputs)}")
    arguments = ", ".join(["self", *(f"{name}: Tensor" for name in inputs)])
    head = f"def forward({arguments}) -> {_nest_type(structure)}:"
    body = "\n".join([head, *writer.lines])
    text = "\n\n".join([body, *helper_texts(body)]) + "\n"
    names = frozenset(p.name for p in trained)
    return TorchSource(text, module, paths, writer.constants, names, writer.orders, structure)


def _trains(parameter: Parameter) -> bool:
    dtype = parameter.value.dtype
    return is_float(dtype) and dtype.itemsize > 1 and bool(getattr(parameter.key, "trainable", True))


def _input_names(main: Graph) -> list[str]:
    names = main.input_names or [""] * len(main.inputs)
    return [f"{name}_" if keyword.iskeyword(name) else name for name in names]


#: Ops whose result may be the memory of their operand.
_VIEWS: tuple[str, ...] = (
    "reshape",
    "transpose",
    "broadcast_in_dim",
    "match_shape",
    "slice",
    "optimization_barrier",
    "sharding_constraint",
    "dynamic_slice",
)
_VIEWS += ("real", "imag", "stop_gradient", "bitcast_convert", "convert", "remat", "composite", "cond", "while", "scan")


def _apart(writer: TorchWriter, value: Value, text: str, updated: set[Value]) -> str:
    """``text``, copied where an update of a parameter would change it."""
    made = value.producer
    if value in updated:
        return writer.assign(f"{text}.clone()", "kept")
    if made is None or made.op.name not in _VIEWS:
        return text
    reached = [made]
    while reached:
        node = reached.pop()
        for operand in node.operands:
            if operand in updated:
                return writer.assign(f"{text}.clone()", "kept")
            if operand.producer is not None and operand.producer.op.name in _VIEWS:
                reached.append(operand.producer)
    return text


# Structure of results: what TorchScript can return


def _structure(nest: Any) -> Any:
    """A nest of outputs without what TorchScript has no type for: None is left out, a dict of several types is a
    tuple."""
    if isinstance(nest, int):
        return nest
    if isinstance(nest, Mapping):
        inner = {k: _structure(v) for k, v in nest.items() if v is not None}
        kinds = {_nest_type(v) for v in inner.values()}
        keys = {type(k) for k in inner}
        return inner if len(kinds) == 1 and keys in ({str}, {int}) else tuple(inner.values())
    inner_list = [_structure(v) for v in nest if v is not None]
    same_type = len({_nest_type(v) for v in inner_list}) == 1
    return inner_list if isinstance(nest, list) and same_type else tuple(inner_list)


def _nest_type(nest: Any) -> str:
    if isinstance(nest, int):
        return "Tensor"
    if isinstance(nest, dict):
        key, value = next(iter(nest.items()))
        return f"Dict[{type(key).__name__}, {_nest_type(value)}]"
    if isinstance(nest, list):
        return f"List[{_nest_type(nest[0])}]"
    return f"Tuple[{', '.join(map(_nest_type, nest))}]" if nest else "Tuple[()]"


def _nest_text(nest: Any, texts: list[str]) -> str:
    if isinstance(nest, int):
        return texts[nest]
    if isinstance(nest, dict):
        return "{" + ", ".join(f"{_key(k)}: {_nest_text(v, texts)}" for k, v in nest.items()) + "}"
    inner = ", ".join(_nest_text(v, texts) for v in nest)
    if isinstance(nest, list):
        return f"[{inner}]"
    return f"({inner},)" if len(nest) == 1 else f"({inner})"


def _key(key: Any) -> str:
    return str(key) if isinstance(key, int) else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _collect(nest: Any, returned: Any, outputs: dict[int, Any]) -> None:
    if isinstance(nest, int):
        outputs[nest] = returned
        return
    items = nest.items() if isinstance(nest, dict) else enumerate(nest)
    for key, inner in items:
        _collect(inner, returned[key], outputs)
