"""Compiling for chips that are not there: XLA's compilers for GPUs and TPUs, each in a process of its own.

They can't all live in one process, nor beside a user's work: one process is good for one topology of TPUs, they want
environment variables, print on standard error, and may abort. So this process keeps what it is, and hands StableHLO to
another one, which stays for the programs to come.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import jaxlib

from ..ir.errors import UnsupportedError
from .errors import translate
from .targets import Target

#: Processes that are kept, those used last.
_KEPT = 2
#: For each platform: the extra that it takes, and the packages that one of which has to be there.
_NEEDS = {"gpu": ("gpu-aot", ("jax-cuda12-pjrt", "jax-cuda13-pjrt")), "tpu": ("tpu-aot", ("libtpu",))}
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",  # of what is here; the other compilers are asked for by name
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # else it locks a file, as only one process can have a TPU
    "TPU_LOG_DIR": "disabled",
}
#: Lines of a failed compiler's own output that an error shows.
_TAIL = 12


@dataclass(frozen=True)
class Built:
    """What XLA made of a program for a target.

    Attributes:
        hlo: optimized HLO, of one device.
        memory: bytes on one device: ``arguments``, ``outputs``, ``temporaries``, ``aliased`` (counted in both of the
            first two), ``code``.
        cost: XLA's own analysis of one device, by its names; empty where it has none.
        code: the executable as bytes.
        seconds: how long XLA took.
    """

    hlo: str
    memory: Mapping[str, int]
    cost: Mapping[str, float]
    code: bytes
    seconds: float


def build(target: Target, module: bytes, name: str) -> Built:
    """Compile StableHLO for a target.

    Args:
        module: MLIR bytecode; its shardings are of a mesh of the target's devices.
        name: what messages call the program.

    Raises:
        UnsupportedError: the packages are not installed (the message says which extra brings them), XLA can't compile
            the program, or its compiler died.
        DeviceError: the program does not fit into the device's memory.
    """
    check_installed(target)
    what = f"compiling {name} for {target.name}"
    while True:
        with _lock:
            worker = _workers.pop(target.family, None)
            if worker is not None and worker.process.poll() is not None:
                worker.end()
                worker = None
            worker = _workers[target.family] = worker or _Worker()
            while len(_workers) > _KEPT:
                _workers.pop(next(iter(_workers))).end()
        try:
            return worker.ask(target, module, what)
        except _EndedIdle:
            continue


def check_installed(target: Target) -> None:
    """Raise :class:`UnsupportedError` where the compiler for a target's platform is not installed."""
    extra, packages = _NEEDS[target.platform]
    found = {package: _version(package) for package in packages}
    installed = {p: v for p, v in found.items() if v is not None}
    if not installed:
        raise UnsupportedError(
            f"compiling for {target.name} needs {' or '.join(packages)}, which is not installed: "
            f"pip install 'lamina[{extra}]'"
        )
    if target.platform == "gpu" and jaxlib.__version__ not in installed.values():
        package, version = next(iter(installed.items()))
        raise UnsupportedError(
            f"compiling for {target.name} needs {package} of jaxlib's version, {jaxlib.__version__}; installed is "
            f"{version}: pip install {package}=={jaxlib.__version__}"
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


class _EndedIdle(Exception):
    """The process had ended, as nothing was asked of it for long; another one will do."""


class _Worker:
    """A process that compiles."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.ahead_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C is for the one who asked
        )

    def ask(self, target: Target, module: bytes, what: str) -> Built:
        """Have a program compiled; only one at a time."""
        with self._lock:
            try:
                answer, hlo, code = self._exchange({"topology": target.topology, "size": len(module)}, module)
            except (BrokenPipeError, EOFError):
                if self.process.wait() == 0:
                    raise _EndedIdle from None
                raise UnsupportedError(
                    f"{what}: XLA's compiler died (exit status {self.process.returncode}).{self._tail()}"
                ) from None
            except BaseException:  # interrupted: what it answers later is for nobody
                self.process.kill()
                raise
        if "error" in answer:
            raise translate(RuntimeError(answer["error"]), what)
        return Built(hlo.decode(), answer["memory"], answer["cost"], code, answer["seconds"])

    def _exchange(self, request: Mapping[str, Any], module: bytes) -> tuple[dict[str, Any], bytes, bytes]:
        to, back = self.process.stdin, self.process.stdout
        assert to is not None and back is not None
        to.write(json.dumps(request).encode() + b"\n" + module)
        to.flush()
        line = back.readline()
        if not line:
            raise EOFError
        answer = json.loads(line)
        return answer, back.read(answer.get("hlo", 0)), back.read(answer.get("code", 0))

    def _tail(self) -> str:
        """The last of what the process said."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return "".join(f"\n  {line}" for line in lines[-_TAIL:])

    def end(self) -> None:
        """Let the process end once it has answered."""
        with self._lock:
            self.close()

    def close(self) -> None:
        """Have the process end now."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self._said):
            file.close()


_workers: dict[str, _Worker] = {}  # by family, the one used last at the end
_lock = threading.Lock()


@atexit.register
def _close_all() -> None:
    while _workers:
        _workers.popitem()[1].close()


if hasattr(os, "register_at_fork"):  # a copy of this process starts its own
    os.register_at_fork(after_in_child=_workers.clear)
