"""Which devices there are, finding one by name, and bringing arrays to one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.backend import get_default_device

from ..ir.errors import DeviceError

_ALIASES = {"cuda": "gpu", "rocm": "gpu"}


@dataclass(frozen=True)
class Memory:
    """Bytes of a device's memory; None for what its platform does not tell.

    Attributes:
        in_use: taken by arrays and programs now.
        peak: the most that was taken in this process.
        limit: what this process may take.
    """

    in_use: int | None
    peak: int | None
    limit: int | None

    def __str__(self) -> str:
        known = [(self.in_use, "in use"), (self.peak, "at most"), (self.limit, "in all")]
        return ", ".join(f"{size / 2**30:.2f} GiB {what}" for size, what in known if size is not None)


@dataclass(frozen=True)
class DeviceInfo:
    """A device that programs can run on.

    Attributes:
        name: what ``device=`` and ``keras.device`` take: ``cpu:0``, ``gpu:1``.
        kind: the maker's name.
        default: whether programs run there where nothing else is said.
        memory: its memory when :func:`devices` was called; None where the platform keeps no count, as the CPU's.
    """

    name: str
    kind: str
    default: bool
    memory: Memory | None


def devices() -> list[DeviceInfo]:
    """The devices of this process: those of jax's default platform first, then the CPU's."""
    default = find_device()
    return [DeviceInfo(device_name(d), d.device_kind, d == default, memory_of(d)) for d in list_devices()]


def ensure_cpus(count: int) -> None:
    """Have the CPU count as ``count`` devices, if nothing says how many it is and jax has not started."""
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # it has started: what is there, is there
        return


def memory_of(device: jax.Device) -> Memory | None:
    """The memory of a device now; None where its platform keeps no count."""
    stats = device.memory_stats()
    if not stats:
        return None
    return Memory(*(stats.get(key) for key in ("bytes_in_use", "peak_bytes_in_use", "bytes_limit")))


def list_devices() -> list[jax.Device]:
    """Every device of this process: those of the default platform first, then the CPU's."""
    devices = list(jax.local_devices())
    if devices[0].platform != "cpu":
        devices += jax.local_devices(backend="cpu")
    return devices


def device_name(device: jax.Device) -> str:
    """What :func:`find_device` finds it by: ``cpu:0``, ``gpu:1``."""
    return f"{device.platform}:{_ordinal(device)}"


def _ordinal(device: jax.Device) -> int:
    return [d for d in list_devices() if d.platform == device.platform].index(device)


def find_device(name: str | jax.Device | None = None) -> jax.Device:
    """The device called ``name``: ``cpu``, ``gpu:0``, ``tpu``, ``cuda:1``; the default one for None.

    Raises :class:`DeviceError`, listing the devices that are there, where it is absent or the name is none.
    """
    if name is None:
        return get_default_device()
    if isinstance(name, jax.Device):
        return name
    devices = list_devices()
    platform, _, number = str(name).lower().partition(":")
    same_platform = [d for d in devices if d.platform == _ALIASES.get(platform, platform)]
    ordinal = number or "0"
    if ordinal.isdigit() and int(ordinal) < len(same_platform):
        return same_platform[int(ordinal)]
    present = ", ".join(f"{device_name(d)} ({d.device_kind})" for d in devices)
    raise DeviceError(f"there is no device {name!r}; present: {present}. Name one as 'cpu', 'gpu:0' or 'tpu:1'")


def put_on(value: Any, device: jax.Device) -> jax.Array:
    """An array that stays on ``device``; no copy where it is there already."""
    if isinstance(value, jax.Array) and value.committed and value.devices() == {device}:
        return value
    with jax.enable_x64(np.dtype(value.dtype).itemsize >= 8):
        return jax.device_put(value, device)


def home_of(named: Iterable[tuple[str, Any]]) -> jax.Device | None:
    """The device that arrays were put on; None where jax may move all of them, or one is split over several devices.

    Args:
        named: what messages call each array, and the array.

    Raises:
        DeviceError: two of them were put on different devices, so that no program can take both.
    """
    homes: dict[jax.Device, list[str]] = {}
    for name, value in named:
        if isinstance(value, jax.Array) and value.committed:
            if len(value.devices()) > 1:
                return None
            homes.setdefault(next(iter(value.devices())), []).append(name)
    if len(homes) > 1:
        where = "; ".join(
            f"{_known_name(d)} has {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for d, names in homes.items()
        )
        raise DeviceError(
            f"a program runs on one device, and its arrays are on {len(homes)}: {where}. Make all under one "
            "keras.device(...), bring them to one by jax.device_put, or lay them over a mesh (keras.distribution)"
        )
    return next(iter(homes), None)


def _known_name(device: jax.Device) -> str:
    return device_name(device) if device in list_devices() else str(device)


def are_apart(error: BaseException) -> bool:
    """Whether jax says that the arrays of a call were put on different devices, or laid out otherwise than a program
    takes them."""
    return isinstance(error, ValueError) and any(
        words in str(error)
        for words in ("Received incompatible devices", "does not match the sharding", "evenly divide the shape")
    )
