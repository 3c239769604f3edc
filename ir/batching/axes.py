"""Batching of ops of one operand that work along axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call
from .rules import BatchRule, with_attributes


def moved(*names: str) -> BatchRule:
    """The rule of an op of one operand whose attributes ``names`` hold an axis, or axes: those from the front are
    counted past the batch, negative ones stay."""

    def rule(b: Builder, call: Call, size: DimLike, operands: Sequence[Value], batched: Sequence[bool]) -> Any:
        return with_attributes(b, call, operands, **{name: _past(call[name]) for name in names})

    return rule


def _past(axes: Any) -> Any:
    if isinstance(axes, tuple):
        return tuple(_past(axis) for axis in axes)
    return axes + 1 if axes >= 0 else axes
