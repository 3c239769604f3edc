"""Inference of the eight models: lamina against Keras on JAX, TensorFlow and PyTorch, each in a process of its own.

python benchmarks/suite.py [--models mlp tcn] [--peers lamina keras-jax] [--turns 40] [--batch 32] [--json results.json]

The processes live for one model and take turns: only the one being timed runs, the others wait for a line on a pipe.
Weights and inputs are equal, outputs are compared before anything is timed, and all ratios are of one run. Goals: no
model slower than Keras on JAX, mobilenet_block 8 times and tcn 5 times as fast, ahead of the best peer on 5 of 8.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from common import judged, ratio_of, seconds
from models import MODELS, chosen, inputs, weights_of
from peers import PEERS

OURS, BASE = "lamina", "keras-jax"
#: Largest difference of outputs over the largest output: float32 sums in another order.
TOLERANCE = 1e-5
SLOWEST = 1.05
FASTER = {"mobilenet_block": 8.0, "tcn": 5.0}
AHEAD = 5
#: How long a turn is to take, at least.
TURN = 0.02
#: How long a process may take to build and compile a model.
PATIENCE = 600


class Failed(Exception):
    """A peer that can't be timed on this model; the message is why."""


@dataclass
class Times:
    """What a peer did with one model: seconds of each turn, or why there are none."""

    peer: str
    error: float | None = None
    first: float | None = None
    turns: list[float] = field(default_factory=list)
    why: str | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.turns)


class Worker:
    """A peer's process with one model."""

    def __init__(self, peer: str, model: str, data: Path, log: Path) -> None:
        backend = PEERS[peer].backend
        environment = {**os.environ, **({"KERAS_BACKEND": backend} if backend else {})}
        command = [sys.executable, str(Path(__file__).with_name("peers.py")), peer, model, str(data)]
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            self.ready = self._answer()
        except BaseException:
            self.close()
            raise

    def time(self, calls: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"calls": calls}) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        line = self._process.stdout.readline()
        overdue = not late.is_alive()
        late.cancel()
        if not line:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:] or ["it ended without a word"]
            raise Failed(f"took more than {PATIENCE} s" if overdue else last[0])
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer


@contextmanager
def model_data(name: str, batch: int) -> Iterator[Path]:
    """A file with an input and weights for a model."""
    from lamina import keras

    model = MODELS[name].build(keras)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, x=inputs(name, batch), **{f"w{i}": w for i, w in enumerate(weights_of(model))})
        yield path


def measure(name: str, peers: Sequence[str], batch: int, turns: int, versions: dict[str, str]) -> list[Times]:
    """Time one model on each peer, in turns. ``versions`` gains those of the packages that ran."""
    rows = {peer: Times(peer) for peer in peers}
    with model_data(name, batch) as data, ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for peer in peers:
            try:
                workers[peer] = Worker(peer, name, data, data.with_name(f"{peer}.log"))
            except Failed as failure:
                rows[peer].why = str(failure)
            else:
                stack.callback(workers[peer].close)
                versions.update(workers[peer].ready["versions"])
        outputs = {peer: np.load(worker.ready["output"]) for peer, worker in workers.items()}
        for peer, output in outputs.items():
            row = rows[peer]
            row.first = workers[peer].ready["first"]
            row.error = difference(output, outputs.get(BASE, next(iter(outputs.values()))))
            if not row.error <= TOLERANCE:
                row.why = f"its output differs by {row.error:.1e}, more than {TOLERANCE}, so its time says nothing"
                del workers[peer]
        calls = {peer: max(1, round(TURN / worker.time(1))) for peer, worker in workers.items()}
        order, draw = list(workers), random.Random(0)
        for _ in range(turns):
            draw.shuffle(order)  # so that no peer always runs after the same one
            for peer in order:
                rows[peer].turns.append(workers[peer].time(calls[peer]))
    return list(rows.values())


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference over the largest magnitude; infinite for unequal shapes."""
    return float(np.abs(a - b).max() / np.abs(b).max()) if a.shape == b.shape else float("inf")


def show(name: str, batch: int, rows: Sequence[Times]) -> None:
    """Medians with the 10th and 90th percentile and the least of turns, and each peer's time over lamina's."""
    ours = next((row for row in rows if row.peer == OURS and row.turns), None)
    print(f"{name}, batch {batch}")
    for row in rows:
        if row.why is not None:
            print(f"  {row.peer:<13} not timed: {row.why}")
            continue
        low, high, least = map(seconds, (*np.percentile(row.turns, [10, 90]), min(row.turns)))
        text = f"  {row.peer:<13} {seconds(row.median):>8}  ({low} to {high}, least {least})"
        if ours is not None and row is not ours:
            text += f"  x{ratio_of(row.turns, ours.turns)} of lamina's"
        print(f"{text}  differs {row.error:.0e}, first call after {seconds(row.first or 0)}")
    sys.stdout.flush()


def verdict(results: dict[str, list[Times]]) -> list[str]:
    """The goals, one line for each, on what was timed."""
    lines, ahead, compared = [], 0, 0
    for name, rows in results.items():
        timed = {row.peer: row for row in rows if row.turns}
        if OURS not in timed:
            lines.append(f"{name}: lamina was not timed")
            continue
        ours = timed.pop(OURS)
        if BASE in timed:
            base = timed[BASE]
            ratio = ratio_of(ours.turns, base.turns)
            text = f"{name}: lamina/{BASE} {ratio}, goal {SLOWEST}: {judged(ratio, SLOWEST)}"
            if name in FASTER:
                faster = ratio_of(base.turns, ours.turns)
                met = "met" if faster.ratio >= FASTER[name] else "missed"
                text += f"; {faster.ratio:.2f} times as fast, goal {FASTER[name]:g}: {met}"
            lines.append(text)
        if timed:
            best = min(timed.values(), key=lambda row: row.median)
            compared += 1
            ahead += ours.median < best.median
            lines.append(f"{name}: best peer {best.peer}, lamina/best {ratio_of(ours.turns, best.turns)}")
    if compared:
        lines.append(f"ahead of the best peer on {ahead} of {compared}, goal {AHEAD} of {len(MODELS)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--peers", nargs="+", metavar="NAME", choices=PEERS, default=list(PEERS))
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--json", type=Path, help="also write every turn's time to this file")
    options = parser.parse_args()
    print(f"inference, {options.turns} turns, {os.cpu_count()} cores, python {sys.version.split()[0]}")
    present = []
    for peer in options.peers:
        missing = PEERS[peer].missing
        print(f"  {peer:<13} {PEERS[peer].what}" + (f": missing, for want of {', '.join(missing)}" if missing else ""))
        present += [] if missing else [peer]
    versions: dict[str, str] = {}
    results: dict[str, list[Times]] = {}
    for name, model in chosen(options.models).items():
        batch = options.batch or model.batch
        results[name] = measure(name, present, batch, options.turns, versions)
        show(name, batch, results[name])
    print("versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    print("\n".join(verdict(results)))
    if options.json:
        record = {"versions": versions, "results": {n: [asdict(row) for row in rows] for n, rows in results.items()}}
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
