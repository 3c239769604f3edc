"""What README.md and docs/ say is so: their Python runs and prints what they show, their commands work."""

import shlex
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner
from documents import DOCUMENTS, ROOT, blocks, commands, run_python, says

from lamina.cli import main

COMMANDS = [pytest.param(d, c, shown, id=f"{d}:{line}") for d in DOCUMENTS for line, c, shown in commands(d)]


@pytest.fixture
def folder(tmp_path):
    """A folder with what the documents take for granted: digits.keras, image.npy, my_models.py, train.py."""
    shutil.copy(ROOT / "frontend" / "data" / "digits.keras", tmp_path)
    np.save(tmp_path / "image.npy", np.zeros((2, 8, 8, 1), np.float32))
    (tmp_path / "my_models.py").write_text(
        "from lamina import keras\n\n"
        "def small():\n"
        "    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])\n"
    )
    script = next(b for b in blocks("docs/several_processes.md") if b.language == "py")
    (tmp_path / "train.py").write_text(script.text)
    return tmp_path


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if any(b.language == "python" for b in blocks(d))])
def test_python_prints_what_is_shown(document, folder):
    results = run_python(document, folder)
    for block, said, printed in results:
        shown = "" if said is None else said.text
        assert printed == shown, f"{document}:{block.line} prints\n{printed}\nand shown is\n{shown}"
    assert results


@pytest.mark.parametrize(("document", "command", "shown"), COMMANDS)
def test_a_command_works(document, command, shown, folder, monkeypatch):
    monkeypatch.chdir(folder)
    program, *arguments = shlex.split(command)
    if program == "lamina":
        monkeypatch.syspath_prepend(folder)
        sys.modules.pop("my_models", None)
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert not shown or says(shown, result.stdout), result.stdout
    elif program == "make":
        done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{document} shows {command}: {done.stderr}"
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = arguments[-1].partition("[")[2].rstrip("]")
        assert arguments[0] == "install" and (not named or set(named.split(",")) <= set(extras))
    else:
        assert program == "python" and (ROOT / arguments[0]).is_file(), f"{document} shows {command}: no such program"


def test_links_lead_somewhere():
    import re

    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert ((ROOT / document).parent / target).exists(), f"{document} links to {target}, which is not there"


def test_dots_stand_for_any_lines():
    assert says(["a", "...", "c"], "a\nb\nb\nc\n")
    assert says(["...", "c"], "c\n")
    assert not says(["a", "c"], "a\nb\nc\n")
    assert not says(["a", "..."], "b\nb\n")
