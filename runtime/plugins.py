"""What is installed to compile for chips that are not there must not disturb work on those that are.

jax tries every plugin that is installed. Without a driver the one for CUDA prints errors, and so does libtpu without a
TPU; both take a tenth of a second.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

_CUDA = ("jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13")
#: Set where somebody wants the plugin for CUDA without a driver, or says that there are TPUs.
_WANTS_CUDA = "JAX_SKIP_CUDA_CONSTRAINTS_CHECK"
_SAYS_TPU = ("JAX_FORCE_TPU_INIT", "TPU_ACCELERATOR_TYPE", "TPU_NAME", "TPU_PROCESS_ADDRESSES", "CLOUD_TPU_TASK_ID")
_GOOGLE = "0x1ae0"  # the maker of TPUs, by its number on the PCI bus


def skip_absent() -> None:
    """Have jax skip the plugins of devices that this machine has none of, if it has not looked for devices yet.

    ``jax.experimental.topologies`` still finds libtpu, and the plugin for CUDA where
    ``JAX_SKIP_CUDA_CONSTRAINTS_CHECK`` is set.
    """
    if not sys.platform.startswith("linux") or _has_nvidia():
        return
    if _WANTS_CUDA not in os.environ:
        for name in set(_CUDA) & set(_plugins()) - set(sys.modules):
            sys.modules[name] = _Nothing(name)
    if importlib.util.find_spec("libtpu") is not None and not _has_tpu():
        import jax

        config: Any = jax.config  # its class does not name the options
        others = {*_plugins(), *(e.value for e in entry_points(group="jax_plugins"))} - set(_CUDA)
        if not config.jax_platforms and not others:
            config.update("jax_platforms", "cpu")  # what jax would find


class _Nothing(ModuleType):
    """In place of a plugin: it registers no devices."""

    @staticmethod
    def initialize() -> None:
        pass


def _plugins() -> Iterator[str]:
    """The modules in the package that jax takes plugins from."""
    spec = importlib.util.find_spec("jax_plugins")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield from (f"jax_plugins.{p.name}" for p in Path(folder).iterdir() if p.is_dir() and p.name[0] not in "._")


def _has_nvidia() -> bool:
    return any(Path("/dev").glob("nvidia*")) or Path("/dev/dxg").exists()


def _has_tpu() -> bool:
    devices = Path("/sys/bus/pci/devices").glob("*")
    return any(name in os.environ for name in _SAYS_TPU) or any(map(_is_googles_chip, devices))


def _is_googles_chip(device: Path) -> bool:
    """Whether a device on the PCI bus is of TPUs' maker, and not one of its network cards (class 02)."""
    maker, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
    return maker == _GOOGLE and not kind.startswith("0x02")
