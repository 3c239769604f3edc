"""Cumulative reductions: element i combines elements 0 to i along an axis (or i to the end)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...builder import Builder, binary_region
from ...dims import max_dim
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import TensorType
from ..checks import allowed_types
from .rules import expect_operands, highest, lowest, one_axis


def _cumulative(name: str, meaning: str, families: str, op: str, initial: Callable[[np.dtype], object]) -> None:
    """Declare the cumulative reduction by the binary ``op`` from the start value ``initial(dtype)``."""

    def infer(c: Call, *types: TensorType) -> TensorType:
        expect_operands(c, types, "x")
        allowed_types(c, types[0], families)
        one_axis(c, types[0].rank)
        return types[0]

    @composite(name, meaning, infer, attributes={"axis": Attribute("int"), "reverse": Attribute("bool", False)})
    def rule(b: Builder, c: Call, x: Value) -> Value:
        axis, ones = one_axis(c, x.rank), (1,) * x.rank
        # A window as long as the axis, whose far end is at the element: the rest lies in the padding.
        length = max_dim(x.shape[axis], 1)
        edges = (0, length - 1) if c["reverse"] else (length - 1, 0)
        return b.reduce_window(
            x,
            b.constant(initial(x.dtype), x.dtype),
            window=[length if i == axis else 1 for i in range(x.rank)],
            strides=ones,
            base_dilation=ones,
            window_dilation=ones,
            padding=[edges if i == axis else (0, 0) for i in range(x.rank)],
            regions=[binary_region(op, x.dtype)],
        )


_cumulative(
    "cumsum",
    "sum of the elements up to each along axis, from the end where reverse (jax.numpy.cumsum)",
    "fic",
    "add",
    lambda dtype: 0,
)
_cumulative(
    "cumprod",
    "product of the elements up to each along axis, from the end where reverse (jax.numpy.cumprod)",
    "fic",
    "multiply",
    lambda dtype: 1,
)
_cumulative(
    "cummax", "greatest element up to each along axis, NaN after a NaN (jax.lax.cummax)", "fi", "maximum", lowest
)
_cumulative("cummin", "least element up to each along axis, NaN after a NaN (jax.lax.cummin)", "fi", "minimum", highest)
