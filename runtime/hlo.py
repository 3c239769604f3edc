"""Reading XLA's optimized HLO text: the collectives in it with their bytes, the custom calls, the fusions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

#: The collectives, by HLO's names. An asynchronous one is a pair, ``-start`` and ``-done``.
COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
#: Bits of an element. Types whose name tells (``f32``, ``s4``, ``bf16``, ``f8e4m3fn``) are not listed.
_BITS = {"pred": 8, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<= ]*)\]")
_NAMED = re.compile(r"(?:ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r" ?([\w\-]+)\(")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .*)?\{$")
_CALLED = re.compile(r"\b(body|condition|to_apply|calls|branch_computations)=(?:%?([\w.\-]+)|\{([^}]*)\})")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LISTED = re.compile(r"(?:replica_groups|source_target_pairs)=\{((?:\{[\d,]*\},?)*)\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(r"replica_groups=mesh\[('[^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? ?\{([^}]*)\}")
_AXIS = re.compile(r"'([^']*)'(?:=(\d+)|:\((\d+)\)(\d+))?")

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Collective:
    """Collectives of one kind over the same groups of devices.

    Attributes:
        kind: ``all-reduce``, ``all-gather``, ``reduce-scatter``, ``all-to-all``, ``collective-permute``...
        count: how many instructions; one that XLA combined of several counts once.
        bytes: of their results together on one device, each run once.
        groups: the devices that exchange with each other, by number in the program; for a permute the pairs of source
            and target. None where XLA wrote them in a form that is not known here.
        times: how often each runs: more than once in loops whose length XLA knows.
    """

    kind: str
    count: int
    bytes: int
    groups: Groups | None
    times: int = 1

    @property
    def group_size(self) -> int:
        """How many devices exchange with each other; 1 where the groups are not known."""
        return max((len(group) for group in self.groups or ()), default=1)


@dataclass(frozen=True)
class Instruction:
    """A line of HLO: name, type of the result as text, opcode, and what follows the opcode."""

    name: str
    type: str
    opcode: str
    rest: str


@dataclass
class Computation:
    """A computation's instructions."""

    name: str
    is_entry: bool = False
    instructions: list[Instruction] = field(default_factory=list)


def collectives(hlo_text: str) -> list[Collective]:
    """The collectives of an optimized HLO module in the order of the text, those alike as one.

    Args:
        hlo_text: what ``jax.stages.Compiled.as_text()`` gives.
    """
    computations = read_computations(hlo_text)
    times = _times(computations)
    everyone = (tuple(range(_devices(hlo_text))),)
    found: dict[tuple[str, Groups | None, int], list[int]] = {}
    for computation in computations.values():
        done = {_operand(i.rest): i.type for i in computation.instructions if i.opcode.endswith("-done")}
        for instruction in computation.instructions:
            kind = instruction.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                type_ = done.get(instruction.name, instruction.type)
                key = (kind, _groups(instruction.rest, everyone), times.get(computation.name, 1))
                found.setdefault(key, []).append(bytes_of(type_))
    return [Collective(kind, len(sizes), sum(sizes), groups, n) for (kind, groups, n), sizes in found.items()]


def custom_calls(hlo_text: str) -> dict[str, int]:
    """How many custom calls there are of each target: ``{"__cublas$gemm": 2}``."""
    targets = re.findall(r'\bcustom_call_target="([^"]*)"', hlo_text)
    return dict(Counter(targets))


def fusions(hlo_text: str) -> dict[str, int]:
    """How many fusions there are of each kind: ``{"kLoop": 3, "kInput": 1}``."""
    return dict(Counter(re.findall(r" fusion\(.*?\bkind=(\w+)", hlo_text)))


def bytes_of(type_: str) -> int:
    """The bytes of an array or a tuple of arrays, written as HLO writes types: ``(f32[8,16]{1,0}, bf16[4])``."""
    return sum(-(-prod(_sizes(shape)) * _bits(element) // 8) for element, shape in _ARRAY.findall(type_))


def read_computations(hlo_text: str) -> dict[str, Computation]:
    """The computations of a module by name, in the order of the text."""
    found: dict[str, Computation] = {}
    current = None
    for line in map(str.strip, hlo_text.splitlines()):
        if opened := _COMPUTATION.match(line):
            current = found[opened[2]] = Computation(opened[2], opened[1] is not None)
        elif line == "}":
            current = None
        elif current is not None and (instruction := _instruction(line)) is not None:
            current.instructions.append(instruction)
    return found


def _instruction(line: str) -> Instruction | None:
    named = _NAMED.match(line)
    if named is None:
        return None
    end = _type_end(line, named.end())
    opcode = _OPCODE.match(line, end)
    return opcode and Instruction(named[1], line[named.end() : end], opcode[1], line[opcode.end() :])


def _type_end(line: str, start: int) -> int:
    """Where the type that begins at ``start`` ends: tuples hold spaces, and layouts brackets of their own."""
    depth = 0
    for i in range(start, len(line)):
        if line[i] == " " and depth == 0:
            return i
        depth += (line[i] in "({[") - (line[i] in ")}]")
    return len(line)


def _times(computations: Mapping[str, Computation]) -> dict[str, int]:
    """How often each computation runs in one run of the program, as far as XLA knows the lengths of loops."""
    times: Counter[str] = Counter()

    def visit(name: str, count: int) -> None:
        times[name] += count
        for called, trips in _called(computations[name]):
            if called in computations:
                visit(called, count * trips)

    for computation in computations.values():
        if computation.is_entry:
            visit(computation.name, 1)
    return dict(times)


def _called(computation: Computation) -> Iterator[tuple[str, int]]:
    """The computations that one calls, with how often each call runs them."""
    for instruction in computation.instructions:
        trips = _TRIPS.search(instruction.rest)
        for role, name, several in _CALLED.findall(instruction.rest):
            if role == "to_apply" and instruction.opcode != "call":
                continue  # what a reduction combines elements by
            for called in [name] if name else [part.strip().removeprefix("%") for part in several.split(",")]:
                yield called, int(trips[1]) if trips and role in ("body", "condition") else 1


def _groups(rest: str, everyone: Groups) -> Groups | None:
    """The groups of a collective, in whichever of three forms XLA wrote them."""
    if iota := _IOTA.search(rest):
        shape, reshaped, order = (_sizes(text or "") for text in iota.groups())
        devices = np.arange(prod(reshaped)).reshape(reshaped).transpose(order or range(len(reshaped)))
        return _rows(devices.reshape(shape[0], -1))
    if mesh := _MESH.search(rest):
        return _mesh_groups(*mesh.groups())
    if listed := _LISTED.search(rest):
        groups = tuple(tuple(_sizes(group)) for group in re.findall(r"\{([\d,]*)\}", listed[1]))
        return groups or everyone  # no groups at all mean one of all devices
    return None


def _mesh_groups(axes: str, ids: str | None, order: str | None, chosen: str) -> Groups:
    """Groups along axes of a mesh, ``'a'=8,'b'=2`` and ``'a'``, or along a part of one, ``'a':(2)4``: what stands
    before that part, and its size. The mesh's devices are in order, or as ``[4,2]T(1,0)`` says."""
    sizes = [(name, int(size)) for name, size, _, _ in _AXIS.findall(axes)]
    parts = {name: (int(before or 1), int(size or 0)) for name, _, before, size in _AXIS.findall(chosen)}
    shape: list[int] = []
    inside: list[int] = []
    for name, size in sizes:
        before, own = parts.get(name, (1, 0))
        own = own or (size if name in parts else 1)
        inside += [len(shape) + 1]
        shape += [before, own, size // before // own]
    outside = [i for i in range(len(shape)) if i not in inside]
    numbers = np.arange(prod(shape))
    if ids is not None:
        reshaped = _sizes(ids)
        numbers = numbers.reshape(reshaped).transpose(_sizes(order or "") or range(len(reshaped)))
    devices = numbers.reshape(shape).transpose(outside + inside)
    return _rows(devices.reshape(-1, prod(shape[i] for i in inside)))


def _rows(devices: np.ndarray) -> Groups:
    return tuple(map(tuple, devices.tolist()))


def _devices(hlo_text: str) -> int:
    """How many devices a module runs on, by its first line."""
    head = hlo_text[: hlo_text.find("\n")]
    return prod(int(n) for n in re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", head))


def _operand(rest: str) -> str:
    """The name of an instruction's first operand, which older texts write after its type."""
    named = re.search(r"%([\w.\-]+)", rest) or re.match(r"([\w.\-]+)", rest)
    return named[1] if named else ""


def _sizes(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", text)]


def _bits(element: str) -> int:
    if element in _BITS:
        return _BITS[element]
    number = re.search(r"\d+", element)
    return int(number[0]) if number else 0
