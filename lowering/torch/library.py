"""The methods of prelude.py as text, for sources that call them."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def _methods() -> dict[str, str]:
    """Name -> the text of each method of prelude.py, in order, indented as it stands there."""
    text = Path(__file__).with_name("prelude.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    body = next(node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)).body
    return {
        node.name: "\n".join(line[4:] for line in lines[node.lineno - 1 : node.end_lineno])
        for node in body
        if isinstance(node, ast.FunctionDef)
    }


#: What a source may call on ``self``, by name.
HELPERS = _methods()


def helper_texts(source: str) -> list[str]:
    """The texts of the methods that a source calls, and of all that these call, in the prelude's order."""
    needed: set[str] = set()
    pending = [source]
    while pending:
        called = HELPERS.keys() & set(re.findall(r"self\.(\w+)\(", pending.pop())) - needed
        needed |= called
        pending += [HELPERS[name] for name in called]
    return [text for name, text in HELPERS.items() if name in needed]
