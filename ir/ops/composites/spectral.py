"""Composites: what is said by singular values."""

from __future__ import annotations

import numpy as np

from ...batching import linalg as batching
from ...builder import Builder
from ...derivatives import spectral as derivatives
from ...errors import ShapeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import TensorType
from .rules import allowed_types, expect_operands


def _infer_pinv(c: Call, *types: TensorType) -> TensorType:
    expect_operands(c, types, "a")
    a = types[0]
    allowed_types(c, a, "f")
    if a.rank < 2:
        raise ShapeError(f"pinv: expected matrices in the last two dimensions, received {a}")
    *batch, m, n = a.shape
    return a.with_shape((*batch, n, m))


@composite(
    "pinv",
    "The Moore-Penrose inverse; singular values of at most rcond times the greatest one count as 0 "
    "(jax.numpy.linalg.pinv)",
    _infer_pinv,
    attributes={"rcond": Attribute("float")},
    jvp=derivatives.pinv_jvp,
    batch=batching.elementwise,
)
def _pinv(b: Builder, c: Call, a: Value) -> Value:
    u, s, v = b.svd(a)
    last = s.rank - 1
    greatest = b.reduce_with("maximum", s, (last,), -np.inf)
    least = b.multiply(greatest, b.full_like(greatest, c["rcond"]))
    kept = b.compare(s, b.expand(least, s.shape, (last,)), direction="GT")
    one, zero = b.full_like(s, 1), b.full_like(s, 0)
    inverse = b.select(kept, b.divide(one, b.select(kept, s, one)), zero)
    scaled = b.multiply(v, b.expand(inverse, v.shape, (v.rank - 1,)))
    return derivatives.product(b, scaled, u, transpose_x=True, transpose_y=True)
