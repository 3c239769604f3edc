"""What the CPU's rules for gelu, layer norm and products of bfloat16 gain: rows of benchmarks/rewrites.py."""

from collections.abc import Callable
from typing import Any

from lamina.ir import Builder, Graph, Module, TensorType

GELU, NORM, PRODUCT = "O2,-gelu_through_erf", "O2,-layer_norm_by_distance", "O2,-bfloat16_product_in_float32"


def gelu(*shape: int) -> Module:
    """One exact gelu."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", shape), "x")
    graph.outputs = [Builder(graph).gelu(x, approximate=False)]
    return Module({"main": graph})


def layer_norm(*shape: int) -> Module:
    """One layer normalization over the last axis."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", shape), "x")
    weights = [graph.add_parameter(name, TensorType("f32", shape[-1:])).value for name in ("gamma", "beta")]
    graph.outputs = [Builder(graph).layer_norm(x, *weights, axes=(-1,))]
    return Module({"main": graph})


def product(*shape: int, **attributes: Any) -> Module:
    """x as bfloat16, times itself."""
    graph = Graph()
    b = Builder(graph)
    x = b.astype(graph.add_input(TensorType("f32", shape), "x"), TensorType("bf16").dtype)
    graph.outputs = [b.dot_general(x, x, **attributes)]
    return Module({"main": graph})


#: name: what leaves the rule out, and the graph.
CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    "gelu: 4096x768": (GELU, lambda: gelu(4096, 768)),
    "gelu: 32x256": (GELU, lambda: gelu(32, 256)),
    "layer norm: 4096x768": (NORM, lambda: layer_norm(4096, 768)),
    "layer norm: 32x64x64": (NORM, lambda: layer_norm(32, 64, 64)),
    "layer norm: 8x64": (NORM, lambda: layer_norm(8, 64)),
    "bfloat16 product: 512": (PRODUCT, lambda: product(512, 512, lhs_contract=(1,), rhs_contract=(0,))),
    "bfloat16 product: 512, transposed": (PRODUCT, lambda: product(512, 512, lhs_contract=(1,), rhs_contract=(1,))),
    "bfloat16 product: 128": (PRODUCT, lambda: product(128, 128, lhs_contract=(1,), rhs_contract=(0,))),
    "bfloat16 product: 8x128x64, batched": (
        PRODUCT,
        lambda: product(8, 128, 64, lhs_batch=(0,), rhs_batch=(0,), lhs_contract=(2,), rhs_contract=(2,)),
    ),
}
