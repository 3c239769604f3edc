"""What tests of the disk cache share: a cache of their own, and programs that are as new as in another process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina import compiler
from lamina.runtime import executables


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Switch the disk cache on, for quick compilations too; its folder."""
    monkeypatch.setenv("LAMINA_CACHE", "1")
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(executables, "LEAST_SECONDS", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Grows by one for each graph that is emitted to be compiled in a call."""
    found: list[int] = []
    emit = compiler.stablehlo.emit_into

    def counted(ctx, graph, operands, *rest):
        found.append(len(graph.nodes))
        return emit(ctx, graph, operands, *rest)

    monkeypatch.setattr(compiler.stablehlo, "emit_into", counted)
    forget()
    yield found
    forget()


def forget() -> None:
    """Forget what is compiled in memory, as a process does at its end."""
    compiler.SHARED.clear()
    gc.collect()


def programs_on(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.entry"))
