"""Modules of one convolution, and what the CPU's rules make of them."""

import ml_dtypes
import numpy as np
from strategies import random_array

from lamina.ir import Builder, Graph, Module, TensorType, evaluate, verify
from lamina.ir.types import is_integer
from lamina.passes import run_pipeline

# Another order of the same terms, which are below 4: a few eps, of float32 at least, of the sum of their sizes. Then
# one rounding to the type of the result.
ULPS = 4


def convolution(
    x: tuple[int, ...],
    w: tuple[int, ...],
    element: str = "f32",
    lhs_spec: tuple[int, ...] | None = None,
    rhs_spec: tuple[int, ...] | None = None,
    out_spec: tuple[int, ...] | None = None,
    **attributes: object,
) -> Module:
    """A module of one convolution: sizes of ``x`` are batch, features, spatial; of ``w`` out, in, spatial."""
    rank, ones = len(x), (1,) * (len(x) - 2)
    last = (0, rank - 1, *range(1, rank - 1))
    lhs_spec, out_spec = lhs_spec or last, out_spec or last
    rhs_spec = rhs_spec or (rank - 1, rank - 2, *range(rank - 2))
    graph = Graph()
    b = Builder(graph)
    values = [
        graph.add_input(TensorType(element, [size for _, size in sorted(zip(spec, sizes))]), name)
        for name, spec, sizes in (("x", lhs_spec, x), ("w", rhs_spec, w))
    ]
    usual = {"strides": ones, "lhs_dilation": ones, "rhs_dilation": ones, "padding": ((0, 0),) * len(ones)}
    specs = {"lhs_spec": lhs_spec, "rhs_spec": rhs_spec, "out_spec": out_spec}
    graph.outputs = [b.convolution(*values, **{**usual, **specs, **attributes})]
    module = Module({"main": graph})
    verify(module)
    return module


def rewritten(module: Module) -> tuple[Module, list[str]]:
    """The module after the CPU's rules, and the names of those that fired."""
    after, (record,) = run_pipeline(module, "cpu", verify=True)
    return after, [fired.rule for fired in record.fired]


def ops(module: Module) -> list[str]:
    return [node.op.name for node in module.main.nodes]


def assert_same_results(before: Module, after: Module) -> None:
    """Compare on random arrays: integers exactly, floats within what ``ULPS`` is about."""
    rng = np.random.default_rng(0)
    arrays = [random_array(rng, v.type) for v in before.main.inputs]
    (want,), _ = evaluate(before, *arrays)
    (got,), _ = evaluate(after, *arrays)
    assert got.dtype == want.dtype
    if is_integer(want.dtype):
        np.testing.assert_array_equal(got, want)
        return
    (node,) = before.main.nodes
    kernel = node.operands[1]
    terms = kernel.type.size // kernel.shape[node.attributes["rhs_spec"][0]]
    eps = float(ml_dtypes.finfo(want.dtype).eps)
    bound = ULPS * min(eps, float(np.finfo(np.float32).eps)) * 4 * terms
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(got.astype(wide), want.astype(wide), rtol=eps, atol=bound)
