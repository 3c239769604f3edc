"""The Keras-compatible namespace: ``from lamina import keras``."""

from . import (
    activations,
    backend,
    config,
    constraints,
    initializers,
    layers,
    models,
    ops,
    random,
    regularizers,
    saving,
    utils,
)
from .dtypes import DTypePolicy, FloatDTypePolicy
from .functional import Functional
from .initializers import Initializer
from .input import Input
from .input_spec import InputSpec
from .keras_tensor import KerasTensor
from .layer import Layer
from .model import Model, model_from_json
from .names import name_scope
from .operation import Operation
from .regularizers import Regularizer
from .sequential import Sequential
from .variable import Variable

__all__ = [
    "DTypePolicy", "FloatDTypePolicy", "Functional", "Initializer", "Input", "InputSpec", "KerasTensor", "Layer",
    "Model",
    "Operation", "Regularizer", "Sequential", "Variable", "activations", "backend", "config", "constraints",
    "initializers", "layers", "model_from_json", "models", "name_scope", "ops", "random", "regularizers", "saving",
    "utils", "version",
]  # fmt: skip


def version() -> str:
    """The Keras version whose behaviour this follows."""
    return "3.15.0"
