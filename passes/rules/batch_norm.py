"""Batch normalization with fixed statistics folded into the convolution or matrix product before it.

With ``scale = gamma * rsqrt(variance + epsilon)``, ``batch_norm(conv(x, w) + b)`` is
``conv(x, w * scale) + (beta + (b - mean) * scale)``; all that is new depends on parameters alone.
(Jacob et al. 2018, arXiv:1712.05877, section 3.2.)
"""

from __future__ import annotations

from ...ir.graph import Node, Value
from ...ir.types import F32, F64
from ..patterns import depends_only_on, produced_by, without_ones
from ..rewrite import NoMatch, Rewriter, rule


@rule("batch_norm")
def fold_batch_norm(r: Rewriter, node: Node) -> Value | NoMatch:
    """A batch_norm after a convolution or dot_general becomes part of kernel and bias."""
    x = node.operands[0]
    if x.dtype not in (F32, F64) or any(v.dtype != x.dtype for v in node.operands):
        return NoMatch("folding is for float32 and float64: narrower kernels would lose accuracy")
    axis = node.attributes["axis"] % x.rank
    linear, bias = _linear_and_bias(r, x, axis)
    if linear is None:
        return NoMatch("the operand is not a convolution or dot_general (plus a bias) with a single use")
    feature = _kernel_axis(linear, axis)
    if feature is None:
        return NoMatch(f"axis {axis} is not a dimension that the kernel gives")
    kernel = linear.operands[1]
    if (linear.attributes["dtype"] or x.dtype) != x.dtype or kernel.dtype != x.dtype:
        return NoMatch("the product is made in another type")
    given = [kernel, *node.operands[1:], *([bias] if bias is not None else [])]
    if not all(depends_only_on(v, r.is_fixed_parameter) for v in given):
        return NoMatch("kernel, bias or statistics are not parameters that stay the same during a run")
    scale, shift = _scale_and_shift(r, node, bias)
    scaled = r.multiply(kernel, r.broadcast_in_dim(scale, shape=kernel.shape, dims=(feature,)))
    product = r.emit(linear.op, [linear.operands[0], scaled], linear.attributes)[0]
    return r.add(product, r.broadcast_in_dim(shift, shape=x.shape, dims=(axis,)))


def _linear_and_bias(r: Rewriter, x: Value, axis: int) -> tuple[Node | None, Value | None]:
    """The convolution or dot_general behind ``x``, and the bias (one number for each index of axis) added to it."""
    if not r.single_use(x) or x.producer is None:
        return None, None
    if x.producer.op.name in ("convolution", "dot_general"):
        return x.producer, None
    if x.producer.op.name != "add":
        return None, None
    for product, added in (x.producer.operands, x.producer.operands[::-1]):
        producer = product.producer
        if producer is not None and producer.op.name in ("convolution", "dot_general") and r.single_use(product):
            bias = _bias(r, added, axis)
            if bias is not None:
                return producer, bias
    return None, None


def _bias(r: Rewriter, added: Value, axis: int) -> Value | None:
    """The vector that ``added`` is, stretched along all axes but ``axis``."""
    node = produced_by(added, "broadcast_in_dim")
    if node is None:
        return None
    source, dims = node.operands[0], node.attributes["dims"]
    carried = [d for d, size in zip(dims, source.shape) if size != 1]
    if carried not in ([axis], []) or (not carried and added.shape[axis] != 1):
        return None
    return source if source.rank == 1 else r.reshape(source, shape=without_ones(source.shape) or (1,))


def _kernel_axis(linear: Node, axis: int) -> int | None:
    """The kernel's dimension that becomes ``axis`` of the result."""
    a = linear.attributes
    if linear.op.name == "convolution":
        return a["rhs_spec"][0] if a["out_spec"][1] == axis else None
    lhs, rhs = linear.operands
    free = [i for i in range(rhs.rank) if i not in a["rhs_batch"] and i not in a["rhs_contract"]]
    first = lhs.rank - len(a["lhs_contract"])
    return free[axis - first] if axis >= first else None


def _scale_and_shift(r: Rewriter, node: Node, bias: Value | None) -> tuple[Value, Value]:
    mean, variance, *rest = node.operands[1:]
    scale = r.rsqrt(r.add(variance, r.full_like(variance, node.attributes["epsilon"])))
    if node.attributes["scale"]:
        scale = r.multiply(rest.pop(0), scale)
    shift = r.multiply(r.negate(mean) if bias is None else r.subtract(bias, mean), scale)
    return scale, r.add(rest[0], shift) if rest else shift


RULES = [fold_batch_norm]
