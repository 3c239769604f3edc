"""Compiling an MLIR module by PJRT itself: for inspection, tests and ahead-of-time programs.

Everyday calls go through :mod:`dispatch`, which is as fast and interoperates with jax. Beside ``lowering/mlir.py`` this
is the one place for names that jaxlib does not promise to keep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.extend.backend import get_compile_options
from jaxlib._jax import DeviceList

from ..ir.errors import ArgumentError
from .devices import find_device
from .errors import xla_errors

_MEMORY = {
    "arguments": "argument_size_in_bytes",
    "outputs": "output_size_in_bytes",
    "temporaries": "temp_size_in_bytes",
    "aliased": "alias_size_in_bytes",
    "code": "generated_code_size_in_bytes",
}


class Executable:
    """A compiled program on one device; made by :func:`compile_and_load`."""

    def __init__(self, loaded: Any, device: jax.Device) -> None:
        self.loaded = loaded
        self.device = device

    @cached_property
    def parameters(self) -> list[str]:
        """The type of each argument as HLO writes it: ``f32[8,16]``."""
        header = self.hlo().split("entry_computation_layout={(", 1)[1].split(")->", 1)[0]
        return re.findall(r"[a-z]\w*\[[\d,]*\]", header)

    def run(self, *arrays: Any) -> list[jax.Array]:
        """Run on arrays (NumPy or jax) of exactly the program's types; 64-bit ones stay 64-bit.

        Raises :class:`ArgumentError` where their number, a shape or an element type differs.
        """
        received = [_hlo_type(a) for a in arrays]
        if received != self.parameters:
            raise ArgumentError(
                f"the program takes {len(self.parameters)} arrays, {', '.join(self.parameters) or 'none'}; "
                f"received {len(received)}: {', '.join(received) or 'none'}"
            )
        with xla_errors("running a compiled program"), jax.enable_x64(True):
            placed = [jax.device_put(a, self.device) for a in arrays]
            results = self.loaded.execute_sharded(placed).disassemble_into_single_device_arrays()
            return [shards[0] for shards in results]

    def hlo(self) -> str:
        """The optimized HLO."""
        return "\n".join(module.to_string() for module in self.loaded.hlo_modules())

    def cost(self) -> dict[str, float]:
        """XLA's own estimate: ``flops``, ``transcendentals``, ``bytes accessed``."""
        analysis = self.loaded.cost_analysis()
        first = analysis[0] if isinstance(analysis, (list, tuple)) else analysis
        return {k: float(v) for k, v in first.items() if k in ("flops", "transcendentals", "bytes accessed")}

    def memory(self) -> dict[str, int]:
        """Bytes on the device: ``arguments``, ``outputs``, ``temporaries``, ``aliased`` (counted in both), ``code``."""
        stats = self.loaded.get_compiled_memory_stats()
        return {name: int(getattr(stats, field)) for name, field in _MEMORY.items()}


def compile_and_load(
    module: Any, device: str | jax.Device | None = None, options: Mapping[str, Any] | None = None
) -> Executable:
    """Compile StableHLO for one device.

    Args:
        module: an MLIR module, its text, or its bytecode.
        device: as in :func:`~lamina.runtime.devices.find_device`.
        options: XLA's options by name, such as ``{"xla_cpu_prefer_vector_width": 512}``.

    Raises:
        DeviceError: no such device, or not enough memory on it.
        UnsupportedError: XLA cannot compile the program.
        ArgumentError: XLA knows no option of that name, or the module is not valid.
    """
    chosen = find_device(device)
    settings = get_compile_options(num_replicas=1, num_partitions=1, device_assignment=np.array([[chosen.id]]))
    settings.env_option_overrides = list((options or {}).items())
    with xla_errors(f"compiling for {chosen}"):
        return Executable(chosen.client.compile_and_load(module, DeviceList((chosen,)), settings), chosen)


_LETTERS = {"float": "f", "uint": "u", "int": "s", "complex": "c", "bfloat": "bf"}


def _hlo_type(array: Any) -> str:
    """The type of an array as HLO writes it."""
    name = np.dtype(array.dtype).name
    kind, bits = re.match(r"([a-z]+)(\w*)", name).groups()  # type: ignore[union-attr]
    short = "pred" if name == "bool" else _LETTERS[kind] + bits.replace("_", "")
    return f"{short}[{','.join(map(str, array.shape))}]"
