"""Runs programs in several processes, each with a limit of time, and reads what they found."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(__file__).with_name("process_programs.py")
#: Far more than any takes: a process that reaches it hangs.
LIMIT = 180


class Ended:
    """A process that has ended: its status, what it wrote, and what it found."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def found(self):
        assert self.status == 0, self.err
        lines = [line.removeprefix("FOUND ") for line in self.out.splitlines() if line.startswith("FOUND ")]
        assert len(lines) == 1, self.out
        return json.loads(lines[0])


def environment(devices, **more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_DISTRIBUTION")}
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**kept, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **more}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(program, *, processes=2, devices=2, **arguments):
    """Run a program of process_programs.py; what ended, by process. A hang is a failure."""
    command = [sys.executable, "-W", "error", str(PROGRAMS), program, *(f"{k}={v}" for k, v in arguments.items())]
    address = f"127.0.0.1:{free_port()}"
    children = []
    for index in range(processes):
        several = {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
        }
        env = environment(devices, **(several if processes > 1 else {}))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen(command, env=env, **pipes))
    try:
        outputs = [child.communicate(timeout=LIMIT) for child in children]
    finally:
        for child in children:
            child.kill()
    return [Ended(child.returncode, *output) for child, output in zip(children, outputs, strict=True)]
