"""The code in README.md and docs/: found, run, and compared with the output that stands after it.

A ``python`` block runs in one namespace with those before it in its document; a ``text`` block right after it is what
it prints, exactly. A ``console`` block holds commands after ``$ ``; lines between are what they print, and a line
``...`` stands for any lines. Run as a script it writes the ``text`` blocks anew:

    python tests/documents.py README.md docs/semantics.md
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Runs the blocks of a document, given as JSON on standard input, in one namespace; prints what each printed, as JSON.
_RUNNER = """
import contextlib, io, json, sys
namespace, printed = {"__name__": "__main__"}, []
for source, where in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(source, where, "exec"), namespace)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


@dataclass
class Block:
    """A fenced block: its language, text, line in the document, and place in its text."""

    language: str
    text: str
    line: int
    start: int
    end: int
    follows: bool  # nothing but white space stands between it and the block before


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, given by its path from the root."""
    source = (ROOT / document).read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in _BLOCK.finditer(source):
        line = source.count("\n", 0, match.start()) + 2
        follows = not source[end : match.start()].strip()
        found.append(Block(match[1], match[2], line, match.start(2), match.end(2), follows))
        end = match.end()
    return found


def run_python(document: str, folder: Path) -> list[tuple[Block, Block | None, str]]:
    """Run the Python of a document in ``folder``: each block, the output that is shown for it, and what it printed."""
    found = blocks(document)
    code = [(i, b) for i, b in enumerate(found) if b.language == "python"]
    task = json.dumps([("\n" * (b.line - 1) + b.text, document) for _, b in code])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUNNER],
        input=task,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    if done.returncode:
        raise AssertionError(f"{document}: its Python fails\n{done.stderr}")
    printed = json.loads(done.stdout.splitlines()[-1])
    after = [found[i + 1] if i + 1 < len(found) else None for i, _ in code]
    said = [b if b is not None and b.language == "text" and b.follows else None for b in after]
    return [(b, s, p) for (_, b), s, p in zip(code, said, printed, strict=True)]


def commands(document: str) -> list[tuple[int, str, list[str]]]:
    """The commands that a document shows: line, command, lines that it is said to print."""
    found: list[tuple[int, str, list[str]]] = []
    for block in blocks(document):
        if block.language == "console":
            for offset, line in enumerate(block.text.splitlines()):
                if line.startswith("$ "):
                    found.append((block.line + offset, line[2:].partition("  #")[0].strip(), []))
                else:
                    found[-1][2].append(line)
    return found


def says(shown: list[str], printed: str) -> bool:
    """Whether ``shown`` is what was printed, a line ``...`` standing for any lines."""
    pattern = "".join("(?:.*\n)*?" if line == "..." else re.escape(line.rstrip()) + " *\n" for line in shown)
    return re.fullmatch(pattern, printed if printed.endswith("\n") else printed + "\n") is not None


def update(document: str) -> None:
    """Write the output blocks of a document anew."""
    with tempfile.TemporaryDirectory() as folder:
        results = run_python(document, Path(folder))
    source = (ROOT / document).read_text(encoding="utf-8")
    for _, said, printed in reversed(results):
        if said is not None:
            source = source[: said.start] + printed + source[said.end :]
    (ROOT / document).write_text(source, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:] or DOCUMENTS:
        update(name)
