"""Rules of the reductions with a region."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.graph import Node, Value
from ...ir.opdef import Call
from ...ir.regions import simple_region
from ...ir.types import BOOL, F32, bit_width, highest, is_complex, is_float, is_integer, lowest
from ..expansions import concrete
from ..source import Rule
from .regions import on_tensors
from .writer import TensorFlowWriter, cast, known_number, tensor

_REDUCERS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
_ON_BOOL = {"add": "any", "or": "any", "maximum": "any", "multiply": "all", "and": "all", "minimum": "all"}
_FOLDS = {
    "add": "tf.add",
    "multiply": "tf.multiply",
    "maximum": "tf.maximum",
    "minimum": "tf.minimum",
    "and": "tf.bitwise.bitwise_and",
    "or": "tf.bitwise.bitwise_or",
    "xor": "tf.bitwise.bitwise_xor",
}
_BOOL_FOLDS = {"any": "tf.logical_or", "all": "tf.logical_and", "xor": "tf.math.logical_xor"}


def summed_in(dtype: np.dtype, op: str | None = "add") -> np.dtype:
    """The type that a sum or product of ``dtype`` accumulates in."""
    narrow = is_float(dtype) and bit_width(dtype) < 32
    return F32 if (narrow and op in ("add", "multiply")) or (dtype.itemsize == 1 and is_float(dtype)) else dtype


def neutral(op: str, dtype: np.dtype) -> Any:
    """The value that ``op`` leaves others with."""
    if dtype == BOOL:
        return op in ("multiply", "and", "minimum")
    if op in ("add", "or", "xor"):
        return 0
    if op == "multiply":
        return 1
    return -1 if op == "and" else lowest(dtype) if op == "maximum" else highest(dtype)


def is_neutral(op: str, start: Value) -> bool:
    """Whether a start value is known to change nothing."""
    number = known_number(start)
    if number is None:
        return False
    expected = np.asarray(neutral(op, start.dtype))
    if op == "and" and is_integer(start.dtype) and start.dtype != BOOL:
        return bool(np.invert(number) == 0)
    return bool(number == expected.astype(start.dtype))


def fold_name(op: str, dtype: np.dtype) -> str:
    """What TensorFlow calls the binary op."""
    return _BOOL_FOLDS.get(_ON_BOOL.get(op, op), "tf.not_equal") if dtype == BOOL else _FOLDS[op]


def native_reduction(op: str, dtype: np.dtype) -> str | None:
    """The function of TensorFlow that reduces by ``op``, or None."""
    table = _ON_BOOL if dtype == BOOL else _REDUCERS
    if is_complex(dtype) and op in ("maximum", "minimum"):
        return None
    return f"tf.reduce_{table[op]}" if op in table else None


def _reduce(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
    axes, count = list(node.attributes["axes"]), len(operands) // 2
    op, dtype = simple_region(node.regions[0]), node.operands[0].dtype
    native = native_reduction(op, dtype) if op is not None else None
    if op is None or native is None:
        texts = [tensor(t, v.dtype) for t, v in zip(operands, node.operands)]
        body = on_tensors(writer, node.regions[0])
        xs, inits = ", ".join(texts[:count]), ", ".join(texts[count:])
        made = writer.assign(f"{writer.helper('reduce')}({body}, [{xs}], [{inits}], {axes})", "folded")
        return [f"{made}[{i}]" for i in range(count)]
    x, start = operands
    inner = summed_in(dtype, op)
    if inner != dtype:
        x, start = cast(x, inner), cast(tensor(start, dtype), inner)
    made = f"{native}({x}, {axes})"
    if not is_neutral(op, node.operands[1]):
        made = f"{fold_name(op, dtype)}({made}, {start})"
    return made if inner == dtype else cast(made, dtype)


def _window_arguments(writer: TensorFlowWriter, node: Node) -> str:
    a = node.attributes
    padding = f"[{', '.join(writer.shape(pair) for pair in a['padding'])}]"
    parts = (list(a["strides"]), list(a["base_dilation"]), list(a["window_dilation"]), padding)
    return f"{_window(node)}, {', '.join(map(str, parts))}"


def _window(node: Node) -> list[int]:
    return list(concrete(Call(node.op, node.attributes), *node.attributes["window"]))


def _reduce_window(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
    count = len(operands) // 2
    op, dtype = simple_region(node.regions[0]), node.operands[0].dtype
    arguments = _window_arguments(writer, node)
    if op is not None and count == 1 and is_neutral(op, node.operands[1]) and 0 not in node.result.shape:
        x, start = operands[0], tensor(operands[1], dtype)
        inner = summed_in(dtype, op)
        if inner != dtype:
            x, start = cast(x, inner), cast(start, inner)
        made = f"{writer.helper('fold_windows')}({fold_name(op, dtype)}, {x}, {start}, {arguments})"
        return made if inner == dtype else cast(made, dtype)
    texts = [tensor(t, v.dtype) for t, v in zip(operands, node.operands)]
    body = on_tensors(writer, node.regions[0])
    inner = summed_in(dtype, op) if count == 1 else dtype
    if inner != dtype:
        texts = [cast(t, inner) for t in texts]
    xs, inits = ", ".join(texts[:count]), ", ".join(texts[count:])
    counts = writer.shape(node.results[0].shape)
    made = f"{writer.helper('reduce_window')}({body}, [{xs}], [{inits}], {arguments}, {counts})"
    if inner != dtype:
        return cast(f"{made}[0]", dtype)
    made = writer.assign(made, "folded")
    return [f"{made}[{i}]" for i in range(count)]


def _select_and_scatter(writer: TensorFlowWriter, node: Node, x: str, source: str, init: str) -> str:
    a, dtype = node.attributes, node.result.dtype
    if 0 in (*node.result.shape, *node.operands[1].shape):
        return f"tf.fill({writer.shape(node.result.shape)}, {tensor(init, dtype)})"
    prefer = on_tensors(writer, node.regions[0], "prefer")
    body = on_tensors(writer, node.regions[1])
    padding = f"[{', '.join(writer.shape(pair) for pair in a['padding'])}]"
    given = f"{prefer}, {body}, {x}, {source}, {tensor(init, dtype)}"
    name = writer.helper("select_and_scatter")
    return f"{name}({given}, {_window(node)}, {list(a['strides'])}, {padding})"


RULES: dict[str, Rule] = {"reduce": _reduce, "reduce_window": _reduce_window, "select_and_scatter": _select_and_scatter}
