"""Arrays on several devices: laying values out over a mesh, and reading them back; in one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, Sharding

from ..ir.errors import DeviceError


def put(value: Any, sharding: Sharding) -> jax.Array:
    """A value that every process has whole as one array laid out by ``sharding``; no copy where it already is."""
    if isinstance(value, jax.Array) and value.sharding.is_equivalent_to(sharding, value.ndim):
        return value
    value = value if isinstance(value, jax.Array) else np.asarray(value)
    with jax.enable_x64(np.dtype(value.dtype).itemsize >= 8):
        if sharding.is_fully_addressable:
            return jax.device_put(value, sharding)
        whole = read(value) if isinstance(value, jax.Array) else np.asarray(value)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def put_part(value: Any, sharding: Sharding) -> jax.Array:
    """The array whose part for this process is ``value``: parts of all processes stand one after the other where the
    sharding splits a dimension over processes. In one process the part is the whole."""
    if sharding.is_fully_addressable:
        return put(value, sharding)
    with jax.enable_x64(np.dtype(value.dtype).itemsize >= 8):
        return jax.make_array_from_process_local_data(sharding, np.asarray(value))


def read_part(array: jax.Array, sharding: Sharding) -> np.ndarray:
    """What this process has of an array that is laid out by ``sharding``, split along its first dimension alone. Every
    process has to ask for it."""
    if not array.sharding.is_equivalent_to(sharding, array.ndim):
        array = _laying_out(sharding)(array)
    parts = {shard.index[0].start or 0: shard for shard in array.addressable_shards}
    return np.concatenate([np.asarray(parts[start].data) for start in sorted(parts)])


@lru_cache(maxsize=64)
def _laying_out(sharding: Sharding) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(lambda x: x, out_shardings=sharding)


@lru_cache(maxsize=64)
def local_sizes(mesh: Mesh) -> Mapping[str, int]:
    """Over how many places along each axis of a mesh the devices of this process stand; in one process all."""
    here = [d.process_index == jax.process_index() for d in mesh.devices.flat]
    places = np.argwhere(np.reshape(here, mesh.devices.shape))
    return {name: len(set(places[:, i].tolist())) for i, name in enumerate(mesh.axis_names)}


def mesh_of(named: Iterable[tuple[str, Any]]) -> Mesh | None:
    """The mesh that arrays are laid over; None where none of them is laid over one.

    Args:
        named: what messages call each array, and the array.

    Raises:
        DeviceError: there are several, or an array was put on one device beside others that are laid over a mesh.
    """
    meshes: dict[Mesh, str] = {}
    alone = None
    for name, array in named:
        sharding = getattr(array, "sharding", None)
        if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh):
            meshes.setdefault(sharding.mesh, name)
        elif alone is None and getattr(array, "committed", False):
            alone = (name, next(iter(array.devices())))
    if len(meshes) > 1:
        where = "; ".join(f"{name} over {_shown(mesh)}" for mesh, name in meshes.items())
        raise DeviceError(
            f"a program runs on one mesh of devices, and its arrays are laid over {len(meshes)}: {where}. Make all "
            "under one distribution, or bring them to one by keras.distribution.distribute_tensor"
        )
    if meshes and alone is not None:
        mesh, name = next(iter(meshes.items()))
        raise DeviceError(
            f"a program runs on one mesh of devices: {name} is laid over {_shown(mesh)}, and {alone[0]} was put on "
            f"{alone[1].platform}:{alone[1].id}. Make all under one distribution, without keras.device"
        )
    return next(iter(meshes), None)


def _shown(mesh: Mesh) -> str:
    devices = mesh.devices.flat
    return f"{dict(mesh.shape)} of {devices[0].platform}:{devices[0].id} to {devices[-1].id}"


def read(array: Any) -> np.ndarray:
    """The whole value of an array. Where it is split over processes, every process has to ask for it."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return np.asarray(array)
    if array.is_fully_replicated:
        return np.asarray(array.addressable_data(0))
    whole: np.ndarray = np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return whole
