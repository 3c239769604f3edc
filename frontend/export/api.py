"""``lamina.export``: models as files of other frameworks."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ir import Module, verify
from ...ir.errors import ArgumentError
from ...passes import specialize
from ..layer import Layer
from .subject import module_of, resolve
from .targets import Target, find_target, target_of_path


def export(
    f: Any,
    path: str | os.PathLike[str] | None = None,
    target: str | None = None,
    specs: Any = None,
    *,
    dims: Mapping[str, int] | None = None,
    **options: Any,
) -> Any:
    """Write a function, layer, model, module or the model of a file as a file of another framework.

    Args:
        f: what leaves. A Module, Graph or compiled program is taken as it is; a path is loaded.
        path: the file, or the folder of a SavedModel. It appears whole or not at all, and replaces what was there.
            None: what would be written is returned, by ``torchscript`` (a ScriptModule), ``pt2`` (an ExportedProgram)
            and ``tf_function``, which is not a file.
        target: ``torchscript``, ``pt2``, ``tf_function``, ``saved_model``, ``tflite``, ``stablehlo``, ``lamina``;
            None: by the path's ending (``.pt``, ``.pt2``, ``.tflite``, ``.mlir``, ``.lamina``; none: ``saved_model``).
        specs: a Spec or array, or a tuple of them with one for each argument; None for a functional model, which knows.
        dims: sizes of symbolic dimensions that are to be fixed, ``{"N": 32}``; others stay open.
        options: the target's own, which docs/export.md lists; any other is passed on to ``f``, such as
            ``training=True``.

    Returns:
        The path, or without one what was made.

    Raises:
        UnsupportedError: the target can't express an op, or what it needs is not installed; nothing is written.
        ArgumentError: there is no such target or option, or the path can't be written. Others as
            :func:`lamina.trace`.
    """
    if path is not None and not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"export: expected a path, received {path!r}")
    where = None if path is None else Path(path)
    chosen = _choose(where, target)
    function = "build" if where is None else "save"
    own = {k: v for k, v in options.items() if k in chosen.options(function)}
    static = {k: v for k, v in options.items() if k not in own}
    if where is not None:
        _check_place(where, chosen)
    subject = resolve(f)
    _check_options(subject, static, chosen, function)
    module = module_of(subject, specs, static)
    verify(module)
    if dims:
        module = specialize(module, dims)
    if where is None:
        return chosen.function("build")(module, **own)
    chosen.function("save")(module, where, **own)
    return where


def _choose(path: Path | None, name: str | None) -> Target:
    if name is None:
        if path is None:
            raise ArgumentError("export: give a path, or a target such as 'tf_function' to have it returned")
        return target_of_path(path)
    target = find_target(name)
    if path is None and not target.has("build"):
        ending = target.suffixes[0]
        raise ArgumentError(f"export: {target.name} is written to a path, such as 'model{ending}'; received None")
    if path is not None and not target.suffixes:
        raise ArgumentError(f"export: {target.name} is returned, not written; received the path {str(path)!r}")
    return target


def _check_options(subject: Any, static: Mapping[str, Any], target: Target, function: str) -> None:
    """Say so where an option is not the target's, and can't be for what is traced either."""
    unknown = [name for name in static if not _may_take(subject, name)]
    if unknown:
        known = sorted(target.options(function))
        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ArgumentError(
            f"{target.name} has no option {unknown[0]!r}{hint} It has: {', '.join(known) or 'none'}; and what is "
            "exported takes no such keyword"
        )


def _may_take(subject: Any, name: str) -> bool:
    if isinstance(subject, Module):
        return False
    if isinstance(subject, Layer) and name == "training":
        return True
    try:
        parameters = inspect.signature(subject.call if isinstance(subject, Layer) else subject).parameters.values()
    except (TypeError, ValueError):  # a callable that does not tell
        return True
    return any(p.name == name or p.kind == p.VAR_KEYWORD for p in parameters)


def _check_place(path: Path, target: Target) -> None:
    """Say before the work, and not after it, that nothing can be written there."""
    problem = None
    if not path.name:
        problem = "it has no name"
    elif not path.parent.is_dir():
        problem = f"there is no folder {str(path.parent)!r}"
    elif not os.access(path.parent, os.W_OK):
        problem = f"the folder {str(path.parent)!r} is read-only"
    elif target.is_folder and path.is_file():
        problem = f"it is a file, and {target.name} is a folder"
    elif not target.is_folder and path.is_dir():
        problem = f"it is a folder, and {target.name} is a file"
    if problem is not None:
        raise ArgumentError(f"cannot write {str(path)!r}: {problem}")
