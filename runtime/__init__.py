"""From StableHLO to results: devices, executables, buffers, caches."""
