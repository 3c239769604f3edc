"""What lamina can leave as: the table that ``lamina.export`` and ``lamina.verify`` go by."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ir.errors import ArgumentError, UnsupportedError


@dataclass(frozen=True)
class Target:
    """A form that models leave in.

    ``frontend/export/<name>.py`` has ``runner`` for it, ``save`` where it is written, ``build`` where it is returned.

    Attributes:
        name: what ``target=`` takes.
        meaning: for listings.
        suffixes: endings of files that it is guessed from; "" is a folder.
        package: what Python imports for it; "": nothing beyond lamina.
        extra: the extra of ours that installs this.
    """

    name: str
    meaning: str
    suffixes: tuple[str, ...] = ()
    package: str = ""
    extra: str = ""

    @property
    def missing(self) -> str | None:
        """What to do where the package that this target needs is not installed; None where it is."""
        if not self.package or importlib.util.find_spec(self.package) is not None:
            return None
        return f"not installed: pip install 'lamina[{self.extra}]'"

    @property
    def is_folder(self) -> bool:
        """Whether it is written as a folder rather than a file."""
        return "" in self.suffixes

    def function(self, name: str) -> Callable[..., Any]:
        """A function of the target's module. Raises :class:`UnsupportedError` where what it needs is missing."""
        found: Callable[..., Any] = getattr(self._module(), name)
        return found

    def has(self, name: str) -> bool:
        """Whether the target's module has a function of this name."""
        return hasattr(self._module(), name)

    def _module(self) -> Any:
        if self.missing is not None:
            raise UnsupportedError(f"{self.name} needs the package {self.package}, which is {self.missing}")
        return importlib.import_module(f".{self.name}", __package__)

    def options(self, function: str) -> frozenset[str]:
        """The keywords that ``save`` or ``runner`` takes beside the module and the path."""
        parameters = inspect.signature(self.function(function)).parameters.values()
        return frozenset(p.name for p in parameters if p.kind == p.KEYWORD_ONLY)


TARGETS: dict[str, Target] = {
    t.name: t
    for t in (
        Target("torchscript", "TorchScript, for torch.jit.load", (".pt",), "torch", "torch"),
        Target("pt2", "a torch.export program, for torch.export.load", (".pt2",), "torch", "torch"),
        Target("tf_function", "a tf.function of plain ops, returned", (), "tensorflow", "tensorflow"),
        Target("saved_model", "a folder, for tf.saved_model.load", ("",), "tensorflow", "tensorflow"),
        Target("tflite", "a TensorFlow Lite (LiteRT) flatbuffer", (".tflite",), "tensorflow", "tensorflow"),
        Target("stablehlo", "StableHLO as text, bytecode or portable artifact", (".mlir", ".mlirbc")),
        Target("lamina", "graph and weights in one file, for lamina.load", (".lamina",)),
    )
}


def find_target(name: str) -> Target:
    """The target of a name. Raises :class:`ArgumentError`, with near names, where there is none."""
    if name in TARGETS:
        return TARGETS[name]
    near = difflib.get_close_matches(str(name).lower().replace("-", "_"), TARGETS, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ArgumentError(f"there is no target {name!r}{hint} There are: {', '.join(TARGETS)}")


def target_of_path(path: Path, option: str = "target=") -> Target:
    """The target that the ending of a path says. Raises :class:`ArgumentError`, which names ``option`` as the other
    way to say it, where it says none."""
    for target in TARGETS.values():
        if path.suffix.lower() in target.suffixes:
            return target
    known = [f"{suffix or 'none (a folder)'}: {t.name}" for t in TARGETS.values() for suffix in t.suffixes]
    raise ArgumentError(
        f"{str(path)!r}: the ending {path.suffix!r} says no target; give {option}, or an ending of {', '.join(known)}"
    )
