"""The examples run as they stand, without a warning, and say what they promise."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

#: What each prints among other things.
SAYS = {
    "compile_function.py": ["five rows, the same trace: (5, 4)", "below 1e-4: True"],
    "look_inside.py": ["fold_batch_norm x1", "stablehlo.convolution", "conv, norm, relu, pool, classes",
                       "the operand is not a convolution"],
    "digits.py": ["99.8% of 1797 images are right", "within jax.jit the answers are the same: True"],
}  # fmt: skip


def test_every_example_is_run():
    assert set(SAYS) == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", SAYS)
def test_an_example_says_what_it_promises(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for text in SAYS[name]:
        assert text in done.stdout
