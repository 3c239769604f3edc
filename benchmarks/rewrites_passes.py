"""What the general passes gain, on convolutional and dense networks: rows of ``rewrites.py``."""

from collections.abc import Callable

from lamina.ir import Builder, Graph, Module, TensorType, Value

FIRST, LAST = (0, 1, 2, 3), (0, 3, 1, 2)


def _normalized(b: Builder, y: Value, name: str, features: int, axis: int) -> Value:
    """relu(batch_norm(y + bias)) with parameters of its own."""

    def vector(part: str) -> Value:
        return b.graph.add_parameter(f"{name}/{part}", TensorType("f32", (features,))).value

    y = b.add(y, b.broadcast_in_dim(vector("bias"), shape=y.shape, dims=(axis,)))
    return b.relu(b.batch_norm(y, *map(vector, ("mean", "variance", "gamma", "beta")), axis=axis))


def cnn(spec: tuple[int, ...], channels: int = 32, size: int = 32, depth: int = 4) -> Module:
    """3x3 convolutions, each with bias, batch norm and relu, pooled every second time, then a mean over the image."""
    graph = Graph()
    b = Builder(graph)
    sizes = {spec[0]: 8, spec[1]: channels, spec[2]: size, spec[3]: size}
    y = graph.add_input(TensorType("f32", [sizes[i] for i in range(4)]), "x")
    for i in range(depth):
        kernel = graph.add_parameter(f"conv{i}/kernel", TensorType("f32", (3, 3, channels, channels))).value
        y = b.convolution(
            y,
            kernel,
            strides=(1, 1),
            padding=((1, 1), (1, 1)),
            lhs_dilation=(1, 1),
            rhs_dilation=(1, 1),
            lhs_spec=spec,
            rhs_spec=(3, 2, 0, 1),
            out_spec=spec,
        )
        y = _normalized(b, y, f"conv{i}", channels, spec[1])
        if i % 2:
            window = [2 if axis in spec[2:] else 1 for axis in range(4)]
            y = b.max_pool(y, window=window, strides=window, padding=((0, 0),) * 4)
    graph.outputs = [b.reduce_mean(y, axes=spec[2:])]
    return Module({"main": graph})


def dense(rows: int = 128, features: int = 256, depth: int = 4, normalize: bool = False) -> Module:
    """Dense layers, each with bias, batch norm and relu; with ``normalize`` on kernels whose columns have length 1."""
    graph = Graph()
    b = Builder(graph)
    y = graph.add_input(TensorType("f32", (rows, features)), "x")
    for i in range(depth):
        kernel = graph.add_parameter(f"dense{i}/kernel", TensorType("f32", (features, features))).value
        if normalize:
            length = b.sqrt(b.reduce_sum(b.multiply(kernel, kernel), axes=(0,)))
            kernel = b.divide(kernel, b.expand(length, kernel.shape, (0,)))
        y = b.dot_general(y, kernel, lhs_contract=(1,), rhs_contract=(0,))
        y = _normalized(b, y, f"dense{i}", features, 1)
    graph.outputs = [y]
    return Module({"main": graph})


#: name: what leaves the pass out, and the graph.
CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    "layout: channels-first CNN": ("O2,-layout", lambda: cnn(FIRST)),
    "fold: channels-last CNN": ("O2,-fold", lambda: cnn(LAST)),
    "fold: dense layers": ("O2,-fold", dense),
    "prepare: channels-last CNN": ("O2,-prepare", lambda: cnn(LAST)),
    "prepare: dense layers": ("O2,-prepare", dense),
    "prepare: dense layers, normalized kernels": ("O2,-prepare", lambda: dense(normalize=True)),
}
