"""pt2: a ``torch.export`` program, a ``.pt2`` file for ``torch.export.load``."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ...ir import Module
from ...ir.binding import check_guards
from ...ir.dims import Dim
from ...ir.errors import GuardError, UnsupportedError
from ...ir.graph import Node
from ...ir.types import static_shape
from ..saving.archive import write_beside
from .torch_module import Owned, checked_weights, flat_runner, import_torch, plain_module, to_input

#: What torch.export cannot follow, since it runs the program once, on tensors without values; and the way out.
_BY_VALUES = "it goes by values, which torch.export does not see; export to torchscript"
_OPEN_LENGTH = (
    "torch.export unrolls it, and its length is open; fix that, such as dims={{{!r}: 32}}, or export to torchscript"
)


def build(module: Module, *, weights: str = "parameters") -> Any:
    """The ``torch.export.ExportedProgram`` of a module; symbolic dimensions stay open, from a size of 2 on.

    Args:
        weights: ``parameters`` (they are in ``state_dict`` under the weights' paths with dots) or ``constants``.

    Raises:
        UnsupportedError: an op has no form; the message names it and its layer. ArgumentError: a parameter has no
            value, or there is no such way to hold weights.
    """
    return _exported(Owned(module, checked_weights("pt2", weights)))


def save(module: Module, path: Path, *, weights: str = "parameters") -> None:
    """Write a module; ``torch.export.load(path).module()`` runs it with torch alone.

    Arguments and errors as :func:`build`; nothing is written where it raises.
    """
    torch = import_torch()
    program = build(module, weights=weights)
    memory = io.BytesIO()
    with _quiet():
        torch.export.save(program, memory)
    write_beside(path, lambda file: file.write(memory.getbuffer()))


def runner(module: Module, *, weights: str = "parameters") -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """The exported program as a function of flat arrays. Arguments and errors as :func:`build`."""
    owned = Owned(module, checked_weights("pt2", weights))
    return flat_runner(owned, _exported(owned).module())


def _exported(owned: Owned) -> Any:
    torch = import_torch()
    main = owned.source.module.main
    for node in owned.source.module.walk():
        reason = _reason(node)
        if reason is not None:
            raise UnsupportedError(f"{node.op.name} has no form in torch.export: {reason} (at {node.location})")
    sizes = _example_sizes(owned.source.module)
    types = [v.type.substitute(sizes) for v in main.inputs]
    examples = tuple(to_input(np.zeros(static_shape(t), t.dtype)) for t in types)
    kinds = torch.export.Dim
    shapes = tuple(tuple(kinds.DYNAMIC if isinstance(d, Dim) else kinds.STATIC for d in v.shape) for v in main.inputs)
    module = plain_module(owned)
    with _quiet():
        try:
            return torch.export.export(module, examples, dynamic_shapes=shapes)
        except Exception as error:
            raise UnsupportedError(
                f"torch.export can't follow the program{owned.where(error)}: {_first_line(error)}\n"
                f"Export to torchscript, or fix the dimensions it depends on ({', '.join(main.symbols) or 'none'}), "
                "such as dims={'N': 32}"
            ) from error


def _reason(node: Node) -> str | None:
    """Why torch.export can't follow a node, if so."""
    if node.op.name in ("while", "cond"):
        return _BY_VALUES
    length = node.attributes.get("length")
    if node.op.name == "scan" and isinstance(length, Dim):
        return _OPEN_LENGTH.format(str(length))
    return None


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _example_sizes(module: Module) -> dict[str, int]:
    """Sizes that keep what the trace assumed; different ones where that goes, as torch takes equal ones for one.

    Raises :class:`UnsupportedError` where none are found.
    """
    symbols = module.main.symbols
    candidates = chain(
        ({s: start + step * i for i, s in enumerate(symbols)} for start in range(3, 40) for step in (2, 1)),
        (dict.fromkeys(symbols, size) for size in range(2, 300)),
    )
    for sizes in candidates:
        try:
            check_guards(module.main.guards, sizes)
        except GuardError:
            continue
        return sizes
    raise UnsupportedError(
        f"pt2: found no sizes that keep what the trace assumed ({', '.join(map(str, module.main.guards))}); give some: "
        "dims={'N': 32}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch warns of or logs about its own parts."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            # It looks for a GPU, and in a process with TensorFlow warns where there is none.
            warnings.filterwarnings("ignore", "CUDA initialization", UserWarning)
            warnings.filterwarnings("ignore", "No complete tensor found", UserWarning)
            yield
    finally:
        logger.setLevel(before)
