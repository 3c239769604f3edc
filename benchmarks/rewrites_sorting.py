"""What the CPU's rules for sorting gain: rows of benchmarks/rewrites.py."""

from collections.abc import Callable

from lamina.ir import Builder, Graph, Module, TensorType
from lamina.ir.types import is_float

INTEGERS, PACKED = "O2,-sort_as_integers", "O2,-sort_packed"


def sorting(shape: tuple[int, ...], axis: int = -1, dtype: str = "f32", together: str = "") -> Module:
    """A sort of x as ``dtype``, alone; or together with x or with the positions, which are the result."""
    graph = Graph()
    b = Builder(graph)
    x, axis = graph.add_input(TensorType("f32", shape), "x"), axis % len(shape)
    operands = [b.astype(x, TensorType(dtype).dtype)]
    if together:
        operands.append(x if together == "values" else b.iota(dtype=TensorType("i32").dtype, shape=shape, axis=axis))
    region = Graph()
    pairs = [(region.add_input(TensorType(v.dtype)), region.add_input(TensorType(v.dtype))) for v in operands]
    region.outputs = [Builder(region).compare(*pairs[0], direction="LT", total_order=is_float(operands[0].dtype))]
    graph.outputs = [b.emit("sort", operands, {"axis": axis}, [region])[-1]]
    return Module({"main": graph})


#: name: what leaves the rule out, and the graph.
CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    "sort: 64x4096": (INTEGERS, lambda: sorting((64, 4096))),
    "sort: 4096x64, first axis": (INTEGERS, lambda: sorting((4096, 64), 0)),
    "sort: 1024x64": (INTEGERS, lambda: sorting((1024, 64))),
    "sort: 64x4096, bfloat16": (INTEGERS, lambda: sorting((64, 4096), dtype="bf16")),
    "sort: 16x32": (INTEGERS, lambda: sorting((16, 32))),
    "argsort: 64x4096": (PACKED, lambda: sorting((64, 4096), together="positions")),
    "argsort: 1024x64": (PACKED, lambda: sorting((1024, 64), together="positions")),
    "argsort: 64x4096, int32": (PACKED, lambda: sorting((64, 4096), dtype="i32", together="positions")),
    "argsort: 64x4096, bfloat16": (PACKED, lambda: sorting((64, 4096), dtype="bf16", together="positions")),
    "argsort: 16x32": (PACKED, lambda: sorting((16, 32), together="positions")),
    "sort by keys: 64x4096": (PACKED, lambda: sorting((64, 4096), together="values")),
}
