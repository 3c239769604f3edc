"""Chips that programs are compiled for where they are not there: ``gpu:h100``, ``gpu:h100x8``, ``tpu:v5e-2x2``.

A chip is a small file in chips/; adding one is adding a file. What a file does not say is not known here.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..ir.errors import ArgumentError, FileFormatError

_FOLDER = Path(__file__).resolve().parent / "chips"
_NAME = re.compile(r"(?P<platform>[a-z]+):(?P<chip>[a-z0-9]+?)(?:x(?P<count>\d+)|-(?P<shape>\d+(?:x\d+)*))?")
_EXAMPLES = "'gpu:h100', 'gpu:h100x8', 'tpu:v5e-2x2'"
#: Keys of a chip's file, and what they hold.
_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str, "platform": str, "description": str, "memory": int, "bandwidth": (int, float),
    "interconnect": (int, float), "flops": dict, "topology": dict, "xla": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Chip:
    """A kind of device.

    Attributes:
        name, platform, description: ``h100``, ``gpu``, ``NVIDIA H100 SXM, 80 GB``.
        topology: ``per_host`` devices of a GPU machine, or the ``shapes`` that TPUs are joined in.
        xla: what XLA is told: ``target_config`` of a GPU, or a TPU's ``name`` and options.
        flops: peak operations per second by element type; ``tf32`` is that of float32 rounded to 10 bits.
        memory: bytes. bandwidth: bytes per second to and from it. interconnect: bytes per second sent to other chips.
            None where they are not known.
    """

    name: str
    platform: str
    description: str
    topology: Mapping[str, Any]
    xla: Mapping[str, Any]
    flops: Mapping[str, float] = field(default_factory=dict)
    memory: int | None = None
    bandwidth: float | None = None
    interconnect: float | None = None


@dataclass(frozen=True)
class Target:
    """Chips joined in a topology.

    Attributes:
        name: as it was written, such as ``gpu:h100x8``.
        shape: how many chips along each axis of the topology.
    """

    name: str
    chip: Chip
    shape: tuple[int, ...]

    @property
    def platform(self) -> str:
        return self.chip.platform

    @property
    def count(self) -> int:
        """How many devices there are."""
        return math.prod(self.shape)

    @property
    def topology(self) -> dict[str, Any]:
        """The arguments of ``jax.experimental.topologies.get_topology_desc``."""
        if self.platform == "tpu":
            options = dict(self.chip.xla)
            shape = "x".join(map(str, self.shape))
            return {"platform": "tpu", "topology_name": f"{options.pop('name')}:{shape}", **options}
        hosts = -(-self.count // self.chip.topology["per_host"])
        return {
            "platform": "cuda",
            "topology_name": self.name,
            "topology": f"1x{hosts}x{self.count // hosts}",
            "target_config": self.chip.xla["target_config"],
        }

    @property
    def family(self) -> str:
        """Targets of one family can be compiled for by one process."""
        return self.name if self.platform == "tpu" else self.platform


def is_target(name: object) -> bool:
    """Whether this names chips that need not be there, and not a platform such as ``gpu``."""
    return isinstance(name, str) and ":" in name


def parse_target(name: str) -> Target:
    """The target of a name.

    Raises :class:`ArgumentError`, listing what is known, for a chip or a topology that is not.
    """
    match = _NAME.fullmatch(name.strip().lower()) if isinstance(name, str) else None
    if match is None:
        raise ArgumentError(f"{name!r} names no target; expected one such as {_EXAMPLES}. {_known()}")
    chip = chips().get(match["chip"])
    if chip is None or chip.platform != match["platform"]:
        close = difflib.get_close_matches(match["chip"], chips(), 1)
        hint = f"; did you mean {chips()[close[0]].platform}:{close[0]}?" if close else ""
        raise ArgumentError(f"{name!r}: no such chip is known{hint} {_known()}")
    return Target(
        name.strip().lower(), chip, _gpus(name, chip, match) if chip.platform == "gpu" else _tpus(name, chip, match)
    )


def _gpus(name: str, chip: Chip, match: re.Match[str]) -> tuple[int, ...]:
    per_host = chip.topology["per_host"]
    count = int(match["count"] or 1)
    if match["shape"] or count < 1 or (count > per_host and count % per_host):
        raise ArgumentError(
            f"{name!r}: a number of {chip.name} is written gpu:{chip.name}x4; from 1 to {per_host}, or a multiple of "
            f"{per_host}, as many as a machine has"
        )
    return (count,)


def _tpus(name: str, chip: Chip, match: re.Match[str]) -> tuple[int, ...]:
    shapes = chip.topology["shapes"]
    alone = shapes[0] if math.prod(map(int, shapes[0].split("x"))) == 1 else ""
    shape = match["shape"] or alone
    if match["count"] or shape not in shapes:
        raise ArgumentError(
            f"{name!r}: {chip.name} are joined in the topologies {', '.join(shapes)}; write tpu:{chip.name}-{shapes[1]}"
        )
    return tuple(map(int, shape.split("x")))


def _known() -> str:
    return f"Known: {', '.join(f'{c.platform}:{c.name} ({c.description})' for c in chips().values())}"


@cache
def chips() -> Mapping[str, Chip]:
    """Every chip that there is a file of, by name."""
    found = [read_chip(path) for path in sorted(_FOLDER.glob("*.toml"))]
    return {chip.name: chip for chip in sorted(found, key=lambda c: (c.platform, c.name))}


def read_chip(path: Path) -> Chip:
    """Read a chip's file. Raises :class:`FileFormatError` where a key is missing, unknown, or of a wrong type."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: {error}") from None
    wrong = [k for k, v in data.items() if k not in _KEYS or not isinstance(v, _KEYS[k])]
    wrong += [k for k in ("name", "platform", "description", "topology", "xla") if k not in data]
    if not wrong:
        gpu = data["platform"] == "gpu"
        wrong += [] if ("per_host" if gpu else "shapes") in data["topology"] else ["topology"]
        wrong += [] if ("target_config" if gpu else "name") in data["xla"] else ["xla"]
    if wrong:
        raise FileFormatError(
            f"{path}: {wrong[0]!r} is missing, unknown, or of a wrong type; it may have {', '.join(_KEYS)}"
        )
    return Chip(**data)
