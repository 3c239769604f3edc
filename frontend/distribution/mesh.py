"""Meshes of devices, and how a tensor is laid over one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ...ir.errors import ArgumentError
from ...ir.sharding import Sharding, axes_of
from .processes import global_device, list_devices


class DeviceMesh:
    """Devices in a grid, each axis of which has a name.

    Args:
        shape: how many devices along each axis: ``(4, 2)``.
        axis_names: a name for each axis: ``("batch", "model")``.
        devices: their names, or ``jax.Device``s; all of the default platform where none are given.

    Raises:
        ArgumentError: shape and names differ in length, a name stands twice, or there are not as many devices.
    """

    def __init__(self, shape: Sequence[int], axis_names: Sequence[str], devices: Any = None) -> None:
        if not len(shape) or not len(axis_names):
            raise ArgumentError(f"a mesh has at least one axis; received shape={shape}, axis_names={axis_names}")
        if len(shape) != len(axis_names):
            raise ArgumentError(
                f"a mesh has one name for each axis; received shape={tuple(shape)}, axis_names={list(axis_names)}"
            )
        if len(set(axis_names)) < len(axis_names):
            raise ArgumentError(f"the axes of a mesh have different names, received {list(axis_names)}")
        found = np.array(list_devices() if devices is None else devices, dtype=object)
        if math.prod(shape) != found.size:
            raise ArgumentError(
                f"a mesh of shape {tuple(shape)} takes {math.prod(shape)} devices, received {found.size}: "
                f"{', '.join(map(str, found.flat))}. Give another shape, or devices=list_devices()[:{math.prod(shape)}]"
                + ("" if math.prod(shape) <= found.size else "; a CPU counts as several under "
                   f"XLA_FLAGS=--xla_force_host_platform_device_count={math.prod(shape)}")
            )  # fmt: skip
        self.shape = tuple(int(size) for size in shape)
        self.axis_names = tuple(axis_names)
        self.devices = found.reshape(self.shape)

    @cached_property
    def backend_mesh(self) -> Mesh:
        """The same as ``jax.sharding.Mesh``. Raises :class:`DeviceError` where a device is absent."""
        devices = [d if isinstance(d, jax.Device) else global_device(d) for d in self.devices.flat]
        return Mesh(np.array(devices, dtype=object).reshape(self.shape), self.axis_names)

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: devices by name."""
        names = [d if isinstance(d, str) else f"{d.platform}:{d.id}" for d in self.devices.flat]
        kept = {name: value for name, value in self.__dict__.items() if name != "backend_mesh"}
        return {**kept, "devices": np.array(names, dtype=object).reshape(self.shape)}

    def __repr__(self) -> str:
        return f"<DeviceMesh shape={self.shape}, axis_names={self.axis_names}>"


class TensorLayout:
    """How a tensor is laid over a mesh.

    Args:
        axes: for each dimension the axis of the mesh that it is split over, or None: it is whole on every device.
        device_mesh: the mesh; it may be set later, once.

    Raises :class:`ArgumentError` where the mesh has no axis of a name, or one is used twice.
    """

    def __init__(self, axes: Sequence[Any], device_mesh: DeviceMesh | None = None) -> None:
        self.axes = tuple(axes)
        self._device_mesh = device_mesh
        self._check()

    @property
    def device_mesh(self) -> DeviceMesh | None:
        return self._device_mesh

    @device_mesh.setter
    def device_mesh(self, device_mesh: DeviceMesh) -> None:
        if self._device_mesh is not None:
            raise ArgumentError(f"the mesh of a layout is set once; it is {self._device_mesh}")
        self._device_mesh = device_mesh
        self._check()

    @property
    def sharding(self) -> Sharding:
        """The same as it stands in types of the graph."""
        return tuple(e if e is None or isinstance(e, str) else tuple(e) for e in self.axes)

    @cached_property
    def backend_layout(self) -> NamedSharding:
        """The same as ``jax.sharding.NamedSharding``. Raises :class:`ArgumentError` while there is no mesh."""
        if self._device_mesh is None:
            raise ArgumentError(f"{self!r} has no mesh yet: give device_mesh=")
        return NamedSharding(self._device_mesh.backend_mesh, PartitionSpec(*self.sharding))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "backend_layout"}

    def _check(self) -> None:
        used = [axis for entry in self.axes for axis in axes_of(entry)]
        if len(set(used)) < len(used):
            raise ArgumentError(f"a layout splits one dimension over an axis, received {self.axes}")
        known = self._device_mesh.axis_names if self._device_mesh is not None else used
        unknown = [axis for axis in used if axis not in known]
        if unknown:
            raise ArgumentError(f"the mesh has no axis {unknown[0]!r}; it has {', '.join(known)}")

    def __repr__(self) -> str:
        return f"<TensorLayout axes={self.axes}, device_mesh={self._device_mesh}>"
