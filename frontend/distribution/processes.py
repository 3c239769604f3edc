"""The processes of a program, and the devices of all of them."""

from __future__ import annotations

import os
from typing import Any

import jax

from ...ir.errors import ArgumentError, DeviceError, ProcessError
from ...runtime import processes
from ..seed import make_default_seed, random_seed, set_random_seed


def list_devices(device_type: str | None = None) -> list[str]:
    """The devices of all processes by name, ``cpu:0``: of the default platform, or of the one that is named."""
    return [f"{d.platform}:{d.id}" for d in jax.devices(device_type.lower() if device_type else None)]


def global_device(name: str) -> jax.Device:
    """The device of a name, of any process. Raises :class:`DeviceError`, listing those that are there."""
    platform, _, number = str(name).lower().partition(":")
    platform = {"cuda": "gpu", "rocm": "gpu"}.get(platform, platform)
    try:
        devices = jax.devices(platform)
    except RuntimeError:  # jax knows no such platform, or has no device of it
        devices = []
    found = [d for d in devices if str(d.id) == (number or "0")]
    if not found:
        present = ", ".join(list_devices())
        raise DeviceError(f"there is no device {name!r}; present: {present}")
    return found[0]


def get_device_count(device_type: str | None = None) -> int:
    """How many devices all processes have together; arguments as of :func:`list_devices`."""
    return len(list_devices(device_type))


def initialize(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: float = 300,
    heartbeat_timeout: float = 20,
) -> None:
    """Join the processes of a program, before anything else: no array, model or device may have been asked for.

    What is None is taken from the environment variables ``KERAS_DISTRIBUTION_JOB_ADDRESSES``,
    ``KERAS_DISTRIBUTION_NUM_PROCESSES`` and ``KERAS_DISTRIBUTION_PROCESS_ID``, and where there are none, as
    ``jax.distributed`` finds it out on SLURM, Open MPI, Kubernetes and Cloud TPU. One seed is then common to all, that
    of ``keras.utils.set_random_seed`` or a random one, so that all start from the same weights.

    Args:
        job_addresses: ``host:port`` of all processes, comma-separated, or of process 0 alone, which all others reach.
        num_processes: how many there are.
        process_id: which one this is, from 0.
        timeout: seconds to wait for the others to start.
        heartbeat_timeout: seconds without a sign of life after which a process counts as gone; the others then end.

    Raises:
        ArgumentError: an argument is missing, out of range, or no number.
        ProcessError: called twice, or too late; a process can't be reached, or was given other numbers.
    """
    addresses = job_addresses or os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES")
    count = _number("num_processes", num_processes, "KERAS_DISTRIBUTION_NUM_PROCESSES")
    index = _number("process_id", process_id, "KERAS_DISTRIBUTION_PROCESS_ID")
    listed = addresses.split(",") if addresses else []
    if len(listed) > 1 and count is not None and count != len(listed):
        raise ArgumentError(
            f"job_addresses names {len(listed)} processes, {addresses}, and num_processes is {count}; give as many, or "
            "the address of process 0 alone"
        )
    coordinator = listed[0].strip() if listed else None
    if coordinator is not None and not coordinator.rpartition(":")[2].isdigit():
        raise ArgumentError(f"job_addresses are host:port, such as 10.0.0.1:1234; received {coordinator!r}")
    joined = processes.join(coordinator, count, index, timeout, heartbeat_timeout)
    own = random_seed()
    seeds = joined.exchange("initialize", [own, make_default_seed() if own is None else own])
    chosen = {seed for seed, _ in seeds}
    if len(chosen) > 1:
        raise ProcessError(
            f"set_random_seed was called with different seeds before initialize(): {[s for s, _ in seeds]} in "
            f"processes 0 to {joined.count - 1}; weights would start apart. Call it with one seed in all"
        )
    if chosen == {None}:
        set_random_seed(seeds[0][1])


def _number(name: str, given: Any, variable: str) -> int | None:
    """An argument of :func:`initialize`, or what stands for it in the environment."""
    value, source = (given, name) if given is not None else (os.environ.get(variable), variable)
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ArgumentError(f"{source} is a whole number, received {value!r}") from None
