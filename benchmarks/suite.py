"""The eight models: lamina against Keras on JAX, TensorFlow and PyTorch, each in a process of its own.

python benchmarks/suite.py [--training] [--models mlp tcn] [--peers lamina keras-jax] [--turns 40] [--batch 32]
                           [--json results.json]

It times inference, or whole training steps. The processes live for one model and take turns: only the one being timed
runs, the others wait for a line on a pipe. Weights and batches are equal, outputs (of training the losses) are compared
before anything is timed, and all ratios are of one run. Goals: no model slower than Keras on JAX, mobilenet_block (8
times for inference, 5 for training) and tcn (5 times) much faster, ahead of the best peer on 5 of 8.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import peers
import peers_training
from common import judged, ratio_of, seconds
from models import MODELS, chosen, inputs, targets, weights_of

OURS, BASE = "lamina", "keras-jax"
#: Largest difference of outputs over the largest output, and of losses: float32 sums in another order.
TOLERANCE = 1e-5
#: The same for losses of the first steps. Adam divides by a gradient's size, so that it makes a step of any noise.
STEP_TOLERANCE = 1e-3
SLOWEST = 1.05
AHEAD = 5
#: How long a turn is to take, at least.
TURN = 0.02
#: How long a process may take to build and compile a model.
PATIENCE = 600


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference over the largest magnitude; infinite for unequal shapes."""
    return float(np.abs(a - b).max() / np.abs(b).max()) if a.shape == b.shape else float("inf")


def outputs_differ(model: str, a: np.ndarray, b: np.ndarray, tolerance: float = TOLERANCE) -> tuple[float, str | None]:
    """By how much outputs differ, and what is wrong with that."""
    error = difference(a, b)
    return error, None if error <= tolerance else f"its output differs by {error:.1e}, more than {tolerance}"


def losses_differ(
    model: str, a: np.ndarray, b: np.ndarray, tolerance: float = TOLERANCE, later_tolerance: float = STEP_TOLERANCE
) -> tuple[float, str | None]:
    """By how much the losses of the weights as given differ, and what is wrong with them or those of the first steps.

    Where units are dropped at random these need only be finite.
    """
    error, later = difference(a[:1], b[:1]), max(map(difference, a[1:, None], b[1:, None]))
    if not error <= tolerance:
        return error, f"its loss differs by {error:.1e}, more than {tolerance}"
    if not np.isfinite(a).all():
        return error, f"the losses of its first steps are {a[1:]}"
    if not MODELS[model].drops and not later <= later_tolerance:
        return error, f"the losses of its first steps differ by {later:.1e}, more than {later_tolerance}"
    return error, None


@dataclass(frozen=True)
class Contest:
    """What is timed.

    Attributes:
        what: what it is called.
        peers: who takes part.
        script: what a peer's process runs.
        differ: ``(model's name, what a peer computes, what another does) -> (error, what is wrong)``.
        faster: how many times as fast as Keras on JAX models should be.
        environment: variables of a peer's process.
    """

    what: str
    peers: Mapping[str, peers.Peer]
    script: str
    differ: Callable[[str, np.ndarray, np.ndarray], tuple[float, str | None]]
    faster: Mapping[str, float]
    environment: Mapping[str, str] = field(default_factory=dict)


INFERENCE = Contest("inference", peers.PEERS, peers.__file__, outputs_differ, {"mobilenet_block": 8.0, "tcn": 5.0})
TRAINING = Contest(
    "training steps",
    peers_training.PEERS,
    peers_training.__file__,
    losses_differ,
    {"mobilenet_block": 5.0, "tcn": 5.0},
)


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

    def __init__(self, contest: Contest, peer: str, model: str, data: Path, log: Path) -> None:
        backend = contest.peers[peer].backend
        environment = {**os.environ, **contest.environment, **({"KERAS_BACKEND": backend} if backend else {})}
        command = [sys.executable, contest.script, peer, model, str(data)]
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
def model_data(contest: Contest, name: str, batch: int) -> Iterator[Path]:
    """A file with weights and a batch for a model."""
    from lamina import keras

    model = MODELS[name].build(keras)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        weights, labels = weights_of(model), {}
        if contest.what == TRAINING.what:
            labels["by"] = targets(name, model, batch)
            weights[-2] *= 0.1  # the last kernel: a loss of saturated softmaxes is clipped on some backends only
        np.savez(path, **{f"w{i}": w for i, w in enumerate(weights)}, bx=inputs(name, batch), **labels)
        yield path


def measure(
    contest: Contest, name: str, present: Sequence[str], batch: int, turns: int, versions: dict[str, str]
) -> list[Times]:
    """Time one model on each peer, in turns. ``versions`` gains those of the packages that ran."""
    rows = {peer: Times(peer) for peer in present}
    with model_data(contest, name, batch) as data, ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for peer in present:
            try:
                workers[peer] = Worker(contest, peer, name, data, data.with_name(f"{peer}.log"))
            except Failed as failure:
                rows[peer].why = str(failure)
            else:
                stack.callback(workers[peer].close)
                versions.update(workers[peer].ready["versions"])
        outputs = {peer: np.load(worker.ready["output"]) for peer, worker in workers.items()}
        for peer, output in outputs.items():
            row = rows[peer]
            row.first = workers[peer].ready["first"]
            row.error, wrong = contest.differ(name, output, outputs.get(BASE, next(iter(outputs.values()))))
            if wrong is not None:
                row.why = f"{wrong}, so its time says nothing"
                del workers[peer]
        take_turns(workers, rows, turns)
    return list(rows.values())


def take_turns(workers: dict[str, Worker], rows: Mapping[str, Times], turns: int) -> None:
    """Time the workers. One that fails has no times."""
    calls: dict[str, int] = {}
    draw = random.Random(0)
    for turn in range(turns + 1):
        order = list(workers)
        draw.shuffle(order)  # so that no peer always runs after the same one
        for peer in order:
            try:
                took = workers[peer].time(calls.get(peer, 1))
            except Failed as failure:
                rows[peer].why = str(failure)
                rows[peer].turns.clear()
                del workers[peer]
                continue
            if turn:
                rows[peer].turns.append(took)
            else:
                calls[peer] = max(1, round(TURN / took))


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
        print(f"{text}  differs {row.error:.0e}, first results after {seconds(row.first or 0)}")
    sys.stdout.flush()


def verdict(contest: Contest, results: dict[str, list[Times]]) -> list[str]:
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
            if name in contest.faster:
                faster, goal = ratio_of(base.turns, ours.turns).ratio, contest.faster[name]
                text += f"; {faster:.2f} times as fast, goal {goal:g}: {'met' if faster >= goal else 'missed'}"
            lines.append(text)
        if timed:
            best = min(timed.values(), key=lambda row: row.median)
            compared += 1
            ahead += ours.median < best.median
            lines.append(f"{name}: best peer {best.peer}, lamina/best {ratio_of(ours.turns, best.turns)}")
    if compared:
        lines.append(f"ahead of the best peer on {ahead} of {compared}, goal {AHEAD} of {len(MODELS)}")
    return lines


def run(
    contest: Contest, wanted: Sequence[str], models: Sequence[str] | None, turns: int, batch: int | None
) -> dict[str, Any]:
    """Time models (None: all) on the peers that are installed, print what is found, and return it."""
    print(f"{contest.what}, {turns} turns, {os.cpu_count()} cores, python {sys.version.split()[0]}")
    present = []
    for peer in wanted:
        missing = contest.peers[peer].missing
        lacking = f": missing, for want of {', '.join(missing)}" if missing else ""
        print(f"  {peer:<13} {contest.peers[peer].what}{lacking}")
        present += [] if missing else [peer]
    versions: dict[str, str] = {}
    results: dict[str, list[Times]] = {}
    for name, model in chosen(models).items():
        size = batch or model.batch
        results[name] = measure(contest, name, present, size, turns, versions)
        show(name, size, results[name])
    print("versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    print("\n".join(verdict(contest, results)))
    return {
        "what": contest.what,
        "versions": versions,
        "results": {n: [asdict(row) for row in rows] for n, rows in results.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", action="store_true", help="time training steps; otherwise inference")
    parser.add_argument("--models", nargs="+", metavar="NAME", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--peers", nargs="+", metavar="NAME", choices=peers.PEERS, default=list(peers.PEERS))
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--json", type=Path, help="also write every turn's time to this file")
    options = parser.parse_args()
    record = run(
        TRAINING if options.training else INFERENCE, options.peers, options.models, options.turns, options.batch
    )
    if options.json:
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
