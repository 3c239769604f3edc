"""Laying tensors and batches over the mesh."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ...ir import Module, TensorType
from ...ir.errors import ArgumentError, DeviceError, ShapeError
from ...ir.sharding import Sharding, axes_of, splits
from ...runtime import placement
from ..keras_tensor import KerasTensor
from ..tensor import Tensor
from .current import distribution
from .mesh import TensorLayout
from .strategies import Distribution


def distribute_tensor(tensor: Any, layout: TensorLayout | jax.sharding.Sharding) -> Any:
    """A tensor laid out in another way.

    In a traced call this is a constraint on the graph; an array is moved now.

    Raises :class:`ArgumentError` where the layout does not fit the tensor's rank.
    """
    if isinstance(tensor, KerasTensor):
        return tensor
    if isinstance(layout, TensorLayout) and len(layout.axes) != len(tensor.shape):
        raise ArgumentError(
            f"{layout} has {len(layout.axes)} axes, and the tensor {len(tensor.shape)} dimensions: {tensor.shape}"
        )
    if isinstance(tensor, Tensor):
        if not isinstance(layout, TensorLayout):
            raise ArgumentError(f"in a traced call the layout is a TensorLayout, received {layout!r}")
        _check_axes(layout)
        return tensor.trace.emit("sharding_constraint", (tensor,), {"sharding": layout.sharding})[0]
    sharding = layout.backend_layout if isinstance(layout, TensorLayout) else layout
    return placement.put(tensor if isinstance(tensor, jax.Array) else np.asarray(tensor), sharding)


def _check_axes(layout: TensorLayout) -> None:
    """Raise where the mesh of the distribution that is set has not the axes of a layout."""
    chosen = distribution()
    if chosen is None:
        return
    known = chosen.device_mesh.axis_names
    unknown = [axis for entry in layout.sharding for axis in axes_of(entry) if axis not in known]
    if unknown:
        raise ArgumentError(f"the distribution that is set has no axis {unknown[0]!r}; it has {', '.join(known)}")


def lay_out_outputs(outputs: Any, path: str) -> Any:
    """The outputs of the layer of this path, as the distribution that is set lays out ``path/output``, if it does.

    Raises :class:`ArgumentError` where the layout does not fit their rank.
    """
    chosen = distribution()
    layout = None if chosen is None else chosen.get_tensor_layout(f"{path}/output")
    if layout is None:
        return outputs
    try:
        return jax.tree.map(lambda x: distribute_tensor(x, layout), outputs)
    except ArgumentError as error:
        raise ArgumentError(
            f"the layout of {f'{path}/output'!r}: {error}. If it was meant for Variables alone, have its key end with "
            "their names: '.*/kernel'"
        ) from None


def place_batch(x: Any, chosen: Distribution, axis: int = 0) -> jax.Array:
    """An array of a batch on the devices: split along its first dimension, or whole on each where that can't be.

    Args:
        x: this process's part of the array.
        axis: which dimension counts samples; those before it are not split.
    """
    layout = chosen.get_data_layout(x.shape[axis:])
    sharding = (*[None] * axis, *layout.sharding)
    mesh = chosen.device_mesh.backend_mesh
    sizes = placement.local_sizes(mesh)
    if not splits(x.shape, sharding, sizes):
        if chosen.num_processes > 1:
            raise ShapeError(
                f"the share of this process of a batch, an array of shape {tuple(x.shape)}, can't be split evenly over "
                f"its {sizes[chosen.batch_dim_name or '']} devices along {chosen.batch_dim_name!r}; let each process "
                "feed a multiple of that, in the last batch too"
            )
        sharding = (None,) * len(x.shape)
    return placement.put_part(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*sharding)))


def mesh_for(module: Module, whole: bool = False) -> jax.sharding.Mesh | None:
    """The mesh for the program of a module that was just traced: that of the distribution that is set, if any.

    Variables that were made before it was set are laid out as it says, now.

    Args:
        whole: whether it is a model as a whole, so that layouts that name nothing by now are worth a warning.

    Raises :class:`DeviceError` where a Variable is laid over another mesh.
    """
    chosen = distribution()
    if chosen is None:
        return None
    mesh: jax.sharding.Mesh = chosen.device_mesh.backend_mesh
    for parameter in module.main.parameters:
        variable = parameter.key
        variable._lay_out(chosen)
        if variable._layout.backend_layout.mesh != mesh:
            raise DeviceError(
                f"Variable {variable.path!r} is laid over {variable._layout.device_mesh}, and the distribution that is "
                f"set has {chosen.device_mesh}. Use the model under the distribution that it was made under (with "
                "distribution.scope()), or make it under this one and load its weights"
            )
        type_ = parameter.value.type
        parameter.value.type = TensorType(type_.dtype, type_.shape, variable.sharding)
    if whole:
        chosen.warn_of_unused()
    return mesh


def split_inputs(module: Module, chosen: Distribution) -> None:
    """Have the inputs of a module split over a mesh as batches are; where a size is known, if it allows it. Those that
    are laid over axes of the mesh stay so."""
    sizes = chosen.device_mesh.backend_mesh.shape
    for value in module.main.inputs:
        dtype, shape = value.type.dtype, value.type.shape
        if value.type.sharding is not None and all(a in sizes for e in value.type.sharding for a in axes_of(e)):
            continue
        sharding = chosen.get_data_layout(shape).sharding
        value.type = TensorType(dtype, shape, sharding if splits(shape, sharding, sizes) else (None,) * len(shape))


def sharding_of(x: Any) -> Sharding | None:
    """How an array is laid over the axes of a mesh; None where it is on one device."""
    found = getattr(x, "sharding", None)
    if not isinstance(found, jax.sharding.NamedSharding):
        return None
    spec = tuple(e if e is None or isinstance(e, str) else tuple(e) for e in found.spec)
    return spec + (None,) * (x.ndim - len(spec))
