"""Fair timing: the sides take turns within one process, so that a slow moment of the machine hits them alike."""

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Times to a first result are those of compiling, in the processes that a script starts, too.
os.environ.setdefault("LAMINA_CACHE", "0")


@dataclass(frozen=True)
class Ratio:
    """Times of two sides, in seconds, and how many times as long the first takes.

    ``ratio`` divides the medians; ``low`` and ``high`` are the 10th and 90th percentile of the ratio of each turn.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.3f} ({self.low:.3f} to {self.high:.3f})"


def compare(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    turns: int = 60,
    calls: int | None = None,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Time two callables in turns, the first of a turn alternating.

    A turn is the mean of ``calls`` calls; None: as many as take 10 ms, since a shorter time is mostly noise. Work of
    one thread may be timed by the ``clock`` ``time.process_time``, which does not count what other processes take.
    """
    return ratio_of(*in_turns((ours, theirs), turns, calls, warm_up, clock))


def in_turns(
    sides: Sequence[Callable[[], object]],
    turns: int = 60,
    calls: int | None = None,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """The seconds of each turn, for each side; arguments as of :func:`compare`."""
    for _ in range(warm_up):
        for side in sides:
            side()
    if calls is None:
        calls = max(1, int(0.01 / _mean_time(sides[-1], 1, clock)))
    times: list[list[float]] = [[] for _ in sides]
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(turns):
            for side in range(len(sides))[:: 1 if turn % 2 == 0 else -1]:
                times[side].append(_mean_time(sides[side], calls, clock))
    finally:
        if collecting:
            gc.enable()
    return times


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """The ratio of times that were taken in turns."""
    each = np.asarray(ours) / np.asarray(theirs)
    a, b = statistics.median(ours), statistics.median(theirs)
    return Ratio(a, b, a / b, float(np.percentile(each, 10)), float(np.percentile(each, 90)))


def _mean_time(call: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls


def seconds(value: float) -> str:
    """``4.53 us``, ``12.1 ms``, ``1.30 s``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"


def judged(ratio: Ratio, goal: float) -> str:
    """Whether the ratio of medians is at most ``goal``, or ``goal`` is at least within the spread."""
    return "met" if ratio.ratio <= goal else "within the spread" if ratio.low <= goal else "missed"


def report(title: str, rows: Sequence[tuple[str, Ratio]], sides: tuple[str, str], goal: float | None = None) -> None:
    """Print one line for each ratio, and the versions that were measured."""
    import jax

    print(title)
    print(f"  python {sys.version.split()[0]}, jax {jax.__version__}, {jax.devices()[0].device_kind}")
    width = max(len(name) for name, _ in rows)
    for name, ratio in rows:
        verdict = "" if goal is None else f"   goal {goal}: {judged(ratio, goal)}"
        print(
            f"  {name:<{width}}  {sides[0]} {seconds(ratio.ours):>8}  {sides[1]} {seconds(ratio.theirs):>8}  "
            f"ratio {ratio}{verdict}"
        )
