"""Several processes of one script on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

#: Seconds that the others have to end by themselves once one has failed, and then after SIGTERM.
PATIENCE = 5


def launch(script: Sequence[str], count: int, devices: int | None = None, show: Callable[[str], None] = print) -> int:
    """Run a Python script in several processes, which ``keras.distribution.initialize()`` joins.

    Args:
        script: its path and arguments.
        count: how many processes.
        devices: of each: so many of the CPU's, or of the GPUs the next so many; as jax finds them by default.
        show: called with each line that they write, the number of the process before it.

    Returns:
        0, or the status of the first that failed, as a shell gives it. The others are ended then.
    """
    address = f"127.0.0.1:{_free_port()}"
    children = [
        subprocess.Popen(
            [sys.executable, "-u", *script],
            env={**os.environ, **_environment(address, count, index, devices)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for index in range(count)
    ]
    threads = [threading.Thread(target=_forward, args=(c.stdout, i, show)) for i, c in enumerate(children)]
    for thread in threads:
        thread.start()
    try:
        failed = _first_failure(children)
        if failed is not None:
            show(f"process {failed} of {count} {_status(children[failed].returncode)}; the others are ended")
            _wait(children)
    finally:
        _end(children)
        for thread in threads:
            thread.join()
    status = 0 if failed is None else children[failed].returncode
    return 128 - status if status < 0 else status


def _environment(address: str, count: int, index: int, devices: int | None) -> dict[str, str]:
    found = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
        "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
    }
    if devices is not None:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        found["XLA_FLAGS"] = flags.strip()
        found["JAX_LOCAL_DEVICE_IDS"] = ",".join(str(index * devices + i) for i in range(devices))  # GPUs
    return found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _forward(lines: IO[str], index: int, show: Callable[[str], None]) -> None:
    with lines:
        for line in lines:
            show(f"[{index}] {line.rstrip()}")


def _first_failure(children: Sequence[subprocess.Popen[str]]) -> int | None:
    """Wait until one has failed, and return its number; None where all end well."""
    while True:
        codes = [child.poll() for child in children]
        failed = next((i for i, code in enumerate(codes) if code), None)
        if failed is not None or None not in codes:
            return failed
        time.sleep(0.05)


def _wait(children: Sequence[subprocess.Popen[str]]) -> None:
    until = time.monotonic() + PATIENCE
    while any(child.poll() is None for child in children) and time.monotonic() < until:
        time.sleep(0.05)


def _end(children: Sequence[subprocess.Popen[str]]) -> None:
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        running = [child for child in children if child.poll() is None]
        for child in running:
            end(child)
        if running:
            _wait(running)


def _status(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with status {code}"
