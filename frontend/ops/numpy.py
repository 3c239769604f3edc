"""``keras.ops.numpy``: another name of the flat namespace."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from .. import ops

    return getattr(ops, name)
