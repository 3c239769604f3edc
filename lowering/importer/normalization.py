"""Rules for batch normalization in training and its derivative, as the StableHLO specification defines them."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.graph import Value
from ...ir.types import F32, bit_width
from .reading import Source
from .scope import Rule, Scope
from .shape import size_value


class _Features:
    """The arithmetic of normalization: sums over all axes but the feature's, and back.

    Statistics of types narrower than float32 are computed in float32.
    """

    def __init__(self, s: Scope, op: Source, x: Value) -> None:
        self.b = s.b
        self.given = x.dtype
        self.dtype = F32 if bit_width(x.dtype) < 32 else x.dtype
        self.shape = x.shape
        self.axis = op.integer("feature_index")
        self.axes = tuple(i for i in range(x.rank) if i != self.axis)
        count = 1
        for axis in self.axes:
            count = count * x.shape[axis]  # type: ignore[assignment]
        self.count = self.b.broadcast_to(size_value(s, count, self.dtype), (x.shape[self.axis],))
        self.epsilon = float(op.attributes["epsilon"].value)

    def wide(self, x: Value) -> Value:
        return self.b.astype(x, self.dtype)

    def narrow(self, x: Value) -> Value:
        return self.b.astype(x, self.given)

    def sum(self, x: Value) -> Value:
        return self.b.reduce_with("add", x, self.axes, 0) if self.axes else x

    def mean(self, x: Value) -> Value:
        return self.b.divide(self.sum(x), self.count)

    def spread(self, x: Value) -> Value:
        return self.b.broadcast_in_dim(x, shape=self.shape, dims=(self.axis,))


def inference(s: Scope, op: Source, x: Value, scale: Value, offset: Value, mean: Value, variance: Value) -> Value:
    """The composite of that name."""
    return s.b.batch_norm(
        x,
        mean,
        variance,
        scale,
        offset,
        axis=op.integer("feature_index"),
        epsilon=float(op.attributes["epsilon"].value),
    )


def training(s: Scope, op: Source, x: Value, scale: Value, offset: Value) -> Sequence[Value]:
    """Statistics of the batch, and the normalized batch."""
    f = _Features(s, op, x)
    wide = f.wide(x)
    mean = f.mean(wide)
    centered = s.b.subtract(wide, f.spread(mean))
    variance = f.mean(s.b.multiply(centered, centered))
    result = s.b.batch_norm(wide, mean, variance, f.wide(scale), f.wide(offset), axis=f.axis, epsilon=f.epsilon)
    return f.narrow(result), f.narrow(mean), f.narrow(variance)


def gradient(
    s: Scope, op: Source, x: Value, scale: Value, mean: Value, variance: Value, cotangent: Value
) -> Sequence[Value]:
    """The specification's derivative of training: with respect to the operand, the scale and the offset."""
    f, b = _Features(s, op, x), s.b
    x, scale, mean, variance, cotangent = map(f.wide, (x, scale, mean, variance, cotangent))
    centered = b.subtract(x, f.spread(mean))
    stddev = b.sqrt(b.add(variance, b.full_like(variance, f.epsilon)))
    normalized = b.divide(centered, f.spread(stddev))
    offset_part = f.sum(cotangent)
    projected = f.sum(b.multiply(cotangent, centered))
    i1 = b.multiply(cotangent, f.spread(f.count))
    i2 = f.spread(offset_part)
    i3 = b.multiply(f.spread(projected), centered)
    i4 = b.divide(i3, f.spread(b.add(variance, b.full_like(variance, f.epsilon))))
    factor = b.divide(b.divide(scale, stddev), f.count)
    operand_part = b.multiply(f.spread(factor), b.subtract(b.subtract(i1, i2), i4))
    scale_part = f.sum(b.multiply(cotangent, normalized))
    return f.narrow(operand_part), f.narrow(scale_part), f.narrow(offset_part)


RULES: dict[str, Rule] = {
    "stablehlo.batch_norm_inference": inference,
    "stablehlo.batch_norm_training": training,
    "stablehlo.batch_norm_grad": gradient,
}
