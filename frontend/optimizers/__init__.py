"""Optimizers, as ``keras.optimizers``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ir.errors import ArgumentError
from ..registry import find_named, get_registered_object
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from . import legacy, schedules
from .adafactor import Adafactor
from .adagrad import Adadelta, Adagrad, RMSprop
from .adam import Adam, AdamW
from .adaptive import Adamax, Lamb, Lion, Nadam
from .ftrl import Ftrl
from .loss_scale import LossScaleOptimizer
from .multi import MultiOptimizer, OptimizerMap
from .muon import Muon
from .optimizer import Optimizer
from .schedule_free import ScheduleFreeAdamW
from .sgd import SGD
from .signatures import ALL_OBJECTS

__all__ = [
    "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "LossScaleOptimizer",
    "MultiOptimizer", "Muon", "Nadam", "Optimizer", "OptimizerMap", "RMSprop", "ScheduleFreeAdamW", "deserialize",
    "get", "legacy", "schedules", "serialize",
]  # fmt: skip


def serialize(optimizer: Any) -> Any:
    """Return the config of an optimizer."""
    return serialize_keras_object(optimizer)


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the optimizer that a config stands for; the letters of a built-in's name may be large or small."""
    name, registered = config.get("class_name"), config.get("registered_name")
    own = registered not in (None, name) or get_registered_object(registered or name, custom_objects)
    if isinstance(name, str) and name.lower() in ALL_OBJECTS and not own:
        config = {"class_name": name.lower(), "config": config.get("config")}
    return deserialize_keras_object(config, custom_objects, module_objects=ALL_OBJECTS)


def get(identifier: Any) -> Any:
    """Return the optimizer that ``compile(optimizer=...)`` means.

    Args:
        identifier: an optimizer, its name in large or small letters (``"adam"``), its config, or None.

    Raises:
        ArgumentError: it is none of these.
    """
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        found = find_named(
            "optimizer", identifier if get_registered_object(identifier) else identifier.lower(), ALL_OBJECTS
        )
        identifier = found() if isinstance(found, type) else found
    elif isinstance(identifier, Mapping):
        identifier = deserialize(identifier)
    if isinstance(identifier, Optimizer):
        return identifier
    raise ArgumentError(
        f"{identifier!r} is no optimizer: expected an Optimizer, a name such as 'adam', a config, or None"
    )
