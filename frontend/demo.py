"""``lamina demo``: a classifier of handwritten digits, from a file that Keras wrote to compiled results."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from ..compiled import Compiled
from ..ir import print_graph
from ..ir.errors import UnsupportedError
from ..passes import format_records
from .api import Spec
from .api import compile as compile_
from .saving.models import load

MODEL = Path(__file__).parent / "data" / "digits.keras"
BATCH = 256
LEAST_ACCURACY = 0.97
_ROUNDS = 20


def run_demo(console: Console | None = None) -> float:
    """Do the whole, print each stage, and return the accuracy.

    Raises :class:`UnsupportedError` where scikit-learn, which has the images, is not installed.
    """
    console = console or Console(soft_wrap=True)
    images, labels = load_images()
    console.print(f"model   {MODEL.name}, {MODEL.stat().st_size:,} bytes, written by Keras 3")
    console.print(f"images  {len(images):,} handwritten digits of scikit-learn, {images.shape[1:]} each")
    start = time.perf_counter()
    compiled = compile_(load(MODEL), Spec((None, 8, 8, 1), name="image"))
    seconds = time.perf_counter() - start
    _show(console, "The graph, traced once for every batch size N", str(compiled.graph))
    _title(console, "What each pass did")
    console.print(records_table(compiled))
    _show(console, "The graph after the passes", str(compiled.optimized))
    if compiled.prepare is not None:
        _show(console, "What is computed from the weights alone, once", print_graph(compiled.prepare))
    _show(console, f"StableHLO for N={BATCH}", compiled.stablehlo(N=BATCH))
    _title(console, "Results")
    predicted = np.concatenate([_classes(compiled, batch) for batch in batches(images)])
    correct = int(np.sum(predicted == labels))
    accuracy = correct / len(labels)
    last = len(images) % BATCH
    console.print(f"loading, trace and passes took {seconds * 1e3:.0f} ms")
    right = f"{correct:,} of {len(images):,} images"
    console.print(f"accuracy {accuracy:.1%}: {right}, in batches of {BATCH} and one of {last}")
    each = time_per_batch(compiled, images)
    console.print(f"time {each * 1e3:.3f} ms per batch of {BATCH}, the median of {_ROUNDS} rounds")
    return accuracy


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """The digits: images float32 (1797, 8, 8, 1) in [0, 1], labels int64 (1797,)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UnsupportedError(
            "the demo's images come with scikit-learn, which is not installed: pip install 'lamina[demo]'"
        ) from None
    digits: Any = load_digits()
    return (digits.images / 16.0).astype(np.float32)[..., np.newaxis], digits.target


def batches(images: np.ndarray) -> Iterator[np.ndarray]:
    """Slices of :data:`BATCH` images, and the rest."""
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))


def _classes(compiled: Compiled, batch: np.ndarray) -> np.ndarray:
    return np.asarray(compiled(batch)).argmax(axis=-1)


def time_per_batch(compiled: Compiled, images: np.ndarray) -> float:
    """Median seconds from a full batch of NumPy images to the results."""
    full = [batch for batch in batches(images) if len(batch) == BATCH]
    times = []
    for _ in range(_ROUNDS):
        for batch in full:
            start = time.perf_counter()
            compiled(batch).block_until_ready()
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def records_table(compiled: Compiled) -> Table:
    """A table of the passes: time, nodes before and after, rules that fired and in which layers."""
    head, *rows = format_records(compiled.records)
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    return table


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Rule(text, align="left"))


def _show(console: Console, title: str, text: str) -> None:
    _title(console, title)
    console.out(text.rstrip("\n"), highlight=False)
