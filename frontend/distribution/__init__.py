"""``keras.distribution``: models and data on a mesh of devices."""

from .current import distribution, set_distribution
from .layout_map import LayoutMap
from .mesh import DeviceMesh, TensorLayout
from .processes import get_device_count, initialize, list_devices
from .strategies import DataParallel, Distribution, ModelParallel
from .tensors import distribute_tensor

__all__ = ["DataParallel", "DeviceMesh", "Distribution", "LayoutMap", "ModelParallel", "TensorLayout",
           "distribute_tensor", "distribution", "get_device_count", "initialize", "list_devices",
           "set_distribution"]  # fmt: skip
