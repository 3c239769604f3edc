"""The table of docs/targets.md: every op by target. Run as a script it writes the table anew.

    python tests/targets.py

A cell says how an op leaves: "native" where the target's table has a rule for it, "decomposed" where it is written as
the ops that it is made of, or a number, which refers to the reason why it has no form there. An op with none of these
is a hole; ``holes`` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lamina.ir import OPS
from lamina.lowering.stablehlo import LOWERINGS
from lamina.lowering.tensorflow import source as tensorflow
from lamina.lowering.torch import source as torch

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "targets.md"


@dataclass(frozen=True)
class Column:
    """What a target says of ops: those it has rules for, and why others have no form."""

    title: str
    rules: Mapping[str, object]
    unsupported: Mapping[str, str]

    def how(self, op: str) -> str | None:
        """``native``, ``decomposed``, or None."""
        if op in self.unsupported:
            return None
        return "native" if op in self.rules else "decomposed" if OPS[op].is_composite else None


COLUMNS = (
    Column("StableHLO", LOWERINGS, {}),
    Column("torch", torch.RULES, torch.UNSUPPORTED),
    Column("TensorFlow", tensorflow.RULES, tensorflow.UNSUPPORTED),
)
_HEAD = """# Ops by target

What every op of the graph becomes. `native`: the target's own table says it; `decomposed`: it is a composite that
leaves as the ops that it is made of; a number: it has no form there, for the reason below. torch stands for
`torchscript` and `pt2`, TensorFlow for `tf_function`, `saved_model` and, as far as its converter has kernels, `tflite`;
StableHLO for `stablehlo`, `.lamina` files and what XLA runs.

Written by `python tests/targets.py`; a test compares it with the tables.

"""


def holes() -> list[str]:
    """Ops that a target neither says nor gives a reason for."""
    return [f"{op} ({c.title})" for c in COLUMNS for op in OPS if c.how(op) is None and op not in c.unsupported]


def document() -> str:
    """The text of docs/targets.md."""
    reasons: dict[str, int] = {}
    rows = []
    for op in sorted(OPS):
        cells = []
        for column in COLUMNS:
            how = column.how(op)
            if how is None:
                reason = f"{column.title}: {column.unsupported.get(op, 'no reason is given')}"
                how = f"[{reasons.setdefault(reason, len(reasons) + 1)}](#why-not)"
            cells.append(how)
        rows.append(f"| `{op}` | {' | '.join(cells)} |")
    counts = [sum(c.how(op) is not None for op in OPS) for c in COLUMNS]
    head = [f"| op | {' | '.join(c.title for c in COLUMNS)} |", f"|---{'|---' * len(COLUMNS)}|"]
    total = f"| {len(OPS)} ops | {' | '.join(map(str, counts))} |"
    why = ["", "## Why not", "", *(f"{number}. {reason}" for reason, number in reasons.items())]
    return _HEAD + "\n".join([*head, *rows, total, *why]) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
