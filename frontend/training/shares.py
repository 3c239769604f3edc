"""Training in several processes: each feeds its share of a batch, and all have to run the same steps on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from ...compiler import Program
from ...ir.errors import ProcessError
from ...ir.fingerprint import fingerprint
from ...runtime import placement, processes
from ...runtime.files import discarding
from ..distribution.current import distribution

_BATCHES = (
    "Every process has to feed as many batches as the others, of equal shapes: cut their shares to one size, or give "
    "steps_per_epoch, and let all stop at the same step"
)
_PROGRAM = "All processes have to make the same model, compile it alike and call the same methods in the same order"


def are_shared() -> bool:
    """Whether batches are split over several processes."""
    chosen = distribution()
    if chosen is None or chosen.num_processes == 1:
        return False
    if processes.group() is None:
        raise ProcessError(
            "the processes were joined by jax.distributed.initialize(): call keras.distribution.initialize() in its "
            "place, which takes the same addresses and numbers, so that they can agree on their steps"
        )
    return True


def types_of(batches: Any) -> list[str]:
    """The element type and shape of each array."""
    return [f"{np.dtype(x.dtype).name}{list(x.shape)}" for x in jax.tree.leaves(batches)]


def agree_on_batches(what: str, count: int, types: list[str], error: Exception | None = None) -> None:
    """Make sure that all processes are about to run the same step, on shares of equal shapes.

    Args:
        what: the step, in the words of messages.
        count: how many batches it takes; 0 at the end of the data.
        types: of :func:`types_of`.
        error: what the source raised in place of them.

    Raises :class:`ProcessError` in all of them where that is not so.
    """
    if are_shared():
        failed = None if error is None else f"{type(error).__name__}: {error}"
        found = {"the error of their data": failed, "the number of batches": count, "the arrays of a batch": types}
        processes.agree(what, lambda: found, _BATCHES)


def agree_on_program(name: str, program: Program) -> None:
    """Make sure that all processes run the same program; once, when it is new. Raises :class:`ProcessError`."""
    if are_shared():
        processes.agree(f"the program of {name!r}", lambda: _facts(program), _PROGRAM)


def _facts(program: Program) -> dict[str, Any]:
    """What tells a program from others: its nodes by layer and by op, to say where they differ, and a digest of all."""
    layers: Counter[str] = Counter()
    ops: Counter[str] = Counter()
    for node in program.optimized.walk():
        ops[node.op.name] += 1
        layers.update(node.location.layers)
    try:
        digest: str | None = fingerprint(program.optimized)
    except TypeError:  # an attribute that is no plain data, such as a Python function
        digest = None
    return {
        "the number of nodes of layer": dict(sorted(layers.items())),
        "the number of nodes of op": dict(sorted(ops.items())),
        "types, attributes or constants, by their digest": digest,
    }


def writes_files() -> bool:
    """Whether this process writes the files of a run that all have in common: of several the first does."""
    return not are_shared() or processes.is_first()


@contextmanager
def first_writes(what: str) -> Iterator[bool]:
    """Within the block files are written by the first process alone, though all gather what goes into them; after it,
    they are there for all. The value is whether this process is the one.

    Raises :class:`ProcessError` where the others do not write the same, ``what``.
    """
    with discarding(not writes_files()):
        yield writes_files()
    if are_shared():
        processes.agree(what, dict)


def agree_on_start(folder: str, epoch: int) -> None:
    """Make sure that all processes go on from the same backup. Raises :class:`ProcessError`."""
    if are_shared():
        advice = "The folder has to be on a file system that all processes share"
        processes.agree(f"going on from {folder!r}", lambda: {"the epoch that is saved there": epoch}, advice)


def own_outputs(outputs: Any) -> Any:
    """Of outputs for a batch what belongs to this process's share of it, as NumPy arrays; all processes have to ask."""
    chosen = distribution()
    assert chosen is not None
    mesh = chosen.device_mesh.backend_mesh

    def own(x: jax.Array) -> np.ndarray:
        parts = chosen.num_model_replicas
        if x.ndim == 0 or x.shape[0] % parts:
            return placement.read(x)
        spec = jax.sharding.PartitionSpec(*chosen.get_data_layout(x.shape).sharding)
        return placement.read_part(x, jax.sharding.NamedSharding(mesh, spec))

    return jax.tree.map(own, outputs)
