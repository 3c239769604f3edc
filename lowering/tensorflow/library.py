"""The functions of prelude.py as text, for sources that call them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def _parts() -> dict[str, str]:
    """Name -> the text of each function and table of prelude.py, in order."""
    text = Path(__file__).with_name("prelude.py").read_text(encoding="utf-8")
    parts = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        else:
            continue
        parts[name] = "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])
    return parts


#: What a source may call, by name.
HELPERS = _parts()


@cache
def _needs(name: str) -> frozenset[str]:
    """What a function of the prelude uses of the others, directly."""
    used = {node.id for node in ast.walk(ast.parse(HELPERS[name])) if isinstance(node, ast.Name)}
    return frozenset(used & HELPERS.keys() - {name})


def helper_text(names: Iterable[str]) -> str:
    """The text of these functions and of all that they use, in the prelude's order."""
    needed: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += _needs(name)
    return "\n\n\n".join(text for name, text in HELPERS.items() if name in needed)


def imports(text: str) -> list[str]:
    """Lines that import what functions of the prelude use of the standard library."""
    lines = [
        line for line, use in (("import math", "math.pi"), ("from itertools import product", "product(")) if use in text
    ]
    return [*lines, ""] if lines else []
