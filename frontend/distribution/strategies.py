"""What is split over the devices: the data, or Variables as well."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from ...ir.errors import ArgumentError
from .current import distribution, set_distribution
from .layout_map import LayoutMap
from .mesh import DeviceMesh, TensorLayout
from .processes import list_devices

_BATCH = "batch"


class Distribution:
    """How Variables, batches and the outputs of layers are laid over a mesh.

    Args:
        device_mesh: the devices.
        batch_dim_name: the axis of the mesh that batches are split over.
        auto_shard_dataset: whether each of several processes takes its share of a ``tf.data.Dataset``; False where
            it is given its share already.
    """

    def __init__(
        self, device_mesh: DeviceMesh, batch_dim_name: str | None = None, auto_shard_dataset: bool = True
    ) -> None:
        if batch_dim_name is not None and batch_dim_name not in device_mesh.axis_names:
            raise ArgumentError(f"the mesh has no axis {batch_dim_name!r}; it has {', '.join(device_mesh.axis_names)}")
        self.device_mesh = device_mesh
        self.batch_dim_name = batch_dim_name
        self.auto_shard_dataset = auto_shard_dataset

    @property
    def num_processes(self) -> int:
        return jax.process_count()

    @property
    def num_model_replicas(self) -> int:
        """Into how many parts a batch is split."""
        if self.batch_dim_name is None:
            return 1
        return self.device_mesh.shape[self.device_mesh.axis_names.index(self.batch_dim_name)]

    @property
    def data_shard_id(self) -> int:
        """Which share of the data this process feeds."""
        replicas = self.num_model_replicas
        if replicas >= self.num_processes:
            return jax.process_index()
        return jax.process_index() // (self.num_processes // replicas)

    def distribute_dataset(self, dataset: Any) -> Any:
        """The share of this process of a ``tf.data.Dataset`` whose batches are those of all processes together.

        In one process, and with ``auto_shard_dataset=False``, it is the dataset itself.

        Raises :class:`ArgumentError` where the dataset has no batches of one size, or that does not divide by the
        number of shares.
        """
        shares = min(self.num_processes, self.num_model_replicas)
        if not self.auto_shard_dataset or shares == 1:
            return dataset
        from tensorflow.python.data.experimental.ops.distribute import compute_batch_size

        size = int(compute_batch_size(dataset))
        if size < 0 or size % shares:
            raise ArgumentError(
                f"the batches of the dataset are split over {shares} processes; expected a size that divides by that, "
                f"received {'none that is known' if size < 0 else size}. Use dataset.batch(n), or "
                "auto_shard_dataset=False where each process has its share already"
            )
        return dataset.rebatch(size // shares).shard(shares, self.data_shard_id)

    def get_data_layout(self, data_shape: Sequence[Any]) -> TensorLayout:
        """The layout of a batch of this shape: split along its first dimension."""
        return TensorLayout([self.batch_dim_name, *[None] * (len(data_shape) - 1)][: len(data_shape)], self.device_mesh)

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        """The layout of a Variable: its own, or whole on every device."""
        own: TensorLayout | None = getattr(variable, "_layout", None)
        return own if own is not None else TensorLayout([None] * len(variable.shape), self.device_mesh)

    def get_tensor_layout(self, path: str) -> TensorLayout | None:
        """The layout of the output of a layer, by ``path/output``; None where XLA decides."""
        return None

    def warn_of_unused(self) -> None:
        """Warn of layouts that name nothing; called where a model is there as a whole."""

    @contextmanager
    def scope(self) -> Iterator[Distribution]:
        """Within the block this is the distribution that is set."""
        before = distribution()
        set_distribution(self)
        try:
            yield self
        finally:
            set_distribution(before)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} device_mesh={self.device_mesh}>"


class DataParallel(Distribution):
    """Batches are split over the devices, Variables are whole on each.

    Args:
        device_mesh: the devices; batches are split over its first axis.
        devices: the same without a mesh; all that there are where neither is given.
        auto_shard_dataset: as of :class:`Distribution`.
    """

    def __init__(
        self, device_mesh: DeviceMesh | None = None, devices: Any = None, auto_shard_dataset: bool = True
    ) -> None:
        if device_mesh is None:
            found = np.array(list_devices() if devices is None else devices, dtype=object)
            device_mesh = DeviceMesh(found.shape, [_BATCH], found)
        elif not isinstance(device_mesh, DeviceMesh):
            raise ArgumentError(f"device_mesh is a DeviceMesh, received {device_mesh!r}")
        elif len(device_mesh.shape) > 1:
            warnings.warn(
                f"DataParallel splits batches over the first axis of {device_mesh}, the others hold copies; "
                "ModelParallel(layout_map=...) uses them",
                stacklevel=2,
            )
        super().__init__(device_mesh, device_mesh.axis_names[0], auto_shard_dataset)


class ModelParallel(Distribution):
    """Variables are laid over the mesh as a map says, and batches split over one of its axes.

    Args:
        layout_map: the layouts by path, and the mesh.
        batch_dim_name: the axis that batches are split over; the mesh's first by default.
        auto_shard_dataset: as of :class:`Distribution`.
    """

    def __init__(
        self,
        *,
        layout_map: LayoutMap,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
        device_mesh: DeviceMesh | None = None,
    ) -> None:
        if not isinstance(layout_map, LayoutMap):
            raise ArgumentError(f"layout_map is a LayoutMap, received {layout_map!r}")
        mesh = layout_map.device_mesh or device_mesh
        if mesh is None:
            raise ArgumentError("the layout map has no mesh: LayoutMap(DeviceMesh(...))")
        super().__init__(mesh, batch_dim_name or mesh.axis_names[0], auto_shard_dataset)
        self.layout_map = layout_map
        if self.num_processes > self.num_model_replicas and self.num_processes % self.num_model_replicas:
            raise ArgumentError(
                f"the {self.num_processes} processes can't share {self.num_model_replicas} parts of a batch evenly: "
                "the one number should divide the other"
            )

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        """The layout of a Variable: its own, that of the map, or whole on every device."""
        own: TensorLayout | None = getattr(variable, "_layout", None)
        found = own if own is not None else self.layout_map[variable.path]
        return found if found is not None else super().get_variable_layout(variable)

    def get_tensor_layout(self, path: str) -> TensorLayout | None:
        """The layout of the output of a layer that the map names ``path/output``."""
        return self.layout_map[path]

    def warn_of_unused(self) -> None:
        """Warn of keys of the map that name no Variable and no output of a layer."""
        self.layout_map.warn_of_unused()
