"""What the CPU's rules for gradients gain: rows for ``rewrites.py``, on shapes of usual models."""

from collections.abc import Callable

from rewrites_convolution import convolution

from lamina.ir import Builder, Graph, Module, TensorType
from lamina.passes.differentiate import vjp


def gradient(module: Module, of: int) -> Module:
    """The gradient of a module of an input (0) and at most one parameter (1) in one of these, alone."""
    graph = module.main
    graph.inputs += [p.value for p in graph.parameters]
    graph.parameters = []
    graph.input_names = [""] * len(graph.inputs)
    back = vjp(graph, [i == of for i in range(len(graph.inputs))], (True,))
    back.outputs, back.output_names = back.outputs[1:], [""]
    return Module({"main": back})


def kernel_gradient(*arguments: object, **named: object) -> Module:
    return gradient(convolution(*arguments, **named), 1)


def weight_gradient(n: int, rows: int, columns: int) -> Module:
    """Of a dense layer: ``[n, rows]^T [n, columns]``."""
    graph = Graph()
    x, w = (graph.add_input(TensorType("f32", s)) for s in ((n, rows), (rows, columns)))
    graph.outputs = [Builder(graph).dot_general(x, w, lhs_contract=(1,), rhs_contract=(0,))]
    return gradient(Module({"main": graph}), 1)


def max_pool_gradient(shape: tuple[int, ...], window: int, stride: int, padding: int = 0) -> Module:
    graph = Graph()
    x = graph.add_input(TensorType("f32", shape))
    inside = len(shape) - 2
    graph.outputs = [
        Builder(graph).max_pool(
            x,
            window=(1, *(window,) * inside, 1),
            strides=(1, *(stride,) * inside, 1),
            padding=((0, 0), *((padding, padding),) * inside, (0, 0)),
        )
    ]
    return gradient(Module({"main": graph}), 0)


def weight_gradient_of_sums(n: int, rows: int, columns: int) -> Module:
    """Of the dense part of a separable convolution of size 3, and its result."""
    graph = Graph()
    shapes = (n + 2, rows), (3, rows), (rows, columns), (n, columns)
    x, kernel, w, y = (graph.add_input(TensorType("f32", s)) for s in shapes)
    b = Builder(graph)
    shifted = [b.slice(x, start=(i, 0), limit=(i + n, rows), strides=(1, 1)) for i in range(3)]
    taps = [b.slice(kernel, start=(i, 0), limit=(i + 1, rows), strides=(1, 1)) for i in range(3)]
    terms = [b.multiply(s, b.broadcast_in_dim(t, shape=(n, rows), dims=(0, 1))) for s, t in zip(shifted, taps)]
    factor = b.add(b.add(terms[0], terms[1]), terms[2])
    graph.outputs = [
        b.dot_general(factor, w, lhs_contract=(1,), rhs_contract=(0,)),
        b.dot_general(factor, y, lhs_contract=(0,), rhs_contract=(0,)),
    ]
    return Module({"main": graph})


LAST = "O2,-computed_factor_last"
FIRST, SUMS, APART = "O2,-first_axis_made_last", "O2,-batch_groups_as_sums", "O2,-batch_groups_apart"
WHOLE, PLACES = "O2,-whole_window_as_product", "O2,-max_pool_gradient_by_places"

CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    **{
        f"first_axis_made_last: [{n},{k}]^T [{n},{m}]": (FIRST, lambda n=n, k=k, m=m: weight_gradient(n, k, m))
        for n, k, m in (
            (32, 784, 256),
            (256, 512, 256),
            (1024, 512, 128),
            (1024, 128, 128),
            (2048, 768, 768),
            (4096, 512, 64),
            (8192, 256, 64),
        )
    },
    **{
        f"computed_factor_last: [{n},{k}]^T [{n},{m}]": (LAST, lambda n=n, k=k, m=m: weight_gradient_of_sums(n, k, m))
        for n, k, m in ((8192, 64, 64), (12544, 96, 24), (50176, 32, 16), (32768, 32, 1))
    },
    "batch_groups_as_sums: depthwise 3x3, 8x28x28x128": (SUMS, lambda: kernel_gradient((8, 28, 28, 128), 3, 128, 128)),
    "batch_groups_as_sums: depthwise 3x3, 32x14x14x64": (SUMS, lambda: kernel_gradient((32, 14, 14, 64), 3, 64, 64)),
    "batch_groups_as_sums: depthwise 3x3 stride 2, 8x28x28x64": (
        SUMS,
        lambda: kernel_gradient((8, 28, 28, 64), 3, 64, 64, stride=2),
    ),
    "batch_groups_as_sums: depthwise 7x7, 8x14x14x64": (SUMS, lambda: kernel_gradient((8, 14, 14, 64), 7, 64, 64)),
    "batch_groups_as_sums: causal depthwise 3, 32x256x64": (
        SUMS,
        lambda: kernel_gradient((32, 256, 64), 3, 64, 64, padding="causal"),
    ),
    "batch_groups_as_sums: depthwise 3x3 multiplier 2, 8x14x14x64": (
        SUMS,
        lambda: kernel_gradient((8, 14, 14, 64), 3, 128, 64),
    ),
    "batch_groups_apart: 8 groups of 16, 3x3, 8x28x28x128": (
        APART,
        lambda: kernel_gradient((8, 28, 28, 128), 3, 128, 8),
    ),
    "batch_groups_apart: 2 groups of 64, 3x3, 8x14x14x128": (
        APART,
        lambda: kernel_gradient((8, 14, 14, 128), 3, 128, 2),
    ),
    "batch_groups_apart: 32 groups of 4, 3x3, 8x28x28x128": (
        APART,
        lambda: kernel_gradient((8, 28, 28, 128), 3, 128, 32),
    ),
    "whole_window_as_product: 1x1, 8x28x28x96 to 24": (WHOLE, lambda: kernel_gradient((8, 28, 28, 96), 1, 24)),
    "whole_window_as_product: 1x1, 16x14x14x32 to 192": (WHOLE, lambda: kernel_gradient((16, 14, 14, 32), 1, 192)),
    "whole_window_as_product: 1x1, 8x28x28x256 to 64": (WHOLE, lambda: kernel_gradient((8, 28, 28, 256), 1, 64)),
    "whole_window_as_product: 1x1 stride 2, 8x28x28x64 to 128": (
        WHOLE,
        lambda: kernel_gradient((8, 28, 28, 64), 1, 128, stride=2),
    ),
    "max_pool_gradient_by_places: 2x2, 8x56x56x64": (PLACES, lambda: max_pool_gradient((8, 56, 56, 64), 2, 2)),
    "max_pool_gradient_by_places: 2x2, 32x28x28x32": (PLACES, lambda: max_pool_gradient((32, 28, 28, 32), 2, 2)),
    "max_pool_gradient_by_places: 2x2, 32x7x7x32": (PLACES, lambda: max_pool_gradient((32, 7, 7, 32), 2, 2)),
    "max_pool_gradient_by_places: 3x3 stride 2, 8x56x56x64": (
        PLACES,
        lambda: max_pool_gradient((8, 56, 56, 64), 3, 2, 1),
    ),
    "max_pool_gradient_by_places: 2, 32x128x64": (PLACES, lambda: max_pool_gradient((32, 128, 64), 2, 2)),
}
