"""What the CPU's rules for convolutions gain: rows for ``rewrites.py``, on shapes of usual models."""

from collections.abc import Callable

from lamina.ir import Builder, Graph, Module, TensorType


def convolution(
    x: tuple[int, ...],
    kernel: int,
    filters: int,
    groups: int = 1,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "same",
    dtype: str = "f32",
) -> Module:
    """One channels-last convolution on ``x``; ``padding``: ``same`` or, in front only, ``causal``."""
    spatial = len(x) - 2
    graph = Graph()
    b = Builder(graph)
    source = graph.add_input(TensorType(dtype, x), "x")
    weight = graph.add_parameter("kernel", TensorType(dtype, (*[kernel] * spatial, x[-1] // groups, filters)))
    span = (kernel - 1) * dilation
    totals = [max((-(-n // stride) - 1) * stride + span + 1 - n, 0) for n in x[1:-1]]
    graph.outputs = [
        b.convolution(
            source,
            weight.value,
            strides=(stride,) * spatial,
            padding=tuple((t, 0) if padding == "causal" else (t // 2, t - t // 2) for t in totals),
            lhs_dilation=(1,) * spatial,
            rhs_dilation=(dilation,) * spatial,
            feature_groups=groups,
            **_specs(spatial),
        )
    ]
    return Module({"main": graph})


def apart(x: tuple[int, ...], kernel: int, filters: int) -> Module:
    """A transposed convolution with strides of the kernel's size."""
    spatial = len(x) - 2
    graph = Graph()
    source = graph.add_input(TensorType("f32", x), "x")
    weight = graph.add_parameter("kernel", TensorType("f32", (*[kernel] * spatial, x[-1], filters)))
    graph.outputs = [
        Builder(graph).convolution(
            source,
            weight.value,
            strides=(1,) * spatial,
            padding=((kernel - 1, kernel - 1),) * spatial,
            lhs_dilation=(kernel,) * spatial,
            rhs_dilation=(1,) * spatial,
            **_specs(spatial),
        )
    ]
    return Module({"main": graph})


def _specs(spatial: int) -> dict[str, tuple[int, ...]]:
    last = (0, spatial + 1, *range(1, spatial + 1))
    return {"lhs_spec": last, "out_spec": last, "rhs_spec": (spatial + 1, spatial, *range(spatial))}


NARROW, WIDE = "O2,-narrow_groups_as_shifts,-wide_groups_apart", "O2,-wide_groups_apart"
POINTWISE, APART = "O2,-pointwise_as_product", "O2,-apart_windows_as_product"

#: name: what leaves the rule out, and the graph.
CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    "narrow_groups_as_shifts: depthwise 3x3, 8x28x28x128": (NARROW, lambda: convolution((8, 28, 28, 128), 3, 128, 128)),
    "narrow_groups_as_shifts: depthwise 3x3 stride 2, 16x28x28x144": (
        NARROW,
        lambda: convolution((16, 28, 28, 144), 3, 144, 144, stride=2),
    ),
    "narrow_groups_as_shifts: depthwise 7x7, 8x28x28x64": (NARROW, lambda: convolution((8, 28, 28, 64), 7, 64, 64)),
    "narrow_groups_as_shifts: depthwise 3x3 multiplier 2, 8x28x28x64": (
        NARROW,
        lambda: convolution((8, 28, 28, 64), 3, 128, 64),
    ),
    "narrow_groups_as_shifts: depthwise 3x3 bfloat16, 8x28x28x128": (
        NARROW,
        lambda: convolution((8, 28, 28, 128), 3, 128, 128, dtype="bf16"),
    ),
    "narrow_groups_as_shifts: causal depthwise 3, 32x256x64": (
        NARROW,
        lambda: convolution((32, 256, 64), 3, 64, 64, padding="causal"),
    ),
    "narrow_groups_as_shifts: depthwise 3x3x3, 2x16x16x16x32": (
        NARROW,
        lambda: convolution((2, 16, 16, 16, 32), 3, 32, 32),
    ),
    "narrow_groups_as_shifts: 32 groups of 4, 3x3, 8x28x28x128": (
        NARROW,
        lambda: convolution((8, 28, 28, 128), 3, 128, 32),
    ),
    "narrow_groups_as_shifts: 16 groups of 8, 3x3, 8x28x28x128": (
        NARROW,
        lambda: convolution((8, 28, 28, 128), 3, 128, 16),
    ),
    "narrow_groups_as_shifts: 16 groups of 16, 1x1, 8x28x28x256": (
        NARROW,
        lambda: convolution((8, 28, 28, 256), 1, 256, 16),
    ),
    "wide_groups_apart: 8 groups of 16, 3x3, 8x28x28x128": (WIDE, lambda: convolution((8, 28, 28, 128), 3, 128, 8)),
    "wide_groups_apart: 2 groups of 64, 3x3, 8x28x28x128": (WIDE, lambda: convolution((8, 28, 28, 128), 3, 128, 2)),
    "wide_groups_apart: 32 groups of 16, 3x3, 8x14x14x512": (WIDE, lambda: convolution((8, 14, 14, 512), 3, 512, 32)),
    "pointwise_as_product: 16x28x28x96 to 24": (POINTWISE, lambda: convolution((16, 28, 28, 96), 1, 24)),
    "pointwise_as_product: 16x14x14x32 to 192": (POINTWISE, lambda: convolution((16, 14, 14, 32), 1, 192)),
    "pointwise_as_product: 8x56x56x256 to 64": (POINTWISE, lambda: convolution((8, 56, 56, 256), 1, 64)),
    "apart_windows_as_product: 2x2, 8x32x32x32 to 16": (APART, lambda: apart((8, 32, 32, 32), 2, 16)),
    "apart_windows_as_product: 2x2, 8x16x16x64 to 64": (APART, lambda: apart((8, 16, 16, 64), 2, 64)),
    "apart_windows_as_product: 4x4, 8x14x14x64 to 64": (APART, lambda: apart((8, 14, 14, 64), 4, 64)),
    "apart_windows_as_product: 2, 8x128x64 to 64": (APART, lambda: apart((8, 128, 64), 2, 64)),
}
