"""From StableHLO to results: devices, executables, buffers, caches."""

from .memory import keep_freed_memory
from .plugins import skip_absent

skip_absent()
keep_freed_memory()
