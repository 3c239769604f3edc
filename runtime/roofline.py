"""How long a program takes on a chip at least, by what it computes, moves and sends: an estimate, not a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .hlo import Collective
from .targets import Target

#: Of a collective among n devices, how much of its result's bytes each of them sends, in a ring.
_SENT = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: n - 1,
    "all-to-all": lambda n: (n - 1) / n,
    "ragged-all-to-all": lambda n: (n - 1) / n,
}
#: How float32 is multiplied at a precision: by which of a chip's units, and in how many products of these.
_FLOAT32 = {
    ("gpu", "default"): ("tf32", 1),
    ("gpu", "high"): ("tf32", 3),
    ("tpu", "default"): ("bfloat16", 1),
    ("tpu", "high"): ("bfloat16", 3),
    ("tpu", "highest"): ("bfloat16", 6),
}


@dataclass(frozen=True)
class Roofline:
    """An estimate of the time of one run, on each of the target's devices.

    Attributes:
        seconds: the longer of ``compute`` and ``memory``, and ``communication``, as if they did not overlap; None where
            too little is known of the chip.
        compute: operations by the chip's peak. memory: bytes by its memory's bandwidth. communication: bytes sent by
            the bandwidth between chips. None where that figure of the chip is not known.
        bound: which of them takes longest.
        notes: what is not known, or was taken for it.
    """

    seconds: float | None
    compute: float | None
    memory: float | None
    communication: float | None
    bound: str | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in ("compute", "memory", "communication"))
        said = ", ".join(f"{name} {_time(value)}" for name, value in parts)
        lines = [f"estimated {_time(self.seconds)}: {said}", *self.notes]
        return "\n".join(lines)


def roofline(
    target: Target,
    products: Mapping[tuple[str, str], float],
    elementwise: float,
    moved: float,
    collectives: Sequence[Collective],
) -> Roofline:
    """The estimate for one run.

    Args:
        products: operations of dots and convolutions on one device, by element type and precision.
        elementwise: other operations.
        moved: bytes read and written on one device.
        collectives: those of the program.
    """
    notes: list[str] = []
    compute = _compute(target, products, elementwise, notes)
    memory = _over(moved, target.chip.bandwidth, "memory's bandwidth", target, notes)
    communication = _communication(target, collectives, notes)
    known = {n: t for n, t in (("compute", compute), ("memory", memory), ("communication", communication)) if t}
    seconds = None
    if compute is not None and memory is not None and communication is not None:
        seconds = max(compute, memory) + communication
    return Roofline(
        seconds, compute, memory, communication, max(known, key=lambda n: known[n], default=None), (*notes,)
    )


def _compute(
    target: Target, products: Mapping[tuple[str, str], float], elementwise: float, notes: list[str]
) -> float | None:
    total: float | None = 0.0
    for (dtype, precision), count in products.items():
        unit, passes = (dtype, 1) if dtype != "float32" else _FLOAT32.get((target.platform, precision), (dtype, 1))
        unit = "float8" if unit.startswith("float8") else unit
        part = _over(count * passes, target.chip.flops.get(unit), f"peak for {unit}", target, notes)
        total = None if part is None or total is None else total + part
        if part is not None and (unit, passes) != (dtype, 1):
            notes.append(f"{dtype} at precision {precision!r} as {passes} product{'s'[: passes > 1]} of {unit}")
    vector = target.chip.flops.get("float32")
    if total is not None and vector is not None:
        total += elementwise / vector
    return total


def _communication(target: Target, collectives: Sequence[Collective], notes: list[str]) -> float | None:
    sent = sum(c.bytes * c.times * _SENT.get(c.kind, lambda n: 1)(max(c.group_size, 1)) for c in collectives)
    if sent and target.platform == "gpu" and target.count > target.chip.topology["per_host"]:
        notes.append("the bandwidth between machines is not known")
        return None
    return _over(sent, target.chip.interconnect, "bandwidth between chips", target, notes)


def _over(amount: float, rate: float | None, what: str, target: Target, notes: list[str]) -> float | None:
    if not amount:
        return 0.0
    if rate is None:
        notes.append(f"the {what} of {target.chip.name} is not known")
        return None
    return amount / rate


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"
