"""What the CPU's programs free stays with the process, unless the user says otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from lamina.runtime.memory import keep_freed_memory

#: A program with 46 MiB of intermediate results, and how many pages a call of it fetches from the system.
FETCHED = """
import resource
import jax
import lamina.runtime
import numpy as np

@jax.jit
def program(a, b, c):
    return ((a @ b) @ c).sum()

arrays = [jax.device_put(np.ones(shape, np.float32)) for shape in ((3456, 8), (8, 3456), (3456, 8))]
for _ in range(8):
    program(*arrays).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    program(*arrays).block_until_ready()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 4)
"""
GLIBC = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"


def pages_fetched(**environment):
    """In a process of its own, as the allocator is set once for all."""
    rest = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES", "LAMINA_"))}
    command = [sys.executable, "-c", FETCHED]
    done = subprocess.run(command, env={**rest, **environment}, capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(not GLIBC, reason="it is glibc that is told")
def test_a_call_fetches_no_memory_from_the_system():
    kept, returned = pages_fetched(LAMINA_KEEP_MEMORY="1"), pages_fetched(LAMINA_KEEP_MEMORY="0")
    assert kept < returned / 10  # both few where pages are 2 MiB each, but of 46 MiB at least 23


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAMINA_KEEP_MEMORY", "0"),
        ("LAMINA_KEEP_MEMORY", " Off"),
        ("MALLOC_ARENA_MAX", "4"),
        ("MALLOC_TRIM_THRESHOLD_", "65536"),
        ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.cpu.x86_ibt=off"),
    ],
)
def test_what_the_user_set_stands(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not keep_freed_memory()


@pytest.mark.skipif(not GLIBC, reason="it is glibc that is told")
def test_settings_of_others_change_nothing(monkeypatch):
    for name in [n for n in os.environ if n.startswith(("MALLOC_", "LAMINA_KEEP_MEMORY"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.cpu.x86_ibt=off")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert not keep_freed_memory()  # each of many threads would keep memory
    monkeypatch.setenv("LAMINA_KEEP_MEMORY", "1")
    assert keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
