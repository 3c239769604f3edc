"""What one dot instead of several on a shared value gains: rows of ``rewrites.py``."""

from collections.abc import Callable

from lamina.ir import Builder, Graph, Module, TensorType


def heads(rows: int, features: int, columns: int, count: int) -> Module:
    """Projections of one input to ``count`` heads of ``columns`` each, all with biases, and the product of them."""
    graph = Graph()
    b = Builder(graph)
    x = graph.add_input(TensorType("f32", (rows, features)), "x")
    product = None
    for i in range(count):
        kernel = graph.add_parameter(f"head{i}/kernel", TensorType("f32", (features, columns))).value
        bias = graph.add_parameter(f"head{i}/bias", TensorType("f32", (columns,))).value
        y = b.dot_general(x, kernel, lhs_contract=(1,), rhs_contract=(0,))
        y = b.add(y, b.broadcast_in_dim(bias, shape=y.shape, dims=(1,)))
        product = y if product is None else b.multiply(product, y)
    graph.outputs = [product]
    return Module({"main": graph})


#: name: what leaves the rule out, and the graph.
CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    f"merge_dots: {count} kernels of {columns} columns, {rows} rows of {features}": (
        "O2,-merge_dots",
        lambda rows=rows, features=features, columns=columns, count=count: heads(rows, features, columns, count),
    )
    for rows, features, columns, count in ((1, 16, 4, 4), (64, 256, 4, 4), (1024, 256, 8, 2), (8192, 256, 4, 4))
}
