"""What the CPU's rules for extremes' positions and cumulative windows gain: rows of benchmarks/rewrites.py."""

from collections.abc import Callable

from lamina.ir import Builder, Graph, Module, TensorType, Value, binary_region


def module_of(shape: tuple[int, ...], build: Callable[[Builder, Value], Value]) -> Module:
    """One float32 input, and what is built of it."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", shape), "x")
    graph.outputs = [build(Builder(graph), x)]
    return Module({"main": graph})


def position(shape: tuple[int, ...], axis: int = -1, dtype: str = "f32") -> Module:
    """One argmax."""
    return module_of(shape, lambda b, x: b.argmax(b.astype(x, TensorType(dtype).dtype), axis=axis))


def window(shape: tuple[int, ...], axis: int, op: str = "add", start: float = 0.0) -> Module:
    """A cumulative reduction as other programs write it, and as one along an open axis is when its length is known."""
    ones, length = (1,) * len(shape), shape[axis]

    def build(b: Builder, x: Value) -> Value:
        return b.reduce_window(
            x,
            b.constant(start, "f32"),
            window=[length if i == axis else 1 for i in range(len(shape))],
            strides=ones,
            base_dilation=ones,
            window_dilation=ones,
            padding=[(length - 1, 0) if i == axis else (0, 0) for i in range(len(shape))],
            regions=[binary_region(op, "f32")],
        )

    return module_of(shape, build)


POSITION, WINDOW = "O2,-position_by_extreme", "O2,-cumulative_in_blocks"
LOWEST = float("-inf")

#: name: what leaves the rule out, and the graph.
CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    "argmax: 1024x1000": (POSITION, lambda: position((1024, 1000))),
    "argmax: 1024x1000, first axis": (POSITION, lambda: position((1024, 1000), 0)),
    "argmax: 1024x1000, bfloat16": (POSITION, lambda: position((1024, 1000), dtype="bf16")),
    "argmax: 1024x1000, int8": (POSITION, lambda: position((1024, 1000), dtype="i8")),
    "argmax: 8x28x28x64": (POSITION, lambda: position((8, 28, 28, 64))),
    "argmax: 64x10": (POSITION, lambda: position((64, 10))),
    "cumulative sum: 32x4096": (WINDOW, lambda: window((32, 4096), 1)),
    "cumulative sum: 4096x32, first axis": (WINDOW, lambda: window((4096, 32), 0)),
    "cumulative sum: 1024x64": (WINDOW, lambda: window((1024, 64), 1)),
    "cumulative sum: 100000": (WINDOW, lambda: window((100000,), 0)),
    "cumulative sum: 8x10": (WINDOW, lambda: window((8, 10), 1)),
    "cumulative maximum: 32x4096": (WINDOW, lambda: window((32, 4096), 1, "maximum", LOWEST)),
    "cumulative product: 32x4096": (WINDOW, lambda: window((32, 4096), 1, "multiply", 1.0)),
}
