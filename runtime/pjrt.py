"""PJRT itself: compiling an MLIR module, for inspection, tests and ahead-of-time programs; and executables as bytes,
called as quickly as what ``jax.jit`` compiles.

Everyday calls go through :mod:`dispatch`. Beside ``lowering/mlir.py`` this is the one place for names that jax and
jaxlib do not promise to keep.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np
from jax._src import array as jax_array
from jax._src import config as jax_config
from jax._src import core as jax_core
from jax._src import distributed as jax_distributed
from jax._src import tree_util, xla_bridge
from jax._src.interpreters import pxla
from jax.extend.backend import get_compile_options
from jax.extend.mlir import ir
from jax.interpreters import mlir as jax_mlir
from jax.sharding import SingleDeviceSharding
from jaxlib import _jax, lapack
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


def compile_absent(module: bytes, devices: Sequence[Any]) -> tuple[str, dict[str, int], dict[str, float], bytes]:
    """Compile StableHLO for devices of a topology, which are not there.

    Args:
        module: MLIR bytecode; its shardings are of a mesh of as many devices, in the order of ``devices``.
        devices: from ``jax.experimental.topologies``.

    Returns:
        The optimized HLO, what :meth:`Executable.memory` and :meth:`Executable.cost` say of one device (the latter is
        empty where XLA does not tell), and the executable as bytes.

    Raises jaxlib's own error where XLA can't compile it.
    """
    places = np.array([[d.id for d in devices]])
    settings = get_compile_options(num_replicas=1, num_partitions=len(devices), device_assignment=places)
    settings.executable_build_options.use_spmd_partitioning = True
    settings.executable_build_options.use_shardy_partitioner = True
    with jax_mlir.make_ir_context():
        made = devices[0].client.compile(ir.Module.parse(module), DeviceList(tuple(devices)), settings)
    executable = Executable(made, devices[0])
    try:
        cost = {k: float(v) for k, v in executable.cost().items()}
    except jax.errors.JaxRuntimeError:  # of GPUs it does not tell
        cost = {}
    return executable.hlo(), executable.memory(), cost, bytes(made.serialize())


_LETTERS = {"float": "f", "uint": "u", "int": "s", "complex": "c", "bfloat": "bf"}


def _hlo_type(array: Any) -> str:
    """The type of an array as HLO writes it."""
    name = np.dtype(array.dtype).name
    kind, bits = re.match(r"([a-z]+)(\w*)", name).groups()  # type: ignore[union-attr]
    short = "pred" if name == "bool" else _LETTERS[kind] + bits.replace("_", "")
    return f"{short}[{','.join(map(str, array.shape))}]"


# Executables that jax.jit made, or that were read from a file, behind the C++ function that jax.jit itself calls by.


@dataclass(frozen=True, eq=False)
class Loaded:
    """An executable that is ready to be called.

    Attributes:
        executable: jaxlib's.
        kept: numbers of the flat arguments that it takes.
        results: shape and element type of each flat result.
        device: the one it runs on; None where there are several.
        in_shardings, out_shardings, layouts: of the arguments it takes and of its results, as jax has them.
    """

    executable: Any
    kept: tuple[int, ...]
    results: tuple[tuple[tuple[int, ...], np.dtype], ...]
    device: jax.Device | None
    in_shardings: Sequence[Any]
    out_shardings: Sequence[Any]
    layouts: Sequence[Any]


def loaded_of(compiled: Any) -> Loaded:
    """What a ``jax.stages.Compiled`` calls."""
    mesh = compiled._executable
    devices = {d for s in (*mesh._in_shardings, *mesh._out_shardings) for d in s.device_set}
    return Loaded(
        mesh.xla_executable,
        tuple(sorted(mesh._kept_var_idx)),
        tuple((tuple(a.shape), np.dtype(a.dtype)) for a in mesh.out_avals),
        devices.pop() if len(devices) == 1 else None,
        mesh._in_shardings,
        mesh._out_shardings,
        mesh._dispatch_in_layouts,
    )


def serialize(loaded: Loaded) -> bytes | None:
    """An executable as bytes, for :func:`deserialize`; None where its platform has no such form."""
    try:
        return bytes(loaded.executable.client.serialize_executable(loaded.executable))
    except jax.errors.JaxRuntimeError:
        return None


@cache
def _prepare_lapack() -> None:
    """Register LAPACK's functions with XLA, and find them: else an executable that calls one crashes the process."""
    lapack.prepare_lapack_call("syevd_ffi", np.dtype(np.float32))


def deserialize(
    code: bytes, kept: Sequence[int], results: Sequence[tuple[Sequence[int], Any]], device: jax.Device
) -> Loaded | None:
    """Load an executable that :func:`serialize` wrote on an equal :func:`environment`; None where XLA refuses it.

    This is machine code, which will run: take it from nobody but the user.
    """
    if b"lapack_" in code:
        _prepare_lapack()
    options = get_compile_options(num_replicas=1, num_partitions=1, device_assignment=np.array([[device.id]]))
    try:
        executable = device.client.deserialize_executable(code, DeviceList((device,)), options)
    except (jax.errors.JaxRuntimeError, ValueError):
        return None
    sharding = SingleDeviceSharding(device)
    types = tuple((tuple(shape), np.dtype(dtype)) for shape, dtype in results)
    return Loaded(
        executable, tuple(kept), types, device, [sharding] * len(kept), [sharding] * len(types), [None] * len(kept)
    )


def run(loaded: Loaded, flat: Sequence[Any], committed: bool) -> list[jax.Array]:
    """Run an executable of one device on all flat arguments; ``committed``: whether results stay on that device."""
    placed = [pxla.cc_shard_arg(flat[i], s, None) for i, s in zip(loaded.kept, loaded.in_shardings, strict=True)]
    shards = loaded.executable.execute_sharded(placed).disassemble_into_single_device_arrays()
    return [
        jax_array.ArrayImpl(
            jax_core.ShapedArray(shape, dtype), sharding, [parts[0]], committed=committed, _skip_checks=True
        )
        for (shape, dtype), sharding, parts in zip(loaded.results, loaded.out_shardings, shards, strict=True)
    ]


def is_plain_call() -> bool:
    """Whether a call now runs, and is not part of what jax traces, or looks at because of its debugging options."""
    return jax_core.trace_state_clean() and not (jax_config.debug_nans.value or jax_config.debug_infs.value)


def quick_function(name: str, function: Callable[..., Any], miss: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls in C++ what :func:`quick_call` gave for arguments of the same structure, types and places.

    Args:
        name: for profiles.
        function: what it does, in Python; it runs where jax is told not to compile.
        miss: ``(*args) -> (result, what quick_call gave, False)``, called for arguments that are new.
    """
    made: Callable[..., Any] = _jax.pjit(
        name,
        function,
        miss,
        [],
        [],
        pxla.JitGlobalCppCacheKeys(),
        tree_util.dispatch_registry,
        pxla.cc_shard_arg,
        _jax.PjitFunctionCache(capacity=_SIGNATURES),
    )
    return made


#: Structures, types and places of arguments that one function remembers, as many as jax.jit does for all.
_SIGNATURES = 4096


def quick_call(loaded: Loaded, result: Any, arguments: int) -> Any:
    """What a later call needs, for :func:`quick_function`.

    Args:
        result: of the first call.
        arguments: how many flat ones there are.
    """
    flat, tree = tree_util.dispatch_registry.flatten(result, None)
    kept = set(loaded.kept)
    return pxla.MeshExecutableFastpathData(
        loaded.executable,
        tree,
        loaded.in_shardings,
        loaded.out_shardings,
        [a.aval for a in flat],
        [a.committed for a in flat],
        [i in kept for i in range(arguments)],
        loaded.layouts,
        [],
    )


@cache
def environment(device: jax.Device) -> str:
    """What an executable depends on beside its program: versions, platform, processor, options of the process."""
    options = get_compile_options(num_replicas=1, num_partitions=1)
    said = (
        jax.__version__,
        jaxlib.__version__,
        device.platform,
        device.device_kind,
        device.client.platform_version,
        _processor() if device.platform == "cpu" else "",
        [os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")],
        options.SerializeAsString(),
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _processor() -> str:
    """The CPU's kind, the instructions it has, and how many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = Path("/proc/cpuinfo")
    if info.exists():
        wanted = ("flags", "Features", "model name", "CPU implementer", "CPU part")
        kind = sorted({line for line in info.read_text().splitlines() if line.startswith(wanted)})
    else:
        kind = [platform.processor(), platform.version()]
    return repr((platform.machine(), kind, cores))


def has_started() -> bool:
    """Whether jax has devices already, so that other processes can no longer be joined."""
    return bool(xla_bridge.backends_are_initialized())


def coordination() -> tuple[Any, str, int, int]:
    """The client of ``jax.distributed``, the address of process 0, which process this is, and how many there are."""
    state = jax_distributed.global_state
    return state.client, state.coordinator_address or "", state.process_id, state.num_processes


def forget_processes() -> None:
    """Have ``jax.distributed`` as it was before a start that failed, whose client must not be asked for anything."""
    jax_distributed.global_state = jax_distributed.State()
