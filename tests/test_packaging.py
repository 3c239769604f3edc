"""What a user gets: a wheel with the whole package and nothing else, and a fresh clone whose `make demo` works.

Both work on a copy of the checkout, so that nothing built before (build/lib, an environment) can help or hinder.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_PACKAGE = {"tests", "benchmarks", "docs", "examples"}
NOT_IN_A_CLONE = shutil.ignore_patterns(
    ".git", ".venv", ".view", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)

pytestmark = pytest.mark.long


@pytest.fixture
def clone(tmp_path):
    return Path(shutil.copytree(ROOT, tmp_path / "clone", ignore=NOT_IN_A_CLONE))


def run(*command, folder):
    """Runs a command to its success and returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTEST_"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_wheel_holds_every_module_and_the_demo_model(clone):
    modules = {path.relative_to(clone) for path in clone.rglob("*.py")}
    modules = {path.as_posix() for path in modules if path.parts[0] not in NOT_PACKAGE}
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "wheels", ".", folder=clone)
    (path,) = (clone / "wheels").glob("lamina-*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (entry_points,) = (wheel.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    held = {name.removeprefix("lamina/") for name in names if ".dist-info/" not in name}
    chips = {path.relative_to(clone).as_posix() for path in (clone / "runtime/chips").iterdir()}
    assert held == modules | chips | {"py.typed", "frontend/data/digits.keras"}
    assert "runtime/chips/h100.toml" in chips
    assert "lamina = lamina.cli:main" in entry_points


def test_make_demo_works_in_a_fresh_clone(clone):
    printed = run("make", "demo", f"PYTHON={sys.executable}", folder=clone)
    found = re.search(r"accuracy\D*([\d.]+)\s*%", printed, re.IGNORECASE)
    assert found, printed
    assert float(found[1]) > 97
