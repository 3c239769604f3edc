"""Memory that programs on the CPU give back stays with the process, for the next call.

XLA takes one piece of memory for all intermediate results of a call, and frees it at the call's end. glibc returns
pieces of more than 32 MiB to the system at once (its ``mmap_threshold`` goes no higher), which then has to clear every
page of the next one: up to half of the processor time of a training step. Told to take none directly from the system,
it keeps them in its heaps, where those of threads hold pieces of up to 64 MiB; longer ones stay as they were. A single
heap for all threads would hold any, but convolutions are then slower, by a tenth: their threads wait for one another.

Each thread's heap may keep that much, so this is done where there are few processors.

Environment: ``LAMINA_KEEP_MEMORY=0`` leaves the allocator as it is, so does any setting of its own (``MALLOC_...``,
``GLIBC_TUNABLES``); 1 tells it on machines of any size.
"""

from __future__ import annotations

import ctypes
import os
import sys

# Of malloc.h: how many pieces come directly from the system; how much free memory stays at the end of a heap, and how
# much more than is needed a heap grows by, without which one of 64 MiB that nothing uses is returned.
_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2
#: Up to how many processors the allocator is told.
_PROCESSORS = 8
_SETTINGS = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20}


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed; whether it was told so. Other allocators and systems are left alone."""
    if sys.platform != "linux" or _is_settled(os.environ):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    taken = [library.mallopt(option, value) for option, value in _SETTINGS.items()]
    return all(taken)


def _is_settled(environment: os._Environ[str] | dict[str, str]) -> bool:
    asked = environment.get("LAMINA_KEEP_MEMORY", "").strip().lower()
    if asked in ("0", "off", "false", "no") or (not asked and (os.cpu_count() or 1) > _PROCESSORS):
        return True
    tuned = "glibc.malloc" in environment.get("GLIBC_TUNABLES", "")
    return tuned or any(name.startswith("MALLOC_") for name in environment)
