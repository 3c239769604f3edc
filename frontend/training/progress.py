"""What training prints: messages, and the progress bar as Keras draws it."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError

_BOLD, _GREEN, _WHITE, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"
_interactive = True


def enable_interactive_logging() -> None:
    """Print messages to standard output, as at the start."""
    global _interactive
    _interactive = True


def disable_interactive_logging() -> None:
    """Send messages to the logger ``lamina`` (level INFO) in place of standard output."""
    global _interactive
    _interactive = False


def is_interactive_logging_enabled() -> bool:
    """Whether messages go to standard output."""
    return _interactive


def print_message(message: str, line_break: bool = True) -> None:
    """Show ``message``; where the output's encoding lacks the bar's character, ``=`` stands for it."""
    if not _interactive:
        logging.getLogger("lamina").info(message)
        return
    text = f"{message}\n" if line_break else message
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.replace("━", "=").encode(encoding, errors="ignore").decode(encoding))
    sys.stdout.flush()


def output_is_watched() -> bool:
    """Whether standard output is a terminal, or a notebook or console that shows it as one."""
    terminal = hasattr(sys.stdout, "isatty") and sys.stdout.isatty()
    return terminal or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ


def resolve_verbose(verbose: Any) -> int:
    """What ``verbose`` means: ``"auto"`` is 1 where somebody watches the output, else 2, one line for each epoch.

    Raises:
        ArgumentError: it is none of ``"auto"``, 0, 1, 2.
    """
    if verbose == "auto":
        return 1 if output_is_watched() else 2
    if verbose not in (0, 1, 2):
        raise ArgumentError(f'verbose is 0 (silent), 1 (a bar), 2 (a line for each epoch) or "auto", got {verbose!r}')
    return int(verbose)


class Progbar:
    """A progress bar on standard output.

    Args:
        target: steps in all; None where that is not known.
        width: characters of the bar.
        verbose: 0 for silence, 1 for a bar, 2 for a line at the end.
        interval: seconds between two drawings, at least.
        stateful_metrics: names of values that are shown as they are; all others are shown as their mean over steps.
        stateless_metrics: names of values that are shown as their mean; all others as they are. Only one of the two.
        unit_name: what a step is called.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ArgumentError(
                "Progbar takes stateful_metrics (all others are averaged) or stateless_metrics (no others are "
                "averaged), received both"
            )
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.unit_name = unit_name
        self._averaged = None if stateless_metrics is None else set(stateless_metrics)
        self._shown_as_is = set(stateful_metrics or ())
        # On POSIX a line is always drawn over, as in Keras.
        self._dynamic_display = output_is_watched() or "posix" in sys.modules
        self._values: dict[str, list[Any]] = {}  # name -> [sum, number of steps], in the order of display
        self._seen = 0
        self._start = time.time()
        self._last_update = 0.0
        self._after_first_step: float | None = None
        self._drawn_width = 0

    def due(self, current: int) -> bool:
        """Whether an update to step ``current`` would be drawn now; if so, its values are worth fetching."""
        if self.verbose != 1:
            return False
        return current == 1 or time.time() - self._last_update >= self.interval

    def update(
        self, current: int, values: Sequence[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """Note that ``current`` steps are done, and draw when it is time.

        Args:
            current: number of steps done.
            values: ``(name, value of the last step)``.
            finalize: whether this is the last update; by default where ``current`` reaches ``target``.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            self._note(name, value, current, finalize)
        self._seen = current
        now = time.time()
        duration = self._step_duration(current, now)
        if self.verbose == 1:
            if now - self._last_update < self.interval and not finalize:
                return
            self._draw(current, now, duration, finalize)
        elif self.verbose == 2 and finalize and self.target:
            count = f"{current:{len(str(self.target))}d}/{self.target}"
            took = f"{now - self._start:.0f}s -{_duration_text(duration, self.unit_name)}"
            print_message(f"{count} - {took}{self._values_text(abs_small=False)}\n", line_break=False)
        self._last_update = now

    def add(self, n: int, values: Sequence[tuple[str, Any]] | None = None) -> None:
        """Note that ``n`` more steps are done."""
        self.update(self._seen + n, values)

    def _note(self, name: str, value: Any, current: int, finalize: bool) -> None:
        averaged = name not in self._shown_as_is if self._averaged is None else name in self._averaged
        if not averaged or finalize:
            self._values[name] = [value, 1]
            return
        steps = max(current - self._seen, 1)
        entry = self._values.setdefault(name, [0.0 * value, 0])
        entry[0] += value * steps
        entry[1] += steps

    def _draw(self, current: int, now: float, duration: float, finalize: bool) -> None:
        bar, hidden = self._bar(current)
        if self.target and not finalize:
            clock = _remaining_text(duration * (self.target - current))
        else:
            clock = f"{now - self._start:.0f}s"
        info = f" {_BOLD}{clock}{_PLAIN}{_duration_text(duration, self.unit_name)}{self._values_text()}"
        width = len(bar) + len(info) - hidden - len(_BOLD + _PLAIN)
        start = "\b" * self._drawn_width + "\r" if self._dynamic_display else "\n"
        padding = " " * (self._drawn_width - width)
        print_message(f"{start}{bar}{info}{padding}" + ("\n" if finalize else ""), line_break=False)
        self._drawn_width = width

    def _bar(self, current: int) -> tuple[str, int]:
        """The count and the bar, and how many of its characters take no room."""
        if not self.target:
            return f"{current:7d}/Unknown", 0
        count = f"{_BOLD}{current:{len(str(self.target))}d}/{self.target}{_PLAIN} "
        filled = int(self.width * (float(current) / self.target))
        left = f"{_GREEN}{'━' * filled}{_PLAIN}" if filled > 0 else ""
        right = f"{_WHITE}{'━' * (self.width - filled)}{_PLAIN}"
        colours = len(_GREEN + _PLAIN) * (2 if filled > 0 else 1)
        return count + left + right, len(_BOLD + _PLAIN) + colours

    def _values_text(self, abs_small: bool = True) -> str:
        text = ""
        for name, (total, steps) in self._values.items():
            mean = (total if isinstance(total, float) else np.mean(total)) / max(1, steps)
            plain = (abs(mean) if abs_small else mean) > 1e-3
            text += f" - {name}: {mean:.4f}" if plain else f" - {name}: {mean:.4e}"
        return text

    def _step_duration(self, current: int, now: float) -> float:
        """Seconds for one step; the first, which compiles, counts only while it is the only one."""
        if not current:
            return 0
        if self._after_first_step is not None and current > 1:
            duration = (now - self._after_first_step) / (current - 1)
        else:
            duration = (now - self._start) / current
        if current == 1:
            self._after_first_step = now
        return duration


def _remaining_text(seconds: float) -> str:
    hours, minutes, rest = int(seconds // 3600), int(seconds % 3600 // 60), int(seconds % 60)
    if seconds > 3600:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{int(seconds // 60)}:{rest:02d}" if seconds > 60 else f"{math.trunc(seconds)}s"


def _duration_text(seconds: float, unit: str) -> str:
    if seconds >= 1 or seconds == 0:
        return f" {seconds:.0f}s/{unit}"
    return f" {seconds * 1e3:.0f}ms/{unit}" if seconds >= 1e-3 else f" {seconds * 1e6:.0f}us/{unit}"
