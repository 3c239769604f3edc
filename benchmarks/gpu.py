"""The eight models on one GPU: lamina against Keras on JAX, and against torch.compile and plain Keras on PyTorch.

python benchmarks/gpu.py [--models mlp tcn] [--peers lamina keras-jax torch-compile] [--turns 40] [--batch 32]
                         [--only inference|training] [--precision tensorfloat32] [--device cpu] [--json results.json]

The same contest as suite.py, whose processes take turns, on the card that all of them find first (CUDA_VISIBLE_DEVICES
chooses it). Everything is on the card before it is timed, and a call is done when the card is. All multiply float32 in
full, or in TF32 with ``--precision tensorfloat32``; outputs and losses are compared first either way.
``--device cpu`` tries the script out on a machine without a card.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import suite

PEERS = ("lamina", "keras-jax", "keras-torch", "torch-compile")
#: Largest difference of outputs and of first losses, and of the losses of later steps, by how float32 is multiplied:
#: convolution algorithms of a GPU add in orders of their own; TF32 has 10 bits of mantissa.
TOLERANCES = {"highest": (1e-4, 1e-2), "tensorfloat32": (2e-2, 2e-1)}
#: Of the card's memory, for each process with jax; else the first would take most of it.
SHARE = "0.2"
#: What a process with the given environment finds, a line for each library.
LOOK = {
    "jax": "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind)",
    "torch": "import torch; print('gpu', torch.cuda.get_device_name()) if torch.cuda.is_available() else print('cpu')",
}


def found_by(library: str, environment: dict[str, str]) -> str:
    """``gpu NVIDIA H100``: the first device that a library finds; why there is none, if it fails."""
    command = [sys.executable, "-c", LOOK[library]]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def contestants(wanted: Sequence[str], device: str, environment: dict[str, str]) -> list[str]:
    """Those whose library finds the device. Ends the script, with the reason, where lamina's does not."""
    present = []
    for library, members in (("jax", ("lamina", "keras-jax")), ("torch", ("keras-torch", "torch-compile"))):
        mine = [peer for peer in members if peer in wanted]
        if not mine:
            continue
        seen = found_by(library, environment)
        if seen.split()[0] == device:
            print(f"{library}: {seen}")
            present += mine
        elif library == "jax":
            sys.exit(
                f"no GPU is found: jax says {seen!r}. On a machine with one install jax's plugin (pip install "
                "'jax[cuda12]'); without one try this script out by --device cpu --models mlp"
            )
        else:
            print(f"{library}: finds no GPU ({seen}), so that {' and '.join(mine)} are left out")
    return [peer for peer in wanted if peer in present]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", help=f"of {', '.join(suite.MODELS)}")
    parser.add_argument("--peers", nargs="+", metavar="NAME", choices=PEERS, default=list(PEERS))
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--only", choices=("inference", "training"), help="one of the two")
    parser.add_argument("--precision", choices=TOLERANCES, default="highest", help="how float32 is multiplied")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--json", type=Path, help="also write every turn's time to this file")
    options = parser.parse_args()
    environment = {"JAX_DEFAULT_MATMUL_PRECISION": options.precision, "XLA_PYTHON_CLIENT_MEM_FRACTION": SHARE}
    if options.device == "cpu":
        environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    else:
        environment["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "")
    present = contestants(options.peers, options.device, environment)
    os.environ["JAX_PLATFORMS"] = "cpu"  # this process makes weights, and leaves the card to the others
    least, later = TOLERANCES[options.precision]
    contests = {
        "inference": replace(suite.INFERENCE, differ=partial(suite.outputs_differ, tolerance=least)),
        "training": replace(
            suite.TRAINING, differ=partial(suite.losses_differ, tolerance=least, later_tolerance=later)
        ),
    }
    records = []
    for name, contest in contests.items():
        if options.only in (None, name):
            contest = replace(contest, faster={}, environment=environment)
            records.append(suite.run(contest, present, options.models, options.turns, options.batch))
    if options.json:
        options.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
