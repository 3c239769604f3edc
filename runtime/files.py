"""Writing files so that they appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from ..ir.errors import ArgumentError

_discards: ContextVar[bool] = ContextVar("discards", default=False)


@contextmanager
def discarding(discard: bool = True) -> Iterator[None]:
    """Within the block no file is written: another process writes the same."""
    token = _discards.set(discard)
    try:
        yield
    finally:
        _discards.reset(token)


def write_beside(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Have ``write`` fill a new file next to ``path``, then rename it, so that no half-written file is ever seen.

    Raises:
        ArgumentError: the folder is not there or cannot be written to.
    """
    if _discards.get():
        return
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            with open(beside, "xb") as file:
                write(file)
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ArgumentError(f"cannot write {os.fspath(path)!r}: {error.strerror or error}") from error
