"""The examples run as they stand, without a warning, and reach what they promise; those that train do so briefly."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@dataclass
class Example:
    """What an example prints: texts, and for patterns the least and the largest number they may find, each time."""

    says: tuple[str, ...] = ()
    reaches: dict[str, tuple[float, float]] = field(default_factory=dict)
    small: bool = True
    plots: bool = True
    keras: str = ""
    """What real Keras reaches with it: the "same", the "same bounds" (dropout draws other bits); or "", not run."""


ONE = r"(-?\d+(?:\.\d+)?(?:e[+-]\d+)?)"

RUN = {
    "compile_function.py": Example(
        ("five rows, the same trace: (5, 4)", "below 1e-4: True"), small=False, plots=False
    ),
    "look_inside.py": Example(
        ("fold_batch_norm x1", "stablehlo.convolution", "conv, norm, relu, pool, classes",
         "the operand is not a convolution"), small=False, plots=False,
    ),
    "digits.py": Example(
        ("99.8% of 1797 images are right", "within jax.jit the answers are the same: True"), small=False, plots=False
    ),
    # Three builds of one network differ by rounding at most.
    "mlp_three_ways.py": Example(
        reaches={rf"test accuracy {ONE}%": (90, 100), f"difference of a probability: {ONE}": (0, 1e-5)},
        keras="same bounds",
    ),
    "forecasting.py": Example(
        reaches={rf"sunspots, (?:LSTM|GRU) *: error .*, {ONE} of the naive": (0.3, 0.7),
                 rf"unemployment, (?:LSTM|GRU) *: error .*, {ONE} of the naive": (0.5, 0.9)},
        keras="same",
    ),
    "transformer_forecaster.py": Example(
        # The last maximum was in 2000, and cycles last from 9 to 14 years.
        reaches={f"; {ONE} of the naive one": (0.3, 0.75), f"the next maximum in {ONE}": (2009, 2015)},
        keras="same bounds",
    ),
    "callbacks_effects.py": Example(
        ("Batch 2: Invalid loss", "at a loss of nan", "16 rows of epoch, loss, val_loss",
         "learning rates 0.00300, 0.00300, 0.00300, 0.00240, 0.00192", "after 16 epochs and 176 batches",
         "ran the 8 epochs that were left"),
        reaches={f"stopped after {ONE} of 16 epochs": (5, 15), f"halved {ONE} times": (1, 5),
                 f"stopped after {ONE} of 176 batches": (2, 10), f"a whole run's by {ONE}": (0, 1e-6)},
        plots=False, keras="same",
    ),
    "optimize_anything.py": Example(
        ("shares sum to 1.0000, the largest is 30.0%",),
        reaches={rf"value {ONE}": (0, 1e-4), f"period {ONE} years": (0.999, 1.001),
                 f"at most {ONE} of itself": (0, 1e-3)},
    ),
    "digits_classifier.py": Example(reaches={f"test accuracy {ONE}%": (97, 100)}, keras="same bounds"),
    "vae.py": Example(
        reaches={rf"divergence\): .* -> {ONE}": (20, 27), f"has not seen: {ONE}": (20, 27),
                 f"place in the plane: {ONE}%": (45, 100), f"again: {ONE} of what": (0.3, 0.9)},
        keras="same",
    ),
    "gradients.py": Example(
        ("all derivatives are those of the formulas",),
        reaches={f"differs from the formula by {ONE}": (0, 1e-4), f"steps of Newton +{ONE}": (0, 1e-4)},
        small=False, plots=False,
    ),
}  # fmt: skip


def run(path: Path, example: Example, folder: Path, *options: str) -> str:
    """What an example prints, when run in a folder."""
    arguments = ["--small"] if example.small else []
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, *options, path, *arguments],
        capture_output=True, encoding="utf-8", check=False, cwd=folder, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(example: Example, printed: str) -> None:
    """That it says and reaches what it promises."""
    for text in example.says:
        assert text in printed
    for pattern, (least, largest) in example.reaches.items():
        found = re.findall(pattern, printed)
        assert found, f"{pattern} is not in:\n{printed}"
        assert all(least <= float(number) <= largest for number in found), f"{pattern} in:\n{printed}"


def test_every_example_is_run():
    assert set(RUN) == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", RUN)
def test_an_example_reaches_what_it_promises(name, tmp_path):
    example = RUN[name]
    check(example, run(EXAMPLES / name, example, tmp_path, "-W", "error"))
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert written == ([f"plots/{name.removesuffix('.py')}.png"] if example.plots else [])


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in RUN if RUN[name].keras])
def test_real_keras_runs_an_example_and_reaches_the_same(name, tmp_path):
    example = RUN[name]
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert text.count("\nfrom lamina import keras\n") == 1
    other = tmp_path / name
    other.write_text(text.replace("\nfrom lamina import keras\n", "\nimport keras\n"), encoding="utf-8")
    printed = run(other, example, tmp_path)
    check(example, printed)
    if example.keras == "same":
        ours = run(EXAMPLES / name, example, tmp_path)
        assert re.sub(ONE, "#", ours) == re.sub(ONE, "#", printed)
        # After hundreds of steps, and as rounded for printing.
        numbers = [np.array(re.findall(ONE, text), float) for text in (ours, printed)]
        np.testing.assert_allclose(*numbers, rtol=0.02, atol=0.01)
