"""What ``lamina.verify`` found: as text, as a table, as JSON."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 118


@dataclass(frozen=True)
class OutputResult:
    """One output (or next value of a state) of one target, against the reference.

    Attributes:
        output: its name.
        type: its type, with concrete sizes.
        absolute: ``max |a - b|`` over the elements.
        relative: ``max |a - b| / max |b|``.
        ulp: the largest ``|a - b|`` in units of the last place of ``b`` in this type.
        bound: the largest ``relative`` that is allowed.
        identical: whether it equals, bit for bit, what NumPy computes in the model's own type.
        state: whether it is the next value of a state (a seed, a moving average) rather than an output.
    """

    output: str
    type: str
    absolute: float
    relative: float
    ulp: float
    bound: float
    identical: bool
    state: bool = False

    @property
    def ok(self) -> bool:
        return self.relative <= self.bound


@dataclass(frozen=True)
class Offender:
    """The first node whose results are outside the bound, where those before it are within.

    ``layer`` is its layer's path, ``source`` the user's line.
    """

    layer: str
    op: str
    type: str
    relative: float
    source: str = ""

    def __str__(self) -> str:
        where = f" in layer {self.layer}" if self.layer else f" at {self.source}" if self.source else ""
        return f"first differs at {self.op}{where}, {self.type} (relative {self.relative:.1e})"


@dataclass(frozen=True)
class TargetResult:
    """What one target did.

    Attributes:
        target: its name.
        status: ``passed``; ``failed``: a bound is passed; ``error``: it did not run; ``unsupported``: it can't express
            an op; ``not installed``.
        outputs: one for each output.
        offender: where it began, if it failed.
        message: why there are no outputs, or no offender.
        seconds: to build it and run it once.
    """

    target: str
    status: str
    outputs: tuple[OutputResult, ...] = ()
    offender: Offender | None = None
    message: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status not in ("failed", "error")

    @property
    def relative(self) -> float:
        """The largest relative error of its outputs."""
        return max((o.relative for o in self.outputs), default=0.0)

    def rows(self) -> list[tuple[str, OutputResult]]:
        """What is shown: each output by name, then the worst of the states."""
        states = sorted((o for o in self.outputs if o.state), key=lambda o: (o.ok, -o.relative))
        worst = [(f"{states[0].output} (worst of {len(states)} states)", states[0])] if states else []
        return [(o.output, o) for o in self.outputs if not o.state] + worst


@dataclass(frozen=True)
class Report:
    """What a model computes by each target, against its meaning in NumPy on 64-bit floats.

    Attributes:
        model: its name.
        inputs: type of each input, by name.
        seed: what random inputs were made from; None where they were given.
        targets: a result for each target.
        static: the keywords that it was traced with.
    """

    model: str
    inputs: dict[str, str]
    seed: int | None
    targets: tuple[TargetResult, ...]
    static: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every target that ran is within its bounds; one that is not installed, or can't express the model,
        did not run."""
        return all(t.ok for t in self.targets)

    def __getitem__(self, target: str) -> TargetResult:
        """The result of a target, by name."""
        for result in self.targets:
            if result.target == target:
                return result
        raise KeyError(f"{target!r} was not verified; {', '.join(t.target for t in self.targets)} were")

    def table(self) -> Table:
        """The errors as a rich table: a row for each output of each target, and one for the worst of the states."""
        from rich.table import Table

        table = Table(title=self._title(), title_justify="left")
        table.add_column("target", no_wrap=True)
        table.add_column("output", overflow="fold")
        for name in ("absolute", "relative", "ULP", "bound"):
            table.add_column(name, justify="right", no_wrap=True)
        for name in ("bits", "result"):
            table.add_column(name, no_wrap=True)
        for target in self.targets:
            for i, (name, row) in enumerate(target.rows()):
                numbers = (_short(v) for v in (row.absolute, row.relative, row.ulp, row.bound))
                bits = "same" if row.identical else "differ"
                table.add_row(target.target if i == 0 else "", name, *numbers, bits, "ok" if row.ok else "OUTSIDE")
            if not target.outputs:
                table.add_row(target.target, *[""] * 6, target.status)
        return table

    def notes(self) -> list[str]:
        """A line for each target that failed or did not run, and a last one with the verdict."""
        lines = [
            f"{t.target}: {', '.join(str(part) for part in (t.offender, t.message) if part)}"
            for t in self.targets
            if t.offender or t.message
        ]
        ran = [t for t in self.targets if t.outputs]
        bad = [t.target for t in self.targets if not t.ok]
        verdict = f"outside the bounds or failed: {', '.join(bad)}" if bad else f"{len(ran)} within the bounds"
        return [*lines, verdict]

    def __str__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        console = Console(file=out, width=_WIDTH, color_system=None)
        console.print(self.table())
        for line in self.notes():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def json(self, indent: int | None = 1) -> str:
        """The report as JSON; infinities and NaN are the strings ``"inf"`` and ``"nan"``."""
        return json.dumps(_plain(asdict(self) | {"ok": self.ok}), indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """A report from what :meth:`json` wrote."""
        data = json.loads(text)
        targets = tuple(_target(t) for t in data["targets"])
        return cls(data["model"], data["inputs"], data["seed"], targets, data["static"])

    def _title(self) -> str:
        inputs = ", ".join(f"{name}: {type_}" for name, type_ in self.inputs.items())
        static = "".join(f", {name}={value}" for name, value in self.static.items())
        made = "" if self.seed is None else f", random inputs of seed {self.seed}"
        return f"{self.model}({inputs}{static}){made}"


def _short(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}" if value < 0.1 or value >= 1e4 else f"{value:.3g}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _target(data: dict[str, Any]) -> TargetResult:
    numbers = ("absolute", "relative", "ulp", "bound")
    outputs = tuple(OutputResult(**_floats(o, numbers)) for o in data["outputs"])
    offender = Offender(**_floats(data["offender"], ("relative",))) if data["offender"] else None
    return TargetResult(**(data | {"outputs": outputs, "offender": offender}))


def _floats(data: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return data | {name: float(data[name]) for name in names}
