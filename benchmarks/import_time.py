"""What ``import lamina`` takes over ``import jax``, in fresh processes that take turns.

python benchmarks/import_time.py [--turns 15]
"""

import argparse
import statistics
import subprocess
import sys

from common import ratio_of, seconds

GOAL = 0.15
_TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def fresh(statement: str) -> float:
    """Seconds that ``statement`` takes in a new process, without that of starting Python."""
    done = subprocess.run([sys.executable, "-c", _TIMED.format(statement)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    options = parser.parse_args()
    sides = {
        "jax": "import jax",
        "lamina": "import jax, lamina",
        "lamina.keras": "import jax; from lamina import keras",
    }
    times: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(options.turns + 1):
        for side, statement in sides.items():
            taken = fresh(statement)
            if turn:  # the first turn warms the file cache and writes .pyc files
                times[side].append(taken)
    print(f"import time, {options.turns} fresh processes each")
    print(f"  jax {seconds(statistics.median(times['jax']))}")
    for side in ("lamina", "lamina.keras"):
        over = statistics.median(a - b for a, b in zip(times[side], times["jax"], strict=True))
        goal = f"   goal <= {GOAL} s: {'met' if over <= GOAL else 'missed'}" if side == "lamina" else ""
        print(f"  {side} over jax {over:+.3f} s, ratio {ratio_of(times[side], times['jax'])}{goal}")


if __name__ == "__main__":
    main()
