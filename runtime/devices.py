"""Which devices there are, and finding one by name."""

from __future__ import annotations

import jax
from jax.extend.backend import get_default_device

from ..ir.errors import DeviceError

_ALIASES = {"cuda": "gpu", "rocm": "gpu"}


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
    devices = list_devices()
    if name is None:
        return get_default_device()
    if isinstance(name, jax.Device):
        return name
    platform, _, number = str(name).lower().partition(":")
    same_platform = [d for d in devices if d.platform == _ALIASES.get(platform, platform)]
    ordinal = number or "0"
    if ordinal.isdigit() and int(ordinal) < len(same_platform):
        return same_platform[int(ordinal)]
    present = ", ".join(f"{device_name(d)} ({d.device_kind})" for d in devices)
    raise DeviceError(f"there is no device {name!r}; present: {present}. Name one as 'cpu', 'gpu:0' or 'tpu:1'")
