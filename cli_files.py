"""What the command line reads and writes: the model that MODEL names, arrays for its inputs, and its results."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .compiled import Compiled

#: Endings of files that name a model; of those after .mlirbc lamina.load says that it does not read them.
_FILES = (
    ".keras", ".lamina", ".mlir", ".mlirbc", ".h5", ".hdf5", ".pb", ".pt", ".pt2", ".pth", ".onnx", ".tflite",
    ".safetensors",
)  # fmt: skip


def load_model(name: str, arrays: Sequence[np.ndarray] = ()) -> Any:
    """What MODEL names. A function with arguments is taken as it is where ``arrays`` say what its arguments are."""
    from .ir.errors import ArgumentError, FileFormatError, LaminaError

    path = Path(name)
    suffix = path.suffix.lower()
    if suffix in _FILES or path.is_dir():
        from .frontend.saving.models import load

        try:
            return load(name)
        except LaminaError as error:
            if name in str(error):
                raise
            raise FileFormatError(f"{name}: {error}") from error
    module, colon, attribute = name.partition(":")
    if not colon or not attribute or "/" in module or os.sep in module:
        problem = "is a file of a kind that lamina does not read" if path.exists() else "is neither file nor attribute"
        raise ArgumentError(f"{name!r} {problem}; MODEL is a .keras, .lamina or .mlir file, or module:attribute")
    return _built(_attribute(module, attribute), name, bool(arrays))


def _attribute(module: str, attribute: str) -> Any:
    from .ir.errors import ArgumentError

    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does: the user's module is found where the user is
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise ArgumentError(f"there is no module {module!r}, neither here nor installed") from None
        raise
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [n for n in vars(found) if not n.startswith("_")] if hasattr(found, "__dict__") else []
            raise ArgumentError(
                f"{module} has no attribute {attribute!r}; it has "
                f"{', '.join(public[:12]) or 'none'}{', ...' if len(public) > 12 else ''}"
            )
        found = getattr(found, part)
    return found


def _built(subject: Any, name: str, has_arrays: bool) -> Any:
    """``subject``; what it returns if it is a function without arguments."""
    from .ir import Graph, Module
    from .ir.errors import ArgumentError

    if not callable(subject):
        if isinstance(subject, Graph | Module):
            return subject
        raise ArgumentError(
            f"{name} is a {type(subject).__name__}; expected a model, a layer, a function, a traced "
            "module or a compiled program"
        )
    if not inspect.isfunction(subject):
        return subject
    needed = [
        p.name
        for p in inspect.signature(subject).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not needed:
        return _built(subject(), name, has_arrays)
    if not has_arrays:
        raise ArgumentError(
            f"the shapes of {', '.join(needed)} of the function {name} are not known; name instead a "
            "function without arguments that returns lamina.compile(function, lamina.Spec(...))"
        )
    return subject


def compile_model(subject: Any, arrays: Sequence[np.ndarray] = (), **options: Any) -> Compiled:
    """Compile what :func:`load_model` gave; a function for the types of ``arrays``."""
    from .compiled import Compiled
    from .frontend.api import compile as compile_

    if isinstance(subject, Compiled):
        return subject
    return compile_(subject, *(arrays if inspect.isfunction(subject) else ()), **options)


# Files


def read_input(text: str) -> tuple[str, np.ndarray]:
    """Name (or "") and array of ``x.npy`` or ``name=x.npy``."""
    import numpy as np

    from .ir.errors import FileFormatError

    name, equals, path = text.partition("=")
    if not equals or not name.isidentifier() or Path(text).exists():
        name, path = "", text
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise FileFormatError(f"{path}: not an array that np.save wrote, or damaged, or of Python objects") from None
    if not isinstance(array, np.ndarray):
        raise FileFormatError(f"{path}: holds several arrays; give each by its own file: --input name=x.npy")
    if array.dtype.kind not in "biufc":
        raise FileFormatError(
            f"{path}: expected an array of numbers or bool, received dtype {array.dtype.str!r}; convert it first"
        )
    return name, array


def arguments_of(compiled: Compiled, given: Sequence[tuple[str, np.ndarray]]) -> Sequence[Any]:
    """The arguments of a call: the arrays in the structure of the model's inputs."""
    import jax

    from .ir.errors import GuardError

    try:
        graph = compiled.graph.main
    except GuardError:  # traced for each size anew: before the first call no graph says the order, nor need it for one
        if len(given) != 1:
            raise
        return [given[0][1]]
    arrays = _in_order(graph.input_names, given)
    return arrays if graph.in_structure is None else jax.tree.map(lambda i: arrays[i], graph.in_structure)


def _in_order(names: Sequence[str], given: Sequence[tuple[str, np.ndarray]]) -> list[np.ndarray]:
    """The arrays in the order of the inputs: named ones where their name is, the rest in the places left."""
    from .ir.errors import ArgumentError

    known = [name or f"input {i}" for i, name in enumerate(names)]
    placed: dict[str, np.ndarray] = {}
    for name, array in given:
        if name and name not in known:
            raise ArgumentError(f"the model has no input {name!r}; it has {', '.join(known)}")
        if name in placed:
            raise ArgumentError(f"input {name!r} is given twice")
        if name:
            placed[name] = array
    free = [name for name in known if name not in placed]
    rest = [array for name, array in given if not name]
    if len(free) != len(rest):
        raise ArgumentError(
            f"the model has {len(known)} input{'' if len(known) == 1 else 's'} ({', '.join(known)}); received "
            f"{len(given)}. Give one --input for each"
        )
    placed |= dict(zip(free, rest, strict=True))
    return [placed[name] for name in known]


def in_place(subject: Any, given: Sequence[tuple[str, np.ndarray]], static: Mapping[str, Any]) -> Sequence[np.ndarray]:
    """The arrays in the order of the model's inputs; only where some are named need it be traced to know that."""
    arrays = [array for _, array in given]
    if not any(name for name, _ in given):
        return tuple(arrays)
    from .frontend.export.subject import module_of, resolve

    known = resolve(subject)
    module = module_of(known, tuple(arrays) if inspect.isfunction(known) else None, static)
    return tuple(_in_order(module.main.input_names, given))


def check_output(path: str) -> None:
    """Say at once, and not after the run, that a file cannot be written."""
    from .ir.errors import ArgumentError

    target = Path(path)
    if target.suffix not in (".npy", ".npz"):
        raise ArgumentError(f"{path}: the output is written as .npy, or .npz for several outputs")
    if target.is_dir():
        raise IsADirectoryError(21, "is a folder; name a file", path)
    if not target.parent.is_dir():
        raise FileNotFoundError(2, f"cannot be written, there is no folder {target.parent}", path)
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(13, f"cannot be written, the folder {target.parent} is read-only", path)


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write beside and rename, so that there is never half a file."""
    import numpy as np

    from .ir.errors import ArgumentError

    target = Path(path)
    if target.suffix == ".npy" and len(arrays) > 1:
        raise ArgumentError(f"{path}: the model has {len(arrays)} outputs ({', '.join(arrays)}); name a .npz file")
    plain = {name: _writable(array) for name, array in arrays.items()}
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            if target.suffix == ".npy":
                np.save(file, next(iter(plain.values())), allow_pickle=False)
            else:
                np.savez(file, **plain)  # type: ignore[arg-type]
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _writable(array: np.ndarray) -> np.ndarray:
    """NumPy's file format has no name for ml_dtypes' types: float32 and int8 hold all their values."""
    if array.dtype.isbuiltin == 1:
        return array
    from .ir.types import is_float

    return array.astype("float32" if is_float(array.dtype) else "int8")


def size_text(path: Path) -> str:
    """The size of a file, or of all files in a folder, for people."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def type_text(array: np.ndarray) -> str:
    """The type of an array: ``float32[32,8]``."""
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"
