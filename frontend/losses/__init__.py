"""``keras.losses``: what training makes small."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..registry import interpret
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from .base import BuiltinLoss, Loss, LossFunctionWrapper  # noqa: F401 - the last is found by name only
from .crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from .ctc import CTC, ctc
from .focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
)
from .function import LOSS_FUNCTIONS
from .hinge import CategoricalHinge, Hinge, SquaredHinge, categorical_hinge, hinge, squared_hinge
from .regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from .similarity import Circle, CosineSimilarity, Dice, Tversky, circle, cosine_similarity, dice, tversky

#: Everything that ``get`` finds by name: functions, their short names, and classes.
ALL_OBJECTS: dict[str, Any] = {
    **LOSS_FUNCTIONS,
    **{
        cls.__name__: cls
        for cls in list(globals().values())
        if inspect.isclass(cls) and issubclass(cls, Loss) and cls is not BuiltinLoss
    },
}


def serialize(loss: Any) -> Any:
    """Return the config of a loss or function, in the form that Keras files have."""
    return serialize_keras_object(loss)


def deserialize(name: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the loss or function that a config or name stands for.

    Raises:
        ConfigError: the config is of an unknown class.
    """
    return deserialize_keras_object(name, module_objects=ALL_OBJECTS, custom_objects=custom_objects)


def get(identifier: Any) -> Any:
    """Return what a ``loss=`` argument means.

    Args:
        identifier: None, a name such as ``"mse"``, a config, a class, a Loss, or a function ``(y_true, y_pred)``.

    Returns:
        A Loss or a function; None for None.

    Raises:
        ArgumentError: it is none of these; the message says what is near.
    """
    if identifier is None:
        return None
    return interpret("loss", identifier, ALL_OBJECTS, deserialize, "a name, a Loss, its config, or a function")


__all__ = [
    "BinaryCrossentropy", "BinaryFocalCrossentropy", "CTC", "CategoricalCrossentropy", "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy", "CategoricalHinge", "Circle", "CosineSimilarity", "Dice", "Hinge", "Huber",
    "KLDivergence", "LogCosh", "Loss", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError",
    "MeanSquaredLogarithmicError", "Poisson", "SparseCategoricalCrossentropy", "SquaredHinge", "Tversky",
    "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy", "categorical_hinge", "circle", "cosine_similarity", "ctc", "deserialize",
    "dice", "get", "hinge", "huber", "kl_divergence", "log_cosh", "mean_absolute_error",
    "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error", "poisson", "serialize",
    "sparse_categorical_crossentropy", "squared_hinge", "tversky",
]  # fmt: skip
