"""Exported models against the same models in real Keras: TorchScript on torch, SavedModel on TensorFlow, in one run.

python benchmarks/export.py [--models mlp tcn] [--pairs torchscript saved_model] [--turns 20] [--batch 32]
                            [--json results.json]

Everything of a model is timed in turns, each peer in a process of its own, as in suite.py. Goal: an exported model is
at least as fast as Keras's own (on torch under inference_mode, on TensorFlow as a tf.function), a ratio of at most 1.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import peers_export
from common import Ratio, judged, ratio_of, seconds
from models import MODELS, chosen
from suite import Contest, Times, measure, outputs_differ

#: What lamina wrote, and what it is compared with.
PAIRS = {"torchscript": "keras-torch", "saved_model": "keras-tf"}
GOAL = 1.0
EXPORTED = Contest("exported inference", peers_export.PEERS, peers_export.__file__, outputs_differ, {})


def ratios(rows: list[Times]) -> dict[str, Ratio | str]:
    """For each pair of which both ran, how long the exported model takes over Keras's; or why one did not."""
    by_name = {row.peer: row for row in rows}
    found: dict[str, Ratio | str] = {}
    for ours, theirs in PAIRS.items():
        both = [by_name[peer] for peer in (ours, theirs) if peer in by_name]
        if len(both) == 2:
            failed = next((row for row in both if row.why is not None), None)
            found[ours] = f"{failed.peer}: {failed.why}" if failed else ratio_of(both[0].turns, both[1].turns)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--json", type=Path, help="also write every turn's time to this file")
    options = parser.parse_args()
    print(f"{EXPORTED.what}, {options.turns} turns, {os.cpu_count()} cores, python {sys.version.split()[0]}")
    wanted = [peer for pair in options.pairs for peer in (pair, PAIRS[pair])]
    for peer in wanted:
        missing = EXPORTED.peers[peer].missing
        print(f"  {peer:<12} {EXPORTED.peers[peer].what}{': missing ' + ', '.join(missing) if missing else ''}")
    present = [peer for peer in wanted if not EXPORTED.peers[peer].missing]
    versions: dict[str, str] = {}
    results: dict[str, list[Times]] = {}
    met = total = 0
    for name, model in chosen(options.models).items():
        batch = options.batch or model.batch
        results[name] = measure(EXPORTED, name, present, batch, options.turns, versions)
        print(f"{name}, batch {batch}")
        for ours, ratio in ratios(results[name]).items():
            total += 1
            if isinstance(ratio, str):
                print(f"  {ours:<12} not timed: {ratio}")
                continue
            verdict = judged(ratio, GOAL)
            met += verdict != "missed"
            times = f"{seconds(ratio.ours):>8}  {PAIRS[ours]} {seconds(ratio.theirs):>8}"
            print(f"  {ours:<12} {times}  ratio {ratio}   goal {GOAL}: {verdict}", flush=True)
    print("versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    print(f"at least as fast as Keras, or within the spread, in {met} of {total}")
    if options.json:
        record = {"versions": versions, "results": {n: [asdict(row) for row in rows] for n, rows in results.items()}}
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
