"""Where the user's own code is on the stack."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from types import FrameType

import jax
import numpy as np

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OWN = (
    *(
        os.path.join(_ROOT, part)
        for part in ("frontend", "ir", "passes", "lowering", "runtime", "compiler.py", "compiled.py")
    ),
    *(os.path.dirname(str(library.__file__)) for library in (np, jax)),
)


def user_frame() -> tuple[FrameType | None, int]:
    """The innermost frame that is not lamina's, NumPy's or jax's own, and how far it is above the caller."""
    frame: FrameType | None = sys._getframe(1)
    depth = 0
    while frame is not None and _is_own(frame.f_code.co_filename):
        frame, depth = frame.f_back, depth + 1
    return frame, depth


@lru_cache(4096)
def _is_own(file: str) -> bool:
    return file.startswith(_OWN)
