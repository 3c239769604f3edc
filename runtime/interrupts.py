"""Ctrl-C at the wrong moment: while a program's state is between the old arrays and the new."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class uninterrupted:
    """Within the block Ctrl-C waits: a KeyboardInterrupt is raised at its end.

    Only the main thread ever receives one; elsewhere there is nothing to do.
    """

    __slots__ = ("_before", "_caught")

    def __enter__(self) -> None:
        self._caught: tuple[int, FrameType | None] | None = None
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._catch)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught = (number, frame)

    def __exit__(self, *error: object) -> None:
        if self._before is None:
            return
        signal.signal(signal.SIGINT, self._before)
        if self._caught is not None and callable(self._before):
            self._before(*self._caught)
