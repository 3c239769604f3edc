"""The house: who may import whom, where private names may stand, and what the root's files may be called.

Every import is read with `ast`, inside functions and under TYPE_CHECKING too: a dependency is one wherever it stands.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOT_PACKAGE = {"tests", "benchmarks", "docs", "examples", "build", "dist"}

# From the bottom up. A part imports itself and what is named beside it, nothing else of ours.
HOUSE = {
    "ir": set(),
    "passes": {"ir"},
    "lowering": {"ir", "passes"},
    "runtime": set(),
    "compiler": {"ir", "passes", "lowering", "runtime"},
    "compiled": {"ir", "passes", "lowering", "runtime", "compiler"},
    "frontend": {"ir", "passes", "lowering", "runtime", "compiler", "compiled"},
    "__init__": {"ir", "passes", "lowering", "runtime", "compiler", "compiled", "frontend"},
    "cli_files": {"ir", "passes", "lowering", "runtime", "compiler", "compiled", "frontend", "__init__"},
    "cli": {"ir", "passes", "lowering", "runtime", "compiler", "compiled", "frontend", "__init__", "cli_files"},
    "__main__": {"cli"},
}
ERRORS = "ir.errors"  # everybody's, runtime's too: one family of errors to catch, and nothing of the graph in it
IR_LIBRARIES = {"numpy", "ml_dtypes"}
PRIVATE_NAMES_ALLOWED = {"lowering/mlir.py", "runtime/pjrt.py"}
IMPORT_NAMES = {"scikit-learn": "sklearn", "pytest-xdist": "xdist"}  # where it is not the distribution's own name


def package_files() -> list[str]:
    """Every Python file of the package, relative to the root."""
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    return sorted(p.as_posix() for p in paths if p.parts[0] not in NOT_PACKAGE and not p.parts[0].startswith("."))


FILES = package_files()


def part_of(file: str) -> str:
    """The part of the house a file belongs to: its top folder, or its own name where it stands in the root."""
    return Path(file).parts[0].removesuffix(".py")


def imported_names(source: str, file: str) -> Iterator[tuple[int, str]]:
    """Every imported name, absolute, with its line: `from ..ir import Graph` in passes/cse.py gives lamina.ir.Graph."""
    package = ("lamina", *Path(file).parts[:-1])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            for alias in node.names:
                yield node.lineno, ".".join((*base, *filter(None, [node.module]), alias.name))


def part_imported(name: str) -> str:
    """The part of ours that an absolute name belongs to; a name that is no part is one of the root's `__init__`."""
    parts = name.split(".")
    if parts[1:3] == ["ir", "errors"]:
        return ERRORS
    return parts[1] if len(parts) > 1 and parts[1] in HOUSE else "__init__"


def upward_imports(source: str, file: str) -> list[str]:
    part = part_of(file)
    allowed = ", ".join(sorted(HOUSE[part])) or "nothing"
    return [
        f"{file}:{line}: imports {name}; of ours {part} may import: {allowed}"
        for line, name in imported_names(source, file)
        if name.split(".")[0] == "lamina" and part_imported(name) not in HOUSE[part] | {part, ERRORS}
    ]


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def private_jax_names(source: str, file: str) -> list[str]:
    """Private parts of jax and jaxlib: in imports, and as attributes of what was imported from there."""
    found, bound = [], set()
    tree = ast.parse(source)
    for line, name in imported_names(source, file):
        if name.split(".")[0] in ("jax", "jaxlib") and any(map(is_private, name.split("."))):
            found.append(f"{file}:{line}: imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            for alias in node.names:
                if (module or alias.name).split(".")[0] in ("jax", "jaxlib") and not getattr(node, "level", 0):
                    bound.add(alias.asname or (alias.name if module else alias.name.split(".")[0]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value
            while isinstance(owner, ast.Attribute):
                owner = owner.value
            if isinstance(owner, ast.Name) and owner.id in bound:
                found.append(f"{file}:{node.lineno}: uses {ast.unparse(node)}")
    return found


def requirement_name(requirement: str) -> str:
    """`ml-dtypes>=0.5` to ml_dtypes: the name that one imports."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def core_libraries() -> set[str]:
    return {requirement_name(text) for text in PROJECT["project"]["dependencies"]}


def optional_libraries() -> set[str]:
    return {requirement_name(text) for texts in PROJECT["project"]["optional-dependencies"].values() for text in texts}


def imports_on_loading(source: str) -> Iterator[tuple[int, str]]:
    """Top names of the absolute imports that run when the module is imported: those inside no function."""
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module.split(".")[0]
        pending.extend(ast.iter_child_nodes(node))


def read(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def test_every_file_belongs_to_a_part():
    strangers = {file for file in FILES if part_of(file) not in HOUSE}
    assert not strangers, f"say in HOUSE what these may import: {sorted(strangers)}"


def test_imports_point_down():
    wrong = [line for file in FILES for line in upward_imports(read(file), file)]
    assert not wrong, "\n".join(wrong)


def test_the_graph_imports_only_numpy_and_ml_dtypes():
    allowed = IR_LIBRARIES | sys.stdlib_module_names | {"lamina"}
    wrong = [
        f"{file}:{line}: {name}"
        for file in FILES
        if part_of(file) == "ir"
        for line, name in imported_names(read(file), file)
        if name.split(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_private_jax_names_stand_in_two_files():
    wrong = [
        line for file in FILES if file not in PRIVATE_NAMES_ALLOWED for line in private_jax_names(read(file), file)
    ]
    assert not wrong, "\n".join(wrong)


#: Read as text, to stand in what is emitted; nobody imports them.
PRELUDES = ("lowering/tensorflow/prelude.py", "lowering/torch/prelude.py")


def test_loading_needs_only_the_core_dependencies():
    allowed = core_libraries() | sys.stdlib_module_names | {"lamina"}
    wrong = [
        f"{file}:{line}: imports {name} when loaded; import it where it is used, or make it a dependency"
        for file in FILES
        if str(file) not in PRELUDES
        for line, name in imports_on_loading(read(file))
        if name not in allowed
    ]
    assert not wrong, "\n".join(wrong)
    imported = [
        f"{file}:{line}" for file in FILES for line, name in imported_names(read(file), file) if "prelude" in name
    ]
    assert not imported, imported


def test_root_names_shadow_nothing():
    """Python started in the root would import these instead of the library they are named after."""
    taken = sys.stdlib_module_names | core_libraries() | optional_libraries()
    entries = [path for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"]
    shadows = sorted(p.name for p in entries if p.stem in taken and p.stem not in ("__init__", "__main__"))
    assert not shadows, f"named like a module of the standard library or of a dependency: {shadows}"


def test_the_listed_packages_are_the_folders():
    folders = {"/".join(Path(file).parts[:-1]) for file in FILES}
    with_init = {"/".join(Path(file).parts[:-1]) for file in FILES if Path(file).name == "__init__.py"}
    assert folders == with_init, f"folders of modules without __init__.py: {sorted(folders - with_init)}"
    expected = {".".join(filter(None, ["lamina", *folder.split("/")])) for folder in folders}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected


# The checks above pass on an empty tree as well: what they must find is planted here.


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ir/graph.py", "from ..passes import manager"),
        ("ir/ops/math.py", "from ...lowering.mlir import x"),
        ("ir/graph.py", "from .. import frontend"),
        ("ir/graph.py", "from .. import __version__"),
        ("passes/cse.py", "def f():\n    from ..lowering import stablehlo"),
        ("passes/cse.py", "if TYPE_CHECKING:\n    from ..compiler import Compiled"),
        ("lowering/mlir.py", "from ..runtime import pjrt"),
        ("runtime/pjrt.py", "from ..ir import Graph"),
        ("compiler.py", "from .frontend import layers"),
        ("compiler.py", "import lamina.cli"),
        ("frontend/layers/core.py", "from ...cli import main"),
    ],
)
def test_an_import_that_points_up_is_found(file, source):
    assert len(upward_imports(source, file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ir/ops/math.py", "from ..types import TensorType\nfrom . import shapes"),
        ("passes/rules/algebra.py", "from ...ir import Graph\nfrom ..driver import rule"),
        ("compiler.py", "from .runtime import pjrt\nfrom . import ir, passes"),
        ("runtime/pjrt.py", "from ..ir.errors import DeviceError"),
        ("__init__.py", "from .frontend import layers\nfrom . import compiler"),
        ("cli.py", "from . import __version__, compiler\nimport numpy.lib"),
    ],
)
def test_an_import_that_points_down_is_let_through(file, source):
    assert upward_imports(source, file) == []


@pytest.mark.parametrize(
    "source",
    [
        "import jaxlib._jax",
        "import jax._src.core as core",
        "from jax._src import core",
        "from jaxlib import _jax",
        "from jaxlib.mlir._mlir_libs import register",
        "import jax\nx = jax._src.core",
        "from jaxlib import xla_client as xc\nx = xc._xla.Client",
    ],
)
def test_a_private_jax_name_is_found(source):
    assert private_jax_names(source, "compiler.py")


@pytest.mark.parametrize(
    "source",
    [
        "import jax\nx = jax.__version__",
        "from jax.extend.core import Primitive",
        "from ._cache import entry",
        "from numpy import _core",
    ],
)
def test_a_public_jax_name_is_let_through(source):
    assert private_jax_names(source, "compiler.py") == []
