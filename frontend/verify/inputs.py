"""Inputs to run a graph on: what the user gave, or random arrays that the graph can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ...ir import Graph, Module, Node, TensorType, Value
from ...ir.binding import bind_symbols, check_guards, checked_sizes, graph_types
from ...ir.dims import evaluate_dim, substitute
from ...ir.errors import ArgumentError, DTypeError
from ...ir.types import BOOL, is_complex, is_float, numpy_dtype, short_name, static_shape

#: The size that a symbolic dimension gets where none is given.
SIZE = 3
#: Integers are below this where nothing says what they mean: valid wherever an index is.
_SMALL = 2
#: Ops that rearrange, convert or step integers, so that what their results index says what their operands may be.
_SHAPES = ("broadcast_in_dim", "reshape", "transpose", "slice", "concatenate", "convert", "pad", "reverse")


def random_inputs(module: Module, dims: Mapping[str, int], seed: int) -> list[np.ndarray]:
    """One random array for each input of the main graph.

    Floats are normal, bools even, integers from 0 to below the size of the axis that they index (the vocabulary of an
    embedding), or 0 and 1 where they index nothing.

    Args:
        dims: sizes of symbolic dimensions; :data:`SIZE` for those that are left out.
        seed: equal ones give equal arrays.

    Raises:
        ArgumentError: there is no such dimension. GuardError: the model does not take such sizes.
    """
    graph = module.main
    given = checked_sizes(dims)
    unknown = [name for name in given if name not in graph.symbols]
    if unknown:
        raise ArgumentError(
            f"{module.name} has no symbolic dimension {unknown[0]!r}; it has {', '.join(graph.symbols) or 'none'}"
        )
    sizes = {name: evaluate_dim(given.get(name, SIZE), {}) for name in graph.symbols}
    check_guards(graph.guards, sizes)
    draw = np.random.default_rng(seed)
    return [_random(v.type.substitute(sizes), _limit(graph, v, sizes), draw) for v in graph.inputs]


def check_inputs(module: Module, arrays: Sequence[Any]) -> list[np.ndarray]:
    """Arrays as the main graph takes them.

    Raises ShapeError, DTypeError, ArgumentError or GuardError where they do not fit.
    """
    graph = module.main
    arrays = [np.asarray(a, numpy_dtype(a.dtype)) if hasattr(a, "dtype") else np.asarray(a) for a in arrays]
    types = graph_types(graph)[: len(graph.inputs)]
    if len(arrays) != len(types):
        raise ArgumentError(f"{module.name} takes {', '.join(f'{n}: {t}' for n, t in types)}; received {len(arrays)}")
    fitted = [_fit(array, *named) for array, named in zip(arrays, types, strict=True)]
    check_guards(graph.guards, bind_symbols([(n, t, a.shape) for (n, t), a in zip(types, fitted, strict=True)]))
    return fitted


def _fit(array: np.ndarray, name: str, type_: TensorType) -> np.ndarray:
    if array.dtype == type_.dtype:
        return array
    if array.dtype.kind in "OUSmM" or _kind(array.dtype) > _kind(type_.dtype):
        raise DTypeError(f"{name}: expected {short_name(type_.dtype)}, {type_}; received {array.dtype}")
    return array.astype(type_.dtype)


def _kind(dtype: np.dtype) -> int:
    return 3 if is_complex(dtype) else 2 if is_float(dtype) else 0 if dtype == BOOL else 1


def _random(type_: TensorType, limit: int, draw: np.random.Generator) -> np.ndarray:
    shape = static_shape(type_)
    if is_complex(type_.dtype):
        return (draw.standard_normal(shape) + 1j * draw.standard_normal(shape)).astype(type_.dtype)
    if is_float(type_.dtype):
        return draw.standard_normal(shape).astype(type_.dtype)
    if type_.dtype == BOOL:
        return draw.integers(0, 2, shape).astype(type_.dtype)
    greatest = int(ml_dtypes.iinfo(type_.dtype).max)
    return draw.integers(0, min(limit, greatest + 1), shape).astype(type_.dtype)


def _limit(graph: Graph, value: Value, sizes: Mapping[str, int]) -> int:
    """What an integer input is to be below: the least size that it indexes, as far as can be seen."""
    reached = {value}
    limits: list[int] = []
    for node in graph.nodes:
        if reached.isdisjoint(node.operands):
            continue
        limits += [int(substitute(d, sizes)) for d in _indexed(node, reached)]  # type: ignore[arg-type]
        if node.op.name in _SHAPES or node.op.elementwise:
            reached.update(r for r in node.results if not is_float(r.dtype) and r.dtype != BOOL)
    return max(min(limits, default=_SMALL), 1)


def _indexed(node: Node, reached: set[Value]) -> Iterable[Any]:
    """The sizes of the axes that a node indexes by ``reached`` values."""
    a = node.attributes
    if node.op.name == "one_hot":
        return [a["depth"]]
    if node.op.name == "take" and node.operands[1] in reached:
        return [node.operands[0].shape[a["axis"]]]
    if node.op.name == "gather" and node.operands[1] in reached:
        x = node.operands[0]
        return [x.shape[i] - a["slice_sizes"][i] + 1 for i in a["start_index_map"]]
    return []
